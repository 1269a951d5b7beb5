//! A pack: many objects in one file, some as deltas of others (gitformat-pack).
//!
//! It is written as it comes from the server, with its checksum verified, and then read once from
//! front to back, so that every object's id is known and made of its content. Large files pass
//! through in pieces; only what takes part in a delta is held in memory. Objects are read by id
//! afterwards. Packs are complete: a delta whose base is elsewhere is an error.

mod build;
mod index;
mod inflate;
mod stored;
mod write;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::delta;
use super::id::{ObjectFormat, ObjectId};
use super::object::Kind;
use inflate::Inflate;

pub(super) use build::{Base, Object, before, build};
pub(super) use stored::{Stored, StoredPack};
pub(super) use write::{PackWriter, with_checksum};

/// Why a pack cannot be used.
#[derive(Debug)]
pub(super) enum PackError {
    /// It is damaged, incomplete or not of the promised form.
    Damaged(String),
    /// Its file cannot be read or written.
    Io(io::Error),
    /// The caller wants no more of it.
    Stopped,
}

impl From<io::Error> for PackError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn damaged(problem: impl Into<String>) -> PackError {
    PackError::Damaged(problem.into())
}

/// The most that an object may have which is held in memory, and all those of one chain of
/// deltas: git itself makes no deltas of files beyond 512 MiB.
const MEMORY: u64 = 1 << 30;

/// Makes the object that stands as a delta at a place. `held` is what is in memory so far, its
/// base included: neither the delta nor what it makes may go beyond [`MEMORY`] together with it.
/// The delta's own word is what counts, before anything is made of it: few bytes can make many.
fn make(
    inflate: &mut Inflate<'_>,
    offset: u64,
    format: ObjectFormat,
    base: &[u8],
    held: u64,
) -> Result<Vec<u8>, PackError> {
    let room = MEMORY.saturating_sub(held);
    let too_large = |size: u64, what: &str| {
        damaged(format!(
            "{what} of {size} bytes, beside {held} bytes, needs more than 1 GiB of memory"
        ))
    };
    let (_, size) = inflate.head(offset, format)?;
    if size > room {
        return Err(too_large(size, "a delta"));
    }
    let delta = inflate.whole(size)?;
    let misfit = || damaged("a delta does not fit its base");
    let (_, result, _) = delta::sizes(&delta).ok_or_else(misfit)?;
    if result > room {
        return Err(too_large(result, "an object made by a delta"));
    }
    delta::apply(base, &delta).ok_or_else(misfit)
}

/// A pack whose objects are known.
#[derive(Debug)]
pub(super) struct Pack {
    file: File,
    size: u64,
    format: ObjectFormat,
    /// The checksum at its end.
    trailer: ObjectId,
    /// Sorted by id.
    entries: Vec<Entry>,
}

/// An object of a pack.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ObjectId,
    offset: u64,
    kind: Kind,
}

/// How an object stands in a pack.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// As it is.
    Whole(Kind),
    /// As a delta of the object at this place.
    Offset(u64),
    /// As a delta of the object with this id.
    Id(ObjectId),
}

impl Pack {
    /// The hash of its objects.
    pub(super) fn format(&self) -> ObjectFormat {
        self.format
    }

    /// What it is, if the object is there.
    pub(super) fn kind(&self, id: &ObjectId) -> Option<Kind> {
        self.find(id).map(|entry| entry.kind)
    }

    /// The objects of this kind whose ids begin with `short`.
    pub(super) fn beginning(&self, short: &str, kind: Kind) -> Vec<ObjectId> {
        let ids = self.entries.iter().filter(|entry| entry.kind == kind).map(|entry| entry.id);
        ids.filter(|id| id.to_string().starts_with(short)).collect()
    }

    /// All objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = (ObjectId, Kind)> {
        self.entries.iter().map(|entry| (entry.id, entry.kind))
    }

    fn find(&self, id: &ObjectId) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.id.cmp(id)).ok().map(|at| &self.entries[at])
    }
}

/// Reads objects of a pack, and remembers the bases of deltas.
pub(super) struct PackReader<'a> {
    pack: &'a Pack,
    inflate: Inflate<'a>,
    recent: Recent,
}

impl<'a> PackReader<'a> {
    pub(super) fn new(pack: &'a Pack) -> Self {
        Self { pack, inflate: Inflate::new(&pack.file, 16 * 1024), recent: Recent::default() }
    }

    /// An object of this kind, whole.
    pub(super) fn read(&mut self, id: &ObjectId, kind: Kind) -> Result<Arc<Vec<u8>>, PackError> {
        let entry = self.entry(id, kind)?;
        self.object(entry.offset)
    }

    /// The content of a file, in pieces.
    pub(super) fn copy(
        &mut self,
        id: &ObjectId,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), PackError> {
        let entry = self.entry(id, Kind::Blob)?;
        let (form, size) = self.inflate.head(entry.offset, self.pack.format)?;
        if let Form::Whole(_) = form {
            return self.inflate.content(size, sink);
        }
        let content = self.object(entry.offset)?;
        Ok(sink(&content)?)
    }

    fn entry(&self, id: &ObjectId, kind: Kind) -> Result<Entry, PackError> {
        match self.pack.find(id) {
            Some(entry) if entry.kind == kind => Ok(*entry),
            Some(entry) => {
                let found = entry.kind.name();
                Err(damaged(format!("{id} is a {found} and not a {}", kind.name())))
            }
            None => Err(damaged(format!("the {} {id} is missing", kind.name()))),
        }
    }

    /// The object at a place, made of its chain of deltas, of which one at a time is in memory.
    fn object(&mut self, offset: u64) -> Result<Arc<Vec<u8>>, PackError> {
        let mut deltas = Vec::new();
        let mut at = offset;
        let mut content = loop {
            if let Some(content) = self.recent.get(at) {
                break content;
            }
            let (form, size) = self.inflate.head(at, self.pack.format)?;
            let base = match form {
                Form::Whole(_) => {
                    let content = Arc::new(self.inflate.whole(size)?);
                    self.recent.put(at, &content);
                    break content;
                }
                Form::Offset(base) => base,
                Form::Id(base) => {
                    let missing = || damaged(format!("the base {base} is missing"));
                    self.pack.find(&base).ok_or_else(missing)?.offset
                }
            };
            deltas.push(at);
            at = base;
        };
        while let Some(at) = deltas.pop() {
            let held = content.len() as u64;
            let made = make(&mut self.inflate, at, self.pack.format, &content, held)?;
            content = Arc::new(made);
            self.recent.put(at, &content);
        }
        Ok(content)
    }
}

/// Objects that were made of late: two generations, of which the older is dropped when the
/// younger is full.
#[derive(Default)]
struct Recent {
    young: HashMap<u64, Arc<Vec<u8>>>,
    old: HashMap<u64, Arc<Vec<u8>>>,
    /// Bytes of the young.
    held: usize,
}

impl Recent {
    /// Bytes of a generation.
    const LIMIT: usize = 16 << 20;

    fn get(&mut self, offset: u64) -> Option<Arc<Vec<u8>>> {
        if let Some(content) = self.young.get(&offset) {
            return Some(Arc::clone(content));
        }
        let content = self.old.remove(&offset)?;
        self.put(offset, &content);
        Some(content)
    }

    fn put(&mut self, offset: u64, content: &Arc<Vec<u8>>) {
        if content.len() > Self::LIMIT / 4 {
            return;
        }
        self.held += content.len();
        if self.held > Self::LIMIT {
            self.old = std::mem::take(&mut self.young);
            self.held = content.len();
        }
        self.young.insert(offset, Arc::clone(content));
    }
}
