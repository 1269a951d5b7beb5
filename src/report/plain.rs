//! `--progress=plain`: whole lines for logs and pipes.
//!
//! `#3` is the step's number in this build. A line of output carries the
//! seconds since its step began. A transfer is one line when it is over, and
//! one every ten seconds when it takes long. Nothing is ever written over.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::summary::summary;
use super::text::one_line;
use super::writer::Writer;
use super::{Clock, Event, Sink, TransferKind, application, units};

/// How long a transfer may be silent. Long enough that a log stays short, and shorter than the
/// patience of a CI system that takes silence for a hang.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Plain {
    out: Writer,
    clock: Clock,
    /// Held while a line is written, so that lines stand in the order of their times.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: HashMap<u32, Duration>,
    transfers: HashMap<u64, Moving>,
}

#[derive(Debug)]
struct Moving {
    kind: TransferKind,
    name: String,
    step: Option<u32>,
    total: Option<u64>,
    done: u64,
    begun: Duration,
    shown: Duration,
}

impl Plain {
    pub(super) fn new(out: Writer, clock: Clock) -> Self {
        Self { out, clock, state: Mutex::default() }
    }
}

impl Sink for Plain {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = state.lines(event, self.clock.now());
        if !lines.is_empty() {
            lines.push('\n');
            self.out.write(lines.as_bytes());
        }
    }
}

impl State {
    /// What to write at `now`, without the last line end; empty for nothing.
    fn lines(&mut self, event: Event, now: Duration) -> String {
        match event {
            Event::StepStarted { step, stage, number, total, instruction } => {
                self.steps.insert(step, now);
                format!(
                    "#{step} [{} {number}/{total}] {}",
                    one_line(&stage),
                    one_line(&instruction)
                )
            }
            Event::StepOutput { step, line, .. } => {
                let time = self.since(step, now).as_secs_f64();
                let line = format!("#{step} {time:.3} {}", one_line(&line));
                line.trim_end().to_owned()
            }
            Event::StepFinished { step, cached: true } => {
                self.steps.remove(&step);
                format!("#{step} CACHED")
            }
            Event::StepFinished { step, cached: false } => {
                let time = self.since(step, now);
                self.steps.remove(&step);
                format!("#{step} DONE {}", units::duration(time))
            }
            Event::StepFailed { step } => {
                self.steps.remove(&step);
                format!("#{step} ERROR")
            }
            Event::TransferStarted { transfer, kind, name, total, step } => {
                let name = one_line(&name).into_owned();
                let moving = Moving { kind, name, total, step, done: 0, begun: now, shown: now };
                self.transfers.insert(transfer, moving);
                String::new()
            }
            Event::TransferProgress { transfer, done } => {
                let Some(moving) = self.transfers.get_mut(&transfer) else { return String::new() };
                moving.done = done;
                if now.saturating_sub(moving.shown) < SILENCE {
                    return String::new();
                }
                moving.shown = now;
                moving.line(now)
            }
            Event::TransferFinished { transfer } => {
                self.transfers.remove(&transfer).map_or_else(String::new, |moving| moving.line(now))
            }
            Event::Warning { message } => format!("warning: {}", one_line(&message)),
            Event::Note { message } => format!("note: {}", one_line(&message)),
            Event::Application { application, revision, sync, health, operation, waits_for } => {
                let state = application::state(&revision, &sync, &health, &operation);
                let mut line = format!("{}: {state}", one_line(&application));
                if let Some(waits_for) = waits_for {
                    let _ = write!(line, "; waits for {}", one_line(&waits_for));
                }
                line
            }
            Event::Resource { application, kind, namespace, name, sync, health, message } => {
                let resource = application::resource(&kind, &namespace, &name);
                let mut line =
                    format!("{}: {resource}: {}", one_line(&application), one_line(&sync));
                for (before, text) in [(" ", health), (": ", message)] {
                    if !text.is_empty() {
                        let _ = write!(line, "{before}{}", one_line(&text));
                    }
                }
                line
            }
            Event::ApplicationFinished { application, good: true } => {
                format!("{} DONE {}", one_line(&application), units::duration(now))
            }
            Event::ApplicationFinished { application, good: false } => {
                format!("{} ERROR", one_line(&application))
            }
            Event::Finished { .. } => summary(&event, now).join("\n"),
            // Phases are too many for lines; the error itself is the command's to print.
            Event::StepPhase { .. } | Event::Failed { .. } => String::new(),
        }
    }

    fn since(&self, step: u32, now: Duration) -> Duration {
        now.saturating_sub(self.steps.get(&step).copied().unwrap_or(now))
    }
}

impl Moving {
    fn line(&self, now: Duration) -> String {
        let time = now.saturating_sub(self.begun);
        let step = self.step.map(|step| format!("#{step} ")).unwrap_or_default();
        let mut line =
            format!("{step}{} {} {}", self.kind.verb(), self.name, units::size(self.done));
        if let Some(total) = self.total.filter(|total| *total > self.done) {
            let _ = write!(line, " of {}", units::size(total));
        }
        let _ = write!(line, " {}", units::duration(time));
        if let Some(rate) = units::rate(self.done, time) {
            let _ = write!(line, " ({rate})");
        }
        line
    }
}
