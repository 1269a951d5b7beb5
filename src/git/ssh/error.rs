//! What can go wrong between this client and a server of ssh, in words for people.

use std::io;
use std::path::PathBuf;

use crate::net::NetError;

/// Why a repository cannot be reached over ssh.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The URL does not say where the repository is.
    #[error("this is no address of a repository over ssh: {problem}")]
    Address {
        /// Why not.
        problem: &'static str,
    },
    /// A file that was given cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key that was given cannot be used.
    #[error("the ssh key {}: {problem}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The configuration says something that has no meaning.
    #[error("{}:{line}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A fingerprint that is none.
    #[error(
        "{0:?} is no fingerprint of a host key; one looks like SHA256:AbC…, as `ssh-keygen -lf` prints it"
    )]
    Fingerprint(String),
    /// The agent cannot be asked.
    #[error("the ssh agent at {}: {problem}", path.display())]
    Agent {
        /// Its socket.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to log in with.
    #[error(
        "there is no ssh key to log in with: neither a key file, nor a directory of keys, nor an agent that has one"
    )]
    NoKey,
    /// The host's key is not to be trusted.
    #[error(transparent)]
    Host(#[from] HostKeyError),
    /// The server cannot be reached, or the connection broke.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The two sides do not come to an understanding.
    #[error("ssh: {}", said(.0))]
    Protocol(#[source] russh::Error),
    /// The server does not take any of the keys.
    #[error(
        "the server does not let {user:?} in with {}{}",
        shown(.tried),
        if *closed { "; it has closed the connection, as it does after too many keys" } else { "" }
    )]
    Refused {
        /// As whom.
        user: String,
        /// What was shown.
        tried: Vec<String>,
        /// Whether it ended the connection.
        closed: bool,
    },
    /// The server will not run the command.
    #[error("the server does not run {0}")]
    NoCommand(&'static str),
    /// The command at the other side ended with an error.
    #[error("{}{}", remote_text(message, *status), hint_for(message))]
    Remote {
        /// What it wrote to standard error, on one line.
        message: String,
        /// Its exit code.
        status: Option<u32>,
    },
}

/// Why the key of a host is not trusted. All say which key was offered and where was looked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// Nothing is known of the host.
    #[error(
        "the key of {host} is not known: it shows {offered}, and {}. If this fingerprint is what the host's operator publishes, give it as the host's, or add the host's line to known_hosts",
        looked(.files)
    )]
    Unknown {
        /// The host, with its port if it is an unusual one.
        host: String,
        /// Algorithm and fingerprint of the key.
        offered: String,
        /// Files of host keys.
        files: Vec<PathBuf>,
    },
    /// The host is known by another key.
    #[error(
        "THE KEY OF {host} IS NOT THE ONE THAT IS KNOWN. Somebody may stand between this machine and the host, or the host has a new key. It shows {offered}; {}:{line} knows {known}. Nothing was sent. Ask the host's operator; if the key was changed, replace that line",
        file.display()
    )]
    Changed {
        /// The host.
        host: String,
        /// Algorithm and fingerprint of the key.
        offered: String,
        /// Where another one stands.
        file: PathBuf,
        /// The line there.
        line: usize,
        /// Algorithm and fingerprint of what stands there.
        known: String,
    },
    /// The key was revoked.
    #[error(
        "the key of {host} is revoked: it shows {offered}, which {}:{line} forbids. Somebody else may have this key; the host needs a new one",
        file.display()
    )]
    Revoked {
        /// The host.
        host: String,
        /// Algorithm and fingerprint of the key.
        offered: String,
        /// Where it says so.
        file: PathBuf,
        /// The line there.
        line: usize,
    },
    /// It is none of the keys that were given by fingerprint.
    #[error(
        "the key of {host} has none of the fingerprints that were given: it shows {offered}, expected {}. Somebody may stand between this machine and the host",
        expected.join(" or ")
    )]
    Pinned {
        /// The host.
        host: String,
        /// Algorithms and fingerprints of the keys that it has shown.
        offered: String,
        /// What was given.
        expected: Vec<String>,
    },
    /// The host's certificate is not good for it.
    #[error("the certificate of {host}, for {offered}, is not good: {problem}")]
    Certificate {
        /// The host.
        host: String,
        /// Algorithm and fingerprint of the key in it.
        offered: String,
        /// Why.
        problem: String,
    },
}

impl SshError {
    /// Whether the same may go well a moment later.
    pub(in crate::git) fn is_transient(&self) -> bool {
        match self {
            Self::Net(error) => error.is_transient(),
            Self::Protocol(error) => {
                matches!(error, russh::Error::HUP | russh::Error::Disconnect | russh::Error::IO(_))
            }
            _ => false,
        }
    }

    /// Whether other keys, or none at all, are what is wrong.
    pub fn is_auth(&self) -> bool {
        matches!(self, Self::NoKey | Self::Refused { .. } | Self::Host(_) | Self::Agent { .. })
    }

    /// Whether a file, a flag or the URL is what is wrong.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Address { .. }
                | Self::Read { .. }
                | Self::Key { .. }
                | Self::Config { .. }
                | Self::Fingerprint(_)
        )
    }

    /// Whether the server says that there is no such repository, or none for this user.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Remote { message, .. } if says_missing(message))
    }
}

fn said(error: &russh::Error) -> String {
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!("no common {kind:?} algorithm; the server has {}", theirs.join(", "))
        }
        russh::Error::Disconnect | russh::Error::HUP => {
            "the server has closed the connection".to_owned()
        }
        other => other.to_string(),
    }
}

fn shown(keys: &[String]) -> String {
    match keys {
        [one] => format!("the key {one}"),
        keys => format!("any of the keys {}", keys.join(", ")),
    }
}

fn looked(files: &[PathBuf]) -> String {
    match files {
        [] => "no file of host keys was given".to_owned(),
        files => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            format!("{} says nothing of it", files.join(", "))
        }
    }
}

fn remote_text(message: &str, status: Option<u32>) -> String {
    match (message, status) {
        ("", Some(status)) => format!("the server's git ended with code {status}"),
        ("", None) => "the server's git ended without an answer".to_owned(),
        (message, _) => format!("the server says: {message}"),
    }
}

fn says_missing(message: &str) -> bool {
    let message = message.to_lowercase();
    ["does not appear to be a git repository", "not found", "does not exist", "no such file"]
        .iter()
        .any(|text| message.contains(text))
}

fn hint_for(message: &str) -> &'static str {
    if says_missing(message) {
        "; there is no such repository, or this key may not read it"
    } else if message.contains("dubious ownership") {
        "; the server's git does not trust the repository's owner"
    } else {
        ""
    }
}
