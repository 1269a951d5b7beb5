//! Why the cluster did not do what it was asked, in words for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::net::NetError;

/// Why something could not be asked, or was not done.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A kubeconfig, or a part of it, cannot be used.
    #[error("{place}: {problem}")]
    Config {
        /// The file, and where in it.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A file that the configuration names cannot be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program that gives the credentials has none.
    #[error("credentials by {program}: {problem}")]
    Plugin {
        /// The program.
        program: String,
        /// What went wrong.
        problem: String,
        /// What the kubeconfig says about where to get it.
        install: Option<String>,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("{call} at {server}")]
    Net {
        /// What was asked.
        call: Box<Call>,
        /// Who was asked.
        server: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// The server answered with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// What answers is no Kubernetes API server.
    #[error("{server} does not answer as a Kubernetes API server: {problem}")]
    Strange {
        /// Who was asked.
        server: String,
        /// What it answered.
        problem: String,
    },
    /// No resource has this name.
    #[error("the server has no resource type {name:?}")]
    UnknownType {
        /// What was asked for.
        name: String,
    },
}

/// What was asked of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The verb, by which roles allow it: get, list, watch, create, patch.
    pub verb: &'static str,
    /// The resource as roles name it, with a subresource behind a slash: `pods/log`.
    pub resource: String,
    /// The group of the resource; empty for the core.
    pub group: String,
    /// The namespace; empty for what has none.
    pub namespace: String,
    /// The object; empty for all.
    pub name: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, group, namespace, name } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        if !namespace.is_empty() {
            write!(f, " in {namespace}")?;
        }
        Ok(())
    }
}

/// An error in the server's own words (a `Status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub call: Call,
    /// The HTTP status.
    pub code: u16,
    /// The reason, such as `AlreadyExists`; empty if the server gave none.
    pub reason: String,
    /// What the server says.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match (self.message.is_empty(), self.reason.is_empty()) {
            (false, _) => self.message.as_str(),
            (true, false) => self.reason.as_str(),
            (true, true) => "no reason was given",
        };
        write!(f, "{}: {} (HTTP {})", self.call, said.trim(), self.code)
    }
}

impl KubernetesError {
    /// The server's refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the object, or its type, is not there.
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == 404)
    }

    /// Whether the caller may not do that.
    pub fn is_forbidden(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == 403)
    }

    /// Whether an object of this name exists already.
    pub fn already_exists(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.reason == "AlreadyExists")
    }

    /// Whether the server no longer knows the version that it was asked about.
    pub fn is_gone(&self) -> bool {
        let gone = |refusal: &Refusal| {
            refusal.code == 410 || matches!(refusal.reason.as_str(), "Expired" | "Gone")
        };
        self.refusal().is_some_and(gone)
    }

    /// Whether the same may be another answer a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Net { source, .. } => source.is_transient(),
            Self::Refused(refusal) => crate::net::is_transient(refusal.code),
            _ => false,
        }
    }

    /// The rule of a Role that the refused request needs: verb, resource and group.
    pub fn missing_rule(&self) -> Option<String> {
        let Refusal { call, code: 403, .. } = self.refusal()? else { return None };
        Some(format!(
            "verbs [{}] on resources [{}] of apiGroups [{:?}]",
            call.verb, call.resource, call.group
        ))
    }
}
