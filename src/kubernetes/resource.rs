//! Types of resources, and the names that people give them.

use std::fmt;

/// A type of resource, as the server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core.
    pub group: String,
    /// The version of the group.
    pub version: String,
    /// The kind of its objects.
    pub kind: String,
    /// The name in paths, in the plural.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// As roles and `kubectl` write it: `deployments.apps`, `pods`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// Kind, plural, short name, group and version of what every cluster has.
const BUILT_IN: [(&str, &str, &str, &str, &str); 19] = [
    ("Deployment", "deployments", "deploy", "apps", "v1"),
    ("StatefulSet", "statefulsets", "sts", "apps", "v1"),
    ("DaemonSet", "daemonsets", "ds", "apps", "v1"),
    ("ReplicaSet", "replicasets", "rs", "apps", "v1"),
    ("ControllerRevision", "controllerrevisions", "", "apps", "v1"),
    ("Job", "jobs", "", "batch", "v1"),
    ("CronJob", "cronjobs", "cj", "batch", "v1"),
    ("Pod", "pods", "po", "", "v1"),
    ("ReplicationController", "replicationcontrollers", "rc", "", "v1"),
    ("PodTemplate", "podtemplates", "", "", "v1"),
    ("Service", "services", "svc", "", "v1"),
    ("ConfigMap", "configmaps", "cm", "", "v1"),
    ("Secret", "secrets", "", "", "v1"),
    ("ServiceAccount", "serviceaccounts", "sa", "", "v1"),
    ("PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "", "v1"),
    ("Event", "events", "ev", "", "v1"),
    ("Ingress", "ingresses", "ing", "networking.k8s.io", "v1"),
    ("Role", "roles", "", "rbac.authorization.k8s.io", "v1"),
    ("RoleBinding", "rolebindings", "", "rbac.authorization.k8s.io", "v1"),
];

impl Resource {
    /// A resource in namespaces that the caller knows.
    pub fn new(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        }
    }

    /// What every cluster has, so that no server needs to be asked.
    pub fn built_in(name: &Name) -> Option<Self> {
        let row = BUILT_IN.iter().find(|(kind, plural, short, group, version)| {
            let known = [kind.to_lowercase().as_str(), plural, short].contains(&&*name.resource);
            known && !name.resource.is_empty() && name.fits(group, version)
        });
        row.map(|(kind, plural, _, group, version)| Self::new(group, version, kind, plural))
    }

    /// Of these `apiVersion` and `kind`, if every cluster has it.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let row = BUILT_IN.iter().find(|row| (row.0, row.3, row.4) == (kind, group, version));
        row.map(|(kind, plural, _, group, version)| Self::new(group, version, kind, plural))
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// An object of it as `kubectl` names it: `deployment.apps/web`.
    pub fn object(&self, name: &str) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() {
            format!("{kind}/{name}")
        } else {
            format!("{kind}.{}/{name}", self.group)
        }
    }

    /// The segments of the path to its objects.
    pub(super) fn path<'a>(&'a self, namespace: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = match self.group.as_str() {
            "" => vec!["api", &*self.version],
            group => vec!["apis", group, &*self.version],
        };
        if self.namespaced && !namespace.is_empty() {
            path.extend(["namespaces", namespace]);
        }
        path.push(&self.plural);
        path.extend(rest);
        path
    }
}

/// How people name a type: `deploy`, `Deployment`, `deployments.apps`, `deployments.v1.apps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Plural, singular, kind or short name, in lower case.
    pub resource: String,
    /// The version, where it is said.
    pub version: Option<String>,
    /// The group, where it is said.
    pub group: Option<String>,
}

impl Name {
    /// Reads a name.
    pub fn parse(text: &str) -> Self {
        let text = text.to_lowercase();
        let Some((resource, rest)) = text.split_once('.') else {
            return Self { resource: text, version: None, group: None };
        };
        let (version, group) = match rest.split_once('.') {
            Some((version, group)) if is_version(version) => (Some(version), group),
            // The core has no name, only a version.
            None if is_version(rest) => (Some(rest), ""),
            _ => (None, rest),
        };
        Self {
            resource: resource.to_owned(),
            version: version.map(str::to_owned),
            group: Some(group.to_owned()),
        }
    }

    /// Whether the group and version are not others than those that were said.
    pub(super) fn fits(&self, group: &str, version: &str) -> bool {
        self.group.as_deref().is_none_or(|said| said == group)
            && self.version.as_deref().is_none_or(|said| said == version)
    }
}

/// `v1`, `v2beta1`.
fn is_version(text: &str) -> bool {
    let mut rest = text.strip_prefix('v').unwrap_or_default().chars();
    rest.next().is_some_and(|c| c.is_ascii_digit()) && rest.all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_name_types_in_many_ways() {
        for (text, expected) in [
            ("deploy", Some("deployments.apps")),
            ("Deployment", Some("deployments.apps")),
            ("deployments", Some("deployments.apps")),
            ("deployments.apps", Some("deployments.apps")),
            ("deployment.v1.apps", Some("deployments.apps")),
            ("deployments.v1beta1.apps", None),
            ("deployments.extensions", None),
            ("sts", Some("statefulsets.apps")),
            ("ds", Some("daemonsets.apps")),
            ("cj", Some("cronjobs.batch")),
            ("po", Some("pods")),
            ("pods.v1", Some("pods")),
            ("svc", Some("services")),
            ("", None),
            ("rollout", None),
        ] {
            let found = Resource::built_in(&Name::parse(text)).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_path_has_group_version_and_namespace() {
        let built_in = |name| Resource::built_in(&Name::parse(name)).expect("built in");
        assert_eq!(
            built_in("deploy").path("shop", &["web"]).join("/"),
            "apis/apps/v1/namespaces/shop/deployments/web"
        );
        assert_eq!(built_in("po").path("", &[]).join("/"), "api/v1/pods");
    }
}
