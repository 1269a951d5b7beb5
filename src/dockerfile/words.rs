//! A logical line to words, quotes and escapes left in them.

use super::lines::Line;
use super::{Spanned, Word};

/// The white space that separates words of an instruction without quotes.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// A part of a logical line: `line.text[start..end]`.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) line: &'a Line,
    start: usize,
    end: usize,
}

impl<'a> Part<'a> {
    pub(super) fn whole(line: &'a Line) -> Self {
        Self { line, start: 0, end: line.text.len() }.trim()
    }

    pub(super) fn text(&self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The part as one word.
    pub(super) fn word(&self) -> Word {
        Spanned::new(self.text().to_owned(), self.line.span(self.start, self.end))
    }

    /// The bytes `start..end` of this part.
    pub(super) fn slice(&self, start: usize, end: usize) -> Self {
        Self { line: self.line, start: self.start + start, end: self.start + end }
    }

    fn trim(&self) -> Self {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.slice(start, text.trim_end().len().max(start))
    }

    /// The keyword and what follows it.
    pub(super) fn keyword(&self) -> (Self, Self) {
        let text = self.text();
        let end = text.find(is_blank).unwrap_or(text.len());
        (self.slice(0, end), self.slice(end, text.len()).trim())
    }

    /// Words between blanks.
    pub(super) fn blank_separated(&self) -> Vec<Word> {
        let text = self.text();
        let mut words = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let start = at + (rest.len() - rest.trim_start_matches(is_blank).len());
            let end = text[start..].find(is_blank).map_or(text.len(), |length| start + length);
            if end > start {
                words.push(self.slice(start, end).word());
            }
            at = end.max(start).max(at + 1);
        }
        words
    }

    /// Words between blanks, where quotes and escapes hold a word together.
    pub(super) fn quoted_words(&self, escape: char) -> Vec<Self> {
        let mut words = Vec::new();
        let mut start = None;
        let mut quote: Option<char> = None;
        let text = self.text();
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if start.is_none() {
                if c.is_whitespace() {
                    continue;
                }
                start = Some(at);
            }
            if c == escape && quote != Some('\'') {
                chars.next();
                continue;
            }
            match quote {
                Some(open) if open == c => quote = None,
                None if c.is_whitespace() => {
                    let from = start.take().unwrap_or(at);
                    words.push(self.slice(from, at));
                }
                None if matches!(c, '\'' | '"') => quote = Some(c),
                _ => {}
            }
        }
        if let Some(from) = start {
            let word = &text[from..];
            // A lone escape character at the end says nothing.
            let escapes = word.chars().rev().take_while(|c| *c == escape).count();
            let end = text.len() - escapes % 2 * escape.len_utf8();
            if end > from {
                words.push(self.slice(from, end));
            }
        }
        words
    }

    /// `key=value`, each as a word with its place.
    pub(super) fn split_pair(&self) -> Option<(Word, Word)> {
        let equals = self.text().find('=')?;
        let key = self.slice(0, equals).word();
        Some((key, self.slice(equals + 1, self.text().len()).word()))
    }

    /// Takes flags (`--name`, `--name=value`) from the front; quotes and
    /// backslashes in them are resolved. `--` ends them.
    pub(super) fn take_flags(&self) -> (Vec<Word>, Self) {
        let text = self.text();
        let mut flags = Vec::new();
        let mut at = 0;
        loop {
            let rest = &text[at..];
            let start = at + (rest.len() - rest.trim_start().len());
            if !text[start..].starts_with("--") {
                return (flags, self.slice(start, text.len()));
            }
            let mut value = String::new();
            let mut quote = None;
            let mut end = text.len();
            let mut chars = text[start..].char_indices();
            while let Some((offset, c)) = chars.next() {
                match c {
                    '\\' => value.extend(chars.next().map(|(_, c)| c)),
                    c if Some(c) == quote => quote = None,
                    '\'' | '"' if quote.is_none() => quote = Some(c),
                    c if quote.is_none() && c.is_whitespace() => {
                        end = start + offset;
                        break;
                    }
                    c => value.push(c),
                }
            }
            if value == "--" {
                return (flags, self.slice(end, text.len()).trim());
            }
            flags.push(Spanned::new(value, self.slice(start, end).word().span));
            at = end;
        }
    }
}

/// The keyword of an instruction and the rest, flags removed.
pub(super) fn split_keyword(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(is_blank).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Whether the arguments, behind flags, are a JSON array of strings.
pub(super) fn is_exec_form(arguments: &str) -> bool {
    let line = Line::of(arguments);
    let (_, rest) = Part::whole(&line).take_flags();
    matches!(json(&rest), Json::Strings(_))
}

/// What stands where a JSON array may stand.
pub(super) enum Json {
    /// No JSON array.
    Other,
    /// A JSON array with something else than strings in it.
    NotStrings,
    /// An array of strings.
    Strings(Vec<Word>),
}

/// Reads the exec form.
pub(super) fn json(part: &Part<'_>) -> Json {
    let text = part.text();
    if !text.starts_with('[') {
        return Json::Other;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Json::Other;
    };
    let strings: Option<Vec<String>> = values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(string) => Some(string),
            _ => None,
        })
        .collect();
    let Some(strings) = strings else { return Json::NotStrings };
    // The text is a valid array of strings: the k-th pair of quotes is the k-th string.
    let mut places = Vec::new();
    let mut open = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (open, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(start), b'"') => {
                places.push(part.slice(start, at + 1).word().span);
                open = None;
            }
            (None, b'"') => open = Some(at),
            _ => {}
        }
    }
    Json::Strings(
        strings.into_iter().zip(places).map(|(value, span)| Spanned::new(value, span)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_words() {
        for (text, expected) in [
            ("a b\tc", vec!["a", "b", "c"]),
            ("a='b c' d=\"e f\" g=h\\ i", vec!["a='b c'", "d=\"e f\"", "g=h\\ i"]),
            ("a=\"b\\\"c d\" e", vec!["a=\"b\\\"c d\"", "e"]),
            ("a='\\' b", vec!["a='\\'", "b"]),
            ("a=\"open b", vec!["a=\"open b"]),
            ("a\\", vec!["a"]),
            ("a\\\\", vec!["a\\\\"]),
            ("\"\"", vec!["\"\""]),
            ("", vec![]),
        ] {
            let line = Line::of(text);
            let words = Part::whole(&line).quoted_words('\\');
            assert_eq!(words.iter().map(Part::text).collect::<Vec<_>>(), expected, "{text}");
        }
        let line = Line::of("a   'b c'");
        let words = Part::whole(&line).blank_separated();
        assert_eq!(words.iter().map(|w| w.value.as_str()).collect::<Vec<_>>(), ["a", "'b", "c'"]);
    }

    #[test]
    fn takes_flags() {
        for (text, flags, rest) in [
            ("--a --b=c d", vec!["--a", "--b=c"], "d"),
            ("--a=\"b c\" d", vec!["--a=b c"], "d"),
            ("--a=b\\ c d --e", vec!["--a=b c"], "d --e"),
            ("-- --a", vec![], "--a"),
            ("-a --b", vec![], "-a --b"),
            ("--a", vec!["--a"], ""),
        ] {
            let line = Line::of(text);
            let (found, left) = Part::whole(&line).take_flags();
            assert_eq!(found.iter().map(|w| w.value.as_str()).collect::<Vec<_>>(), flags, "{text}");
            assert_eq!(left.text(), rest, "{text}");
        }
    }

    #[test]
    fn reads_the_exec_form() {
        for (text, expected) in [
            ("[\"a\", \"b\\\"c\\u00e9\"]", Some(vec!["a", "b\"cé"])),
            ("[]", Some(vec![])),
            ("['a']", None),
            ("[\"a\",]", None),
            ("[\"a\"] b", None),
            ("a", None),
        ] {
            let line = Line::of(text);
            let found = match json(&Part::whole(&line)) {
                Json::Strings(words) => {
                    Some(words.into_iter().map(|w| w.value).collect::<Vec<_>>())
                }
                _ => None,
            };
            let expected = expected.map(|e| e.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found, expected, "{text}");
        }
        let line = Line::of("[\"a\", 1]");
        assert!(matches!(json(&Part::whole(&line)), Json::NotStrings));
    }
}
