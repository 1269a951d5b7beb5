//! The same application as the Kubernetes API has it, for who speaks to no server of Argo CD.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Asked, MS, Shared};

/// The annotation that asks for a comparison.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// Where applications are.
pub(super) const PATH: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

fn failure(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": format!("it is {reason}"), "metadata": {}}),
    )
}

impl Shared {
    /// Serves a request; false when the connection is over.
    pub(super) fn cluster(
        self: &Arc<Self>,
        mut stream: &TcpStream,
        asked: Asked,
        headers: &BTreeMap<String, String>,
    ) -> bool {
        if asked.query.contains_key("watch") {
            self.lock().asked.push(Asked { status: 200, ..asked.clone() });
            let _ = self.follow(stream, &asked);
            return false;
        }
        let (status, answer) = self.object(&asked, headers);
        self.lock().asked.push(Asked { status, ..asked });
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_ok()
    }

    fn object(self: &Arc<Self>, asked: &Asked, headers: &BTreeMap<String, String>) -> (u16, Value) {
        if headers.get("authorization").is_none_or(|value| value != "Bearer good") {
            return failure(401, "Unauthorized");
        }
        let app = self.seen();
        let below = asked.path[PATH.len()..].trim_start_matches('/');
        match (asked.method.as_str(), below) {
            ("GET", "") => {
                let fields = asked.query.get("fieldSelector");
                let named = fields.is_none_or(|fields| fields == "metadata.name=web");
                let version = app["metadata"]["resourceVersion"].clone();
                let items = if named { vec![app] } else { Vec::new() };
                (
                    200,
                    json!({"kind": "ApplicationList", "apiVersion": "argoproj.io/v1alpha1",
                    "metadata": {"resourceVersion": version}, "items": items}),
                )
            }
            ("GET", "web") => (200, app),
            ("PATCH", "web") => self.patched(asked, headers),
            _ => failure(404, "NotFound"),
        }
    }

    fn patched(
        self: &Arc<Self>,
        asked: &Asked,
        headers: &BTreeMap<String, String>,
    ) -> (u16, Value) {
        let mut wanted = self.lock().versions.last().unwrap().1.clone();
        match headers["content-type"].as_str() {
            "application/merge-patch+json" => merge(&mut wanted, &asked.body),
            "application/json-patch+json" => {
                for step in asked.body.as_array().unwrap() {
                    if !apply(&mut wanted, step) {
                        return failure(422, "Invalid");
                    }
                }
            }
            other => panic!("a patch of {other}"),
        }
        let before = self.lock().versions.last().unwrap().1.clone();
        let version = before["metadata"]["resourceVersion"].clone();
        let app = self.change(Duration::ZERO, |app| {
            *app = wanted;
            app["metadata"]["resourceVersion"] = version;
        });
        if app["operation"].is_object() && !before["operation"].is_object() {
            self.operate();
        }
        if app["status"]["operationState"]["phase"] == "Terminating" {
            self.lock().terminate = true;
        }
        let asked = |app: &Value| app["metadata"]["annotations"][REFRESH].is_string();
        if asked(&app) && !asked(&before) {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.compare());
        }
        (200, app)
    }

    /// A watch: changes after a version, one line each.
    fn follow(&self, mut stream: &TcpStream, asked: &Asked) -> std::io::Result<()> {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n",
        )?;
        let version = |app: &Value| -> u64 {
            app["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
        };
        let mut sent: u64 = asked.query["resourceVersion"].parse().unwrap();
        while !self.stopped.load(Ordering::SeqCst) {
            let state = self.lock();
            let newer = state.versions.iter().find(|(_, app)| version(app) > sent);
            if let Some((_, app)) = newer {
                let line = json!({"type": "MODIFIED", "object": app}).to_string() + "\n";
                sent = version(app);
                drop(state);
                stream.write_all(line.as_bytes())?;
            } else {
                drop(self.changed.wait_timeout(state, 10 * MS).unwrap());
            }
        }
        Ok(())
    }
}

/// A merge patch (RFC 7386).
fn merge(value: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, patch) in patch {
        if patch.is_null() {
            value.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut value[key], patch);
        }
    }
}

/// A step of a JSON patch (RFC 6902) on maps; false if it does not hold.
fn apply(value: &mut Value, step: &Value) -> bool {
    let path = step["path"].as_str().unwrap();
    let (above, key) = path.rsplit_once('/').unwrap();
    let Some(map) = value.pointer_mut(above).and_then(Value::as_object_mut) else { return false };
    match step["op"].as_str().unwrap() {
        "test" => map.get(key) == Some(&step["value"]),
        "add" => {
            map.insert(key.to_owned(), step["value"].clone());
            true
        }
        "replace" => map.insert(key.to_owned(), step["value"].clone()).is_some(),
        "remove" => map.remove(key).is_some(),
        other => panic!("{other}"),
    }
}
