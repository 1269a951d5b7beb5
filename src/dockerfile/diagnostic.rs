//! What is wrong in a file of the user's, and how it is shown.

use std::fmt::Write as _;

use super::{Rule, Source, Span};
use crate::report::{message_line, special};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build cannot start.
    Error,
}

/// One remark about a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where, or `None` when no place in the file is to blame.
    pub span: Option<Span>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The build check that it is of, if it is of one.
    pub rule: Option<Rule>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: Some(span),
            message: message.into(),
            help: None,
            rule: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// A warning of a build check, at `span`.
    pub fn check(rule: Rule, span: Span, message: impl Into<String>) -> Self {
        Self { rule: Some(rule), ..Self::warning(span, message) }
    }

    /// The same with a line of help.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message, with the name of the check in brackets behind it.
    pub fn titled(&self) -> String {
        match self.rule {
            Some(rule) => format!("{} [{}]", self.message, rule.name()),
            None => self.message.clone(),
        }
    }

    /// The same with `did you mean …?`, if a name among `names` is near `wrong`.
    #[must_use]
    pub fn suggesting<'a>(self, wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(wrong, names) {
            Some(name) => self.with_help(format!("did you mean {name}?")),
            None => self,
        }
    }
}

/// Renders remarks as `name:line:column: error: …`, each with its source line
/// underlined and its help, in the order of their places.
pub fn render(diagnostics: &[Diagnostic], source: &Source) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.span);
    let mut out = String::new();
    for (index, diagnostic) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        render_one(&mut out, diagnostic, source);
    }
    out
}

fn render_one(out: &mut String, diagnostic: &Diagnostic, source: &Source) {
    let severity = match diagnostic.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    // A file of a repository or a server is anybody's.
    let (name, message) = (message_line(&source.name), diagnostic.titled());
    let message = message_line(&message);
    if let Some(span) = diagnostic.span {
        let (line, column) = source.position(span.start);
        let _ = writeln!(out, "{name}:{line}:{column}: {severity}: {message}");
        let (start, text) = source.line_at(span.start);
        let number = line.to_string();
        let (shown, marks) =
            underline(text, span.start - start.min(span.start), span.end - start.min(span.end));
        let _ = writeln!(out, " {number} | {shown}");
        let _ = writeln!(out, " {:width$} | {marks}", "", width = number.len());
    } else {
        let _ = writeln!(out, "{name}: {severity}: {message}");
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(out, "help: {}", message_line(help));
    }
    if let Some(url) = diagnostic.rule.and_then(Rule::url) {
        let _ = writeln!(out, "see: {url}");
    }
}

/// The line as shown, with tabs widened and control characters made visible,
/// and the marks below its bytes `from..to` (at least one mark).
fn underline(line: &str, from: usize, to: usize) -> (String, String) {
    let mut shown = String::new();
    let mut marks = String::new();
    let mut column = 0;
    for (at, c) in line.char_indices() {
        let columns = match c {
            '\t' => 4 - column % 4,
            c => width(c),
        };
        match c {
            '\t' => shown.extend(std::iter::repeat_n(' ', columns)),
            '\u{feff}' => {}
            c if special(c) => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
        if at < from {
            marks.extend(std::iter::repeat_n(' ', columns));
        } else if at < to {
            marks.extend(std::iter::repeat_n('^', columns));
        }
        column += columns;
    }
    if !marks.contains('^') {
        marks.push('^');
    }
    (shown, marks)
}

/// The columns of a terminal that a character takes (Unicode's East Asian
/// wide and fullwidth blocks take two, combining marks none).
fn width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f | 0xfeff => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The name that was probably meant by `wrong`: at most two edits away, or one
/// when it is short; upper and lower case are alike.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a name of this length; the distance is quadratic.
    if wrong.len() > 64 {
        return None;
    }
    let limit = if wrong.chars().count() <= 3 { 1 } else { 2 };
    names
        .into_iter()
        .map(|name| (distance(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance, with the swap of two neighbours as one edit.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let change = usize::from(left[i - 1] != right[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underlines_by_columns_of_the_terminal() {
        let source = Source::new("Dockerfile", "FROM a\n\tRUN 日本 x\r\nlast");
        let at = |text: &str| {
            let start = source.text.find(text).unwrap();
            Span::new(start, start + text.len())
        };
        let diagnostics = [
            Diagnostic::warning(at("last"), "second"),
            Diagnostic::error(at("日本"), "first").with_help("use ASCII"),
            Diagnostic { span: None, ..Diagnostic::error(Span::default(), "nowhere") },
        ];
        let expected = "Dockerfile: error: nowhere\n\n\
            Dockerfile:2:6: error: first\n 2 |     RUN 日本 x\n   |         ^^^^\nhelp: use ASCII\n\n\
            Dockerfile:3:1: warning: second\n 3 | last\n   | ^^^^\n";
        assert_eq!(render(&diagnostics, &source), expected);
    }

    #[test]
    fn marks_the_first_line_of_a_longer_span_and_the_end_of_the_text() {
        let source = Source::new("D", "RUN a \\\n b");
        let all = Diagnostic::error(Span::new(4, 10), "x");
        assert_eq!(render(&[all], &source), "D:1:5: error: x\n 1 | RUN a \\\n   |     ^^^\n");
        let end = Diagnostic::error(Span::new(10, 10), "y");
        assert_eq!(render(&[end], &source), "D:2:3: error: y\n 2 |  b\n   |   ^\n");
    }

    #[test]
    fn nothing_of_it_moves_the_cursor() {
        let source = Source::new("D\u{1b}[2J", "X\u{1b}\u{202e}Y z");
        let remark = Diagnostic::error(Span::new(6, 7), "no \u{1b}]0;t\u{7}X\rY\n\u{9b}1mnow")
            .with_help("a\u{8}\u{202e}b");
        let expected =
            "D:1:5: error: no X Y now\n 1 | X\u{fffd}\u{fffd}Y z\n   |     ^\nhelp: a b\n";
        assert_eq!(render(&[remark], &source), expected);
    }

    #[test]
    fn finds_the_name_that_was_meant() {
        let names = ["RUN", "FROM", "COPY", "ENTRYPOINT"];
        for (wrong, expected) in [
            ("RNU", Some("RUN")),
            ("form", Some("FROM")),
            ("COPPY", Some("COPY")),
            ("entripoint", Some("ENTRYPOINT")),
            ("XYZZY", None),
            ("AB", None),
        ] {
            assert_eq!(nearest(wrong, names), expected, "{wrong}");
        }
    }
}
