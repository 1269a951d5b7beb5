//! What commits before ours say by their trailers: whether ours was there already, and of which
//! source the value was built that ours would replace. Pure.

use super::Texts;
use super::images::tagged;
use crate::git::{Commit, ObjectId};
use crate::gitops::edits::Wanted;

/// The commit in which an earlier attempt of the same run has made the same change.
/// `hash` tells the change from others of the run.
pub(super) fn own<'a>(
    log: &'a [Commit],
    texts: &Texts,
    images: &[Wanted],
    hash: &str,
) -> Option<&'a Commit> {
    let run = texts.run.as_deref()?;
    log.iter().find(|commit| {
        let trailers = commit.trailers();
        let all = |wanted: &str| {
            let of = trailers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            of.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        let expected: Vec<String> = images.iter().map(tagged).collect();
        all("Pipeline-Run") == [run]
            && all("Pipeline-Change") == [hash]
            && all("Source-Commit").first().copied() == texts.source_commit.as_deref()
            && all("Image") == expected
    })
}

/// The commit of the sources that the value `old` was built of, if one of the last commits tells.
/// A value is told by the image that its commit names: the whole reference, its tag or its digest.
pub(super) fn source_of(
    log: &[Commit],
    old: &str,
    texts: &Texts,
    images: &[Wanted],
) -> Option<ObjectId> {
    let names: Vec<&str> = images.iter().filter_map(Wanted::name).collect();
    let last = log.iter().find(|commit| {
        let trailers = commit.trailers();
        let mut values = trailers.iter().map(|(name, value)| (*name, value.as_str()));
        values.any(|(name, value)| match name.to_ascii_lowercase().as_str() {
            "image" => {
                let ours = names.is_empty() || names.contains(&name_of(value));
                ours && (old == value || tag_of(value) == Some(old) || starts(old, value))
            }
            "image-digest" => old == value || old.split_once('@').is_some_and(|(_, d)| d == value),
            _ => false,
        })
    })?;
    // Two repositories have no common history to compare.
    if let (Some(ours), Some(theirs)) = (&texts.source_repo, last.trailer("Source-Repo"))
        && *ours != theirs
    {
        return None;
    }
    ObjectId::parse(&last.trailer("Source-Commit")?)
}

/// Whether `old` is `image` with a digest.
fn starts(old: &str, image: &str) -> bool {
    old.strip_prefix(image).is_some_and(|rest| rest.starts_with('@'))
}

fn name_of(image: &str) -> &str {
    tag_of(image).map_or(image, |tag| &image[..image.len() - tag.len() - 1])
}

fn tag_of(image: &str) -> Option<&str> {
    let (_, tag) = image.rsplit_once(':')?;
    (!tag.contains('/')).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Author;

    const S: [&str; 2] =
        ["1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"];

    fn commit(message: &str) -> Commit {
        let id = ObjectId::parse(S[0]).unwrap();
        let author = Author { name: "a".to_owned(), email: String::new(), seconds: 0, offset: 0 };
        Commit {
            id,
            tree: id,
            parents: Vec::new(),
            author: author.clone(),
            committer: author,
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_source_of_a_value_is_that_of_its_commit() {
        let log = [
            commit("by hand"),
            commit(&format!(
                "x\n\nImage: r/app:2\nImage-Digest: sha256:aa\nSource-Repo: g\nSource-Commit: {}\n",
                S[1]
            )),
            commit(&format!("x\n\nImage: r/app:1\nSource-Commit: {}\n", S[0])),
            commit(&format!("x\n\nImage: r/other:3\nSource-Commit: {}\n", S[0])),
        ];
        let images = [Wanted::parse("r/app:9").unwrap()];
        for (old, repo, expected) in [
            ("r/app:2", None, Some(S[1])),
            ("2", Some("g"), Some(S[1])),
            ("sha256:aa", None, Some(S[1])),
            ("r/app:2@sha256:bb", None, Some(S[1])),
            ("q/app@sha256:aa", None, Some(S[1])),
            ("2", Some("elsewhere"), None),
            ("1", Some("g"), Some(S[0])),
            ("3", None, None),
            ("r/app:22", None, None),
            ("4", None, None),
        ] {
            let texts = Texts { source_repo: repo.map(str::to_owned), ..Texts::default() };
            let found = source_of(&log, old, &texts, &images).map(|id| id.to_string());
            assert_eq!(found.as_deref(), expected, "{old} {repo:?}");
        }
        assert!(source_of(&log, "3", &Texts::default(), &[]).is_some(), "no name is known");
    }

    #[test]
    fn an_earlier_attempt_is_known_by_its_trailers() {
        let images = [Wanted::parse("r/app:2").unwrap()];
        let message = format!(
            "x\n\nImage: r/app:2\nSource-Commit: {}\nPipeline-Run: b1\nPipeline-Change: h",
            S[0]
        );
        let log = [commit("by hand"), commit(&message)];
        let texts = |run: Option<&str>, source: &str| Texts {
            run: run.map(str::to_owned),
            source_commit: Some(source.to_owned()),
            ..Texts::default()
        };
        assert!(own(&log, &texts(Some("b1"), S[0]), &images, "h").is_some());
        assert!(own(&log, &texts(Some("b2"), S[0]), &images, "h").is_none());
        assert!(own(&log, &texts(Some("b1"), S[1]), &images, "h").is_none());
        assert!(own(&log, &texts(None, S[0]), &images, "h").is_none());
        assert!(own(&log, &texts(Some("b1"), S[0]), &images, "i").is_none(), "another change");
        let other = [Wanted::parse("r/app:3").unwrap()];
        assert!(own(&log, &texts(Some("b1"), S[0]), &other, "h").is_none());
    }
}
