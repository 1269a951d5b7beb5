//! How a string is written as a scalar on one line, so that all readers take it for this string.

use super::scalar::is_string_for_all;
use super::{Kind, Style, yaml11};

/// What a scalar stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// On lines of its own, behind `key:` or `-`.
    Block,
    /// Between brackets or braces.
    Flow,
    /// In a file that is JSON.
    Json,
}

/// A string as a scalar, in the style that is asked for if that can hold it.
///
/// Plain text that some reader takes for something else gets double quotes, and so does what
/// single quotes cannot hold. A block style, which needs more than one line, becomes double quotes.
pub fn quote(value: &str, style: Style, context: Context) -> String {
    match style {
        _ if context == Context::Json => double(value),
        Style::Plain if is_safe_plain(value, context) => value.to_owned(),
        Style::SingleQuoted if value.chars().all(is_printable) => {
            format!("'{}'", value.replace('\'', "''"))
        }
        _ => double(value),
    }
}

/// Whether a string can be written without quotes and remains this string for all readers.
pub fn is_safe_plain(value: &str, context: Context) -> bool {
    context != Context::Json && is_string_for_all(value) && is_plain(value, context)
}

/// Whether a text that is no string for all, such as a number, can be written as it is.
pub fn is_safe_raw(value: &str, context: Context) -> bool {
    if context == Context::Json {
        let value: Result<serde_json::Value, _> = serde_json::from_str(value);
        return value
            .is_ok_and(|value| !value.is_object() && !value.is_array() && !value.is_string());
    }
    // `<<` would merge, and `=` is read by nobody.
    is_plain(value, context) && !matches!(yaml11(value), Kind::Merge | Kind::Default)
}

/// Whether a text reads as one plain scalar, of whatever type.
fn is_plain(value: &str, context: Context) -> bool {
    if value.is_empty()
        || !value.chars().all(|c| is_printable(c) && (c == ' ' || !c.is_whitespace()))
    {
        return false;
    }
    let ends_blank = value.starts_with(' ') || value.ends_with(' ');
    let marker = value.starts_with("---") || value.starts_with("...");
    let structure = value.contains(": ") || value.ends_with(':') || value.contains(" #");
    if ends_blank || marker || structure {
        return false;
    }
    // Some readers stop at a question mark in brackets, whatever follows.
    let brackets = [',', '[', ']', '{', '}', '?'];
    if context == Context::Flow && value.contains(brackets) {
        return false;
    }
    let mut chars = value.chars();
    match chars.next() {
        Some('-') => chars.next().is_some_and(|second| second != ' '),
        Some(first) => !"?:,[]{}#&*!|>'\"%@`".contains(first),
        None => false,
    }
}

/// Double quotes with the escapes that YAML and JSON have in common.
pub fn double(value: &str) -> String {
    use std::fmt::Write;

    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if is_printable(c) => text.push(c),
            // All that is not printable is below U+10000.
            c => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
        }
    }
    text.push('"');
    text
}

/// Whether a character may be in a scalar on one line as it is.
pub(super) fn is_printable(c: char) -> bool {
    match c {
        '\t' => true,
        // Line breaks of YAML 1.1, and marks that readers remove.
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        c => !c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_plain_if_all_readers_agree() {
        let plain = [
            "v1.2.3",
            "1.2.3",
            "abc",
            "a b",
            "reg:5000/app:1.2",
            "a#b",
            "http://x/y",
            "-x",
            "--flag=x",
            "é☃",
            "a'b",
            "a\"b",
            "a&b",
            "20240101T083000Z-abc",
            "/x",
            "$x",
            "<x",
            "x=",
        ];
        for text in plain {
            assert_eq!(quote(text, Style::Plain, Context::Block), text);
            assert_eq!(quote(text, Style::Plain, Context::Flow), text);
        }
        let quoted = [
            "",
            " a",
            "a ",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "- a",
            "-",
            "---",
            "--- a",
            "...",
            "? a",
            ":a",
            "{a",
            "[a",
            "]",
            "}",
            ",",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "'a",
            "%a",
            "@a",
            "`a",
            "01012024",
            "1e5",
            "1.10",
            "11212026083000",
            "0x1f",
            "1_000",
            "12:30:45",
            "2024-01-01",
            "yes",
            "y",
            "No",
            "null",
            "~",
            ".inf",
            "<<",
            "=",
            "12e4567",
            "\u{a0}a",
        ];
        for text in quoted {
            assert_eq!(quote(text, Style::Plain, Context::Block), format!("\"{text}\""));
        }
        for text in ["a,b", "a]", "a{b", "a?b"] {
            assert_eq!(quote(text, Style::Plain, Context::Block), text);
            assert_eq!(quote(text, Style::Plain, Context::Flow), format!("\"{text}\""));
        }
    }

    #[test]
    fn quotes_stay_what_they_are_if_they_can_hold_the_value() {
        assert_eq!(quote("a'b", Style::SingleQuoted, Context::Block), "'a''b'");
        assert_eq!(quote("", Style::SingleQuoted, Context::Block), "''");
        assert_eq!(quote("a\nb", Style::SingleQuoted, Context::Block), "\"a\\nb\"");
        assert_eq!(quote("a\tb", Style::SingleQuoted, Context::Block), "'a\tb'");
        assert_eq!(quote("a\"\\b", Style::DoubleQuoted, Context::Flow), "\"a\\\"\\\\b\"");
        assert_eq!(quote("a\u{85}\u{0}é😀", Style::Plain, Context::Json), "\"a\\u0085\\u0000é😀\"");
    }

    #[test]
    fn raw_text_is_one_scalar() {
        for text in ["1", "true", "null", "1.10", "-1", "abc"] {
            assert!(is_safe_raw(text, Context::Block), "{text}");
        }
        for text in ["", "a: b", "[1]", "{}", "\"a\"", "<<", "a #b", "a\nb"] {
            assert!(!is_safe_raw(text, Context::Block), "{text}");
        }
        assert!(is_safe_raw("1.5", Context::Json) && !is_safe_raw("0x1f", Context::Json));
        assert!(!is_safe_raw("yes", Context::Json) && !is_safe_raw("\"a\"", Context::Json));
    }
}
