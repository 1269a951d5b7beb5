//! A real registry on a free port of the loopback interface.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{eventually, tool, write};

/// A running `docker-registry`; its blobs are in its memory, unless told otherwise.
#[derive(Debug)]
pub(crate) struct Registry {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    dir: PathBuf,
    /// A shell that ends the registry when its standard input is closed: also
    /// when this process is killed, and whichever thread of it started it.
    shell: Child,
}

/// What is special about a registry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Wants user [`Registry::USER`] with [`Registry::PASSWORD`].
    pub(crate) basic_auth: bool,
    /// Speaks TLS with a certificate of its own.
    pub(crate) tls: bool,
}

/// A request that it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl Registry {
    pub(crate) const USER: &str = "builder";
    pub(crate) const PASSWORD: &str = "correct horse";
    const HTPASSWD: &str = "builder:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

    /// Starts one.
    pub(crate) fn start(options: Options) -> Self {
        Self::launch(options, "inmemory: {}")
    }

    /// Starts one whose blobs are files, which a test can spoil.
    pub(crate) fn with_files() -> Self {
        Self::launch(Options::default(), "filesystem: {rootdirectory: storage}")
    }

    /// The file of a blob, with [`Registry::with_files`].
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.dir.join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    fn launch(options: Options, storage: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("yado-it-{}-registry-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{{storage}, delete: {{enabled: true}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}\n\
             http:\n  addr: 127.0.0.1:0\n",
        );
        let shown = dir.to_str().unwrap();
        if options.tls {
            tool(Command::new("openssl").current_dir(&dir).args([
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
            config.extend([
                "  tls: {certificate: ",
                shown,
                "/certificate.pem, key: ",
                shown,
                "/key.pem}\n",
            ]);
        }
        if options.basic_auth {
            write(&dir.join("htpasswd"), Self::HTPASSWD);
            config.extend(["auth: {htpasswd: {realm: test, path: ", shown, "/htpasswd}}\n"]);
        }
        write(&dir.join("config.yml"), config);
        let log = File::create(dir.join("log")).unwrap();
        let shell = Command::new("sh")
            .args([
                "-c",
                "docker-registry serve config.yml & cat; kill $!; wait; rm -rf --one-file-system ./storage; rm -- * ; rmdir \"$PWD\"",
            ])
            .current_dir(&dir)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut registry = Self { host: String::new(), dir, shell };
        registry.host = eventually("the address of the registry", || {
            let log = registry.log();
            let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("127.0.0.1:{port}"))
        });
        registry
    }

    /// The certificate to trust, with [`Options::tls`].
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// All it wrote.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap()).into_owned()
    }

    /// What it answered so far, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log()
            .lines()
            .filter(|line| line.starts_with("127.0.0.1 "))
            .filter_map(|line| {
                let mut quoted = line.split('"').skip(1);
                let mut words = quoted.next()?.split(' ');
                let status = quoted.next()?.split_whitespace().next()?.parse().ok()?;
                let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
                Some(Request { method, path, status })
            })
            .collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
