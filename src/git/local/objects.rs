//! The objects of a repository on this machine: loose files and packs, and those of alternates.
//!
//! An index (gitformat-pack, version 2) is not read as a whole: a lookup is a search of a few
//! reads. Only what is small is wanted here (commits and tags), so objects have a limit.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::LocalError;
use crate::git::delta;
use crate::git::id::{Hasher, ObjectFormat, ObjectId};
use crate::git::object::Kind;

/// The largest object that is read: no commit and no tag comes near it.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Where objects are.
#[derive(Debug)]
pub(super) struct Objects {
    dir: PathBuf,
    places: OnceCell<Vec<Place>>,
}

/// A directory of objects, and its packs.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    packs: Vec<Pack>,
}

#[derive(Debug)]
struct Pack {
    index: File,
    content: File,
    path: PathBuf,
}

/// How an object stands in a pack.
enum Form {
    Whole(Kind),
    /// Made of the object at this offset.
    Offset(u64),
    /// Made of the object with this id.
    Of(ObjectId),
}

impl Objects {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, places: OnceCell::new() }
    }

    /// An object, if it is here.
    pub(super) fn read(&self, id: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, LocalError> {
        let Some((kind, bytes)) = self.look_up(id)? else { return Ok(None) };
        let mut hasher = Hasher::of_object(id.format(), kind.name(), bytes.len() as u64);
        hasher.update(&bytes);
        if hasher.finish() != Some(*id) {
            return Err(super::malformed(&self.dir, &format!("object {id} is damaged")));
        }
        Ok(Some((kind, bytes)))
    }

    fn look_up(&self, id: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, LocalError> {
        for place in self.places()? {
            let hex = id.to_string();
            let path = place.dir.join(&hex[..2]).join(&hex[2..]);
            match File::open(&path) {
                Ok(file) => return loose(file).map(Some).map_err(|e| failed(&path, e)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, error)),
            }
            for pack in &place.packs {
                let offset = pack.find(id).map_err(|e| failed(&pack.path, e))?;
                if let Some(offset) = offset {
                    return self.packed(pack, offset, id.format()).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn packed(
        &self,
        pack: &Pack,
        mut offset: u64,
        format: ObjectFormat,
    ) -> Result<(Kind, Vec<u8>), LocalError> {
        // git makes chains of 50; what is longer than this goes round in a circle.
        const CHAIN: usize = 5000;
        let mut deltas = Vec::new();
        let (kind, mut bytes) = loop {
            let (form, bytes) = pack.entry(offset, format).map_err(|e| failed(&pack.path, e))?;
            if deltas.len() > CHAIN {
                return Err(super::malformed(&pack.path, "deltas without end"));
            }
            match form {
                Form::Whole(kind) => break (kind, bytes),
                Form::Offset(base) => offset = base,
                Form::Of(base) => {
                    let within = pack.find(&base).map_err(|e| failed(&pack.path, e))?;
                    if let Some(base) = within {
                        offset = base;
                    } else {
                        deltas.push(bytes);
                        let found = self.look_up(&base)?;
                        let problem = "the base of a delta is missing";
                        break found.ok_or_else(|| super::malformed(&pack.path, problem))?;
                    }
                }
            }
            deltas.push(bytes);
        };
        while let Some(delta) = deltas.pop() {
            let fits = delta::sizes(&delta).is_some_and(|(_, size, _)| size <= LIMIT);
            let made = fits.then(|| delta::apply(&bytes, &delta)).flatten();
            bytes = made.ok_or_else(|| super::malformed(&pack.path, "a delta does not fit"))?;
        }
        Ok((kind, bytes))
    }

    fn places(&self) -> Result<&[Place], LocalError> {
        if let Some(places) = self.places.get() {
            return Ok(places);
        }
        let mut dirs = vec![self.dir.clone()];
        let mut at = 0;
        while let Some(dir) = dirs.get(at).cloned() {
            at += 1;
            let text = super::optional(&dir.join("info/alternates"))?.unwrap_or_default();
            for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let other = dir.join(line);
                if !dirs.contains(&other) && dirs.len() < 16 {
                    dirs.push(other);
                }
            }
        }
        let places = dirs.into_iter().map(Place::open).collect::<Result<_, _>>()?;
        Ok(self.places.get_or_init(|| places))
    }
}

impl Place {
    fn open(dir: PathBuf) -> Result<Self, LocalError> {
        let below = dir.join("pack");
        let entries = match fs::read_dir(&below) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { dir, packs: Vec::new() });
            }
            Err(error) => return Err(failed(&below, error)),
        };
        let mut packs = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| failed(&below, e))?.path();
            if path.extension().is_some_and(|extension| extension == "idx") {
                packs.push(Pack::open(&path).map_err(|e| failed(&path, e))?);
            }
        }
        Ok(Self { dir, packs })
    }
}

impl Pack {
    /// Magic and version, then how many ids begin with at most each byte.
    const FANOUT: u64 = 8;
    const IDS: u64 = Self::FANOUT + 256 * 4;

    fn open(path: &Path) -> io::Result<Self> {
        let index = File::open(path)?;
        let mut magic = [0; 8];
        index.read_exact_at(&mut magic, 0)?;
        if magic != *b"\xfftOc\0\0\0\x02" {
            return Err(invalid("it is no index of version 2"));
        }
        Ok(Self { index, content: File::open(path.with_extension("pack"))?, path: path.to_owned() })
    }

    fn number(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 4];
        self.index.read_exact_at(&mut bytes, at)?;
        Ok(u64::from(u32::from_be_bytes(bytes)))
    }

    /// Where the pack has an object.
    fn find(&self, id: &ObjectId) -> io::Result<Option<u64>> {
        let length = id.as_bytes().len() as u64;
        let first = u64::from(id.as_bytes()[0]);
        let fanout = |n: u64| self.number(Self::FANOUT + n * 4);
        let mut low = if first == 0 { 0 } else { fanout(first - 1)? };
        let (mut high, count) = (fanout(first)?, fanout(255)?);
        let mut found = vec![0; length as usize];
        while low < high {
            let middle = low.midpoint(high);
            self.index.read_exact_at(&mut found, Self::IDS + middle * length)?;
            match found.as_slice().cmp(id.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    // After the ids a checksum each, then an offset each, then the long offsets.
                    let offsets = Self::IDS + count * (length + 4);
                    let offset = self.number(offsets + middle * 4)?;
                    let long = 1 << 31;
                    if offset & long == 0 {
                        return Ok(Some(offset));
                    }
                    let mut bytes = [0; 8];
                    let at = offsets + count * 4 + (offset & !long) * 8;
                    self.index.read_exact_at(&mut bytes, at)?;
                    return Ok(Some(u64::from_be_bytes(bytes)));
                }
            }
        }
        Ok(None)
    }

    /// What stands at `offset`: how, and its bytes unpacked.
    fn entry(&self, offset: u64, format: ObjectFormat) -> io::Result<(Form, Vec<u8>)> {
        let mut reader = BufReader::new(At { file: &self.content, next: offset });
        let first = byte(&mut reader)?;
        let mut size = u64::from(first & 0x0f);
        let (mut last, mut shift) = (first, 4);
        while last & 0x80 != 0 {
            last = byte(&mut reader)?;
            let more = u64::from(last & 0x7f);
            size |= more.checked_shl(shift).ok_or_else(|| invalid("a size without end"))?;
            shift += 7;
        }
        let form = match (first >> 4) & 7 {
            1 => Form::Whole(Kind::Commit),
            2 => Form::Whole(Kind::Tree),
            3 => Form::Whole(Kind::Blob),
            4 => Form::Whole(Kind::Tag),
            6 => {
                let mut back = byte(&mut reader)?;
                let mut distance = u64::from(back & 0x7f);
                while back & 0x80 != 0 {
                    back = byte(&mut reader)?;
                    distance = (distance.min(1 << 50) + 1) << 7 | u64::from(back & 0x7f);
                }
                let base = offset.checked_sub(distance).filter(|base| *base < offset);
                Form::Offset(base.ok_or_else(|| invalid("a delta without a base"))?)
            }
            7 => {
                let mut raw = [0; 32];
                let raw = &mut raw[..format.len()];
                reader.read_exact(raw)?;
                Form::Of(ObjectId::from_bytes(raw).ok_or_else(|| invalid("no id"))?)
            }
            _ => return Err(invalid("an unknown kind of object")),
        };
        Ok((form, inflate(ZlibDecoder::new(reader), size)?))
    }
}

/// A file from some place on.
struct At<'a> {
    file: &'a File,
    next: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.next)?;
        self.next += count as u64;
        Ok(count)
    }
}

fn byte(reader: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Exactly `size` bytes.
fn inflate(mut reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > LIMIT {
        return Err(invalid("an object is too large for a commit or tag"));
    }
    let mut bytes = Vec::new();
    reader.by_ref().take(size + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(invalid("an object has another size")) }
}

/// A loose object: its kind, its size, its bytes.
fn loose(file: File) -> io::Result<(Kind, Vec<u8>)> {
    let mut reader = BufReader::new(ZlibDecoder::new(BufReader::new(file)));
    let mut head = Vec::new();
    reader.by_ref().take(32).read_until(0, &mut head)?;
    let text = std::str::from_utf8(&head).ok().and_then(|text| text.strip_suffix('\0'));
    let (kind, size) =
        text.and_then(|text| text.split_once(' ')).ok_or_else(|| invalid("no head"))?;
    let kinds = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];
    let kind = kinds.into_iter().find(|known| known.name() == kind);
    let kind = kind.ok_or_else(|| invalid("an unknown kind of object"))?;
    let size = size.parse().map_err(|_| invalid("no size"))?;
    Ok((kind, inflate(reader, size)?))
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn failed(path: &Path, source: io::Error) -> LocalError {
    LocalError::Read { path: path.to_owned(), source }
}
