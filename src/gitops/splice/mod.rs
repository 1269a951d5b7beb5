//! Changes of single values in YAML and JSON text, byte for byte.
//!
//! ```text
//! --set PATH=VALUE ─ assignment ─► PathExpr ─ select ─► Target ─┐
//!  (images, markers, patches: their own way to targets) ────────┴─► Change
//!
//! text + changes ─ apply ─► the same text, in which only what was asked for is different
//! ```
//!
//! [`apply`] writes new values into the text in the style that is there: quotes stay, unless the
//! value needs others to remain a string for all readers; what is inserted is indented as its
//! neighbours are. Nothing else changes: comments, order, blank lines, line endings, a byte order
//! mark, markers and directives, a missing line break at the end.
//!
//! Then the text is read again and compared with what was there: a result that differs in
//! anything else than what was asked for is not handed out.
//!
//! Refused are changes that would change another place too (anchors that are used elsewhere),
//! or that somebody else's words would hide (keys that are there twice, merge keys).
//!
//! How it is used:
//!
//! - `Change::set(document, path, Value::text("1.2"))` replaces a scalar, or with
//!   [`Value::List`] and [`Value::Map`](crate::yaml::Value::Map) whatever is there.
//!   [`Value::Raw`](crate::yaml::Value::Raw) is written as it stands, for numbers and truth values.
//! - `Change::insert(document, path, value)`: the last step of the path is a key that is not there
//!   yet, and is added at the end; or an index, before which the item is inserted. An index that
//!   is the number of items appends.
//! - `Change::remove(document, path)` removes a key with its value, or an item, with their lines.
//! - Paths are those of the text as it is given, for all changes of one call.
//! - Errors begin with `line:column: `, so that a file's name can be put in front.
//!
//! [`Value::List`]: crate::yaml::Value::List

mod apply;
mod change;
mod error;
mod insert;
mod path;
mod remove;
mod replace;
mod resolve;
mod scalar;
mod select;
mod verify;

pub use apply::apply;
pub use change::{Action, Change, Key, show};
pub use error::{EditError, Problem};
pub use path::{PathError, PathExpr, assignment};
pub use select::{Target, select};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod random;
