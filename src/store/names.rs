//! Names of images: `index.json`.

use std::fs;
use std::io;

use super::{Store, StoreError, work};
use crate::image::{Descriptor, IMAGE_NAME, Index, Platform, REF_NAME, Reference, media_type};

/// A named image of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The whole reference.
    pub name: String,
    /// Its manifest.
    pub manifest: Descriptor,
}

impl Store {
    /// The manifest that `reference` names for `platform`.
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Descriptor>, StoreError> {
        let name = reference.to_string();
        Ok(self
            .named()?
            .into_iter()
            .filter(|named| named.name == name)
            .map(|named| named.manifest)
            .find(|manifest| manifest.platform.as_ref().is_none_or(|has| has.satisfies(platform))))
    }

    /// All named images.
    pub fn named(&self) -> Result<Vec<Named>, StoreError> {
        Ok(self
            .read_index()?
            .manifests
            .into_iter()
            .filter_map(|manifest| {
                Some(Named { name: manifest.annotations.get(IMAGE_NAME)?.clone(), manifest })
            })
            .collect())
    }

    /// Gives `manifest` the name `reference`; an image that had it before loses it.
    /// The descriptor's platform, if any, is part of the name.
    pub fn name(&self, reference: &Reference, manifest: &Descriptor) -> Result<(), StoreError> {
        let mut entry =
            Descriptor::new(&manifest.media_type, manifest.digest.clone(), manifest.size);
        entry.platform.clone_from(&manifest.platform);
        entry.annotations.insert(IMAGE_NAME.into(), reference.to_string());
        if let Some(tag) = reference.tag() {
            entry.annotations.insert(REF_NAME.into(), tag.into());
        }
        self.change_index(|manifests| {
            manifests.retain(|other| {
                other.annotations.get(IMAGE_NAME) != entry.annotations.get(IMAGE_NAME)
                    || other.platform != entry.platform
            });
            manifests.push(entry);
        })
    }

    /// Takes all names away.
    pub(super) fn forget_names(&self) -> Result<(), StoreError> {
        self.change_index(Vec::clear)
    }

    fn change_index(&self, change: impl FnOnce(&mut Vec<Descriptor>)) -> Result<(), StoreError> {
        let _lock = work::lock_exclusive(&self.root().join("yado/index.lock"))?;
        let mut index = self.read_index()?;
        change(&mut index.manifests);
        let path = self.root().join("index.json");
        let bytes = serde_json::to_vec(&index)
            .map_err(|source| StoreError::Damaged { path: path.clone(), source })?;
        self.work().write_file(&path, &bytes)
    }

    fn read_index(&self) -> Result<Index, StoreError> {
        let path = self.root().join("index.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StoreError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index {
                schema_version: 2,
                media_type: Some(media_type::OCI_INDEX.into()),
                manifests: Vec::new(),
                annotations: std::collections::BTreeMap::new(),
                extra: serde_json::Map::new(),
            }),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }
}
