//! What a server says, packet by packet.

use std::sync::{Arc, Mutex, PoisonError};

use super::stream::Line;
use super::{Server, net_error};
use crate::git::credentials::redact;
use crate::git::error::GitError;
use crate::git::packet::{Packet, Packets};
use crate::net::{NetError, Response};

/// An answer that comes packet by packet.
#[derive(Debug)]
pub(in crate::git) struct Answer {
    name: String,
    secrets: Arc<[String]>,
    source: Source,
    /// Where a stream is kept for the next message.
    idle: Arc<Mutex<Option<Line>>>,
}

/// Where an answer comes from.
#[derive(Debug)]
pub(super) enum Source {
    Http(Response, Packets),
    Stream(Line),
}

impl Answer {
    pub(super) fn new(server: &Server, source: Source) -> Self {
        Self {
            name: server.name.clone(),
            secrets: Arc::clone(&server.secrets),
            source,
            idle: Arc::clone(&server.idle),
        }
    }

    /// The next packet. What the server says in an error packet is the error.
    pub(in crate::git) async fn next(&mut self) -> Result<Packet, GitError> {
        loop {
            let packets = match &mut self.source {
                Source::Http(_, packets) | Source::Stream(Line { packets, .. }) => packets,
            };
            let packet = packets.next().map_err(|problem| self.protocol(problem))?;
            if let Some(packet) = packet {
                if let Some(message) = packet.line().and_then(|line| line.strip_prefix("ERR ")) {
                    let message = redact(message.trim(), &self.secrets);
                    return Err(GitError::Refused { remote: self.name.clone(), message });
                }
                return Ok(packet);
            }
            self.more().await?;
        }
    }

    /// Waits for more bytes.
    pub(super) async fn more(&mut self) -> Result<(), GitError> {
        let (chunk, packets) = match &mut self.source {
            Source::Http(response, packets) => {
                let chunk = response.chunk().await;
                (chunk.map_err(|error| net_error(&self.name, error))?, packets)
            }
            Source::Stream(line) => (line.stream.chunk(&self.name).await?, &mut line.packets),
        };
        // A message has an end of its own, so the connection broke.
        let chunk = chunk.ok_or_else(|| net_error(&self.name, NetError::closed()))?;
        packets.push(&chunk);
        Ok(())
    }

    /// Ends an answer that was read to its end, so that its connection serves again; that of
    /// version 1 is dropped instead, which serves one message.
    pub(in crate::git) async fn finish(self) {
        match self.source {
            Source::Http(mut response, _) => {
                let _ = response.chunk().await;
            }
            Source::Stream(line) => {
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
            }
        }
    }

    pub(super) fn protocol(&self, problem: String) -> GitError {
        GitError::Protocol { remote: self.name.clone(), problem }
    }
}
