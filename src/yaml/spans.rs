//! What the parser's places leave open, from the text.

use std::ops::Range;

use super::{Comment, Content, Document, Node, Style};

/// The offset of the first byte at or behind `from` that is neither white space nor in a comment.
pub(crate) fn skip_blank(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'#' => at = line_end(text, at),
            // A byte order mark, of which each document may have one.
            0xef if text[at..].starts_with('\u{feff}') => at += 3,
            _ => break,
        }
    }
    at
}

/// The end of the line that `at` is in, without its line break.
pub(crate) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find(['\n', '\r']).map_or(text.len(), |length| at + length)
}

/// The beginning of the line that `at` is in.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    let start = text[..at].rfind(['\n', '\r']).map_or(0, |before| before + 1);
    if start == 0 && text.starts_with('\u{feff}') && at >= 3 { 3 } else { start }
}

/// Behind the indicator that follows `at`, or at `at` if it does not follow. In brackets, what is
/// behind a colon may touch it.
pub(super) fn behind(text: &str, at: usize, indicator: char, flow: bool) -> usize {
    let found = skip_blank(text, at);
    let rest = text[found..].strip_prefix(indicator);
    let is_one = rest.is_some_and(|rest| flow || rest.is_empty() || rest.starts_with(BLANK));
    if is_one { found + 1 } else { at }
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// A block scalar from its indicator, which is the first thing at or behind `from`, to the end of
/// its last line. `end` is where the next thing begins.
pub(super) fn block_scalar(text: &str, from: usize, end: usize) -> Range<usize> {
    let start = skip_blank(text, from);
    let header = line_end(text, start);
    if end <= header {
        return start..end.max(text[..header].trim_end().len()).min(header);
    }
    // The blanks in front of what follows are not its content.
    let line = line_start(text, end);
    let partial = end < text.len() && text[line..end].trim().is_empty();
    let body = if partial { &text[..line] } else { &text[..end] };
    // Empty lines at the end count only with `+`; else they separate it from what follows.
    let indicators = text[start..header].split([' ', '\t', '#']).next().unwrap_or_default();
    let stop = if indicators.contains('+') {
        let body = body.strip_suffix('\n').unwrap_or(body);
        body.strip_suffix('\r').unwrap_or(body).len()
    } else {
        body.trim_end_matches(['\n', '\r']).len()
    };
    start..stop.max(text[..header].trim_end().len())
}

/// The comments: each `#` at the beginning of a line or behind white space that is in no scalar.
pub(super) fn comments(text: &str, documents: &[Document]) -> Vec<Comment> {
    let mut taken: Vec<Range<usize>> = Vec::new();
    for root in documents.iter().filter_map(|document| document.root.as_ref()) {
        root.walk(&mut |node: &Node| {
            taken.extend(node.anchor.as_ref().map(|anchor| anchor.span.clone()));
            taken.extend(node.tag.as_ref().map(|tag| tag.span.clone()));
            match &node.content {
                Content::Scalar { style: Style::Literal | Style::Folded, .. } => {
                    // The header may have one.
                    let header = line_end(text, node.span.start).min(node.span.end);
                    taken.push(header..node.span.end);
                }
                Content::Scalar { .. } | Content::Alias { .. } => taken.push(node.span.clone()),
                Content::Sequence { .. } | Content::Mapping { .. } => {}
            }
        });
    }
    taken.sort_by_key(|range| range.start);
    let mut comments = Vec::new();
    let mut taken = taken.into_iter().peekable();
    let mut at = 0;
    while let Some(found) = text[at..].find('#').map(|length| at + length) {
        while taken.next_if(|range| range.end <= found).is_some() {}
        if let Some(range) = taken.peek().filter(|range| range.start <= found) {
            at = range.end;
            continue;
        }
        let before = text[..found].chars().next_back();
        if before.is_none_or(|c| c.is_whitespace() || c == '\u{feff}') {
            at = line_end(text, found);
            comments.push(Comment { span: found..at, text: text[found + 1..at].to_owned() });
        } else {
            at = found + 1;
        }
    }
    comments
}
