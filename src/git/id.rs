//! Object ids, and the two hashes that make them.

use std::fmt;

use sha1_checked::{Digest as _, Sha1};
use sha2::Sha256;

/// Which hash a repository names its objects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ObjectFormat {
    /// SHA-1, as nearly all do.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ObjectFormat {
    /// Git's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The bytes of an id.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The id of a commit, tree, file or tag: the hash of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    length: u8,
    bytes: [u8; 32],
}

impl ObjectId {
    /// Reads the hexadecimal digits of a whole id.
    pub fn parse(text: &str) -> Option<Self> {
        if !super::url::is_full_id(text) {
            return None;
        }
        let mut id = Self { length: (text.len() / 2) as u8, bytes: [0; 32] };
        for (byte, at) in id.bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(id)
    }

    /// The id whose bytes are `raw`: 20 or 32 of them.
    pub(super) fn from_bytes(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        matches!(raw.len(), 20 | 32).then_some(Self { length: raw.len() as u8, bytes })
    }

    /// What stands for nothing in a push.
    pub(super) fn null(format: ObjectFormat) -> Self {
        Self { length: format.len() as u8, bytes: [0; 32] }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The hash that made it.
    pub fn format(&self) -> ObjectFormat {
        if self.length == 20 { ObjectFormat::Sha1 } else { ObjectFormat::Sha256 }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What makes an id of content. SHA-1 looks for the traces of known collision
/// attacks, as git does.
pub(super) enum Hasher {
    Sha1(Box<Sha1>),
    Sha256(Sha256),
}

impl Hasher {
    pub(super) fn new(format: ObjectFormat) -> Self {
        match format {
            ObjectFormat::Sha1 => Self::Sha1(Box::default()),
            ObjectFormat::Sha256 => Self::Sha256(Sha256::default()),
        }
    }

    /// A hasher that has read the head of an object.
    pub(super) fn of_object(format: ObjectFormat, kind: &str, size: u64) -> Self {
        let mut hasher = Self::new(format);
        hasher.update(format!("{kind} {size}\0").as_bytes());
        hasher
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// The id; `None` when the content was made to collide with another.
    pub(super) fn finish(self) -> Option<ObjectId> {
        match self {
            Self::Sha1(hasher) => {
                let result = hasher.try_finalize();
                (!result.has_collision()).then(|| ObjectId::from_bytes(result.hash())).flatten()
            }
            Self::Sha256(hasher) => ObjectId::from_bytes(&hasher.finalize()),
        }
    }
}
