//! `yado git-clone`, held against `git clone` with the same options: work trees, references, what
//! git says of the result, and whether it can go on from there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::support::git::{GitRepository, GitServer, listing};
use crate::support::{Answer, Identity, Output, Web, WorkDir, Yado, eventually};

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
    app.write("other/c", "c\n").write("run", "#!/bin/sh\n").write("third/d", "d\n");
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
    let config = server.git(made, ["config", "--local", "--list"]);
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
    for (url, name) in [(server.https("old/app"), "old"), (server.daemon("app"), "daemon")] {
        yado(&server, &work, &[&url, name, "--depth=2"]).succeeds();
        assert_eq!(listing(&work.path(name)), listing(&work.path("git-1")), "{url}");
        sound(&server, &work.path(name), &url);
    }
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

#[test]
fn sparse_checkouts_are_those_of_git() {
    let server = GitServer::start();
    history(&server);
    let work = WorkDir::new();
    let url = server.https("app");
    for (number, (filter, dirs)) in [
        (None, "dir/sub"),
        (Some("--filter=blob:none"), "dir/sub,other"),
        (Some("--filter=tree:0"), "dir"),
    ]
    .into_iter()
    .enumerate()
    {
        let (made, judge) =
            (work.path(format!("made-{number}")), work.path(format!("git-{number}")));
        let shown = judge.to_str().unwrap();
        let mut args = vec!["clone", "--quiet", "--depth", "1", "--sparse"];
        args.extend(filter);
        args.extend([&*url, shown]);
        server.git(&work.path("."), args);
        let list: Vec<&str> = dirs.split(',').collect();
        server.git(&judge, ["sparse-checkout", "set"].iter().chain(&list));
        let mut args = vec![&*url, made.to_str().unwrap(), "--sparse", dirs];
        args.extend(filter);
        yado(&server, &work, &args).succeeds();
        same(&server, &made, &judge, dirs);
        let patterns = |tree: &Path| fs::read_to_string(tree.join(".git/info/sparse-checkout"));
        assert_eq!(patterns(&made).unwrap(), patterns(&judge).unwrap());
        assert_eq!(server.git(&made, ["sparse-checkout", "list"]).trim(), list.join("\n"));
        if filter.is_some() {
            let missing = ["rev-list", "--objects", "--all", "--missing=print"];
            let missing = server.git(&made, missing);
            let count = missing.lines().filter(|line| line.starts_with('?')).count();
            assert!(count > 0, "what is not checked out was not fetched: {missing}");
        }
        for tree in [&made, &judge] {
            server.git(tree, ["sparse-checkout", "disable"]);
        }
        assert_eq!(listing(&made), listing(&judge), "all of it");
        sound(&server, &made, dirs);
    }
    let error = yado(&server, &work, &[&url, "x", "--sparse", "dir,nowhere"]).fails(3);
    assert!(error.stderr.contains("has no directory \"nowhere\""), "{}", error.stderr);
    let error = yado(&server, &work, &[&url, "x", "--sparse", "../dir"]).fails(64);
    assert!(error.stderr.contains("without `..`"), "{}", error.stderr);
    assert!(!work.path("x").exists());
}

#[test]
fn refspecs_bring_more_references() {
    let server = GitServer::start();
    let (app, _, last) = history(&server);
    let pull = app.git(["commit-tree", "-m", "pull", "-p", &last, "HEAD^{tree}"]);
    app.git(["push", "--quiet", "origin", &format!("{pull}:refs/pull/7/head")]);
    let work = WorkDir::new();
    let url = server.https("app");
    let spec = "+refs/pull/*/head:refs/remotes/origin/pull/*";
    let made = work.path("made");
    yado(&server, &work, &[&url, "made", "--refspec", spec, "--refspec=release/1.x"]).succeeds();
    sound(&server, &made, spec);
    let found = server.git(&made, ["rev-parse", "refs/remotes/origin/pull/7"]);
    assert_eq!(found.trim(), pull);
    let release = app.git(["rev-parse", "release/1.x"]);
    server.git(&made, ["cat-file", "-e", &release]);
    server.git(&made, ["fetch", "--quiet"]);
    let output = yado(&server, &work, &[&url, "pull", "--revision", "pull/7/head"]).succeeds();
    assert_eq!(result(&output, "commit"), pull);
    sound(&server, &work.path("pull"), "pull/7/head");
    for (spec, code) in [("a:b:c*", 64), (":x", 64), ("refs/*/*:x", 64), ("refs/heads/a b", 64)] {
        yado(&server, &work, &[&url, "x", &format!("--refspec={spec}")]).fails(code);
    }
}

#[test]
fn submodules_at_every_level_that_is_wanted() {
    let server = GitServer::start();
    let inner = server.repository("inner", &[]);
    inner.write("inner-file", "i").commit("inner");
    let lib = server.repository("lib", &[]);
    lib.write("lib-file", "l\n");
    lib.git(["submodule", "--quiet", "add", &server.http("inner"), "nested"]);
    lib.commit("lib");
    let app = server.repository("top", &[]);
    app.write("top-file", "t").commit("before");
    app.git(["submodule", "--quiet", "add", "--name", "the lib", &server.http("lib"), "libs/one"]);
    app.git(["config", "-f", ".gitmodules", "submodule.the lib.url", "../lib.git"]);
    app.commit("with a submodule");
    lib.write("lib-file", "newer\n").commit("newer");
    let work = WorkDir::new();
    let url = server.https("top");
    for (which, git) in [
        ("no", vec![]),
        ("yes", vec!["submodule", "--quiet", "update", "--init"]),
        ("recursive", vec!["submodule", "--quiet", "update", "--init", "--recursive"]),
    ] {
        for depth in ["1", "0"] {
            let what = format!("{which} {depth}");
            let (made, judge) =
                (work.path(format!("made {what}")), work.path(format!("git {what}")));
            let mut args = vec!["clone", "--quiet"];
            if depth == "1" {
                args.extend(["--depth", "1"]);
            }
            args.extend([&*url, judge.to_str().unwrap()]);
            server.git(&work.path("."), args);
            if !git.is_empty() {
                server.git(&judge, &git);
            }
            let flag = format!("--submodules={which}");
            let depth = format!("--depth={depth}");
            yado(&server, &work, &[&url, made.to_str().unwrap(), &flag, &depth]).succeeds();
            same(&server, &made, &judge, &what);
            let status = ["submodule", "status", "--recursive"];
            let status = |tree: &Path| {
                let lines = server.git(tree, status);
                // What describes the commit depends on the references that are there.
                let short = |line: &str| line.split(" (").next().unwrap().to_owned();
                lines.lines().map(short).collect::<Vec<_>>()
            };
            assert_eq!(status(&made), status(&judge), "{what}");
            let all = ["status", "--porcelain", "--ignore-submodules=none"];
            assert_eq!(server.git(&made, all), "", "{what}");
            server.git(&made, ["submodule", "--quiet", "update", "--init", "--recursive"]);
            assert_eq!(server.git(&made, all), "", "{what}");
        }
    }
    let made = work.path("made recursive 1/libs/one");
    assert_eq!(
        server.git(&made, ["log", "--format=%s"]).trim(),
        "lib",
        "submodules are shallow too"
    );
    sound(&server, &made, "a submodule");
}

/// Commits all with this time.
fn commit_at(app: &GitRepository<'_>, time: u32) {
    let at =
        "alias.at=!f() { git add --all && GIT_COMMITTER_DATE=\"$1 +0000\" git commit -qm $1; }; f";
    app.git(["-c", at, "at", &time.to_string()]);
}

#[test]
fn times_of_files_are_those_of_their_last_change() {
    use std::os::unix::fs::MetadataExt;
    let server = GitServer::start();
    let app = server.repository("times", &[]);
    app.write("a", "1").write("d/b", "1").write("d/c", "1").write("e/f/g", "1");
    std::os::unix::fs::symlink("a", app.path.join("link")).unwrap();
    commit_at(&app, 1_000_000_000);
    app.git(["checkout", "-q", "-b", "side"]);
    app.write("d/c", "2").write("e/f/g", "2");
    commit_at(&app, 1_000_000_500);
    app.git(["checkout", "-q", "main"]);
    app.write("d/b", "2").write("new/n", "1");
    commit_at(&app, 1_000_001_000);
    app.write("e/f/h", "1");
    commit_at(&app, 1_000_002_000);
    let merge = "alias.m=!GIT_COMMITTER_DATE='1000003000 +0000' git merge -q --no-ff -m m side";
    app.git(["-c", merge, "m"]);
    app.write("d/b", "1");
    commit_at(&app, 1_000_004_000);
    app.push();
    let work = WorkDir::new();
    let url = server.https("times");
    let files = ["a", "d/b", "d/c", "e/f/g", "e/f/h", "new/n", "link"];
    let times = |tree: &Path| {
        files.map(|file| fs::symlink_metadata(tree.join(file)).unwrap().mtime().to_string())
    };
    let made = work.path("made");
    yado(&server, &work, &[&url, "made", "--depth=0", "--file-times=commit"]).succeeds();
    let expected = files.map(|file| app.git(["log", "-1", "--format=%ct", "--", file]));
    assert_eq!(times(&made), expected);
    assert_eq!(expected[2], "1000000500", "the merge is not what changed it");
    assert_eq!(fs::metadata(made.join("d")).unwrap().mtime(), 1_000_004_000, "of the newest file");
    sound(&server, &made, "commit");
    let made = work.path("shallow");
    yado(&server, &work, &[&url, "shallow", "--file-times=commit"]).succeeds();
    assert_eq!(times(&made), [(); 7].map(|()| "1000004000".to_owned()));
}

/// The name of an object of Git LFS.
fn oid(content: &[u8]) -> String {
    let mut command = std::process::Command::new("sha256sum");
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// What an LFS server says of objects: each at `/lfs/NAME`, with a header of its own.
fn batch(web: &Web, objects: &[&[u8]]) -> Answer {
    let objects: Vec<String> = objects
        .iter()
        .map(|content| {
            let (oid, size) = (oid(content), content.len());
            format!(
                r#"{{"oid":"{oid}","size":{size},"authenticated":true,"actions":{{"download":{{
                "href":"{}/lfs/{oid}?signature=x","header":{{"X-Key":"k","Authorization":"Bearer t"}},
                "expires_in":600}}}}}}"#,
                web.url
            )
        })
        .collect();
    let body = format!(r#"{{"transfer":"basic","objects":[{}]}}"#, objects.join(","));
    Answer::file(body).header("content-type", "application/vnd.git-lfs+json")
}

/// A repository with two large files, one of them executable; what is served for it stands in
/// `lfs.git` below the directory.
fn large_files(server: &GitServer, work: &WorkDir) -> (Web, Vec<u8>, Vec<u8>) {
    let web = Web::start();
    let (one, two) = (b"content of one\n".repeat(1000), b"#!/bin/sh\necho two\n".to_vec());
    let app = server.repository("lfs", &[]);
    let pointer = |content: &[u8]| {
        let (oid, size) = (oid(content), content.len());
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
    };
    app.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    app.write("one.bin", pointer(&one)).write("d/same.bin", pointer(&one));
    app.write("d/two.bin", pointer(&two)).write("f", "f");
    app.git(["update-index", "--add", "--chmod=+x", "d/two.bin"]);
    app.commit("lfs");
    let bare = work.path("served");
    fs::create_dir(&bare).unwrap();
    let all = ["clone", "--quiet", "--bare", &server.http("lfs"), "lfs.git"];
    server.git(&bare, all);
    web.serve_git(&bare);
    web.answers("/git/lfs.git/info/lfs/objects/batch", [batch(&web, &[&one, &two])]);
    for content in [&one, &two] {
        let path = format!("/lfs/{}?signature=x", oid(content));
        web.answers(&path, [Answer::file(content)]);
    }
    (web, one, two)
}

#[test]
fn large_files_come_from_their_own_server() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let (web, one, two) = large_files(&server, &work);
    let url = format!("{}/git/lfs.git", web.url);
    // git-lfs itself understands this server.
    let judge = work.path("judge");
    server.git(&work.path("."), ["clone", "--quiet", "--depth=1", &url, "judge"]);
    server.git(&judge, ["lfs", "install", "--local"]);
    server.git(&judge, ["lfs", "pull"]);
    assert_eq!(fs::read(judge.join("one.bin")).unwrap(), one);
    let asked = web.asked();
    let of_judge = asked.iter().find(|asked| asked.path.ends_with("/batch")).unwrap();
    let keys = |body: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        (value["operation"].clone(), value["ref"].clone(), value["hash_algo"].clone())
    };
    let of_judge = keys(&of_judge.body);

    let path = format!("/lfs/{}?signature=x", oid(&one));
    let rest = Answer::file(&one[5000..]).with_status(206);
    web.answers(&path, [Answer::status(503), Answer::file(&one).cut(5000), rest]);
    let made = work.path("made");
    yado(&server, &work, &[&url, "made", "--lfs"]).succeeds();
    assert_eq!(listing(&made), listing(&judge));
    assert_eq!(fs::read(made.join("d/same.bin")).unwrap(), one);
    assert_eq!(fs::read(made.join("d/two.bin")).unwrap(), two);
    // Neither with git-lfs nor without it is anything changed.
    sound(&server, &made, "lfs");
    server.git(&made, ["lfs", "install", "--local"]);
    sound(&server, &made, "lfs");
    server.git(&made, ["lfs", "fsck"]);
    let files = ["lfs", "ls-files", "--long", "--size"];
    assert_eq!(server.git(&made, files), server.git(&judge, files));
    let asked = web.asked();
    let batches: Vec<_> = asked.iter().filter(|asked| asked.path.ends_with("/batch")).collect();
    assert_eq!(batches.len(), 1);
    assert_eq!(keys(&batches[0].body), of_judge);
    assert_eq!(batches[0].headers["accept"], "application/vnd.git-lfs+json");
    let downloads: Vec<_> = asked.iter().filter(|asked| asked.path.starts_with("/lfs/")).collect();
    assert_eq!(downloads.len(), 4, "one that breaks off goes on: {downloads:?}");
    assert_eq!(downloads.iter().filter(|d| d.headers.contains_key("range")).count(), 1);
    for download in downloads {
        let [key, authorization] = ["x-key", "authorization"].map(|name| &download.headers[name]);
        assert_eq!([key, authorization], ["k", "Bearer t"]);
    }
    let output = yado(&server, &work, &[&url, "pointers"]).succeeds();
    assert!(output.stderr.contains("3 files are stored by Git LFS"), "{}", output.stderr);
    assert!(fs::read(work.path("pointers/one.bin")).unwrap().starts_with(b"version https://"));
    assert!(web.asked().iter().all(|asked| !asked.path.ends_with("/batch")));
    web.answers(&path, [Answer::file(&one)]);
    let output = yado(&server, &work, &[&url, "some", "--lfs", "--sparse=d"]).succeeds();
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
}

#[test]
fn large_files_that_are_not_what_they_should_be() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let (web, one, two) = large_files(&server, &work);
    let url = format!("{}/git/lfs.git", web.url);
    let batches = "/git/lfs.git/info/lfs/objects/batch";
    let path = format!("/lfs/{}?signature=x", oid(&one));
    let good = batch(&web, &[&one, &two]);
    let missing = format!(
        r#"{{"objects":[{{"oid":"{}","size":1,"error":{{"code":404,"message":"gone"}}}},
        {{"oid":"{}","size":1,"error":{{"code":404,"message":"gone"}}}}]}}"#,
        oid(&one),
        oid(&two)
    );
    let mut other = one.clone();
    other[7] ^= 1;
    for (answer, object, code, expected) in [
        (Answer::file(missing), Answer::file(&one), 69, "404 gone"),
        (batch(&web, &[&one]), Answer::file(&one), 69, "says nothing of"),
        (Answer::status(401), Answer::file(&one), 77, "needs credentials"),
        (Answer::status(404), Answer::file(&one), 66, "status 404"),
        (Answer::file("<html>"), Answer::file(&one), 69, "cannot be read"),
        (good.clone(), Answer::file(&other), 69, "another SHA-256"),
        (good.clone(), Answer::file(&one[1..]), 69, "14999 bytes and not 15000"),
        (good.clone(), Answer::file([&*one, b"x"].concat()), 69, "more than its 15000"),
        (good, Answer::status(403), 77, "status 403"),
    ] {
        web.answers(batches, [answer]);
        web.answers(&path, [object]);
        let output = yado(&server, &work, &[&url, "made/deep", "--lfs"]).fails(code);
        assert!(output.stderr.contains(expected), "{expected}: {}", output.stderr);
        assert!(!output.stderr.contains("signature"), "{}", output.stderr);
        assert!(!work.path("made").exists(), "{expected}");
    }
    // The server that the repository names.
    let app = work.path("app");
    server.git(&work.path("."), ["clone", "--quiet", &server.http("lfs"), "app"]);
    fs::write(app.join(".lfsconfig"), format!("[lfs]\n\turl = {}/elsewhere\n", web.url)).unwrap();
    server.git(&app, ["add", "."]);
    server.git(&app, ["commit", "--quiet", "-m", "elsewhere"]);
    let bare = work.path("served/lfs.git");
    server.git(&app, ["push", "--quiet", bare.to_str().unwrap(), "main"]);
    web.answers("/elsewhere/objects/batch", [batch(&web, &[&one, &two])]);
    web.answers(&path, [Answer::file(&one)]);
    web.asked();
    yado(&server, &work, &[&url, "made", "--lfs"]).succeeds();
    assert_eq!(fs::read(work.path("made/one.bin")).unwrap(), one);
    assert!(web.asked().iter().any(|asked| asked.path == "/elsewhere/objects/batch"));
}

#[test]
fn the_directory_is_made_or_emptied_or_left_as_it_was() {
    let server = GitServer::start();
    history(&server);
    let work = WorkDir::new();
    let url = server.https("app");
    let outside = work.write("outside/file", "x");
    work.write("full/old/file", "old");
    std::os::unix::fs::symlink(work.path("outside"), work.path("full/link")).unwrap();
    let names = |dir: &str| {
        let entries = fs::read_dir(work.path(dir)).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    };
    let all = ".git README dir other run third";
    let error = yado(&server, &work, &[&url, "full"]).fails(73);
    assert!(error.stderr.contains("full is not empty, it holds \"link\""), "{}", error.stderr);
    assert!(error.stderr.contains("hint: --delete-existing"), "{}", error.stderr);
    // What cannot be cloned empties nothing.
    yado(&server, &work, &[&url, "full", "--delete-existing", "--revision=no"]).fails(3);
    assert_eq!(names("full"), "link old");
    yado(&server, &work, &[&url, "full", "--delete-existing"]).succeeds();
    assert_eq!(names("full"), all);
    assert!(outside.exists());
    sound(&server, &work.path("full"), "emptied");
    yado(&server, &work, &[&url]).succeeds();
    assert_eq!(names("app"), all);
    yado(&server, &work, &[&url, "--subdirectory", "a/b"]).succeeds();
    assert_eq!(names("a/b"), all);
    fs::create_dir(work.path("workspace")).unwrap();
    // So it looks when parameters of a pipeline are not set.
    let unset = ["--subdirectory=", "--revision=", "--refspec=", "--sparse=", "--filter="];
    let args: Vec<&str> = [&*url, "workspace"].into_iter().chain(unset).collect();
    yado(&server, &work, &args).succeeds();
    assert_eq!(names("workspace"), all);
    yado(&server, &work, &[&url, "workspace", "--subdirectory", "../x"]).fails(64);
    yado(&server, &work, &[&url, "README/x"]).succeeds();
    let file = work.write("file", "x");
    yado(&server, &work, &[&url, "file"]).fails(73);
    yado(&server, &work, &[&url, "file/below"]).fails(73);
    assert!(file.is_file());
    fs::create_dir(work.path("empty")).unwrap();
    yado(&server, &work, &[&url, "empty", "--revision=no"]).fails(3);
    yado(&server, &work, &[&url, "new/deep/er", "--revision=no"]).fails(3);
    assert_eq!(names("empty"), "");
    assert!(!work.path("new").exists());
}

#[test]
fn errors_have_codes_of_their_own() {
    let server = GitServer::start();
    history(&server);
    server.repository("empty", &[]);
    let work = WorkDir::new();
    let app = server.https("app");
    let zeros = "0".repeat(39) + "1";
    for (url, flags, code, expected) in [
        (&*app, &["--revision=mian"][..], 3, "has no branch or tag \"mian\"; did you mean main?"),
        (&app, &["--revision", &zeros], 3, "not our ref"),
        (&server.https("empty"), &[], 3, "is empty"),
        (&server.https("missing"), &[], 66, "there is no such repository"),
        (&server.https("private/app"), &[], 77, "it needs credentials"),
        (&server.http("page"), &[], 69, "this is not a git server"),
        ("https://127.0.0.1:1/x", &[], 69, "connection refused"),
        (&format!("{app}#main"), &[], 64, "--revision"),
        ("nonsense", &[], 64, "\"nonsense\" is no URL of a git repository"),
        (&app, &["--depth=-1"], 64, "--depth"),
        (&app, &["--filter=sparse:oid=x"], 64, "blob:limit=SIZE"),
        (&app, &["--tags", "--no-tags"], 64, "--no-tags"),
    ] {
        let mut args = vec![url, "made"];
        args.extend(flags);
        let output = yado(&server, &work, &args).fails(code);
        assert!(output.stderr.contains(expected), "{expected}: {}", output.stderr);
        assert!(!work.path("made").exists(), "{expected}");
    }
    let url = server.https("private/app").replace("://", "://reader:correct%20horse@");
    let output = yado(&server, &work, &[&url, "made", "--depth=0"]).succeeds();
    assert_eq!(result(&output, "url"), server.https("private/app"));
    sound(&server, &work.path("made"), "no credentials");
}

#[test]
fn results_go_where_tekton_takes_them() {
    let server = GitServer::start();
    let (_, _, last) = history(&server);
    let work = WorkDir::new();
    let url = server.https("app");
    let head = work.path("head");
    let to = format!("commit={}", head.display());
    let args = [&*url, "made", "--results-dir", "results", "--result", &to, "--output=json"];
    // No variable says who and where it is.
    let output = yado(&server, &work, &args).under(["env", "-u", "HOME", "-u", "XDG_RUNTIME_DIR"]);
    let output = output.succeeds();
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let file = |name: &str| fs::read_to_string(work.path("results").join(name)).unwrap();
    for (name, value) in [
        ("commit", &*last),
        ("url", &url),
        ("committer-date", "1700000000"),
        ("short-commit", &last[..7]),
        ("branch", "main"),
        ("tag", "v2.0"),
    ] {
        assert_eq!(file(name), value);
        assert_eq!(json[name], value);
    }
    assert_eq!(fs::read_to_string(head).unwrap(), last);
    if Identity::here() == Identity::Root {
        // Somebody whom no file knows.
        fs::create_dir(work.path("volume")).unwrap();
        fs::set_permissions(work.path("volume"), fs::Permissions::from_mode(0o777)).unwrap();
        let args = ["--results-dir", "volume/results", &*url, "volume/src"];
        let nobody = ["env", "-u", "HOME", "-u", "XDG_RUNTIME_DIR", "TMPDIR=/nowhere", "setpriv"];
        let ids = ["--reuid=4242", "--regid=4242", "--clear-groups", "--no-new-privs"];
        yado(&server, &work, &args).under(nobody.iter().chain(&ids)).succeeds();
        assert_eq!(listing(&work.path("volume/src")), listing(&work.path("made")));
        let trusted = ["-c", "safe.directory=*", "status", "--porcelain"];
        assert_eq!(server.git(&work.path("volume/src"), trusted), "");
    }
    let flags = [("YADO_GIT_CLONE_REVISION", "v1.0"), ("YADO_GIT_CLONE_DEPTH", "0")];
    let made = flags.iter().fold(yado(&server, &work, &[&url, "env"]), |c, (k, v)| c.env(k, v));
    assert_eq!(result(&made.succeeds(), "tag"), "v1.0");
}

#[test]
fn what_is_interrupted_leaves_nothing() {
    let server = GitServer::start();
    let app = server.repository("app", &[]);
    for n in 0..3000 {
        app.write(&format!("d{}/f{n}", n % 30), format!("{n}\n"));
    }
    app.commit("many");
    let work = WorkDir::new();
    // A server that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", silent.local_addr().unwrap());
    let running = yado(&server, &work, &[&url, "made/deep"]).start();
    drop(silent.accept().unwrap().0.set_nodelay(true));
    eventually("its directory", || work.path("made/deep").exists().then_some(()));
    running.signal(Signal::TERM);
    running.finish().with_code(130);
    assert!(!work.path("made").exists());
    let quick = yado(&server, &work, &[&url, "made/deep", "--timeout=1s"]);
    quick.fails(9);
    assert!(!work.path("made").exists());
    // In the middle of the checkout, or so it mostly is.
    let made = work.path("made");
    let running = yado(&server, &work, &[&server.http("app"), "made"]).start();
    eventually("a file", || made.join("d0").exists().then_some(()));
    running.signal(Signal::TERM);
    let output = running.finish();
    if output.status.success() {
        sound(&server, &made, "it was quicker");
    } else {
        output.with_code(130);
        assert!(!made.exists());
    }
}
