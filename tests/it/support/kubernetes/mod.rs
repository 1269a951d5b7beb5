//! An API server of Kubernetes, as far as clients can tell: objects with versions, lists, watches,
//! patches, discovery, refusals by role. kubectl works with it too, which is what shows that it is one.
//!
//! What controllers would do is played by scripts (`controllers.rs`). Each object that is
//! kept has only the properties that the published schema has for its kind
//! (`testdata/kubernetes/schema.json`).

pub(crate) mod controllers;
mod patch;
mod schema;
mod serve;
mod types;
mod watch;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use serde_json::{Map, Value, json};

use crate::support::WorkDir;

pub(crate) use serve::Stream;
use types::type_of;

/// Plural, namespace, name.
type Key = (String, String, String);

/// What plays the controllers when an object is changed or watched.
pub(crate) type Script = Arc<dyn Fn(&Handle) + Send + Sync>;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The path, with its query.
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) status: u16,
}

/// A fault that a request meets instead of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The method, and a part of the path with its query.
    pub(crate) on: (&'static str, &'static str),
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u32>,
    /// How often it is met.
    pub(crate) times: u32,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// Versions, what happened, to which object.
    history: Vec<(u64, &'static str, Key, Value)>,
    /// Versions before this one are gone.
    oldest: u64,
    requests: Vec<Asked>,
    /// Verbs and resources that the caller's role has not.
    forbidden: Vec<(&'static str, &'static str)>,
    faults: Vec<Fault>,
    /// Played at each change, and at the first watch.
    on_change: BTreeMap<Key, Script>,
    on_watch: BTreeMap<Key, Script>,
    /// Played before a patch is looked at.
    before_patch: Option<Script>,
    /// How many scripts of changes are being played.
    playing: usize,
    logs: BTreeMap<String, String>,
    /// After so many events a watch ends.
    events_a_watch: Option<usize>,
    /// Whether one answer has all types.
    aggregated: bool,
    /// The tokens that are taken; if there are none, nobody is asked for one.
    tokens: Vec<String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

/// What scripts and tests change the cluster by.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

/// The server, until it is dropped.
pub(crate) struct Cluster {
    /// `http://127.0.0.1:PORT`, or with https.
    pub(crate) url: String,
    pub(crate) handle: Handle,
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl std::ops::Deref for Cluster {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::listen("http", |stream| Box::new(stream) as Box<dyn Stream>)
    }

    /// With TLS; `accept` makes a stream of a connection.
    pub(crate) fn listen(
        scheme: &str,
        accept: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let accept = Arc::new(accept);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, accept) = (Arc::clone(&theirs), Arc::clone(&accept));
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    stream.set_nodelay(true).unwrap();
                    serve::serve(accept(stream), &Handle(shared));
                });
            }
        });
        let url = format!("{scheme}://{address}");
        Self { url, handle: Handle(shared), address, thread: Some(thread) }
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self, user: &Value, cluster: &Value) -> String {
        let mut of_cluster = json!({"server": self.url});
        of_cluster.as_object_mut().unwrap().extend(cluster.as_object().unwrap().clone());
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "contexts": [{"name": "fake",
                          "context": {"cluster": "fake", "user": "me", "namespace": "shop"}}],
            "clusters": [{"name": "fake", "cluster": of_cluster}],
            "users": [{"name": "me", "user": user}],
        })
        .to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.handle.0.stopped.store(true, Ordering::SeqCst);
        self.handle.0.changed.notify_all();
        let _ = TcpStream::connect(&self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn key(plural: &str, name: &str) -> Key {
    (plural.to_owned(), "shop".to_owned(), name.to_owned())
}

impl Handle {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts an object into the namespace `shop`, as it is.
    pub(crate) fn put(&self, plural: &str, object: Value) -> Value {
        let mut state = self.state();
        let object = state.put(plural, object);
        self.0.changed.notify_all();
        object
    }

    /// Changes an object past all rules; nothing if it is not there.
    pub(crate) fn edit(&self, plural: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let Some(mut object) = state.objects.get(&key(plural, name)).cloned() else { return };
        edit(&mut object);
        state.put(plural, object);
        self.0.changed.notify_all();
    }

    pub(crate) fn delete(&self, plural: &str, name: &str) {
        let mut state = self.state();
        let key = key(plural, name);
        let Some(mut object) = state.objects.remove(&key) else { return };
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        let version = state.version;
        state.history.push((version, "DELETED", key, object));
        self.0.changed.notify_all();
    }

    pub(crate) fn get(&self, plural: &str, name: &str) -> Value {
        self.state().objects.get(&key(plural, name)).cloned().unwrap_or_default()
    }

    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        let state = self.state();
        let of = state.objects.iter().filter(|(key, _)| key.0 == plural);
        of.map(|(_, object)| object.clone()).collect()
    }

    /// What controllers do when somebody changes this object.
    pub(crate) fn on_change(&self, plural: &str, name: &str, script: Script) {
        self.state().on_change.insert(key(plural, name), script);
    }

    /// What controllers do once somebody watches this object.
    pub(crate) fn on_watch(&self, plural: &str, name: &str, script: Script) {
        self.state().on_watch.insert(key(plural, name), script);
    }

    /// What others do between somebody's look and his patch.
    pub(crate) fn before_patch(&self, script: Script) {
        self.state().before_patch = Some(script);
    }

    /// Takes a verb on a resource from the caller's role.
    pub(crate) fn forbid(&self, verb: &'static str, resource: &'static str) {
        self.state().forbidden.push((verb, resource));
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    pub(crate) fn log(&self, pod: &str, text: &str) {
        self.state().logs.insert(pod.to_owned(), text.to_owned());
    }

    /// Plays what follows a change, beside the answer to it.
    fn play(&self, state: &mut State, script: Script) {
        state.playing += 1;
        let handle = self.clone();
        std::thread::spawn(move || {
            script(&handle);
            handle.state().playing -= 1;
            handle.0.changed.notify_all();
        });
    }

    /// Ends each watch after so many events.
    pub(crate) fn end_watches_after(&self, events: usize) {
        self.state().events_a_watch = Some(events);
    }

    /// Forgets all that has been up to now: who watches from there is told 410 Gone.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.version += 1;
        state.oldest = state.version;
        self.0.changed.notify_all();
    }

    pub(crate) fn aggregate(&self) {
        self.state().aggregated = true;
    }

    /// Takes these tokens and no others.
    pub(crate) fn want_tokens(&self, tokens: &[&str]) {
        self.state().tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// What was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().requests)
    }
}

impl State {
    fn put(&mut self, plural: &str, mut object: Value) -> Value {
        let (_, _, group, version, kind) = type_of(plural);
        let api_version =
            if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
        object["apiVersion"] = api_version.into();
        object["kind"] = (*kind).into();
        self.version += 1;
        let meta = object["metadata"].as_object_mut().expect("metadata");
        let name = meta["name"].as_str().expect("a name").to_owned();
        meta.insert("namespace".into(), "shop".into());
        meta.insert("resourceVersion".into(), self.version.to_string().into());
        // Not the name: another object of the same name has another one.
        meta.entry("uid").or_insert_with(|| format!("uid-{name}-{}", self.version).into());
        meta.entry("creationTimestamp").or_insert("2026-11-28T10:00:00Z".into());
        schema::check(kind, &object);
        let key = key(plural, &name);
        let known = self.objects.insert(key.clone(), object.clone());
        let what = if known.is_some() { "MODIFIED" } else { "ADDED" };
        self.history.push((self.version, what, key, object.clone()));
        object
    }
}

/// The judge: `KUBECTL`, else the one that is installed.
pub(crate) fn kubectl(work: &WorkDir, kubeconfig: &Path) -> Command {
    let kubectl = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let mut command = Command::new(kubectl);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", work.path("home"));
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--cache-dir").arg(work.path("kubectl-cache"));
    command
}

/// A map of texts.
pub(crate) fn texts(pairs: &[(&str, &str)]) -> Value {
    Value::Object(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect::<Map<_, _>>())
}
