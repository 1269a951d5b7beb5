//! Git without git, held against git: real servers, and the work trees that `git clone` makes.
//!
//! The module is called as a library; what ADD and build contexts make of it is tested with them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use yado::git::{FetchOptions, Git, GitError, GitOptions, GitUrl, Resolved};
use yado::net::{Http, Options, Retry};
use yado::report::{Event, Sink};

use crate::support::WorkDir;
use crate::support::git::{GitServer, listing};

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

/// Keeps what it is warned of.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Sink for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

fn client(server: &GitServer, authorization: Option<String>) -> Git {
    let net = Options { certificates: vec![server.certificate()], ..Options::default() };
    let retry = Retry { attempts: 1, ..Retry::default() };
    Git::new(
        Http::new(net),
        GitOptions { authorization, retry, ..GitOptions::default() },
        Arc::new(Silent),
    )
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

const PLAIN: FetchOptions = FetchOptions { submodules: true, keep_git_dir: false };
const KEPT: FetchOptions = FetchOptions { submodules: true, keep_git_dir: true };

/// A checkout, and what it took.
struct Made {
    resolved: Resolved,
    tree: PathBuf,
    requests: u64,
}

fn check_out(
    git: &Git,
    work: &WorkDir,
    url: &str,
    options: FetchOptions,
) -> Result<Made, GitError> {
    let name = url.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let tree = work.path(format!("{name}-{}", options.keep_git_dir));
    fs::create_dir(&tree).unwrap();
    let before = git.requests();
    let url = GitUrl::parse(url).unwrap().unwrap();
    let (resolved, fetched) = run(async {
        let resolved = git.resolve(&url).await?;
        let fetched = git.fetch(&url, &resolved, &options, &work.path(".")).await?;
        Ok::<_, GitError>((resolved, fetched))
    })?;
    fetched.checkout(fs::File::open(&tree).unwrap(), &|| false)?;
    Ok(Made { resolved, tree, requests: git.requests() - before })
}

/// The error with its causes.
fn failure<T>(result: Result<T, GitError>) -> String {
    let error = result.err().expect("an error");
    let mut text = error.to_string();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(error) = next {
        text.extend([": ", &error.to_string()]);
        next = error.source();
    }
    text
}

/// What git makes of a repository.
fn clone(server: &GitServer, work: &WorkDir, url: &str, reference: &str) -> PathBuf {
    let tree = work.path(format!("clone-{}", reference.replace('/', "-")));
    let shown = tree.to_str().unwrap();
    server.git(&work.path("."), ["clone", "--quiet", "--recurse-submodules", url, shown]);
    server.git(&tree, ["fetch", "--quiet", "origin", reference]);
    server.git(&tree, ["checkout", "--quiet", "--recurse-submodules", "FETCH_HEAD"]);
    tree
}

fn same(made: &Path, judge: &Path, what: &str) {
    let (made, judge) = (listing(made), listing(judge));
    assert!(!judge.is_empty(), "{what}: nothing to compare");
    assert_eq!(made, judge, "{what}");
}

/// A repository with files of all kinds; gives its first and its last commit.
fn furnish(server: &GitServer) -> (String, String) {
    let repository = server.repository("app", &[]);
    repository
        .write("README", "first\n")
        .write("bin/run", "#!/bin/sh\n")
        .write("empty", "")
        .write("deep/er/and/deeper/file", "x")
        .write("name with space/ümläut", "u")
        .write(".gitattributes", "*.bat text eol=crlf\n*.auto text=auto eol=crlf\n*.id ident\n")
        .write("run.bat", "echo\nexit\n")
        .write("a.auto", "text\n")
        .write("b.auto", "binary\n\0")
        .write("x.id", "$Id$\n")
        .write("deep/.gitattributes", "*.bat -text\n")
        .write("deep/run.bat", "echo\n");
    std::os::unix::fs::symlink("../README", repository.path.join("bin/link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", repository.path.join("absolute")).unwrap();
    Command::new("chmod").arg("755").arg(repository.path.join("bin/run")).status().unwrap();
    let first = repository.commit("first");
    repository.git(["tag", "light"]);
    repository.git(["tag", "-a", "v1.0", "-m", "annotated"]);
    repository.write("README", "second\n").write("later", "l");
    let last = repository.commit("second");
    repository.git(["checkout", "--quiet", "-b", "release/1.x", "v1.0"]);
    repository.write("README", "release\n");
    repository.commit("release");
    (first, last)
}

#[test]
fn work_trees_are_those_of_git() {
    let server = GitServer::start();
    let (first, last) = furnish(&server);
    let work = WorkDir::new();
    let git = client(&server, None);
    for (reference, fragment, requests) in [
        ("main", String::new(), 3),
        ("release/1.x", "#release/1.x".to_owned(), 2),
        ("light", "#light".to_owned(), 2),
        ("v1.0", "?tag=v1.0".to_owned(), 2),
        ("release/1.x", "#refs/heads/release/1.x".to_owned(), 2),
        (&first, format!("#{first}"), 1),
    ] {
        let judge = work.path(format!("clone-{}", reference.replace('/', "-")));
        if !judge.exists() {
            clone(&server, &work, &server.http("app"), reference);
        }
        let url = format!("{}{fragment}", server.http("app"));
        let made = check_out(&git, &work, &url, PLAIN).unwrap();
        same(&made.tree, &judge, &url);
        let expected = server.git(&judge, ["rev-parse", "HEAD"]);
        assert_eq!(made.resolved.commit.to_string(), expected.trim(), "{url}");
        assert_eq!(made.requests, requests, "{url}");
    }
    let judge = work.path("clone-main");
    for url in [
        server.https("app"),
        server.daemon("app"),
        format!("{}#{last}", server.daemon("app")),
        server.http("moved/app"),
        // Version 0 of the protocol.
        server.http("old/app"),
    ] {
        let made = check_out(&git, &work, &url, PLAIN).unwrap();
        same(&made.tree, &judge, &url);
    }
}

#[test]
fn a_subdirectory_alone_and_the_rules_above_it() {
    let server = GitServer::start();
    let (_, last) = furnish(&server);
    let work = WorkDir::new();
    let git = client(&server, None);
    let judge = clone(&server, &work, &server.http("app"), "main");
    for subdir in ["bin", "deep/er", "name with space"] {
        let url = format!("{}#main:{}", server.http("app"), subdir.replace(' ', "%20"));
        // Nothing is left of .git where a part of the tree is wanted.
        let made = check_out(&git, &work, &url, KEPT).unwrap();
        same(&made.tree, &judge.join(subdir), subdir);
        assert!(!made.tree.join(".git").exists());
    }
    for subdir in ["README", "no/such", "bin/link"] {
        let url = format!("{}#main:{subdir}", server.http("app"));
        let error = failure(check_out(&git, &work, &url, PLAIN));
        let expected = format!("has no directory {subdir:?} in commit {last}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[test]
fn times_are_the_commits_and_files_left_alone_are_told_of() {
    let server = GitServer::start();
    let app = server.repository("lfs", &[]);
    app.write("d/f", "f").write("one.bin", "pointer").write("two.bin", "pointer");
    std::os::unix::fs::symlink("f", app.path.join("d/l")).unwrap();
    // Without Git LFS, git has no filter of this name and leaves the files as they are.
    app.write(".gitattributes", "*.bin filter=lfs -text\n*.ps1 working-tree-encoding=UTF-16\n");
    app.commit("lfs");
    let work = WorkDir::new();
    let warnings = Arc::new(Warnings::default());
    let git = Git::new(Http::new(Options::default()), GitOptions::default(), warnings.clone());
    let url = format!("{}?mtime=commit", server.http("lfs"));
    let made = check_out(&git, &work, &url, PLAIN).unwrap();
    same(&made.tree, &clone(&server, &work, &server.http("lfs"), "main"), "lfs");
    for name in [".", "d", "d/f", "d/l", "one.bin"] {
        let time = fs::symlink_metadata(made.tree.join(name)).unwrap().mtime();
        assert_eq!(time, 1_700_000_000, "{name}");
    }
    let warnings = warnings.0.lock().unwrap();
    let expected = "2 files are stored by Git LFS, of which the pointer is taken";
    assert_eq!(*warnings, [format!("{}: {expected}", server.http("lfs"))]);
}

/// A connection that breaks within a pack; the fetch begins again.
#[test]
fn a_pack_that_breaks_off_is_fetched_again() {
    let server = GitServer::start();
    let app = server.repository("app", &[]);
    let mut noise = Vec::new();
    fs::File::open("/dev/urandom").unwrap().take(1_000_000).read_to_end(&mut noise).unwrap();
    app.write("noise", &noise).commit("noise");
    let work = WorkDir::new();
    let judge = clone(&server, &work, &server.http("app"), "main");
    for direct in [server.http("app"), server.daemon("app")] {
        let (scheme, rest) = direct.split_once("://").unwrap();
        let (address, path) = rest.split_once('/').unwrap();
        let proxy = Proxy::start(address, 100_000, 1);
        let url = format!("{scheme}://127.0.0.1:{}/{path}", proxy.port);
        let retry = Retry { attempts: 3, base: Duration::from_millis(10), ..Retry::default() };
        let options = GitOptions { retry, ..GitOptions::default() };
        let git = Git::new(Http::new(Options::default()), options, Arc::new(Silent));
        let made = check_out(&git, &work, &url, PLAIN).unwrap();
        same(&made.tree, &judge, &url);
        assert_eq!(proxy.cut.load(Ordering::SeqCst), 0, "{url}: it was cut");
    }
}

/// Passes connections on, and cuts some of them.
struct Proxy {
    port: u16,
    /// How many answers are still to be cut.
    cut: Arc<AtomicU32>,
}

impl Proxy {
    /// Cuts the first `count` answers that are longer than `length`.
    fn start(address: &str, length: u64, count: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (address, cut) = (address.to_owned(), Arc::new(AtomicU32::new(count)));
        let left = Arc::clone(&cut);
        // It ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&address).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                let left = Arc::clone(&left);
                std::thread::spawn(move || {
                    let (mut server, mut client) = (server, client);
                    let _ = std::io::copy(&mut (&mut server).take(length), &mut client);
                    let one_less = |n: u32| n.checked_sub(1);
                    let mut rest = [0];
                    let longer = server.read(&mut rest).is_ok_and(|n| n > 0);
                    let cut = longer
                        && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
                    if longer && !cut {
                        let _ = client.write_all(&rest);
                        let _ = std::io::copy(&mut server, &mut client);
                    }
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, cut }
    }
}

#[test]
fn submodules_with_theirs() {
    let server = GitServer::start();
    let inner = server.repository("inner", &[]);
    inner.write("inner-file", "i").commit("inner");
    let lib = server.repository("lib", &[]);
    lib.write("lib-file", "l\n");
    lib.git(["submodule", "--quiet", "add", &server.http("inner"), "nested"]);
    let pinned = lib.commit("lib");
    let app = server.repository("top", &[]);
    app.write("top-file", "t");
    app.git(["submodule", "--quiet", "add", "--name", "the lib", &server.http("lib"), "libs/one"]);
    app.git(["config", "-f", ".gitmodules", "submodule.the lib.url", "../lib.git"]);
    app.commit("with a submodule");
    // The branch of the submodule goes on; the commit that is pinned is wanted.
    lib.write("lib-file", "newer\n").commit("newer");

    let work = WorkDir::new();
    let git = client(&server, None);
    let judge = clone(&server, &work, &server.http("top"), "main");
    for url in [server.http("top"), server.https("top")] {
        let made = check_out(&git, &work, &url, PLAIN).unwrap();
        same(&made.tree, &judge, &url);
        assert!(!made.tree.join("libs/one/.git").exists());
    }
    for subdir in ["libs", "libs/one", "libs/one/nested"] {
        let url = format!("{}#:{subdir}", server.http("top"));
        let made = check_out(&git, &work, &url, PLAIN).unwrap();
        same(&made.tree, &judge.join(subdir), &url);
    }
    let without = FetchOptions { submodules: false, keep_git_dir: false };
    let made = check_out(&git, &work, &server.http("moved/top"), without).unwrap();
    assert_eq!(fs::read_dir(made.tree.join("libs/one")).unwrap().count(), 0);

    let made = check_out(&git, &work, &server.http("top"), KEPT).unwrap();
    same(&made.tree, &judge, "with .git");
    let status = ["status", "--porcelain", "--ignore-submodules=none"];
    assert_eq!(server.git(&made.tree, status), "");
    let modules = server.git(&made.tree, ["submodule", "status", "--recursive"]);
    let lines: Vec<&str> = modules.lines().collect();
    assert_eq!(lines.len(), 2, "{modules}");
    assert!(lines[0].starts_with(&format!(" {pinned} libs/one")), "{modules}");

    app.git(["rm", "--quiet", ".gitmodules"]);
    app.commit("no .gitmodules");
    let error = failure(check_out(&client(&server, None), &work, &server.daemon("top"), PLAIN));
    assert!(error.ends_with("submodule \"libs/one\": it is not in .gitmodules"), "{error}");
}

#[test]
fn a_git_directory_that_git_accepts() {
    let server = GitServer::start();
    let (first, _) = furnish(&server);
    let modern = server.repository("modern", &["--object-format=sha256"]);
    modern.write("file", "f").commit("sha256");
    let work = WorkDir::new();
    let git = client(&server, None);
    let with_user = server.http("app").replace("http://", "http://user:secret@");
    for (url, name) in [
        (with_user, Some("refs/heads/main")),
        (format!("{}?tag=v1.0", server.http("app")), Some("refs/tags/v1.0")),
        (format!("{}#{first}", server.http("app")), None),
        (server.http("modern"), Some("refs/heads/main")),
    ] {
        let made = check_out(&git, &work, &url, KEPT).unwrap();
        let ask = |args: &[&str]| server.git(&made.tree, args).trim().to_owned();
        assert_eq!(ask(&["status", "--porcelain"]), "", "{url}");
        assert_eq!(ask(&["rev-parse", "HEAD"]), made.resolved.commit.to_string(), "{url}");
        assert_eq!(ask(&["log", "--format=%an"]), "tester", "one commit of {url}");
        ask(&["fsck", "--strict"]);
        let refs = ask(&["for-each-ref", "--format=%(refname)"]);
        assert_eq!(refs, name.unwrap_or_default(), "{url}");
        assert!(!ask(&["remote", "get-url", "origin"]).contains("secret"), "{url}");
    }
    let mut trees = fs::read_dir(work.path(".")).unwrap().flatten().map(|entry| entry.path());
    let tagged = trees.find(|path| path.display().to_string().contains("tag-v1-0")).unwrap();
    assert_eq!(server.git(&tagged, ["describe"]).trim(), "v1.0", "an annotated tag is there");
}

#[test]
fn errors_say_what_and_where() {
    let server = GitServer::start();
    let (_, last) = furnish(&server);
    server.repository("empty", &[]);
    let work = WorkDir::new();
    let git = client(&server, None);
    let app = server.http("app");
    let zeros = "0".repeat(39) + "1";
    for (url, expected) in [
        (format!("{app}#mian"), format!("{app} has no branch or tag \"mian\"; did you mean main?")),
        (format!("{app}#{}", &last[..10]), "; a commit is named by all of its digits".to_owned()),
        (
            format!("{app}?checksum=0000#main"),
            format!("expected checksum to match 0000, got {last}"),
        ),
        (format!("{app}#{zeros}"), "the server says: upload-pack: not our ref".to_owned()),
        (server.http("empty"), "/empty.git is empty".to_owned()),
        (format!("{}#main", server.http("empty")), "/empty.git is empty".to_owned()),
        (server.http("missing"), "status 404; there is no such repository".to_owned()),
        (server.daemon("missing"), "the server says: access denied".to_owned()),
        (server.http("private/app"), "status 401; it needs credentials".to_owned()),
        (server.http("page"), "this is not a git server: it answers with text/html".to_owned()),
        ("git@h:x.git".to_owned(), "there is no ssh key to log in with".to_owned()),
        ("http://127.0.0.1:1/x.git".to_owned(), "connection refused".to_owned()),
        ("git://127.0.0.1:1/x.git".to_owned(), "connection refused".to_owned()),
    ] {
        let error = failure(check_out(&git, &work, &url, PLAIN));
        assert!(error.contains(&expected), "{url}: {error}");
    }
    let wrong = server.http("private/app").replace("://", "://reader:wrong@");
    let error = failure(check_out(&git, &work, &wrong, PLAIN));
    assert!(error.contains("the credentials were refused"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
}

#[test]
fn credentials_from_the_url_and_from_the_caller() {
    let server = GitServer::start();
    furnish(&server);
    let work = WorkDir::new();
    let judge = clone(&server, &work, &server.http("app"), "main");
    let in_url = server.http("private/app").replace("://", "://reader:correct%20horse@");
    let made = check_out(&client(&server, None), &work, &in_url, PLAIN).unwrap();
    same(&made.tree, &judge, "in the URL");
    // printf 'reader:correct horse' | base64
    let header = "Basic cmVhZGVyOmNvcnJlY3QgaG9yc2U=".to_owned();
    let git = client(&server, Some(header));
    let made = check_out(&git, &work, &server.https("private/app"), PLAIN).unwrap();
    same(&made.tree, &judge, "from the caller");
    assert_eq!((GitServer::USER, GitServer::PASSWORD), ("reader", "correct horse"));
}

#[test]
fn names_that_lead_out_are_refused() {
    let server = GitServer::start();
    let app = server.repository("hostile", &[]);
    app.write("f", "x").commit("good");
    let blob = app.git(["rev-parse", "HEAD:f"]);
    let git = client(&server, None);
    let work = WorkDir::new();
    for (number, name) in [".git", ".GIT", "..", ".", "git~1", "a/b"].iter().enumerate() {
        let mut tree = format!("100644 {name}\0").into_bytes();
        for at in (0..40).step_by(2) {
            tree.push(u8::from_str_radix(&blob[at..at + 2], 16).unwrap());
        }
        app.write("../tree", &tree);
        let tree = app.git(["hash-object", "-t", "tree", "--literally", "-w", "../tree"]);
        let commit = app.git(["commit-tree", "-m", "bad", &tree]);
        app.git(["update-ref", &format!("refs/heads/bad-{number}"), &commit]);
        app.push();
        let url = format!("{}#bad-{number}", server.http("hostile"));
        let error = failure(check_out(&git, &work, &url, PLAIN));
        assert!(error.contains("cannot be checked out"), "{name}: {error}");
    }
}

#[test]
fn thousands_of_files_with_long_chains_of_deltas() {
    let server = GitServer::start();
    let app = server.repository("many", &[]);
    let mut text: Vec<String> = (0..120).map(|n| format!("line {n} of many\n")).collect();
    for n in 0..2000 {
        let at = n % text.len();
        text[at] = format!("line {at} was changed by {n}\n");
        app.write(&format!("d{}/e{}/f{n}", n % 7, n % 11), text.concat());
    }
    app.commit("many");
    // With one thread the chains do not depend on how busy the machine is.
    app.served(["-c", "pack.threads=1", "repack", "-adfq", "--depth=50", "--window=50"]);
    let work = WorkDir::new();
    let judge = clone(&server, &work, &server.http("many"), "main");
    let made = check_out(&client(&server, None), &work, &server.http("many"), KEPT).unwrap();
    same(&made.tree, &judge, "many");
    server.git(&made.tree, ["fsck", "--strict"]);
    assert_eq!(server.git(&made.tree, ["status", "--porcelain"]), "");
    let packs = made.tree.join(".git/objects/pack");
    let mut files = fs::read_dir(packs).unwrap().flatten().map(|entry| entry.path());
    let index = files.find(|path| path.extension().is_some_and(|e| e == "idx")).unwrap();
    let verified = server.git(&made.tree, ["verify-pack", "-v", index.to_str().unwrap()]);
    let longest = verified.lines().filter_map(|line| line.strip_prefix("chain length = "));
    let longest = longest.filter_map(|l| l.split(':').next()?.parse::<u32>().ok()).max().unwrap();
    assert!(longest > 10, "the chains are of length {longest} only");
}

/// In a process of its own, since memory is the process's.
#[test]
fn a_large_file_passes_through_little_memory() {
    const SIZE: usize = 100 << 20;
    const URL: &str = "YADO_TEST_GIT_URL";
    const REPORT: &str = "YADO_TEST_GIT_REPORT";
    if let (Ok(url), Ok(report)) = (std::env::var(URL), std::env::var(REPORT)) {
        let work = WorkDir::new();
        let git = Git::new(Http::new(Options::default()), GitOptions::default(), Arc::new(Silent));
        let made = check_out(&git, &work, &url, KEPT).unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let sum = Command::new("sha256sum").arg(made.tree.join("large")).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        fs::write(report, format!("{} {sum}", peak.trim())).unwrap();
        return;
    }
    let server = GitServer::start();
    let app = server.repository("large", &[]);
    let random = app.path.join("large");
    fs::create_dir_all(&app.path).unwrap();
    let head = format!("head -c {SIZE} /dev/urandom > large");
    Command::new("sh").args(["-c", &head]).current_dir(&app.path).status().unwrap();
    app.commit("large");
    let sum = Command::new("sha256sum").arg(&random).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split(' ').next().unwrap();

    let work = WorkDir::new();
    let report = work.path("report");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["git::a_large_file_passes_through_little_memory", "--exact"])
        .env(URL, server.http("large"))
        .env(REPORT, &report)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let report = fs::read_to_string(report).unwrap();
    let (peak, found) = report.split_once(" kB ").unwrap();
    assert!(found.starts_with(sum), "{found} is not {sum}");
    let peak: usize = peak.parse().unwrap();
    assert!(peak * 1024 < SIZE / 3, "a peak of {peak} KiB for {SIZE} bytes");
}
