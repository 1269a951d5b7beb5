//! Argo CD without its server: the Applications themselves, through the Kubernetes API.
//!
//! What the server does for its callers is done here: a comparison is asked for by an annotation,
//! a sync is the field `operation`, set only on the version that was looked at, with the
//! Application's own options and retries, since the controller takes it as it stands. What only
//! the server knows (the tree of resources, rendered manifests, windows) there is not.

use std::future::pending;

use serde_json::{Map, Value, json};

use super::backend::{Backend, Filter, Id, Watch};
use super::error::ApiError;
use super::model::{Application, History, Key, REFRESH, Tree};
use super::plan::{self, Plan};
use crate::kubernetes::Watch as Changes;
use crate::kubernetes::{Change, Client, KubernetesError, Patch, Resource, Selection};

/// The Applications of a cluster.
#[derive(Clone, Debug)]
pub struct Core {
    client: Client,
    applications: Resource,
}

impl Core {
    /// Through this client.
    pub fn new(client: Client) -> Self {
        let applications = Resource::new("argoproj.io", "v1alpha1", "Application", "applications");
        Self { client, applications }
    }

    fn namespace<'a>(&'a self, id: &'a Id) -> &'a str {
        id.namespace.as_deref().unwrap_or_else(|| self.client.namespace())
    }

    async fn patch(&self, id: &Id, patch: Patch) -> Result<Value, ApiError> {
        let of = self.namespace(id);
        Ok(self.client.patch(&self.applications, of, &id.name, &patch, false).await?)
    }

    /// Sets the operation, if nothing has changed since the Application was read and none is
    /// under way.
    async fn begin(&self, id: &Id, app: &Value, operation: Value) -> Result<Value, ApiError> {
        let read = Application::read(app.clone())
            .map_err(|problem| ApiError::Answer { request: format!("get {id}"), problem })?;
        if read.busy() {
            let message = "another operation is already in progress".to_owned();
            return Err(ApiError::Busy { message });
        }
        let version = json!(read.metadata.resource_version);
        let mut patch = vec![
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
            json!({"op": "add", "path": "/operation", "value": operation}),
        ];
        if read.status.operation_state.is_some() {
            patch.push(json!({"op": "remove", "path": "/status/operationState"}));
        }
        match self.patch(id, Patch::Json(Value::Array(patch))).await {
            // It has changed meanwhile, perhaps by an operation.
            Err(ApiError::Cluster(KubernetesError::Refused(refusal)))
                if matches!(refusal.code, 409 | 422) =>
            {
                Err(ApiError::Busy { message: refusal.message })
            }
            other => other,
        }
    }
}

/// The operation of a plan.
fn operation(plan: &Plan, app: &Application) -> Value {
    let mut sync = Map::new();
    if plan.several {
        let compared = app.compared();
        let all: Vec<String> = plan
            .revisions
            .iter()
            .enumerate()
            .map(|(at, pinned)| match (pinned, compared.get(at)) {
                (Some(revision), _) => revision.clone(),
                (None, Some(revision)) => (*revision).to_owned(),
                (None, None) => String::new(),
            })
            .collect();
        if plan.revisions.iter().any(Option::is_some) {
            sync.insert("revisions".into(), json!(all));
        }
    } else if let Some(Some(revision)) = plan.revisions.first() {
        sync.insert("revision".into(), json!(revision));
    }
    for (name, flag) in [("prune", plan.prune), ("dryRun", plan.dry_run)] {
        if flag {
            sync.insert(name.into(), json!(true));
        }
    }
    if let Some(strategy) = &plan.strategy {
        sync.insert("syncStrategy".into(), strategy.clone());
    }
    if !plan.resources.is_empty() {
        let resources: Vec<Value> = plan.resources.iter().map(plan::resource).collect();
        sync.insert("resources".into(), json!(resources));
    }
    let policy = &app.spec.sync_policy;
    let options = plan.options.as_ref().unwrap_or(&policy.sync_options);
    if !options.is_empty() {
        sync.insert("syncOptions".into(), json!(options));
    }
    let mut operation = json!({
        "sync": sync,
        "info": plan.infos.iter().map(plan::info).collect::<Vec<_>>(),
        "initiatedBy": {"username": "yado"},
    });
    if let Some(retry) = plan.retry.as_ref().or(policy.retry.as_ref()) {
        operation["retry"] = retry.clone();
    }
    operation
}

impl Backend for Core {
    type Watch = Applications;
    type TreeWatch = Nothing;

    async fn list(&self, filter: &Filter) -> Result<Vec<Application>, ApiError> {
        let selection = match filter.selector.as_str() {
            "" => Selection::default(),
            selector => Selection::labelled(selector),
        };
        let of = filter.namespace.as_deref().unwrap_or_else(|| self.client.namespace());
        let items = self.client.list(&self.applications, of, &selection).await?.items;
        let read = items.into_iter().map(Application::read).collect::<Result<Vec<_>, _>>();
        let mut found = read.map_err(|problem| ApiError::Answer {
            request: "list applications".to_owned(),
            problem,
        })?;
        found.retain(|app| filter.project.is_empty() || app.spec.project == filter.project);
        Ok(found)
    }

    async fn get(&self, id: &Id) -> Result<Value, ApiError> {
        Ok(self.client.get(&self.applications, self.namespace(id), &id.name).await?)
    }

    async fn refresh(&self, id: &Id, hard: bool) -> Result<Value, ApiError> {
        let kind = if hard { "hard" } else { "normal" };
        let mark = json!({"metadata": {"annotations": {REFRESH: kind}}});
        let marked = self.patch(id, Patch::Merge(mark)).await?;
        let version = |value: &Value| -> Option<u64> {
            value.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
        };
        let marked = version(&marked);
        let mut watch = self.watch(id).await?;
        loop {
            let value = watch.value().await?;
            let older = marked.zip(version(&value)).is_some_and(|(marked, seen)| seen < marked);
            let annotations = value.pointer("/metadata/annotations");
            if !older && annotations.and_then(|all| all.get(REFRESH)).is_none() {
                return Ok(value);
            }
        }
    }

    async fn sync(&self, id: &Id, plan: &Plan) -> Result<Value, ApiError> {
        let app = self.get(id).await?;
        let read = Application::read(app.clone()).unwrap_or_default();
        self.begin(id, &app, operation(plan, &read)).await
    }

    async fn terminate(&self, id: &Id) -> Result<(), ApiError> {
        let phase = "/status/operationState/phase";
        let patch = json!([
            {"op": "test", "path": phase, "value": "Running"},
            {"op": "replace", "path": phase, "value": "Terminating"},
        ]);
        self.patch(id, Patch::Json(patch)).await.map(drop)
    }

    async fn rollback(&self, id: &Id, history: i64) -> Result<Value, ApiError> {
        let app = self.get(id).await?;
        let all = app.pointer("/status/history").and_then(Value::as_array);
        let found = all.into_iter().flatten().find(|entry| {
            let read: Option<History> = serde_json::from_value((*entry).clone()).ok();
            read.is_some_and(|entry| entry.id == history)
        });
        let Some(found) = found else {
            let problem = format!("nothing was deployed as {history}");
            return Err(ApiError::Answer { request: format!("roll back {id}"), problem });
        };
        let mut sync = json!({"prune": true, "syncStrategy": {"apply": {}}});
        for name in ["revision", "revisions", "source", "sources"] {
            if let Some(value) = found.get(name).filter(|value| !value.is_null()) {
                sync[name] = value.clone();
            }
        }
        let operation = json!({"sync": sync, "initiatedBy": {"username": "yado"}});
        self.begin(id, &app, operation).await
    }

    async fn set_spec(&self, id: &Id, spec: Value) -> Result<(), ApiError> {
        self.patch(id, Patch::Merge(json!({ "spec": spec }))).await.map(drop)
    }

    async fn watch(&self, id: &Id) -> Result<Self::Watch, ApiError> {
        let of = self.namespace(id);
        let changes = self.client.watch(&self.applications, of, Selection::named(&id.name));
        Ok(Applications { changes, id: id.clone() })
    }

    async fn watch_tree(&self, _: &Id) -> Result<Self::TreeWatch, ApiError> {
        Ok(Nothing)
    }

    async fn tree(&self, _: &Id) -> Result<Tree, ApiError> {
        Ok(Tree::default())
    }

    async fn manifests(&self, _: &Id, _: &str) -> Result<Vec<Value>, ApiError> {
        let problem = "--label needs the server of Argo CD, which renders the manifests";
        Err(ApiError::Given(problem.to_owned()))
    }

    async fn windows(&self, _: &Id) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }

    async fn events(&self, _: &Id, _: &Key, _: &str) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }

    async fn logs(&self, _: &Id, _: &Key) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }
}

/// Changes of one Application.
#[derive(Debug)]
pub struct Applications {
    changes: Changes,
    id: Id,
}

impl Applications {
    async fn value(&mut self) -> Result<Value, ApiError> {
        match self.changes.next().await? {
            Change::All(mut items) => items.pop().ok_or_else(|| ApiError::NotFound {
                what: format!("watch {}", self.id),
                message: "the cluster has none of this name".to_owned(),
            }),
            Change::Set(value) => Ok(*value),
            Change::Gone(_) => Err(ApiError::Removed),
        }
    }
}

impl Watch<Application> for Applications {
    async fn next(&mut self) -> Result<Application, ApiError> {
        let value = self.value().await?;
        Application::read(value)
            .map_err(|problem| ApiError::Answer { request: format!("watch {}", self.id), problem })
    }
}

/// A stream that has nothing to say.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Watch<Tree> for Nothing {
    async fn next(&mut self) -> Result<Tree, ApiError> {
        pending().await
    }
}
