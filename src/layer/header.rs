//! The 512-byte header block: where its fields are and how its numbers are written.
//!
//! Layout after POSIX.1-2008 "ustar", with the GNU additions that are read but
//! never written: base-256 numbers, and the map of a sparse file in the place of
//! the name's prefix.

use std::ops::Range;

/// The unit of an archive, in bytes.
pub(super) const BLOCK: usize = 512;

/// A header or data block.
pub(super) type Block = [u8; BLOCK];

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

/// `ustar`, NUL, version `00`.
pub(super) const POSIX_MAGIC: &[u8; 8] = b"ustar\x0000";

/// The number that `octal` can put into seven digits, as for ids.
pub(super) const MAX_7_DIGITS: u64 = 0o777_7777;

/// The number that `octal` can put into eleven digits, as for sizes and times.
pub(super) const MAX_11_DIGITS: u64 = 0o777_7777_7777;

/// Writes `value` as octal digits, filled with zeros, ended by NUL.
pub(super) fn put_octal(block: &mut Block, field: Range<usize>, value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    block[field.start..field.end - 1].copy_from_slice(text.as_bytes());
}

/// The sum of the bytes, with the checksum field itself as blanks.
fn checksum(block: &Block) -> (u64, i64) {
    let mut unsigned = 0_u64;
    let mut signed = 0_i64;
    for (at, &byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { byte };
        unsigned += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    (unsigned, signed)
}

/// Fills in the checksum of a complete header.
pub(super) fn seal(block: &mut Block) {
    let (sum, _) = checksum(block);
    let text = format!("{sum:06o}\0 ");
    block[CHECKSUM].copy_from_slice(text.as_bytes());
}

/// Whether the checksum is right; old Sun tars summed signed bytes.
pub(super) fn checksum_holds(block: &Block) -> bool {
    let (unsigned, signed) = checksum(block);
    number(&block[CHECKSUM]).is_ok_and(|stored| {
        stored == i128::from(unsigned) || (signed >= 0 && stored == i128::from(signed))
    })
}

/// Whether `head`, the first bytes of a file, begins a tar archive with an entry in it.
pub fn is_header(head: &[u8]) -> bool {
    // The headers that describe the next entry need no name of their own.
    let named = |block: &Block| block[0] != 0 || b"xgLK".contains(&block[TYPE]);
    head.first_chunk::<BLOCK>().is_some_and(|block| named(block) && checksum_holds(block))
}

/// The bytes of a field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

/// The number in a field: octal digits with blanks around them, or GNU base-256.
pub(super) fn number(field: &[u8]) -> Result<i128, &'static str> {
    let Some(&first) = field.first() else { return Ok(0) };
    if first & 0x80 != 0 {
        if field.len() > 12 {
            return Err("a number is too long");
        }
        // Two's complement over the field's bits without the topmost, which is the marker.
        let negative = first & 0x40 != 0;
        let mut value = if negative { -1_i128 } else { 0 };
        for (at, &byte) in field.iter().enumerate() {
            let byte = match (at, negative) {
                (0, false) => byte & 0x7f,
                _ => byte,
            };
            value = (value << 8) | i128::from(byte);
        }
        return Ok(value);
    }
    let text = text(field).trim_ascii();
    let mut value = 0_i128;
    for &byte in text {
        if !(b'0'..=b'7').contains(&byte) {
            return Err("a number field holds something else than octal digits");
        }
        value = value * 8 + i128::from(byte - b'0');
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_dialect() {
        for (field, expected) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b"   644 \0", Ok(0o644)),
            (b"00000644", Ok(0o644)),
            (b"\0\0\0\0\0\0\0\0", Ok(0)),
            (b"\x80\0\0\0\0\x20\0\0", Ok(0x0020_0000)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Ok(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2)),
            (b"00006x4\0", Err("a number field holds something else than octal digits")),
            (b"-000001\0", Err("a number field holds something else than octal digits")),
            (b"12 34\0\0\0", Err("a number field holds something else than octal digits")),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
