//! Why a rollout did not come to its end, in words for people.

use std::fmt;
use std::time::Duration;

use super::trouble::Trouble;
use crate::gitops::{Classified, Kind};
use crate::kubernetes::KubernetesError;
use crate::report;

/// Why a step with workloads failed.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The API server was not reached, or refused.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// What was asked for makes no sense.
    #[error("{object}: {problem}")]
    Usage {
        /// The object, or what names it.
        object: String,
        /// What is wrong.
        problem: String,
    },
    /// Nothing has the name or the labels.
    #[error("{what}")]
    Nothing {
        /// What was looked for, and what there is.
        what: String,
    },
    /// The object is in a state that does not allow it.
    #[error("{object}: {problem}")]
    Refused {
        /// The object.
        object: String,
        /// Why.
        problem: String,
    },
    /// Others changed it again and again meanwhile.
    #[error("{object}: it was changed by others {attempts} times meanwhile")]
    Conflict {
        /// The object.
        object: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A rollout has failed.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The object is gone.
    #[error("{object} was deleted while it was watched")]
    Deleted {
        /// The object.
        object: String,
    },
    /// Somebody has changed the template meanwhile.
    #[error("{object}: {problem}")]
    Superseded {
        /// The object.
        object: String,
        /// What it is now.
        problem: String,
    },
    /// The time is over.
    #[error("not done within {}: {}", report::duration(*.time), .waiting.join("; "))]
    Timeout {
        /// The time that there was.
        time: Duration,
        /// Each object that is not done, and how far it is.
        waiting: Vec<String>,
    },
}

/// A rollout that has failed, and what is known about why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The object.
    pub object: String,
    /// The reason.
    pub trouble: Trouble,
    /// What the cluster reported about the pod or the object last.
    pub events: Vec<String>,
    /// What the container has written last.
    pub log: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, report::message_line(&self.trouble.to_string()))?;
        for event in &self.events {
            write!(f, "\n  event: {}", report::message_line(event))?;
        }
        for line in &self.log {
            write!(f, "\n  log: {}", report::message_line(line))?;
        }
        Ok(())
    }
}

impl Classified for RolloutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Kubernetes(error) => error.kind(),
            Self::Usage { .. } => Kind::Usage,
            Self::Nothing { .. } => Kind::NothingMatched,
            Self::Refused { .. } => Kind::Refused,
            Self::Conflict { .. } => Kind::Conflict,
            Self::Failed(_) | Self::Deleted { .. } => Kind::Failed,
            Self::Superseded { .. } => Kind::Superseded,
            Self::Timeout { .. } => Kind::Timeout,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Kubernetes(error) => error.hints(),
            Self::Failed(failure) => match failure.trouble.reason.as_str() {
                "ImagePullBackOff" | "ErrImagePull" => {
                    vec!["is the image pushed, and do the pods have an imagePullSecret?".to_owned()]
                }
                "FailedScheduling" | "FailedCreate" => {
                    vec!["--grace gives the cluster longer to find room".to_owned()]
                }
                "Paused" => vec!["`kubectl rollout resume` lets it go on".to_owned()],
                _ => Vec::new(),
            },
            Self::Timeout { .. } => vec!["--timeout gives it more time".to_owned()],
            _ => Vec::new(),
        }
    }
}
