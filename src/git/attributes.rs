//! `.gitattributes`, as far as a checkout depends on it: line ends and `$Id$`.
//!
//! What git does on a machine without a configuration of its own (gitattributes(5)): `eol=crlf`
//! gives text CR LF, `ident` fills in `$Id$`. Filters are not run, so files of Git LFS stay
//! pointers; `working-tree-encoding` is not followed. Such files are counted, for a warning. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::id::ObjectId;

/// What is set for a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    text: Text,
    crlf: Option<bool>,
    ident: bool,
    left_alone: Option<LeftAlone>,
}

/// What git would do to a file, if it were told to, and what is not done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftAlone {
    /// Fetch it by Git LFS.
    Lfs,
    /// Write it in another encoding.
    Encoding,
}

/// The attribute `text`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Unspecified,
    Set,
    Unset,
    Auto,
}

/// The rules of a directory and of those above it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    above: Option<Arc<Rules>>,
    /// The directory, with a slash at its end unless it is the root.
    base: Vec<u8>,
    own: Vec<Rule>,
    /// `[attr]name …`, from the root's file.
    macros: Vec<(String, Vec<String>)>,
}

#[derive(Debug)]
struct Rule {
    pattern: Vec<u8>,
    /// Whether the pattern is held against the whole path below `base`.
    anchored: bool,
    words: Vec<String>,
}

impl Rules {
    /// Reads the `.gitattributes` of the directory `path`.
    pub(super) fn parse(above: Option<Arc<Self>>, path: &[u8], text: &[u8]) -> Self {
        let mut base = path.to_vec();
        if !base.is_empty() {
            base.push(b'/');
        }
        let mut found = Self { above, base, ..Self::default() };
        for line in text.split(|b| *b == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let Some((pattern, rest)) = first_word(line) else { continue };
            let words = String::from_utf8_lossy(rest);
            let words: Vec<String> = words.split_ascii_whitespace().map(str::to_owned).collect();
            if let Some(name) = pattern.strip_prefix(b"[attr]") {
                if found.base.is_empty() {
                    found.macros.push((String::from_utf8_lossy(name).into_owned(), words));
                }
                continue;
            }
            // Patterns that take back or that name directories mean nothing here.
            if pattern[0] == b'!' || pattern.ends_with(b"/") {
                continue;
            }
            let anchored = pattern.contains(&b'/');
            let pattern = pattern.strip_prefix(b"/").unwrap_or(&pattern).to_vec();
            found.own.push(Rule { pattern, anchored, words });
        }
        found
    }

    /// What is set for the file `path`. The rules of deeper directories and of later lines win.
    pub(super) fn of(&self, path: &[u8]) -> Attributes {
        let mut attributes = self.above.as_ref().map(|above| above.of(path)).unwrap_or_default();
        let Some(below) = path.strip_prefix(self.base.as_slice()) else { return attributes };
        let name = below.rsplit(|b| *b == b'/').next().unwrap_or(below);
        for rule in &self.own {
            if matches(&rule.pattern, if rule.anchored { below } else { name }) {
                for word in &rule.words {
                    self.set(&mut attributes, word, 0);
                }
            }
        }
        attributes
    }

    fn set(&self, attributes: &mut Attributes, word: &str, depth: u8) {
        match word {
            "text" => attributes.text = Text::Set,
            "-text" | "binary" => attributes.text = Text::Unset,
            "!text" => attributes.text = Text::Unspecified,
            "text=auto" => attributes.text = Text::Auto,
            "eol=crlf" => attributes.crlf = Some(true),
            "eol=lf" => attributes.crlf = Some(false),
            "!eol" | "-eol" => attributes.crlf = None,
            // The names that these had before git 1.7.2.
            "crlf" if attributes.text == Text::Unspecified => attributes.text = Text::Set,
            "-crlf" if attributes.text == Text::Unspecified => attributes.text = Text::Unset,
            "ident" => attributes.ident = true,
            "-ident" | "!ident" => attributes.ident = false,
            "filter=lfs" => attributes.left_alone = Some(LeftAlone::Lfs),
            "-filter" | "!filter" | "-working-tree-encoding" | "!working-tree-encoding" => {
                attributes.left_alone = None;
            }
            _ if word.starts_with("working-tree-encoding=") => {
                attributes.left_alone = Some(LeftAlone::Encoding);
            }
            word => {
                let words = self.root().macros.iter().rev().find(|(name, _)| name == word);
                // A macro may use another; not itself.
                for word in words.filter(|_| depth < 8).map_or(&[][..], |(_, words)| words) {
                    self.set(attributes, word, depth + 1);
                }
            }
        }
    }

    fn root(&self) -> &Self {
        self.above.as_ref().map_or(self, |above| above.root())
    }
}

impl Attributes {
    /// What is not done to a file.
    pub(super) fn left_alone(self) -> Option<LeftAlone> {
        self.left_alone
    }

    /// Whether a file's content may have to be changed.
    pub(super) fn convert(self) -> bool {
        self.ident || self.wants_crlf()
    }

    fn wants_crlf(self) -> bool {
        self.crlf == Some(true) && self.text != Text::Unset
    }

    /// The content as it is written.
    pub(super) fn apply(self, content: &[u8], id: &ObjectId) -> Vec<u8> {
        let mut made = if self.ident { fill_ident(content, id) } else { content.to_vec() };
        if self.wants_crlf() && !(self.text == Text::Auto && keeps_line_ends(&made)) {
            made = to_crlf(&made);
        }
        made
    }
}

/// Whether `text=auto` leaves a file alone: it is binary, or has CRs already.
fn keeps_line_ends(content: &[u8]) -> bool {
    if content.contains(&b'\r') || content.contains(&0) {
        return true;
    }
    // git calls a file binary when more than one of 128 bytes is a control byte.
    let (mut control, mut printable) = (0, 0);
    for byte in content {
        match byte {
            b'\n' => {}
            b'\t' | 0x08 | 0x1b | 0x0c => printable += 1,
            0..32 | 127 => control += 1,
            _ => printable += 1,
        }
    }
    // An end-of-file mark of DOS does not count.
    if content.last() == Some(&0x1a) {
        control -= 1;
    }
    printable >> 7 < control
}

/// Puts a CR before each LF that has none.
fn to_crlf(content: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(content.len() + content.len() / 32);
    let mut before = 0;
    for &byte in content {
        if byte == b'\n' && before != b'\r' {
            made.push(b'\r');
        }
        made.push(byte);
        before = byte;
    }
    made
}

/// Replaces `$Id$` and `$Id: …$` by the id of the file.
fn fill_ident(content: &[u8], id: &ObjectId) -> Vec<u8> {
    let mut made = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.windows(3).position(|w| w == b"$Id") {
        let (before, after) = rest.split_at(at);
        made.extend_from_slice(before);
        let end = match after.get(3) {
            Some(b'$') => Some(4),
            Some(b':') => ident_end(&after[4..]).map(|end| end + 4),
            _ => None,
        };
        if let Some(end) = end {
            made.extend_from_slice(format!("$Id: {id} $").as_bytes());
            rest = &after[end..];
        } else {
            made.extend_from_slice(&after[..3]);
            rest = &after[3..];
        }
    }
    made.extend_from_slice(rest);
    made
}

/// Where `$Id: …$` ends, if it is git's own: one word on the same line. Other programs' ids hold
/// more, and stay.
fn ident_end(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|b| matches!(b, b'$' | b'\n'))?;
    let word = text[..end].trim_ascii();
    (text[end] == b'$' && !word.contains(&b' ')).then_some(end + 1)
}

/// The first word of a line, which may be in quotes, and the rest.
fn first_word(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if line[0] != b'"' {
        let end = line.iter().position(u8::is_ascii_whitespace)?;
        return Some((line[..end].to_vec(), &line[end..]));
    }
    let mut word = Vec::new();
    let mut at = 1;
    loop {
        match *line.get(at)? {
            b'"' => break,
            b'\\' => {
                at += 1;
                word.push(*line.get(at)?);
            }
            byte => word.push(byte),
        }
        at += 1;
    }
    (!word.is_empty()).then(|| (word, &line[at + 1..]))
}

/// Whether a path matches a pattern of git: `*` and `?` match no slash, `**` does where it stands
/// for whole directories.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    matches_from(pattern, path, &mut HashSet::new())
}

/// `tried` holds what was left of pattern and path at a star before: from there it did not match,
/// and need not be tried again.
fn matches_from(pattern: &[u8], path: &[u8], tried: &mut HashSet<(usize, usize)>) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return path.is_empty() };
    if first == b'*' && !tried.insert((pattern.len(), path.len())) {
        return false;
    }
    match first {
        b'*' if pattern == b"**" => true,
        b'*' if pattern.starts_with(b"**/") => {
            let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
            let starts = std::iter::once(0).chain(slashes.map(|(at, _)| at + 1));
            starts.into_iter().any(|at| matches_from(&pattern[3..], &path[at..], tried))
        }
        b'*' => {
            let end = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
            (0..=end).any(|at| matches_from(rest, &path[at..], tried))
        }
        b'?' => match path.split_first() {
            Some((b, left)) => *b != b'/' && matches_from(rest, left, tried),
            None => false,
        },
        b'[' => match (class(rest), path.split_first()) {
            (Some((set, after)), Some((b, left))) => {
                *b != b'/' && set(*b) && matches_from(after, left, tried)
            }
            _ => false,
        },
        byte => {
            let (byte, rest) = match (byte, rest.split_first()) {
                (b'\\', Some((escaped, rest))) => (*escaped, rest),
                _ => (byte, rest),
            };
            path.first() == Some(&byte) && matches_from(rest, &path[1..], tried)
        }
    }
}

/// Reads a class after its `[`: what is in it, and the pattern after it.
fn class(pattern: &[u8]) -> Option<(impl Fn(u8) -> bool, &[u8])> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let mut ranges = Vec::new();
    let first = at;
    loop {
        let mut low = *pattern.get(at)?;
        if low == b']' && at > first {
            break;
        }
        if low == b'\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|b| *b != b']') {
            high = pattern[at + 1];
            at += 2;
        }
        ranges.push((low, high));
    }
    let set = move |byte| ranges.iter().any(|(l, h)| (*l..=*h).contains(&byte)) != negated;
    Some((set, &pattern[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_git() {
        for (pattern, path, expected) in [
            ("*.bat", "a.bat", true),
            ("*.bat", "a.bat.x", false),
            ("a*c", "abbbc", true),
            ("a?c", "a/c", false),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/**/c", "ab/c", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn deeper_and_later_rules_win() {
        let root = Arc::new(Rules::parse(
            None,
            b"",
            b"# c\n[attr]dos text eol=crlf\n*.bat dos\n\"with space\" dos\n/top.txt eol=crlf\n\
              d/x.txt text eol=crlf\n*.png binary\nno-attributes\n",
        ));
        let sub = Rules::parse(Some(Arc::clone(&root)), b"d", b"a.bat -text\nx.txt eol=lf\n");
        for (path, expected) in [
            ("a.bat", true),
            ("e/a.bat", true),
            ("with space", true),
            ("top.txt", true),
            ("e/top.txt", false),
            ("d/x.txt", true),
            ("e/d/x.txt", false),
            ("x.png", false),
        ] {
            assert_eq!(root.of(path.as_bytes()).convert(), expected, "{path}");
        }
        for (path, expected) in [("d/a.bat", false), ("d/b.bat", true), ("d/x.txt", false)] {
            assert_eq!(sub.of(path.as_bytes()).convert(), expected, "{path}");
        }
    }

    #[test]
    fn converts_line_ends_and_idents() {
        let id = ObjectId::parse(&"a".repeat(40)).unwrap();
        let apply = |words: &str, content: &str| {
            let rules = Rules::parse(None, b"", format!("* {words}\n").as_bytes());
            let made = rules.of(b"f").apply(content.as_bytes(), &id);
            String::from_utf8(made).unwrap()
        };
        for (words, content, expected) in [
            ("text eol=crlf", "a\nb\r\nc", "a\r\nb\r\nc"),
            ("eol=crlf", "a\n", "a\r\n"),
            ("text=auto eol=crlf", "a\n", "a\r\n"),
            ("text=auto eol=crlf", "a\nb\r\n", "a\nb\r\n"),
            ("text=auto eol=crlf", "a\n\0", "a\n\0"),
            ("-text eol=crlf", "a\n", "a\n"),
            ("text", "a\n", "a\n"),
            ("text eol=crlf !eol", "a\n", "a\n"),
        ] {
            assert_eq!(apply(words, content), expected, "{words} {content:?}");
        }
        let long = format!("$Id: {} $", "a".repeat(40));
        for (content, expected) in [
            ("x $Id$ y", format!("x {long} y")),
            ("$Id: old $$Id$", format!("{long}{long}")),
            ("$Id: f,v 1.2 user $", "$Id: f,v 1.2 user $".to_owned()),
            ("$Id: \n$", "$Id: \n$".to_owned()),
            ("$Idx$ $Id", "$Idx$ $Id".to_owned()),
        ] {
            assert_eq!(apply("ident", content), expected, "{content:?}");
        }
    }
}
