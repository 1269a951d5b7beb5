//! Who a clone is for a server of http: every way to say it, and that nobody else hears of it.

use std::fs;

use crate::support::git::GitServer;
use crate::support::{Output, WorkDir, Yado};

const USER: &str = GitServer::USER;
const PASSWORD: &str = GitServer::PASSWORD;

struct Case {
    server: GitServer,
    work: WorkDir,
    head: String,
}

impl Case {
    fn new() -> Self {
        let (server, work) = (GitServer::start(), WorkDir::new());
        let app = server.repository("app", &[]);
        app.write("a", "a\n");
        let head = app.commit("first");
        work.write("password", format!("{PASSWORD}\n"));
        Self { server, work, head }
    }

    /// A clone of the private repository.
    fn clone(&self, url: &str, flags: &[&str]) -> Yado {
        let to = self.work.path("clone");
        let _ = fs::remove_dir_all(&to);
        let ca = self.server.certificate();
        let mut args = vec!["git-clone", "--ca-file", ca.to_str().unwrap()];
        args.extend(flags);
        args.extend([url, to.to_str().unwrap()]);
        self.work.yado(args)
    }

    fn succeeds(&self, clone: Yado) -> Output {
        let out = clone.succeeds();
        assert!(out.stdout.contains(&self.head), "{}", out.stdout);
        assert!(!out.stderr.contains(PASSWORD), "{}", out.stderr);
        out
    }

    fn path(&self, name: &str) -> String {
        self.work.path(name).to_str().unwrap().to_owned()
    }
}

/// The password as it stands in a URL.
fn encoded() -> String {
    PASSWORD.replace(' ', "%20")
}

/// The URL with a name and password in it.
fn with_password(url: &str) -> String {
    url.replace("://", &format!("://{USER}:{}@", encoded()))
}

#[test]
fn every_way_to_say_who_asks() {
    let case = Case::new();
    let (http, https) = (case.server.http("private/app"), case.server.https("private/app"));
    let password = case.path("password");
    let work = &case.work;
    case.clone(&http, &[]).fails(77).says("it needs credentials");
    let named = ["--username", USER, "--password-file", &password];
    case.succeeds(case.clone(&http, &named));
    case.succeeds(case.clone(&http, &["--username", USER, "--token-file", &password]));
    let environment = case.clone(&http, &[]).env("GIT_USERNAME", USER);
    case.succeeds(environment.env("GIT_PASSWORD", PASSWORD));
    let token = case.clone(&http, &["--username", USER]).env("GIT_TOKEN", PASSWORD);
    case.succeeds(token);
    case.succeeds(case.clone(&with_password(&https), &[]));
    // Secrets as Kubernetes mounts them.
    work.write("basic/username", USER);
    work.write("basic/password", PASSWORD);
    let basic = case.path("basic");
    case.succeeds(case.clone(&http, &["--basic-auth-dir", &basic, "--ssh-dir", ""]));
    let origin = |url: &str| url.split('/').take(3).collect::<Vec<_>>().join("/");
    let scoped = format!("{}={basic}", origin(&http));
    case.succeeds(case.clone(&http, &["--basic-auth-dir", &scoped]));
    case.clone(&https, &["--basic-auth-dir", &scoped]).fails(77);
    // The workspace of Tekton's catalog.
    work.write("catalog/.git-credentials", format!("{}\n", with_password(&origin(&http))));
    let config = format!("[credential \"{}\"]\n\thelper = store\n", origin(&http));
    work.write("catalog/.gitconfig", config);
    case.succeeds(case.clone(&http, &["--basic-auth-dir", &case.path("catalog")]));
    case.succeeds(case.clone(&http, &["--credentials", &case.path("catalog/.git-credentials")]));
    let netrc = format!("machine localhost login {USER} password \"{PASSWORD}\"\n");
    work.write("netrc", &netrc);
    case.succeeds(case.clone(&https, &["--credentials", &case.path("netrc")]));
    case.clone(&http, &["--credentials", &case.path("netrc")]).fails(77);
    // Where git itself looks.
    work.write("home/.netrc", &netrc);
    case.succeeds(case.clone(&https, &[]));
    let header = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"))
    };
    work.write(
        "home/.gitconfig",
        format!(
            "[user]\n\tname = me\n[http \"{http}\"]\n\textraHeader = Authorization: Basic {header}\n\
             [url \"{}/private/\"]\n\tinsteadOf = forge:\n[credential]\n\thelper = cache\n",
            origin(&http)
        ),
    );
    let out = case.succeeds(case.clone("forge:app.git", &[]));
    assert!(
        out.stderr.contains("a credential.helper other than store has no effect"),
        "{}",
        out.stderr
    );
    assert!(out.stdout.contains("url: forge:app.git"), "{}", out.stdout);
}

#[test]
fn credentials_stay_where_they_belong_and_are_not_repeated() {
    let case = Case::new();
    let http = case.server.http("private/app");
    let secret = "hunter2-hunter2";
    case.work.write("wrong", secret);
    let wrong = ["--username", USER, "--password-file", &case.path("wrong")];
    let out = case.clone(&http, &wrong).fails(77).says("the credentials were refused");
    assert!(!out.stderr.contains(secret), "{}", out.stderr);
    // A path that is another's, and a port that is another's.
    let elsewhere = with_password(&http).replace("private/app", "private/other");
    case.work.write("elsewhere", format!("{elsewhere}\nhttps://{USER}:x@127.0.0.1\n"));
    case.clone(&http, &["--credentials", &case.path("elsewhere")]).fails(77);
    for (flags, code, says) in [
        (vec!["--username", USER], 64, "--username needs"),
        (vec!["--password-file", "wrong"], 64, "a password needs a name"),
        (vec!["--token-file", "nowhere"], 66, "nowhere"),
        (vec!["--ssh-dir", "nowhere"], 66, "there is no directory"),
        (vec!["--basic-auth-dir", "home"], 66, "it holds neither username and password nor"),
        (vec!["--credentials", "wrong"], 64, "line 1: this is no URL"),
        (vec!["--proxy", "nonsense"], 64, "this is no URL of a proxy"),
    ] {
        let out = case.clone(&http, &flags).fails(code).says(says);
        assert!(!out.stderr.contains(secret), "{}", out.stderr);
    }
}
