//! Keys with their values, and items, go with their lines and the comment behind them.

use super::apply::Splice;
use super::insert::{has_brackets, last_block_scalar, members};
use super::resolve::{File, is_flow};
use super::{EditError, Key, Problem, replace, show};
use crate::yaml::{Content, Node, Value, line_end, line_start, skip_blank};

/// What removes the key or item at a path.
pub(super) fn remove(
    file: &File<'_>,
    document: usize,
    path: &[Key],
) -> Result<Vec<Splice>, EditError> {
    let found = file.locate(document, path)?;
    file.removable(found.node, path)?;
    if let Some(key) = found.key {
        file.removable(key, path)?;
    }
    let (Some(parent), Some((_, parent_path))) = (found.parent, path.split_last()) else {
        let reason = "it is all of the document";
        let problem = Problem::Unsupported { path: show(path), reason };
        return Err(file.error(found.node.outer().start, problem));
    };
    let Some(index) = position(parent, found.node) else {
        return Err(file.error(found.node.span.start, Problem::Wrong { path: show(path) }));
    };
    if is_flow(parent) {
        has_brackets(file, parent, path)?;
        let from = match index.checked_sub(1) {
            None => parent.span.start + 1,
            Some(before) => skip_blank(file.text, members(parent)[before].1) + 1,
        };
        if skip_blank(file.text, from) != members(parent)[index].0 {
            let reason = "its key has a question mark";
            let problem = Problem::Unsupported { path: show(path), reason };
            return Err(file.error(from, problem));
        }
        return Ok(from_flow(file.text, parent, index));
    }
    if members(parent).len() == 1 {
        let empty = match parent.content {
            Content::Sequence { .. } => Value::List(Vec::new()),
            _ => Value::Map(Vec::new()),
        };
        let located = file.locate(document, parent_path)?;
        return replace::replace(file, &located, parent_path, &empty);
    }
    let ends = members(parent);
    if let Some((next, _)) = ends.get(index + 1)
        && parent.pairs().is_some_and(|pairs| pairs[index + 1].0.is_absent())
    {
        // It would belong to the key in front of this one.
        let reason = "what follows it has no key";
        let problem = Problem::Unsupported { path: show(path), reason };
        return Err(file.error(*next, problem));
    }
    Ok(vec![(from_block(file.text, parent, index), String::new())])
}

fn position(parent: &Node, node: &Node) -> Option<usize> {
    match &parent.content {
        Content::Sequence { items, .. } => items.iter().position(|item| std::ptr::eq(item, node)),
        Content::Mapping { pairs, .. } => {
            pairs.iter().position(|(_, value)| std::ptr::eq(value, node))
        }
        Content::Scalar { .. } | Content::Alias { .. } => None,
    }
}

/// The bytes of a member of a block collection that has others.
fn from_block(text: &str, parent: &Node, index: usize) -> std::ops::Range<usize> {
    let ends = members(parent);
    let start_of = |index: usize| match index.checked_sub(1) {
        None => parent.span.start,
        Some(before) => skip_blank(text, ends[before].1),
    };
    let start = start_of(index);
    let end = line_end(text, ends[index].1);
    let line = line_start(text, start);
    if text[line..start].trim().is_empty() {
        let behind = behind_break(text, end);
        // What follows must not become part of a block scalar in front, nor lose it its last line.
        if let Some(keeps) = block_scalar_before(text, parent, index) {
            return line..behind_content(text, behind, start - line, keeps);
        }
        // At the end of a text without a line break there, the one in front goes.
        if behind == end && end == text.len() {
            let before = text[..line].strip_suffix('\n').unwrap_or(&text[..line]);
            return before.strip_suffix('\r').unwrap_or(before).len()..end;
        }
        return line..behind;
    }
    // The first of them stands behind a dash; the second comes into its place.
    let next = start_of(index + 1);
    if text[end..next].contains('#') { start..end } else { start..next }
}

/// Whether the block scalar that is right in front of a member keeps all empty lines behind it.
fn block_scalar_before(text: &str, parent: &Node, index: usize) -> Option<bool> {
    let before = match &parent.content {
        Content::Sequence { items, .. } => items.get(index.checked_sub(1)?)?,
        Content::Mapping { pairs, .. } => &pairs.get(index.checked_sub(1)?)?.1,
        Content::Scalar { .. } | Content::Alias { .. } => return None,
    };
    let scalar = last_block_scalar(before)?;
    let header = &text[scalar.span.start..line_end(text, scalar.span.start)];
    Some(header.split([' ', '\t']).next().is_some_and(|word| word.contains('+')))
}

/// Behind the lines at `at` that a block scalar would take: comments further from the left than
/// `indent`, and empty lines in front of them or, if it keeps these, all of them.
fn behind_content(text: &str, at: usize, indent: usize, keeps: bool) -> usize {
    let (mut at, mut behind) = (at, at);
    while at < text.len() {
        let end = line_end(text, at);
        let line = &text[at..end];
        let content = line.trim_start_matches([' ', '\t']);
        let comment = content.starts_with('#') && line.len() - content.len() > indent;
        if !content.is_empty() && !comment {
            break;
        }
        at = behind_break(text, end);
        if comment || keeps {
            behind = at;
        }
    }
    behind
}

/// Behind the line break at `at`.
fn behind_break(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    if rest.starts_with("\r\n") { at + 2 } else { at + usize::from(rest.starts_with(['\n', '\r'])) }
}

fn from_flow(text: &str, parent: &Node, index: usize) -> Vec<Splice> {
    let ends = members(parent);
    let (start, end) = ends[index];
    let inside = parent.span.start + 1..parent.span.end - 1;
    if ends.len() == 1 && !text[inside.clone()].contains('#') {
        return vec![(inside, String::new())];
    }
    let next = skip_blank(text, end);
    let comma = text[next..].starts_with(',');
    let behind = if comma { next + 1 } else { end };
    // The comma in front goes if there is none behind.
    let before = index.checked_sub(1).filter(|_| !comma).map(|before| ends[before].1);
    if let Some(before) = before.filter(|before| !text[*before..start].contains('#')) {
        return vec![(before..end, String::new())];
    }
    let mut splices = Vec::new();
    if let Some(before) = before {
        let at = skip_blank(text, before);
        if text[at..].starts_with(',') {
            splices.push((at..at + 1, String::new()));
        }
    }
    let (line, rest) = (line_start(text, start), line_end(text, behind));
    let last = text[behind..rest].trim_start();
    let alone = text[line..start].trim().is_empty() && (last.is_empty() || last.starts_with('#'));
    let range = if alone && behind_break(text, rest) > rest {
        line..behind_break(text, rest)
    } else {
        let blanks = text[behind..rest].len() - last.len();
        // A comment needs the blank in front of it.
        if last.starts_with('#') { start..behind } else { start..behind + blanks }
    };
    splices.push((range, String::new()));
    splices
}
