//! Writes a layer: hashes its archive, cuts it into blocks, has them compressed.
//!
//! The archive is cut at fixed places; each block becomes a gzip member or a
//! zstd frame of its own, and readers of both formats take several in a row for
//! one stream (RFC 1952, section 2.2; RFC 8878, section 3). So the bytes depend
//! neither on the number of threads nor on who finishes first: the thread that
//! has the next block in the order writes it, and all that wait behind it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Compression;
use super::compress::Compressor;
use super::pool::{Memory, Pool, Room};
use crate::image::{DiffId, Hasher};

/// Takes a layer's archive and writes it, compressed and hashed, to `W`.
///
/// An error of `W` (a full disk) comes out of a later write or of
/// [`finish`](Self::finish). Dropped before that, it lets go of `W` and of its blocks.
#[derive(Debug)]
pub struct LayerWriter<W> {
    compression: Compression,
    pool: Pool,
    block: Vec<u8>,
    /// How many blocks were handed over.
    count: u64,
    hasher: Hasher,
    failed: bool,
    output: Arc<Output<W>>,
}

#[derive(Debug)]
struct Output<W> {
    turns: Mutex<Turns<W>>,
    /// A job has ended.
    ended: Condvar,
}

#[derive(Debug)]
struct Turns<W> {
    /// Absent while someone writes to it.
    out: Option<W>,
    /// The block to be written next.
    next: u64,
    /// Those behind it that are compressed already.
    ready: BTreeMap<u64, Compressed>,
    /// How many jobs have not ended.
    jobs: usize,
    failed: bool,
    /// Why, until it is told.
    error: Option<io::Error>,
}

#[derive(Debug)]
struct Compressed {
    bytes: Vec<u8>,
    length: usize,
    _room: Room,
}

impl<W: Write + Send + 'static> LayerWriter<W> {
    /// A layer that goes to `out`, compressed by the threads of `pool`.
    pub fn new(out: W, compression: Compression, pool: &Pool) -> Self {
        let turns = Turns {
            out: Some(out),
            next: 0,
            ready: BTreeMap::new(),
            jobs: 0,
            failed: false,
            error: None,
        };
        Self {
            compression,
            pool: pool.clone(),
            block: pool.take_block(),
            count: 0,
            hasher: Hasher::new(),
            failed: false,
            output: Arc::new(Output { turns: Mutex::new(turns), ended: Condvar::new() }),
        }
    }

    /// Writes what is left; gives the digest of the archive and `out`.
    pub fn finish(mut self) -> io::Result<(DiffId, W)> {
        // An empty archive is one empty block; behind a full block nothing is added.
        let out = if self.count == 0 {
            let bytes = self.pool.compress_here(self.compression, &self.block)?;
            let mut out = self.output.lock().out.take().ok_or_else(failed)?;
            out.write_all(&bytes)?;
            out
        } else {
            if !self.block.is_empty() {
                self.cut()?;
            }
            let mut turns = self.output.wait();
            turns.check()?;
            turns.out.take().filter(|_| turns.next == self.count).ok_or_else(stopped)?
        };
        let mut out = out;
        out.flush()?;
        Ok((DiffId(std::mem::take(&mut self.hasher).finish()), out))
    }

    /// Hands the block over.
    fn cut(&mut self) -> io::Result<()> {
        let room = self.pool.wait_for_room();
        {
            let mut turns = self.output.lock();
            turns.check()?;
            turns.jobs += 1;
        }
        let block = std::mem::replace(&mut self.block, self.pool.take_block());
        let (number, compression) = (self.count, self.compression);
        self.count += 1;
        let ending = Ending(Arc::clone(&self.output));
        self.pool.submit(Box::new(move |compressor, memory| {
            ending.0.take_turn(number, compression, block, room, compressor, memory);
        }));
        Ok(())
    }
}

impl<W: Write + Send + 'static> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.compression.block_size();
        if self.failed {
            return Err(failed());
        }
        if self.block.len() == size {
            self.failed = true;
            self.cut()?;
            self.failed = false;
        }
        let count = bytes.len().min(size - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    /// Does nothing: a block is compressed when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W> Drop for LayerWriter<W> {
    fn drop(&mut self) {
        self.output.lock().failed = true;
        drop(self.output.wait().out.take());
        self.pool.keep_block(std::mem::take(&mut self.block));
    }
}

/// Tells that a job has ended, even by a panic.
struct Ending<W>(Arc<Output<W>>);

impl<W> Drop for Ending<W> {
    fn drop(&mut self) {
        self.0.lock().jobs -= 1;
        self.0.ended.notify_all();
    }
}

impl<W> Output<W> {
    fn lock(&self) -> MutexGuard<'_, Turns<W>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every job has ended.
    fn wait(&self) -> MutexGuard<'_, Turns<W>> {
        let wait = self.ended.wait_while(self.lock(), |turns| turns.jobs > 0);
        wait.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> Output<W> {
    /// Compresses a block, and writes it if its turn has come.
    fn take_turn(
        &self,
        number: u64,
        compression: Compression,
        block: Vec<u8>,
        room: Room,
        compressor: &mut Compressor,
        memory: &Memory,
    ) {
        if self.lock().failed {
            return;
        }
        let mut bytes = memory.take_result();
        let result = compressor.compress(compression, &block, &mut bytes);
        memory.keep_block(block);
        let mut turns = self.lock();
        match result {
            Ok(length) => turns.ready.insert(number, Compressed { bytes, length, _room: room }),
            Err(error) => return turns.fail(error),
        };
        // Who has taken the output writes what is ready before he puts it back.
        let Some(mut out) = turns.out.take() else { return };
        while !turns.failed {
            let next = turns.next;
            let Some(compressed) = turns.ready.remove(&next) else { break };
            drop(turns);
            let written = out.write_all(&compressed.bytes[..compressed.length]);
            memory.keep_result(compressed.bytes);
            turns = self.lock();
            turns.next += 1;
            if let Err(error) = written {
                turns.fail(error);
            }
        }
        turns.out = Some(out);
    }
}

impl<W> Turns<W> {
    fn fail(&mut self, error: io::Error) {
        self.failed = true;
        self.error.get_or_insert(error);
        self.ready.clear();
    }

    fn check(&mut self) -> io::Result<()> {
        if self.failed { Err(self.error.take().unwrap_or_else(failed)) } else { Ok(()) }
    }
}

fn failed() -> io::Error {
    io::Error::other("the layer's writer failed before")
}

fn stopped() -> io::Error {
    io::Error::other("a thread that writes the layer stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;
    use crate::layer::open;
    use std::io::Read;

    /// Bytes that are neither all alike nor random.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            out.extend_from_slice(&[(state >> 24) as u8; 3]);
        }
        out.truncate(length);
        out
    }

    fn compressed(bytes: &[u8], compression: Compression, threads: usize) -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new(), compression, &Pool::new(threads));
        for chunk in bytes.chunks(100_003) {
            writer.write_all(chunk).unwrap();
        }
        let (diff_id, out) = writer.finish().unwrap();
        assert_eq!(diff_id, DiffId(Digest::of(bytes)));
        out
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let mib = 1024 * 1024;
        for compression in
            [Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }, Compression::None]
        {
            for length in [0, 1, mib, 4 * mib, 4 * mib + 1] {
                let bytes = sample(length);
                let out = compressed(&bytes, compression, 1);
                for threads in [2, 5] {
                    assert!(compressed(&bytes, compression, threads) == out, "{compression:?}");
                }
                let mut back = Vec::new();
                open(io::Cursor::new(out)).unwrap().1.read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{compression:?} {length}");
            }
        }
    }

    #[test]
    fn gzip_headers_tell_nothing_and_no_empty_member_is_added() {
        let block = Compression::default().block_size();
        let one = compressed(&sample(block), Compression::default(), 2);
        // Flags, time: 0; extra flags: 0; operating system: unknown.
        assert_eq!(one[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        let mut member = flate2::bufread::GzDecoder::new(&one[..]);
        io::copy(&mut member, &mut io::sink()).unwrap();
        assert_eq!(member.into_inner().len(), 0);
    }

    /// A disk of so many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_reported_and_nothing_hangs() {
        let bytes = sample(256 * 1024);
        for compression in ["gzip:0", "zstd:1", "none"] {
            let compression: Compression = compression.parse().unwrap();
            // Full at once: the error comes out of some write, and the writer stays failed.
            let mut writer = LayerWriter::new(Disk(10), compression, &Pool::new(2));
            let error = (0..200).find_map(|_| writer.write_all(&bytes).err()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression:?}");
            assert!(writer.write_all(&bytes).is_err());
            assert!(writer.finish().is_err());
            // Full at the end.
            let mut writer = LayerWriter::new(Disk(10), compression, &Pool::new(2));
            writer.write_all(&bytes).unwrap();
            let error = writer.finish().map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression:?}");
        }
    }

    struct Kept(#[expect(dead_code, reason = "counts the owners")] Arc<()>);
    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_dropped_writer_lets_go_of_its_file() {
        let (out, pool) = (Arc::new(()), Pool::new(3));
        let mut writer = LayerWriter::new(Kept(Arc::clone(&out)), Compression::default(), &pool);
        writer.write_all(&sample(3 * 1024 * 1024 + 5)).unwrap();
        drop(writer);
        assert_eq!(Arc::strong_count(&out), 1);
    }

    #[test]
    fn a_layer_of_one_block_starts_no_thread() {
        let pool = Pool::new(4);
        for length in [0, 700, 1024 * 1024] {
            for compression in ["gzip", "zstd", "none"] {
                let mut writer = LayerWriter::new(Vec::new(), compression.parse().unwrap(), &pool);
                writer.write_all(&sample(length)).unwrap();
                writer.finish().unwrap();
            }
        }
        assert_eq!(pool.threads(), 0);
        let mut writer = LayerWriter::new(Vec::new(), Compression::default(), &pool);
        writer.write_all(&sample(1024 * 1024 + 1)).unwrap();
        writer.finish().unwrap();
        assert!((1..=2).contains(&pool.threads()));
    }

    #[test]
    fn many_layers_share_few_threads() {
        let pool = Pool::new(2);
        let bytes = sample(7 * 1024 * 1024 + 1);
        let alone = compressed(&bytes, Compression::Gzip { level: 1 }, 1);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (bytes, alone, pool) = (&bytes, &alone, &pool);
                scope.spawn(move || {
                    let level = Compression::Gzip { level: 1 };
                    let mut writer = LayerWriter::new(Vec::new(), level, pool);
                    // Some are given up in the middle, and one has nowhere to go.
                    match number {
                        0..4 => {
                            writer.write_all(bytes).unwrap();
                            assert!(writer.finish().unwrap().1 == *alone, "{number}");
                        }
                        4..7 => writer.write_all(&bytes[..number * 1_000_000]).unwrap(),
                        _ => {
                            let mut writer = LayerWriter::new(Disk(10), level, pool);
                            let written = writer.write_all(bytes);
                            assert!(written.and_then(|()| writer.finish().map(drop)).is_err());
                        }
                    }
                });
            }
        });
        assert_eq!((pool.threads(), pool.room()), (2, 2 + 1 + 2));
    }

    #[test]
    fn what_does_not_compress_is_stored_as_it_is() {
        let block = Compression::default().block_size();
        let mut state = 1_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let random: Vec<u8> = std::iter::repeat_with(&mut noise).take(block).collect();
        for level in [1, 6, 9] {
            let out = compressed(&random, Compression::Gzip { level }, 2);
            assert_eq!(out, compressed(&random, Compression::Gzip { level: 0 }, 1), "{level}");
            let text = sample(2 * block);
            let mixed = [&text[..block], &random, &text[block..]].concat();
            let parts = [&text[..block], &random, &text[block..]]
                .map(|part| compressed(part, Compression::Gzip { level }, 1));
            assert_eq!(compressed(&mixed, Compression::Gzip { level }, 2), parts.concat());
        }
    }
}
