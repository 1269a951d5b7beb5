//! The types that are served, and how they are discovered.

use serde_json::{Value, json};

use super::serve::{Answer, good};
use super::{Asked, schema};

/// A type that is served: plural, short name, group, version, kind.
pub(super) type Type = (&'static str, &'static str, &'static str, &'static str, &'static str);

pub(super) const TYPES: [Type; 16] = [
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

pub(super) fn type_of(plural: &str) -> &'static Type {
    TYPES.iter().find(|row| row.0 == plural).unwrap_or_else(|| panic!("no type {plural}"))
}

pub(super) fn api_version(plural: &str) -> String {
    let (_, _, group, version, _) = type_of(plural);
    if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
}

/// The types that are served, in the one form or the other.
pub(super) fn discovery(segments: &[&str], asked: &Asked, aggregated: bool) -> Option<Answer> {
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

pub(super) fn resources(group: &str) -> Answer {
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

pub(super) fn checked(kind: &str, value: Value) -> Value {
    schema::check(kind, &value);
    value
}
