//! A stream to a service that runs for this client alone: greeting, message and answer go over
//! it, one after the other.

use tokio_util::bytes::Bytes;

use super::{Server, Transport, net_error};
use crate::git::error::GitError;
use crate::git::packet::{Message, Packets};
use crate::git::ssh::{Address, Channel, SshError};
use crate::git::url::Remote;
use crate::net::Connection;

/// Both directions of a stream; a new way of reaching servers is one more case.
#[derive(Debug)]
pub(super) enum Stream {
    /// A connection of git's own protocol.
    Tcp(Connection),
    /// A program at the other end of a connection of ssh.
    Ssh(Box<Channel>),
}

impl Stream {
    /// Sends all of `bytes`; `remote` is named in errors.
    pub(super) async fn send(&mut self, remote: &str, bytes: &[u8]) -> Result<(), GitError> {
        match self {
            Self::Tcp(connection) => {
                connection.send(bytes).await.map_err(|error| net_error(remote, error))
            }
            Self::Ssh(channel) => {
                let sent = channel.send(Bytes::copy_from_slice(bytes)).await;
                sent.map_err(|error| ssh_error(remote, error))
            }
        }
    }

    /// The next bytes from the other side; `None` when it has closed the stream.
    pub(super) async fn chunk(&mut self, remote: &str) -> Result<Option<Bytes>, GitError> {
        match self {
            Self::Tcp(connection) => {
                connection.chunk().await.map_err(|error| net_error(remote, error))
            }
            // Nobody reads on after the end of a message, so an end here is one too early; the
            // program has said why.
            Self::Ssh(channel) => match channel.chunk().await {
                Ok(None) => Err(ssh_error(remote, channel.why().await)),
                chunk => chunk.map_err(|error| ssh_error(remote, error)),
            },
        }
    }
}

/// A stream with what has come over it and is not read yet.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: Stream,
    pub(super) packets: Packets,
    /// Whether a message went over it.
    pub(super) served: bool,
}

impl Transport {
    /// Starts the service of a server at the other end of a new stream.
    pub(super) async fn dial(&self, server: &Server) -> Result<Line, GitError> {
        let stream = match &server.remote {
            Remote::Git { host, port, path } => self.dial_git(server, host, *port, path).await?,
            Remote::Ssh(text) => self.dial_ssh(server, text).await?,
            Remote::Http(_) => return Err(server.protocol("http is not a stream")),
        };
        Ok(Line { stream, packets: Packets::default(), served: false })
    }

    async fn dial_ssh(&self, server: &Server, text: &str) -> Result<Stream, GitError> {
        let failed = |error| ssh_error(&server.name, error);
        let address = Address::parse(text).map_err(failed)?;
        let (name, version) = (server.service.name(), server.service.version());
        let retry = self.retry();
        let mut failures = 0;
        loop {
            self.count();
            match self.ssh.start(&self.http, &address, name, version).await {
                Ok(channel) => return Ok(Stream::Ssh(Box::new(channel))),
                Err(error) => {
                    failures += 1;
                    if failures >= retry.attempts || !error.is_transient() {
                        return Err(failed(error));
                    }
                }
            }
            tokio::time::sleep(retry.delay(failures, None)).await;
        }
    }

    async fn dial_git(
        &self,
        server: &Server,
        host: &str,
        port: u16,
        path: &str,
    ) -> Result<Stream, GitError> {
        // Whoever made the remote: what is sent here is one line, whatever listens there.
        if [host, path].into_iter().any(|part| part.contains(char::is_control)) {
            return Err(server.protocol("host and path may not hold control characters"));
        }
        self.count();
        let connection = self.http.connect(host, port).await;
        let mut stream = Stream::Tcp(connection.map_err(|error| net_error(&server.name, error))?);
        // The path of a home directory is sent without the slash in front of it.
        let path = if path.starts_with("/~") { &path[1..] } else { path };
        let mut hello = format!("{} {path}\0host={host}:{port}\0", server.service.name());
        if let Some(version) = server.service.version() {
            hello.extend(["\0", version, "\0"]);
        }
        let mut message = Message::default();
        message.raw(hello.as_bytes());
        stream.send(&server.name, &message.unfinished()).await?;
        Ok(stream)
    }
}

fn ssh_error(remote: &str, source: SshError) -> GitError {
    GitError::Ssh { remote: remote.to_owned(), source: Box::new(source) }
}
