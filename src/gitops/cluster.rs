//! What kind of failure a cluster's refusal is, and what to try next.

use super::{Classified, Kind};
use crate::kubernetes::{KubernetesError, Refusal};

impl Classified for KubernetesError {
    fn kind(&self) -> Kind {
        match self {
            Self::Config { .. } => Kind::Input,
            Self::Read { .. } => Kind::Missing,
            Self::Plugin { .. } => Kind::Auth,
            Self::Net { .. } | Self::Strange { .. } => Kind::Unreachable,
            Self::UnknownType { .. } => Kind::NothingMatched,
            Self::Refused(refusal) => of_refusal(refusal),
        }
    }

    fn hints(&self) -> Vec<String> {
        if let Some(rule) = self.missing_rule() {
            return vec![format!("a Role that is bound to the caller has to allow {rule}")];
        }
        match self {
            Self::Plugin { install: Some(install), .. } => vec![install.clone()],
            Self::Refused(refusal) if refusal.code == 401 => {
                vec!["the token has run out, or is another server's".to_owned()]
            }
            Self::UnknownType { .. } => {
                vec!["`kubectl api-resources` lists what the server has".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

fn of_refusal(refusal: &Refusal) -> Kind {
    match refusal.code {
        401 | 403 => Kind::Auth,
        404 => Kind::NothingMatched,
        409 => Kind::Conflict,
        408 | 504 => Kind::Timeout,
        // A value that the server, or an admission webhook, does not take.
        400..=499 => Kind::Refused,
        _ => Kind::Unreachable,
    }
}
