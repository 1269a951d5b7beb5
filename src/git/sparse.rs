//! Which directories of a repository are in the work tree: git's "cone mode"
//! (git-sparse-checkout(1)). Pure.
//!
//! A directory that is named is there with all that is below it; of those above it, only the files
//! that stand in them directly, those of the root too. git reads the same from the patterns that
//! are written for it.

use std::collections::BTreeSet;

/// Directories, cleaned and sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// Those that are there with all that is below.
    whole: BTreeSet<Vec<u8>>,
    /// Those above them, without the root.
    above: BTreeSet<Vec<u8>>,
}

/// How much of a directory is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Its files, and some of its directories.
    Files,
    /// Nothing.
    Nothing,
}

/// What is wrong with a directory's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no directory of a repository: expected a relative path without `..`")]
pub struct SparseError(String);

impl Sparse {
    /// Reads names of directories, relative to the root of the repository.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, SparseError> {
        let mut all = BTreeSet::new();
        for name in names {
            let name = name.as_ref();
            let wrong = || SparseError(name.to_owned());
            let parts: Vec<&str> =
                name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            let bad = |part: &&str| *part == ".." || part.contains(char::is_control);
            if name.starts_with('/') || parts.is_empty() || parts.iter().any(bad) {
                return Err(wrong());
            }
            all.insert(parts.join("/").into_bytes());
        }
        let covered = |dir: &[u8]| parents(dir).any(|above| all.contains(above));
        let whole: BTreeSet<Vec<u8>> = all.iter().filter(|dir| !covered(dir)).cloned().collect();
        let above = whole.iter().flat_map(|dir| parents(dir)).map(<[u8]>::to_vec).collect();
        Ok(Self { whole, above })
    }

    /// The directories that were named, without those within others.
    pub(super) fn directories(&self) -> impl Iterator<Item = &[u8]> {
        self.whole.iter().map(Vec::as_slice)
    }

    /// How much of the directory `path` is wanted; the root is the empty path.
    pub(super) fn of(&self, path: &[u8]) -> Extent {
        if self.whole.contains(path) || parents(path).any(|above| self.whole.contains(above)) {
            Extent::Whole
        } else if path.is_empty() || self.above.contains(path) {
            Extent::Files
        } else {
            Extent::Nothing
        }
    }

    /// `.git/info/sparse-checkout`, as git writes it.
    pub(super) fn patterns(&self) -> Vec<u8> {
        let mut text = b"/*\n!/*/\n".to_vec();
        for dir in &self.above {
            let dir = escaped(dir);
            text.extend([b"/", &*dir, b"/\n!/", &*dir, b"/*/\n"].concat());
        }
        for dir in &self.whole {
            text.extend([b"/", &*escaped(dir), b"/\n"].concat());
        }
        text
    }
}

/// The directories above a path, without the root.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
}

fn escaped(dir: &[u8]) -> Vec<u8> {
    let special = |byte: &u8| b"*?[\\".contains(byte);
    let escape = |byte: u8| if special(&byte) { vec![b'\\', byte] } else { vec![byte] };
    dir.iter().copied().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cone_has_its_directories_and_the_files_above_them() {
        let sparse = Sparse::new(["./apps/web/", "lib", "lib/inner", "apps/*"]).unwrap();
        for (path, expected) in [
            ("", Extent::Files),
            ("apps", Extent::Files),
            ("apps/web", Extent::Whole),
            ("apps/web/deep/er", Extent::Whole),
            ("apps/webs", Extent::Nothing),
            ("apps/other", Extent::Nothing),
            ("lib", Extent::Whole),
            ("lib/inner", Extent::Whole),
            ("li", Extent::Nothing),
        ] {
            assert_eq!(sparse.of(path.as_bytes()), expected, "{path}");
        }
        let expected = "/*\n!/*/\n/apps/\n!/apps/*/\n/apps/\\*/\n/apps/web/\n/lib/\n";
        assert_eq!(String::from_utf8(sparse.patterns()).unwrap(), expected);
        let named: Vec<_> = sparse.directories().collect();
        assert_eq!(named, [b"apps/*".as_slice(), b"apps/web", b"lib"]);
    }

    #[test]
    fn refuses_what_is_no_directory() {
        for name in ["", "/", "/a", "../a", "a/..", ".", "a\nb"] {
            assert!(Sparse::new([name]).is_err(), "{name:?}");
        }
    }
}
