//! Which kind of failure an error of git is.

use super::{Classified, Kind};
use crate::git::GitError;

impl Classified for GitError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoReference { .. }
            | Self::NoCommit { .. }
            | Self::NoSubdir { .. }
            | Self::NoFile { .. }
            | Self::Checksum { .. }
            | Self::Unadvertised { .. }
            | Self::Empty { .. } => Kind::NothingMatched,
            Self::Ambiguous { .. } => Kind::Ambiguous,
            Self::Refspec { .. } | Self::BadPath { .. } | Self::Commit { .. } => Kind::Usage,
            Self::Status { status: 401 | 403, .. } => Kind::Auth,
            Self::Status { status: 404 | 410, .. } => Kind::Missing,
            // There is no such commit.
            Self::Refused { message, .. } if message.contains("not our ref") => {
                Kind::NothingMatched
            }
            Self::Refused { .. } | Self::Unsupported { .. } => Kind::Refused,
            Self::Ssh { source, .. } if source.is_auth() => Kind::Auth,
            Self::Ssh { source, .. } if source.is_input() => Kind::Input,
            Self::Ssh { source, .. } if source.is_missing() => Kind::Missing,
            Self::Net { .. }
            | Self::Status { .. }
            | Self::NotGit { .. }
            | Self::Protocol { .. }
            | Self::Pack { .. }
            | Self::Lfs { .. }
            | Self::Ssh { .. } => Kind::Unreachable,
            Self::Path { .. }
            | Self::Module { .. }
            | Self::InTheWay { .. }
            | Self::SigningKey { .. } => Kind::Input,
            Self::Submodule { source, .. } | Self::Unknown { source, .. } => source.kind(),
            Self::NotEmpty { .. } | Self::Io { .. } => Kind::Output,
            Self::Stopped => Kind::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotEmpty { .. } => vec!["--delete-existing empties it".to_owned()],
            Self::Submodule { source, .. } => source.hints(),
            _ => Vec::new(),
        }
    }
}
