//! Compresses a layer on several threads, with the same bytes on any number of them.
//!
//! The archive is cut at fixed places; each block becomes a gzip member or a
//! zstd frame of its own, and readers of both formats take several in a row for
//! one stream (RFC 1952, section 2.2; RFC 8878, section 3). A few blocks are in
//! memory per thread, whatever the layer's size.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::image::{DiffId, Hasher, media_type};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip, which every runtime reads.
    Gzip {
        /// 0 (stored) to 12; 6 unless asked.
        level: u8,
    },
    /// zstd, faster and smaller; valid in OCI manifests only.
    Zstd {
        /// 1 to 22; 3 unless asked.
        level: u8,
    },
    /// A plain archive.
    None,
}

/// Why a text does not name a compression.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompressionError {
    /// There is no such format.
    #[error("unknown compression {0:?}, expected gzip, zstd or none")]
    Name(String),
    /// The format has no such level.
    #[error("compression level {level:?} of {name} is not one of {range}")]
    Level {
        /// The format.
        name: &'static str,
        /// The level asked for.
        level: String,
        /// The levels there are.
        range: &'static str,
    },
}

impl Compression {
    /// The format of this name at this level, or at its usual one.
    pub fn new(name: &str, level: Option<&str>) -> Result<Self, CompressionError> {
        let within = |name, usual: u8, first: u8, last: u8, range| match level {
            None => Ok(usual),
            Some(text) => match text.parse() {
                Ok(level) if (first..=last).contains(&level) => Ok(level),
                _ => Err(CompressionError::Level { name, level: text.to_owned(), range }),
            },
        };
        match name {
            "gzip" => Ok(Self::Gzip { level: within("gzip", 6, 0, 12, "0 to 12")? }),
            "zstd" => Ok(Self::Zstd { level: within("zstd", 3, 1, 22, "1 to 22")? }),
            "none" | "uncompressed" => match level {
                None => Ok(Self::None),
                Some(level) => Err(CompressionError::Level {
                    name: "none",
                    level: level.to_owned(),
                    range: "none at all",
                }),
            },
            _ => Err(CompressionError::Name(name.to_owned())),
        }
    }

    /// The OCI media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Self::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
            Self::None => media_type::OCI_LAYER,
        }
    }

    /// How many bytes of the archive are compressed as one; part of the format of our layers:
    /// another number gives other digests. Larger blocks compress little better, and at these
    /// sizes each costs less than 0.1 % more than an endless one.
    fn block_size(self) -> usize {
        match self {
            Self::Gzip { .. } | Self::None => 1024 * 1024,
            Self::Zstd { .. } => 2 * 1024 * 1024,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

/// `gzip`, `gzip:9`, `zstd`, `zstd:19` or `none`.
impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        match text.split_once(':') {
            Some((name, level)) => Self::new(name, Some(level)),
            None => Self::new(text, None),
        }
    }
}

/// A block to compress and where its result goes.
type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// What the writing thread writes next.
enum Next {
    Ready(Vec<u8>),
    Coming(Receiver<io::Result<Vec<u8>>>),
}

/// Takes a layer's archive and writes it, compressed and hashed, to `W`.
///
/// An error of `W` (a full disk) comes out of the next write or of
/// [`finish`](Self::finish). Dropped before that, it ends its threads.
#[derive(Debug)]
pub struct LayerWriter<W> {
    compression: Compression,
    block: Vec<u8>,
    any: bool,
    hasher: Hasher,
    jobs: Option<SyncSender<Job>>,
    order: Option<SyncSender<Next>>,
    workers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> LayerWriter<W> {
    /// A layer that goes to `out`, compressed on `threads` threads (at least one).
    pub fn new(out: W, compression: Compression, threads: usize) -> Self {
        let threads = if compression == Compression::None { 0 } else { threads.max(1) };
        let (jobs, queue) = sync_channel::<Job>(threads.max(1));
        let queue = Arc::new(Mutex::new(queue));
        let workers = (0..threads)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || work(compression, &queue))
            })
            .collect();
        // Results wait here for their turn: as many as are being made, and one more.
        let (order, turns) = sync_channel(threads + 1);
        let writer = std::thread::spawn(move || write_in_order(out, &turns));
        Self {
            compression,
            block: Vec::new(),
            any: false,
            hasher: Hasher::new(),
            jobs: Some(jobs),
            order: Some(order),
            workers,
            writer: Some(writer),
        }
    }

    /// Writes what is left; gives the digest of the archive and `out`.
    pub fn finish(mut self) -> io::Result<(DiffId, W)> {
        // An empty archive is one empty block; behind a full block nothing is added.
        if !self.block.is_empty() || !self.any {
            self.cut()?;
        }
        let out = self.join()?;
        let hasher = std::mem::take(&mut self.hasher);
        Ok((DiffId(hasher.finish()), out))
    }

    /// Hands the block over.
    fn cut(&mut self) -> io::Result<()> {
        self.any = true;
        let block = std::mem::take(&mut self.block);
        let (Some(jobs), Some(order)) = (&self.jobs, &self.order) else { return Err(failed()) };
        let handed = if self.compression == Compression::None {
            order.send(Next::Ready(block)).is_ok()
        } else {
            let (result, coming) = sync_channel(1);
            order.send(Next::Coming(coming)).is_ok() && jobs.send((block, result)).is_ok()
        };
        if handed {
            return Ok(());
        }
        // The writing thread is gone; it left the reason behind.
        Err(self.join().err().unwrap_or_else(failed))
    }

    fn join(&mut self) -> io::Result<W> {
        let panicked = |_| io::Error::other("a thread that writes the layer panicked");
        (self.jobs, self.order) = (None, None);
        let workers = self.workers.drain(..).map(JoinHandle::join);
        let worked = workers.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>();
        let out = self.writer.take().ok_or_else(failed)?.join().map_err(panicked)??;
        worked.map_err(panicked)?;
        Ok(out)
    }
}

impl<W: Write + Send + 'static> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.compression.block_size();
        if self.block.len() == size {
            self.cut()?;
        }
        if self.writer.is_none() {
            return Err(failed());
        }
        if self.block.capacity() == 0 {
            self.block.reserve_exact(size);
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
        (self.jobs, self.order) = (None, None);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn failed() -> io::Error {
    io::Error::other("the layer's writer failed before")
}

fn write_in_order<W: Write>(mut out: W, turns: &Receiver<Next>) -> io::Result<W> {
    for next in turns {
        let bytes = match next {
            Next::Ready(bytes) => bytes,
            Next::Coming(coming) => coming
                .recv()
                .map_err(|_| io::Error::other("a thread that compresses the layer stopped"))??,
        };
        out.write_all(&bytes)?;
    }
    out.flush()?;
    Ok(out)
}

fn work(compression: Compression, queue: &Mutex<Receiver<Job>>) {
    let mut compressor = Compressor::new(compression);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, result)) = job else { return };
        let compressed = match &mut compressor {
            Ok(compressor) => compressor.compress(block),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // Nobody takes it when the writing thread has failed.
        let _ = result.send(compressed);
    }
}

enum Compressor {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
    None,
}

impl Compressor {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(level.into())
                    .map_err(|_| io::Error::other("no such gzip level"))?;
                Self::Gzip(libdeflater::Compressor::new(level))
            }
            Compression::Zstd { level } => {
                let mut compressor = zstd::bulk::Compressor::new(level.into())?;
                compressor.include_checksum(true)?;
                Self::Zstd(compressor)
            }
            Compression::None => Self::None,
        })
    }

    /// The block as a whole gzip member or zstd frame.
    fn compress(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(compressor) => {
                let mut out = vec![0; compressor.gzip_compress_bound(block.len())];
                let length = compressor
                    .gzip_compress(&block, &mut out)
                    .map_err(|error| io::Error::other(format!("compress with gzip: {error}")))?;
                out.truncate(length);
                Ok(out)
            }
            Self::Zstd(compressor) => compressor.compress(&block),
            Self::None => Ok(block),
        }
    }
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
        let mut writer = LayerWriter::new(Vec::new(), compression, threads);
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
            let mut writer = LayerWriter::new(Disk(10), compression, 2);
            let error = (0..200).find_map(|_| writer.write_all(&bytes).err()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression:?}");
            assert!(writer.write_all(&bytes).is_err());
            assert!(writer.finish().is_err());
            // Full at the end.
            let mut writer = LayerWriter::new(Disk(10), compression, 2);
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
    fn a_dropped_writer_ends_its_threads() {
        let out = Arc::new(());
        let mut writer = LayerWriter::new(Kept(Arc::clone(&out)), Compression::default(), 3);
        writer.write_all(&sample(3 * 1024 * 1024 + 5)).unwrap();
        drop(writer);
        assert_eq!(Arc::strong_count(&out), 1);
    }

    #[test]
    fn names_and_levels() {
        for (text, expected) in [
            ("gzip", Ok(Compression::Gzip { level: 6 })),
            ("gzip:0", Ok(Compression::Gzip { level: 0 })),
            ("gzip:12", Ok(Compression::Gzip { level: 12 })),
            ("zstd", Ok(Compression::Zstd { level: 3 })),
            ("zstd:22", Ok(Compression::Zstd { level: 22 })),
            ("none", Ok(Compression::None)),
            ("gzip:13", Err("compression level \"13\" of gzip is not one of 0 to 12")),
            ("zstd:0", Err("compression level \"0\" of zstd is not one of 1 to 22")),
            ("zstd:", Err("compression level \"\" of zstd is not one of 1 to 22")),
            ("none:1", Err("compression level \"1\" of none is not one of none at all")),
            ("xz", Err("unknown compression \"xz\", expected gzip, zstd or none")),
        ] {
            let parsed = text.parse::<Compression>().map_err(|error| error.to_string());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{text}");
        }
    }
}
