//! What a commit says: a subject, what has changed, and trailers that machines read. Pure.

use std::fmt::Write as _;

use super::images::{short_name, tagged, whole};
use super::{Change, PatchError};
use crate::gitops::edits::Wanted;
use crate::gitops::template::Template;
use crate::image::Digest;

/// The variables of a message, and of the texts of a pull request.
pub const VARIABLES: &[&str] = &[
    "image",
    "name",
    "tag",
    "digest",
    "old",
    "new",
    "files",
    "changes",
    "source_commit",
    "short_source_commit",
    "source_repo",
    "run",
    "url",
    "branch",
    "hash",
];

/// What the texts of a change are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The message without trailers; absent: what has changed.
    pub message: Option<String>,
    /// More trailers.
    pub trailers: Vec<(String, String)>,
    /// Whether services are asked to start no pipeline for it.
    pub skip_ci: bool,
    /// Where the sources are, for people.
    pub source_repo: Option<String>,
    /// The commit that the image was built of.
    pub source_commit: Option<String>,
    /// The name of the pipeline's run.
    pub run: Option<String>,
    /// A page about it.
    pub url: Option<String>,
}

/// What is known of a change when its texts are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) images: &'a [Wanted],
    pub(super) changes: &'a [Change],
    /// The branch that is changed.
    pub(super) branch: &'a str,
    pub(super) hash: &'a str,
}

impl Texts {
    /// Reads the templates; whatever is wrong with them is found before anything is asked for.
    pub(super) fn check(&self) -> Result<(), PatchError> {
        if let Some(message) = &self.message {
            Template::parse(message, VARIABLES)?;
        }
        for (name, value) in &self.trailers {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            if name.is_empty() || !name.bytes().all(word) || value.contains('\n') {
                return Err(PatchError::Trailer(format!("{name}: {value}")));
            }
        }
        Ok(())
    }

    /// The message of the commit.
    pub(super) fn message(&self, facts: Facts<'_>) -> Result<String, PatchError> {
        let text = match &self.message {
            Some(template) => self.fill(template, facts)?,
            None => format!("{}\n\n{}", subject(facts), lines(facts.changes)),
        };
        let text = text.trim();
        let (subject, rest) = text.split_once('\n').unwrap_or((text, ""));
        let mut message = subject.trim_end().to_owned();
        if self.skip_ci {
            message.push_str(" [skip ci]");
        }
        if !rest.is_empty() {
            let _ = write!(message, "\n{rest}");
        }
        let trailers = self.all_trailers(facts.images, facts.hash);
        if !trailers.is_empty() {
            message.push('\n');
            for (name, value) in trailers {
                let _ = write!(message, "\n{name}: {value}");
            }
        }
        Ok(message)
    }

    /// A text with the change's variables.
    pub(super) fn fill(&self, template: &str, facts: Facts<'_>) -> Result<String, PatchError> {
        let template = Template::parse(template, VARIABLES)?;
        template.fill(|name, argument| {
            if let Some(argument) = argument {
                let problem = "variables of a message take nothing after a colon".to_owned();
                return Err(crate::gitops::TemplateError::Argument {
                    name: name.to_owned(),
                    argument: argument.to_owned(),
                    problem,
                }
                .into());
            }
            Ok(self.value(name, facts))
        })
    }

    /// Of several images or values, all of them; nothing for what is not known.
    fn value(&self, name: &str, facts: Facts<'_>) -> String {
        let images = |part: &dyn Fn(&Wanted) -> String| {
            let parts: Vec<String> = facts.images.iter().map(part).collect();
            join(parts)
        };
        let changes = |part: &dyn Fn(&Change) -> Option<String>| {
            join(facts.changes.iter().filter_map(part).collect())
        };
        let known = |value: &Option<String>| value.clone().unwrap_or_default();
        match name {
            "image" => images(&whole),
            "name" => images(&|image| short_name(image).to_owned()),
            "tag" => images(&|image| image.tag().unwrap_or_default().to_owned()),
            "digest" => images(&|image| image.digest().map_or_else(String::new, Digest::to_string)),
            "old" => changes(&|change| change.old.clone()),
            "new" => changes(&|change| change.new.clone()),
            "files" => changes(&|change| Some(change.path.clone())),
            "changes" => lines(facts.changes),
            "source_commit" => known(&self.source_commit),
            "short_source_commit" => known(&self.source_commit).chars().take(7).collect(),
            "source_repo" => known(&self.source_repo),
            "run" => known(&self.run),
            "url" => known(&self.url),
            "branch" => facts.branch.to_owned(),
            _ => facts.hash.to_owned(),
        }
    }

    fn all_trailers(&self, images: &[Wanted], hash: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
        for image in images {
            add("Image", tagged(image));
            if let Some(digest) = image.digest() {
                add("Image-Digest", digest.to_string());
            }
        }
        let known = [
            ("Source-Repo", &self.source_repo),
            ("Source-Commit", &self.source_commit),
            ("Pipeline-Run", &self.run),
            ("Pipeline-URL", &self.url),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                add(name, value.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
        if self.run.is_some() {
            // A run may make several changes; each of them is made once.
            all.push(("Pipeline-Change".to_owned(), hash.to_owned()));
        }
        all.extend(self.trailers.iter().cloned());
        all
    }
}

fn join(mut parts: Vec<String>) -> String {
    parts.retain(|part| !part.is_empty());
    let mut seen = Vec::new();
    for part in parts {
        if !seen.contains(&part) {
            seen.push(part);
        }
    }
    seen.join(", ")
}

/// The first line, where nobody has said another.
pub(super) fn subject(facts: Facts<'_>) -> String {
    /// Names that are listed.
    const NAMES: usize = 3;
    let of = |image: &Wanted| {
        let digest = image.digest().map(|digest| digest.short().to_owned());
        (short_name(image).to_owned(), image.tag().map(str::to_owned).or(digest))
    };
    match facts.images {
        [] => {}
        [image] => match of(image) {
            (name, Some(version)) if name.is_empty() => return format!("Update to {version}"),
            (name, Some(version)) => return format!("Update {name} to {version}"),
            (name, None) => return format!("Update {name}"),
        },
        images => {
            let mut names: Vec<String> =
                images.iter().map(of).map(|(name, _)| name).filter(|n| !n.is_empty()).collect();
            names.dedup();
            let more = names.len().saturating_sub(NAMES);
            names.truncate(NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return format!("Update {}{more}", names.join(", "));
        }
    }
    let mut paths: Vec<&str> = facts.changes.iter().map(|change| change.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    match paths[..] {
        [path] => format!("Update {path}"),
        _ => format!("Update {} files", paths.len()),
    }
}

/// What has changed, file by file.
pub(super) fn lines(changes: &[Change]) -> String {
    /// Lines that are shown.
    const SHOWN: usize = 50;
    /// Characters of a value that are shown.
    const LENGTH: usize = 200;
    let value = |value: &Option<String>| match value {
        Some(value) => {
            let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
            line.chars().take(LENGTH).collect()
        }
        None => "(nothing)".to_owned(),
    };
    let mut text = String::new();
    let mut path = "";
    for change in changes.iter().take(SHOWN) {
        if change.path != path {
            path = &change.path;
            let _ = writeln!(text, "{path}:");
        }
        let (old, new) = (value(&change.old), value(&change.new));
        let _ = writeln!(text, "  {}: {old} -> {new}", change.place);
    }
    if changes.len() > SHOWN {
        let _ = writeln!(text, "and {} more", changes.len() - SHOWN);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, place: &str, old: &str, new: &str) -> Change {
        Change {
            path: path.to_owned(),
            place: place.to_owned(),
            old: Some(old.to_owned()),
            new: Some(new.to_owned()),
        }
    }

    #[test]
    fn says_what_has_changed() {
        let digest = Digest::of(b"x").to_string();
        let images = [Wanted::parse(&format!("r.io/team/app:2@{digest}")).unwrap()];
        let changes =
            [change("a/values.yaml", "image.tag", "1", "2"), change("b.yaml", "x", "1", "2")];
        let facts = Facts { images: &images, changes: &changes, branch: "main", hash: "h" };
        let texts = Texts {
            source_repo: Some("https://g/o/app".to_owned()),
            source_commit: Some("0123456789012345678901234567890123456789".to_owned()),
            run: Some("build-x".to_owned()),
            trailers: vec![("Reviewed-by".to_owned(), "nobody".to_owned())],
            ..Texts::default()
        };
        let expected = format!(
            "Update app to 2\n\n\
             a/values.yaml:\n  image.tag: 1 -> 2\nb.yaml:\n  x: 1 -> 2\n\n\
             Image: r.io/team/app:2\nImage-Digest: {digest}\nSource-Repo: https://g/o/app\n\
             Source-Commit: 0123456789012345678901234567890123456789\nPipeline-Run: build-x\n\
             Pipeline-Change: h\nReviewed-by: nobody"
        );
        assert_eq!(texts.message(facts).unwrap(), expected);
        for (template, expected) in [
            ("{{name}}: {{old}} to {{new}}", "app: 1 to 2 [skip ci]".to_owned()),
            (
                "x\n\n{{short_source_commit}} {{files}}",
                "x [skip ci]\n\n a/values.yaml, b.yaml".to_owned(),
            ),
            ("{{image}}", format!("r.io/team/app:2@{digest} [skip ci]")),
            ("{{tag}} {{digest}} {{branch}} {{hash}}", format!("2 {digest} main h [skip ci]")),
        ] {
            let message = Some(template.to_owned());
            let texts = Texts { message, skip_ci: true, ..Texts::default() };
            let made = texts.message(facts).unwrap();
            let (text, trailers) = made.rsplit_once("\n\n").unwrap();
            assert_eq!(text, expected, "{template}");
            assert_eq!(trailers, format!("Image: r.io/team/app:2\nImage-Digest: {digest}"));
        }
    }

    #[test]
    fn subjects_fit_what_there_is() {
        let wanted = |images: &[&str]| -> Vec<Wanted> {
            images.iter().map(|image| Wanted::parse(image).unwrap()).collect()
        };
        let one = [change("a.yaml", "x", "1", "2")];
        let two = [one[0].clone(), change("b.yaml", "x", "1", "2")];
        for (images, changes, expected) in [
            (wanted(&["r/a:1"]), &one[..], "Update a to 1"),
            (wanted(&[":1"]), &one, "Update to 1"),
            (wanted(&["r/a:1", "r/b:1"]), &one, "Update a, b"),
            (wanted(&["a:1", "b:1", "c:1", "d:1"]), &one, "Update a, b, c and 1 more"),
            (Vec::new(), &one, "Update a.yaml"),
            (Vec::new(), &two, "Update 2 files"),
        ] {
            let facts = Facts { images: &images, changes, branch: "main", hash: "h" };
            assert_eq!(subject(facts), expected);
        }
    }

    #[test]
    fn slips_are_found_first() {
        for texts in [
            Texts { message: Some("{{imgae}}".to_owned()), ..Texts::default() },
            Texts { trailers: vec![("a b".to_owned(), "c".to_owned())], ..Texts::default() },
            Texts { trailers: vec![("a".to_owned(), "c\nd: e".to_owned())], ..Texts::default() },
        ] {
            assert!(texts.check().is_err(), "{texts:?}");
        }
    }
}
