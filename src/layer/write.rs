//! Writes layers' archives: the same entries, the same bytes.
//!
//! One form only: a ustar header, preceded by a PAX header where a value does
//! not fit (POSIX.1-2008, "pax Interchange Format"). Names are bytes, user and
//! group names are empty, times are whole seconds. The order of the entries is
//! the caller's. Whiteouts are entries of their own; an ordinary file that is
//! called like one cannot be in a layer and is refused.

use std::io::{self, Read, Write};

use super::entry::{Entry, Kind, WHITEOUT_PREFIX, display, split};
use super::header::{self, BLOCK, Block};
use super::pax;

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The entry cannot be in a layer.
    #[error("cannot put {path} into a layer: {reason}")]
    Entry {
        /// The entry's path, quoted.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file's content was not as long as announced.
    #[error("file {path} changed while it was read: expected {expected} bytes, it has {found}")]
    Changed {
        /// The entry's path, quoted.
        path: String,
        /// The announced size in bytes.
        expected: u64,
        /// `fewer: N` or `more`.
        found: String,
    },
    /// The file's content could not be read.
    #[error("read {path}")]
    Read {
        /// The entry's path, quoted.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("write the archive")]
    Write(#[source] io::Error),
}

/// Writes entries as a tar archive.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// An archive that goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, buffer: vec![0; 128 * 1024] }
    }

    /// Adds an entry; `content` is read for a regular file, exactly as many bytes as its size.
    pub fn append(&mut self, entry: &Entry, content: impl Read) -> Result<(), WriteError> {
        let refuse = |reason| WriteError::Entry { path: display(&entry.path), reason };
        if entry.split().1.starts_with(WHITEOUT_PREFIX) {
            return Err(refuse("names that begin with \".wh.\" mean whiteouts there"));
        }
        self.header(entry).map_err(refuse)?.map_err(WriteError::Write)?;
        match entry.kind {
            Kind::File { size } => self.content(entry, size, content),
            _ => Ok(()),
        }
    }

    /// Adds a whiteout: `path` of the layers below is gone.
    pub fn whiteout(&mut self, path: &[u8], mtime: i64) -> Result<(), WriteError> {
        let (dir, name) = split(path);
        if name.is_empty() {
            let reason = "the root cannot be removed";
            return Err(WriteError::Entry { path: display(path), reason });
        }
        let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        let path = [dir, slash, WHITEOUT_PREFIX, name].concat();
        let entry = Entry { mode: 0, mtime, ..Entry::new(path, Kind::File { size: 0 }) };
        let refuse = |reason| WriteError::Entry { path: display(&entry.path), reason };
        self.header(&entry).map_err(refuse)?.map_err(WriteError::Write)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.out.write_all(&[0; 2 * BLOCK]).map_err(WriteError::Write)?;
        Ok(self.out)
    }

    /// Writes the headers; the outer result says what is wrong with the entry.
    fn header(&mut self, entry: &Entry) -> Result<io::Result<()>, &'static str> {
        let mut records = Vec::new();
        let mut block = [0; BLOCK];
        block[header::MAGIC].copy_from_slice(header::POSIX_MAGIC);

        check_path(&entry.path)?;
        let name = match (&entry.kind, entry.path.is_empty()) {
            (Kind::Dir, true) => b"./".to_vec(),
            (_, true) => return Err("the root must be a directory"),
            (Kind::Dir, false) => [&entry.path, &b"/"[..]].concat(),
            (_, false) => entry.path.clone(),
        };
        put_text(&mut block, header::NAME.start, &name, b"path", &mut records);

        let (kind, link, size): (u8, &[u8], u64) = match &entry.kind {
            Kind::File { size } => (b'0', b"", *size),
            Kind::Hardlink { target } => {
                check_path(target)?;
                (b'1', target, 0)
            }
            Kind::Symlink { target } => {
                if target.contains(&0) {
                    return Err("its target contains a NUL byte");
                }
                (b'2', target, 0)
            }
            Kind::Char { .. } => (b'3', b"", 0),
            Kind::Block { .. } => (b'4', b"", 0),
            Kind::Dir => (b'5', b"", 0),
            Kind::Fifo => (b'6', b"", 0),
        };
        if link.is_empty() && matches!(kind, b'1' | b'2') {
            return Err("its target is empty");
        }
        block[header::TYPE] = kind;
        put_text(&mut block, header::LINK.start, link, b"linkpath", &mut records);

        let mut number = |field, value: u64, limit, key: &[u8]| {
            if value > limit {
                pax::push(&mut records, key, value.to_string().as_bytes());
                header::put_octal(&mut block, field, 0);
            } else {
                header::put_octal(&mut block, field, value);
            }
        };
        number(header::SIZE, size, header::MAX_11_DIGITS, b"size");
        number(header::UID, entry.uid.into(), header::MAX_7_DIGITS, b"uid");
        number(header::GID, entry.gid.into(), header::MAX_7_DIGITS, b"gid");
        header::put_octal(&mut block, header::MODE, u64::from(entry.mode & 0o7777));
        match u64::try_from(entry.mtime) {
            Ok(mtime) if mtime <= header::MAX_11_DIGITS => {
                header::put_octal(&mut block, header::MTIME, mtime);
            }
            _ => {
                pax::push(&mut records, b"mtime", entry.mtime.to_string().as_bytes());
                header::put_octal(&mut block, header::MTIME, 0);
            }
        }
        let (major, minor) = match entry.kind {
            Kind::Char { major, minor } | Kind::Block { major, minor } => (major, minor),
            _ => (0, 0),
        };
        for (field, value) in [(header::MAJOR, major), (header::MINOR, minor)] {
            if u64::from(value) > header::MAX_7_DIGITS {
                return Err("its device number does not fit");
            }
            header::put_octal(&mut block, field, value.into());
        }
        for (name, value) in &entry.xattrs {
            if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
                return Err("the name of an extended attribute is empty or holds NUL or \"=\"");
            }
            pax::push(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        header::seal(&mut block);
        Ok(self.put_headers(entry, &records, &block))
    }

    fn put_headers(&mut self, entry: &Entry, records: &[u8], block: &Block) -> io::Result<()> {
        if !records.is_empty() {
            let mut extended = [0; BLOCK];
            extended[header::MAGIC].copy_from_slice(header::POSIX_MAGIC);
            let name = [b"PaxHeaders.0/", entry.split().1].concat();
            let length = name.len().min(header::NAME.len());
            extended[..length].copy_from_slice(&name[..length]);
            extended[header::TYPE] = b'x';
            header::put_octal(&mut extended, header::MODE, 0o644);
            for field in [header::UID, header::GID, header::MTIME, header::MAJOR, header::MINOR] {
                header::put_octal(&mut extended, field, 0);
            }
            header::put_octal(&mut extended, header::SIZE, records.len() as u64);
            header::seal(&mut extended);
            self.out.write_all(&extended)?;
            self.out.write_all(records)?;
            self.pad(records.len() as u64)?;
        }
        self.out.write_all(block)
    }

    fn content(
        &mut self,
        entry: &Entry,
        size: u64,
        mut content: impl Read,
    ) -> Result<(), WriteError> {
        let changed = |found| {
            let path = display(&entry.path);
            WriteError::Changed { path, expected: size, found }
        };
        let mut left = size;
        loop {
            // One byte more than the size is asked for, to notice that the file grew.
            let want = usize::try_from(left.saturating_add(1))
                .map_or(self.buffer.len(), |want| want.min(self.buffer.len()));
            let count = match content.read(&mut self.buffer[..want]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(WriteError::Read { path: display(&entry.path), source }),
            };
            if count == 0 {
                break;
            }
            if count as u64 > left {
                return Err(changed("more".to_owned()));
            }
            self.out.write_all(&self.buffer[..count]).map_err(WriteError::Write)?;
            left -= count as u64;
        }
        if left > 0 {
            return Err(changed(format!("fewer: {}", size - left)));
        }
        self.pad(size).map_err(WriteError::Write)
    }

    fn pad(&mut self, written: u64) -> io::Result<()> {
        let over = (written % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.out.write_all(&[0; BLOCK][over..]) }
    }
}

fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.is_empty() {
        return Ok(());
    }
    if path.contains(&0) {
        return Err("the name contains a NUL byte");
    }
    if path.split(|&b| b == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err("the path is not relative and free of \".\", \"..\" and empty components");
    }
    Ok(())
}

/// Puts a name into its field of 100 bytes, and into a record if it is longer.
fn put_text(block: &mut Block, start: usize, text: &[u8], key: &[u8], records: &mut Vec<u8>) {
    let length = text.len().min(header::NAME.len());
    block[start..start + length].copy_from_slice(&text[..length]);
    if text.len() > length {
        pax::push(records, key, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> Entry {
        Entry::new(path, Kind::File { size })
    }

    #[test]
    fn a_file_that_changes_is_an_error() {
        for (content, expected) in [
            ("abc", "file \"f\" changed while it was read: expected 4 bytes, it has fewer: 3"),
            ("abcde", "file \"f\" changed while it was read: expected 4 bytes, it has more"),
        ] {
            let mut tar = TarWriter::new(Vec::new());
            let error = tar.append(&file("f", 4), content.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_cannot_be_in_a_layer_is_refused() {
        let link = |target: &str| Entry::new("l", Kind::Symlink { target: target.into() });
        let mut xattr = file("f", 0);
        xattr.xattrs.insert(b"user.a=b".to_vec(), Vec::new());
        for entry in [
            file(".wh.x", 0),
            file("a/.wh.x", 0),
            file(".wh..wh..opq", 0),
            Entry::new("a/.wh.d", Kind::Dir),
            file("/abs", 0),
            file("a/../b", 0),
            file("a//b", 0),
            file("a/", 0),
            file("", 0),
            file("a\0", 0),
            link(""),
            link("a\0"),
            Entry::new("h", Kind::Hardlink { target: b"../x".to_vec() }),
            Entry::new("h", Kind::Hardlink { target: Vec::new() }),
            Entry::new("c", Kind::Char { major: 1 << 22, minor: 0 }),
            xattr,
        ] {
            let mut tar = TarWriter::new(Vec::new());
            let error = tar.append(&entry, io::empty()).unwrap_err();
            assert!(matches!(error, WriteError::Entry { .. }), "{entry:?}");
            assert!(tar.out.is_empty(), "{entry:?}");
        }
        assert!(TarWriter::new(Vec::new()).whiteout(b"", 0).is_err());
    }

    #[test]
    fn the_plain_case_is_one_block() -> Result<(), WriteError> {
        let mut tar = TarWriter::new(Vec::new());
        let entry = Entry { uid: 0o777_7777, mtime: 0o777_7777_7777, ..file(&"n".repeat(100), 0) };
        tar.append(&entry, io::empty())?;
        assert_eq!(tar.out.len(), BLOCK);
        // One byte, id or second more, and a PAX header is needed: two blocks more.
        let longer = file(&"n".repeat(101), 0);
        for entry in [
            Entry { uid: 0o1000_0000, ..entry.clone() },
            Entry { mtime: -1, ..entry.clone() },
            Entry { mtime: 0o777_7777_7777 + 1, ..entry },
            longer,
        ] {
            let mut tar = TarWriter::new(Vec::new());
            tar.append(&entry, io::empty())?;
            assert_eq!(tar.out.len(), 3 * BLOCK, "{entry:?}");
        }
        Ok(())
    }
}
