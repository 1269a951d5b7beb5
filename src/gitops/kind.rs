//! Kinds of failure that a pipeline can tell apart; each has an exit code of its own.

use std::error::Error;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A flag, or a value of one.
    Usage,
    /// A file that was given says something wrong.
    Input,
    /// A file is not there.
    Missing,
    /// What is to be changed or watched does not exist; the error lists what there is.
    NothingMatched,
    /// More than one thing matches where one was meant; the error lists them.
    Ambiguous,
    /// Credentials are missing, or were refused.
    Auth,
    /// The other side will not do it: a protected branch, a hook, a sync window, a policy.
    Refused,
    /// Somebody else's change cannot be reconciled with this one.
    Conflict,
    /// The other side did it and it failed, or what it runs is not healthy.
    Failed,
    /// The deadline has passed.
    Timeout,
    /// A newer change is there already, which is not to be rolled back.
    Superseded,
    /// Synced, but resources that should be removed are left.
    Unpruned,
    /// The other side cannot be reached, or misbehaves.
    Unreachable,
    /// The result cannot be written.
    Output,
    /// A fault of yado's own.
    Internal,
    /// Stopped by a signal.
    Interrupted,
}

/// An error that knows its kind.
pub trait Classified: Error + Send + Sync + 'static {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// Lines to try next, each without `hint:` in front.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
