//! A pack as it arrives: to a file without a name or to memory, its checksum verified.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags};

use super::{Pack, PackError, damaged};
use crate::git::id::{Hasher, ObjectFormat, ObjectId};

/// Takes the bytes of a pack.
pub(in crate::git) struct PackWriter {
    file: File,
    size: u64,
    format: ObjectFormat,
    hasher: Hasher,
    /// The last bytes so far, which may be the checksum.
    tail: Vec<u8>,
}

impl PackWriter {
    /// Begins a pack in a new file of the directory `work`, which goes when it is closed.
    pub(in crate::git) fn create(work: &Path, format: ObjectFormat) -> io::Result<Self> {
        let hasher = Hasher::new(format);
        Ok(Self { file: unnamed(work)?, size: 0, format, hasher, tail: Vec::new() })
    }

    /// Begins a pack in memory, for which no directory must be there.
    pub(in crate::git) fn in_memory(format: ObjectFormat) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("pack", MemfdFlags::CLOEXEC)?.into();
        Ok(Self { file, size: 0, format, hasher: Hasher::new(format), tail: Vec::new() })
    }

    /// Bytes so far.
    pub(in crate::git) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes.
    pub(in crate::git) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(self.format.len());
        self.hasher.update(&self.tail[..surplus]);
        self.tail.drain(..surplus);
        Ok(())
    }

    /// Verifies the checksum and looks at every object; blocks. `stop` is asked between objects.
    pub(in crate::git) fn finish(self, stop: &dyn Fn() -> bool) -> Result<Pack, PackError> {
        let trailer = ObjectId::from_bytes(&self.tail);
        let found = self.hasher.finish();
        let (Some(trailer), true) = (trailer, trailer == found) else {
            return Err(damaged("the pack's checksum is wrong, or the pack is cut short"));
        };
        let entries = super::index::index(&self.file, self.size, self.format, stop)?;
        Ok(Pack { file: self.file, size: self.size, format: self.format, trailer, entries })
    }
}

impl Pack {
    /// Its checksum, which names it in a repository.
    pub(in crate::git) fn trailer(&self) -> ObjectId {
        self.trailer
    }

    /// Whether no object is in it.
    pub(in crate::git) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the file a name, if it has none yet and its file system takes it there.
    pub(in crate::git) fn link(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o444))?;
        let path = crate::fs::proc_path(&self.file);
        Ok(rustix::fs::linkat(rustix::fs::CWD, path, dir, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Copies the pack as it came.
    pub(in crate::git) fn copy(&self, to: &mut impl Write) -> io::Result<()> {
        self.part(0, self.size, &mut |piece| to.write_all(piece))
    }

    /// The index that git wants beside a pack (gitformat-pack, "version 2 pack-*.idx").
    pub(in crate::git) fn index(&self) -> io::Result<Vec<u8>> {
        /// Offsets from here on stand in a table of their own.
        const LARGE: u64 = 1 << 31;
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        let mut at = 0;
        for first in 0..=u8::MAX {
            at += self.entries[at..].partition_point(|e| e.id.as_bytes()[0] <= first);
            index.extend_from_slice(&(at as u32).to_be_bytes());
        }
        for entry in &self.entries {
            index.extend_from_slice(entry.id.as_bytes());
        }
        for crc in self.checksums()? {
            index.extend_from_slice(&crc.to_be_bytes());
        }
        let mut large: Vec<u64> = Vec::new();
        for entry in &self.entries {
            let offset = if entry.offset < LARGE {
                entry.offset
            } else {
                large.push(entry.offset);
                LARGE + large.len() as u64 - 1
            };
            index.extend_from_slice(&(offset as u32).to_be_bytes());
        }
        for offset in large {
            index.extend_from_slice(&offset.to_be_bytes());
        }
        index.extend_from_slice(self.trailer.as_bytes());
        with_checksum(index, self.format)
    }

    /// The CRC-32 of each entry as it stands in the file, which is read once from front to back.
    fn checksums(&self) -> io::Result<Vec<u32>> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_unstable_by_key(|at| self.entries[*at].offset);
        let end = self.size - self.format.len() as u64;
        let mut sums = vec![0; self.entries.len()];
        let Some(first) = order.first() else { return Ok(sums) };
        let mut at = self.entries[*first].offset;
        let mut number = 0;
        let mut crc = libdeflater::Crc::new();
        self.part(at, end, &mut |mut piece| {
            while let Some(current) = order.get(number) {
                let next = order.get(number + 1);
                let stop = next.map_or(end, |next| self.entries[*next].offset);
                let count = (stop - at).min(piece.len() as u64) as usize;
                crc.update(&piece[..count]);
                at += count as u64;
                piece = &piece[count..];
                if at < stop {
                    break;
                }
                sums[*current] = std::mem::take(&mut crc).sum();
                number += 1;
            }
            Ok(())
        })?;
        Ok(sums)
    }

    fn part(
        &self,
        start: u64,
        end: u64,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; (end - start).min(128 * 1024) as usize];
        let mut at = start;
        while at < end {
            let count = (end - at).min(buffer.len() as u64) as usize;
            self.file.read_exact_at(&mut buffer[..count], at)?;
            sink(&buffer[..count])?;
            at += count as u64;
        }
        Ok(())
    }
}

/// `bytes`, followed by their hash.
pub(in crate::git) fn with_checksum(
    mut bytes: Vec<u8>,
    format: ObjectFormat,
) -> io::Result<Vec<u8>> {
    let mut hasher = Hasher::new(format);
    hasher.update(&bytes);
    let sum = hasher.finish().ok_or_else(|| io::Error::other("a SHA-1 collision"))?;
    bytes.extend_from_slice(sum.as_bytes());
    Ok(bytes)
}

/// A file without a name; where there are none, one whose name is removed at once.
fn unnamed(work: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    if let Ok(fd) = rustix::fs::open(work, flags | OFlags::TMPFILE, mode) {
        return Ok(fd.into());
    }
    let mut number = 0_u32;
    loop {
        let path = work.join(format!("pack-{}-{number}", std::process::id()));
        match rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(fd) => {
                rustix::fs::unlink(&path)?;
                return Ok(fd.into());
            }
            Err(rustix::io::Errno::EXIST) => number += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
