//! The re-executed child: one thread, makes the namespaces, starts init.
//!
//! It talks with the builder over a socket, its standard input:
//!
//! ```text
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
use rustix::process::{Gid, Pid, PidfdFlags, Signal, Uid, WaitOptions};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::{Command, Network, chroot, init};
use crate::sys::{self, Fork};

/// The name under which the program is re-executed.
pub const ARG0: &str = "yado-sandbox";

/// What the child needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) command: Command,
    /// The root file system, an outside path.
    pub(super) root: PathBuf,
    pub(super) view: ChildView,
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
    pub(super) fn say(&mut self, message: &Message) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// The child's whole life; the exit status means nothing, the messages do.
pub fn main() -> ! {
    let Ok(stdin) = io::stdin().as_fd().try_clone_to_owned() else { sys::exit_now(127) };
    let mut control = Control(UnixStream::from(stdin));
    if let Err(failure) = live(&mut control) {
        let _ = control.say(&Message::Failed(failure));
    }
    sys::exit_now(0)
}

fn live(control: &mut Control) -> Result<(), Failure> {
    sys::close_on_exec_from_3().map_err(Failure::of("mark descriptors"))?;
    let (spec, stdin) =
        receive(&mut control.0).map_err(Failure::of("receive the specification"))?;
    // Descriptor 0 is the builder's socket; what the step gets is decided here.
    let stdin = match stdin {
        Some(stdin) => stdin,
        None => std::fs::File::open("/dev/null")
            .map(OwnedFd::from)
            .map_err(Failure::of("open /dev/null"))?,
    };
    rustix::stdio::dup2_stdin(&stdin).map_err(|e| Failure::of("set standard input")(e.into()))?;
    drop(stdin);
    sys::leave_session_keyring();
    match spec.view {
        ChildView::Namespaces => namespaces(&spec, control),
        ChildView::Chroot => chroot::live(&spec, control),
    }
}

/// Waits until the child `pid` has ended (`true`) or the builder no longer wants
/// it (`false`): it closed its end of the socket, or it died and the kernel did.
pub(super) fn wait_while_wanted(control: &Control, pid: Pid) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let mut events = [
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(&control.0, PollFlags::IN | PollFlags::RDHUP),
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

fn namespaces(spec: &Spec, control: &mut Control) -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWUSER).map_err(Failure::of("make a user namespace"))?;
    control.say(&Message::Mapping).map_err(Failure::of("ask for ids"))?;
    let mut byte = [0];
    control.0.read_exact(&mut byte).map_err(Failure::of("wait for ids"))?;
    let root = |e: rustix::io::Errno| Failure::of("become root of the user namespace")(e.into());
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(root)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(root)?;
    let mut flags =
        UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if spec.command.network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    sys::unshare(flags).map_err(Failure::of("make namespaces"))?;
    match sys::fork().map_err(Failure::of("start init"))? {
        Fork::Child => {
            if let Err(failure) = init::live(spec, control) {
                let _ = control.say(&Message::Failed(failure));
            }
            sys::exit_now(0)
        }
        Fork::Parent(init) => {
            let waited = wait_while_wanted(control, init);
            // With init dies everything in its pid namespace.
            let _ = rustix::process::kill_process(init, Signal::KILL);
            rustix::process::waitpid(Some(init), WaitOptions::empty())
                .map_err(|e| Failure::of("wait for init")(e.into()))?;
            waited.map(|_| ()).map_err(Failure::of("wait for init"))
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

fn receive(socket: &mut UnixStream) -> io::Result<(Spec, Option<OwnedFd>)> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let mut length = [0; 4];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        &*socket,
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
    socket.read_exact(&mut text)?;
    let spec: Spec = serde_json::from_slice(&text)?;
    Ok((spec, stdin))
}
