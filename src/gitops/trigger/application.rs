//! Which commit Argo CD has synced: what the Application says that owns a hook.
//!
//! Argo CD marks what it applies with the Application it is of: by the annotation
//! `argocd.argoproj.io/tracking-id` (`APP:GROUP/KIND:NAMESPACE/NAME`) or by a label. Of an
//! Application outside of Argo CD's own namespace the mark is `NAMESPACE_APP`.

use serde_json::Value;

use super::TriggerError;
use crate::kubernetes::{Client, Resource};

/// Where to look for the Application.
#[derive(Clone, Debug)]
pub enum Source {
    /// By its name.
    Named(String),
    /// As the owner of a hook's Job.
    Job {
        /// The Job.
        name: String,
        /// Its namespace.
        namespace: String,
        /// The label that holds the Application, where there is no annotation.
        label: String,
    },
}

/// What was synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// The Application.
    pub application: String,
    /// The commits, one for each source.
    pub revisions: Vec<String>,
    /// The repositories, one for each source.
    pub repositories: Vec<String>,
    /// The images that the Application runs.
    pub images: Vec<String>,
}

/// Reads the Application; `namespace` is that of Argo CD.
pub async fn application(
    client: &Client,
    source: &Source,
    namespace: &str,
) -> Result<Synced, TriggerError> {
    let mark = match source {
        Source::Named(name) => name.clone(),
        Source::Job { name, namespace, label } => {
            let jobs = Resource::new("batch", "v1", "Job", "jobs");
            let job = client.get(&jobs, namespace, name).await?;
            owner(&job, label).ok_or_else(|| TriggerError::NoApplication {
                job: name.clone(),
                label: label.clone(),
            })?
        }
    };
    // No name of Kubernetes holds an underscore.
    let (namespace, name) = mark.split_once('_').unwrap_or((namespace, &mark));
    let resource = Resource::new("argoproj.io", "v1alpha1", "Application", "applications");
    let application = client.get(&resource, namespace, name).await?;
    let synced = synced(&application);
    if synced.revisions.is_empty() {
        return Err(TriggerError::NoRevision { application: synced.application });
    }
    Ok(synced)
}

/// The mark of the Application that an object is of.
fn owner(object: &Value, label: &str) -> Option<String> {
    let annotation = object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].as_str();
    let mark = match annotation {
        Some(id) => id.split(':').next()?,
        None => object["metadata"]["labels"][label].as_str()?,
    };
    (!mark.is_empty()).then(|| mark.to_owned())
}

/// What an Application says about its sync: about the one under way, whose hook asks, else about the
/// last one.
pub fn synced(application: &Value) -> Synced {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(|one| one.as_str().filter(|one| !one.is_empty()))
            .map(str::to_owned)
            .collect()
    };
    // Several sources have a list, one has a text.
    let revisions = |value: &Value| match texts(&value["revisions"]) {
        list if list.is_empty() => texts(&Value::Array(vec![value["revision"].clone()])),
        list => list,
    };
    let status = &application["status"];
    let applied = revisions(&status["operationState"]["syncResult"]);
    let compared = revisions(&status["sync"]);
    let spec = &application["spec"];
    let sources = match spec["sources"].as_array() {
        Some(sources) if !sources.is_empty() => sources.clone(),
        _ => vec![spec["source"].clone()],
    };
    let repositories = sources.iter().filter_map(|source| source["repoURL"].as_str());
    Synced {
        application: application["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        revisions: if applied.is_empty() { compared } else { applied },
        repositories: repositories.map(str::to_owned).collect(),
        images: texts(&status["summary"]["images"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_tells_its_application() {
        let label = "app.kubernetes.io/instance";
        for (meta, expected) in [
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "web:batch/Job:shop/hook"},
                       "labels": {label: "other"}}),
                Some("web"),
            ),
            (json!({"labels": {label: "web"}}), Some("web")),
            (json!({"labels": {label: ""}}), None),
            (json!({"labels": {"app": "web"}}), None),
            (json!({}), None),
        ] {
            let job = json!({ "metadata": meta });
            assert_eq!(owner(&job, label).as_deref(), expected, "{meta}");
        }
    }

    #[test]
    fn the_sync_under_way_counts_before_the_last_comparison() {
        for (application, revisions, repositories) in [
            (
                json!({"status": {"operationState": {"syncResult": {"revision": "new"}},
                                  "sync": {"revision": "old"}},
                       "spec": {"source": {"repoURL": "r"}}}),
                vec!["new"],
                vec!["r"],
            ),
            (json!({"status": {"sync": {"revision": "old"}}}), vec!["old"], vec![]),
            (
                json!({"status": {"operationState": {"syncResult": {"revisions": ["a", "b"]}}},
                       "spec": {"sources": [{"repoURL": "r"}, {"repoURL": "s"}]}}),
                vec!["a", "b"],
                vec!["r", "s"],
            ),
            (json!({"status": {"sync": {"revision": ""}}}), vec![], vec![]),
        ] {
            let synced = synced(&application);
            assert_eq!(synced.revisions, revisions, "{application}");
            assert_eq!(synced.repositories, repositories, "{application}");
        }
    }
}
