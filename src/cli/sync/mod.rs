//! `yado sync`: Argo CD makes a commit live, and this waits until it is.

mod access;
mod flags;
mod history;
mod options;

use std::future::pending;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;

use super::exit::CliError;
use super::step::{Results, Step, signalled};
use crate::gitops::argocd::{
    self, ApiError, Backend, Filter, Goal, Id, Info, Report, Settings, Several, SyncError,
};
use crate::gitops::{Classified, Kind};
use crate::report;
use access::Way;
pub(super) use flags::Flags;
use history::History;

/// Nothing was found by labels or project.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error("find the applications")]
    Api(#[from] ApiError),
    #[error("no application matches")]
    None,
    #[error("not done within {}: the applications are not yet found", report::duration(*.0))]
    Timeout(std::time::Duration),
    #[error("interrupted by a signal")]
    Signal,
}

impl Classified for FindError {
    fn kind(&self) -> Kind {
        match self {
            Self::Api(source) => source.kind(),
            Self::None => Kind::NothingMatched,
            Self::Timeout(_) => Kind::Timeout,
            Self::Signal => Kind::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Api(source) => source.hints(),
            _ => Vec::new(),
        }
    }
}

/// What it tells at the end.
const RESULTS: [&str; 5] = ["revision", "sync-status", "health", "operation-phase", "duration"];

/// Runs the command.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, CliError> {
    let step = flags.step.begin(&RESULTS)?;
    let goal = flags.goal(marker())?;
    let reports = match flags.access.way(&step)? {
        Way::Server(client) => drive(flags, &step, &client, &goal)?,
        Way::Core(core) => drive(flags, &step, &core, &goal)?,
    };
    finish(step, reports)
}

/// What marks operations as this run's: a name that no other run has.
fn marker() -> Info {
    // Every RandomState is seeded anew.
    let random = std::hash::RandomState::new().build_hasher().finish();
    Info { name: "yado-run".to_owned(), value: format!("{random:016x}") }
}

fn drive<B: Backend>(
    flags: &Flags,
    step: &Step,
    backend: &B,
    goal: &Goal,
) -> Result<Vec<Report>, CliError> {
    let settings = Settings {
        deadline: step.deadline.into(),
        timeout: step.timeout,
        terminate: flags.wait.terminate_on_timeout,
        logs: flags.wait.logs_on_failure,
        rollback: flags.wait.rollback_on_failure,
        edits: flags.what.edits(),
    };
    let history = Arc::new(History::new(flags.git.client(step)?, step));
    let (ending, ended) = watch::channel(false);
    let work = async {
        let ids = tokio::select! {
            biased;
            ids = find(flags, backend) => ids?,
            () = signalled() => return Err(FindError::Signal),
            () = tokio::time::sleep_until(settings.deadline) => {
                return Err(FindError::Timeout(step.timeout));
            }
        };
        let signals = async {
            signalled().await;
            let _ = ending.send(true);
            pending::<()>().await;
        };
        tokio::select! {
            reports = argocd::run(backend, &history, ids, goal, &settings, &step.sink, &ended) => {
                Ok(reports)
            }
            () = signals => Ok(Vec::new()),
        }
    };
    step.run_to_its_own_end(work)
}

/// The applications that are meant.
async fn find<B: Backend>(flags: &Flags, backend: &B) -> Result<Vec<Id>, FindError> {
    let namespace = || flags.app_namespace.clone();
    if !flags.apps.is_empty() {
        let id = |name: &String| {
            let (namespace, name) = match name.split_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), name),
                None => (namespace(), name.as_str()),
            };
            Id { name: name.to_owned(), namespace, project: flags.project.clone() }
        };
        let mut ids: Vec<Id> = Vec::new();
        for id in flags.apps.iter().map(id) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        return Ok(ids);
    }
    let filter = Filter {
        selector: flags.selector.clone().unwrap_or_default(),
        project: flags.project.clone().unwrap_or_default(),
        namespace: namespace(),
    };
    let found = backend.list(&filter).await?;
    if found.is_empty() {
        return Err(FindError::None);
    }
    Ok(found
        .into_iter()
        .map(|app| Id {
            name: app.metadata.name,
            namespace: Some(app.metadata.namespace)
                .filter(|namespace| !namespace.is_empty())
                .or_else(namespace),
            project: Some(app.spec.project).filter(|project| !project.is_empty()),
        })
        .collect())
}

/// Writes the results, whatever they are, then fails if an application is not as it should be.
fn finish(step: Step, reports: Vec<Report>) -> Result<ExitCode, CliError> {
    let mut results = Results::default();
    let several = reports.len() > 1;
    let mut add = |name: &'static str, value: &dyn Fn(&Report) -> String| {
        let lines = reports.iter().map(|report| {
            if several { format!("{}={}", report.id, value(report)) } else { value(report) }
        });
        results.add(name, lines.collect::<Vec<_>>().join("\n"));
    };
    let seconds = |report: &Report| format!("{:.1}", report.time.as_secs_f64());
    add("revision", &|report| report.seen.revisions.join(","));
    add("sync-status", &|report| report.seen.sync.clone());
    add("health", &|report| report.seen.health.clone());
    add("operation-phase", &|report| report.seen.phase.clone());
    add("duration", &seconds);
    let applications = reports.iter().map(|report| {
        let of = json!({
            "revisions": report.seen.revisions,
            "sync-status": report.seen.sync,
            "health": report.seen.health,
            "operation-phase": report.seen.phase,
            "duration": seconds(report),
            "error": report.result.as_ref().err().map(|error| report::chain(error)),
        });
        (report.id.to_string(), of)
    });
    results.detail("applications", applications.collect());
    step.finish(&results)?;
    let all = reports.len();
    let errors = reports.into_iter().filter_map(|report| report.result.err());
    let errors: Vec<SyncError> = errors.map(|error| *error).collect();
    if errors.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Several { all, errors }.into()) }
}
