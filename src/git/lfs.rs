//! Git LFS: large files that stand elsewhere, in the repository as pointers.
//!
//! The objects are asked for in batches over https and stored where git-lfs keeps them
//! (`.git/lfs/objects`), each verified by size and SHA-256 before it is used; the work tree then has
//! their content in place of the pointers. Credentials of the repository go to a server of LFS at
//! the same origin; what the server gives for a download goes there. Of a repository over ssh the
//! server itself is asked, by `git-lfs-authenticate`, where that is and with what.

mod batch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustix::fs::{Mode as Permissions, OFlags};

use super::attributes::{LeftAlone, Rules};
use super::config;
use super::error::GitError;
use super::object::{Kind, Mode};
use super::repository::Repository;
use super::sparse::Extent;
use super::target::Target;
use super::url::Remote;
use super::{Git, blocking};
use crate::fs::{create_dir_all_in_root, open_in_root};
use crate::net::Url;

/// How many objects one request names.
const BATCH: usize = 100;
/// How many are fetched at once.
const AT_ONCE: usize = 6;

/// What stands in the repository for a large file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    /// The SHA-256 of the content, in hexadecimal digits.
    pub(super) oid: String,
    /// Its size.
    pub(super) size: u64,
}

impl Pointer {
    /// Reads a pointer; `None` if the file is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        /// No pointer is larger.
        const LIMIT: usize = 1024;
        const VERSIONS: [&str; 3] = [
            "https://git-lfs.github.com/spec/v1",
            "https://hawser.github.com/spec/v1",
            "http://git-media.io/v/2",
        ];
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() < LIMIT)?;
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let version = text.lines().next()?.strip_prefix("version ")?;
        let oid = value("oid")?.strip_prefix("sha256:")?;
        let good = oid.len() == 64 && oid.bytes().all(|b| b"0123456789abcdef".contains(&b));
        let size = value("size")?.parse().ok()?;
        (VERSIONS.contains(&version) && good).then(|| Self { oid: oid.to_owned(), size })
    }

    /// The directory of the object and its name, below a `.git`.
    fn place(&self, git_dir: &str) -> (String, &str) {
        (format!("{git_dir}/lfs/objects/{}/{}", &self.oid[..2], &self.oid[2..4]), &self.oid)
    }
}

/// Fills a file of the work tree with the object of a pointer.
pub(super) fn place(
    root: BorrowedFd<'_>,
    git_dir: &str,
    pointer: &Pointer,
    file: &mut File,
) -> io::Result<()> {
    let (dir, name) = pointer.place(git_dir);
    let path = format!("{dir}/{name}");
    let object = open_in_root(root, Path::new(&path), OFlags::RDONLY, Permissions::empty())?;
    io::copy(&mut File::from(object), file)?;
    Ok(())
}

/// The large files of a repository.
struct Wanted {
    remote: Remote,
    /// What `.lfsconfig` says of the server.
    url: Option<String>,
    /// The branch or tag, for servers that decide by it.
    reference: Option<String>,
    /// Where its `.git` is, below the root.
    git_dir: String,
    pointers: Vec<Pointer>,
}

impl Git {
    /// Begins to change the directory; and fetches the large files of a repository and its
    /// submodules, if they are wanted.
    pub(super) async fn lfs(
        &self,
        wanted: bool,
        repository: Repository,
        mut target: Target,
    ) -> Result<(Repository, Target), GitError> {
        let search = move |stop: &dyn Fn() -> bool| {
            target.begin()?;
            let mut all = Vec::new();
            if wanted {
                collect(&repository, ".git", stop, &mut all)?;
            }
            Ok((repository, target, all))
        };
        let (repository, target, all) = blocking(search).await?;
        for wanted in &all {
            self.fetch_objects(wanted, &target).await?;
        }
        Ok((repository, target))
    }

    async fn fetch_objects(&self, wanted: &Wanted, target: &Target) -> Result<(), GitError> {
        let server = match (&wanted.remote, &wanted.url) {
            (Remote::Ssh(text), None) => self.lfs_server_of_ssh(&wanted.remote, text).await?,
            (remote, url) => self.lfs_server(endpoint(remote, url.as_deref())?, remote)?,
        };
        let server = server.with_reference(wanted.reference.clone());
        for pointers in wanted.pointers.chunks(BATCH) {
            let downloads = self.lfs_batch(&server, pointers).await?;
            stream::iter(downloads)
                .map(|download| async {
                    let download = download;
                    let file = create(target, &wanted.git_dir, &download.pointer);
                    let path = || format!(".git/lfs/objects/{}", download.pointer.oid);
                    let file = file.map_err(|source| GitError::Io { path: path(), source })?;
                    self.lfs_download(&server, &download, file).await
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
        }
        Ok(())
    }
}

/// Makes the file of an object.
fn create(target: &Target, git_dir: &str, pointer: &Pointer) -> io::Result<File> {
    let (dir, name) = pointer.place(git_dir);
    let mode = Permissions::from_raw_mode(0o777);
    let dir = create_dir_all_in_root(target.as_fd(), Path::new(&dir), mode)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir.fd, name, flags, Permissions::from_raw_mode(0o666))?;
    Ok(file.into())
}

/// Finds the pointers of a repository and its submodules.
fn collect(
    repository: &Repository,
    git_dir: &str,
    stop: &dyn Fn() -> bool,
    all: &mut Vec<Wanted>,
) -> Result<(), GitError> {
    let pointers = pointers(repository, stop)?;
    if !pointers.is_empty() {
        all.push(Wanted {
            remote: repository.remote.clone(),
            url: configured(repository)?,
            reference: repository.setup.branch.clone(),
            git_dir: git_dir.to_owned(),
            pointers: pointers.into_values().collect(),
        });
    }
    for module in repository.modules.values() {
        let git_dir = format!("{git_dir}/modules/{}", module.name);
        collect(&module.repository, &git_dir, stop, all)?;
    }
    Ok(())
}

/// The pointers of the work tree, each once.
fn pointers(
    repository: &Repository,
    stop: &dyn Fn() -> bool,
) -> Result<BTreeMap<String, Pointer>, GitError> {
    let mut reader = repository.packs.reader();
    let mut found = BTreeMap::new();
    let mut left: Vec<(Vec<u8>, _, Option<Arc<Rules>>)> = vec![(Vec::new(), repository.tree, None)];
    while let Some((path, tree, above)) = left.pop() {
        if stop() {
            return Err(GitError::Stopped);
        }
        let entries = repository.tree(&mut reader, &tree)?;
        let rules = repository.rules(&mut reader, above, &path, &entries)?;
        for entry in entries {
            let below = match path.as_slice() {
                b"" => entry.name,
                path => [path, b"/", &entry.name].concat(),
            };
            match entry.mode {
                Mode::Directory => {
                    let sparse = repository.setup.sparse.as_ref();
                    if sparse.is_none_or(|sparse| sparse.of(&below) != Extent::Nothing) {
                        left.push((below, entry.id, rules.clone()));
                    }
                }
                Mode::File { .. } => {
                    let attributes = rules.as_ref().map(|rules| rules.of(&below));
                    let lfs = attributes.is_some_and(|a| a.left_alone() == Some(LeftAlone::Lfs));
                    if lfs {
                        let content = repository.read(&mut reader, &entry.id, Kind::Blob)?;
                        let pointer = Pointer::parse(&content);
                        found.extend(pointer.map(|pointer| (pointer.oid.clone(), pointer)));
                    }
                }
                Mode::Symlink | Mode::Submodule => {}
            }
        }
    }
    Ok(found)
}

/// The server that `.lfsconfig` names.
fn configured(repository: &Repository) -> Result<Option<String>, GitError> {
    let Some(text) = repository.root_file(".lfsconfig")? else { return Ok(None) };
    let malformed = |line| repository.damaged(format!("line {line} of .lfsconfig is malformed"));
    let values = config::parse(&text).map_err(malformed)?;
    let find = |section: &str, subsection: Option<&str>, key: &str| {
        let found = values.iter().rev().find(|value| {
            (value.section.as_str(), value.subsection.as_deref(), value.key.as_str())
                == (section, subsection, key)
        });
        found.map(|value| value.text.clone())
    };
    Ok(find("lfs", None, "url").or_else(|| find("remote", Some("origin"), "lfsurl")))
}

/// Where the server of a repository is.
fn endpoint(remote: &Remote, configured: Option<&str>) -> Result<Url, GitError> {
    let refuse = |problem: String| GitError::Lfs { server: remote.to_string(), problem };
    if let Some(text) = configured {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        return url.ok_or_else(|| {
            let shown = text.rsplit('@').next().unwrap_or_default();
            refuse(format!(".lfsconfig names {shown:?}, which is no http or https URL"))
        });
    }
    let beside = |mut url: Url| {
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let path = format!("{path}.git/info/lfs");
        url.set_path(&path);
        url
    };
    let none = || {
        refuse("no server of Git LFS is known for such a URL; .lfsconfig can name one".to_owned())
    };
    match remote {
        Remote::Http(url) => Ok(beside(url.clone())),
        // Over ssh it is asked for.
        Remote::Ssh(_) | Remote::Git { .. } => Err(none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pointers() {
        let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let text = |version: &str, oid: &str, size: &str| {
            format!("version {version}\nx-other 1\noid sha256:{oid}\nsize {size}\n")
        };
        let version = "https://git-lfs.github.com/spec/v1";
        let good = Pointer::parse(text(version, oid, "12345").as_bytes()).unwrap();
        assert_eq!((good.oid.as_str(), good.size), (oid, 12345));
        assert_eq!(good.place(".git"), (".git/lfs/objects/4d/7a".to_owned(), oid));
        for bad in [
            text("https://example.com", oid, "1"),
            text(version, &oid[1..], "1"),
            text(version, &oid.to_uppercase(), "1"),
            text(version, oid, "-1"),
            text(version, oid, &"1".repeat(1024)),
            String::new(),
            "\u{0}".to_owned(),
        ] {
            assert_eq!(Pointer::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn finds_the_server() {
        let of = |remote: &str, configured: Option<&str>| {
            let remote = Remote::parse(remote).unwrap().unwrap();
            endpoint(&remote, configured).map(|url| url.to_string()).ok()
        };
        for (remote, configured, expected) in [
            ("https://h/a/b.git", None, Some("https://h/a/b.git/info/lfs")),
            ("https://h/a/b/", None, Some("https://h/a/b.git/info/lfs")),
            ("git@h:a/b.git", Some("https://lfs.h/x"), Some("https://lfs.h/x")),
            ("https://h/a", Some("https://lfs.h/x"), Some("https://lfs.h/x")),
            ("https://h/a", Some("ssh://lfs.h/x"), None),
            ("git://h/a", None, None),
        ] {
            assert_eq!(of(remote, configured).as_deref(), expected, "{remote} {configured:?}");
        }
    }
}
