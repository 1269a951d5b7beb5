//! A process in a root file system of its own.
//!
//! Two independent choices make a sandbox. The **view** is how the process gets
//! its root: namespaces with `pivot_root`, or a plain `chroot` where namespaces
//! are refused. The **identity** is whose ids its files have: real ones,
//! subordinate ones of an ordinary user, or one single id.
//!
//! ```text
//! yado (any user)
//!  └─ enter(): private mount namespace, and for an ordinary user a user
//!     namespace in which he is root; before any thread exists
//!      └─ run(): the program re-executed, one thread            child.rs
//!          │   user, mount, pid, ipc, uts (and network) namespaces
//!          └─ init, process 1 of the pid namespace              init.rs
//!              │   mounts, pivot_root, reaps orphans
//!              └─ the step, with Docker's default capabilities  step.rs
//! ```
//!
//! All mounts live in namespaces that die with their processes, so that not
//! even `kill -9` leaves one behind; each process dies with its parent, and
//! with init everything that the step started.

mod child;
mod chroot;
mod command;
mod identity;
mod init;
mod launcher;
mod lines;
mod mounts;
mod probe;
mod protocol;
mod run;
mod step;
mod stubs;

use std::io;

pub use child::ARG0;
pub use command::{Command, Content, Credentials, Mount, Network};
pub use identity::{IdMap, Identity, Isolation, IsolationChoice, View, enter};
pub use launcher::{Launcher, main as launcher_main};
pub use probe::{Probe, probe};
pub use run::{Cancellation, Exit, Io, run};
pub use stubs::Stubs;

/// Why a sandbox could not be made, or its process not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The isolation that was asked for is not to be had.
    #[error("{wanted} is not possible here: {reason}")]
    Unavailable {
        /// What was asked for.
        wanted: &'static str,
        /// Why not, and what would help.
        reason: String,
    },
    /// A system call of the builder's own failed.
    #[error("{action}")]
    System {
        /// What was attempted.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The child could not set up the sandbox or start the program.
    #[error("{0}")]
    Child(String),
    /// The program is not in the root file system.
    #[error("{0}")]
    Program(String),
    /// The build was interrupted.
    #[error("interrupted")]
    Cancelled,
}

impl SandboxError {
    fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action: action.into(), source }
    }
}
