//! Sparse files in other tars' archives: where the stored bytes belong in the file.
//!
//! A layer should have none (OCI image specification, layer.md), but archives
//! made with `tar --sparse` exist. Four notations, one meaning: GNU's old
//! header type `S` and the PAX forms 0.0, 0.1 and 1.0 (GNU tar manual, "Storing
//! Sparse Files").

use std::collections::VecDeque;

use super::header::{self, BLOCK, Block};
use super::pax;

/// The largest sparse file: its size costs an archive nothing, and who reads it much.
const SIZE_LIMIT: u64 = 16 << 30;

/// Offset and length of stored bytes.
pub(super) type Segment = (u64, u64);

/// Which bytes of a file are stored; the others are zero.
#[derive(Debug, Default)]
pub(super) struct Map {
    segments: VecDeque<Segment>,
    position: u64,
    size: u64,
}

/// What comes next in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// This many zeros.
    Zeros(u64),
    /// This many stored bytes.
    Stored(u64),
    /// The end.
    End,
}

impl Map {
    /// A map of pairs of offset and length, for a file of `size` bytes of which `stored` are there.
    pub(super) fn new(
        segments: impl IntoIterator<Item = Segment>,
        size: u64,
        stored: u64,
    ) -> Result<Self, &'static str> {
        if size > SIZE_LIMIT {
            return Err("a sparse file of more than 16 GiB");
        }
        let mut end = 0;
        let mut sum = 0;
        let mut kept = VecDeque::new();
        for (offset, length) in segments {
            if offset < end || offset.checked_add(length).is_none_or(|end| end > size) {
                return Err("the map of the sparse file is not in order or leads out of it");
            }
            end = offset + length;
            sum += length;
            if length > 0 {
                kept.push_back((offset, length));
            }
        }
        if sum != stored {
            return Err("the map of the sparse file does not fit what is stored of it");
        }
        Ok(Self { segments: kept, position: 0, size })
    }

    /// The length of the file with its holes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What comes next.
    pub(super) fn next(&self) -> Run {
        match self.segments.front() {
            Some((offset, _)) if self.position < *offset => Run::Zeros(offset - self.position),
            Some((offset, length)) => Run::Stored(offset + length - self.position),
            None if self.position < self.size => Run::Zeros(self.size - self.position),
            None => Run::End,
        }
    }

    /// Goes on by `count` bytes, at most what `next` said.
    pub(super) fn advance(&mut self, count: u64) {
        self.position += count;
        if self.segments.front().is_some_and(|(offset, length)| offset + length == self.position) {
            self.segments.pop_front();
        }
    }
}

/// The real size and the first four pairs of an old GNU header, and whether more blocks follow.
pub(super) fn old_header(block: &Block) -> Result<(u64, Vec<Segment>, bool), &'static str> {
    let size = unsigned(&block[483..495])?;
    Ok((size, pairs(&block[386..482])?, block[482] != 0))
}

/// The pairs of a block that follows an old GNU header, and whether more follow.
pub(super) fn old_extension(block: &Block) -> Result<(Vec<Segment>, bool), &'static str> {
    Ok((pairs(&block[..504])?, block[504] != 0))
}

fn pairs(bytes: &[u8]) -> Result<Vec<Segment>, &'static str> {
    let mut pairs = Vec::new();
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        pairs.push((unsigned(&pair[..12])?, unsigned(&pair[12..])?));
    }
    Ok(pairs)
}

fn unsigned(field: &[u8]) -> Result<u64, &'static str> {
    let value = header::number(field)?;
    i64::try_from(value).ok().and_then(|v| u64::try_from(v).ok()).ok_or("a size is out of range")
}

/// What the PAX records of a sparse file say.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The name, where `path` is only a stand-in for tars that do not know sparse files.
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    numbers: Vec<u64>,
    version: (Option<u64>, Option<u64>),
    seen: bool,
}

impl Records {
    /// Takes the record `GNU.sparse.KEY`.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const MALFORMED: &str = "malformed record of a sparse file";
        self.seen = true;
        let number = || pax::decimal(value).ok_or(MALFORMED);
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"major" => self.version.0 = Some(number()?),
            b"minor" => self.version.1 = Some(number()?),
            // In the form 0.0 these two repeat, in turn.
            b"offset" | b"numbytes" => {
                if (key == b"offset") != self.numbers.len().is_multiple_of(2) {
                    return Err(MALFORMED);
                }
                self.numbers.push(number()?);
            }
            b"map" => {
                for number in value.split(|&b| b == b',') {
                    self.numbers.push(pax::decimal(number).ok_or(MALFORMED)?);
                }
            }
            b"numblocks" => {
                number()?;
            }
            _ => return Err("unknown record of a sparse file"),
        }
        Ok(())
    }

    /// Whether the map is at the beginning of the stored data (form 1.0).
    pub(super) fn map_in_data(&self) -> Result<bool, &'static str> {
        match self.version {
            (Some(1), Some(0)) => Ok(true),
            (None, None) | (Some(0), Some(0 | 1)) => Ok(false),
            _ => Err("unknown version of the sparse format"),
        }
    }

    /// The map, if the file is sparse; `in_data` are the numbers found in the data.
    pub(super) fn map(
        self,
        in_data: Option<Vec<u64>>,
        stored: u64,
    ) -> Result<Option<Map>, &'static str> {
        if !self.seen {
            return Ok(None);
        }
        let numbers = in_data.unwrap_or(self.numbers);
        let size = self.size.ok_or("the sparse file's size is missing")?;
        if !numbers.len().is_multiple_of(2) {
            return Err("the map of the sparse file is not of pairs");
        }
        let pairs = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        Map::new(pairs, size, stored).map(Some)
    }

    /// Whether there was any.
    pub(super) fn seen(&self) -> bool {
        self.seen
    }
}

/// The numbers of a map in the data: how many pairs, then the pairs, each on a line.
///
/// `None` when more blocks are needed.
pub(super) fn data_map(bytes: &[u8]) -> Result<Option<Vec<u64>>, &'static str> {
    const MALFORMED: &str = "malformed map of a sparse file";
    debug_assert!(bytes.len().is_multiple_of(BLOCK));
    let mut lines = bytes.split_inclusive(|&b| b == b'\n');
    let mut number = || match lines.next().map(<[u8]>::split_last) {
        Some(Some((b'\n', digits))) => pax::decimal(digits).map(Some).ok_or(MALFORMED),
        _ => Ok(None),
    };
    let Some(count) = number()? else { return Ok(None) };
    let mut numbers = Vec::new();
    for _ in 0..count.saturating_mul(2) {
        let Some(value) = number()? else { return Ok(None) };
        numbers.push(value);
    }
    Ok(Some(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_must_fit() {
        for (segments, size, stored, good) in [
            (&[][..], 100, 0, true),
            (&[(0, 10), (10, 5)], 15, 15, true),
            (&[(5, 10), (90, 0)], 90, 10, true),
            (&[(5, 10)], 14, 10, false),
            (&[(5, 10), (0, 5)], 20, 15, false),
            (&[(5, 10), (14, 5)], 20, 15, false),
            (&[(u64::MAX, 10)], 20, 10, false),
            (&[(0, 10)], 20, 9, false),
        ] {
            let map = Map::new(segments.iter().copied(), size, stored);
            assert_eq!(map.is_ok(), good, "{segments:?}");
        }
    }

    #[test]
    fn a_map_is_walked() -> Result<(), &'static str> {
        let mut map = Map::new([(0, 2), (4, 1), (8, 0)], 8, 3)?;
        let mut runs = Vec::new();
        loop {
            let run = map.next();
            match run {
                Run::Zeros(count) | Run::Stored(count) => map.advance(count),
                Run::End => break,
            }
            runs.push(run);
        }
        let expected = [Run::Stored(2), Run::Zeros(2), Run::Stored(1), Run::Zeros(3)];
        assert_eq!(runs, expected);
        Ok(())
    }
}
