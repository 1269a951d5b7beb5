//! What the files of a context hold, known from their stat data.
//!
//! A file that was hashed is not read again while its device, inode, change time,
//! modification time and size are the same: nobody can change its content and give it
//! back its change time. Only the clock can hide a change: what is written after the
//! hashing and within the same tick of the file system's clock has the same times. So a
//! file whose change time is not older than a margin when it is hashed is not
//! remembered: for other builds two seconds, which is the coarsest clock of a file
//! system (FAT) and allows a file server's clock to be slow by as much; within one build,
//! which only has to see what is done to a file meanwhile, some ticks of the kernel. Nor is
//! anything kept of file systems that are served by others.
//!
//! One kind of change shows late: a program that has mapped a file into its memory writes to
//! it without a call, and the kernel notes only the first time after each write-back.
//!
//! This is the pure part: `build/` keeps the bytes in the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

use crate::image::Digest;

/// How much older than its hashing a file's change must be to be known in other builds.
const MARGIN: Duration = Duration::from_secs(2);
/// The same within one build.
const TICKS: Duration = Duration::from_millis(50);
/// How many files that this build did not look at are kept at most.
const UNVISITED: usize = 200_000;
/// What the bytes begin with; another form has another number.
const MAGIC: &[u8; 16] = b"yado context 1\n\0";
/// The bytes of an entry before its path.
const FIXED: usize = 7 * 8 + 32 + 4;

/// The sha256 sum of a file's content.
pub(super) type Sum = [u8; 32];

/// What a file's content cannot change without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanoseconds = |part: u64| i64::try_from(part).unwrap_or_default();
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size as u64,
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
        }
    }

    /// Whether the last change was longer ago than `margin` at the time `now`.
    fn is_older(&self, margin: Duration, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let limit = now.saturating_sub(margin);
        let (seconds, nanoseconds) = self.changed;
        seconds < 0
            || (seconds.cast_unsigned(), nanoseconds)
                < (limit.as_secs(), i64::from(limit.subsec_nanos()))
    }
}

/// The files of one context, by their paths below it; several threads may use it at once.
#[derive(Debug, Default)]
pub struct Index(RwLock<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_path: HashMap<Box<[u8]>, Entry>,
    /// Whether other builds should have what is here.
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    sum: Sum,
    /// Whether it may be known in other builds.
    lasting: bool,
    visited: AtomicBool,
}

impl Index {
    /// What [`Index::encode`] gave; nothing from bytes that are damaged or of another form.
    pub fn decode(bytes: &[u8]) -> Self {
        Self(RwLock::new(Entries { by_path: parse(bytes).unwrap_or_default(), changed: false }))
    }

    /// What other builds should know, as bytes; `None` if they know it already.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !entries.changed {
            return None;
        }
        let mut lasting: Vec<(&Box<[u8]>, &Entry)> =
            entries.by_path.iter().filter(|(_, entry)| entry.lasting).collect();
        lasting.sort_unstable_by_key(|(path, _)| *path);
        let mut room = UNVISITED;
        let mut bytes = MAGIC.to_vec();
        for (path, entry) in lasting {
            if !entry.visited.load(Ordering::Relaxed) {
                let Some(left) = room.checked_sub(1) else { continue };
                room = left;
            }
            let Stamp { device, inode, size, changed, modified } = entry.stamp;
            for number in [device, inode, size] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            for number in [changed.0, changed.1, modified.0, modified.1] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&entry.sum);
            bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
            bytes.extend_from_slice(path);
        }
        let sum = Digest::of(&bytes);
        bytes.extend_from_slice(sum.hex().as_bytes());
        Some(bytes)
    }

    /// The sum of the file at `path`, if it was hashed with this stamp.
    pub(super) fn get(&self, path: &[u8], stamp: &Stamp) -> Option<Sum> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.by_path.get(path)?;
        entry.visited.store(true, Ordering::Relaxed);
        (entry.stamp == *stamp).then_some(entry.sum)
    }

    /// Whether anything is known of the file at `path`; else its stat data are of no use.
    pub(super) fn knows(&self, path: &[u8]) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_path.contains_key(path)
    }

    /// Notes files that were hashed later than `now`.
    pub(super) fn put(
        &self,
        hashed: impl IntoIterator<Item = (Vec<u8>, Stamp, Sum)>,
        now: SystemTime,
    ) {
        let mut hashed =
            hashed.into_iter().filter(|(_, stamp, _)| stamp.is_older(TICKS, now)).peekable();
        if hashed.peek().is_none() {
            return;
        }
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (path, stamp, sum) in hashed {
            let lasting = stamp.is_older(MARGIN, now);
            entries.changed |= lasting;
            let visited = AtomicBool::new(true);
            entries.by_path.insert(path.into(), Entry { stamp, sum, lasting, visited });
        }
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<Box<[u8]>, Entry>> {
    let (bytes, sum) = bytes.split_last_chunk::<64>()?;
    // There is no fsync: after a power cut a file may hold anything.
    if Digest::of(bytes).hex().as_bytes() != sum {
        return None;
    }
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut by_path = HashMap::new();
    while !rest.is_empty() {
        let (fixed, after) = rest.split_first_chunk::<FIXED>()?;
        let mut numbers = fixed.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next();
        let (device, inode, size) = (next()?, next()?, next()?);
        let changed = (next()?.cast_signed(), next()?.cast_signed());
        let modified = (next()?.cast_signed(), next()?.cast_signed());
        let (sum, length) = fixed[7 * 8..].split_first_chunk::<32>()?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (path, after) = after.split_at_checked(length)?;
        let stamp = Stamp { device, inode, size, changed, modified };
        let visited = AtomicBool::new(false);
        by_path.insert(path.into(), Entry { stamp, sum: *sum, lasting: true, visited });
        rest = after;
    }
    Some(by_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000_000);

    /// A file that was changed so long before `NOW`.
    fn stamp(inode: u64, age: Duration) -> Stamp {
        let changed = NOW.checked_sub(age).unwrap_or_default();
        let changed = (changed.as_secs().cast_signed(), i64::from(changed.subsec_nanos()));
        Stamp { device: 1, inode, size: 5, changed, modified: (-3, 7) }
    }

    fn put(index: &Index, path: &str, stamp: Stamp) {
        index.put([(path.into(), stamp, [inode_byte(&stamp); 32])], UNIX_EPOCH + NOW);
    }

    fn inode_byte(stamp: &Stamp) -> u8 {
        stamp.inode as u8
    }

    #[test]
    fn what_is_known_comes_back() {
        let index = Index::default();
        assert_eq!(index.encode(), None);
        let old = stamp(7, Duration::from_mins(1));
        put(&index, "a/b", old);
        put(&index, "\u{fe}", stamp(8, Duration::from_secs(3)));
        let bytes = index.encode().expect("it changed");
        let read = Index::decode(&bytes);
        assert_eq!(read.get(b"a/b", &old), Some([7; 32]));
        assert_eq!(read.get("\u{fe}".as_bytes(), &stamp(8, Duration::from_secs(3))), Some([8; 32]));
        assert_eq!(read.get(b"a", &old), None);
        // Known already.
        assert_eq!(read.encode(), None);
    }

    #[test]
    fn another_stamp_is_another_file() {
        let index = Index::default();
        let old = stamp(7, Duration::from_mins(1));
        put(&index, "f", old);
        for other in [
            Stamp { device: 2, ..old },
            Stamp { inode: 8, ..old },
            Stamp { size: 6, ..old },
            Stamp { changed: (old.changed.0, old.changed.1 + 1), ..old },
            Stamp { changed: (old.changed.0 + 1, old.changed.1), ..old },
            Stamp { modified: (-3, 8), ..old },
            Stamp { modified: (-2, 7), ..old },
        ] {
            assert_eq!(index.get(b"f", &other), None, "{other:?}");
        }
    }

    #[test]
    fn what_was_just_changed_is_not_trusted() {
        let index = Index::default();
        let millis = Duration::from_millis;
        for (name, age, in_this_build, in_others) in [
            ("old", millis(2001), true, true),
            ("second", millis(2000), true, false),
            ("young", millis(51), true, false),
            ("tick", millis(50), false, false),
            ("now", millis(0), false, false),
        ] {
            let stamp = stamp(1, age);
            put(&index, name, stamp);
            assert_eq!(index.get(name.as_bytes(), &stamp).is_some(), in_this_build, "{name}");
            let others = Index::decode(&index.encode().unwrap_or_default());
            assert_eq!(others.get(name.as_bytes(), &stamp).is_some(), in_others, "{name}");
        }
        // Of a clock that is ahead.
        let ahead = Stamp { changed: (NOW.as_secs().cast_signed() + 9, 0), ..stamp(1, millis(0)) };
        put(&index, "ahead", ahead);
        assert_eq!(index.get(b"ahead", &ahead), None);
    }

    #[test]
    fn damaged_bytes_are_no_index() {
        let index = Index::default();
        let old = stamp(7, Duration::from_mins(1));
        put(&index, "file", old);
        let bytes = index.encode().expect("it changed");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Index::decode(&damaged).get(b"file", &old), None, "{at}");
            assert_eq!(Index::decode(&bytes[..at]).get(b"file", &old), None, "{at}");
        }
    }

    #[test]
    fn what_was_not_visited_is_kept_up_to_a_limit() {
        let index = Index::default();
        let old = stamp(7, Duration::from_mins(1));
        let files = (0..UNVISITED + 10).map(|at| (format!("{at:08}").into_bytes(), old, [7; 32]));
        index.put(files, UNIX_EPOCH + NOW);
        let last = format!("{:08}", UNVISITED + 9);
        let read = Index::decode(&index.encode().expect("it changed"));
        assert_eq!(read.get(last.as_bytes(), &old), Some([7; 32]));
        put(&read, "new", old);
        let read = Index::decode(&read.encode().expect("it changed"));
        for (path, there) in [(last.as_str(), true), ("new", true), ("00000000", true)] {
            assert_eq!(read.get(path.as_bytes(), &old).is_some(), there, "{path}");
        }
        let beyond = format!("{:08}", UNVISITED + 8);
        assert_eq!(read.get(beyond.as_bytes(), &old), None);
    }
}
