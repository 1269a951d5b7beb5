//! The launcher's child: one thread, makes the namespaces, starts init.

use std::os::fd::OwnedFd;

use rustix::process::{Gid, Resource, Rlimit, Signal, Uid, WaitOptions};
use rustix::thread::UnshareFlags;

use super::protocol::{ChildView, Control, Failure, Message, Spec};
use super::{Network, chroot, init};
use crate::sys::{self, Fork};

/// The name under which the program is re-executed.
pub const ARG0: &str = "yado-sandbox";

/// The child's whole life; the exit status means nothing, the messages do.
pub(super) fn main(mut control: Control) -> ! {
    if let Err(failure) = live(&mut control) {
        let _ = control.say(&Message::Failed(failure));
    }
    sys::exit_now(0)
}

fn live(control: &mut Control) -> Result<(), Failure> {
    control.say(&Message::Started(std::process::id())).map_err(Failure::of("report the start"))?;
    let (spec, stdin) = control.receive().map_err(Failure::of("receive the specification"))?;
    // Descriptor 0 is the launcher's socket; what the step gets is decided here.
    let stdin = match stdin {
        Some(stdin) => stdin,
        None => std::fs::File::open("/dev/null")
            .map(OwnedFd::from)
            .map_err(Failure::of("open /dev/null"))?,
    };
    rustix::stdio::dup2_stdin(&stdin).map_err(|e| Failure::of("set standard input")(e.into()))?;
    drop(stdin);
    sys::leave_session_keyring();
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: spec.open_files, ..limit })
        .map_err(|e| Failure::of("limit open files")(e.into()))?;
    match spec.view {
        ChildView::Namespaces => namespaces(&spec, control),
        ChildView::Chroot => chroot::live(&spec, control),
    }
}

fn namespaces(spec: &Spec, control: &mut Control) -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWUSER).map_err(Failure::of("make a user namespace"))?;
    control.await_ids().map_err(Failure::of("wait for ids"))?;
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
            let waited = control.wait_while_wanted(init);
            // With init dies everything in its pid namespace.
            let _ = rustix::process::kill_process(init, Signal::KILL);
            rustix::process::waitpid(Some(init), WaitOptions::empty())
                .map_err(|e| Failure::of("wait for init")(e.into()))?;
            waited.map(|_| ()).map_err(Failure::of("wait for init"))
        }
    }
}
