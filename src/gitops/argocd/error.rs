//! Why the interface did not give what was asked for.

use crate::gitops::{Classified, Kind};
use crate::kubernetes::KubernetesError;
use crate::net::{Cause, NetError, is_transient};

/// Why a request was not answered as it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address, or another thing that was given.
    #[error("{0}")]
    Given(String),
    /// There is no answer.
    #[error("{request}")]
    Net {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// The answer took too long.
    #[error("{request}: no answer within {seconds} s")]
    Slow {
        /// Method and URL.
        request: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The token is none, or has expired.
    #[error("{request}: the server wants other credentials: {message}")]
    Unauthenticated {
        /// Method and URL.
        request: String,
        /// What the server said.
        message: String,
    },
    /// User name and password were refused.
    #[error("log in as {username}: {message}")]
    Login {
        /// The user.
        username: String,
        /// What the server said.
        message: String,
    },
    /// The token cannot be read.
    #[error("read the token from {path}: {problem}")]
    Token {
        /// The file.
        path: String,
        /// Why not.
        problem: String,
    },
    /// It is not allowed, or not there: the server says the same of both.
    #[error("{what}: permission denied, or there is no such application: {message}")]
    Denied {
        /// What was to be done.
        what: String,
        /// What the server said.
        message: String,
    },
    /// It is not there.
    #[error("{what}: there is no such application: {message}")]
    NotFound {
        /// What was to be done.
        what: String,
        /// What the server said.
        message: String,
    },
    /// A window forbids it.
    #[error("{message}")]
    Window {
        /// What the server said.
        message: String,
    },
    /// An operation is under way.
    #[error("{message}")]
    Busy {
        /// What the server said.
        message: String,
    },
    /// The server will not do it.
    #[error("{request}: {status} {message}")]
    Status {
        /// Method and URL.
        request: String,
        /// The status of HTTP.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// Somebody else has answered.
    #[error("{request}: {status} with {what}, which is not the interface of Argo CD")]
    Foreign {
        /// Method and URL.
        request: String,
        /// The status of HTTP.
        status: u16,
        /// What the answer was.
        what: String,
    },
    /// The answer does not say what it should.
    #[error("{request}: {problem}")]
    Answer {
        /// Method and URL.
        request: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The cluster did not do what was asked for.
    #[error(transparent)]
    Cluster(#[from] KubernetesError),
    /// The application was removed while it was waited for.
    #[error("the application was removed")]
    Removed,
}

impl ApiError {
    /// Whether the same may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Net { source, .. } => source.is_transient(),
            Self::Slow { .. } => true,
            Self::Cluster(source) => source.is_transient(),
            Self::Status { status, .. } | Self::Foreign { status, .. } => is_transient(*status),
            _ => false,
        }
    }
}

impl Classified for ApiError {
    fn kind(&self) -> Kind {
        match self {
            Self::Given(_) => Kind::Usage,
            Self::Cluster(source) => source.kind(),
            Self::Unauthenticated { .. } | Self::Login { .. } | Self::Denied { .. } => Kind::Auth,
            Self::Token { .. } => Kind::Missing,
            Self::NotFound { .. } | Self::Removed => Kind::NothingMatched,
            Self::Window { .. } | Self::Status { status: 400..=499, .. } => Kind::Refused,
            Self::Busy { .. } => Kind::Conflict,
            Self::Net { .. }
            | Self::Slow { .. }
            | Self::Status { .. }
            | Self::Foreign { .. }
            | Self::Answer { .. } => Kind::Unreachable,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Cluster(source) => return source.hints(),
            Self::Net { source: NetError::Exchange { cause, .. }, .. } => match cause {
                Cause::UnknownIssuer => "--ca-file names the certificate to trust",
                Cause::NotTls => "--plaintext speaks http to a server without TLS",
                _ => return Vec::new(),
            },
            Self::Unauthenticated { .. } => {
                "tokens of a session last 24 hours; --username and --password-file log in anew when \
                 one expires, and tokens of a project's role last as long as they were made for"
            }
            Self::Denied { .. } => {
                "without --project Argo CD says the same of an application that is not there as of \
                 one that may not be seen; it takes `applications, get` and `applications, sync`"
            }
            Self::Foreign { .. } => {
                "--root-path names the path of Argo CD behind a proxy; a page of a log-in means \
                 that a proxy wants credentials of its own, for which there is --header"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
