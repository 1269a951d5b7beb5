//! Paths as users write them.
//!
//! ```text
//! image.tag                             keys, with dots between them
//! spec.containers[0].image              an item by its number; [-1] is the last
//! spec.containers[name=web].image       the items in which a key has this value
//! items[metadata.name=web].spec         also of a key further down
//! images[*].newTag                      all items, or all values of a mapping
//! metadata.annotations["a.b/c"]         a key with dots; also a\.b/c, 'a.b/c'
//! @1:image.tag                          in the second document only; @-1: is the last
//! @[kind=Deployment]:spec.replicas      in the documents in which a key has this value
//! ```
//!
//! Behind a path for `--set` stands `=` and the value, which is all of the rest.

use std::fmt;

use super::Key;
use super::change::{is_bare, show};
use crate::gitops::{Classified, Kind};

/// A path that may match more than one place, in some documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathExpr {
    /// As it was written.
    pub(super) text: String,
    /// Which documents; all of these must be true.
    pub(super) documents: Vec<Filter>,
    pub(super) steps: Vec<Step>,
}

/// What a document must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Number(i64),
    Where(Condition),
}

/// A step from nodes to nodes below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(i64),
    Where(Condition),
    All,
}

/// `key=value`: a scalar below has this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) path: Vec<String>,
    pub(super) value: String,
}

/// Why a path cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}`: {problem} at character {at}")]
pub struct PathError {
    /// The path.
    pub path: String,
    /// Which character it is, from 1.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl Classified for PathError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl PathExpr {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut reader = Reader::new(text);
        let path = reader.path(false)?;
        reader.end(path)
    }

    /// The path to one place of one document.
    pub fn exact(document: usize, path: &[Key]) -> Self {
        let step = |key: &Key| match key {
            Key::Name(name) => Step::Name(name.clone()),
            Key::Index(index) => Step::Index(*index as i64),
        };
        Self {
            text: format!("@{document}:{}", show(path)),
            documents: vec![Filter::Number(document as i64)],
            steps: path.iter().map(step).collect(),
        }
    }
}

impl fmt::Display for PathExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `PATH=VALUE`.
pub fn assignment(text: &str) -> Result<(PathExpr, String), PathError> {
    let mut reader = Reader::new(text);
    let path = reader.path(true)?;
    let before: usize = reader.chars[..reader.at].iter().map(|c| c.len_utf8()).sum();
    let Some(value) = text[before..].strip_prefix('=') else {
        return Err(reader.error("`=` and a value are missing"));
    };
    let mut path = path;
    text[..before].clone_into(&mut path.text);
    Ok((path, value.to_owned()))
}

struct Reader<'a> {
    text: &'a str,
    chars: Vec<char>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, chars: text.chars().collect(), at: 0 }
    }

    fn error(&self, problem: &'static str) -> PathError {
        PathError { path: self.text.to_owned(), at: self.at + 1, problem }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn end(&self, path: PathExpr) -> Result<PathExpr, PathError> {
        match self.peek() {
            None => Ok(path),
            Some(_) => Err(self.error("the path should end")),
        }
    }

    /// A path up to its end, or to the `=` behind it.
    fn path(&mut self, assigned: bool) -> Result<PathExpr, PathError> {
        let documents = self.documents()?;
        let mut steps = Vec::new();
        // A dot in front is how other programs write it, and alone it is the whole document.
        let mut named = self.take('.');
        let alone = named;
        loop {
            match self.peek() {
                Some('[') => steps.push(self.bracket()?),
                Some('=') if assigned && (!named || steps.is_empty()) => break,
                None if (!named || steps.is_empty()) => break,
                None | Some('=') if named => return Err(self.error("a key is missing")),
                Some(_) if named || steps.is_empty() => steps.push(self.name()?),
                _ => return Err(self.error("`.` or `[` is missing")),
            }
            named = self.take('.');
        }
        if steps.is_empty() && !alone {
            return Err(self.error("a key is missing"));
        }
        Ok(PathExpr { text: self.text.to_owned(), documents, steps })
    }

    fn documents(&mut self) -> Result<Vec<Filter>, PathError> {
        let mut filters = Vec::new();
        if !self.take('@') {
            return Ok(filters);
        }
        while !self.take(':') {
            if self.peek() == Some('[') {
                match self.bracket()? {
                    Step::Where(condition) => filters.push(Filter::Where(condition)),
                    _ => return Err(self.error("`[key=value]` is missing")),
                }
            } else {
                let start = self.at;
                while self.peek().is_some_and(|c| c == '-' || c.is_ascii_digit()) {
                    self.at += 1;
                }
                let number: String = self.chars[start..self.at].iter().collect();
                let Ok(number) = number.parse() else {
                    return Err(self.error("the number of a document and `:` are missing"));
                };
                filters.push(Filter::Number(number));
            }
        }
        Ok(filters)
    }

    /// `[…]`.
    fn bracket(&mut self) -> Result<Step, PathError> {
        self.at += 1;
        let step = match self.peek() {
            Some('*') if self.chars.get(self.at + 1) == Some(&']') => {
                self.at += 1;
                Step::All
            }
            Some('"' | '\'') => {
                let first = self.quoted()?;
                if self.peek() == Some(']') { Step::Name(first) } else { self.condition(first)? }
            }
            _ => {
                let rest = &self.chars[self.at..];
                let end = rest.iter().position(|c| *c == ']').unwrap_or(rest.len());
                let number: String = rest[..end].iter().collect();
                if let Ok(index) = number.parse() {
                    self.at += end;
                    Step::Index(index)
                } else {
                    let first = self.bare("=.]")?;
                    self.condition(first)?
                }
            }
        };
        if self.take(']') { Ok(step) } else { Err(self.error("`]` is missing")) }
    }

    /// The rest of `key.key=value` behind its first key.
    fn condition(&mut self, first: String) -> Result<Step, PathError> {
        let mut path = vec![first];
        while self.take('.') {
            path.push(match self.peek() {
                Some('"' | '\'') => self.quoted()?,
                _ => self.bare("=.]")?,
            });
        }
        if !self.take('=') {
            return Err(self.error("a number, `*` or `key=value` is missing"));
        }
        let value = match self.peek() {
            Some('"' | '\'') => self.quoted()?,
            Some(']') => String::new(),
            _ => self.bare("]")?,
        };
        Ok(Step::Where(Condition { path, value }))
    }

    /// A key between dots.
    fn name(&mut self) -> Result<Step, PathError> {
        match self.peek() {
            Some('"' | '\'') => self.quoted().map(Step::Name),
            Some('*') if self.chars.get(self.at + 1).is_none_or(|c| ".[=".contains(*c)) => {
                self.at += 1;
                Ok(Step::All)
            }
            _ => self.bare(".[=").map(Step::Name),
        }
    }

    /// Text up to one of `ends`; a backslash takes the next character as it is.
    fn bare(&mut self, ends: &str) -> Result<String, PathError> {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| !ends.contains(*c)) {
            self.at += 1;
            if c == '\\' {
                let Some(escaped) = self.peek() else {
                    return Err(self.error("a character behind `\\` is missing"));
                };
                self.at += 1;
                text.push(escaped);
            } else {
                text.push(c);
            }
        }
        if text.is_empty() { Err(self.error("a key is missing")) } else { Ok(text) }
    }

    /// `'…'` as it is, or `"…"` with the escapes of JSON.
    fn quoted(&mut self) -> Result<String, PathError> {
        let start = self.at;
        let quote = self.chars[start];
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '\\' && quote == '"' {
                self.at += 1;
            } else if c == quote {
                let quoted: String = self.chars[start..self.at].iter().collect();
                if quote == '\'' {
                    return Ok(quoted[1..quoted.len() - 1].to_owned());
                }
                return serde_json::from_str(&quoted)
                    .map_err(|_| self.error("the text in quotes ends with a bad escape"));
            }
        }
        self.at = self.at.min(self.chars.len());
        Err(self.error("the closing quote is missing"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) if is_bare(name) => f.write_str(name),
            Self::Name(name) => write!(f, "[{}]", crate::yaml::double(name)),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Where(Condition { path, value }) => write!(f, "[{}={value}]", path.join(".")),
            Self::All => f.write_str("[*]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> String {
        match PathExpr::parse(text) {
            Ok(path) => {
                let steps: Vec<String> = path.steps.iter().map(ToString::to_string).collect();
                format!("{}{}", "@".repeat(path.documents.len()), steps.join(" "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn paths_are_steps() {
        let table = [
            ("a", "a"),
            ("a.b.c", "a b c"),
            (".a.b", "a b"),
            (".", ""),
            ("a[0].b", "a [0] b"),
            ("a[-1]", "a [-1]"),
            ("[1][2]", "[1] [2]"),
            ("a[*].b", "a [*] b"),
            ("a.*.b", "a [*] b"),
            ("a.*b", "a *b"),
            ("a[name=x].b", "a [name=x] b"),
            ("a[b.c=x:1.2/y].d", "a [b.c=x:1.2/y] d"),
            ("a[b='x]y']", "a [b=x]y]"),
            ("a[b=]", "a [b=]"),
            ("a[\"b.c/d\"].e", "a [\"b.c/d\"] e"),
            ("a['b.c'].'e.f'", "a [\"b.c\"] [\"e.f\"]"),
            ("a\\.b.c\\\\", "[\"a.b\"] [\"c\\\\\"]"),
            ("@1:a", "@a"),
            ("@[kind=X][metadata.name=y]:a", "@@a"),
            ("a[\"\\u00e9\"]", "a é"),
            ("", "path ``: a key is missing at character 1"),
            ("a.", "path `a.`: a key is missing at character 3"),
            ("a..b", "path `a..b`: a key is missing at character 3"),
            ("a[", "path `a[`: a key is missing at character 3"),
            ("a[x]", "path `a[x]`: a number, `*` or `key=value` is missing at character 4"),
            ("a[0", "path `a[0`: `]` is missing at character 4"),
            ("a[0]b", "path `a[0]b`: `.` or `[` is missing at character 5"),
            ("a=b", "path `a=b`: `.` or `[` is missing at character 2"),
            ("a[\"b", "path `a[\"b`: the closing quote is missing at character 5"),
            ("@x:a", "path `@x:a`: the number of a document and `:` are missing at character 2"),
            ("a\\", "path `a\\`: a character behind `\\` is missing at character 3"),
        ];
        for (text, expected) in table {
            assert_eq!(steps(text), expected, "{text}");
        }
    }

    #[test]
    fn assignments_are_cut_at_the_first_sign_outside_of_brackets() {
        let (path, value) = assignment("a[b=c].d=e=f").unwrap();
        assert_eq!((path.to_string().as_str(), value.as_str()), ("a[b=c].d", "e=f"));
        assert_eq!(assignment("a=").unwrap().1, "");
        assert_eq!(assignment("a\\=b=c").unwrap().0.steps, [Step::Name("a=b".to_owned())]);
        let error = assignment("a.b").unwrap_err().to_string();
        assert_eq!(error, "path `a.b`: `=` and a value are missing at character 4");
        assert!(assignment("=x").is_err() && assignment("a.=x").is_err());
    }

    #[test]
    fn what_is_shown_can_be_read() {
        let path = [Key::from("a"), Key::from(3), Key::from("b.c\"\n"), Key::from("*")];
        let read = PathExpr::parse(&show(&path)).unwrap();
        assert_eq!(read.steps, PathExpr::exact(0, &path).steps);
    }
}
