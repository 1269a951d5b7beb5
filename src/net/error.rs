//! Why a request got no answer, told apart as far as a hint depends on it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A certificate file cannot be used.
    #[error("read certificates from {path}: {problem}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A certificate or key that was given as text cannot be used.
    #[error("{what}: {problem}")]
    Pem {
        /// Whose it is.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The client cannot be made of its options.
    #[error("prepare the HTTP client: {0}")]
    Options(String),
    /// The exchange broke off or never began.
    #[error("{cause}")]
    Exchange {
        /// Why, as far as it is known.
        cause: Cause,
        /// The error underneath, without its URL, which may hold a secret.
        #[source]
        source: reqwest::Error,
    },
    /// A connection that is not http broke off or was never made.
    #[error("{cause}")]
    Connection {
        /// Why, as far as it is known.
        cause: Cause,
        /// The error underneath.
        #[source]
        source: io::Error,
    },
    /// Nothing moved for too long.
    #[error("no progress for {} seconds", .0.as_secs_f32())]
    Stalled(Duration),
    /// A redirect that is not followed.
    #[error("redirect to {to:?} not followed: {problem}")]
    Redirect {
        /// Where it points, without its query.
        to: String,
        /// Why it is not followed.
        problem: &'static str,
    },
}

/// What broke an exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The name has no address.
    #[error("the host name cannot be resolved")]
    Dns,
    /// Nobody listens there.
    #[error("connection refused")]
    ConnectionRefused,
    /// The certificate is signed by nobody known.
    #[error("the certificate is signed by an unknown authority")]
    UnknownIssuer,
    /// Other trouble with TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The other side does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// Connecting took too long.
    #[error("timed out")]
    Timeout,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl NetError {
    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stalled(_) => true,
            Self::Exchange { cause, .. } | Self::Connection { cause, .. } => {
                !matches!(cause, Cause::UnknownIssuer | Cause::Tls(_) | Cause::NotTls)
            }
            _ => false,
        }
    }

    pub(super) fn connection(cause: Cause, source: io::Error) -> Self {
        Self::Connection { cause, source }
    }

    /// The other side has closed the connection before it had said all.
    pub fn closed() -> Self {
        Self::io(io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    pub(super) fn io(source: io::Error) -> Self {
        let cause = match source.kind() {
            io::ErrorKind::ConnectionRefused => Cause::ConnectionRefused,
            io::ErrorKind::TimedOut => Cause::Timeout,
            _ => Cause::Broken(source.to_string()),
        };
        Self::connection(cause, source)
    }

    pub(super) fn exchange(source: reqwest::Error) -> Self {
        let source = source.without_url();
        Self::Exchange { cause: cause(&source), source }
    }
}

fn cause(error: &reqwest::Error) -> Cause {
    let mut innermost = error.to_string();
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = next {
        innermost = error.to_string();
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return tls_cause(tls);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Cause::ConnectionRefused;
            }
            // An io::Error hides what it wraps from source().
            Some(io) => match io.get_ref() {
                Some(inner) => Some(inner),
                None => error.source(),
            },
            None => error.source(),
        };
    }
    if error.is_timeout() {
        Cause::Timeout
    } else if error.is_connect() && error.is_dns() {
        Cause::Dns
    } else {
        Cause::Broken(innermost)
    }
}

fn tls_cause(error: &rustls::Error) -> Cause {
    match error {
        // `Other` is a self-signed certificate that calls itself an authority.
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::Other(_),
        ) => Cause::UnknownIssuer,
        rustls::Error::InvalidMessage(_) => Cause::NotTls,
        other => Cause::Tls(other.to_string()),
    }
}
