//! Why no run was started, or why it failed, in words for people.

use crate::gitops::{Classified, Kind};
use crate::kubernetes::KubernetesError;
use crate::report;

/// Why a trigger failed.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// The API server was not reached, or refused.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// A flag's value.
    #[error("{0}")]
    Usage(String),
    /// The file with the run says something wrong.
    #[error("{place}: {problem}")]
    File {
        /// The file, and where in it.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The hook's Job is of no Application.
    #[error(
        "job {job} carries no trace of an Argo CD Application: neither the annotation \
             argocd.argoproj.io/tracking-id nor the label {label}"
    )]
    NoApplication {
        /// The Job.
        job: String,
        /// The label that was looked for.
        label: String,
    },
    /// The Application has not been synced.
    #[error("application {application} has no revision yet")]
    NoRevision {
        /// The Application.
        application: String,
    },
    /// Another run has the name.
    #[error("a PipelineRun {name} is there already, and it is another one")]
    Taken {
        /// The name.
        name: String,
    },
    /// The run has failed.
    #[error("pipelinerun {name}: {}{}", report::message_line(.message), .details)]
    Failed {
        /// The run.
        name: String,
        /// The reason and what Tekton says.
        message: String,
        /// The tasks that failed, each on a line of its own.
        details: String,
    },
    /// The run was deleted.
    #[error("pipelinerun {name} was deleted while it was watched")]
    Deleted {
        /// The run.
        name: String,
    },
}

impl Classified for TriggerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Kubernetes(error) => error.kind(),
            Self::Usage(_) => Kind::Usage,
            Self::File { .. } => Kind::Input,
            Self::NoApplication { .. } | Self::NoRevision { .. } => Kind::NothingMatched,
            Self::Taken { .. } => Kind::Conflict,
            Self::Failed { .. } | Self::Deleted { .. } => Kind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Kubernetes(error) => error.hints(),
            Self::NoApplication { .. } => {
                vec!["--application names it, --revision goes without".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}
