//! All changes of a text, and the comparison that follows.

use std::ops::Range;

use super::resolve::File;
use super::scalar::set_scalar;
use super::verify::{Branch, verify};
use super::{Action, Change, EditError};
use crate::yaml::Value;

/// The text with all changes, or why there is none.
///
/// A text in which everything is as asked for already comes back as it is.
pub fn apply(text: &str, changes: &[Change]) -> Result<String, EditError> {
    let file = File::read(text)?;
    let plan = Branch::of(&file, changes)?;
    let mut splices = Vec::new();
    for change in changes {
        if let Action::Set(value @ (Value::Text(_) | Value::Raw(_))) = &change.action {
            splices.extend(set_scalar(&file, change.document, &change.path, value)?);
        }
    }
    let new = splice(text, splices);
    if new == text {
        return Ok(new);
    }
    verify(&file, &new, &plan)?;
    Ok(new)
}

/// Some bytes, and what is there instead.
pub(super) type Splice = (Range<usize>, String);

/// A text with some of its bytes replaced.
pub(super) fn splice(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    splices.dedup();
    let mut new = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for (range, replacement) in splices {
        // Ranges that overlap come from a fault; what is left out then fails the comparison.
        new.push_str(text.get(done..range.start).unwrap_or_default());
        new.push_str(&replacement);
        done = done.max(range.end);
    }
    new.push_str(text.get(done..).unwrap_or_default());
    new
}
