//! All packs of a repository, read as one.
//!
//! One is the rule; what was left out of it at first (`--filter`) comes in others. Each is complete
//! in itself: no delta has its base in another.

use std::io;
use std::sync::Arc;

use super::id::{ObjectFormat, ObjectId};
use super::object::Kind;
use super::pack::{Pack, PackError, PackReader};

/// Packs, the one with the commit first.
#[derive(Debug)]
pub(super) struct Packs {
    format: ObjectFormat,
    all: Vec<Pack>,
}

impl Packs {
    pub(super) fn new(first: Pack) -> Self {
        Self { format: first.format(), all: vec![first] }
    }

    /// The hash of all objects.
    pub(super) fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Adds a pack; one that holds nothing is dropped.
    pub(super) fn push(&mut self, pack: Pack) {
        if !pack.is_empty() {
            self.all.push(pack);
        }
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pack> {
        self.all.iter()
    }

    /// What an object is, if it is there.
    pub(super) fn kind(&self, id: &ObjectId) -> Option<Kind> {
        self.all.iter().find_map(|pack| pack.kind(id))
    }

    /// Reads what is in them.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { packs: self, readers: self.all.iter().map(PackReader::new).collect() }
    }
}

/// Reads objects, wherever they are.
pub(super) struct Reader<'a> {
    packs: &'a Packs,
    readers: Vec<PackReader<'a>>,
}

impl<'a> Reader<'a> {
    /// An object of this kind, whole.
    pub(super) fn read(&mut self, id: &ObjectId, kind: Kind) -> Result<Arc<Vec<u8>>, PackError> {
        self.with(id).read(id, kind)
    }

    /// The content of a file, in pieces.
    pub(super) fn copy(
        &mut self,
        id: &ObjectId,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), PackError> {
        self.with(id).copy(id, sink)
    }

    /// The reader of the pack that holds the object; any, if none does, which then says so.
    fn with(&mut self, id: &ObjectId) -> &mut PackReader<'a> {
        let holds = |pack: &Pack| pack.kind(id).is_some();
        let at = self.packs.all.iter().position(holds).unwrap_or(0);
        &mut self.readers[at]
    }
}
