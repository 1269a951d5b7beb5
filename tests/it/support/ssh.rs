//! Real servers of ssh on free ports of the loopback interface, run by whoever runs the tests,
//! and the keys to log in to them with.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{WorkDir, eventually, tool};

/// A server that lets one user in: whoever runs the tests.
#[derive(Debug)]
pub(crate) struct SshServer {
    dir: WorkDir,
    port: u16,
    shell: Child,
}

/// What makes a server different from Debian's own configuration.
#[derive(Clone, Copy, Default)]
pub(crate) struct SshSetup<'a> {
    /// Whether git hears which protocol is asked for.
    pub(crate) accepts_protocol: bool,
    /// Types of host keys, `ed25519` if empty.
    pub(crate) host_keys: &'a [&'a str],
    /// Whether it is dropbear and not OpenSSH.
    pub(crate) dropbear: bool,
    /// Makes certificates of its host keys, before it starts.
    pub(crate) certify: Option<&'a dyn Fn(&Path)>,
    /// Lines of its configuration; `{dir}` stands for its directory.
    pub(crate) lines: &'a str,
}

/// Runs a server until its standard input is closed.
const SHELL: &str = "
    umask 022
    \"$@\" & server=$!
    cat
    kill $server
    wait";

impl SshServer {
    /// Starts it, with keys of its own.
    pub(crate) fn start(setup: SshSetup<'_>) -> Self {
        let dir = WorkDir::new();
        let types = if setup.host_keys.is_empty() { &["ed25519"][..] } else { setup.host_keys };
        for kind in types {
            keygen(&dir.path(format!("host_{kind}")), kind, &[]);
            if let Some(certify) = setup.certify {
                certify(&dir.path(format!("host_{kind}.pub")));
            }
        }
        dir.write("authorized_keys", "");
        dir.write("gitconfig", "[safe]\n\tdirectory = *\n[core]\n\tfsync = none\n");
        if rustix::process::getuid().is_root() {
            // The service makes it when it starts, which it does not here.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (port, shell) = eventually("a server of ssh", || {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut shell = Command::new("sh");
            shell.args(["-c", SHELL, "sh"]).env_clear().env("PATH", "/usr/bin:/bin");
            if setup.dropbear {
                dropbear(&dir, &mut shell, types, port);
            } else {
                dir.write("sshd_config", configuration(&dir, setup, types, port));
                let file = dir.path("sshd_config");
                shell.args(["/usr/sbin/sshd", "-D", "-e", "-f", file.to_str().unwrap()]);
            }
            let log = File::create(dir.path("log")).unwrap();
            shell.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
            let mut shell = shell.spawn().unwrap();
            let up = eventually("its answer", || {
                let log = fs::read_to_string(dir.path("log")).unwrap();
                if log.contains("Address already in use") {
                    return Some(false);
                }
                assert!(!log.contains("fatal") && !log.contains("Bad configuration"), "{log}");
                TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
            });
            if up {
                return Some((port, shell));
            }
            drop(shell.stdin.take());
            let _ = shell.wait();
            None
        });
        Self { dir, port, shell }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A file of the server.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// The URL of a repository, by its whole path.
    pub(crate) fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, path.display())
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path("log")).unwrap()
    }

    /// Lets a key in, of the file whose name ends in `.pub`.
    pub(crate) fn authorize(&self, key: &Path) {
        let line = fs::read_to_string(key).unwrap();
        let file = self.dir.path(if self.is_dropbear() { HOME_KEYS } else { "authorized_keys" });
        let mut lines = fs::read_to_string(&file).unwrap();
        lines.push_str(&line);
        fs::write(&file, lines).unwrap();
    }

    fn is_dropbear(&self) -> bool {
        self.dir.path(HOME_KEYS).exists()
    }

    /// The line of `known_hosts` for one of its keys, under `host`.
    pub(crate) fn known(&self, host: &str, kind: &str) -> String {
        let key = fs::read_to_string(self.dir.path(format!("host_{kind}.pub"))).unwrap();
        let words: Vec<&str> = key.split(' ').take(2).collect();
        format!("{host} {}\n", words.join(" "))
    }

    /// How `known_hosts` calls it.
    pub(crate) fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }
}

const HOME_KEYS: &str = "login/.ssh/authorized_keys";

impl Drop for SshServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Who runs the tests, by name.
pub(crate) fn user() -> String {
    tool(Command::new("id").arg("-un")).trim().to_owned()
}

/// Makes a pair of keys with ssh-keygen.
pub(crate) fn keygen(path: &Path, kind: &str, more: &[&str]) {
    let path = path.to_str().unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-C", "tester", "-f", path]);
    if !more.contains(&"-N") {
        command.args(["-N", ""]);
    }
    tool(command.args(more));
}

/// The fingerprint of a public key, as ssh-keygen says it.
pub(crate) fn fingerprint(path: &Path) -> String {
    let said = tool(Command::new("ssh-keygen").args(["-lf", path.to_str().unwrap()]));
    said.split(' ').nth(1).unwrap().to_owned()
}

fn configuration(dir: &WorkDir, setup: SshSetup<'_>, types: &[&str], port: u16) -> String {
    let dir = dir.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let mut text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nAuthorizedKeysFile {dir}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nLogLevel VERBOSE\nMaxStartups 200\n\
         SetEnv GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL={dir}/gitconfig\n"
    );
    for kind in types {
        text.extend(["HostKey ", dir, "/host_", kind, "\n"]);
    }
    if setup.accepts_protocol {
        text.push_str("AcceptEnv GIT_PROTOCOL\n");
    }
    text + &setup.lines.replace("{dir}", dir)
}

/// It looks for keys in the user's home, so it is told of another one.
fn dropbear(dir: &WorkDir, shell: &mut Command, types: &[&str], port: u16) {
    dir.write(HOME_KEYS, "");
    for path in ["login", "login/.ssh", HOME_KEYS] {
        fs::set_permissions(dir.path(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let home = dir.path("login");
    let passwd = format!("{}:x:{}:{}::{}:/bin/sh\n", user(), ids.0, ids.1, home.display());
    let passwd = dir.write("passwd", passwd);
    let group = dir.write("group", format!("{}:x:{}:\n", user(), ids.1));
    shell.env("LD_PRELOAD", "libnss_wrapper.so").env("NSS_WRAPPER_PASSWD", passwd);
    shell.env("NSS_WRAPPER_GROUP", group);
    shell.args(["/usr/sbin/dropbear", "-F", "-E", "-s", "-m", "-e"]);
    shell.arg("-p").arg(format!("127.0.0.1:{port}"));
    shell.arg("-P").arg(dir.path("dropbear.pid"));
    for kind in types {
        let (from, to) = (dir.path(format!("host_{kind}")), dir.path(format!("dropbear_{kind}")));
        // Only keys in PEM form are converted.
        let from = from.to_str().unwrap();
        tool(Command::new("ssh-keygen").args(["-q", "-p", "-m", "PEM", "-N", "", "-f", from]));
        let mut convert = Command::new("dropbearconvert");
        tool(convert.args(["openssh", "dropbear", from, to.to_str().unwrap()]));
        shell.arg("-r").arg(to);
    }
}
