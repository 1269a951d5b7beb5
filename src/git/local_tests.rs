//! Repositories that git made, read without it.

use std::process::Command;

use super::*;
use crate::testing::TempDir;

/// Runs git with nothing of this machine's configuration.
fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env("HOME", dir).env("GIT_CONFIG_NOSYSTEM", "1");
    for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"]
    {
        command.env(name, "t");
    }
    for name in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        command.env(name, "1700000000 +0100");
    }
    let output = command.output().expect("git is installed");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Three commits on `main`, the tags `light` at the second, `v1.0.0` (annotated) and `nested/a` at
/// the third, and one of a tree.
fn repository(dir: &Path, extra: &[&str]) {
    git(dir, &[&["init", "--quiet", "--initial-branch=main"], extra, &["."]].concat());
    for n in ["1", "2", "3"] {
        git(dir, &["commit", "--quiet", "--allow-empty", "-m", n]);
        if n == "2" {
            git(dir, &["tag", "light"]);
        }
    }
    git(dir, &["tag", "-a", "-m", "one", "v1.0.0"]);
    git(dir, &["tag", "-a", "-m", "tag of a tag", "nested/a", "v1.0.0"]);
    git(dir, &["tag", "tree", "HEAD^{tree}"]);
}

fn open(dir: &Path) -> LocalRepository {
    LocalRepository::open(dir).unwrap().expect("a repository")
}

/// What there is to know, as lines.
fn summary(dir: &Path) -> Vec<String> {
    let repository = open(dir);
    let head = repository.head().unwrap();
    let mut lines = vec![format!("{} {:?}", head.commit, head.branch)];
    for (name, commit) in repository.tags().unwrap() {
        lines.push(format!("{name} {commit}"));
    }
    let commit = repository.commit(&head.commit).unwrap();
    lines.push(format!("{:?} {}", commit.parents, commit.committed));
    lines.push(format!("{}", repository.ancestors(head.commit).unwrap().len()));
    lines
}

#[test]
fn reads_what_git_wrote_in_every_form() {
    for format in [&[][..], &["--object-format=sha256"]] {
        let dir = TempDir::new("local");
        let dir = dir.path();
        repository(dir, format);
        let id = |name: &str| git(dir, &["rev-parse", name]);
        let expected = vec![
            format!("{} Some(\"main\")", id("HEAD")),
            format!("light {}", id("light")),
            format!("nested/a {}", id("HEAD")),
            format!("v1.0.0 {}", id("HEAD")),
            format!("[{}] 1700000000", id("HEAD^")),
            "3".to_owned(),
        ];
        assert_eq!(summary(dir), expected, "loose");
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        assert_eq!(summary(&dir.join("a/b")), expected, "from below");
        git(dir, &["pack-refs", "--all"]);
        assert_eq!(summary(dir), expected, "packed references");
        git(dir, &["gc", "--quiet"]);
        assert!(git(dir, &["count-objects", "-v"]).contains("count: 0\n"));
        assert_eq!(summary(dir), expected, "packed objects");
        git(dir, &["tag", "-f", "light", "HEAD"]);
        assert!(summary(dir).contains(&format!("light {}", id("HEAD"))), "loose comes first");
        git(dir, &["tag", "-f", "light", "HEAD^"]);
        git(dir, &["worktree", "add", "--quiet", "-b", "topic", "linked"]);
        assert_eq!(summary(&dir.join("linked"))[0], expected[0].replace("main", "topic"));
        git(dir, &["clone", "--quiet", "--bare", ".", "bare.git"]);
        assert_eq!(summary(&dir.join("bare.git")), expected, "a bare repository");
        git(dir, &["clone", "--quiet", "--shared", ".", "shared"]);
        assert_eq!(summary(&dir.join("shared"))[..1], expected[..1], "alternates");
        git(dir, &["checkout", "--quiet", "--detach"]);
        assert_eq!(summary(dir)[0], format!("{} None", id("HEAD")));
    }
}

#[test]
fn deltas_and_shallow_clones_are_read() {
    let dir = TempDir::new("local");
    let dir = dir.path();
    git(dir, &["init", "--quiet", "--initial-branch=main", "."]);
    let long = "a long line that is the same in each of them\n".repeat(50);
    for n in 0..20 {
        let message = format!("{n}\n\n{long}");
        git(dir, &["commit", "--quiet", "--allow-empty", "-m", &message]);
    }
    git(dir, &["repack", "-adfq"]);
    let index = git(dir, &["rev-parse", "--git-path", "objects/pack"]);
    let packs = std::fs::read_dir(dir.join(index)).unwrap();
    let index = packs.map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "idx").unwrap();
    let chains = git(dir, &["verify-pack", "-v", index.to_str().unwrap()]);
    assert!(chains.contains("chain length"), "no deltas to read: {chains}");
    let repository = open(dir);
    let head = repository.head().unwrap().commit;
    assert_eq!(repository.ancestors(head).unwrap().len(), 20);
    assert!(!repository.is_shallow());

    let url = format!("file://{}", dir.display());
    git(dir, &["clone", "--quiet", "--depth=3", &url, "shallow"]);
    let repository = open(&dir.join("shallow"));
    assert!(repository.is_shallow());
    assert_eq!(repository.head().unwrap().commit, head);
    assert_eq!(repository.ancestors(head).unwrap().len(), 3);
}

#[test]
fn says_what_is_wrong() {
    let dir = TempDir::new("local");
    let dir = dir.path();
    assert!(LocalRepository::open(dir).unwrap().is_none());
    git(dir, &["init", "--quiet", "--initial-branch=main", "."]);
    let error = open(dir).head().unwrap_err().to_string();
    assert!(error.ends_with("branch \"main\" has no commit yet"), "{error}");
    let write = |name: &str, text: &str| std::fs::write(dir.join(".git").join(name), text).unwrap();
    for (head, expected) in [
        (
            "ref: refs/heads/../../../etc/passwd",
            "\"refs/heads/../../../etc/passwd\" is no reference",
        ),
        ("what", "HEAD: it holds no commit"),
        ("ref: HEAD", "HEAD: references lead to each other"),
    ] {
        write("HEAD", head);
        let error = open(dir).head().unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    write("packed-refs", "^0123456789012345678901234567890123456789\n");
    let error = LocalRepository::open(dir).unwrap_err().to_string();
    assert!(error.ends_with("packed-refs: it is malformed"), "{error}");
}

#[test]
fn damaged_objects_are_found() {
    let dir = TempDir::new("local");
    let dir = dir.path();
    repository(dir, &[]);
    let (first, second) = (git(dir, &["rev-parse", "HEAD"]), git(dir, &["rev-parse", "HEAD^"]));
    let path = |id: &str| dir.join(".git/objects").join(&id[..2]).join(&id[2..]);
    std::fs::remove_file(path(&first)).unwrap();
    std::fs::copy(path(&second), path(&first)).unwrap();
    let error = open(dir).commit(&ObjectId::parse(&first).unwrap()).unwrap_err().to_string();
    assert!(error.ends_with(&format!("object {first} is damaged")), "{error}");
    std::fs::remove_file(path(&first)).unwrap();
    let error = open(dir).commit(&ObjectId::parse(&first).unwrap()).unwrap_err().to_string();
    assert!(error.ends_with(&format!("has no object {first}")), "{error}");
}
