//! Physical lines to logical ones: directives, comments, continuations, heredocs.
//!
//! A logical line is the text of an instruction without line ends and comments,
//! with a map back to the file, and the bodies of its heredocs. A line goes on
//! when it ends in the escape character and blanks, unless another escape
//! character stands before it. Leading blanks of continued lines are kept, as
//! `BuildKit` does.

use super::expand::{heredoc_names, shell_words};
use super::words::{is_exec_form, split_keyword};
use super::{Diagnostic, Rule, Source, Span, Spanned};

/// A parser directive of the head of the file: `# key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`.
    pub key: Spanned<String>,
    /// The value, as written.
    pub value: Spanned<String>,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, without quotes.
    pub name: String,
    /// The lines up to the delimiter, with their ends, tabs not stripped.
    pub body: Spanned<String>,
    /// Whether variables are expanded: no part of the delimiter was quoted.
    pub expand: bool,
    /// Whether leading tabs are stripped (`<<-`).
    pub strip_tabs: bool,
    /// The number before `<<`.
    pub descriptor: Option<u32>,
}

/// A logical line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// Where stretches of `text` begin: in `text`, and in the file.
    segments: Vec<(usize, usize)>,
    pub(super) heredocs: Vec<Heredoc>,
}

pub(super) struct Lines {
    pub(super) directives: Vec<Directive>,
    pub(super) escape: char,
    pub(super) logical: Vec<Line>,
}

impl Heredoc {
    /// The body, tabs stripped when they are to be.
    pub fn content(&self) -> String {
        if !self.strip_tabs {
            return self.body.value.clone();
        }
        self.body.value.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// Whether `line` is nothing but the word of a heredoc.
    pub(crate) fn is_all_of(&self, line: &str) -> bool {
        Self::of_word(line.trim()).is_some_and(|heredoc| heredoc.name == self.name)
    }

    /// What a shell word such as `3<<-"EOF"` says, without a body.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        let mark = word.find("<<")?;
        let (descriptor, rest) = (&word[..mark], &word[mark + 2..]);
        if !descriptor.bytes().all(|b| b.is_ascii_digit()) || rest.contains('<') {
            return None;
        }
        let (strip_tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start();
        let mut names = heredoc_names(rest);
        if names.len() != 1 {
            return None;
        }
        let name = names.remove(0);
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        let expand = quotes(&name) == quotes(rest);
        let descriptor = descriptor.parse().ok();
        Some(Self {
            name,
            body: Spanned::new(String::new(), Span::default()),
            expand,
            strip_tabs,
            descriptor,
        })
    }
}

impl Line {
    /// A line of its own, at the start of a file.
    pub(super) fn of(text: &str) -> Self {
        let mut line = Self { text: String::new(), segments: Vec::new(), heredocs: Vec::new() };
        line.push(text, 0);
        line
    }

    fn push(&mut self, text: &str, at: usize) {
        self.segments.push((self.text.len(), at));
        self.text.push_str(text);
    }

    fn locate(&self, offset: usize) -> usize {
        let index = self.segments.partition_point(|(start, _)| *start <= offset);
        self.segments.get(index.wrapping_sub(1)).map_or(0, |(start, at)| at + (offset - start))
    }

    /// The place in the file of the bytes `start..end` of the text.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let from = self.locate(start);
        // The end belongs to the stretch of the last byte, not to the next one.
        let to = if end > start { self.locate(end - 1) + 1 } else { from };
        Span::new(from, to)
    }

    /// The place of the whole line, without the blanks around it.
    pub(super) fn whole(&self) -> Span {
        let start = self.text.len() - self.text.trim_start().len();
        self.span(start, self.text.trim_end().len().max(start))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next physical line with its end, and where it starts.
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        let start = self.at;
        self.at += length;
        Some((start, &rest[..length]))
    }
}

/// Splits a text into logical lines.
pub(super) fn split(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> Lines {
    let mut lines = Lines { directives: Vec::new(), escape: '\\', logical: Vec::new() };
    let bom = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader { text: &source.text, at: bom };
    let mut in_head = true;
    // A first line `#!…` does not end the head, but behind it `escape` says nothing.
    let has_shebang = source.text[bom..].starts_with("#!");
    while let Some((start, raw)) = reader.next() {
        let whole = raw.trim_end_matches(['\r', '\n']);
        let text = whole.trim_start();
        let start = start + (whole.len() - text.len());
        if in_head && !(has_shebang && start == bom) {
            in_head = directive(text, start, has_shebang, &mut lines, diagnostics);
        }
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut line = Line { text: String::new(), segments: Vec::new(), heredocs: Vec::new() };
        let (part, mut goes_on) = continuation(text, lines.escape);
        line.push(part, start);
        let mut has_empty = false;
        while goes_on {
            let Some((start, raw)) = reader.next() else { break };
            let text = raw.trim_end_matches(['\r', '\n']);
            let trimmed = text.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                if !has_empty {
                    let message = "empty line within a continued instruction";
                    let span = Span::new(start, start);
                    let warning = Diagnostic::check(Rule::NoEmptyContinuation, span, message);
                    diagnostics.push(
                        warning
                            .with_help("remove it, or make it a comment; it will become an error"),
                    );
                }
                has_empty = true;
                continue;
            }
            let (part, more) = continuation(text, lines.escape);
            line.push(part, start);
            goes_on = more;
        }
        heredocs(&mut line, &mut reader, diagnostics);
        lines.logical.push(line);
    }
    lines
}

/// Reads a directive; whether more of them may follow.
fn directive(
    text: &str,
    start: usize,
    has_shebang: bool,
    lines: &mut Lines,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let Some((key, value)) = text.strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
        return false;
    };
    let (name, setting) = (key.trim(), value.trim());
    let lower = name.to_ascii_lowercase();
    if setting.is_empty() || !matches!(lower.as_str(), "syntax" | "escape" | "check") {
        return false;
    }
    if has_shebang && lower == "escape" {
        return true;
    }
    let key_start = start + 1 + (key.len() - key.trim_start().len());
    let key_span = Span::new(key_start, key_start + name.len());
    let value_start = start + 1 + key.len() + 1 + (value.len() - value.trim_start().len());
    let value_span = Span::new(value_start, value_start + setting.len());
    if lines.directives.iter().any(|directive| directive.key.value == lower) {
        let message = format!("the directive {lower:?} is given twice");
        diagnostics.push(Diagnostic::error(key_span, message));
        return true;
    }
    if lower == "escape" {
        match setting {
            "\\" => lines.escape = '\\',
            "`" => lines.escape = '`',
            _ => diagnostics.push(Diagnostic::error(
                value_span,
                format!("the escape character is \\ or `, not {setting:?}"),
            )),
        }
    }
    lines.directives.push(Directive {
        key: Spanned::new(lower, key_span),
        value: Spanned::new(setting.to_owned(), value_span),
    });
    true
}

/// The line without a continuation mark, and whether it had one.
pub(super) fn continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

/// Collects the bodies of all heredocs that the line announces.
fn heredocs(line: &mut Line, reader: &mut Reader<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if !line.text.contains("<<") || !may_have_heredocs(&line.text) {
        return;
    }
    for mut heredoc in shell_words(&line.text).iter().filter_map(|word| Heredoc::of_word(word)) {
        let start = reader.at;
        let mut body_end = None;
        while let Some((at, raw)) = reader.next() {
            let text = raw.trim_end_matches(['\r', '\n']);
            let text = if heredoc.strip_tabs { text.trim_start_matches('\t') } else { text };
            if text == heredoc.name {
                body_end = Some(at);
                break;
            }
        }
        if body_end.is_none() {
            diagnostics.push(
                Diagnostic::error(
                    line.whole(),
                    format!("the heredoc has no end: no line is exactly {:?}", heredoc.name),
                )
                .with_help("the end stands alone on its line, without blanks before or behind it"),
            );
        }
        let end = body_end.unwrap_or(reader.at);
        heredoc.body = Spanned::new(reader.text[start..end].to_owned(), Span::new(start, end));
        line.heredocs.push(heredoc);
    }
}

/// RUN, COPY and ADD not in exec form, and ONBUILD of these.
fn may_have_heredocs(text: &str) -> bool {
    let (keyword, rest) = split_keyword(text);
    match keyword.to_ascii_uppercase().as_str() {
        "ONBUILD" => {
            // ONBUILD ONBUILD is an error, reported later.
            let (inner, _) = split_keyword(rest);
            !inner.eq_ignore_ascii_case("ONBUILD") && may_have_heredocs(rest)
        }
        "RUN" | "COPY" | "ADD" => !is_exec_form(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Lines, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let lines = split(&Source::new("D", text), &mut diagnostics);
        (lines, diagnostics)
    }

    #[test]
    fn joins_lines() {
        for (text, expected) in [
            ("RUN a\nRUN b", vec!["RUN a", "RUN b"]),
            ("  RUN a  \n", vec!["RUN a  "]),
            ("RUN a \\\n  b", vec!["RUN a   b"]),
            ("RUN a \\ \t\nb", vec!["RUN a b"]),
            ("RUN a\\\\\nRUN b", vec!["RUN a\\\\", "RUN b"]),
            ("RUN a \\\n# c\n  # d\nb", vec!["RUN a b"]),
            ("RUN a \\\n\nb", vec!["RUN a b"]),
            ("RUN a # b", vec!["RUN a # b"]),
            ("RUN a \\\r\n b\r\nRUN c\r\n", vec!["RUN a  b", "RUN c"]),
            ("\u{feff}RUN a", vec!["RUN a"]),
            ("RUN a \\", vec!["RUN a "]),
            ("# escape=`\nRUN a `\n b\\\nRUN c", vec!["RUN a  b\\", "RUN c"]),
        ] {
            let lines = of(text).0.logical;
            assert_eq!(
                lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn places_lead_back_to_the_file() {
        let text = "# x\nRUN one \\\n# c\n  two";
        let (lines, _) = of(text);
        let line = &lines.logical[0];
        let at = line.text.find("two").unwrap();
        let span = line.span(at, at + 3);
        assert_eq!(&text[span.start..span.end], "two");
        let span = line.span(4, 7);
        assert_eq!(&text[span.start..span.end], "one");
        assert_eq!(line.whole(), Span::new(4, text.len()));
    }

    #[test]
    fn reads_heredoc_words() {
        for (word, expected) in [
            ("<<EOF", Some(("EOF", true, false, None))),
            ("<<-EOF", Some(("EOF", true, true, None))),
            ("<<'EOF'", Some(("EOF", false, false, None))),
            ("<<E\"O\"F", Some(("EOF", false, false, None))),
            ("<<\"A B\"", Some(("A B", false, false, None))),
            ("3<<EOF", Some(("EOF", true, false, Some(3)))),
            ("<<  EOF", Some(("EOF", true, false, None))),
            ("<<$EOF", Some(("$EOF", true, false, None))),
            ("<<<EOF", None),
            ("a<<EOF", None),
            ("<<", None),
            ("<<A B", None),
        ] {
            let found = Heredoc::of_word(word);
            let found =
                found.as_ref().map(|h| (h.name.as_str(), h.expand, h.strip_tabs, h.descriptor));
            assert_eq!(found, expected, "{word}");
        }
    }
}
