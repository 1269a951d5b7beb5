//! A clone: a repository that git goes on working with, in one go.
//!
//! ```text
//! ls-refs ─ select ─► what is wanted, what `.git` is to say
//!             │ a short id: the history of all branches, commits alone
//!             ▼
//!          fetch_all  packs without names in the directory itself
//!             │       from here on the directory is changed
//!             ▼
//!          lfs        objects into `.git/lfs`
//!             ▼
//!          checkout   files, then `.git`, and `HEAD` as its last file
//! ```
//!
//! The commit is the one that the list of references named, wherever the branch is by then. What
//! fails or is stopped leaves nothing behind: see [`Target`].

mod select;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::checkout::{Checkout, Purpose};
use super::error::GitError;
use super::fetch::{Manner, NESTED, Request};
use super::id::ObjectId;
use super::object::Kind;
use super::protocol::{self, FetchRequest, Filter};
use super::refs::{self, Reference};
use super::sparse::Sparse;
use super::target::Target;
use super::times::Times;
use super::transport::Server;
use super::url::Remote;
use super::{Git, blocking, origin};
use crate::report::Event;
use select::{Chosen, Selection};

pub use select::Refspec;

/// What is cloned, and how.
#[derive(Clone, Debug)]
pub struct CloneRequest {
    /// The repository.
    pub remote: Remote,
    /// A branch, a tag, a full reference, or an id in full or its beginning; absent: what the
    /// server's `HEAD` is.
    pub revision: Option<String>,
    /// What is fetched beside it.
    pub refspecs: Vec<Refspec>,
    /// How many commits of each line of history; `None` is all.
    pub depth: Option<u32>,
    /// Whether the other branches are left out.
    pub single_branch: bool,
    /// Which tags are kept.
    pub tags: Tags,
    /// Which submodules are cloned too.
    pub submodules: Submodules,
    /// Which directories are in the work tree; `None` is all.
    pub sparse: Option<Sparse>,
    /// What is left out until git needs it.
    pub filter: Option<Filter>,
    /// Whether files of Git LFS are fetched.
    pub lfs: bool,
    /// Which times files get.
    pub times: Times,
}

/// Which tags are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tags {
    /// Those that lead to what is fetched anyway.
    #[default]
    Follow,
    /// All.
    All,
    /// None but one that is asked for.
    None,
}

/// Which submodules are cloned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Submodules {
    /// None.
    No,
    /// Those of the repository itself.
    Direct,
    /// Theirs too.
    #[default]
    Recursive,
}

/// What was cloned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloned {
    /// The commit that is checked out.
    pub commit: ObjectId,
    /// When it was committed, in seconds since 1970.
    pub committed: i64,
    /// The branch that `HEAD` is at.
    pub branch: Option<String>,
    /// The tag that was asked for, or one that is at the commit.
    pub tag: Option<String>,
}

impl CloneRequest {
    /// One commit of the default branch, with all submodules.
    pub fn new(remote: Remote) -> Self {
        Self {
            remote,
            revision: None,
            refspecs: Vec::new(),
            depth: Some(1),
            single_branch: true,
            tags: Tags::default(),
            submodules: Submodules::default(),
            sparse: None,
            filter: None,
            lfs: false,
            times: Times::default(),
        }
    }
}

impl Git {
    /// Clones a repository into a directory.
    pub async fn clone_into(
        &self,
        request: &CloneRequest,
        target: Target,
    ) -> Result<Cloned, GitError> {
        let work = target.path().to_owned();
        let origin = origin(&request.remote);
        let server = self.transport.server(&request.remote, origin).await?;
        let listed =
            protocol::ls_refs(&self.transport, &server, &select::prefixes(request)).await?;
        let all = listed.all;
        let chosen = match refs::choose(&all, request.revision.as_deref()) {
            Some(reference) => Chosen::of(reference),
            None => self.look_for(request, &server, &all, listed.unborn, &work).await?,
        };
        let Selection { others, setup, following } = select::select(request, &all, &chosen);
        let branch = chosen.branch().map(str::to_owned);
        let tag = chosen.tag().map(str::to_owned);
        let fetched = Request {
            remote: request.remote.clone(),
            wanted: chosen.wanted,
            others,
            setup,
            subdir: None,
            level: 0,
        };
        let manner = Manner {
            submodules: match request.submodules {
                Submodules::No => 0,
                Submodules::Direct => 1,
                Submodules::Recursive => NESTED,
            },
            depth: request.depth,
            filter: request.filter,
            include_tag: request.tags != Tags::None,
            origin,
            work: &work,
        };
        let mut repository = self.fetch_all(fetched, &manner).await?;
        let present =
            following.into_iter().filter(|kept| repository.packs.kind(&kept.id).is_some());
        let present: Vec<_> = present.collect();
        repository.setup.refs.extend(present);
        repository.require_sparse()?;
        let tag = tag.or_else(|| {
            let at = |id: &ObjectId| *id == repository.commit;
            let refs = repository.setup.refs.iter();
            let tags = refs.filter(|kept| at(&kept.peeled.unwrap_or(kept.id)));
            tags.filter_map(|kept| kept.name.strip_prefix("refs/tags/")).max().map(str::to_owned)
        });
        let cloned =
            Cloned { commit: repository.commit, committed: repository.committed, branch, tag };
        let times = match request.times {
            Times::LastChange if matches!(repository.setup.filter.as_deref(), Some("tree:0")) => {
                let message = "without the trees of the history, files get the commit's time";
                self.sink.event(Event::Note { message: message.to_owned() });
                Times::Commit
            }
            times => times,
        };
        let (repository, target) = self.lfs(request.lfs, repository, target).await?;
        let lfs = request.lfs;
        let write = move |stop: &dyn Fn() -> bool| {
            let checkout = Checkout {
                root: target.as_fd(),
                keep_git_dir: true,
                purpose: Purpose::Work,
                times,
                lfs,
                stop,
                left_alone: Cell::default(),
            };
            checkout.subdir(&repository, None)?;
            let warnings = checkout.warnings(&repository);
            // Who waits for this may have gone.
            if stop() {
                return Err(GitError::Stopped);
            }
            target.keep();
            Ok(warnings)
        };
        for message in blocking(write).await? {
            self.sink.event(Event::Warning { message });
        }
        Ok(cloned)
    }

    /// Finds what no reference is called: an id, or the beginning of one.
    async fn look_for(
        &self,
        request: &CloneRequest,
        server: &Server,
        all: &[Reference],
        unborn: bool,
        work: &Path,
    ) -> Result<Chosen, GitError> {
        let remote = request.remote.to_string();
        let Some(name) = request.revision.as_deref().filter(|_| !unborn) else {
            return Err(GitError::Empty { remote });
        };
        if let Some(id) = ObjectId::parse(name) {
            return Ok(Chosen::id(id));
        }
        if !select::is_short_id(name) {
            return Err(self.no_reference(server, &remote, name).await);
        }
        let short = name.to_ascii_lowercase();
        let mut found = select::beginning(all, &short);
        if found.is_empty() {
            found = self.search(server, request, all, &short, work).await?;
        }
        match found.as_slice() {
            [] => Err(GitError::NoCommit { remote, name: name.to_owned() }),
            [one] => Ok(Chosen::id(*one)),
            several => {
                let found = several.iter().map(ToString::to_string).collect();
                Err(GitError::Ambiguous { remote, name: name.to_owned(), found })
            }
        }
    }

    /// The commits of all branches and tags whose ids begin with `short`.
    async fn search(
        &self,
        server: &Server,
        request: &CloneRequest,
        all: &[Reference],
        short: &str,
        work: &Path,
    ) -> Result<Vec<ObjectId>, GitError> {
        let message =
            format!("{short} is no branch, no tag and at none: looking for it in the history");
        self.sink.event(Event::Note { message });
        let wants: BTreeSet<ObjectId> = all.iter().map(|reference| reference.id).collect();
        let asked = FetchRequest {
            wants: wants.into_iter().collect(),
            filter: Some(Filter::TreeDepth(0)),
            ..FetchRequest::default()
        };
        let (pack, _) = self.fetch_pack(server, &request.remote, &asked, work).await?;
        Ok(pack.beginning(short, Kind::Commit))
    }

    /// The error for a name that the server does not know.
    async fn no_reference(&self, server: &Server, remote: &str, name: &str) -> GitError {
        let prefixes = ["refs/heads/".to_owned(), "refs/tags/".to_owned()];
        let remote = remote.to_owned();
        match protocol::ls_refs(&self.transport, server, &prefixes).await {
            Ok(listed) if listed.all.is_empty() => GitError::Empty { remote },
            Ok(listed) => {
                let near = refs::near(&listed.all, name);
                GitError::NoReference { remote, name: name.to_owned(), near }
            }
            Err(error) => error,
        }
    }
}
