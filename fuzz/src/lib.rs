//! The pure modules of yado, compiled here from its sources: they need five crates, and all of
//! yado needs two hundred. `crate::…` in them means the same as there.

#[path = "../../src/dockerfile/mod.rs"]
pub mod dockerfile;
#[path = "../../src/image/mod.rs"]
pub mod image;
#[path = "../../src/plan/mod.rs"]
pub mod plan;
