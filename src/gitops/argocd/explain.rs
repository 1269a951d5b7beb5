//! Failures in words: what failed, and what the cluster has to say of it.

use std::fmt;
use std::time::Duration;

use super::backend::{Backend, Id};
use super::error::ApiError;
use super::model::{Key, Node, Tree};
use super::verdict::{Bad, Failure, Waiting};
use crate::gitops::{Classified, Kind};
use crate::report;

/// Resources that are looked into, and pods of each.
const RESOURCES: usize = 3;
const PODS: usize = 2;

/// Why an Application is not as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The interface did not give what was asked for.
    #[error("{app}")]
    Api {
        /// The Application.
        app: Id,
        /// Why.
        #[source]
        source: ApiError,
    },
    /// It will not become so.
    #[error("{app}: {failure}{}", below(.details))]
    Failed {
        /// The Application.
        app: Id,
        /// Why.
        failure: Failure,
        /// What else is known, line by line.
        details: Vec<String>,
    },
    /// It is not allowed now.
    #[error("{app}: {message}{}", below(.details))]
    Refused {
        /// The Application.
        app: Id,
        /// What the server said.
        message: String,
        /// What else is known, line by line.
        details: Vec<String>,
    },
    /// There is nothing that was asked for.
    #[error("{app}: {problem}")]
    Nothing {
        /// The Application.
        app: Id,
        /// What is missing.
        problem: String,
    },
    /// The time is over.
    #[error("{app}: not done within {}: it waits for {waiting}{}", report::duration(*.after), below(.details))]
    Timeout {
        /// The Application.
        app: Id,
        /// How long was waited.
        after: Duration,
        /// For what.
        waiting: Waiting,
        /// What else is known, line by line.
        details: Vec<String>,
        /// Whether a newer commit may be there that nobody could be asked about.
        unknown: bool,
    },
    /// A signal.
    #[error("{app}: interrupted by a signal{}", below(.details))]
    Stopped {
        /// The Application.
        app: Id,
        /// What was done about it.
        details: Vec<String>,
    },
    /// It is what was asked for, but for resources that should be removed.
    #[error("{app}: synced, but resources are left that should be removed{}", below(&names(.left)))]
    Unpruned {
        /// The Application.
        app: Id,
        /// Which ones.
        left: Vec<Key>,
    },
}

fn below(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + "\n  " + line)
}

fn names(keys: &[Key]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

impl Classified for SyncError {
    fn kind(&self) -> Kind {
        match self {
            Self::Api { source, .. } => source.kind(),
            Self::Failed { failure, .. } => failure.kind(),
            Self::Refused { .. } => Kind::Refused,
            Self::Nothing { .. } => Kind::NothingMatched,
            Self::Timeout { .. } => Kind::Timeout,
            Self::Stopped { .. } => Kind::Interrupted,
            Self::Unpruned { .. } => Kind::Unpruned,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Api { source, .. } => return source.hints(),
            Self::Failed { failure: Failure::Sources(_), .. } => {
                "--source-revision POSITION=COMMIT or NAME=COMMIT says which source is meant"
            }
            Self::Failed { failure: Failure::Busy { .. }, .. } => {
                "--on-busy wait waits for its end, --on-busy terminate ends it"
            }
            Self::Timeout { waiting: Waiting::Operation { by, .. }, .. } if !by.is_empty() => {
                "--on-busy terminate ends an operation of somebody else"
            }
            Self::Timeout { waiting: Waiting::Revision { .. }, unknown: true, .. } => {
                "whether the commit that was compared contains ours is not known; access to the \
                 repository tells, and then a newer commit is as good"
            }
            Self::Timeout { waiting: Waiting::Revision { .. }, .. } => {
                "the commit must be on the branch that the application follows"
            }
            Self::Unpruned { .. } => "--prune removes them",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// What went wrong with several Applications.
#[derive(Debug)]
pub struct Several {
    /// Of how many.
    pub all: usize,
    /// What went wrong.
    pub errors: Vec<SyncError>,
}

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([only], 1) = (self.errors.as_slice(), self.all) {
            return f.write_str(&report::chain(only));
        }
        write!(f, "{} of {} applications are not as they should be", self.errors.len(), self.all)?;
        for error in &self.errors {
            write!(f, "\n{}", report::chain(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for Several {}

impl Classified for Several {
    /// The gravest: what failed says more than what was not done in time.
    fn kind(&self) -> Kind {
        const ORDER: [Kind; 7] = [
            Kind::Failed,
            Kind::Refused,
            Kind::Conflict,
            Kind::Timeout,
            Kind::Unpruned,
            Kind::NothingMatched,
            Kind::Superseded,
        ];
        let rank = |kind: &Kind| ORDER.iter().position(|o| o == kind);
        let kinds = self.errors.iter().map(Classified::kind);
        kinds.min_by_key(rank).unwrap_or(Kind::Internal)
    }

    fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> = self.errors.iter().flat_map(Classified::hints).collect();
        hints.sort();
        hints.dedup();
        hints
    }
}

/// What the cluster has to say of resources that are not as they should be: events, and with
/// `logs` the last lines of their pods. What cannot be had is left out.
pub(super) async fn details<B: Backend>(
    backend: &B,
    id: &Id,
    bad: &[Bad],
    tree: &Tree,
    logs: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    let fetched;
    let tree = if tree.nodes.is_empty() && !bad.is_empty() {
        fetched = backend.tree(id).await.unwrap_or_default();
        &fetched
    } else {
        tree
    };
    for bad in bad.iter().take(RESOURCES) {
        let node = tree.nodes.iter().find(|node| node.key == bad.key);
        let uid = node.map(|node| node.uid.clone()).unwrap_or_default();
        let mut nodes = vec![(bad.key.clone(), uid)];
        let pods = node.map(|node| pods(tree, node)).unwrap_or_default();
        let of_pods = pods.iter().map(|pod| (pod.key.clone(), pod.uid.clone()));
        nodes.extend(of_pods.filter(|(key, _)| *key != bad.key));
        for (key, uid) in nodes {
            let events = backend.events(id, &key, &uid).await.unwrap_or_default();
            lines.extend(events.into_iter().map(|event| format!("event of {key}: {event}")));
            if logs && key.kind == "Pod" {
                match backend.logs(id, &key).await {
                    Ok(log) => {
                        lines.extend(log.into_iter().map(|line| format!("log of {key}: {line}")));
                    }
                    Err(error) => lines.push(format!("log of {key}: {}", report::chain(&error))),
                }
            }
        }
    }
    lines
}

/// The pods below a resource that are not well; the newest first.
fn pods<'a>(tree: &'a Tree, top: &Node) -> Vec<&'a Node> {
    let mut above = vec![top.uid.clone()];
    let mut found = Vec::new();
    while let Some(uid) = above.pop() {
        let children = tree.nodes.iter().filter(|node| {
            !uid.is_empty() && node.parent_refs.iter().any(|parent| parent.uid == uid)
        });
        for node in children {
            let healthy = node.health.as_ref().is_some_and(|health| health.status == "Healthy");
            if node.key.kind == "Pod" && !healthy {
                found.push(node);
            }
            // A tree cannot lead back, but what a server sends can.
            if found.len() + above.len() < tree.nodes.len() {
                above.push(node.uid.clone());
            }
        }
    }
    found.sort_by_key(|pod| std::cmp::Reverse(pod.created_at));
    found.dedup_by_key(|pod| &pod.uid);
    found.truncate(PODS);
    found
}
