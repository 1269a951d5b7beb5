//! What builds know of the files of their contexts: `yado/contexts/HEX`, by the path of
//! the context. It is a help and no more: what is lost of it is read again.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Store, StoreError};
use crate::image::Digest;

/// How many contexts are known: each checkout of a machine that makes a new directory for
/// every build would stay for ever.
const CONTEXTS: usize = 64;

impl Store {
    /// What was kept of the context at `path`.
    pub fn context(&self, path: &Path) -> Option<Vec<u8>> {
        fs::read(self.context_path(path)).ok()
    }

    /// Keeps `bytes` of the context at `path`, and of others only the latest.
    pub fn put_context(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let dir = self.contexts();
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&dir).map_err(StoreError::io("create", &dir))?;
        self.work().write_file(&self.context_path(path), bytes)?;
        let entries = fs::read_dir(&dir).map_err(StoreError::io("read", &dir))?.flatten();
        let time = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
        let mut kept: Vec<(SystemTime, PathBuf)> =
            entries.filter_map(|entry| Some((time(&entry.path()).ok()?, entry.path()))).collect();
        kept.sort();
        for (_, oldest) in kept.iter().take(kept.len().saturating_sub(CONTEXTS)) {
            // Another process may have been faster.
            let _ = fs::remove_file(oldest);
        }
        Ok(())
    }

    /// Forgets all contexts; gives how many bytes they were.
    pub(super) fn forget_contexts(&self) -> Result<u64, StoreError> {
        let dir = self.contexts();
        let Ok(entries) = fs::read_dir(&dir) else { return Ok(0) };
        let mut bytes = 0;
        for entry in entries.flatten() {
            bytes += super::usage::disk_size(&entry.path());
            fs::remove_file(entry.path()).map_err(StoreError::io("remove", &entry.path()))?;
        }
        Ok(bytes)
    }

    fn contexts(&self) -> PathBuf {
        self.root().join("yado/contexts")
    }

    fn context_path(&self, path: &Path) -> PathBuf {
        self.contexts().join(Digest::of(path.as_os_str().as_bytes()).hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn only_the_latest_contexts_are_kept() -> Result<(), StoreError> {
        let temp = TempDir::new("store-contexts");
        let store = Store::open(temp.path(), "ids")?;
        let path = |number: usize| PathBuf::from(format!("/src/{number}"));
        assert_eq!(store.context(&path(0)), None);
        for number in 0..CONTEXTS + 3 {
            store.put_context(&path(number), number.to_string().as_bytes())?;
            // As if they were made a second apart.
            let file = store.context_path(&path(number));
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            fs::File::open(&file)
                .and_then(|opened| opened.set_modified(time))
                .map_err(StoreError::io("set the time of", &file))?;
        }
        store.put_context(&path(5), b"again")?;
        let there = |number| store.context(&path(number)).is_some();
        assert_eq!([0, 1, 2, 3, 4, 5].map(there), [false, false, false, true, true, true]);
        assert_eq!(store.context(&path(5)), Some(b"again".to_vec()));
        assert_eq!(store.context(&path(CONTEXTS + 2)), Some(b"66".to_vec()));
        assert!(store.clone().prune(&crate::store::Selection::default())?.bytes > 0);
        assert_eq!(store.context(&path(5)), None);
        Ok(())
    }
}
