//! What happens in the library, as events, and the ways to show it.
//!
//! The library reports through a `Sink`; it never prints. An `Event` is
//! also one line of `--progress=json`: field names and values are an interface.
//! `sink` makes one of the four ways to show events, on a writer that the
//! caller opens; what the environment says about it comes in `Options`. `Tail` and
//! `Timeline` stand before it and remember what a command shows at the end.

mod application;
mod event;
mod json;
mod plain;
mod screen;
mod summary;
mod tail;
mod terminal;
mod text;
mod timeline;
mod units;
mod writer;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use event::{Event, Phase, Sink, Stream, Transfer, TransferKind, transfer};
pub use tail::{FailedStep, LINES, LastLines, Tail};
pub use text::{chain, cut, message_line, one_line, special, width};
pub use timeline::Timeline;
pub use units::{duration, rate, size};

use writer::Writer;

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines that change in place, for a terminal.
    Terminal,
    /// Whole lines, for logs and pipes.
    Plain,
    /// One JSON object per line, for programs (`docs/events.md`).
    Json,
    /// Nothing at all: the result and the error are the command's to print.
    Quiet,
}

/// The time since the command began; clones tell the same.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock that tells what `now` does.
    pub fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// A clock that begins now.
    pub fn start() -> Self {
        let begun = Instant::now();
        Self::new(move || begun.elapsed())
    }

    /// The time.
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How wide.
    pub columns: u16,
    /// How high.
    pub rows: u16,
}

/// What the sinks must be told.
pub struct Options {
    /// The time since the command began.
    pub clock: Clock,
    /// Whether a terminal gets colours, which only ever repeat what words say (`NO_COLOR`).
    pub colour: bool,
    /// How large the terminal is now; asked before each drawing.
    pub size: Box<dyn Fn() -> Size + Send + Sync>,
    /// How often a terminal is drawn without an event, so that times move on; `None` for never.
    pub refresh: Option<Duration>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("clock", &self.clock)
            .field("colour", &self.colour)
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

/// Makes the sink that shows events on `out` in this `mode`.
///
/// Errors of `out`, such as a closed pipe, are not reported: nothing is written after the first.
/// [`Event::Finished`], [`Event::Failed`] or dropping the sink removes what still moves.
pub fn sink(mode: Mode, out: Box<dyn Write + Send>, options: Options) -> Arc<dyn Sink> {
    let out = Writer::new(out);
    match mode {
        Mode::Terminal => Arc::new(terminal::Terminal::new(out, options)),
        Mode::Plain => Arc::new(plain::Plain::new(out, options.clock)),
        Mode::Json => Arc::new(json::Json::new(out, options.clock)),
        Mode::Quiet => Arc::new(Quiet),
    }
}

/// Shows nothing.
#[derive(Debug)]
struct Quiet;

impl Sink for Quiet {
    fn event(&self, _: Event) {}
}
