//! Kubernetes objects in a file: one for each document, and the items of a `List`.

use super::Glob;
use super::at::At;
use crate::yaml::Stream;

/// An object, by the keys that all of them have.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    /// Where it is.
    pub(super) at: At<'a>,
    /// `kind`.
    pub(super) kind: &'a str,
    /// The group of `apiVersion`; empty for the core's.
    pub(super) group: &'a str,
    /// `metadata.name`, else `metadata.generateName`, else nothing.
    pub(super) name: &'a str,
    /// `metadata.namespace`.
    pub(super) namespace: Option<&'a str>,
}

/// What people write for a kind, beside its name: what `kubectl` takes, and its plural.
const SHORT: [(&str, &[&str]); 15] = [
    ("Pod", &["po"]),
    ("Deployment", &["deploy"]),
    ("StatefulSet", &["sts"]),
    ("DaemonSet", &["ds"]),
    ("ReplicaSet", &["rs"]),
    ("ReplicationController", &["rc"]),
    ("CronJob", &["cj"]),
    ("ConfigMap", &["cm"]),
    ("Service", &["svc", "ksvc"]),
    ("Rollout", &["ro"]),
    ("Application", &["app", "apps"]),
    ("ApplicationSet", &["appset", "appsets"]),
    ("PipelineRun", &["pr", "prs"]),
    ("TaskRun", &["tr", "trs"]),
    ("Ingress", &["ing", "ingresses"]),
];

impl<'a> Object<'a> {
    /// The object at a node, if it is a mapping with a `kind`.
    pub(super) fn of(at: At<'a>) -> Option<Self> {
        let kind = at.text(&["kind"])?;
        let version = at.text(&["apiVersion"]).unwrap_or_default();
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let name = at.text(&["metadata", "name"]);
        let name = name.or_else(|| at.text(&["metadata", "generateName"])).unwrap_or_default();
        let namespace = at.text(&["metadata", "namespace"]);
        Some(Self { at, kind, group, name, namespace })
    }

    /// Whether `kind` is its kind: in any case, in the plural, short as `kubectl` takes it, or
    /// with the group behind a dot.
    pub(super) fn is_a(&self, kind: &str) -> bool {
        let (kind, group) = match kind.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (kind, None),
        };
        if group.is_some_and(|group| !group.eq_ignore_ascii_case(self.group)) {
            return false;
        }
        let plural = kind.strip_suffix(['s', 'S']);
        let short = SHORT.iter().find(|(name, _)| *name == self.kind);
        kind.eq_ignore_ascii_case(self.kind)
            || plural.is_some_and(|one| one.eq_ignore_ascii_case(self.kind))
            || short.is_some_and(|(_, words)| words.iter().any(|w| w.eq_ignore_ascii_case(kind)))
    }

    /// Whether a selector is about it.
    pub(super) fn is_selected(
        &self,
        kind: Option<&str>,
        name: Option<&Glob>,
        namespace: Option<&str>,
    ) -> bool {
        kind.is_none_or(|kind| self.is_a(kind))
            && name.is_none_or(|name| name.matches(self.name))
            && namespace.is_none_or(|wanted| self.namespace == Some(wanted))
    }

    /// How it is called in messages.
    pub(super) fn label(&self) -> String {
        let name = if self.name.is_empty() { "(no name)" } else { self.name };
        match self.namespace {
            Some(namespace) => format!("{}/{name} in {namespace}", self.kind),
            None => format!("{}/{name}", self.kind),
        }
    }
}

/// All objects of a file. An item of a `List` is one; the list itself is none.
pub(super) fn objects(stream: &Stream) -> Vec<Object<'_>> {
    let mut found = Vec::new();
    for root in At::roots(stream) {
        collect(root, &mut found);
    }
    found
}

fn collect<'a>(at: At<'a>, found: &mut Vec<Object<'a>>) {
    let items = at.get("items").filter(|items| items.node.items().is_some());
    let is_list = at.text(&["kind"]).is_some_and(|kind| kind.ends_with("List"));
    match items {
        Some(items) if is_list => items.items().into_iter().for_each(|item| collect(item, found)),
        _ => found.extend(Object::of(at)),
    }
}
