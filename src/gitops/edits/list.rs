//! The file of `--edits`: a list of edits, each with what holds for it alone.
//!
//! ```yaml
//! - set-image: Deployment/web/app=registry.example/app:2
//!   path: apps/web/*.yaml
//! - strategic-patch: {spec: {replicas: 3}}
//!   path: [overlays/prod/patch.yaml]
//! ```
//!
//! The keys of an entry are the name of one flag, `path`, `namespace`, `pin`, `all` and `add`; any
//! other is an error.

use serde_json::Value;

use super::{Edit, EditError, Flag, Glob};
use crate::yaml;

impl Edit {
    /// Reads a list of edits, as JSON or YAML; `path` is its name in errors.
    pub fn list(path: &str, bytes: &[u8]) -> Result<Vec<Self>, EditError> {
        let fail = |problem: String| EditError::List { path: path.into(), problem };
        let text = std::str::from_utf8(bytes).map_err(|e| fail(format!("it is no text: {e}")))?;
        let stream = yaml::parse(text).map_err(|e| fail(e.to_string()))?;
        let [document] = &stream.documents[..] else {
            return Err(fail("it is not one document".into()));
        };
        let value = yaml::to_json(text, document).map_err(|e| fail(e.to_string()))?;
        let Value::Array(entries) = value else {
            return Err(fail("it is not a list of edits".into()));
        };
        if entries.is_empty() {
            return Err(fail("it has no edit".into()));
        }
        let numbered = entries.iter().enumerate();
        numbered
            .map(|(at, value)| entry(value).map_err(|e| fail(format!("edit {}: {e}", at + 1))))
            .collect()
    }
}

fn entry(value: &Value) -> Result<Edit, String> {
    let Value::Object(map) = value else {
        return Err("it is not a map".into());
    };
    let mut edit: Option<Edit> = None;
    let (mut paths, mut namespace, mut pin, mut all, mut add) =
        (Vec::new(), None, None, None, None);
    for (key, value) in map {
        let wrong = |what: &str| format!("{key} is not {what}");
        match key.as_str() {
            "path" => {
                let texts = match value {
                    Value::Array(items) => items.iter().map(Value::as_str).collect(),
                    one => vec![one.as_str()],
                };
                for text in texts {
                    paths.push(Glob::new(text.ok_or_else(|| wrong("a path or a list of paths"))?));
                }
            }
            "namespace" => {
                namespace = Some(value.as_str().ok_or_else(|| wrong("a text"))?.to_owned());
            }
            "pin" => pin = Some(value.as_str().ok_or_else(|| wrong("a text"))?.parse()?),
            "all" => all = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?),
            "add" => add = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?),
            name => {
                let flag = Flag::ALL.into_iter().find(|flag| &flag.name()[2..] == name);
                let flag = flag.ok_or_else(|| format!("{name:?} is no key of an edit"))?;
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Object(_) if flag == Flag::StrategicPatch => value.to_string(),
                    _ => return Err(wrong("a text")),
                };
                let parsed = Edit::parse(flag, &text).map_err(|e| e.to_string())?;
                if let Some(edit) = edit.replace(parsed) {
                    return Err(format!("{} stands beside {}", flag.name(), edit.flag.name()));
                }
            }
        }
    }
    let edit = edit.ok_or("it says no edit, such as set-image")?;
    Ok(Edit { paths, namespace, all, add, pin, ..edit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::edits::Pin;

    #[test]
    fn reads_edits_with_what_holds_for_them() {
        let text = br#"[
            {"set-image": "app=a:1", "path": "x/*.yaml", "pin": "tag", "all": true},
            {"strategic-patch": {"spec": {"replicas": 3}}, "path": ["a", "b"]}
        ]"#;
        let edits = Edit::list("e", text).unwrap();
        assert_eq!(edits[0].to_string(), "--set-image app=a:1");
        assert_eq!((edits[0].pin, edits[0].all), (Some(Pin::Tag), Some(true)));
        assert!(edits[0].is_for("x/1.yaml") && !edits[0].is_for("y/1.yaml"));
        assert_eq!(edits[1].text, r#"{"spec":{"replicas":3}}"#);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, expected) in [
            ("{}", "--edits e: it is not a list of edits"),
            ("[]", "--edits e: it has no edit"),
            (r#"[{"path": "x"}]"#, "--edits e: edit 1: it says no edit, such as set-image"),
            (r#"[{"set-imag": "a=b:1"}]"#, r#"--edits e: edit 1: "set-imag" is no key of an edit"#),
            (r#"[{"set": "a"}]"#, "--edits e: edit 1: --set a: it is not PATH=VALUE"),
            (
                r#"[{"set": "a=1", "marker": "a=b:1"}]"#,
                "--edits e: edit 1: --set stands beside --marker",
            ),
            (r#"[{"set": "a=1", "all": 1}]"#, "--edits e: edit 1: all is not true or false"),
        ] {
            assert_eq!(Edit::list("e", text.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
