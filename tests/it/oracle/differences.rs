//! The list of where buildah differs, made of what the cases say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use super::case::{Case, Deviation};
use super::{TOPICS, corpus, updates};

const HEAD: &str = "# Where buildah differs, and yado

The cases of this folder expect what BuildKit makes of them. buildah (Debian's 1.28.2, rootless,
`--isolation chroot`) builds the same, but for these, each with its reason. The list is made of the
cases by `UPDATE_EXPECT=1 cargo test --test it oracle::differences`, and tests hold it true: a case that is
not here and differs fails, and so does one that is here and does not differ as said.

In all cases the mount points of its RUN stay in buildah's image (`/dev`, `/proc`, `/sys`, `/run`,
`/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`, as empty files and directories), and its images from
scratch have no working directory, which means the root. These are not compared.
";

const OWN_RULES: &str = "Where BuildKit mounts `/dev`, `/proc` and `/sys` for RUN and the base has no such directory, it stays in
the image; yado removes it. yado's steps see `SOURCE_DATE_EPOCH`. Besides:

";

/// Whether a deviation is of a kind.
type Kind = fn(&Deviation) -> bool;

/// Reason to lines, so that what has one cause stands together.
fn list() -> String {
    let mut text = HEAD.to_owned();
    let cases = || TOPICS.iter().flat_map(|topic| Case::of(topic));
    let of = |wanted: Kind| {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for case in cases() {
            if let Some((kind, reason)) = case.deviation()
                && wanted(&kind)
            {
                by_reason.entry(reason).or_default().push(case.name);
            }
        }
        by_reason
    };
    let parts: [(&str, Kind); 4] = [
        ("It builds something else", |kind| matches!(kind, Deviation::Differs(_))),
        ("It cannot build", |kind| *kind == Deviation::Cannot),
        ("It builds what BuildKit refuses", |kind| *kind == Deviation::Accepts),
        ("It builds now this, now that", |kind| *kind == Deviation::Varies),
    ];
    for (title, wanted) in parts {
        writeln!(text, "\n## {title}\n").unwrap();
        for (reason, names) in of(wanted) {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            writeln!(text, "- {reason} ({})", names.join(", ")).unwrap();
        }
    }
    writeln!(text, "\n## Where yado differs from BuildKit on purpose\n").unwrap();
    text.push_str(OWN_RULES);
    for case in cases() {
        if let Some(reason) = case.own_rule() {
            writeln!(text, "- `{}`: {} {reason}", case.name, case.shows()).unwrap();
        }
    }
    text
}

#[test]
fn the_list_is_what_the_cases_say() {
    let file = corpus().join("DIFFERENCES.md");
    let text = list();
    if updates() {
        fs::write(&file, &text).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "{} is not up to date, see its head", file.display());
}
