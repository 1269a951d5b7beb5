//! Instructions to stages and steps: expanded, checked and pruned; pure.
//!
//! [`plan`] takes a parsed Dockerfile, the options of the build and the
//! configurations of base images. When it lacks some of these it says which
//! ([`Outcome::Needs`]) and is called again: it is cheap and does no I/O. What
//! the builder cannot execute yet is an error here, at its place in the file,
//! and never ignored.

mod model;
pub use model::{
    Attributes, Base, Copy, CopySource, Download, FileSource, ImageRequest, ImageSource,
    InlineFile, Mount, MountKind, NamedContext, Outcome, Plan, PlanOptions, Run, Seed, Stage,
    StageId, Step, StepKind, context_name,
};

mod copy;
mod examine;
mod from;
mod history;
mod mounts;
mod names;
mod outline;
mod run;
mod settings;
mod stage;
mod stages;
mod variables;

pub use examine::{Asked, Examined, Find, Wanted, examine};
pub use outline::{Outline, OutlineArgument, OutlineMount, Target, outline, targets};
pub use stages::{Configs, Stages, plan};
pub use variables::DEFAULT_PATH;

#[cfg(test)]
mod corpus;
