//! What is remembered of a build: steps, transfers, messages, the end.
//!
//! Times are microseconds since the command began. Progress and output are
//! counted and not kept. Events that make no sense, such as the end of what never
//! began, are passed over: a page with a hole says more than none.

use std::collections::HashMap;
use std::time::Duration;

use super::super::text::{cut, message_line, one_line};
use super::super::{Event, Phase, TransferKind};

/// Microseconds since the command began.
pub(super) type Micros = u64;

/// Columns of an instruction, a name or a message; a heredoc may be long.
const COLUMNS: usize = 1000;

/// How many warnings and notes are kept.
const MESSAGES: usize = 100;

/// What time is spent on; the colours of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Queue,
    Key,
    Pull,
    Unpack,
    Run,
    Snapshot,
    Compress,
    Upload,
    Export,
    Other,
}

impl Kind {
    /// All of them, as the legend has them.
    pub(super) const ALL: [Self; 10] = [
        Self::Queue,
        Self::Key,
        Self::Pull,
        Self::Unpack,
        Self::Run,
        Self::Snapshot,
        Self::Compress,
        Self::Upload,
        Self::Export,
        Self::Other,
    ];

    /// The word for it, which is also its class on the page.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Key => "key",
            Self::Pull => "pull",
            Self::Unpack => "unpack",
            Self::Run => "run",
            Self::Snapshot => "snapshot",
            Self::Compress => "compress",
            Self::Upload => "upload",
            Self::Export => "export",
            Self::Other => "other",
        }
    }

    /// What it means.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Queue => "waits for another stage, or for its turn",
            Self::Key => "what goes into the step is read and looked up",
            Self::Pull => "bytes from a registry or another server",
            Self::Unpack => "files that the step begins with are put on disk",
            Self::Run => "does what the instruction says",
            Self::Snapshot => "what the step changed is gathered",
            Self::Compress => "what the step changed is written as a layer",
            Self::Upload => "bytes to a registry",
            Self::Export => "bytes to a file",
            Self::Other => "between steps: planning, names, documents of images",
        }
    }
}

impl From<Phase> for Kind {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Queue => Self::Queue,
            Phase::Key => Self::Key,
            Phase::Prepare => Self::Unpack,
            Phase::Run => Self::Run,
            Phase::Snapshot => Self::Snapshot,
        }
    }
}

impl From<TransferKind> for Kind {
    fn from(kind: TransferKind) -> Self {
        match kind {
            TransferKind::Pull => Self::Pull,
            TransferKind::Unpack => Self::Unpack,
            TransferKind::Compress => Self::Compress,
            TransferKind::Push => Self::Upload,
            TransferKind::Export => Self::Export,
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Cached,
    Failed,
    /// It had not ended when the build did.
    Stopped,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Debug)]
pub(super) struct Step {
    /// The events' number for it.
    pub(super) id: u32,
    pub(super) stage: String,
    pub(super) number: u32,
    pub(super) total: u32,
    pub(super) instruction: String,
    /// Lines of output.
    pub(super) lines: u64,
    pub(super) begun: Micros,
    pub(super) end: Micros,
    pub(super) outcome: Outcome,
    phases: Vec<(Micros, Kind, Option<String>)>,
}

/// A part of a step's time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub(super) kind: Kind,
    pub(super) from: Micros,
    pub(super) to: Micros,
    /// The stage that was waited for.
    pub(super) waits_for: Option<&'a str>,
}

impl Step {
    /// What it was busy with, from its beginning to its end without a hole. Without phases
    /// it ran, or was looked up.
    pub(super) fn spans(&self) -> Vec<Span<'_>> {
        let whole = match self.outcome {
            Outcome::Cached => Kind::Key,
            _ => Kind::Run,
        };
        if self.phases.is_empty() {
            return vec![Span { kind: whole, from: self.begun, to: self.end, waits_for: None }];
        }
        let ends = self.phases[1..].iter().map(|(at, ..)| *at).chain([self.end]);
        let begins = [self.begun].into_iter().chain(self.phases[1..].iter().map(|(at, ..)| *at));
        let spans = self.phases.iter().zip(begins.zip(ends));
        let spans = spans.map(|((_, kind, waits_for), (from, to))| Span {
            kind: *kind,
            from,
            to,
            waits_for: waits_for.as_deref(),
        });
        spans.collect()
    }
}

#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The step whose bytes they are, by its place among the steps.
    pub(super) step: Option<usize>,
    pub(super) total: Option<u64>,
    pub(super) done: u64,
    /// How often it began again.
    pub(super) again: u32,
    pub(super) begun: Micros,
    pub(super) end: Micros,
    /// Whether it had ended when the build did.
    pub(super) ended: bool,
}

/// A warning or a note.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) at: Micros,
    pub(super) warning: bool,
    pub(super) text: String,
}

/// What the last event said.
#[derive(Debug)]
pub(super) enum End {
    Finished { image: Option<String>, names: Vec<String>, size: u64 },
    Failed { message: String },
}

/// A build.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) steps: Vec<Step>,
    pub(super) transfers: Vec<Transfer>,
    pub(super) messages: Vec<Message>,
    /// How many messages were not kept.
    pub(super) more_messages: u64,
    /// How long it took.
    pub(super) wall: Micros,
    pub(super) end: Option<End>,
    running: HashMap<u32, usize>,
    /// Phases of steps that have not begun: they waited before they did.
    early: HashMap<u32, (Micros, Kind, Option<String>)>,
    moving: HashMap<u64, usize>,
}

impl Record {
    /// Remembers an event that came at `time`, which is never before that of the last one.
    pub(super) fn take(&mut self, time: Duration, event: &Event) {
        if self.end.is_some() {
            return;
        }
        let now = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        match event {
            Event::StepStarted { step, stage, number, total, instruction } => {
                self.running.insert(*step, self.steps.len());
                let waited = self.early.remove(step);
                self.steps.push(Step {
                    id: *step,
                    stage: line(stage),
                    number: *number,
                    total: *total,
                    instruction: line(instruction),
                    lines: 0,
                    begun: waited.as_ref().map_or(now, |(since, ..)| *since),
                    end: now,
                    outcome: Outcome::Stopped,
                    phases: waited.into_iter().collect(),
                });
            }
            Event::StepPhase { step, phase, waits_for } => {
                let kind = Kind::from(*phase);
                let waits_for = waits_for.as_deref().map(line);
                if !self.running.contains_key(step) {
                    self.early.entry(*step).or_insert((now, kind, waits_for));
                } else if let Some(step) = self.step(*step) {
                    // The same again is one phase: what happens must not grow the memory.
                    if step.phases.last().is_none_or(|(_, k, w)| (*k, w) != (kind, &waits_for)) {
                        step.phases.push((now, kind, waits_for));
                    }
                }
            }
            Event::StepOutput { step, .. } => {
                if let Some(step) = self.step(*step) {
                    step.lines += 1;
                }
            }
            Event::StepFinished { step, cached } => {
                self.close(*step, now, if *cached { Outcome::Cached } else { Outcome::Done });
            }
            Event::StepFailed { step } => self.close(*step, now, Outcome::Failed),
            Event::TransferStarted { transfer, kind, name, total, step } => {
                self.moving.insert(*transfer, self.transfers.len());
                let step = step.and_then(|id| self.steps.iter().rposition(|step| step.id == id));
                self.transfers.push(Transfer {
                    kind: Kind::from(*kind),
                    name: line(name),
                    step,
                    total: *total,
                    done: 0,
                    again: 0,
                    begun: now,
                    end: now,
                    ended: false,
                });
            }
            Event::TransferProgress { transfer, done } => {
                let moving = self.moving.get(transfer);
                if let Some(transfer) = moving.and_then(|at| self.transfers.get_mut(*at)) {
                    // Several threads count, and may overtake each other by a little; who
                    // begins again begins near zero.
                    transfer.again += u32::from(*done < transfer.done / 2);
                    transfer.done = *done;
                }
            }
            Event::TransferFinished { transfer } => {
                let moving = self.moving.remove(transfer);
                if let Some(transfer) = moving.and_then(|at| self.transfers.get_mut(at)) {
                    transfer.end = now;
                    transfer.ended = true;
                }
            }
            Event::Warning { message } => self.message(now, true, message),
            Event::Note { message } => self.message(now, false, message),
            Event::Finished { image, names, size, .. } => {
                let (names, size) = (names.iter().map(|name| line(name)).collect(), *size);
                self.ended(now, End::Finished { image: image.as_deref().map(line), names, size });
            }
            // No part of a build.
            Event::Application { .. }
            | Event::Resource { .. }
            | Event::ApplicationFinished { .. } => {}
            Event::Failed { message } => {
                // Its lines are the places in the Dockerfile.
                let lines = message.lines().take(40).map(line);
                let message = lines.collect::<Vec<_>>().join("\n");
                self.ended(now, End::Failed { message });
            }
        }
    }

    fn step(&mut self, id: u32) -> Option<&mut Step> {
        self.running.get(&id).and_then(|at| self.steps.get_mut(*at))
    }

    fn close(&mut self, id: u32, now: Micros, outcome: Outcome) {
        if let Some(step) = self.step(id) {
            (step.end, step.outcome) = (now, outcome);
        }
        self.running.remove(&id);
    }

    fn message(&mut self, at: Micros, warning: bool, text: &str) {
        if self.messages.len() < MESSAGES {
            let text = cut(&message_line(text), COLUMNS).into_owned();
            self.messages.push(Message { at, warning, text });
        } else {
            self.more_messages += 1;
        }
    }

    /// What has not ended by now ends with the build.
    fn ended(&mut self, now: Micros, end: End) {
        self.wall = now;
        self.end = Some(end);
        for (_, at) in self.running.drain() {
            self.steps[at].end = now;
        }
        for (_, at) in self.moving.drain() {
            self.transfers[at].end = now;
        }
    }
}

/// Text of anybody's on one line, and not too long a one.
fn line(text: &str) -> String {
    cut(&one_line(text), COLUMNS).into_owned()
}
