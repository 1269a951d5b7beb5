//! Requests and answers.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};

use serde_json::{Value, json};

use super::types::{TYPES, api_version, discovery};
use super::watch::{begin_watch, selected, watch};
use super::{Asked, Handle, State, key, patch, schema};
use crate::support::http::{self, Request};

/// A connection.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

pub(super) fn serve(stream: Box<dyn Stream>, handle: &Handle) {
    let mut reader = BufReader::new(stream);
    while let Some(mut asked) = request(&mut reader) {
        let answer = answer(&asked, handle);
        let (Answer::Text { status, .. } | Answer::Json { status, .. }) = &answer else {
            asked.status = 200;
            handle.state().requests.push(asked.clone());
            let _ = watch(&asked, handle, reader.get_mut());
            return;
        };
        asked.status = *status;
        handle.state().requests.push(asked);
        let (kind, extra, text) = match &answer {
            Answer::Json { kind, value, retry_after, .. } => {
                let extra = retry_after.map(|s| format!("retry-after: {s}\r\n"));
                (*kind, extra.unwrap_or_default(), value.to_string())
            }
            Answer::Text { text, .. } => ("text/plain", String::new(), text.clone()),
            Answer::Watch => return,
        };
        let head = format!(
            "HTTP/1.1 {} -\r\ncontent-type: {kind}\r\n{extra}content-length: {}\r\n\r\n",
            match &answer {
                Answer::Text { status, .. } | Answer::Json { status, .. } => *status,
                Answer::Watch => 200,
            },
            text.len()
        );
        let stream = reader.get_mut();
        let sent =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
        if sent.and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

pub(super) fn request(reader: &mut BufReader<Box<dyn Stream>>) -> Option<Asked> {
    let Request { method, target: path, headers, body } = http::request(reader)?;
    let body = String::from_utf8(body).ok()?;
    Some(Asked { method, path, headers, body, status: 0 })
}

pub(super) enum Answer {
    Json { status: u16, value: Value, kind: &'static str, retry_after: Option<u32> },
    Text { status: u16, text: String },
    Watch,
}

pub(super) fn good(value: Value) -> Answer {
    Answer::Json { status: 200, value, kind: "application/json", retry_after: None }
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    schema::check("Status", &status);
    status
}

pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let value = status(code, reason, message);
    Answer::Json { status: code, value, kind: "application/json", retry_after: None }
}

/// The query, decoded.
pub(super) fn query(path: &str) -> BTreeMap<String, String> {
    let url: yado::net::Url = format!("http://h{path}").parse().unwrap();
    url.query_pairs().into_owned().collect()
}

pub(super) fn answer(asked: &Asked, handle: &Handle) -> Answer {
    let path = asked.path.split('?').next().unwrap();
    let query = query(&asked.path);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let before = handle.state().before_patch.clone().filter(|_| asked.method == "PATCH");
    if let Some(script) = before {
        script(handle);
    }
    let mut state = handle.state();
    let fault = state.faults.iter_mut().find(|fault| {
        fault.times > 0 && fault.on.0 == asked.method && asked.path.contains(fault.on.1)
    });
    if let Some(fault) = fault {
        fault.times -= 1;
        let value = status(fault.status, "", "a fault of the test");
        let (status, retry_after) = (fault.status, fault.retry_after);
        return Answer::Json { status, value, kind: "application/json", retry_after };
    }
    let sent = asked.headers.get("authorization").and_then(|sent| sent.strip_prefix("Bearer "));
    if !state.tokens.is_empty() && !state.tokens.iter().any(|token| Some(&**token) == sent) {
        return refusal(401, "Unauthorized", "Unauthorized");
    }
    if let Some(found) = discovery(&segments, asked, state.aggregated) {
        return found;
    }
    // kubectl looks there when an object is missing.
    if segments == ["api", "v1", "namespaces", "shop"] {
        return good(
            json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}}),
        );
    }
    let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = segments.as_slice() else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    // All that there is is in one namespace, but for what Argo CD has.
    let rest = if let ["namespaces", "shop" | "argocd", rest @ ..] = rest { rest } else { rest };
    let Some((plural, rest)) = rest.split_first() else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let Some((_, _, group, _, kind)) = TYPES.iter().find(|row| row.0 == *plural) else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let watching = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
    let verb = match (asked.method.as_str(), rest) {
        ("GET", []) if watching => "watch",
        ("GET", []) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PATCH", _) => "patch",
        _ => return refusal(405, "MethodNotAllowed", "the server does not allow this method"),
    };
    let resource = match rest {
        [_, sub] => format!("{plural}/{sub}"),
        _ => (*plural).to_owned(),
    };
    if state.forbidden.iter().any(|(v, r)| *v == verb && *r == resource) {
        let message = format!(
            "{plural} is forbidden: User \"me\" cannot {verb} resource \"{resource}\" in API group \
             \"{group}\" in the namespace \"shop\""
        );
        return refusal(403, "Forbidden", &message);
    }
    let of = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
    match (verb, rest) {
        ("watch", _) => {
            if query.contains_key("sendInitialEvents") {
                return refusal(422, "Invalid", "sendInitialEvents is forbidden");
            }
            drop(state);
            begin_watch(handle, plural, &query);
            Answer::Watch
        }
        ("list", _) => {
            let items = state.objects.iter().filter(|(key, _)| key.0 == *plural);
            let items = items.map(|(_, object)| object);
            let items: Vec<Value> =
                items.filter(|o| selected(o, &query)).cloned().map(bare).collect();
            let meta = json!({"resourceVersion": state.version.to_string()});
            let api_version = api_version(plural);
            let list = format!("{kind}List");
            good(json!({"kind": list, "apiVersion": api_version, "metadata": meta, "items": items}))
        }
        ("get", [pod, "log"]) => {
            let text = state.logs.get(*pod).cloned();
            let lines: usize = query.get("tailLines").map_or(usize::MAX, |n| n.parse().unwrap());
            match text {
                Some(text) => {
                    let all: Vec<&str> = text.lines().collect();
                    let last = all[all.len().saturating_sub(lines)..].join("\n") + "\n";
                    Answer::Text { status: 200, text: last }
                }
                None => refusal(400, "BadRequest", "container is waiting to start"),
            }
        }
        ("get", [name]) => match state.objects.get(&key(plural, name)) {
            Some(object) => good(object.clone()),
            None => refusal(404, "NotFound", &format!("{of} \"{name}\" not found")),
        },
        ("create", []) => create(handle, &mut state, plural, &of, &asked.body, &query),
        ("patch", [name]) => {
            let Some(object) = state.objects.get(&key(plural, name)).cloned() else {
                return refusal(404, "NotFound", &format!("{of} \"{name}\" not found"));
            };
            let wanted: Value = serde_json::from_str(&asked.body).unwrap();
            let kind = asked.headers.get("content-type").map_or("", String::as_str);
            if kind.starts_with("application/strategic") && group.contains('.') {
                return refusal(415, "UnsupportedMediaType", "strategic is not supported here");
            }
            let mut changed = match patch::apply(kind, &object, &wanted) {
                Ok(changed) => without_nothing(changed),
                Err(problem) => return refusal(422, "Invalid", &problem),
            };
            if changed == object || query.contains_key("dryRun") {
                return good(changed);
            }
            if changed["spec"] != object["spec"] {
                let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
                changed["metadata"]["generation"] = (generation + 1).into();
            }
            let changed = state.put(plural, changed);
            if let Some(script) = state.on_change.get(&key(plural, name)).cloned() {
                handle.play(&mut state, script);
            }
            handle.0.changed.notify_all();
            good(changed)
        }
        _ => refusal(404, "NotFound", "the server could not find the requested resource"),
    }
}

/// Without nulls and empty resources, which clients send and the server does not keep.
pub(super) fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, value)| {
                !(value.is_null() || (key == "resources" && *value == json!({})))
            });
            Value::Object(kept.map(|(key, value)| (key, without_nothing(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nothing).collect()),
        other => other,
    }
}

/// As it is in a list, without its type.
pub(super) fn bare(mut object: Value) -> Value {
    let map = object.as_object_mut().unwrap();
    map.remove("kind");
    map.remove("apiVersion");
    object
}

pub(super) fn create(
    handle: &Handle,
    state: &mut State,
    plural: &str,
    of: &str,
    body: &str,
    query: &BTreeMap<String, String>,
) -> Answer {
    let mut object: Value = serde_json::from_str(body).unwrap();
    let meta = object["metadata"].as_object_mut().unwrap();
    if !meta.contains_key("name") {
        let Some(prefix) = meta.get("generateName").and_then(Value::as_str) else {
            return refusal(422, "Invalid", "metadata.name: Required value");
        };
        let name = format!("{prefix}x{:04x}", state.version);
        meta.insert("name".into(), name.into());
    }
    let name = meta["name"].as_str().unwrap().to_owned();
    if state.objects.contains_key(&key(plural, &name)) {
        return refusal(409, "AlreadyExists", &format!("{of} \"{name}\" already exists"));
    }
    object["metadata"]["generation"] = 1.into();
    if query.contains_key("dryRun") {
        return Answer::Json {
            status: 201,
            value: object,
            kind: "application/json",
            retry_after: None,
        };
    }
    let object = state.put(plural, object);
    let any = ["", &*name].into_iter().find_map(|name| state.on_change.get(&key(plural, name)));
    if let Some(script) = any.cloned() {
        handle.play(state, script);
    }
    handle.0.changed.notify_all();
    Answer::Json { status: 201, value: object, kind: "application/json", retry_after: None }
}
