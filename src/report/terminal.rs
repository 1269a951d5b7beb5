//! `--progress=tty`: lines that change in place, and lines that stay above them.
//!
//! What runs has a line at the bottom: a step its time and its last output, a
//! transfer its bytes, below its step while that runs. A step that is done stays as one line; one that failed
//! stays with its last output in full. Nothing of the moving part is left at the
//! end. `indicatif` keeps the moving lines; the text of each is [`Live::line`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::screen::{Screen, columns};
use super::summary::summary;
use super::tail::LastLines;
use super::text::{cut, one_line, width};
use super::writer::Writer;
use super::{Clock, Event, Options, Phase, Sink, Size, application, units};

/// Drawings a second, however much happens.
const DRAWINGS: u8 = 20;

/// Columns of a bar, and of a terminal that has room for one.
const BAR: usize = 20;
const ROOM_FOR_BAR: usize = 72;

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const DIM: &str = "2";

pub(super) struct Terminal {
    out: Arc<Writer>,
    moving: MultiProgress,
    view: Arc<View>,
    refresh: Option<Duration>,
    state: Mutex<State>,
}

/// What the drawing of a line needs, from whichever thread.
struct View {
    clock: Clock,
    size: Arc<dyn Fn() -> Size + Send + Sync>,
    colour: bool,
}

#[derive(Default)]
struct State {
    steps: HashMap<u32, Step>,
    transfers: HashMap<u64, Transfer>,
    applications: HashMap<String, Application>,
}

/// An application of Argo CD, with the resources below it that are not well.
struct Application {
    line: Line,
    state: String,
    begun: Duration,
    resources: HashMap<String, Line>,
}

struct Transfer {
    line: Line,
    step: Option<u32>,
}

struct Step {
    line: Line,
    /// `[stage 2/5]`
    place: String,
    head: String,
    begun: Duration,
    output: LastLines,
}

/// A moving line.
struct Line {
    bar: ProgressBar,
    live: Arc<Mutex<Live>>,
}

/// What a moving line shows.
enum Live {
    Step { head: String, begun: Duration, last: String },
    Transfer { what: String, begun: Duration, done: u64, total: Option<u64> },
}

impl Terminal {
    pub(super) fn new(out: Writer, options: Options) -> Self {
        let Options { clock, colour, size, refresh } = options;
        let out = Arc::new(out);
        // Zero is what a terminal says that does not know.
        let size = move || match size() {
            Size { columns, rows } if columns == 0 || rows == 0 => Size { columns: 80, rows: 24 },
            size => size,
        };
        let size: Arc<dyn Fn() -> Size + Send + Sync> = Arc::new(size);
        let screen = Box::new(Screen::new(Arc::clone(&out), Arc::clone(&size)));
        let target = match refresh {
            Some(_) => ProgressDrawTarget::term_like_with_hz(screen, DRAWINGS),
            None => ProgressDrawTarget::term_like(screen),
        };
        let moving = MultiProgress::with_draw_target(target);
        let view = Arc::new(View { clock, size, colour });
        Self { out, moving, view, refresh, state: Mutex::default() }
    }

    /// Adds a moving line, below another one or below all.
    fn show(&self, live: Live, below: Option<&ProgressBar>) -> Line {
        let live = Arc::new(Mutex::new(live));
        let (shown, view) = (Arc::clone(&live), Arc::clone(&self.view));
        let text = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            let width = usize::from((view.size)().columns);
            // Writing to a string does not fail.
            let _ = out.write_str(&columns(&shown.line(view.clock.now(), width, view.colour)));
        };
        // The bar must be known to `moving` before it is drawn for the first time.
        let bar = ProgressBar::new_spinner();
        let bar = match below {
            Some(other) => self.moving.insert_after(other, bar),
            None => self.moving.add(bar),
        };
        if let Ok(style) = ProgressStyle::with_template("{line}") {
            bar.set_style(style.with_key("line", text));
        }
        match self.refresh {
            Some(refresh) => bar.enable_steady_tick(refresh),
            None => bar.tick(),
        }
        Line { bar, live }
    }

    /// Writes lines that stay, above those that move.
    fn stay(&self, lines: &[String]) {
        let mut text = lines.join("\n");
        text.push('\n');
        self.moving.suspend(|| self.out.write(text.as_bytes()));
    }

    /// Removes all that moves.
    fn end(&self, state: &mut State) {
        for (_, step) in state.steps.drain() {
            self.moving.remove(&step.line.bar);
        }
        for (_, transfer) in state.transfers.drain() {
            self.moving.remove(&transfer.line.bar);
        }
        for (_, application) in state.applications.drain() {
            self.moving.remove(&application.line.bar);
            for (_, line) in application.resources {
                self.moving.remove(&line.bar);
            }
        }
        let _ = self.moving.clear();
    }

    /// A step's last line: a sign, what it was, and how it ended.
    fn outcome(&self, sign: &str, colour: &str, head: &str, end: &str) -> String {
        let columns = usize::from((self.view.size)().columns);
        let head = cut(head, columns.saturating_sub(width(sign) + width(end) + 3));
        format!("{} {head}  {end}", paint(sign, colour, self.view.colour))
    }

    fn handle(&self, shown: &mut State, event: Event) {
        let now = self.view.clock.now();
        match event {
            Event::StepStarted { step, stage, number, total, instruction } => {
                let (stage, instruction) = (one_line(&stage), one_line(&instruction));
                let place = format!("[{stage} {number}/{total}]");
                let head = format!("{place} {instruction}");
                let last = String::new();
                let line = self.show(Live::Step { head: head.clone(), begun: now, last }, None);
                let output = LastLines::default();
                shown.steps.insert(step, Step { line, place, head, begun: now, output });
            }
            Event::StepOutput { step, line, .. } => {
                let Some(step) = shown.steps.get_mut(&step) else { return };
                step.output.push(&line);
                step.line.change(|live| {
                    if let (Live::Step { last, .. }, Some(line)) =
                        (live, step.output.lines.back().filter(|line| !line.trim().is_empty()))
                    {
                        last.clone_from(line);
                    }
                });
            }
            Event::StepFinished { step, cached } => {
                let Some(step) = shown.steps.remove(&step) else { return };
                self.moving.remove(&step.line.bar);
                let end = if cached {
                    "CACHED".to_owned()
                } else {
                    units::duration(now.saturating_sub(step.begun))
                };
                self.stay(&[self.outcome("✓", GREEN, &step.head, &end)]);
            }
            Event::StepFailed { step } => {
                let Some(step) = shown.steps.remove(&step) else { return };
                self.moving.remove(&step.line.bar);
                let time = units::duration(now.saturating_sub(step.begun));
                let mut lines = vec![self.outcome("✗", RED, &step.head, &format!("ERROR {time}"))];
                if step.output.before > 0 {
                    lines.push(format!("  … {} lines before", step.output.before));
                }
                lines.extend(step.output.lines.iter().map(|line| format!("  {line}")));
                self.stay(&lines);
            }
            Event::StepPhase { step, phase, waits_for } => {
                let Some(step) = shown.steps.get_mut(&step) else { return };
                step.line.change(|live| {
                    if let Live::Step { last, .. } = live {
                        *last = match (phase, &waits_for) {
                            (Phase::Queue, Some(stage)) => format!("waits for {}", one_line(stage)),
                            (Phase::Queue, None) => "waits for its turn".to_owned(),
                            _ => String::new(),
                        };
                    }
                });
            }
            Event::TransferStarted { transfer, kind, name, total, step } => {
                let name = one_line(&name);
                let owner = step.and_then(|step| shown.steps.get(&step));
                let what = match owner {
                    Some(owner) => format!("{} {} {name}", owner.place, kind.verb()),
                    None => format!("{} {name}", kind.verb()),
                };
                let siblings = shown.transfers.iter().filter(|(_, other)| other.step == step);
                let newest = siblings.max_by_key(|(id, _)| **id).map(|(_, other)| &other.line.bar);
                let below = owner.map(|owner| newest.unwrap_or(&owner.line.bar));
                let line = self.show(Live::Transfer { what, begun: now, done: 0, total }, below);
                shown.transfers.insert(transfer, Transfer { line, step });
            }
            Event::TransferProgress { transfer, done: bytes } => {
                let Some(transfer) = shown.transfers.get(&transfer) else { return };
                transfer.line.change(|live| {
                    if let Live::Transfer { done, .. } = live {
                        *done = bytes;
                    }
                });
            }
            Event::TransferFinished { transfer } => {
                let Some(transfer) = shown.transfers.remove(&transfer) else { return };
                self.moving.remove(&transfer.line.bar);
                self.moving.suspend(|| {});
            }
            Event::Application { application, revision, sync, health, operation, waits_for } => {
                let name = one_line(&application).into_owned();
                let state = application::state(&revision, &sync, &health, &operation);
                let head = format!("{name}: {state}");
                let last = waits_for.map(|waits_for| format!("waits for {}", one_line(&waits_for)));
                let last = last.unwrap_or_default();
                if let Some(known) = shown.applications.get_mut(&application) {
                    known.state = state;
                    let live = Live::Step { head, begun: known.begun, last };
                    known.line.change(|shown| *shown = live);
                } else {
                    let line = self.show(Live::Step { head, begun: now, last }, None);
                    let resources = HashMap::new();
                    let new = Application { line, state, begun: now, resources };
                    shown.applications.insert(application, new);
                }
            }
            Event::Resource { application, kind, namespace, name, sync, health, message } => {
                let Some(of) = shown.applications.get_mut(&application) else { return };
                let resource = application::resource(&kind, &namespace, &name);
                if application::is_well(&sync, &health) {
                    if let Some(line) = of.resources.remove(&resource) {
                        self.moving.remove(&line.bar);
                        self.moving.suspend(|| {});
                    }
                    return;
                }
                let head = application::row(&resource, &sync, &health);
                let last = one_line(&message).into_owned();
                if let Some(line) = of.resources.get(&resource) {
                    line.change(|shown| {
                        if let Live::Step { head: h, last: l, .. } = shown {
                            (*h, *l) = (head, last);
                        }
                    });
                } else if of.resources.len() < application::ROWS {
                    let row = Live::Step { head, begun: now, last };
                    let line = self.show(row, Some(&of.line.bar));
                    of.resources.insert(resource, line);
                }
            }
            Event::ApplicationFinished { application, good } => {
                let known = shown.applications.remove(&application);
                let (mut head, mut begun) = (one_line(&application).into_owned(), now);
                if let Some(known) = known {
                    self.moving.remove(&known.line.bar);
                    for (_, line) in known.resources {
                        self.moving.remove(&line.bar);
                    }
                    head = format!("{head}: {}", known.state);
                    begun = known.begun;
                }
                let time = units::duration(now.saturating_sub(begun));
                let (sign, colour, end) =
                    if good { ("✓", GREEN, time) } else { ("✗", RED, format!("ERROR {time}")) };
                self.stay(&[self.outcome(sign, colour, &head, &end)]);
            }
            Event::Warning { message } => {
                let word = paint("warning:", YELLOW, self.view.colour);
                self.stay(&[format!("{word} {}", one_line(&message))]);
            }
            Event::Note { message } => self.stay(&[format!("note: {}", one_line(&message))]),
            Event::Finished { .. } => {
                self.end(shown);
                self.stay(&summary(&event, now));
            }
            Event::Failed { .. } => self.end(shown),
        }
    }
}

impl Sink for Terminal {
    fn event(&self, event: Event) {
        self.handle(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), event);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut state =
            std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.end(&mut state);
    }
}

impl Line {
    /// Changes what is shown, and draws it unless that happens by itself.
    fn change(&self, change: impl FnOnce(&mut Live)) {
        change(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner));
        self.bar.tick();
    }
}

impl Live {
    /// The line at `now`, in at most `columns`.
    fn line(&self, now: Duration, columns: usize, colour: bool) -> String {
        match self {
            Self::Step { head, begun, last } => {
                let time = units::duration(now.saturating_sub(*begun));
                let room = columns.saturating_sub(4 + time.len());
                // The instruction gives way to the output, but not more than half.
                let room_for_head = if last.is_empty() {
                    room
                } else {
                    room.saturating_sub(width(last) + 2).max(room / 2)
                };
                let head = cut(head, room_for_head);
                let mut line = format!("  {head}  {time}");
                let room = room.saturating_sub(width(&head) + 2);
                if !last.is_empty() && room > 0 {
                    let _ = write!(line, "  {}", paint(&cut(last, room), DIM, colour));
                }
                in_columns(line, columns, colour)
            }
            Self::Transfer { what, begun, done, total } => {
                let time = now.saturating_sub(*begun);
                let mut end = String::new();
                if let Some(total) = total.filter(|total| *total > 0 && columns >= ROOM_FOR_BAR) {
                    let full = (u128::from(*done) * BAR as u128 / u128::from(total)) as usize;
                    let full = full.min(BAR);
                    let _ = write!(end, "  [{}{}]", "=".repeat(full), " ".repeat(BAR - full));
                }
                let _ = write!(end, "  {}", units::size(*done));
                if let Some(total) = total.filter(|total| *total > 0) {
                    let _ = write!(end, " of {}", units::size(total));
                }
                if let Some(rate) = units::rate(*done, time).filter(|_| *done > 0) {
                    let _ = write!(end, "  {rate}");
                }
                let what = cut(what, columns.saturating_sub(2 + width(&end)));
                in_columns(format!("  {what}{end}"), columns, false)
            }
        }
    }
}

/// A last resort for terminals narrower than the figures alone; coloured lines have been cut by
/// their parts, and are only this narrow when there is no colour in them.
fn in_columns(line: String, columns: usize, colour: bool) -> String {
    if colour && line.contains('\u{1b}') { line } else { cut(&line, columns).into_owned() }
}

/// `text` in a colour (ECMA-48 SGR), when there are colours.
fn paint(text: &str, colour: &str, colours: bool) -> String {
    if colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}
