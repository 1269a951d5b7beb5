//! Commits before a commit, without their files: what was done of late, and what comes after what.

use std::collections::{BinaryHeap, HashSet};

use super::branch::Head;
use super::error::GitError;
use super::id::ObjectId;
use super::objects::{Source, refuses};
use super::protocol::{self, FetchRequest, Filter};
use super::transport::Version;
use super::url::Remote;
use super::{Commit, Git};

impl Head<'_> {
    /// The last `count` commits, this one first, then the youngest of those that lead to it.
    pub async fn log(&self, count: u32) -> Result<Vec<Commit>, GitError> {
        let (commits, complete) = self.newest(count as usize)?;
        if complete {
            return Ok(commits);
        }
        self.source.deepen(self.id(), Some(count)).await?;
        Ok(self.newest(count as usize)?.0)
    }

    /// As many as are here; and whether all were.
    fn newest(&self, count: usize) -> Result<(Vec<Commit>, bool), GitError> {
        let mut seen = HashSet::from([self.id()]);
        let mut left = BinaryHeap::from([(self.commit.committer.seconds, self.id())]);
        let mut commits = Vec::new();
        let mut complete = true;
        while let Some((_, id)) = left.pop().filter(|_| commits.len() < count) {
            let commit = self.source.commit(&id)?;
            for parent in &commit.parents {
                if !self.source.has(parent) {
                    complete = complete && commits.len() + 1 >= count;
                } else if seen.insert(*parent) {
                    left.push((self.source.commit(parent)?.committer.seconds, *parent));
                }
            }
            commits.push(commit);
        }
        Ok((commits, complete))
    }
}

impl Git {
    /// Whether `ancestor` is `commit`, or one of the commits that lead to it. More and more of
    /// the history is fetched until that is known.
    pub async fn is_ancestor(
        &self,
        remote: &Remote,
        ancestor: &ObjectId,
        commit: &ObjectId,
    ) -> Result<bool, GitError> {
        /// Most questions are about the last few commits.
        const DEPTHS: [Option<u32>; 4] = [Some(50), Some(1000), Some(20_000), None];
        if ancestor == commit {
            return Ok(true);
        }
        let source = self.source(remote).await?;
        for depth in DEPTHS {
            if let Some(answer) = source.leads_to(ancestor, commit)? {
                return Ok(answer);
            }
            source.deepen(*commit, depth).await?;
        }
        source.leads_to(ancestor, commit)?.ok_or_else(|| {
            source.damaged(format!("the server has not sent all commits that lead to {commit}"))
        })
    }
}

impl Source<'_> {
    /// Whether one commit leads to another; `None` if that is not known from what is here.
    fn leads_to(&self, ancestor: &ObjectId, commit: &ObjectId) -> Result<Option<bool>, GitError> {
        let mut complete = true;
        let mut seen = HashSet::from([*commit]);
        let mut left = vec![*commit];
        while let Some(id) = left.pop() {
            if id == *ancestor {
                return Ok(Some(true));
            }
            if !self.has(&id) {
                complete = false;
                continue;
            }
            left.extend(
                self.commit(&id)?.parents.into_iter().filter(|parent| seen.insert(*parent)),
            );
        }
        Ok(complete.then_some(false))
    }

    /// Commits that lead to one and are here without their parents.
    fn boundary(&self, commit: &ObjectId) -> Result<Vec<ObjectId>, GitError> {
        let mut boundary = Vec::new();
        let mut seen = HashSet::from([*commit]);
        let mut left = vec![*commit];
        while let Some(id) = left.pop() {
            let parents = self.commit(&id)?.parents;
            if parents.iter().any(|parent| !self.has(parent)) {
                boundary.push(id);
            }
            let here = parents.into_iter().filter(|parent| self.has(parent));
            left.extend(here.filter(|parent| seen.insert(*parent)));
        }
        Ok(boundary)
    }

    /// Fetches commits that lead to one; all of them, if there is no depth.
    async fn deepen(&self, commit: ObjectId, depth: Option<u32>) -> Result<(), GitError> {
        let filter = self.filters().then_some(Filter::TreeDepth(0));
        let mut request =
            FetchRequest { wants: vec![commit], depth, filter, ..FetchRequest::default() };
        if filter.is_none() && self.has(&commit) {
            // Their files are here and need not come again.
            (request.haves, request.shallow) = (vec![commit], self.boundary(&commit)?);
        }
        let mut fetched = self.fetch(&request).await;
        if filter.is_some() && fetched.as_ref().is_err_and(refuses) {
            request.filter = None;
            fetched = self.fetch(&request).await;
            if fetched.is_ok() {
                self.give_up_filters();
            }
        }
        let refused = match fetched {
            Err(error) if refuses(&error) && self.server.version == Version::One => error,
            other => return other.map(|_| ()),
        };
        // Version 1 gives out what references point to; the commit may be behind one.
        let prefixes = ["refs/heads/".to_owned()];
        let found = protocol::ls_refs(&self.git.transport, &self.server, &prefixes).await?;
        request.wants = found.all.iter().map(|reference| reference.id).collect();
        request.depth = None;
        if request.wants.is_empty() {
            return Err(refused);
        }
        self.fetch(&request).await?;
        if self.has(&commit) { Ok(()) } else { Err(refused) }
    }
}
