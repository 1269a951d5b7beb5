//! An API server of Kubernetes, as far as clients can tell: objects with versions, lists, watches,
//! patches, discovery, refusals by role. kubectl works with it too, which is what shows that it is one.
//!
//! What controllers would do is played by scripts (see `controllers.rs`). Each object that is
//! kept has only the properties that the published schema has for its kind
//! (`testdata/kubernetes/schema.json`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kubernetes_patch as patches;
use super::kubernetes_schema as schema;

/// A type that is served: plural, short name, group, version, kind.
type Type = (&'static str, &'static str, &'static str, &'static str, &'static str);

const TYPES: [Type; 16] = [
    ("pods", "po", "", "v1", "Pod"),
    ("events", "ev", "", "v1", "Event"),
    ("serviceaccounts", "sa", "", "v1", "ServiceAccount"),
    ("deployments", "deploy", "apps", "v1", "Deployment"),
    ("statefulsets", "sts", "apps", "v1", "StatefulSet"),
    ("daemonsets", "ds", "apps", "v1", "DaemonSet"),
    ("replicasets", "rs", "apps", "v1", "ReplicaSet"),
    ("controllerrevisions", "", "apps", "v1", "ControllerRevision"),
    ("jobs", "", "batch", "v1", "Job"),
    ("cronjobs", "cj", "batch", "v1", "CronJob"),
    ("roles", "", "rbac.authorization.k8s.io", "v1", "Role"),
    ("rolebindings", "", "rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("rollouts", "ro", "argoproj.io", "v1alpha1", "Rollout"),
    ("applications", "app", "argoproj.io", "v1alpha1", "Application"),
    ("pipelineruns", "pr", "tekton.dev", "v1", "PipelineRun"),
    ("taskruns", "tr", "tekton.dev", "v1", "TaskRun"),
];

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
    logs: BTreeMap<String, String>,
    /// After so many events a watch ends.
    events_a_watch: Option<usize>,
    /// Whether one answer has all types.
    aggregated: bool,
    /// The token that is asked for.
    token: Option<String>,
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
                    serve(accept(stream), &Handle(shared));
                });
            }
        });
        let url = format!("{scheme}://{address}");
        Self { url, handle: Handle(shared), address, thread: Some(thread) }
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self, user: Value, cluster: Value) -> String {
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

fn type_of(plural: &str) -> &'static Type {
    TYPES.iter().find(|row| row.0 == plural).unwrap_or_else(|| panic!("no type {plural}"))
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

    pub(crate) fn want_token(&self, token: &str) {
        self.state().token = Some(token.to_owned());
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

/// A connection.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

fn serve(stream: Box<dyn Stream>, handle: &Handle) {
    let mut reader = BufReader::new(stream);
    while let Some(mut asked) = request(&mut reader) {
        let answer = answer(&asked, handle);
        let (Answer::Text { status, .. } | Answer::Json { status, .. }) = &answer else {
            asked.status = 200;
            handle.state().requests.push(asked.clone());
            let _ = watch(&asked, handle, reader.get_mut());
            return;
        };
        asked.status = *status;
        handle.state().requests.push(asked);
        let (kind, extra, text) = match &answer {
            Answer::Json { kind, value, retry_after, .. } => {
                let extra = retry_after.map(|s| format!("retry-after: {s}\r\n"));
                (*kind, extra.unwrap_or_default(), value.to_string())
            }
            Answer::Text { text, .. } => ("text/plain", String::new(), text.clone()),
            Answer::Watch => return,
        };
        let head = format!(
            "HTTP/1.1 {} -\r\ncontent-type: {kind}\r\n{extra}content-length: {}\r\n\r\n",
            match &answer {
                Answer::Text { status, .. } | Answer::Json { status, .. } => *status,
                Answer::Watch => 200,
            },
            text.len()
        );
        let stream = reader.get_mut();
        let sent =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
        if sent.and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<Box<dyn Stream>>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Asked { method, path, headers, body, status: 0 })
}

enum Answer {
    Json { status: u16, value: Value, kind: &'static str, retry_after: Option<u32> },
    Text { status: u16, text: String },
    Watch,
}

fn good(value: Value) -> Answer {
    Answer::Json { status: 200, value, kind: "application/json", retry_after: None }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    schema::check("Status", &status);
    status
}

fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let value = status(code, reason, message);
    Answer::Json { status: code, value, kind: "application/json", retry_after: None }
}

/// The query, decoded.
fn query(path: &str) -> BTreeMap<String, String> {
    let url: yado::net::Url = format!("http://h{path}").parse().unwrap();
    url.query_pairs().into_owned().collect()
}

fn answer(asked: &Asked, handle: &Handle) -> Answer {
    let path = asked.path.split('?').next().unwrap();
    let query = query(&asked.path);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let before = handle.state().before_patch.clone().filter(|_| asked.method == "PATCH");
    if let Some(script) = before {
        script(handle);
    }
    let mut state = handle.state();
    let fault = state.faults.iter_mut().find(|fault| {
        fault.times > 0 && fault.on.0 == asked.method && asked.path.contains(fault.on.1)
    });
    if let Some(fault) = fault {
        fault.times -= 1;
        let value = status(fault.status, "", "a fault of the test");
        let (status, retry_after) = (fault.status, fault.retry_after);
        return Answer::Json { status, value, kind: "application/json", retry_after };
    }
    if let Some(token) = &state.token
        && asked.headers.get("authorization") != Some(&format!("Bearer {token}"))
    {
        return refusal(401, "Unauthorized", "Unauthorized");
    }
    if let Some(found) = discovery(&segments, asked, state.aggregated) {
        return found;
    }
    // kubectl looks there when an object is missing.
    if segments == ["api", "v1", "namespaces", "shop"] {
        return good(
            json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}}),
        );
    }
    let rest = match segments.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => return refusal(404, "NotFound", "the server could not find the requested resource"),
    };
    // All that there is is in one namespace, but for what Argo CD has.
    let rest = if let ["namespaces", "shop" | "argocd", rest @ ..] = rest { rest } else { rest };
    let Some((plural, rest)) = rest.split_first() else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let Some((_, _, group, _, kind)) = TYPES.iter().find(|row| row.0 == *plural) else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let watching = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
    let verb = match (asked.method.as_str(), rest) {
        ("GET", []) if watching => "watch",
        ("GET", []) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PATCH", _) => "patch",
        _ => return refusal(405, "MethodNotAllowed", "the server does not allow this method"),
    };
    let resource = match rest {
        [_, sub] => format!("{plural}/{sub}"),
        _ => (*plural).to_owned(),
    };
    if state.forbidden.iter().any(|(v, r)| *v == verb && *r == resource) {
        let message = format!(
            "{plural} is forbidden: User \"me\" cannot {verb} resource \"{resource}\" in API group \
             \"{group}\" in the namespace \"shop\""
        );
        return refusal(403, "Forbidden", &message);
    }
    let of = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
    match (verb, rest) {
        ("watch", _) => {
            if query.contains_key("sendInitialEvents") {
                return refusal(422, "Invalid", "sendInitialEvents is forbidden");
            }
            drop(state);
            begin_watch(handle, plural, &query);
            Answer::Watch
        }
        ("list", _) => {
            let items = state.objects.iter().filter(|(key, _)| key.0 == *plural);
            let items = items.map(|(_, object)| object);
            let items: Vec<Value> =
                items.filter(|o| selected(o, &query)).cloned().map(bare).collect();
            let meta = json!({"resourceVersion": state.version.to_string()});
            let api_version = api_version(plural);
            let list = format!("{kind}List");
            good(json!({"kind": list, "apiVersion": api_version, "metadata": meta, "items": items}))
        }
        ("get", [pod, "log"]) => {
            let text = state.logs.get(*pod).cloned();
            let lines: usize = query.get("tailLines").map_or(usize::MAX, |n| n.parse().unwrap());
            match text {
                Some(text) => {
                    let all: Vec<&str> = text.lines().collect();
                    let last = all[all.len().saturating_sub(lines)..].join("\n") + "\n";
                    Answer::Text { status: 200, text: last }
                }
                None => refusal(400, "BadRequest", "container is waiting to start"),
            }
        }
        ("get", [name]) => match state.objects.get(&key(plural, name)) {
            Some(object) => good(object.clone()),
            None => refusal(404, "NotFound", &format!("{of} \"{name}\" not found")),
        },
        ("create", []) => create(handle, &mut state, plural, &of, &asked.body, &query),
        ("patch", [name]) => {
            let Some(object) = state.objects.get(&key(plural, name)).cloned() else {
                return refusal(404, "NotFound", &format!("{of} \"{name}\" not found"));
            };
            let patch: Value = serde_json::from_str(&asked.body).unwrap();
            let kind = asked.headers.get("content-type").map_or("", String::as_str);
            if kind.starts_with("application/strategic") && group.contains('.') {
                return refusal(415, "UnsupportedMediaType", "strategic is not supported here");
            }
            let mut changed = match patches::apply(kind, &object, &patch) {
                Ok(changed) => without_nothing(changed),
                Err(problem) => return refusal(422, "Invalid", &problem),
            };
            if changed == object || query.contains_key("dryRun") {
                return good(changed);
            }
            if changed["spec"] != object["spec"] {
                let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
                changed["metadata"]["generation"] = (generation + 1).into();
            }
            let changed = state.put(plural, changed);
            if let Some(script) = state.on_change.get(&key(plural, name)).cloned() {
                let handle = handle.clone();
                std::thread::spawn(move || script(&handle));
            }
            handle.0.changed.notify_all();
            good(changed)
        }
        _ => refusal(404, "NotFound", "the server could not find the requested resource"),
    }
}

/// Without nulls and empty resources, which clients send and the server does not keep.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, value)| {
                !(value.is_null() || (key == "resources" && *value == json!({})))
            });
            Value::Object(kept.map(|(key, value)| (key, without_nothing(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nothing).collect()),
        other => other,
    }
}

fn api_version(plural: &str) -> String {
    let (_, _, group, version, _) = type_of(plural);
    if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
}

/// As it is in a list, without its type.
fn bare(mut object: Value) -> Value {
    let map = object.as_object_mut().unwrap();
    map.remove("kind");
    map.remove("apiVersion");
    object
}

fn create(
    handle: &Handle,
    state: &mut State,
    plural: &str,
    of: &str,
    body: &str,
    query: &BTreeMap<String, String>,
) -> Answer {
    let mut object: Value = serde_json::from_str(body).unwrap();
    let meta = object["metadata"].as_object_mut().unwrap();
    if !meta.contains_key("name") {
        let Some(prefix) = meta.get("generateName").and_then(Value::as_str) else {
            return refusal(422, "Invalid", "metadata.name: Required value");
        };
        let name = format!("{prefix}x{:04x}", state.version);
        meta.insert("name".into(), name.into());
    }
    let name = meta["name"].as_str().unwrap().to_owned();
    if state.objects.contains_key(&key(plural, &name)) {
        return refusal(409, "AlreadyExists", &format!("{of} \"{name}\" already exists"));
    }
    object["metadata"]["generation"] = 1.into();
    if query.contains_key("dryRun") {
        return Answer::Json {
            status: 201,
            value: object,
            kind: "application/json",
            retry_after: None,
        };
    }
    let object = state.put(plural, object);
    let any = ["", &*name].into_iter().find_map(|name| state.on_change.get(&key(plural, name)));
    if let Some(script) = any.cloned() {
        let handle = handle.clone();
        std::thread::spawn(move || script(&handle));
    }
    handle.0.changed.notify_all();
    Answer::Json { status: 201, value: object, kind: "application/json", retry_after: None }
}

/// Plays what waits for somebody to watch.
fn begin_watch(handle: &Handle, plural: &str, query: &BTreeMap<String, String>) {
    let field = query.get("fieldSelector").map_or("", String::as_str);
    let Some(name) = field.strip_prefix("metadata.name=") else { return };
    let script = handle.state().on_watch.remove(&key(plural, name));
    if let Some(script) = script {
        let handle = handle.clone();
        std::thread::spawn(move || script(&handle));
    }
}

/// Sends events until the client goes, the server ends or the watch has had its events.
fn watch(asked: &Asked, handle: &Handle, stream: &mut Box<dyn Stream>) -> std::io::Result<()> {
    let query = query(&asked.path);
    let path = asked.path.split('?').next().unwrap();
    let plural = path.rsplit('/').next().unwrap();
    let mut from: u64 = query.get("resourceVersion").map_or(0, |v| v.parse().unwrap_or(0));
    let chunk = |stream: &mut Box<dyn Stream>, event: &Value| {
        let line = format!("{event}\n");
        write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
        stream.flush()
    };
    let head =
        "HTTP/1.1 200 -\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let limit = handle.state().events_a_watch.unwrap_or(usize::MAX);
    let (mut sent, mut bookmarked) = (0, false);
    while sent < limit && !handle.0.stopped.load(Ordering::SeqCst) {
        let mut state = handle.state();
        if from < state.oldest {
            drop(state);
            let gone = status(410, "Expired", "too old resource version");
            chunk(stream, &json!({"type": "ERROR", "object": gone}))?;
            break;
        }
        let news = state.history.iter().filter(|(version, _, key, object)| {
            *version > from && key.0 == plural && selected(object, &query)
        });
        let news: Vec<_> = news.map(|(_, what, _, o)| (*what, o.clone())).collect();
        let version = state.version;
        if news.is_empty() {
            let bookmark = !bookmarked && query.contains_key("allowWatchBookmarks");
            if bookmark {
                bookmarked = true;
                from = version;
                drop(state);
                let (_, _, _, _, kind) = type_of(plural);
                let object = json!({"kind": kind, "apiVersion": api_version(plural),
                    "metadata": {"resourceVersion": version.to_string()}});
                chunk(stream, &json!({"type": "BOOKMARK", "object": object}))?;
                continue;
            }
            state = handle.0.changed.wait_timeout(state, Duration::from_millis(200)).unwrap().0;
            drop(state);
            continue;
        }
        drop(state);
        from = version;
        for (what, object) in news.into_iter().take(limit - sent) {
            sent += 1;
            chunk(stream, &json!({"type": what, "object": object}))?;
        }
    }
    stream.write_all(b"0\r\n\r\n")?;
    stream.flush()
}

/// Whether the selectors of a query fit.
fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let labels = &object["metadata"]["labels"];
    let fits_label = |term: &str| {
        let value = |key: &str| labels[key.trim()].as_str();
        if let Some((key, set)) = term.split_once(" in ") {
            let set = set.trim().trim_matches(['(', ')']);
            return value(key).is_some_and(|value| set.split(',').any(|one| one.trim() == value));
        }
        if let Some((key, set)) = term.split_once(" notin ") {
            let set = set.trim().trim_matches(['(', ')']);
            return !value(key).is_some_and(|value| set.split(',').any(|one| one.trim() == value));
        }
        if let Some((key, other)) = term.split_once("!=") {
            return value(key) != Some(other);
        }
        if let Some((key, wanted)) = term.split_once('=') {
            return value(key) == Some(wanted.trim_start_matches('='));
        }
        match term.strip_prefix('!') {
            Some(key) => value(key).is_none(),
            None => value(term).is_some(),
        }
    };
    let fits_field = |term: &str| {
        let (path, wanted) = term.split_once('=').unwrap();
        let pointer = format!("/{}", path.replace('.', "/"));
        object.pointer(&pointer).and_then(Value::as_str) == Some(wanted.trim_start_matches('='))
    };
    let labels = query.get("labelSelector").map_or("", String::as_str);
    let fields = query.get("fieldSelector").map_or("", String::as_str);
    terms(labels).iter().all(|term| fits_label(term))
        && terms(fields).iter().all(|term| fits_field(term))
}

/// Terms between commas that are not in parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let split = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    split.filter(|term| !term.is_empty()).collect()
}

/// The types that are served, in the one form or the other.
fn discovery(segments: &[&str], asked: &Asked, aggregated: bool) -> Option<Answer> {
    const ALL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let accept = asked.headers.get("accept").map_or("", String::as_str);
    let groups = ["apps", "batch", "rbac.authorization.k8s.io", "argoproj.io", "tekton.dev"];
    let version = |group: &str| TYPES.iter().find(|row| row.2 == group).unwrap().3;
    match segments {
        ["version"] => Some(good(checked(
            "VersionInfo",
            json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "",
                "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
        ))),
        ["api" | "apis"] if aggregated && accept.contains("v=v2;as=APIGroupDiscoveryList") => {
            let of = if segments[0] == "api" { &[""][..] } else { &groups };
            let items = of.iter().map(|group| {
                let resources = TYPES.iter().filter(|row| row.2 == *group).map(|row| {
                    json!({"resource": row.0, "singularResource": row.4.to_lowercase(),
                        "responseKind": {"group": row.2, "version": row.3, "kind": row.4},
                        "scope": "Namespaced", "shortNames": [row.1],
                        "verbs": ["get", "list", "watch", "create", "patch"]})
                });
                let resources: Vec<Value> = resources.collect();
                json!({"metadata": {"name": group},
                    "versions": [{"version": version(group), "resources": resources}]})
            });
            let items: Vec<Value> = items.collect();
            let value = json!({"kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
            Some(Answer::Json { status: 200, value, kind: ALL, retry_after: None })
        }
        ["api"] => Some(good(checked(
            "APIVersions",
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ))),
        ["apis"] => {
            let groups: Vec<Value> = groups
                .iter()
                .map(|name| {
                    let version = json!({"groupVersion": format!("{name}/{}", version(name)),
                        "version": version(name)});
                    json!({"name": name, "versions": [version], "preferredVersion": version})
                })
                .collect();
            let list = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
            Some(good(checked("APIGroupList", list)))
        }
        ["api", "v1"] => Some(resources("")),
        ["apis", group, of] if groups.contains(group) && *of == version(group) => {
            Some(resources(group))
        }
        _ => None,
    }
}

fn resources(group: &str) -> Answer {
    let of = TYPES.iter().filter(|row| row.2 == group);
    let list: Vec<Value> = of
        .map(|(plural, short, _, _, kind)| {
            json!({"name": plural, "singularName": kind.to_lowercase(), "kind": kind,
                "namespaced": true, "shortNames": [short],
                "verbs": ["get", "list", "watch", "create", "patch"]})
        })
        .collect();
    let row = TYPES.iter().find(|row| row.2 == group).unwrap();
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": api_version(row.0), "resources": list});
    good(checked("APIResourceList", list))
}

fn checked(kind: &str, value: Value) -> Value {
    schema::check(kind, &value);
    value
}

/// A map of texts.
pub(crate) fn texts(pairs: &[(&str, &str)]) -> Value {
    Value::Object(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect::<Map<_, _>>())
}
