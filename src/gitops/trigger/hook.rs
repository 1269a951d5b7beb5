//! The manifests of a `PostSync` hook that runs `yado trigger`: a Job, its account and its rights.

use serde_json::{Value, json};

/// What the hook is made of.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The name of the Job and of all that goes with it.
    pub name: String,
    /// The image with yado in it.
    pub image: String,
    /// The namespace of the hook.
    pub namespace: String,
    /// The namespace of the runs, if it is another one.
    pub runs: Option<String>,
    /// The namespace of Argo CD.
    pub argocd: String,
    /// The arguments of `yado trigger`.
    pub args: Vec<String>,
    /// Whether the hook waits for the run, which takes more rights.
    pub waits: bool,
}

/// The manifests, as one YAML text.
pub fn manifest(hook: &Hook) -> String {
    let Hook { name, namespace, argocd, .. } = hook;
    let meta = |namespace: &str| json!({"name": name, "namespace": namespace});
    let mut rules = vec![json!({"apiGroups": ["tekton.dev"], "resources": ["pipelineruns"],
        "verbs": if hook.waits { json!(["list", "watch", "get", "create"]) }
                 else { json!(["list", "get", "create"]) }})];
    if hook.waits {
        rules.push(
            json!({"apiGroups": ["tekton.dev"], "resources": ["taskruns"], "verbs": ["get"]}),
        );
        rules.push(json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}));
    }
    let jobs = json!({"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]});
    let mut parts = vec![json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": meta(namespace)})];
    let role = |of: &str, rules: &[Value]| role(&meta(of), namespace, name, rules);
    match hook.runs.as_deref().filter(|runs| runs != namespace) {
        None => {
            rules.push(jobs);
            parts.extend(role(namespace, &rules));
        }
        Some(runs) => {
            parts.extend(role(namespace, &[jobs]));
            parts.extend(role(runs, &rules));
        }
    }
    let applications =
        json!({"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get"]});
    parts.extend(role(argocd, &[applications]));
    parts.push(job(hook, meta(namespace)));
    let texts: Vec<String> = parts.iter().map(|part| block(part, 0)).collect();
    texts.join("---\n")
}

/// A Role and what gives it to the account.
fn role(meta: &Value, account: &str, name: &str, rules: &[Value]) -> [Value; 2] {
    let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": account});
    [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
            "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": meta, "subjects": [subject],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}}),
    ]
}

fn job(hook: &Hook, mut meta: Value) -> Value {
    meta["annotations"] = json!({
        "argocd.argoproj.io/hook": "PostSync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
    });
    let from = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let args: Vec<&str> =
        std::iter::once("trigger").chain(hook.args.iter().map(String::as_str)).collect();
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {
        // Another attempt finds the run by its key; without one it would start another.
        "backoffLimit": if args.contains(&"--no-key") { 0 } else { 3 },
        "template": {"spec": {
            "restartPolicy": "Never",
            "serviceAccountName": hook.name,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "trigger", "image": hook.image, "command": ["yado"], "args": args,
                "env": [
                    {"name": "YADO_TRIGGER_HOOK_JOB",
                     "valueFrom": from("metadata.labels['job-name']")},
                    {"name": "YADO_TRIGGER_HOOK_NAMESPACE",
                     "valueFrom": from("metadata.namespace")},
                ],
                "securityContext": {"allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            }],
        }},
    }})
}

/// A value as YAML in block style. Texts are in double quotes, as JSON has them, so that no reader
/// takes one for something else.
fn block(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let line = |value: &Value| match value {
        Value::Object(map) if !map.is_empty() => format!("\n{}", block(value, depth + 1)),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            format!("\n{}", block(value, depth))
        }
        other => format!(" {other}\n"),
    };
    match value {
        Value::Object(map) => {
            // What it is comes first, as people write it.
            let first = ["apiVersion", "kind", "metadata", "name"];
            let rank = |key: &str| first.iter().position(|f| *f == key).unwrap_or(first.len());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| rank(key));
            let lines = entries.iter().map(|(key, value)| format!("{indent}{key}:{}", line(value)));
            lines.collect::<Vec<_>>().concat()
        }
        Value::Array(list) => {
            let entry = |one: &Value| {
                let text = block(one, depth + 1);
                format!("{indent}- {}", text.trim_start())
            };
            list.iter().map(entry).collect::<Vec<_>>().concat()
        }
        other => format!("{indent}{other}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn the_manifests_are_what_they_were_made_of() {
        let hook = Hook {
            name: "build".into(),
            image: "r.io/yado:1".into(),
            namespace: "shop".into(),
            runs: Some("ci".into()),
            argocd: "argocd".into(),
            args: vec![
                "--pipeline".into(),
                "build".into(),
                "--param".into(),
                "a=x: \"y\" #".into(),
            ],
            waits: true,
        };
        let text = manifest(&hook);
        let stream = yaml::parse(&text).expect("YAML");
        let parts: Vec<Value> = stream
            .documents
            .iter()
            .map(|document| yaml::to_json(&text, document).expect("values"))
            .collect();
        let kinds: Vec<&str> = parts.iter().filter_map(|part| part["kind"].as_str()).collect();
        assert_eq!(
            kinds,
            [
                "ServiceAccount",
                "Role",
                "RoleBinding",
                "Role",
                "RoleBinding",
                "Role",
                "RoleBinding",
                "Job"
            ]
        );
        let meta = json!({"name": "build", "namespace": "shop", "annotations": {
            "argocd.argoproj.io/hook": "PostSync",
            "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"}});
        assert_eq!(parts[7], job(&hook, json!({"name": "build", "namespace": "shop"})));
        assert_eq!(parts[7]["metadata"], meta);
        let args = &parts[7]["spec"]["template"]["spec"]["containers"][0]["args"];
        assert_eq!(*args, json!(["trigger", "--pipeline", "build", "--param", "a=x: \"y\" #"]));
        let namespaces: Vec<&str> =
            parts.iter().filter_map(|part| part["metadata"]["namespace"].as_str()).collect();
        assert_eq!(namespaces, ["shop", "shop", "shop", "ci", "ci", "argocd", "argocd", "shop"]);
    }
}
