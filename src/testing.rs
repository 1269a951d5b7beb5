//! What the unit tests share: a directory that goes with its test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new directory, removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Makes a directory whose name holds `label`.
    pub(crate) fn new(label: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("yado-{label}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("make a temporary directory");
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let Some((parent, name)) = self.0.parent().zip(self.0.file_name()) else { return };
        let name = std::ffi::CString::new(name.as_encoded_bytes()).expect("a name without NUL");
        if let Ok(parent) = crate::fs::open_dir(parent) {
            let _ = crate::fs::remove_tree(parent, &name);
        }
    }
}
