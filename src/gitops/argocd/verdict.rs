//! What is decided about an Application, and how it is put into words.

use std::fmt;
use std::time::Duration;

use super::goal::Refresh;
use super::model::{Application, Key, OperationState, Resource};
use crate::gitops::Kind;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something else is seen.
    Wait(Waiting),
    /// The same, or until this time, by the clock that decisions are made with.
    Again(Duration, Waiting),
    /// Find out which commits contain which.
    Ask(Vec<Question>),
    /// Find out which resources have the labels that were asked for.
    Label,
    /// Have it compared.
    Refresh(Refresh),
    /// Start a sync, of these revisions by source, or of none in particular.
    Sync(Vec<Option<String>>),
    /// End the operation that is under way.
    Terminate,
    /// It is as it should be.
    Done(Outcome),
    /// It will not be.
    Fail(Failure),
}

/// Whether a commit of a source contains ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Which source, from 0.
    pub source: usize,
    /// The commit that may contain ours.
    pub head: String,
    /// Ours.
    pub ours: String,
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// The first observation.
    #[default]
    Begin,
    /// An observation that knows of our own doing.
    Stale,
    /// The comparison that was asked for.
    Refresh,
    /// A comparison with our commit; this one was seen.
    Revision {
        /// What was compared last.
        seen: String,
    },
    /// The rendering of our commit.
    Hydration {
        /// What was rendered last.
        seen: String,
    },
    /// The end of an operation.
    Operation {
        /// Whose it is; empty for ours.
        by: String,
        /// Which attempt it waits to make.
        retry: Option<i64>,
        /// What it says.
        message: String,
    },
    /// A comparison after the operation.
    Comparison,
    /// Being synced.
    Sync,
    /// The end of an error that may pass.
    Condition {
        /// What it says.
        message: String,
    },
    /// Being healthy.
    Health {
        /// What it is instead.
        status: String,
        /// Why.
        message: String,
    },
    /// Staying well for the time that was asked for.
    Settle,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("an answer of the server"),
            Self::Stale => f.write_str("news of our own sync"),
            Self::Refresh => f.write_str("the comparison that was asked for"),
            Self::Revision { seen } if seen.is_empty() => {
                f.write_str("a comparison with our commit")
            }
            Self::Revision { seen } => {
                write!(f, "a comparison with our commit; the last one was with {seen}")
            }
            Self::Hydration { seen } if seen.is_empty() => f.write_str("our commit to be rendered"),
            Self::Hydration { seen } => {
                write!(f, "our commit to be rendered; the last one is {seen}")
            }
            Self::Operation { by, retry, message } => {
                match retry {
                    Some(retry) => write!(f, "attempt {retry} of the operation")?,
                    None => f.write_str("the operation")?,
                }
                if !by.is_empty() {
                    write!(f, " of {by}")?;
                }
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::Comparison => f.write_str("a comparison after the operation"),
            Self::Sync => f.write_str("it to be synced"),
            Self::Condition { message } => write!(f, "the end of an error: {message}"),
            Self::Health { status, message } => {
                let status = if status.is_empty() { "unknown" } else { status };
                write!(f, "health; it is {status}")?;
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::Settle => f.write_str("it to stay well"),
        }
    }
}

/// How an Application is in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The revisions that it was compared with, by source.
    pub revisions: Vec<String>,
    /// `Synced` or what it is instead.
    pub sync: String,
    /// `Healthy` or what it is instead.
    pub health: String,
    /// How the last operation ended; empty if there never was one.
    pub phase: String,
    /// What should not be there.
    pub unpruned: Vec<Key>,
}

impl Outcome {
    /// As it is seen.
    pub fn of(app: &Application, unpruned: Vec<Key>) -> Self {
        let status = &app.status;
        Self {
            revisions: app.compared().into_iter().map(str::to_owned).collect(),
            sync: status.sync.status.clone(),
            health: status.health.status.clone(),
            phase: status.operation_state.as_ref().map(|s| s.phase.clone()).unwrap_or_default(),
            unpruned,
        }
    }
}

/// A resource that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Which one.
    pub key: Key,
    /// What it is.
    pub state: String,
    /// Why.
    pub message: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.state)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl Bad {
    /// A resource that differs.
    pub fn out_of_sync(resource: &Resource) -> Self {
        let state = if resource.requires_pruning { "should not be there" } else { "OutOfSync" };
        Self { key: resource.key.clone(), state: state.to_owned(), message: String::new() }
    }

    /// Those that are not healthy, or, where none has said so, that are not yet.
    pub fn unhealthy(resources: &[Resource]) -> Vec<Self> {
        let of = |statuses: &[&str]| -> Vec<Self> {
            let health = resources.iter().filter_map(|r| Some((r, r.health.as_ref()?)));
            health
                .filter(|(_, health)| statuses.contains(&health.status.as_str()))
                .map(|(resource, health)| Self {
                    key: resource.key.clone(),
                    state: health.status.clone(),
                    message: health.message.clone(),
                })
                .collect()
        };
        let bad = of(&["Degraded", "Missing"]);
        if bad.is_empty() { of(&["Progressing", "Unknown", "Suspended"]) } else { bad }
    }
}

/// Why an Application will not be as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The commits that are expected are of no source, or of too many.
    Sources(String),
    /// Of what was asked for there is nothing.
    Nothing(String),
    /// Somebody's operation is under way.
    Busy {
        /// Whose.
        by: String,
        /// What it applies.
        revision: String,
    },
    /// The operation failed.
    Operation {
        /// `Failed` or `Error`.
        phase: String,
        /// What it says.
        message: String,
        /// What could not be applied.
        bad: Vec<Bad>,
    },
    /// A hook failed.
    Hook(Vec<Bad>),
    /// An error stands on the Application.
    Condition {
        /// Its type.
        kind: String,
        /// What it says.
        message: String,
    },
    /// Our commit could not be rendered.
    Hydration {
        /// Our commit.
        revision: String,
        /// Why.
        message: String,
    },
    /// A window holds the operation back.
    Window(String),
    /// It was applied, and still differs.
    OutOfSync(Vec<Bad>),
    /// It is degraded or not there.
    Health {
        /// Which of them.
        status: String,
        /// Why.
        message: String,
        /// Which resources are.
        bad: Vec<Bad>,
    },
    /// Pods will not run.
    Pods(Vec<Bad>),
    /// Each sync was overtaken by a newer commit.
    Overtaken,
}

impl Failure {
    /// Of an operation that has failed.
    pub fn of_operation(state: &OperationState) -> Self {
        let results = state.sync_result.iter().flat_map(|result| &result.resources);
        let bad = results
            .filter(|result| {
                result.status == "SyncFailed"
                    || matches!(result.hook_phase.as_str(), "Failed" | "Error")
            })
            .map(|result| {
                let hook = !result.hook_type.is_empty();
                let state = if hook {
                    format!("{} hook {}", result.hook_type, result.hook_phase)
                } else {
                    "not applied".to_owned()
                };
                Bad { key: result.key.clone(), state, message: result.message.clone() }
            })
            .collect();
        Self::Operation { phase: state.phase.clone(), message: state.message.clone(), bad }
    }

    /// The resources that it is about.
    pub fn bad(&self) -> &[Bad] {
        match self {
            Self::Operation { bad, .. }
            | Self::Health { bad, .. }
            | Self::Hook(bad)
            | Self::OutOfSync(bad)
            | Self::Pods(bad) => bad,
            _ => &[],
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sources(_) => Kind::Usage,
            Self::Nothing(_) => Kind::NothingMatched,
            Self::Busy { .. } => Kind::Conflict,
            Self::Window(_) => Kind::Refused,
            Self::Overtaken => Kind::Superseded,
            _ => Kind::Failed,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sources(problem) | Self::Nothing(problem) => f.write_str(problem)?,
            Self::Busy { by, revision } => {
                write!(f, "an operation of {by} is under way")?;
                if !revision.is_empty() {
                    write!(f, ", of {revision}")?;
                }
            }
            Self::Operation { phase, message, .. } => {
                write!(f, "the sync ended with {phase}")?;
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
            }
            Self::Window(message) => f.write_str(message)?,
            Self::Hook(_) => f.write_str("a hook failed")?,
            Self::Condition { kind, message } => write!(f, "{kind}: {message}")?,
            Self::Hydration { revision, message } => {
                write!(f, "{revision} could not be rendered: {message}")?;
            }
            Self::OutOfSync(_) => f.write_str("it was applied, and still differs")?,
            Self::Health { status, message, .. } => {
                write!(f, "it is {status}")?;
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
            }
            Self::Pods(_) => f.write_str("its pods do not run")?,
            Self::Overtaken => f.write_str("newer commits came faster than they were synced")?,
        }
        for bad in self.bad() {
            write!(f, "\n  {bad}")?;
        }
        Ok(())
    }
}
