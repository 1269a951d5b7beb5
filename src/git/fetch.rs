//! Fetching: a commit, what was left out of its pack, and its submodules.
//!
//! With a filter the first pack lacks files (or trees too). What the work tree needs of them is then
//! asked for by name, all at once: first the trees, then the files that are in the scope.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::GitError;
use super::id::ObjectId;
use super::modules;
use super::object::Mode;
use super::pack::{Pack, PackWriter};
use super::protocol::{self, FetchRequest, Filter, Received};
use super::repository::{self, Repository, Scope, Submodule};
use super::setup::Setup;
use super::transport::{self, Server};
use super::url::Remote;
use super::{Git, blocking};
use crate::net::Url;
use crate::report::{Event, TransferKind, transfer};

/// How deep submodules may be nested.
pub(super) const NESTED: usize = 16;

/// How a commit and its submodules are fetched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// How many levels of submodules are fetched too.
    pub(super) submodules: usize,
    /// How many commits of each line of history; `None` is all.
    pub(super) depth: Option<u32>,
    /// What is left out as long as nobody needs it.
    pub(super) filter: Option<Filter>,
    /// Whether annotated tags of what is fetched come along.
    pub(super) include_tag: bool,
    /// Where credentials of the caller go.
    pub(super) origin: Option<&'a Url>,
    /// The directory for packs, which are files without names there.
    pub(super) work: &'a Path,
}

/// A commit that is to be fetched.
pub(super) struct Request {
    pub(super) remote: Remote,
    /// The commit, or a tag of it.
    pub(super) wanted: ObjectId,
    /// What is fetched beside it.
    pub(super) others: Vec<ObjectId>,
    pub(super) setup: Setup,
    pub(super) subdir: Option<String>,
    /// How many repositories it is a submodule of.
    pub(super) level: usize,
}

impl Git {
    /// Fetches a commit and its submodules, one after the other.
    pub(super) async fn fetch_all(
        &self,
        request: Request,
        manner: &Manner<'_>,
    ) -> Result<Repository, GitError> {
        let subdir = request.subdir.clone();
        let level = request.level;
        let mut repository = self.fetch_one(request, manner).await?;
        if level >= manner.submodules && level < NESTED {
            return Ok(repository);
        }
        let search = move |stop: &dyn Fn() -> bool| {
            let sparse = repository.setup.sparse.as_ref();
            let links = repository.links(Scope { subdir: subdir.as_deref(), sparse }, stop)?;
            let known =
                if links.is_empty() { Ok(BTreeMap::new()) } else { repository.gitmodules() };
            Ok((links, known?, repository, subdir))
        };
        let (links, known, found, subdir) = blocking(search).await?;
        repository = found;
        for link in links {
            let path = String::from_utf8_lossy(&link.path).into_owned();
            let refuse = |problem: String| GitError::Module {
                remote: repository.remote.to_string(),
                path: path.clone(),
                problem,
            };
            let module = known.get(&path);
            let module = module.ok_or_else(|| refuse("it is not in .gitmodules".to_owned()))?;
            if module.skipped {
                continue;
            }
            if !modules::good_name(&module.name) {
                return Err(refuse(format!("its name {:?} is not one", module.name)));
            }
            if level >= NESTED {
                return Err(refuse(format!("submodules are nested more than {NESTED} deep")));
            }
            let url = module.url.as_deref();
            let url = url.ok_or_else(|| refuse("it has no url in .gitmodules".to_owned()))?;
            let remote = modules::locate(&repository.remote, url).map_err(refuse)?;
            let below = subdir.as_deref().and_then(|subdir| {
                subdir.strip_prefix(path.as_str())?.strip_prefix('/').map(str::to_owned)
            });
            let filter = manner.filter.map(|filter| filter.to_string());
            let request = Request {
                remote,
                wanted: link.commit,
                others: Vec::new(),
                setup: Setup { filter, ..Setup::default() },
                subdir: below,
                level: level + 1,
            };
            let fetched = Box::pin(self.fetch_all(request, manner)).await;
            let fetched = fetched.map_err(|source| GitError::Submodule {
                path: path.clone(),
                source: source.into(),
            })?;
            let module = Submodule { name: module.name.clone(), repository: fetched };
            repository.modules.insert(link.path, module);
        }
        Ok(repository)
    }

    /// Fetches a commit, and all that its work tree needs.
    async fn fetch_one(
        &self,
        request: Request,
        manner: &Manner<'_>,
    ) -> Result<Repository, GitError> {
        let Request { remote, wanted, others, mut setup, .. } = request;
        let server = self.transport.server(&remote, manner.origin).await?;
        let filter = self.filter(&server, manner.filter);
        if filter.is_none() {
            setup.filter = None;
        }
        let mut wants = vec![wanted];
        wants.extend(others.into_iter().collect::<BTreeSet<_>>());
        wants[1..].sort_unstable();
        let wants = wants.iter().enumerate().filter(|(at, id)| *at == 0 || **id != wanted);
        let asked = FetchRequest {
            wants: wants.map(|(_, id)| *id).collect(),
            depth: manner.depth,
            filter,
            include_tag: manner.include_tag,
            ..FetchRequest::default()
        };
        let (pack, received) = self.fetch_pack(&server, &remote, &asked, manner.work).await?;
        let mut repository = Repository::open(remote, pack, wanted)?;
        repository.shallow = received.shallow;
        repository.setup = setup;
        if filter.is_some() {
            repository = self.complete(repository, &server, manner.work).await?;
        }
        Ok(repository)
    }

    /// The filter, if the server knows any.
    fn filter(&self, server: &Server, filter: Option<Filter>) -> Option<Filter> {
        let filter = filter?;
        if server.can_fetch("filter") {
            return Some(filter);
        }
        let message = format!(
            "{}: the server has no filters, so all is fetched and not {filter}",
            server.name
        );
        self.sink.event(Event::Warning { message });
        None
    }

    /// Fetches what a filter has left out and the work tree needs.
    async fn complete(
        &self,
        mut repository: Repository,
        server: &Server,
        work: &Path,
    ) -> Result<Repository, GitError> {
        /// An object's name takes 50 bytes, and git's own server takes 10 MB of them.
        const AT_ONCE: usize = 100_000;
        let remote = repository.remote.clone();
        if repository.packs.kind(&repository.tree).is_none() {
            let asked = FetchRequest {
                wants: vec![repository.tree],
                filter: Some(Filter::NoBlobs),
                ..FetchRequest::default()
            };
            let (pack, _) = self.fetch_pack(server, &remote, &asked, work).await?;
            repository.packs.push(pack);
        }
        let search = move |stop: &dyn Fn() -> bool| {
            let mut missing = BTreeSet::new();
            let scope = Scope { subdir: None, sparse: repository.setup.sparse.as_ref() };
            repository.walk(scope, stop, &mut |_, entry| {
                let file = matches!(entry.mode, Mode::File { .. } | Mode::Symlink);
                if file && repository.packs.kind(&entry.id).is_none() {
                    missing.insert(entry.id);
                }
                Ok(())
            })?;
            Ok((repository, missing.into_iter().collect::<Vec<_>>()))
        };
        let (mut repository, missing) = blocking(search).await?;
        for wants in missing.chunks(AT_ONCE) {
            let asked = FetchRequest { wants: wants.to_vec(), ..FetchRequest::default() };
            let (pack, _) = self.fetch_pack(server, &remote, &asked, work).await?;
            repository.packs.push(pack);
        }
        Ok(repository)
    }

    /// What brings all of a repository, where a server gives out only what references point to:
    /// what is wanted may be among what these lead to.
    async fn everything(&self, server: &Server) -> Result<FetchRequest, GitError> {
        let prefixes = ["refs/heads/".to_owned(), "refs/tags/".to_owned()];
        let all = protocol::ls_refs(&self.transport, server, &prefixes).await?.all;
        let wants = all.iter().map(|reference| reference.id).collect();
        Ok(FetchRequest { wants, ..FetchRequest::default() })
    }

    /// Fetches a pack; again from its beginning when it breaks off.
    pub(super) async fn fetch_pack(
        &self,
        server: &Server,
        remote: &Remote,
        request: &FetchRequest,
        work: &Path,
    ) -> Result<(Pack, Received), GitError> {
        let io = |source| GitError::Io { path: format!("the pack of {}", server.name), source };
        let retry = self.transport.retry();
        let mut failures = 0;
        let mut whole = None;
        let (writer, received) = loop {
            let mut writer = PackWriter::create(work, server.format()?).map_err(io)?;
            // Asking is repeated there, if need be.
            let request = whole.as_ref().unwrap_or(request);
            let answer = match protocol::fetch(&self.transport, server, request).await {
                Err(GitError::Unadvertised { .. }) if whole.is_none() => {
                    whole = Some(self.everything(server).await?);
                    continue;
                }
                answer => answer?,
            };
            let progress = transfer(&self.sink, TransferKind::Pull, &server.name, None, None);
            let sink = |bytes: &[u8]| {
                progress.advance(bytes.len() as u64);
                writer.write(bytes).map_err(io)
            };
            match protocol::receive(server, answer, sink).await {
                Ok(received) => break (writer, received),
                Err(GitError::Unadvertised { .. }) if whole.is_none() => {
                    whole = Some(self.everything(server).await?);
                    continue;
                }
                Err(error) => {
                    failures += 1;
                    if failures >= retry.attempts || !transport::is_transient(&error) {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(retry.delay(failures, None)).await;
        };
        let remote = remote.clone();
        let finish = move |stop: &dyn Fn() -> bool| {
            writer.finish(stop).map_err(|error| repository::pack_error(&remote, error))
        };
        Ok((blocking(finish).await?, received))
    }
}
