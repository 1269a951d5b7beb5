//! Why there is no pull request.

use std::time::Duration;

use super::Service;
use crate::gitops::{Classified, Kind};
use crate::net::NetError;
use crate::report;

/// Why there is no pull request.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The repository's URL has no place for an owner and a name.
    #[error("{repository} is no repository of a service with pull requests")]
    Location {
        /// The URL, without credentials.
        repository: String,
    },
    /// Which service it is cannot be told from the host's name.
    #[error("which service is at {host}?")]
    Service {
        /// The host.
        host: String,
    },
    /// The token cannot be sent.
    #[error("the token of the API holds characters that no token has")]
    Token,
    /// The service cannot be reached, or the connection broke.
    #[error("{request}")]
    Net {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// The service says no.
    #[error("{request}: {status}{}", says(.message))]
    Status {
        /// The service.
        service: Service,
        /// Method and URL.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The service wants to be left alone for longer than can be waited.
    #[error("{request}: {} allows no more requests for {}", service.name(), report::duration(*.wait))]
    Limited {
        /// The service.
        service: Service,
        /// Method and URL.
        request: String,
        /// For how long.
        wait: Duration,
    },
    /// The answer is not what the service's documentation says.
    #[error("{request}: the answer has no {what}")]
    Malformed {
        /// Method and URL.
        request: String,
        /// What is missing.
        what: &'static str,
    },
    /// Something that the pull request is to have and that the service does not have.
    #[error("{} has no {what} {name:?}", service.name())]
    Unknown {
        /// The service.
        service: Service,
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something that cannot be had this way.
    #[error("{0}")]
    Unsupported(String),
}

fn says(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Classified for ForgeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Location { .. } | Self::Service { .. } | Self::Token | Self::Unsupported(_) => {
                Kind::Usage
            }
            Self::Unknown { .. } => Kind::NothingMatched,
            Self::Net { .. } | Self::Malformed { .. } | Self::Limited { .. } => Kind::Unreachable,
            Self::Status { status: 401 | 403 | 404, .. } => Kind::Auth,
            Self::Status { status, .. } if *status >= 500 => Kind::Unreachable,
            Self::Status { .. } => Kind::Refused,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Service { .. } => "--pr-provider github|gitlab|gitea says it",
            Self::Status { service, status: 401 | 403 | 404, .. } => match service {
                Service::GitHub => {
                    "the token must be allowed to write contents and pull requests of this repository (the scope repo of a classic token)"
                }
                Service::GitLab => {
                    "the token must have the scope api and the role Developer in this project; a job token may not open merge requests"
                }
                Service::Gitea => {
                    "the token must have the scope write:repository, and write:issue for labels and assignees"
                }
            },
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
