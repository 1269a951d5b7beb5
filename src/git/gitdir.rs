//! A `.git` that git accepts: the pack as it came, its index, and what was checked out.
//!
//! As BuildKit leaves it: one commit, `HEAD` at it and not at a branch, the branch or tag that was
//! asked for beside it, the remote without credentials, no log. A submodule's is below
//! `.git/modules`, and a file `.git` in its work tree says so. Nothing in it depends on when and
//! where it was made, but for the pack, which is the server's.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode as Permissions, OFlags};

use super::checkout::{Staged, io_error};
use super::error::GitError;
use super::id::ObjectFormat;
use super::object::Mode;
use super::pack::with_checksum;
use super::repository::Repository;
use crate::fs::{create_dir_all_in_root, open_subdir};

/// Where a `.git` goes.
#[derive(Clone, Copy)]
pub(super) struct Location<'a> {
    /// The root of the checkout.
    pub(super) root: BorrowedFd<'a>,
    /// The work tree, below the root.
    pub(super) work_tree: &'a [u8],
    /// Of a submodule: the directory, below the root.
    pub(super) module: Option<&'a str>,
}

impl Location<'_> {
    /// Writes it; `staged` is what was checked out.
    pub(super) fn write(
        &self,
        repository: &Repository,
        staged: Vec<Staged>,
    ) -> Result<(), GitError> {
        let path = self.module.unwrap_or(".git");
        self.try_write(path, repository, staged).map_err(|error| io_error(path.as_bytes(), error))
    }

    fn try_write(
        &self,
        path: &str,
        repository: &Repository,
        staged: Vec<Staged>,
    ) -> io::Result<()> {
        let dir = self.make(path)?;
        for below in ["refs/heads", "refs/tags", "objects/info", "objects/pack"] {
            self.make(&format!("{path}/{below}"))?;
        }
        let pack = &repository.pack;
        let packs = self.make(&format!("{path}/objects/pack"))?;
        let name = format!("pack-{}", pack.trailer());
        pack.copy(&mut create(&packs, &format!("{name}.pack"), 0o444)?)?;
        create(&packs, &format!("{name}.idx"), 0o444)?.write_all(&pack.index()?)?;
        let file = |name: &str, content: &[u8]| create(&dir, name, 0o644)?.write_all(content);
        file("HEAD", format!("{}\n", repository.commit).as_bytes())?;
        file("config", self.config(repository).as_bytes())?;
        file("index", &index(staged, pack.format())?)?;
        if let Some(refs) = packed_refs(repository) {
            file("packed-refs", refs.as_bytes())?;
        }
        if !repository.shallow.is_empty() {
            let lines: Vec<String> =
                repository.shallow.iter().map(|id| format!("{id}\n")).collect();
            file("shallow", lines.concat().as_bytes())?;
        }
        if self.module.is_some() {
            let tree = open_subdir(self.root, &CString::new(self.work_tree)?)?;
            let up = up(self.work_tree);
            create(&tree, ".git", 0o644)?.write_all(format!("gitdir: {up}{path}\n").as_bytes())?;
        }
        Ok(())
    }

    fn make(&self, path: &str) -> io::Result<OwnedFd> {
        let mode = Permissions::from_raw_mode(0o755);
        let dir = create_dir_all_in_root(self.root, Path::new(path), mode)?;
        if !dir.created.is_empty() {
            rustix::fs::fchmod(&dir.fd, mode)?;
        }
        Ok(dir.fd)
    }

    /// The way from a directory up to the root.
    fn config(&self, repository: &Repository) -> String {
        let sha256 = repository.pack.format() == ObjectFormat::Sha256;
        let mut lines = vec![
            "[core]".to_owned(),
            // Extensions are read from version 1 on.
            format!("\trepositoryformatversion = {}", u8::from(sha256)),
            "\tfilemode = true".to_owned(),
            "\tbare = false".to_owned(),
            "\tlogallrefupdates = true".to_owned(),
        ];
        if let Some(module) = self.module {
            let tree = String::from_utf8_lossy(self.work_tree);
            let tree = quoted(&format!("{}{tree}", up(module.as_bytes())));
            lines.push(format!("\tworktree = {tree}"));
        }
        if sha256 {
            lines.extend(["[extensions]", "\tobjectformat = sha256"].map(str::to_owned));
        }
        lines.push("[remote \"origin\"]".to_owned());
        lines.push(format!("\turl = {}", quoted(&repository.name())));
        lines.push("\tfetch = +refs/heads/*:refs/remotes/origin/*".to_owned());
        for module in repository.modules.values() {
            lines.push(format!("[submodule {}]", quoted(&module.name)));
            lines.push("\tactive = true".to_owned());
            lines.push(format!("\turl = {}", quoted(&module.repository.name())));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// The way from a directory below the root up to it.
fn up(path: &[u8]) -> String {
    "../".repeat(path.split(|b| *b == b'/').count())
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn create(dir: &OwnedFd, name: &str, mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Permissions::from_raw_mode(mode);
    let fd = rustix::fs::openat(dir, name, flags, mode)?;
    rustix::fs::fchmod(&fd, mode)?;
    Ok(fd.into())
}

/// The branch or tag that was asked for.
fn packed_refs(repository: &Repository) -> Option<String> {
    let name = repository.reference.as_deref().filter(|name| name.starts_with("refs/"))?;
    let lines = match repository.tag {
        Some(tag) => format!("{tag} {name}\n^{}\n", repository.commit),
        None => format!("{} {name}\n", repository.commit),
    };
    Some(format!("# pack-refs with: peeled fully-peeled sorted \n{lines}"))
}

/// What git compares the work tree with (gitformat-index, version 2). The files' times and numbers
/// are left at zero, as `git read-tree` does: they change when the files are copied, and git then
/// looks at the contents once.
fn index(mut staged: Vec<Staged>, format: ObjectFormat) -> io::Result<Vec<u8>> {
    const LONGEST: usize = 0xfff;
    staged.sort_by(|a, b| a.path.cmp(&b.path));
    let mut bytes = b"DIRC\0\0\0\x02".to_vec();
    bytes.extend_from_slice(&(staged.len() as u32).to_be_bytes());
    for entry in &staged {
        let start = bytes.len();
        let mode: u32 = match entry.mode {
            Mode::Directory => 0o040_000,
            Mode::File { executable: false } => 0o100_644,
            Mode::File { executable: true } => 0o100_755,
            Mode::Symlink => 0o120_000,
            Mode::Submodule => 0o160_000,
        };
        // Two times, device and inode before it; owner, group and size after it.
        bytes.extend_from_slice(&[0; 24]);
        bytes.extend_from_slice(&mode.to_be_bytes());
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(entry.id.as_bytes());
        bytes.extend_from_slice(&(entry.path.len().min(LONGEST) as u16).to_be_bytes());
        bytes.extend_from_slice(&entry.path);
        let length = bytes.len() - start;
        bytes.resize(start + (length / 8 + 1) * 8, 0);
    }
    with_checksum(bytes, format)
}
