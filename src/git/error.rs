//! What can go wrong with a repository elsewhere, in words for people.

use std::io;

use super::id::ObjectId;
use super::ssh::SshError;
use crate::net::NetError;

/// Why a repository could not be fetched or written out.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The repository cannot be reached over ssh.
    #[error("{remote}")]
    Ssh {
        /// The repository.
        remote: String,
        /// Why.
        #[source]
        source: Box<SshError>,
    },
    /// The server gives out only what a branch or tag points to, and this is not.
    #[error("{remote}: no branch or tag points to {id}, and the server gives out nothing else")]
    Unadvertised {
        /// The repository.
        remote: String,
        /// What was wanted.
        id: ObjectId,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("{remote}")]
    Net {
        /// The repository.
        remote: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// The server answered with an error.
    #[error("{remote}: {}", status_text(*.status, *.authorized))]
    Status {
        /// The repository.
        remote: String,
        /// The HTTP status.
        status: u16,
        /// Whether credentials were sent.
        authorized: bool,
    },
    /// What answers is no git server.
    #[error("{remote}: this is not a git server: {problem}")]
    NotGit {
        /// The repository.
        remote: String,
        /// What it answered.
        problem: String,
    },
    /// The server said something that the protocol does not know.
    #[error("{remote}: {problem}")]
    Protocol {
        /// The repository.
        remote: String,
        /// What.
        problem: String,
    },
    /// The server refused in its own words.
    #[error("{remote}: the server says: {message}{}", hint_for(.message))]
    Refused {
        /// The repository.
        remote: String,
        /// Its words.
        message: String,
    },
    /// The repository has no commit.
    #[error("{remote} is empty: it has no commit on its default branch")]
    Empty {
        /// The repository.
        remote: String,
    },
    /// There is no such branch or tag.
    #[error("{remote} has no branch or tag {name:?}{}", reference_hint(.name, .near))]
    NoReference {
        /// The repository.
        remote: String,
        /// What was asked for.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// A short id is that of several objects.
    #[error("{remote}: {name} is short for {}; which is meant?", .found.join(" and for "))]
    Ambiguous {
        /// The repository.
        remote: String,
        /// What was asked for.
        name: String,
        /// Their ids.
        found: Vec<String>,
    },
    /// No commit has an id that begins so.
    #[error(
        "{remote} has no branch or tag {name:?}, and no commit of its branches and tags begins with it"
    )]
    NoCommit {
        /// The repository.
        remote: String,
        /// What was asked for.
        name: String,
    },
    /// A refspec that cannot be followed.
    #[error("refspec {spec:?}: {problem}")]
    Refspec {
        /// The refspec.
        spec: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The directory to clone into holds something.
    #[error("{path} is not empty, it holds {holds:?}")]
    NotEmpty {
        /// The directory.
        path: String,
        /// One of its entries.
        holds: String,
    },
    /// The reference leads to another commit than expected.
    #[error("{remote}: expected checksum to match {expected}, got {found}")]
    Checksum {
        /// The repository.
        remote: String,
        /// What the id must begin with.
        expected: String,
        /// The commit that is there, and the tag that leads to it.
        found: String,
    },
    /// The directory is not in the commit.
    #[error("{remote} has no directory {subdir:?} in commit {commit}")]
    NoSubdir {
        /// The repository.
        remote: String,
        /// What was asked for.
        subdir: String,
        /// The commit.
        commit: String,
    },
    /// What was fetched is damaged or incomplete.
    #[error("{remote}: {problem}")]
    Pack {
        /// The repository.
        remote: String,
        /// What is wrong.
        problem: String,
    },
    /// A name in the tree that is not written.
    #[error("{remote}: {path:?} cannot be checked out: {problem}")]
    Path {
        /// The repository.
        remote: String,
        /// The path.
        path: String,
        /// Why.
        problem: &'static str,
    },
    /// A path that a repository cannot have.
    #[error("{path:?} is no path in a repository: name files from its root, without . and ..")]
    BadPath {
        /// The path.
        path: String,
    },
    /// Something else is where a file or a directory is needed.
    #[error("{remote}: {path:?} is {found}, not {expected}")]
    InTheWay {
        /// The repository.
        remote: String,
        /// Its path.
        path: String,
        /// What is there.
        found: &'static str,
        /// What would have to be there.
        expected: &'static str,
    },
    /// A file that is to be removed is not there.
    #[error("{remote} has no file {path:?}")]
    NoFile {
        /// The repository.
        remote: String,
        /// Its path.
        path: String,
    },
    /// A commit that git would not take.
    #[error("make a commit: {problem}")]
    Commit {
        /// What is wrong with it.
        problem: String,
    },
    /// A key that cannot sign commits.
    #[error("the signing key: {problem}")]
    SigningKey {
        /// What is wrong with it.
        problem: String,
    },
    /// The server cannot do what a push needs.
    #[error("{remote}: the server cannot {what}")]
    Unsupported {
        /// The repository.
        remote: String,
        /// What it cannot do.
        what: &'static str,
    },
    /// A push was sent and no answer came, so that nobody knows whether it was done: the reference
    /// must be read again.
    #[error("{remote}: the connection broke after the push was sent")]
    Unknown {
        /// The repository.
        remote: String,
        /// Why there is no answer.
        #[source]
        source: Box<GitError>,
    },
    /// A server of Git LFS does not give what the repository names.
    #[error("{server}: {problem}")]
    Lfs {
        /// The server.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// A submodule cannot be had.
    #[error("submodule {path:?}")]
    Submodule {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// `.gitmodules` does not say where a submodule is.
    #[error("{remote}: submodule {path:?}: {problem}")]
    Module {
        /// The repository.
        remote: String,
        /// The submodule's path.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be written or read on this machine.
    #[error("write {path}")]
    Io {
        /// The path in the work tree, or what else it is.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The caller wants no more of it.
    #[error("cancelled")]
    Stopped,
}

fn status_text(status: u16, authorized: bool) -> String {
    let hint = match (status, authorized) {
        (401 | 403, false) => "; it needs credentials: give a token with it, or check its name",
        (401 | 403, true) => "; the credentials were refused, or may not read this repository",
        (404 | 410, false) => {
            "; there is no such repository, or it is private and needs credentials"
        }
        (404 | 410, true) => "; there is no such repository, or the credentials may not read it",
        _ => "",
    };
    format!("the server answered with status {status}{hint}")
}

fn hint_for(message: &str) -> &'static str {
    if message.contains("not our ref") || message.contains("unadvertised object") {
        "; the server has no such commit, or gives out only what a branch or tag points to: name that"
    } else {
        ""
    }
}

fn reference_hint(name: &str, near: &[String]) -> String {
    let short_id = (4..40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    match near {
        [] if short_id => "; a commit is named by all of its digits".to_owned(),
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}
