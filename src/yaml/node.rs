//! The tree: a stream of documents, and of each node the bytes that it was written in.

use std::ops::Range;

/// All of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The documents, in their order. One that is empty (`---` and nothing) counts.
    pub documents: Vec<Document>,
    /// The comments of all documents, in their order.
    pub comments: Vec<Comment>,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What is in it; none if there is nothing but comments.
    pub root: Option<Node>,
    /// From its `---`, or its first node, to the next document or the end.
    pub span: Range<usize>,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// From the `#` to the end of the line, without the line break.
    pub span: Range<usize>,
    /// What follows the `#`, as it is written.
    pub text: String,
}

/// A value, or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The bytes of the content, without anchor and tag. Of a scalar with its quotes, of a block
    /// scalar from the `|` or `>` to the end of its last line without the line break, of a block
    /// collection from its first `-` or key to the end of its last value. Of a value that is not
    /// there (`key:`) an empty range behind the indicator, the anchor or the tag.
    pub span: Range<usize>,
    /// The anchor that is written in front.
    pub anchor: Option<Anchor>,
    /// The tag that is written in front.
    pub tag: Option<Tag>,
    /// What it is.
    pub content: Content,
}

/// An anchor: `&name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The name without `&`.
    pub name: String,
    /// The bytes, with the `&`.
    pub span: Range<usize>,
}

/// A tag: `!name`, `!!name` or `!<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it stands for, such as `tag:yaml.org,2002:str` or `!local`.
    pub name: String,
    /// The bytes, with the `!`.
    pub span: Range<usize>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A scalar. A value that is not there is a plain one with an empty text.
    Scalar {
        /// The text, without quotes, escapes and folding.
        value: String,
        /// How it is written.
        style: Style,
    },
    /// A sequence.
    Sequence {
        /// Its items.
        items: Vec<Node>,
        /// Whether it is written as `[a, b]`.
        flow: bool,
    },
    /// A mapping.
    Mapping {
        /// Keys and values in their order, with those that are there twice.
        pairs: Vec<(Node, Node)>,
        /// Whether it is written as `{a: b}`. A single pair in a flow sequence, as in `[a: b]`,
        /// is a flow mapping too; its span does not begin with a brace.
        flow: bool,
    },
    /// `*name`: the value of an anchor that comes earlier in the document.
    Alias {
        /// The name without `*`.
        name: String,
        /// Where the anchor that it stands for begins, which tells apart anchors of one name.
        target: usize,
    },
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    SingleQuoted,
    /// `"…"`.
    DoubleQuoted,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}

impl Node {
    /// The bytes of the node with its anchor and its tag.
    pub fn outer(&self) -> Range<usize> {
        let anchor = self.anchor.as_ref().map_or(usize::MAX, |anchor| anchor.span.start);
        let tag = self.tag.as_ref().map_or(usize::MAX, |tag| tag.span.start);
        self.span.start.min(anchor).min(tag)..self.span.end
    }

    /// The text of a scalar, whatever its type is.
    pub fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.content {
            Content::Sequence { items, .. } => Some(items),
            _ => None,
        }
    }

    /// The keys and values of a mapping.
    pub fn pairs(&self) -> Option<&[(Node, Node)]> {
        match &self.content {
            Content::Mapping { pairs, .. } => Some(pairs),
            _ => None,
        }
    }

    /// The value of the first key with this text in a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let pairs = self.pairs()?;
        pairs.iter().find(|(name, _)| name.scalar() == Some(key)).map(|(_, value)| value)
    }

    /// The node at the end of a path of keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Whether nothing is written where the value would be, as in `key:`.
    pub fn is_absent(&self) -> bool {
        self.span.is_empty() && self.scalar() == Some("")
    }

    /// Calls `visit` with this node and all below it, in the order of the text.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Node)) {
        visit(self);
        match &self.content {
            Content::Sequence { items, .. } => items.iter().for_each(|item| item.walk(visit)),
            Content::Mapping { pairs, .. } => {
                for (key, value) in pairs {
                    key.walk(visit);
                    value.walk(visit);
                }
            }
            Content::Scalar { .. } | Content::Alias { .. } => {}
        }
    }
}

impl Stream {
    /// The comment that trails what ends at `offset`, on the same line.
    pub fn trailing_comment(&self, text: &str, offset: usize) -> Option<&Comment> {
        let next = self.comments.partition_point(|comment| comment.span.start < offset);
        let comment = self.comments.get(next)?;
        let between = text.get(offset..comment.span.start)?;
        (!between.contains(['\n', '\r'])).then_some(comment)
    }
}
