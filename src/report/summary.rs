//! The last lines of a build that succeeded, for people.

use std::time::Duration;

use super::text::one_line;
use super::{Event, units};

/// What [`Event::Finished`] says, line by line; nothing for other events.
pub(super) fn summary(event: &Event, time: Duration) -> Vec<String> {
    let Event::Finished { image, names, size, steps, cached } = event else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(image) = image {
        lines.push(format!("image {}", one_line(image)));
    }
    lines.extend(names.iter().map(|name| format!("name {}", one_line(name))));
    let plural = if *steps == 1 { "" } else { "s" };
    let size = match image {
        Some(_) => format!(", {}", units::size(*size)),
        None => String::new(),
    };
    lines
        .push(format!("{steps} step{plural} ({cached} cached){size} in {}", units::duration(time)));
    lines
}
