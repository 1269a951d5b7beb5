//! Repositories over ssh, held against OpenSSH's server and dropbear: keys, hosts, and both
//! versions of git's protocol. git itself says what a checkout must be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use yado::git::{
    Author, Edit, FetchOptions, Git, GitError, GitOptions, GitUrl, NewCommit, Push, PushOutcome,
    Remote, SshOptions, Update,
};
use yado::net::{Http, Options, Retry};
use yado::report::{Event, Sink, chain};

use crate::support::git::listing;
use crate::support::ssh::{SshServer, SshSetup, fingerprint, keygen, user};
use crate::support::{WorkDir, eventually, tool};

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Sink for Told {
    fn event(&self, event: Event) {
        if let Event::Note { message } | Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

impl Told {
    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// A repository with a branch, a tag and a commit that none of them points to.
struct Repository {
    bare: PathBuf,
    head: String,
    first: String,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "tester").env(format!("GIT_{who}_EMAIL"), "t@t");
    }
    tool(&mut command).trim().to_owned()
}

fn repository(work: &WorkDir, name: &str) -> Repository {
    let tree = work.path(format!("{name}-tree"));
    let bare = work.path(format!("{name}.git"));
    fs::create_dir(&tree).unwrap();
    git(&tree, &["init", "-q", "-b", "main"]);
    fs::write(tree.join("a"), "one\n").unwrap();
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "one"]);
    let first = git(&tree, &["rev-parse", "HEAD"]);
    fs::write(tree.join("a"), "two\n").unwrap();
    fs::create_dir(tree.join("dir")).unwrap();
    fs::write(tree.join("dir/b"), vec![b'x'; 300_000]).unwrap();
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "two"]);
    git(&tree, &["tag", "-a", "-m", "a tag", "v1"]);
    git(&tree, &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    Repository { head: git(&tree, &["rev-parse", "HEAD"]), bare, first }
}

/// A server with a key that it lets in, and a client that knows the server.
struct Case {
    work: WorkDir,
    server: SshServer,
    repository: Repository,
    key: PathBuf,
    options: SshOptions,
}

impl Case {
    fn new(setup: SshSetup<'_>) -> Self {
        let work = WorkDir::new();
        let server = SshServer::start(setup);
        let key = work.path("id_test");
        keygen(&key, "ed25519", &[]);
        server.authorize(&work.path("id_test.pub"));
        let kind = setup.host_keys.first().unwrap_or(&"ed25519");
        let known = work.write("known_hosts", server.known(&server.name(), kind));
        let options = SshOptions {
            identities: vec![key.clone()],
            known_hosts: vec![known],
            ..SshOptions::default()
        };
        let repository = repository(&work, "repository");
        Self { work, server, repository, key, options }
    }

    fn url(&self) -> String {
        self.server.url(&self.repository.bare)
    }

    /// Fetches the default branch; gives what was told.
    fn fetches(&self, options: &SshOptions) -> String {
        match fetch(&self.work, &self.url(), options) {
            Ok((commit, _, told)) => {
                assert_eq!(commit, self.repository.head);
                told
            }
            Err(error) => panic!("{}\n{}", error, self.server.log()),
        }
    }

    /// Fetches, which must fail; gives the error.
    fn fails(&self, options: &SshOptions) -> String {
        match fetch(&self.work, &self.url(), options) {
            Ok(_) => panic!("it must fail\n{}", self.server.log()),
            Err(error) => error,
        }
    }
}

/// Fetches and checks out: the commit, the tree and what was told.
fn fetch(
    work: &WorkDir,
    url: &str,
    options: &SshOptions,
) -> Result<(String, PathBuf, String), String> {
    let told = Arc::new(Told::default());
    let retry = Retry { attempts: 1, ..Retry::default() };
    let options = GitOptions { ssh: options.clone(), retry, ..GitOptions::default() };
    let git = Git::new(Http::new(Options::default()), options, told.clone());
    let tree = work.path("checkout");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir(&tree).unwrap();
    let url = GitUrl::parse(url).unwrap().unwrap();
    let kept = FetchOptions { submodules: true, keep_git_dir: true };
    let done =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                let resolved = git.resolve(&url).await?;
                let fetched = git.fetch(&url, &resolved, &kept, &work.path(".")).await?;
                fetched.checkout(fs::File::open(&tree).unwrap(), &|| false)?;
                Ok::<_, GitError>(fetched.commit().to_string())
            },
        );
    done.map(|commit| (commit, tree, told.all())).map_err(|error| chain(&error))
}

#[test]
fn both_versions_of_the_protocol_give_what_git_clone_gives() {
    for accepts_protocol in [false, true] {
        let case = Case::new(SshSetup { accepts_protocol, ..SshSetup::default() });
        let clone = case.work.path("clone");
        let bare = case.repository.bare.to_str().unwrap();
        git(&case.work.path("."), &["clone", "-q", bare, clone.to_str().unwrap()]);
        for reference in ["", "#v1", "#main", &format!("#{}", case.repository.head)] {
            let url = format!("{}{reference}", case.url());
            let (commit, tree, told) = fetch(&case.work, &url, &case.options).unwrap();
            assert_eq!(commit, case.repository.head, "{reference}");
            assert_eq!(listing(&tree), listing(&clone), "{reference}");
            assert_eq!(told, "", "{reference}");
            git(&tree, &["fsck", "--strict"]);
            assert_eq!(git(&tree, &["rev-list", "--count", "HEAD"]), "1", "{reference}");
        }
        let missing = fetch(&case.work, &format!("{}#mian", case.url()), &case.options);
        assert!(missing.unwrap_err().ends_with("did you mean main?"));
    }
}

#[test]
fn keys_of_every_kind_and_form_are_let_in() {
    let case = Case::new(SshSetup::default());
    let phrase = "open sesame";
    let old = ["-m", "PEM"];
    let new_pem = ["-m", "PKCS8"];
    let forms: [(&str, &str, &[&str], bool); 14] = [
        ("ed25519", "ed25519", &[], false),
        ("ed25519-locked", "ed25519", &[], true),
        ("ecdsa256", "ecdsa", &["-b", "256"], false),
        ("ecdsa384", "ecdsa", &["-b", "384"], false),
        ("ecdsa521", "ecdsa", &["-b", "521"], false),
        ("ecdsa-locked", "ecdsa", &[], true),
        ("ecdsa-pem", "ecdsa", &old, false),
        ("ecdsa-pkcs8", "ecdsa", &new_pem, false),
        ("rsa", "rsa", &["-b", "2048"], false),
        ("rsa-locked", "rsa", &["-b", "2048"], true),
        ("rsa-pem", "rsa", &["-b", "2048", "-m", "PEM"], false),
        ("rsa-pem-locked", "rsa", &["-b", "2048", "-m", "PEM"], true),
        ("rsa-pkcs8", "rsa", &["-b", "2048", "-m", "PKCS8"], false),
        ("rsa-pkcs8-locked", "rsa", &["-b", "2048", "-m", "PKCS8"], true),
    ];
    for (name, kind, more, locked) in forms {
        let key = case.work.path(name);
        let mut flags = more.to_vec();
        if locked {
            flags.extend(["-N", phrase]);
        }
        keygen(&key, kind, &flags);
        case.server.authorize(&case.work.path(format!("{name}.pub")));
        let mut options = SshOptions { identities: vec![key.clone()], ..case.options.clone() };
        if locked {
            let error = case.fails(&options);
            assert!(error.contains("it is encrypted, and no passphrase was given"), "{error}");
            assert!(error.contains(name), "{error}");
            options.passphrase = Some("wrong".to_owned());
            let error = case.fails(&options);
            assert!(error.contains("passphrase is wrong"), "{name}: {error}");
            options.passphrase = Some(phrase.to_owned());
        } else {
            // One for other keys does no harm.
            options.passphrase = Some(phrase.to_owned());
        }
        assert_eq!(case.fetches(&options), "", "{name}");
    }
}

#[test]
fn a_key_as_secret_stores_keep_it() {
    let case = Case::new(SshSetup::default());
    let text = fs::read_to_string(&case.key).unwrap();
    for (name, text, mode) in [
        ("without-end", text.trim_end().to_owned(), 0o600),
        ("crlf", text.replace('\n', "\r\n"), 0o600),
        ("open", text, 0o644),
    ] {
        let key = case.work.write(name, text);
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let options = SshOptions { identities: vec![key], ..case.options.clone() };
        let told = case.fetches(&options);
        assert_eq!(told.contains("can be read by others (mode 644"), mode == 0o644, "{told}");
    }
    let nothing = case.work.write("nothing", "no key\n");
    let options = SshOptions { identities: vec![nothing], ..case.options.clone() };
    assert!(case.fails(&options).contains("nothing: it holds no private key"));
    let options = SshOptions { identities: vec!["/nowhere".into()], ..case.options.clone() };
    assert!(case.fails(&options).contains("read /nowhere: No such file"));
}

#[test]
fn the_second_key_is_shown_too_and_a_wrong_one_is_named() {
    let case = Case::new(SshSetup::default());
    let wrong = case.work.path("wrong");
    keygen(&wrong, "ed25519", &[]);
    let options = SshOptions { identities: vec![wrong.clone()], ..case.options.clone() };
    let error = case.fails(&options);
    let print = fingerprint(&wrong);
    let expected = format!(
        "the server does not let {:?} in with the key {} ({print})",
        user(),
        wrong.display()
    );
    assert!(error.ends_with(&expected), "{error}");
    let both = vec![wrong, case.key.clone()];
    case.fetches(&SshOptions { identities: both, ..case.options.clone() });
    let none = SshOptions { identities: Vec::new(), ..case.options.clone() };
    assert!(case.fails(&none).contains("there is no ssh key to log in with"));
}

/// An agent, which ends with the value.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(keys: &[&Path]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // The path of a socket may have a hundred letters, which a test's own directory takes up.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("agent-{}-{number}", std::process::id()));
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        eventually("the agent", || UnixStream::connect(&socket).ok());
        let agent = Self { process, socket };
        for key in keys {
            let mut add = Command::new("ssh-add");
            tool(add.args(["-q", key.to_str().unwrap()]).env("SSH_AUTH_SOCK", &agent.socket));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

#[test]
fn an_agent_shows_its_keys_and_signs() {
    let case = Case::new(SshSetup::default());
    let (rsa, other) = (case.work.path("rsa"), case.work.path("other"));
    keygen(&rsa, "rsa", &["-b", "2048"]);
    keygen(&other, "ecdsa", &[]);
    case.server.authorize(&case.work.path("rsa.pub"));
    let agent = Agent::start(&[&other, &rsa]);
    let with = |identities: Vec<PathBuf>| SshOptions {
        identities,
        agent: Some(agent.socket.clone()),
        ..case.options.clone()
    };
    case.fetches(&with(Vec::new()));
    // The public half names the one key of the agent that is shown.
    let error = case.fails(&with(vec![case.work.path("other.pub")]));
    assert!(error.contains(&fingerprint(&other)) && !error.contains(&fingerprint(&rsa)), "{error}");
    case.fetches(&with(vec![case.work.path("rsa.pub")]));
    let gone = SshOptions { agent: Some("/nowhere".into()), ..with(Vec::new()) };
    let error = case.fails(&gone);
    assert!(error.contains("the ssh agent at /nowhere: No such file"), "{error}");
}

/// Signs a key; `flags` say for whom.
fn certify(authority: &Path, key: &Path, flags: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-s", authority.to_str().unwrap(), "-I", "test"]).args(flags).arg(key);
    tool(&mut command);
}

#[test]
fn certificates_of_users_are_shown_with_their_keys() {
    let lines = "TrustedUserCAKeys {dir}/users.pub\n";
    let case = Case::new(SshSetup { lines, ..SshSetup::default() });
    let authority = case.server.file("users");
    keygen(&authority, "ed25519", &[]);
    for (name, kind) in [("c-ed25519", "ed25519"), ("c-rsa", "rsa"), ("c-ecdsa", "ecdsa")] {
        let key = case.work.path(name);
        keygen(&key, kind, &[]);
        let options = SshOptions { identities: vec![key.clone()], ..case.options.clone() };
        case.fails(&options);
        let public = case.work.path(format!("{name}.pub"));
        certify(&authority, &public, &["-n", "somebody-else"]);
        let error = case.fails(&options);
        assert!(error.contains("with its certificate"), "{error}");
        certify(&authority, &public, &["-n", &user()]);
        case.fetches(&options);
    }
    // An agent has it too.
    let agent = Agent::start(&[&case.work.path("c-rsa")]);
    let options = SshOptions {
        identities: Vec::new(),
        agent: Some(agent.socket.clone()),
        ..case.options.clone()
    };
    case.fetches(&options);
}

#[test]
fn a_host_is_known_by_its_line_and_by_no_other() {
    let case =
        Case::new(SshSetup { host_keys: &["ed25519", "rsa", "ecdsa"], ..SshSetup::default() });
    let (name, server) = (case.server.name(), &case.server);
    let other = case.work.path("other");
    keygen(&other, "ed25519", &[]);
    let other_key = fs::read_to_string(case.work.path("other.pub")).unwrap();
    let other_line = format!("{name} {other_key}");
    let known = |text: &str| {
        let file = case.work.write("known", text);
        SshOptions { known_hosts: vec![file], ..case.options.clone() }
    };
    let shown = fingerprint(&server.file("host_ed25519.pub"));
    // Each kind of key alone makes the server show that kind.
    for kind in ["ed25519", "rsa", "ecdsa"] {
        case.fetches(&known(&server.known(&name, kind)));
    }
    // Without a port it is known too, as long as nothing is known with it.
    case.fetches(&known(&server.known("127.0.0.1", "ed25519")));
    case.fetches(&known(&server.known("*.0.0.1,!127.0.0.1,[127.0.0.?]:*", "ed25519")));
    let unknown = case.fails(&known(&server.known("127.0.0.2", "ed25519")));
    let file = case.work.path("known");
    let expected = format!(
        "the key of {name} is not known: it shows ssh-ed25519 {shown}, and {} says nothing of it",
        file.display()
    );
    assert!(unknown.contains(&expected), "{unknown}");
    let changed = case.fails(&known(&format!("# a comment\n{other_line}")));
    let expected = format!(
        "THE KEY OF {name} IS NOT THE ONE THAT IS KNOWN. Somebody may stand between this machine \
         and the host, or the host has a new key. It shows ssh-ed25519 {shown}; {}:2 knows \
         ssh-ed25519 {}",
        file.display(),
        fingerprint(&other)
    );
    assert!(changed.contains(&expected), "{changed}");
    // Trust on first use is for hosts of which nothing is known.
    let trusting = SshOptions { trust_on_first_use: true, ..known(&other_line) };
    assert!(case.fails(&trusting).contains("IS NOT THE ONE THAT IS KNOWN"));
    let lines = server.known(&name, "ed25519");
    let revoked = case.fails(&known(&format!("{lines}@revoked * {}", &lines[name.len() + 1..])));
    assert!(revoked.contains("is revoked") && revoked.contains(":2 forbids"), "{revoked}");
    // No key was shown to any of the servers that were refused.
    let hashed = case.work.write("hashed", &lines);
    tool(Command::new("ssh-keygen").args(["-q", "-H", "-f", hashed.to_str().unwrap()]));
    assert!(fs::read_to_string(&hashed).unwrap().starts_with("|1|"));
    case.fetches(&SshOptions { known_hosts: vec![hashed], ..case.options.clone() });
    let told = case.fetches(&known(&format!("nonsense\n{lines}")));
    assert!(told.contains("known:1: this line is not understood"), "{told}");
}

#[test]
fn a_host_is_known_by_a_fingerprint_or_taken_on_first_use() {
    let case =
        Case::new(SshSetup { host_keys: &["ed25519", "rsa", "ecdsa"], ..SshSetup::default() });
    let bare = SshOptions { known_hosts: Vec::new(), ..case.options.clone() };
    // The server shows another kind of key first.
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let print = fingerprint(&case.server.file(&format!("host_{kind}.pub")));
        case.fetches(&SshOptions { fingerprints: vec![print], ..bare.clone() });
    }
    let wrong = fingerprint(&case.work.path("id_test.pub"));
    let pinned =
        SshOptions { fingerprints: vec![wrong.clone()], trust_on_first_use: true, ..bare.clone() };
    let error = case.fails(&pinned);
    assert!(error.contains("has none of the fingerprints that were given"), "{error}");
    assert!(error.contains(&format!("expected {wrong}")), "{error}");
    let nonsense = SshOptions { fingerprints: vec!["MD5:aa".to_owned()], ..bare.clone() };
    assert!(case.fails(&nonsense).contains("\"MD5:aa\" is no fingerprint of a host key"));
    let error = case.fails(&bare);
    assert!(error.contains("no file of host keys was given"), "{error}");
    let told = case.fetches(&SshOptions { trust_on_first_use: true, ..bare });
    let print = fingerprint(&case.server.file("host_ed25519.pub"));
    assert!(told.contains(&format!("taken as it is: ssh-ed25519 {print}")), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn certificates_of_hosts_are_taken_from_their_authority() {
    let lines = "HostCertificate {dir}/host_ed25519-cert.pub\n";
    // The server reads it when it starts, so it is made before.
    let work = WorkDir::new();
    let authority = work.path("authority");
    keygen(&authority, "ecdsa", &[]);
    let public = fs::read_to_string(work.path("authority.pub")).unwrap();
    let trusted = work.write("trusted", format!("@cert-authority 127.*,[127.*]:* {public}"));
    let elsewhere = work.write("elsewhere", format!("@cert-authority *.example.com {public}"));
    for (flags, problem) in [
        (["-n", "127.0.0.1", "-V", "-1d:+1d"], None),
        (["-n", "other,127.0.0.*", "-V", "-1d:+1d"], None),
        (["-n", "example.com", "-V", "-1d:+1d"], Some("it is for example.com")),
        (["-n", "127.0.0.1", "-V", "-2d:-1d"], Some("it is no longer valid")),
        (["-n", "127.0.0.1", "-V", "+1d:+2d"], Some("it is not valid yet")),
    ] {
        let certify_host = |key: &Path| {
            let flags: Vec<&str> = ["-h"].into_iter().chain(flags).collect();
            certify(&authority, key, &flags);
        };
        let setup = SshSetup { lines, certify: Some(&certify_host), ..SshSetup::default() };
        let case = Case::new(setup);
        let with =
            |file: &Path| SshOptions { known_hosts: vec![file.to_owned()], ..case.options.clone() };
        match problem {
            None => assert_eq!(case.fetches(&with(&trusted)), ""),
            Some(problem) => {
                let error = case.fails(&with(&trusted));
                let good = error.contains("the certificate of") && error.contains(problem);
                assert!(good, "{error}");
            }
        }
        assert!(case.fails(&with(&elsewhere)).contains("is not known"));
        // Its key is known by itself, whatever else it shows.
        case.fetches(&case.options);
    }
}

#[test]
fn an_ssh_directory_says_where_and_who() {
    let case = Case::new(SshSetup::default());
    let dir = case.work.path("ssh");
    fs::create_dir(&dir).unwrap();
    fs::copy(&case.key, dir.join("id_deploy")).unwrap();
    fs::copy(case.options.known_hosts[0].as_path(), dir.join("known_hosts")).unwrap();
    let bare = SshOptions { dirs: vec![dir.clone()], ..SshOptions::default() };
    case.fetches(&bare);
    // Another key is in the way, and cannot be used.
    case.work.write("ssh/id_a", "nonsense");
    let told = case.fetches(&bare);
    assert!(told.contains("id_a: it holds no private key; it is left out"), "{told}");
    let config = format!(
        "Host forge\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile ~/.ssh/id_deploy\n\
         IdentitiesOnly yes\n ControlMaster auto\nHost *\n User nobody\n",
        case.server.port(),
        user()
    );
    case.work.write("ssh/config", config);
    let path = case.repository.bare.display();
    for url in [format!("ssh://forge{path}"), format!("{}@forge:{path}", user())] {
        let (commit, _, told) = fetch(&case.work, &url, &bare).unwrap();
        assert_eq!(commit, case.repository.head);
        assert!(told.contains("config:7: ControlMaster has no effect here"), "{told}");
        assert!(!told.contains("id_a"), "{told}");
    }
    // A secret of Tekton's kind.
    let secret = case.work.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::copy(&case.key, secret.join("ssh-privatekey")).unwrap();
    fs::copy(case.options.known_hosts[0].as_path(), secret.join("known_hosts")).unwrap();
    case.fetches(&SshOptions { dirs: vec![secret], ..SshOptions::default() });
}

#[test]
fn what_is_not_there_is_said_in_the_servers_words() {
    for accepts_protocol in [false, true] {
        let case = Case::new(SshSetup { accepts_protocol, ..SshSetup::default() });
        let url = case.server.url(Path::new("/nowhere/x.git"));
        let error = fetch(&case.work, &url, &case.options).unwrap_err();
        // What sshd says of a user without a home may stand in front of it.
        let expected = "fatal: '/nowhere/x.git' does not appear to be a git repository; there is \
                        no such repository, or this key may not read it";
        assert!(error.contains(": the server says: ") && error.ends_with(expected), "{error}");
        let nasty = case.work.path("it's a; 'repo' $(id)!");
        fs::rename(&case.repository.bare, &nasty).unwrap();
        let url = case.server.url(&nasty).replace(' ', "%20");
        fetch(&case.work, &url, &case.options).unwrap();
    }
}

#[test]
fn a_commit_that_nothing_points_to_is_fetched_with_all_that_is_there() {
    for accepts_protocol in [false, true] {
        let case = Case::new(SshSetup { accepts_protocol, ..SshSetup::default() });
        let url = format!("{}#{}", case.url(), case.repository.first);
        let (commit, tree, _) = fetch(&case.work, &url, &case.options).unwrap();
        assert_eq!(commit, case.repository.first);
        assert_eq!(fs::read_to_string(tree.join("a")).unwrap(), "one\n");
        let gone = format!("{}#{}", case.url(), "1".repeat(40));
        let error = fetch(&case.work, &gone, &case.options).unwrap_err();
        assert!(error.contains(&"1".repeat(40)), "{error}");
    }
}

#[test]
fn dropbear_is_a_server_too() {
    let setup = SshSetup { dropbear: true, host_keys: &["rsa", "ecdsa"], ..SshSetup::default() };
    let case = Case::new(setup);
    for kind in ["rsa", "ecdsa"] {
        let line = case.server.known(&case.server.name(), kind);
        let file = case.work.write("known", line);
        let rsa = case.work.path(format!("key_{kind}"));
        keygen(&rsa, kind, &[]);
        case.server.authorize(&case.work.path(format!("key_{kind}.pub")));
        let options =
            SshOptions { identities: vec![rsa], known_hosts: vec![file], ..case.options.clone() };
        case.fetches(&options);
    }
    case.fetches(&case.options);
}

#[test]
fn a_commit_is_pushed_over_ssh_and_to_a_directory() {
    for setup in [SshSetup::default(), SshSetup { dropbear: true, ..SshSetup::default() }] {
        let setup = if setup.dropbear { SshSetup { host_keys: &["rsa"], ..setup } } else { setup };
        let case = Case::new(setup);
        let over_ssh = Remote::named(&case.url()).unwrap().unwrap();
        let here = Remote::named(case.repository.bare.to_str().unwrap()).unwrap().unwrap();
        for (n, remote) in [over_ssh, here].into_iter().enumerate() {
            let told = Arc::new(Told::default());
            let options = GitOptions { ssh: case.options.clone(), ..GitOptions::default() };
            let git = Git::new(Http::new(Options::default()), options, told.clone());
            let author = Author {
                name: "Robot".to_owned(),
                email: "robot@example.com".to_owned(),
                seconds: 1_700_000_000,
                offset: 0,
            };
            let new = NewCommit {
                author: author.clone(),
                committer: author,
                message: format!("change {n}\n"),
            };
            // More than fits in a window of the channel, and does not compress.
            let mut state = 7_u32;
            let large: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(6 << 20)
            .collect();
            let content = format!("from {n}\n");
            let write = |bytes: &[u8]| Edit::Write { bytes: bytes.to_vec(), executable: None };
            let edits = [("dir/b", write(content.as_bytes())), ("large", write(&large))];
            let edits = edits.into_iter().map(|(path, edit)| (path.to_owned(), edit)).collect();
            let pushed = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async {
                    let head = git.open_branch(&remote, "main").await?;
                    let made = head.commit_with(&edits, &new, None).await?.unwrap();
                    let update = Update {
                        reference: head.reference().to_owned(),
                        old: Some(head.id()),
                        new: Some(made.commit.id),
                    };
                    let push =
                        Push { updates: vec![update], commits: vec![&made], ..Push::default() };
                    git.push(&remote, &push).await
                })
                .unwrap_or_else(|error: GitError| {
                    panic!("{}\n{}", chain(&error), case.server.log())
                });
            assert_eq!(pushed.outcome, PushOutcome::Done);
            let served = |args: &[&str]| self::git(&case.repository.bare, args);
            assert_eq!(served(&["show", "main:dir/b"]), format!("from {n}"));
            assert_eq!(served(&["cat-file", "-s", "main:large"]), large.len().to_string());
            assert_eq!(served(&["log", "-1", "--format=%s", "main"]), format!("change {n}"));
            served(&["fsck", "--strict"]);
        }
    }
}

#[test]
fn a_clone_by_a_user_whom_nobody_knows() {
    let case = Case::new(SshSetup::default());
    // Root can become a user without an entry in passwd; anybody else is who he is.
    let is_root = rustix::process::getuid().is_root();
    let dir = case.work.path("nobodys");
    fs::create_dir(&dir).unwrap();
    let key = case.work.path("secret/ssh-privatekey");
    fs::create_dir(case.work.path("secret")).unwrap();
    fs::copy(&case.key, &key).unwrap();
    fs::copy(&case.options.known_hosts[0], case.work.path("secret/known_hosts")).unwrap();
    if is_root {
        for path in [case.work.path("secret"), case.work.path("."), dir.clone()] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o444)).unwrap();
        std::os::unix::fs::chown(&dir, Some(12345), Some(12345)).unwrap();
    }
    let url = case.url();
    let to = dir.join("clone");
    let secret = case.work.path("secret");
    let clone = case
        .work
        .yado([
            "git-clone",
            "--ssh-dir",
            secret.to_str().unwrap(),
            "--ssh-key",
            "",
            &url,
            to.to_str().unwrap(),
        ])
        .dir("/");
    let unset = ["env", "-u", "HOME", "-u", "XDG_RUNTIME_DIR", "-u", "YADO_ROOT"];
    let as_nobody = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"];
    let wrapper = as_nobody.iter().filter(|_| is_root).chain(&unset).copied();
    // Nobody may read the place where cargo puts the binary, but everybody a copy.
    let binary = case.work.path("yado");
    fs::copy(crate::support::binary(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let out = clone.binary(&binary).under(wrapper).succeeds();
    assert!(out.stdout.contains(&case.repository.head), "{}", out.stdout);
    assert_eq!(out.stderr.contains("can be read by others (mode 444, uid 0)"), is_root);
    assert_eq!(fs::read_to_string(to.join("a")).unwrap(), "two\n");
}

#[test]
fn a_build_adds_a_repository_that_its_agent_may_read() {
    let case = Case::new(SshSetup::default());
    let agent = Agent::start(&[&case.key]);
    let dockerfile = format!("FROM scratch\nADD {} /src/\n", case.url());
    // No base image is needed, and so no registry.
    case.work.write("context/Dockerfile", &dockerfile);
    let output = format!("type=oci,tar=false,dest={}", case.work.path("image").display());
    let context = case.work.path("context");
    let build = || case.work.yado(["build", "--output", &output, context.to_str().unwrap()]);
    build().fails(77).says("there is no ssh key to log in with");
    let default = format!("default={}", agent.socket.display());
    let with_agent = || build().flags(["--ssh", &default]);
    with_agent().fails(77).says("is not known");
    let known = fs::read(&case.options.known_hosts[0]).unwrap();
    case.work.write("home/.ssh/known_hosts", known);
    with_agent().succeeds();
    assert_eq!(case.work.image().text("src/a"), "two\n");
}
