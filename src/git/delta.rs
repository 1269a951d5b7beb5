//! Deltas: an object as pieces of another and new bytes (gitformat-pack, "Deltified
//! representation"). Pure.

/// The sizes that a delta names: of its base, and of what it makes; and what comes after them.
pub(super) fn sizes(delta: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (base, rest) = number(delta)?;
    let (result, rest) = number(rest)?;
    Some((base, result, rest))
}

/// What `delta` makes of `base`; `None` if it does not fit. It never makes more than the delta
/// says, but the delta may say anything: the caller asks [`sizes`] first.
pub(super) fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    /// What a copy of size 0 means.
    const WHOLE: usize = 0x10000;
    let (base_size, size, mut rest) = sizes(delta)?;
    if base.len() as u64 != base_size {
        return None;
    }
    let size = usize::try_from(size).ok()?;
    // What a delta makes is rarely more than base and delta together: no memory on its word.
    let mut made = Vec::with_capacity(size.min(base.len() + delta.len()));
    while let Some((&command, after)) = rest.split_first() {
        rest = after;
        if command & 0x80 == 0 {
            // 0 is reserved.
            let count = usize::from(command);
            if count == 0 || rest.len() < count {
                return None;
            }
            if count > size - made.len() {
                return None;
            }
            made.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
        } else {
            let mut take = |bits: u8| {
                let mut value = 0;
                for n in (0..8).filter(|n| bits & (1 << n) != 0) {
                    let (&byte, after) = rest.split_first()?;
                    value |= usize::from(byte) << (8 * n);
                    rest = after;
                }
                Some(value)
            };
            let start = take(command & 0x0f)?;
            let count = match take((command >> 4) & 0x07)? {
                0 => WHOLE,
                count => count,
            };
            if count > size - made.len() {
                return None;
            }
            made.extend_from_slice(base.get(start..start.checked_add(count)?)?);
        }
    }
    (made.len() == size).then_some(made)
}

/// A delta that makes `made` of `base` where they begin and end alike, as they do when one place
/// was changed.
pub(super) fn make(base: &[u8], made: &[u8]) -> Vec<u8> {
    /// The most that one instruction copies, which all readers understand.
    const COPY: usize = 0xffff;
    /// The most that one instruction inserts.
    const INSERT: usize = 0x7f;
    let start = base.iter().zip(made).take_while(|(a, b)| a == b).count();
    let (rest, new) = (&base[start..], &made[start..]);
    let end = rest.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut delta = Vec::new();
    write_number(&mut delta, base.len());
    write_number(&mut delta, made.len());
    let copy = |delta: &mut Vec<u8>, from: usize, to: usize| {
        for at in (from..to).step_by(COPY) {
            let count = (to - at).min(COPY);
            let head = delta.len();
            delta.push(0x80);
            // Bytes that are zero are left out, and the head says which are there.
            let bytes = (at as u32).to_le_bytes().into_iter().chain((count as u16).to_le_bytes());
            for (n, byte) in bytes.enumerate().filter(|(_, byte)| *byte != 0) {
                delta[head] |= 1 << n;
                delta.push(byte);
            }
        }
    };
    copy(&mut delta, 0, start);
    for piece in new[..new.len() - end].chunks(INSERT) {
        delta.push(piece.len() as u8);
        delta.extend_from_slice(piece);
    }
    copy(&mut delta, base.len() - end, base.len());
    delta
}

fn write_number(bytes: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A number in pieces of seven bits, the lowest first.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_applied_again() {
        let long: Vec<u8> = (0..200_000_u64).map(|n| (n * n % 251) as u8).collect();
        let with =
            |at: usize, cut: usize, new: &[u8]| [&long[..at], new, &long[at + cut..]].concat();
        for made in [
            long.clone(),
            Vec::new(),
            with(0, 0, b"in front"),
            with(100, 20, b"as long as what went"),
            with(150_000, 3, &[9; 1000]),
            with(199_990, 10, b""),
            [long.as_slice(), &long].concat(),
        ] {
            let delta = make(&long, &made);
            assert_eq!(apply(&long, &delta), Some(made));
        }
        assert!(make(&long, &with(150_000, 20, &[9; 20])).len() < 60);
        assert_eq!(apply(b"", &make(b"", b"new")), Some(b"new".to_vec()));
        assert_eq!(apply(b"aa", &make(b"aa", b"aaa")), Some(b"aaa".to_vec()));
    }

    #[test]
    fn copies_and_inserts() {
        let base = b"0123456789";
        // Copy 3 from 2, insert "ab", copy 4 from 0.
        let delta = [10, 9, 0x91, 2, 3, 2, b'a', b'b', 0x90, 4];
        assert_eq!(sizes(&delta).unwrap().1, 9);
        assert_eq!(apply(base, &delta).unwrap(), b"234ab0123");
        let large = vec![7; 0x10001];
        let delta = [0x81, 0x80, 0x04, 0x80, 0x80, 0x04, 0x81, 1];
        assert_eq!(apply(&large, &delta).unwrap(), vec![7; 0x10000], "no size is 64 KiB");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let base = b"0123456789";
        for (delta, why) in [
            (&[9, 1, 0x90, 1][..], "another base"),
            (&[10, 2, 0x90, 1], "too short"),
            (&[10, 1, 0x90, 2], "too long"),
            (&[10, 1, 2, b'a', b'b'], "an insert that is too long"),
            (&[10, 3, 0x91, 9, 3], "beyond the base"),
            (&[10, 1, 0], "reserved"),
            (&[10, 3, 3, b'a'], "an insert that is cut"),
            (&[10, 1, 0x91, 1], "a copy that is cut"),
            (&[0xff; 12], "a number without end"),
            (&[], "nothing"),
        ] {
            assert_eq!(apply(base, delta), None, "{why}");
        }
    }
}
