//! Layers to the tree of a stage.

mod owner;
mod unpack;

pub use owner::{OWNER_XATTR, Owners, give, recorded};
pub use unpack::{UnpackError, UnpackOptions, Unpacked, is_opaque, unpack};
