//! New keys and items, in the layout of their neighbours.

use super::apply::Splice;
use super::resolve::{File, is_flow};
use super::{EditError, Key, Problem, replace, show};
use crate::yaml::{
    Content, Context, Layout, Node, Style, Value, column, core, line_end, line_start, quote,
    skip_blank,
};

/// What adds a key or an item to the collection at `path[..n - 1]`.
pub(super) fn insert(
    file: &File<'_>,
    document: usize,
    path: &[Key],
    value: &Value,
) -> Result<Vec<Splice>, EditError> {
    let Some((key, parent_path)) = path.split_last() else {
        return Err(file.error(0, Problem::Overlap { path: show(path) }));
    };
    let parent = file.locate(document, parent_path)?;
    let node = parent.node;
    let layout = Layout::of(file.text, &file.stream, node);
    if is_null(node) {
        let value = match key {
            Key::Name(name) => Value::Map(vec![(name.clone(), value.clone())]),
            Key::Index(_) => Value::List(vec![value.clone()]),
        };
        return replace::replace(file, &parent, parent_path, &value);
    }
    let new = match (&node.content, key) {
        (Content::Mapping { pairs, .. }, Key::Name(name)) => {
            if let Some((key, _)) = pairs.iter().find(|(key, _)| key.scalar() == Some(name)) {
                let problem = Problem::Exists { path: show(path) };
                return Err(file.error(key.outer().start, problem));
            }
            New::Pair(name, value)
        }
        (Content::Sequence { items, .. }, Key::Index(index)) if *index <= items.len() => {
            New::Item(*index, value)
        }
        _ => {
            let problem = Problem::NotFound {
                path: show(path),
                reached: show(parent_path),
                known: super::select::known_below(node, None),
            };
            return Err(file.error(node.outer().start, problem));
        }
    };
    let ends = members(node);
    if ends.is_empty()
        && !parent.in_flow()
        && !file.json
        && !file.text[node.span.clone()].contains('#')
    {
        return replace::replace(file, &parent, parent_path, &new.alone());
    }
    if is_flow(node) {
        in_flow(file, node, &layout, &new, path)
    } else {
        in_block(file, node, &layout, &new, path)
    }
}

/// What is added.
enum New<'a> {
    Pair(&'a str, &'a Value),
    Item(usize, &'a Value),
}

impl New<'_> {
    /// The collection that has nothing else.
    fn alone(&self) -> Value {
        match self {
            Self::Pair(name, value) => Value::Map(vec![((*name).to_owned(), (*value).clone())]),
            Self::Item(_, value) => Value::List(vec![(*value).clone()]),
        }
    }
}

/// Whether something can come to be here: nothing is, or a null.
fn is_null(node: &Node) -> bool {
    match &node.content {
        Content::Scalar { value, style: Style::Plain } => {
            node.tag.is_none() && core(value) == crate::yaml::Kind::Null
        }
        _ => false,
    }
}

/// Where the members of a collection begin and end: of pairs with the key, of all without the dash.
pub(super) fn members(node: &Node) -> Vec<(usize, usize)> {
    match &node.content {
        Content::Sequence { items, .. } => {
            items.iter().map(|item| (item.outer().start, item.span.end)).collect()
        }
        Content::Mapping { pairs, .. } => pairs
            .iter()
            .map(|(key, value)| (key.outer().start, value.span.end.max(key.span.end)))
            .collect(),
        Content::Scalar { .. } | Content::Alias { .. } => Vec::new(),
    }
}

fn in_block(
    file: &File<'_>,
    node: &Node,
    layout: &Layout,
    new: &New<'_>,
    path: &[Key],
) -> Result<Vec<Splice>, EditError> {
    let text = file.text;
    let indent = column(text, node.span.start);
    let margin = " ".repeat(indent);
    let ends = members(node);
    let written = match new {
        New::Pair(name, value) => {
            let name = quote(name, Style::Plain, Context::Block);
            format!("{name}:{}", layout.behind_key(value, indent))
        }
        New::Item(_, value) => format!("-{}", layout.behind_dash(value, indent)),
    };
    if let New::Item(index, _) = new
        && *index < ends.len()
    {
        let dash = match index.checked_sub(1) {
            None => node.span.start,
            Some(before) => skip_blank(text, ends[before].1),
        };
        return Ok(vec![(dash..dash, format!("{written}{}{margin}", layout.newline))]);
    }
    let last = ends.last().map_or(node.span.end, |(_, end)| *end);
    let end = line_end(text, last);
    if end == text.len() && last_block_scalar(node).is_some() {
        let reason = "the block scalar in front of it is the end of the file and has no line break";
        let problem = Problem::Unsupported { path: show(path), reason };
        return Err(file.error(last, problem));
    }
    Ok(vec![(end..end, format!("{}{margin}{written}", layout.newline))])
}

/// The block scalar that is the last thing in a node.
pub(super) fn last_block_scalar(node: &Node) -> Option<&Node> {
    match &node.content {
        Content::Scalar { style: Style::Literal | Style::Folded, .. } => Some(node),
        Content::Sequence { items, .. } => items.last().and_then(last_block_scalar),
        Content::Mapping { pairs, .. } => {
            pairs.last().and_then(|(_, value)| last_block_scalar(value))
        }
        Content::Scalar { .. } | Content::Alias { .. } => None,
    }
}

fn in_flow(
    file: &File<'_>,
    node: &Node,
    layout: &Layout,
    new: &New<'_>,
    path: &[Key],
) -> Result<Vec<Splice>, EditError> {
    let text = file.text;
    has_brackets(file, node, path)?;
    let context = if file.json { Context::Json } else { Context::Flow };
    let ends = members(node);
    let written = match new {
        New::Pair(name, value) => {
            let name = quote(name, Style::Plain, context);
            format!("{name}{}{}", colon(text, node), layout.inline(value, context))
        }
        New::Item(_, value) => layout.inline(value, context),
    };
    let Some((last_start, last_end)) = ends.last().copied() else {
        let at = node.span.start + 1;
        return Ok(vec![(at..at, written)]);
    };
    if let New::Item(index, _) = new
        && let Some((start, _)) = ends.get(*index)
    {
        let margin = &text[line_start(text, *start)..*start];
        let own_line = !margin.is_empty() && margin.trim().is_empty();
        let space = if own_line { format!("{}{margin}", layout.newline) } else { " ".to_owned() };
        return Ok(vec![(*start..*start, format!("{written},{space}"))]);
    }
    let next = skip_blank(text, last_end);
    let comma = text[next..].starts_with(',');
    let behind = if comma { next + 1 } else { last_end };
    let margin = &text[line_start(text, last_start)..last_start];
    let closing = skip_blank(text, behind);
    let own_lines = margin.trim().is_empty() && line_end(text, behind) < closing;
    Ok(match (own_lines, comma) {
        (true, _) => {
            let end = line_end(text, behind);
            let (before, after) = if comma { ("", ",") } else { (",", "") };
            vec![
                (last_end..last_end, before.to_owned()),
                (end..end, format!("{}{margin}{written}{after}", layout.newline)),
            ]
        }
        (false, true) => vec![(behind..behind, format!(" {written},"))],
        (false, false) => vec![(last_end..last_end, format!(", {written}"))],
    })
}

/// That a flow collection is no single pair, as in `[a: b]`.
pub(super) fn has_brackets(file: &File<'_>, node: &Node, path: &[Key]) -> Result<(), EditError> {
    // What begins with a brace may be its key.
    let first = node.pairs().and_then(<[(Node, Node)]>::first);
    let inside = first.is_none_or(|(key, _)| key.outer().start > node.span.start);
    if inside && file.text[node.span.start..].starts_with(['[', '{']) {
        return Ok(());
    }
    let reason = "it is a pair without braces";
    let problem = Problem::Unsupported { path: show(path), reason };
    Err(file.error(node.span.start, problem))
}

/// What is between the keys and the values of a flow mapping.
fn colon<'a>(text: &'a str, node: &Node) -> &'a str {
    let pair = node.pairs().and_then(<[(Node, Node)]>::last);
    let between = pair.and_then(|(key, value)| text.get(key.span.end..value.outer().start));
    match between {
        // Without a blank behind it, only quotes on both sides make a pair.
        Some(":") if is_json(&text[node.span.clone()]) => ":",
        Some(blank) if blank.trim() == ":" && blank.len() > 1 && !blank.contains(['\n', '\r']) => {
            blank
        }
        _ => ": ",
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
