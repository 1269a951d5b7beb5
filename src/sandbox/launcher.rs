//! The process that the children of sandboxes are forked from.
//!
//! It is the program re-executed, started for the first step, and has one thread and
//! nothing else: no environment, no descriptors but its socket, no specification
//! of any step. A fork of it costs a fraction of what starting a program of this size
//! does. It ends with the builder, whose death closes the socket.
//!
//! ```text
//! builder → launcher   one byte, and with it three descriptors: the socket of the
//!                      new child, and its standard output and error
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{self, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::WaitOptions;

use super::SandboxError;
use super::child::{self, ARG0};
use super::protocol::{Control, Failure, Message};
use crate::sys::{self, Fork};

/// Starts the children of sandboxes; the first one starts a process for all.
#[derive(Debug, Default)]
pub struct Launcher {
    process: Mutex<Option<Process>>,
    /// Children whose processes have ended, but perhaps not their namespaces.
    ending: Mutex<Vec<OwnedFd>>,
}

#[derive(Debug)]
struct Process {
    socket: UnixStream,
    child: process::Child,
}

impl Launcher {
    /// Starts a child that is told over `control` what it is to do.
    pub(super) fn start(
        &self,
        control: BorrowedFd<'_>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let descriptors = [control, stdout, stderr];
        if let Some(process) = &*process
            && process.send(&descriptors).is_ok()
        {
            return Ok(());
        }
        // There is none yet, or it was killed.
        process.insert(Process::start()?).send(&descriptors)
    }

    pub(super) fn note_ending(&self, child: OwnedFd) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).push(child);
    }

    /// Waits until nothing of the processes that were run is left: the kernel takes their
    /// mounts apart while the builder goes on, and until then what was mounted is in use.
    pub fn settle(&self) -> Result<(), SandboxError> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.drain(..).try_for_each(|child| super::run::wait(&child))
    }
}

impl Process {
    fn start() -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = process::Command::new("/proc/self/exe")
            .arg0(ARG0)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { socket, child })
    }

    fn send(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        let byte = [io::IoSlice::new(&[1])];
        rustix::net::sendmsg(&self.socket, &byte, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// The launcher's whole life.
pub fn main() -> ! {
    // Whatever the cause, the builder sees the end of its socket.
    let _ = live();
    sys::exit_now(0)
}

fn live() -> io::Result<()> {
    sys::close_on_exec_from_3()?;
    // Out of the terminal's process group: Ctrl-C is for the builder, which ends this.
    let _ = rustix::process::setsid();
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    while let Some([control, stdout, stderr]) = receive(&socket)? {
        let forked = match sys::fork() {
            Ok(forked) => forked,
            Err(error) => {
                // The next may be possible: a limit of processes is one for the moment.
                let _ = Control::new(control.into())
                    .say(&Message::Failed(Failure::of("start a process")(error)));
                continue;
            }
        };
        match forked {
            Fork::Child => {
                drop(socket);
                rustix::stdio::dup2_stdout(&stdout)?;
                rustix::stdio::dup2_stderr(&stderr)?;
                drop((stdout, stderr));
                child::main(Control::new(control.into()))
            }
            Fork::Parent(_) => reap(),
        }
    }
    reap();
    Ok(())
}

/// Collects the children that have ended until now, and with them the times that their steps
/// took, which are then the builder's. How they ended the builder knows.
fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// The descriptors of the next child; `None` when the builder wants no more.
fn receive(socket: &UnixStream) -> io::Result<Option<[OwnedFd; 3]>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    if rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, flags)?.bytes == 0 {
        return Ok(None);
    }
    let descriptors = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors.collect::<Vec<_>>()),
        _ => None,
    });
    let descriptors = descriptors.and_then(|descriptors| descriptors.try_into().ok());
    descriptors.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
