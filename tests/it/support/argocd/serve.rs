//! The interface: requests, answers and streams, held against what is published of it.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Asked, MS, Shared, cluster, spread, time};
use crate::support::http::{Request, request};
use crate::support::schema;

impl Shared {
    /// Serves a connection; a client that goes away is no one's fault.
    pub(super) fn serve(self: &Arc<Self>, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(Request { method, target, headers, body }) = request(&mut reader) {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let query: Vec<(String, String)> = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| {
                    (
                        name.to_owned(),
                        value.replace("%2C", ",").replace("%3D", "=").replace("%3d", "="),
                    )
                })
                .collect();
            let asked = Asked {
                method: method.clone(),
                path: path.to_owned(),
                query: query.iter().cloned().collect(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
                status: 0,
            };
            if path.starts_with(cluster::PATH) {
                if self.cluster(stream, asked, &headers) {
                    continue;
                }
                return;
            }
            let Some(route) = schema::route(&method, path) else {
                self.lock().problems.push(format!("{method} {path} is unknown"));
                return;
            };
            let mut problems = route.request(&query, &body);
            if method != "GET"
                && headers.get("content-type").is_none_or(|t| t != "application/json")
            {
                problems.push("another content type than application/json".to_owned());
            }
            let named = |problem| format!("{method} {path}: {problem}");
            self.lock().problems.extend(problems.into_iter().map(named));
            let (status, answer) = self.answer(&asked, &headers);
            self.lock().asked.push(Asked { status, ..asked.clone() });
            if status == 200 && path.contains("/stream/") {
                let _ = self.stream(stream, &asked, &headers, route);
                return;
            }
            if status == 200 && path.ends_with("/logs") {
                self.lock().problems.extend(route.answer(&answer).into_iter().map(named));
                let (line, last) = (json!({ "result": answer }), json!({"result": {"last": true}}));
                let text = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: {line}\n\ndata: {last}\n\n"
                );
                let _ = self.write(stream, text.as_bytes());
                return;
            }
            let wrong = if status == 200 { route.answer(&answer) } else { schema::error(&answer) };
            self.lock().problems.extend(wrong.into_iter().map(named));
            let body = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            if self
                .write(stream, head.as_bytes())
                .and_then(|()| self.write(stream, body.as_bytes()))
                .is_err()
            {
                return;
            }
        }
    }

    fn write(&self, mut stream: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        if !self.script.dripping {
            return stream.write_all(bytes);
        }
        for piece in bytes.chunks(40) {
            stream.write_all(piece)?;
            if self.pause(2 * MS) {
                break;
            }
        }
        Ok(())
    }

    /// Sends changes as they become visible.
    fn stream(
        &self,
        stream: &TcpStream,
        asked: &Asked,
        headers: &BTreeMap<String, String>,
        route: schema::Route,
    ) -> std::io::Result<()> {
        let events = headers.get("accept").is_some_and(|a| a == "text/event-stream");
        let kind = if events { "text/event-stream" } else { "application/json" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        self.write(stream, head.as_bytes())?;
        let (begun, tree) = (Instant::now(), asked.path.ends_with("/resource-tree"));
        let mut sent = self.seen();
        let mut next = Some(sent.clone());
        loop {
            if let Some(app) = next.take() {
                let result = if tree {
                    json!({"nodes": app["status"]["summary"]["nodes"].as_array().cloned().unwrap_or_default()})
                } else {
                    json!({"type": "MODIFIED", "application": app})
                };
                self.lock().problems.extend(route.answer(&result));
                let result = json!({ "result": result });
                // What is held back never comes in a time that a test has.
                if !(self.script.held || self.script.buffering && !events) {
                    let text =
                        if events { format!("data: {result}\n\n") } else { format!("{result}\n") };
                    self.write(stream, text.as_bytes())?;
                }
            }
            if self.stopped.load(Ordering::SeqCst) {
                return Ok(());
            }
            if self.script.cut.is_some_and(|cut| begun.elapsed() >= cut) {
                return stream.shutdown(std::net::Shutdown::Both);
            }
            let state = self.lock();
            let version = |app: &Value| -> u64 {
                app["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
            };
            let now = Instant::now();
            let newer =
                state.versions.iter().find(|(at, app)| *at <= now && version(app) > version(&sent));
            if let Some((_, app)) = newer {
                sent = app.clone();
                next = Some(app.clone());
            } else {
                drop(self.changed.wait_timeout(state, 10 * MS).unwrap());
            }
        }
    }

    fn answer(self: &Arc<Self>, asked: &Asked, headers: &BTreeMap<String, String>) -> (u16, Value) {
        let error = |status: u16, code: u32, message: &str| {
            (status, json!({"error": message, "code": code, "message": message}))
        };
        if asked.path.ends_with("/session") {
            if asked.body["username"] != "bot" || asked.body["password"] != "right" {
                return error(401, 16, "Invalid username or password");
            }
            let mut state = self.lock();
            let token = format!("session-{}", state.sessions.len());
            state.sessions.push((token.clone(), Instant::now()));
            return (200, json!({ "token": token }));
        }
        let token = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let lifetime = self.script.session.unwrap_or(Duration::from_hours(24));
        let known = token == Some("good")
            || self
                .lock()
                .sessions
                .iter()
                .any(|(known, since)| token == Some(known) && since.elapsed() < lifetime);
        if !known {
            return error(401, 16, "invalid session: token is expired");
        }
        let failing = {
            let mut state = self.lock();
            state.count += 1;
            self.script.failing > 0 && !spread(state.count).is_multiple_of(self.script.failing)
        };
        if failing {
            return error(500, 13, "error getting cached app resource tree");
        }
        let parts: Vec<&str> = asked.path.split('/').skip(3).collect();
        if parts[0] == "applications" && parts.len() == 1 {
            let wanted = asked.query.get("selector").is_none_or(|selector| selector == "team=shop");
            let items = if wanted { vec![self.seen()] } else { Vec::new() };
            return (200, json!({"items": items, "metadata": {}}));
        }
        let name = if parts[0] == "stream" { parts.get(2).unwrap_or(&"web") } else { &parts[1] };
        if *name != "web" {
            // What is not there is told apart only from who says its project.
            return if asked.query.contains_key("project") {
                error(404, 5, "applications.argoproj.io \"api\" not found")
            } else {
                error(403, 7, "permission denied")
            };
        }
        match (asked.method.as_str(), parts.last().copied().unwrap_or_default()) {
            ("GET", "web") => match asked.query.get("refresh") {
                None => (200, self.seen()),
                Some(kind) => {
                    self.change(Duration::ZERO, |app| {
                        app["metadata"]["annotations"] =
                            json!({"argocd.argoproj.io/refresh": kind});
                    });
                    self.compare();
                    (200, self.lock().versions.last().unwrap().1.clone())
                }
            },
            ("POST", "sync") => self.sync(&asked.body, error),
            ("DELETE", "operation") => {
                let mut running = false;
                self.change(Duration::ZERO, |app| {
                    running = app["status"]["operationState"]["phase"] == "Running";
                    if running {
                        app["status"]["operationState"]["phase"] = json!("Terminating");
                    }
                });
                if !running {
                    return error(
                        400,
                        3,
                        "Unable to terminate operation. No operation is in progress",
                    );
                }
                self.lock().terminate = true;
                (200, json!({}))
            }
            ("POST", "rollback") => {
                let history = self.app_history(&asked.body["id"]);
                let Some(revision) = history else { return error(400, 3, "no such deployment") };
                let app = self.change(self.script.stale, |app| {
                    app["operation"] = json!({"sync": {"revision": revision,
                        "syncStrategy": {"apply": {}}}, "initiatedBy": {"username": "bot"}});
                    app["status"].as_object_mut().unwrap().remove("operationState");
                });
                let shared = Arc::clone(self);
                std::thread::spawn(move || {
                    if !shared.pause(50 * MS) {
                        shared.change(Duration::ZERO, |app| {
                            let operation = app.as_object_mut().unwrap().remove("operation");
                            app["status"]["operationState"] = json!({"phase": "Running",
                                "startedAt": time(), "operation": operation});
                        });
                        shared.end("Succeeded", &revision, "");
                    }
                });
                (200, app)
            }
            ("PUT", "spec") => {
                let spec = asked.body.clone();
                self.change(Duration::ZERO, |app| app["spec"] = spec.clone());
                "changed".clone_into(&mut self.lock().live);
                (200, asked.body.clone())
            }
            ("GET", "syncwindows") => {
                let window = json!({"kind": "deny", "schedule": "0 22 * * *", "duration": "8h",
                    "manualSync": false});
                let active = if self.script.window { vec![window.clone()] } else { Vec::new() };
                (
                    200,
                    json!({"activeWindows": active, "assignedWindows": [window],
                    "canSync": !self.script.window}),
                )
            }
            ("GET", "resource-tree") => {
                let nodes = &self.seen()["status"]["summary"]["nodes"];
                (200, json!({"nodes": nodes.as_array().cloned().unwrap_or_default()}))
            }
            ("GET", "events") => {
                let of = asked.query.get("resourceName").cloned().unwrap_or_default();
                (
                    200,
                    json!({"items": [{"reason": "BackOff", "type": "Warning", "count": 3,
                    "lastTimestamp": time(), "message": format!("it is about {of}")}],
                    "metadata": {}}),
                )
            }
            ("GET", "manifests") => {
                let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": {"name": "web", "namespace": "shop", "labels": {"tier": "front"}}});
                let service = json!({"apiVersion": "v1", "kind": "Service",
                    "metadata": {"name": "web", "namespace": "shop"}});
                (200, json!({"manifests": [manifest.to_string(), service.to_string()]}))
            }
            ("GET", "logs") => (200, json!({"content": "panic: no database", "last": false})),
            // A stream: what it sends is not an answer.
            _ => (200, json!({})),
        }
    }

    fn app_history(&self, id: &Value) -> Option<String> {
        let app = self.lock().versions.last().unwrap().1.clone();
        let history = app["status"]["history"].as_array().unwrap();
        let found = history.iter().find(|history| history["id"] == *id)?;
        Some(found["revision"].as_str().unwrap().to_owned())
    }

    fn sync(
        self: &Arc<Self>,
        body: &Value,
        error: impl Fn(u16, u32, &str) -> (u16, Value),
    ) -> (u16, Value) {
        if self.script.window {
            return error(403, 7, "cannot sync: blocked by sync window");
        }
        let head = {
            let state = self.lock();
            // It asks the repository itself.
            self.script.heads[state.heads.min(self.script.heads.len() - 1)]
        };
        let app = self.lock().versions.last().unwrap().1.clone();
        let auto = &app["spec"]["syncPolicy"]["automated"];
        let revision = body["revision"].as_str();
        if auto.is_object() && revision.is_some_and(|revision| revision != "main") {
            let message =
                format!("Cannot sync to {}: auto-sync currently set to main", revision.unwrap());
            return error(400, 9, &message);
        }
        if app["operation"].is_object() || app["status"]["operationState"]["phase"] == "Running" {
            return error(400, 9, "another operation is already in progress");
        }
        let mut sync = json!({});
        match app["spec"]["sources"].as_array() {
            None => sync["revision"] = json!(revision.unwrap_or(head)),
            Some(sources) => {
                let mut all = vec![head.to_owned(); sources.len()];
                let positions = body["sourcePositions"].as_array().into_iter().flatten();
                for (at, position) in positions.enumerate() {
                    let position = usize::try_from(position.as_u64().unwrap()).unwrap();
                    body["revisions"][at].as_str().unwrap().clone_into(&mut all[position - 1]);
                }
                sync["revisions"] = json!(all);
            }
        }
        for key in ["prune", "dryRun", "resources"] {
            if !body[key].is_null() {
                sync[key] = body[key].clone();
            }
        }
        let app = self.change(self.script.stale, |app| {
            app["operation"] = json!({"sync": sync, "info": body["infos"],
                "initiatedBy": {"username": "bot"}});
            app["status"].as_object_mut().unwrap().remove("operationState");
        });
        self.lock().moments.push(("sync".to_owned(), Instant::now()));
        self.operate();
        (200, app)
    }
}
