//! Commits, tags and trees, read from their bytes; and which names a tree may hold. Pure.

use super::id::{ObjectFormat, ObjectId};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    /// Git's name of it, which is part of what an id is made of.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// What matters of a commit here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Its root directory.
    pub(super) tree: ObjectId,
    /// When it was committed, in seconds since 1970.
    pub(super) committed: i64,
}

impl Commit {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = head(bytes);
        let tree = ObjectId::parse(field(&head, "tree ")?)?;
        // Name, address, seconds, zone: names may hold anything, so it is read from the end.
        let committed = field(&head, "committer ")?.rsplit(' ').nth(1)?.parse().ok()?;
        Some(Self { tree, committed })
    }

    /// The commits before it.
    pub(super) fn parents(bytes: &[u8]) -> Vec<ObjectId> {
        let head = head(bytes);
        head.lines().filter_map(|line| ObjectId::parse(line.strip_prefix("parent ")?)).collect()
    }
}

/// What an annotated tag leads to.
pub(super) fn tagged(bytes: &[u8]) -> Option<ObjectId> {
    ObjectId::parse(field(&head(bytes), "object ")?)
}

/// The lines before the message.
fn head(bytes: &[u8]) -> String {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name))
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A directory.
    Directory,
    /// A file, executable or not.
    File {
        /// Whether it is.
        executable: bool,
    },
    /// A symbolic link.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its name; bytes, of which git refuses only a slash and zero.
    pub name: Vec<u8>,
    /// What it is.
    pub mode: Mode,
    /// The id of its content.
    pub id: ObjectId,
}

/// What a number says that stands in a tree.
pub(super) fn mode(number: u32) -> Option<Mode> {
    match number & 0o170_000 {
        0o040_000 => Some(Mode::Directory),
        0o100_000 => Some(Mode::File { executable: number & 0o100 != 0 }),
        0o120_000 => Some(Mode::Symlink),
        0o160_000 => Some(Mode::Submodule),
        _ => None,
    }
}

/// Reads a tree; `None` if it is malformed.
pub(super) fn parse_tree(mut bytes: &[u8], format: ObjectFormat) -> Option<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ')?;
        let mode = u32::from_str_radix(std::str::from_utf8(&bytes[..space]).ok()?, 8).ok()?;
        let mode = self::mode(mode)?;
        bytes = &bytes[space + 1..];
        let end = bytes.iter().position(|b| *b == 0)?;
        let name = bytes[..end].to_vec();
        let id = ObjectId::from_bytes(bytes.get(end + 1..end + 1 + format.len())?)?;
        bytes = &bytes[end + 1 + format.len()..];
        entries.push(TreeEntry { name, mode, id });
    }
    Some(entries)
}

/// Why an entry is not written, if it is not: names that lead elsewhere, and all spellings of
/// `.git` that some file system takes for it, as git's own `core.protectNTFS` has it.
pub(super) fn problem(entry: &TreeEntry) -> Option<&'static str> {
    let name = entry.name.as_slice();
    if name.is_empty() || name == b"." || name == b".." {
        return Some("it is no name");
    }
    if name.contains(&b'/') {
        return Some("its name holds a slash");
    }
    let stem = name.split(|b| *b == b':').next().unwrap_or_default();
    let stem = String::from_utf8_lossy(stem).to_ascii_lowercase();
    let stem = stem.trim_end_matches([' ', '.']);
    if matches!(stem, ".git" | "git~1") {
        return Some("git keeps its own files under this name");
    }
    // git itself refuses these: whoever follows the link reads another file.
    if stem == ".gitmodules" && entry.mode == Mode::Symlink {
        return Some("it may not be a link");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn reads_commits_and_tags() {
        let text = format!(
            "tree {ID}\nparent {ID}\nauthor A <a> 1 +0000\ncommitter B 7 C <b c> 1700000000 -0330\n\n\
             tree of words\ncommitter x 5 +0000\n",
        );
        let commit = Commit::parse(text.as_bytes()).unwrap();
        assert_eq!((commit.tree.to_string().as_str(), commit.committed), (ID, 1_700_000_000));
        let tag = format!("object {ID}\ntype commit\ntag v1\n\nobject x\n");
        assert_eq!(tagged(tag.as_bytes()).unwrap().to_string(), ID);
        assert_eq!(Commit::parse(tag.as_bytes()), None);
        assert_eq!(tagged(format!("x\n\nobject {ID}\n").as_bytes()), None);
    }

    #[test]
    fn reads_trees() {
        let mut bytes = Vec::new();
        let raw = [7; 20];
        for (mode, name) in
            [("40000", "d"), ("100644", "f"), ("100664", "g"), ("100755", "x"), ("120000", "l")]
        {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(&raw);
        }
        let entries = parse_tree(&bytes, ObjectFormat::Sha1).unwrap();
        let modes: Vec<Mode> = entries.iter().map(|e| e.mode).collect();
        assert_eq!(
            modes,
            [
                Mode::Directory,
                Mode::File { executable: false },
                Mode::File { executable: false },
                Mode::File { executable: true },
                Mode::Symlink,
            ],
        );
        assert_eq!(parse_tree(&bytes[..bytes.len() - 1], ObjectFormat::Sha1), None);
        assert_eq!(parse_tree(b"140000 s\0aaaaaaaaaaaaaaaaaaaa", ObjectFormat::Sha1), None);
    }

    #[test]
    fn refuses_names_that_lead_astray() {
        let id = ObjectId::parse(ID).unwrap();
        for (name, mode, good) in [
            (".gitignore", Mode::File { executable: false }, true),
            (".gitmodules", Mode::File { executable: false }, true),
            (".gitmodules", Mode::Symlink, false),
            ("..a", Mode::Directory, true),
            ("git", Mode::Directory, true),
            ("", Mode::Directory, false),
            (".", Mode::Directory, false),
            ("..", Mode::Directory, false),
            ("a/b", Mode::Directory, false),
            (".git", Mode::Directory, false),
            (".GIT", Mode::Directory, false),
            (".git. .", Mode::Directory, false),
            (".git::$INDEX_ALLOCATION", Mode::Directory, false),
            ("Git~1", Mode::Symlink, false),
        ] {
            let entry = TreeEntry { name: name.as_bytes().to_vec(), mode, id };
            assert_eq!(problem(&entry).is_none(), good, "{name:?}");
        }
    }
}
