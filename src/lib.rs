//! yado builds container images without a daemon and without root, and does the steps around a build.
//!
//! The modules stand in the order in which a Dockerfile travels to a registry:
//!
//! ```text
//! Dockerfile text ─ dockerfile ─► instructions ─ plan ─► steps of stages
//!                                                          │
//! build context ──── context ────────────────────────────► build
//!                                                          │
//!        base image ─ registry ─► store ─ rootfs ─► sandbox (a RUN step)
//!                                                          │
//!                        snapshot (what changed) ─► layer (tar, compression, digests)
//!                                                          │
//!                              image (config, manifest) ─► store ─► registry
//! ```
//!
//! Beside that way stands [`gitops`]: what a pipeline does before and after a build, on [`git`],
//! [`yaml`] and [`kubernetes`].
//!
//! The library never prints, never exits and never reads the environment; that
//! is [`cli`]'s part.

// The lines above the modules are no documentation: rustdoc would resolve the links of a module's
// own head here, in the crate's root, and not find them.

// Text to typed instructions, with the place of each in the file.
pub mod dockerfile;

// Instructions to stages and steps, expanded and pruned.
pub mod plan;

// What a step made, by what went into it.
pub mod cache;

// Where the files of COPY and ADD come from.
pub mod context;

// One HTTP client: TLS, retries, credentials.
pub mod net;

// Repositories elsewhere: a commit as files, a clone, a change that is pushed.
pub mod git;

// Pull from and push to registries.
pub mod registry;

// Blobs, unpacked layers and names on disk.
pub mod store;

// Layers to the tree of a stage.
pub mod rootfs;

// A process in a root file system of its own.
pub mod sandbox;

// What a step changed.
pub mod snapshot;

// Tar archives of layers, and their compression.
pub mod layer;

// The image model: digests, references and documents.
pub mod image;

// Runs a plan.
pub mod build;

// YAML text as trees that know their bytes.
pub mod yaml;

// A client of the Kubernetes API.
pub mod kubernetes;

// The steps around a build: git, Argo CD, Kubernetes.
pub mod gitops;

// What happens, as events, and how it is shown.
pub mod report;

// The command line.
pub mod cli;

// Confined file operations.
pub mod fs;

// System calls that need `unsafe`.
pub mod sys;

#[cfg(test)]
mod testing;
