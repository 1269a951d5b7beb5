//! Argo CD through its server: the paths of the interface.

use std::collections::VecDeque;
use std::marker::PhantomData;

use serde_json::{Value, json};

use super::backend::{Backend, Filter, Id, Watch};
use super::client::{Call, Client, Patience};
use super::error::ApiError;
use super::model::{Application, Key, Tree, without_nulls};
use super::plan::Plan;
use super::stream::Decoder;
use crate::net::{Method, NetError, Response};

/// Lines of events and logs that are shown.
const LINES: usize = 10;

/// A request about an application.
fn of<'a>(what: &str, id: &'a Id, below: &[&'a str]) -> Call<'a> {
    let path = ["applications", id.name.as_str()].into_iter().chain(below.iter().copied());
    named(Call::get(format!("{what} {id}"), path), id, "project")
}

/// With what tells applications of one name apart.
fn named<'a>(call: Call<'a>, id: &Id, project: &'a str) -> Call<'a> {
    let namespace = id.namespace.clone().unwrap_or_default();
    call.query("appNamespace", namespace).query(project, id.project.clone().unwrap_or_default())
}

impl Backend for Client {
    type Watch = Stream<Application>;
    type TreeWatch = Stream<Tree>;

    async fn list(&self, filter: &Filter) -> Result<Vec<Application>, ApiError> {
        let call = Call::get("list applications", ["applications"])
            .query("selector", &filter.selector)
            .query("projects", &filter.project)
            .query("appNamespace", filter.namespace.clone().unwrap_or_default());
        let mut answer = self.call(&call).await?;
        let items = match answer.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let read = |item| {
            Application::read(item).map_err(|problem| ApiError::Answer {
                request: "list applications".to_owned(),
                problem,
            })
        };
        items.into_iter().map(read).collect()
    }

    async fn get(&self, id: &Id) -> Result<Value, ApiError> {
        self.call(&of("get", id, &[])).await
    }

    async fn refresh(&self, id: &Id, hard: bool) -> Result<Value, ApiError> {
        let kind = if hard { "hard" } else { "normal" };
        let call = of("get", id, &[]).query("refresh", kind);
        self.call(&call.patience(Patience::Endless)).await
    }

    async fn sync(&self, id: &Id, plan: &Plan) -> Result<Value, ApiError> {
        let project = id.project.as_deref().unwrap_or_default();
        let body = plan.body(project, id.namespace.as_deref());
        let path = ["applications", &id.name, "sync"];
        self.call(&Call::get(format!("sync {id}"), path).send(Method::POST, body)).await
    }

    async fn terminate(&self, id: &Id) -> Result<(), ApiError> {
        let mut call = of("terminate the operation of", id, &["operation"]);
        call.method = Method::DELETE;
        self.call(&call).await.map(drop)
    }

    async fn rollback(&self, id: &Id, history: i64) -> Result<Value, ApiError> {
        let mut body = json!({ "id": history, "prune": true });
        for (name, value) in [("project", &id.project), ("appNamespace", &id.namespace)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        let path = ["applications", &id.name, "rollback"];
        self.call(&Call::get(format!("roll back {id}"), path).send(Method::POST, body)).await
    }

    async fn set_spec(&self, id: &Id, spec: Value) -> Result<(), ApiError> {
        let call = of("change", id, &["spec"]).send(Method::PUT, spec);
        self.call(&call.query("validate", "true")).await.map(drop)
    }

    async fn watch(&self, id: &Id) -> Result<Self::Watch, ApiError> {
        let call = Call::get(format!("watch {id}"), ["stream", "applications"]);
        let call = named(call.query("name", &id.name), id, "projects");
        Ok(Stream::new(self.open(&call).await?, |mut event| {
            if event.get("type").and_then(Value::as_str) == Some("DELETED") {
                return Err(ApiError::Removed);
            }
            let application = event.get_mut("application").map(Value::take);
            Application::read(application.unwrap_or_default()).map_err(unreadable)
        }))
    }

    async fn watch_tree(&self, id: &Id) -> Result<Self::TreeWatch, ApiError> {
        let path = ["stream", "applications", &id.name, "resource-tree"];
        let call = named(Call::get(format!("watch the resources of {id}"), path), id, "project");
        Ok(Stream::new(self.open(&call).await?, |tree| Tree::read(tree).map_err(unreadable)))
    }

    async fn tree(&self, id: &Id) -> Result<Tree, ApiError> {
        let call = of("get the resources of", id, &["resource-tree"]);
        Tree::read(self.call(&call).await?).map_err(unreadable)
    }

    async fn manifests(&self, id: &Id, revision: &str) -> Result<Vec<Value>, ApiError> {
        let call = of("get the manifests of", id, &["manifests"]).query("revision", revision);
        let answer = self.call(&call.patience(Patience::Long)).await?;
        let manifests = answer.get("manifests").and_then(Value::as_array);
        let texts = manifests.into_iter().flatten().filter_map(Value::as_str);
        let read =
            |text| serde_json::from_str(text).map_err(|e| unreadable(format!("a manifest: {e}")));
        texts.map(read).collect()
    }

    async fn windows(&self, id: &Id) -> Result<Vec<String>, ApiError> {
        let mut answer = self.call(&of("get the sync windows of", id, &["syncwindows"])).await?;
        without_nulls(&mut answer);
        let mut lines = Vec::new();
        let active = answer.get("activeWindows").and_then(Value::as_array);
        let assigned = answer.get("assignedWindows").and_then(Value::as_array);
        for window in assigned.into_iter().flatten() {
            let text = |key: &str| window.get(key).and_then(Value::as_str).unwrap_or_default();
            let now = active.is_some_and(|active| active.contains(window));
            let manual = window.get("manualSync").and_then(Value::as_bool).unwrap_or_default();
            lines.push(format!(
                "{} window, {}, for {}{}{}",
                text("kind"),
                text("schedule"),
                text("duration"),
                if now { ", open now" } else { "" },
                if manual { ", manual syncs allowed" } else { "" },
            ));
        }
        Ok(lines)
    }

    async fn events(&self, id: &Id, key: &Key, uid: &str) -> Result<Vec<String>, ApiError> {
        let call = of("get the events of", id, &["events"])
            .query("resourceNamespace", &key.namespace)
            .query("resourceName", &key.name)
            .query("resourceUID", uid);
        let answer = self.call(&call).await?;
        let mut events: Vec<&Value> =
            answer.get("items").and_then(Value::as_array).into_iter().flatten().collect();
        let text = |event: &Value, key: &str| {
            event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        // Times as Kubernetes writes them stand in order as text too.
        events.sort_by_key(|event| text(event, "lastTimestamp"));
        let lines = events.iter().rev().take(LINES).rev().map(|event| {
            format!("{}: {}", text(event, "reason"), text(event, "message").trim_end())
        });
        Ok(lines.collect())
    }

    async fn logs(&self, id: &Id, pod: &Key) -> Result<Vec<String>, ApiError> {
        let call = of("get the log of", id, &["pods", &pod.name, "logs"])
            .query("namespace", &pod.namespace)
            .query("tailLines", LINES.to_string());
        let mut stream = Stream::new(self.open(&call).await?, Ok::<Value, ApiError>);
        let mut lines = VecDeque::new();
        while let Ok(entry) = stream.next().await {
            if entry.get("last").and_then(Value::as_bool) == Some(true) {
                break;
            }
            let content = entry.get("content").and_then(Value::as_str);
            lines.extend(content.filter(|line| !line.is_empty()).map(str::to_owned));
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
        Ok(lines.into())
    }
}

fn unreadable(problem: String) -> ApiError {
    ApiError::Answer { request: "what the server has sent".to_owned(), problem }
}

/// A stream of objects.
pub struct Stream<T> {
    response: Response,
    decoder: Decoder,
    objects: VecDeque<Value>,
    read: fn(Value) -> Result<T, ApiError>,
    of: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("response", &self.response).finish_non_exhaustive()
    }
}

impl<T> Stream<T> {
    fn new(response: Response, read: fn(Value) -> Result<T, ApiError>) -> Self {
        let (decoder, objects) = (Decoder::default(), VecDeque::new());
        Self { response, decoder, objects, read, of: PhantomData }
    }
}

impl<T: 'static> Watch<T> for Stream<T> {
    async fn next(&mut self) -> Result<T, ApiError> {
        let broken = |source| ApiError::Net { request: "the stream of changes".into(), source };
        loop {
            if let Some(object) = self.objects.pop_front() {
                return (self.read)(object);
            }
            match self.response.chunk().await.map_err(broken)? {
                None => return Err(broken(NetError::closed())),
                Some(bytes) => {
                    let objects = self.decoder.push(&bytes).map_err(unreadable)?;
                    self.objects.extend(objects);
                }
            }
        }
    }
}
