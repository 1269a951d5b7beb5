//! The builder's side of a sandbox: start the child, map its ids, follow it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::{Mutex, PoisonError};

use super::child::ARG0;
use super::protocol::{self, ChildView, Ended, Message, Spec};
use super::{Command, Isolation, SandboxError, View};
use crate::report::Stream;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Takes a process's output, called from two threads.
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
    /// The sockets to the running children, by process id.
    running: BTreeMap<u32, UnixStream>,
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
    let inherit = matches!(io, Io::Inherit);
    let output = || if inherit { Stdio::inherit() } else { Stdio::piped() };
    let mut child = {
        let mut state = cancellation.lock();
        if state.cancelled {
            return Err(SandboxError::Cancelled);
        }
        let child = process::Command::new("/proc/self/exe")
            .arg0(ARG0)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(output())
            .stderr(output())
            .spawn()
            .map_err(SandboxError::system("start the sandbox's child"))?;
        if let Ok(control) = control.try_clone() {
            state.running.insert(child.id(), control);
        }
        child
    };
    let spec = Spec {
        command: command.clone(),
        root: root.to_owned(),
        view,
        open_files: isolation.open_files,
        with_stdin: inherit,
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = std::thread::scope(|scope| {
        if let Io::Lines(sink) = io {
            scope.spawn(move || forward(stdout, Stream::Stdout, sink));
            scope.spawn(move || forward(stderr, Stream::Stderr, sink));
        }
        let ended = converse(&control, &spec, isolation, child.id());
        cancellation.lock().running.remove(&child.id());
        let _ = control.shutdown(Shutdown::Both);
        let waited = child.wait().map_err(SandboxError::system("wait for the sandbox's child"));
        ended.and_then(|ended| waited.map(|_| ended))
    });
    if cancellation.is_cancelled() {
        return Err(SandboxError::Cancelled);
    }
    ended
}

fn converse(
    control: &UnixStream,
    spec: &Spec,
    isolation: &Isolation,
    pid: u32,
) -> Result<Exit, SandboxError> {
    protocol::send(control, spec).map_err(SandboxError::system("send to the sandbox's child"))?;
    let mut lines = BufReader::new(control);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = lines
            .read_until(b'\n', &mut line)
            .map_err(SandboxError::system("hear from the sandbox's child"))?;
        if count == 0 {
            return Err(SandboxError::Child(
                "the sandbox's child died; the machine may be out of memory".to_owned(),
            ));
        }
        let message = serde_json::from_slice(&line)
            .map_err(|e| SandboxError::system("hear from the sandbox's child")(e.into()))?;
        match message {
            Message::Mapping => {
                isolation
                    .ids
                    .write_same(pid)
                    .and_then(|()| io::Write::write_all(&mut &*control, &[1]))
                    .map_err(SandboxError::system("map the ids of the sandbox"))?;
            }
            Message::Failed(failure) if failure.program => {
                return Err(SandboxError::Program(failure.message));
            }
            Message::Failed(failure) => return Err(SandboxError::Child(failure.message)),
            Message::Exited(Ended::Code(code)) => return Ok(Exit::Code(code)),
            Message::Exited(Ended::Signal(signal)) => return Ok(Exit::Signal(signal)),
        }
    }
}

/// The longest line that is passed on in one piece, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

fn forward(from: Option<impl Read>, stream: Stream, sink: Output<'_>) {
    let Some(from) = from else { return };
    let mut reader = BufReader::with_capacity(LONGEST_LINE, from);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A read error ends the stream as its end does: the step is gone.
        let read =
            (&mut reader).take(LONGEST_LINE as u64).read_until(b'\n', &mut line).unwrap_or(0);
        if read == 0 {
            return;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        sink(stream, &line);
    }
}
