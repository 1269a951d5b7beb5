//! The bytes of a pack: the heads of objects, and their content unpacked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use flate2::{Decompress, FlushDecompress, Status};

use super::{Form, MEMORY, PackError, damaged};
use crate::git::id::{ObjectFormat, ObjectId};
use crate::git::object::Kind;

/// Reads a pack at any place; after an object was read, it stands behind it.
pub(super) struct Inflate<'a> {
    file: &'a File,
    /// Where the next byte of the file for `buffer` is.
    next: u64,
    buffer: Vec<u8>,
    /// What of `buffer` is still to be read.
    start: usize,
    end: usize,
    zlib: Decompress,
    output: Vec<u8>,
}

impl<'a> Inflate<'a> {
    /// Bytes that are unpacked at once.
    const OUTPUT: usize = 64 * 1024;

    /// A reader that reads `ahead` bytes at once.
    pub(super) fn new(file: &'a File, ahead: usize) -> Self {
        Self {
            file,
            next: 0,
            buffer: vec![0; ahead],
            start: 0,
            end: 0,
            zlib: Decompress::new(true),
            output: vec![0; Self::OUTPUT],
        }
    }

    /// Where it stands.
    pub(super) fn position(&self) -> u64 {
        self.next - (self.end - self.start) as u64
    }

    fn seek(&mut self, offset: u64) {
        let buffered = self.next - self.end as u64;
        if (buffered..self.next).contains(&offset) {
            self.start = (offset - buffered) as usize;
        } else {
            (self.start, self.end, self.next) = (0, 0, offset);
        }
    }

    fn fill(&mut self) -> Result<(), PackError> {
        if self.start == self.end {
            let count = loop {
                match self.file.read_at(&mut self.buffer, self.next) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            if count == 0 {
                return Err(damaged("the pack is cut short"));
            }
            (self.start, self.end) = (0, count);
            self.next += count as u64;
        }
        Ok(())
    }

    pub(super) fn byte(&mut self) -> Result<u8, PackError> {
        self.fill()?;
        self.start += 1;
        Ok(self.buffer[self.start - 1])
    }

    /// The head of the object at `offset`: how it stands there, and how many bytes its content
    /// (or its delta) has.
    pub(super) fn head(
        &mut self,
        offset: u64,
        format: ObjectFormat,
    ) -> Result<(Form, u64), PackError> {
        self.seek(offset);
        let mut byte = self.byte()?;
        let kind = (byte >> 4) & 7;
        let mut size = u64::from(byte & 0x0f);
        let mut shift = 4;
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            if shift > 56 {
                return Err(damaged("an object is too large"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let form = match kind {
            1 => Form::Whole(Kind::Commit),
            2 => Form::Whole(Kind::Tree),
            3 => Form::Whole(Kind::Blob),
            4 => Form::Whole(Kind::Tag),
            6 => {
                let distance = self.distance()?;
                let base = offset.checked_sub(distance).filter(|base| *base < offset);
                Form::Offset(base.ok_or_else(|| damaged("a delta has no base before it"))?)
            }
            7 => {
                let mut raw = [0; 32];
                let raw = &mut raw[..format.len()];
                for byte in &mut *raw {
                    *byte = self.byte()?;
                }
                Form::Id(ObjectId::from_bytes(raw).ok_or_else(|| damaged("an id is malformed"))?)
            }
            other => return Err(damaged(format!("an object is of the unknown kind {other}"))),
        };
        Ok((form, size))
    }

    /// How far before a delta its base is: the highest bits first, and each further byte counts
    /// one more than it says.
    fn distance(&mut self) -> Result<u64, PackError> {
        let mut byte = self.byte()?;
        let mut value = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            value = (value + 1)
                .checked_mul(128)
                .ok_or_else(|| damaged("a delta's base is too far away"))?
                | u64::from(byte & 0x7f);
        }
        Ok(value)
    }

    /// Unpacks what follows a head to `sink`; it must have `size` bytes.
    pub(super) fn content(
        &mut self,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), PackError> {
        self.zlib.reset(true);
        loop {
            self.fill()?;
            let (read, made) = (self.zlib.total_in(), self.zlib.total_out());
            let input = &self.buffer[self.start..self.end];
            let status = self
                .zlib
                .decompress(input, &mut self.output, FlushDecompress::None)
                .map_err(|error| damaged(format!("an object cannot be unpacked: {error}")))?;
            let read = (self.zlib.total_in() - read) as usize;
            let made = (self.zlib.total_out() - made) as usize;
            self.start += read;
            if self.zlib.total_out() > size {
                break;
            }
            sink(&self.output[..made])?;
            match status {
                Status::StreamEnd if self.zlib.total_out() == size => return Ok(()),
                Status::StreamEnd => break,
                _ if read == 0 && made == 0 => {
                    return Err(damaged("an object cannot be unpacked: it makes no progress"));
                }
                _ => {}
            }
        }
        Err(damaged("an object has another size than it says"))
    }

    /// Unpacks what follows a head to memory.
    pub(super) fn whole(&mut self, size: u64) -> Result<Vec<u8>, PackError> {
        if size > MEMORY {
            return Err(damaged(format!(
                "an object of {size} bytes takes part in a delta, which may have 1 GiB at most"
            )));
        }
        // Not all at once on the word of a head: content of 1 byte can unpack to 1000 at most.
        let mut content = Vec::with_capacity(size.min(1 << 20) as usize);
        self.content(size, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }
}
