//! Signed commits, of which git says whether the signature is good.

use std::process::Command;
use std::sync::Arc;

use yado::git::{
    Author, Edit, Git, GitError, GitOptions, GitUrl, NewCommit, Push, PushOutcome, Signer, Update,
    signer,
};
use yado::net::{Http, Options};
use yado::report::{Event, Sink};

use crate::support::git::{GitRepository, GitServer};
use crate::support::{WorkDir, tool};

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

/// Commits something with a signature, and pushes it.
fn sign(server: &GitServer, name: &str, signer: &dyn Signer, text: &str) -> String {
    let git = Git::new(Http::new(Options::default()), GitOptions::default(), Arc::new(Silent));
    let remote = GitUrl::parse(&server.http(name)).unwrap().unwrap().remote;
    let author = Author {
        name: "Robot".to_owned(),
        email: "robot@example.com".to_owned(),
        seconds: 1_700_000_000,
        offset: 0,
    };
    let message = format!("{text}\n\nwith a body: é");
    let new = NewCommit { author: author.clone(), committer: author, message };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let head = git.open_branch(&remote, "main").await.unwrap();
        let write = Edit::Write { bytes: text.as_bytes().to_vec(), executable: None };
        let edits = [("f".to_owned(), write)].into();
        let made = head.commit_with(&edits, &new, Some(signer)).await.unwrap().unwrap();
        let again = head.commit_with(&edits, &new, Some(signer)).await.unwrap().unwrap();
        assert_eq!(made.commit.id, again.commit.id, "{text}: the same again");
        let update = Update {
            reference: head.reference().to_owned(),
            old: Some(head.id()),
            new: Some(made.commit.id),
        };
        let push = Push { updates: vec![update], commits: vec![&made], ..Push::default() };
        assert_eq!(git.push(&remote, &push).await.unwrap().outcome, PushOutcome::Done);
        made.commit.id.to_string()
    })
}

fn repositories(server: &GitServer) -> [(&'static str, GitRepository<'_>, &'static str); 2] {
    let made = [
        ("sha1", server.repository("sha1", &[]), "gpgsig"),
        ("sha256", server.repository("sha256", &["--object-format=sha256"]), "gpgsig-sha256"),
    ];
    for (_, repository, _) in &made {
        repository.write("f", "x").commit("first");
        repository.open();
    }
    made
}

fn problem(key: &str, passphrase: Option<&str>) -> String {
    match signer(key, passphrase) {
        Err(error @ GitError::SigningKey { .. }) => error.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the key is good"),
    }
}

fn ssh_key(work: &WorkDir, name: &str, options: &[&str], passphrase: &str) -> String {
    let path = work.path(name);
    tool(
        Command::new("ssh-keygen")
            .args(["-q", "-C", "robot", "-N", passphrase, "-f"])
            .arg(&path)
            .args(options),
    );
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn keys_of_ssh() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let repositories = repositories(&server);
    let kinds: [(&str, &[&str], &str); 6] = [
        ("ed25519", &["-t", "ed25519"], ""),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"], ""),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"], ""),
        ("rsa", &["-t", "rsa", "-b", "2048"], ""),
        ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"], ""),
        ("encrypted", &["-t", "ed25519"], "a secret"),
    ];
    for (kind, options, passphrase) in kinds {
        let key = ssh_key(&work, kind, options, passphrase);
        let public = std::fs::read_to_string(work.path(format!("{kind}.pub"))).unwrap();
        work.write("allowed", format!("robot@example.com {public}"));
        let allowed =
            format!("gpg.ssh.allowedSignersFile={}", work.path("allowed").to_str().unwrap());
        let given = Some(passphrase).filter(|text| !text.is_empty());
        let signer = signer(&key, given).unwrap();
        for (name, repository, header) in &repositories {
            let commit = sign(&server, name, &*signer, kind);
            repository.fsck();
            repository.served(["-c", &allowed, "verify-commit", &commit]);
            let shown = repository.served(["cat-file", "commit", &commit]);
            assert!(shown.contains(&format!("\n{header} -----BEGIN SSH SIGNATURE-----\n ")));
            let format = repository.served(["-c", &allowed, "show", "-s", "--format=%G? %GS"]);
            assert_eq!(format, "G robot@example.com", "{kind}");
        }
    }
    let encrypted = std::fs::read_to_string(work.path("encrypted")).unwrap();
    assert!(problem(&encrypted, None).contains("no passphrase was given"));
    assert!(problem(&encrypted, Some("no")).contains("passphrase is wrong"));
    let public = std::fs::read_to_string(work.path("rsa.pub")).unwrap();
    assert!(problem(&public, None).contains("no private key"));
    let damaged = std::fs::read_to_string(work.path("rsa")).unwrap().replace("AAAA", "AAAB");
    assert!(problem(&damaged, None).contains("cannot be read"));
}

/// A home of gpg's, whose agent ends with it.
struct Gpg {
    work: WorkDir,
}

impl Gpg {
    fn new() -> Self {
        let work = WorkDir::new();
        let home = work.path("gpg");
        std::fs::create_dir(&home).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, mode).unwrap();
        let script = format!("#!/bin/sh\nGNUPGHOME='{}' exec gpg \"$@\"\n", home.display());
        work.write("program", script);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(work.path("program"), mode).unwrap();
        Self { work }
    }

    fn program(&self) -> String {
        self.work.path("program").to_str().unwrap().to_owned()
    }

    fn run(&self, passphrase: &str, args: &[&str]) -> String {
        let batch = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase"];
        tool(Command::new(self.program()).args(batch).arg(passphrase).args(args))
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let home = self.work.path("gpg");
        let _ = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).output();
    }
}

fn verify(gpg: &Gpg, repository: &GitRepository<'_>, commit: &str, header: &str) {
    let program = format!("gpg.program={}", gpg.program());
    repository.fsck();
    repository.served(["-c", &program, "verify-commit", commit]);
    let shown = repository.served(["cat-file", "commit", commit]);
    assert!(shown.contains(&format!("\n{header} -----BEGIN PGP SIGNATURE-----\n ")), "{shown}");
    let format = repository.served(["-c", &program, "show", "-s", "--format=%G? %GS", commit]);
    // The key is good, and gpg's own trust in it is `ultimate`, since it was made here.
    assert_eq!(format, "G Robot <robot@example.com>");
}

#[test]
fn keys_of_openpgp() {
    let server = GitServer::start();
    let repositories = repositories(&server);
    for (kind, algorithm, passphrase, export) in [
        ("ed25519", "ed25519", "", "--export-secret-keys"),
        ("rsa", "rsa2048", "", "--export-secret-keys"),
        ("encrypted", "ed25519", "a secret", "--export-secret-keys"),
        // The primary key stays at home.
        ("subkey", "ed25519", "", "--export-secret-subkeys"),
    ] {
        let gpg = Gpg::new();
        let generate = ["--quick-generate-key", "Robot <robot@example.com>", algorithm];
        gpg.run(passphrase, &[&generate[..], &["cert,sign", "never"]].concat());
        if kind == "subkey" {
            let list = gpg.run("", &["--with-colons", "--list-keys"]);
            let line = list.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
            let fingerprint = line.trim_matches(':').to_owned();
            gpg.run("", &["--quick-add-key", &fingerprint, "ed25519", "sign", "never"]);
        }
        let key = gpg.run(passphrase, &["--armor", export]);
        let given = Some(passphrase).filter(|text| !text.is_empty());
        let with = signer(&key, given).unwrap();
        for (name, repository, header) in &repositories {
            let commit = sign(&server, name, &*with, kind);
            verify(&gpg, repository, &commit, header);
        }
        if kind == "encrypted" {
            assert!(problem(&key, None).contains("no passphrase was given"));
            assert!(problem(&key, Some("no")).contains("passphrase is wrong"));
        }
        if kind == "ed25519" {
            let public = gpg.run("", &["--armor", "--export"]);
            assert!(problem(&public, None).contains("public key"));
            let cut: String = key.lines().take(5).flat_map(|line| [line, "\n"]).collect();
            assert!(problem(&cut, None).contains("cannot be read"));
        }
    }
}
