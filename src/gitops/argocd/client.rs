//! Requests to the interface: who we are, what an answer means.
//!
//! A token that has expired is replaced, by logging in or by reading its file again, and the
//! request is sent once more; a password that was refused is not tried again, since five such
//! attempts lock the account. Nothing else is repeated here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::address::Address;
use super::error::ApiError;
use crate::net::{self, Body, HeaderValue, Http, Method, Response};

/// How long an ordinary answer may take.
const ORDINARY: Duration = Duration::from_secs(20);
/// How long the start of a sync may take: the server asks the repository first.
const PATIENT: Duration = Duration::from_mins(1);
/// How long a stream may be silent; then it is made anew, since nobody says whether it lives.
pub(super) const SILENCE: Duration = Duration::from_secs(45);
/// What an answer may take.
const LIMIT: usize = 256 << 20;

/// Who we are.
#[derive(Clone)]
pub enum Login {
    /// A token.
    Token(String),
    /// A token in a file, which may be replaced while we run.
    File(PathBuf),
    /// A user, who gets a token of a session.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
}

/// Without secrets.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Password { username, .. } => f.debug_tuple("Password").field(username).finish(),
        }
    }
}

/// The interface of a server; clones share the token.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    login: Login,
    headers: Vec<(String, String)>,
    http: Http,
    patient: Http,
    stream: Http,
    token: Mutex<Token>,
}

#[derive(Default)]
struct Token {
    value: Option<HeaderValue>,
    /// What the server said of the password; it is not asked again.
    refused: Option<String>,
}

/// Without the headers, which may hold secrets.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.inner.address).finish_non_exhaustive()
    }
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Ordinary,
    /// The server asks others first.
    Long,
    /// The caller minds the time.
    Endless,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'a str, String)>,
    pub(super) body: Option<Value>,
    pub(super) patience: Patience,
    /// What is done, for errors.
    pub(super) what: String,
}

impl<'a> Call<'a> {
    pub(super) fn get(what: impl Into<String>, path: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            method: Method::GET,
            path: ["api", "v1"].into_iter().chain(path).collect(),
            query: Vec::new(),
            body: None,
            patience: Patience::Ordinary,
            what: what.into(),
        }
    }

    pub(super) fn query(mut self, name: &'a str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.query.push((name, value));
        }
        self
    }

    pub(super) fn send(mut self, method: Method, body: Value) -> Self {
        self.method = method;
        self.body = Some(body);
        self.patience = Patience::Long;
        self
    }

    pub(super) fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }
}

impl Client {
    /// A client; nothing is sent before the first request.
    pub fn new(
        address: Address,
        login: Login,
        headers: Vec<(String, String)>,
        options: &net::Options,
    ) -> Self {
        let with = |stall| Http::new(net::Options { stall, ..options.clone() });
        Self {
            inner: Arc::new(Inner {
                address,
                login,
                headers,
                http: with(ORDINARY),
                patient: with(Duration::from_hours(24)),
                stream: with(SILENCE),
                token: Mutex::default(),
            }),
        }
    }

    /// The token, which is fetched if there is none, or if it is `expired`.
    async fn token(&self, expired: Option<&HeaderValue>) -> Result<HeaderValue, ApiError> {
        let inner = &self.inner;
        let mut token = inner.token.lock().await;
        // Somebody else may have replaced it meanwhile.
        if let Some(value) = token.value.as_ref().filter(|value| expired != Some(value)) {
            return Ok(value.clone());
        }
        let text = match &inner.login {
            Login::Token(text) => text.clone(),
            Login::File(path) => {
                let fail =
                    |problem: String| ApiError::Token { path: path.display().to_string(), problem };
                let text = tokio::fs::read_to_string(path).await;
                let text = text.map_err(|e| fail(e.to_string()))?.trim().to_owned();
                if text.is_empty() {
                    return Err(fail("it is empty".to_owned()));
                }
                text
            }
            Login::Password { username, .. } if token.refused.is_some() => {
                let message = token.refused.clone().unwrap_or_default();
                return Err(ApiError::Login { username: username.clone(), message });
            }
            Login::Password { username, password } => {
                let logged_in = self.log_in(username, password).await;
                if let Err(ApiError::Login { message, .. }) = &logged_in {
                    token.refused = Some(message.clone());
                }
                logged_in?
            }
        };
        let value = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| ApiError::Given("the token holds what no header may".to_owned()))?;
        token.value = Some(value.clone());
        Ok(value)
    }

    async fn log_in(&self, username: &str, password: &str) -> Result<String, ApiError> {
        let body = json!({ "username": username, "password": password });
        let call = Call::get("log in", ["session"]).send(Method::POST, body);
        let refused = |message| ApiError::Login { username: username.to_owned(), message };
        let answer = match self.attempt(&call, None).await {
            Err(
                ApiError::Unauthenticated { message, .. }
                | ApiError::Denied { message, .. }
                | ApiError::Status { message, status: 400..=499, .. },
            ) => return Err(refused(message)),
            other => other?,
        };
        let token = answer.get("token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| refused("the answer has no token".to_owned()))
    }

    /// Sends a request; gives the JSON of the answer.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Value, ApiError> {
        let token = self.token(None).await?;
        match self.attempt(call, Some(&token)).await {
            Err(refused @ ApiError::Unauthenticated { .. }) => {
                let new = self.token(Some(&token)).await?;
                if new == token { Err(refused) } else { self.attempt(call, Some(&new)).await }
            }
            other => other,
        }
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        token: Option<&HeaderValue>,
    ) -> Result<Value, ApiError> {
        let (http, limit) = match call.patience {
            Patience::Ordinary => (&self.inner.http, Some(ORDINARY)),
            Patience::Long => (&self.inner.patient, Some(PATIENT)),
            Patience::Endless => (&self.inner.patient, None),
        };
        let request = self.request(call, token);
        let exchange = async {
            let mut response = http.send(&request).await?;
            let body = response.read(LIMIT).await?.0;
            Ok((response, body))
        };
        let name = request.to_string();
        let exchanged = match limit {
            None => exchange.await,
            Some(limit) => timeout(limit, exchange)
                .await
                .map_err(|_| ApiError::Slow { request: name.clone(), seconds: limit.as_secs() })?,
        };
        let (response, body) =
            exchanged.map_err(|source| ApiError::Net { request: name.clone(), source })?;
        understand(&response, &body, &name, &call.what)
    }

    /// Opens a stream.
    pub(super) async fn open(&self, call: &Call<'_>) -> Result<Response, ApiError> {
        let token = self.token(None).await?;
        match self.open_with(call, &token).await {
            Err(refused @ ApiError::Unauthenticated { .. }) => {
                let new = self.token(Some(&token)).await?;
                if new == token { Err(refused) } else { self.open_with(call, &new).await }
            }
            other => other,
        }
    }

    async fn open_with(&self, call: &Call<'_>, token: &HeaderValue) -> Result<Response, ApiError> {
        // Only this form is never compressed, which would hold events back.
        let request = self
            .request(call, Some(token))
            .header("accept", "text/event-stream")
            .header("accept-encoding", "identity");
        let name = request.to_string();
        let sent = self.inner.stream.send(&request).await;
        let net = |source| ApiError::Net { request: name.clone(), source };
        let mut response = sent.map_err(net)?;
        if response.status() == 200 {
            return Ok(response);
        }
        let body = response.read(LIMIT).await.map_err(net)?.0;
        match understand(&response, &body, &name, &call.what) {
            Err(error) => Err(error),
            Ok(_) => Err(ApiError::Answer { request: name, problem: "it is no stream".into() }),
        }
    }

    fn request(&self, call: &Call<'_>, token: Option<&HeaderValue>) -> net::Request {
        let url = self.inner.address.join(&call.path, &call.query);
        let mut request = net::Request::new(call.method.clone(), url);
        for (name, value) in &self.inner.headers {
            request = request.header(name.clone(), value.clone());
        }
        request.authorization = token.cloned();
        request.bound = !self.inner.headers.is_empty();
        if call.method != Method::GET {
            // Others are refused for what browsers send without being asked.
            request = request.header("content-type", "application/json");
        }
        if let Some(body) = &call.body {
            request = request.body(Body::Bytes(body.to_string().into_bytes().into()));
        }
        request
    }
}

/// What an answer means.
fn understand(
    response: &Response,
    body: &[u8],
    request: &str,
    what: &str,
) -> Result<Value, ApiError> {
    let kind = response.header("content-type").unwrap_or("no content type").to_owned();
    judge(response.status(), &kind, body, request, what)
}

fn judge(
    status: u16,
    kind: &str,
    body: &[u8],
    request: &str,
    what: &str,
) -> Result<Value, ApiError> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    if (200..300).contains(&status) {
        return value.ok_or_else(|| ApiError::Foreign {
            request: request.to_owned(),
            status,
            what: kind.to_owned(),
        });
    }
    let text = |key: &str| value.as_ref()?.get(key)?.as_str();
    let code = value.as_ref().and_then(|value| value.get("code")?.as_u64());
    let message = text("message").or_else(|| text("error"));
    let foreign = message.is_none();
    let message = message.unwrap_or(kind).to_owned();
    let (request, what) = (request.to_owned(), what.to_owned());
    Err(match (status, code) {
        (401, _) | (_, Some(16)) => ApiError::Unauthenticated { request, message },
        _ if foreign => ApiError::Foreign { request, status, what: message },
        (403, _) | (_, Some(7)) if message.contains("sync window") => ApiError::Window { message },
        (403, _) | (_, Some(7)) => ApiError::Denied { what, message },
        (404, _) | (_, Some(5)) => ApiError::NotFound { what, message },
        _ if message.contains("operation is already in progress") => ApiError::Busy { message },
        _ => ApiError::Status { request, status, message },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_their_status_and_message_say() {
        let json = |code: u32, message: &str| {
            json!({"error": message, "code": code, "message": message}).to_string()
        };
        for (status, body, expected) in [
            (200, "{}".to_owned(), "Ok"),
            (200, "<html>".to_owned(), "Foreign"),
            (401, json(16, "no session information"), "Unauthenticated"),
            (401, "Unauthorized".to_owned(), "Unauthenticated"),
            (403, json(7, "permission denied"), "Denied"),
            (403, json(7, "Cannot sync: blocked by sync window"), "Window"),
            (403, "<html>".to_owned(), "Foreign"),
            (404, json(5, "applications \"x\" not found"), "NotFound"),
            (404, "<html>".to_owned(), "Foreign"),
            (400, json(9, "another operation is already in progress"), "Busy"),
            (400, json(9, "Cannot sync to a: auto-sync currently set to b"), "Status"),
            (502, "Bad Gateway".to_owned(), "Foreign"),
            (500, json(2, "boom"), "Status"),
        ] {
            let found = judge(status, "text/html", body.as_bytes(), "GET u", "get a");
            let name = match &found {
                Ok(_) => "Ok".to_owned(),
                Err(error) => format!("{error:?}").split(' ').next().unwrap().to_owned(),
            };
            assert_eq!(name, expected, "{status} {body}");
            let transient = found.is_err_and(|error| error.is_transient());
            assert_eq!(transient, status >= 500, "{status} {body}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let address = Address::parse("h", false, None).unwrap();
        let login = Login::Password { username: "u".into(), password: "hidden".into() };
        let headers = vec![("x".to_owned(), "hidden".to_owned())];
        let client = Client::new(address, login.clone(), headers, &net::Options::default());
        assert!(!format!("{client:?}{login:?}").contains("hidden"));
    }
}
