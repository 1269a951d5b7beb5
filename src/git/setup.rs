//! What a `.git` says beside its objects: where `HEAD` is, references, the remote. Pure.

use super::id::ObjectId;
use super::sparse::Sparse;

/// The branches of the remote, as a plain clone follows them.
pub(super) const ALL_BRANCHES: &str = "+refs/heads/*:refs/remotes/origin/*";

/// Where the branches of the remote are kept.
pub(super) const REMOTE: &str = "refs/remotes/origin/";

/// A reference that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    /// Its full name here.
    pub(super) name: String,
    pub(super) id: ObjectId,
    /// What the annotated tag there leads to.
    pub(super) peeled: Option<ObjectId>,
}

/// What is written into a `.git` beside objects and index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// The branch that `HEAD` stands for (`refs/heads/main`); absent: it is the commit itself.
    pub(super) branch: Option<String>,
    pub(super) refs: Vec<Kept>,
    /// What `refs/remotes/origin/HEAD` stands for.
    pub(super) remote_head: Option<String>,
    /// What `git fetch` is to fetch.
    pub(super) fetch: Vec<String>,
    /// `--tags` or `--no-tags`, where `git fetch` is not to follow tags by itself.
    pub(super) tag_option: Option<&'static str>,
    /// What was left out, which git then fetches when it needs it.
    pub(super) filter: Option<String>,
    /// Which directories are in the work tree.
    pub(super) sparse: Option<Sparse>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            branch: None,
            refs: Vec::new(),
            remote_head: None,
            fetch: vec![ALL_BRANCHES.to_owned()],
            tag_option: None,
            filter: None,
            sparse: None,
        }
    }
}

impl Setup {
    /// The file `packed-refs`, sorted as its head says; none where there are no references.
    pub(super) fn packed_refs(&self) -> Option<String> {
        let mut refs: Vec<&Kept> = self.refs.iter().filter(|kept| good_name(&kept.name)).collect();
        refs.sort();
        refs.dedup_by(|a, b| a.name == b.name);
        let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for kept in &refs {
            text.extend([&kept.id.to_string(), " ", &kept.name, "\n"]);
            if let Some(peeled) = kept.peeled {
                text.extend(["^", &peeled.to_string(), "\n"]);
            }
        }
        (!refs.is_empty()).then_some(text)
    }
}

/// Whether git takes a name for that of a reference (git-check-ref-format(1)). Servers name them.
pub(super) fn good_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.starts_with("refs/")
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(|part| {
            !part.is_empty() && !part.starts_with('.') && !part.to_lowercase().ends_with(".lock")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_references_are_sorted_and_sound() {
        let id = ObjectId::parse(&"a".repeat(40)).unwrap();
        let kept = |name: &str, peeled| Kept { name: name.to_owned(), id, peeled };
        let setup = Setup {
            refs: vec![
                kept("refs/tags/v1", Some(id)),
                kept("refs/heads/main", None),
                kept("refs/heads/../../x", None),
                kept("refs/heads/main", None),
            ],
            ..Setup::default()
        };
        let a = "a".repeat(40);
        assert_eq!(
            setup.packed_refs().unwrap(),
            format!(
                "# pack-refs with: peeled fully-peeled sorted \n\
                 {a} refs/heads/main\n{a} refs/tags/v1\n^{a}\n"
            ),
        );
        assert_eq!(Setup::default().packed_refs(), None);
    }

    #[test]
    fn names_of_references() {
        for (name, good) in [
            ("refs/heads/release/1.x", true),
            ("refs/heads/ümlaut", true),
            ("refs/heads/a b", false),
            ("refs/heads/a..b", false),
            ("refs/heads//a", false),
            ("refs/heads/.a", false),
            ("refs/heads/a.lock", false),
            ("refs/heads/a@{1}", false),
            ("refs/heads/a.", false),
            ("heads/a", false),
            ("refs/heads/a\nb", false),
        ] {
            assert_eq!(good_name(name), good, "{name}");
        }
    }
}
