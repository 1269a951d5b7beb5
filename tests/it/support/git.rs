//! Real git servers on free ports of the loopback interface, and git itself as the judge.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{WorkDir, eventually, tool, write};

/// `git http-backend` behind lighttpd and `git daemon`, of one directory with repositories.
#[derive(Debug)]
pub(crate) struct GitServer {
    dir: WorkDir,
    http: u16,
    https: u16,
    daemon: u16,
    /// A shell that ends the servers when its standard input is closed.
    shell: Child,
}

impl GitServer {
    pub(crate) const USER: &str = "reader";
    pub(crate) const PASSWORD: &str = "correct horse";

    /// Starts them.
    pub(crate) fn start() -> Self {
        let dir = WorkDir::new();
        fs::create_dir(dir.path("repositories")).unwrap();
        tool(Command::new("openssl").current_dir(dir.path(".")).args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "certificate.pem",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ]));
        dir.write("users", format!("{}:{}\n", Self::USER, Self::PASSWORD));
        dir.write("page.git/info/refs", "<!doctype html>");
        dir.write("home/.gitconfig", "[core]\n\tfsync = none\n\tcompression = 1\n");
        // Somebody else may take a port between its choice and its use.
        eventually("git servers", || {
            let [http, https, daemon] = free_ports();
            dir.write("lighttpd.conf", lighttpd(&dir.path("."), http, https));
            let log = File::create(dir.path("log")).unwrap();
            let shell = Command::new("sh")
                .args(["-c", SHELL, "sh", &daemon.to_string()])
                .current_dir(dir.path("."))
                .envs(environment(&dir.path("home")))
                .stdin(Stdio::piped())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let server = Servers { shell: Some(shell) };
            let up = || {
                let all = [http, https, daemon];
                all.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            };
            let told = eventually("their answer", || {
                let log = fs::read_to_string(dir.path("log")).unwrap();
                if log.contains("Address already in use") || log.contains("unable to bind") {
                    return Some(false);
                }
                up().then_some(true)
            });
            told.then(|| (server.keep(), http, https, daemon))
        })
        .pipe(|(shell, http, https, daemon)| Self { dir, http, https, daemon, shell })
    }

    /// The URL of a repository over http.
    pub(crate) fn http(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}.git", self.http)
    }

    /// The URL of a repository over https.
    pub(crate) fn https(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}.git", self.https)
    }

    /// The URL of a repository over git's own protocol.
    pub(crate) fn daemon(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}.git", self.daemon)
    }

    /// The certificate to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.path("certificate.pem")
    }

    /// Makes a repository that is served as `name`, with one branch `main`.
    pub(crate) fn repository(&self, name: &str, options: &[&str]) -> GitRepository<'_> {
        let path = self.dir.path(format!("work/{name}"));
        let bare = self.dir.path(format!("repositories/{name}.git"));
        let made = GitRepository { server: self, path, bare };
        let bare = made.bare.to_str().unwrap();
        let init = ["init", "--quiet", "--initial-branch=main"];
        self.git(&self.dir.path("."), init.iter().chain(options).chain(&["--bare", bare]));
        let path = made.path.to_str().unwrap();
        self.git(&self.dir.path("."), init.iter().chain(options).chain(&[path]));
        made.git(["remote", "add", "origin", bare]);
        made
    }

    /// Runs git in a directory.
    pub(crate) fn git<S: AsRef<str>>(
        &self,
        dir: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> String {
        let args: Vec<String> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut command = Command::new("git");
        command.args(args).current_dir(dir).envs(environment(&self.dir.path("home")));
        command.env("GIT_SSL_CAINFO", self.certificate());
        tool(&mut command)
    }
}

/// Runs both servers until its standard input is closed.
const SHELL: &str = "
    umask 022
    /usr/sbin/lighttpd -D -f lighttpd.conf & web=$!
    git daemon --listen=127.0.0.1 --port=\"$1\" --base-path=repositories --export-all \
        --reuseaddr & daemon=$!
    cat
    kill $web $daemon
    wait";

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// `/x.git` is open to all, `/private/x.git` to one user, `/old/x.git` speaks version 0, `/moved/…`
/// is elsewhere, and `/page.git` is a page.
fn lighttpd(dir: &Path, http: u16, https: u16) -> String {
    let dir = dir.to_str().unwrap().trim_end_matches("/.");
    let core = String::from_utf8(Command::new("git").arg("--exec-path").output().unwrap().stdout);
    let core = core.unwrap();
    let core = core.trim();
    format!(
        r#"
server.modules = ("mod_alias", "mod_redirect", "mod_setenv", "mod_auth", "mod_authn_file", "mod_cgi", "mod_openssl")
server.document-root = "{dir}"
server.bind = "127.0.0.1"
server.port = {http}
mimetype.assign = ("" => "text/html")
auth.backend = "plain"
auth.backend.plain.userfile = "{dir}/users"
url.redirect = ("^/moved/(.*)$" => "/$1")
$HTTP["url"] !~ "^/page" {{
    alias.url = (
        "/private/" => "{core}/git-http-backend/",
        "/old/" => "{core}/git-http-backend/",
        "/" => "{core}/git-http-backend/",
    )
    cgi.assign = ("" => "")
    setenv.set-environment = (
        "GIT_PROJECT_ROOT" => "{dir}/repositories",
        "GIT_HTTP_EXPORT_ALL" => "1",
        "GIT_CONFIG_NOSYSTEM" => "1",
        "HOME" => "{dir}/home",
    )
}}
$HTTP["url"] =~ "^/old/" {{
    setenv.set-request-header = ("Git-Protocol" => "")
}}
$HTTP["url"] =~ "^/private/" {{
    auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
}}
$SERVER["socket"] == "127.0.0.1:{https}" {{
    ssl.engine = "enable"
    ssl.pemfile = "{dir}/certificate.pem"
    ssl.privkey = "{dir}/key.pem"
}}
"#,
    )
}

/// What git runs with: nothing of this machine's and its user's configuration.
fn environment(home: &Path) -> BTreeMap<&'static str, String> {
    let who = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
    let mut all: BTreeMap<_, _> = who.into_iter().map(|name| (name, "tester".to_owned())).collect();
    all.insert("GIT_CONFIG_NOSYSTEM", "1".to_owned());
    all.insert("GIT_AUTHOR_DATE", "1700000000 +0000".to_owned());
    all.insert("GIT_COMMITTER_DATE", "1700000000 +0000".to_owned());
    all.insert("HOME", home.to_str().unwrap().to_owned());
    all
}

/// Servers that end with the value.
struct Servers {
    shell: Option<Child>,
}

impl Servers {
    fn keep(mut self) -> Child {
        self.shell.take().unwrap()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Reads better than a variable for what is used once.
trait Pipe: Sized {
    fn pipe<T>(self, then: impl FnOnce(Self) -> T) -> T {
        then(self)
    }
}

impl<T> Pipe for T {}

/// A repository as somebody works on it, and as it is served.
#[derive(Debug)]
pub(crate) struct GitRepository<'a> {
    server: &'a GitServer,
    /// The work tree.
    pub(crate) path: PathBuf,
    bare: PathBuf,
}

impl GitRepository<'_> {
    /// What is served.
    pub(crate) fn bare(&self) -> &Path {
        &self.bare
    }

    /// Lets anybody push to it, and fetch single objects from it, over http.
    pub(crate) fn open(&self) -> &Self {
        self.served(["config", "http.receivepack", "true"]);
        self.served(["config", "uploadpack.allowFilter", "true"]);
        self
    }

    /// A program that runs when something is pushed: a shell script, below its first line.
    pub(crate) fn hook(&self, name: &str, script: &str) -> &Self {
        let path = self.bare.join("hooks").join(name);
        write(&path, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Whether git finds nothing wrong with what is served.
    pub(crate) fn fsck(&self) {
        self.served(["fsck", "--strict", "--no-dangling"]);
    }

    /// Runs git in the work tree.
    pub(crate) fn git<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.server.git(&self.path, args).trim().to_owned()
    }

    /// Runs git in what is served.
    pub(crate) fn served<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.server.git(&self.bare, args).trim().to_owned()
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        write(&self.path.join(name), content);
        self
    }

    /// Commits all and pushes all; gives the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "-m", message]);
        self.push();
        self.git(["rev-parse", "HEAD"])
    }

    /// Pushes all branches and tags.
    pub(crate) fn push(&self) {
        self.git(["push", "--quiet", "origin", "--all"]);
        self.git(["push", "--quiet", "origin", "--tags"]);
    }
}

/// A directory as lines: type, permissions, path, and content or target. Without `.git`.
pub(crate) fn listing(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == ".git" {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(dir).unwrap().display();
            let mode = meta.permissions().mode() & 0o7777;
            lines.push(if meta.is_symlink() {
                format!("{name} -> {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                left.push(path.clone());
                format!("{name}/ {mode:o}")
            } else {
                let content = fs::read(&path).unwrap();
                format!("{name} {mode:o} {}", String::from_utf8_lossy(&content).escape_debug())
            });
        }
    }
    lines.sort();
    lines
}
