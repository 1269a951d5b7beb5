//! Former templates of a workload, and the way back to one.
//!
//! A Deployment's are in its `ReplicaSets`, numbered by an annotation; those of a `StatefulSet` or
//! `DaemonSet` in `ControllerRevisions`, as patches. Without a number the one before the latest is
//! meant, as for kubectl. Of the annotations only the cause of the change comes back: what others
//! have noted at the object since then stays.

use serde_json::{Value, json};

use super::RolloutError;
use super::change::{CHANGE_CAUSE, Changed, Options, send};
use super::kind::{Workload, entries, number, text};
use super::target::Object;
use crate::kubernetes::{Client, Patch, Selection, selector};

/// A former template.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its number; the highest is the current one.
    pub number: i64,
    /// Why it was made, if somebody noted it.
    pub cause: Option<String>,
    /// The template.
    template: Value,
    /// The patch that leads to it.
    patch: Way,
}

/// How a template is put back.
#[derive(Clone, Debug, PartialEq)]
enum Way {
    Template,
    Data(Value),
}

impl Revision {
    /// The images of its containers.
    pub fn images(&self) -> Vec<String> {
        let containers = entries(&self.template, "/spec/containers");
        containers.map(|container| text(container, "/image").to_owned()).collect()
    }
}

/// Fails unless an object's current revision has this number.
pub async fn is_at(client: &Client, object: &Object, revision: i64) -> Result<(), RolloutError> {
    let current = match object.workload {
        Workload::Deployment | Workload::Rollout => number_of(object.workload, &object.value),
        _ => history(client, object).await?.last().map(|last| last.number),
    };
    if current == Some(revision) {
        return Ok(());
    }
    let current = current.map_or("unknown".to_owned(), |number| number.to_string());
    Err(RolloutError::Superseded {
        object: object.to_string(),
        problem: format!("its revision is {current}, not {revision}"),
    })
}

/// The revisions of an object, the oldest first.
pub async fn history(client: &Client, object: &Object) -> Result<Vec<Revision>, RolloutError> {
    let Some(resource) = object.workload.revisions() else {
        return Err(RolloutError::Usage {
            object: object.to_string(),
            problem: "only deployments, statefulsets, daemonsets and rollouts have a history"
                .to_owned(),
        });
    };
    let selection = Selection { labels: selector(&object.value["spec"]["selector"]), fields: None };
    let list = client.list(&resource, &object.namespace, &selection).await?;
    let owned = list.items.iter().filter(|item| owned_by(item, &object.value));
    let mut revisions: Vec<Revision> =
        owned.filter_map(|item| revision(object.workload, item)).collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

/// Whether an object is controlled by another.
pub(super) fn owned_by(item: &Value, owner: &Value) -> bool {
    let uid = text(owner, "/metadata/uid");
    entries(item, "/metadata/ownerReferences").any(|reference| text(reference, "/uid") == uid)
}

/// The number of a revision, by which it is found again.
pub(super) fn number_of(workload: Workload, item: &Value) -> Option<i64> {
    let annotation = |name: &str| item["metadata"]["annotations"][name].as_str()?.parse().ok();
    match workload {
        Workload::Deployment => annotation("deployment.kubernetes.io/revision"),
        Workload::Rollout => annotation("rollout.argoproj.io/revision"),
        _ => number(item, "/revision"),
    }
}

fn revision(workload: Workload, item: &Value) -> Option<Revision> {
    let number = number_of(workload, item)?;
    let cause = item["metadata"]["annotations"][CHANGE_CAUSE].as_str().map(str::to_owned);
    let (template, patch) = match workload {
        Workload::Deployment | Workload::Rollout => {
            (without_hash(item.pointer("/spec/template")?), Way::Template)
        }
        _ => (template_of(item)?, Way::Data(item.get("data")?.clone())),
    };
    Some(Revision { number, cause, template, patch })
}

/// The template in a `ControllerRevision`.
pub(super) fn template_of(item: &Value) -> Option<Value> {
    let mut template = item.pointer("/data/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

/// A template without the label by which its pods are told from others.
fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
        labels.remove("rollouts-pod-template-hash");
    }
    template
}

/// Puts a former template back; the one before the latest without a number.
pub async fn undo(
    client: &Client,
    object: &Object,
    to: Option<i64>,
    options: &Options,
) -> Result<Changed, RolloutError> {
    if object.value["spec"]["paused"] == true {
        return Err(RolloutError::Refused {
            object: object.to_string(),
            problem: "it is paused; resume it first, since nothing would be rolled back".to_owned(),
        });
    }
    let history = history(client, object).await?;
    let nothing = |problem: String| {
        let known: Vec<String> = history.iter().map(|r| r.number.to_string()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        RolloutError::Nothing { what: format!("{object}: {problem}; its revisions are {known}") }
    };
    let revision = match to {
        Some(number) => history
            .iter()
            .find(|revision| revision.number == number)
            .ok_or_else(|| nothing(format!("there is no revision {number}")))?,
        None => {
            let before = history.len().checked_sub(2);
            before
                .map(|at| &history[at])
                .ok_or_else(|| nothing("there is no revision to go back to".to_owned()))?
        }
    };
    if object.value["spec"]["template"] == revision.template {
        return Ok(Changed { object: object.clone(), changed: false, images: Vec::new() });
    }
    let patch = patch(object, revision, options);
    let value = send(client, object, &patch, options).await?;
    let changed = value["metadata"]["generation"] != object.value["metadata"]["generation"];
    let object = Object { value, ..object.clone() };
    Ok(Changed { object, changed, images: Vec::new() })
}

fn patch(object: &Object, revision: &Revision, options: &Options) -> Patch {
    let cause = options.cause.as_ref().or(revision.cause.as_ref());
    if let Way::Data(data) = &revision.patch {
        let mut data = data.clone();
        if let Some(cause) = cause {
            data["metadata"]["annotations"] = json!({ CHANGE_CAUSE: cause });
        }
        return Patch::Strategic(data);
    }
    let mut operations =
        vec![json!({"op": "replace", "path": "/spec/template", "value": revision.template})];
    let path = format!("/metadata/annotations/{}", CHANGE_CAUSE.replace('/', "~1"));
    let annotations = object.value.pointer("/metadata/annotations").and_then(Value::as_object);
    match (annotations, cause) {
        (Some(_), Some(cause)) => {
            operations.push(json!({"op": "add", "path": path, "value": cause}));
        }
        (Some(known), None) if known.contains_key(CHANGE_CAUSE) => {
            operations.push(json!({"op": "remove", "path": path}));
        }
        (None, Some(cause)) => {
            let value = json!({ CHANGE_CAUSE: cause });
            operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": value}));
        }
        _ => {}
    }
    Patch::Json(operations.into())
}
