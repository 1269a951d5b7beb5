//! Sizes and durations as people type them.

use std::time::Duration;

/// Reads a number of bytes: `500MB`, `10GiB`, `1.5 GB`. A unit without `i` is decimal, as
/// those are that yado shows; a number alone is bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size, expected such as 500MB or 10GiB");
    let (number, unit) = split(text);
    let unit = unit.to_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) if !letter.is_empty() => (letter, 1024_u128),
        Some(_) => return Err(wrong()),
        None => (unit, 1000),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(wrong()),
    };
    scaled(number, base.pow(power)).ok_or_else(wrong)
}

/// Reads a duration: `30m`, `24h`, `7d`, `2w`, or several such in a row, as in `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration, expected such as 30m, 24h or 7d");
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit_on) = split(rest);
        let end = unit_on.find(|c: char| c.is_ascii_digit()).unwrap_or(unit_on.len());
        let (unit, after) = unit_on.split_at(end);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return Err(wrong()),
        };
        let part = scaled(number, unit).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Where the number ends.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A number that may have decimals, times `unit`.
fn scaled(number: &str, unit: u128) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    // More are finer than a byte or a second.
    if whole.is_empty() || decimals.is_empty() || decimals.len() > 9 {
        return None;
    }
    let power = 10_u128.pow(u32::try_from(decimals.len()).ok()?);
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(power)?;
    let number = whole + u128::from(decimals.parse::<u64>().ok()?);
    u64::try_from(number.checked_mul(unit)? / power).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("500MB", 500_000_000),
            ("500mb", 500_000_000),
            ("500 MB", 500_000_000),
            ("10GiB", 10 << 30),
            ("1.5kB", 1500),
            ("1.5GiB", 3 << 29),
            ("2T", 2_000_000_000_000),
            ("16Ki", 16_384),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "MB", "-1", "1.", ".5", "1..5", "1.5.5", "5 apples", "5i", "5iB", "20000PiB"]
        {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_durations() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("30m", 1800),
            ("24h", 86_400),
            ("1.5h", 5400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("1h30m", 5400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "7", "d", "7days", "1h30", "-1h", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
