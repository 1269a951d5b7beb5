//! Which references of a server a clone takes, and what its `.git` then says. Pure.
//!
//! The rules are those of git-clone(1): one branch is kept as `refs/remotes/origin/BRANCH` and is
//! the local branch too; a tag is kept as itself and `HEAD` is then at its commit, as it is for an id.

use super::{CloneRequest, Tags};
use crate::git::error::GitError;
use crate::git::id::ObjectId;
use crate::git::refs::{self, Reference};
use crate::git::setup::{ALL_BRANCHES, Kept, REMOTE, Setup};

const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// What a revision means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The commit; or, of a full id, whatever it is the id of.
    pub(super) commit: ObjectId,
    /// What is asked for: the annotated tag that leads to it, or the commit.
    pub(super) wanted: ObjectId,
    /// The full name of the branch, tag or other reference; none of an id.
    pub(super) name: Option<String>,
}

impl Chosen {
    /// A commit by its id.
    pub(super) fn id(commit: ObjectId) -> Self {
        Self { commit, wanted: commit, name: None }
    }

    /// What a reference stands for.
    pub(super) fn of(reference: &Reference) -> Self {
        let commit = reference.peeled.unwrap_or(reference.id);
        let name = match reference.name.as_str() {
            "HEAD" => reference.target.clone(),
            name => Some(name.to_owned()),
        };
        Self { commit, wanted: reference.id, name }
    }

    /// The short name of the branch.
    pub(super) fn branch(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix(BRANCHES)
    }

    /// The short name of the tag.
    pub(super) fn tag(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix(TAGS)
    }
}

/// Which references are to be listed: those whose names begin so.
pub(super) fn prefixes(request: &CloneRequest) -> Vec<String> {
    let mut prefixes = vec!["HEAD".to_owned()];
    if request.single_branch {
        let revision = request.revision.as_deref();
        let known = revision.is_some_and(|revision| ObjectId::parse(revision).is_some());
        prefixes.extend(refs::candidates(revision.filter(|_| !known)));
    } else {
        prefixes.push(BRANCHES.to_owned());
    }
    if request.tags != Tags::None {
        prefixes.push(TAGS.to_owned());
    }
    if request.revision.as_deref().is_some_and(is_short_id) {
        prefixes.extend([BRANCHES, TAGS].map(str::to_owned));
    }
    if let Some(revision) = &request.revision {
        prefixes.extend(refs::candidates(Some(revision)));
    }
    prefixes.extend(request.refspecs.iter().map(|spec| {
        let Refspec { from, .. } = spec;
        from.split('*').next().unwrap_or_default().to_owned()
    }));
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

/// Whether a text may be the beginning of an id, and not all of one.
pub(super) fn is_short_id(text: &str) -> bool {
    (4..40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The ids among the references that begin with `short`, of commits where that is known.
pub(super) fn beginning(all: &[Reference], short: &str) -> Vec<ObjectId> {
    let ids = all.iter().map(|reference| reference.peeled.unwrap_or(reference.id));
    let mut found: Vec<_> = ids.filter(|id| id.to_string().starts_with(short)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What is fetched and kept.
pub(super) struct Selection {
    /// What is wanted beside the commit.
    pub(super) others: Vec<ObjectId>,
    pub(super) setup: Setup,
    /// Tags that are kept if they come by themselves.
    pub(super) following: Vec<Kept>,
}

/// Selects among all that was listed.
pub(super) fn select(request: &CloneRequest, all: &[Reference], chosen: &Chosen) -> Selection {
    let kept = |reference: &Reference, name: String| Kept {
        name,
        id: reference.id,
        peeled: reference.peeled,
    };
    let mut setup = Setup { fetch: Vec::new(), ..Setup::default() };
    let mut following = Vec::new();
    let mut others = Vec::new();
    let chosen_name = chosen.name.as_deref().unwrap_or_default();
    for reference in all {
        let name = reference.name.as_str();
        if let Some(short) = name.strip_prefix(BRANCHES) {
            if !request.single_branch || name == chosen_name {
                setup.refs.push(kept(reference, format!("{REMOTE}{short}")));
            }
        } else if name.starts_with(TAGS) {
            let all = match request.tags {
                Tags::All => true,
                Tags::Follow => !request.single_branch,
                Tags::None => false,
            };
            if all || name == chosen_name {
                setup.refs.push(kept(reference, name.to_owned()));
            } else if request.tags == Tags::Follow {
                following.push(kept(reference, name.to_owned()));
            }
        }
        for spec in &request.refspecs {
            if let Some(part) = spec.part(name) {
                others.push(reference.id);
                let to = spec.to.as_ref().map(|to| to.replace('*', part));
                setup.refs.extend(to.map(|to| kept(reference, to)));
            }
        }
    }
    others.extend(setup.refs.iter().map(|kept| kept.id));
    if let Some(short) = chosen.branch() {
        let name = format!("{BRANCHES}{short}");
        // HEAD may be listed alone.
        let remote = format!("{REMOTE}{short}");
        for name in [remote, name.clone()] {
            setup.refs.push(Kept { name, id: chosen.commit, peeled: None });
        }
        setup.branch = Some(name);
    }
    let head = all.iter().find(|reference| reference.name == "HEAD");
    let head = head.and_then(|head| head.target.as_deref()?.strip_prefix(BRANCHES));
    let head = head.map(|short| format!("{REMOTE}{short}"));
    setup.remote_head = head.filter(|head| setup.refs.iter().any(|kept| kept.name == *head));
    setup.fetch.push(match (request.single_branch, chosen.branch(), chosen.tag()) {
        (true, Some(short), _) => format!("+{BRANCHES}{short}:{REMOTE}{short}"),
        (true, None, Some(short)) => format!("+{TAGS}{short}:{TAGS}{short}"),
        _ => ALL_BRANCHES.to_owned(),
    });
    let more = request.refspecs.iter().filter(|spec| spec.to.is_some()).map(Refspec::to_string);
    setup.fetch.extend(more);
    setup.fetch.dedup();
    setup.tag_option = match request.tags {
        Tags::All => Some("--tags"),
        Tags::Follow => None,
        Tags::None => Some("--no-tags"),
    };
    setup.filter = request.filter.map(|filter| filter.to_string());
    setup.sparse.clone_from(&request.sparse);
    Selection { others, setup, following }
}

/// What is fetched under which name, as git writes it: `[+]FROM[:TO]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refspec {
    forced: bool,
    from: String,
    to: Option<String>,
}

impl std::fmt::Display for Refspec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { forced, from, to } = self;
        let plus = if *forced { "+" } else { "" };
        write!(f, "{plus}{from}:{}", to.as_deref().unwrap_or_default())
    }
}

impl Refspec {
    /// Reads a refspec. Names without `refs/` in front are those of branches.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let wrong = |problem| GitError::Refspec { spec: text.to_owned(), problem };
        let full = |name: &str, of: &str| {
            if name.starts_with("refs/") { name.to_owned() } else { format!("{of}{name}") }
        };
        let (forced, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (from, to) = match rest.split_once(':') {
            Some((from, to)) => (from, Some(to).filter(|to| !to.is_empty())),
            None => (rest, None),
        };
        if from.is_empty() || from.starts_with('^') {
            return Err(wrong("expected [+]FROM[:TO]"));
        }
        if ObjectId::parse(from).is_some() {
            return Err(wrong("an id is no reference; --revision takes one"));
        }
        let stars = |name: &str| name.matches('*').count();
        if stars(from) > 1 || to.is_some_and(|to| stars(to) != stars(from)) {
            return Err(wrong("one `*` on each side, or none"));
        }
        let spec = Self { forced, from: full(from, BRANCHES), to: to.map(|to| full(to, BRANCHES)) };
        let plain = |name: &str| crate::git::setup::good_name(&name.replace('*', "x"));
        if !plain(&spec.from) || !spec.to.as_deref().is_none_or(plain) {
            return Err(wrong("this is no name of a reference"));
        }
        Ok(spec)
    }

    /// What the star stands for in a name; `None` is a name that is not meant.
    fn part<'a>(&self, name: &'a str) -> Option<&'a str> {
        let Some((before, after)) = self.from.split_once('*') else {
            return (self.from == name).then_some("");
        };
        name.strip_prefix(before)?.strip_suffix(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::url::Remote;

    fn id(letter: char) -> ObjectId {
        ObjectId::parse(&letter.to_string().repeat(40)).unwrap()
    }

    fn listed() -> Vec<Reference> {
        let reference = |letter, name: &str, target: Option<&str>| Reference {
            name: name.to_owned(),
            id: id(letter),
            peeled: None,
            target: target.map(str::to_owned),
        };
        let mut tag = reference('d', "refs/tags/v1", None);
        tag.peeled = Some(id('a'));
        vec![
            reference('a', "HEAD", Some("refs/heads/main")),
            reference('a', "refs/heads/main", None),
            reference('b', "refs/heads/side", None),
            reference('c', "refs/pull/1/head", None),
            tag,
        ]
    }

    fn request(revision: Option<&str>) -> CloneRequest {
        let remote = Remote::parse("https://h/x.git").unwrap().unwrap();
        CloneRequest { revision: revision.map(str::to_owned), ..CloneRequest::new(remote) }
    }

    fn names(kept: &[Kept]) -> Vec<&str> {
        kept.iter().map(|kept| kept.name.as_str()).collect()
    }

    #[test]
    fn a_branch_a_tag_and_another_reference() {
        let all = listed();
        for (revision, branch, fetch, head, following) in [
            (None, Some("refs/heads/main"), "+refs/heads/main:refs/remotes/origin/main", true, 1),
            (
                Some("side"),
                Some("refs/heads/side"),
                "+refs/heads/side:refs/remotes/origin/side",
                false,
                1,
            ),
            (Some("v1"), None, "+refs/tags/v1:refs/tags/v1", false, 0),
            (Some("pull/1/head"), None, ALL_BRANCHES, false, 1),
        ] {
            let request = request(revision);
            let chosen = Chosen::of(refs::choose(&all, revision).unwrap());
            let Selection { setup, following: tags, .. } = select(&request, &all, &chosen);
            assert_eq!(setup.branch.as_deref(), branch, "{revision:?}");
            assert_eq!(setup.fetch, [fetch], "{revision:?}");
            assert_eq!(setup.remote_head.is_some(), head, "{revision:?}");
            assert_eq!(tags.len(), following, "{revision:?}");
        }
        let request = CloneRequest {
            single_branch: false,
            tags: Tags::All,
            refspecs: vec![Refspec::parse("refs/pull/*/head:refs/remotes/pull/*").unwrap()],
            ..request(None)
        };
        let chosen = Chosen::of(&all[0]);
        let Selection { setup, others, .. } = select(&request, &all, &chosen);
        let mut found = names(&setup.refs);
        found.sort_unstable();
        found.dedup();
        assert_eq!(
            found,
            [
                "refs/heads/main",
                "refs/remotes/origin/main",
                "refs/remotes/origin/side",
                "refs/remotes/pull/1",
                "refs/tags/v1",
            ],
        );
        assert!(others.contains(&id('c')) && others.contains(&id('d')), "{others:?}");
        assert_eq!(setup.tag_option, Some("--tags"));
    }

    #[test]
    fn lists_what_may_be_meant() {
        let prefixes = |request: &CloneRequest| prefixes(request).join(" ");
        assert_eq!(prefixes(&request(None)), "HEAD refs/tags/");
        let none = CloneRequest { tags: Tags::None, ..request(Some("main")) };
        assert_eq!(prefixes(&none), "HEAD refs/heads/main refs/main refs/tags/main");
        let all = CloneRequest { single_branch: false, ..request(None) };
        assert_eq!(prefixes(&all), "HEAD refs/heads/ refs/tags/");
        assert!(prefixes(&request(Some("abc1"))).contains("refs/heads/ "));
        assert_eq!(beginning(&listed(), "aaaa"), [id('a')]);
        for (text, short) in [("abc1", true), ("abc", false), ("main", false), ("ABCDEF0", true)] {
            assert_eq!(is_short_id(text), short, "{text}");
        }
    }

    #[test]
    fn refspecs_are_read_as_git_writes_them() {
        for (text, expected) in [
            ("+refs/heads/*:refs/remotes/x/*", Some("+refs/heads/*:refs/remotes/x/*")),
            ("main:other", Some("refs/heads/main:refs/heads/other")),
            ("refs/tags/v1", Some("refs/tags/v1:")),
            ("refs/heads/*", Some("refs/heads/*:")),
            ("", None),
            ("^refs/heads/x", None),
            ("a*:b", None),
            ("a:b c", None),
            ("refs/../x", None),
        ] {
            let found = Refspec::parse(text).map(|spec| spec.to_string()).ok();
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let spec = Refspec::parse("refs/pull/*/head").unwrap();
        for (name, part) in [
            ("refs/pull/12/head", Some("12")),
            ("refs/pull/12/merge", None),
            ("refs/heads/x", None),
        ] {
            assert_eq!(spec.part(name), part, "{name}");
        }
    }
}
