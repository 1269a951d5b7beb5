//! A repository's directory: where its objects are, and what its configuration says of them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::ZlibDecoder;

use super::Problem;
use crate::git::config;
use crate::git::id::{ObjectFormat, ObjectId};
use crate::git::object::Kind;
use crate::git::pack::StoredPack;

/// A repository on this machine.
#[derive(Debug)]
pub(super) struct LocalRepository {
    /// The directory with `HEAD`; of a work tree's own, if it has one.
    pub(super) dir: PathBuf,
    /// The directory with references and objects.
    pub(super) common: PathBuf,
    pub(super) format: ObjectFormat,
    pub(super) config: Vec<config::Value>,
    /// Directories of objects: its own, and those that it borrows from.
    objects: Vec<PathBuf>,
    packs: Vec<StoredPack>,
    /// Commits whose parents are not here.
    pub(super) shallow: Vec<ObjectId>,
}

/// An object that takes more than this is not held in memory.
const LARGEST: u64 = 1 << 30;

/// A small file of a repository as text. What is no regular file is refused: a pipe would never end.
pub(super) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    /// Larger than any list of references that is read here.
    const LIMIT: u64 = 256 << 20;
    let mut text = String::new();
    crate::fs::open_regular(path.as_ref())?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
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
            objects: Vec::new(),
            packs: Vec::new(),
            shallow: Vec::new(),
            format: ObjectFormat::Sha1,
            dir,
            common,
            config,
        };
        repository.extensions()?;
        let own = repository.common.join("objects");
        repository.borrow(own, 0)?;
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

    /// What changes how a repository is to be read.
    fn extensions(&mut self) -> Result<(), Problem> {
        let extensions = self.config.iter().filter(|value| value.section == "extensions");
        for config::Value { key, text, .. } in extensions {
            match (key.as_str(), text.to_ascii_lowercase().as_str()) {
                ("objectformat", "sha1") | ("refstorage", "files") => {}
                ("objectformat", "sha256") => self.format = ObjectFormat::Sha256,
                ("objectformat", _) => return Err(format!("its objects are named by {text}")),
                ("refstorage", _) => {
                    return Err(format!("its references are kept as {text}, not as files"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a directory of objects, and those that it names.
    fn borrow(&mut self, objects: PathBuf, level: usize) -> Result<(), Problem> {
        /// As deep as git goes.
        const DEPTH: usize = 5;
        if level > DEPTH || self.objects.contains(&objects) {
            return Ok(());
        }
        let packs = objects.join("pack");
        for entry in fs::read_dir(&packs).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "idx") {
                let pack = StoredPack::open(&path, self.format);
                self.packs.push(pack.map_err(|error| text_of(&error))?);
            }
        }
        let list = text(objects.join("info/alternates")).unwrap_or_default();
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let others: Vec<PathBuf> = lines.map(|line| objects.join(line)).collect();
        self.objects.push(objects);
        others.into_iter().try_for_each(|other| self.borrow(other, level + 1))
    }

    /// Where an object of its own stands by itself.
    pub(super) fn place(&self, id: &ObjectId) -> PathBuf {
        loose(&self.common.join("objects"), id)
    }

    /// Whether an object is there.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.packs.iter().any(|pack| pack.has(id))
            || self.objects.iter().any(|dir| loose(dir, id).is_file())
    }

    /// An object, whole.
    pub(super) fn read(&self, id: &ObjectId) -> Result<(Kind, Arc<Vec<u8>>), Problem> {
        for pack in &self.packs {
            if let Some(found) = pack.read(id).map_err(|error| text_of(&error))? {
                return Ok(found);
            }
        }
        for dir in &self.objects {
            if let Ok(file) = fs::File::open(loose(dir, id)) {
                return unpack(file).ok_or_else(|| format!("the object {id} is damaged"));
            }
        }
        Err(format!("the object {id} is missing"))
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

fn loose(objects: &Path, id: &ObjectId) -> PathBuf {
    let name = id.to_string();
    objects.join(&name[..2]).join(&name[2..])
}

/// An object that stands by itself: its kind and size, a zero byte, its content.
fn unpack(file: fs::File) -> Option<(Kind, Arc<Vec<u8>>)> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(file).take(LARGEST).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (kind, size) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let kind = match kind {
        "commit" => Kind::Commit,
        "tree" => Kind::Tree,
        "blob" => Kind::Blob,
        "tag" => Kind::Tag,
        _ => return None,
    };
    let size: usize = size.parse().ok()?;
    let content = bytes.split_off(end + 1);
    (content.len() == size).then(|| (kind, Arc::new(content)))
}

fn text_of(error: &crate::git::pack::PackError) -> Problem {
    use crate::git::pack::PackError;
    match error {
        PackError::Damaged(problem) => problem.clone(),
        PackError::Io(error) => error.to_string(),
        PackError::Stopped => "it was stopped".to_owned(),
    }
}
