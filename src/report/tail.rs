//! The last lines of each running step, kept for the error at the end.
//!
//! A failed step is best explained by what it said last. [`Tail`] passes every
//! event on and remembers those lines: bounded in number and length, and
//! forgotten when the step succeeds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::text::{cut, one_line};
use super::{Event, Sink};

/// How many lines explain a failure well enough, and still fit on a screen.
pub const LINES: usize = 20;

/// Columns of a line that are kept; minified files are printed by accident.
const COLUMNS: usize = 4096;

/// The last lines of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastLines {
    /// At most [`LINES`], oldest first, safe to show.
    pub lines: VecDeque<String>,
    /// How many came before them.
    pub before: u64,
}

impl LastLines {
    /// Adds a line as the step wrote it.
    pub fn push(&mut self, raw: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.before += 1;
        }
        self.lines.push_back(cut(&one_line(raw), COLUMNS).into_owned());
    }
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// Unique in this build.
    pub step: u32,
    /// The stage's name or index.
    pub stage: String,
    /// Which step of the stage, from 1.
    pub number: u32,
    /// How many steps the stage has.
    pub total: u32,
    /// The instruction as written, on one line.
    pub instruction: String,
    /// What it said last.
    pub output: LastLines,
}

/// Passes events to another sink and keeps the last lines of the steps.
pub struct Tail {
    next: Arc<dyn Sink>,
    steps: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    running: HashMap<u32, FailedStep>,
    failed: Vec<FailedStep>,
}

impl Tail {
    /// Stands before `next`.
    pub fn new(next: Arc<dyn Sink>) -> Self {
        Self { next, steps: Mutex::default() }
    }

    /// The steps that have failed so far, in the order in which they did.
    pub fn failed(&self) -> Vec<FailedStep> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).failed.clone()
    }
}

impl Sink for Tail {
    fn event(&self, event: Event) {
        {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            match &event {
                Event::StepStarted { step, stage, number, total, instruction } => {
                    let begun = FailedStep {
                        step: *step,
                        stage: one_line(stage).into_owned(),
                        number: *number,
                        total: *total,
                        instruction: one_line(instruction).into_owned(),
                        output: LastLines::default(),
                    };
                    steps.running.insert(*step, begun);
                }
                Event::StepOutput { step, line, .. } => {
                    if let Some(running) = steps.running.get_mut(step) {
                        running.output.push(line);
                    }
                }
                Event::StepFinished { step, .. } => {
                    steps.running.remove(step);
                }
                Event::StepFailed { step } => {
                    if let Some(failed) = steps.running.remove(step) {
                        steps.failed.push(failed);
                    }
                }
                _ => {}
            }
        }
        self.next.event(event);
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").finish_non_exhaustive()
    }
}
