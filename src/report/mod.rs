//! What happens in the library, as events, and the ways to show it.
//!
//! The library reports through a [`Sink`]; it never prints. An [`Event`] is
//! also one line of `--progress=json`: field names and values are an interface.

mod event;

pub use event::{Event, Sink, Stream, Transfer, TransferKind, transfer};
