//! A collection in the place of something else, and nothing in the place of a collection.

use super::apply::Splice;
use super::insert::has_brackets;
use super::resolve::{File, Located, is_flow};
use super::scalar::{absent, check_tag, context};
use super::{EditError, Key};
use crate::yaml::{
    Content, Context, Layout, Node, Value, column, line_end, line_start, skip_blank,
};

/// What replaces a node by a collection, or by anything if it is one.
pub(super) fn replace(
    file: &File<'_>,
    found: &Located<'_>,
    path: &[Key],
    value: &Value,
) -> Result<Vec<Splice>, EditError> {
    let (text, node) = (file.text, found.node);
    check_tag(file, node, path, value)?;
    if is_flow(node) {
        has_brackets(file, node, path)?;
    }
    let near = found.parent.unwrap_or(node);
    let layout = Layout::of(text, &file.stream, near);
    let context = context(file, found);
    if context != Context::Block {
        let inline = layout.inline(value, context);
        return Ok(vec![if node.is_absent() {
            absent(file, found, path, &inline)?
        } else {
            (node.span.clone(), inline)
        }]);
    }
    if node.is_absent() {
        // That there is a place for it.
        absent(file, found, path, "")?;
    }
    let block = is_block(node);
    // One of the same kind keeps its indentation.
    let same = match (&node.content, value) {
        (Content::Sequence { .. }, Value::List(_)) | (Content::Mapping { .. }, Value::Map(_)) => {
            is_many(value)
        }
        _ => false,
    };
    let Some(head) = head(text, found) else {
        return Ok(vec![(node.span.clone(), root(text, &layout, node, value))]);
    };
    if block && same {
        let lines = layout.lines(value, column(text, node.span.start));
        return Ok(vec![(node.span.clone(), lines.trim_start_matches(' ').to_owned())]);
    }
    let indent = found.parent.map_or(0, |parent| column(text, parent.span.start));
    let behind = match found.key {
        Some(_) => layout.behind_key(value, indent),
        // Behind an anchor or a tag nothing begins that has lines.
        None if is_many(value) && (node.anchor.is_some() || node.tag.is_some()) => {
            let indent = found.parent.map_or(0, |_| indent + 2);
            format!("{}{}", layout.newline, layout.lines(value, indent))
        }
        None => layout.behind_dash(value, indent),
    };
    // The comment on the line of the key stays there.
    let line = line_end(text, head);
    let lines = behind.starts_with(['\n', '\r']);
    Ok(match (block, lines) {
        (true, _) if line < node.span.start => {
            let at = if lines { line } else { head };
            vec![(at..at, behind), (line..node.span.end, String::new())]
        }
        (false, true) => {
            let end = line_end(text, node.span.end);
            vec![(head..node.span.end, String::new()), (end..end, behind)]
        }
        _ => vec![(head..node.span.end, behind)],
    })
}

/// Whether a value takes lines of its own.
fn is_many(value: &Value) -> bool {
    match value {
        Value::List(items) => !items.is_empty(),
        Value::Map(pairs) => !pairs.is_empty(),
        Value::Text(_) | Value::Raw(_) => false,
    }
}

fn is_block(node: &Node) -> bool {
    !is_flow(node) && matches!(node.content, Content::Sequence { .. } | Content::Mapping { .. })
}

/// Where the value begins: behind the colon or dash, the anchor and the tag. None for a root
/// without both.
fn head(text: &str, found: &Located<'_>) -> Option<usize> {
    let anchor = found.node.anchor.as_ref().map(|anchor| anchor.span.end);
    let tag = found.node.tag.as_ref().map(|tag| tag.span.end);
    if let Some(end) = anchor.max(tag) {
        return Some(end);
    }
    if let Some(key) = found.key {
        let colon = skip_blank(text, key.span.end);
        return Some(colon + usize::from(text[colon..].starts_with(':')));
    }
    let parent = found.parent?;
    let items = parent.items()?;
    let index = items.iter().position(|item| std::ptr::eq(item, found.node))?;
    let dash = match index.checked_sub(1) {
        None => parent.span.start,
        Some(before) => skip_blank(text, items[before].span.end),
    };
    Some(dash + 1)
}

/// All of a document.
fn root(text: &str, layout: &Layout, node: &Node, value: &Value) -> String {
    if !is_many(value) {
        return layout.inline(value, Context::Block);
    }
    let lines = layout.lines(value, 0);
    // Behind `---` nothing begins that has lines.
    let before = &text[line_start(text, node.span.start)..node.span.start];
    if before.trim().is_empty() { lines } else { format!("{}{lines}", layout.newline) }
}
