//! What the builder and the sandbox's child say to each other, over a socket:
//!
//! ```text
//! child → builder   {"started":…}             its process id
//! builder → child   length, then the specification as JSON (and, to keep the
//!                   builder's standard input for the step, its descriptor)
//! child → builder   {"mapping":"wanted"}      in its new user namespace
//! builder → child   one byte                  the ids are written
//! child → builder   {"failed":…} | {"exited":…}
//! ```

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use super::Command;

/// What the child needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) command: Command,
    /// The root file system, an outside path.
    pub(super) root: PathBuf,
    pub(super) view: ChildView,
    /// How many files the step may have open: the builder raised its own limit.
    pub(super) open_files: Option<u64>,
    /// Whether a descriptor for the step's standard input comes along.
    pub(super) with_stdin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChildView {
    Namespaces,
    Chroot,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    /// The child is there, with this process id.
    Started(u32),
    /// The user namespace is there and has no ids yet.
    Mapping,
    /// The step did not start.
    Failed(Failure),
    /// The step ended.
    Exited(Ended),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) message: String,
    /// Whether the root file system lacks the program, as opposed to a fault of the sandbox.
    pub(super) program: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ended {
    Code(i32),
    Signal(i32),
}

impl Failure {
    /// For `map_err`: a step of the set-up that failed.
    pub(super) fn of(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { message: format!("{}: {error}", action.into()), program: false }
    }
}

/// The socket to the builder.
#[derive(Debug)]
pub(super) struct Control(UnixStream);

impl Control {
    /// The child's end.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Says that the user namespace is there, and waits until its ids are written.
    pub(super) fn await_ids(&mut self) -> io::Result<()> {
        self.say(&Message::Mapping)?;
        self.0.read_exact(&mut [0])
    }

    pub(super) fn say(&mut self, message: &Message) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }

    /// Takes the specification, and the descriptor that came along.
    pub(super) fn receive(&mut self) -> io::Result<(Spec, Option<OwnedFd>)> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
        let mut length = [0; 4];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.0,
            &mut [io::IoSliceMut::new(&mut length)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes != length.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stdin = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut text)?;
        let spec: Spec = serde_json::from_slice(&text)?;
        Ok((spec, stdin))
    }

    /// Waits until the child `pid` has ended (`true`) or the builder no longer wants
    /// it (`false`): it closed its end of the socket, or it died and the kernel did.
    pub(super) fn wait_while_wanted(&self, pid: Pid) -> io::Result<bool> {
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            let mut events = [
                PollFd::new(&process, PollFlags::IN),
                PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP),
            ];
            match rustix::event::poll(&mut events, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !events[0].revents().is_empty() {
                return Ok(true);
            }
            if !events[1].revents().is_empty() {
                return Ok(false);
            }
        }
    }
}

/// Sends the specification, with the builder's standard input if the step is to have it.
pub(super) fn send(socket: &UnixStream, spec: &Spec) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let text = serde_json::to_vec(spec)?;
    let length = (text.len() as u32).to_le_bytes();
    let stdin = io::stdin();
    let descriptors = [stdin.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if spec.with_stdin {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    rustix::net::sendmsg(
        socket,
        &[io::IoSlice::new(&length)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    (&mut &*socket).write_all(&text)
}
