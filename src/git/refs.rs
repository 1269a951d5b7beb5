//! Which commit a name means, among what a server has. Pure.
//!
//! The order is BuildKit's: the name as a full reference, then as a branch, then as a tag.

use super::id::ObjectId;

/// A reference as a server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Its full name.
    pub(super) name: String,
    /// What it points to.
    pub(super) id: ObjectId,
    /// What the annotated tag there leads to.
    pub(super) peeled: Option<ObjectId>,
    /// The reference it stands for.
    pub(super) target: Option<String>,
}

impl Reference {
    /// Reads a line of `ls-refs`; `None` for what is no reference.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = ObjectId::parse(words.next()?)?;
        let name = words.next()?.to_owned();
        let mut reference = Self { name, id, peeled: None, target: None };
        for word in words {
            if let Some(id) = word.strip_prefix("peeled:") {
                reference.peeled = Some(ObjectId::parse(id)?);
            } else if let Some(target) = word.strip_prefix("symref-target:") {
                reference.target = Some(target.to_owned());
            }
        }
        Some(reference)
    }
}

/// Full names that `wanted` may mean, the first first. None is the default branch.
pub(super) fn candidates(wanted: Option<&str>) -> Vec<String> {
    let Some(wanted) = wanted.filter(|name| *name != "HEAD") else {
        return vec!["HEAD".to_owned()];
    };
    let with = |prefix: &str| {
        if wanted.starts_with(prefix) { wanted.to_owned() } else { format!("{prefix}{wanted}") }
    };
    let mut names = vec![with("refs/"), with("refs/heads/"), with("refs/tags/")];
    names.dedup();
    names
}

/// The reference that `wanted` means.
pub(super) fn choose<'a>(all: &'a [Reference], wanted: Option<&str>) -> Option<&'a Reference> {
    candidates(wanted).iter().find_map(|name| all.iter().find(|r| r.name == *name))
}

/// How many names are proposed.
const PROPOSALS: usize = 3;

/// Names of branches and tags that `wanted` may have been meant for, the nearest first.
pub(super) fn near(all: &[Reference], wanted: &str) -> Vec<String> {
    let short = |name: &str| {
        let rest = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
        rest.map(str::to_owned)
    };
    let wanted = short(wanted).unwrap_or_else(|| wanted.to_owned());
    let mut names: Vec<(usize, String)> = all
        .iter()
        .filter_map(|reference| short(&reference.name))
        .map(|name| (distance(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= wanted.chars().count() / 3 + 1)
        .collect();
    // A repository with a branch or two is shown as it is.
    if names.is_empty() && all.len() <= PROPOSALS {
        names = all.iter().filter_map(|r| short(&r.name)).map(|name| (0, name)).collect();
    }
    names.sort();
    names.dedup();
    names.into_iter().take(PROPOSALS).map(|(_, name)| name).collect()
}

/// How many letters must change to make one text of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<Reference> {
        let line = |(n, name): (usize, &&str)| format!("{n:040x} {name}");
        names.iter().enumerate().map(|n| Reference::parse(&line(n)).unwrap()).collect()
    }

    #[test]
    fn reads_lines_of_ls_refs() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let head = Reference::parse(&format!("{a} HEAD symref-target:refs/heads/m")).unwrap();
        assert_eq!(head.target.as_deref(), Some("refs/heads/m"));
        let tag = Reference::parse(&format!("{a} refs/tags/v1 peeled:{b}")).unwrap();
        assert_eq!(tag.peeled.unwrap().to_string(), b);
        assert_eq!(Reference::parse("unborn HEAD symref-target:refs/heads/m"), None);
        assert_eq!(Reference::parse(&format!("{a} refs/tags/v1 peeled:x")), None);
    }

    #[test]
    fn a_full_name_comes_first_then_a_branch_then_a_tag() {
        let all =
            list(&["HEAD", "refs/heads/v1", "refs/tags/v1", "refs/tags/t", "refs/pull/1/head"]);
        for (wanted, expected) in [
            (None, Some("HEAD")),
            (Some("HEAD"), Some("HEAD")),
            (Some("v1"), Some("refs/heads/v1")),
            (Some("heads/v1"), Some("refs/heads/v1")),
            (Some("tags/v1"), Some("refs/tags/v1")),
            (Some("refs/tags/v1"), Some("refs/tags/v1")),
            (Some("t"), Some("refs/tags/t")),
            (Some("pull/1/head"), Some("refs/pull/1/head")),
            (Some("1/head"), None),
            (Some("V1"), None),
        ] {
            assert_eq!(choose(&all, wanted).map(|r| r.name.as_str()), expected, "{wanted:?}");
        }
    }

    #[test]
    fn proposes_what_is_near() {
        let all =
            list(&["refs/heads/main", "refs/heads/release/1.2", "refs/tags/v1.2.3", "refs/tags/x"]);
        assert_eq!(near(&all, "mian"), ["main"]);
        assert_eq!(near(&all, "refs/tags/1.2.3"), ["v1.2.3"]);
        assert!(near(&all, "something-else").is_empty());
        assert_eq!(near(&list(&["refs/heads/main"]), "master-branch"), ["main"]);
    }
}
