//! Writes what was found.
use super::at::Step;
use super::found::{Action, What};
use crate::yaml::{Content, Stream, Style};

/// A text that was written.
pub(super) struct Written {
    /// The new text.
    pub(super) text: String,
    /// Which actions have changed something.
    pub(super) done: Vec<usize>,
}

pub(super) fn nodes(text: &str, stream: &Stream, actions: &[&Action]) -> Result<Written, String> {
    let mut splices = vec![];
    let mut done = vec![];
    for (i, a) in actions.iter().enumerate() {
        let What::Set(new, _) = &a.what else { return Err("todo".into()) };
        if a.old.as_deref() == Some(new) {
            continue;
        }
        let mut node = stream.documents[a.document].root.as_ref().unwrap();
        for s in &a.steps {
            node = match s {
                Step::Key(k) => node.get(k).unwrap(),
                Step::Index(i) => &node.items().unwrap()[*i],
            };
        }
        let Content::Scalar { style, .. } = &node.content else { return Err("not scalar".into()) };
        let t = match style {
            Style::SingleQuoted => format!("'{new}'"),
            Style::DoubleQuoted => format!("\"{new}\""),
            _ if crate::yaml::is_string_for_all(new) => new.clone(),
            _ => format!("\"{new}\""),
        };
        splices.push((node.span.clone(), t));
        done.push(i);
    }
    splices.sort_by_key(|s| s.0.start);
    let mut out = text.to_owned();
    for (s, t) in splices.into_iter().rev() {
        out.replace_range(s, &t);
    }
    Ok(Written { text: out, done })
}

pub(super) fn lines(_text: &str, _actions: &[&Action]) -> Result<Written, String> {
    Err("todo".into())
}
