//! What an edit has found in a file, and what is to happen there.

use std::ops::Range;

use super::Typing;
use super::at::{At, Step};

/// The places of one edit in one file.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// Where it matches.
    pub(super) places: Vec<Place>,
    /// Where it would match if something were made there, which is taken if nothing else matches.
    pub(super) weak: Vec<Place>,
    /// What it could have meant, for the error that nothing matches.
    pub(super) there: Vec<String>,
    /// What to try next, if nothing matches.
    pub(super) hint: Option<String>,
}

/// A place: what is counted when an edit may match one.
#[derive(Debug)]
pub(super) struct Place {
    /// How it is called in messages.
    pub(super) label: String,
    /// The byte at which it begins.
    pub(super) start: usize,
    /// What is to happen; nothing if it is as wanted.
    pub(super) actions: Vec<Action>,
}

/// A change of one node.
#[derive(Debug)]
pub(super) struct Action {
    /// How it is called in messages.
    pub(super) label: String,
    /// The document, counted from 0.
    pub(super) document: usize,
    /// The node.
    pub(super) steps: Vec<Step>,
    /// The byte at which it begins.
    pub(super) start: usize,
    /// What was there, if that was a scalar.
    pub(super) old: Option<String>,
    /// What happens to it.
    pub(super) what: What,
}

/// What happens to a node.
#[derive(Debug)]
pub(super) enum What {
    /// The scalar gets a new text.
    Set(String, Typing),
    /// The node becomes something else.
    Replace(Fresh),
    /// The mapping gets another key, behind the others.
    Insert(String, Fresh),
    /// The sequence gets another item, behind the others or before them.
    Append(Fresh, Side),
    /// The node goes, with its key.
    Remove,
}

/// An end of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Its begin.
    Front,
    /// Its end.
    Back,
}

/// Something that is not in the file yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fresh {
    /// A text, quoted where needed.
    Text(String),
    /// A number, `true`, `false` or `null`, as it is written.
    Plain(String),
    /// A mapping.
    Map(Vec<(String, Fresh)>),
    /// A sequence.
    List(Vec<Fresh>),
}

impl Fresh {
    /// A mapping of texts.
    pub(super) fn texts(pairs: &[(&str, &str)]) -> Self {
        let pair = |(key, text): &(&str, &str)| ((*key).to_owned(), Self::Text((*text).into()));
        Self::Map(pairs.iter().map(pair).collect())
    }

    /// How it is shown in messages: on one line.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Plain(text) => text.clone(),
            Self::Map(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(key, value)| format!("{key}: {}", value.shown())).collect();
                format!("{{{}}}", pairs.join(", "))
            }
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::shown).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

impl Matches {
    /// Says what there is that does not match.
    pub(super) fn there(&mut self, text: impl Into<String>) {
        self.there.push(text.into());
    }

    /// A place, to which actions are added.
    pub(super) fn place(&mut self, label: impl Into<String>, at: &At<'_>) -> &mut Place {
        let label = label.into();
        self.places.push(Place { label, start: at.node.outer().start, actions: Vec::new() });
        let last = self.places.len() - 1;
        &mut self.places[last]
    }

    /// A place on a line of a file that is no YAML.
    pub(super) fn line(&mut self, label: String, text: &str, span: Range<usize>, new: String) {
        let action = Action {
            label: label.clone(),
            document: 0,
            steps: vec![Step::Index(span.start)],
            start: span.start,
            old: Some(text[span.clone()].to_owned()),
            what: What::Set(new, Typing::Text),
        };
        self.places.push(Place { label, start: span.start, actions: vec![action] });
    }

    /// A place of one scalar that gets a new text.
    pub(super) fn set(&mut self, label: &str, at: &At<'_>, text: String, typing: Typing) {
        self.place(label, at).set(label, at, text, typing);
    }
}

impl Place {
    fn act(&mut self, label: impl Into<String>, at: &At<'_>, what: What) {
        self.actions.push(Action {
            label: label.into(),
            document: at.document,
            steps: at.steps.clone(),
            start: at.node.outer().start,
            old: at.node.scalar().map(str::to_owned),
            what,
        });
    }

    /// The scalar gets a new text, unless it has it.
    pub(super) fn set(
        &mut self,
        label: impl Into<String>,
        at: &At<'_>,
        text: String,
        typing: Typing,
    ) {
        self.act(label, at, What::Set(text, typing));
    }

    /// The node becomes something else.
    pub(super) fn replace(&mut self, label: impl Into<String>, at: &At<'_>, value: Fresh) {
        self.act(label, at, What::Replace(value));
    }

    /// The mapping gets another key.
    pub(super) fn insert(
        &mut self,
        label: impl Into<String>,
        at: &At<'_>,
        key: &str,
        value: Fresh,
    ) {
        self.act(label, at, What::Insert(key.into(), value));
    }

    /// The sequence gets another item.
    pub(super) fn append(
        &mut self,
        label: impl Into<String>,
        at: &At<'_>,
        value: Fresh,
        side: Side,
    ) {
        self.act(label, at, What::Append(value, side));
    }

    /// The node goes.
    pub(super) fn remove(&mut self, label: impl Into<String>, at: &At<'_>) {
        self.act(label, at, What::Remove);
    }
}
