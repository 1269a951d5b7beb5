//! `yado build` and `yado exec` as their users meet them: the binary, real
//! registries, and images judged by programs that are not yado.
//!
//! The tests run as whoever starts them, and hold for root, for a user with
//! subordinate ids and for a user with none; `tests/identities.sh` runs all three.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod add;
mod bad_input;
mod cache;
mod checks;
mod config;
mod contexts;
mod copy;
mod copy_flags;
mod determinism;
mod edits;
mod exec;
mod figures;
mod git;
mod git_clone;
mod git_credentials;
mod git_local;
mod git_patch;
mod git_push;
mod git_sign;
mod git_ssh;
mod harness;
mod hostile;
mod image_tag;
mod isolation;
mod kaniko;
mod kill;
mod kubeconfig;
mod layers;
mod mounts;
mod oracle;
mod outputs;
mod prune;
mod recipes;
mod registry;
mod rollout;
mod steps;
mod store;
mod sync;
mod timeline;
mod trigger;
