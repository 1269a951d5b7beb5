//! Where a blob can be had: `yado/origins/HEX`, a line for each place.
//!
//! A base image whose files nobody needs is not fetched, and its blobs are known by name
//! alone; these lines say where they are when they are wanted after all, and from which
//! repository a registry can take them over by itself. A line may be out of date: whoever
//! relies on it asks.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Store, StoreError};
use crate::image::{Digest, Reference, Repository};

/// How many places of each kind are remembered for a blob: the last ones.
const LIMIT: usize = 8;

/// A place of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A repository that it was taken from.
    Repository(Repository),
    /// A repository that it was sent to.
    Pushed(Repository),
    /// An OCI layout on this machine.
    Layout(PathBuf),
}

impl Origin {
    /// The repository, if it is one.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Repository(repository) | Self::Pushed(repository) => Some(repository),
            Self::Layout(_) => None,
        }
    }

    fn is_pushed(&self) -> bool {
        matches!(self, Self::Pushed(_))
    }

    fn parse(line: &str) -> Option<Self> {
        let repository = |name: &str| {
            let reference: Reference = name.parse().ok()?;
            Some(reference.repository().clone())
        };
        match line.split_once(' ')? {
            ("repository", name) => repository(name).map(Self::Repository),
            ("pushed", name) => repository(name).map(Self::Pushed),
            ("layout", path) => Some(Self::Layout(path.into())),
            _ => None,
        }
    }

    /// `None` for a path that is no line of text.
    fn line(&self) -> Option<String> {
        match self {
            Self::Repository(repository) => Some(format!("repository {repository}")),
            Self::Pushed(repository) => Some(format!("pushed {repository}")),
            Self::Layout(path) => {
                let path = path.to_str().filter(|path| !path.contains('\n'))?;
                Some(format!("layout {path}"))
            }
        }
    }
}

impl Store {
    /// The places of a blob: those that it was taken from, then those that it was sent to,
    /// of each the last noted first.
    pub fn origins(&self, digest: &Digest) -> Result<Vec<Origin>, StoreError> {
        let path = self.origins_path(digest);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().rev().filter_map(Origin::parse).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// Notes that a blob can be had at `origin`.
    pub fn add_origin(&self, digest: &Digest, origin: &Origin) -> Result<(), StoreError> {
        let mut known = self.origins(digest)?;
        let is_known = known.iter().find(|other| other.is_pushed() == origin.is_pushed());
        if is_known == Some(origin) {
            return Ok(());
        }
        known.retain(|other| other != origin);
        known.insert(0, origin.clone());
        // Where it is sent to must not push out where it comes from.
        known.sort_by_key(Origin::is_pushed);
        for pushed in [false, true] {
            let mut count = 0;
            known.retain(|other| {
                count += usize::from(other.is_pushed() == pushed);
                other.is_pushed() != pushed || count <= LIMIT
            });
        }
        let lines = known.iter().rev().filter_map(Origin::line);
        let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
        self.work().write_file(&self.origins_path(digest), text.as_bytes())
    }

    pub(super) fn origins_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("yado/origins").join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn the_last_places_are_remembered() -> Result<(), StoreError> {
        let temp = TempDir::new("store-origins");
        let store = Store::open(temp.path(), "ids")?;
        let digest = Digest::of(b"blob");
        assert_eq!(store.origins(&digest)?, []);
        let place = |number: usize| {
            let reference: Reference = format!("localhost:5000/app{number}").parse().unwrap();
            Origin::Repository(reference.repository().clone())
        };
        let layout = Origin::Layout("/a b/layout".into());
        store.add_origin(&digest, &layout)?;
        store.add_origin(&digest, &place(1))?;
        store.add_origin(&digest, &layout)?;
        assert_eq!(store.origins(&digest)?, [layout, place(1)]);
        for number in 0..20 {
            store.add_origin(&digest, &place(number))?;
        }
        let known = store.origins(&digest)?;
        assert_eq!((known.len(), &known[0], &known[7]), (LIMIT, &place(19), &place(12)));
        for number in 0..20 {
            let Some(to) = place(number).repository().cloned() else { panic!("no repository") };
            store.add_origin(&digest, &Origin::Pushed(to))?;
        }
        let known = store.origins(&digest)?;
        assert_eq!((known.len(), &known[0]), (2 * LIMIT, &place(19)));
        Ok(())
    }
}
