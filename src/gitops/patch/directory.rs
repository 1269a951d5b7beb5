//! The change in files of a directory, without git: `--workdir`.
//!
//! Each file is replaced by another of the same mode, so that nobody reads half of one; all edits are
//! made in memory before the first file is touched. Links are neither read nor replaced.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{PatchError, PatchRequest, Patched};

/// Makes the change in the files below `dir`.
pub fn patch_directory(dir: &Path, request: &PatchRequest) -> Result<Patched, PatchError> {
    request.check()?;
    let mut paths: Vec<String> = Vec::new();
    let mut all: Option<Vec<String>> = None;
    for glob in request.patterns() {
        if !glob.has_wildcard() {
            check(glob.as_str())?;
            paths.push(glob.as_str().to_owned());
            continue;
        }
        let all = match &all {
            Some(all) => all,
            None => all.insert(walk(dir)?),
        };
        let found: Vec<&String> = all.iter().filter(|path| glob.matches(path)).collect();
        if found.is_empty() {
            return Err(PatchError::NoFile { path: glob.as_str().to_owned(), there: Vec::new() });
        }
        paths.extend(found.into_iter().cloned());
    }
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    let mut files = Vec::new();
    for path in paths {
        let content = read(dir, &path);
        let content = content.map_err(|e| failed("read", dir.join(&path), e))?;
        files.push((path, content));
    }
    let computed = request.compute(&files)?;
    if !request.dry_run {
        for file in &computed.files {
            let path = dir.join(&file.path);
            replace(&path, &file.new).map_err(|e| failed("write", path, e))?;
        }
    }
    let changed = !computed.files.is_empty();
    Ok(Patched { changed, attempts: 1, files: computed.files, ..Patched::default() })
}

fn failed(what: &'static str, path: PathBuf, source: io::Error) -> PatchError {
    PatchError::File { what, path, source }
}

/// No path leads out of the directory.
fn check(path: &str) -> Result<(), PatchError> {
    let odd = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if odd { Err(crate::git::GitError::BadPath { path: path.to_owned() }.into()) } else { Ok(()) }
}

/// The files below a directory, sorted; what git keeps for itself is left out.
fn walk(dir: &Path) -> Result<Vec<String>, PatchError> {
    let mut files = Vec::new();
    let mut left = vec![(dir.to_owned(), String::new())];
    while let Some((dir, prefix)) = left.pop() {
        let entries = fs::read_dir(&dir).map_err(|e| failed("read", dir.clone(), e))?;
        for entry in entries {
            let entry = entry.map_err(|e| failed("read", dir.clone(), e))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type().map_err(|e| failed("read", entry.path(), e))?;
            if name == ".git" {
                continue;
            }
            if kind.is_dir() {
                left.push((entry.path(), format!("{prefix}{name}/")));
            } else if kind.is_file() {
                files.push(format!("{prefix}{name}"));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read(dir: &Path, file: &str) -> io::Result<Vec<u8>> {
    // A link anywhere on the way may lead out of the directory.
    let mut path = dir.to_owned();
    for part in Path::new(file) {
        path.push(part);
        if fs::symlink_metadata(&path)?.is_symlink() {
            return Err(io::Error::other(format!("{} is a symbolic link", path.display())));
        }
    }
    let mut bytes = Vec::new();
    crate::fs::open_regular(&path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts another file in the place of one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        // The umask has no part in it.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fs::rename(&new, path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}
