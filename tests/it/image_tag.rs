//! `yado image-tag`: tags of checkouts, as a pipeline gets them.

use std::fs;
use std::process::Command;

use crate::support::{WorkDir, Yado, tool};

/// 2026-11-28T10:55:49Z.
const EPOCH: &str = "1795863349";

/// A checkout with one commit; gives its id.
fn checkout(work: &WorkDir) -> String {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(args).current_dir(work.path("checkout")).env("HOME", work.path("home"));
        tool(&mut command).trim().to_owned()
    };
    work.write("checkout/file", "x");
    work.write("home/.gitconfig", "[user]\n\tname = t\n\temail = t\n");
    git(&["init", "--quiet", "--initial-branch=main", "."]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "one"]);
    git(&["tag", "-a", "-m", "x", "v1.4.0"]);
    git(&["rev-parse", "HEAD"])
}

fn image_tag(work: &WorkDir, args: &[&str]) -> Yado {
    let yado = work.yado([&["image-tag"], args].concat());
    yado.dir(work.path("checkout")).env("SOURCE_DATE_EPOCH", EPOCH)
}

#[test]
fn makes_a_tag_of_time_and_commit() {
    let work = WorkDir::new();
    let commit = checkout(&work);
    let short = &commit[..7];
    let results = work.path("results");
    let dir = results.to_str().unwrap();
    let made = image_tag(&work, &["--repo", "reg:5000/team/app", "--results-dir", dir]).succeeds();
    let tag = format!("20261128T105549Z-{short}");
    let expected = format!(
        "image-url: reg:5000/team/app:{tag}\ntag: {tag}\ncommit: {commit}\nshort-commit: {short}\n\
         timestamp: 2026-11-28T10:55:49Z\n"
    );
    assert_eq!(made.stdout, expected);
    let result = |name: &str| fs::read_to_string(results.join(name)).unwrap();
    assert_eq!(result("tag"), tag);
    assert_eq!(result("image-url"), format!("reg:5000/team/app:{tag}"));
    let json = image_tag(&work, &["--from", "semver", "--output", "json"]).succeeds().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["tag"], &json["image-url"]), (&"1.4.0".into(), &"".into()));
}

#[test]
fn needs_neither_home_nor_git() {
    let work = WorkDir::new();
    let commit = checkout(&work);
    let mut yado = image_tag(&work, &["--from", "git"]);
    for name in ["HOME", "PATH", "YADO_ROOT", "XDG_RUNTIME_DIR"] {
        yado = yado.env(name, "/nowhere");
    }
    let made = yado.succeeds();
    assert!(made.stdout.contains(&format!("\ntag: sha-{}\n", &commit[..7])), "{}", made.stdout);
}

#[test]
fn numbers_are_refused_unless_allowed() {
    let work = WorkDir::new();
    checkout(&work);
    let format = ["--format", "{{date:%m%d%Y%H%M%S}}"];
    image_tag(&work, &format)
        .fails(64)
        .says("error: YAML reads the tag 11282026105549 as a number where it stands without quotes")
        .says("hint: a letter in --format makes it text");
    let made = image_tag(&work, &["--allow-numeric"]).flags(format).succeeds();
    assert!(made.stdout.contains("\ntag: 11282026105549\n"), "{}", made.stdout);
    image_tag(&work, &["--format", "{{hash}}"])
        .fails(64)
        .says("{{hash}} is no variable; there are");
    image_tag(&work, &["--from", "digest"])
        .fails(64)
        .says("{{digest}} has no value: give --digest");
    image_tag(&work, &["--result", "image=x"]).fails(64).says("there is no such result");
}

#[test]
fn flags_come_from_the_environment_too() {
    let work = WorkDir::new();
    checkout(&work);
    let made = image_tag(&work, &[])
        .env("YADO_IMAGE_TAG_FORMAT", "{{branch}}-{{run}}")
        .env("YADO_IMAGE_TAG_RUN", "build-x7z")
        .succeeds();
    assert!(made.stdout.contains("\ntag: main-build-x7z\n"), "{}", made.stdout);
}
