//! Who a step is for git servers, and which hosts it knows: flags, environment, mounted secrets.
//!
//! Secrets come from files and the environment, never from a flag's value. Without any flag it looks
//! where git and ssh look (`~/.ssh`, `~/.git-credentials`, `~/.gitconfig`, `~/.netrc`), and where
//! Tekton puts the secrets of a service account, as far as that can be read.

use std::fs;
use std::path::{Path, PathBuf};

use super::Step;
use crate::cli::environment::{self, GitEnvironment};
use crate::cli::exit::CliError;
use crate::git::{Credential, CredentialStore, Git, GitOptions, Settings, SshOptions};
use crate::net::{self, Http, Proxies, Url};
use crate::report::Event;

/// Where Tekton puts what it makes of the secrets of a service account.
const TEKTON: &str = "/tekton/creds";
/// Keys of hosts that hold for all users.
const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
/// The name that hosting services take with a token.
const TOKEN_USER: &str = "x-access-token";

/// Flags of the steps that speak to git servers.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Of git servers")]
pub(in crate::cli) struct GitFlags {
    /// A private key for ssh; its certificate may stand beside it as FILE-cert.pub
    #[arg(long, value_name = "FILE", value_parser = any)]
    ssh_key: Vec<PathBuf>,
    /// A directory like ~/.ssh, or a Secret with ssh-privatekey: keys, `known_hosts` and config
    /// [default: ~/.ssh]
    #[arg(long, value_name = "DIR", value_parser = any)]
    ssh_dir: Vec<PathBuf>,
    /// A file with the passphrase of the keys [env: `YADO_SSH_PASSPHRASE` holds it itself]
    #[arg(long, value_name = "FILE", value_parser = any)]
    ssh_passphrase_file: Option<PathBuf>,
    /// A file of host keys, besides those of --ssh-dir
    #[arg(long, value_name = "FILE", value_parser = any)]
    known_hosts: Vec<PathBuf>,
    /// The fingerprint of a host's key, as `ssh-keygen -lf` prints it: SHA256:…
    #[arg(long, value_name = "FINGERPRINT")]
    host_key_fingerprint: Vec<String>,
    /// Take the key of a host that is not known as it is, and print it
    #[arg(long)]
    ssh_trust_on_first_use: bool,
    /// A Secret with username and password, or with .git-credentials and .gitconfig; with URL= in
    /// front for that server only
    #[arg(long, value_name = "[URL=]DIR")]
    basic_auth_dir: Vec<String>,
    /// A file of git-credential-store (or .netrc): `https://user:password@host`
    #[arg(long, value_name = "FILE", value_parser = any)]
    credentials: Vec<PathBuf>,
    /// A file with a token for the server of the URL [env: `GIT_TOKEN` holds it itself]
    #[arg(long, value_name = "FILE", value_parser = any)]
    token_file: Option<PathBuf>,
    /// The name to log in with [env: `GIT_USERNAME`]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// A file with the password [env: `GIT_PASSWORD` holds it itself]
    #[arg(long, value_name = "FILE", value_parser = any, conflicts_with = "token_file")]
    password_file: Option<PathBuf>,
    /// The proxy for http and https
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Take any certificate of the server, unseen
    #[arg(long)]
    insecure_skip_tls_verify: bool,
}

/// What was gathered, with what is to be told of it.
struct Gathered {
    options: GitOptions,
    told: Vec<String>,
}

impl GitFlags {
    /// A client for what the flags and the environment say. The URL is only looked at for its
    /// server: credentials without a URL of their own go there and nowhere else.
    pub(in crate::cli) fn git(&self, step: &Step) -> Result<Git, CliError> {
        let options = self.options(step)?;
        Ok(Git::new(self.http(step)?, options, step.sink.clone()))
    }

    /// Whether flags say whom to be at the server of the URL, not the environment alone.
    pub(in crate::cli) fn says_who(&self) -> bool {
        self.token_file.is_some()
            || self.username.is_some()
            || self.password_file.is_some()
            || !self.basic_auth_dir.is_empty()
    }

    /// How git servers are spoken to.
    pub(in crate::cli) fn options(&self, step: &Step) -> Result<GitOptions, CliError> {
        let Gathered { options, told } = self.gather(&environment::git())?;
        for message in told {
            step.sink.event(Event::Note { message });
        }
        Ok(options)
    }

    /// How connections to git servers are made.
    pub(in crate::cli) fn http(&self, step: &Step) -> Result<Http, CliError> {
        let environment = environment::git();
        let mut net: net::Options = step.net.clone();
        net.certificates.extend(environment.certificates.filter(|file| file.is_file()));
        if self.insecure_skip_tls_verify || environment.unverified {
            net.unverified = true;
            let message = "certificates of git servers are not verified".to_owned();
            step.sink.event(Event::Warning { message });
        }
        if let Some(proxy) = self.proxy.as_ref().filter(|proxy| !proxy.is_empty()) {
            let url: Result<Url, _> = proxy.parse();
            if !url.is_ok_and(|url| url.has_host()) {
                return Err(CliError::Usage("--proxy: this is no URL of a proxy".to_owned()));
            }
            let proxy = Some(proxy.clone());
            net.proxies = Proxies { http: proxy.clone(), https: proxy, ..net.proxies };
        }
        Ok(Http::new(net))
    }

    /// The token alone, for the API of who hosts the repository.
    pub(in crate::cli) fn token(&self) -> Result<Option<String>, CliError> {
        match &self.token_file {
            Some(file) => secret(file, "--token-file").map(Some),
            None => Ok(environment::git().token),
        }
    }

    fn gather(&self, environment: &GitEnvironment) -> Result<Gathered, CliError> {
        let mut gathered = Gathered {
            options: GitOptions { ssh: self.ssh(environment)?, ..GitOptions::default() },
            told: Vec::new(),
        };
        gathered.options.authorization = self.authorization(environment)?;
        for file in given(&self.credentials) {
            let text = read(&file, "--credentials")?;
            gathered.store(&file, &text)?;
        }
        for entry in self.basic_auth_dir.iter().filter(|entry| !entry.is_empty()) {
            gathered.basic_auth(entry)?;
        }
        for home in homes(environment) {
            gathered.home(&home)?;
        }
        Ok(gathered)
    }

    fn ssh(&self, environment: &GitEnvironment) -> Result<SshOptions, CliError> {
        let mut dirs = given(&self.ssh_dir);
        for dir in &dirs {
            if !dir.is_dir() {
                let dir = dir.display();
                return Err(CliError::Missing(format!("--ssh-dir {dir}: there is no directory")));
            }
        }
        if dirs.is_empty() {
            // One that belongs to somebody else is not this user's.
            let usual = homes(environment).into_iter().map(|home| home.join(".ssh"));
            dirs.extend(usual.filter(|dir| fs::read_dir(dir).is_ok()));
        }
        let mut known_hosts = given(&self.known_hosts);
        known_hosts.extend(Some(PathBuf::from(SYSTEM_KNOWN_HOSTS)).filter(|f| f.is_file()));
        let passphrase = match given(&self.ssh_passphrase_file).first() {
            Some(file) => Some(secret(file, "--ssh-passphrase-file")?),
            None => environment.passphrase.clone(),
        };
        Ok(SshOptions {
            identities: given(&self.ssh_key),
            passphrase,
            agent: environment.agent.clone(),
            dirs,
            home: environment.home.clone(),
            known_hosts,
            fingerprints: self
                .host_key_fingerprint
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect(),
            trust_on_first_use: self.ssh_trust_on_first_use,
        })
    }

    /// What the server of the URL is shown.
    fn authorization(&self, environment: &GitEnvironment) -> Result<Option<String>, CliError> {
        let named = self.username.clone().filter(|name| !name.is_empty());
        let user = named.clone().or_else(|| environment.user.clone());
        let (token_file, password_file) = (given(&self.token_file), given(&self.password_file));
        let of_files = match (token_file.first(), password_file.first()) {
            (Some(file), _) => Some((secret(file, "--token-file")?, true)),
            (None, Some(file)) => Some((secret(file, "--password-file")?, false)),
            (None, None) => None,
        };
        let of_environment = || {
            let token = environment.token.clone().map(|token| (token, true));
            token.or_else(|| environment.password.clone().map(|password| (password, false)))
        };
        let Some((password, is_token)) = of_files.or_else(of_environment) else {
            return match named {
                Some(_) => Err(CliError::Usage(
                    "--username needs a --password-file or --token-file".to_owned(),
                )),
                None => Ok(None),
            };
        };
        let user = match user {
            Some(user) => user,
            None if is_token => TOKEN_USER.to_owned(),
            None => {
                return Err(CliError::Usage(
                    "a password needs a name: --username, or GIT_USERNAME".to_owned(),
                ));
            }
        };
        Ok(Some(Credential::Basic { user, password }.authorization()))
    }
}

impl Gathered {
    /// Adds a file of credentials, of either kind.
    fn store(&mut self, file: &Path, text: &str) -> Result<(), CliError> {
        let store = &mut self.options.credentials;
        let is_netrc = text.split_whitespace().next().is_some_and(|word| word == "machine");
        let added = if is_netrc { store.add_netrc(text) } else { store.add_git_credentials(text) };
        added.map_err(|error| malformed(file, &error))
    }

    /// Adds a mounted secret: that of Kubernetes with a name and a password, or the workspace of
    /// Tekton's catalog with git's own files.
    fn basic_auth(&mut self, entry: &str) -> Result<(), CliError> {
        let (url, dir) = match entry.split_once('=') {
            Some((url, dir)) if url.contains("://") => (Some(url), Path::new(dir)),
            _ => (None, Path::new(entry)),
        };
        let flag = format!("--basic-auth-dir {}", dir.display());
        let (user, password) = (dir.join("username"), dir.join("password"));
        if !user.is_file() || !password.is_file() {
            if !dir.join(".git-credentials").is_file() && !dir.join(".gitconfig").is_file() {
                return Err(CliError::Missing(format!(
                    "{flag}: it holds neither username and password nor .git-credentials"
                )));
            }
            return self.home(dir);
        }
        let credential =
            Credential::Basic { user: secret(&user, &flag)?, password: secret(&password, &flag)? };
        if let Some(url) = url {
            let url: Url = url
                .parse()
                .map_err(|_| CliError::Usage(format!("{flag}: what stands before it is no URL")))?;
            self.options.credentials.add(&url, credential);
        } else {
            let header = &mut self.options.authorization;
            *header = header.take().or(Some(credential.authorization()));
        }
        Ok(())
    }

    /// Adds what git's own files say, as far as they are there and can be read.
    fn home(&mut self, dir: &Path) -> Result<(), CliError> {
        let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
        if let Some(text) = text(".gitconfig") {
            let file = dir.join(".gitconfig");
            let settings = Settings::parse(&text).map_err(|error| malformed(&file, &error))?;
            self.settings(dir, settings)?;
        }
        for name in [".git-credentials", ".netrc"] {
            if let Some(text) = text(name) {
                let mut store = CredentialStore::default();
                let added = match name {
                    ".netrc" => store.add_netrc(&text),
                    _ => store.add_git_credentials(&text),
                };
                added.map_err(|error| malformed(&dir.join(name), &error))?;
                self.options.credentials.append(store);
            }
        }
        Ok(())
    }

    fn settings(&mut self, dir: &Path, settings: Settings) -> Result<(), CliError> {
        let Settings { credentials, rewrites, stores, ignored } = settings;
        self.options.credentials.append(credentials);
        self.options.rewrites.extend(rewrites);
        let file = dir.join(".gitconfig");
        let file = file.display();
        self.told.extend(ignored.iter().map(|what| format!("{file}: {what} has no effect here")));
        for path in stores.into_iter().flatten() {
            let path = match path.strip_prefix("~/") {
                Some(rest) => dir.join(rest),
                None => dir.join(path),
            };
            // The usual one is read anyway.
            if let Ok(text) = fs::read_to_string(&path) {
                self.store(&path, &text)?;
            }
        }
        Ok(())
    }
}

/// A path, perhaps empty, which clap's own parser of paths does not take.
#[expect(clippy::unnecessary_wraps, reason = "a parser of clap can fail")]
fn any(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}

/// Those that are not empty: a parameter or workspace of a pipeline that is not set is.
fn given<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    paths.into_iter().filter(|path| !path.as_os_str().is_empty()).cloned().collect()
}

/// The directories that may be this user's home.
fn homes(environment: &GitEnvironment) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = environment.home.iter().cloned().collect();
    homes.push(TEKTON.into());
    homes
}

fn malformed(file: &Path, error: &crate::git::CredentialError) -> CliError {
    CliError::Usage(format!("{}: {error}", file.display()))
}

fn read(file: &Path, flag: &str) -> Result<String, CliError> {
    let failed = |error| CliError::Missing(format!("{flag}: {}: {error}", file.display()));
    fs::read_to_string(file).map_err(failed)
}

/// The content of a file, without the line end that editors and shells put there.
fn secret(file: &Path, flag: &str) -> Result<String, CliError> {
    let text = read(file, flag)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(CliError::Usage(format!("{flag}: {} is empty", file.display())));
    }
    Ok(text.to_owned())
}
