//! Tags of commits, times and versions, in checkouts that git made.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::testing::TempDir;

/// 2026-11-28T10:55:49Z.
const NOW: i64 = 1_795_863_349;
const COMMIT: &str = "4f2a1bc000000000000000000000000000000000";

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env("HOME", dir).env("GIT_CONFIG_NOSYSTEM", "1");
    for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"]
    {
        command.env(name, "t");
    }
    command.env("GIT_COMMITTER_DATE", "1700000000 +0100");
    let output = command.output().expect("git is installed");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn request(dir: &Path, format: &str) -> TagRequest {
    TagRequest {
        format: Some(format.to_owned()),
        checkout: dir.to_owned(),
        now: NOW,
        run: Some("build-x7z".to_owned()),
        digest: Some(Digest::of(b"")),
        ..TagRequest::default()
    }
}

fn tag(request: &TagRequest) -> Result<String, String> {
    make_tag(request).map(|made| made.tag).map_err(|error| error.to_string())
}

#[test]
fn fills_in_variables_of_a_checkout() {
    let dir = TempDir::new("tag");
    let dir = dir.path();
    git(dir, &["init", "--quiet", "--initial-branch=feature/ABC-1", "."]);
    git(dir, &["commit", "--quiet", "--allow-empty", "-m", "1"]);
    git(dir, &["commit", "--quiet", "--allow-empty", "-m", "2"]);
    git(dir, &["tag", "-a", "-m", "x", "v1.2.3-rc.1"]);
    git(dir, &["tag", "zzz"]);
    let sha = git(dir, &["rev-parse", "HEAD"]);
    for (format, expected) in [
        ("{{date}}-{{short_sha}}", Ok(format!("20261128T105549Z-{}", &sha[..7]))),
        ("x{{date:%Y.%j}}", Ok("x2026.332".to_owned())),
        ("t{{timestamp}}", Ok(format!("t{NOW}"))),
        ("{{commit_date}}", Ok("20231114T221320Z".to_owned())),
        ("sha-{{sha}}", Ok(format!("sha-{sha}"))),
        ("sha-{{short_sha:12}}", Ok(format!("sha-{}", &sha[..12]))),
        ("{{branch}}", Ok("feature-ABC-1".to_owned())),
        ("{{branch:8}}", Ok("feature".to_owned())),
        ("{{tag}}", Ok("v1.2.3-rc.1".to_owned())),
        ("{{version}}", Ok("1.2.3-rc.1".to_owned())),
        ("v{{major}}_{{minor}}_{{patch}}_{{prerelease}}", Ok("v1_2_3_rc.1".to_owned())),
        ("b{{count}}", Ok("b2".to_owned())),
        ("{{run}}-{{digest}}-{{digest:4}}", Ok("build-x7z-e3b0c44298fc-e3b0".to_owned())),
        ("{{count:2}}", Err("{{count:2}}: this variable takes nothing after a colon".to_owned())),
        ("{{sha:7}}", Err("{{sha:7}}: this variable takes nothing after a colon".to_owned())),
        ("{{short_sha:0}}", Err("{{short_sha:0}}: expected a number of characters".to_owned())),
        ("", Err(TagError::Grammar { tag: String::new() }.to_string())),
        ("a:b", Err(TagError::Grammar { tag: "a:b".to_owned() }.to_string())),
    ] {
        assert_eq!(tag(&request(dir, format)), expected, "{format}");
    }
    let error = tag(&request(dir, "{{date:%Q%}}")).unwrap_err();
    assert!(error.starts_with("{{date:%Q%}}: "), "{error}");
    let error = tag(&request(dir, "{{hash}}")).unwrap_err();
    assert!(error.starts_with("{{hash}} is no variable; there are date, "), "{error}");
    git(dir, &["checkout", "--quiet", "--detach"]);
    let error = tag(&request(dir, "{{branch}}")).unwrap_err();
    assert_eq!(error, "{{branch}} has no value: no branch is checked out; give --branch");
    let given = TagRequest { branch: Some("refs/heads/a/b".into()), ..request(dir, "{{branch}}") };
    assert_eq!(tag(&given).unwrap(), "a-b");
}

#[test]
fn numbers_and_dates_are_refused_unless_allowed() {
    let dir = TempDir::new("tag");
    let mut request = request(dir.path(), "{{date:%m%d%Y%H%M%S}}");
    let error = tag(&request).unwrap_err();
    let expected = "YAML reads the tag 11282026105549 as a number where it stands without quotes";
    assert_eq!(error, expected);
    request.allow_numeric = true;
    assert_eq!(tag(&request).unwrap(), "11282026105549");
}

#[test]
fn without_a_checkout_a_commit_can_be_given() {
    let dir = TempDir::new("tag");
    let mut request = TagRequest { format: None, ..request(dir.path(), "") };
    let error = tag(&request).unwrap_err();
    let expected =
        "{{short_sha}} has no value: there is no checkout: give --source DIR or --commit";
    assert_eq!(error, expected);
    request.commit = Some(COMMIT[..7].to_owned());
    let error = tag(&request).unwrap_err();
    let expected = "--commit \"4f2a1bc\" is no commit: expected all 40 or 64 hexadecimal digits";
    assert_eq!(error, expected);
    request.commit = Some(COMMIT.to_owned());
    request.repository = Some("reg:5000/team/app".to_owned());
    let made = make_tag(&request).unwrap();
    let expected = MadeTag {
        tag: "20261128T105549Z-4f2a1bc".to_owned(),
        image: Some("reg:5000/team/app:20261128T105549Z-4f2a1bc".to_owned()),
        commit: Some(COMMIT.to_owned()),
        short_commit: Some("4f2a1bc".to_owned()),
        timestamp: "2026-11-28T10:55:49Z".to_owned(),
    };
    assert_eq!(made, expected);
    for (repository, expected) in [
        ("reg/app:1", "invalid image reference"),
        ("reg/App", "invalid image reference"),
        ("reg/app@sha256", "invalid image reference"),
    ] {
        request.repository = Some(repository.to_owned());
        let error = tag(&request).unwrap_err();
        assert!(error.starts_with(expected), "{repository}: {error}");
    }
    request.repository = None;
    assert!(tag(&request).is_ok());
    let semver = TagRequest { format: None, source: TagSource::Semver, ..request };
    assert!(tag(&semver).unwrap_err().starts_with("a version comes from git tags"));
}

#[test]
fn versions_come_from_tags_and_grow() {
    let dir = TempDir::new("tag");
    let dir = dir.path();
    git(dir, &["init", "--quiet", "--initial-branch=main", "."]);
    let commit = |message: &str| git(dir, &["commit", "--quiet", "--allow-empty", "-m", message]);
    let of = |bump, prerelease: Option<&str>, prefix: &str| {
        let mut request = TagRequest { source: TagSource::Semver, ..request(dir, "") };
        request.format = None;
        request.bump = bump;
        request.prerelease = prerelease.map(str::to_owned);
        request.tag_prefix = prefix.to_owned();
        tag(&request)
    };
    commit("1");
    assert_eq!(of(Some(Bump::Minor), None, "").unwrap(), "0.1.0", "the first one");
    git(dir, &["tag", "v1.2.3"]);
    git(dir, &["tag", "v1.2.3-rc.1"]);
    git(dir, &["tag", "app/v7.0.0"]);
    assert_eq!(of(None, None, "").unwrap(), "1.2.3");
    assert_eq!(of(Some(Bump::Patch), None, "").unwrap(), "1.2.3", "a commit keeps its version");
    git(dir, &["checkout", "--quiet", "-b", "other"]);
    commit("other");
    git(dir, &["tag", "v9.0.0"]);
    git(dir, &["checkout", "--quiet", "main"]);
    commit("2");
    let error = of(None, None, "").unwrap_err();
    assert!(error.ends_with("a version; the last one before it is 1.2.3"), "{error}");
    for (bump, prerelease, prefix, expected) in [
        (Bump::Patch, None, "", "1.2.4"),
        (Bump::Minor, None, "", "1.3.0"),
        (Bump::Major, None, "", "2.0.0"),
        (Bump::Patch, Some("rc.{{count}}"), "", "1.2.4-rc.2"),
        (Bump::Patch, None, "app/", "7.0.1"),
    ] {
        assert_eq!(of(Some(bump), prerelease, prefix).unwrap(), expected, "{bump:?}");
    }
    let error = of(Some(Bump::Patch), Some("a_b"), "").unwrap_err();
    assert!(error.starts_with("--prerelease \"a_b\": "), "{error}");
    let url = format!("file://{}", dir.display());
    git(dir, &["clone", "--quiet", "--depth=1", "--no-tags", &url, "shallow"]);
    let mut shallow = TagRequest { source: TagSource::Semver, ..request(&dir.join("shallow"), "") };
    shallow.format = None;
    shallow.bump = Some(Bump::Patch);
    assert!(tag(&shallow).unwrap_err().ends_with("the history is cut off"));
    shallow.format = Some("b{{count}}".to_owned());
    assert!(tag(&shallow).unwrap_err().contains("the history is cut off"));
}
