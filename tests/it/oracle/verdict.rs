//! Whether what was built is what was expected.

use std::collections::BTreeMap;

use crate::support::Identity;

use super::builder::{Builder, Outcome};
use super::case::{Case, Deviation};
use super::listing::Listing;

/// Builds the cases of a folder with yado.
pub(super) fn yado(topic: &str) {
    let builder = Builder::yado();
    report(topic, |case| {
        let outcome = builder.build(case);
        if case.section("needs").is_some() && Identity::here() == Identity::Single {
            return match judge(case, outcome, true) {
                Ok(()) => Err("one id was enough; `needs` is wrong\n".to_owned()),
                Err(_) => Ok(()),
            };
        }
        let pending = case.section("pending").is_some();
        if super::updates() && !pending {
            update(case, &outcome);
            return Ok(());
        }
        match (judge(case, outcome, true), pending) {
            (Ok(()), true) => Err("yado builds it now: remove the section `pending`\n".to_owned()),
            (Err(_), true) => Ok(()),
            (result, false) => result,
        }
    });
}

/// Builds the cases of a folder with buildah.
pub(super) fn buildah(topic: &str) {
    let builder = Builder::buildah();
    report(topic, |case| {
        let mut outcome = builder.build(case);
        if let Outcome::Image(listing) = &mut outcome {
            drop_what_is_always(listing, &expected(case));
        }
        match (case.deviation().map(|(kind, _)| kind), outcome) {
            (None, outcome) => judge(case, outcome, false),
            (Some(Deviation::Varies), _) | (Some(Deviation::Cannot), Outcome::Failure(_)) => Ok(()),
            (Some(Deviation::Accepts), Outcome::Image(_)) if case.error().is_some() => Ok(()),
            (Some(Deviation::Differs(subjects)), Outcome::Image(listing))
                if case.error().is_none() =>
            {
                let found = expected(case).differences(&listing);
                if found.keys().eq(subjects.iter().collect::<std::collections::BTreeSet<_>>()) {
                    Ok(())
                } else {
                    Err(format!("it differs in other things than {subjects:?}:\n{}", shown(&found)))
                }
            }
            (Some(kind), Outcome::Image(listing)) => {
                let found = expected(case).differences(&listing);
                Err(format!("buildah is said to be {kind:?}, and it builds:\n{}", shown(&found)))
            }
            (Some(kind), Outcome::Failure(said)) => {
                Err(format!("buildah is said to be {kind:?}, and it fails:\n{said}"))
            }
        }
    });
}

/// Judges each case; all that are wrong fail the test together.
fn report(topic: &str, judge: impl Fn(&Case) -> Result<(), String>) {
    let cases = Case::of(topic);
    assert!(!cases.is_empty(), "{topic} has no case");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            judge(case).err().map(|why| format!("{} ({}): {why}", case.name, case.shows()))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn expected(case: &Case) -> Listing {
    let section = |title| case.section(title).unwrap_or_default();
    Listing::parse(section("tree"), section("config"))
}

/// Whether a case came out as expected; a failure with the words that are yado's.
fn judge(case: &Case, outcome: Outcome, words: bool) -> Result<(), String> {
    match (case.error(), outcome) {
        (None, Outcome::Image(listing)) => {
            let found = expected(case).differences(&listing);
            if found.is_empty() {
                Ok(())
            } else {
                Err(format!("expected -, built +\n{}", shown(&found)))
            }
        }
        (None, Outcome::Failure(said)) => Err(format!("it fails:\n{said}")),
        (Some(_), Outcome::Image(_)) => Err("it must fail, and is built\n".to_owned()),
        (Some(texts), Outcome::Failure(said)) => {
            let missing = texts.iter().find(|text| words && !said.contains(*text));
            missing.map_or(Ok(()), |text| Err(format!("it does not say {text:?}:\n{said}")))
        }
    }
}

/// Writes what was built into the case. A failure's text is for people to choose.
fn update(case: &Case, outcome: &Outcome) {
    match outcome {
        Outcome::Image(listing) => {
            case.rewrite(&[("tree", &listing.tree_text()), ("config", &listing.config_text())]);
        }
        Outcome::Failure(said) => {
            let kept = case.error().map(|texts| texts.join("\n") + "\n");
            case.rewrite(&[("error", kept.as_ref().unwrap_or(said))]);
        }
    }
}

/// Removes from what buildah built what it does always, which is one difference and
/// not one for each case: where it mounts something for RUN, the mount point stays in
/// the image; an image from scratch has no working directory, which means the root.
fn drop_what_is_always(listing: &mut Listing, expected: &Listing) {
    const DIRECTORIES: &[&str] = &["/dev", "/etc", "/proc", "/run", "/sys"];
    const FILES: &[&str] = &["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    listing.tree.retain(|path, line| {
        let directory = DIRECTORIES.contains(&path.as_str()) && line.ends_with(" dir 0755 0:0");
        let file = FILES.contains(&path.as_str()) && line.ends_with(" file 0755 0:0 \"\"");
        expected.tree.contains_key(path) || !(directory || file)
    });
    let directory = "WorkingDir";
    if !expected.config.contains_key(directory) {
        listing.config.retain(|key, line| key != directory || line != "WorkingDir absent");
    }
}

fn shown(differences: &BTreeMap<String, String>) -> String {
    differences.values().map(String::as_str).collect()
}
