//! Writes what was found into the text.

use super::found::{Action, What};
use super::{Typing, marker};
use crate::gitops::splice::{Change, EditError, Key, apply};
use crate::yaml::{self, Value};

/// The text with what `actions` ask for; an error is a sentence with its place in front.
pub(super) fn nodes(text: &str, actions: &[&Action]) -> Result<String, EditError> {
    let changes: Vec<Change> = actions.iter().map(|action| change(action)).collect();
    apply(text, &changes)
}

fn change(action: &Action) -> Change {
    let (document, mut path) = (action.document, action.steps.clone());
    match &action.what {
        What::Set(text, typing) => {
            let raw = match typing {
                Typing::Raw => true,
                Typing::Text => false,
                Typing::Kept => action.plain.as_ref().is_some_and(|old| stays(old, text)),
            };
            let value = if raw { Value::Raw(text.clone()) } else { Value::Text(text.clone()) };
            Change::set(document, path, value)
        }
        What::Inside { whole, .. } => Change::set(document, path, Value::Text(whole.clone())),
        What::Replace(value) => Change::set(document, path, value.clone()),
        What::Insert(key, value) => {
            path.push(Key::Name(key.clone()));
            Change::insert(document, path, value.clone())
        }
        What::Append(value) => {
            path.push(Key::Index(action.items));
            Change::insert(document, path, value.clone())
        }
        What::Remove => Change::remove(document, path),
    }
}

/// Whether a plain scalar of another type than text keeps its type with a new text: it is of the
/// same type for all readers, and a number is written as any program would write it, so that
/// `1.9` and `1.10`, which are versions, become `"1.10"` and not 1.1.
fn stays(old: &str, new: &str) -> bool {
    let (kind, other) = (yaml::core(old), yaml::core(new));
    let number = |text: &str| match yaml::core(text) {
        yaml::Kind::Int => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
        yaml::Kind::Float => text.parse::<f64>().is_ok_and(|number| number.to_string() == text),
        _ => false,
    };
    match (kind, other) {
        (yaml::Kind::Bool, yaml::Kind::Bool) => matches!(new, "true" | "false"),
        (yaml::Kind::Int | yaml::Kind::Float, yaml::Kind::Int | yaml::Kind::Float) => number(new),
        _ => false,
    }
}

/// The same for a file that is no YAML: each action is a value on a line, which must be the value
/// of the same marker afterwards.
pub(super) fn lines(text: &str, actions: &[&Action]) -> Result<String, String> {
    let mut new = text.to_owned();
    // From the end, so that what is in front stays where it is.
    let mut actions = actions.to_vec();
    actions.sort_by_key(|action| std::cmp::Reverse(action.start));
    for action in &actions {
        let (What::Set(value, _), Some(old)) = (&action.what, &action.old) else {
            return Err("only a value on a line can be changed in a file that is no YAML".into());
        };
        if value == old {
            continue;
        }
        if value.contains(|c: char| c.is_control() || "\"'\\{}#".contains(c)) {
            return Err(format!("{value:?} cannot be written into a file that is no YAML"));
        }
        let end = action.start + old.len();
        let before = new[..action.start].chars().next_back();
        let quoted = matches!(before, Some('"' | '\''));
        let in_yaml = matches!(before, Some(' ' | '\t'));
        if in_yaml && !quoted && !yaml::is_string_for_all(value) {
            new.replace_range(action.start..end, &format!("\"{value}\""));
        } else {
            new.replace_range(action.start..end, value);
        }
    }
    let values = |text: &str| -> Vec<Option<String>> {
        let markers = marker::in_lines(text);
        let value = |marker| marker::value(text, marker).ok().map(|v| text[v.span].to_owned());
        markers.iter().map(value).collect()
    };
    let mut wanted = values(text);
    let starts: Vec<Option<usize>> = marker::in_lines(text)
        .iter()
        .map(|marker| marker::value(text, marker).ok().map(|value| value.span.start))
        .collect();
    for action in &actions {
        let place = starts.iter().position(|start| *start == Some(action.start));
        if let (Some(place), What::Set(value, _)) = (place, &action.what) {
            wanted[place] = Some(value.clone());
        }
    }
    if values(&new) != wanted || text.lines().count() != new.lines().count() {
        return Err("a fault of yado: the text would not be what was asked for".into());
    }
    Ok(new)
}
