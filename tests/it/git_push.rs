//! Reading a little of a repository elsewhere and pushing to it, held against git: its servers,
//! its hooks, and `git fsck --strict` of what they have afterwards.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use yado::git::{
    Author, Commit, Edit, Git, GitError, GitOptions, GitUrl, Head, Made, NewCommit, ObjectId, Push,
    PushOutcome, Pushed, Remote, SshOptions, TreeEntry, Update,
};
use yado::net::{Http, Options, Retry};
use yado::report::{Event, Sink};

use crate::support::git::{GitRepository, GitServer};
use crate::support::ssh::{SshServer, SshSetup, keygen};
use crate::support::{Meter, WorkDir};

/// Keeps what is noted.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Sink for Notes {
    fn event(&self, event: Event) {
        if let Event::Note { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

impl Notes {
    fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|note| note.contains(text))
    }
}

struct Client {
    git: Git,
    notes: Arc<Notes>,
}

fn client(server: &GitServer) -> Client {
    let net = Options { certificates: vec![server.certificate()], ..Options::default() };
    let retry = Retry { attempts: 1, ..Retry::default() };
    let options = GitOptions { retry, ..GitOptions::default() };
    let notes = Arc::new(Notes::default());
    Client { git: Git::new(Http::new(net), options, notes.clone()), notes }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn remote(url: &str) -> Remote {
    GitUrl::parse(url).unwrap().unwrap().remote
}

fn new(message: &str) -> NewCommit {
    let author = |seconds, offset| Author {
        name: "Robot".to_owned(),
        email: "robot@example.com".to_owned(),
        seconds,
        offset,
    };
    NewCommit {
        author: author(1_700_000_100, 120),
        committer: author(1_700_000_200, -210),
        message: message.to_owned(),
    }
}

fn write(bytes: impl AsRef<[u8]>) -> Edit {
    Edit::Write { bytes: bytes.as_ref().to_vec(), executable: None }
}

fn edits<const N: usize>(edits: [(&str, Edit); N]) -> BTreeMap<String, Edit> {
    edits.into_iter().map(|(path, edit)| (path.to_owned(), edit)).collect()
}

fn update(head: &Head<'_>, made: &Made) -> Update {
    Update {
        reference: head.reference().to_owned(),
        old: Some(head.id()),
        new: Some(made.commit.id),
    }
}

async fn push(git: &Git, remote: &Remote, head: &Head<'_>, made: &Made) -> Pushed {
    let push = Push { updates: vec![update(head, made)], commits: vec![made], ..Push::default() };
    git.push(remote, &push).await.unwrap()
}

fn reason(pushed: &Pushed) -> &str {
    match &pushed.outcome {
        PushOutcome::Refused { reason, .. } => reason,
        PushOutcome::Done => panic!("it was not refused"),
    }
}

/// A repository of many applications, some way down.
fn furnish<'a>(server: &'a GitServer, name: &str, options: &[&str]) -> GitRepository<'a> {
    let app = server.repository(name, options);
    for n in 0..30 {
        for overlay in ["dev", "prod"] {
            let file = format!("teams/t{}/app{n}/{overlay}/kustomization.yaml", n % 6);
            app.write(&file, format!("images:\n- name: app{n}\n  newTag: v1-{overlay}\n"));
        }
    }
    app.write("run.sh", "#!/bin/sh\n")
        .write("lib-x/f", "x")
        .write("lib.d", "y")
        .write("lib/f", "z");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(app.path.join("run.sh"), executable).unwrap();
    std::os::unix::fs::symlink("teams", app.path.join("link")).unwrap();
    app.commit("first");
    app.open();
    app
}

const FILE: &str = "teams/t1/app7/prod/kustomization.yaml";

#[test]
fn one_file_is_changed_and_nothing_else() {
    let server = GitServer::start();
    for (name, options) in [("app", &[][..]), ("sha256", &["--object-format=sha256"][..])] {
        let app = furnish(&server, name, options);
        for url in [server.http(name), server.https(name)] {
            let Client { git, notes } = client(&server);
            let before = app.served(["rev-parse", "main"]);
            let text = format!("changed over {url}\n");
            let made = run(async {
                let remote = remote(&url);
                let head = git.open_branch(&remote, "main").await.unwrap();
                assert_eq!(head.id().to_string(), before);
                let found = head.read(&[FILE, "none", "teams/none/x"]).await.unwrap();
                assert!(found[0].is_some());
                assert_eq!((&found[1], &found[2]), (&None, &None));
                let edits = edits([
                    (FILE, write(&text)),
                    ("run.sh", write(format!("#!/bin/sh\n: {url}\n"))),
                ]);
                let made = head.commit_with(&edits, &new("a change"), None).await.unwrap();
                let made = made.unwrap();
                let pushed = push(&git, &remote, &head, &made).await;
                assert_eq!(pushed.outcome, PushOutcome::Done);
                let again = git.open_branch(&remote, "main").await.unwrap();
                assert_eq!(again.commit(), &made.commit);
                let nothing = again.commit_with(&edits, &new("again"), None).await.unwrap();
                assert!(nothing.is_none(), "nothing changes");
                made
            });
            app.fsck();
            assert_eq!(app.served(["rev-parse", "main"]), made.commit.id.to_string());
            assert_eq!(app.served(["show", &format!("main:{FILE}")]), text.trim());
            let changed = app.served(["diff-tree", "-r", &before, "main"]);
            let changed: Vec<&str> = changed.lines().collect();
            assert_eq!(changed.len(), 2, "{changed:?}");
            assert!(changed[0].starts_with(":100755 100755 ") && changed[0].ends_with("run.sh"));
            assert!(changed[1].starts_with(":100644 100644 ") && changed[1].ends_with(FILE));
            let shown = app.served(["show", "-s", "--format=%an %ae %ad %cd %B", "main"]);
            assert_eq!(
                shown,
                "Robot robot@example.com Wed Nov 15 00:15:00 2023 +0200 \
                 Tue Nov 14 18:46:40 2023 -0330 a change",
            );
            assert!(notes.has("only what is needed"), "{:?}", notes.0);
        }
    }
}

#[test]
fn few_requests_and_few_bytes() {
    let server = GitServer::start();
    let app = server.repository("large", &[]);
    for n in 0..3000 {
        let at = format!("clusters/c{}/team{}/app{n}", n % 5, n % 40);
        app.write(&format!("{at}/values.yaml"), format!("image:\n  tag: v{n}\n"));
        app.write(&format!("wide/app{n}/values.yaml"), format!("image:\n  tag: v{n}\n"));
    }
    app.commit("first");
    app.open();
    let (meter, url) = Meter::of(&server.http("large"));
    let Client { git, .. } = client(&server);
    let path = "clusters/c2/team7/app1607/values.yaml";
    run(async {
        let remote = remote(&url);
        let head = git.open_branch(&remote, "main").await.unwrap();
        let file = head.read(&[path]).await.unwrap().pop().unwrap().unwrap();
        assert_eq!(*file.bytes, b"image:\n  tag: v1607\n");
        let edits = edits([(path, write("image:\n  tag: new\n"))]);
        let made = head.commit_with(&edits, &new("change"), None).await.unwrap().unwrap();
        assert_eq!(push(&git, &remote, &head, &made).await.outcome, PushOutcome::Done);
    });
    let counted = meter.counted();
    assert!(counted.requests.len() <= 10, "{:#?}", counted.requests);
    assert_eq!(counted.requests.len() as u64, git.requests());
    assert!(counted.sent + counted.received <= 50_000, "{counted:?}");
    app.fsck();
    // Somebody else was faster; what is here already is not fetched again.
    run(async {
        let remote = remote(&url);
        let head = git.open_branch(&remote, "main").await.unwrap();
        head.read(&[path]).await.unwrap();
    });
    let counted = meter.counted();
    assert_eq!(counted.requests.len(), 1, "{counted:?}");
    assert!(counted.received < 2_000, "{counted:?}");
    // A directory of thousands comes, but only what is new of it is sent.
    run(async {
        let remote = remote(&url);
        let path = "wide/app1607/values.yaml";
        let head = git.open_branch(&remote, "main").await.unwrap();
        let edits = edits([(path, write("image:\n  tag: new\n"))]);
        let made = head.commit_with(&edits, &new("change"), None).await.unwrap().unwrap();
        meter.counted();
        assert_eq!(push(&git, &remote, &head, &made).await.outcome, PushOutcome::Done);
        let counted = meter.counted();
        assert!(counted.sent < 2_000, "{counted:?}");
    });
    app.fsck();
}

#[test]
fn what_hooks_and_settings_refuse_is_told() {
    let server = GitServer::start();
    let app = furnish(&server, "app", &[]);
    app.served(["config", "receive.advertisePushOptions", "true"]);
    let Client { git, notes } = client(&server);
    let remote = remote(&server.http("app"));
    run(async {
        let head = git.open_branch(&remote, "main").await.unwrap();
        let edits = edits([(FILE, write("x"))]);
        let made = head.commit_with(&edits, &new("m"), None).await.unwrap().unwrap();
        app.hook("pre-receive", "printf 'no\\033[31m red\\n' >&2; exit 1");
        let pushed = push(&git, &remote, &head, &made).await;
        assert_eq!(reason(&pushed), "pre-receive hook declined");
        assert_eq!(pushed.messages, ["no red"]);
        assert!(notes.has("app.git: no red"));
        app.hook("pre-receive", "exit 0").hook("update", "exit 1");
        assert_eq!(reason(&push(&git, &remote, &head, &made).await), "hook declined");
        app.hook("update", "exit 0");
        assert_eq!(git.reference(&remote, "main").await.unwrap(), Some(head.id()));
        // What was made for the push that was refused is not there.
        let made = head.commit_with(&edits, &new("m"), None).await.unwrap().unwrap();

        // What a hook sees of the options.
        app.hook("post-receive", "echo \"$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0\"");
        let options = vec!["merge_request.create".to_owned(), "b=c".to_owned()];
        let updates = vec![update(&head, &made)];
        let with = Push { updates, commits: vec![&made], options, ..Push::default() };
        let pushed = git.push(&remote, &with).await.unwrap();
        assert_eq!(pushed.outcome, PushOutcome::Done);
        assert_eq!(pushed.messages, ["2 merge_request.create"]);

        // Older than what is there: seen before a pack is sent.
        let before = git.requests();
        let stale = push(&git, &remote, &head, &made).await;
        assert!(reason(&stale).contains("by now"), "{stale:?}");
        assert_eq!(git.requests() - before, 1);

        // Back to where it was.
        app.served(["config", "receive.denyNonFastForwards", "true"]);
        let back = Update {
            reference: "refs/heads/main".to_owned(),
            old: Some(made.commit.id),
            new: Some(head.id()),
        };
        let back = Push { updates: vec![back], ..Push::default() };
        let refused = git.push(&remote, &back).await.unwrap();
        assert_eq!(reason(&refused), "non-fast-forward");
    });
    app.fsck();
}

#[test]
fn several_references_at_once() {
    let server = GitServer::start();
    let app = furnish(&server, "app", &[]);
    let Client { git, .. } = client(&server);
    let remote = remote(&server.http("app"));
    run(async {
        let head = git.open_branch(&remote, "main").await.unwrap();
        let one = head.commit_with(&edits([("a", write("1"))]), &new("1"), None).await;
        let one = one.unwrap().unwrap();
        let after = head.after(&one);
        let two = after.commit_with(&edits([("b", write("2"))]), &new("2"), None).await;
        let two = two.unwrap().unwrap();
        let branch = |name: &str, made: &Made| Update {
            reference: format!("refs/heads/{name}"),
            old: None,
            new: Some(made.commit.id),
        };
        let both = Push {
            updates: vec![branch("one", &one), branch("two", &two)],
            commits: vec![&one, &two],
            atomic: true,
            ..Push::default()
        };
        app.hook("update", "case $1 in */two) exit 1;; esac");
        let refused = git.push(&remote, &both).await.unwrap();
        assert!(matches!(refused.outcome, PushOutcome::Refused { .. }));
        assert_eq!(git.reference(&remote, "one").await.unwrap(), None, "all or nothing");
        app.hook("update", "exit 0");
        assert_eq!(git.push(&remote, &both).await.unwrap().outcome, PushOutcome::Done);
        assert_eq!(app.served(["log", "--format=%s", "two"]), "2\n1\nfirst");

        // One becomes two, and two is removed.
        let updates = vec![
            Update { old: Some(one.commit.id), ..branch("one", &two) },
            Update { old: Some(two.commit.id), new: None, ..branch("two", &two) },
        ];
        let moved = Push { updates, atomic: true, ..Push::default() };
        assert_eq!(git.push(&remote, &moved).await.unwrap().outcome, PushOutcome::Done);
        assert_eq!(app.served(["branch", "--format=%(refname:short)"]), "main\none");
        // It is there already.
        let again = Push { updates: vec![branch("one", &one)], ..Push::default() };
        let refused = git.push(&remote, &again).await.unwrap();
        assert!(reason(&refused).contains("there already"), "{refused:?}");
    });
    app.fsck();
}

#[test]
fn the_first_commit_of_an_empty_repository() {
    let server = GitServer::start();
    for (name, options) in [("empty", &[][..]), ("empty256", &["--object-format=sha256"][..])] {
        let app = server.repository(name, options);
        app.open();
        let Client { git, .. } = client(&server);
        let remote = remote(&server.http(name));
        run(async {
            let error = git.open_branch(&remote, "main").await.unwrap_err();
            assert!(matches!(error, GitError::Empty { .. }), "{error}");
            let executable = Some(true);
            let script = Edit::Write { bytes: b"#!/bin/sh\n".to_vec(), executable };
            let edits = edits([("a/b.sh", script), ("c", write("c"))]);
            let first = git.first_commit(&remote, "main", &edits, &new("first"), None).await;
            let (head, made) = first.unwrap();
            let create = Update { old: None, ..update(&head, &made) };
            let push = Push { updates: vec![create], commits: vec![&made], ..Push::default() };
            assert_eq!(git.push(&remote, &push).await.unwrap().outcome, PushOutcome::Done);
        });
        app.fsck();
        let tree = app.served(["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"]);
        assert_eq!(tree, "100755 a/b.sh\n100644 c");
    }
}

#[test]
fn an_answer_that_is_lost_leaves_it_open() {
    let server = GitServer::start();
    let app = furnish(&server, "app", &[]);
    let (meter, url) = Meter::of(&server.http("app"));
    let Client { git, .. } = client(&server);
    let remote = remote(&url);
    run(async {
        let head = git.open_branch(&remote, "main").await.unwrap();
        let edits = edits([(FILE, write("x"))]);
        let made = head.commit_with(&edits, &new("m"), None).await.unwrap().unwrap();
        meter.cut_answer("POST /app.git/git-receive-pack");
        let push =
            Push { updates: vec![update(&head, &made)], commits: vec![&made], ..Push::default() };
        let error = git.push(&remote, &push).await.unwrap_err();
        assert!(matches!(error, GitError::Unknown { .. }), "{error:?}");
        // It was done, as reading tells.
        assert_eq!(git.reference(&remote, "main").await.unwrap(), Some(made.commit.id));
    });
    app.fsck();
}

#[test]
fn what_lies_in_the_way_is_named() {
    let server = GitServer::start();
    let app = furnish(&server, "app", &[]);
    let gitlink = app.git(["rev-parse", "HEAD"]);
    app.git(["update-index", "--add", "--cacheinfo", &format!("160000,{gitlink},module")]);
    app.git(["commit", "--quiet", "-m", "module"]);
    app.push();
    let Client { git, .. } = client(&server);
    let remote = remote(&server.http("app"));
    run(async {
        let head = git.open_branch(&remote, "main").await.unwrap();
        for (path, expected) in [
            ("link", "\"link\" is a symbolic link, not a file"),
            ("link/t1", "\"link\" is a symbolic link, not a directory"),
            ("module/x", "\"module\" is a submodule, not a directory"),
            ("teams", "\"teams\" is a directory, not a file"),
            ("run.sh/x", "\"run.sh\" is a file, not a directory"),
            ("../x", "\"../x\" is no path"),
            ("/x", "\"/x\" is no path"),
        ] {
            let error = head.read(&[path]).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
            let edits = edits([(path, write("x"))]);
            let error = head.commit_with(&edits, &new("m"), None).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
        let edits_of = |path: &str| edits([(path, Edit::Remove)]);
        let gone = head.commit_with(&edits_of("none"), &new("m"), None).await.unwrap_err();
        assert!(gone.to_string().contains("has no file \"none\""), "{gone}");
        let git_dir = edits([(".git/config", write("x"))]);
        assert!(head.commit_with(&git_dir, &new("m"), None).await.is_err());
        let error = git.open_branch(&remote, "mian").await.unwrap_err().to_string();
        assert!(error.contains("did you mean main?"), "{error}");
    });
}

#[test]
fn removing_and_adding_keeps_trees_in_gits_order() {
    let server = GitServer::start();
    let app = furnish(&server, "app", &[]);
    let Client { git, .. } = client(&server);
    let remote = remote(&server.http("app"));
    run(async {
        let head = git.open_branch(&remote, "main").await.unwrap();
        let edits = edits([
            ("lib-x/f", Edit::Remove),
            ("lib0", write("0")),
            ("lib/new/deep/file", write("1")),
            ("lib-", write("2")),
            ("run.sh", Edit::Write { bytes: b"x".to_vec(), executable: Some(false) }),
        ]);
        let made = head.commit_with(&edits, &new("m"), None).await.unwrap().unwrap();
        assert_eq!(push(&git, &remote, &head, &made).await.outcome, PushOutcome::Done);
    });
    app.fsck();
    let names = app.served(["ls-tree", "--format=%(objectmode) %(path)", "main"]);
    assert_eq!(
        names,
        "100644 lib-\n100644 lib.d\n040000 lib\n100644 lib0\n120000 link\n100644 run.sh\n\
         040000 teams",
    );
    app.git(["pull", "--quiet", "origin", "main"]);
    assert_eq!(app.git(["status", "--porcelain"]), "");
}

/// The same commits on each: three on `main`, and one beside them.
fn furnish_history<'a>(server: &'a GitServer, name: &str) -> (GitRepository<'a>, Vec<String>) {
    let app = furnish(server, name, &[]);
    let mut commits = vec![app.served(["rev-parse", "main"])];
    commits.push(app.write(FILE, "second\n").commit("second\n\nSource-Commit: abc"));
    app.git(["checkout", "--quiet", "-b", "side", "HEAD~1"]);
    let side = app.write("side", "x").commit("side");
    app.git(["checkout", "--quiet", "main"]);
    for n in 2..8 {
        commits.push(app.write("n", n.to_string()).commit(&format!("commit {n}")));
    }
    commits.push(side);
    (app, commits)
}

/// All that can be asked of a repository, and a push to it.
fn everything(git: &Git, remote: &Remote, app: &GitRepository<'_>, commits: &[String]) {
    let ids: Vec<ObjectId> = commits.iter().map(|id| ObjectId::parse(id).unwrap()).collect();
    let [first @ .., last, side] = ids.as_slice() else { panic!("too few commits") };
    run(async {
        let head = git.open_branch(remote, "main").await.unwrap();
        assert_eq!(head.id(), *last);
        let file = head.read(&[FILE]).await.unwrap().pop().unwrap().unwrap();
        assert_eq!(*file.bytes, b"second\n");
        let subjects = |log: &[Commit]| {
            log.iter().map(|c| c.subject().to_owned()).collect::<Vec<_>>().join(",")
        };
        let log = head.log(3).await.unwrap();
        assert_eq!(subjects(&log), "commit 7,commit 6,commit 5");
        let log = head.log(100).await.unwrap();
        assert_eq!(
            subjects(&log),
            "commit 7,commit 6,commit 5,commit 4,commit 3,commit 2,second,first",
        );
        assert_eq!(log[6].trailer("source-commit").as_deref(), Some("abc"));

        for (ancestor, commit, expected) in [
            (&first[0], last, true),
            (&first[2], last, true),
            (last, last, true),
            (last, &first[0], false),
            (side, last, false),
            (&first[0], side, true),
            (&first[1], side, false),
        ] {
            let answer = git.is_ancestor(remote, ancestor, commit).await.unwrap();
            assert_eq!(answer, expected, "{ancestor} {commit}");
        }

        let globbed = head.glob("teams/t1/*/prod/*.yaml").await.unwrap();
        let expected: Vec<String> =
            [1, 13, 19, 25, 7].map(|n| format!("teams/t1/app{n}/prod/kustomization.yaml")).into();
        assert_eq!(globbed, expected);
        let all = head.glob("**/kustomization.yaml").await.unwrap();
        assert_eq!(all.len(), 60);
        assert!(head.glob("**/none").await.unwrap().is_empty());
        let names = |entries: Vec<TreeEntry>| {
            let names = entries.into_iter().map(|e| String::from_utf8(e.name).unwrap());
            names.collect::<Vec<_>>().join(",")
        };
        let listed = head.list("").await.unwrap().map(names);
        assert_eq!(listed.as_deref(), Some("lib-x,lib.d,lib,link,n,run.sh,teams"));
        let listed = head.list("teams/t1/app7/").await.unwrap().map(names);
        assert_eq!(listed.as_deref(), Some("dev,prod"));
        assert_eq!(head.list("none").await.unwrap(), None);

        let edits = edits([(FILE, write("changed\n"))]);
        let made = head.commit_with(&edits, &new("m"), None).await.unwrap().unwrap();
        assert_eq!(push(git, remote, &head, &made).await.outcome, PushOutcome::Done);
        let again = git.open_branch(remote, "main").await.unwrap();
        assert_eq!(again.id(), made.commit.id);
        assert!(git.is_ancestor(remote, &first[0], &again.id()).await.unwrap());
    });
    app.fsck();
}

#[test]
fn servers_that_can_do_less_or_refuse_to() {
    type Setting<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let server = GitServer::start();
    let settings: [Setting<'_>; 8] = [
        ("all", "", &[], "only what is needed"),
        ("named", "", &[("uploadpack.allowRefInWant", "true")], "only what is needed"),
        ("depth", "", &[("uploadpackfilter.tree.maxDepth", "0")], "only what is needed"),
        ("tree", "", &[("uploadpackfilter.tree.allow", "false")], "gives out no single files ("),
        ("filter", "", &[("uploadpack.allowFilter", "false")], "gives out no single files, so"),
        ("old", "old/", &[], "gives out no single files, so"),
        ("oldest", "old/", &[("uploadpack.allowFilter", "false")], "gives out no single files, so"),
        ("any", "old/", &[("uploadpack.allowAnySHA1InWant", "true")], "only what is needed"),
    ];
    for (name, path, settings, note) in settings {
        let (app, commits) = furnish_history(&server, name);
        for (key, value) in settings {
            app.served(["config", key, value]);
        }
        let Client { git, notes } = client(&server);
        everything(&git, &remote(&server.http(&format!("{path}{name}"))), &app, &commits);
        assert!(notes.has(note), "{name}: {:?}", notes.0);
    }
}

#[test]
fn over_ssh_with_and_without_version_2() {
    let server = GitServer::start();
    for accepts_protocol in [true, false] {
        let (app, commits) = furnish_history(&server, &format!("ssh-{accepts_protocol}"));
        let work = WorkDir::new();
        let ssh = SshServer::start(SshSetup { accepts_protocol, ..SshSetup::default() });
        keygen(&work.path("id"), "ed25519", &[]);
        ssh.authorize(&work.path("id.pub"));
        let known = work.write("known_hosts", ssh.known(&ssh.name(), "ed25519"));
        let options = SshOptions {
            identities: vec![work.path("id")],
            known_hosts: vec![known],
            ..SshOptions::default()
        };
        let client = || {
            let options = GitOptions { ssh: options.clone(), ..GitOptions::default() };
            Git::new(Http::new(Options::default()), options, Arc::new(Notes::default()))
        };
        let remote = remote(&ssh.url(app.bare()));
        everything(&client(), &remote, &app, &commits);
        // One channel for reading and one for the push, where version 2 allows it.
        let git = client();
        run(async {
            let head = git.open_branch(&remote, "main").await.unwrap();
            let edits = edits([(FILE, write("over ssh\n"))]);
            let made = head.commit_with(&edits, &new("m"), None).await.unwrap().unwrap();
            app.hook("pre-receive", "echo no >&2; exit 1");
            let refused = push(&git, &remote, &head, &made).await;
            assert_eq!(reason(&refused), "pre-receive hook declined");
            assert_eq!(refused.messages, ["no"]);
            app.hook("pre-receive", "exit 0");
            let before = git.requests();
            assert_eq!(push(&git, &remote, &head, &made).await.outcome, PushOutcome::Done);
            assert_eq!(git.requests() - before, 1);
        });
        if accepts_protocol {
            assert_eq!(git.requests(), 3, "one to read, two to push");
        }
        app.fsck();
    }
}

#[test]
fn patterns_take_few_requests() {
    let server = GitServer::start();
    let app = furnish(&server, "app", &[]);
    drop(app);
    let (meter, url) = Meter::of(&server.http("app"));
    for (pattern, requests) in [
        ("run.sh", 3),
        ("*.sh", 3),
        ("teams/t1/app7/prod/*.yaml", 7),
        ("**/*.yaml", 4),
        ("teams/*/**/kustomization.yaml", 5),
    ] {
        let Client { git, .. } = client(&server);
        let found = run(async {
            let remote = remote(&url);
            let head = git.open_branch(&remote, "main").await.unwrap();
            head.glob(pattern).await.unwrap()
        });
        assert!(!found.is_empty());
        assert_eq!(meter.counted().requests.len(), requests, "{pattern}");
    }
}
