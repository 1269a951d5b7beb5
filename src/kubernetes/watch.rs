//! Objects of a selection as they change.
//!
//! A watch begins with a list and goes on from its version. It survives what happens to watches:
//! the server ends them after some minutes, connections die, and versions grow too old (410 Gone),
//! upon which everything is listed anew. Each of these is invisible but for another
//! [`Change::All`]; an error is one that does not pass, or that lasts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::KubernetesError;
use super::client::{Ask, Client, Selection, refusal};
use super::error::Call;
use super::resource::Resource;
use crate::net::Response;

/// The longest event that is read.
const LIMIT: usize = 16 << 20;
/// How long an answer has lived whose end tells nothing bad of the server.
const LIVED: Duration = Duration::from_secs(10);
/// How long a watch is asked for, in seconds; the next one goes on where it ended.
const DURATION: &str = "290";

/// What happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// These are all that there are; what was known before is void.
    All(Vec<Value>),
    /// An object is new, or is now so.
    Set(Box<Value>),
    /// An object is gone; this is what it was.
    Gone(Box<Value>),
}

/// A watch. It is under way only while [`Watch::next`] is.
pub struct Watch {
    client: Client,
    resource: Resource,
    namespace: String,
    selection: Selection,
    /// From where to go on; none before the list.
    version: Option<String>,
    response: Option<Response>,
    buffer: Vec<u8>,
    ready: VecDeque<Change>,
    failures: u32,
    /// When the answer that is read began.
    opened: Instant,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("resource", &self.resource)
            .field("namespace", &self.namespace)
            .field("selection", &self.selection)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Follows objects; an empty namespace means all of them.
    pub fn watch(&self, resource: &Resource, namespace: &str, selection: Selection) -> Watch {
        Watch {
            client: self.clone(),
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            selection,
            version: None,
            response: None,
            buffer: Vec::new(),
            ready: VecDeque::new(),
            failures: 0,
            opened: Instant::now(),
        }
    }
}

impl Watch {
    /// The next change, however long it takes. It may be dropped half-way and asked for again.
    pub async fn next(&mut self) -> Result<Change, KubernetesError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            match self.step().await {
                Ok(()) => {}
                Err(error) if error.is_gone() => self.restart(),
                Err(error) if error.is_transient() => {
                    // What is cut after it has lived a while is idle, and not a failing server.
                    if self.response.is_some() && self.opened.elapsed() > LIVED {
                        self.failures = 0;
                    }
                    self.response = None;
                    self.buffer.clear();
                    self.failures += 1;
                    let retry = self.client.retry();
                    if self.failures >= retry.attempts {
                        return Err(error);
                    }
                    tokio::time::sleep(retry.delay(self.failures, None)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn restart(&mut self) {
        self.version = None;
        self.response = None;
        self.buffer.clear();
    }

    /// Lists, opens or reads, whichever is next.
    async fn step(&mut self) -> Result<(), KubernetesError> {
        let Some(version) = &self.version else {
            let list = self.client.list(&self.resource, &self.namespace, &self.selection).await?;
            self.version = Some(list.resource_version);
            self.ready.push_back(Change::All(list.items));
            return Ok(());
        };
        let mut ask = Ask::of("watch", &self.resource, &self.namespace, &[]);
        ask.query = self.selection.query();
        ask.query.push(("watch", "true".to_owned()));
        ask.query.push(("allowWatchBookmarks", "true".to_owned()));
        ask.query.push(("resourceVersion", version.clone()));
        ask.query.push(("timeoutSeconds", DURATION.to_owned()));
        ask.stream = true;
        let Some(response) = &mut self.response else {
            self.response = Some(self.client.open(&ask).await?);
            self.opened = Instant::now();
            return Ok(());
        };
        let call = ask.call;
        let chunk = match response.chunk().await {
            Ok(chunk) => chunk,
            // Nothing but silence; the next watch goes on where this one was.
            Err(crate::net::NetError::Stalled(_)) => None,
            Err(source) => return Err(self.client.broken(&call, source)),
        };
        let Some(chunk) = chunk else {
            // The end in the middle of a line: what was in it comes again.
            self.response = None;
            if self.opened.elapsed() > LIVED {
                self.failures = 0;
            }
            if !std::mem::take(&mut self.buffer).is_empty() || self.failures > 0 {
                let closed = crate::net::NetError::closed();
                return Err(self.client.broken(&call, closed));
            }
            // A server that ends each watch at once is not asked in a tight circle.
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            return Ok(());
        };
        self.buffer.extend_from_slice(&chunk);
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if !line.trim_ascii().is_empty() {
                self.event(&call, &line)?;
                self.failures = 0;
            }
        }
        if self.buffer.len() > LIMIT {
            return Err(self.client.strange(format!("an event is larger than {LIMIT} bytes")));
        }
        Ok(())
    }

    fn event(&mut self, call: &Call, line: &[u8]) -> Result<(), KubernetesError> {
        let mut event: Value = serde_json::from_slice(line)
            .map_err(|e| self.client.strange(format!("an event is not JSON: {e}")))?;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        if event["type"] == "ERROR" {
            return Err(refusal(call, 500, object.to_string().as_bytes()));
        }
        if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
            self.version = Some(version.to_owned());
        }
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => self.ready.push_back(Change::Set(Box::new(object))),
            Some("DELETED") => self.ready.push_back(Change::Gone(Box::new(object))),
            Some("BOOKMARK") => {}
            other => {
                let problem = format!("an event is of the unknown type {other:?}");
                return Err(self.client.strange(problem));
            }
        }
        Ok(())
    }
}
