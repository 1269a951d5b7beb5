//! A server of Argo CD of the test's own: the interface, and a controller that does what it is told
//! to do, in time. Each request and each answer is held against the published interface.

mod cluster;
mod serve;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

/// What the application was at before.
pub(crate) const OLD: &str = "0000000000000000000000000000000000000001";
/// The commit that is to be live.
pub(crate) const OURS: &str = "00000000000000000000000000000000000000aa";
/// What was rendered of it.
pub(crate) const RENDERED: &str = "00000000000000000000000000000000000000cc";

const MS: Duration = Duration::from_millis(1);

/// What the controller does, and what is wrong with the server.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Whether it syncs by itself.
    pub(crate) auto: bool,
    /// What comparisons find at the head of the branch, one after the other; the last stays.
    pub(crate) heads: Vec<&'static str>,
    /// How long a comparison takes.
    pub(crate) compare: Duration,
    /// How long until the controller compares by itself; never, unless set.
    pub(crate) poll: Option<Duration>,
    /// Attempts of an operation: how long they take, and their phase; the last is repeated.
    pub(crate) attempts: Vec<(Duration, &'static str)>,
    /// How often it is tried again.
    pub(crate) retries: i64,
    /// What a failing attempt says of a resource.
    pub(crate) results: Value,
    /// How it is after an operation, and for how long each.
    pub(crate) health: Vec<(Duration, &'static str)>,
    /// An operation of somebody else that is under way at first: of what, for how long.
    pub(crate) busy: Option<(&'static str, Duration)>,
    /// How long reads and streams lag behind a write of the interface.
    pub(crate) stale: Duration,
    /// Whether a window forbids syncs.
    pub(crate) window: bool,
    /// What is left to prune after a sync.
    pub(crate) leftover: bool,
    /// After how long a session's token is no longer taken.
    pub(crate) session: Option<Duration>,
    /// Streams are cut after so long.
    pub(crate) cut: Option<Duration>,
    /// A layer of compression holds streams back, unless they are events.
    pub(crate) buffering: bool,
    /// A proxy holds all streams back.
    pub(crate) held: bool,
    /// Of so many requests, one succeeds; the others are answered with 500.
    pub(crate) failing: usize,
    /// Bytes come one by one.
    pub(crate) dripping: bool,
    /// Changes that are made to the application before it begins.
    pub(crate) setup: fn(&mut Value),
}

impl Default for Script {
    fn default() -> Self {
        Self {
            auto: false,
            heads: vec![OURS],
            compare: 100 * MS,
            poll: None,
            attempts: vec![(300 * MS, "Succeeded")],
            retries: 0,
            results: json!([]),
            health: vec![(300 * MS, "Progressing"), (Duration::ZERO, "Healthy")],
            busy: None,
            stale: Duration::ZERO,
            window: false,
            leftover: false,
            session: None,
            cut: None,
            buffering: true,
            held: false,
            failing: 0,
            dripping: false,
            setup: |_| {},
        }
    }
}

/// A request that was made.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Value,
    pub(crate) status: u16,
}

/// The server, until it is dropped; then all that was said must have been right.
#[derive(Debug)]
pub(crate) struct ArgoCd {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// What the application was, with the times from which on others see it.
    versions: Vec<(Instant, Value)>,
    heads: usize,
    live: String,
    terminate: bool,
    asked: Vec<Asked>,
    problems: Vec<String>,
    moments: Vec<(String, Instant)>,
    sessions: Vec<(String, Instant)>,
    count: usize,
}

/// A number without a pattern that a client could fall in step with.
fn spread(count: usize) -> usize {
    (count.wrapping_mul(2_654_435_761) >> 9) & 0xffff
}

/// Now, as Kubernetes writes it.
fn time() -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a date: years begin in March, so that the leap day is their last.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What is null is not there: a program that writes structures leaves it out.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn resource(kind: &str, group: &str, name: &str, sync: &str, health: &str) -> Value {
    json!({"group": group, "kind": kind, "namespace": "shop", "name": name, "version": "v1",
        "status": sync, "health": {"status": health}})
}

/// Synced and healthy at an older commit, and compared long ago.
fn application(script: &Script) -> Value {
    let source =
        json!({"repoURL": "ftp://ops.invalid/ops", "path": "web", "targetRevision": "main"});
    let policy = if script.auto { json!({"automated": {}}) } else { json!({}) };
    let old = "2026-01-01T00:00:00Z";
    let mut app = json!({
        "metadata": {"name": "web", "namespace": "argocd", "resourceVersion": "1", "uid": "u"},
        "spec": {"project": "shop", "source": source, "syncPolicy": policy,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"}},
        "status": {
            "sync": {"status": "Synced", "revision": OLD, "comparedTo": {"source": source}},
            "health": {"status": "Healthy"},
            "reconciledAt": old,
            "history": [{"id": 3, "revision": OLD, "deployedAt": old, "source": source}],
            "operationState": {"phase": "Succeeded", "startedAt": old, "finishedAt": old,
                "operation": {"sync": {"revision": OLD}},
                "syncResult": {"revision": OLD, "resources": []}},
            "resources": [resource("Deployment", "apps", "web", "Synced", "Healthy"),
                resource("Service", "", "web", "Synced", "Healthy")],
        },
    });
    (script.setup)(&mut app);
    app
}

impl ArgoCd {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = application(&script);
        let state = State {
            live: OLD.to_owned(),
            versions: vec![(Instant::now(), app)],
            ..State::default()
        };
        let shared = Arc::new(Shared {
            script,
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        if let Some((revision, takes)) = shared.script.busy {
            let operation = json!({"sync": {"revision": revision},
                "initiatedBy": {"username": "somebody"}});
            shared.change(Duration::ZERO, |app| {
                app["status"]["operationState"] = json!({"phase": "Running", "startedAt": time(),
                    "operation": operation, "syncResult": {"revision": revision}});
            });
            let theirs = Arc::clone(&shared);
            std::thread::spawn(move || {
                if theirs.pause(takes) {
                    return;
                }
                theirs.end("Succeeded", revision, "");
                theirs.compare();
            });
        }
        if let Some(poll) = shared.script.poll {
            let theirs = Arc::clone(&shared);
            std::thread::spawn(move || {
                while !theirs.pause(poll) {
                    theirs.compare();
                }
            });
        }
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || shared.serve(&stream.unwrap()));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Changes the application, as the controller would.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        self.shared.change(Duration::ZERO, change);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// The bodies of the syncs that were asked for.
    pub(crate) fn syncs(&self) -> Vec<Value> {
        let syncs = self.asked().into_iter().filter(|asked| asked.path.ends_with("/sync"));
        syncs.map(|asked| asked.body).collect()
    }

    /// When something happened, the last time.
    pub(crate) fn when(&self, what: &str) -> Option<Instant> {
        let state = self.shared.lock();
        state.moments.iter().rev().find(|(name, _)| name == what).map(|(_, at)| *at)
    }

    /// The application as it is.
    pub(crate) fn app(&self) -> Value {
        self.shared.lock().versions.last().unwrap().1.clone()
    }
}

impl Drop for ArgoCd {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(&self.address);
        let _ = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            let mut problems = std::mem::take(&mut self.shared.lock().problems);
            problems.sort();
            problems.dedup();
            assert!(problems.is_empty(), "not as the interface is published: {problems:#?}");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits as the controller does; true when the server ends meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while !self.stopped.load(Ordering::SeqCst) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
        true
    }

    /// Makes a new version, which others see after `lag`.
    fn change(&self, lag: Duration, change: impl FnOnce(&mut Value)) -> Value {
        let mut state = self.lock();
        let mut app = state.versions.last().unwrap().1.clone();
        change(&mut app);
        without_nulls(&mut app);
        let version: u64 = app["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        app["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        // Nothing is seen before what came before it.
        let visible = (Instant::now() + lag).max(state.versions.last().unwrap().0);
        state.versions.push((visible, app.clone()));
        let status = &app["status"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let moments = [
            text(&status["health"]["status"]),
            text(&status["operationState"]["phase"]),
            text(&status["sync"]["status"]),
            "change".to_owned(),
        ];
        state.moments.extend(moments.map(|what| (what, Instant::now())));
        drop(state);
        self.changed.notify_all();
        app
    }

    /// Compares, and syncs if that is its own business.
    fn compare(self: &Arc<Self>) {
        if self.pause(self.script.compare) {
            return;
        }
        let (head, live) = {
            let mut state = self.lock();
            let at = state.heads.min(self.script.heads.len() - 1);
            state.heads += 1;
            (self.script.heads[at], state.live.clone())
        };
        let mut begin = false;
        self.change(Duration::ZERO, |app| {
            if let Some(annotations) = app["metadata"]["annotations"].as_object_mut() {
                annotations.remove("argocd.argoproj.io/refresh");
            }
            let synced = live == head;
            let left = self.script.leftover && synced;
            let status = if synced && !left { "Synced" } else { "OutOfSync" };
            let several = app["spec"]["sources"].as_array().map(Vec::len);
            let spec = app["spec"].clone();
            let sync = &mut app["status"]["sync"];
            *sync = match several {
                None => json!({"status": status, "revision": head,
                    "comparedTo": {"source": spec["source"]}}),
                Some(count) => json!({"status": status, "revisions": vec![head; count],
                    "comparedTo": {"sources": spec["sources"]}}),
            };
            app["status"]["resources"][0]["status"] =
                json!(if synced { "Synced" } else { "OutOfSync" });
            if left {
                let mut old = resource("ConfigMap", "", "old", "OutOfSync", "Healthy");
                old["requiresPruning"] = json!(true);
                let resources = app["status"]["resources"].as_array_mut().unwrap();
                resources.truncate(2);
                resources.push(old);
            }
            app["status"]["reconciledAt"] = json!(time());
            let busy = app["operation"].is_object()
                || app["status"]["operationState"]["phase"] == "Running";
            if self.script.auto && !synced && !busy && !self.script.window {
                app["operation"] = json!({"sync": {"revision": head},
                    "initiatedBy": {"automated": true}});
                begin = true;
            }
        });
        if begin {
            self.operate();
        }
    }

    /// Does the operation that is asked for, on a thread of its own.
    fn operate(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.operation());
    }

    fn operation(self: &Arc<Self>) {
        // The controller takes a moment until it sees it.
        if self.pause(50 * MS) {
            return;
        }
        let mut operation = Value::Null;
        self.lock().terminate = false;
        for attempt in 0.. {
            let at = attempt.min(self.script.attempts.len() - 1);
            let (takes, phase) = self.script.attempts[at];
            let failing = phase != "Succeeded";
            let mut revision = String::new();
            self.change(Duration::ZERO, |app| {
                if let Some(asked) = app.as_object_mut().unwrap().remove("operation") {
                    operation = asked;
                }
                let sync = &operation["sync"];
                let several = app["spec"]["sources"].is_array();
                let result = if several {
                    sync["revisions"][0].as_str().unwrap().clone_into(&mut revision);
                    json!({"revisions": sync["revisions"], "resources": []})
                } else {
                    sync["revision"].as_str().unwrap().clone_into(&mut revision);
                    json!({"revision": revision, "resources": []})
                };
                app["status"]["operationState"] = json!({"phase": "Running", "startedAt": time(),
                    "retryCount": attempt, "operation": operation, "syncResult": result});
            });
            let end = Instant::now() + takes;
            while Instant::now() < end && !self.lock().terminate {
                if self.pause(10 * MS) {
                    return;
                }
            }
            if self.lock().terminate {
                self.end("Failed", "", "Operation terminated");
                return;
            }
            if failing {
                self.change(Duration::ZERO, |app| {
                    let results = &mut app["status"]["operationState"]["syncResult"]["resources"];
                    *results = self.script.results.clone();
                });
            }
            if failing && (attempt as i64) < self.script.retries {
                self.change(Duration::ZERO, |app| {
                    let state = &mut app["status"]["operationState"];
                    state["finishedAt"] = json!(time());
                    state["message"] = json!("one or more objects failed to apply. Retrying");
                    state["operation"]["retry"] = json!({"limit": self.script.retries});
                    operation["retry"] = json!({"limit": self.script.retries});
                });
                if self.pause(400 * MS) {
                    return;
                }
                continue;
            }
            if failing {
                self.end(phase, "", "one or more objects failed to apply");
                return;
            }
            self.end("Succeeded", &revision, "successfully synced");
            self.compare();
            return;
        }
    }

    /// An operation is at its end; what it has applied begins to run.
    fn end(self: &Arc<Self>, phase: &str, revision: &str, message: &str) {
        if phase == "Succeeded" {
            revision.clone_into(&mut self.lock().live);
        }
        let health = self.script.health.clone();
        let first = health[0].1;
        self.change(Duration::ZERO, |app| {
            let state = &mut app["status"]["operationState"];
            state["phase"] = json!(phase);
            state["message"] = json!(message);
            state["finishedAt"] = json!(time());
            if phase == "Succeeded" {
                app["status"]["health"] = json!({"status": first});
                app["status"]["resources"][0]["health"] = json!({"status": first});
            }
        });
        if phase != "Succeeded" {
            return;
        }
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            for (index, (lasts, status)) in health.iter().enumerate() {
                if index > 0 {
                    shared.change(Duration::ZERO, |app| {
                        app["status"]["health"] = json!({"status": status});
                        app["status"]["resources"][0]["health"] = json!({"status": status});
                    });
                }
                if shared.pause(*lasts) {
                    return;
                }
            }
        });
    }

    /// What others see of the application now.
    fn seen(&self) -> Value {
        let (state, now) = (self.lock(), Instant::now());
        state.versions.iter().rev().find(|(at, _)| *at <= now).unwrap().1.clone()
    }
}
