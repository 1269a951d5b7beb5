//! Starts a `PipelineRun` of Tekton, once for what has changed, and waits for its end.
//!
//! ```text
//! hook Job ─ tracking ─► Application ─ revision ─┐
//!                                                ├─► PipelineRun ─ create ─► wait
//! flags, or a file with a PipelineRun ───────────┘       key ─ exists already?
//! ```
//!
//! With a key it is started once, however often this is called: runs with the key's label are looked
//! for first, and the name of the new one is made of the key, so that of two callers at the same
//! time the server itself refuses one (`AlreadyExists`); a name that the server makes up
//! (`generateName`) could not do that. Without a key each call starts a run.

mod application;
mod error;
mod hook;
mod run;
mod values;
mod wait;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub use application::{Source, Synced, application, synced};
pub use error::TriggerError;
pub use hook::{Hook, manifest};
pub use run::{Flags, Workspace, from_file, from_flags};
pub use values::Values;
pub use wait::{Ended, wait};

use crate::kubernetes::{Client, Resource, Selection};

/// The label that holds the key.
pub const KEY: &str = "yado.dev/trigger-key";
/// The label that tells the pipeline, by a hash of what refers to it.
pub const PIPELINE: &str = "yado.dev/trigger-pipeline";
/// The annotation that tells what was asked for, by a hash.
pub const SPEC: &str = "yado.dev/trigger-spec";

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Request {
    /// The `PipelineRun`, with its values filled in.
    pub run: Value,
    /// What makes it the same as another one.
    pub key: Option<String>,
    /// Whether nothing is started if the last run of the pipeline asked for the same.
    pub if_changed: bool,
    /// Whether the server only says what would be.
    pub dry_run: bool,
}

/// The run that there is now.
#[derive(Clone, Debug)]
pub struct Started {
    /// The run.
    pub run: Value,
    /// Whether this call has started it.
    pub created: bool,
}

/// The type of runs in the version that a run is of.
pub fn resource(run: &Value) -> Resource {
    let version = run["apiVersion"].as_str().and_then(|version| version.split_once('/'));
    let version = version.map_or("v1", |(_, version)| version);
    Resource::new("tekton.dev", version, "PipelineRun", "pipelineruns")
}

/// The key of a revision and a pipeline.
pub fn key_of(revision: &str, run: &Value) -> String {
    let revision: String = revision.chars().take(40).collect();
    format!("{revision}-{}", pipeline(run))
}

/// Starts the run, unless it is there.
pub async fn trigger(client: &Client, request: &Request) -> Result<Started, TriggerError> {
    let Request { key, if_changed, dry_run, .. } = request;
    let mut run = request.run.clone();
    let namespace = client.namespace();
    let resource = resource(&run);
    let spec = hash(&run["spec"].to_string(), 64);
    let pipeline = pipeline(&run);
    let meta = &mut run["metadata"];
    meta["labels"][PIPELINE] = pipeline.clone().into();
    meta["annotations"][SPEC] = spec.clone().into();
    if let Some(key) = key {
        meta["labels"][KEY] = label(key).into();
    }
    let labelled = |label: &str, value: &str| Selection::labelled(format!("{label}={value}"));
    if let Some(key) = key {
        let list = client.list(&resource, namespace, &labelled(KEY, &label(key))).await?;
        if let Some(run) = newest(list.items) {
            return Ok(Started { run, created: false });
        }
    }
    if *if_changed {
        let list = client.list(&resource, namespace, &labelled(PIPELINE, &pipeline)).await?;
        let same = |run: &Value| {
            run["metadata"]["annotations"][SPEC] == spec.as_str() && !wait::has_failed(run)
        };
        if let Some(run) = newest(list.items).filter(same) {
            return Ok(Started { run, created: false });
        }
    }
    let Some(key) = key else {
        let run = client.create(&resource, namespace, &run, *dry_run).await?;
        return Ok(Started { run, created: true });
    };
    name_by(&mut run, key);
    let name = run["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match client.create(&resource, namespace, &run, *dry_run).await {
        Ok(run) => Ok(Started { run, created: true }),
        // Somebody was faster, or our own request that seemed lost was not.
        Err(error) if error.already_exists() => {
            let run = client.get(&resource, namespace, &name).await?;
            if run["metadata"]["labels"][KEY] == label(key).as_str() {
                Ok(Started { run, created: false })
            } else {
                Err(TriggerError::Taken { name })
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a run the name that its key makes, in place of one that the server would make up.
fn name_by(run: &mut Value, key: &str) {
    let Some(meta) = run["metadata"].as_object_mut() else { return };
    let prefix = meta.remove("generateName");
    let prefix = prefix.as_ref().and_then(Value::as_str);
    let name = meta.get("name").and_then(Value::as_str).map(|name| format!("{name}-"));
    let prefix = prefix.map(str::to_owned).or(name).unwrap_or_default();
    // Names of pods are made of it, which have 63 characters.
    let prefix: String = prefix.chars().take(40).collect();
    meta.insert("name".to_owned(), format!("{prefix}{}", hash(key, 10)).into());
}

/// The run that was made last.
fn newest(runs: Vec<Value>) -> Option<Value> {
    runs.into_iter().max_by_key(|run| {
        run["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned()
    })
}

/// A hash of what refers to the pipeline.
fn pipeline(run: &Value) -> String {
    let spec = &run["spec"];
    let of =
        if spec["pipelineRef"].is_null() { &spec["pipelineSpec"] } else { &spec["pipelineRef"] };
    hash(&of.to_string(), 8)
}

/// A text as the value of a label: as it is, or a hash of it where labels do not allow it.
fn label(text: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let rim = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fine = text.len() <= 63 && text.chars().all(inner);
    if fine && rim(text.chars().next()) && rim(text.chars().last()) {
        text.to_owned()
    } else {
        hash(text, 40)
    }
}

/// The first hexadecimal digits of a SHA-256.
fn hash(text: &str, digits: usize) -> String {
    let sum = Sha256::digest(text.as_bytes());
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..digits.min(hex.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_makes_a_label_and_a_name() {
        let long = "x".repeat(64);
        for (text, kept) in [("abc-1.2_3", true), ("a/b", false), ("-a", false), (&long, false)] {
            let label = label(text);
            assert_eq!(label == text, kept, "{text}");
            assert!(label.len() <= 63);
        }
        for (meta, prefix) in [
            (json!({"generateName": "build-"}), "build-"),
            (json!({"name": "build"}), "build-"),
            (json!({"generateName": "x".repeat(60)}), &*"x".repeat(40)),
        ] {
            let mut run = json!({ "metadata": meta });
            name_by(&mut run, "key");
            let name = run["metadata"]["name"].as_str().expect("a name");
            assert_eq!(name, format!("{prefix}{}", hash("key", 10)));
            assert!(run["metadata"]["generateName"].is_null());
        }
        let run = json!({"spec": {"pipelineRef": {"name": "p"}}});
        let key = key_of(&"a".repeat(64), &run);
        assert!(label(&key) == key && key.len() == 49, "{key}");
        assert_ne!(key, key_of("a", &json!({"spec": {"pipelineRef": {"name": "q"}}})));
    }
}
