//! The `PipelineRun`: from flags, or from a file with flags over it.

use std::path::Path;

use serde_json::{Value, json};

use super::{TriggerError, Values};
use crate::yaml;

/// A workspace, as `tkn` takes it: `name=source,claimName=pvc,subPath=dir`, `name=tmp,emptyDir=`,
/// `name=ssh,secret=key`, `name=conf,config=map`.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    text: String,
    value: Value,
}

/// As it was read.
impl std::fmt::Display for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Workspace {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut name, mut sub_path, mut binding) = (None, None, None);
        for part in text.split(',') {
            let (key, value) =
                part.split_once('=').ok_or_else(|| format!("{part:?}: expected KEY=VALUE"))?;
            let mut bind = |key: &str, value: Value| match binding.replace((key.to_owned(), value))
            {
                None => Ok(()),
                Some(_) => Err(format!("{text:?}: a workspace has one source")),
            };
            match key {
                "name" => name = Some(value),
                "subPath" => sub_path = Some(value),
                "claimName" => bind("persistentVolumeClaim", json!({"claimName": value}))?,
                "emptyDir" => {
                    let medium =
                        if value.is_empty() { json!({}) } else { json!({"medium": value}) };
                    bind("emptyDir", medium)?;
                }
                "secret" => bind("secret", json!({"secretName": value}))?,
                "config" => bind("configMap", json!({"name": value}))?,
                other => {
                    return Err(format!(
                        "{other:?}: expected name, claimName, subPath, emptyDir, secret or config"
                    ));
                }
            }
        }
        let name = name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("{text:?}: expected name=NAME and a source"))?;
        let (key, value) = binding.ok_or_else(|| {
            format!("{text:?}: expected a source: claimName, emptyDir, secret or config")
        })?;
        let mut workspace = json!({"name": name});
        workspace[key] = value;
        if let Some(path) = sub_path {
            workspace["subPath"] = path.into();
        }
        Ok(Self { text: text.to_owned(), value: workspace })
    }
}

/// What flags say about a run.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The pipeline.
    pub pipeline: Option<String>,
    /// How its name begins, where the server makes it up.
    pub generate_name: Option<String>,
    /// Parameters.
    pub params: Vec<(String, Value)>,
    /// Workspaces.
    pub workspaces: Vec<Workspace>,
    /// The service account of its pods.
    pub service_account: Option<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
}

/// A run from flags alone.
pub fn from_flags(flags: &Flags, values: &Values) -> Result<Value, TriggerError> {
    let Some(pipeline) = &flags.pipeline else {
        return Err(TriggerError::Usage("there is neither --pipeline nor --from-file".to_owned()));
    };
    let run = json!({
        "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {},
        "spec": {"pipelineRef": {"name": pipeline}},
    });
    completed(run, flags, values)
}

/// A run from a file, YAML or JSON; flags come first.
pub fn from_file(path: &Path, flags: &Flags, values: &Values) -> Result<Value, TriggerError> {
    let fail = |problem: String| TriggerError::File { place: path.display().to_string(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let stream = yaml::parse(&text).map_err(|error| fail(error.to_string()))?;
    let [document] = stream.documents.as_slice() else {
        return Err(fail("expected one document, a PipelineRun".to_owned()));
    };
    let run = yaml::to_json(&text, document).map_err(|error| fail(error.to_string()))?;
    let version = run["apiVersion"].as_str().unwrap_or_default();
    if run["kind"] != "PipelineRun"
        || !version.starts_with("tekton.dev/")
        || !run["spec"].is_object()
    {
        return Err(fail("it is not a PipelineRun of tekton.dev".to_owned()));
    }
    if let Some(pipeline) = &flags.pipeline
        && run["spec"]["pipelineRef"]["name"] != pipeline.as_str()
    {
        return Err(fail(format!("it does not refer to pipeline {pipeline}")));
    }
    completed(run, flags, values)
}

/// Puts flags over a run and fills the values in.
fn completed(mut run: Value, flags: &Flags, values: &Values) -> Result<Value, TriggerError> {
    if !run["metadata"].is_object() {
        run["metadata"] = json!({});
    }
    let meta = &mut run["metadata"];
    // What only a server may say.
    for name in ["resourceVersion", "uid", "creationTimestamp", "namespace"] {
        meta.as_object_mut().map(|meta| meta.remove(name));
    }
    for (list, given) in [("labels", &flags.labels), ("annotations", &flags.annotations)] {
        for (key, value) in given {
            meta[list][key] = value.clone().into();
        }
        if let Some(map) = meta.get_mut(list).and_then(Value::as_object_mut) {
            map.values_mut().try_for_each(|value| fill(value, values))?;
        }
    }
    if let Some(prefix) = &flags.generate_name {
        meta["generateName"] = prefix.clone().into();
        meta.as_object_mut().map(|meta| meta.remove("name"));
    }
    if meta["name"].is_null() && meta["generateName"].is_null() {
        let pipeline = run["spec"]["pipelineRef"]["name"].as_str().unwrap_or("run");
        run["metadata"]["generateName"] = format!("{pipeline}-").into();
    }
    for (name, value) in &flags.params {
        set(&mut run["spec"]["params"], name, json!({"name": name, "value": value}));
    }
    for workspace in &flags.workspaces {
        let name = workspace.value["name"].as_str().unwrap_or_default();
        set(&mut run["spec"]["workspaces"], name, workspace.value.clone());
    }
    if let Some(params) = run["spec"]["params"].as_array_mut() {
        params.iter_mut().try_for_each(|param| fill(&mut param["value"], values))?;
    }
    // What is not there has been looked at above, which left a null.
    if let Some(spec) = run["spec"].as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
    if let Some(account) = &flags.service_account {
        // The older version has it at another place.
        if run["apiVersion"] == "tekton.dev/v1beta1" {
            run["spec"]["serviceAccountName"] = account.clone().into();
        } else {
            run["spec"]["taskRunTemplate"]["serviceAccountName"] = account.clone().into();
        }
    }
    Ok(run)
}

/// Puts an entry in the place of one of its name, or at the end.
fn set(list: &mut Value, name: &str, entry: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    match list.iter_mut().find(|known| known["name"] == name) {
        Some(known) => *known = entry,
        None => list.push(entry),
    }
}

/// Fills the values into all texts of a value.
fn fill(value: &mut Value, values: &Values) -> Result<(), TriggerError> {
    match value {
        Value::String(text) => *text = values.fill(text)?,
        Value::Array(list) => list.iter_mut().try_for_each(|one| fill(one, values))?,
        Value::Object(map) => map.values_mut().try_for_each(|one| fill(one, values))?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_are_written_as_for_tkn() {
        for (text, expected) in [
            (
                "name=src,claimName=pvc,subPath=a/b",
                Some(json!({"name": "src", "persistentVolumeClaim": {"claimName": "pvc"},
                            "subPath": "a/b"})),
            ),
            ("name=tmp,emptyDir=", Some(json!({"name": "tmp", "emptyDir": {}}))),
            ("name=k,secret=s", Some(json!({"name": "k", "secret": {"secretName": "s"}}))),
            ("name=c,config=m", Some(json!({"name": "c", "configMap": {"name": "m"}}))),
            ("name=c", None),
            ("emptyDir=", None),
            ("name=c,emptyDir=,secret=s", None),
            ("name=c,volume=x", None),
            ("c", None),
        ] {
            assert_eq!(Workspace::parse(text).ok().map(|w| w.value), expected, "{text}");
        }
    }

    #[test]
    fn flags_go_over_the_file() {
        let temp = crate::testing::TempDir::new("pipelinerun");
        let path = temp.path().join("run.yaml");
        let text = "apiVersion: tekton.dev/v1\nkind: PipelineRun\nmetadata:\n  generateName: b-\n  \
                    labels: {git-commit: '{{revision}}'}\nspec:\n  pipelineRef: {name: build}\n  \
                    params:\n  - {name: a, value: '1'}\n  - {name: b, value: ['x', '{{revision}}']}\n";
        std::fs::write(&path, text).expect("write");
        let values = Values { revision: Some("abc".into()), synced: None };
        let flags = Flags {
            params: vec![("a".into(), json!("2")), ("c".into(), json!("{{short_revision}}"))],
            service_account: Some("builder".into()),
            ..Flags::default()
        };
        let run = from_file(&path, &flags, &values).expect("a run");
        assert_eq!(run["metadata"], json!({"generateName": "b-", "labels": {"git-commit": "abc"}}));
        assert_eq!(
            run["spec"],
            json!({"pipelineRef": {"name": "build"},
                "params": [{"name": "a", "value": "2"}, {"name": "b", "value": ["x", "abc"]},
                           {"name": "c", "value": "abc"}],
                "taskRunTemplate": {"serviceAccountName": "builder"}})
        );
        for (text, said) in [
            ("kind: Pod\n", "not a PipelineRun"),
            ("a: [", "run.yaml"),
            ("a: 1\n---\nb: 2\n", "one document"),
        ] {
            std::fs::write(&path, text).expect("write");
            let error = from_file(&path, &flags, &values).expect_err(text).to_string();
            assert!(error.contains(said), "{error}");
        }
        let flags = Flags { pipeline: Some("build".into()), ..Flags::default() };
        let run = from_flags(&flags, &values).expect("a run");
        assert_eq!(run["metadata"], json!({"generateName": "build-"}));
        assert_eq!(run["spec"], json!({"pipelineRef": {"name": "build"}}));
        assert!(from_flags(&Flags::default(), &values).is_err());
    }
}
