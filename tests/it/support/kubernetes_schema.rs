//! The published schema of Kubernetes' objects, held against what the test's server says.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

/// Definitions: their properties, and the types of these.
static DEFINITIONS: LazyLock<BTreeMap<String, BTreeMap<String, String>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../testdata/kubernetes/schema.json")).unwrap()
});

/// Fails unless an object of this kind has only properties that its kind has, of their types.
/// Kinds that Kubernetes itself does not know are not checked.
pub(crate) fn check(kind: &str, object: &Value) {
    let names = [format!("V1{kind}"), format!("CoreV1{kind}"), kind.to_owned()];
    let name = names.iter().find(|name| DEFINITIONS.contains_key(*name));
    if let Some(name) = name {
        fits(name, object, kind);
    }
}

fn fits(of: &str, value: &Value, place: &str) {
    if value.is_null() {
        return;
    }
    if let Some(inner) = of.strip_prefix("list[").and_then(|rest| rest.strip_suffix(']')) {
        let items = value.as_array().unwrap_or_else(|| panic!("{place} is no list: {value}"));
        items.iter().for_each(|item| fits(inner, item, place));
        return;
    }
    if let Some(inner) = of.strip_prefix("dict(str, ").and_then(|rest| rest.strip_suffix(')')) {
        let map = value.as_object().unwrap_or_else(|| panic!("{place} is no map: {value}"));
        map.values().for_each(|item| fits(inner, item, place));
        return;
    }
    let right = match of {
        "str" | "datetime" => value.is_string(),
        "int" => value.is_i64(),
        "bool" => value.is_boolean(),
        "object" => true,
        _ => {
            let known = DEFINITIONS.get(of).unwrap_or_else(|| panic!("{place}: no type {of}"));
            let map = value.as_object().unwrap_or_else(|| panic!("{place} is no object: {value}"));
            // Those without properties are left out of the file.
            for (name, value) in map.iter().filter(|_| !known.is_empty()) {
                let place = format!("{place}.{name}");
                let of = known.get(name).unwrap_or_else(|| panic!("{place}: {of} has no {name}"));
                fits(of, value, &place);
            }
            true
        }
    };
    assert!(right, "{place} is no {of}: {value}");
}
