//! Which pods are of the template that is being rolled out.
//!
//! The controllers mark pods by a hash of their template; the object that holds the template
//! tells the hash. Where that one may not be read, pods are compared with the template itself.

use serde_json::Value;

use super::history::{number_of, owned_by, template_of};
use super::kind::{Workload, containers, entries, text};

/// The label of pods of Deployments.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label of pods of `StatefulSets` and `DaemonSets`.
const REVISION_HASH: &str = "controller-revision-hash";
/// The label of pods of Rollouts.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// The pods of the object's template as it is now. `revisions` are the objects that hold its
/// templates, if they could be read.
pub fn current<'a>(
    workload: Workload,
    object: &Value,
    revisions: Option<&[Value]>,
    pods: &'a [Value],
) -> Vec<&'a Value> {
    let labelled = |label: &'static str, hash: String| {
        let of = move |pod: &&Value| !hash.is_empty() && pod["metadata"]["labels"][label] == *hash;
        pods.iter().filter(of).collect()
    };
    let hash = |item: Option<&Value>, label: &str| {
        item.and_then(|item| item["metadata"]["labels"][label].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    match (workload, revisions) {
        (Workload::Deployment, Some(sets)) => {
            let number = number_of(workload, object);
            let mut owned = sets.iter().filter(|set| owned_by(set, object));
            let set = owned.find(|set| number.is_some() && number_of(workload, set) == number);
            labelled(TEMPLATE_HASH, hash(set, TEMPLATE_HASH))
        }
        (Workload::DaemonSet, Some(revisions)) => {
            // One that holds another template is the last but one, and the last not seen yet.
            let template = object.pointer("/spec/template");
            let same = |item: &&Value| template_of(item).as_ref() == template;
            let owned = revisions.iter().filter(|item| owned_by(item, object)).filter(same);
            let newest = owned.max_by_key(|item| number_of(workload, item));
            labelled(REVISION_HASH, hash(newest, REVISION_HASH))
        }
        (Workload::StatefulSet, _) => {
            labelled(REVISION_HASH, text(object, "/status/updateRevision").to_owned())
        }
        (Workload::Rollout, _) => {
            labelled(ROLLOUT_HASH, text(object, "/status/currentPodHash").to_owned())
        }
        (Workload::Deployment | Workload::DaemonSet, None) => {
            let template = &object["spec"]["template"];
            pods.iter().filter(|pod| is_of(pod, template)).collect()
        }
        (Workload::Job | Workload::Pod, _) => pods.iter().collect(),
        (Workload::CronJob | Workload::Replicas, _) => Vec::new(),
    }
}

/// Whether a pod has all labels, annotations and images of a template.
fn is_of(pod: &Value, template: &Value) -> bool {
    let has = |list: &str| {
        let wanted = template["metadata"][list].as_object().into_iter().flatten();
        wanted.into_iter().all(|(key, value)| pod["metadata"][list][key] == *value)
    };
    let images = |spec: &Value| -> Vec<(String, String)> {
        let all = ["/initContainers", "/containers"].into_iter().flat_map(|l| entries(spec, l));
        all.map(|c| (text(c, "/name").to_owned(), text(c, "/image").to_owned())).collect()
    };
    let of_pod = images(&pod["spec"]);
    has("labels")
        && has("annotations")
        && images(&template["spec"]).iter().all(|image| of_pod.contains(image))
}

/// What pods run instead of what their template says: an admission webhook may change images.
/// Each line is for people.
pub fn other_images(workload: Workload, object: &Value, pods: &[&Value]) -> Vec<String> {
    let wanted = containers(workload, object);
    let mut lines = Vec::new();
    for pod in pods {
        let name = text(pod, "/metadata/name");
        for container in containers(Workload::Pod, pod) {
            let mut of_template = wanted.iter().filter(|wanted| wanted.name == container.name);
            if let Some(wanted) = of_template.find(|wanted| wanted.image != container.image) {
                lines.push(format!(
                    "pod {name} runs {} in container {}, not {}",
                    container.image, container.name, wanted.image
                ));
            }
        }
    }
    lines
}
