//! Layers to a stage's tree on disk, and what COPY does in it.
//!
//! A layer is unpacked once into a directory of its own, in the form that the
//! overlay file system stacks (`unpack`). A stage's tree is such a stack with a
//! directory on top for the running step (`Overlay`), or, where overlay cannot
//! be had, a copy of all of it (`merge`).

mod ahead;
mod chmod;
mod copy;
mod digest;
mod duplicate;
mod ledger;
mod overlay;
mod owner;
mod unpack;
mod unpacking;
mod users;

pub use chmod::{Chmod, ChmodError};
pub use copy::{Copied, CopyError, CopyRequest, Filter, Origin, Source, archive, copy, make_dirs};
pub use digest::digest;
pub use duplicate::{DuplicateError, Include, any_in, export, merge};
pub use ledger::Ledger;
pub use overlay::{Overlay, Upper};
pub use owner::{Owners, give, recorded_of};
pub use unpack::{UnpackError, UnpackOptions, Unpacked, extract, is_opaque, unpack};
pub use users::{User, UserError, Users};
