//! Applications of Argo CD and their resources, a line each.

use std::borrow::Cow;

use super::text::{one_line, width};

/// Resources of an application that have a line of their own on a terminal.
pub(super) const ROWS: usize = 12;

/// The columns of a terminal's table: what it is, whether it is synced, how it is.
const COLUMNS: [usize; 3] = [40, 10, 12];

/// How an application is, in words: `OutOfSync, Progressing, operation Running`.
pub(super) fn state(revision: &str, sync: &str, health: &str, operation: &str) -> String {
    let or = |text: &str, other: &str| match one_line(text) {
        text if text.is_empty() => other.to_owned(),
        text => text.into_owned(),
    };
    let mut state = format!("{}, {}", or(sync, "not compared"), or(health, "health unknown"));
    if !operation.is_empty() {
        state += ", operation ";
        state += &one_line(operation);
    }
    if !revision.is_empty() {
        state += ", at ";
        state += &one_line(revision);
    }
    state
}

/// Which resource it is.
pub(super) fn resource(kind: &str, namespace: &str, name: &str) -> String {
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{} {}{slash}{}", one_line(kind), one_line(namespace), one_line(name))
}

/// A row of a terminal's table.
pub(super) fn row(resource: &str, sync: &str, health: &str) -> String {
    let cells = [Cow::Borrowed(resource), one_line(sync), one_line(health)];
    let mut row = " ".to_owned();
    for (cell, columns) in cells.iter().zip(COLUMNS) {
        row.push(' ');
        row += cell;
        row.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(cell))));
    }
    row.trim_end().to_owned()
}

/// Whether a resource needs a row no longer.
pub(super) fn is_well(sync: &str, health: &str) -> bool {
    sync != "OutOfSync" && matches!(health, "" | "Healthy")
}
