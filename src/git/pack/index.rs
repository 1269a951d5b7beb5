//! The id of every object of a pack, made of its content.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use super::inflate::Inflate;
use super::{Entry, Form, PackError, damaged, make};
use crate::git::id::{Hasher, ObjectFormat, ObjectId};
use crate::git::object::Kind;

/// Reads a pack from front to back, then makes what stands in it as deltas. Gives the objects,
/// sorted by id.
pub(super) fn index(
    file: &File,
    size: u64,
    format: ObjectFormat,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Entry>, PackError> {
    let mut reader = Inflate::new(file, 256 * 1024);
    let mut deltas = Deltas::default();
    let mut entries = Vec::new();
    let count = header(&mut reader)?;
    let end = size.saturating_sub(format.len() as u64);
    for _ in 0..count {
        if stop() {
            return Err(PackError::Stopped);
        }
        let offset = reader.position();
        if offset >= end {
            return Err(damaged("the pack has fewer objects than it says"));
        }
        let (form, size) = reader.head(offset, format)?;
        match form {
            Form::Whole(kind) => {
                let mut hasher = Hasher::of_object(format, kind.name(), size);
                reader.content(size, &mut |piece| {
                    hasher.update(piece);
                    Ok(())
                })?;
                entries.push(Entry { id: id(hasher)?, offset, kind });
            }
            Form::Offset(base) => deltas.of_offset.entry(base).or_default().push(offset),
            Form::Id(base) => deltas.of_id.entry(base).or_default().push(offset),
        }
        if !matches!(form, Form::Whole(_)) {
            deltas.count += 1;
            reader.content(size, &mut |_| Ok(()))?;
        }
    }
    if reader.position() != end {
        return Err(damaged("the pack has more objects than it says"));
    }
    if deltas.count > 0 {
        make_all(file, format, deltas, &mut entries, stop)?;
    }
    entries.sort_unstable_by_key(|entry| entry.id);
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(damaged(format!("the pack holds {} twice", pair[0].id)));
    }
    Ok(entries)
}

/// How many objects there are.
fn header(reader: &mut Inflate<'_>) -> Result<u32, PackError> {
    let mut header = [0; 12];
    for byte in &mut header {
        *byte = reader.byte()?;
    }
    // Versions 2 and 3 are the same to read.
    match header {
        [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, a, b, c, d] => {
            Ok(u32::from_be_bytes([a, b, c, d]))
        }
        _ => Err(damaged("this is not a pack")),
    }
}

fn id(hasher: Hasher) -> Result<ObjectId, PackError> {
    hasher.finish().ok_or_else(|| damaged("an object was made to collide with another (SHA-1)"))
}

/// Places of deltas, by what they are deltas of.
#[derive(Default)]
struct Deltas {
    of_offset: HashMap<u64, Vec<u64>>,
    of_id: HashMap<ObjectId, Vec<u64>>,
    count: usize,
}

impl Deltas {
    /// Takes those of one object.
    fn take(&mut self, entry: &Entry) -> Vec<u64> {
        let mut places = self.of_offset.remove(&entry.offset).unwrap_or_default();
        places.extend(self.of_id.remove(&entry.id).unwrap_or_default());
        places
    }
}

/// An object whose deltas are being made.
struct Base {
    content: Arc<Vec<u8>>,
    kind: Kind,
    deltas: Vec<u64>,
}

/// Makes all deltas, each once: from every whole object to those of it, to those of these. An
/// object is dropped as soon as the last delta of it is being made, so that a chain holds two.
fn make_all(
    file: &File,
    format: ObjectFormat,
    mut deltas: Deltas,
    entries: &mut Vec<Entry>,
    stop: &dyn Fn() -> bool,
) -> Result<(), PackError> {
    let mut reader = Inflate::new(file, 16 * 1024);
    let mut left = deltas.count;
    for at in 0..entries.len() {
        let entry = entries[at];
        let of_it = deltas.take(&entry);
        if of_it.is_empty() {
            continue;
        }
        let (_, size) = reader.head(entry.offset, format)?;
        let content = Arc::new(reader.whole(size)?);
        let mut held = size;
        let mut bases = vec![Base { content, kind: entry.kind, deltas: of_it }];
        while let Some(base) = bases.last_mut() {
            if stop() {
                return Err(PackError::Stopped);
            }
            let (content, kind) = (Arc::clone(&base.content), base.kind);
            let Some(offset) = base.deltas.pop() else {
                bases.pop();
                continue;
            };
            let last = base.deltas.is_empty();
            let made = make(&mut reader, offset, format, &content, held)?;
            if last {
                held -= content.len() as u64;
                bases.pop();
            }
            drop(content);
            let mut hasher = Hasher::of_object(format, kind.name(), made.len() as u64);
            hasher.update(&made);
            let entry = Entry { id: id(hasher)?, offset, kind };
            entries.push(entry);
            left -= 1;
            let of_it = deltas.take(&entry);
            if !of_it.is_empty() {
                held += made.len() as u64;
                bases.push(Base { content: Arc::new(made), kind, deltas: of_it });
            }
        }
    }
    if left > 0 {
        return Err(damaged(format!("the bases of {left} deltas are missing")));
    }
    Ok(())
}
