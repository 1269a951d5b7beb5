//! A repository in memory, in which others act at the moments that a test has chosen.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::upstream::Upstream;
use crate::git::{Author, Commit, GitError, NewCommit, ObjectId, PushOutcome, Pushed};
use crate::gitops::edits::Glob;
use crate::image::Digest;

/// What happens at a push.
pub(super) enum At {
    /// Nothing special.
    Push,
    /// Somebody else is faster, and makes this of a file.
    Other(&'static str, &'static str, &'static str),
    /// It is refused, with these words.
    Refuse(&'static str),
    /// It is taken and the answer is lost.
    Lost,
    /// It is lost on its way.
    Never,
}

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone)]
pub(super) struct FakeCommit {
    pub(super) commit: Commit,
    pub(super) files: Files,
}

#[derive(Default)]
struct State {
    commits: BTreeMap<ObjectId, FakeCommit>,
    branches: BTreeMap<String, ObjectId>,
    script: VecDeque<At>,
    /// Older, newer: what the repository of the sources says.
    history: Vec<(ObjectId, ObjectId)>,
    pushes: Vec<(String, Vec<String>)>,
    messages: Vec<String>,
}

/// The repository.
#[derive(Default)]
pub(super) struct Fake(RefCell<State>);

fn id(text: &str) -> ObjectId {
    ObjectId::parse(&Digest::of(text.as_bytes()).hex()[..40]).unwrap()
}

impl Fake {
    /// One branch `main` with these files.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self::default();
        let files: Files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        let commit = commit(&[], &files, "first", "someone");
        fake.add("main", FakeCommit { commit, files });
        fake
    }

    pub(super) fn script(self, script: impl IntoIterator<Item = At>) -> Self {
        self.0.borrow_mut().script = script.into_iter().collect();
        self
    }

    pub(super) fn sources(self, older: &str, newer: &str) -> Self {
        let pair = (ObjectId::parse(older).unwrap(), ObjectId::parse(newer).unwrap());
        self.0.borrow_mut().history.push(pair);
        self
    }

    pub(super) fn says(self, message: &str) -> Self {
        self.0.borrow_mut().messages.push(message.to_owned());
        self
    }

    fn add(&self, branch: &str, commit: FakeCommit) {
        let mut state = self.0.borrow_mut();
        state.branches.insert(branch.to_owned(), commit.commit.id);
        state.commits.insert(commit.commit.id, commit);
    }

    /// Somebody changes a file of a branch.
    pub(super) fn other(&self, branch: &str, path: &str, text: &str, message: &str, who: &str) {
        let FakeCommit { commit: parent, mut files } = self.tip(branch).unwrap();
        files.insert(path.to_owned(), text.as_bytes().to_vec());
        let commit = commit(&[parent.id], &files, message, who);
        self.add(branch, FakeCommit { commit, files });
    }

    pub(super) fn tip(&self, branch: &str) -> Option<FakeCommit> {
        let state = self.0.borrow();
        state.branches.get(branch).map(|id| state.commits[id].clone())
    }

    /// The text of a file now.
    pub(super) fn text(&self, branch: &str, path: &str) -> String {
        String::from_utf8(self.tip(branch).unwrap().files[path].clone()).unwrap()
    }

    /// Subjects of a branch, the newest first; fails if a commit has not one parent.
    pub(super) fn subjects(&self, branch: &str) -> Vec<String> {
        let state = self.0.borrow();
        let mut next = state.branches.get(branch).copied();
        let mut subjects = Vec::new();
        while let Some(id) = next {
            let commit = &state.commits[&id].commit;
            assert!(commit.parents.len() < 2);
            subjects.push(commit.subject().to_owned());
            next = commit.parents.first().copied();
        }
        subjects
    }

    /// Branches that were pushed to, with the options.
    pub(super) fn pushes(&self) -> Vec<(String, Vec<String>)> {
        self.0.borrow().pushes.clone()
    }
}

fn commit(parents: &[ObjectId], files: &Files, message: &str, who: &str) -> Commit {
    let author =
        Author { name: who.to_owned(), email: format!("{who}@example.com"), seconds: 0, offset: 0 };
    Commit {
        id: id(&format!("{parents:?}{files:?}{message}{who}")),
        tree: id(&format!("{files:?}")),
        parents: parents.to_vec(),
        author: author.clone(),
        committer: author,
        message: message.to_owned(),
    }
}

impl Upstream for Fake {
    type Tip = FakeCommit;
    type Made = FakeCommit;

    async fn default_branch(&self) -> Result<Option<String>, GitError> {
        Ok(Some("refs/heads/main".to_owned()))
    }

    async fn open(&self, branch: &str) -> Result<FakeCommit, GitError> {
        self.tip(branch).ok_or_else(|| GitError::NoReference {
            remote: "fake".to_owned(),
            name: branch.to_owned(),
            near: Vec::new(),
        })
    }

    async fn reference(&self, branch: &str) -> Result<Option<ObjectId>, GitError> {
        Ok(self.tip(branch).map(|tip| tip.commit.id))
    }

    fn commit<'a>(&self, tip: &'a FakeCommit) -> &'a Commit {
        &tip.commit
    }

    async fn glob(&self, tip: &FakeCommit, pattern: &str) -> Result<Vec<String>, GitError> {
        let glob = Glob::new(pattern);
        Ok(tip.files.keys().filter(|path| glob.matches(path)).cloned().collect())
    }

    async fn read(
        &self,
        tip: &FakeCommit,
        paths: &[String],
    ) -> Result<Vec<Option<Arc<Vec<u8>>>>, GitError> {
        Ok(paths.iter().map(|path| tip.files.get(path).cloned().map(Arc::new)).collect())
    }

    async fn list(&self, tip: &FakeCommit, dir: &str) -> Result<Vec<String>, GitError> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let below = tip.files.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<String> =
            below.map(|rest| rest.split('/').next().unwrap_or_default().to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    async fn log(&self, tip: &FakeCommit, count: u32) -> Result<Vec<Commit>, GitError> {
        let state = self.0.borrow();
        let mut commits = vec![tip.commit.clone()];
        while commits.len() < count as usize {
            let Some(parent) = commits[commits.len() - 1].parents.first() else { break };
            commits.push(state.commits[parent].commit.clone());
        }
        Ok(commits)
    }

    async fn make(
        &self,
        tip: &FakeCommit,
        changed: &BTreeMap<String, Vec<u8>>,
        new: &NewCommit,
    ) -> Result<Option<FakeCommit>, GitError> {
        let mut files = tip.files.clone();
        files.extend(changed.clone());
        if files == tip.files {
            return Ok(None);
        }
        let mut commit = commit(&[tip.commit.id], &files, &new.message, &new.committer.name);
        commit.committer.email.clone_from(&new.committer.email);
        Ok(Some(FakeCommit { commit, files }))
    }

    fn id(&self, made: &FakeCommit) -> ObjectId {
        made.commit.id
    }

    fn tree(&self, made: &FakeCommit) -> ObjectId {
        made.commit.tree
    }

    async fn push(
        &self,
        branch: &str,
        old: Option<ObjectId>,
        made: &FakeCommit,
        options: &[String],
    ) -> Result<Pushed, GitError> {
        let refused = |reason: &str| {
            let outcome = PushOutcome::Refused {
                reference: format!("refs/heads/{branch}"),
                reason: reason.to_owned(),
            };
            Ok(Pushed { outcome, messages: Vec::new() })
        };
        let unknown = || {
            let remote = "fake".to_owned();
            let lost = GitError::Status { remote: remote.clone(), status: 502, authorized: true };
            Err(GitError::Unknown { remote, source: lost.into() })
        };
        let mut state = self.0.borrow_mut();
        state.pushes.push((branch.to_owned(), options.to_vec()));
        let at = state.script.pop_front().unwrap_or(At::Push);
        drop(state);
        match at {
            At::Refuse(reason) => return refused(reason),
            At::Never => return unknown(),
            At::Other(path, text, message) => self.other(branch, path, text, message, "other"),
            At::Push | At::Lost => {}
        }
        if self.tip(branch).map(|tip| tip.commit.id) != old {
            return refused("failed to update ref");
        }
        self.add(branch, made.clone());
        if let At::Lost = at {
            return unknown();
        }
        Ok(Pushed { outcome: PushOutcome::Done, messages: self.0.borrow().messages.clone() })
    }

    async fn leads_to(&self, older: &ObjectId, newer: &ObjectId) -> Result<Option<bool>, GitError> {
        let history = &self.0.borrow().history;
        Ok((!history.is_empty()).then(|| history.contains(&(*older, *newer))))
    }
}
