//! Which places of a text a path means.

use super::path::{Condition, Filter, Step};
use super::{EditError, Key, PathExpr, Problem, show};
use crate::yaml::{Content, Node, Place, Stream, is_merge};

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which document, from 0.
    pub document: usize,
    /// Where in it.
    pub path: Vec<Key>,
}

/// The places that a path matches in a text, which `stream` was read from.
///
/// Nothing is an error that tells what there is where the path ends; more than one is an error,
/// unless `all` are wanted. Documents in which the path matches nothing do not count.
pub fn select(
    text: &str,
    stream: &Stream,
    path: &PathExpr,
    all: bool,
) -> Result<Vec<Target>, EditError> {
    let mut places = documents(text, stream, path)?;
    for (depth, step) in path.steps.iter().enumerate() {
        let next: Vec<Reached<'_>> = places.iter().flat_map(|place| place.follow(step)).collect();
        if next.is_empty() {
            return Err(nothing(text, path, depth, &places));
        }
        places = next;
    }
    if places.len() > 1 && !all {
        let places: Vec<String> = places.iter().map(|place| place.describe(text)).collect();
        let problem = Problem::Ambiguous { path: path.to_string(), places };
        return Err(EditError::at(text, 0, problem));
    }
    Ok(places.into_iter().map(|place| place.target).collect())
}

/// A node on the way, and how it was reached.
struct Reached<'a> {
    target: Target,
    node: &'a Node,
}

fn documents<'a>(
    text: &str,
    stream: &'a Stream,
    path: &PathExpr,
) -> Result<Vec<Reached<'a>>, EditError> {
    let count = stream.documents.len();
    let mut places = Vec::new();
    for (document, content) in stream.documents.iter().enumerate() {
        let Some(node) = &content.root else { continue };
        let matches = path.documents.iter().all(|filter| match filter {
            Filter::Number(number) => from_end(*number, count) == Some(document),
            Filter::Where(condition) => holds(node, condition),
        });
        if matches {
            places.push(Reached { target: Target { document, path: Vec::new() }, node });
        }
    }
    if places.is_empty() {
        let number = path.documents.iter().find_map(|filter| match filter {
            Filter::Number(number) => Some(*number),
            Filter::Where(_) => None,
        });
        let problem = match number {
            Some(index) if from_end(index, count).is_none() => Problem::NoDocument { index, count },
            _ => Problem::NotFound {
                path: path.to_string(),
                reached: ".".to_owned(),
                known: stream
                    .documents
                    .iter()
                    .filter_map(|document| name(document.root.as_ref()?))
                    .collect(),
            },
        };
        return Err(EditError::at(text, 0, problem));
    }
    Ok(places)
}

/// What a Kubernetes object is called.
fn name(root: &Node) -> Option<String> {
    let kind = root.get("kind")?.scalar()?;
    let name = root.at(&["metadata", "name"]).and_then(Node::scalar).unwrap_or_default();
    Some(format!("{kind}/{name}"))
}

fn from_end(index: i64, count: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(count as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < count)
}

fn holds(node: &Node, condition: &Condition) -> bool {
    let path: Vec<&str> = condition.path.iter().map(String::as_str).collect();
    node.at(&path).and_then(Node::scalar) == Some(condition.value.as_str())
}

impl<'a> Reached<'a> {
    fn follow(&self, step: &Step) -> Vec<Reached<'a>> {
        match (step, &self.node.content) {
            (Step::Name(name), Content::Mapping { pairs, .. }) => {
                let found = pairs.iter().find(|(key, _)| key.scalar() == Some(name.as_str()));
                found
                    .map(|(_, value)| self.below(Key::Name(name.clone()), value))
                    .into_iter()
                    .collect()
            }
            (Step::Index(index), Content::Sequence { items, .. }) => {
                let index = from_end(*index, items.len());
                index
                    .map(|index| self.below(Key::Index(index), &items[index]))
                    .into_iter()
                    .collect()
            }
            (Step::Where(condition), Content::Sequence { items, .. }) => {
                let items = items.iter().enumerate().filter(|(_, item)| holds(item, condition));
                items.map(|(index, item)| self.below(Key::Index(index), item)).collect()
            }
            (Step::All, Content::Sequence { items, .. }) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.below(Key::Index(index), item)).collect()
            }
            (Step::All, Content::Mapping { pairs, .. }) => pairs
                .iter()
                .filter(|(key, _)| !is_merge(key))
                .filter_map(|(key, value)| Some(self.below(key.scalar()?.into(), value)))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn below(&self, key: Key, node: &'a Node) -> Reached<'a> {
        let mut path = self.target.path.clone();
        path.push(key);
        Reached { target: Target { document: self.target.document, path }, node }
    }

    fn describe(&self, text: &str) -> String {
        let place = Place::of(text, self.node.outer().start);
        format!("{place} {}", show(&self.target.path))
    }
}

/// Why no place has the next step.
fn nothing(text: &str, path: &PathExpr, depth: usize, places: &[Reached<'_>]) -> EditError {
    let Some(first) = places.first() else {
        return EditError::at(text, 0, Problem::NoDocument { index: 0, count: 0 });
    };
    let offset = first.node.outer().start;
    if let Content::Alias { name, target } = &first.node.content {
        let problem = Problem::Alias {
            path: show(&first.target.path),
            alias: name.clone(),
            target: Place::of(text, *target),
        };
        return EditError::at(text, offset, problem);
    }
    let merged = |place: &Reached<'_>| {
        place.node.pairs().is_some_and(|pairs| pairs.iter().any(|(key, _)| is_merge(key)))
    };
    if matches!(path.steps.get(depth), Some(Step::Name(_))) && places.iter().any(merged) {
        return EditError::at(text, offset, Problem::Merged { path: path.to_string() });
    }
    let mut known: Vec<String> = Vec::new();
    for name in places.iter().flat_map(|place| known_below(place.node, path.steps.get(depth))) {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let reached = show(&first.target.path);
    EditError::at(text, offset, Problem::NotFound { path: path.to_string(), reached, known })
}

/// What there is below a node, in the words of the step that finds none of it.
pub(super) fn known_below(node: &Node, step: Option<&Step>) -> Vec<String> {
    match &node.content {
        Content::Mapping { pairs, .. } => {
            pairs.iter().filter_map(|(key, _)| key.scalar()).map(|key| format!("`{key}`")).collect()
        }
        Content::Sequence { items, .. } => match step {
            Some(Step::Where(Condition { path, .. })) => {
                let keys: Vec<&str> = path.iter().map(String::as_str).collect();
                let values = items.iter().filter_map(|item| item.at(&keys)?.scalar());
                values.map(|value| format!("`[{}={value}]`", keys.join("."))).collect()
            }
            _ if items.is_empty() => Vec::new(),
            _ => vec![format!("items `[0]` to `[{}]`", items.len() - 1)],
        },
        Content::Scalar { value, .. } if node.is_absent() || value.is_empty() => Vec::new(),
        Content::Scalar { .. } => vec!["a single value".to_owned()],
        Content::Alias { name, .. } => vec![format!("the alias `*{name}`")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    const TEXT: &str = "kind: A\nmetadata: {name: x}\nimages:\n- {name: a, tag: 1}\n- {name: b, tag: 2}\n\
                        ---\n---\nkind: B\nmetadata: {name: y}\nbase: &b {k: 1}\nuse: *b\nm: {<<: *b, l: 2}\n";

    fn found(path: &str, all: bool) -> String {
        let stream = parse(TEXT).unwrap();
        match select(TEXT, &stream, &PathExpr::parse(path).unwrap(), all) {
            Ok(targets) => {
                let show = |target: &Target| format!("{}:{}", target.document, show(&target.path));
                targets.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn paths_match_places() {
        let table = [
            ("images[0].tag", "0:images[0].tag"),
            ("images[-1].tag", "0:images[1].tag"),
            ("images[name=b].tag", "0:images[1].tag"),
            ("base.k", "2:base.k"),
            ("@0:kind", "0:kind"),
            ("@-1:kind", "2:kind"),
            ("@[metadata.name=y]:kind", "2:kind"),
            (".", "1:1: `.` is 2 places: 1:1 ., 8:1 ."),
            ("kind", "1:1: `kind` is 2 places: 1:7 kind, 8:7 kind"),
            (
                "images[*].tag",
                "1:1: `images[*].tag` is 2 places: 4:18 images[0].tag, 5:18 images[1].tag",
            ),
            ("images[2]", "4:1: nothing at `images[2]`: `images` has items `[0]` to `[1]`"),
            (
                "images[name=c].tag",
                "4:1: nothing at `images[name=c].tag`: `images` has `[name=a]`, `[name=b]`",
            ),
            ("base.x", "10:7: nothing at `base.x`: `base` has `k`"),
            ("kind.x", "1:7: nothing at `kind.x`: `kind` has a single value"),
            (
                "use.k",
                "11:6: `use` is the alias `*b`: it is written at 10:7, and a change there would be one here",
            ),
            ("m.k", "12:4: `m.k` is not here; there is a merge key `<<`, which it may come from"),
            ("@3:a", "1:1: there is no document 3: there are 3, from 0"),
            ("@[kind=C]:a", "1:1: nothing at `@[kind=C]:a`: `.` has A/x, B/y"),
        ];
        for (path, expected) in table {
            assert_eq!(found(path, false), expected, "{path}");
        }
        assert_eq!(found("images[*].tag", true), "0:images[0].tag 0:images[1].tag");
        assert_eq!(found("images[0].*", true), "0:images[0].name 0:images[0].tag");
    }
}
