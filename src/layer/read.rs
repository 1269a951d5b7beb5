//! Reads archives strictly, as a stream.
//!
//! Understood: ustar, GNU (long names, base-256 numbers, sparse files), PAX.
//! Refused, with the entry's name and its place in the archive: a wrong
//! checksum, malformed PAX records (never skipped: the next header would be
//! found at a wrong place), names with NUL or `..`, sizes below zero, content
//! where the kind has none, unknown kinds, headers of more than 1 MiB, an end
//! in the middle. Missing end blocks are tolerated, as all tars do.

use std::io::{self, Read};

use super::entry::{Entry, Kind, display, normalise};
use super::header::{self, BLOCK, Block};
use super::{pax, sparse};

/// The most bytes of an extended header, a long name or a sparse map.
const EXTENDED_LIMIT: u64 = 1024 * 1024;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes cannot be had.
    #[error("read the archive at byte {offset}")]
    Io {
        /// Where, in bytes from the archive's begin.
        offset: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// The archive ends too early.
    #[error("the archive ends at byte {offset}, in the middle of {what}")]
    Truncated {
        /// Where, in bytes from the archive's begin.
        offset: u64,
        /// What is not complete.
        what: String,
    },
    /// There is no valid header where one should be.
    #[error("not a tar header at byte {offset}: {reason}")]
    Header {
        /// Where, in bytes from the archive's begin.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry is not valid.
    #[error("entry {path} at byte {offset} of the archive: {reason}")]
    Entry {
        /// The entry's name, quoted.
        path: String,
        /// Where its header is, in bytes from the archive's begin.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Reads entries from a tar archive; after each, its content with [`Read`].
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    offset: u64,
    /// How many stored bytes of the current entry are not read yet.
    stored: u64,
    /// How many bytes follow them up to the next block.
    padding: u64,
    map: Option<sparse::Map>,
    globals: Vec<u8>,
    current: String,
    done: bool,
}

/// The extended headers before an entry.
#[derive(Debug, Default)]
struct Extended {
    records: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// An archive that comes from `inner`; reads are small, so it should be buffered.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            stored: 0,
            padding: 0,
            map: None,
            globals: Vec::new(),
            current: String::new(),
            done: false,
        }
    }

    /// The source, behind what was read of it.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, or `None` at the end; skips what is left of the last one's content.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        self.skip_content()?;
        let mut extended = Extended::default();
        while !self.done {
            let offset = self.offset;
            let Some(block) = self.block()? else {
                self.done = true;
                break;
            };
            if block == [0; BLOCK] {
                self.done = true;
                if self.block()?.is_some_and(|second| second != [0; BLOCK]) {
                    let reason = "a single block of zeros is followed by something else";
                    return Err(ReadError::Header { offset, reason });
                }
                break;
            }
            if !header::checksum_holds(&block) {
                return Err(ReadError::Header { offset, reason: "its checksum is wrong" });
            }
            let slot = match block[header::TYPE] {
                b'x' => &mut extended.records,
                b'L' => &mut extended.name,
                b'K' => &mut extended.link,
                b'g' => {
                    let records = self.payload(&block, offset)?;
                    self.take_globals(&records, offset)?;
                    continue;
                }
                _ => return self.entry(&block, extended, offset).map(Some),
            };
            if slot.is_some() {
                let reason = "two extended headers of one kind for one entry";
                return Err(ReadError::Header { offset, reason });
            }
            *slot = Some(self.payload(&block, offset)?);
        }
        if extended.records.is_some() || extended.name.is_some() || extended.link.is_some() {
            let what = "an extended header without its entry".to_owned();
            return Err(ReadError::Truncated { offset: self.offset, what });
        }
        Ok(None)
    }

    fn skip_content(&mut self) -> Result<(), ReadError> {
        self.map = None;
        let mut scratch = [0; 8 * 1024];
        while self.stored + self.padding > 0 {
            let left = self.stored + self.padding;
            let want = left.min(scratch.len() as u64) as usize;
            let count = self.fill(&mut scratch[..want])?;
            if count == 0 {
                return Err(self.truncated());
            }
            let of_content = self.stored.min(count as u64);
            self.stored -= of_content;
            self.padding -= count as u64 - of_content;
        }
        Ok(())
    }

    fn truncated(&self) -> ReadError {
        ReadError::Truncated { offset: self.offset, what: self.current.clone() }
    }

    /// Reads into `buffer` once; 0 is the end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            match self.inner.read(buffer) {
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { offset: self.offset, source }),
            }
        }
    }

    /// Reads a block, or `None` at the end.
    fn block(&mut self) -> Result<Option<Block>, ReadError> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.fill(&mut block[have..])? {
                0 if have == 0 => return Ok(None),
                0 => {
                    let what = "a header".to_owned();
                    return Err(ReadError::Truncated { offset: self.offset, what });
                }
                count => have += count,
            }
        }
        Ok(Some(block))
    }

    /// Reads the content of an extended header.
    fn payload(&mut self, block: &Block, offset: u64) -> Result<Vec<u8>, ReadError> {
        let fail = |reason| ReadError::Header { offset, reason };
        let size = size(&block[header::SIZE]).map_err(fail)?;
        if size > EXTENDED_LIMIT {
            return Err(fail("an extended header of more than 1 MiB"));
        }
        let mut content = Vec::new();
        while (content.len() as u64) < size {
            let Some(block) = self.block()? else {
                let what = "an extended header".to_owned();
                return Err(ReadError::Truncated { offset: self.offset, what });
            };
            content.extend_from_slice(&block);
        }
        content.truncate(size as usize);
        if matches!(block[header::TYPE], b'L' | b'K') {
            // The length counts the NUL at the end; some write several.
            while content.last() == Some(&0) {
                content.pop();
            }
        }
        Ok(content)
    }

    fn take_globals(&mut self, records: &[u8], offset: u64) -> Result<(), ReadError> {
        let fail = |reason| ReadError::Header { offset, reason };
        for (key, _) in pax::parse(records).map_err(fail)? {
            // They would give one name or length to many files; readers disagree on that.
            if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
                return Err(fail("a global header sets names or sizes"));
            }
        }
        self.globals.extend_from_slice(records);
        if self.globals.len() as u64 > EXTENDED_LIMIT {
            return Err(fail("global headers of more than 1 MiB"));
        }
        Ok(())
    }

    fn entry(
        &mut self,
        block: &Block,
        extended: Extended,
        offset: u64,
    ) -> Result<Entry, ReadError> {
        let mut name = header_name(block);
        self.current = display(&name);
        let mut fields = Fields::default();
        let records = extended.records.unwrap_or_default();
        let result = (|| {
            for (key, value) in pax::parse(&self.globals)?.into_iter().chain(pax::parse(&records)?)
            {
                fields.take(key, value)?;
            }
            let path = match (fields.path.take(), extended.name) {
                (Some(path), Some(long)) if path != long => {
                    return Err("two extended headers give it different names");
                }
                (path, long) => path.or(long),
            };
            if let Some(path) = fields.sparse.name.take().or(path) {
                name = path;
            }
            let link = match (fields.link.take(), extended.link) {
                (Some(link), Some(long)) if link != long => {
                    return Err("two extended headers give it different targets");
                }
                (link, long) => link.or(long),
            };
            let link = link.unwrap_or_else(|| header::text(&block[header::LINK]).to_vec());
            let stored = match fields.size {
                Some(size) => size,
                None => size(&block[header::SIZE])?,
            };
            let kind = kind(block, &name, link, stored)?;
            let mtime = match fields.mtime {
                Some(mtime) => mtime,
                None => match i64::try_from(header::number(&block[header::MTIME])?) {
                    Ok(seconds) => (seconds, 0),
                    Err(_) => return Err("its time is out of range"),
                },
            };
            let entry = Entry {
                path: normalise(&name)?,
                mode: (header::number(&block[header::MODE])? & 0o7777) as u32,
                uid: id(fields.uid, &block[header::UID])?,
                gid: id(fields.gid, &block[header::GID])?,
                mtime: mtime.0,
                nanos: mtime.1,
                xattrs: std::mem::take(&mut fields.xattrs),
                kind,
            };
            Ok((entry, stored))
        })();
        self.current = display(&name);
        let (mut entry, stored) = result.map_err(|reason| self.refuse(offset, reason))?;
        if let Kind::File { size } = &mut entry.kind {
            self.stored = stored;
            self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
            self.map = self.sparse_map(block, fields.sparse, offset)?;
            *size = self.map.as_ref().map_or(stored, sparse::Map::size);
        } else if fields.sparse.seen() {
            return Err(self.refuse(offset, "only a file can be sparse"));
        }
        Ok(entry)
    }

    fn refuse(&self, offset: u64, reason: &'static str) -> ReadError {
        ReadError::Entry { path: self.current.clone(), offset, reason }
    }

    /// The map of a sparse file, read from wherever its dialect has it.
    fn sparse_map(
        &mut self,
        block: &Block,
        records: sparse::Records,
        offset: u64,
    ) -> Result<Option<sparse::Map>, ReadError> {
        let limit = EXTENDED_LIMIT as usize / BLOCK;
        if block[header::TYPE] == b'S' {
            let parsed = sparse::old_header(block).map_err(|r| self.refuse(offset, r))?;
            let (size, mut pairs, mut more) = parsed;
            let mut blocks = 0;
            while more {
                let Some(block) = self.block()? else { return Err(self.truncated()) };
                let parsed = sparse::old_extension(&block).map_err(|r| self.refuse(offset, r))?;
                pairs.extend(parsed.0);
                more = parsed.1;
                blocks += 1;
                if blocks > limit {
                    return Err(self.refuse(offset, "a sparse map of more than 1 MiB"));
                }
            }
            let map = sparse::Map::new(pairs, size, self.stored);
            return map.map(Some).map_err(|r| self.refuse(offset, r));
        }
        if !records.seen() {
            return Ok(None);
        }
        let mut in_data = None;
        if records.map_in_data().map_err(|r| self.refuse(offset, r))? {
            let mut bytes = Vec::new();
            while in_data.is_none() {
                if self.stored < BLOCK as u64 || bytes.len() >= limit * BLOCK {
                    return Err(self.refuse(offset, "the map of the sparse file has no end"));
                }
                let Some(block) = self.block()? else { return Err(self.truncated()) };
                self.stored -= BLOCK as u64;
                bytes.extend_from_slice(&block);
                in_data = sparse::data_map(&bytes).map_err(|r| self.refuse(offset, r))?;
            }
        }
        records.map(in_data, self.stored).map_err(|r| self.refuse(offset, r))
    }

    fn read_stored(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let want = self.stored.min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let count = self.fill(&mut buffer[..want])?;
        if count == 0 {
            return Err(self.truncated());
        }
        self.stored -= count as u64;
        Ok(count)
    }
}

/// Reads the current entry's content; an archive that ends in it gives `UnexpectedEof`.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrap = |error| match error {
            ReadError::Io { source, .. } => source,
            other => io::Error::new(io::ErrorKind::UnexpectedEof, other),
        };
        let run = self.map.as_ref().map(sparse::Map::next);
        let most = |run: u64| run.min(buffer.len() as u64) as usize;
        let count = match run {
            None => return self.read_stored(buffer).map_err(wrap),
            Some(sparse::Run::End) => return Ok(0),
            Some(sparse::Run::Zeros(run)) => {
                let count = most(run);
                buffer[..count].fill(0);
                count
            }
            Some(sparse::Run::Stored(run)) => {
                let want = most(run);
                self.read_stored(&mut buffer[..want]).map_err(wrap)?
            }
        };
        if let Some(map) = &mut self.map {
            map.advance(count as u64);
        }
        Ok(count)
    }
}

/// What PAX records say.
#[derive(Debug, Default)]
struct Fields {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    sparse: sparse::Records,
}

impl Fields {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() {
                return Err("an extended attribute without a name");
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.take(key, value);
        }
        let number = || pax::decimal(value).ok_or("a PAX record holds no valid number");
        let text = || match value {
            b"" => Err("a PAX record holds an empty name"),
            value if value.contains(&0) => Err("the name contains a NUL byte"),
            value => Ok(value.to_vec()),
        };
        match key {
            b"path" => self.path = Some(text()?),
            b"linkpath" => self.link = Some(text()?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                let time = pax::time(value).ok_or("a PAX record holds no valid time")?;
                self.mtime = Some(time);
            }
            // User names, other times, comments and vendors' records decide nothing here.
            _ => {}
        }
        Ok(())
    }
}

/// The name in the header; only POSIX headers have the first part of it in a second field.
fn header_name(block: &Block) -> Vec<u8> {
    let name = header::text(&block[header::NAME]);
    let prefix = header::text(&block[header::PREFIX]);
    if block[header::MAGIC].starts_with(b"ustar\0") && !prefix.is_empty() {
        [prefix, b"/", name].concat()
    } else {
        name.to_vec()
    }
}

fn kind(block: &Block, name: &[u8], link: Vec<u8>, size: u64) -> Result<Kind, &'static str> {
    let device = || -> Result<(u32, u32), &'static str> {
        let number = |field| {
            u32::try_from(header::number(field)?).map_err(|_| "its device number is out of range")
        };
        Ok((number(&block[header::MAJOR])?, number(&block[header::MINOR])?))
    };
    let kind = match block[header::TYPE] {
        // Before there were directory entries, a slash at the end marked a directory.
        0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Dir,
        0 | b'0' | b'7' | b'S' => return Ok(Kind::File { size }),
        // Its size is that of the other name's file in old archives; no content follows.
        b'1' => return normalise(&link).map(|target| Kind::Hardlink { target }),
        b'2' if link.is_empty() || link.contains(&0) => {
            return Err("its target is empty or contains a NUL byte");
        }
        b'2' => Kind::Symlink { target: link },
        b'3' => device().map(|(major, minor)| Kind::Char { major, minor })?,
        b'4' => device().map(|(major, minor)| Kind::Block { major, minor })?,
        b'5' => Kind::Dir,
        b'6' => Kind::Fifo,
        _ => return Err("unknown kind of entry"),
    };
    if size > 0 { Err("it has content, but its kind has none") } else { Ok(kind) }
}

fn size(field: &[u8]) -> Result<u64, &'static str> {
    let size = i64::try_from(header::number(field)?).ok().and_then(|v| u64::try_from(v).ok());
    size.ok_or("its size is out of range")
}

/// A user or group; the highest number means "unchanged" to the kernel and cannot own a file.
fn id(record: Option<u64>, field: &[u8]) -> Result<u32, &'static str> {
    let id = match record {
        Some(id) => i128::from(id),
        None => header::number(field)?,
    };
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or("its owner's id is out of range")
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
