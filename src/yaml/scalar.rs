//! What a plain scalar is taken for: by YAML 1.2's core schema, by YAML 1.1 and those who read it.
//!
//! Readers disagree. `yes` is a string in one and true in another, `0755` is 755 or 493. So there
//! is one question to ask before a string is written without quotes: is it a string for everyone?

/// What a plain scalar is for some reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing.
    Null,
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// Any other number, infinity and not-a-number included.
    Float,
    /// A date, with or without a time.
    Timestamp,
    /// `<<`, the key whose value is merged.
    Merge,
    /// `=`, the default value of YAML 1.1.
    Default,
    /// Text.
    String,
}

/// What YAML 1.2's core schema takes a plain scalar for.
pub fn core(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Kind::Bool,
        _ if is_special_float(text) => return Kind::Float,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if all(unsigned, |byte| byte.is_ascii_digit()) {
        return Kind::Int;
    }
    let based = |prefix: &str, digit: fn(u8) -> bool| {
        text.strip_prefix(prefix).is_some_and(|digits| all(digits, digit))
    };
    if based("0o", is_octal) || based("0x", |byte| byte.is_ascii_hexdigit()) {
        return Kind::Int;
    }
    if is_decimal_float(unsigned, false) { Kind::Float } else { Kind::String }
}

/// What YAML 1.1 takes a plain scalar for, in the widest sense that a common reader has.
pub fn yaml11(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "<<" => return Kind::Merge,
        "=" => return Kind::Default,
        _ if bool11(text).is_some() => return Kind::Bool,
        _ if is_special_float(text) => return Kind::Float,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Kind::String;
    }
    if is_timestamp(text) {
        return Kind::Timestamp;
    }
    let prefix = unsigned.get(..2).unwrap_or_default().to_ascii_lowercase();
    let digits = unsigned.get(2..).unwrap_or_default();
    let based = match prefix.as_str() {
        "0b" => all(digits, |byte| matches!(byte, b'0' | b'1' | b'_')),
        "0o" => all(digits, |byte| is_octal(byte) || byte == b'_'),
        "0x" => all(digits, |byte| byte.is_ascii_hexdigit() || byte == b'_'),
        _ => false,
    };
    // Commas between digits are Ruby's.
    let plain = all(unsigned, |byte| byte.is_ascii_digit() || matches!(byte, b'_' | b','));
    if based || plain {
        return Kind::Int;
    }
    match sexagesimal(unsigned) {
        Some(kind) => kind,
        None if is_decimal_float(unsigned, true) => Kind::Float,
        None => Kind::String,
    }
}

/// Whether a plain scalar is a string for all readers.
pub fn is_string_for_all(text: &str) -> bool {
    core(text) == Kind::String && yaml11(text) == Kind::String
}

/// A truth value as YAML 1.1 and Kubernetes read it.
pub(super) fn bool11(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

fn is_special_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn all(text: &str, accept: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(accept)
}

fn is_octal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'7')
}

/// `1.5`, `.5`, `1.`, `1e5`: digits, then perhaps a fraction, then perhaps an exponent.
pub(super) fn is_decimal_float(unsigned: &str, underscores: bool) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (underscores && byte == b'_');
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent = exponent
        .is_none_or(|exponent| all(exponent.strip_prefix(['-', '+']).unwrap_or(exponent), digit));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent
        && whole.bytes().all(digit)
        && fraction.bytes().all(digit)
        && mantissa.bytes().any(|byte| byte.is_ascii_digit())
}

/// `12:30:45` and `190:20:30.15`, which YAML 1.1 reads to base 60.
fn sexagesimal(unsigned: &str) -> Option<Kind> {
    let (first, rest) = unsigned.split_once(':')?;
    let (rest, fraction) = match rest.split_once('.') {
        Some((rest, fraction)) => (rest, Some(fraction)),
        None => (rest, None),
    };
    let part = |part: &str| matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    let whole = all(first, |byte| byte.is_ascii_digit() || byte == b'_');
    if !whole || !rest.split(':').all(part) {
        return None;
    }
    match fraction {
        None => Some(Kind::Int),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') => {
            Some(Kind::Float)
        }
        Some(_) => None,
    }
}

/// `2024-01-01`, and with a time behind `T`, `t` or blanks, and a zone behind that.
fn is_timestamp(text: &str) -> bool {
    let Some(rest) = digits(text, 4, 4).and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    let Some(rest) = digits(rest, 1, 2).and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    let Some(time) = digits(rest, 1, 2) else { return false };
    if time.is_empty() {
        return true;
    }
    // A date and something that looks like a time is enough: what exactly a reader accepts as
    // fraction and zone differs.
    time.starts_with(['T', 't', ' ', '\t'])
        && digits(time[1..].trim_start_matches([' ', '\t']), 1, 2)
            .is_some_and(|rest| rest.starts_with(':'))
        && time[1..].chars().all(|c| c.is_ascii_digit() || ":.+- \tZz".contains(c))
}

/// What is behind the digits at the beginning, if they are so many.
fn digits(text: &str, least: usize, most: usize) -> Option<&str> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (count >= least).then(|| &text[count..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_take_plain_text_for() {
        use Kind::{Bool, Default, Float, Int, Merge, Null, String, Timestamp};
        let table = [
            ("", Null, Null),
            ("~", Null, Null),
            ("null", Null, Null),
            ("nULL", String, String),
            ("true", Bool, Bool),
            ("yes", String, Bool),
            ("y", String, Bool),
            ("Off", String, Bool),
            ("oN", String, String),
            ("0", Int, Int),
            ("-12", Int, Int),
            ("+12", Int, Int),
            ("0755", Int, Int),
            ("089", Int, Int),
            ("01012024", Int, Int),
            ("11212026083000", Int, Int),
            ("0o17", Int, Int),
            ("-0o17", String, Int),
            ("0x1f", Int, Int),
            ("0X1F", String, Int),
            ("-0x1f", String, Int),
            ("0xfg", String, String),
            ("0b101", String, Int),
            ("0b102", String, String),
            ("1_000", String, Int),
            ("_1", String, String),
            ("1,000", String, Int),
            ("1e5", Float, Float),
            ("12e4567", Float, Float),
            ("1.10", Float, Float),
            ("1.", Float, Float),
            (".5", Float, Float),
            ("+.5", Float, Float),
            ("1E+2", Float, Float),
            ("1_0.5", String, Float),
            (".", String, String),
            ("-", String, String),
            (".e5", String, String),
            ("1e", String, String),
            ("1.2.3", String, String),
            ("v1.2", String, String),
            (".inf", Float, Float),
            ("-.INF", Float, Float),
            (".NaN", Float, Float),
            ("-.nan", String, String),
            ("inf", String, String),
            ("12:30:45", String, Int),
            ("1:60", String, String),
            ("1:5.25", String, Float),
            ("localhost:5000", String, String),
            ("2024-01-01", String, Timestamp),
            ("2024-1-1", String, Timestamp),
            ("2024-01-01T00:00:00Z", String, Timestamp),
            ("2001-12-14 21:59:43.10 -5", String, Timestamp),
            ("2024-01-01-abc", String, String),
            ("2024-01-01T", String, String),
            ("20240101T083000Z-abc", String, String),
            ("<<", String, Merge),
            ("=", String, Default),
            ("abc", String, String),
        ];
        for (text, in_core, in_11) in table {
            assert_eq!((core(text), yaml11(text)), (in_core, in_11), "{text:?}");
        }
    }
}
