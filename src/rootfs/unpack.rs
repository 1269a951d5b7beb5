//! One layer's archive to a directory of its own, for overlayfs to stack.
//!
//! The directory has overlay form: a whiteout is a character device 0:0, an
//! opaque directory carries `user.overlay.opaque=y` (mount option `userxattr`).
//! What the archive says is not trusted. Every parent is resolved by the kernel
//! inside the directory and the last component is never followed, so that no
//! link leads out; what overlayfs or yado would understand as its own marks is
//! not taken from an archive. The last entry of a name wins. Whiteouts apply to
//! lower layers only and are made at the end, wherever they stand in the
//! archive; so are the modes and times of directories.

use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::ahead::read_ahead;
use super::owner::Owners;
use super::unpacking::Tree;
use crate::image::{DiffId, Hasher};
use crate::layer::{ReadError, TarReader};

/// The attribute that makes a directory opaque to overlayfs with `userxattr`.
pub(super) const OPAQUE_XATTR: &str = "user.overlay.opaque";

/// The names of the files and directories that aufs kept for itself in old layers.
pub(super) const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// How much is read at once.
pub(super) const BUFFER: usize = 128 * 1024;

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A layer: whiteouts take away, and the tree gets overlay form.
    Layer,
    /// Any archive: every name is a name. Device nodes are left out, whoever
    /// unpacks, since an ordinary user could not make them.
    Plain,
}

/// How a layer is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct UnpackOptions<'a> {
    /// Which owners files on disk can have.
    pub owners: Owners<'a>,
}

/// A layer that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the archive.
    pub diff_id: DiffId,
    /// The length of the archive in bytes.
    pub size: u64,
}

/// Unpacks the archive `reader` into the directory `target`, over what is there;
/// gives the number of device nodes that were left out. With an `owner`
/// everything becomes his, else it keeps the archive's owners.
pub fn extract(
    reader: impl Read,
    target: &OwnedFd,
    owner: Option<(u32, u32)>,
    owners: Owners<'_>,
) -> Result<u64, UnpackError> {
    let mut tar = TarReader::new(BufReader::with_capacity(BUFFER, reader));
    let mut tree = Tree::new(target, owners, Form::Plain);
    tree.owner = owner;
    while let Some(entry) = tar.next_entry()? {
        tree.add(&entry, &mut tar)?;
    }
    let devices = tree.devices;
    tree.finish()?;
    Ok(devices)
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read or is not valid.
    #[error(transparent)]
    Archive(#[from] ReadError),
    /// The bytes of the archive or of an entry's content cannot be had.
    #[error("read {what}")]
    Read {
        /// An entry's path, quoted, or the archive's end.
        what: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The system refused an operation on an entry.
    #[error("unpack {path}: {attempt}")]
    Io {
        /// The entry's path, quoted.
        path: String,
        /// What was attempted.
        attempt: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// The entry cannot be in a layer.
    #[error("unpack {path}: {reason}")]
    Refused {
        /// The entry's path, quoted.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The entry's owner does not exist here.
    #[error(
        "unpack {path}: its owner {uid}:{gid} is outside the range of ids that this process may \
         use; add subordinate ids for it in /etc/subuid and /etc/subgid"
    )]
    Owner {
        /// The entry's path, quoted.
        path: String,
        /// The owning user.
        uid: u32,
        /// The owning group.
        gid: u32,
    },
    /// The archive is not the one that the image's configuration lists.
    #[error("the layer has the diff_id {actual}, the image's configuration says {expected}")]
    DiffId {
        /// What the configuration lists.
        expected: DiffId,
        /// What it is.
        actual: DiffId,
    },
}

/// Unpacks the archive `reader` into the empty directory `target` and verifies its digest.
///
/// After an error the directory holds a part of the layer and is to be removed.
pub fn unpack(
    reader: impl Read + Send,
    expected: Option<&DiffId>,
    target: &OwnedFd,
    options: &UnpackOptions<'_>,
) -> Result<Unpacked, UnpackError> {
    let hasher = expected.map_or_else(Hasher::new, |diff_id| diff_id.0.hasher());
    let ((), actual, size) = read_ahead(reader, hasher, |archive| {
        let mut tar = TarReader::new(archive);
        let mut tree = Tree::new(target, options.owners, Form::Layer);
        while let Some(entry) = tar.next_entry()? {
            tree.add(&entry, &mut tar)?;
        }
        tree.finish()?;
        let what = "the rest of the archive".to_owned();
        io::copy(tar.into_inner(), &mut io::sink())
            .map_err(|source| UnpackError::Read { what, source })?;
        Ok::<_, UnpackError>(())
    })?;
    match expected {
        Some(expected) if *expected != actual => {
            Err(UnpackError::DiffId { expected: expected.clone(), actual })
        }
        _ => Ok(Unpacked { diff_id: actual, size }),
    }
}

/// Whether a directory hides what the layers below have at its place.
///
/// overlayfs does not look at the attribute on a layer's root, so for a root
/// that is opaque the layers below are to be left out of the stack.
pub fn is_opaque(dir: impl AsFd) -> io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::fgetxattr(dir, OPAQUE_XATTR, &mut value[..]) {
        Ok(length) => Ok(value[..length] == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
