//! Why files were not edited.

use std::fmt::Write as _;

use super::Flag;
use crate::gitops::splice;
use crate::gitops::{Classified, Kind};
use crate::yaml::YamlError;

/// Why files were not edited. No file is changed then.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text of a flag is not in its grammar.
    #[error("{} {text}: {problem}", flag.name())]
    Flag {
        /// The flag.
        flag: Flag,
        /// Its value.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file of `--edits` is not a list of edits.
    #[error("--edits {path}: {problem}")]
    List {
        /// The file.
        path: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// No file has what the edit is about.
    #[error("{edit}: nothing matches{}", lines("; there is", there))]
    NothingMatched {
        /// The edit, as it was written.
        edit: String,
        /// What there is in the files.
        there: Vec<String>,
        /// What to try next.
        hint: Option<String>,
    },
    /// Several places match where one was meant.
    #[error("{edit}: {} places match{}", places.len(), lines("", places))]
    Ambiguous {
        /// The edit, as it was written.
        edit: String,
        /// The places.
        places: Vec<String>,
    },
    /// Two edits want different values in one place.
    #[error("{first} and {second} are about one place, {place}")]
    Contradiction {
        /// One edit.
        first: String,
        /// The other one.
        second: String,
        /// The place.
        place: String,
    },
    /// A file is not UTF-8.
    #[error("{path}: it is not UTF-8, from byte {at} on")]
    NotText {
        /// The file.
        path: String,
        /// The first byte that is not.
        at: usize,
    },
    /// A file is no YAML.
    #[error("{path}")]
    NotYaml {
        /// The file.
        path: String,
        /// Whether it looks like a template.
        template: bool,
        /// What is wrong with it, and where.
        source: Box<YamlError>,
    },
    /// The place is found, but cannot be written.
    #[error("{edit}: {path}")]
    Write {
        /// The edit, as it was written.
        edit: String,
        /// The file.
        path: String,
        /// What stands in the way, and where.
        source: Box<splice::EditError>,
    },
    /// What is at the place is not what the edit can change.
    #[error("{edit}: {path}: {problem}")]
    Unsafe {
        /// The edit, as it was written.
        edit: String,
        /// The file.
        path: String,
        /// What stands in the way, and where.
        problem: String,
    },
}

/// A list, one item a line.
fn lines(head: &str, items: &[String]) -> String {
    const SHOWN: usize = 30;
    if items.is_empty() {
        return String::new();
    }
    let mut text = format!("{head}:");
    for item in items.iter().take(SHOWN) {
        text.push_str("\n  ");
        text.push_str(item);
    }
    if items.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", items.len() - SHOWN);
    }
    text
}

impl Classified for EditError {
    fn kind(&self) -> Kind {
        match self {
            Self::Flag { .. } | Self::Contradiction { .. } => Kind::Usage,
            Self::NothingMatched { .. } => Kind::NothingMatched,
            Self::Ambiguous { .. } => Kind::Ambiguous,
            Self::Write { source, .. } => source.kind(),
            Self::List { .. }
            | Self::NotText { .. }
            | Self::NotYaml { .. }
            | Self::Unsafe { .. } => Kind::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Ambiguous { .. } => {
                vec!["name the place more closely, or give --all to change each of them".into()]
            }
            Self::NothingMatched { hint: Some(hint), .. } => vec![hint.clone()],
            Self::NotYaml { template: true, .. } => vec![
                "a Go template is no YAML before it is rendered: mark the line with a comment \
                 (# yado: NAME) and use --marker, or change the values file"
                    .into(),
            ],
            Self::Write { source, .. } => source.hints(),
            _ => Vec::new(),
        }
    }
}
