//! `--progress=json`: one event per line, for programs.
//!
//! `docs/events.md` documents every field. The first line names the version of
//! the format; it grows when a reader of the old one would go wrong, and not
//! when an event or a field is added.

use serde::Serialize;

use super::writer::Writer;
use super::{Clock, Event, Sink};

/// The version of the format; keep `docs/events.md` in step.
const VERSION: u32 = 1;

#[derive(Debug)]
pub(super) struct Json {
    out: Writer,
    clock: Clock,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since the command began.
    time: u64,
    #[serde(flatten)]
    event: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Begin { event: &'static str, version: u32 },
    Event(&'a Event),
}

impl Json {
    pub(super) fn new(out: Writer, clock: Clock) -> Self {
        let json = Self { out, clock };
        json.line(What::Begin { event: "begin", version: VERSION });
        json
    }

    fn line(&self, event: What<'_>) {
        let time = self.clock.now().as_millis() as u64;
        // An event is strings and numbers, which always have a JSON form.
        if let Ok(mut line) = serde_json::to_vec(&Line { time, event }) {
            line.push(b'\n');
            self.out.write(&line);
        }
    }
}

impl Sink for Json {
    fn event(&self, event: Event) {
        self.line(What::Event(&event));
    }
}
