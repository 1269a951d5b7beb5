//! The references of a repository on this machine: files of their own, and those in `packed-refs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Problem;
use super::store::LocalRepository;
use crate::git::id::ObjectId;
use crate::git::object::{self, Kind};
use crate::git::stored::text;

/// What a reference points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) id: ObjectId,
    /// What the annotated tag there leads to.
    pub(super) peeled: Option<ObjectId>,
}

/// All references.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) all: BTreeMap<String, Target>,
    /// What `HEAD` stands for.
    pub(super) head: Option<String>,
    /// What `HEAD` is, if it stands for nothing.
    detached: Option<ObjectId>,
}

impl References {
    /// What `HEAD` is, if it is anything.
    pub(super) fn head_id(&self) -> Option<ObjectId> {
        let of_branch = || self.all.get(self.head.as_ref()?).map(|target| target.id);
        self.detached.or_else(of_branch)
    }
}

/// Reads all references.
pub(super) fn all(repository: &LocalRepository) -> Result<References, Problem> {
    let mut found = packed(repository);
    loose(&repository.common.join("refs"), "refs", &mut found, 0);
    let mut references = References::default();
    for (name, value) in &found {
        if let Some(id) = follow(&found, value) {
            // What points to an object that is lost is lost too.
            if repository.has(&id) {
                let peeled = peel(repository, id)?;
                references.all.insert(name.clone(), Target { id, peeled });
            }
        }
    }
    let head = text(repository.dir.join("HEAD")).map_err(|e| e.to_string())?;
    match head.trim().strip_prefix("ref: ") {
        Some(target) => references.head = Some(target.trim().to_owned()),
        None => references.detached = ObjectId::parse(head.trim()),
    }
    Ok(references)
}

/// What a reference is now.
pub(super) fn read(repository: &LocalRepository, name: &str) -> Option<ObjectId> {
    match text(repository.common.join(name)) {
        Ok(line) => ObjectId::parse(line.trim()),
        Err(_) => packed(repository).get(name).and_then(|text| ObjectId::parse(text)),
    }
}

fn packed(repository: &LocalRepository) -> BTreeMap<String, String> {
    let packed = text(repository.common.join("packed-refs")).unwrap_or_default();
    let lines = packed.lines().filter(|line| !line.starts_with(['#', '^']));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(id, name)| (name.to_owned(), id.to_owned()))
        .collect()
}

/// References that are files; they come before those that are packed.
fn loose(dir: &Path, name: &str, found: &mut BTreeMap<String, String>, level: usize) {
    /// Names of more parts than this are nobody's.
    const DEPTH: usize = 32;
    if level > DEPTH {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(part) = entry.file_name().into_string() else { continue };
        let name = format!("{name}/{part}");
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            loose(&path, &name, found, level + 1);
        } else if kind.is_file()
            && path.extension().is_none_or(|end| end != "lock")
            && let Ok(text) = text(&path)
        {
            found.insert(name, text.trim().to_owned());
        }
    }
}

/// The id that a value is or leads to.
fn follow(found: &BTreeMap<String, String>, value: &str) -> Option<ObjectId> {
    let mut value = value;
    for _ in 0..5 {
        match value.strip_prefix("ref: ") {
            Some(name) => value = found.get(name.trim())?,
            None => return ObjectId::parse(value),
        }
    }
    None
}

fn peel(repository: &LocalRepository, id: ObjectId) -> Result<Option<ObjectId>, Problem> {
    let mut at = id;
    for _ in 0..8 {
        let (kind, bytes) = repository.read(&at)?;
        match object::tagged(&bytes) {
            Some(next) if kind == Kind::Tag => at = next,
            _ => break,
        }
    }
    Ok((at != id).then_some(at))
}
