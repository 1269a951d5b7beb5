//! `--timeline`: the build as a waterfall, on one page without anything beside it.
//!
//! [`Timeline`] stands before another sink and keeps what the page needs: when
//! steps, their phases and transfers began and ended, and how many bytes moved.
//! `record` is that memory, whose size is that of the Dockerfile and not of what
//! happens; `path` finds the critical path in it; `page` writes both as HTML.
//! These are pure. Whoever has the bytes of the page puts them into a file.

mod page;
mod path;
mod record;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use super::{Clock, Event, Sink};

use record::Record;

/// Passes events to another sink and remembers when they came.
pub struct Timeline {
    next: Arc<dyn Sink>,
    clock: Clock,
    record: Mutex<Record>,
}

impl Timeline {
    /// Stands before `next`; `clock` is the one that `next` tells the time by.
    pub fn new(next: Arc<dyn Sink>, clock: Clock) -> Self {
        Self { next, clock, record: Mutex::default() }
    }

    /// The page of a build that ends with `end` at this moment. The event is not passed on:
    /// whoever writes the page can still say that it failed before the build ends.
    pub fn page(&self, end: &Event) -> String {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.take(self.clock.now(), end);
        page::page(&record)
    }
}

impl Sink for Timeline {
    fn event(&self, event: Event) {
        {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            // The time is taken under the lock, so that it never goes back.
            record.take(self.clock.now(), &event);
        }
        self.next.event(event);
    }
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").field("clock", &self.clock).finish_non_exhaustive()
    }
}
