//! Changes to files of a git repository: an image, a value, a marker; nothing else of the file.
//!
//! An [`Edit`] is what a flag asks for. [`edit_files`] finds its place in files of bytes and
//! writes the new text over the old one there; every other byte stays, comments, quotes, line ends
//! and all. It promises that each edit has found exactly one place (or, where that is allowed,
//! several), and that the new files say the same as the old ones everywhere else. It refuses to
//! guess: what is not found or is found twice is an error that lists what there is.
//!
//! Pure: bytes in, bytes out.

mod argocd;
mod at;
#[cfg(test)]
mod corpus;
mod diff;
mod error;
mod files;
mod found;
mod glob;
mod helm;
mod image;
mod inline;
mod kubernetes;
mod kustomize;
mod list;
mod marker;
mod merge;
mod object;
mod request;
mod resolve;
mod strategic;
mod value;
mod write;

pub use diff::diff;
pub use error::EditError;
pub use files::{Changed, Edited, Options, edit_files};
pub use glob::Glob;
pub use image::{Pin, Wanted};
pub use kustomize::ImageEntry;
pub use request::{Edit, Flag, ImageSelector, Target, Typing};
