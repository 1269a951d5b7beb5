//! What is decided, observation by observation.

use serde_json::{Value, json};

use super::super::goal::tests::goal;
use super::super::goal::{Expected, Place};
use super::*;

const OLD: &str = "0000000000000000000000000000000000000001";
const OURS: &str = "00000000000000000000000000000000000000aa";
const NEWER: &str = "00000000000000000000000000000000000000bb";

/// An Application, and what is wanted of it.
struct World {
    app: Value,
    goal: Goal,
    memory: Memory,
    now: Duration,
}

/// Synced and healthy at an older commit, long ago.
fn world(revision: Option<&str>) -> World {
    let operation = json!({
        "phase": "Succeeded",
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:01Z",
        "operation": {"sync": {"revision": OLD}},
        "syncResult": {"revision": OLD},
    });
    let app = json!({
        "metadata": {"name": "web", "resourceVersion": "100"},
        "spec": {"project": "p", "source": {"repoURL": "https://h/ops", "targetRevision": "main"}},
        "status": {
            "sync": {"status": "Synced", "revision": OLD},
            "health": {"status": "Healthy"},
            "operationState": operation,
            "reconciledAt": "2026-01-01T00:00:02Z",
        },
    });
    World { app, goal: goal(revision), memory: Memory::default(), now: Duration::ZERO }
}

impl World {
    /// The comparison that was asked for is done.
    fn refreshed(mut self) -> Self {
        assert_eq!(self.decide(), Action::Refresh(Refresh::Normal));
        self.memory.refreshes = 1;
        self.memory.last_refresh = Some(self.now);
        self
    }

    fn set(&mut self, at: &str, value: impl Into<Value>) -> &mut Self {
        let mut place = &mut self.app;
        for part in at.split('.') {
            place = match part.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[part],
            };
        }
        *place = value.into();
        self
    }

    fn compared(&mut self, revision: &str, sync: &str) -> &mut Self {
        self.set("status.sync", json!({"status": sync, "revision": revision}))
    }

    fn auto(&mut self) -> &mut Self {
        self.set("spec.syncPolicy", json!({"automated": {}}))
    }

    /// An operation that began now, whose it may be.
    fn operation(&mut self, ours: bool, phase: &str, revision: &str) -> &mut Self {
        let info = if ours { json!([{"name": "yado", "value": "1"}]) } else { json!([]) };
        let mut state = json!({
            "phase": phase,
            "startedAt": "2026-01-01T01:00:00Z",
            "operation": {"sync": {"revision": revision}, "info": info},
            "syncResult": {"revision": revision},
        });
        if phase != "Running" {
            state["finishedAt"] = json!("2026-01-01T01:00:05Z");
        }
        self.set("status.operationState", state)
    }

    /// It was compared after that operation.
    fn reconciled(&mut self) -> &mut Self {
        self.set("status.reconciledAt", "2026-01-01T01:00:06Z")
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = Duration::from_secs(seconds);
        self
    }

    fn decide(&mut self) -> Action {
        let app = Application::read(self.app.clone()).unwrap();
        decide(&app, &self.goal, &mut self.memory, self.now)
    }

    /// Decides, and gives the decision in short.
    fn says(&mut self) -> String {
        match self.decide() {
            Action::Wait(waiting) => format!("wait {}", word(&waiting)),
            Action::Again(at, waiting) => format!("wait {} until {}", word(&waiting), at.as_secs()),
            Action::Ask(questions) => format!("ask {}", questions[0].head),
            Action::Refresh(_) => "refresh".to_owned(),
            Action::Sync(revisions) => {
                let revisions: Vec<_> =
                    revisions.into_iter().map(|r| r.unwrap_or("-".into())).collect();
                format!("sync {}", revisions.join(",")).trim_end().to_owned()
            }
            Action::Done(outcome) if outcome.unpruned.is_empty() => "done".to_owned(),
            Action::Done(_) => "done unpruned".to_owned(),
            Action::Fail(failure) => format!("fail {}", word(&failure)),
            other => word(&other).to_lowercase(),
        }
    }
}

/// The first word of what `Debug` writes.
fn word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[test]
fn an_old_state_that_is_well_is_not_ours() {
    let mut world = world(Some(OURS)).refreshed();
    assert_eq!(world.says(), format!("ask {OLD}"));
    let question = Question { source: 0, head: OLD.into(), ours: OURS.into() };
    world.memory.answers.insert(question, Contains::No);
    assert_eq!(world.says(), "wait revision until 2");
    assert_eq!(world.at(2).says(), "refresh");
    world.memory.refreshes = 9;
    assert_eq!(world.at(100).says(), "refresh");
    world.memory.last_refresh = Some(Duration::from_secs(100));
    assert_eq!(world.says(), "wait revision until 115");
}

#[test]
fn a_commit_on_top_of_ours_is_as_good() {
    for (answer, expected) in [
        (Contains::Yes, "done"),
        (Contains::No, "wait revision until 2"),
        (Contains::Unknown, "wait revision until 2"),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        world.compared(NEWER, "Synced");
        let question = Question { source: 0, head: NEWER.into(), ours: OURS.into() };
        world.memory.answers.insert(question, answer);
        assert_eq!(world.says(), expected, "{answer:?}");
    }
}

#[test]
fn without_a_commit_what_counts_is_the_comparison_that_was_asked_for() {
    let mut world = world(None);
    assert_eq!(world.says(), "refresh");
    world.memory.refreshing = true;
    assert_eq!(world.says(), "wait refresh");
    world.memory.refreshing = false;
    world.memory.last_refresh = Some(Duration::ZERO);
    assert_eq!(world.says(), "wait refresh", "it failed a moment ago");
    assert_eq!(world.at(1).says(), "refresh");
    world.memory.refreshes = 1;
    assert_eq!(world.says(), "done");
    world.goal.refresh = Refresh::None;
    world.memory = Memory::default();
    assert_eq!(world.says(), "done");
}

#[test]
fn a_sync_has_a_revision_only_where_auto_sync_is_off() {
    for (auto, enabled, expected) in [
        (false, None, format!("sync {OURS}")),
        (true, None, "sync".to_owned()),
        (true, Some(false), format!("sync {OURS}")),
        (true, Some(true), "sync".to_owned()),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        world.compared(OURS, "OutOfSync");
        if auto {
            world.auto().set("spec.syncPolicy.automated.enabled", enabled);
        }
        assert_eq!(world.says(), expected, "{auto} {enabled:?}");
    }
}

#[test]
fn a_newer_head_is_what_is_synced_and_never_an_older_one() {
    let mut world = world(Some(OURS)).refreshed();
    world.compared(NEWER, "OutOfSync");
    let question = Question { source: 0, head: NEWER.into(), ours: OURS.into() };
    world.memory.answers.insert(question, Contains::Yes);
    assert_eq!(world.says(), format!("sync {NEWER}"));
}

#[test]
fn a_sync_of_ours_to_its_end() {
    let mut world = world(Some(OURS)).refreshed();
    assert_eq!(world.compared(OURS, "OutOfSync").says(), format!("sync {OURS}"));
    world.memory.posted = Some(Duration::ZERO);
    world.memory.attempts = 1;
    world.memory.floor = Some(110);
    assert_eq!(world.says(), "wait stale", "an observation of before");
    world.set("metadata.resourceVersion", "110");
    world.set("operation", json!({"info": [{"name": "yado", "value": "1"}]}));
    assert_eq!(world.says(), "wait operation");
    world.set("operation", Value::Null).operation(true, "Running", OURS);
    assert_eq!(world.says(), "wait operation");
    world.operation(true, "Succeeded", OURS);
    assert_eq!(world.says(), "wait comparison until 5");
    assert_eq!(world.at(5).says(), "refresh", "the comparison is late");
    world.reconciled().compared(OURS, "Synced").set("status.health.status", "Progressing");
    assert_eq!(world.says(), "wait health");
    world.set("status.health.status", "Healthy");
    assert_eq!(world.says(), "done");
}

#[test]
fn versions_that_are_no_numbers_do_not_let_old_news_decide() {
    let mut world = world(Some(OURS)).refreshed();
    world.set("metadata.resourceVersion", "x1").compared(OURS, "Synced");
    world.memory.posted = Some(Duration::ZERO);
    world.memory.attempts = 1;
    assert_eq!(world.says(), "wait stale until 10");
    assert_eq!(world.at(10).says(), "done", "somebody has started another since");
}

#[test]
fn an_operation_of_somebody_else() {
    for (busy, revision, expected) in [
        (OnBusy::Wait, OLD, "wait operation"),
        (OnBusy::Adopt, OLD, "wait operation"),
        (OnBusy::Terminate, OLD, "terminate"),
        (OnBusy::Fail, OLD, "fail busy"),
        (OnBusy::Wait, OURS, "wait operation"),
        (OnBusy::Adopt, OURS, "wait operation"),
        (OnBusy::Terminate, OURS, "wait operation"),
        (OnBusy::Fail, OURS, "wait operation"),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        let question = Question { source: 0, head: OLD.into(), ours: OURS.into() };
        world.memory.answers.insert(question, Contains::No);
        world.goal.on_busy = busy;
        world.operation(false, "Running", revision);
        assert_eq!(world.says(), expected, "{busy:?} {revision}");
        world.memory.terminated = true;
        if busy != OnBusy::Fail {
            assert_eq!(world.says(), "wait operation", "{busy:?} {revision}");
        }
        // It has applied what it was to apply: ours, or something that ours follows.
        world.operation(false, "Succeeded", revision).reconciled();
        let sync = if revision == OURS { "Synced" } else { "OutOfSync" };
        world.compared(OURS, sync);
        let expected = if revision == OURS { "done".to_owned() } else { format!("sync {OURS}") };
        assert_eq!(world.says(), expected, "{busy:?} {revision}");
    }
}

#[test]
fn a_sync_in_any_case_is_started_once() {
    for (busy, expected) in [(OnBusy::Wait, format!("sync {OURS}")), (OnBusy::Adopt, "done".into())]
    {
        let mut world = world(Some(OURS)).refreshed();
        world.goal.sync = Start::Always;
        world.goal.on_busy = busy;
        assert_eq!(world.compared(OURS, "Synced").says(), format!("sync {OURS}"));
        world.operation(false, "Succeeded", OURS).reconciled();
        assert_eq!(world.says(), expected, "{busy:?}");
        world.memory.attempts = 1;
        world.operation(true, "Succeeded", OURS);
        assert_eq!(world.says(), "done");
    }
}

#[test]
fn a_refused_sync_is_not_repeated_at_once() {
    let mut world = world(Some(OURS)).refreshed();
    world.memory.refused = Some(Duration::from_secs(3));
    assert_eq!(world.at(3).compared(OURS, "OutOfSync").says(), "wait operation until 4");
    assert_eq!(world.at(4).says(), format!("sync {OURS}"));
}

#[test]
fn running_with_an_end_is_waiting_for_another_attempt() {
    let mut world = world(Some(OURS)).refreshed();
    world.operation(true, "Running", OURS);
    world.set("status.operationState.finishedAt", "2026-01-01T01:00:05Z");
    world.set("status.operationState.operation.retry", json!({"limit": 2}));
    world.set("status.operationState.retryCount", 1);
    world.set(
        "status.operationState.syncResult.resources",
        json!([
            {"kind": "Job", "name": "migrate", "hookType": "PreSync", "hookPhase": "Failed"}
        ]),
    );
    let Action::Wait(waiting) = world.decide() else { panic!() };
    assert!(waiting.to_string().starts_with("attempt 2 of the operation"), "{waiting}");
    // The last attempt is under way.
    world.set("status.operationState.finishedAt", Value::Null);
    world.set("status.operationState.retryCount", 2);
    assert_eq!(world.says(), "fail hook");
}

#[test]
fn operations_that_failed() {
    for (ours, revision, expected) in [
        (true, OURS, "fail operation".to_owned()),
        (true, OLD, "fail operation".to_owned()),
        (false, OURS, "fail operation".to_owned()),
        (false, OLD, format!("sync {OURS}")),
    ] {
        for phase in ["Failed", "Error"] {
            let mut world = world(Some(OURS)).refreshed();
            let question = Question { source: 0, head: OLD.into(), ours: OURS.into() };
            world.memory.answers.insert(question, Contains::No);
            world.compared(OURS, "OutOfSync").operation(ours, phase, revision).reconciled();
            assert_eq!(world.says(), expected, "{ours} {revision} {phase}");
        }
    }
}

#[test]
fn what_failed_before_we_began_is_tried_again() {
    let mut world = world(Some(OURS));
    world.operation(false, "Failed", OURS).reconciled().compared(OURS, "OutOfSync");
    world.set("status.conditions", json!([{"type": "SyncError", "message": "old"}]));
    let mut world = world.refreshed();
    assert_eq!(world.says(), format!("sync {OURS}"));
    world.set("status.conditions", json!([{"type": "SyncError", "message": "new"}]));
    assert_eq!(world.says(), "fail condition");
}

#[test]
fn errors_on_the_application() {
    for (kind, compared, expected, later) in [
        ("ComparisonError", OURS, "fail condition", "fail condition"),
        ("InvalidSpecError", OURS, "fail condition", "fail condition"),
        ("InvalidSpecError", "", "fail condition", "fail condition"),
        ("ComparisonError", "", "wait condition until 2", "fail condition"),
        ("ComparisonError", OLD, "wait revision until 2", "refresh"),
        ("OrphanedResourceWarning", OURS, "wait comparison until 2", "refresh"),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        let question = Question { source: 0, head: OLD.into(), ours: OURS.into() };
        world.memory.answers.insert(question, Contains::No);
        world.compared(compared, "Unknown");
        world.set("status.conditions", json!([{"type": kind, "message": "it is wrong"}]));
        assert_eq!(world.says(), expected, "{kind} {compared}");
        assert_eq!(world.at(30).says(), later, "{kind} {compared}");
    }
}

#[test]
fn degraded_is_a_failure_after_its_grace_from_the_start_on_too() {
    let mut world = world(Some(OURS)).refreshed();
    world.compared(OURS, "Synced").set("status.health.status", "Degraded");
    assert_eq!(world.says(), "wait health until 30");
    assert_eq!(world.at(29).says(), "wait health until 30");
    assert_eq!(world.at(30).says(), "fail health");
    world.goal.degraded_grace = Duration::ZERO;
    assert_eq!(world.says(), "fail health");
}

#[test]
fn flapping_does_not_forgive_but_long_progress_and_health_do() {
    let mut world = world(Some(OURS)).refreshed();
    world.compared(OURS, "Synced");
    for (seconds, health, expected) in [
        (0, "Degraded", "wait health until 30"),
        (10, "Progressing", "wait health"),
        (15, "Degraded", "wait health until 30"),
        (20, "Progressing", "wait health"),
        (29, "Progressing", "wait health"),
        (60, "Progressing", "wait health"),
        (61, "Degraded", "wait health until 91"),
        (70, "Missing", "wait health until 91"),
        (91, "Missing", "fail health"),
    ] {
        world.set("status.health.status", health);
        assert_eq!(world.at(seconds).says(), expected, "{seconds} {health}");
    }
}

#[test]
fn well_must_last_as_long_as_asked() {
    let mut world = world(Some(OURS)).refreshed();
    world.goal.settle = Duration::from_secs(10);
    world.compared(OURS, "Synced");
    for (seconds, health, expected) in [
        (0, "Healthy", "wait settle until 10"),
        (9, "Healthy", "wait settle until 10"),
        (9, "Progressing", "wait health"),
        (12, "Healthy", "wait settle until 22"),
        (22, "Healthy", "done"),
    ] {
        world.set("status.health.status", health);
        assert_eq!(world.at(seconds).says(), expected, "{seconds} {health}");
    }
}

#[test]
fn suspended_is_well_only_if_that_is_waited_for() {
    for (health, suspended, expected) in [
        ("Suspended", false, "wait health"),
        ("Suspended", true, "done"),
        ("Healthy", true, "done"),
        ("Unknown", true, "wait health"),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        world.goal.wait.suspended = suspended;
        world.compared(OURS, "Synced").set("status.health.status", health);
        assert_eq!(world.says(), expected, "{health} {suspended}");
    }
}

fn resources(rows: &[(&str, &str, &str, bool)]) -> Value {
    let row = |(name, sync, health, prune): &(&str, &str, &str, bool)| {
        json!({"kind": "Deployment", "group": "apps", "namespace": "shop", "name": name,
            "status": sync, "health": {"status": health}, "requiresPruning": prune})
    };
    rows.iter().map(row).collect()
}

#[test]
fn what_is_left_to_prune_is_told_apart() {
    for (prune, auto, rows, expected) in [
        (
            false,
            json!({}),
            [("a", "Synced", "Healthy", false), ("b", "OutOfSync", "Healthy", true)],
            "done unpruned".to_owned(),
        ),
        (
            true,
            json!({}),
            [("a", "Synced", "Healthy", false), ("b", "OutOfSync", "Healthy", true)],
            format!("sync {OURS}"),
        ),
        (
            false,
            json!({"automated": {"prune": true}}),
            [("a", "Synced", "Healthy", false), ("b", "OutOfSync", "Healthy", true)],
            "sync".to_owned(),
        ),
        (
            false,
            json!({}),
            [("a", "OutOfSync", "Healthy", false), ("b", "OutOfSync", "Healthy", true)],
            format!("sync {OURS}"),
        ),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        world.goal.request.prune = prune;
        world.set("spec.syncPolicy", auto).compared(OURS, "OutOfSync");
        world.set("status.resources", resources(&rows));
        assert_eq!(world.says(), expected, "{rows:?}");
    }
}

#[test]
fn what_still_differs_after_its_sync_is_a_failure_after_the_grace() {
    let mut world = world(Some(OURS)).refreshed();
    world.memory.attempts = 1;
    world.operation(true, "Succeeded", OURS).reconciled().compared(OURS, "OutOfSync");
    world.set("status.resources", resources(&[("a", "OutOfSync", "Healthy", false)]));
    assert_eq!(world.says(), "wait sync until 2");
    assert_eq!(world.at(2).says(), "refresh");
    world.memory.last_refresh = Some(Duration::from_secs(29));
    assert_eq!(world.at(30).says(), "fail outofsync");
}

#[test]
fn a_limited_sync_is_about_its_resources_only() {
    let mut world = world(Some(OURS)).refreshed();
    world.goal.request.resources =
        vec![super::super::goal::Selector::parse("apps:Deployment:a").unwrap()];
    world.compared(OURS, "OutOfSync").set("status.health.status", "Degraded");
    for (a, b, expected) in [
        (("Synced", "Healthy"), ("OutOfSync", "Degraded"), "done".to_owned()),
        (("OutOfSync", "Healthy"), ("OutOfSync", "Degraded"), format!("sync {OURS}")),
        (("Synced", "Degraded"), ("Synced", "Healthy"), "wait health until 30".to_owned()),
    ] {
        let rows = resources(&[("a", a.0, a.1, false), ("b", b.0, b.1, false)]);
        assert_eq!(world.set("status.resources", rows).says(), expected, "{a:?} {b:?}");
    }
}

#[test]
fn labels_are_looked_up_before_a_sync() {
    let mut world = world(Some(OURS)).refreshed();
    world.goal.request.labels = vec![("tier".into(), "front".into())];
    world.compared(OURS, "OutOfSync");
    world.set("status.resources", resources(&[("a", "OutOfSync", "Healthy", false)]));
    assert_eq!(world.says(), "label");
    let key = Key {
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "a".into(),
    };
    world.memory.labelled = Some(vec![key]);
    assert_eq!(world.says(), format!("sync {OURS}"));
}

#[test]
fn sync_never_waits_for_others() {
    let mut world = world(Some(OURS)).refreshed();
    world.goal.sync = Start::Never;
    assert_eq!(world.compared(OURS, "OutOfSync").says(), "wait sync");
    assert_eq!(world.compared(OURS, "Synced").says(), "done");
}

#[test]
fn a_dry_run_is_done_when_its_operation_is() {
    let mut world = world(Some(OURS)).refreshed();
    world.goal.request.dry_run = true;
    assert_eq!(world.says(), format!("sync {OURS}"));
    world.operation(true, "Running", OURS);
    assert_eq!(world.says(), "wait operation");
    world.operation(true, "Succeeded", OURS);
    assert_eq!(world.says(), "done");
    world.operation(true, "Failed", OURS);
    assert_eq!(world.says(), "fail operation");
}

#[test]
fn several_sources_are_expected_by_their_place() {
    let mut world = world(None);
    world.goal.revisions = [(1, OURS), (2, NEWER)]
        .map(|(at, revision)| Expected {
            source: Some(Place::Position(at)),
            revision: revision.to_owned(),
        })
        .into();
    let source = |url: &str| json!({"repoURL": url, "targetRevision": "main"});
    world.set("spec.sources", json!([source("a"), source("b"), source("c")]));
    let mut world = world.refreshed();
    world.set("status.sync", json!({"status": "OutOfSync", "revisions": [OURS, OLD, OLD]}));
    assert_eq!(world.says(), format!("ask {OLD}"));
    let question = Question { source: 1, head: OLD.into(), ours: NEWER.into() };
    world.memory.answers.insert(question, Contains::No);
    assert_eq!(world.says(), "wait revision until 2");
    world.set("status.sync", json!({"status": "OutOfSync", "revisions": [OURS, NEWER, OLD]}));
    assert_eq!(world.says(), format!("sync {OURS},{NEWER},-"));
    world.set("status.sync", json!({"status": "OutOfSync", "revisions": [OURS]}));
    assert_eq!(world.says(), "wait revision until 2");
}

#[test]
fn a_commit_without_a_source_is_the_users_mistake() {
    let mut world = world(Some(OURS)).refreshed();
    world.goal.revisions[0].source = Some(Place::Position(2));
    assert_eq!(world.says(), "fail sources");
}

#[test]
fn what_is_rendered_first_is_expected_when_it_is_rendered() {
    let mut world = world(Some(OURS)).refreshed();
    world.set(
        "spec.sourceHydrator",
        json!({
            "drySource": {"repoURL": "https://h/ops", "targetRevision": "main", "path": "web"},
            "syncSource": {"targetBranch": "env/prod", "path": "web"},
        }),
    );
    let rendered = "00000000000000000000000000000000000000cc";
    let operation = |phase: &str, dry: &str, hydrated: &str| {
        json!({"currentOperation":
            {"phase": phase, "drySHA": dry, "hydratedSHA": hydrated, "message": "m"}})
    };
    assert_eq!(world.says(), "wait hydration until 2");
    for (dry, head) in [(OLD, OURS), (OLD, rendered)] {
        let question = Question { source: 0, head: dry.into(), ours: head.into() };
        world.memory.answers.insert(question, Contains::No);
    }
    for (state, compared, expected) in [
        (operation("Hydrated", OLD, OLD), OLD, "wait hydration until 2"),
        (operation("Hydrating", OURS, ""), OLD, "wait hydration"),
        (operation("Failed", OURS, ""), OLD, "fail hydration"),
        (operation("Hydrated", OURS, rendered), OLD, "wait revision until 2"),
        (operation("Hydrated", OURS, rendered), rendered, "done"),
    ] {
        world.set("status.sourceHydrator", state.clone()).compared(compared, "Synced");
        assert_eq!(world.says(), expected, "{state} {compared}");
    }
}

#[test]
fn pods_that_will_not_run_end_the_wait() {
    for (reason, created, first, later) in [
        ("InvalidImageName", "2026-01-01T01:00:01Z", "fail pods", "fail pods"),
        ("ImagePullBackOff", "2026-01-01T01:00:01Z", "wait health until 30", "fail pods"),
        ("Init:ErrImagePull", "2026-01-01T01:00:01Z", "wait health until 30", "fail pods"),
        ("ImagePullBackOff", "2026-01-01T00:00:01Z", "wait health", "wait health"),
        ("ContainerCreating", "2026-01-01T01:00:01Z", "wait health", "wait health"),
    ] {
        let mut world = world(Some(OURS)).refreshed();
        world.operation(true, "Succeeded", OURS).reconciled().compared(OURS, "Synced");
        world.set("status.health.status", "Progressing");
        let pod = json!({"nodes": [{"kind": "Pod", "name": "web-1", "createdAt": created,
            "info": [{"name": "Status Reason", "value": reason}]}]});
        world.memory.tree = Tree::read(pod).unwrap();
        assert_eq!(world.says(), first, "{reason} {created}");
        assert_eq!(world.at(30).says(), later, "{reason} {created}");
    }
}

#[test]
fn a_comparison_for_other_sources_says_nothing() {
    let mut world = world(None).refreshed();
    world.goal.changed = true;
    let source = world.app["spec"]["source"].clone();
    world.set("status.sync.comparedTo", json!({"source": {"repoURL": "other"}}));
    assert_eq!(world.says(), "wait comparison until 2");
    world.set("status.sync.comparedTo", json!({ "source": source }));
    assert_eq!(world.says(), "done");
}

#[test]
fn it_gives_up_when_each_sync_is_overtaken() {
    let mut world = world(None).refreshed();
    world.compared(NEWER, "OutOfSync").operation(true, "Succeeded", OURS).reconciled();
    world.memory.attempts = 2;
    assert_eq!(world.says(), "sync -");
    world.memory.attempts = 3;
    assert_eq!(world.says(), "fail overtaken");
}
