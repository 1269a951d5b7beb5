//! Which workloads: by kind and name, or by labels, as kubectl takes them.

use serde_json::Value;

use super::RolloutError;
use super::kind::{Workload, text};
use crate::kubernetes::{Client, Resource, Selection};

/// What names workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Types and names.
    Each(Vec<(String, String)>),
    /// All of a type that have these labels; all of it without.
    Labelled {
        /// The type.
        kind: String,
        /// The label selector.
        selector: Option<String>,
    },
}

/// A workload, as it was when it was looked up.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its type.
    pub resource: Resource,
    /// Its kind.
    pub workload: Workload,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: Value,
}

/// As kubectl names it: `deployment.apps/web`.
impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.resource.object(&self.name))
    }
}

impl Names {
    /// Reads `KIND/NAME…` or `KIND NAME…`; `KIND` alone with labels, or for all.
    pub fn parse(
        words: &[String],
        selector: Option<&str>,
        all: bool,
    ) -> Result<Self, RolloutError> {
        let usage = |object: &str, problem: &str| {
            Err(RolloutError::Usage { object: object.to_owned(), problem: problem.to_owned() })
        };
        let Some((first, rest)) = words.split_first() else {
            return usage("which workload", "name one as KIND/NAME");
        };
        if all || selector.is_some() {
            if !rest.is_empty() || first.contains('/') {
                return usage(first, "a label selector goes with a kind alone, without names");
            }
            return Ok(Self::Labelled {
                kind: first.clone(),
                selector: selector.map(str::to_owned),
            });
        }
        if first.contains('/') {
            let mut each = Vec::new();
            for word in words {
                match word.split_once('/') {
                    Some((kind, name)) if !kind.is_empty() && is_name(name) => {
                        each.push((kind.to_owned(), name.to_owned()));
                    }
                    _ => return usage(word, "expected KIND/NAME"),
                }
            }
            return Ok(Self::Each(each));
        }
        if rest.is_empty() {
            return usage(first, "expected KIND/NAME, or a name behind the kind");
        }
        match rest.iter().find(|name| !is_name(name)) {
            Some(name) => usage(name, "is not a name"),
            None => Ok(Self::Each(rest.iter().map(|name| (first.clone(), name.clone())).collect())),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '=', ' '])
}

/// Looks the workloads up.
pub async fn find(
    client: &Client,
    namespace: &str,
    names: &Names,
) -> Result<Vec<Object>, RolloutError> {
    let mut found = Vec::new();
    match names {
        Names::Each(each) => {
            for (kind, name) in each {
                let (resource, workload) = of_kind(client, kind).await?;
                let value = client.get(&resource, namespace, name).await?;
                found.push(object(resource, workload, namespace, value));
            }
        }
        Names::Labelled { kind, selector } => {
            let (resource, workload) = of_kind(client, kind).await?;
            let selection = Selection { labels: selector.clone(), fields: None };
            let list = client.list(&resource, namespace, &selection).await?;
            let of = |value| object(resource.clone(), workload, namespace, value);
            found.extend(list.items.into_iter().map(of));
            if found.is_empty() {
                let with = selector.as_ref().map(|s| format!(" with {s}")).unwrap_or_default();
                return Err(RolloutError::Nothing {
                    what: format!("there are no {resource}{with} in namespace {namespace}"),
                });
            }
        }
    }
    Ok(found)
}

fn object(resource: Resource, workload: Workload, namespace: &str, value: Value) -> Object {
    let name = text(&value, "/metadata/name").to_owned();
    Object { resource, workload, namespace: namespace.to_owned(), name, value }
}

async fn of_kind(client: &Client, kind: &str) -> Result<(Resource, Workload), RolloutError> {
    let resource = client.resource(kind).await?;
    match Workload::of(&resource) {
        Some(workload) => Ok((resource, workload)),
        None => Err(RolloutError::Usage {
            object: kind.to_owned(),
            problem: format!("{resource} have no pods; expected such as deployment/web"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_as_for_kubectl() {
        let each = |list: &[(&str, &str)]| {
            let list = list.iter().map(|(kind, name)| ((*kind).into(), (*name).into()));
            Some(Names::Each(list.collect()))
        };
        let labelled = |kind: &str, selector: Option<&str>| {
            Some(Names::Labelled { kind: kind.into(), selector: selector.map(str::to_owned) })
        };
        for (words, selector, all, expected) in [
            (&["deploy/web"][..], None, false, each(&[("deploy", "web")])),
            (&["deploy/web", "sts/db"], None, false, each(&[("deploy", "web"), ("sts", "db")])),
            (&["deploy", "web", "api"], None, false, each(&[("deploy", "web"), ("deploy", "api")])),
            (&["deploy"], Some("app=x"), false, labelled("deploy", Some("app=x"))),
            (&["deploy"], None, true, labelled("deploy", None)),
            (&["deploy"], None, false, None),
            (&["deploy/"], None, false, None),
            (&["/web"], None, false, None),
            (&["deploy/web", "db"], None, false, None),
            (&["deploy", "ds/web"], None, false, None),
            (&["deploy/web"], Some("a=b"), false, None),
            (&["deploy", "web"], Some("a=b"), false, None),
            (&[], None, false, None),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(Names::parse(&words, selector, all).ok(), expected, "{words:?}");
        }
    }
}
