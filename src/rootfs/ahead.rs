//! Reads an archive ahead, and hashes it, on a thread of its own.
//!
//! To decompress and to make files take about as long as each other, so they
//! are done at once. Blocks go to who unpacks and come back empty; there are few.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::image::{DiffId, Hasher};

/// How much is handed over at once.
const BLOCK: usize = 256 * 1024;

/// How many blocks there are: one at each side, and two on the way.
const BLOCKS: usize = 4;

/// Lets `consume` read what `reader` gives; gives also the digest, computed by `hasher`, and
/// the length of all that was read.
///
/// `consume` reads to the end unless it fails.
pub(super) fn read_ahead<T, E>(
    mut reader: impl Read + Send,
    mut hasher: Hasher,
    consume: impl FnOnce(&mut Ahead) -> Result<T, E>,
) -> Result<(T, DiffId, u64), E> {
    let (send, blocks) = sync_channel(BLOCKS);
    let (give_back, empty) = channel();
    for _ in 0..BLOCKS {
        // Its receiver is in the next line but three.
        let _ = give_back.send(Vec::new());
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let size = fill(&mut reader, &mut hasher, &empty, &send);
            (DiffId(hasher.finish()), size)
        });
        let mut ahead =
            Ahead { blocks: Some(blocks), give_back, block: Vec::new(), at: 0, failed: false };
        let done = consume(&mut ahead);
        // Else the thread would wait for ever for who takes its blocks.
        drop(ahead);
        let read = thread.join();
        let (digest, size) = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map(|done| (done, digest, size))
    })
}

/// Reads and sends blocks until the end, an error, or nobody takes them.
fn fill(
    reader: &mut impl Read,
    hasher: &mut Hasher,
    empty: &Receiver<Vec<u8>>,
    blocks: &SyncSender<io::Result<Vec<u8>>>,
) -> u64 {
    let mut size = 0;
    while let Ok(mut block) = empty.recv() {
        block.resize(BLOCK, 0);
        let (mut length, mut error) = (0, None);
        while length < BLOCK {
            match reader.read(&mut block[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(other) => {
                    error = Some(other);
                    break;
                }
            }
        }
        block.truncate(length);
        hasher.update(&block);
        size += length as u64;
        let is_last = length < BLOCK;
        if (length > 0 && blocks.send(Ok(block)).is_err())
            || error.is_some_and(|error| blocks.send(Err(error)).is_err())
            || is_last
        {
            break;
        }
    }
    size
}

/// What was read ahead.
pub(super) struct Ahead {
    /// Absent after the end.
    blocks: Option<Receiver<io::Result<Vec<u8>>>>,
    give_back: Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    failed: bool,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("reading the archive failed before"));
        }
        while self.at == self.block.len() && !buffer.is_empty() {
            let Some(next) = self.blocks.as_ref().and_then(|blocks| blocks.recv().ok()) else {
                self.blocks = None;
                return Ok(0);
            };
            self.failed = next.is_err();
            let done = std::mem::replace(&mut self.block, next?);
            self.at = 0;
            // At the end nobody takes it.
            let _ = self.give_back.send(done);
        }
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..][..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 251) as u8).collect()
    }

    #[test]
    fn all_is_read_and_hashed() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 10 * BLOCK, 10 * BLOCK + 7] {
            let bytes = content(length);
            let (read, digest, size) =
                read_ahead(io::Cursor::new(&bytes), Hasher::new(), |ahead| {
                    let mut all = Vec::new();
                    ahead.read_to_end(&mut all).map(|_| all)
                })
                .unwrap();
            assert!(read == bytes, "{length}");
            assert_eq!((digest, size), (DiffId(Digest::of(&bytes)), length as u64));
        }
    }

    #[test]
    fn who_stops_early_stops_the_reading() {
        let stopped = read_ahead(io::repeat(7), Hasher::new(), |ahead| {
            ahead.read_exact(&mut vec![0; 3 * BLOCK])?;
            Err::<(), _>(io::Error::other("enough"))
        });
        assert_eq!(stopped.unwrap_err().to_string(), "enough");
    }

    /// Gives so many bytes, then an error.
    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(count) }
        }
    }

    #[test]
    fn an_error_comes_behind_what_was_read_before() {
        for length in [0, 5, BLOCK, 9 * BLOCK + 5] {
            let mut read = Vec::new();
            let failed = read_ahead(Broken(length), Hasher::new(), |ahead| {
                let error = ahead.read_to_end(&mut read).unwrap_err();
                assert!(ahead.read(&mut [0]).is_err());
                Err::<(), _>(error)
            });
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(read.len(), length);
        }
    }
}
