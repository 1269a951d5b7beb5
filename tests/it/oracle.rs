//! The oracle: the cases of `testdata/build/`, each a Dockerfile with its context and
//! the file system and configuration that BuildKit makes of it, built by yado and by
//! buildah. Each is held against what the case expects, so each against the other;
//! where buildah differs, the case says in what and why, and `DIFFERENCES.md` lists it.
//!
//! `testdata/build/README.md` has the form of a case. `UPDATE_EXPECT=1` writes what
//! yado makes of the cases that are run into them; it is for a judge to say that it
//! is right. buildah's part is for a user with subordinate ids, so
//! `tests/identities.sh` leaves it out for the others.

mod archive;
mod builder;
mod case;
mod differences;
mod listing;
mod served;
mod verdict;

use std::path::PathBuf;

/// One test per folder, for each of the builders.
macro_rules! topics {
    ($($topic:ident)*) => {
        /// The folders of `testdata/build/`.
        const TOPICS: &[&str] = &[$(stringify!($topic)),*];

        mod yado {
            $(
                #[test]
                fn $topic() {
                    super::verdict::yado(stringify!($topic));
                }
            )*
        }

        mod buildah {
            $(
                #[test]
                fn $topic() {
                    super::verdict::buildah(stringify!($topic));
                }
            )*
        }
    };
}

topics! {
    add
    args
    copy
    copy_flags
    copy_globs
    env
    errors
    expansion
    from
    heredoc
    ignore
    kaniko
    layers
    metadata
    mounts
    onbuild
    parsing
    run
    shell
    stages
    user
    workdir
}

/// Where the cases are.
fn corpus() -> PathBuf {
    let testdata = std::env::var_os("TESTDATA").map(PathBuf::from);
    let here = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"));
    testdata.unwrap_or_else(here).join("build")
}

/// Whether the run writes what it would otherwise compare.
fn updates() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

#[test]
fn every_folder_of_cases_is_run() {
    let entries = std::fs::read_dir(corpus()).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut folders: Vec<_> =
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    folders.sort();
    assert_eq!(folders, TOPICS);
}

#[test]
fn there_are_cases_enough() {
    let cases: usize = TOPICS.iter().map(|topic| case::Case::of(topic).len()).sum();
    assert!(cases >= 250, "{cases} cases");
}
