//! A command at the other side, with its input, output and end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

use super::SshError;
use super::host::Checker;
use crate::net::NetError;

/// A connection on which somebody is logged in; channels share it.
pub(super) struct Session {
    pub(super) handle: Handle<Checker>,
    pub(super) stall: Duration,
}

/// A command that runs at the other side.
pub(in crate::git) struct Channel {
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    /// What has come while something was sent.
    queue: VecDeque<Bytes>,
    /// How much that is.
    queued: usize,
    /// The end of what the command has written to standard error.
    stderr: Vec<u8>,
    status: Option<u32>,
    ended: bool,
    stall: Duration,
    /// The connection lives as long as its last channel.
    session: Arc<Session>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Session {
    /// Runs a command. `variable` is set for it, if the server allows that.
    pub(super) async fn run(
        self: &Arc<Self>,
        command: &str,
        variable: Option<(&str, &str)>,
        name: &'static str,
    ) -> Result<Channel, SshError> {
        let stalled = |_| SshError::Net(NetError::Stalled(self.stall));
        let opened = timeout(self.stall, self.handle.channel_open_session()).await;
        let (read, write) = opened.map_err(stalled)?.map_err(SshError::Protocol)?.split();
        let mut channel = Channel {
            read,
            write: Arc::new(write),
            queue: VecDeque::new(),
            queued: 0,
            stderr: Vec::new(),
            status: None,
            ended: false,
            stall: self.stall,
            session: Arc::clone(self),
        };
        if let Some((variable, value)) = variable {
            channel.write.set_env(false, variable, value).await.map_err(SshError::Protocol)?;
        }
        channel.write.exec(true, command).await.map_err(SshError::Protocol)?;
        loop {
            match timeout(self.stall, channel.read.wait()).await.map_err(stalled)? {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::Failure) => return Err(SshError::NoCommand(name)),
                None => return Err(SshError::Protocol(russh::Error::Disconnect)),
                Some(other) => channel.take(other)?,
            }
        }
    }
}

impl Channel {
    /// How much is sent at once.
    const PIECE: usize = 32 * 1024;
    /// How much of standard error is kept.
    const STDERR: usize = 4 * 1024;
    /// How much may come while something is sent.
    const QUEUE: usize = 64 << 20;

    /// Sends all of `bytes`. What comes meanwhile is kept, so that neither side waits for the
    /// other.
    pub(in crate::git) async fn send(&mut self, bytes: Bytes) -> Result<(), SshError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(Self::PIECE));
            let writing = timeout(self.stall, self.write.data_bytes(piece));
            tokio::pin!(writing);
            let taken = loop {
                tokio::select! {
                    sent = &mut writing => break match sent {
                        Ok(sent) => sent.map_err(SshError::Protocol),
                        Err(_) => Err(SshError::Net(NetError::Stalled(self.stall))),
                    },
                    message = self.read.wait() => match message {
                        Some(ChannelMsg::Data { data }) => {
                            self.queued += data.len();
                            self.queue.push_back(data);
                            if self.queued > Self::QUEUE {
                                break Err(SshError::Protocol(russh::Error::Pending));
                            }
                        }
                        Some(ChannelMsg::ExtendedData { data, .. }) => {
                            keep(&mut self.stderr, &data);
                        }
                        Some(ChannelMsg::ExitStatus { exit_status }) => {
                            self.status = Some(exit_status);
                        }
                        Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                            self.ended = true;
                            break Ok(());
                        }
                        Some(_) => {}
                    },
                }
            };
            taken?;
            if self.ended {
                // What it said before its end is what matters; the reader finds it.
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next bytes of the command's output; `None` at its end.
    pub(in crate::git) async fn chunk(&mut self) -> Result<Option<Bytes>, SshError> {
        loop {
            if let Some(bytes) = self.queue.pop_front() {
                self.queued -= bytes.len();
                return Ok(Some(bytes));
            }
            if self.ended {
                return Ok(None);
            }
            match timeout(self.stall, self.read.wait()).await {
                Ok(Some(message)) => self.take(message)?,
                Ok(None) => self.ended = true,
                Err(_) => return Err(SshError::Net(NetError::Stalled(self.stall))),
            }
        }
    }

    /// Why the output has ended before it should have: the command's own words, if it has any.
    pub(in crate::git) async fn why(&mut self) -> SshError {
        /// What follows the end of the output follows at once.
        const PATIENCE: Duration = Duration::from_secs(2);
        while self.status.is_none() {
            match timeout(PATIENCE, self.read.wait()).await {
                Ok(Some(message)) => {
                    let _ = self.take(message);
                }
                _ => break,
            }
        }
        let message = self.said();
        if message.is_empty() && self.status.is_none() {
            return SshError::Net(NetError::closed());
        }
        SshError::Remote { message, status: self.status }
    }

    /// What the command has written to standard error: on one line, without control characters.
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines = text.lines().map(|line| crate::report::message_line(line).trim().to_owned());
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        lines.join("; ")
    }

    fn take(&mut self, message: ChannelMsg) -> Result<(), SshError> {
        match message {
            ChannelMsg::Data { data } => {
                self.queued += data.len();
                self.queue.push_back(data);
                if self.queued > Self::QUEUE {
                    return Err(SshError::Protocol(russh::Error::Pending));
                }
            }
            ChannelMsg::ExtendedData { data, .. } => keep(&mut self.stderr, &data),
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(exit_status),
            ChannelMsg::Eof | ChannelMsg::Close => self.ended = true,
            _ => {}
        }
        Ok(())
    }
}

/// Ends the command in the way that git calls polite, so that no server notes a broken connection.
impl Drop for Channel {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.ended {
            return;
        }
        let (write, session) = (Arc::clone(&self.write), Arc::clone(&self.session));
        runtime.spawn(async move {
            let end = async {
                write.data_bytes(Bytes::from_static(b"0000")).await?;
                write.eof().await?;
                write.close().await
            };
            let _ = timeout(session.stall, end).await;
        });
    }
}

/// Keeps the end of what comes.
fn keep(stderr: &mut Vec<u8>, data: &[u8]) {
    stderr.extend_from_slice(data);
    let surplus = stderr.len().saturating_sub(Channel::STDERR);
    stderr.drain(..surplus);
}
