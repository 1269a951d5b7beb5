//! Changes of a source's parameters and images, as `argocd app set` makes them.

use serde_json::{Value, json};

/// What is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Parameters of helm, name and value.
    pub parameters: Vec<(String, String)>,
    /// Images of kustomize: `[OLD=]NEW`.
    pub images: Vec<String>,
}

impl Edits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty() && self.images.is_empty()
    }

    /// Changes a specification; says whether it is another one now.
    pub fn apply(&self, spec: &mut Value) -> Result<bool, String> {
        let several = spec.get("sources").and_then(Value::as_array).is_some_and(|s| !s.is_empty());
        if several || spec.get("sourceHydrator").is_some_and(|hydrator| !hydrator.is_null()) {
            return Err("--set-parameter and --set-kustomize-image are for applications of one \
                        source; change the others where they are declared"
                .to_owned());
        }
        let before = spec.clone();
        let Some(source) = spec.get_mut("source").and_then(Value::as_object_mut) else {
            return Err("it has no source".to_owned());
        };
        let mut list = |tool: &str, name: &str, add: &dyn Fn(&mut Vec<Value>)| {
            let of = source.entry(tool).or_insert_with(|| json!({}));
            if of.is_null() {
                *of = json!({});
            }
            let list = of.as_object_mut()?.entry(name).or_insert_with(|| json!([]));
            if list.is_null() {
                *list = json!([]);
            }
            add(list.as_array_mut()?);
            Some(())
        };
        let wrong = || "its source is not what it should be".to_owned();
        for (name, value) in &self.parameters {
            let add = |list: &mut Vec<Value>| match list
                .iter_mut()
                .find(|p| p.get("name") == Some(&json!(name)))
            {
                Some(parameter) => parameter["value"] = json!(value),
                None => list.push(json!({ "name": name, "value": value })),
            };
            list("helm", "parameters", &add).ok_or_else(wrong)?;
        }
        for image in &self.images {
            let add = |list: &mut Vec<Value>| {
                let of = |text: &str| old(text).to_owned();
                match list.iter_mut().find(|i| i.as_str().map(of) == Some(of(image))) {
                    Some(known) => *known = json!(image),
                    None => list.push(json!(image)),
                }
            };
            list("kustomize", "images", &add).ok_or_else(wrong)?;
        }
        Ok(*spec != before)
    }
}

/// The name of the image that `[OLD=]NEW` stands in for.
fn old(image: &str) -> &str {
    let (name, plain) = match image.split_once('=') {
        Some((old, _)) => (old, false),
        None => (image, true),
    };
    if !plain {
        return name;
    }
    let name = name.split('@').next().unwrap_or_default();
    match name.rfind(':').filter(|at| !name[*at..].contains('/')) {
        Some(at) => &name[..at],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_by_name_and_added_else() {
        let edits = Edits {
            parameters: vec![("tag".into(), "2".into()), ("new".into(), "x".into())],
            images: vec!["h:5000/app:2".into(), "old=new:1".into()],
        };
        let mut spec = json!({"source": {
            "helm": {"parameters": [{"name": "tag", "value": "1", "forceString": true}]},
            "kustomize": {"namePrefix": "p-", "images": ["h:5000/app:1", "old=other"]},
        }, "project": "p"});
        assert!(edits.apply(&mut spec).unwrap());
        let after = json!({"source": {
            "helm": {"parameters": [
                {"name": "tag", "value": "2", "forceString": true}, {"name": "new", "value": "x"}
            ]},
            "kustomize": {"namePrefix": "p-", "images": ["h:5000/app:2", "old=new:1"]},
        }, "project": "p"});
        assert_eq!(spec, after);
        assert!(!edits.apply(&mut spec).unwrap());
        for mut other in [json!({"sources": [{}]}), json!({}), json!({"source": {"helm": 1}})] {
            assert!(edits.apply(&mut other).is_err(), "{other}");
        }
    }
}
