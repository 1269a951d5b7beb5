//! A `.git` that git accepts: the pack as it came, its index, and what was checked out.
//!
//! For an image as BuildKit leaves it: one commit, `HEAD` at it and not at a branch, the branch or
//! tag that was asked for beside it, no log; nothing in it depends on when and where it was made, but
//! for the pack, which is the server's. For somebody to work in as `git clone` leaves it, with what
//! [`Setup`](super::setup::Setup) says. The remote stands there without credentials. A submodule's is
//! below `.git/modules`, and a file `.git` in its work tree says so. `HEAD` comes last: what is
//! half-made is no repository.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode as Permissions, OFlags};

use super::checkout::{Purpose, io_error};
use super::error::GitError;
use super::id::ObjectFormat;
use super::index::{Staged, index};
use super::pack::Pack;
use super::repository::Repository;
use super::setup::Setup;
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
    /// Who it is for.
    pub(super) purpose: Purpose,
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
        let setup = &repository.setup;
        let packs = self.make(&format!("{path}/objects/pack"))?;
        for pack in repository.packs.iter() {
            self.pack(&packs, pack, setup.filter.is_some())?;
        }
        let file = |name: &str, content: &[u8]| self.file(&dir, name, content);
        file("config", self.config(repository).as_bytes())?;
        file("index", &index(staged, repository.packs.format())?)?;
        if let Some(refs) = setup.packed_refs() {
            file("packed-refs", refs.as_bytes())?;
        }
        if !repository.shallow.is_empty() {
            let lines: Vec<String> =
                repository.shallow.iter().map(|id| format!("{id}\n")).collect();
            file("shallow", lines.concat().as_bytes())?;
        }
        if let Some(target) = &setup.remote_head {
            let remote = self.make(&format!("{path}/refs/remotes/origin"))?;
            self.file(&remote, "HEAD", format!("ref: {target}\n").as_bytes())?;
        }
        if let Some(sparse) = &setup.sparse {
            let info = self.make(&format!("{path}/info"))?;
            self.file(&info, "sparse-checkout", &sparse.patterns())?;
        }
        if self.module.is_some() {
            let tree = open_subdir(self.root, &CString::new(self.work_tree)?)?;
            let up = up(self.work_tree);
            self.file(&tree, ".git", format!("gitdir: {up}{path}\n").as_bytes())?;
        }
        let head = match &setup.branch {
            Some(branch) => format!("ref: {branch}\n"),
            None => format!("{}\n", repository.commit),
        };
        file("HEAD", head.as_bytes())
    }

    /// Puts a pack with its index where git looks for it.
    fn pack(&self, dir: &OwnedFd, pack: &Pack, promised: bool) -> io::Result<()> {
        let name = format!("pack-{}", pack.trailer());
        let file = format!("{name}.pack");
        let linked = self.purpose == Purpose::Work && pack.link(dir, &file).is_ok();
        if !linked {
            pack.copy(&mut create(dir, &file, 0o444, true)?)?;
        }
        if promised {
            // What is not in it can be had from where it came.
            create(dir, &format!("{name}.promisor"), 0o444, true)?;
        }
        create(dir, &format!("{name}.idx"), 0o444, true)?.write_all(&pack.index()?)
    }

    fn file(&self, dir: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
        let (mode, exact) = match self.purpose {
            Purpose::Image => (0o644, true),
            Purpose::Work => (0o666, false),
        };
        create(dir, name, mode, exact)?.write_all(content)
    }

    fn make(&self, path: &str) -> io::Result<OwnedFd> {
        let exact = self.purpose == Purpose::Image;
        let mode = Permissions::from_raw_mode(if exact { 0o755 } else { 0o777 });
        let dir = create_dir_all_in_root(self.root, Path::new(path), mode)?;
        if exact && !dir.created.is_empty() {
            rustix::fs::fchmod(&dir.fd, mode)?;
        }
        Ok(dir.fd)
    }

    fn config(&self, repository: &Repository) -> String {
        let Setup { branch, fetch, tag_option, filter, sparse, .. } = &repository.setup;
        let sha256 = repository.packs.format() == ObjectFormat::Sha256;
        let mut lines = vec![
            "[core]".to_owned(),
            // Extensions are read from version 1 on, and what is left out is one.
            format!("\trepositoryformatversion = {}", u8::from(sha256 || filter.is_some())),
            "\tfilemode = true".to_owned(),
            "\tbare = false".to_owned(),
            "\tlogallrefupdates = true".to_owned(),
        ];
        if let Some(module) = self.module {
            let tree = String::from_utf8_lossy(self.work_tree);
            let tree = quoted(&format!("{}{tree}", up(module.as_bytes())));
            lines.push(format!("\tworktree = {tree}"));
        }
        if sparse.is_some() {
            lines.extend(
                ["\tsparseCheckout = true", "\tsparseCheckoutCone = true"].map(str::to_owned),
            );
        }
        if sha256 {
            lines.extend(["[extensions]", "\tobjectformat = sha256"].map(str::to_owned));
        }
        lines.push("[remote \"origin\"]".to_owned());
        lines.push(format!("\turl = {}", quoted(&repository.remote.kept())));
        if let Some(option) = tag_option {
            lines.push(format!("\ttagOpt = {option}"));
        }
        lines.extend(fetch.iter().map(|spec| format!("\tfetch = {}", quoted(spec))));
        if let Some(filter) = filter {
            lines.push("\tpromisor = true".to_owned());
            lines.push(format!("\tpartialclonefilter = {filter}"));
        }
        if let Some(branch) = branch {
            let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
            lines.push(format!("[branch {}]", quoted(short)));
            lines.push("\tremote = origin".to_owned());
            lines.push(format!("\tmerge = {}", quoted(branch)));
        }
        for module in repository.modules.values() {
            lines.push(format!("[submodule {}]", quoted(&module.name)));
            lines.push("\tactive = true".to_owned());
            lines.push(format!("\turl = {}", quoted(&module.repository.remote.kept())));
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

/// Makes a file; `exact` is whether the umask has no say in its permissions.
fn create(dir: &OwnedFd, name: &str, mode: u32, exact: bool) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Permissions::from_raw_mode(mode);
    let fd = rustix::fs::openat(dir, name, flags, mode)?;
    if exact {
        rustix::fs::fchmod(&fd, mode)?;
    }
    Ok(fd.into())
}
