//! PAX records: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
//!
//! Values are bytes: an extended attribute may hold NUL, `=` and newlines. A
//! block of records is taken as a whole or refused as a whole; a reader that
//! skips what it cannot parse goes on with a wrong name or size.

/// Appends a record to `out`.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // " " "=" "\n" and the digits of the length itself, which count too.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A key and its value.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits a block of records into keys and values, in their order.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    const MALFORMED: &str = "malformed PAX record";
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|&b| b == b' ').ok_or(MALFORMED)?;
        let length =
            usize::try_from(decimal(&bytes[..blank]).ok_or(MALFORMED)?).map_err(|_| MALFORMED)?;
        if length <= blank + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err("malformed PAX record: its length is wrong");
        }
        let record = &bytes[blank + 1..length - 1];
        let equals = record.iter().position(|&b| b == b'=').ok_or(MALFORMED)?;
        if equals == 0 || record[..equals].contains(&0) {
            return Err(MALFORMED);
        }
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// A number of decimal digits alone, at most `i64::MAX`.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(value).ok()
}

/// A time: seconds, perhaps negative, perhaps with a fraction; as whole seconds and nanoseconds.
pub(super) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = decimal(whole)?.cast_signed();
    let mut nanos = 0;
    for at in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    }
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_itself() {
        for size in [0, 1, 87, 88, 89, 90, 985, 986, 987, 9_000] {
            let value = [b'=', b'\n', 0].repeat(size).split_off(size * 2);
            let mut out = Vec::new();
            push(&mut out, b"SCHILY.xattr.user.k", &value);
            push(&mut out, b"path", b"p");
            let expected: Vec<Record<'_>> = vec![(b"SCHILY.xattr.user.k", &value), (b"path", b"p")];
            assert_eq!(parse(&out), Ok(expected));
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "path=x\n",
            "8 path=x\n",
            "11 path=x\n",
            "9 path=x ",
            "9 path=xy",
            "7 path\n",
            "5 =x\n",
            "0 \n",
            "-9 path=x\n",
            "+9 path=x\n",
            " 9 path=x\n",
            "99999999999999999999 path=x\n",
            "9 path=x\n\0",
            "9 pa\0h=x\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1700000000.123456789", Some((1_700_000_000, 123_456_789))),
            ("1.5", Some((1, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("1.", Some((1, 0))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("", None),
            ("-", None),
            (".5", None),
            ("1.5.5", None),
            ("1e9", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }
}
