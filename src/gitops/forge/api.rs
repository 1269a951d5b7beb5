//! One request to a service's API: JSON both ways, repeated when that may help.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{ForgeError, Location, Service};
use crate::net::{Body, HeaderValue, Http, Method, Request, Response, Retry, Url, is_transient};

/// The API of a service.
#[derive(Debug)]
pub(super) struct Api {
    http: Http,
    service: Service,
    base: Url,
    authorization: HeaderValue,
    retry: Retry,
}

/// What a service answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Method and URL.
    pub(super) request: String,
    pub(super) status: u16,
    /// The body; null if it is no JSON.
    pub(super) json: Value,
}

impl Api {
    pub(super) fn new(
        http: Http,
        location: &Location,
        token: &str,
        retry: Retry,
    ) -> Result<Self, ForgeError> {
        let text = match location.service {
            Service::GitHub | Service::GitLab => format!("Bearer {token}"),
            Service::Gitea => format!("token {token}"),
        };
        let mut authorization = HeaderValue::try_from(text).map_err(|_| ForgeError::Token)?;
        authorization.set_sensitive(true);
        let (service, base) = (location.service, location.api.clone());
        Ok(Self { http, service, base, authorization, retry })
    }

    /// A URL below the API's; `path` is made of encoded segments.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, ForgeError> {
        self.send(Method::GET, self.url(path, query), None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Answer, ForgeError> {
        self.send(Method::POST, self.url(path, &[]), Some(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Result<Answer, ForgeError> {
        self.send(Method::PUT, self.url(path, &[]), Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Result<Answer, ForgeError> {
        self.send(Method::PATCH, self.url(path, &[]), Some(body)).await
    }

    /// Sends a request, again after a while when the service is busy or asks for a pause. What
    /// opens something twice is found by the caller: services refuse the second.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<Value>,
    ) -> Result<Answer, ForgeError> {
        const LIMIT: usize = 8 * 1024 * 1024;
        let mut request = Request::new(method, url).header("Accept", "application/json");
        if self.service == Service::GitHub {
            request = request.header("X-GitHub-Api-Version", "2022-11-28");
        }
        if let Some(body) = body {
            let bytes = body.to_string().into_bytes();
            request =
                request.header("Content-Type", "application/json").body(Body::Bytes(bytes.into()));
        }
        request.authorization = Some(self.authorization.clone());
        let shown = request.to_string();
        let failed = |source| ForgeError::Net { request: shown.clone(), source };
        let mut failures = 0;
        loop {
            failures += 1;
            let last = failures >= self.retry.attempts;
            let pause = match self.http.send(&request).await {
                Ok(mut response) => {
                    let status = response.status();
                    let pause = pause(&response);
                    let (bytes, _) = response.read(LIMIT).await.map_err(failed)?;
                    let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    let limited = status == 429
                        || status == 403 && (pause.is_some() || is_limit(&message(&json)));
                    if !limited && !is_transient(status) || last {
                        return Ok(Answer { request: shown, status, json });
                    }
                    if let Some(wait) = pause.filter(|wait| *wait > self.retry.server_cap) {
                        let service = self.service;
                        return Err(ForgeError::Limited { service, request: shown, wait });
                    }
                    // What GitHub asks for where it does not say how long.
                    pause.or(limited.then_some(self.retry.server_cap.min(Duration::from_mins(1))))
                }
                Err(error) if last || !error.is_transient() => return Err(failed(error)),
                Err(_) => None,
            };
            tokio::time::sleep(self.retry.delay(failures, pause)).await;
        }
    }

    /// How long to wait before something is asked again that is not ready yet.
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        self.retry.delay(attempt, None)
    }

    /// An answer with one of these statuses; another one is the service's refusal.
    pub(super) fn expect(&self, answer: Answer, statuses: &[u16]) -> Result<Value, ForgeError> {
        let Answer { request, status, json } = answer;
        if statuses.contains(&status) {
            return Ok(json);
        }
        let message = message(&json);
        Err(ForgeError::Status { service: self.service, request, status, message })
    }
}

/// How long the service asks to wait: `Retry-After`, or until its limit is reset.
fn pause(response: &Response) -> Option<Duration> {
    if let Some(pause) = response.retry_after() {
        return Some(pause);
    }
    let number = |name: &str| response.header(name)?.trim().parse::<u64>().ok();
    let left = number("x-ratelimit-remaining").or_else(|| number("ratelimit-remaining"))?;
    let reset = number("x-ratelimit-reset").or_else(|| number("ratelimit-reset"))?;
    if left > 0 {
        return None;
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(reset);
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether a refusal is one for a while: GitHub has a second limit, which comes as 403.
fn is_limit(message: &str) -> bool {
    message.to_ascii_lowercase().contains("rate limit")
}

/// What an answer says for people.
pub(super) fn message(json: &Value) -> String {
    let mut words = Vec::new();
    for name in ["message", "error", "error_description"] {
        collect(&json[name], &mut words);
    }
    if let Value::Array(errors) = &json["errors"] {
        for error in errors {
            match error {
                Value::Object(error) if error.contains_key("message") => {
                    collect(&error["message"], &mut words);
                }
                Value::Object(error) => {
                    let parts = ["resource", "field", "code"].map(|name| error.get(name));
                    let parts: Vec<_> =
                        parts.into_iter().flatten().filter_map(Value::as_str).collect();
                    words.push(parts.join(" "));
                }
                other => collect(other, &mut words),
            }
        }
    }
    words.join("; ")
}

/// Texts in a text, a list, or an object of lists, as GitLab has them.
fn collect(json: &Value, words: &mut Vec<String>) {
    match json {
        Value::String(text) if !text.is_empty() => words.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| collect(one, words)),
        Value::Object(all) => {
            for (name, value) in all {
                let mut below = Vec::new();
                collect(value, &mut below);
                words.push(format!("{name} {}", below.join(", ")));
            }
        }
        _ => {}
    }
}

/// A text of an answer.
pub(super) fn text(request: &str, json: &Value, name: &'static str) -> Result<String, ForgeError> {
    let found = json[name].as_str().map(str::to_owned);
    found.ok_or_else(|| ForgeError::Malformed { request: request.to_owned(), what: name })
}

/// A number of an answer.
pub(super) fn number(request: &str, json: &Value, name: &'static str) -> Result<u64, ForgeError> {
    let found = json[name].as_u64();
    found.ok_or_else(|| ForgeError::Malformed { request: request.to_owned(), what: name })
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
