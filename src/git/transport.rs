//! How a server is reached: smart http, or a stream to a service that runs for this client.
//!
//! A service is asked for its greeting, which says what it can do, and then gets messages. Over
//! http the greeting is a page and each message a request of its own. A [`Stream`] (`git://`)
//! carries them one after the other; version 2 takes many messages on one stream, versions 0 and 1
//! one, so that the next message finds a new stream. Both services and all ways of reaching them
//! look the same from here on: `server`, then `send`.

mod answer;
mod greeting;
mod http;
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::header::HeaderValue;

use super::GitOptions;
use super::credentials;
use super::error::GitError;
use super::id::ObjectFormat;
use super::packet::Message;
use super::refs::Reference;
use super::ssh::Ssh;
use super::url::Remote;
use crate::net::{self, Http, NetError, Url};
use crate::report::Sink;
use answer::Source;
use stream::Line;

pub(super) use answer::Answer;
pub(super) use greeting::Version;

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// To give out objects.
    UploadPack,
    /// To take objects and change references.
    ReceivePack,
}

impl Service {
    /// Its name, which is that of a program too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// The version of the protocol that is asked for; there is none but the first for changes.
    pub(super) fn version(self) -> Option<&'static str> {
        match self {
            Self::UploadPack => Some("version=2"),
            Self::ReceivePack => None,
        }
    }

    /// Whether a message may change something, so that it is sent once.
    pub(super) fn changes(self) -> bool {
        self == Self::ReceivePack
    }
}

/// What a server can do, and where it is after redirects.
#[derive(Clone, Debug)]
pub(super) struct Server {
    remote: Remote,
    /// Shown in errors, without credentials.
    pub(super) name: String,
    authorization: Option<HeaderValue>,
    service: Service,
    /// Which messages it understands.
    pub(super) version: Version,
    capabilities: Vec<String>,
    /// What is not to be repeated when it says it.
    secrets: Arc<[String]>,
    /// What it has listed by itself, which version 1 does.
    pub(super) references: Vec<Reference>,
    /// A stream whose next message may come.
    idle: Arc<Mutex<Option<Line>>>,
}

impl Server {
    /// The value of a capability, if the server has it.
    pub(super) fn capability(&self, name: &str) -> Option<&str> {
        self.capabilities.iter().find_map(|line| match line.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (line == name).then_some(""),
        })
    }

    /// Whether it can do something with fetches, whichever version it speaks.
    pub(super) fn can_fetch(&self, word: &str) -> bool {
        match self.version {
            Version::Two => self.can("fetch", word),
            Version::One => self.capability(word).is_some(),
        }
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

    /// Has the next message go over a new stream. A process at the other end of one goes on seeing
    /// the references that it has seen once.
    pub(super) fn renew(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.take_if(|line| line.served);
    }

    /// What a server says, without what it was told in confidence.
    pub(super) fn redact(&self, text: &str) -> String {
        credentials::redact(text, &self.secrets)
    }

    /// An error in the server's own words.
    pub(super) fn refused(&self, message: &str) -> GitError {
        GitError::Refused { remote: self.name.clone(), message: self.redact(message.trim()) }
    }

    fn take_idle(&self) -> Option<Line> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Speaks to servers; counts what it asks them.
#[derive(Debug)]
pub(super) struct Transport {
    http: Http,
    options: GitOptions,
    ssh: Ssh,
    secrets: Arc<[String]>,
    requests: AtomicU64,
    known: Mutex<Vec<(Remote, Option<Url>, Server)>>,
    /// Where the caller's `Authorization` goes: to the repository that is asked first.
    home: OnceLock<Url>,
}

impl Transport {
    pub(super) fn new(http: Http, options: GitOptions, sink: Arc<dyn Sink>) -> Self {
        let ssh = Ssh::new(options.ssh.clone(), sink);
        let secrets = options.secrets().into();
        Self {
            http,
            options,
            ssh,
            secrets,
            requests: AtomicU64::new(0),
            known: Mutex::default(),
            home: OnceLock::new(),
        }
    }

    /// Requests and connections so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// What requests are sent with that are none of git's protocol.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// How often and after how long a fetch is repeated.
    pub(super) fn retry(&self) -> net::Retry {
        self.options.retry
    }

    /// Asks a server that gives out objects what it can do; of version 2, once. `origin` is where the caller's
    /// `Authorization` goes.
    pub(super) async fn server(
        &self,
        remote: &Remote,
        origin: Option<&Url>,
    ) -> Result<Server, GitError> {
        if let Some(server) = self.known(remote, origin) {
            return Ok(server);
        }
        let server = self.greet(remote, origin, Service::UploadPack).await?;
        if server.version == Version::One {
            // What it has listed is of this moment.
            return Ok(server);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((remote.clone(), origin.cloned(), server.clone()));
        Ok(server)
    }

    fn known(&self, remote: &Remote, origin: Option<&Url>) -> Option<Server> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(r, o, _)| r == remote && o.as_ref() == origin);
        found.map(|(_, _, server)| server.clone())
    }

    /// Asks a service for its greeting.
    pub(super) async fn greet(
        &self,
        remote: &Remote,
        origin: Option<&Url>,
        service: Service,
    ) -> Result<Server, GitError> {
        let rewritten = self.options.rewritten(remote);
        let origin_rewritten = origin.map(|url| self.options.rewritten(&Remote::Http(url.clone())));
        let origin = match &origin_rewritten {
            Some(Remote::Http(url)) => Some(url),
            _ => None,
        };
        let mut server = Server {
            remote: rewritten.clone(),
            name: remote.to_string(),
            authorization: None,
            service,
            version: Version::One,
            capabilities: Vec::new(),
            secrets: self.secrets.clone(),
            references: Vec::new(),
            idle: Arc::default(),
        };
        let answer = match &rewritten {
            Remote::Http(url) => {
                server.authorization = self.authorization(url, origin)?;
                if let Some(header) = server.authorization.as_ref().and_then(|h| h.to_str().ok()) {
                    let own = credentials::secrets_of(header).into_iter();
                    server.secrets = own.chain(self.secrets.iter().cloned()).collect();
                }
                self.advertisement(&mut server, url).await?
            }
            _ => Answer::new(&server, Source::Stream(self.dial(&server).await?)),
        };
        let greeting = answer.greeting().await?;
        server.version = greeting.version;
        server.capabilities = greeting.capabilities;
        server.references = greeting.references;
        Ok(server)
    }

    /// Sends a message and gives the answer to read.
    pub(super) async fn send(&self, server: &Server, message: Vec<u8>) -> Result<Answer, GitError> {
        if let Remote::Http(url) = &server.remote {
            return self.post(server, url, message).await;
        }
        if let Some(line) = server.take_idle() {
            let answer = Self::over(server, line, &message).await;
            match answer {
                // The server may have closed a stream on which nothing was said for long.
                Err(error) if !server.service.changes() && is_transient(&error) => {}
                answer => return answer,
            }
        }
        let answer = Answer::new(server, Source::Stream(self.dial(server).await?));
        answer.greeting().await?;
        let line = server.take_idle().ok_or_else(|| server.protocol("the stream is gone"))?;
        Self::over(server, line, &message).await
    }

    /// Sends a message over a stream and waits for the first bytes of its answer.
    async fn over(server: &Server, mut line: Line, message: &[u8]) -> Result<Answer, GitError> {
        line.served = true;
        line.stream.send(&server.name, message).await?;
        let waits = line.packets.is_empty();
        let mut answer = Answer::new(server, Source::Stream(line));
        if waits {
            answer.more().await?;
        }
        Ok(answer)
    }
}

/// Whether the same may go well a moment later.
pub(super) fn is_transient(error: &GitError) -> bool {
    match error {
        GitError::Net { source, .. } => source.is_transient(),
        GitError::Status { status, .. } => net::is_transient(*status),
        GitError::Ssh { source, .. } => source.is_transient(),
        _ => false,
    }
}

fn net_error(remote: &str, source: NetError) -> GitError {
    GitError::Net { remote: remote.to_owned(), source }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
