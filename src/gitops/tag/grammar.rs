//! What a tag may be, and which tags a YAML file would read as something else than text. Pure.
//!
//! A tag that stands unquoted in a values file is read by YAML's rules: `1.10` becomes 1.1,
//! `01012024` an octal number and `11212026083000` a float in Helm's templates. What YAML 1.1
//! or 1.2, or a reader in wide use, takes for a number, boolean, null or date is found here.

/// The longest tag that registries take.
const LONGEST: usize = 128;

/// Whether it is a tag by the grammar of registries.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= LONGEST
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// What YAML takes a tag for, if not for text.
pub fn not_text(tag: &str) -> Option<&'static str> {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    if WORDS.contains(&tag.to_ascii_lowercase().as_str()) {
        return Some(if tag.eq_ignore_ascii_case("null") { "null" } else { "a boolean" });
    }
    // Readers that allow underscores between digits leave them out first.
    let plain = tag.replace('_', "");
    if !tag.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_integer(&plain) || is_float(&plain) {
        return Some("a number");
    }
    is_date(tag).then_some("a date")
}

fn all(text: &str, good: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(good)
}

fn digits(text: &str) -> bool {
    all(text, |b| b.is_ascii_digit())
}

fn is_integer(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let based = |prefix, good: fn(u8) -> bool| {
        lower.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || all(rest, good))
    };
    digits(text)
        || based("0x", |b| b.is_ascii_hexdigit())
        || based("0o", |b| matches!(b, b'0'..=b'7'))
        || based("0b", |b| matches!(b, b'0' | b'1'))
}

/// Digits, perhaps with a fraction, perhaps with an exponent.
fn is_float(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let (number, exponent) = match lower.split_once('e') {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (lower.as_str(), None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent = exponent.is_none_or(|e| digits(e.strip_prefix('-').unwrap_or(e)));
    digits(whole) && (fraction.is_empty() || digits(fraction)) && exponent
}

/// Year, month and day.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let short = |text: &str| digits(text) && text.len() <= 2;
    digits(year) && year.len() == 4 && short(month) && short(day)
}

/// A text as a part of a tag: what a tag may not hold becomes `-`, never two in a row, and none
/// at an end.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        let good = c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if good {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_not_text() {
        for (tag, expected) in [
            ("11212026083000", Some("a number")),
            ("01012024", Some("a number")),
            ("089", Some("a number")),
            ("1_000", Some("a number")),
            ("1.10", Some("a number")),
            ("1.", Some("a number")),
            ("1_0.5_0", Some("a number")),
            ("1e5", Some("a number")),
            ("6801E28", Some("a number")),
            ("1.5e-3", Some("a number")),
            ("0x1F", Some("a number")),
            ("0o17", Some("a number")),
            ("0b101", Some("a number")),
            ("2026-11-28", Some("a date")),
            ("2026-1-2", Some("a date")),
            ("Yes", Some("a boolean")),
            ("n", Some("a boolean")),
            ("OFF", Some("a boolean")),
            ("NULL", Some("null")),
            ("1.2.3", None),
            ("v1.10", None),
            ("1.10-rc1", None),
            ("20261128T105549Z-4f2a1bc", None),
            ("4f2a1bc", None),
            ("0xfg", None),
            ("1e5a", None),
            ("_1", None),
            ("latest", None),
            ("2026-11-28-x", None),
            ("nope", None),
        ] {
            assert_eq!(not_text(tag), expected, "{tag}");
        }
    }

    #[test]
    fn knows_what_a_tag_is() {
        let longest = "a".repeat(128);
        for (tag, expected) in [
            ("a", true),
            ("_a.b-c", true),
            (longest.as_str(), true),
            ("", false),
            (".a", false),
            ("-a", false),
            ("a/b", false),
            ("a+b", false),
            ("ä", false),
        ] {
            assert_eq!(is_tag(tag), expected, "{tag}");
        }
        assert!(!is_tag(&"a".repeat(129)));
    }

    #[test]
    fn makes_slugs() {
        for (text, expected) in [
            ("main", "main"),
            ("feature/ABC-1 new_thing", "feature-ABC-1-new_thing"),
            ("--a//b..", "a-b"),
            ("ü", ""),
            ("v1.2.3+build", "v1.2.3-build"),
        ] {
            assert_eq!(slug(text), expected, "{text}");
        }
    }
}
