//! Does what [`decide`] says: one task for each Application, one deadline for all.
//!
//! What is asked of the server runs beside what is seen, so that whatever decides is acted on at
//! once. Only while a sync is being started nothing is decided: what is seen then may be older.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::ancestry::{Ancestry, Contains};
use super::backend::{Backend, Id};
use super::decide::{Memory, decide};
use super::edit::Edits;
use super::error::ApiError;
use super::explain::{SyncError, details};
use super::follow::{self, Seen};
use super::goal::{Goal, Refresh};
use super::model::{Application, Key};
use super::plan::Plan;
use super::progress::Progress;
use super::verdict::{Action, Bad, Failure, Outcome, Question, Waiting};
use crate::report::{self, Sink};

/// How often connecting may fail before there was a first answer.
const FIRST: u32 = 5;
/// How long a question about history may take.
const HISTORY: Duration = Duration::from_mins(2);
/// How long explanations are collected.
const EXPLAIN: Duration = Duration::from_secs(10);
/// How long ending an operation may take once the time is over.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When it is over.
    pub deadline: Instant,
    /// The time that it has.
    pub timeout: Duration,
    /// Whether an operation of ours is ended when we are, before it is.
    pub terminate: bool,
    /// Whether the logs of pods are part of an explanation.
    pub logs: bool,
    /// Whether what was deployed before is deployed again after a failure.
    pub rollback: bool,
    /// What is changed first.
    pub edits: Edits,
}

/// How it went with one Application.
#[derive(Debug)]
pub struct Report {
    /// Which one.
    pub id: Id,
    /// How it is; in the end, or as it was seen last.
    pub seen: Outcome,
    /// Whether it is as it should be.
    pub result: Result<(), Box<SyncError>>,
    /// How long it took.
    pub time: Duration,
}

/// Has Applications synced, all at once. `stop` becomes true when the process is to end.
pub async fn run<B: Backend, A: Ancestry>(
    backend: &B,
    ancestry: &Arc<A>,
    ids: Vec<Id>,
    goal: &Goal,
    settings: &Settings,
    sink: &Arc<dyn Sink>,
    stop: &watch::Receiver<bool>,
) -> Vec<Report> {
    let mut tasks = JoinSet::new();
    for (at, id) in ids.iter().cloned().enumerate() {
        let progress = Progress::new(Arc::clone(sink), &id);
        let run = Run {
            backend: backend.clone(),
            ancestry: Arc::clone(ancestry),
            id,
            goal: goal.clone(),
            settings: settings.clone(),
            stop: stop.clone(),
            progress,
            begun: Instant::now(),
            memory: Memory::default(),
            app: None,
            history: None,
            waiting: Waiting::Begin,
            starting: false,
            tasks: JoinSet::new(),
            busy: Busy::default(),
        };
        tasks.spawn(async move { (at, run.whole().await) });
    }
    let mut reports: Vec<(usize, Report)> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(report) => reports.push(report),
            // A task ends early by a panic only, which goes on here.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// What was asked for and is not yet answered.
#[derive(Debug, Default)]
struct Busy {
    labelling: bool,
    terminating: bool,
}

/// An answer.
enum Done {
    Refreshed(Result<Value, ApiError>),
    Started(Result<Value, ApiError>),
    Read(Result<Value, ApiError>),
    Terminated(Result<(), ApiError>),
    Labelled(Result<Vec<Value>, ApiError>),
    Answered(Vec<(Question, Contains)>),
}

struct Run<B: Backend, A: Ancestry> {
    backend: B,
    ancestry: Arc<A>,
    id: Id,
    goal: Goal,
    settings: Settings,
    stop: watch::Receiver<bool>,
    progress: Progress,
    begun: Instant,
    memory: Memory,
    app: Option<Box<Application>>,
    /// What was deployed last, before we began.
    history: Option<i64>,
    waiting: Waiting,
    /// Whether a sync is being started.
    starting: bool,
    tasks: JoinSet<Done>,
    busy: Busy,
}

impl<B: Backend, A: Ancestry> Run<B, A> {
    async fn whole(mut self) -> Report {
        let result = self.run().await;
        let seen = match (&result, &self.app) {
            (Ok(outcome), _) => outcome.clone(),
            (Err(_), Some(app)) => Outcome::of(app, Vec::new()),
            (Err(_), None) => Outcome::default(),
        };
        let result = match result {
            Ok(outcome) if outcome.unpruned.is_empty() || !self.goal.wait.sync => Ok(()),
            Ok(outcome) => {
                Err(Box::new(SyncError::Unpruned { app: self.id.clone(), left: outcome.unpruned }))
            }
            Err(error) => Err(error),
        };
        self.progress.finish(result.is_ok());
        Report { id: self.id, seen, result, time: self.begun.elapsed() }
    }

    async fn run(&mut self) -> Result<Outcome, Box<SyncError>> {
        let mut stop = self.stop.clone();
        // Ending an operation takes a moment of the time that there is.
        let deadline = if self.settings.terminate {
            self.settings.deadline - FAREWELL.min(self.settings.timeout / 4)
        } else {
            self.settings.deadline
        };
        let ended = tokio::select! {
            biased;
            result = self.work() => return result,
            _ = stop.wait_for(|stop| *stop) => None,
            () = sleep_until(deadline) => Some(self.settings.timeout),
        };
        let mut details = self.farewell().await;
        let app = self.id.clone();
        let Some(after) = ended else {
            return Err(Box::new(SyncError::Stopped { app, details }));
        };
        if let (Waiting::Health { .. }, Some(seen)) = (&self.waiting, &self.app) {
            let bad = Bad::unhealthy(&seen.status.resources);
            details.splice(0..0, bad.iter().map(ToString::to_string));
        }
        let unknown = self.memory.answers.values().any(|answer| *answer == Contains::Unknown);
        let waiting = std::mem::take(&mut self.waiting);
        Err(Box::new(SyncError::Timeout { app, after, waiting, details, unknown }))
    }

    /// Ends an operation of ours, if that was asked for.
    async fn farewell(&mut self) -> Vec<String> {
        if !self.settings.terminate || self.memory.posted.is_none() && !self.starting {
            return Vec::new();
        }
        self.tasks.abort_all();
        let end = async {
            let seen = self.backend.get(&self.id).await?;
            let seen = Application::read(seen).unwrap_or_default();
            let state = seen.status.operation_state.iter().filter(|state| state.running());
            let mut under_way = seen.operation.iter().chain(state.map(|state| &state.operation));
            if !under_way.any(|operation| operation.has(&self.goal.marker)) {
                return Ok(false);
            }
            self.backend.terminate(&self.id).await.map(|()| true)
        };
        match timeout(FAREWELL, end).await {
            Ok(Ok(true)) => vec!["the operation that was started is terminated".to_owned()],
            Ok(Ok(false)) => Vec::new(),
            Ok(Err(error)) => {
                vec![format!("the operation is not terminated: {}", report::chain(&error))]
            }
            Err(_) => vec!["the operation is not terminated: no answer".to_owned()],
        }
    }

    async fn work(&mut self) -> Result<Outcome, Box<SyncError>> {
        self.edit().await?;
        let (to, mut from) = mpsc::channel(16);
        // Dropped, and with them ended, when this returns.
        let mut follow = follow::application(&self.backend, &self.id, &to);
        let mut tree = false;
        let mut failures = 0;
        loop {
            let mut again = None;
            if let Some(app) = self.app.take() {
                let action = if self.starting {
                    Action::Wait(Waiting::Stale)
                } else {
                    decide(&app, &self.goal, &mut self.memory, self.begun.elapsed())
                };
                let waiting = match &action {
                    Action::Wait(waiting) | Action::Again(_, waiting) => Some(waiting.clone()),
                    _ => None,
                };
                // While something is done, it is still the same that is waited for.
                let shown = match (&waiting, &action) {
                    (Some(waiting), _) => Some(waiting),
                    (None, Action::Done(_) | Action::Fail(_)) => None,
                    (None, _) => Some(&self.waiting),
                };
                self.progress.show(&app, shown.filter(|shown| **shown != Waiting::Begin));
                if let Some(waiting) = waiting {
                    // Pods say earlier than their owners that they will not run.
                    let worth =
                        matches!(waiting, Waiting::Health { .. } | Waiting::Operation { .. });
                    if worth && !tree {
                        tree = true;
                        follow.spawn(follow::tree(
                            self.backend.clone(),
                            self.id.clone(),
                            to.clone(),
                        ));
                    }
                    self.waiting = waiting;
                }
                let app = self.app.insert(app).clone();
                if let Some(outcome) = self.act(&app, action, &mut again).await? {
                    return Ok(outcome);
                }
            }
            let timer = async {
                match again {
                    Some(at) => sleep_until(self.begun + at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Ok(done) = done {
                        self.answer(done).await?;
                    }
                }
                Some(seen) = from.recv() => match seen {
                    Seen::App(app) => self.see(app)?,
                    Seen::Tree(tree) => self.memory.tree = tree,
                    Seen::Trouble(error) => self.trouble(error, &mut failures)?,
                },
                () = timer => {}
            }
        }
    }

    fn api(&self, source: ApiError) -> Box<SyncError> {
        Box::new(SyncError::Api { app: self.id.clone(), source })
    }

    fn trouble(&mut self, error: ApiError, failures: &mut u32) -> Result<(), Box<SyncError>> {
        *failures += 1;
        // Whatever a proxy says in between, it was Argo CD that has answered before.
        let passes =
            error.is_transient() || self.app.is_some() && matches!(error, ApiError::Foreign { .. });
        // A server that answers as Argo CD does is there; another may be the wrong address.
        let perhaps_none = matches!(error, ApiError::Net { .. } | ApiError::Foreign { .. });
        if !passes || perhaps_none && self.app.is_none() && *failures >= FIRST {
            return Err(self.api(error));
        }
        if *failures == 1 {
            self.progress.warn(format!("{}; trying again", report::chain(&error)));
        }
        Ok(())
    }

    /// Takes an observation, unless a newer one is known.
    fn see(&mut self, app: Box<Application>) -> Result<(), Box<SyncError>> {
        let known = self.app.as_ref().and_then(|app| app.version());
        if known.zip(app.version()).is_some_and(|(known, new)| new < known) {
            return Ok(());
        }
        if self.app.is_none() {
            self.history = app.status.history.last().map(|history| history.id);
            if self.settings.rollback && app.auto_sync().is_some() {
                return Err(Box::new(SyncError::Refused {
                    app: self.id.clone(),
                    message: "auto-sync would undo a rollback".to_owned(),
                    details: vec![
                        "revert the commit in git instead; --rollback-on-failure is for \
                         applications without auto-sync"
                            .to_owned(),
                    ],
                }));
            }
        }
        if self.id.project.is_none() && !app.spec.project.is_empty() {
            self.id.project = Some(app.spec.project.clone());
        }
        self.app = Some(app);
        Ok(())
    }

    /// Changes the sources' parameters first, if that was asked for.
    async fn edit(&mut self) -> Result<(), Box<SyncError>> {
        if self.settings.edits.is_empty() {
            return Ok(());
        }
        let app = self.backend.get(&self.id).await.map_err(|error| self.api(error))?;
        let mut spec = app.get("spec").cloned().unwrap_or_default();
        let changed = self.settings.edits.apply(&mut spec);
        let changed = changed.map_err(|problem| self.api(ApiError::Given(problem)))?;
        if changed {
            let set = self.backend.set_spec(&self.id, spec).await;
            set.map_err(|error| self.api(error))?;
            self.progress.note("the source is changed");
        }
        self.goal.changed = true;
        Ok(())
    }

    /// Does what was decided; gives the outcome when all is done.
    async fn act(
        &mut self,
        app: &Application,
        action: Action,
        again: &mut Option<Duration>,
    ) -> Result<Option<Outcome>, Box<SyncError>> {
        let (backend, id) = (self.backend.clone(), self.id.clone());
        match action {
            Action::Wait(_) => {}
            Action::Again(at, _) => *again = Some(at),
            Action::Ask(questions) => {
                if !std::mem::replace(&mut self.memory.asking, true) {
                    // What else there is to do meanwhile is decided now.
                    *again = Some(self.begun.elapsed());
                    let sources: Vec<_> = app.sources().into_iter().cloned().collect();
                    let ancestry = Arc::clone(&self.ancestry);
                    self.tasks.spawn(async move {
                        let mut answers = Vec::new();
                        for question in questions {
                            let Question { source, head, ours } = &question;
                            let answer = match sources.get(*source) {
                                Some(source) => {
                                    let answer = ancestry.contains(source, head, ours);
                                    timeout(HISTORY, answer).await.unwrap_or(Contains::Unknown)
                                }
                                None => Contains::Unknown,
                            };
                            answers.push((question, answer));
                        }
                        Done::Answered(answers)
                    });
                }
            }
            Action::Label => {
                if !std::mem::replace(&mut self.busy.labelling, true) {
                    let revision = self.goal.revisions.first().map(|r| r.revision.clone());
                    let revision = revision.filter(|_| app.auto_sync().is_none());
                    self.tasks.spawn(async move {
                        let revision = revision.unwrap_or_default();
                        Done::Labelled(backend.manifests(&id, &revision).await)
                    });
                }
            }
            Action::Refresh(kind) => {
                if !std::mem::replace(&mut self.memory.refreshing, true) {
                    let hard = kind == Refresh::Hard;
                    self.tasks
                        .spawn(async move { Done::Refreshed(backend.refresh(&id, hard).await) });
                }
            }
            Action::Terminate => {
                if !std::mem::replace(&mut self.busy.terminating, true) {
                    self.progress.note("the operation under way is terminated");
                    self.tasks.spawn(async move { Done::Terminated(backend.terminate(&id).await) });
                }
            }
            Action::Sync(revisions) => {
                let labelled = self.memory.labelled.as_deref();
                let plan = Plan::new(app, &self.goal, revisions, labelled).map_err(|problem| {
                    Box::new(SyncError::Nothing { app: self.id.clone(), problem })
                })?;
                self.starting = true;
                self.tasks.spawn(async move { Done::Started(backend.sync(&id, &plan).await) });
            }
            Action::Done(outcome) => return Ok(Some(outcome)),
            Action::Fail(failure) => return Err(self.fail(failure).await),
        }
        Ok(None)
    }

    /// Takes an answer.
    async fn answer(&mut self, done: Done) -> Result<(), Box<SyncError>> {
        let now = self.begun.elapsed();
        match done {
            Done::Answered(answers) => {
                self.memory.asking = false;
                self.memory.answers.extend(answers);
            }
            Done::Labelled(manifests) => {
                let manifests = manifests.map_err(|error| self.api(error))?;
                let wanted = &self.goal.request.labels;
                let labelled = manifests.iter().filter(|m| has_labels(m, wanted)).map(key);
                self.memory.labelled = Some(labelled.collect());
            }
            Done::Terminated(result) => {
                self.busy.terminating = false;
                match result {
                    // The second has ended by itself.
                    Ok(()) | Err(ApiError::Status { status: 400, .. }) => {
                        self.memory.terminated = true;
                    }
                    Err(error) if error.is_transient() => {}
                    Err(error) => return Err(self.api(error)),
                }
            }
            Done::Refreshed(result) => {
                self.memory.refreshing = false;
                self.memory.last_refresh = Some(now);
                match result {
                    Ok(value) => {
                        self.memory.refreshes += 1;
                        // Nobody could be asked then; perhaps somebody can now.
                        self.memory.answers.retain(|_, answer| *answer != Contains::Unknown);
                        self.wrote(value)?;
                    }
                    Err(error) if error.is_transient() => {}
                    Err(error) => return Err(self.api(error)),
                }
            }
            Done::Read(Ok(value)) => {
                if let Ok(app) = Application::read(value) {
                    self.see(Box::new(app))?;
                }
            }
            // The stream and the poll have the same trouble, and say so.
            Done::Read(Err(_)) => {}
            Done::Started(result) => {
                self.starting = false;
                self.started(result, now).await?;
            }
        }
        Ok(())
    }

    /// Takes what the server answers to a change: nothing older counts from now on.
    fn wrote(&mut self, value: Value) -> Result<(), Box<SyncError>> {
        let request = format!("change {}", self.id);
        let app = Application::read(value)
            .map_err(|problem| self.api(ApiError::Answer { request, problem }))?;
        self.memory.floor = self.memory.floor.max(app.version());
        self.see(Box::new(app))
    }

    async fn started(
        &mut self,
        result: Result<Value, ApiError>,
        now: Duration,
    ) -> Result<(), Box<SyncError>> {
        let error = match result {
            Ok(value) => {
                self.memory.posted = Some(now);
                self.memory.attempts += 1;
                return self.wrote(value);
            }
            Err(error) => error,
        };
        let again = match &error {
            ApiError::Window { message } => {
                let windows = self.backend.windows(&self.id);
                let details = timeout_at(self.explained_by(), windows).await;
                let details = details.unwrap_or_else(|_| Ok(Vec::new())).unwrap_or_default();
                let (app, message) = (self.id.clone(), message.clone());
                return Err(Box::new(SyncError::Refused { app, message, details }));
            }
            ApiError::Busy { .. } => true,
            // Somebody has turned auto-sync on meanwhile; what is seen next says so.
            ApiError::Status { message, .. } if message.contains("auto-sync") => {
                self.memory.refused.is_none()
            }
            other => other.is_transient(),
        };
        if !again {
            return Err(self.api(error));
        }
        // It may have been taken nevertheless: what is seen next tells.
        self.memory.refused = Some(now);
        self.memory.refusal = report::chain(&error);
        let (backend, id) = (self.backend.clone(), self.id.clone());
        self.tasks.spawn(async move { Done::Read(backend.get(&id).await) });
        Ok(())
    }

    fn explained_by(&self) -> Instant {
        self.settings.deadline.min(Instant::now() + EXPLAIN)
    }

    async fn fail(&mut self, failure: Failure) -> Box<SyncError> {
        let tree = std::mem::take(&mut self.memory.tree);
        let bad = failure.bad();
        let explained = details(&self.backend, &self.id, bad, &tree, self.settings.logs);
        let explained = timeout_at(self.explained_by(), explained).await;
        let mut details = explained.unwrap_or_default();
        if self.settings.rollback && self.memory.posted.is_some() {
            details.push(if self.is_last_ours() {
                self.roll_back().await
            } else {
                "not rolled back: somebody has synced since".to_owned()
            });
        }
        Box::new(SyncError::Failed { app: self.id.clone(), failure, details })
    }

    /// Whether nobody has started an operation since ours.
    fn is_last_ours(&self) -> bool {
        let marker = &self.goal.marker;
        self.app.as_ref().is_some_and(|app| {
            let state = app.status.operation_state.as_ref();
            app.operation.iter().all(|operation| operation.has(marker))
                && state.is_some_and(|state| state.operation.has(marker))
        })
    }

    /// Deploys again what was there before; says how that went.
    async fn roll_back(&mut self) -> String {
        let Some(history) = self.history else {
            return "not rolled back: nothing was deployed before".to_owned();
        };
        let rolled = async {
            let mut error = loop {
                match self.backend.rollback(&self.id, history).await {
                    Ok(_) => break None,
                    Err(ApiError::Busy { .. }) => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    Err(error) => break Some(error),
                }
            };
            while error.is_none() {
                match self.backend.get(&self.id).await {
                    Ok(value) => {
                        let app = Application::read(value).unwrap_or_default();
                        if !app.busy() {
                            let state = app.status.operation_state.unwrap_or_default();
                            return format!(
                                "rolled back to what was deployed as {history}: {}",
                                state.phase
                            );
                        }
                    }
                    Err(other) if other.is_transient() => {}
                    Err(other) => error = Some(other),
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let error = error.map(|error| report::chain(&error)).unwrap_or_default();
            format!("not rolled back: {error}")
        };
        let rolled = timeout_at(self.settings.deadline, rolled).await;
        rolled.unwrap_or_else(|_| "rolling back was not done in time".to_owned())
    }
}

fn has_labels(manifest: &Value, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, value)| {
        let labels = manifest.pointer("/metadata/labels");
        labels.and_then(|labels| labels.get(name)?.as_str()) == Some(value)
    })
}

/// The key of a manifest.
fn key(manifest: &Value) -> Key {
    let text = |at: &str| manifest.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map(|(group, _)| group);
    Key {
        group: group.unwrap_or_default().to_owned(),
        kind: text("/kind").to_owned(),
        namespace: text("/metadata/namespace").to_owned(),
        name: text("/metadata/name").to_owned(),
    }
}
