//! The steps around a build: what a pipeline does before it (clone, tag) and after it (change an
//! image in a repository of manifests, have Argo CD sync it, watch the rollout).
//!
//! Each step is a function from a request to an outcome; what can go wrong is told apart by
//! [`Kind`], which is the same for all steps, so that a pipeline can act on it.

pub mod argocd;
mod built;
mod cluster;
pub mod edits;
pub mod forge;
mod git;
mod kind;
pub mod patch;
pub mod rollout;
pub mod splice;
pub mod tag;
mod template;
pub mod trigger;

pub use built::{Built, BuiltError};
pub use kind::{Classified, Kind};
pub use template::{Template, TemplateError};
