//! A commit that changes a few files of another: new files, the directories on the way to them
//! and the commit itself are made; all else stays as it is, by its id and its mode.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::branch::{Head, full_name, parts, what};
use super::error::GitError;
use super::id::{ObjectFormat, ObjectId};
use super::object::{self, Kind, Mode, TreeEntry};
use super::objects::Source;
use super::pack::Object;
use super::url::Remote;
use super::{Commit, Git, NewCommit, Signer};

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It has this content from now on; it is made if it is not there.
    Write {
        /// The content.
        bytes: Vec<u8>,
        /// Whether it is executable; `None` leaves it as it is.
        executable: Option<bool>,
    },
    /// It is removed, and directories that hold nothing else.
    Remove,
}

/// A commit that was made, and is not in the repository elsewhere before it is pushed.
#[derive(Clone, Debug)]
pub struct Made {
    /// The commit.
    pub commit: Commit,
    /// What came into being with it.
    pub(super) objects: Vec<Object>,
}

/// What is changed below a directory.
#[derive(Default)]
struct Changes<'a> {
    here: BTreeMap<&'a str, &'a Edit>,
    below: BTreeMap<&'a str, Changes<'a>>,
}

impl<'g> Head<'g> {
    /// Makes a commit on this one in which some files are changed. `None` if nothing is: all of
    /// them are as they should be.
    pub async fn commit_with(
        &self,
        edits: &BTreeMap<String, Edit>,
        new: &NewCommit,
        signer: Option<&dyn Signer>,
    ) -> Result<Option<Made>, GitError> {
        let paths: Vec<&str> = edits.keys().map(String::as_str).collect();
        self.find(&paths).await?;
        let base = Some(self.commit.tree);
        let made = make(&self.source, base, &[self.id()], edits, new, signer)?;
        Ok(made.filter(|made| made.commit.tree != self.commit.tree))
    }

    /// The branch as it is once the commit is pushed, for another commit on it.
    #[must_use]
    pub fn after(&self, made: &Made) -> Head<'g> {
        Head { commit: made.commit.clone(), ..self.clone() }
    }
}

impl Git {
    /// Makes the first commit of a branch, which has no parent: of an empty repository, or of one
    /// whose other branches have nothing to do with it.
    pub async fn first_commit(
        &self,
        remote: &Remote,
        branch: &str,
        edits: &BTreeMap<String, Edit>,
        new: &NewCommit,
        signer: Option<&dyn Signer>,
    ) -> Result<(Head<'_>, Made), GitError> {
        let source = self.source(remote).await?;
        let made = make(&source, None, &[], edits, new, signer)?;
        let problem = || GitError::Commit { problem: "it has no files".to_owned() };
        let made = made.ok_or_else(problem)?;
        let commit = made.commit.clone();
        Ok((Head { source, reference: full_name(branch), commit }, made))
    }
}

fn make(
    source: &Source<'_>,
    base: Option<ObjectId>,
    parents: &[ObjectId],
    edits: &BTreeMap<String, Edit>,
    new: &NewCommit,
    signer: Option<&dyn Signer>,
) -> Result<Option<Made>, GitError> {
    if let Some(problem) = new.problem() {
        return Err(GitError::Commit { problem: problem.to_owned() });
    }
    let mut changes = Changes::default();
    for (path, edit) in edits {
        changes.add(path, edit)?;
    }
    let mut making = Making { source, format: source.server.format()?, objects: Vec::new() };
    let tree = match making.tree(base, &changes, "")? {
        Some(tree) => tree,
        // A repository may be left without files, but does not begin so.
        None if base.is_some() => making.object(Kind::Tree, Vec::new())?,
        None => return Ok(None),
    };
    let (mut text, at) = new.text(&tree, parents);
    if let Some(signer) = signer {
        let signature = signer.sign(text.as_bytes(), new.committer.seconds)?;
        text.insert_str(at, &signature_header(making.format, &signature));
    }
    let commit = making.object(Kind::Commit, text.clone().into_bytes())?;
    let commit = Commit::parse(commit, text.as_bytes());
    let commit = commit.ok_or_else(|| source.damaged("a commit was made wrong".to_owned()))?;
    source.keep(&making.objects);
    Ok(Some(Made { commit, objects: making.objects }))
}

/// The signature as a header: its lines but the first are set in by a space.
fn signature_header(format: ObjectFormat, signature: &str) -> String {
    let name = match format {
        ObjectFormat::Sha1 => "gpgsig",
        ObjectFormat::Sha256 => "gpgsig-sha256",
    };
    let lines: Vec<&str> = signature.trim_end().lines().collect();
    format!("{name} {}\n", lines.join("\n "))
}

impl<'a> Changes<'a> {
    fn add(&mut self, path: &'a str, edit: &'a Edit) -> Result<(), GitError> {
        let names = parts(path)?;
        let bad = || GitError::BadPath { path: path.to_owned() };
        let (file, dirs) = names.split_last().ok_or_else(bad)?;
        let mut changes = self;
        for dir in dirs {
            // A file and a directory cannot have one name.
            if changes.here.contains_key(dir) {
                return Err(bad());
            }
            changes = changes.below.entry(dir).or_default();
        }
        if changes.below.contains_key(file) {
            return Err(bad());
        }
        changes.here.insert(file, edit);
        Ok(())
    }
}

/// An entry of a tree, with its mode as it is written there.
struct Entry {
    mode: Vec<u8>,
    id: ObjectId,
}

struct Making<'a, 'g> {
    source: &'a Source<'g>,
    format: ObjectFormat,
    objects: Vec<Object>,
}

impl Making<'_, '_> {
    fn object(&mut self, kind: Kind, content: Vec<u8>) -> Result<ObjectId, GitError> {
        let object = Object::new(self.format, kind, content);
        let object = object.ok_or_else(|| GitError::Commit {
            problem: "a file was made to collide with another (SHA-1)".to_owned(),
        })?;
        let id = object.id;
        if !self.source.has(&id) && !self.objects.iter().any(|known| known.id == id) {
            self.objects.push(object);
        }
        Ok(id)
    }

    /// Makes a directory of what it was; `None` when it holds nothing now.
    fn tree(
        &mut self,
        base: Option<ObjectId>,
        changes: &Changes<'_>,
        path: &str,
    ) -> Result<Option<ObjectId>, GitError> {
        let mut entries = match base {
            Some(base) => self.entries(&base)?,
            None => BTreeMap::new(),
        };
        let below = |name: &str| {
            if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
        };
        for (name, edit) in &changes.here {
            let path = below(name);
            let old = self.old(&entries, name, &path)?;
            if let Some((mode, _)) = old
                && !matches!(mode, Mode::File { .. })
            {
                return Err(self.in_the_way(path, mode, "a file"));
            }
            match edit {
                Edit::Remove if old.is_some() => {
                    entries.remove(name.as_bytes());
                }
                Edit::Remove => {
                    let remote = self.source.remote.to_string();
                    return Err(GitError::NoFile { remote, path });
                }
                Edit::Write { bytes, executable } => {
                    let id = self.object(Kind::Blob, bytes.clone())?;
                    let was = old.map(|(mode, _)| mode == Mode::File { executable: true });
                    let mode = match (was, *executable) {
                        // Old modes such as 100664 stay, where nothing else is asked for.
                        (Some(was), wanted) if wanted.is_none_or(|wanted| wanted == was) => {
                            entries.remove(name.as_bytes()).map(|entry| entry.mode)
                        }
                        (_, wanted) => Some(match wanted {
                            Some(true) => b"100755".to_vec(),
                            _ => b"100644".to_vec(),
                        }),
                    };
                    let mode = mode.unwrap_or_else(|| b"100644".to_vec());
                    entries.insert(name.as_bytes().to_vec(), Entry { mode, id });
                }
            }
        }
        for (name, changes) in &changes.below {
            let path = below(name);
            let old = match self.old(&entries, name, &path)? {
                Some((Mode::Directory, id)) => Some(id),
                Some((mode, _)) => return Err(self.in_the_way(path, mode, "a directory")),
                None => None,
            };
            match self.tree(old, changes, &path)? {
                Some(id) => {
                    let entry = Entry { mode: b"40000".to_vec(), id };
                    entries.insert(name.as_bytes().to_vec(), entry);
                }
                None => {
                    entries.remove(name.as_bytes());
                }
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        self.object(Kind::Tree, written(entries)).map(Some)
    }

    /// What is there now; a name that git keeps for itself is an error.
    fn old(
        &self,
        entries: &BTreeMap<Vec<u8>, Entry>,
        name: &str,
        path: &str,
    ) -> Result<Option<(Mode, ObjectId)>, GitError> {
        let entry = entries.get(name.as_bytes());
        let found = entry.and_then(|entry| Some((mode(&entry.mode)?, entry.id)));
        let (mode, id) = match found {
            Some((mode, id)) => (mode, id),
            None => (Mode::File { executable: false }, ObjectId::null(self.format)),
        };
        let named = TreeEntry { name: name.as_bytes().to_vec(), mode, id };
        if object::problem(&named).is_some() {
            return Err(GitError::BadPath { path: path.to_owned() });
        }
        Ok(found)
    }

    /// The entries of a tree, with modes as they are.
    fn entries(&self, tree: &ObjectId) -> Result<BTreeMap<Vec<u8>, Entry>, GitError> {
        let bytes: Arc<Vec<u8>> = self.source.read(tree, Kind::Tree)?;
        let malformed = || self.source.damaged(format!("the tree {tree} is malformed"));
        let read = object::parse_tree(&bytes, self.format).ok_or_else(malformed)?;
        let mut rest = bytes.as_slice();
        let mut entries = BTreeMap::new();
        for entry in read {
            // It was read just now, so the parts are there.
            let space = rest.iter().position(|b| *b == b' ').ok_or_else(malformed)?;
            let mode = rest[..space].to_vec();
            rest = &rest[space + 1 + entry.name.len() + 1 + self.format.len()..];
            if entries.insert(entry.name, Entry { mode, id: entry.id }).is_some() {
                return Err(malformed());
            }
        }
        Ok(entries)
    }

    fn in_the_way(&self, path: String, mode: Mode, expected: &'static str) -> GitError {
        let remote = self.source.remote.to_string();
        GitError::InTheWay { remote, path, found: what(mode), expected }
    }
}

fn mode(digits: &[u8]) -> Option<Mode> {
    let mode = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
    object::mode(mode)
}

/// A tree's bytes; a directory is sorted as if its name ended in a slash.
fn written(entries: BTreeMap<Vec<u8>, Entry>) -> Vec<u8> {
    let mut sorted: Vec<(Vec<u8>, Vec<u8>, Entry)> = Vec::new();
    for (name, entry) in entries {
        let mut key = name.clone();
        if mode(&entry.mode) == Some(Mode::Directory) {
            key.push(b'/');
        }
        sorted.push((key, name, entry));
    }
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut bytes = Vec::new();
    for (_, name, entry) in sorted {
        bytes.extend_from_slice(&entry.mode);
        bytes.push(b' ');
        bytes.extend_from_slice(&name);
        bytes.push(0);
        bytes.extend_from_slice(entry.id.as_bytes());
    }
    bytes
}
