//! `yado git-patch` against git's own servers: every kind of edit, races, refusals, broken
//! connections; and git says whether what the servers have afterwards is sound.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::getuid;
use serde_json::{Value, json};

use crate::support::git::{GitRepository, GitServer};
use crate::support::ssh::{SshServer, SshSetup, keygen};
use crate::support::{Answer, Meter, Output, Web, WorkDir, Yado, tool};

const DEPLOYMENT: &str = "\
# The web server.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
        - name: app   # ours
          image: reg.example/team/app:1.0
        - name: sidecar
          image: 'reg.example/sidecar:7'
";

fn patch(work: &WorkDir, url: &str, args: &[&str]) -> Yado {
    work.yado([&["git-patch", "--url", url], args].concat())
}

/// The results, by their names.
fn results(output: &Output) -> BTreeMap<String, String> {
    let pairs = output.stdout.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// A served repository with these files, which anybody may push to.
fn furnish<'a>(server: &'a GitServer, name: &str, files: &[(&str, &str)]) -> GitRepository<'a> {
    let app = server.repository(name, &[]);
    for (path, text) in files {
        app.write(path, text);
    }
    app.commit("first");
    app.open();
    app
}

fn show(app: &GitRepository<'_>, path: &str) -> String {
    app.served(["show", &format!("main:{path}")])
}

#[test]
fn every_kind_of_edit_lands_over_https() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let kustomization = "images:\n  - name: app\n    newTag: \"1.0\"\n";
    let values = "image:\n  repository: reg.example/team/app\n  tag: 1.0.0 # now\n";
    let application = "\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web}
spec:
  source:
    helm:
      parameters:
        - name: image.tag
          value: \"1.0\"
    kustomize:
      images: [app:1.0]
";
    let app = furnish(
        &server,
        "ops",
        &[
            ("deployment.yaml", DEPLOYMENT),
            ("kustomization.yaml", kustomization),
            ("values.yaml", values),
            ("Chart.yaml", "name: x\nversion: 1.0.0\nappVersion: \"1.0\"\n"),
            ("any.yaml", "a:\n  - {b: old, c: 1}\n"),
            ("marked.yaml", "x: app:1.0 # {\"$imagepolicy\": \"flux:app\"}\n"),
            ("application.yaml", application),
        ],
    );
    let password = work.write("password", GitServer::PASSWORD);
    let url = server.https("private/ops");
    let strategic = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "sidecar", "image": "reg.example/sidecar:8"},
    ]}}}})
    .to_string();
    for (path, edit, old, new) in [
        (
            "deployment.yaml",
            ["--set-image", "Deployment/web/app=reg.example/team/app:2.0"],
            "image: reg.example/team/app:1.0",
            "image: reg.example/team/app:2.0",
        ),
        (
            "deployment.yaml",
            ["--strategic-patch", &strategic],
            "'reg.example/sidecar:7'",
            "'reg.example/sidecar:8'",
        ),
        (
            "kustomization.yaml",
            ["--kustomize-image", "app:2.0"],
            "newTag: \"1.0\"",
            "newTag: \"2.0\"",
        ),
        ("values.yaml", ["--helm-image", "image=:2.0.0"], "tag: 1.0.0 # now", "tag: 2.0.0 # now"),
        ("Chart.yaml", ["--chart-version", "2.0.0"], "version: 1.0.0", "version: 2.0.0"),
        ("Chart.yaml", ["--app-version", "2.0"], "appVersion: \"1.0\"", "appVersion: \"2.0\""),
        ("any.yaml", ["--set", "a[0].b=new"], "b: old", "b: new"),
        ("any.yaml", ["--set-string", "a[0].c=2"], "c: 1", "c: \"2\""),
        ("any.yaml", ["--set-raw", "a[0].c=3"], "c: \"2\"", "c: 3"),
        ("marked.yaml", ["--marker", "flux:app=app:2.0"], "x: app:1.0", "x: app:2.0"),
        (
            "application.yaml",
            ["--argocd-parameter", "image.tag=2.0"],
            "value: \"1.0\"",
            "value: \"2.0\"",
        ),
        ("application.yaml", ["--argocd-kustomize-image", "app:2.0"], "[app:1.0]", "[app:2.0]"),
    ] {
        let before = show(&app, path);
        assert!(before.contains(old), "{path}: {before}");
        let head = app.served(["rev-parse", "main"]);
        let output = patch(&work, &url, &["--path", path])
            .flags(edit)
            .flags(["--ca-file", server.certificate().to_str().unwrap()])
            .flags(["--username", GitServer::USER, "--password-file", password.to_str().unwrap()])
            .succeeds();
        let results = results(&output);
        assert_eq!(show(&app, path), before.replacen(old, new, 1), "{edit:?}");
        assert_eq!(results["commit"], app.served(["rev-parse", "main"]), "{edit:?}");
        assert_eq!(results["previous-commit"], head);
        assert_eq!((&*results["changed"], &*results["files"]), ("true", path));
        assert_eq!(results["attempts"], "1");
    }
    app.fsck();
    assert_eq!(app.served(["rev-list", "--count", "main"]), "13");
}

#[test]
fn a_commit_says_what_and_why() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("web/deployment.yaml", DEPLOYMENT)]);
    let url = server.http("ops");
    let source = "0123456789012345678901234567890123456789";
    let digest = format!("sha256:{}", "ab".repeat(32));
    let metadata =
        json!({"containerimage.digest": digest, "image.name": "reg.example/team/app:2.0"});
    let metadata = work.write("metadata.json", metadata.to_string());
    let dir = work.path("results");
    let args = ["--path", "web/*.yaml", "--set-image", "app", "--source-commit", source];
    let more = ["--run", "build-x7z", "--trailer", "Team=web", "--skip-ci"];
    let place = ["--digest", metadata.to_str().unwrap(), "--results-dir", dir.to_str().unwrap()];
    let command = || {
        let yado = patch(&work, &url, &args).flags(more).flags(place);
        yado.env("SOURCE_DATE_EPOCH", "1700000000").env("GIT_AUTHOR_NAME", "Ann")
    };
    command().succeeds();
    let image = format!("reg.example/team/app:2.0@{digest}");
    assert!(show(&app, "web/deployment.yaml").contains(&format!("image: {image}\n")));
    let expected = format!(
        "Ann <yado@localhost> 1700000000, yado <yado@localhost> 1700000000\n\
         Update app to 2.0 [skip ci]\n\n\
         web/deployment.yaml:\n  Deployment/web container app: reg.example/team/app:1.0 -> {image}\n\n\
         Image: reg.example/team/app:2.0\nImage-Digest: {digest}\nSource-Commit: {source}\n\
         Pipeline-Run: build-x7z\nPipeline-Change: bbe182828b\nTeam: web"
    );
    let format = "--format=%an <%ae> %at, %cn <%ce> %ct%n%B";
    assert_eq!(app.served(["log", "-1", format, "main"]), expected);
    let trailers =
        app.served(["log", "-1", "--format=%(trailers:key=Source-Commit,valueonly)", "main"]);
    assert_eq!(trailers.trim(), source);
    let head = app.served(["rev-parse", "main"]);
    let result = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!((result("commit"), result("changed")), (head.clone(), "true".to_owned()));
    // Once more: nothing is to be done, and no empty commit is made.
    command().succeeds();
    assert_eq!((result("commit"), result("changed")), (head.clone(), "false".to_owned()));
    assert_eq!(app.served(["rev-parse", "main"]), head);
    // A later run of the same is not run again over what somebody has done since.
    app.git(["pull", "--quiet", "origin", "main"]);
    app.write("web/deployment.yaml", DEPLOYMENT);
    let back = app.commit("rolled back");
    let output = command().succeeds().says("of this run has changed it already");
    assert_eq!(results(&output)["commit"], back);
}

#[test]
fn sixteen_writers_all_land_over_https() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let (app, file) = shared(&server);
    let password = work.write("password", GitServer::PASSWORD);
    let certificate = server.certificate();
    let url = server.https("private/ops");
    sixteen(&app, &file, |edit| {
        patch(&work, &url, &["--path", "apps.yaml", "--set", edit])
            .flags(["--ca-file", certificate.to_str().unwrap()])
            .flags(["--username", GitServer::USER, "--password-file", password.to_str().unwrap()])
    });
}

#[test]
fn sixteen_writers_all_land_over_ssh() {
    let lines = "MaxStartups 100\nMaxSessions 100\n";
    let ssh = SshServer::start(SshSetup { lines, ..SshSetup::default() });
    let server = GitServer::start();
    let work = WorkDir::new();
    let (app, file) = shared(&server);
    let key = work.path("id_test");
    keygen(&key, "ed25519", &[]);
    ssh.authorize(&work.path("id_test.pub"));
    let known = work.write("known_hosts", ssh.known(&ssh.name(), "ed25519"));
    let bare = app.served(["rev-parse", "--absolute-git-dir"]);
    let url = ssh.url(Path::new(&bare));
    sixteen(&app, &file, |edit| {
        patch(&work, &url, &["--path", "apps.yaml", "--set", edit])
            .flags(["--ssh-key", key.to_str().unwrap()])
            .flags(["--known-hosts", known.to_str().unwrap()])
    });
}

/// A repository with one file that all write to.
fn shared(server: &GitServer) -> (GitRepository<'_>, String) {
    let mut file = String::from("# Who runs what.\n");
    for n in 0..16 {
        let _ = write!(file, "app{n}:\n  tag: v1 # of {n}\n");
    }
    (furnish(server, "ops", &[("apps.yaml", &file)]), file)
}

/// Sixteen at once, each another line of one file: all land, one after the other.
fn sixteen(app: &GitRepository<'_>, file: &str, command: impl Fn(&str) -> Yado) {
    let first = app.served(["rev-parse", "main"]);
    let running: Vec<_> = (0..16)
        .map(|n| {
            let edit = format!("app{n}.tag=v2-{n}");
            let patient = Duration::from_mins(6);
            command(&edit).flags(["--timeout", "5m"]).timeout(patient).start()
        })
        .collect();
    let mut before = Vec::new();
    for running in running {
        let results = results(&running.finish().with_code(0));
        assert_eq!(results["changed"], "true");
        before.push(results["previous-commit"].clone());
    }
    let mut expected = file.to_owned();
    for n in 0..16 {
        expected = expected.replace(&format!("v1 # of {n}\n"), &format!("v2-{n} # of {n}\n"));
    }
    assert_eq!(show(app, "apps.yaml"), expected.trim());
    // One line of commits from the first on: nobody's is missing, nobody's was replaced.
    assert_eq!(app.served(["rev-list", "--count", "main"]), "17");
    assert_eq!(app.served(["rev-list", "--merges", "main"]), "");
    let mut line: Vec<String> =
        app.served(["rev-list", "main"]).lines().map(str::to_owned).collect();
    assert_eq!(line.pop().unwrap(), first);
    before.sort();
    let mut parents: Vec<String> = line[1..].iter().cloned().chain([first]).collect();
    parents.sort();
    assert_eq!(before, parents);
    app.fsck();
}

#[test]
fn a_branch_that_moves_while_we_push_is_read_again() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    // The first push finds that somebody else was faster, twice.
    app.hook(
        "update",
        "n=$(cat raced 2>/dev/null || echo 0)
        [ $n -lt 2 ] || exit 0
        echo $((n + 1)) >raced
        export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x
        git update-ref refs/heads/main $(git commit-tree -m other-$n -p main 'main^{tree}')",
    );
    let output = patch(&work, &server.http("ops"), &["--path", "a.yaml", "--set", "a=2"])
        .succeeds()
        .says("main was changed by others");
    assert_eq!(results(&output)["attempts"], "3");
    let subjects = app.served(["log", "--format=%s", "main"]);
    assert_eq!(subjects, "Update a.yaml\nother-1\nother-0\nfirst");
    app.fsck();
}

#[test]
fn a_lost_answer_makes_no_second_commit() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("a.yaml", "a: 1\n")]);
    let (meter, url) = Meter::of(&server.http("ops"));
    meter.cut_answer(".git/git-receive-pack");
    let output = patch(&work, &url, &["--path", "a.yaml", "--set", "a=2"])
        .succeeds()
        .says("looking whether it was taken");
    let results = results(&output);
    assert_eq!(results["changed"], "true");
    assert_eq!(results["commit"], app.served(["rev-parse", "main"]));
    assert_eq!(app.served(["rev-list", "--count", "main"]), "2");
}

#[test]
fn a_protected_branch_is_code_6_or_a_pull_request() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "o/ops", &[("a.yaml", "a: 1\n")]);
    app.hook(
        "update",
        "[ $1 = refs/heads/main ] && echo 'main is protected' >&2 && exit 1; exit 0",
    );
    let url = server.http("o/ops");
    let args = ["--path", "a.yaml", "--set", "a=2"];
    patch(&work, &url, &args)
        .fails(6)
        .says("error: main is not changed: hook declined")
        .says("hint: the server says: main is protected")
        .says("hint: --pr fallback opens a pull request instead");
    let web = Web::start();
    let pull = json!({"html_url": "https://git.example/o/ops/pulls/5", "number": 5});
    web.answers("/api/v1/repos/o/ops/pulls", [Answer::file(pull.to_string()).with_status(201)]);
    let api = format!("{}/api/v1", web.url);
    let token = work.write("token", "secret\n");
    let service = ["--pr-provider", "gitea", "--pr-api", &api];
    let token = ["--pr-token-file", token.to_str().unwrap()];
    for when in ["fallback", "always"] {
        let output = patch(&work, &url, &args)
            .flags(["--pr", when, "--pr-title", "a is {{new}}", "--pr-branch", "change/{{new}}"])
            .flags(service)
            .flags(token)
            .succeeds();
        let results = results(&output);
        assert_eq!(results["pr-url"], "https://git.example/o/ops/pulls/5");
        assert_eq!(results["commit"], app.served(["rev-parse", "change/2"]), "{when}");
    }
    let asked = web.asked();
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    let expected = json!({
        "title": "a is 2", "head": "change/2", "base": "main", "body": "```\na.yaml:\n  a: 1 -> 2\n```",
    });
    assert_eq!(body, expected);
    assert_eq!(asked[0].headers["authorization"], "token secret");
    assert_eq!(app.served(["rev-list", "--count", "main"]), "1");
    assert_eq!(app.served(["rev-list", "--count", "change/2"]), "2");
    patch(&work, &url, &args).flags(["--pr", "always"]).fails(64).says("hint: --pr-provider");
    patch(&work, &url, &args)
        .flags(["--pr", "always"])
        .flags(service)
        .fails(64)
        .says("--pr-token-file");
}

#[test]
fn gitlab_opens_a_merge_request_by_the_push() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("a.yaml", "a: 1\n")]);
    app.served(["config", "receive.advertisePushOptions", "true"]);
    app.hook(
        "post-receive",
        "env | grep ^GIT_PUSH_OPTION_ | sort >options
        echo 'View merge request for x:' >&2
        echo '  https://gitlab.example/g/ops/-/merge_requests/3' >&2",
    );
    let output = patch(&work, &server.http("ops"), &["--path", "a.yaml", "--set", "a=2"])
        .flags(["--pr", "always", "--pr-by-push", "--labels", "deploy,bot", "--auto-merge"])
        .succeeds();
    let url = "https://gitlab.example/g/ops/-/merge_requests/3";
    assert_eq!(results(&output)["pr-url"], url);
    let bare = app.served(["rev-parse", "--absolute-git-dir"]);
    let options = fs::read_to_string(Path::new(&bare).join("options")).unwrap();
    for expected in ["create", "target=main", "title=Update a.yaml", "label=bot", "auto_merge"] {
        assert!(options.contains(&format!("=merge_request.{expected}\n")), "{expected}: {options}");
    }
}

#[test]
fn mistakes_have_codes_of_their_own_and_push_nothing() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(
        &server,
        "ops",
        &[
            ("web/a.yaml", DEPLOYMENT),
            ("web/b.yaml", &DEPLOYMENT.replace("name: web", "name: api")),
        ],
    );
    let url = server.http("ops");
    let head = app.served(["rev-parse", "main"]);
    let both = ["--path", "web/*.yaml"];
    let with = |args: &[&str]| patch(&work, &url, &both).flags(args);
    with(&["--set-image", "ap=x:2"])
        .fails(3)
        .says("nothing matches")
        .says("Deployment/web container app");
    with(&["--set-image", "app=x:2"]).fails(4).says("2 places match").says("hint:").says("--all");
    patch(&work, &url, &["--path", "web/c.yaml", "--set", "a=b"])
        .fails(3)
        .says("there is no file web/c.yaml; there is:")
        .says("  web/b.yaml");
    with(&["--set", "x"]).fails(64).says("it is not PATH=VALUE");
    with(&[]).fails(64).says("nothing is to be changed");
    with(&["--set-image", "app=x:2", "--message", "{{imgae}}"]).fails(64).says("is no variable");
    with(&["--set-image", "app=x:2", "--image", "y:3"]).fails(64).says("for edits that name none");
    with(&["--set-image", "app=x:2", "--branch", "mian"]).fails(3).says("did you mean main?");
    patch(&work, &server.http("nothing"), &both).flags(["--set", "a=b"]).fails(66);
    let refused = patch(&work, &server.https("private/ops"), &both)
        .flags(["--set", "a=b", "--ca-file", server.certificate().to_str().unwrap()])
        .env("GIT_TOKEN", "wrong-secret")
        .fails(77);
    assert!(!refused.stderr.contains("wrong-secret"), "{}", refused.stderr);
    let output = with(&["--set-image", "app=x:2", "--all", "--dry-run", "--diff"]).succeeds();
    let diff = "--- a/web/a.yaml\n+++ b/web/a.yaml\n@@ -7,6 +7,6 @@\n";
    assert!(output.stdout.starts_with(diff), "{}", output.stdout);
    assert!(output.stdout.contains("\n+          image: x:2\n"), "{}", output.stdout);
    assert_eq!(results(&output)["changed"], "true");
    assert_eq!(app.served(["rev-parse", "main"]), head);
    let output = with(&["--set-image", "app=x:2", "--all"]).succeeds();
    assert_eq!(results(&output)["files"], "web/a.yaml,web/b.yaml");
}

#[test]
fn what_is_of_a_newer_source_is_not_rolled_back() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("a.yaml", "image: {repository: r/app, tag: v1}\n")]);
    let sources = server.repository("sources", &[]);
    let older = sources.commit("older");
    let newer = sources.commit("newer");
    sources.open();
    let url = server.http("ops");
    let from = server.http("sources");
    let deploy = |tag: &str, source: &str| {
        let image = format!("image=r/app:{tag}");
        patch(&work, &url, &["--path", "a.yaml", "--helm-image", &image]).flags([
            "--source-commit",
            source,
            "--source-repo",
            &from,
        ])
    };
    deploy("v3", &newer).succeeds();
    deploy("v2", &older)
        .fails(10)
        .says(&format!("built of {newer}, which comes after {older}"))
        .says("hint: --superseded ok");
    let output = deploy("v2", &older).flags(["--superseded", "ok"]).succeeds();
    assert_eq!(results(&output)["changed"], "false");
    assert!(show(&app, "a.yaml").contains("tag: v3"));
    deploy("v2", &older).flags(["--on-conflict", "overwrite"]).succeeds();
    assert!(show(&app, "a.yaml").contains("tag: v2"));
    deploy("v4", &newer).succeeds();
}

#[test]
fn needs_neither_a_home_nor_a_known_user_nor_a_directory_to_write() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("a.yaml", "a: 1\n")]);
    let mut command = patch(&work, &server.http("ops"), &["--path", "a.yaml", "--set", "a=2"]);
    for name in ["HOME", "YADO_ROOT", "XDG_RUNTIME_DIR"] {
        command = command.env(name, "/nowhere");
    }
    if getuid().is_root() {
        let as_431 = ["setpriv", "--reuid=431", "--regid=431", "--clear-groups"];
        command = command.under(as_431);
    }
    command.dir("/proc").succeeds();
    assert_eq!(show(&app, "a.yaml"), "a: 2");
}

#[test]
fn a_commit_can_be_signed() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("a.yaml", "a: 1\n")]);
    let key = work.path("signer");
    keygen(&key, "ed25519", &[]);
    patch(&work, &server.http("ops"), &["--path", "a.yaml", "--set", "a=2"])
        .flags(["--sign-key", key.to_str().unwrap()])
        .succeeds();
    let commit = app.served(["cat-file", "commit", "main"]);
    assert!(commit.contains("\ngpgsig -----BEGIN SSH SIGNATURE-----\n"), "{commit}");
    app.fsck();
}

#[test]
fn the_files_of_a_directory_are_changed_in_their_place() {
    let work = WorkDir::new();
    let file = work.write("checkout/web/a.yaml", DEPLOYMENT);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    work.write("checkout/.git/x.yaml", DEPLOYMENT);
    let dir = work.path("checkout");
    let run = |args: &[&str]| {
        let yado = work.yado(["git-patch", "--workdir", dir.to_str().unwrap()]);
        yado.flags(args)
    };
    let args = ["--path", "**/*.yaml", "--set-image", "app=x:2"];
    let output = run(&args).flags(["--diff", "--dry-run"]).succeeds();
    assert!(output.stdout.contains("\n+          image: x:2\n"), "{}", output.stdout);
    assert_eq!(fs::read_to_string(&file).unwrap(), DEPLOYMENT);
    let output = run(&args).succeeds();
    assert_eq!(results(&output)["files"], "web/a.yaml");
    let expected = DEPLOYMENT.replace("reg.example/team/app:1.0", "x:2");
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(results(&run(&args).succeeds())["changed"], "false");
    run(&["--path", "../x", "--set", "a=b"]).fails(64);
    run(&["--path", "web/b.yaml", "--set", "a=b"]).fails(66);
    run(&["--path", "**/*.json", "--set", "a=b"]).fails(3);
    std::os::unix::fs::symlink("a.yaml", dir.join("web/link.yaml")).unwrap();
    run(&["--path", "web/link.yaml", "--set-image", "app=x:3"]).fails(73).says("symbolic link");
}

/// A stream for `git fast-import`: 8,000 applications of three files each, three levels down.
fn monorepo() -> String {
    let mut stream = String::new();
    let mut tree = String::new();
    for n in 0..8000 {
        let dir = format!("teams/team{:02}/app{n:04}", n % 40);
        for (name, text) in [
            ("kustomization.yaml", format!("images:\n  - name: app\n    newTag: v{n}\n")),
            ("deployment.yaml", DEPLOYMENT.replace("web", &format!("app{n}"))),
            ("service.yaml", format!("kind: Service\nmetadata:\n  name: app{n}\n")),
        ] {
            let _ = write!(tree, "M 100644 inline {dir}/{name}\ndata {}\n{text}\n", text.len());
        }
    }
    let _ = write!(
        stream,
        "commit refs/heads/main\ncommitter t <t@t> 1700000000 +0000\ndata 5\nfirst\n{tree}\n"
    );
    stream
}

#[test]
fn little_is_read_of_a_large_repository() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = server.repository("ops", &[]);
    let bare = app.served(["rev-parse", "--absolute-git-dir"]);
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(&bare)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut import.stdin.take().unwrap(), monorepo().as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    app.open();
    assert_eq!(
        tool(Command::new("git").args(["ls-tree", "-r", "--name-only", "main"]).current_dir(&bare))
            .lines()
            .count(),
        24_000
    );
    let (meter, url) = Meter::of(&server.http("ops"));
    let path = "teams/team07/app0047/kustomization.yaml";
    let args = ["--branch", "main", "--path", path, "--kustomize-image", "app:v2"];
    patch(&work, &url, &args).succeeds();
    let counted = meter.counted();
    assert!(counted.requests.len() <= 10, "{counted:?}");
    assert!(counted.sent + counted.received <= 50_000, "{counted:?}");
    assert!(show(&app, path).contains("newTag: v2"));
    app.fsck();
    let source = "0123456789012345678901234567890123456789";
    // What is asked about the history belongs to it.
    let args = ["--branch", "main", "--path", path, "--kustomize-image", "app:v3"];
    patch(&work, &url, &args).flags(["--source-commit", source, "--run", "x"]).succeeds();
    let counted = meter.counted();
    assert!(counted.requests.len() <= 10, "{counted:?}");
    assert!(counted.sent + counted.received <= 50_000, "{counted:?}");
}

/// A run that changes one environment and then another makes both changes, and each of them once.
#[test]
fn a_run_makes_each_of_its_changes_once() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let files = [("staging.yaml", DEPLOYMENT), ("production.yaml", DEPLOYMENT)];
    let app = furnish(&server, "ops", &files);
    let url = server.http("ops");
    for (path, changed) in [
        ("staging.yaml", "true"),
        ("production.yaml", "true"),
        ("staging.yaml", "false"),
        ("production.yaml", "false"),
    ] {
        let args =
            ["--path", path, "--set-image", "app=reg.example/team/app:2.0", "--run", "build-1"];
        let output = patch(&work, &url, &args).succeeds();
        assert_eq!(results(&output)["changed"], changed, "{path}: {}", output.stderr);
    }
    assert_eq!(app.served(["rev-list", "--count", "main"]), "3");
}

/// A result that does not exist is found out before anything is pushed.
#[test]
fn a_result_of_a_wrong_name_changes_nothing() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let app = furnish(&server, "ops", &[("deployment.yaml", DEPLOYMENT)]);
    let args = ["--path", "deployment.yaml", "--set-image", "app=reg.example/team/app:2.0"];
    let output = patch(&work, &server.http("ops"), &args).flags(["--result", "typo=file"]);
    output.fails(64).says("there is no such result");
    assert_eq!(app.served(["rev-list", "--count", "main"]), "1");
}

/// A link on the way to a file may lead out of the directory.
#[test]
fn a_directory_behind_a_link_is_not_changed() {
    let work = WorkDir::new();
    let outside = work.write("outside/deployment.yaml", DEPLOYMENT);
    fs::create_dir(work.path("checkout")).unwrap();
    std::os::unix::fs::symlink("../outside", work.path("checkout/link")).unwrap();
    let checkout = work.path("checkout");
    let args = ["git-patch", "--workdir", checkout.to_str().unwrap(), "--path"];
    let edit = ["link/deployment.yaml", "--set-image", "app=reg.example/team/app:2.0"];
    work.yado([&args[..], &edit].concat()).fails(73).says("is a symbolic link");
    assert_eq!(fs::read_to_string(outside).unwrap(), DEPLOYMENT);
}
