//! An Application as Argo CD shows it: what a decision needs of it, the rest is left out.
//!
//! A key that is not there has the value that Argo CD means by it; one of the wrong type is an
//! error. Numbers of 64 bits are numbers or strings: the published schema says one, the server
//! does the other.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The annotation that stands until the controller has compared the Application again.
pub const REFRESH: &str = "argocd.argoproj.io/refresh";

/// An Application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Application {
    /// Its name, version and the like.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// What is.
    pub status: Status,
    /// What the controller is to begin.
    pub operation: Option<Operation>,
    /// `source` and `sources` of the specification, whole.
    #[serde(skip)]
    pub declared: [Value; 2],
}

/// What each object of Kubernetes has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// Grows with each change, where it is a number, which the interface does not promise.
    pub resource_version: String,
    /// Notes, such as [`REFRESH`].
    pub annotations: BTreeMap<String, String>,
}

/// What is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The project that it belongs to.
    pub project: String,
    /// The one source.
    pub source: Option<Source>,
    /// The sources, when there are several.
    pub sources: Vec<Source>,
    /// Where manifests are rendered before they are synced.
    pub source_hydrator: Option<Hydrator>,
    /// Whether and how it is synced by itself.
    pub sync_policy: SyncPolicy,
}

/// Where manifests come from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// The repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// The branch, tag, commit or version that is followed.
    pub target_revision: String,
    /// The chart, for a repository of charts.
    pub chart: String,
    /// Its name, where there are several.
    pub name: String,
    /// The name by which other sources use its files.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// Where dry manifests come from and rendered ones go to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hydrator {
    /// What people change.
    pub dry_source: Source,
    /// The branch that is synced.
    pub sync_source: SyncSource,
}

/// The branch of rendered manifests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncSource {
    /// Its name.
    pub target_branch: String,
}

/// Whether and how an Application is synced by itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPolicy {
    /// Whether the controller syncs by itself.
    pub automated: Option<Automated>,
    /// Options of each sync, `Name=value`.
    pub sync_options: Vec<String>,
    /// How often a failed sync is tried again, as it stands there.
    pub retry: Option<Value>,
}

/// Syncs by the controller itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Automated {
    /// Whether; absent means yes.
    pub enabled: Option<bool>,
    /// Whether resources are removed.
    pub prune: bool,
}

/// What is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The last comparison.
    pub sync: SyncStatus,
    /// How it is.
    pub health: Health,
    /// The operation that runs, or the last one.
    pub operation_state: Option<OperationState>,
    /// What is wrong with it.
    pub conditions: Vec<Condition>,
    /// When it was compared last.
    pub reconciled_at: Option<Time>,
    /// Its resources.
    pub resources: Vec<Resource>,
    /// What was deployed, the oldest first.
    pub history: Vec<History>,
    /// How far rendering is.
    pub source_hydrator: HydratorStatus,
}

/// The last comparison.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub status: String,
    /// The revision that was compared.
    pub revision: String,
    /// The revisions by source, where there are several.
    pub revisions: Vec<String>,
    /// What the comparison was made for.
    pub compared_to: Value,
}

/// How something is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    pub status: String,
    /// Why.
    pub message: String,
}

/// What the controller is to do or does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// A sync, as all operations are.
    pub sync: Option<SyncOperation>,
    /// Notes of whoever began it.
    pub info: Vec<Info>,
    /// Who began it.
    pub initiated_by: Initiator,
    /// How often it is tried again.
    pub retry: Retry,
}

/// What is synced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperation {
    /// The revision.
    pub revision: String,
    /// The revisions by source.
    pub revisions: Vec<String>,
    /// Whether nothing is changed.
    pub dry_run: bool,
    /// Some resources only, unless empty.
    pub resources: Vec<Value>,
}

/// A note.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its text.
    pub value: String,
}

/// Who began an operation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Initiator {
    /// The user.
    pub username: String,
    /// Whether it was the controller.
    pub automated: bool,
}

/// How often an operation is tried again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// At most so often; without end when negative.
    #[serde(deserialize_with = "number")]
    pub limit: i64,
}

/// An operation under way, or the last one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationState {
    /// What was asked for.
    pub operation: Operation,
    /// `Running`, `Terminating`, `Succeeded`, `Failed` or `Error`.
    pub phase: String,
    /// How it ended, or what it waits for.
    pub message: String,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended; while it runs, when the attempt ended that is to be repeated.
    pub finished_at: Option<Time>,
    /// How often it was tried again.
    #[serde(deserialize_with = "number")]
    pub retry_count: i64,
    /// What it has done so far.
    pub sync_result: Option<SyncResult>,
}

/// What a sync has done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncResult {
    /// The revision that was applied.
    pub revision: String,
    /// The revisions by source.
    pub revisions: Vec<String>,
    /// What happened to each resource.
    pub resources: Vec<ResourceResult>,
}

/// What a sync did to a resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceResult {
    /// Which one.
    #[serde(flatten)]
    pub key: Key,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    pub status: String,
    /// What the cluster said.
    pub message: String,
    /// Which hook it is; empty for a resource.
    pub hook_type: String,
    /// How far it is: `Running`, `Succeeded`, `Failed`, `Error`.
    pub hook_phase: String,
}

/// Which resource.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(default)]
pub struct Key {
    /// The group of its kind; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A resource of an Application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// Which one.
    #[serde(flatten)]
    pub key: Key,
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub status: String,
    /// How it is, where its kind has a health.
    pub health: Option<Health>,
    /// Whether it is a hook.
    pub hook: bool,
    /// Whether it is there and should not be.
    pub requires_pruning: bool,
}

/// What is wrong with an Application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `ComparisonError`, `InvalidSpecError`, `SyncError` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub message: String,
}

/// What was deployed once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// By which it can be deployed again.
    #[serde(deserialize_with = "number")]
    pub id: i64,
    /// The revision.
    pub revision: String,
    /// The revisions by source.
    pub revisions: Vec<String>,
}

/// How far rendering is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HydratorStatus {
    /// What is rendered now, or was last.
    pub current_operation: Option<HydrateOperation>,
}

/// One rendering.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HydrateOperation {
    /// `Hydrating`, `Hydrated` or `Failed`.
    pub phase: String,
    /// Why it failed.
    pub message: String,
    /// The commit that is rendered.
    #[serde(rename = "drySHA")]
    pub dry_sha: String,
    /// The commit of what was rendered.
    #[serde(rename = "hydratedSHA")]
    pub hydrated_sha: String,
}

/// A moment, as Kubernetes writes it: with seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub jiff::Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Time).map_err(serde::de::Error::custom)
    }
}

/// A number, or a string that holds one.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// Takes out what is null: it means the same as what is not there.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

impl Application {
    /// Reads an Application, which must have a name.
    pub fn read(mut value: Value) -> Result<Self, String> {
        without_nulls(&mut value);
        let declared = ["/spec/source", "/spec/sources"].map(|at| value.pointer(at).cloned());
        let mut read: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        read.declared = declared.map(Option::unwrap_or_default);
        if read.metadata.name.is_empty() {
            return Err("it is no Application: it has no name".to_owned());
        }
        Ok(read)
    }

    /// Its version as a number, where it is one.
    pub fn version(&self) -> Option<u64> {
        self.metadata.resource_version.parse().ok()
    }

    /// Whether the controller syncs it by itself.
    pub fn auto_sync(&self) -> Option<&Automated> {
        self.spec.sync_policy.automated.as_ref().filter(|auto| auto.enabled != Some(false))
    }

    /// Whether the controller is still to compare it, as somebody has asked for.
    pub fn refreshing(&self) -> bool {
        self.metadata.annotations.contains_key(REFRESH)
    }

    /// Whether the last comparison was made for the sources that it has now.
    pub fn compared_as_declared(&self) -> bool {
        let compared = &self.status.sync.compared_to;
        ["source", "sources"].iter().zip(&self.declared).all(|(key, declared)| {
            let compared = compared.get(key).unwrap_or(&Value::Null);
            // An application of several sources may name an empty one beside them.
            compared == declared || declared.is_null()
        })
    }

    /// Its sources; that of what is rendered first is what people change.
    pub fn sources(&self) -> Vec<&Source> {
        if let Some(hydrator) = &self.spec.source_hydrator {
            return vec![&hydrator.dry_source];
        }
        if self.spec.sources.is_empty() {
            return self.spec.source.iter().collect();
        }
        self.spec.sources.iter().collect()
    }

    /// The revisions of the last comparison, by source.
    pub fn compared(&self) -> Vec<&str> {
        revisions(&self.status.sync.revision, &self.status.sync.revisions)
    }

    /// Whether an operation is under way or asked for.
    pub fn busy(&self) -> bool {
        self.operation.is_some()
            || self.status.operation_state.as_ref().is_some_and(OperationState::running)
    }
}

impl OperationState {
    /// Whether it is under way, waiting for another attempt included.
    pub fn running(&self) -> bool {
        matches!(self.phase.as_str(), "Running" | "Terminating")
    }

    /// Whether it waits until it is tried again.
    pub fn waits_for_retry(&self) -> bool {
        self.phase == "Running" && self.finished_at.is_some()
    }

    /// The revisions that it applies, by source: what was resolved, else what was asked for.
    pub fn target(&self) -> Vec<&str> {
        let done = self.sync_result.as_ref().map(|r| revisions(&r.revision, &r.revisions));
        match done.filter(|list| !list.is_empty()) {
            Some(list) => list,
            None => self.operation.target(),
        }
    }
}

impl Operation {
    /// The revisions that were asked for, by source; resolved ones, when the server has taken it.
    pub fn target(&self) -> Vec<&str> {
        self.sync.as_ref().map(|s| revisions(&s.revision, &s.revisions)).unwrap_or_default()
    }

    /// Whether it carries this note.
    pub fn has(&self, marker: &Info) -> bool {
        self.info.contains(marker)
    }

    /// Who began it, for people.
    pub fn by(&self) -> &str {
        match (self.initiated_by.automated, self.initiated_by.username.as_str()) {
            (true, _) => "auto-sync",
            (false, "") => "somebody",
            (false, name) => name,
        }
    }
}

fn revisions<'a>(one: &'a str, several: &'a [String]) -> Vec<&'a str> {
    match (several, one) {
        ([], "") => Vec::new(),
        ([], one) => vec![one],
        (several, _) => several.iter().map(String::as_str).collect(),
    }
}

/// The resources that an Application has made, with those that these have made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tree {
    /// All of them.
    pub nodes: Vec<Node>,
}

/// A resource of the tree.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Which one.
    #[serde(flatten)]
    pub key: Key,
    /// Its id.
    pub uid: String,
    /// Who made it.
    pub parent_refs: Vec<Parent>,
    /// What is shown of it, such as `Status Reason`.
    pub info: Vec<Info>,
    /// How it is.
    pub health: Option<Health>,
    /// When it was made.
    pub created_at: Option<Time>,
}

/// Who made a resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parent {
    /// Which resource.
    #[serde(flatten)]
    pub key: Key,
    /// Its id.
    pub uid: String,
}

impl Tree {
    /// Reads a tree.
    pub fn read(mut value: Value) -> Result<Self, String> {
        without_nulls(&mut value);
        serde_json::from_value(value).map_err(|e| e.to_string())
    }
}

impl Node {
    /// Why it does not run, as the cluster puts it: `ImagePullBackOff`.
    pub fn reason(&self) -> Option<&str> {
        let reason = self.info.iter().find(|info| info.name == "Status Reason");
        reason.map(|info| info.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_null_or_absent_is_empty_and_numbers_may_be_text() {
        let app = Application::read(json!({
            "metadata": {"name": "web", "annotations": null, "resourceVersion": "12"},
            "spec": {"source": {"repoURL": "u", "targetRevision": "main"}, "sources": null},
            "status": {
                "conditions": null,
                "reconciledAt": "2026-01-02T03:04:05Z",
                "operationState": {"phase": "Running", "retryCount": "2", "finishedAt": null},
                "sync": {"status": "Synced", "revisions": ["a", "b"]},
            },
        }));
        let app = app.unwrap();
        assert_eq!(app.version(), Some(12));
        assert_eq!(app.compared(), ["a", "b"]);
        assert_eq!(app.sources().len(), 1);
        let state = app.status.operation_state.unwrap();
        assert!(state.running() && !state.waits_for_retry());
        assert_eq!(state.retry_count, 2);
    }

    #[test]
    fn what_is_no_application_is_an_error() {
        for (value, problem) in [
            (json!({}), "no name"),
            (json!({"error": "x"}), "no name"),
            (json!({"metadata": {"name": 1}}), "invalid type"),
            (json!({"metadata": {"name": "a"}, "status": {"reconciledAt": "soon"}}), "soon"),
            (json!([1]), "no name"),
        ] {
            let error = Application::read(value.clone()).unwrap_err();
            assert!(error.contains(problem) || error.contains("invalid"), "{value}: {error}");
        }
    }
}
