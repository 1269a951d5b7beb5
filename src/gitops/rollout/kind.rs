//! Kinds of workloads: where their pods' template is, and what can be done with them.

use serde_json::Value;

use crate::kubernetes::Resource;

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// A Deployment.
    Deployment,
    /// A `StatefulSet`.
    StatefulSet,
    /// A `DaemonSet`.
    DaemonSet,
    /// A Rollout of Argo Rollouts.
    Rollout,
    /// A Job.
    Job,
    /// A `CronJob`; its state is that of its last Job.
    CronJob,
    /// A pod by itself.
    Pod,
    /// A `ReplicaSet` or `ReplicationController`: pods that are there stay as they are.
    Replicas,
}

impl Workload {
    /// The kind of a type of resource, if its objects have pods.
    pub fn of(resource: &Resource) -> Option<Self> {
        Some(match (resource.group.as_str(), resource.kind.as_str()) {
            ("apps", "Deployment") => Self::Deployment,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("apps", "DaemonSet") => Self::DaemonSet,
            ("apps", "ReplicaSet") | ("", "ReplicationController") => Self::Replicas,
            ("argoproj.io", "Rollout") => Self::Rollout,
            ("batch", "Job") => Self::Job,
            ("batch", "CronJob") => Self::CronJob,
            ("", "Pod") => Self::Pod,
            _ => return None,
        })
    }

    /// The JSON pointer to the specification of its pods.
    pub fn pod_spec(self) -> &'static str {
        match self {
            Self::Pod => "/spec",
            Self::CronJob => "/spec/jobTemplate/spec/template/spec",
            _ => "/spec/template/spec",
        }
    }

    /// Whether a change of the template replaces pods, which can be watched.
    pub fn rolls_out(self) -> bool {
        !matches!(self, Self::CronJob | Self::Replicas | Self::Job)
    }

    /// Whether there is a state to wait for.
    pub fn has_status(self) -> bool {
        self != Self::Replicas
    }

    /// Whether it keeps its former templates.
    pub fn has_history(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::Rollout)
    }

    /// The type of the objects that hold its former templates, and tell which pods are new.
    pub fn revisions(self) -> Option<Resource> {
        Some(match self {
            Self::Deployment | Self::Rollout => {
                Resource::new("apps", "v1", "ReplicaSet", "replicasets")
            }
            Self::StatefulSet | Self::DaemonSet => {
                Resource::new("apps", "v1", "ControllerRevision", "controllerrevisions")
            }
            _ => return None,
        })
    }
}

/// A container's name and image, and where it stands in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// The JSON pointer to it.
    pub pointer: String,
}

/// The init containers and containers of a workload, in this order.
pub fn containers(workload: Workload, object: &Value) -> Vec<Container> {
    let mut found = Vec::new();
    for list in ["initContainers", "containers"] {
        let pointer = format!("{}/{list}", workload.pod_spec());
        let list = object.pointer(&pointer).and_then(Value::as_array);
        found.extend(list.into_iter().flatten().enumerate().map(|(at, container)| Container {
            name: text(container, "/name").to_owned(),
            image: text(container, "/image").to_owned(),
            pointer: format!("{pointer}/{at}"),
        }));
    }
    found
}

/// The text at a pointer; empty if there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a pointer, if there is one.
pub(super) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The entries of the list at a pointer.
pub(super) fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The condition of this type, if the object has it.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    entries(object, "/status/conditions").find(|condition| condition["type"] == kind)
}
