//! The pure modules of yado, compiled here from its sources: they need seven crates, and all of
//! yado needs two hundred. `crate::…` in them means the same as there.

#[path = "../../src/dockerfile/mod.rs"]
pub mod dockerfile;
#[path = "../../src/git/url.rs"]
#[allow(dead_code, reason = "the rest of git uses it")]
mod git_url;
#[path = "../../src/gitops/kind.rs"]
#[allow(dead_code, reason = "the rest of gitops uses it")]
mod gitops_kind;
#[path = "../../src/image/mod.rs"]
pub mod image;
#[path = "../../src/plan/mod.rs"]
pub mod plan;
/// Of reports, how text is shown.
#[path = "../../src/report/text.rs"]
#[allow(dead_code, reason = "the rest of report uses it")]
pub mod report;
#[path = "../../src/gitops/splice/mod.rs"]
pub mod splice;
#[path = "../../src/yaml/mod.rs"]
pub mod yaml;

/// Of git, the part that plans need.
pub mod git {
    pub use crate::git_url::{GitUrl, GitUrlError, Remote, is_git_source};
}

/// Of gitops, the changes of text.
pub mod gitops {
    pub use crate::gitops_kind::{Classified, Kind};
    pub use crate::splice;
}

/// Of the network, the type of its URLs.
pub mod net {
    pub use url::Url;
}
