//! What to do about an Application, from what is seen of it: no clock, no connection.
//!
//! [`decide`] is asked with each observation and again at the times that it names. What it holds to:
//!
//! 1. An observation that is older than a write of our own says nothing.
//! 2. The controller is told to compare first. What it has compared must contain our commit.
//! 3. An operation under way is waited for, never raced. One of somebody else counts if it
//!    applies our commit, and not otherwise.
//! 4. A sync is started if one is needed, with a revision only where auto-sync is off: with it on,
//!    Argo CD refuses any but its own.
//! 5. Done is: no operation under way, the last one that is ours or has our commit succeeded, the
//!    comparison is younger than its end, synced, healthy, and all that for as long as asked.
//! 6. What will not come right by waiting is a failure as soon as that is seen.

use std::collections::HashMap;
use std::time::Duration;

use super::ancestry::{Contains, same};
use super::goal::{Goal, OnBusy, Refresh, Start};
use super::model::{Application, Key, OperationState, Resource, Time, Tree};
use super::plan::chosen;
use super::verdict::{Action, Bad, Failure, Outcome, Question, Waiting};

/// Syncs that are started at most, each for a newer head than the last.
const ATTEMPTS: u32 = 3;
/// How long a comparison after an operation may take before it is asked for.
const LATE: Duration = Duration::from_secs(5);
/// How long a refused sync is not repeated.
const REFUSED: Duration = Duration::from_secs(1);
/// The longest pause between two comparisons that are asked for.
const PAUSE: Duration = Duration::from_secs(15);

/// What is remembered between two observations.
#[derive(Debug, Default)]
pub struct Memory {
    begun: Option<Begun>,
    /// How many comparisons that were asked for are done.
    pub refreshes: u32,
    /// Whether one is under way.
    pub refreshing: bool,
    /// When the last one ended.
    pub last_refresh: Option<Duration>,
    /// The version that an observation must have at least.
    pub floor: Option<u64>,
    /// When a sync of ours was taken.
    pub posted: Option<Duration>,
    /// How many were.
    pub attempts: u32,
    /// When one was refused since an operation was under way.
    pub refused: Option<Duration>,
    /// What was said of that.
    pub refusal: String,
    /// Whether questions about history are under way.
    pub asking: bool,
    /// Whether somebody's operation was ended.
    pub terminated: bool,
    /// What is known of history, by source, head and our commit.
    pub answers: HashMap<Question, Contains>,
    /// The last tree that was seen.
    pub tree: Tree,
    /// The resources that have the labels, once they are known.
    pub labelled: Option<Vec<Key>>,
    /// The times since when something is the case.
    since: Since,
}

/// What was there at first.
#[derive(Debug)]
struct Begun {
    /// Whether an operation was over then.
    over: bool,
    /// When it had begun.
    started: Option<Time>,
    conditions: Vec<String>,
}

#[derive(Debug, Default)]
struct Since {
    well: Option<Duration>,
    unwell: Option<Duration>,
    progressing: Option<Duration>,
    stray: Option<Duration>,
    condition: Option<Duration>,
    pods: Option<Duration>,
}

/// Whether heads contain what is expected of each source.
enum Covers {
    Yes,
    No,
    /// There are no heads.
    Nothing,
    Ask(Vec<Question>),
}

/// Decides. `now` is the time since the beginning.
pub fn decide(app: &Application, goal: &Goal, memory: &mut Memory, now: Duration) -> Action {
    if memory.floor.is_some_and(|floor| app.version().is_some_and(|version| version < floor)) {
        return Action::Wait(Waiting::Stale);
    }
    // A version that is no number cannot be compared; what we have begun must be seen then.
    let state = app.status.operation_state.as_ref();
    let ours = app.operation.iter().chain(state.map(|state| &state.operation));
    let ours = ours.into_iter().any(|operation| operation.has(&goal.marker));
    if let (Some(posted), false, None) = (memory.posted, ours, app.version())
        && now < posted + 2 * LATE
    {
        return Action::Again(posted + 2 * LATE, Waiting::Stale);
    }
    let begun = memory.begun.get_or_insert_with(|| Begun::of(app));
    let started = state.and_then(|state| state.started_at);
    let new = ours || !begun.over || begun.started != started;
    let since = std::mem::take(&mut memory.since);
    let expected = match goal.expected(app) {
        Ok(expected) => expected,
        Err(problem) => return Action::Fail(Failure::Sources(problem)),
    };
    let step = Step { app, goal, now, ours, new, since, expected };
    match step.run(memory) {
        Ok(action) | Err(action) => action,
    }
}

impl Begun {
    fn of(app: &Application) -> Self {
        let over = app.status.operation_state.as_ref().filter(|_| !app.busy());
        Self {
            over: over.is_some(),
            started: over.and_then(|state| state.started_at),
            conditions: app.status.conditions.iter().map(|c| c.message.clone()).collect(),
        }
    }
}

/// One decision. A method gives an action as an error when that is the last word.
struct Step<'a> {
    app: &'a Application,
    goal: &'a Goal,
    now: Duration,
    /// Whether the operation is one of ours.
    ours: bool,
    /// Whether it is another one than was over at the beginning.
    new: bool,
    since: Since,
    expected: Vec<Option<&'a str>>,
}

type Decided<T> = Result<T, Action>;

impl Step<'_> {
    fn run(mut self, memory: &mut Memory) -> Decided<Action> {
        let first = memory.refreshes == 0 && self.goal.refresh != Refresh::None;
        if first && !memory.refreshing && self.pause_is_over(memory) {
            return Err(Action::Refresh(self.goal.refresh));
        }
        self.hydrated(memory)?;
        if self.app.busy() {
            return Err(self.busy(memory)?);
        }
        self.failed(memory)?;
        if self.goal.request.dry_run {
            return Ok(self.dry_run(memory));
        }
        let fresh = memory.refreshes > 0 || self.goal.refresh == Refresh::None;
        let nothing_expected = self.goal.revisions.is_empty();
        if !fresh && (nothing_expected || self.goal.changed) {
            return Err(Action::Wait(Waiting::Refresh));
        }
        if self.goal.changed && !self.app.compared_as_declared() {
            return Err(self.compare_again(memory, Waiting::Comparison));
        }
        let covers = self.covers(memory, &self.app.compared());
        if fresh {
            self.conditions(memory, &covers)?;
        }
        match covers {
            Covers::Yes => {}
            // A repository that cannot be reached takes its time to say so.
            Covers::Ask(questions) if !memory.asking => return Err(Action::Ask(questions)),
            Covers::Ask(_) | Covers::No | Covers::Nothing => {
                let seen = self.app.compared().join(",");
                return Err(self.compare_again(memory, Waiting::Revision { seen }));
            }
        }
        let leftover = self.synced(memory)?;
        self.healthy(memory)?;
        let well = *memory.since.well.insert(self.since.well.unwrap_or(self.now));
        let settled = well + self.goal.settle;
        if self.now < settled {
            return Err(Action::Again(settled, Waiting::Settle));
        }
        Ok(Action::Done(Outcome::of(self.app, leftover)))
    }

    /// Whether another comparison may be asked for.
    fn pause_is_over(&self, memory: &Memory) -> bool {
        memory.last_refresh.is_none_or(|last| self.now >= last + pause(memory.refreshes))
    }

    /// Has it compared again, or waits until that may be asked for.
    fn compare_again(&self, memory: &Memory, waiting: Waiting) -> Action {
        if memory.refreshing || self.goal.refresh == Refresh::None {
            return Action::Wait(waiting);
        }
        match memory.last_refresh {
            Some(last) if !self.pause_is_over(memory) => {
                Action::Again(last + pause(memory.refreshes), waiting)
            }
            _ => Action::Refresh(self.goal.refresh),
        }
    }

    fn covers(&self, memory: &Memory, heads: &[&str]) -> Covers {
        let mut questions = Vec::new();
        for (at, ours) in self.expected.iter().enumerate() {
            let Some(ours) = ours else { continue };
            let Some(head) = heads.get(at).filter(|head| !head.is_empty()) else {
                return if heads.is_empty() { Covers::Nothing } else { Covers::No };
            };
            if same(head, ours) {
                continue;
            }
            let question =
                Question { source: at, head: (*head).to_owned(), ours: (*ours).to_owned() };
            match memory.answers.get(&question) {
                Some(Contains::Yes) => {}
                Some(Contains::No | Contains::Unknown) => return Covers::No,
                None => questions.push(question),
            }
        }
        if questions.is_empty() { Covers::Yes } else { Covers::Ask(questions) }
    }

    /// Where manifests are rendered first, our commit must have been; what was made of it is
    /// expected from then on.
    fn hydrated(&mut self, memory: &Memory) -> Decided<()> {
        let (Some(_), Some(Some(ours))) = (&self.app.spec.source_hydrator, self.expected.first())
        else {
            return Ok(());
        };
        let Some(rendered) = &self.app.status.source_hydrator.current_operation else {
            return Err(self.compare_again(memory, Waiting::Hydration { seen: String::new() }));
        };
        let ours = *ours;
        match self.covers(memory, &[&rendered.dry_sha]) {
            Covers::Yes => {}
            Covers::Ask(questions) => return Err(Action::Ask(questions)),
            Covers::No | Covers::Nothing => {
                let seen = rendered.dry_sha.clone();
                return Err(self.compare_again(memory, Waiting::Hydration { seen }));
            }
        }
        match rendered.phase.as_str() {
            "Hydrated" if !rendered.hydrated_sha.is_empty() => {
                self.expected = vec![Some(&rendered.hydrated_sha)];
                Ok(())
            }
            "Failed" => Err(Action::Fail(Failure::Hydration {
                revision: ours.to_owned(),
                message: rendered.message.clone(),
            })),
            _ => Err(Action::Wait(Waiting::Hydration { seen: rendered.dry_sha.clone() })),
        }
    }

    /// An operation is under way.
    fn busy(&self, memory: &mut Memory) -> Decided<Action> {
        let state = self.app.status.operation_state.as_ref().filter(|state| state.running());
        let operation = match (&self.app.operation, state) {
            (Some(operation), _) => operation,
            (None, Some(state)) => &state.operation,
            (None, None) => return Ok(Action::Wait(Waiting::Stale)),
        };
        let target = state.map_or_else(|| operation.target(), OperationState::target);
        let counts = self.ours
            || !self.goal.revisions.is_empty()
                && match self.covers(memory, &target) {
                    Covers::Yes => true,
                    // Only what is done about it now depends on the answer.
                    Covers::Ask(questions)
                        if matches!(self.goal.on_busy, OnBusy::Terminate | OnBusy::Fail) =>
                    {
                        return Ok(Action::Ask(questions));
                    }
                    Covers::Ask(_) | Covers::No | Covers::Nothing => false,
                };
        let by = operation.by().to_owned();
        if !counts {
            match self.goal.on_busy {
                OnBusy::Fail => {
                    let revision = target.join(",");
                    return Err(Action::Fail(Failure::Busy { by, revision }));
                }
                OnBusy::Terminate if !memory.terminated => return Ok(Action::Terminate),
                _ => {}
            }
        }
        if let Some(state) = state.filter(|_| counts) {
            hooks(state)?;
            // The server refuses such a sync; what was set in the cluster stands until it opens.
            if state.message.contains("blocked by sync window") {
                return Err(Action::Fail(Failure::Window(state.message.clone())));
            }
            self.pods(memory, state.started_at)?;
        }
        let attempt = state.map_or(0, |state| state.retry_count);
        Ok(Action::Wait(Waiting::Operation {
            by: if self.ours { String::new() } else { by },
            retry: state.is_some_and(OperationState::waits_for_retry).then_some(attempt + 1),
            message: state.map(|state| state.message.clone()).unwrap_or_default(),
        }))
    }

    /// The last operation has failed, and is ours or was to apply our commit.
    fn failed(&self, memory: &Memory) -> Decided<()> {
        let Some(state) = &self.app.status.operation_state else { return Ok(()) };
        if !self.new || !matches!(state.phase.as_str(), "Failed" | "Error") {
            return Ok(());
        }
        let counts = self.ours
            || !self.goal.revisions.is_empty()
                && match self.covers(memory, &state.target()) {
                    Covers::Yes => true,
                    Covers::Ask(questions) => return Err(Action::Ask(questions)),
                    Covers::No | Covers::Nothing => false,
                };
        if counts { Err(Action::Fail(Failure::of_operation(state))) } else { Ok(()) }
    }

    fn dry_run(&self, memory: &Memory) -> Action {
        if self.ours {
            return Action::Done(Outcome::of(self.app, Vec::new()));
        }
        self.start(memory)
    }

    /// Starts a sync, unless one was refused a moment ago.
    fn start(&self, memory: &Memory) -> Action {
        if let Some(refused) = memory.refused.filter(|refused| self.now < *refused + REFUSED) {
            let busy = Waiting::Operation {
                by: String::new(),
                retry: None,
                message: memory.refusal.clone(),
            };
            return Action::Again(refused + REFUSED, busy);
        }
        if memory.attempts >= ATTEMPTS {
            return Action::Fail(Failure::Overtaken);
        }
        if !self.goal.request.labels.is_empty() && memory.labelled.is_none() {
            return Action::Label;
        }
        // Where it is synced by itself, another revision than its own is refused. What was
        // compared is our commit or a newer one, which is not to be rolled back.
        let pinned = self.app.auto_sync().is_none() && self.app.spec.source_hydrator.is_none();
        let compared = self.app.compared();
        let revisions = self.expected.iter().enumerate().map(|(at, ours)| {
            let ours = (*ours)?;
            // A dry run needs no comparison before.
            let head = compared.get(at).filter(|_| !self.goal.request.dry_run);
            Some((*head.unwrap_or(&ours)).to_owned())
        });
        Action::Sync(if pinned { revisions.collect() } else { Vec::new() })
    }

    /// Errors that stand on the Application, if they are about our commit.
    fn conditions(&self, memory: &mut Memory, covers: &Covers) -> Decided<()> {
        let Some(begun) = &memory.begun else { return Ok(()) };
        let condition = self.app.status.conditions.iter().find(|c| match c.kind.as_str() {
            "ComparisonError" | "InvalidSpecError" => true,
            // It stays after an attempt of old.
            "SyncError" => !begun.conditions.contains(&c.message),
            _ => false,
        });
        let Some(condition) = condition else { return Ok(()) };
        let sure = match covers {
            Covers::Yes => condition.kind == "InvalidSpecError" || !self.goal.revisions.is_empty(),
            Covers::Nothing => condition.kind == "InvalidSpecError",
            // It is about an older commit, of which ours may be the repair.
            Covers::No | Covers::Ask(_) => return Ok(()),
        };
        let since = *memory.since.condition.insert(self.since.condition.unwrap_or(self.now));
        let failure =
            Failure::Condition { kind: condition.kind.clone(), message: condition.message.clone() };
        let end = since + self.goal.degraded_grace;
        if sure || self.now >= end {
            return Err(Action::Fail(failure));
        }
        let waiting = Waiting::Condition { message: condition.message.clone() };
        match self.compare_again(memory, waiting) {
            Action::Wait(waiting) => Err(Action::Again(end, waiting)),
            Action::Again(at, waiting) => Err(Action::Again(at.min(end), waiting)),
            action => Err(action),
        }
    }

    /// The resources that are looked at, if these are not all.
    fn selected(&self, memory: &Memory) -> Option<Vec<&Resource>> {
        let request = &self.goal.request;
        if request.resources.is_empty() && request.labels.is_empty() {
            return None;
        }
        let all = self.app.status.resources.iter();
        Some(all.filter(|r| selects(self.goal, memory.labelled.as_deref(), &r.key)).collect())
    }

    /// Synced, with the names of what should be removed; starts a sync where one is needed.
    fn synced(&self, memory: &mut Memory) -> Decided<Vec<Key>> {
        let goal = self.goal;
        if !goal.request.labels.is_empty() && memory.labelled.is_none() {
            return Err(Action::Label);
        }
        let state = self.app.status.operation_state.as_ref();
        // What somebody else has only tried, or done in part, is not what is asked for.
        let whole = |state: &OperationState| {
            let of = state.operation.sync.as_ref();
            self.ours || of.is_none_or(|sync| !sync.dry_run && sync.resources.is_empty())
        };
        let succeeded =
            state.filter(|state| self.new && state.phase == "Succeeded" && whole(state));
        let applied = match succeeded {
            None => false,
            Some(state) => match self.covers(memory, &state.target()) {
                Covers::Yes => true,
                Covers::Ask(questions) => return Err(Action::Ask(questions)),
                Covers::No | Covers::Nothing => false,
            },
        };
        let once = memory.attempts > 0 || applied && goal.on_busy == OnBusy::Adopt;
        if goal.sync == Start::Always && !once {
            return Err(self.start(memory));
        }
        if let Some(state) = succeeded
            && self.app.status.reconciled_at < state.finished_at
        {
            let asked = *memory.since.stray.insert(self.since.stray.unwrap_or(self.now));
            return Err(if self.now < asked + LATE {
                Action::Again(asked + LATE, Waiting::Comparison)
            } else {
                self.compare_again(memory, Waiting::Comparison)
            });
        }
        // Of what is not there, nothing differs; after a sync of ours it may be what was removed.
        if memory.posted.is_none() {
            let chosen = chosen(self.app, goal, memory.labelled.as_deref());
            chosen.map_err(|problem| Action::Fail(Failure::Nothing(problem)))?;
        }
        let selected = self.selected(memory);
        let all: Vec<&Resource> = self.app.status.resources.iter().collect();
        let resources = selected.as_ref().unwrap_or(&all);
        let out: Vec<&Resource> =
            resources.iter().copied().filter(|r| r.status == "OutOfSync").collect();
        let status = match &selected {
            None => self.app.status.sync.status.as_str(),
            Some(_) if out.is_empty() => "Synced",
            Some(_) => "OutOfSync",
        };
        let leftover = !out.is_empty() && out.iter().all(|resource| resource.requires_pruning);
        match status {
            "Synced" => return Ok(Vec::new()),
            "OutOfSync" => {}
            _ => return Err(self.compare_again(memory, Waiting::Comparison)),
        }
        if leftover && !self.prunes() {
            return Ok(out.iter().map(|resource| resource.key.clone()).collect());
        }
        if goal.sync == Start::Never {
            return if applied && !goal.wait.sync {
                Ok(Vec::new())
            } else {
                Err(Action::Wait(Waiting::Sync))
            };
        }
        // A head that is newer than what was applied is one more reason to sync.
        let current = state.is_some_and(|state| state.target() == self.app.compared());
        if !(applied && current) {
            return Err(self.start(memory));
        }
        if !goal.wait.sync {
            return Ok(Vec::new());
        }
        let since = *memory.since.stray.insert(self.since.stray.unwrap_or(self.now));
        // Seconds are too coarse to tell a comparison of before the end from one after it.
        let end = since + goal.degraded_grace.max(LATE);
        if self.now >= end {
            let bad = out.iter().map(|resource| Bad::out_of_sync(resource)).collect();
            return Err(Action::Fail(Failure::OutOfSync(bad)));
        }
        Err(match self.compare_again(memory, Waiting::Sync) {
            Action::Again(at, waiting) => Action::Again(at.min(end), waiting),
            Action::Wait(waiting) => Action::Again(end, waiting),
            action => action,
        })
    }

    /// Whether a sync removes what should not be there.
    fn prunes(&self) -> bool {
        self.goal.request.prune || self.app.auto_sync().is_some_and(|auto| auto.prune)
    }

    /// Healthy, as far as that is asked for.
    fn healthy(&self, memory: &mut Memory) -> Decided<()> {
        let wait = self.goal.wait;
        if !wait.health && !wait.suspended {
            return Ok(());
        }
        let (status, message) = match self.selected(memory) {
            None => {
                let health = &self.app.status.health;
                (health.status.clone(), health.message.clone())
            }
            Some(resources) => worst(&resources),
        };
        let good = match status.as_str() {
            "Healthy" => wait.health,
            "Suspended" => wait.suspended,
            _ => false,
        };
        if good {
            return Ok(());
        }
        let started = self.app.status.operation_state.as_ref().and_then(|state| state.started_at);
        self.pods(memory, started.filter(|_| self.new))?;
        let waiting = Waiting::Health { status: status.clone(), message: message.clone() };
        let grace = self.goal.degraded_grace;
        if !matches!(status.as_str(), "Degraded" | "Missing") {
            let progressing = self.since.progressing.unwrap_or(self.now);
            memory.since.progressing = Some(progressing);
            // A blip of progress does not forgive; so long a one does.
            if self.now < progressing + grace {
                memory.since.unwell = self.since.unwell;
            }
            return Err(match memory.since.pods {
                Some(since) => Action::Again(since + grace, waiting),
                None => Action::Wait(waiting),
            });
        }
        let since = *memory.since.unwell.insert(self.since.unwell.unwrap_or(self.now));
        if self.now < since + grace {
            return Err(Action::Again(since + grace, waiting));
        }
        let bad = Bad::unhealthy(&self.app.status.resources);
        Err(Action::Fail(Failure::Health { status, message, bad }))
    }

    /// Pods of this rollout that will not run.
    fn pods(&self, memory: &mut Memory, started: Option<Time>) -> Decided<()> {
        let reasons = memory.tree.nodes.iter().filter(|node| node.key.kind == "Pod");
        let new = reasons.filter(|pod| started.is_none() || pod.created_at >= started);
        let bad: Vec<(bool, Bad)> = new
            .filter_map(|pod| {
                let reason = pod.reason()?;
                let final_ = match reason.trim_start_matches("Init:") {
                    "InvalidImageName" | "ErrImageNeverPull" => true,
                    "ImagePullBackOff"
                    | "ErrImagePull"
                    | "CreateContainerConfigError"
                    | "CrashLoopBackOff" => false,
                    _ => return None,
                };
                let message = pod.health.as_ref().map(|health| health.message.clone());
                let message = message.unwrap_or_default();
                let bad = Bad { key: pod.key.clone(), state: reason.to_owned(), message };
                Some((final_, bad))
            })
            .collect();
        if bad.is_empty() {
            return Ok(());
        }
        let since = *memory.since.pods.insert(self.since.pods.unwrap_or(self.now));
        if bad.iter().any(|(final_, _)| *final_) || self.now >= since + self.goal.degraded_grace {
            let bad = bad.into_iter().map(|(_, bad)| bad).collect();
            return Err(Action::Fail(Failure::Pods(bad)));
        }
        Ok(())
    }
}

/// A hook that has failed ends its operation, unless that is tried again.
fn hooks(state: &OperationState) -> Decided<()> {
    let limit = state.operation.retry.limit;
    if state.waits_for_retry() || limit < 0 || state.retry_count < limit {
        return Ok(());
    }
    let results = state.sync_result.iter().flat_map(|result| &result.resources);
    let bad: Vec<Bad> = results
        .filter(|result| {
            !result.hook_type.is_empty() && matches!(result.hook_phase.as_str(), "Failed" | "Error")
        })
        .map(|result| Bad {
            key: result.key.clone(),
            state: format!("{} hook {}", result.hook_type, result.hook_phase),
            message: result.message.clone(),
        })
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(Action::Fail(Failure::Hook(bad))) }
}

/// Whether a resource is among those that a sync is limited to.
pub(super) fn selects(goal: &Goal, labelled: Option<&[Key]>, key: &Key) -> bool {
    let (out, of): (Vec<_>, Vec<_>) = goal.request.resources.iter().partition(|s| s.exclude);
    (of.is_empty() || of.iter().any(|selector| selector.matches(key)))
        && !out.iter().any(|selector| selector.matches(key))
        && (goal.request.labels.is_empty() || labelled.is_some_and(|keys| keys.contains(key)))
}

/// The pause before the comparison after so many.
fn pause(refreshes: u32) -> Duration {
    Duration::from_secs(1 << refreshes.min(4)).min(PAUSE)
}

/// The worst health of some resources.
fn worst(resources: &[&Resource]) -> (String, String) {
    const ORDER: [&str; 5] = ["Healthy", "Suspended", "Progressing", "Missing", "Degraded"];
    let rank = |status: &str| ORDER.iter().position(|o| *o == status).unwrap_or(ORDER.len());
    let healths = resources.iter().filter_map(|resource| resource.health.as_ref());
    let worst = healths.max_by_key(|health| rank(&health.status));
    worst.map_or_else(
        || ("Healthy".to_owned(), String::new()),
        |health| (health.status.clone(), health.message.clone()),
    )
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
