//! Why a text is not changed.

use crate::gitops::{Classified, Kind};
use crate::yaml::{Place, YamlError};

/// Why a text is not changed. Shown as `line:column: problem`, to be put behind a file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct EditError {
    /// Where in the text it is.
    pub place: Place,
    /// What it is.
    pub problem: Problem,
}

/// What is in the way of a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is no YAML.
    #[error("{text}")]
    Unreadable {
        /// Why.
        text: String,
        /// Whether it looks like a template.
        template: bool,
    },
    /// There is no such document.
    #[error("there is no document {index}: there are {count}, from 0")]
    NoDocument {
        /// Which was asked for.
        index: i64,
        /// How many there are.
        count: usize,
    },
    /// The path ends before its target.
    #[error("nothing at `{path}`: `{reached}` has {}", list(.known))]
    NotFound {
        /// The path.
        path: String,
        /// How far it goes.
        reached: String,
        /// What there is.
        known: Vec<String>,
    },
    /// More than one thing matches.
    #[error("`{path}` is {} places: {}", .places.len(), list(.places))]
    Ambiguous {
        /// The path.
        path: String,
        /// Where, each as `line:column path`.
        places: Vec<String>,
    },
    /// A scalar cannot replace a collection.
    #[error("`{path}` is {what}, not a single value")]
    NotScalar {
        /// The path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// What is changed is used elsewhere.
    #[error("`{path}` has the anchor `&{anchor}`, which is used at {} too: a change here would be one there", list(.others))]
    Shared {
        /// The path to the node with the anchor.
        path: String,
        /// Its name.
        anchor: String,
        /// Where the aliases are, as `line:column`.
        others: Vec<String>,
    },
    /// What is changed is written elsewhere.
    #[error(
        "`{path}` is the alias `*{alias}`: it is written at {target}, and a change there would be one here"
    )]
    Alias {
        /// The path to the alias.
        path: String,
        /// Its name.
        alias: String,
        /// Where the anchor is.
        target: Place,
    },
    /// What is changed comes from a merge key.
    #[error("`{path}` is not here; there is a merge key `<<`, which it may come from")]
    Merged {
        /// The path.
        path: String,
    },
    /// A key on the way is there twice.
    #[error("`{path}` is there twice; readers differ in which one counts")]
    Twice {
        /// The path.
        path: String,
    },
    /// What is inserted is there.
    #[error("`{path}` is there already")]
    Exists {
        /// The path.
        path: String,
    },
    /// The place has a type that the new value has not.
    #[error("`{path}` has the tag `{tag}`, which the new value would have too")]
    Tagged {
        /// The path.
        path: String,
        /// The tag as it is written.
        tag: String,
    },
    /// A text that is to be written as it stands is no single value.
    #[error("`{value}` cannot be written as it stands: it is not one plain value here")]
    Raw {
        /// The text.
        value: String,
    },
    /// Two changes of one place.
    #[error("`{path}` is changed in two ways at once")]
    Overlap {
        /// The path.
        path: String,
    },
    /// A kind of place that is not changed.
    #[error("`{path}` cannot be changed: {reason}")]
    Unsupported {
        /// The path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// The result is not what was asked for, and is not handed out.
    #[error(
        "a fault of yado: the text would differ at `{path}` from what was asked for; nothing was changed"
    )]
    Wrong {
        /// Where.
        path: String,
    },
}

impl EditError {
    /// A problem at a place of a text.
    pub fn at(text: &str, offset: usize, problem: Problem) -> Self {
        Self { place: Place::of(text, offset), problem }
    }

    /// A text that cannot be read.
    pub(super) fn unreadable(text: &str, error: &YamlError) -> Self {
        let template = text.contains("{{");
        let problem = Problem::Unreadable { text: error.problem.clone(), template };
        Self { place: error.place, problem }
    }
}

impl Classified for EditError {
    fn kind(&self) -> Kind {
        match &self.problem {
            Problem::NoDocument { .. } | Problem::NotFound { .. } | Problem::Merged { .. } => {
                Kind::NothingMatched
            }
            Problem::Ambiguous { .. } => Kind::Ambiguous,
            Problem::Raw { .. } | Problem::Overlap { .. } => Kind::Usage,
            Problem::Wrong { .. } => Kind::Internal,
            _ => Kind::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match &self.problem {
            Problem::Unreadable { template: true, .. } => {
                "this looks like a Go template, which is no YAML before it is rendered: mark the \
                 line with a comment and change it by marker, or change the values file"
            }
            Problem::Shared { .. } => "change both on purpose: write the value out in both places",
            Problem::Alias { .. } => "change the value where it is written",
            Problem::Ambiguous { .. } => "say which one with `[key=value]`, or change all",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// What there is, shortened.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names {
        [] => "nothing".to_owned(),
        names if names.len() > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
        }
        names => names.join(", "),
    }
}
