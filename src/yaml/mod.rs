//! YAML text as a tree in which each node knows the exact bytes it was written in.
//!
//! ```text
//! text ─ parse ─► Stream ─► Document ─► Node { span, anchor, tag, content }
//!                                         │
//!                                         └─ to_json ─► what a Kubernetes client reads
//! ```
//!
//! The tree is what was written, not what it means: aliases and merge keys stay what they are, and
//! a scalar is its text. Nothing is expanded before somebody asks for values, and then within
//! limits. Text that is too large, too deep or no YAML is an error with its line and column.
//!
//! The module is pure and uses nothing of this crate.

mod emit;
mod error;
mod json;
mod node;
mod parse;
mod quote;
mod scalar;
mod spans;
mod value;

pub use emit::{Layout, column};
pub use error::{Lines, Place, YamlError};
pub use json::{MAX_TEXT, MAX_VALUES, is_merge, node_to_json, to_json};
pub use node::{Anchor, Comment, Content, Document, Node, Stream, Style, Tag};
pub use parse::{MAX_BYTES, MAX_DEPTH, MAX_NODES, parse};
pub use quote::{Context, double, is_safe_plain, is_safe_raw, quote};
pub use scalar::{Kind, core, is_string_for_all, yaml11};
pub(crate) use spans::{line_end, line_start, skip_blank};
pub use value::Value;
