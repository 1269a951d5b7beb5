//! A stream to a service that runs for this client alone: greeting, message and answer go over
//! it, one after the other.

use tokio_util::bytes::Bytes;

use super::{Server, Transport, net_error};
use crate::git::error::GitError;
use crate::git::packet::{Message, Packets};
use crate::git::url::Remote;
use crate::net::Connection;

/// Both directions of a stream; a new way of reaching servers is one more case.
#[derive(Debug)]
pub(super) enum Stream {
    /// A connection of git's own protocol.
    Tcp(Connection),
}

impl Stream {
    /// Sends all of `bytes`; `remote` is named in errors.
    pub(super) async fn send(&mut self, remote: &str, bytes: &[u8]) -> Result<(), GitError> {
        match self {
            Self::Tcp(connection) => {
                connection.send(bytes).await.map_err(|error| net_error(remote, error))
            }
        }
    }

    /// The next bytes from the other side; `None` when it has closed the stream.
    pub(super) async fn chunk(&mut self, remote: &str) -> Result<Option<Bytes>, GitError> {
        match self {
            Self::Tcp(connection) => {
                connection.chunk().await.map_err(|error| net_error(remote, error))
            }
        }
    }
}

/// A stream with what has come over it and is not read yet.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: Stream,
    pub(super) packets: Packets,
}

impl Transport {
    /// Starts the service of a server at the other end of a new stream.
    pub(super) async fn dial(&self, server: &Server) -> Result<Line, GitError> {
        let stream = match &server.remote {
            Remote::Git { host, port, path } => self.dial_git(server, host, *port, path).await?,
            Remote::Ssh(_) => return Err(GitError::Ssh { remote: server.name.clone() }),
            Remote::Http(_) => return Err(server.protocol("http is not a stream")),
        };
        Ok(Line { stream, packets: Packets::default() })
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
