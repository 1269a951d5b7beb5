//! What is here of a repository elsewhere, and how more of it comes.
//!
//! Objects are fetched by their ids, without what they lead to, where the server can do so. Else
//! all of a commit is fetched, or all of its history; then nothing is left to be asked for. Packs
//! are kept in memory as they came. Every object is known by the id that its content makes, so
//! nothing but what was asked for is ever taken for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::GitError;
use super::id::ObjectId;
use super::object::{self, Kind, TreeEntry};
use super::pack::{Object, Pack, PackError, PackReader, PackWriter};
use super::protocol::{self, FetchRequest, Filter, Received};
use super::repository::pack_error;
use super::transport::{self, Server, Version};
use super::url::Remote;
use super::{Commit, Git, blocking, origin};
use crate::report::Event;

/// The most that is held of one pack: it is memory.
const MEMORY: u64 = 1 << 30;

/// Whether a server will not give out what it was asked for.
pub(super) fn refuses(error: &GitError) -> bool {
    matches!(error, GitError::Refused { .. } | GitError::Unadvertised { .. })
}

/// How objects are had from a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Each by its id.
    Single,
    /// All of a commit at once.
    Whole,
}

/// What is here.
#[derive(Debug, Default)]
pub(super) struct Objects {
    packs: Vec<Pack>,
    made: HashMap<ObjectId, Object>,
    way: Way,
    /// Whether the server has refused trees of a depth.
    no_depth: bool,
    /// Whether it has refused to leave anything out.
    no_filter: bool,
}

impl Objects {
    fn kind(&self, id: &ObjectId) -> Option<Kind> {
        let made = self.made.get(id).map(|object| object.kind);
        made.or_else(|| self.packs.iter().find_map(|pack| pack.kind(id)))
    }

    fn read(&self, id: &ObjectId, kind: Kind) -> Result<Arc<Vec<u8>>, PackError> {
        if let Some(object) = self.made.get(id).filter(|object| object.kind == kind) {
            return Ok(Arc::clone(&object.content));
        }
        let missing = || PackError::Damaged(format!("the {} {id} is missing", kind.name()));
        let pack = self.packs.iter().find(|pack| pack.kind(id).is_some()).ok_or_else(missing)?;
        PackReader::new(pack).read(id, kind)
    }
}

/// A repository elsewhere and what is here of it.
#[derive(Clone, Debug)]
pub(super) struct Source<'g> {
    pub(super) git: &'g Git,
    pub(super) remote: Remote,
    pub(super) server: Server,
    objects: Arc<Mutex<Objects>>,
}

impl Git {
    /// A repository, with what is here of it since it was asked before.
    pub(super) async fn source(&self, remote: &Remote) -> Result<Source<'_>, GitError> {
        let server = self.transport.server(remote, origin(remote)).await?;
        let mut all = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().find(|(known, _)| known == remote);
        let objects = if let Some((_, objects)) = known {
            Arc::clone(objects)
        } else {
            let objects = Arc::default();
            all.push((remote.clone(), Arc::clone(&objects)));
            objects
        };
        Ok(Source { git: self, remote: remote.clone(), server, objects })
    }
}

impl Source<'_> {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object is here.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.objects().kind(id).is_some()
    }

    /// Keeps objects that were made here.
    pub(super) fn keep(&self, made: &[Object]) {
        self.objects().made.extend(made.iter().map(|object| (object.id, object.clone())));
    }

    /// An object that is here.
    pub(super) fn read(&self, id: &ObjectId, kind: Kind) -> Result<Arc<Vec<u8>>, GitError> {
        self.objects().read(id, kind).map_err(|error| pack_error(&self.remote, error))
    }

    /// A tree that is here.
    pub(super) fn tree(&self, id: &ObjectId) -> Result<Vec<TreeEntry>, GitError> {
        let bytes = self.read(id, Kind::Tree)?;
        let tree = object::parse_tree(&bytes, id.format());
        tree.ok_or_else(|| self.damaged(format!("the tree {id} is malformed")))
    }

    /// A commit that is here.
    pub(super) fn commit(&self, id: &ObjectId) -> Result<Commit, GitError> {
        let bytes = self.read(id, Kind::Commit)?;
        let commit = Commit::parse(*id, &bytes);
        commit.ok_or_else(|| self.damaged(format!("the commit {id} is malformed")))
    }

    pub(super) fn damaged(&self, problem: String) -> GitError {
        pack_error(&self.remote, PackError::Damaged(problem))
    }

    fn note(&self, text: &str) {
        self.git.sink.event(Event::Note { message: format!("{}: {text}", self.server.name) });
    }

    /// Whether objects are asked for one by one.
    pub(super) fn single(&self) -> bool {
        let mut objects = self.objects();
        if objects.way == Way::Unknown {
            // Version 2 takes any id; version 1 only what the server says.
            let by_id = self.server.version == Version::Two
                || self.server.capability("allow-reachable-sha1-in-want").is_some();
            let single = by_id && self.server.can_fetch("filter");
            objects.way = if single { Way::Single } else { Way::Whole };
            drop(objects);
            if single {
                self.note("only what is needed of the repository is fetched");
            } else {
                self.note("the server gives out no single files, so all of a commit is fetched");
            }
            return single;
        }
        objects.way == Way::Single
    }

    fn give_up_single(&self, error: &GitError) {
        let mut objects = self.objects();
        (objects.way, objects.no_filter) = (Way::Whole, true);
        drop(objects);
        self.note(&format!(
            "all of a commit is fetched, since it gives out no single files ({error})"
        ));
    }

    /// Whether something can be left out of a pack.
    pub(super) fn filters(&self) -> bool {
        self.server.can_fetch("filter") && !self.objects().no_filter
    }

    /// Nothing is left out from now on.
    pub(super) fn give_up_filters(&self) {
        self.objects().no_filter = true;
    }

    /// Fetches a commit with its root directory.
    pub(super) async fn need_commit(&self, id: ObjectId) -> Result<(), GitError> {
        if self.has(&id) {
            return Ok(());
        }
        while self.single() {
            let depth = u32::from(!self.objects().no_depth);
            let filter = Some(Filter::TreeDepth(depth));
            let request =
                FetchRequest { wants: vec![id], depth: Some(1), filter, ..FetchRequest::default() };
            match self.fetch(&request).await {
                // Some servers allow only a depth of 0.
                Err(error) if depth > 0 && refuses(&error) => self.objects().no_depth = true,
                Err(error) if refuses(&error) => self.give_up_single(&error),
                Err(error) => return Err(error),
                Ok(_) => return self.all_here(&[id]),
            }
        }
        self.whole(id).await
    }

    /// Fetches all of a commit; all of its history where the server cannot do less.
    async fn whole(&self, id: ObjectId) -> Result<(), GitError> {
        if !self.server.can_fetch("shallow") {
            self.note("the server gives out no single commits, so all of its history is fetched");
        }
        let request = FetchRequest { wants: vec![id], depth: Some(1), ..FetchRequest::default() };
        self.fetch(&request).await?;
        self.all_here(&[id])
    }

    /// Fetches those of some objects of a commit that are not here, without what they lead to.
    pub(super) async fn need(&self, commit: ObjectId, ids: &[ObjectId]) -> Result<(), GitError> {
        self.need_with(commit, ids, Filter::TreeDepth(0)).await
    }

    /// Fetches those of some objects of a commit that are not here, and what they lead to as far
    /// as it is not left out.
    pub(super) async fn need_with(
        &self,
        commit: ObjectId,
        ids: &[ObjectId],
        filter: Filter,
    ) -> Result<(), GitError> {
        let mut seen = HashSet::new();
        let wants: Vec<ObjectId> =
            ids.iter().copied().filter(|id| seen.insert(*id) && !self.has(id)).collect();
        if wants.is_empty() {
            return Ok(());
        }
        if self.single() {
            let filter = Some(filter);
            let request = FetchRequest { wants, filter, ..FetchRequest::default() };
            match self.fetch(&request).await {
                Err(error) if refuses(&error) => self.give_up_single(&error),
                Err(error) => return Err(error),
                Ok(_) => return self.all_here(ids),
            }
        }
        self.whole(commit).await?;
        self.all_here(ids)
    }

    fn all_here(&self, ids: &[ObjectId]) -> Result<(), GitError> {
        match ids.iter().find(|id| !self.has(id)) {
            Some(id) => Err(self.damaged(format!("the server has not sent {id}"))),
            None => Ok(()),
        }
    }

    /// Fetches a pack into memory; again from its beginning when it breaks off.
    pub(super) async fn fetch(&self, request: &FetchRequest) -> Result<Received, GitError> {
        let transport = &self.git.transport;
        let server = &self.server;
        let io = |source| GitError::Io { path: format!("the pack of {}", server.name), source };
        let retry = transport.retry();
        let mut failures = 0;
        let (writer, received) = loop {
            let mut writer = PackWriter::in_memory(server.format()?).map_err(io)?;
            let answer = protocol::fetch(transport, server, request).await?;
            let sink = |bytes: &[u8]| {
                if writer.size() + bytes.len() as u64 > MEMORY {
                    return Err(self.damaged(
                        "it has more than 1 GiB, which is not held in memory; \
                                             clone it instead"
                            .to_owned(),
                    ));
                }
                writer.write(bytes).map_err(io)
            };
            match protocol::receive(server, answer, sink).await {
                Ok(received) => break (writer, received),
                Err(error) => {
                    failures += 1;
                    if failures >= retry.attempts || !transport::is_transient(&error) {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(retry.delay(failures, None)).await;
        };
        let remote = self.remote.clone();
        let pack =
            blocking(move |stop| writer.finish(stop).map_err(|error| pack_error(&remote, error)));
        let pack = pack.await?;
        self.objects().packs.push(pack);
        Ok(received)
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
