//! Types that only the server knows: which group serves a kind, and in which version.

use serde_json::Value;

use super::KubernetesError;
use super::client::{Ask, Client};
use super::resource::{Name, Resource};

/// All of a server's types in one answer, since Kubernetes 1.27; older ones answer with their
/// groups alone.
const ALL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A type, and the names that it answers to.
#[derive(Clone, Debug)]
pub(super) struct Served {
    resource: Resource,
    names: Vec<String>,
}

impl Client {
    /// The type that people call so. What every cluster has is known without asking; the first
    /// that fits is taken, in the server's order, which is that of preference.
    pub async fn resource(&self, name: &str) -> Result<Resource, KubernetesError> {
        let parsed = Name::parse(name);
        if let Some(known) = Resource::built_in(&parsed) {
            return Ok(known);
        }
        let types = self.types().get_or_try_init(|| self.discover()).await?;
        let fits = |served: &&Served| {
            served.names.contains(&parsed.resource)
                && parsed.fits(&served.resource.group, &served.resource.version)
        };
        let found = types.iter().find(fits).map(|served| served.resource.clone());
        found.ok_or_else(|| KubernetesError::UnknownType { name: name.to_owned() })
    }

    /// The type of an object, by its `apiVersion` and `kind`.
    pub async fn resource_of(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Resource, KubernetesError> {
        if let Some(known) = Resource::of_kind(api_version, kind) {
            return Ok(known);
        }
        let types = self.types().get_or_try_init(|| self.discover()).await?;
        let found = types
            .iter()
            .map(|served| &served.resource)
            .find(|resource| resource.kind == kind && resource.api_version() == api_version);
        found
            .cloned()
            .ok_or_else(|| KubernetesError::UnknownType { name: format!("{api_version} {kind}") })
    }

    async fn discover(&self) -> Result<Vec<Served>, KubernetesError> {
        let mut types = Vec::new();
        for root in ["api", "apis"] {
            let ask = Ask { accept: ALL, ..Ask::get("discover", vec![root]) };
            let answer = self.json(named(ask, root)).await?;
            match answer["kind"].as_str() {
                Some("APIGroupDiscoveryList") => types.extend(aggregated(&answer)),
                Some("APIVersions") => {
                    for version in answer["versions"].as_array().into_iter().flatten() {
                        let version = version.as_str().unwrap_or_default();
                        self.discover_version("", version, &mut types).await?;
                    }
                }
                Some("APIGroupList") => {
                    for group in answer["groups"].as_array().into_iter().flatten() {
                        let name = group["name"].as_str().unwrap_or_default();
                        for version in preferred_first(group) {
                            self.discover_version(name, version, &mut types).await?;
                        }
                    }
                }
                _ => return Err(self.strange(format!("/{root} is no list of types"))),
            }
        }
        Ok(types)
    }

    async fn discover_version(
        &self,
        group: &str,
        version: &str,
        types: &mut Vec<Served>,
    ) -> Result<(), KubernetesError> {
        let path =
            if group.is_empty() { vec!["api", version] } else { vec!["apis", group, version] };
        let place = path.join("/");
        let answer = match self.json(named(Ask::get("discover", path), &place)).await {
            Ok(answer) => answer,
            // An extension's server is away; what it serves is then not to be had, the rest is.
            Err(error) if error.is_transient() || error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        for resource in answer["resources"].as_array().into_iter().flatten() {
            let names = [&resource["name"], &resource["singularName"]];
            types.extend(served(group, version, resource, &names, &resource["kind"], None));
        }
        Ok(())
    }
}

fn named<'a>(mut ask: Ask<'a>, place: &str) -> Ask<'a> {
    place.clone_into(&mut ask.call.resource);
    ask
}

fn preferred_first(group: &Value) -> Vec<&str> {
    let preferred = group["preferredVersion"]["version"].as_str();
    let all = group["versions"].as_array().into_iter().flatten();
    let others = all.filter_map(|v| v["version"].as_str()).filter(|v| Some(*v) != preferred);
    preferred.into_iter().chain(others).collect()
}

fn aggregated(answer: &Value) -> Vec<Served> {
    let mut types = Vec::new();
    for group in answer["items"].as_array().into_iter().flatten() {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        for version in group["versions"].as_array().into_iter().flatten() {
            let of = version["version"].as_str().unwrap_or_default();
            for resource in version["resources"].as_array().into_iter().flatten() {
                let names = [&resource["resource"], &resource["singularResource"]];
                let kind = &resource["responseKind"]["kind"];
                let scope = resource["scope"].as_str().map(|scope| scope == "Namespaced");
                types.extend(served(name, of, resource, &names, kind, scope));
            }
        }
    }
    types
}

fn served(
    group: &str,
    version: &str,
    resource: &Value,
    names: &[&Value; 2],
    kind: &Value,
    namespaced: Option<bool>,
) -> Option<Served> {
    let plural = names[0].as_str().filter(|name| !name.contains('/'))?;
    let kind = kind.as_str()?;
    let short = resource["shortNames"].as_array().into_iter().flatten();
    let names = names.iter().copied().chain(short).filter_map(Value::as_str);
    let mut names: Vec<String> =
        names.filter(|name| !name.is_empty()).map(str::to_lowercase).collect();
    names.push(kind.to_lowercase());
    let namespaced = namespaced.unwrap_or(resource["namespaced"] == true);
    Some(Served {
        resource: Resource { namespaced, ..Resource::new(group, version, kind, plural) },
        names,
    })
}
