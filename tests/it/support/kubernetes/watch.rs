//! Watches, and which objects they and lists are about.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::serve::{Stream, query, status};
use super::types::{api_version, type_of};
use super::{Asked, Handle, key};

/// Plays what waits for somebody to watch.
pub(super) fn begin_watch(handle: &Handle, plural: &str, query: &BTreeMap<String, String>) {
    let field = query.get("fieldSelector").map_or("", String::as_str);
    let Some(name) = field.strip_prefix("metadata.name=") else { return };
    let script = handle.state().on_watch.remove(&key(plural, name));
    if let Some(script) = script {
        let handle = handle.clone();
        std::thread::spawn(move || {
            // What a change has begun is over before.
            let state = handle.state();
            drop(handle.0.changed.wait_while(state, |state| state.playing > 0).unwrap());
            script(&handle);
        });
    }
}

/// Sends events until the client goes, the server ends or the watch has had its events.
pub(super) fn watch(
    asked: &Asked,
    handle: &Handle,
    stream: &mut Box<dyn Stream>,
) -> std::io::Result<()> {
    let query = query(&asked.path);
    let path = asked.path.split('?').next().unwrap();
    let plural = path.rsplit('/').next().unwrap();
    let mut from: u64 = query.get("resourceVersion").map_or(0, |v| v.parse().unwrap_or(0));
    let chunk = |stream: &mut Box<dyn Stream>, event: &Value| {
        let line = format!("{event}\n");
        write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
        stream.flush()
    };
    let head =
        "HTTP/1.1 200 -\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let limit = handle.state().events_a_watch.unwrap_or(usize::MAX);
    let (mut sent, mut bookmarked) = (0, false);
    while sent < limit && !handle.0.stopped.load(Ordering::SeqCst) {
        let mut state = handle.state();
        if from < state.oldest {
            drop(state);
            let gone = status(410, "Expired", "too old resource version");
            chunk(stream, &json!({"type": "ERROR", "object": gone}))?;
            break;
        }
        let news = state.history.iter().filter(|(version, _, key, object)| {
            *version > from && key.0 == plural && selected(object, &query)
        });
        let news: Vec<_> = news.map(|(_, what, _, o)| (*what, o.clone())).collect();
        let version = state.version;
        if news.is_empty() {
            let bookmark = !bookmarked && query.contains_key("allowWatchBookmarks");
            if bookmark {
                bookmarked = true;
                from = version;
                drop(state);
                let (_, _, _, _, kind) = type_of(plural);
                let object = json!({"kind": kind, "apiVersion": api_version(plural),
                    "metadata": {"resourceVersion": version.to_string()}});
                chunk(stream, &json!({"type": "BOOKMARK", "object": object}))?;
                continue;
            }
            state = handle.0.changed.wait_timeout(state, Duration::from_millis(200)).unwrap().0;
            drop(state);
            continue;
        }
        drop(state);
        from = version;
        for (what, object) in news.into_iter().take(limit - sent) {
            sent += 1;
            chunk(stream, &json!({"type": what, "object": object}))?;
        }
    }
    stream.write_all(b"0\r\n\r\n")?;
    stream.flush()
}

/// Whether the selectors of a query fit.
pub(super) fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let labels = &object["metadata"]["labels"];
    let fits_label = |term: &str| {
        let value = |key: &str| labels[key.trim()].as_str();
        if let Some((key, set)) = term.split_once(" in ") {
            let set = set.trim().trim_matches(['(', ')']);
            return value(key).is_some_and(|value| set.split(',').any(|one| one.trim() == value));
        }
        if let Some((key, set)) = term.split_once(" notin ") {
            let set = set.trim().trim_matches(['(', ')']);
            return !value(key).is_some_and(|value| set.split(',').any(|one| one.trim() == value));
        }
        if let Some((key, other)) = term.split_once("!=") {
            return value(key) != Some(other);
        }
        if let Some((key, wanted)) = term.split_once('=') {
            return value(key) == Some(wanted.trim_start_matches('='));
        }
        match term.strip_prefix('!') {
            Some(key) => value(key).is_none(),
            None => value(term).is_some(),
        }
    };
    let fits_field = |term: &str| {
        let (path, wanted) = term.split_once('=').unwrap();
        let pointer = format!("/{}", path.replace('.', "/"));
        object.pointer(&pointer).and_then(Value::as_str) == Some(wanted.trim_start_matches('='))
    };
    let labels = query.get("labelSelector").map_or("", String::as_str);
    let fields = query.get("fieldSelector").map_or("", String::as_str);
    terms(labels).iter().all(|term| fits_label(term))
        && terms(fields).iter().all(|term| fits_field(term))
}

/// Terms between commas that are not in parentheses.
pub(super) fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let split = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    split.filter(|term| !term.is_empty()).collect()
}
