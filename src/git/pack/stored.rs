//! A pack that lies in a repository on this machine, with the index that git has written beside it.
//!
//! The index says where objects are (gitformat-pack, "version 2 pack-*.idx"), so one is read
//! without reading the others. Nothing is verified here: what is read goes through a pack of its
//! own, whose reader makes every id of its content.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::inflate::Inflate;
use super::{Form, PackError, damaged, make};
use crate::git::id::{ObjectFormat, ObjectId};
use crate::git::object::Kind;

/// A pack and its index.
#[derive(Debug)]
pub(in crate::git) struct StoredPack {
    file: File,
    index: Vec<u8>,
    count: usize,
    format: ObjectFormat,
}

/// An object: what it is, and its content.
pub(in crate::git) type Stored = (Kind, Arc<Vec<u8>>);

/// Two magic numbers, and how many objects have ids up to each first byte.
const HEAD: usize = 8 + 256 * 4;

impl StoredPack {
    /// Opens the pack of an index.
    pub(in crate::git) fn open(index: &Path, format: ObjectFormat) -> Result<Self, PackError> {
        let file = File::open(index.with_extension("pack"))?;
        let bytes = std::fs::read(index)?;
        let wrong = || damaged(format!("{} is no index of a pack", index.display()));
        if !bytes.starts_with(b"\xfftOc\0\0\0\x02") {
            return Err(wrong());
        }
        let count = number(&bytes, HEAD - 4).ok_or_else(wrong)? as usize;
        if bytes.len() < HEAD + count * (format.len() + 8) {
            return Err(wrong());
        }
        Ok(Self { file, index: bytes, count, format })
    }

    /// Reads an object; `None` if it is not there.
    pub(in crate::git) fn read(&self, id: &ObjectId) -> Result<Option<Stored>, PackError> {
        let Some(offset) = self.find(id) else { return Ok(None) };
        let mut inflate = Inflate::new(&self.file, 16 * 1024);
        let mut deltas = Vec::new();
        let mut at = offset;
        let (kind, mut content) = loop {
            let (form, size) = inflate.head(at, self.format)?;
            let base = match form {
                Form::Whole(kind) => break (kind, inflate.whole(size)?),
                Form::Offset(base) => base,
                Form::Id(base) => self
                    .find(&base)
                    .ok_or_else(|| damaged(format!("the base {base} is missing")))?,
            };
            if deltas.len() >= self.count {
                return Err(damaged("a delta leads to itself"));
            }
            deltas.push(at);
            at = base;
        };
        while let Some(at) = deltas.pop() {
            let held = content.len() as u64;
            content = make(&mut inflate, at, self.format, &content, held)?;
        }
        Ok(Some((kind, Arc::new(content))))
    }

    /// Whether an object is there.
    pub(in crate::git) fn has(&self, id: &ObjectId) -> bool {
        self.find(id).is_some()
    }

    /// Where an object is.
    fn find(&self, id: &ObjectId) -> Option<u64> {
        let wanted = id.as_bytes();
        if wanted.len() != self.format.len() {
            return None;
        }
        let first = usize::from(wanted[0]);
        let upto = |byte: usize| number(&self.index, 8 + byte * 4).map(|n| n as usize);
        let mut low = if first == 0 { 0 } else { upto(first - 1)? };
        let mut high = upto(first)?.min(self.count);
        let length = self.format.len();
        while low < high {
            let middle = usize::midpoint(low, high);
            let at = HEAD + middle * length;
            match self.index.get(at..at + length)?.cmp(wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.offset(middle),
            }
        }
        None
    }

    fn offset(&self, position: usize) -> Option<u64> {
        const LARGE: u32 = 1 << 31;
        // The ids, then a checksum of each object.
        let table = HEAD + self.count * (self.format.len() + 4);
        let offset = number(&self.index, table + position * 4)?;
        if offset & LARGE == 0 {
            return Some(u64::from(offset));
        }
        let at = table + self.count * 4 + (offset & !LARGE) as usize * 8;
        let bytes = self.index.get(at..at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
