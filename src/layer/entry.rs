//! What an archive says of one file.

use std::collections::BTreeMap;

/// The prefix of the name of a whiteout (OCI image specification, layer.md, "Whiteouts").
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The name that makes its directory opaque.
pub const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// The name of the extended attribute that holds a file's capabilities.
pub const CAPABILITY_XATTR: &[u8] = b"security.capability";

/// One entry of a layer's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, without `.` and `..`, without a trailing slash; empty for the root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The permission bits, set-id and sticky included: at most 0o7777.
    pub mode: u32,
    /// The owning user.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// The time of the last change, in whole seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to add to `mtime`; read, never written.
    pub nanos: u32,
    /// Extended attributes: names and raw values.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// The length of its content in bytes.
        size: u64,
    },
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: Vec<u8>,
    },
    /// Another name of a file that came before.
    Hardlink {
        /// The path of that file, of the same form as an entry's.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    Char {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

impl Entry {
    /// An entry of root's, from 1970, with mode 0755 for a directory, 0777 for a link, else 0644.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Self {
        let mode = match kind {
            Kind::Dir => 0o755,
            Kind::Symlink { .. } => 0o777,
            _ => 0o644,
        };
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            nanos: 0,
            xattrs: BTreeMap::new(),
        }
    }

    /// The directory that the entry is in and its name there.
    pub fn split(&self) -> (&[u8], &[u8]) {
        split(&self.path)
    }
}

/// The parent and the last component of a path of an entry's form.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Brings a name of an archive into an entry's form, or says why it cannot be.
///
/// Leading slashes and `.` components go away; `..` is refused wherever it
/// stands, because readers disagree on what it means.
pub fn normalise(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.contains(&0) {
        return Err("the name contains a NUL byte");
    }
    let mut path = Vec::with_capacity(name.len());
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err("the name has a component \"..\""),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(path)
}

/// A name of an archive for a message: quoted, control characters escaped.
pub fn display(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

/// A `security.capability` value without the user namespace it was set in.
///
/// A value of version 3 (24 bytes: the last four are the namespace's root id)
/// becomes one of version 2 (20 bytes), which means the same in any namespace;
/// every other value is returned as it is (linux/capability.h, `vfs_cap_data`).
pub fn capability_v2(value: &[u8]) -> Vec<u8> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    let mut value = value.to_vec();
    // The first word is little-endian: flags in the low bytes, the revision in the highest.
    if value.len() == 24 && value[3] == REVISION_3 {
        value.truncate(20);
        value[3] = REVISION_2;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_or_refused() {
        for (name, expected) in [
            ("a", Ok("a")),
            ("./a/b/", Ok("a/b")),
            ("/etc//passwd", Ok("etc/passwd")),
            ("a/./b", Ok("a/b")),
            ("./", Ok("")),
            (".", Ok("")),
            ("/", Ok("")),
            ("...", Ok("...")),
            ("..a/b..", Ok("..a/b..")),
            ("", Err("the name is empty")),
            ("a\0b", Err("the name contains a NUL byte")),
            ("..", Err("the name has a component \"..\"")),
            ("a/../b", Err("the name has a component \"..\"")),
            ("a/..", Err("the name has a component \"..\"")),
        ] {
            let expected = expected.map(|path| path.as_bytes().to_vec());
            assert_eq!(normalise(name.as_bytes()), expected, "{name:?}");
        }
    }

    #[test]
    fn a_capability_loses_its_namespace() {
        let v2: Vec<u8> = [&[1, 0, 0, 2][..], &[0, 4, 0, 0], &[0; 12]].concat();
        let v3: Vec<u8> = [&[1, 0, 0, 3][..], &[0, 4, 0, 0], &[0; 12], &[0xe8, 3, 0, 0]].concat();
        assert_eq!(capability_v2(&v3), v2);
        assert_eq!(capability_v2(&v2), v2);
        assert_eq!(capability_v2(b"odd"), b"odd");
    }
}
