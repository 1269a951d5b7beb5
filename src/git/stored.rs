//! The objects of a repository on this machine: files of their own and packs, and those that it
//! borrows (`objects/info/alternates`). What is read is what its id says, or an error.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::ZlibDecoder;

use super::id::{Hasher, ObjectFormat, ObjectId};
use super::object::Kind;
use super::pack::{PackError, Stored, StoredPack};

/// An object that takes more than this is not held in memory.
const LARGEST: u64 = 1 << 30;

/// A small file of a repository as text. What is no regular file is refused: a pipe would never end.
pub(super) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    /// Larger than any list of references that is read here.
    const LIMIT: u64 = 256 << 20;
    let mut text = String::new();
    crate::fs::open_regular(path.as_ref())?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Where the objects of a repository are.
#[derive(Debug, Default)]
pub(super) struct StoredObjects {
    /// Its own directory, and those that it borrows from.
    dirs: Vec<PathBuf>,
    packs: Vec<StoredPack>,
}

impl StoredObjects {
    /// Opens the directory `objects` of a repository, and those that it names.
    pub(super) fn open(objects: PathBuf, format: ObjectFormat) -> Result<Self, PackError> {
        let mut all = Self::default();
        all.borrow(objects, format, 0)?;
        Ok(all)
    }

    fn borrow(
        &mut self,
        objects: PathBuf,
        format: ObjectFormat,
        level: usize,
    ) -> Result<(), PackError> {
        /// As deep as git goes.
        const DEPTH: usize = 5;
        if level > DEPTH || self.dirs.contains(&objects) {
            return Ok(());
        }
        for entry in fs::read_dir(objects.join("pack")).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "idx") {
                self.packs.push(StoredPack::open(&path, format)?);
            }
        }
        let list = text(objects.join("info/alternates")).unwrap_or_default();
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let others: Vec<PathBuf> = lines.map(|line| objects.join(line)).collect();
        self.dirs.push(objects);
        others.into_iter().try_for_each(|other| self.borrow(other, format, level + 1))
    }

    /// Where an object of its own stands by itself.
    pub(super) fn place(&self, id: &ObjectId) -> PathBuf {
        loose(&self.dirs[0], id)
    }

    /// Whether an object is there.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.packs.iter().any(|pack| pack.has(id))
            || self.dirs.iter().any(|dir| loose(dir, id).is_file())
    }

    /// An object, whole; `None` if it is not there.
    pub(super) fn read(&self, id: &ObjectId) -> Result<Option<Stored>, PackError> {
        let Some((kind, bytes)) = self.look_up(id)? else { return Ok(None) };
        let mut hasher = Hasher::of_object(id.format(), kind.name(), bytes.len() as u64);
        hasher.update(&bytes);
        if hasher.finish() == Some(*id) { Ok(Some((kind, bytes))) } else { Err(damaged(id)) }
    }

    fn look_up(&self, id: &ObjectId) -> Result<Option<Stored>, PackError> {
        for pack in &self.packs {
            if let Some(found) = pack.read(id)? {
                return Ok(Some(found));
            }
        }
        for dir in &self.dirs {
            match fs::File::open(loose(dir, id)) {
                Ok(file) => return unpack(file).map(Some).ok_or_else(|| damaged(id)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

fn damaged(id: &ObjectId) -> PackError {
    PackError::Damaged(format!("object {id} is damaged"))
}

fn loose(objects: &Path, id: &ObjectId) -> PathBuf {
    let name = id.to_string();
    objects.join(&name[..2]).join(&name[2..])
}

/// An object that stands by itself: its kind and size, a zero byte, its content.
fn unpack(file: fs::File) -> Option<Stored> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(file).take(LARGEST).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (kind, size) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let kinds = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];
    let kind = kinds.into_iter().find(|known| known.name() == kind)?;
    let size: usize = size.parse().ok()?;
    let content = bytes.split_off(end + 1);
    (content.len() == size).then(|| (kind, Arc::new(content)))
}
