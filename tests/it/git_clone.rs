//! `yado git-clone`, held against `git clone` with the same options: work trees, references, what
//! git says of the result, and whether it can go on from there.

use std::fs;
use std::path::Path;

use crate::support::git::{GitRepository, GitServer, listing};
use crate::support::{Output, WorkDir, Yado};

/// A clone by yado.
fn yado(server: &GitServer, work: &WorkDir, args: &[&str]) -> Yado {
    let ca = server.certificate();
    let mut all = vec!["git-clone", "--ca-file", ca.to_str().unwrap()];
    all.extend(args);
    work.yado(all)
}

/// The value of a result.
fn result<'a>(output: &'a Output, name: &str) -> &'a str {
    let line = output.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {:?}", output.stdout)).trim()
}

/// History with two branches, a merge and tags; gives its first and its last commit.
fn history(server: &GitServer) -> (GitRepository<'_>, String, String) {
    let app = server.repository("app", &[]);
    app.write("README", "first\n").write("dir/a", "a\n").write("dir/sub/b", "b\n");
    app.write("other/c", "c\n").write("run", "#!/bin/sh\n");
    std::os::unix::fs::symlink("../README", app.path.join("dir/link")).unwrap();
    app.git(["update-index", "--add", "--chmod=+x", "run"]);
    let first = app.commit("first");
    app.git(["tag", "light"]);
    app.git(["tag", "-a", "v1.0", "-m", "annotated"]);
    app.git(["checkout", "--quiet", "-b", "release/1.x"]);
    app.write("other/c", "release\n");
    app.commit("release");
    app.git(["checkout", "--quiet", "main"]);
    app.write("README", "second\n");
    app.commit("second");
    app.git(["merge", "--quiet", "--no-ff", "-m", "merge", "release/1.x"]);
    let last = app.commit("last");
    app.git(["tag", "-a", "v2.0", "-m", "annotated"]);
    app.push();
    app.served(["config", "uploadpack.allowFilter", "true"]);
    (app, first, last)
}

/// What git says of a clone.
fn facts(server: &GitServer, tree: &Path) -> Vec<String> {
    let ask = |args: &[&str]| server.git(tree, args).trim().to_owned();
    let refs = "--format=%(refname) %(objectname) %(symref)";
    vec![
        fs::read_to_string(tree.join(".git/HEAD")).unwrap(),
        ask(&["for-each-ref", refs]),
        ask(&["config", "--get-regexp", "^(remote|branch)\\..*\\.(fetch|url|merge|remote|tagopt)"]),
        ask(&["log", "--all", "--format=%H %D"]),
    ]
}

/// Holds a clone against the one of git.
fn same(server: &GitServer, made: &Path, judge: &Path, what: &str) {
    assert_eq!(listing(made), listing(judge), "{what}");
    assert_eq!(facts(server, made), facts(server, judge), "{what}");
    sound(server, made, what);
}

/// What holds for every clone.
fn sound(server: &GitServer, made: &Path, what: &str) {
    assert_eq!(server.git(made, ["status", "--porcelain"]), "", "{what}");
    server.git(made, ["fsck", "--full", "--strict"]);
    let config = fs::read_to_string(made.join(".git/config")).unwrap();
    assert!(!config.contains("horse"), "{what}: {config}");
}

#[test]
fn clones_are_those_of_git() {
    let server = GitServer::start();
    let (app, first, last) = history(&server);
    let work = WorkDir::new();
    let url = server.https("app");
    for (number, (ours, gits)) in [
        (vec![], vec!["--depth", "1"]),
        (vec!["--depth", "2"], vec!["--depth", "2"]),
        (vec!["--depth", "0"], vec![]),
        (vec!["--depth", "0", "--single-branch"], vec!["--single-branch"]),
        (vec!["--no-single-branch"], vec!["--depth", "1", "--no-single-branch"]),
        (vec!["--revision", "release/1.x"], vec!["--depth", "1", "--branch", "release/1.x"]),
        (vec!["--branch=release/1.x", "--depth=0"], vec!["--branch", "release/1.x"]),
        (vec!["--revision", "v1.0"], vec!["--depth", "1", "--branch", "v1.0"]),
        (vec!["--revision", "light", "--depth=0"], vec!["--branch", "light"]),
        (vec!["--no-tags", "--depth=0"], vec!["--no-tags"]),
        (vec!["--filter=blob:none"], vec!["--depth", "1", "--filter=blob:none"]),
        (vec!["--filter=tree:0", "--depth=0"], vec!["--filter=tree:0"]),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{ours:?}");
        let (made, judge) =
            (work.path(format!("made-{number}")), work.path(format!("git-{number}")));
        let mut args = vec!["clone", "--quiet"];
        args.extend(&gits);
        args.extend([&*url, judge.to_str().unwrap()]);
        server.git(&work.path("."), args);
        let mut args = ours.clone();
        args.extend([&*url, made.to_str().unwrap()]);
        let output = yado(&server, &work, &args).succeeds();
        same(&server, &made, &judge, &what);
        let head = server.git(&judge, ["log", "-1", "--format=%H %h %ct"]);
        let commit = result(&output, "commit");
        let short = result(&output, "short-commit");
        let found = [commit, short, result(&output, "committer-date")].join(" ");
        assert_eq!(found, head.trim(), "{what}");
        assert_eq!(result(&output, "url"), url);
    }
    let branch = |args: &[&str]| {
        let output = yado(&server, &work, args).succeeds();
        [result(&output, "branch").to_owned(), result(&output, "tag").to_owned()]
    };
    assert_eq!(branch(&[&url, "x"]), ["main", "v2.0"]);
    assert_eq!(branch(&[&url, "y", "--revision", "v1.0"]), ["", "v1.0"]);
    assert_eq!(branch(&[&url, "z", "--revision", &first, "--no-tags"]), ["", ""]);
    // Work goes on: what is new arrives, and is merged.
    app.write("README", "third\n");
    let third = app.commit("third");
    assert_ne!(third, last);
    for number in [0, 2, 3, 10, 11] {
        let made = work.path(format!("made-{number}"));
        server.git(&made, ["pull", "--quiet"]);
        assert_eq!(server.git(&made, ["rev-parse", "HEAD"]).trim(), third, "{number}");
        sound(&server, &made, "after a pull");
    }
    let made = work.path("made-11");
    assert!(server.git(&made, ["log", "-p", "--all"]).contains("+release"), "the rest is fetched");
}

#[test]
fn a_commit_by_its_id_and_by_its_first_digits() {
    let server = GitServer::start();
    let (app, first, last) = history(&server);
    let work = WorkDir::new();
    let url = server.https("app");
    let middle = app.git(["rev-parse", "release/1.x~0"]);
    let hidden = app.git(["rev-parse", "HEAD~1"]);
    for (number, (revision, commit)) in [
        (&*first, &first),
        (&last[..8], &last),
        (&middle[..7], &middle),
        (&hidden[..9], &hidden),
        (&hidden.to_uppercase()[..9], &hidden),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("id-{number}");
        let output = yado(&server, &work, &[&url, &name, "--revision", revision]).succeeds();
        assert_eq!(result(&output, "commit"), commit, "{revision}");
        let made = work.path(&name);
        sound(&server, &made, revision);
        assert_eq!(server.git(&made, ["rev-parse", "HEAD"]).trim(), commit);
        assert_eq!(fs::read_to_string(made.join(".git/HEAD")).unwrap().trim(), commit);
    }
    // Commits until two begin with the same four digits.
    let tree = app.git(["rev-parse", "HEAD^{tree}"]);
    let mut seen = std::collections::BTreeMap::new();
    let mut head = last;
    let short = (0..)
        .find_map(|n| {
            head = app.git(["commit-tree", "-m", &n.to_string(), "-p", &head, &tree]);
            let other = seen.insert(head[..4].to_owned(), head.clone());
            other.map(|_| head[..4].to_owned())
        })
        .unwrap();
    app.git(["update-ref", "refs/heads/main", &head]);
    app.git(["commit-tree", "-m", "on top", "-p", &head, &tree]);
    app.push();
    let error = yado(&server, &work, &[&url, "two", "--revision", &short]);
    if seen.keys().any(|key| *key == short && !head.starts_with(&short)) {
        error.fails(4);
    } else {
        // The head itself is one of them: what is at a branch comes first.
        error.succeeds();
    }
    let error = yado(&server, &work, &[&url, "none", "--revision", "00000000"]).fails(3);
    assert!(error.stderr.contains("no commit of its branches and tags"), "{}", error.stderr);
    assert!(!work.path("none").exists());
}
