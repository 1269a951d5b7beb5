//! Which files a source names.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::ContextError;
use crate::dockerfile::{Pattern, has_wildcard, nearest};
use crate::fs::{open_in_root, path_below};
use crate::rootfs::Include;

type Filter<'a> = &'a dyn Fn(&Path, bool) -> Include;

/// Where sources are looked for.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a function has none")]
pub struct Place<'a> {
    /// The directory.
    pub root: &'a OwnedFd,
    /// What it is, for people.
    pub name: &'a str,
    /// Which files take part, and why one does not.
    pub include: Filter<'a>,
    /// Why a file does not take part.
    pub reason: &'a dyn Fn(&Path) -> Option<String>,
}

/// The files that the source `text` names: one, or for a pattern any number,
/// sorted. A link is left out with what it leads to, lest it be a way round the
/// ignore file.
pub fn select(place: Place<'_>, text: &str) -> Result<Vec<PathBuf>, ContextError> {
    if !has_wildcard(text) {
        return Ok(vec![find(place, text)?]);
    }
    let Place { root, include, .. } = place;
    let path = clamp(text);
    let mut found = vec![PathBuf::new()];
    // What a wildcard found is not entered if it is a link.
    let mut follow = OFlags::empty();
    for component in path.components() {
        let component = component.as_os_str().to_string_lossy();
        let pattern =
            Pattern::parse(&component).map_err(|e| ContextError::Pattern(e.to_string()))?;
        let mut next = Vec::new();
        for dir in found {
            let fail = |source: io::Error| ContextError::Read { path: dir.clone(), source };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | follow;
            let fd = match open_in_root(root, &dir, flags, Mode::empty()) {
                Ok(fd) => fd,
                // A file or a link, where the pattern goes on below it.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENOTDIR | libc::ENOENT | libc::ELOOP)
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(fail(error)),
            };
            for entry in crate::fs::list(&fd).map_err(fail)? {
                if pattern.matches(&String::from_utf8_lossy(entry.name.to_bytes())) {
                    next.push(dir.join(OsStr::from_bytes(entry.name.to_bytes())));
                }
            }
        }
        found = next;
        if has_wildcard(&component) {
            follow = OFlags::NOFOLLOW;
        }
    }
    let mut shown = Vec::new();
    for path in found {
        let take = match open_in_root(root, &path, OFlags::PATH, Mode::empty()) {
            Ok(followed) => takes_part(root, &path, &followed, include)?,
            Err(_) => include(&path, false) != Include::No,
        };
        if take {
            shown.push(path);
        }
    }
    Ok(shown)
}

/// The file of the name `text`, in which nothing is a wildcard: as [`select`] finds it.
pub fn find(place: Place<'_>, text: &str) -> Result<PathBuf, ContextError> {
    let Place { root, include, .. } = place;
    let path = clamp(text);
    match open_in_root(root, &path, OFlags::PATH, Mode::empty()) {
        Ok(followed) if takes_part(root, &path, &followed, include)? => Ok(path),
        Ok(followed) => {
            let real = path_below(root, &followed).unwrap_or_default();
            let reason = (place.reason)(&path).or_else(|| (place.reason)(&real));
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            Err(ContextError::Missing(format!(
                "{text} is not in {}: it is excluded by the ignore file{reason}",
                place.name
            )))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ContextError::Missing(missing(place, text, &path)))
        }
        Err(source) => Err(ContextError::Read { path, source }),
    }
}

/// Whether both a path and the file that it leads to take part.
fn takes_part(
    root: &OwnedFd,
    path: &Path,
    followed: &OwnedFd,
    include: Filter<'_>,
) -> Result<bool, ContextError> {
    let fail = |source| ContextError::Read { path: path.to_owned(), source };
    let is_dir = is_dir(followed);
    let real = path_below(root, followed).map_err(fail)?;
    Ok([path, &real].iter().all(|path| include(path, is_dir) != Include::No))
}

fn is_dir(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// A source path as one below the root: `/x` and `../x` are `x`.
fn clamp(text: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}

/// Says what is missing: the file, or what a link leads to; and what is near.
fn missing(searched: Place<'_>, text: &str, path: &Path) -> String {
    let Place { root, name: place, include, .. } = searched;
    let parent = path.parent().unwrap_or(Path::new(""));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Ok(dir) = open_in_root(root, parent, flags, Mode::empty()) else {
        return format!("{text} is not in {place}: there is no directory {}", parent.display());
    };
    let name = path.file_name().unwrap_or_default();
    if let Ok(target) = rustix::fs::readlinkat(&dir, name, Vec::new()) {
        return format!(
            "{text} is a link to {}, which is not in {place}",
            String::from_utf8_lossy(target.to_bytes())
        );
    }
    let names: Vec<String> = crate::fs::list(&dir)
        .unwrap_or_default()
        .iter()
        .map(|entry| (String::from_utf8_lossy(entry.name.to_bytes()).into_owned(), entry.is_dir))
        .filter(|(name, is_dir)| include(&parent.join(name), *is_dir) != Include::No)
        .map(|(name, _)| name)
        .collect();
    let wrong = name.to_string_lossy();
    match nearest(&wrong, names.iter().map(String::as_str)) {
        Some(near) => {
            format!("{text} is not in {place}; did you mean {}?", parent.join(near).display())
        }
        None => format!("{text} is not in {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Contents, Index};
    use crate::testing::TempDir;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn all(_: &Path, _: bool) -> Include {
        Include::Yes
    }

    fn place<'a>(root: &'a OwnedFd, name: &'a str, include: Filter<'a>) -> Place<'a> {
        Place { root, name, include, reason: &|_| Some("why".to_owned()) }
    }

    #[test]
    fn selects_inside_and_says_what_is_near() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("select");
        let path = temp.path();
        fs::create_dir_all(path.join("a/b"))?;
        fs::write(path.join("a/b/one.txt"), "1")?;
        fs::write(path.join("a/b/two.txt"), "2")?;
        fs::write(path.join("a/three.md"), "3")?;
        symlink("/etc/passwd", path.join("out"))?;
        let root = crate::fs::open_dir(path)?;
        let found = |text: &str| {
            select(place(&root, "the build context", &all), text)
                .map(|paths| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>())
                .map_err(|e| e.to_string())
        };
        assert_eq!(found("a/b/*.txt")?, ["a/b/one.txt", "a/b/two.txt"]);
        assert_eq!(found("*/*")?, ["a/b", "a/three.md"]);
        assert_eq!(found("../../a/./b/one.txt")?, ["a/b/one.txt"]);
        assert_eq!(found("/a")?, ["a"]);
        assert_eq!(found(".")?, [""]);
        assert_eq!(found("*.none")?, Vec::<String>::new());
        assert_eq!(
            found("a/tree.md"),
            Err("a/tree.md is not in the build context; did you mean a/three.md?".into())
        );
        assert_eq!(
            found("out"),
            Err("out is a link to /etc/passwd, which is not in the build context".into())
        );
        Ok(())
    }

    #[test]
    fn a_name_is_no_pattern() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("name");
        fs::create_dir(temp.path().join("d"))?;
        for name in ["d/one", "d/[ab]", "d/a"] {
            fs::write(temp.path().join(name), "")?;
        }
        let root = crate::fs::open_dir(temp.path())?;
        let found = |text: &str| {
            find(place(&root, "the context", &all), text).map_err(|error| error.to_string())
        };
        assert_eq!(found("/d/[ab]"), Ok("d/[ab]".into()));
        assert_eq!(found("d/*"), Err("d/* is not in the context; did you mean d/a?".into()));
        assert_eq!(found("d/?ne"), Err("d/?ne is not in the context; did you mean d/one?".into()));
        Ok(())
    }

    #[test]
    fn a_link_leads_to_nothing_that_is_hidden() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("hidden");
        let path = temp.path();
        fs::create_dir(path.join("d"))?;
        fs::write(path.join("d/secret"), "1")?;
        symlink("d", path.join("link"))?;
        symlink("/link/secret", path.join("file"))?;
        let root = crate::fs::open_dir(path)?;
        let shown = |path: &Path, _: bool| {
            if path == Path::new("d/secret") { Include::No } else { Include::Yes }
        };
        for text in ["file", "link/secret", "d/secret"] {
            let searched = place(&root, "the context", &shown);
            let message = select(searched, text).map_err(|e| e.to_string());
            let expected =
                format!("{text} is not in the context: it is excluded by the ignore file (why)");
            assert_eq!(message, Err(expected));
        }
        assert_eq!(select(place(&root, "", &shown), "f*")?, Vec::<PathBuf>::new());
        assert_eq!(select(place(&root, "", &shown), "l*")?, [PathBuf::from("link")]);
        let index = Index::default();
        let contents = Contents { root: &root, index: &index, threads: 1 };
        let digest = || contents.digest(Path::new("link"), &shown);
        let before = digest()?;
        fs::write(path.join("d/secret"), "2")?;
        assert_eq!(digest()?, before);
        fs::write(path.join("d/shown"), "")?;
        assert_ne!(digest()?, before);
        Ok(())
    }
}
