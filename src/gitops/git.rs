//! Which kind of failure an error of git is.

use super::{Classified, Kind};
use crate::git::GitError;

impl Classified for GitError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoReference { .. }
            | Self::NoSubdir { .. }
            | Self::Checksum { .. }
            | Self::NoFile { .. }
            | Self::Empty { .. } => Kind::NothingMatched,
            Self::Status { status: 401 | 403, .. } => Kind::Auth,
            Self::Status { status: 404 | 410, .. } => Kind::Missing,
            // There is no such commit.
            Self::Refused { message, .. } if message.contains("not our ref") => {
                Kind::NothingMatched
            }
            Self::Refused { .. } | Self::Unsupported { .. } => Kind::Refused,
            Self::BadPath { .. } | Self::Commit { .. } => Kind::Usage,
            Self::Net { .. }
            | Self::Status { .. }
            | Self::NotGit { .. }
            | Self::Protocol { .. }
            | Self::Pack { .. }
            | Self::Unknown { .. }
            | Self::Ssh { .. } => Kind::Unreachable,
            Self::Path { .. } | Self::Module { .. } | Self::InTheWay { .. } => Kind::Input,
            Self::Submodule { source, .. } => source.kind(),
            Self::Io { .. } => Kind::Output,
            Self::Stopped => Kind::Interrupted,
        }
    }
}
