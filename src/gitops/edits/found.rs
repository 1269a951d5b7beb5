//! What an edit has found in a file, and what is to happen there.

use std::ops::Range;

use super::Typing;
use super::at::At;
use crate::gitops::splice::Key;
use crate::yaml::{Content, Style, Value, is_string_for_all};

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
    pub(super) steps: Vec<Key>,
    /// The byte at which it begins.
    pub(super) start: usize,
    /// What was there, if that was a scalar.
    pub(super) old: Option<String>,
    /// The same, if it was written without quotes.
    pub(super) plain: Option<String>,
    /// How many items it has, if it is a sequence.
    pub(super) items: usize,
    /// What happens to it.
    pub(super) what: What,
}

impl Action {
    /// Whether everything is as wanted already.
    pub(super) fn is_done(&self) -> bool {
        let What::Set(text, typing) = &self.what else { return false };
        let same = self.old.as_ref() == Some(text);
        // A text that is written as a number is not the text yet.
        let number = self.plain.as_ref().is_some_and(|plain| !is_string_for_all(plain));
        same && (*typing != Typing::Text || !number)
            && (*typing != Typing::Raw || self.plain.is_some())
    }
}

/// What happens to a node.
#[derive(Debug)]
pub(super) enum What {
    /// The scalar gets a new text.
    Set(String, Typing),
    /// The scalar is a text with YAML in it, of which a part gets a new text.
    Inside {
        /// All of the text.
        whole: String,
        /// The part.
        new: String,
    },
    /// The node becomes something else.
    Replace(Value),
    /// The mapping gets another key, behind the others.
    Insert(String, Value),
    /// The sequence gets another item, behind the others.
    Append(Value),
    /// The node goes, with its key.
    Remove,
}

/// A mapping of texts.
pub(super) fn texts(pairs: &[(&str, &str)]) -> Value {
    Value::Map(pairs.iter().map(|(key, text)| ((*key).to_owned(), Value::text(*text))).collect())
}

/// A value as it is shown in messages: on one line.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Raw(text) => text.clone(),
        Value::Map(pairs) => {
            let pair = |(key, value): &(String, Value)| format!("{key}: {}", shown(value));
            let pairs: Vec<String> = pairs.iter().map(pair).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
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
        let start = span.start;
        let action = Action {
            label: label.clone(),
            document: 0,
            steps: vec![Key::Index(start)],
            start,
            old: Some(text[span].to_owned()),
            plain: None,
            items: 0,
            what: What::Set(new, Typing::Text),
        };
        self.places.push(Place { label, start, actions: vec![action] });
    }

    /// A place of one scalar that gets a new text.
    pub(super) fn set(&mut self, label: &str, at: &At<'_>, text: String, typing: Typing) {
        self.place(label, at).set(label, at, text, typing);
    }
}

impl Place {
    fn act(&mut self, label: impl Into<String>, at: &At<'_>, what: What) {
        let plain = match &at.node.content {
            Content::Scalar { value, style: Style::Plain } => Some(value.as_str()),
            _ => None,
        };
        self.actions.push(Action {
            label: label.into(),
            document: at.document,
            steps: at.steps.clone(),
            start: at.node.outer().start,
            old: at.node.scalar().map(str::to_owned),
            plain: plain.map(str::to_owned),
            items: at.node.items().map_or(0, <[_]>::len),
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

    /// A part of the scalar gets a new text.
    pub(super) fn inside(&mut self, at: &At<'_>, old: String, what: What) {
        let label = self.label.clone();
        self.act(label, at, what);
        if let Some(last) = self.actions.last_mut() {
            last.old = Some(old);
        }
    }

    /// The node becomes something else.
    pub(super) fn replace(&mut self, label: impl Into<String>, at: &At<'_>, value: Value) {
        self.act(label, at, What::Replace(value));
    }

    /// The mapping gets another key.
    pub(super) fn insert(
        &mut self,
        label: impl Into<String>,
        at: &At<'_>,
        key: &str,
        value: Value,
    ) {
        self.act(label, at, What::Insert(key.into(), value));
    }

    /// The sequence gets another item.
    pub(super) fn append(&mut self, label: impl Into<String>, at: &At<'_>, value: Value) {
        self.act(label, at, What::Append(value));
    }

    /// The node goes.
    pub(super) fn remove(&mut self, label: impl Into<String>, at: &At<'_>) {
        self.act(label, at, What::Remove);
    }
}
