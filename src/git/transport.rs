//! How a server is reached: smart http, or a plain connection for `git://`.
//!
//! Both carry the same messages of protocol version 2. Over http each message is a request of
//! its own; over `git://` each is a connection of its own, which begins with the server's
//! capabilities again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use reqwest::header::HeaderValue;

use super::GitOptions;
use super::error::GitError;
use super::id::ObjectFormat;
use super::packet::{Limit, Message, Packet, Packets};
use super::url::Remote;
use crate::net::{self, Body, Connection, Http, Method, NetError, Request, Response, Url};

/// What a server can do, and where it is after redirects.
#[derive(Clone, Debug)]
pub(super) struct Server {
    remote: Remote,
    /// Shown in errors, without credentials.
    pub(super) name: String,
    authorization: Option<HeaderValue>,
    capabilities: Vec<String>,
}

impl Server {
    /// The value of a capability, if the server has it.
    pub(super) fn capability(&self, name: &str) -> Option<&str> {
        self.capabilities.iter().find_map(|line| match line.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (line == name).then_some(""),
        })
    }

    /// Whether `word` is in the value of a capability.
    pub(super) fn can(&self, capability: &str, word: &str) -> bool {
        self.capability(capability).is_some_and(|value| value.split(' ').any(|w| w == word))
    }

    /// The hash of its objects.
    pub(super) fn format(&self) -> Result<ObjectFormat, GitError> {
        match self.capability("object-format") {
            None | Some("sha1") => Ok(ObjectFormat::Sha1),
            Some("sha256") => Ok(ObjectFormat::Sha256),
            Some(other) => Err(self.protocol(format!("unknown object format {other:?}"))),
        }
    }

    /// The head of a command's message.
    pub(super) fn command(&self, name: &str) -> Result<Message, GitError> {
        let mut message = Message::default();
        message.line(&format!("command={name}"));
        if self.capability("agent").is_some() {
            message.line(concat!("agent=yado/", env!("CARGO_PKG_VERSION")));
        }
        if self.capability("object-format").is_some() {
            message.line(&format!("object-format={}", self.format()?.name()));
        }
        message.delimiter();
        Ok(message)
    }

    /// An error about what this server said.
    pub(super) fn protocol(&self, problem: impl Into<String>) -> GitError {
        GitError::Protocol { remote: self.name.clone(), problem: problem.into() }
    }
}

/// Speaks to servers; counts what it asks them.
#[derive(Debug)]
pub(super) struct Transport {
    http: Http,
    options: GitOptions,
    requests: AtomicU64,
    known: Mutex<Vec<(Remote, Option<Url>, Server)>>,
}

impl Transport {
    pub(super) fn new(http: Http, options: GitOptions) -> Self {
        Self { http, options, requests: AtomicU64::new(0), known: Mutex::default() }
    }

    /// Requests and connections so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How often and after how long a fetch is repeated.
    pub(super) fn retry(&self) -> net::Retry {
        self.options.retry
    }

    /// Asks a server what it can do, once. `origin` is where the caller's `Authorization` goes.
    pub(super) async fn server(
        &self,
        remote: &Remote,
        origin: Option<&Url>,
    ) -> Result<Server, GitError> {
        if let Some(server) = self.known(remote, origin) {
            return Ok(server);
        }
        let mut server = Server {
            remote: remote.clone(),
            name: remote.to_string(),
            authorization: None,
            capabilities: Vec::new(),
        };
        let mut answer = match remote {
            Remote::Http(url) => {
                server.authorization = self.authorization(url, origin)?;
                self.advertisement(&mut server, url).await?
            }
            Remote::Git { .. } => self.dial(&server).await?,
            Remote::Ssh(_) => return Err(GitError::Ssh { remote: server.name }),
        };
        server.capabilities = answer.capabilities().await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((remote.clone(), origin.cloned(), server.clone()));
        Ok(server)
    }

    fn known(&self, remote: &Remote, origin: Option<&Url>) -> Option<Server> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(r, o, _)| r == remote && o.as_ref() == origin);
        found.map(|(_, _, server)| server.clone())
    }

    /// Sends a message and gives the answer to read.
    pub(super) async fn send(&self, server: &Server, message: Vec<u8>) -> Result<Answer, GitError> {
        match &server.remote {
            Remote::Http(url) => {
                const REQUEST: &str = "application/x-git-upload-pack-request";
                const RESULT: &str = "application/x-git-upload-pack-result";
                let request = Request::new(Method::POST, below(url, "git-upload-pack"))
                    .header("git-protocol", "version=2")
                    .header("content-type", REQUEST)
                    .header("accept", RESULT)
                    .body(Body::Bytes(message.into()));
                let response = self.exchange(server, request).await?;
                check_type(server, &response, RESULT)?;
                Ok(Answer::new(server, Source::Http(response)))
            }
            Remote::Git { .. } => {
                let mut answer = self.dial(server).await?;
                answer.capabilities().await?;
                if let Source::Tcp(connection) = &mut answer.source {
                    connection.send(&message).await.map_err(|e| net_error(&server.name, e))?;
                }
                Ok(answer)
            }
            Remote::Ssh(_) => Err(GitError::Ssh { remote: server.name.clone() }),
        }
    }

    /// The first request over http; it may be redirected, and what follows goes there.
    async fn advertisement(&self, server: &mut Server, url: &Url) -> Result<Answer, GitError> {
        const SUFFIX: &str = "/info/refs";
        let mut first = below(url, "info/refs");
        first.set_query(Some("service=git-upload-pack"));
        let request = Request::new(Method::GET, first).header("git-protocol", "version=2");
        let response = self.exchange(server, request).await?;
        check_type(server, &response, "application/x-git-upload-pack-advertisement")?;
        let mut base = response.url().clone();
        base.set_query(None);
        let Some(path) = base.path().strip_suffix(SUFFIX).map(str::to_owned) else {
            return Err(GitError::NotGit {
                remote: server.name.clone(),
                problem: "it redirects to another page".to_owned(),
            });
        };
        base.set_path(&path);
        if !net::same_origin(&base, url) {
            server.authorization = None;
        }
        server.remote = Remote::Http(base);
        Ok(Answer::new(server, Source::Http(response)))
    }

    async fn exchange(&self, server: &Server, mut request: Request) -> Result<Response, GitError> {
        request.authorization.clone_from(&server.authorization);
        let retry = self.options.retry;
        let mut failures = 0;
        loop {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let (error, asked) = match self.http.send(&request).await {
                Ok(response) if response.status() == 200 => return Ok(response),
                Ok(response) => {
                    let status = response.status();
                    let authorized = server.authorization.is_some();
                    let error =
                        GitError::Status { remote: server.name.clone(), status, authorized };
                    (error, response.retry_after())
                }
                Err(error) => (net_error(&server.name, error), None),
            };
            failures += 1;
            if failures >= retry.attempts || !is_transient(&error) {
                return Err(error);
            }
            tokio::time::sleep(retry.delay(failures, asked)).await;
        }
    }

    /// Opens a connection of git's own protocol.
    async fn dial(&self, server: &Server) -> Result<Answer, GitError> {
        let Remote::Git { host, port, path } = &server.remote else {
            return Err(server.protocol("this is no git:// URL"));
        };
        // Whoever made the remote: what is sent here is one line, whatever listens there.
        if [host, path].into_iter().any(|part| part.contains(char::is_control)) {
            return Err(server.protocol("host and path may not hold control characters"));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let failed = |error| net_error(&server.name, error);
        let mut connection = self.http.connect(host, *port).await.map_err(failed)?;
        // The path of a home directory is sent without the slash in front of it.
        let path = if path.starts_with("/~") { &path[1..] } else { path };
        let mut hello = Message::default();
        hello.raw(format!("git-upload-pack {path}\0host={host}:{port}\0\0version=2\0").as_bytes());
        connection.send(&hello.unfinished()).await.map_err(failed)?;
        Ok(Answer::new(server, Source::Tcp(connection)))
    }

    /// The header for a URL: the caller's at the origin it was given for, else what the URL says.
    fn authorization(
        &self,
        url: &Url,
        origin: Option<&Url>,
    ) -> Result<Option<HeaderValue>, GitError> {
        let given = origin.filter(|origin| net::same_origin(origin, url));
        let text = match (&self.options.authorization, given) {
            (Some(header), Some(_)) => header.clone(),
            _ if url.username().is_empty() && url.password().is_none() => {
                return Ok(None);
            }
            _ => {
                let user = super::url::decode(url.username());
                let password = super::url::decode(url.password().unwrap_or_default());
                let pair = format!("{user}:{password}");
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
        };
        let mut value = HeaderValue::from_str(text.trim()).map_err(|_| GitError::Protocol {
            remote: Remote::Http(url.clone()).to_string(),
            problem: "the credentials hold characters that a header cannot".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// An answer that comes packet by packet.
#[derive(Debug)]
pub(super) struct Answer {
    name: String,
    source: Source,
    packets: Packets,
}

#[derive(Debug)]
enum Source {
    Http(Response),
    Tcp(Connection),
}

impl Answer {
    fn new(server: &Server, source: Source) -> Self {
        Self { name: server.name.clone(), source, packets: Packets::default() }
    }

    /// The next packet. What the server says in an error packet is the error.
    pub(super) async fn next(&mut self) -> Result<Packet, GitError> {
        loop {
            let packet = self.packets.next().map_err(|problem| self.protocol(problem))?;
            if let Some(packet) = packet {
                if let Some(message) = packet.line().and_then(|line| line.strip_prefix("ERR ")) {
                    let message = message.trim().to_owned();
                    return Err(GitError::Refused { remote: self.name.clone(), message });
                }
                return Ok(packet);
            }
            let chunk = match &mut self.source {
                Source::Http(response) => response.chunk().await,
                Source::Tcp(connection) => connection.chunk().await,
            };
            let Some(chunk) = chunk.map_err(|error| net_error(&self.name, error))? else {
                // A message has an end of its own, so the connection broke.
                return Err(net_error(&self.name, NetError::closed()));
            };
            self.packets.push(&chunk);
        }
    }

    /// Reads to the end of an answer that is complete, so that its connection serves again.
    pub(super) async fn finish(&mut self) {
        if let Source::Http(response) = &mut self.source {
            let _ = response.chunk().await;
        }
    }

    /// Reads the capabilities, to their end.
    async fn capabilities(&mut self) -> Result<Vec<String>, GitError> {
        let mut packet = self.next().await?;
        if packet.line().is_some_and(|line| line.starts_with("# service=")) {
            if self.next().await? != Packet::Flush {
                return Err(self.protocol("there is no end to the service's name".to_owned()));
            }
            packet = self.next().await?;
        }
        if packet.line() != Some("version 2") {
            return Err(GitError::OldProtocol { remote: self.name.clone() });
        }
        let mut lines = Vec::new();
        let mut limit = Limit::new("capabilities", 1000, 1 << 20);
        loop {
            match self.next().await? {
                Packet::Flush => break,
                packet => {
                    limit.take(&packet).map_err(|problem| self.protocol(problem))?;
                    lines.extend(packet.line().map(str::to_owned));
                }
            }
        }
        self.finish().await;
        Ok(lines)
    }

    fn protocol(&self, problem: String) -> GitError {
        GitError::Protocol { remote: self.name.clone(), problem }
    }
}

/// Whether the same may go well a moment later.
pub(super) fn is_transient(error: &GitError) -> bool {
    match error {
        GitError::Net { source, .. } => source.is_transient(),
        GitError::Status { status, .. } => net::is_transient(*status),
        _ => false,
    }
}

fn net_error(remote: &str, source: NetError) -> GitError {
    GitError::Net { remote: remote.to_owned(), source }
}

fn below(url: &Url, name: &str) -> Url {
    let mut below = url.clone();
    below.set_path(&format!("{}/{name}", url.path().trim_end_matches('/')));
    // They are sent as a header, if at all.
    let _ = below.set_username("");
    let _ = below.set_password(None);
    below
}

fn check_type(server: &Server, response: &Response, expected: &str) -> Result<(), GitError> {
    match response.header("content-type") {
        Some(kind) if kind.split(';').next().is_some_and(|kind| kind.trim() == expected) => Ok(()),
        other => Err(GitError::NotGit {
            remote: server.name.clone(),
            problem: match other {
                Some(kind) => format!("it answers with {kind}"),
                None => "its answer has no content type".to_owned(),
            },
        }),
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
