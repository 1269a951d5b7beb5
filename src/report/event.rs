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
    /// A step turns to something else; the phase lasts until the next one or the step's end.
    StepPhase {
        /// The step.
        step: u32,
        /// What it does from now on.
        phase: Phase,
        /// The stage whose files it waits for, by name or index.
        #[serde(skip_serializing_if = "Option::is_none")]
        waits_for: Option<String>,
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
        /// The step that wants them, or made them; absent when it is for the whole image.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
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
    /// How an application of Argo CD is, and what is waited for.
    Application {
        /// Its name.
        application: String,
        /// The revision that it was compared with last; several are separated by commas.
        revision: String,
        /// `Synced` or what it is instead.
        sync: String,
        /// `Healthy` or what it is instead.
        health: String,
        /// How far its operation is, or how the last one ended.
        operation: String,
        /// What is waited for, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        waits_for: Option<String>,
    },
    /// How a resource of an application is; one that was well all the time is not reported.
    Resource {
        /// The application's name.
        application: String,
        /// The resource's kind.
        kind: String,
        /// Its namespace; empty for what has none.
        namespace: String,
        /// Its name.
        name: String,
        /// `Synced` or what it is instead.
        sync: String,
        /// `Healthy` or what it is instead; empty where its kind has no health.
        health: String,
        /// Why.
        message: String,
    },
    /// An application is no longer waited for.
    ApplicationFinished {
        /// Its name.
        application: String,
        /// Whether it is as it was asked for.
        good: bool,
    },
    /// The build is done; nothing comes after it.
    Finished {
        /// The digest of the image's manifest or index; absent when no image was asked for.
        image: Option<String>,
        /// The references that name it now.
        names: Vec<String>,
        /// Its layers as stored, which is what a pull moves.
        size: u64,
        /// How many steps were part of the build.
        steps: u32,
        /// How many of them had their result already.
        cached: u32,
    },
    /// The build failed; nothing comes after it. People read the error elsewhere.
    Failed {
        /// The error with its causes, without a line end.
        message: String,
    },
}

/// What a step is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It waits: for another stage, or for its turn.
    Queue,
    /// Its key is made of what goes into it, and looked up.
    Key,
    /// The files that it begins with are put on disk.
    Prepare,
    /// It does what its instruction says.
    Run,
    /// What it changed is written as a layer.
    Snapshot,
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

impl TransferKind {
    /// The word for it in front of a name.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Unpack => "unpack",
            Self::Compress => "compress",
            Self::Push => "push",
            Self::Export => "export",
        }
    }
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

/// Reports the start of a transfer, for `step` or for all; its end is reported when the
/// value is dropped.
pub fn transfer(
    sink: &Arc<dyn Sink>,
    kind: TransferKind,
    name: impl Into<String>,
    total: Option<u64>,
    step: Option<u32>,
) -> Transfer {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    sink.event(Event::TransferStarted { transfer: id, kind, name: name.into(), total, step });
    Transfer { sink: Arc::clone(sink), id, done: AtomicU64::new(0), reported: AtomicU64::new(0) }
}

impl Transfer {
    const STEP: u64 = 256 * 1024;

    /// `bytes` more have moved.
    pub fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if done.saturating_sub(self.reported.load(Ordering::Relaxed)) >= Self::STEP {
            self.report(done);
        }
    }

    /// The count is now `done`, which may be less than before when a transfer starts again.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.report(done);
    }

    /// Sends the count without storing it: another thread may have added to it meanwhile.
    fn report(&self, done: u64) {
        self.reported.store(done, Ordering::Relaxed);
        self.sink.event(Event::TransferProgress { transfer: self.id, done });
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let done = self.done.load(Ordering::Relaxed);
        if done != self.reported.load(Ordering::Relaxed) {
            self.report(done);
        }
        self.sink.event(Event::TransferFinished { transfer: self.id });
    }
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Record(Mutex<Vec<Event>>);

    impl Sink for Record {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn a_transfer_reports_its_last_bytes() {
        let cases: &[(&[u64], &[u64])] = &[
            (&[], &[]),
            (&[10], &[10]),
            (&[10, 20], &[30]),
            (&[256 * 1024], &[256 * 1024]),
            (&[256 * 1024, 1], &[256 * 1024, 256 * 1024 + 1]),
        ];
        for (advances, reports) in cases {
            let record = Arc::new(Record::default());
            let sink: Arc<dyn Sink> = Arc::<Record>::clone(&record);
            let moving = transfer(&sink, TransferKind::Pull, "x", None, None);
            for bytes in *advances {
                moving.advance(*bytes);
            }
            drop(moving);
            let events = record.0.lock().unwrap();
            let seen: Vec<u64> = events
                .iter()
                .filter_map(|event| match event {
                    Event::TransferProgress { done, .. } => Some(*done),
                    _ => None,
                })
                .collect();
            assert_eq!(seen, *reports, "{advances:?}");
            assert!(matches!(events.last(), Some(Event::TransferFinished { .. })));
        }
    }
}
