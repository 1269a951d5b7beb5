//! The events of a build.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Something that happened. Times are milliseconds since the command began;
/// they are added by the sink. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// A step begins. `number` of `total` counts the steps of its stage.
    StepStarted {
        /// Unique in this build.
        step: u32,
        /// The stage's name or index.
        stage: String,
        /// Which step of the stage, from 1.
        number: u32,
        /// How many steps the stage has.
        total: u32,
        /// The instruction as written, on one line.
        instruction: String,
    },
    /// A line of a step's output.
    StepOutput {
        /// The step.
        step: u32,
        /// Where the step wrote it.
        stream: Stream,
        /// The text without its line end; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// A step is done.
    StepFinished {
        /// The step.
        step: u32,
        /// Whether its result was there already.
        cached: bool,
    },
    /// A step failed; the error follows at the end.
    StepFailed {
        /// The step.
        step: u32,
    },
    /// Bytes begin to move.
    TransferStarted {
        /// Unique in this build.
        transfer: u64,
        /// What is done with them.
        kind: TransferKind,
        /// Of what, for people: a short digest or a reference.
        name: String,
        /// How many bytes, when known.
        total: Option<u64>,
    },
    /// How far it is.
    TransferProgress {
        /// The transfer.
        transfer: u64,
        /// Bytes so far.
        done: u64,
    },
    /// All bytes have moved, or it was given up.
    TransferFinished {
        /// The transfer.
        transfer: u64,
    },
    /// Something that deserves attention but does not stop the build.
    Warning {
        /// The text, without a line end.
        message: String,
    },
    /// Something good to know, such as the isolation that was chosen.
    Note {
        /// The text, without a line end.
        message: String,
    },
}

/// Which of its two streams a step wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferKind {
    /// From a registry to the store.
    Pull,
    /// From a layer to files.
    Unpack,
    /// From files to a layer.
    Compress,
    /// From the store to a registry.
    Push,
    /// From the store to a file.
    Export,
}

/// Takes events; called from any thread.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Bytes on their way, reported every 256 KiB and at the end.
pub struct Transfer {
    sink: Arc<dyn Sink>,
    id: u64,
    done: AtomicU64,
    reported: AtomicU64,
}

/// Reports the start of a transfer; its end is reported when the value is dropped.
pub fn transfer(
    sink: &Arc<dyn Sink>,
    kind: TransferKind,
    name: impl Into<String>,
    total: Option<u64>,
) -> Transfer {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    sink.event(Event::TransferStarted { transfer: id, kind, name: name.into(), total });
    Transfer { sink: Arc::clone(sink), id, done: AtomicU64::new(0), reported: AtomicU64::new(0) }
}

impl Transfer {
    const STEP: u64 = 256 * 1024;

    /// `bytes` more have moved.
    pub fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if done.saturating_sub(self.reported.load(Ordering::Relaxed)) >= Self::STEP {
            self.set(done);
        }
    }

    /// The count is now `done`, which may be less than before when a transfer starts again.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.reported.store(done, Ordering::Relaxed);
        self.sink.event(Event::TransferProgress { transfer: self.id, done });
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.sink.event(Event::TransferFinished { transfer: self.id });
    }
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("id", &self.id).finish_non_exhaustive()
    }
}
