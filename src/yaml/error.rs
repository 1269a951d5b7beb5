//! Where in a text something is, and what is wrong there.

use std::fmt;

/// A place in a text, for people: both numbers begin with 1, columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset`; an offset behind the end is the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        // A byte order mark takes no column that anybody sees.
        let line = before[start..].trim_start_matches('\u{feff}');
        let number = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Self { line: number, column: line.chars().count() + 1 }
    }
}

/// Where the lines of a text begin, for who asks for many of them.
#[derive(Clone, Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of a text.
    pub fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect())
    }

    /// The line of the byte at `offset`, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text cannot be read. Shown as `line:column: problem`, to be put behind a file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct YamlError {
    /// Where it is.
    pub place: Place,
    /// What is wrong, without the place.
    pub problem: String,
}

impl YamlError {
    /// A problem at a byte of a text.
    pub fn at(text: &str, offset: usize, problem: impl Into<String>) -> Self {
        Self { place: Place::of(text, offset), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_places() {
        for text in ["", "a", "a\n", "\n\nb", "é\r\nb\nc"] {
            let lines = Lines::of(text);
            for offset in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                assert_eq!(lines.line(offset), Place::of(text, offset).line, "{text:?} {offset}");
            }
        }
    }
}
