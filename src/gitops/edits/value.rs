//! A value at a path, in every document that has it.

use super::Typing;
use super::at::At;
use super::found::Matches;
use super::object::objects;
use crate::gitops::splice::{self, Key, PathExpr, select};
use crate::gitops::{Classified, Kind};
use crate::yaml::{Stream, Value};

/// A path, and what can be made if there is nothing at it.
pub(super) struct Path {
    whole: PathExpr,
    /// The path without its last step, and that step if it is a key.
    parent: Option<(PathExpr, String)>,
}

impl Path {
    /// Reads a path; an error is a sentence about it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let read = |text: &str| PathExpr::parse(text).map_err(|e| e.to_string());
        let whole = read(text)?;
        let (above, key) = match text.rsplit_once('.') {
            Some((above, key)) if !above.is_empty() => (above, key),
            _ => match text.rsplit_once(':') {
                Some((documents, key)) => (&text[..=documents.len()], key),
                None => (".", text),
            },
        };
        let bare = !key.is_empty() && !key.contains(['[', ']', '\\', '"', '\'', '*']);
        let above = if above.ends_with(':') { format!("{above}.") } else { above.to_owned() };
        let parent = match PathExpr::parse(&above) {
            Ok(parent) if bare => Some((parent, key.to_owned())),
            _ => None,
        };
        Ok(Self { whole, parent })
    }
}

/// The node of a place that was selected.
fn node<'a>(roots: &[At<'a>], target: &splice::Target) -> Option<At<'a>> {
    let root = roots.iter().find(|root| root.document == target.document)?.clone();
    target.path.iter().try_fold(root, |at, key| match key {
        Key::Name(name) => at.get(name),
        Key::Index(index) => at.items().into_iter().nth(*index),
    })
}

/// The scalars at a path; an error is a sentence with its place in front.
pub(super) fn find(
    text: &str,
    stream: &Stream,
    path: &Path,
    value: &str,
    typing: Typing,
    namespace: Option<&str>,
    add: bool,
) -> Result<Matches, splice::EditError> {
    let mut matches = Matches::default();
    let roots = At::roots(stream);
    let others: Vec<usize> = objects(stream)
        .iter()
        .filter(|object| namespace.is_some() && object.namespace != namespace)
        .map(|object| object.at.document)
        .collect();
    let nodes = |expression: &PathExpr| {
        let targets = select(text, stream, expression, true)?;
        let nodes = targets.iter().filter_map(|target| node(&roots, target));
        Ok(nodes.filter(|at| !others.contains(&at.document)).collect::<Vec<_>>())
    };
    match nodes(&path.whole) {
        Ok(found) => {
            for at in found {
                matches.set(&at.path(), &at, value.to_owned(), typing);
            }
        }
        Err(error) if missing(&error) => {
            let parents =
                path.parent.as_ref().filter(|_| add).map(|(above, key)| (nodes(above), key));
            if let Some((Ok(parents), key)) = parents {
                let new = match typing {
                    Typing::Raw => Value::Raw(value.to_owned()),
                    Typing::Kept | Typing::Text => Value::text(value),
                };
                for at in parents.iter().filter(|at| at.is_mapping()) {
                    let mut steps = at.steps.clone();
                    steps.push(Key::Name(key.clone()));
                    let label = splice::show(&steps);
                    matches.place(&label, at).insert(&label, at, key, new.clone());
                }
            }
            if matches.places.is_empty() {
                matches.there(error.to_string());
            }
        }
        Err(error) => return Err(error),
    }
    Ok(matches)
}

/// Whether an error says that there is nothing, which another file may have.
fn missing(error: &splice::EditError) -> bool {
    error.kind() == Kind::NothingMatched && !matches!(error.problem, splice::Problem::Merged { .. })
}
