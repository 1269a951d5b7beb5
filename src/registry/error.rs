//! What a registry refused, and what to do about it.

use crate::image::{Digest, DocumentError};
use crate::net::{Cause, NetError, Request, Response};
use crate::store::{BlobError, StoreError};

use super::CredentialsError;

/// What went wrong with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There was no answer.
    #[error("{request}: {error}{}", hint(host, error))]
    Unreachable {
        /// Method and URL without its query.
        request: String,
        /// The registry's host.
        host: String,
        /// Why; part of the message.
        error: NetError,
    },
    /// The registry, or its token server, said no.
    #[error("{request}: {status}{detail}{advice}")]
    Refused {
        /// Method and URL without its query.
        request: String,
        /// The status.
        status: u16,
        /// The registry's own code and message.
        detail: Detail,
        /// What to do; begins with its separator.
        advice: String,
    },
    /// The answer is not one of the protocol.
    #[error("{request}: {problem}")]
    Protocol {
        /// Method and URL without its query.
        request: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// Content is not what its digest says, more than once.
    #[error("{request}: the content has the digest {actual}, expected {expected}")]
    Digest {
        /// Method and URL without its query.
        request: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Content has another length than announced, or than any document may have.
    #[error("{request}: {problem}")]
    Length {
        /// Method and URL without its query.
        request: String,
        /// Which lengths.
        problem: String,
    },
    /// The manifest cannot be read.
    #[error("{request}")]
    Document {
        /// Method and URL without its query.
        request: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// The user's credentials cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The store could not take or give a blob.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sort of an error, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not logged in, or not allowed.
    Auth,
    /// There is no such image or blob.
    NotFound,
    /// The registry cannot be reached or used at the moment.
    Unreachable,
    /// The registry does not keep to the protocol, or refused a request as wrong.
    Protocol,
    /// Content is not what it was said to be.
    Content,
    /// The local store failed.
    Store,
}

impl RegistryError {
    /// The sort of the error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { error: NetError::Redirect { .. }, .. } | Self::Protocol { .. } => {
                Kind::Protocol
            }
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Refused { status: 401 | 403, .. } | Self::Credentials(_) => Kind::Auth,
            Self::Refused { detail, .. } if detail.is_bad_grant() => Kind::Auth,
            Self::Refused { status: 404, .. } => Kind::NotFound,
            Self::Refused { status, .. } if crate::net::is_transient(*status) => Kind::Unreachable,
            Self::Refused { .. } => Kind::Protocol,
            Self::Digest { .. } | Self::Length { .. } | Self::Document { .. } => Kind::Content,
            Self::Store(_) => Kind::Store,
        }
    }

    pub(super) fn protocol(request: &Request, problem: impl Into<String>) -> Self {
        Self::Protocol { request: request.to_string(), problem: problem.into() }
    }

    pub(super) fn length(request: &Request, problem: String) -> Self {
        Self::Length { request: request.to_string(), problem }
    }
}

impl From<BlobError> for RegistryError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

/// The registry's own words: the first entry of its errors document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// A code such as `DENIED`.
    pub code: Option<String>,
    /// Its message, one line.
    pub message: Option<String>,
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl Detail {
    /// The most that is read of an error.
    const LIMIT: usize = 64 * 1024;

    /// Reads what an answer says about its refusal.
    pub(super) async fn read(response: &mut Response) -> Self {
        match response.read(Self::LIMIT).await {
            Ok((bytes, _)) => Self::parse(&bytes),
            Err(_) => Self::default(),
        }
    }

    /// Whether a token server did not take the refresh token, which it says with
    /// status 400 (RFC 6749, section 5.2).
    fn is_bad_grant(&self) -> bool {
        self.code.as_deref() == Some("invalid_grant")
    }

    fn parse(bytes: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else {
            // Proxies answer in HTML, which is of no use on a line.
            let text = String::from_utf8_lossy(bytes);
            let plain = !text.trim_start().starts_with('<') && !text.trim().is_empty();
            return Self { code: None, message: plain.then(|| line(&text)) };
        };
        let first = value.pointer("/errors/0").unwrap_or(&value);
        let text = |keys: [&str; 4]| {
            keys.into_iter()
                .find_map(|key| first.get(key)?.as_str().filter(|t| !t.trim().is_empty()))
                .map(line)
        };
        // Token servers have forms of their own (OAuth 2, Docker Hub's).
        Self {
            code: text(["code", "error", "", ""]),
            message: text(["message", "error_description", "details", "detail"]),
        }
    }
}

/// The first part of a server's text, safe for a terminal.
fn line(text: &str) -> String {
    let clean: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    clean.trim_end().to_owned()
}

/// What to do about a status; begins with its separator.
pub(super) fn advice(status: u16, detail: &Detail, host: &str) -> String {
    match status {
        401 => format!("; log in with `docker login {host}` or check user name and password"),
        403 => format!("; check the rights of the user that is logged in at {host}"),
        _ if detail.is_bad_grant() => format!("; log in again with `docker login {host}`"),
        _ => String::new(),
    }
}

/// What to do about a missing answer; begins with its separator.
fn hint(host: &str, error: &NetError) -> String {
    let NetError::Exchange { cause, .. } = error else { return String::new() };
    match cause {
        Cause::UnknownIssuer => format!(
            "; if {host} has a certificate authority of its own, name it with --registry-certificate FILE"
        ),
        Cause::NotTls => {
            format!("; is the registry plain http? name it with --insecure-registry {host}")
        }
        Cause::Dns => format!("; check the name {host:?}"),
        Cause::ConnectionRefused => format!("; is a registry running at {host}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_and_token_servers_say() {
        for (text, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#, " DENIED: no way"),
            (r#"{"errors":[{"code":"DENIED","detail":{"x":1}}]}"#, " DENIED"),
            (r#"{"details":"incorrect username or password"}"#, ": incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"old"}"#, " invalid_grant: old"),
            ("<html>nginx</html>", ""),
            ("slow down", ": slow down"),
            ("", ""),
        ] {
            assert_eq!(Detail::parse(text.as_bytes()).to_string(), expected, "{text}");
        }
    }
}
