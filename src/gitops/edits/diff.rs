//! The difference of two versions of a file, as `git diff` shows it.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

/// The unified difference of `old` and `new`, with three lines around each change; empty if there
/// is none. A line end of two bytes is part of its line, and a file whose last line has none is
/// told as git tells it. What is not UTF-8 is shown with replacement characters.
pub fn diff(path: &str, old: &[u8], new: &[u8], colour: bool) -> String {
    const CONTEXT: usize = 3;
    if old == new {
        return String::new();
    }
    let paint = |code: &'static str| if colour { code } else { "" };
    let (bold, cyan, red, green, plain) = (
        paint("\x1b[1m"),
        paint("\x1b[36m"),
        paint("\x1b[31m"),
        paint("\x1b[32m"),
        paint("\x1b[m"),
    );
    let (old, new) = (split(old), split(new));
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) =
        (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
    let compared = TextDiff::from_slices(&old_lines, &new_lines);
    let mut text = format!("{bold}--- a/{path}{plain}\n{bold}+++ b/{path}{plain}\n");
    for group in compared.grouped_ops(CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let _ = writeln!(
            text,
            "{cyan}@@ -{} +{} @@{plain}",
            range(first.old_range().start, last.old_range().end),
            range(first.new_range().start, last.new_range().end),
        );
        for change in group.iter().flat_map(|op| compared.iter_changes(op)) {
            let (sign, start) = match change.tag() {
                ChangeTag::Equal => (' ', ""),
                ChangeTag::Delete => ('-', red),
                ChangeTag::Insert => ('+', green),
            };
            let end = if start.is_empty() { "" } else { plain };
            let line: &str = change.value();
            let bare = line.strip_suffix('\n').unwrap_or(line);
            let _ = writeln!(text, "{start}{sign}{bare}{end}");
            if bare.len() == line.len() {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    text
}

/// Lines, each with its `\n`.
fn split(bytes: &[u8]) -> Vec<String> {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .map(|l| String::from_utf8_lossy(l).into_owned())
        .collect()
}

/// `START,COUNT` of lines counted from 1, where a count of 1 is left out and nothing is before
/// the line that follows.
fn range(start: usize, end: usize) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        count => format!("{},{count}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_git_shows() {
        for (old, new, expected) in [
            ("a\n", "a\n", ""),
            ("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"),
            (
                "a",
                "b",
                "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n",
            ),
            ("a\r\n", "b\r\n", "@@ -1 +1 @@\n-a\r\n+b\r\n"),
            ("", "b\n", "@@ -0,0 +1 @@\n+b\n"),
            (
                "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n",
                "1\n2\n3\n4\nx\n6\n7\n8\n9\n10\n",
                "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n",
            ),
        ] {
            let head = if expected.is_empty() { "" } else { "--- a/f\n+++ b/f\n" };
            assert_eq!(
                diff("f", old.as_bytes(), new.as_bytes(), false),
                format!("{head}{expected}")
            );
        }
    }

    #[test]
    fn colours_whole_lines() {
        let text = diff("f", b"a\n", b"b\n", true);
        assert!(text.ends_with("\x1b[31m-a\x1b[m\n\x1b[32m+b\x1b[m\n"), "{text:?}");
    }
}
