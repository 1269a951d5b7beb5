//! Repositories on this machine: what a clone of one gives and what a push does to one, held against
//! git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use yado::git::{Git, GitOptions, Push, PushOutcome, Pushed, Remote, Update};
use yado::net::{Http, Options};
use yado::report::{Event, Sink};

use crate::support::git::listing;
use crate::support::{WorkDir, tool};

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "tester").env(format!("GIT_{who}_EMAIL"), "t@t");
    }
    tool(&mut command).trim().to_owned()
}

/// A work tree with some history, a tag, and a branch whose reference is packed.
fn work_tree(work: &WorkDir) -> PathBuf {
    let tree = work.path("tree");
    fs::create_dir(&tree).unwrap();
    git(&tree, &["init", "-q", "-b", "main"]);
    for n in 0..30 {
        fs::write(tree.join("a"), format!("{n}\n{}", "line\n".repeat(n * 50))).unwrap();
        fs::create_dir_all(tree.join(format!("dir{}", n % 3))).unwrap();
        fs::write(tree.join(format!("dir{}/b", n % 3)), format!("{n}")).unwrap();
        git(&tree, &["add", "."]);
        git(&tree, &["commit", "-qm", &format!("commit {n}")]);
    }
    git(&tree, &["tag", "-a", "-m", "a tag", "v1", "HEAD~3"]);
    git(&tree, &["branch", "side", "HEAD~5"]);
    git(&tree, &["repack", "-adq"]);
    git(&tree, &["pack-refs", "--all"]);
    fs::write(tree.join("last"), "loose\n").unwrap();
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "loose"]);
    tree
}

#[test]
fn a_clone_of_a_directory_is_what_git_makes_of_it() {
    let work = WorkDir::new();
    let tree = work_tree(&work);
    let borrowing = work.path("borrowing.git");
    let (from, to) = (tree.to_str().unwrap(), borrowing.to_str().unwrap());
    git(&work.path("."), &["clone", "-q", "--bare", "--shared", from, to]);
    let shallow = work.path("shallow.git");
    let url = format!("file://{from}");
    let to = shallow.to_str().unwrap();
    git(&work.path("."), &["clone", "-q", "--bare", "--depth", "3", &url, to]);
    for (name, source, depths) in [
        ("tree", from.to_owned(), [Some("1"), Some("4"), Some("0")].as_slice()),
        ("url", url, [Some("1")].as_slice()),
        ("borrowing", work.path("borrowing").to_str().unwrap().to_owned(), [Some("0")].as_slice()),
        ("shallow", shallow.to_str().unwrap().to_owned(), [Some("0"), Some("2")].as_slice()),
    ] {
        for depth in depths.iter().flatten() {
            let dir = work.path(format!("clone-{name}-{depth}"));
            let to = dir.to_str().unwrap();
            let clone = work.yado(["git-clone", "--depth", depth, &source, to]);
            let out = clone.succeeds();
            let head = git(&tree, &["rev-parse", "HEAD"]);
            assert!(out.stdout.contains(&format!("commit: {head}\n")), "{}", out.stdout);
            git(&dir, &["fsck", "--strict", "--no-dangling"]);
            let files = |dir: &Path| listing(dir);
            assert_eq!(files(&dir), files(&tree), "{name} {depth}");
            let count = git(&dir, &["rev-list", "--count", "HEAD"]);
            let expected = match (name, *depth) {
                ("shallow", "0") => "3",
                (_, "0") => "31",
                (_, depth) => depth,
            };
            assert_eq!(count, expected, "{name} {depth}");
        }
    }
    let tag = work.path("at-tag");
    let out = work.yado(["git-clone", "-b", "v1", from, tag.to_str().unwrap()]).succeeds();
    let expected = git(&tree, &["rev-parse", "v1^{commit}"]);
    assert!(out.stdout.contains(&expected), "{}", out.stdout);
    let filtered = work.path("filtered");
    let to = filtered.to_str().unwrap();
    work.yado(["git-clone", "--filter", "blob:none", from, to]).succeeds();
    assert_eq!(listing(&filtered), listing(&tree));
    let nothing = work.path("nothing");
    fs::create_dir(&nothing).unwrap();
    let to = work.path("to");
    work.yado(["git-clone", nothing.to_str().unwrap(), to.to_str().unwrap()])
        .fails(66)
        .says("this is not a git repository");
    work.yado(["git-clone", "/nowhere", to.to_str().unwrap()]).fails(66).says("No such file");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Makes a reference what a commit is, which the repository has already.
fn push(path: &Path, reference: &str, old: Option<&str>, new: &str) -> Pushed {
    let git = Git::new(Http::new(Options::default()), GitOptions::default(), Arc::new(Silent));
    let id = |text: &str| yado::git::ObjectId::parse(text).unwrap();
    let update = Update { reference: reference.to_owned(), old: old.map(id), new: Some(id(new)) };
    let push = Push { updates: vec![update], ..Push::default() };
    run(git.push(&Remote::Local(path.to_owned()), &push)).unwrap()
}

fn refused(pushed: Pushed) -> String {
    match pushed.outcome {
        PushOutcome::Refused { reason, .. } => reason,
        PushOutcome::Done => panic!("it must be refused"),
    }
}

#[test]
fn a_reference_is_changed_if_it_is_what_was_seen_and_no_hook_decides() {
    let work = WorkDir::new();
    let tree = work_tree(&work);
    let bare = work.path("bare.git");
    git(
        &work.path("."),
        &["clone", "-q", "--bare", tree.to_str().unwrap(), bare.to_str().unwrap()],
    );
    let at = |name: &str| git(&bare, &["rev-parse", name]);
    let (side, main) = (at("side"), at("main"));
    let done = push(&bare, "refs/heads/side", Some(&side), &main);
    assert_eq!(done.outcome, PushOutcome::Done);
    assert_eq!(at("refs/heads/side"), main);
    assert_eq!(push(&bare, "refs/heads/new/deep", None, &side).outcome, PushOutcome::Done);
    assert_eq!(at("refs/heads/new/deep"), side);
    assert!(refused(push(&bare, "refs/heads/side", Some(&side), &main)).contains("by now"));
    let gone = "1".repeat(40);
    assert!(refused(push(&bare, "refs/heads/x", None, &gone)).contains("is missing"));
    git(&bare, &["config", "receive.denyNonFastForwards", "true"]);
    let reason = refused(push(&bare, "refs/heads/main", Some(&main), &side));
    assert!(reason.contains("non-fast-forward"), "{reason}");
    fs::write(bare.join("refs/heads/main.lock"), "").unwrap();
    let reason = refused(push(&bare, "refs/heads/main", Some(&main), &main));
    assert!(reason.contains("somebody else is changing it"), "{reason}");
    // A branch that somebody looks at.
    let reason = refused(push(&tree, "refs/heads/main", Some(&main), &side));
    assert!(reason.contains("checked out"), "{reason}");
    let hook = bare.join("hooks/pre-receive");
    fs::create_dir_all(bare.join("hooks")).unwrap();
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    assert_eq!(push(&bare, "refs/heads/y", None, &side).outcome, PushOutcome::Done);
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let reason = refused(push(&bare, "refs/heads/z", None, &side));
    assert!(reason.contains("pre-receive would have to be run"), "{reason}");
    git(&bare, &["fsck", "--strict"]);
}
