//! Why files were not edited.

use super::Flag;
use crate::gitops::{Classified, Kind};

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
    /// A file cannot be read as what it should be.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// The place is found, but cannot be changed without changing something else.
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
        text.push_str(&format!("\n  and {} more", items.len() - SHOWN));
    }
    text
}

impl Classified for EditError {
    fn kind(&self) -> Kind {
        match self {
            Self::Flag { .. } | Self::Contradiction { .. } => Kind::Usage,
            Self::NothingMatched { .. } => Kind::NothingMatched,
            Self::Ambiguous { .. } => Kind::Ambiguous,
            Self::List { .. } | Self::File { .. } | Self::Unsafe { .. } => Kind::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Ambiguous { .. } => {
                vec!["name the place more closely, or give --all to change each of them".into()]
            }
            Self::NothingMatched { hint: Some(hint), .. } => vec![hint.clone()],
            _ => Vec::new(),
        }
    }
}
