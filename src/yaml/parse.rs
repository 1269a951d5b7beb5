//! Events of the parser to the tree, within limits.
//!
//! The events' places are good for the beginning of most things. What they do not say exactly
//! (where block scalars begin, where block collections end, where an absent value would be) comes
//! from the text, in `spans.rs`.

use std::collections::HashMap;
use std::iter::Peekable;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};
use granit_parser::{StructureStyle, Tag as EventTag};

use super::emit::column;
use super::spans;
use super::{Anchor, Content, Document, Node, Stream, Style, Tag, YamlError};

/// The longest text that is read.
pub const MAX_BYTES: usize = 32 << 20;
/// How deep collections may be in each other.
pub const MAX_DEPTH: usize = 200;
/// How many nodes a text may have.
pub const MAX_NODES: usize = 1_000_000;

/// Reads all documents of a text.
pub fn parse(text: &str) -> Result<Stream, YamlError> {
    if text.len() > MAX_BYTES {
        let problem = format!("{} bytes are more than the {MAX_BYTES} that are read", text.len());
        return Err(YamlError::at(text, 0, problem));
    }
    let mut options = Options::default();
    options.emit_anchor_events = true;
    // As libyaml reads it, which most others are made from.
    options.block_scalar_eof_without_line_feed = true;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut tree = Tree {
        text,
        events: Parser::new_from_str_with_options(text, options).peekable(),
        documents: Vec::new(),
        start: 0,
        root: None,
        open: Vec::new(),
        anchors: HashMap::new(),
        last: 0,
        nodes: 0,
    };
    while let Some((event, span)) = tree.next()? {
        tree.take(event, span)?;
    }
    let documents = tree.documents;
    let comments = spans::comments(text, &documents);
    Ok(Stream { documents, comments })
}

/// A collection whose end has not come yet.
struct Open {
    start: usize,
    flow: bool,
    anchor: Option<Anchor>,
    tag: Option<Tag>,
    kind: Kind,
}

enum Kind {
    Sequence(Vec<Node>),
    /// The pairs, and the key that waits for its value.
    Mapping(Vec<(Node, Node)>, Option<Node>),
}

struct Tree<'a> {
    text: &'a str,
    events: Peekable<Parser<'a, StrInput<'a>>>,
    documents: Vec<Document>,
    /// Where the document begins.
    start: usize,
    root: Option<Node>,
    open: Vec<Open>,
    /// Names and places of anchors by their number.
    anchors: HashMap<usize, (String, usize)>,
    /// The end of what was read last, from where indicators are looked for.
    last: usize,
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, YamlError> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &ScanError) -> YamlError {
        let offset = error.marker().byte_offset().unwrap_or(self.text.len());
        YamlError::at(self.text, offset, error.info())
    }

    fn range(&self, span: Span) -> Result<Range<usize>, YamlError> {
        let range = span.byte_range();
        let range = range.filter(|range| self.text.get(range.clone()).is_some());
        range.ok_or_else(|| self.error(self.last, "the parser gives no place for what is here"))
    }

    fn error(&self, offset: usize, problem: impl Into<String>) -> YamlError {
        YamlError::at(self.text, offset, problem)
    }

    fn take(&mut self, event: Event<'a>, span: Span) -> Result<(), YamlError> {
        let range = self.range(span)?;
        match event {
            Event::DocumentStart(explicit, _) => {
                self.start = range.start;
                // Without a marker, the place is somewhere in the first node.
                self.last = if explicit { range.end } else { self.last };
                self.anchors.clear();
            }
            Event::DocumentEnd => {
                let root = self.root.take();
                let root = root.filter(|node| {
                    !node.is_absent() || node.anchor.is_some() || node.tag.is_some()
                });
                let start = root.as_ref().map_or(self.start, |root| root.outer().start);
                let span = self.start.min(start)..range.end.max(self.last);
                self.documents.push(Document { root, span });
                self.last = self.last.max(range.end);
            }
            Event::Scalar(value, style, anchor, tag) => {
                let (anchor, tag) = self.properties(anchor, tag.as_deref(), span)?;
                let node = self.scalar(value.into_owned(), style, range, anchor, tag);
                self.add(node)?;
            }
            Event::Alias(id) => {
                let Some((name, target)) = self.anchors.get(&id).cloned() else {
                    return Err(self.error(range.start, "an alias of no anchor"));
                };
                let content = Content::Alias { name, target };
                self.add(Node { span: range, anchor: None, tag: None, content })?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                let (anchor, tag) = self.properties(anchor, tag.as_deref(), span)?;
                let flow = style == StructureStyle::Flow;
                let from = outer_end(self.indicated(), anchor.as_ref(), tag.as_ref());
                let start = if flow { range.start } else { spans::skip_blank(self.text, from) };
                self.push(Open { start, flow, anchor, tag, kind: Kind::Sequence(Vec::new()) })?;
            }
            Event::MappingStart(style, anchor, tag) => {
                let (anchor, tag) = self.properties(anchor, tag.as_deref(), span)?;
                let flow = style == StructureStyle::Flow;
                let kind = Kind::Mapping(Vec::new(), None);
                self.push(Open { start: range.start, flow, anchor, tag, kind })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&range)?,
            _ => {}
        }
        Ok(())
    }

    /// The anchor, which the parser tells behind the node, and the tag.
    fn properties(
        &mut self,
        anchor: usize,
        tag: Option<&EventTag>,
        span: Span,
    ) -> Result<(Option<Anchor>, Option<Tag>), YamlError> {
        let anchor = match self.events.next_if(|next| {
            anchor != 0 && matches!(next, Ok((Event::Anchor(id, _), _)) if *id == anchor)
        }) {
            Some(Ok((Event::Anchor(id, name), place))) => {
                let span = self.range(place)?;
                self.anchors.insert(id, (name.clone().into_owned(), span.start));
                Some(Anchor { name: name.into_owned(), span })
            }
            _ => None,
        };
        let tag = match (tag, span.tag_span()) {
            (Some(tag), Some(place)) => {
                let name = format!("{}{}", tag.handle(), tag.suffix());
                Some(Tag { name, span: self.range(place)? })
            }
            _ => None,
        };
        Ok((anchor, tag))
    }

    fn scalar(
        &self,
        value: String,
        style: ScalarStyle,
        range: Range<usize>,
        anchor: Option<Anchor>,
        tag: Option<Tag>,
    ) -> Node {
        let from = outer_end(self.indicated(), anchor.as_ref(), tag.as_ref());
        let (value, style, span) = match style {
            // What is not there has the text of a null and no bytes.
            ScalarStyle::Plain if range.is_empty() => {
                let indicated = match self.open.last().map(|open| (open.flow, &open.kind)) {
                    // A key has an indicator only if it is in more lines.
                    Some((_, Kind::Mapping(_, key))) => key.is_some() || from > self.last,
                    Some((flow, Kind::Sequence(_))) => !flow,
                    None => false,
                };
                let known = indicated || anchor.is_some() || tag.is_some();
                let at = if known { from } else { range.start };
                (String::new(), Style::Plain, at..at)
            }
            ScalarStyle::Plain => (value, Style::Plain, range),
            ScalarStyle::SingleQuoted => (value, Style::SingleQuoted, range),
            ScalarStyle::DoubleQuoted => (value, Style::DoubleQuoted, range),
            ScalarStyle::Literal => {
                (value, Style::Literal, spans::block_scalar(self.text, from, range.end))
            }
            ScalarStyle::Folded => {
                (value, Style::Folded, spans::block_scalar(self.text, from, range.end))
            }
        };
        Node { span, anchor, tag, content: Content::Scalar { value, style } }
    }

    /// Behind the indicator that the next node has in front of it: `-`, `:` or `?`.
    fn indicated(&self) -> usize {
        match self.open.last() {
            Some(Open { kind: Kind::Sequence(items), flow: false, start, .. }) => {
                let from = if items.is_empty() { *start } else { self.last };
                spans::behind(self.text, from, '-', false)
            }
            Some(Open { kind: Kind::Mapping(pairs, Some(key)), flow, start, .. }) => {
                let behind = spans::behind(self.text, self.last, ':', *flow);
                if *flow || !self.text[self.last..behind].contains(['\n', '\r']) {
                    return behind;
                }
                // On another line, it may be the colon of what this is in.
                let first = pairs.first().map_or(key, |(key, _)| key).outer().start;
                let margin = column(self.text, first.min(*start));
                if column(self.text, behind) == margin + 1 { behind } else { self.last }
            }
            Some(Open { kind: Kind::Mapping(..), .. }) => {
                spans::behind(self.text, self.last, '?', false)
            }
            _ => self.last,
        }
    }

    fn push(&mut self, open: Open) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            let problem = format!("more than {MAX_DEPTH} collections in each other");
            return Err(self.error(open.start, problem));
        }
        let rest = &self.text[open.start..];
        self.last = match open.kind {
            _ if open.flow && rest.starts_with(['[', '{']) => open.start + 1,
            // What a key in more lines begins with comes before the key.
            Kind::Mapping(..) if !open.flow && rest.starts_with('?') => open.start,
            _ => outer_end(self.last, open.anchor.as_ref(), open.tag.as_ref()),
        };
        self.open.push(open);
        Ok(())
    }

    /// The end of a collection: of one in brackets behind them, of others that of its last child.
    fn close(&mut self, end: &Range<usize>) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Err(self.error(end.start, "the end of nothing"));
        };
        let Open { start, flow, anchor, tag, kind } = open;
        let (first, last, content) = match kind {
            Kind::Sequence(items) => {
                let first = items.first().map(|item| item.outer().start);
                let last = items.last().map(|item| item.span.end);
                (first, last, Content::Sequence { items, flow })
            }
            Kind::Mapping(pairs, _) => {
                let first = pairs.first().map(|(key, _)| key.outer().start);
                let last = pairs.last().map(|(key, value)| value.span.end.max(key.span.end));
                (first, last, Content::Mapping { pairs, flow })
            }
        };
        let span = if flow && !end.is_empty() {
            start..end.end
        } else {
            let start = first.map_or(start, |first| start.min(first));
            start..last.unwrap_or(start).max(start)
        };
        self.add(Node { span, anchor, tag, content })
    }

    fn add(&mut self, node: Node) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let problem = format!("more than the {MAX_NODES} nodes that are read");
            return Err(self.error(node.span.start, problem));
        }
        self.last = self.last.max(node.span.end);
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::Sequence(items)) => items.push(node),
            Some(Kind::Mapping(pairs, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
        Ok(())
    }
}

/// Where the content may begin behind what was read last and the properties in front of it.
fn outer_end(last: usize, anchor: Option<&Anchor>, tag: Option<&Tag>) -> usize {
    let anchor = anchor.map_or(0, |anchor| anchor.span.end);
    last.max(anchor).max(tag.map_or(0, |tag| tag.span.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scalars and aliases of a text as they are written, each behind its path.
    fn leaves(text: &str) -> Vec<String> {
        fn collect(text: &str, node: &Node, found: &mut Vec<String>) {
            node.walk(&mut |node| match &node.content {
                Content::Scalar { value, .. } => {
                    found.push(format!("{value}<{}>", &text[node.span.clone()]));
                }
                Content::Alias { name, .. } => found.push(format!("*{name}")),
                _ => {}
            });
        }
        let stream = parse(text).unwrap();
        let mut found = Vec::new();
        for root in stream.documents.iter().filter_map(|document| document.root.as_ref()) {
            collect(text, root, &mut found);
        }
        found
    }

    #[test]
    fn spans_are_the_bytes_of_the_content() {
        let table: &[(&str, &[&str])] = &[
            ("a: b\n", &["a<a>", "b<b>"]),
            ("\u{feff}a: é   \r\n", &["a<a>", "é<é>"]),
            ("a:\nb: &x\n", &["a<a>", "<>", "b<b>", "<>"]),
            ("a: &y !t foo  # c\nb: *y", &["a<a>", "foo<foo>", "b<b>", "*y"]),
            ("'it''s': \"a\\nb\" # c", &["it's<'it''s'>", "a\nb<\"a\\nb\">"]),
            ("a: one\n  two\n", &["a<a>", "one two<one\n  two>"]),
            ("- |\n  lit\n  x\n\n- b\n", &["lit\nx\n<|\n  lit\n  x>", "b<b>"]),
            ("- - |+\n    x\n\n  - y", &["x\n\n<|+\n    x\n>", "y<y>"]),
            ("- >-  # c\n  f\n# d\n- b", &["f<>-  # c\n  f>", "b<b>"]),
            ("--- |\n a\n---\n- |2-", &["a\n<|\n a>", "<|2->"]),
            ("{a, b: , \"c\":1}", &["a<a>", "<>", "b<b>", "<>", "c<\"c\">", "1<1>"]),
            ("? a\n: b\n? c\n", &["a<a>", "b<b>", "c<c>", "<>"]),
        ];
        for (text, expected) in table {
            assert_eq!(leaves(text), *expected, "{text}");
        }
    }

    #[test]
    fn collections_end_with_their_last_value() {
        let text = "# a\nk: &x\n- a # b\n-\n  m: 1\n\n# end\nl: [ 1,\n 2 ] # x\n";
        let stream = parse(text).unwrap();
        let root = stream.documents[0].root.as_ref().unwrap();
        let spanned = |node: &Node| text[node.span.clone()].to_owned();
        assert_eq!(spanned(root.get("k").unwrap()), "- a # b\n-\n  m: 1");
        assert_eq!(spanned(root.get("l").unwrap()), "[ 1,\n 2 ]");
        assert_eq!(root.get("k").unwrap().outer().start, 7);
        let comments: Vec<&str> =
            stream.comments.iter().map(|comment| &text[comment.span.clone()]).collect();
        assert_eq!(comments, ["# a", "# b", "# end", "# x"]);
        let end = root.get("l").unwrap().span.end;
        assert_eq!(stream.trailing_comment(text, end).unwrap().text, " x");
        assert!(stream.trailing_comment(text, 25).is_none());
    }

    #[test]
    fn limits_hold() {
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
        let deep: String = (0..1000).map(|depth| " ".repeat(depth) + "-\n").collect();
        assert!(parse(&deep).is_err());
        let error = parse("a: b\n\u{e9}: *none\n").unwrap_err();
        assert_eq!(error.place.to_string(), "2:4");
    }
}
