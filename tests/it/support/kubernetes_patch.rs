//! The three kinds of patches, as far as kubectl and yado use them.

use serde_json::{Map, Value, json};

/// The object after a patch.
pub(crate) fn apply(kind: &str, object: &Value, patch: &Value) -> Result<Value, String> {
    let mut object = object.clone();
    match kind.split(';').next().unwrap() {
        "application/merge-patch+json" => merge(&mut object, patch, false),
        "application/strategic-merge-patch+json" => merge(&mut object, patch, true),
        "application/json-patch+json" => {
            for operation in patch.as_array().unwrap() {
                operate(&mut object, operation)?;
            }
        }
        other => return Err(format!("no such patch: {other}")),
    }
    Ok(object)
}

fn merge(object: &mut Value, patch: &Value, strategic: bool) {
    let Some(patch) = patch.as_object() else {
        patch.clone_into(object);
        return;
    };
    if strategic && patch.get("$patch") == Some(&json!("replace")) {
        let mut patch = patch.clone();
        patch.remove("$patch");
        *object = Value::Object(patch);
        return;
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let map = object.as_object_mut().unwrap();
    for (key, value) in patch {
        if strategic && key.starts_with("$setElementOrder") {
            continue;
        }
        if value.is_null() {
            map.remove(key);
        } else if strategic && ["containers", "initContainers", "env"].contains(&key.as_str()) {
            let list = map.entry(key).or_insert(json!([])).as_array_mut().unwrap();
            for entry in value.as_array().unwrap() {
                match list.iter_mut().find(|known| known["name"] == entry["name"]) {
                    Some(known) => merge(known, entry, true),
                    None => list.push(entry.clone()),
                }
            }
        } else {
            merge(map.entry(key).or_insert(Value::Null), value, strategic);
        }
    }
}

fn operate(object: &mut Value, operation: &Value) -> Result<(), String> {
    let path = operation["path"].as_str().unwrap();
    let (parent, last) = path.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/").replace("~0", "~");
    let value = operation["value"].clone();
    let nothing = || "the server rejected our request due to an error in our request".to_owned();
    if operation["op"] == "test" {
        let fits = object.pointer(path) == Some(&value);
        return if fits { Ok(()) } else { Err(nothing()) };
    }
    let parent = object.pointer_mut(parent).ok_or_else(nothing)?;
    match (operation["op"].as_str().unwrap(), parent) {
        ("add", Value::Object(map)) => drop(map.insert(last, value)),
        ("replace", Value::Object(map)) => *map.get_mut(&last).ok_or_else(nothing)? = value,
        ("remove", Value::Object(map)) => drop(map.remove(&last).ok_or_else(nothing)?),
        ("replace", Value::Array(list)) => {
            let at: usize = last.parse().map_err(|_| nothing())?;
            *list.get_mut(at).ok_or_else(nothing)? = value;
        }
        (op, _) => return Err(format!("{op} {path} is not known here")),
    }
    Ok(())
}
