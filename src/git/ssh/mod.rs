//! Repositories over ssh, without an ssh program: connect, check the host, log in, run git there.
//!
//! ```text
//! Address ─ configuration ─► Target ─ connect ─► handshake ─ Trust ─► LogIn ─► Session ─► Channel
//!                                                (host key)  (keys, agent)     git-upload-pack '…'
//! ```
//!
//! Names are resolved as those of URLs are, and nothing is asked of the system about the user: it
//! works for any uid, without a home. One connection serves all commands to a host and user. What
//! it does not do: passwords, jump hosts, proxies, forwarding.

mod address;
mod auth;
mod channel;
mod config;
mod error;
mod host;
mod keys;
mod known_hosts;
mod pattern;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client;
use tokio::time::timeout;

use crate::net::{Http, NetError};
use crate::report::{Event, Sink};
use auth::LogIn;
use channel::Session;
use config::Strict;
use host::{Checker, FirstUse, Trust};
use keys::Identity;

pub(in crate::git) use address::Address;
pub(in crate::git) use channel::Channel;
pub use error::{HostKeyError, SshError};

/// The port of ssh.
const PORT: u16 = 22;
/// As whom to log in where nothing says so: git servers have one user for all.
const USER: &str = "git";

/// Who is known over ssh, and who this client is there. Files are read when a host is connected to.
#[derive(Clone, Default)]
pub struct SshOptions {
    /// Files of private keys, or of public ones whose private half an agent has; shown in this
    /// order. `FILE-cert.pub` beside one is its certificate.
    pub identities: Vec<PathBuf>,
    /// Opens keys that are encrypted.
    pub passphrase: Option<String>,
    /// The socket of an agent, whose keys are shown after those of files.
    pub agent: Option<PathBuf>,
    /// Directories like `~/.ssh`: keys (`id_*`, `ssh-privatekey`), `known_hosts` and `config`, as
    /// far as they are there.
    pub dirs: Vec<PathBuf>,
    /// What `~` is in the configuration.
    pub home: Option<PathBuf>,
    /// Files of host keys.
    pub known_hosts: Vec<PathBuf>,
    /// Fingerprints (`SHA256:…`) of host keys that are trusted.
    pub fingerprints: Vec<String>,
    /// Whether the key of a host that is not known is taken as it is, with a warning.
    pub trust_on_first_use: bool,
}

/// Without the passphrase.
impl fmt::Debug for SshOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshOptions")
            .field("identities", &self.identities)
            .field("dirs", &self.dirs)
            .field("agent", &self.agent)
            .field("known_hosts", &self.known_hosts)
            .finish_non_exhaustive()
    }
}

/// Where to connect to, and with what, after the configuration was read.
#[derive(Clone, Debug)]
struct Target {
    host: String,
    port: u16,
    user: String,
    /// By which name the host's key is known.
    alias: String,
    /// Files of keys: those that must be usable, and those that are there.
    named: Vec<PathBuf>,
    found: Vec<PathBuf>,
    only: bool,
    strict: Option<Strict>,
    known_hosts: Vec<PathBuf>,
}

/// Connections over ssh.
pub(in crate::git) struct Ssh {
    options: SshOptions,
    sink: Arc<dyn Sink>,
    first_use: FirstUse,
    sessions: tokio::sync::Mutex<HashMap<(String, String, u16), Arc<Session>>>,
    /// What was told already.
    told: Mutex<HashSet<String>>,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssh").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Ssh {
    pub(in crate::git) fn new(options: SshOptions, sink: Arc<dyn Sink>) -> Self {
        Self {
            options,
            sink,
            first_use: FirstUse::default(),
            sessions: tokio::sync::Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Starts a service for a repository. `version` is what protocol is asked for.
    pub(in crate::git) async fn start(
        &self,
        http: &Http,
        address: &Address,
        service: &'static str,
        version: Option<&str>,
    ) -> Result<Channel, SshError> {
        let variable = version.map(|version| ("GIT_PROTOCOL", version));
        self.run(http, address, &address.command(service), variable, service).await
    }

    /// Runs a command to its end, and gives what it has printed; no more than `limit` bytes.
    /// `name` is what it is called.
    pub(in crate::git) async fn ask(
        &self,
        http: &Http,
        address: &Address,
        command: &str,
        name: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, SshError> {
        let mut channel = self.run(http, address, command, None, name).await?;
        let mut output = Vec::new();
        while let Some(bytes) = channel.chunk().await? {
            output.extend_from_slice(&bytes);
            if output.len() > limit {
                return Err(SshError::Protocol(russh::Error::Pending));
            }
        }
        match channel.why().await {
            SshError::Remote { status: Some(0), .. } => Ok(output),
            error => Err(error),
        }
    }

    /// Starts a command.
    async fn run(
        &self,
        http: &Http,
        address: &Address,
        command: &str,
        variable: Option<(&str, &str)>,
        service: &'static str,
    ) -> Result<Channel, SshError> {
        let target = self.target(address)?;
        let key = (target.user.clone(), target.host.clone(), target.port);
        let mut sessions = self.sessions.lock().await;
        if let Some(session) = sessions.get(&key).filter(|session| !session.handle.is_closed()) {
            match session.run(command, variable, service).await {
                // It may have been closed a moment ago, or allow one command only.
                Err(SshError::Protocol(_) | SshError::Net(_)) => {}
                done => return done,
            }
        }
        let session = Arc::new(self.connect(http, &target).await?);
        sessions.insert(key, Arc::clone(&session));
        session.run(command, variable, service).await
    }

    /// Tells something once.
    fn tell(&self, message: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(message.clone()) {
            self.sink.event(Event::Note { message });
        }
    }

    /// Reads the configuration for a host.
    fn target(&self, address: &Address) -> Result<Target, SshError> {
        let options = &self.options;
        let mut target = Target {
            host: address.host.clone(),
            port: address.port.unwrap_or(PORT),
            user: address.user.clone().unwrap_or_else(|| USER.to_owned()),
            alias: String::new(),
            named: options.identities.clone(),
            found: Vec::new(),
            only: false,
            strict: None,
            known_hosts: options.known_hosts.clone(),
        };
        for dir in &options.dirs {
            let file = dir.join("config");
            let said = if file.is_file() {
                let text = keys::read(&file)?;
                config::read(&file, &String::from_utf8_lossy(&text), &address.host)?
            } else {
                config::HostConfig::default()
            };
            for ignored in &said.ignored {
                self.tell(format!("ssh: {ignored} has no effect here"));
            }
            let locate =
                |path: &String| config::locate(path, dir, options.home.as_deref(), &address.host);
            let configured: Vec<PathBuf> =
                said.identities.iter().map(locate).filter(|path| path.is_file()).collect();
            let only = said.only.unwrap_or(false) && !configured.is_empty();
            target.only |= only;
            target.found.extend(configured);
            if !only {
                target.found.extend(keys::in_directory(dir)?);
            }
            let files = match &said.known_hosts {
                Some(files) => files.iter().map(locate).collect(),
                None => vec![dir.join("known_hosts")],
            };
            target.known_hosts.extend(files.into_iter().filter(|path| path.is_file()));
            if let Some(host) = said.host {
                target.host = host.to_lowercase();
            }
            if address.user.is_none()
                && let Some(user) = said.user
            {
                target.user = user;
            }
            if address.port.is_none()
                && let Some(port) = said.port
            {
                target.port = port;
            }
            if let Some(alias) = said.alias {
                target.alias = alias;
            }
            target.strict = target.strict.or(said.strict);
        }
        if target.alias.is_empty() {
            target.alias.clone_from(&target.host);
        }
        let mut seen = HashSet::new();
        target.found.retain(|path| !target.named.contains(path) && seen.insert(path.clone()));
        Ok(target)
    }

    /// The keys to show. One that was found and cannot be used is told of; it is an error if
    /// there is no other.
    fn identities(&self, target: &Target) -> Result<Vec<Identity>, SshError> {
        let passphrase = self.options.passphrase.as_deref();
        let mut identities = Vec::new();
        let mut failed = None;
        for path in &target.named {
            let (identity, note) = keys::load(path, passphrase)?;
            identities.push(identity);
            if let Some(note) = note {
                self.tell(note);
            }
        }
        for path in &target.found {
            match keys::load(path, passphrase) {
                Ok((identity, note)) => {
                    identities.push(identity);
                    if let Some(note) = note {
                        self.tell(note);
                    }
                }
                Err(error) => {
                    self.tell(format!("{error}; it is left out"));
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed {
            Some(error) if identities.is_empty() && self.options.agent.is_none() => Err(error),
            _ if identities.is_empty() && self.options.agent.is_none() => Err(SshError::NoKey),
            _ => Ok(identities),
        }
    }

    fn trust(&self, target: &Target) -> Result<Trust, SshError> {
        let known = host::known(&target.known_hosts)?;
        for problem in &known.problems {
            self.tell(format!("ssh: {problem}"));
        }
        let pin =
            |text: &String| host::pin(text).ok_or_else(|| SshError::Fingerprint(text.clone()));
        let pins = self.options.fingerprints.iter().map(pin).collect::<Result<_, _>>()?;
        let first_use = match target.strict {
            Some(Strict::AcceptNew) => true,
            Some(Strict::Yes) | None => self.options.trust_on_first_use,
        };
        Ok(Trust {
            host: target.alias.clone(),
            port: target.port,
            known,
            files: target.known_hosts.clone(),
            pins,
            first_use: first_use.then(|| self.first_use.clone()),
        })
    }

    /// Connects to a host, checks its key and logs in.
    async fn connect(&self, http: &Http, target: &Target) -> Result<Session, SshError> {
        let identities = self.identities(target)?;
        let trust = Arc::new(self.trust(target)?);
        let (mut handle, stall) = self.greet(http, target, &trust).await?;
        let log_in = LogIn {
            user: &target.user,
            identities: &identities,
            agent: self.options.agent.as_deref(),
            only: target.only,
            stall,
        };
        log_in.run(&mut handle).await?;
        Ok(Session { handle, stall })
    }

    /// Connects and checks the host's key. A host has several and shows one; where the right one
    /// is known by its fingerprint only, it is asked for the others too.
    async fn greet(
        &self,
        http: &Http,
        target: &Target,
        trust: &Arc<Trust>,
    ) -> Result<(client::Handle<Checker>, Duration), SshError> {
        let mut refused: Vec<String> = Vec::new();
        let mut first = None;
        loop {
            let connection = http.connect(&target.host, target.port).await?;
            let stall = connection.stall();
            let config = client::Config {
                client_id: russh::SshId::Standard(
                    concat!("SSH-2.0-yado_", env!("CARGO_PKG_VERSION")).into(),
                ),
                preferred: trust.preferred(&refused),
                window_size: 8 << 20,
                channel_buffer_size: 1024,
                nodelay: true,
                ..client::Config::default()
            };
            let checker = Checker::new(Arc::clone(trust), Arc::clone(&self.sink));
            let asked = checker.clone();
            let stream = connection.into_stream();
            let greeting = client::connect_stream(Arc::new(config), stream, checker);
            let Ok(greeted) = timeout(stall, greeting).await else {
                return Err(NetError::Stalled(stall).into());
            };
            let error = match (greeted, asked.refused()) {
                (Ok(handle), None) => return Ok((handle, stall)),
                (_, Some((error, kind))) => {
                    let is_pin = matches!(error, HostKeyError::Pinned { .. });
                    if !is_pin || refused.contains(&kind) {
                        return Err(first.unwrap_or(error).into());
                    }
                    refused.push(kind);
                    first = first.or(Some(error));
                    continue;
                }
                (Err(error), None) => error,
            };
            return Err(match (error, first) {
                // The host has no other kind of key.
                (russh::Error::NoCommonAlgo { .. }, Some(error)) => error.into(),
                (error, _) => SshError::Protocol(error),
            });
        }
    }
}
