//! The critical path: what the build waited for, from its end back to its begin.
//!
//! Events tell when things happened and seldom why, so causes are those that the
//! times allow:
//!
//! - the build waited for what ended last; one that failed, for the step that did;
//! - a phase of a step waited for the step's own pulls, unpackings and compressions
//!   in it; what these leave is the phase's own. A layer that was unpacked while it
//!   came, and was done soon after, waited for its pull;
//! - a step in the queue waited for the stage that it names, else for the step whose
//!   end gave it its turn;
//! - a step waited for the one before it in its stage; the first, for what ended last;
//! - an upload waited for the step that made its bytes, and between the two for other
//!   uploads.
//!
//! The items cover the whole time, without a hole and without an overlap; no step
//! and no transfer is on the path twice, so the walk ends.

use super::record::{End, Transfer};
use super::record::{Kind, Micros, Outcome, Record, Span};

/// By how much the end of a cause may come after its effect: events of two threads
/// are reported a little later than they happen.
const SLACK: Micros = 500;

/// A layer was waiting for its bytes if unpacking it went on, after the last of them, for no
/// more than this part of its time.
const REST: u64 = 4;

/// What a part of the path is about, by its place in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Of {
    Step(usize),
    Transfer(usize),
    Nothing,
}

/// A part of the critical path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) from: Micros,
    pub(super) to: Micros,
    pub(super) kind: Kind,
    pub(super) of: Of,
}

/// The critical path, from the begin to the end.
pub(super) fn critical_path(record: &Record) -> Vec<Item> {
    let mut walk = Walk {
        record,
        at: record.wall,
        steps: vec![false; record.steps.len()],
        transfers: vec![false; record.transfers.len()],
        items: Vec::new(),
    };
    let mut next = walk.last();
    while let Some(of) = next {
        next = match of {
            Of::Step(step) => walk.step(step),
            Of::Transfer(transfer) => walk.transfer(transfer),
            Of::Nothing => None,
        };
    }
    walk.gap(0);
    let mut path = Vec::<Item>::new();
    for item in walk.items.into_iter().rev() {
        match path.last_mut() {
            Some(last) if (last.kind, last.of) == (item.kind, item.of) => last.to = item.to,
            _ => path.push(item),
        }
    }
    path
}

struct Walk<'a> {
    record: &'a Record,
    /// The path is known from here to the end.
    at: Micros,
    /// Which steps and transfers it has been to.
    steps: Vec<bool>,
    transfers: Vec<bool>,
    /// Newest first.
    items: Vec<Item>,
}

impl Walk<'_> {
    /// Adds what was waited for from `from` until now.
    fn back(&mut self, from: Micros, kind: Kind, of: Of) {
        if from < self.at {
            self.items.push(Item { from, to: self.at, kind, of });
            self.at = from;
        }
    }

    /// Goes back to `from` by the transfers that pass `waited`, the last to end first;
    /// what they leave is of `kind`.
    fn fill(&mut self, from: Micros, kind: Kind, of: Of, waited: impl Fn(&Transfer) -> bool) {
        while from < self.at {
            let found = self.newest_transfer(from, &waited);
            let Some(found) = found else { break };
            self.back(self.record.transfers[found].end, kind, of);
            self.through(found, from);
        }
        self.back(from, kind, of);
    }

    /// Goes back to the begin of a transfer, but not before `from`.
    fn through(&mut self, at: usize, from: Micros) {
        let transfer = &self.record.transfers[at];
        self.transfers[at] = true;
        if let Some(pull) = self.limit(transfer) {
            let bytes = &self.record.transfers[pull];
            self.transfers[pull] = true;
            self.back(bytes.end.max(from), transfer.kind, Of::Transfer(at));
            self.back(bytes.begun.max(from), bytes.kind, Of::Transfer(pull));
        } else {
            self.back(transfer.begun.max(from), transfer.kind, Of::Transfer(at));
        }
    }

    /// The pull that an unpacking waited for all the time.
    fn limit(&self, unpack: &Transfer) -> Option<usize> {
        let mut transfers = self.record.transfers.iter().enumerate();
        let pull = transfers.find(|(at, pull)| {
            (unpack.kind, pull.kind) == (Kind::Unpack, Kind::Pull)
                && pull.name == unpack.name
                && !self.transfers[*at]
                && (unpack.begun..=unpack.end).contains(&pull.end)
                && pull.end <= self.at
        });
        let soon = |pull: &Transfer| {
            (unpack.end - pull.end).saturating_mul(REST) <= unpack.end - unpack.begun
        };
        pull.filter(|(_, pull)| soon(pull)).map(|(at, _)| at)
    }

    /// Goes back to `from`, where nothing is known but what is the whole image's.
    fn gap(&mut self, from: Micros) {
        self.fill(from, Kind::Other, Of::Nothing, |transfer| transfer.step.is_none());
    }

    /// The transfer that ended last, after `after`, of those that are not on the path.
    fn newest_transfer(&self, after: Micros, among: impl Fn(&Transfer) -> bool) -> Option<usize> {
        let transfers = self.record.transfers.iter().enumerate();
        let candidates = transfers.filter(|(at, transfer)| {
            !self.transfers[*at]
                && self.ends_here(transfer.begun, transfer.end)
                && transfer.end > after
                && among(transfer)
        });
        candidates.max_by_key(|(_, t)| self.lateness(t.begun, t.end)).map(|(at, _)| at)
    }

    /// The same for steps.
    fn newest_step(&self, after: Micros, among: impl Fn(usize) -> bool) -> Option<usize> {
        let steps = self.record.steps.iter().enumerate();
        let candidates = steps.filter(|(at, step)| {
            !self.steps[*at]
                && self.ends_here(step.begun, step.end)
                && step.end > after
                && among(*at)
        });
        candidates.max_by_key(|(_, step)| self.lateness(step.begun, step.end)).map(|(at, _)| at)
    }

    /// Whether what lies between these can have been waited for here.
    fn ends_here(&self, begun: Micros, end: Micros) -> bool {
        begun < self.at && end <= self.at.saturating_add(SLACK)
    }

    /// Later ends first, of these the longer.
    fn lateness(&self, begun: Micros, end: Micros) -> (Micros, std::cmp::Reverse<Micros>) {
        (end.min(self.at), std::cmp::Reverse(begun))
    }

    /// Where the path begins at the end.
    fn last(&mut self) -> Option<Of> {
        if matches!(self.record.end, Some(End::Failed { .. })) {
            let steps = &self.record.steps;
            let failed = self.newest_step(0, |at| steps[at].outcome == Outcome::Failed);
            if let Some(step) = failed {
                self.gap(steps[step].end);
                return Some(Of::Step(step));
            }
        }
        self.latest()
    }

    /// Goes back to whatever ended last.
    fn latest(&mut self) -> Option<Of> {
        let step = self.newest_step(0, |_| true);
        let transfer = self.newest_transfer(0, |_| true);
        let of_step = step.map(|at| (self.record.steps[at].end, Of::Step(at)));
        let of_transfer = transfer.map(|at| (self.record.transfers[at].end, Of::Transfer(at)));
        let (end, of) = of_step.into_iter().chain(of_transfer).max_by_key(|(end, _)| *end)?;
        self.back(end, Kind::Other, Of::Nothing);
        Some(of)
    }

    /// Through a step, from now back to its begin; gives what it waited for.
    fn step(&mut self, at: usize) -> Option<Of> {
        let record = self.record;
        let step = &record.steps[at];
        self.steps[at] = true;
        let own = |transfer: &Transfer| {
            transfer.step == Some(at) && !matches!(transfer.kind, Kind::Upload | Kind::Export)
        };
        for span in step.spans().iter().rev() {
            // An upload may have begun before its step was over.
            if span.from >= self.at {
                continue;
            }
            if span.kind == Kind::Queue
                && let Some((end, cause)) = self.ends_queue(at, span)
            {
                self.fill(end.min(self.at), Kind::Queue, Of::Step(at), own);
                return Some(cause);
            }
            self.fill(span.from, span.kind, Of::Step(at), own);
        }
        let before = |other: usize| {
            let other = &record.steps[other];
            other.stage == step.stage && other.number < step.number
        };
        if let Some(previous) = self.newest_step(0, before) {
            self.gap(record.steps[previous].end);
            return Some(Of::Step(previous));
        }
        self.latest()
    }

    /// What ended while a step was in the queue, and let it go on.
    fn ends_queue(&self, waiting: usize, queue: &Span<'_>) -> Option<(Micros, Of)> {
        let record = self.record;
        let Some(stage) = queue.waits_for else {
            let step = self.newest_step(queue.from, |other| other != waiting)?;
            return Some((record.steps[step].end, Of::Step(step)));
        };
        let of_stage = |step: usize| record.steps[step].stage == stage;
        let step = self.newest_step(queue.from, of_stage);
        let transfer = self.newest_transfer(queue.from, |transfer| {
            transfer.step.is_some_and(of_stage)
                && !matches!(transfer.kind, Kind::Upload | Kind::Export)
        });
        let step = step.map(|at| (record.steps[at].end, Of::Step(at)));
        let transfer = transfer.map(|at| (record.transfers[at].end, Of::Transfer(at)));
        step.into_iter().chain(transfer).max_by_key(|(end, _)| *end)
    }

    /// Through a transfer, from now back to its begin; gives what it waited for.
    fn transfer(&mut self, at: usize) -> Option<Of> {
        let record = self.record;
        let transfer = &record.transfers[at];
        self.through(at, 0);
        let Some(owner) = transfer.step.filter(|owner| !self.steps[*owner]) else {
            return self.latest();
        };
        let made = record.steps[owner].end;
        let other = self.newest_transfer(made, |other| other.kind == transfer.kind);
        if let Some(other) = other.filter(|_| transfer.kind == Kind::Upload) {
            self.back(record.transfers[other].end, Kind::Queue, Of::Transfer(at));
            return Some(Of::Transfer(other));
        }
        self.gap(made);
        Some(Of::Step(owner))
    }
}
