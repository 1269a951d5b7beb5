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

/// The `-` of the first item of a block sequence.
pub(super) fn dash(text: &str, from: usize) -> usize {
    let mut at = skip_blank(text, from);
    // Between a key and the sequence is the colon, or the question mark of a key in more lines;
    // between two dashes is nothing.
    while text[at..].starts_with([':', '?']) {
        at = skip_blank(text, at + 1);
    }
    at
}

/// Behind the colon that follows a key, or behind the key if there is none.
pub(super) fn behind_colon(text: &str, key: usize) -> usize {
    let colon = skip_blank(text, key);
    if text[colon..].starts_with(':') { colon + 1 } else { key }
}

/// A block scalar from its indicator, which is the first thing that is no `-`, `?` or `:` at or
/// behind `from`, to the end of its last line. `end` is where the next thing begins.
pub(super) fn block_scalar(text: &str, from: usize, end: usize) -> Range<usize> {
    let mut start = skip_blank(text, from);
    while text[start..].starts_with([':', '-', '?']) {
        start = skip_blank(text, start + 1);
    }
    let header = line_end(text, start);
    if end <= header {
        return start..end.max(text[..header].trim_end().len()).min(header);
    }
    // Empty lines at the end count only with `+`; else they separate it from what follows.
    let indicators = text[start..header].split([' ', '\t', '#']).next().unwrap_or_default();
    let body = &text[..end];
    let stop = if indicators.contains('+') {
        // The blanks in front of what follows are not its content.
        let start = line_start(text, end);
        let body = if body[start..].trim().is_empty() { &body[..start] } else { body };
        let body = body.strip_suffix('\n').unwrap_or(body);
        body.strip_suffix('\r').unwrap_or(body).len()
    } else {
        body.trim_end_matches(['\n', '\r', ' ', '\t']).len()
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
