//! Sizes and durations as people write them in flags.
//!
//! Two habits exist for sizes, and a flag follows the one that its name brings
//! along: memory counts in powers of 1024 whatever the unit is called (docker's
//! `--memory` and `--shm-size`), disk space is decimal unless the unit says
//! `KiB` (docker's `prune`). Durations are Go's, as in Kaniko's `--cache-ttl`,
//! with days added.

use std::time::Duration;

pub use crate::report::{duration as print_duration, size as print_size};

/// A size or duration that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a number with a unit of size.
    #[error("`{0}` is not a size: write a number and a unit, such as `512MB` or `2GiB`")]
    Size(String),
    /// Not a number with a unit of memory.
    #[error("`{0}` is not an amount of memory: write a number and a unit, such as `64m` or `1g`")]
    Memory(String),
    /// Not a sequence of numbers with units of time.
    #[error("`{0}` is not a duration: write numbers with units, such as `90s` or `1h30m`")]
    Duration(String),
    /// More than fits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Reads disk space in bytes: `10GB` is 10¹⁰, `10GiB` is 10·2³⁰.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let (number, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        unit => {
            let (prefix, step) = match unit.strip_suffix("ib") {
                Some(prefix) => (prefix, 1024),
                None => (unit.strip_suffix('b').unwrap_or(unit), 1000),
            };
            power(prefix, step).ok_or_else(|| SizeError::Size(text.to_owned()))?
        }
    };
    let Number { digits, scale } =
        read_number(number).ok_or_else(|| SizeError::Size(text.to_owned()))?;
    amount(digits, factor, scale).ok_or_else(|| SizeError::TooLarge(text.to_owned()))
}

/// Reads an amount of memory in bytes: `64m`, `64MB` and `64MiB` are all 64·2²⁰.
pub fn parse_memory(text: &str) -> Result<u64, SizeError> {
    let (number, unit) = split(text);
    let unit = unit.to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => 1,
        unit => {
            let prefix = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b'));
            power(prefix.unwrap_or(unit), 1024).ok_or_else(|| SizeError::Memory(text.to_owned()))?
        }
    };
    let Number { digits, scale } =
        read_number(number).ok_or_else(|| SizeError::Memory(text.to_owned()))?;
    amount(digits, factor, scale).ok_or_else(|| SizeError::TooLarge(text.to_owned()))
}

/// Reads a duration: `1h30m`, `1.5s`, `250ms`, `7d`, `0`.
pub fn parse_duration(text: &str) -> Result<Duration, SizeError> {
    let wrong = || SizeError::Duration(text.to_owned());
    let large = || SizeError::TooLarge(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(wrong());
    }
    let mut sum: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split(rest);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let nanos = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(wrong()),
        };
        let Number { digits, scale } = read_number(number).ok_or_else(wrong)?;
        let part = amount(digits, nanos, scale).ok_or_else(large)?;
        sum = sum.checked_add(part).ok_or_else(large)?;
        rest = next;
    }
    Ok(Duration::from_nanos(sum))
}

/// A decimal number: `digits` / `scale`.
struct Number {
    digits: u128,
    scale: u128,
}

/// The number at the beginning, and what follows it and a space.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.strip_prefix(' ').unwrap_or(unit))
}

/// Reads digits with one point at most, and not more of them than can be computed with.
fn read_number(text: &str) -> Option<Number> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // Twenty digits hold every count of bytes, and times any unit they fit in 128 bits.
    if whole.len() + fraction.len() > 20 {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some(Number { digits, scale: 10_u128.pow(fraction.len() as u32) })
}

/// `digits` / `scale` of `factor`, rounded down; `None` when that is too large.
fn amount(digits: u128, factor: u64, scale: u128) -> Option<u64> {
    let all = digits.checked_mul(u128::from(factor))?;
    u64::try_from(all / scale).ok()
}

/// What a prefix multiplies by.
fn power(prefix: &str, step: u64) -> Option<u64> {
    let exponent = match prefix {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(step.pow(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, disk, memory) in [
            ("0", Some(0), Some(0)),
            ("1024", Some(1024), Some(1024)),
            ("7b", Some(7), Some(7)),
            ("64m", Some(64_000_000), Some(64 << 20)),
            ("64MB", Some(64_000_000), Some(64 << 20)),
            ("64 MB", Some(64_000_000), Some(64 << 20)),
            ("64MiB", Some(64 << 20), Some(64 << 20)),
            ("1.5g", Some(1_500_000_000), Some(3 << 29)),
            (".5k", Some(500), Some(512)),
            ("16pib", Some(1 << 54), Some(1 << 54)),
            ("", None, None),
            (".", None, None),
            ("m", None, None),
            ("-1", None, None),
            ("1.2.3k", None, None),
            ("1x", None, None),
            ("1ib", None, None),
            ("1kbb", None, None),
            ("1ké", None, None),
            ("123456789012345678901", None, None),
        ] {
            assert_eq!(parse_size(text).ok(), disk, "size {text}");
            assert_eq!(parse_memory(text).ok(), memory, "memory {text}");
        }
        let large = Err(SizeError::TooLarge("99999999p".to_owned()));
        assert_eq!(parse_size("99999999p"), large);
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", Some(0)),
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("1m0.25s", Some(60_250)),
            ("250ms", Some(250)),
            ("2000us", Some(2)),
            ("2000µs", Some(2)),
            ("3000000ns", Some(3)),
            ("7d", Some(604_800_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1h30", None),
            ("1w", None),
            ("-1s", None),
            ("1s ", None),
        ] {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(parse_duration(text).ok(), expected, "{text}");
        }
        assert_eq!(parse_duration("300000d"), Err(SizeError::TooLarge("300000d".to_owned())));
    }
}
