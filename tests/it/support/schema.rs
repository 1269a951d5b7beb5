//! Requests and answers of Argo CD, held against the names and types of its published interface
//! (`testdata/argocd`).

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/argocd/schema.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    })
}

/// A path of the interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route(&'static Value);

/// The path that a request is for.
pub(crate) fn route(method: &str, path: &str) -> Option<Route> {
    let paths = schema()["paths"].as_object().unwrap();
    let found = paths.iter().find(|(name, _)| {
        let (of, template) = name.split_once(' ').unwrap();
        let (template, path): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        of == method
            && template.len() == path.len()
            && template.iter().zip(&path).all(|(t, p)| t.starts_with('{') || t == p)
    });
    found.map(|(_, route)| Route(route))
}

impl Route {
    /// What is wrong with a request's parameters and body.
    pub(crate) fn request(self, query: &[(String, String)], body: &[u8]) -> Vec<String> {
        let mut problems = Vec::new();
        let known = self.0["query"].as_array();
        for (name, _) in query {
            if !known.is_some_and(|known| known.iter().any(|k| k == name.as_str())) {
                problems.push(format!("parameter {name} is unknown"));
            }
        }
        match (self.0["body"].as_str(), body.is_empty()) {
            (Some(of), _) => match serde_json::from_slice(body) {
                Ok(value) => check(of, &value, "body", &mut problems),
                Err(error) => problems.push(format!("the body is not JSON: {error}")),
            },
            (None, false) => problems.push("there is a body".to_owned()),
            (None, true) => {}
        }
        problems
    }

    /// What is wrong with an answer, or one object of a stream.
    pub(crate) fn answer(self, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        check(self.0["answer"].as_str().unwrap(), value, "answer", &mut problems);
        problems
    }
}

/// What is wrong with an error.
pub(crate) fn error(value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check("runtimeError", value, "error", &mut problems);
    problems
}

fn check(of: &str, value: &Value, at: &str, problems: &mut Vec<String>) {
    let text = value.as_str();
    let good = match of {
        "any" => true,
        "string" => text.is_some(),
        "boolean" => value.is_boolean(),
        "int32" => value.is_i64(),
        "int64" => value.is_i64() || text.is_some_and(|text| text.parse::<i64>().is_ok()),
        "time" => text.is_some_and(|text| text.len() == 20 && text.ends_with('Z')),
        _ => {
            if let Some(of) = of.strip_prefix('[').and_then(|of| of.strip_suffix(']')) {
                let Some(list) = value.as_array() else {
                    return problems.push(format!("{at} is no list"));
                };
                for (index, value) in list.iter().enumerate() {
                    check(of, value, &format!("{at}[{index}]"), problems);
                }
            } else if let Some(of) = of.strip_prefix('{').and_then(|of| of.strip_suffix('}')) {
                let Some(map) = value.as_object() else {
                    return problems.push(format!("{at} is no map"));
                };
                for (key, value) in map {
                    check(of, value, &format!("{at}.{key}"), problems);
                }
            } else {
                object(of, value, at, problems);
            }
            true
        }
    };
    if !good {
        problems.push(format!("{at} is not {of}: {value}"));
    }
}

fn object(of: &str, value: &Value, at: &str, problems: &mut Vec<String>) {
    let properties = schema()["definitions"][of].as_object();
    let properties = properties.unwrap_or_else(|| panic!("{of} is not in the schema"));
    let Some(map) = value.as_object() else {
        return problems.push(format!("{at} is no object: {value}"));
    };
    for (key, value) in map {
        let inlined = properties.iter().filter(|(name, _)| name.starts_with('='));
        let inlined =
            inlined.filter_map(|(_, of)| schema()["definitions"][of.as_str().unwrap()].get(key));
        match properties.get(key).into_iter().chain(inlined).next() {
            Some(of) => check(of.as_str().unwrap(), value, &format!("{at}.{key}"), problems),
            None => problems.push(format!("{at}.{key} is unknown")),
        }
    }
}
