//! Requests to the API server, and what is made of its answers.

use std::sync::Arc;

use serde_json::Value;

use super::KubernetesError;
use super::config::Config;
use super::credential::Session;
use super::error::{Call, Refusal};
use super::resource::Resource;
use crate::net::{self, Body, Cause, Method, NetError, Request, Response, Retry, Url};

/// How much of an answer is read.
const LIMIT: usize = 64 << 20;
/// How many objects come with one answer.
const PAGE: usize = 500;

/// A client; cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    server: Url,
    namespace: String,
    session: Session,
    retry: Retry,
    /// Types that the server was asked for.
    pub(super) types: tokio::sync::OnceCell<Vec<super::discovery::Served>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.inner.server.as_str())
            .finish_non_exhaustive()
    }
}

/// Which objects of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector, such as `metadata.name=web`.
    pub fields: Option<String>,
}

impl Selection {
    /// The one object of this name.
    pub fn named(name: &str) -> Self {
        Self { labels: None, fields: Some(format!("metadata.name={name}")) }
    }

    /// Those with these labels.
    pub fn labelled(selector: impl Into<String>) -> Self {
        Self { labels: Some(selector.into()), fields: None }
    }

    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let labels = self.labels.iter().map(|value| ("labelSelector", value.clone()));
        labels.chain(self.fields.iter().map(|value| ("fieldSelector", value.clone()))).collect()
    }
}

/// Objects, and the version from which a watch goes on.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The objects.
    pub items: Vec<Value>,
    /// The version of the list.
    pub resource_version: String,
}

/// A change of an object.
#[derive(Clone, Debug)]
pub enum Patch {
    /// Merged: maps are, lists are replaced, null removes (RFC 7386).
    Merge(Value),
    /// Merged by the names of entries in lists; only for what every cluster has.
    Strategic(Value),
    /// Operations in a row (RFC 6902).
    Json(Value),
}

impl Patch {
    fn content(&self) -> (&'static str, &Value) {
        match self {
            Self::Merge(value) => ("application/merge-patch+json", value),
            Self::Strategic(value) => ("application/strategic-merge-patch+json", value),
            Self::Json(value) => ("application/json-patch+json", value),
        }
    }
}

/// One request, before it is sent.
pub(super) struct Ask<'a> {
    pub(super) call: Call,
    pub(super) method: Method,
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) accept: &'static str,
    /// The content type and the text.
    pub(super) body: Option<(&'static str, String)>,
    /// Whether the same request a second time changes nothing more.
    pub(super) repeatable: bool,
    /// Whether the answer comes in pieces for as long as it likes.
    pub(super) stream: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn get(verb: &'static str, path: Vec<&'a str>) -> Self {
        Self {
            call: Call { verb, ..Call::default() },
            method: Method::GET,
            path,
            query: Vec::new(),
            accept: "application/json",
            body: None,
            repeatable: true,
            stream: false,
        }
    }

    pub(super) fn of(
        verb: &'static str,
        resource: &'a Resource,
        namespace: &'a str,
        rest: &[&'a str],
    ) -> Self {
        let name = rest.first().map_or(String::new(), |name| (*name).to_owned());
        let subresource = rest.get(1).map(|sub| format!("/{sub}")).unwrap_or_default();
        Self {
            call: Call {
                verb,
                resource: resource.plural.clone() + &subresource,
                group: resource.group.clone(),
                namespace: namespace.to_owned(),
                name,
            },
            ..Self::get(verb, resource.path(namespace, rest))
        }
    }
}

impl Client {
    /// A client; nothing is asked before the first request.
    pub fn new(config: &Config, net: &net::Options) -> Self {
        let inner = Inner {
            server: config.server.clone(),
            namespace: config.namespace.clone(),
            session: Session::new(config, net),
            retry: Retry::default(),
            types: tokio::sync::OnceCell::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The namespace, where none is said.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// The server's URL.
    pub fn server(&self) -> &str {
        self.inner.server.as_str()
    }

    pub(super) fn retry(&self) -> Retry {
        self.inner.retry
    }

    pub(super) fn types(&self) -> &tokio::sync::OnceCell<Vec<super::discovery::Served>> {
        &self.inner.types
    }

    /// An object.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, KubernetesError> {
        self.json(Ask::of("get", resource, namespace, &[name])).await
    }

    /// All objects of a selection; the newest that there are, not a cache's. An empty namespace
    /// means all of them.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        selection: &Selection,
    ) -> Result<List, KubernetesError> {
        let mut list = List::default();
        let mut next = None::<String>;
        let mut paged = true;
        loop {
            let mut ask = Ask::of("list", resource, namespace, &[]);
            ask.query = selection.query();
            if paged {
                ask.query.push(("limit", PAGE.to_string()));
            }
            ask.query.extend(next.iter().map(|next| ("continue", next.clone())));
            let mut answer = match self.json(ask).await {
                // The list is older than the server remembers; all of it at once has no such limit.
                Err(error) if error.is_gone() && next.is_some() => {
                    (list, next, paged) = (List::default(), None, false);
                    continue;
                }
                answer => answer?,
            };
            let meta = &answer["metadata"];
            meta["resourceVersion"].as_str().unwrap_or("").clone_into(&mut list.resource_version);
            next = meta["continue"].as_str().filter(|next| !next.is_empty()).map(str::to_owned);
            if let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) {
                list.items.extend(items.into_iter().map(|item| typed(item, resource)));
            }
            if next.is_none() {
                return Ok(list);
            }
        }
    }

    /// Makes an object. It is not asked for twice unless the server certainly has not done it;
    /// with a name of its own, a second time would be refused as `AlreadyExists`.
    pub async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
        dry_run: bool,
    ) -> Result<Value, KubernetesError> {
        let mut ask = Ask::of("create", resource, namespace, &[]);
        object["metadata"]["name"].as_str().unwrap_or("").clone_into(&mut ask.call.name);
        ask.method = Method::POST;
        ask.body = Some(("application/json", object.to_string()));
        ask.repeatable = false;
        ask.query.extend(dry(dry_run));
        self.json(ask).await
    }

    /// Changes an object; gives it as it is then.
    pub async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: &Patch,
        dry_run: bool,
    ) -> Result<Value, KubernetesError> {
        let mut ask = Ask::of("patch", resource, namespace, &[name]);
        let (kind, value) = patch.content();
        ask.method = Method::PATCH;
        ask.body = Some((kind, value.to_string()));
        ask.repeatable = !matches!(patch, Patch::Json(_));
        ask.query = vec![("fieldManager", "yado".to_owned())];
        ask.query.extend(dry(dry_run));
        self.json(ask).await
    }

    /// The last lines that a container has written; of its run before, if `previous`.
    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: usize,
        previous: bool,
    ) -> Result<Vec<String>, KubernetesError> {
        let pods = Resource::new("", "v1", "Pod", "pods");
        let mut ask = Ask::of("get", &pods, namespace, &[pod, "log"]);
        ask.accept = "text/plain, application/json, */*";
        ask.query = vec![
            ("container", container.to_owned()),
            ("tailLines", lines.to_string()),
            ("previous", previous.to_string()),
        ];
        let (bytes, _) = self.bytes(ask, 1 << 20).await?;
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// What has happened to an object, the oldest first.
    pub async fn events(&self, namespace: &str, uid: &str) -> Result<Vec<Value>, KubernetesError> {
        let events = Resource::new("", "v1", "Event", "events");
        let fields = Some(format!("involvedObject.uid={uid}"));
        let mut list =
            self.list(&events, namespace, &Selection { labels: None, fields }).await?.items;
        let time = |event: &Value| {
            ["lastTimestamp", "eventTime", "firstTimestamp"]
                .iter()
                .find_map(|name| event[name].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        list.sort_by_key(time);
        Ok(list)
    }

    /// The answer of a request as JSON.
    pub(super) async fn json(&self, ask: Ask<'_>) -> Result<Value, KubernetesError> {
        let (bytes, cut) = self.bytes(ask, LIMIT).await?;
        if cut {
            return Err(self.strange(format!("the answer is larger than {LIMIT} bytes")));
        }
        serde_json::from_slice(&bytes).map_err(|e| self.strange(format!("it is not JSON: {e}")))
    }

    async fn bytes(&self, ask: Ask<'_>, limit: usize) -> Result<(Vec<u8>, bool), KubernetesError> {
        let mut failures = 0;
        loop {
            let sent = self.send_once(&ask, failures > 0).await;
            let (error, wait) = match sent {
                Ok(mut response) => match response.read(limit).await {
                    Ok(read) => return Ok(read),
                    Err(source) => (self.broken(&ask.call, source), None),
                },
                Err(failed) => failed,
            };
            failures += 1;
            if failures >= self.inner.retry.attempts || !may_repeat(&ask, &error) {
                return Err(error);
            }
            tokio::time::sleep(self.inner.retry.delay(failures, wait)).await;
        }
    }

    /// Sends a request whose answer is read by the caller, once.
    pub(super) async fn open(&self, ask: &Ask<'_>) -> Result<Response, KubernetesError> {
        self.send_once(ask, false).await.map_err(|(error, _)| error)
    }

    /// Sends a request; an answer is one that succeeded. With an error comes how long the server
    /// asks to wait.
    async fn send_once(
        &self,
        ask: &Ask<'_>,
        again: bool,
    ) -> Result<Response, (KubernetesError, Option<std::time::Duration>)> {
        let mut refused = false;
        loop {
            let (connections, authorization) =
                self.inner.session.authorize(refused).await.map_err(|error| (error, None))?;
            let mut request = Request::new(ask.method.clone(), self.url(ask));
            request = request.header("accept", ask.accept);
            request.authorization = authorization;
            if let Some((kind, text)) = &ask.body {
                request =
                    request.header("content-type", *kind).body(Body::Bytes(text.as_bytes().into()));
            }
            let http = if ask.stream { &connections.streams } else { &connections.requests };
            let sent = http.send(&request).await;
            let mut response = sent.map_err(|source| (self.broken(&ask.call, source), None))?;
            let status = response.status();
            if (200..300).contains(&status) {
                return Ok(response);
            }
            // A token may have run out; another one is asked for once.
            if status == 401 && !refused && !again && self.inner.session.renews() {
                refused = true;
                continue;
            }
            let wait = response.retry_after();
            let body = response.read(64 << 10).await.map(|(bytes, _)| bytes).unwrap_or_default();
            return Err((refusal(&ask.call, status, &body), wait));
        }
    }

    fn url(&self, ask: &Ask<'_>) -> Url {
        let mut url = self.inner.server.clone();
        // Only a URL that cannot be a base has no segments, and http ones can.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&ask.path);
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(ask.query.iter().map(|(k, v)| (k, v)));
        }
        url
    }

    pub(super) fn broken(&self, call: &Call, source: NetError) -> KubernetesError {
        let server = self.server().to_owned();
        KubernetesError::Net { call: Box::new(call.clone()), server, source }
    }

    pub(super) fn strange(&self, problem: String) -> KubernetesError {
        KubernetesError::Strange { server: self.server().to_owned(), problem }
    }
}

fn dry(run: bool) -> Option<(&'static str, String)> {
    run.then(|| ("dryRun", "All".to_owned()))
}

/// Items of a list come without their type.
fn typed(mut item: Value, resource: &Resource) -> Value {
    if let Some(map) = item.as_object_mut() {
        map.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        map.entry("kind").or_insert_with(|| resource.kind.clone().into());
    }
    item
}

/// What is no change can be asked again; a change only if the server has not begun with it: it
/// was not reached, or turned it away for now.
fn may_repeat(ask: &Ask<'_>, error: &KubernetesError) -> bool {
    let not_begun = match error {
        KubernetesError::Net { source: NetError::Exchange { cause, .. }, .. } => {
            matches!(cause, Cause::Dns | Cause::ConnectionRefused)
        }
        KubernetesError::Refused(refusal) => refusal.code == 429,
        _ => false,
    };
    not_begun || (ask.repeatable && error.is_transient())
}

/// The error in an answer that is not a success, or in an event of a watch.
pub(super) fn refusal(call: &Call, code: u16, body: &[u8]) -> KubernetesError {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    let (reason, mut message) = (text("reason"), text("message"));
    if message.is_empty() {
        // A proxy on the way, perhaps, whose page starts with what it has to say.
        let said = String::from_utf8_lossy(body);
        message = said.trim().chars().take(200).collect();
    }
    let code = status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(code);
    KubernetesError::Refused(Box::new(Refusal { call: call.clone(), code, reason, message }))
}
