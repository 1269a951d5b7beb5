//! Text from steps and registries, made safe to show on one line.
//!
//! Build output is written by anybody's programs. [`one_line`] gives what a
//! terminal would have left on the line in the end, without colours, cursor
//! movements, titles or anything else that could break, hide or reorder the
//! lines around it. [`cut`] shortens to columns, of which some characters take two.

use std::borrow::Cow;

/// Tab stops of terminals.
const TAB: usize = 8;

/// What stays of `raw` on one line: escape sequences and control characters are gone, a
/// carriage return starts the line anew as progress bars do, a backspace takes one back.
pub fn one_line(raw: &str) -> Cow<'_, str> {
    if raw.chars().all(|c| !special(c)) {
        return Cow::Borrowed(raw);
    }
    let mut shown = String::with_capacity(raw.len());
    // The old text stays until something is written over it.
    let mut restart = false;
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\u{1b}' => rest = after_escape(rest),
            '\u{9b}' => rest = after_control_sequence(rest),
            '\r' => restart = true,
            '\u{8}' => {
                shown.pop();
            }
            '\t' => {
                let to_stop = TAB - width(&shown) % TAB;
                shown.extend(std::iter::repeat_n(' ', to_stop));
            }
            '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => shown.push(' '),
            c if special(c) => {}
            c => {
                if std::mem::take(&mut restart) {
                    shown.clear();
                }
                shown.push(c);
            }
        }
    }
    Cow::Owned(shown)
}

/// A message on one line: [`one_line`], but nothing that it says is written over, so
/// that who has a part in it can hide none of the rest.
pub fn message_line(raw: &str) -> Cow<'_, str> {
    if raw.contains(['\r', '\u{8}']) {
        return Cow::Owned(one_line(&raw.replace(['\r', '\u{8}'], " ")).into_owned());
    }
    one_line(raw)
}

/// An error with its causes, as one sentence.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // A transparent error is its cause.
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Whether `c` does anything else than to appear: controls, line separators, and the marks that
/// turn the direction of all that follows.
pub fn special(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What follows the escape sequence whose ESC has been read (ECMA-48 §5.3–5.6).
fn after_escape(rest: &str) -> &str {
    let Some(c) = rest.chars().next() else { return rest };
    match c {
        '[' => after_control_sequence(&rest[1..]),
        // Strings: title, device control and the like, up to BEL or ST. Without an end only the
        // introducer goes, so that nothing is hidden.
        ']' | 'P' | 'X' | '^' | '_' => {
            let body = &rest[1..];
            match body.find(['\u{7}', '\u{9c}', '\u{1b}']) {
                Some(end) if body[end..].starts_with("\u{1b}\\") => &body[end + 2..],
                Some(end) if body[end..].starts_with('\u{1b}') => &body[end..],
                Some(end) => body[end..].trim_start_matches(['\u{7}', '\u{9c}']),
                None => body,
            }
        }
        ' '..='/' => {
            let body = rest.trim_start_matches(|c| (' '..='/').contains(&c));
            match body.chars().next() {
                Some('0'..='~') => &body[1..],
                _ => body,
            }
        }
        '0'..='~' => &rest[1..],
        _ => rest,
    }
}

/// What follows a control sequence whose introducer has been read: parameters and
/// intermediates, then one final character.
fn after_control_sequence(rest: &str) -> &str {
    let body = rest.trim_start_matches(|c| (' '..='?').contains(&c));
    match body.chars().next() {
        Some('@'..='~') => &body[1..],
        _ => body,
    }
}

/// How many columns `text` takes; it has been through [`one_line`].
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// The beginning of `text` in at most `columns`, with an ellipsis when something is missing.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += char_width(*c);
            used < columns
        })
        .collect();
    if columns > 0 {
        short.push('…');
    }
    Cow::Owned(short)
}

/// How many columns `c` takes, after Unicode's East Asian Width and emoji presentation.
pub(super) fn char_width(c: char) -> usize {
    if c < '\u{300}' {
        return 1;
    }
    let among = |table: &[(u32, u32)]| {
        let c = u32::from(c);
        table.binary_search_by(|(first, last)| {
            if *last < c {
                std::cmp::Ordering::Less
            } else if *first > c {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        })
    };
    match (among(ZERO), among(WIDE)) {
        (Ok(_), _) => 0,
        (_, Ok(_)) => 2,
        _ => 1,
    }
}

/// Marks that join the character before them, as far as they are seen in build output.
const ZERO: &[(u32, u32)] = &[
    (0x300, 0x36f),
    (0x483, 0x489),
    (0x591, 0x5bd),
    (0x610, 0x61a),
    (0x64b, 0x65f),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200f),
    (0x2060, 0x2064),
    (0x20d0, 0x20ff),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xfeff, 0xfeff),
    (0xe0100, 0xe01ef),
];

/// Wide and full-width characters, and those that are pictures by default.
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x23e9, 0x23ec),
    (0x23f0, 0x23f0),
    (0x23f3, 0x23f3),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x267f, 0x267f),
    (0x2693, 0x2693),
    (0x26a1, 0x26a1),
    (0x26aa, 0x26ab),
    (0x26bd, 0x26be),
    (0x26c4, 0x26c5),
    (0x26ce, 0x26ce),
    (0x26d4, 0x26d4),
    (0x26ea, 0x26ea),
    (0x26f2, 0x26f3),
    (0x26f5, 0x26f5),
    (0x26fa, 0x26fa),
    (0x26fd, 0x26fd),
    (0x2705, 0x2705),
    (0x270a, 0x270b),
    (0x2728, 0x2728),
    (0x274c, 0x274c),
    (0x274e, 0x274e),
    (0x2753, 0x2755),
    (0x2757, 0x2757),
    (0x2795, 0x2797),
    (0x27b0, 0x27b0),
    (0x27bf, 0x27bf),
    (0x2b1b, 0x2b1c),
    (0x2b50, 0x2b50),
    (0x2b55, 0x2b55),
    (0x2e80, 0x303e),
    (0x3041, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f18e, 0x1f18e),
    (0x1f191, 0x1f19a),
    (0x1f200, 0x1f320),
    (0x1f32d, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f7e0, 0x1f7eb),
    (0x1f900, 0x1f9ff),
    (0x1fa70, 0x1faff),
    (0x20000, 0x3fffd),
];

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_have_left() {
        for (raw, shown) in [
            ("plain", "plain"),
            ("\u{1b}[1;31merror\u{1b}[0m: x", "error: x"),
            ("\u{1b}[2K\u{1b}[1Gdone", "done"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]0;no end", "0;no end"),
            ("\u{1b}]0;a\u{1b}[1mb", "b"),
            ("\u{1b}(Bascii\u{1b}", "ascii"),
            ("\u{1b}[31", ""),
            ("\u{9b}31mred", "red"),
            ("10%\r20%\r100%", "100%"),
            ("100%\r", "100%"),
            ("long line\r\u{1b}[Kx", "x"),
            ("|\u{8}/\u{8}-", "-"),
            ("a\tb", "a       b"),
            ("12345678\tb", "12345678        b"),
            ("nul\0bell\u{7}del\u{7f}", "nulbelldel"),
            ("a\nb\u{2028}c\u{85}d\u{b}e", "a b c d e"),
            ("\u{202e}evil\u{2066}", "evil"),
            ("宿 ✓ é", "宿 ✓ é"),
        ] {
            assert_eq!(one_line(raw), shown, "{raw:?}");
        }
    }

    #[test]
    fn cutting_counts_columns() {
        for (text, columns, short) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("abcd", 1, "…"),
            ("abcd", 0, ""),
            ("宿借り", 6, "宿借り"),
            ("宿借り", 5, "宿借…"),
            ("宿借り", 4, "宿…"),
            ("e\u{301}e\u{301}", 2, "e\u{301}e\u{301}"),
        ] {
            assert_eq!(cut(text, columns), short, "{text:?} {columns}");
        }
    }

    #[test]
    fn the_tables_are_sorted() {
        for table in [ZERO, WIDE] {
            assert!(table.is_sorted_by(|a, b| a.1 < b.0));
            assert!(table.iter().all(|(first, last)| first <= last));
        }
    }

    /// Ordinary characters among those that do harm.
    pub(in crate::report) fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            "[\\x00-\\x20\\x7f-\\x9f\u{2028}\u{202e}]{1,3}",
            "\x1b[\\[\\]P()#_^\\\\][0-9;?]{0,4}[A-Za-z@\x07]?",
            "[a-z宿借り✅]{1,9}",
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn nothing_of_a_message_is_written_over() {
        for (raw, shown) in [
            ("plain", "plain"),
            ("error: no\rall is well", "error: no all is well"),
            ("no\u{8}\u{8}yes", "no  yes"),
            ("\u{1b}[31mred\u{7}\u{202e}\nnext", "red next"),
        ] {
            assert_eq!(message_line(raw), shown, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_special_is_left(raw in nasty(), columns in 0_usize..40) {
            let shown = one_line(&raw);
            prop_assert!(!shown.chars().any(special), "{:?}", shown);
            prop_assert_eq!(one_line(&shown), shown.clone());
            prop_assert!(width(&cut(&shown, columns)) <= columns);
        }
    }
}
