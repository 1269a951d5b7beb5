//! Changes of a template: another image, a restart.
//!
//! An image is changed by a JSON patch that tests the container's name first, so that an image can
//! never end up at another container, and a container that is gone is not made anew (a strategic
//! merge would do that). A change is not made where nothing would change.

use serde_json::{Value, json};

use super::RolloutError;
use super::kind::{Container, Workload, containers, text};
use super::target::Object;
use crate::kubernetes::{Client, KubernetesError, Patch};

/// Where `kubectl rollout history` finds why a revision was made.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// How often a change is tried that others come in between.
const ATTEMPTS: u32 = 5;

/// How a change is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Why, for the history of the rollout.
    pub cause: Option<String>,
    /// Whether the server only says what would be.
    pub dry_run: bool,
}

/// An object after a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now.
    pub object: Object,
    /// Whether it was another before.
    pub changed: bool,
    /// The images that were asked for, by container.
    pub images: Vec<(String, String)>,
}

/// Reads `CONTAINER=IMAGE`; the container may be `*` for all.
pub fn image(word: &str) -> Option<(String, String)> {
    let (container, image) = word.split_once('=')?;
    let fine = !container.is_empty()
        && !container.contains('/')
        && !image.is_empty()
        && !image.contains(char::is_whitespace);
    fine.then(|| (container.to_owned(), image.to_owned()))
}

/// Gives containers other images.
pub async fn set_image(
    client: &Client,
    object: &Object,
    images: &[(String, String)],
    options: &Options,
) -> Result<Changed, RolloutError> {
    let mut object = object.clone();
    for attempt in 1..=ATTEMPTS {
        if attempt > 1 {
            object.value = client.get(&object.resource, &object.namespace, &object.name).await?;
        }
        let wanted = wanted(&object, images)?;
        let differing: Vec<_> =
            wanted.iter().filter(|(container, image)| container.image != **image).collect();
        let named = wanted.iter().map(|(c, image)| (c.name.clone(), (*image).clone())).collect();
        if differing.is_empty() {
            return Ok(Changed { object, changed: false, images: named });
        }
        let mut patch = Vec::new();
        for (Container { name, pointer, .. }, image) in differing {
            patch.push(json!({"op": "test", "path": format!("{pointer}/name"), "value": name}));
            patch
                .push(json!({"op": "replace", "path": format!("{pointer}/image"), "value": image}));
        }
        patch.extend(cause(&object.value, options));
        let patch = Patch::Json(patch.into());
        match send(client, &object, &patch, options).await {
            Ok(value) => {
                object.value = value;
                return Ok(Changed { object, changed: true, images: named });
            }
            // A test that failed; other mistakes fail again with a fresh look at the object.
            Err(KubernetesError::Refused(refusal))
                if attempt < ATTEMPTS
                    && (refusal.code == 409
                        || (refusal.code == 422 && moved(&refusal.message))) => {}
            Err(error) if attempt < ATTEMPTS && error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RolloutError::Conflict { object: object.to_string(), attempts: ATTEMPTS })
}

/// Whether a refusal may be that of a test in a JSON patch.
fn moved(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("test") || message.contains("the server rejected our request")
}

/// Each container that is meant, and the image that it is to have.
fn wanted<'a>(
    object: &Object,
    images: &'a [(String, String)],
) -> Result<Vec<(Container, &'a String)>, RolloutError> {
    let Object { workload, value, .. } = object;
    if *workload == Workload::Rollout && value["spec"]["workloadRef"].is_object() {
        let of = &value["spec"]["workloadRef"];
        return Err(RolloutError::Refused {
            object: object.to_string(),
            problem: format!(
                "its template is that of {}/{}; change that one",
                text(of, "/kind").to_lowercase(),
                text(of, "/name")
            ),
        });
    }
    let known = containers(*workload, value);
    for (container, _) in images.iter().filter(|(container, _)| container != "*") {
        if !known.iter().any(|known| known.name == *container) {
            let names: Vec<&str> = known.iter().map(|known| &*known.name).collect();
            return Err(RolloutError::Nothing {
                what: format!(
                    "{object} has no container {container:?}; it has {}",
                    names.join(", ")
                ),
            });
        }
    }
    // The last that fits, as if they were set one after the other.
    let image_of = |container: &Container| {
        let fits = |(name, _): &&(String, String)| name == "*" || *name == container.name;
        images.iter().rev().find(fits).map(|(_, image)| image)
    };
    let pairs = known.into_iter().filter_map(|container| {
        let image = image_of(&container)?;
        Some((container, image))
    });
    Ok(pairs.collect())
}

/// The operations that say why.
fn cause(object: &Value, options: &Options) -> Vec<Value> {
    let Some(cause) = &options.cause else { return Vec::new() };
    if object.pointer("/metadata/annotations").is_none_or(Value::is_null) {
        let annotations = json!({ CHANGE_CAUSE: cause });
        return vec![json!({"op": "add", "path": "/metadata/annotations", "value": annotations})];
    }
    let path = format!("/metadata/annotations/{}", CHANGE_CAUSE.replace('/', "~1"));
    vec![json!({"op": "add", "path": path, "value": cause})]
}

/// Has all pods of a workload replaced by new ones of the same template. `now` is the time as
/// `2026-11-28T12:00:00Z`.
pub async fn restart(
    client: &Client,
    object: &Object,
    now: &str,
    options: &Options,
) -> Result<Changed, RolloutError> {
    const ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";
    let refuse = |problem: &str| {
        Err(RolloutError::Refused { object: object.to_string(), problem: problem.to_owned() })
    };
    if !object.workload.has_history() {
        return Err(RolloutError::Usage {
            object: object.to_string(),
            problem: "only deployments, statefulsets, daemonsets and rollouts can be restarted"
                .to_owned(),
        });
    }
    if object.value["spec"]["paused"] == true {
        return refuse("it is paused; nothing would be restarted until it is resumed");
    }
    let mut patch = match object.workload {
        // Its controller restarts pods in place of a new revision.
        Workload::Rollout => json!({"spec": {"restartAt": now}}),
        _ => json!({"spec": {"template": {"metadata": {"annotations": {ANNOTATION: now}}}}}),
    };
    if let Some(cause) = &options.cause {
        patch["metadata"] = json!({"annotations": {CHANGE_CAUSE: cause}});
    }
    let value = send(client, object, &Patch::Merge(patch), options).await?;
    let changed = value["metadata"]["generation"] != object.value["metadata"]["generation"];
    let object = Object { value, ..object.clone() };
    Ok(Changed { object, changed, images: Vec::new() })
}

/// Sends a patch of an object.
pub(super) async fn send(
    client: &Client,
    object: &Object,
    patch: &Patch,
    options: &Options,
) -> Result<Value, KubernetesError> {
    let Object { resource, namespace, name, .. } = object;
    client.patch(resource, namespace, name, patch, options.dry_run).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_container_and_a_reference() {
        for (word, expected) in [
            ("app=r.io/app:1", Some(("app", "r.io/app:1"))),
            ("*=app@sha256:00", Some(("*", "app@sha256:00"))),
            ("app=a=b", Some(("app", "a=b"))),
            ("app", None),
            ("app=", None),
            ("=app", None),
            ("deploy/web=x", None),
            ("app=a b", None),
        ] {
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(image(word), expected, "{word}");
        }
    }
}
