//! Which objects a fetch brings: what wanted objects lead to, as far as depth and filter go.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Problem;
use super::store::LocalRepository;
use crate::git::id::ObjectId;
use crate::git::object::{self, Commit, Kind, Mode};
use crate::git::protocol::Filter;

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) wants: Vec<ObjectId>,
    pub(super) haves: Vec<ObjectId>,
    /// Commits that the other side has without their parents.
    pub(super) shallow: Vec<ObjectId>,
    pub(super) depth: Option<u32>,
    pub(super) filter: Option<Filter>,
}

/// What is given.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// In the order in which they were found, each once.
    pub(super) objects: Vec<ObjectId>,
    /// Commits whose parents are left out.
    pub(super) shallow: Vec<ObjectId>,
}

struct Walk<'a> {
    repository: &'a LocalRepository,
    filter: Option<Filter>,
    given: Given,
    /// What is here, or was given; trees with how far from a commit they were met.
    seen: HashMap<ObjectId, u32>,
}

/// Finds what is given.
pub(super) fn walk(repository: &LocalRepository, wanted: &Wanted) -> Result<Given, Problem> {
    let known = Walk { repository, filter: None, given: Given::default(), seen: HashMap::new() };
    let seen = known.of_haves(wanted)?;
    let mut walk = Walk {
        repository,
        filter: wanted.filter,
        given: Given::default(),
        seen: seen.into_iter().map(|id| (id, 0)).collect(),
    };
    let mut commits = VecDeque::new();
    for want in &wanted.wants {
        let mut id = *want;
        loop {
            let (kind, bytes) = repository.read(&id)?;
            match kind {
                Kind::Tag => {
                    walk.take(id, 0);
                    id = object::tagged(&bytes).ok_or_else(|| malformed(&id))?;
                }
                Kind::Commit => {
                    commits.push_back((id, 1));
                    break;
                }
                // What is wanted by itself is given whatever the filter says.
                Kind::Tree => {
                    walk.tree(id, 0, true)?;
                    break;
                }
                Kind::Blob => {
                    walk.take(id, 0);
                    break;
                }
            }
        }
    }
    walk.commits(commits, wanted.depth, &wanted.shallow)?;
    Ok(walk.given)
}

impl Walk<'_> {
    /// What the other side has: all that its commits lead to.
    fn of_haves(mut self, wanted: &Wanted) -> Result<HashSet<ObjectId>, Problem> {
        let haves = wanted.haves.iter().filter(|id| self.repository.has(id));
        let mut left: Vec<ObjectId> = haves.copied().collect();
        let mut seen = HashSet::new();
        while let Some(id) = left.pop() {
            if !seen.insert(id) {
                continue;
            }
            let (kind, bytes) = self.repository.read(&id)?;
            if kind != Kind::Commit {
                continue;
            }
            let commit = Commit::parse(&bytes).ok_or_else(|| malformed(&id))?;
            self.tree(commit.tree, 0, true)?;
            let ends = wanted.shallow.contains(&id) || self.repository.shallow.contains(&id);
            if !ends {
                left.extend(Commit::parents(&bytes));
            }
        }
        seen.extend(self.given.objects);
        Ok(seen)
    }

    /// Gives an object, if it was not; whether it is new.
    fn take(&mut self, id: ObjectId, depth: u32) -> bool {
        let is_new = self.seen.insert(id, depth).is_none();
        if is_new {
            self.given.objects.push(id);
        }
        is_new
    }

    fn commits(
        &mut self,
        mut left: VecDeque<(ObjectId, u32)>,
        depth: Option<u32>,
        shallow: &[ObjectId],
    ) -> Result<(), Problem> {
        // Each commit is met first on the shortest way to it.
        let mut met = HashSet::new();
        while let Some((id, level)) = left.pop_front() {
            if !met.insert(id) {
                continue;
            }
            let (_, bytes) = self.repository.read(&id)?;
            let commit = Commit::parse(&bytes).ok_or_else(|| malformed(&id))?;
            let known = !self.take(id, 0);
            if !known {
                self.tree(commit.tree, 0, false)?;
            }
            let parents = Commit::parents(&bytes);
            let is_end = depth.is_some_and(|depth| level >= depth);
            if self.repository.shallow.contains(&id) || is_end && !parents.is_empty() {
                self.given.shallow.push(id);
                continue;
            }
            // The other side has all before a commit that it has, unless it says otherwise.
            if !known || depth.is_some() || shallow.contains(&id) {
                left.extend(parents.into_iter().map(|parent| (parent, level + 1)));
            }
        }
        Ok(())
    }

    /// Gives a tree and what is in it.
    fn tree(&mut self, root: ObjectId, depth: u32, asked: bool) -> Result<(), Problem> {
        let mut left = vec![(root, depth, asked)];
        while let Some((id, depth, asked)) = left.pop() {
            let too_deep =
                |depth: u32| matches!(self.filter, Some(Filter::TreeDepth(most)) if depth >= most);
            if too_deep(depth) && !asked {
                continue;
            }
            match self.seen.get(&id) {
                // Met before, and not farther away.
                Some(before) if *before <= depth => continue,
                Some(_) => drop(self.seen.insert(id, depth)),
                None => drop(self.take(id, depth)),
            }
            let (_, bytes) = self.repository.read(&id)?;
            let entries = object::parse_tree(&bytes, self.repository.format);
            for entry in entries.ok_or_else(|| malformed(&id))? {
                match entry.mode {
                    Mode::Directory => left.push((entry.id, depth + 1, false)),
                    Mode::Submodule => {}
                    Mode::File { .. } | Mode::Symlink => {
                        let within = match self.filter {
                            None => true,
                            Some(Filter::NoBlobs) => false,
                            Some(Filter::TreeDepth(most)) => depth + 1 < most,
                            Some(Filter::BlobLimit(most)) => {
                                !self.seen.contains_key(&entry.id)
                                    && (self.repository.read(&entry.id)?.1.len() as u64) < most
                            }
                        };
                        if within {
                            self.take(entry.id, 0);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn malformed(id: &ObjectId) -> Problem {
    format!("the object {id} is malformed")
}
