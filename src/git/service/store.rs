//! A repository's directory: where its objects are, and what its configuration says of them.

use std::fs;
use std::path::{Path, PathBuf};

use super::Problem;
use crate::git::config;
use crate::git::id::{ObjectFormat, ObjectId};
use crate::git::pack::{PackError, Stored};
use crate::git::stored::{StoredObjects, text};

/// A repository on this machine.
#[derive(Debug)]
pub(super) struct LocalRepository {
    /// The directory with `HEAD`; of a work tree's own, if it has one.
    pub(super) dir: PathBuf,
    /// The directory with references and objects.
    pub(super) common: PathBuf,
    pub(super) format: ObjectFormat,
    pub(super) config: Vec<config::Value>,
    objects: StoredObjects,
    /// Commits whose parents are not here.
    pub(super) shallow: Vec<ObjectId>,
}

impl LocalRepository {
    /// Opens a bare repository, or that of a work tree.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let dir = locate(path)?;
        let common = match text(dir.join("commondir")) {
            Ok(text) => dir.join(text.trim()),
            Err(_) => dir.clone(),
        };
        let settings = text(common.join("config")).unwrap_or_default();
        let config = config::parse(&settings)
            .map_err(|line| format!("line {line} of its config is not understood"))?;
        let mut repository = Self {
            objects: StoredObjects::default(),
            shallow: Vec::new(),
            format: config::object_format(&config)?,
            dir,
            common,
            config,
        };
        let own = repository.common.join("objects");
        repository.objects = StoredObjects::open(own, repository.format).map_err(text_of)?;
        let shallow = text(repository.common.join("shallow")).unwrap_or_default();
        repository.shallow = shallow.lines().filter_map(ObjectId::parse).collect();
        Ok(repository)
    }

    /// The last value of a key of the configuration.
    pub(super) fn setting(&self, section: &str, key: &str) -> Option<&str> {
        let mut values = self.config.iter().rev();
        let found = values.find(|v| v.section == section && v.subsection.is_none() && v.key == key);
        found.map(|value| value.text.as_str())
    }

    /// Where an object of its own stands by itself.
    pub(super) fn place(&self, id: &ObjectId) -> PathBuf {
        self.objects.place(id)
    }

    /// Whether an object is there.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.objects.has(id)
    }

    /// An object, whole.
    pub(super) fn read(&self, id: &ObjectId) -> Result<Stored, Problem> {
        let found = self.objects.read(id).map_err(text_of)?;
        found.ok_or_else(|| format!("the object {id} is missing"))
    }
}

/// The directory with `HEAD`: the path itself, or what a work tree there has.
fn locate(path: &Path) -> Result<PathBuf, Problem> {
    let is_repository = |dir: &Path| {
        dir.join("HEAD").exists()
            && (dir.join("objects").is_dir() || dir.join("commondir").is_file())
    };
    let mut with_ending = path.as_os_str().to_owned();
    with_ending.push(".git");
    for dir in [path.join(".git"), path.to_owned(), PathBuf::from(with_ending)] {
        if is_repository(&dir) {
            return Ok(dir);
        }
        // A file in its place says where it is.
        if dir.is_file()
            && let Ok(text) = text(&dir)
            && let Some(target) = text.trim().strip_prefix("gitdir: ")
        {
            let dir = dir.parent().unwrap_or(Path::new(".")).join(target);
            if is_repository(&dir) {
                return Ok(dir);
            }
        }
    }
    Err(match fs::metadata(path) {
        Ok(_) => "this is not a git repository".to_owned(),
        Err(error) => error.to_string(),
    })
}

/// An error of packs in words.
pub(super) fn text_of(error: PackError) -> Problem {
    match error {
        PackError::Damaged(problem) => problem,
        PackError::Io(error) => error.to_string(),
        PackError::Stopped => "it was stopped".to_owned(),
    }
}
