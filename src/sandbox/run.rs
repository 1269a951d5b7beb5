//! The builder's side of a sandbox: start the child, map its ids, follow it.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::lines::Lines;
use super::protocol::{self, ChildView, Ended, Message, Spec};
use super::{Command, Isolation, Launcher, SandboxError, View};
use crate::report::Stream;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Takes a process's output.
pub(super) type Output<'a> = &'a (dyn Fn(Stream, &[u8]) + Sync);

/// Where a process's standard streams lead.
#[derive(Clone, Copy)]
pub enum Io<'a> {
    /// Input from nowhere; output line by line, without line ends.
    Lines(Output<'a>),
    /// The builder's own.
    Inherit,
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lines(_) => "Lines",
            Self::Inherit => "Inherit",
        })
    }
}

/// Stops processes of other threads: Ctrl-C.
#[derive(Debug, Default)]
pub struct Cancellation {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// The sockets to the running children, numbered as they were started.
    running: BTreeMap<u64, UnixStream>,
    next: u64,
}

impl Cancellation {
    /// Kills what runs, and keeps everything else from starting.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        for control in state.running.values() {
            // The child takes the end of the conversation for the end of its
            // work, and kills what it started first.
            let _ = control.shutdown(Shutdown::Both);
        }
    }

    /// Whether [`Cancellation::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Notes a process that is about to start, under the number that is given.
    fn register(&self, control: &UnixStream) -> Result<u64, SandboxError> {
        let control = control.try_clone().map_err(SandboxError::system("make a socket"))?;
        let mut state = self.lock();
        if state.cancelled {
            return Err(SandboxError::Cancelled);
        }
        state.next += 1;
        let number = state.next;
        state.running.insert(number, control);
        Ok(number)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a process in `root` and waits for it and all that it started.
pub fn run(
    command: &Command,
    root: &Path,
    isolation: &Isolation,
    io: Io<'_>,
    launcher: &Launcher,
    cancellation: &Cancellation,
) -> Result<Exit, SandboxError> {
    let view = match &isolation.view {
        View::Namespaces => ChildView::Namespaces,
        View::Chroot => ChildView::Chroot,
        View::None(reason) => {
            return Err(SandboxError::Unavailable {
                wanted: "isolation for a step",
                reason: reason.clone(),
            });
        }
    };
    let (control, theirs) = UnixStream::pair().map_err(SandboxError::system("make a socket"))?;
    let spec = Spec {
        command: command.clone(),
        root: root.to_owned(),
        view,
        open_files: isolation.open_files,
        with_stdin: matches!(io, Io::Inherit),
    };
    let number = cancellation.register(&control)?;
    let mut conversation =
        Conversation { control: &control, isolation, heard: Vec::new(), pid: 0, child: None };
    let started = start(launcher, theirs, io);
    let ended = started.and_then(|lines| conversation.follow(&spec, lines));
    cancellation.lock().running.remove(&number);
    let cancelled = cancellation.is_cancelled();
    if let Some(child) = conversation.child {
        // A step that was stopped may be ending only now.
        if cancelled || ended.is_err() {
            wait(&child)?;
        } else {
            launcher.note_ending(child);
        }
    }
    if cancelled { Err(SandboxError::Cancelled) } else { ended }
}

/// Waits until a child has ended.
pub(super) fn wait(child: &OwnedFd) -> Result<(), SandboxError> {
    loop {
        match rustix::event::poll(&mut [PollFd::new(child, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            other => {
                let fail = SandboxError::system("wait for the sandbox's child");
                return other.map(drop).map_err(|e| fail(e.into()));
            }
        }
    }
}

/// Starts the child; gives what reads its output, if that is wanted.
fn start<'a>(
    launcher: &Launcher,
    control: UnixStream,
    io: Io<'a>,
) -> Result<Vec<Lines<'a>>, SandboxError> {
    let started = match io {
        Io::Inherit => {
            let (stdout, stderr) = (io::stdout(), io::stderr());
            launcher.start(control.as_fd(), stdout.as_fd(), stderr.as_fd()).map(|()| Vec::new())
        }
        Io::Lines(sink) => {
            let pipe = || io::pipe().map_err(SandboxError::system("make a pipe"));
            let ((stdout, to_stdout), (stderr, to_stderr)) = (pipe()?, pipe()?);
            launcher.start(control.as_fd(), to_stdout.as_fd(), to_stderr.as_fd()).map(|()| {
                vec![
                    Lines::new(stdout, Stream::Stdout, sink),
                    Lines::new(stderr, Stream::Stderr, sink),
                ]
            })
        }
    };
    // The child alone has it now, so that its end is seen.
    drop(control);
    started.map_err(SandboxError::system("start the sandbox's child"))
}

fn died() -> SandboxError {
    SandboxError::Child("the sandbox's child died; the machine may be out of memory".to_owned())
}

/// The builder's side of the protocol.
struct Conversation<'a> {
    control: &'a UnixStream,
    isolation: &'a Isolation,
    heard: Vec<u8>,
    pid: u32,
    /// Tells when the child has ended.
    child: Option<OwnedFd>,
}

impl Conversation<'_> {
    /// Talks to the child and passes its output on, until it has let go of both: then
    /// every process of the step has ended. Its namespaces may be there a little longer.
    fn follow(&mut self, spec: &Spec, mut lines: Vec<Lines<'_>>) -> Result<Exit, SandboxError> {
        let fail = SandboxError::system("send to the sandbox's child");
        let mut ended = protocol::send(self.control, spec).map_err(fail).err().map(Err);
        let mut talking = true;
        while talking || !lines.is_empty() {
            if matches!(ended, Some(Err(_))) && talking {
                // The child takes it for the end of its work.
                let _ = self.control.shutdown(Shutdown::Both);
                talking = false;
                continue;
            }
            let mut waiting: Vec<PollFd<'_>> =
                lines.iter().map(|lines| PollFd::new(lines, PollFlags::IN)).collect();
            if talking {
                waiting.push(PollFd::new(self.control, PollFlags::IN));
            }
            match rustix::event::poll(&mut waiting, None) {
                Err(Errno::INTR) => continue,
                other => other.map_err(|e| SandboxError::system("wait for the step")(e.into()))?,
            };
            let mut ready = waiting.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
            let said = talking && ready.pop() == Some(true);
            let mut ready = ready.into_iter();
            lines.retain_mut(|lines| ready.next() != Some(true) || lines.pass_on());
            if said {
                match self.hear() {
                    Ok(None) => {}
                    Ok(Some(exit)) => ended = Some(Ok(exit)),
                    Err(_) if ended.is_some() => talking = false,
                    Err(error) => ended = Some(Err(error)),
                }
            }
        }
        ended.unwrap_or_else(|| Err(died()))
    }

    /// Hears what there is to hear, and answers; gives how the process ended, if that was said.
    fn hear(&mut self) -> Result<Option<Exit>, SandboxError> {
        let fail = || SandboxError::system("hear from the sandbox's child");
        let mut part = [0; 4096];
        let count = match io::Read::read(&mut &*self.control, &mut part) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            other => other.map_err(fail())?,
        };
        if count == 0 {
            return Err(died());
        }
        self.heard.extend_from_slice(&part[..count]);
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let message = serde_json::from_slice(&line).map_err(|e| fail()(e.into()))?;
            if let Some(exit) = self.answer(message)? {
                return Ok(Some(exit));
            }
        }
        Ok(None)
    }

    fn answer(&mut self, message: Message) -> Result<Option<Exit>, SandboxError> {
        match message {
            // It waits for its specification, or for its ids, so it is there.
            Message::Started(pid) => {
                self.pid = pid;
                let pid = Pid::from_raw(pid.cast_signed()).ok_or(Errno::INVAL);
                let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
                let fail = SandboxError::system("follow the sandbox's child");
                self.child = Some(process.map_err(|e| fail(e.into()))?);
                Ok(None)
            }
            Message::Mapping => {
                self.isolation
                    .ids
                    .write_same(self.pid)
                    .and_then(|()| io::Write::write_all(&mut &*self.control, &[1]))
                    .map_err(SandboxError::system("map the ids of the sandbox"))?;
                Ok(None)
            }
            Message::Failed(failure) if failure.program => {
                Err(SandboxError::Program(failure.message))
            }
            Message::Failed(failure) => Err(SandboxError::Child(failure.message)),
            Message::Exited(Ended::Code(code)) => Ok(Some(Exit::Code(code))),
            Message::Exited(Ended::Signal(signal)) => Ok(Some(Exit::Signal(signal))),
        }
    }
}
