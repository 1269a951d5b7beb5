//! The one place where lines leave.
//!
//! A line is written whole and flushed, so that lines of parallel steps never
//! mix and a reader on a pipe sees each at once. A reader that went away, as
//! `head` does, must not stop a build: after the first error nothing is written.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

pub(super) struct Writer(Mutex<Option<Box<dyn Write + Send>>>);

impl Writer {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(Some(out)))
    }

    /// Writes `bytes` in one piece.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match out.as_mut() {
            Some(out) => out.write_all(bytes).and_then(|()| out.flush()),
            None => return,
        };
        if written.is_err() {
            *out = None;
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
