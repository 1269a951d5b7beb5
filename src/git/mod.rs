//! Git without git: one commit of a repository elsewhere, as files; or a clone of it, see [`Git::clone_into`].
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
//! It speaks version 2 of git's protocol over https, http, `git://` and ssh; over ssh, whose
//! servers often do not let git know which version is meant, the older ones too. What a checkout
//! gives is what `git` gives with its own defaults: line ends and `$Id$` by `.gitattributes`, no
//! filters (LFS files stay pointers, with a warning, unless a clone is asked for them).
//! Credentials go to the origin they were given for, and to no other.
//!
//! A few files of a branch are changed without a clone and without a directory:
//!
//! ```text
//! branch ─ Git::open_branch ─► Head       ls-refs; the commit and its root directory
//!                               │ read, list, glob
//!                               ▼         only the directories on the way, and the files
//!                             contents
//!                               │ commit_with   files, directories, commit; a signature
//!                               ▼
//!                             Made
//!                               │ Git::push     a pack of what is new, in one message
//!                               ▼
//!                             Done · Refused · GitError::Unknown
//! ```
//!
//! `Refused` is the server's last word only if the reference still is where it was: the caller
//! opens the branch again and, if it has moved, makes the change again on what is there now; all
//! that has not changed is here already. After `Unknown` it does the same, and finds its own commit
//! there or not (`Head::log`, `Git::is_ancestor`).

mod attributes;
mod branch;
mod change;
mod checkout;
mod clone;
mod commit;
mod config;
mod credentials;
mod delta;
mod error;
mod fetch;
mod gitdir;
mod glob;
mod history;
mod id;
mod index;
mod lfs;
mod local;
mod modules;
mod object;
mod objects;
mod pack;
mod packet;
mod packs;
mod protocol;
mod push;
mod refs;
mod repository;
mod service;
mod setup;
mod sign;
mod sparse;
mod ssh;
mod stored;
mod target;
#[cfg(test)]
mod tests;
mod times;
mod transport;
mod url;

use std::cell::Cell;
use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

use crate::net::{Http, Retry, Url};
use crate::report::{Event, Sink};
use checkout::{Checkout, Purpose};
use fetch::{Manner, NESTED, Request};
use objects::Objects;
use repository::Repository;
use setup::Setup;
use transport::Transport;

pub use branch::{File, Head};
pub use change::{Edit, Made};
pub use clone::{CloneRequest, Cloned, Refspec, Submodules, Tags};
pub use commit::{Author, Commit, NewCommit};
pub use credentials::{Credential, CredentialError, CredentialStore, Rewrite, Settings};
pub use error::GitError;
pub use id::{ObjectFormat, ObjectId};
pub use local::{LocalCommit, LocalError, LocalHead, LocalRepository};
pub use object::{Mode, TreeEntry};
pub use protocol::Filter;
pub use push::{Push, PushOutcome, Pushed, Update};
pub use sign::{Signer, signer};
pub use sparse::{Sparse, SparseError};
pub use ssh::{HostKeyError, SshError, SshOptions};
pub use target::Target;
pub use times::Times;
pub use url::{GitUrl, GitUrlError, Remote, is_git_source};

/// How repositories are spoken to.
#[derive(Clone, Default)]
pub struct GitOptions {
    /// The value of an `Authorization` header, for the origin of the URL that is asked for. It
    /// comes before a user name and password in the URL.
    pub authorization: Option<String>,
    /// How often and after how long requests are repeated.
    pub retry: Retry,
    /// Who this client is over ssh, and which hosts it knows.
    pub ssh: SshOptions,
    /// What servers are shown over http, by their URLs. It comes after a password in the URL.
    pub credentials: CredentialStore,
    /// Beginnings of URLs, also of submodules, that stand for others.
    pub rewrites: Vec<Rewrite>,
}

/// Without the header.
impl fmt::Debug for GitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitOptions").field("retry", &self.retry).finish_non_exhaustive()
    }
}

impl GitOptions {
    /// The repository that is meant by another, by the rewrites.
    fn rewritten(&self, remote: &Remote) -> Remote {
        let text = match remote {
            Remote::Http(url) => url.as_str(),
            Remote::Ssh(text) => text,
            Remote::Git { .. } | Remote::Local(_) => return remote.clone(),
        };
        let other = Rewrite::apply(&self.rewrites, text);
        let parsed = other.and_then(|text| Remote::parse(&text).ok().flatten());
        parsed.unwrap_or_else(|| remote.clone())
    }

    /// What must not be seen.
    fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self.credentials.secrets().collect();
        secrets
            .extend(self.authorization.iter().flat_map(|header| credentials::secrets_of(header)));
        // A part of one is not to be left when another is taken out.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    /// The `Authorization` that hosting services take for a token, as BuildKit's
    /// `GIT_AUTH_TOKEN` makes it.
    pub fn token(token: &str) -> String {
        let pair = format!("x-access-token:{token}");
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

/// A client of git servers; it remembers what the servers can do.
pub struct Git {
    transport: Transport,
    sink: Arc<dyn Sink>,
    /// What is here of repositories that are read a little at a time.
    objects: Mutex<Vec<(Remote, Arc<Mutex<Objects>>)>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Whether submodules are, with theirs.
    pub submodules: bool,
    /// Whether `checkout` is to write a `.git`; without effect when the URL has a `subdir`.
    pub keep_git_dir: bool,
}

/// A commit on this machine, with its submodules; the packs go with the value.
pub struct Fetched {
    repository: Repository,
    subdir: Option<String>,
    keep_git_dir: bool,
    commit_times: bool,
    sink: Arc<dyn Sink>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repository { remote, commit, .. } = &self.repository;
        f.debug_struct("Fetched")
            .field("remote", remote)
            .field("commit", commit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Git").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Git {
    /// A client; it connects when it is asked for something.
    pub fn new(http: Http, options: GitOptions, sink: Arc<dyn Sink>) -> Self {
        let transport = Transport::new(http, options, Arc::clone(&sink));
        Self { transport, sink, objects: Mutex::default() }
    }

    /// Requests (of `git://`: connections) so far.
    pub fn requests(&self) -> u64 {
        self.transport.requests()
    }

    /// Finds the commit that `url` means now, with two requests; with none when it names a full id.
    pub async fn resolve(&self, url: &GitUrl) -> Result<Resolved, GitError> {
        let remote = url.remote.to_string();
        let wanted = url.reference.as_deref();
        let pinned = url.checksum.as_deref().filter(|_| url.fetch_by_commit);
        if let Some(commit) = pinned.and_then(ObjectId::parse) {
            let name = wanted.filter(|name| name.starts_with("refs/")).map(str::to_owned);
            return Ok(Resolved { commit, tag: None, name });
        }
        let resolved = match wanted.and_then(ObjectId::parse) {
            Some(commit) => Resolved { commit, tag: None, name: None },
            None => self.look_up(url, wanted).await?,
        };
        if let Some(expected) = &url.checksum {
            let mut found = vec![resolved.commit.to_string()];
            found.extend(resolved.tag.map(|tag| tag.to_string()));
            if !found.iter().any(|id| id.starts_with(expected.as_str())) {
                let (expected, found) = (expected.clone(), found.join(" or "));
                return Err(GitError::Checksum { remote, expected, found });
            }
        }
        Ok(resolved)
    }

    async fn look_up(&self, url: &GitUrl, wanted: Option<&str>) -> Result<Resolved, GitError> {
        let server = self.transport.server(&url.remote, origin(&url.remote)).await?;
        let prefixes = refs::candidates(wanted);
        let found = protocol::ls_refs(&self.transport, &server, &prefixes).await?;
        if let Some(reference) = refs::choose(&found.all, wanted) {
            let target = reference.target.clone();
            return Ok(Resolved {
                commit: reference.peeled.unwrap_or(reference.id),
                tag: reference.peeled.map(|_| reference.id),
                name: match reference.name.as_str() {
                    "HEAD" => target,
                    name => Some(name.to_owned()),
                },
            });
        }
        let remote = url.remote.to_string();
        let Some(name) = wanted.filter(|_| !found.unborn) else {
            return Err(GitError::Empty { remote });
        };
        let prefixes = ["refs/heads/".to_owned(), "refs/tags/".to_owned()];
        let all = protocol::ls_refs(&self.transport, &server, &prefixes).await?.all;
        if all.is_empty() {
            return Err(GitError::Empty { remote });
        }
        let near = refs::near(&all, name);
        Err(GitError::NoReference { remote, name: name.to_owned(), near })
    }

    /// Fetches what was resolved. Packs are unnamed files in the directory `work`.
    pub async fn fetch(
        &self,
        url: &GitUrl,
        resolved: &Resolved,
        options: &FetchOptions,
        work: &Path,
    ) -> Result<Fetched, GitError> {
        let keep_git_dir = options.keep_git_dir && url.subdir.is_none();
        let name = resolved.name.clone().filter(|name| name.starts_with("refs/"));
        let kept = name.map(|name| setup::Kept {
            name,
            id: resolved.tag.unwrap_or(resolved.commit),
            peeled: resolved.tag.map(|_| resolved.commit),
        });
        let request = Request {
            remote: url.remote.clone(),
            // The tag itself is wanted only where it can be seen.
            wanted: resolved.tag.filter(|_| keep_git_dir).unwrap_or(resolved.commit),
            others: Vec::new(),
            setup: Setup { refs: kept.into_iter().collect(), ..Setup::default() },
            subdir: url.subdir.clone(),
            level: 0,
        };
        let manner = Manner {
            submodules: if options.submodules { NESTED } else { 0 },
            depth: Some(1),
            filter: None,
            include_tag: false,
            origin: origin(&url.remote),
            work,
        };
        let repository = self.fetch_all(request, &manner).await?;
        Ok(Fetched {
            repository,
            subdir: url.subdir.clone(),
            keep_git_dir,
            commit_times: url.commit_times,
            sink: Arc::clone(&self.sink),
        })
    }
}

/// Where credentials of the caller go.
fn origin(remote: &Remote) -> Option<&Url> {
    match remote {
        Remote::Http(url) => Some(url),
        _ => None,
    }
}

/// Does work on a thread of its own, which is told to stop when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&stop.0);
    let work = move || work(&|| flag.load(Ordering::Relaxed));
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(GitError::Stopped),
    }
}

impl Fetched {
    /// The commit.
    pub fn commit(&self) -> ObjectId {
        self.repository.commit
    }

    /// When it was committed, in seconds since 1970.
    pub fn committed(&self) -> i64 {
        self.repository.committed
    }

    /// Writes the files (of the URL's `subdir`) into the empty directory `into`. Blocks; `stop`
    /// is asked between files. Warns of files that git with its extensions would have changed.
    pub fn checkout(&self, into: impl AsFd, stop: &dyn Fn() -> bool) -> Result<(), GitError> {
        let checkout = Checkout {
            root: into.as_fd(),
            keep_git_dir: self.keep_git_dir,
            purpose: Purpose::Image,
            times: if self.commit_times { Times::Commit } else { Times::Now },
            lfs: false,
            stop,
            left_alone: Cell::default(),
        };
        checkout.subdir(&self.repository, self.subdir.as_deref())?;
        for message in checkout.warnings(&self.repository) {
            self.sink.event(Event::Warning { message });
        }
        Ok(())
    }
}
