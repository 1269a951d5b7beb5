//! Owners of what cannot carry a record: a single id's links, pipes and devices.
//!
//! Only regular files and directories take the extended attribute of `owner.rs`.
//! Of the rest a ledger notes the owners by path. While a step runs it is in
//! memory; with a layer's tree it is kept as records `UID:GID PATH`, each ended
//! by a NUL, since a path may hold any other byte. What is not noted is root's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::owner;
use crate::fs::{open_dir, proc_path};

type Notes = BTreeMap<Vec<u8>, (u32, u32)>;

/// The noted owners of one tree, by path below its root.
///
/// The default has no root: for directories only, of which nothing is noted.
#[derive(Debug, Default)]
pub struct Ledger {
    /// As the kernel names it, for paths of descriptors are compared with it.
    root: PathBuf,
    /// The trees that are stacked to this one, the lowest first.
    layers: Vec<(PathBuf, Notes)>,
    /// What was noted since, above them.
    notes: RefCell<Notes>,
}

impl Ledger {
    /// An empty one for the tree at `root`.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: path_of(&open_dir(root)?)?, ..Self::default() })
    }

    /// Adds a layer that `root` shows, above those added before: its own tree,
    /// and the records kept with it.
    pub fn add_layer(&mut self, tree: &Path, records: &[u8]) -> io::Result<()> {
        self.layers.push((tree.to_owned(), parse(records)?));
        Ok(())
    }

    /// What was noted, as records to keep; empty when there is nothing to keep.
    pub fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (path, (uid, gid)) in &*self.notes.borrow() {
            records.extend_from_slice(format!("{uid}:{gid} ").as_bytes());
            records.extend_from_slice(path);
            records.push(0);
        }
        records
    }

    /// The owner noted of the file at `path`, which must be there and be neither
    /// a regular file nor a directory.
    ///
    /// A layer that has anything at a path hides what those below it note.
    pub fn get(&self, path: &[u8]) -> Option<(u32, u32)> {
        if let Some(owner) = self.notes.borrow().get(path) {
            return Some(*owner);
        }
        let lowest = self.layers.iter().position(|(_, notes)| notes.contains_key(path))?;
        for (tree, notes) in self.layers[lowest..].iter().rev() {
            if let Some(owner) = notes.get(path) {
                return Some(*owner);
            }
            if tree.join(OsStr::from_bytes(path)).symlink_metadata().is_ok() {
                return None;
            }
        }
        None
    }

    /// As [`Ledger::get`], for `name` in the open directory `dir` of the tree.
    pub(super) fn get_in(&self, dir: impl AsFd, name: &CStr) -> io::Result<Option<(u32, u32)>> {
        if self.layers.iter().all(|(_, notes)| notes.is_empty()) && self.notes.borrow().is_empty() {
            return Ok(None);
        }
        Ok(self.get(&self.path_below(dir, name)?))
    }

    /// Notes the owner of `name` in the open directory `dir` of the tree.
    pub(super) fn note(&self, dir: impl AsFd, name: &CStr, owner: (u32, u32)) -> io::Result<()> {
        if owner != (0, 0) {
            let path = self.path_below(dir, name)?;
            self.notes.borrow_mut().insert(path, owner);
        } else if !self.notes.borrow().is_empty() {
            let path = self.path_below(dir, name)?;
            self.notes.borrow_mut().remove(&path);
        }
        Ok(())
    }

    /// Takes what a step noted; of what was noted before only that which
    /// `remains`, for a step's programs note nothing.
    pub fn follow(&self, step: &Self, remains: impl Fn(&[u8]) -> bool) {
        let mut notes = self.notes.borrow_mut();
        notes.retain(|path, _| remains(path));
        notes.extend(step.notes.borrow().iter().map(|(path, owner)| (path.clone(), *owner)));
    }

    /// By the descriptor, since a link may have led to it.
    fn path_below(&self, dir: impl AsFd, name: &CStr) -> io::Result<Vec<u8>> {
        let path = path_of(dir)?.join(OsStr::from_bytes(name.to_bytes()));
        let below = path.strip_prefix(&self.root).map_err(io::Error::other)?;
        Ok(below.as_os_str().as_bytes().to_vec())
    }
}

fn path_of(dir: impl AsFd) -> io::Result<PathBuf> {
    std::fs::read_link(proc_path(&dir))
}

fn parse(records: &[u8]) -> io::Result<Notes> {
    let record = |record: &[u8]| {
        let at = record.iter().position(|&byte| byte == b' ')?;
        let path = record[at + 1..].strip_suffix(b"\0")?;
        Some((path.to_vec(), owner::parse(&record[..at])?))
    };
    let records = records.split_inclusive(|&byte| byte == 0).map(record);
    records.collect::<Option<Notes>>().ok_or_else(|| {
        let message = "the layer's noted owners are damaged; remove it with yado store prune --all";
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn records_come_back_as_they_were() -> io::Result<()> {
        let temp = TempDir::new("ledger-records");
        fs::create_dir(temp.path().join("new\nline and 7:7 space"))?;
        symlink("new\nline and 7:7 space", temp.path().join("way"))?;
        let ledger = Ledger::new(temp.path())?;
        assert_eq!(ledger.records(), b"");
        // Opened by way of a link, noted by where it leads.
        let dir = open_dir(&temp.path().join("way/."))?;
        let root = open_dir(temp.path())?;
        ledger.note(&dir, c"l", (1000, 4_000_000_000))?;
        ledger.note(&root, c"p", (0, 5))?;
        ledger.note(&root, c"gone", (1, 1))?;
        ledger.note(&root, c"gone", (0, 0))?;
        let expected = b"1000:4000000000 new\nline and 7:7 space/l\x000:5 p\0";
        assert_eq!(ledger.records(), expected);
        let mut read = Ledger::new(temp.path())?;
        read.add_layer(temp.path(), expected)?;
        assert_eq!(read.get_in(&dir, c"l")?, Some((1000, 4_000_000_000)));
        assert_eq!((read.get(b"p"), read.get(b"gone")), (Some((0, 5)), None));
        assert!(ledger.note(open_dir(Path::new("/"))?, c"l", (1, 1)).is_err());
        Ok(())
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        for records in ["1:1 a", "1:1\0", "1 a\0", "1:1 a\0\0", "x:1 a\0"] {
            assert!(parse(records.as_bytes()).is_err(), "{records:?}");
        }
    }

    #[test]
    fn the_layer_that_provides_a_file_decides() -> io::Result<()> {
        let temp = TempDir::new("ledger-layers");
        let mut ledger = Ledger::new(temp.path())?;
        for (layer, links, records) in [
            (
                "1",
                &["kept", "given", "replaced", "twice"][..],
                "1:1 kept\x001:1 replaced\x001:1 twice\0",
            ),
            ("2", &["given", "replaced", "twice"], "2:2 given\x002:2 twice\0"),
            ("3", &["other"], ""),
        ] {
            let tree = temp.path().join(layer);
            fs::create_dir(&tree)?;
            for link in links {
                symlink("nowhere", tree.join(link))?;
            }
            ledger.add_layer(&tree, records.as_bytes())?;
        }
        for (path, expected) in [
            ("kept", Some((1, 1))),
            ("given", Some((2, 2))),
            ("replaced", None),
            ("twice", Some((2, 2))),
            ("other", None),
        ] {
            assert_eq!(ledger.get(path.as_bytes()), expected, "{path}");
        }
        Ok(())
    }

    #[test]
    fn what_a_step_replaced_is_not_noted_any_more() -> io::Result<()> {
        let temp = TempDir::new("ledger-follow");
        let root = open_dir(temp.path())?;
        let (tree, step) = (Ledger::new(temp.path())?, Ledger::new(temp.path())?);
        tree.note(&root, c"kept", (1, 1))?;
        tree.note(&root, c"replaced", (1, 1))?;
        step.note(&root, c"new", (2, 2))?;
        tree.follow(&step, |path| path == b"kept");
        assert_eq!(tree.records(), b"1:1 kept\x002:2 new\0");
        Ok(())
    }
}
