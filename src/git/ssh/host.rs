//! Whether a host is the one that it says it is.
//!
//! In this order: a revoked key is refused; a key whose fingerprint was given is taken; a
//! certificate is taken from an authority that `known_hosts` names for the host; a key is taken
//! that `known_hosts` has for the host. A host that is not known is refused, unless its key may be
//! taken on first use: then it is told of, and must stay the same for the rest of the run.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, client};
use sha2::{Digest as _, Sha256};

use super::address::name_of;
use super::error::HostKeyError;
use super::known_hosts::{self, KnownHosts, Verdict};
use crate::report::{Event, Sink};

/// Whom to take for a host.
#[derive(Debug)]
pub(super) struct Trust {
    /// By which name the host is known.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) known: KnownHosts,
    /// Where `known` comes from.
    pub(super) files: Vec<PathBuf>,
    /// Fingerprints that were given.
    pub(super) pins: Vec<String>,
    /// Keys that were taken on first use; `None` if that is not allowed.
    pub(super) first_use: Option<FirstUse>,
}

/// Keys that were taken as they came, for the rest of the run.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstUse(Arc<Mutex<Vec<Seen>>>);

/// A host and its key.
type Seen = (String, Vec<u8>);

impl Trust {
    fn name(&self) -> String {
        name_of(&self.host, self.port)
    }

    /// Looks at what a host shows. `Ok` holds what is to be told.
    fn check(
        &self,
        shown: &PublicKeyOrCertificate,
        now: SystemTime,
    ) -> Result<Option<String>, HostKeyError> {
        let bytes = shown.public_key().to_bytes().unwrap_or_default();
        let offered = describe(&bytes);
        let revoked = |line: &known_hosts::Line| HostKeyError::Revoked {
            host: self.name(),
            offered: offered.clone(),
            file: line.file.to_path_buf(),
            line: line.number,
        };
        if let Some(line) = self.known.revoked(&bytes) {
            return Err(revoked(line));
        }
        if self.pins.contains(&fingerprint(&bytes)) {
            return Ok(None);
        }
        if let Some(certificate) = shown.certificate() {
            let authority = bytes_of(certificate.signature_key());
            if let Some(line) = self.known.revoked(&authority) {
                return Err(revoked(line));
            }
            if self.known.is_authority(&self.host, self.port, &authority) {
                let problem = certificate_problem(certificate, &self.host, now);
                return match problem {
                    None => Ok(None),
                    Some(problem) => {
                        Err(HostKeyError::Certificate { host: self.name(), offered, problem })
                    }
                };
            }
        }
        match self.known.check(&self.host, self.port, &bytes) {
            Verdict::Known => Ok(None),
            Verdict::Revoked(line) => Err(revoked(line)),
            Verdict::Other(lines) => {
                // The line for a key of the same kind is the one to replace, if there is one.
                let kind = known_hosts::algorithm(&bytes);
                let same = lines.iter().find(|line| known_hosts::algorithm(&line.key) == kind);
                let line = same.unwrap_or(&lines[0]);
                Err(HostKeyError::Changed {
                    host: self.name(),
                    offered,
                    file: line.file.to_path_buf(),
                    line: line.number,
                    known: describe(&line.key),
                })
            }
            Verdict::Unknown if !self.pins.is_empty() => Err(HostKeyError::Pinned {
                host: self.name(),
                offered,
                expected: self.pins.clone(),
            }),
            Verdict::Unknown => self.first(&bytes, offered),
        }
    }

    fn first(&self, bytes: &[u8], offered: String) -> Result<Option<String>, HostKeyError> {
        let host = self.name();
        let Some(FirstUse(seen)) = &self.first_use else {
            return Err(HostKeyError::Unknown { host, offered, files: self.files.clone() });
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.iter().find(|(name, _)| *name == host) {
            Some((_, known)) if known == bytes => Ok(None),
            Some((_, known)) => Err(HostKeyError::Changed {
                host,
                offered,
                file: PathBuf::from("the first connection"),
                line: 1,
                known: describe(known),
            }),
            None => {
                let message = format!(
                    "ssh: the key of {host} is not known and taken as it is: {offered}. Give \
                     this fingerprint the next time"
                );
                seen.push((host, bytes.to_vec()));
                Ok(Some(message))
            }
        }
    }

    /// The algorithms to ask for: first those of which a key is known, without those whose keys
    /// were seen and refused. A server shows the first that it has.
    pub(super) fn preferred(&self, refused: &[String]) -> Preferred {
        let known = self.known.algorithms(&self.host, self.port);
        let kind = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
            other => other.as_str().to_owned(),
        };
        // With SHA-1 there is no telling whose key it is.
        let all = Preferred::DEFAULT.key.iter().filter(|a| **a != Algorithm::Rsa { hash: None });
        let all = all.filter(|algorithm| !refused.contains(&kind(algorithm)));
        let (mut keys, others): (Vec<_>, Vec<_>) =
            all.cloned().partition(|algorithm| known.contains(&kind(algorithm)));
        keys.extend(others);
        let certificates =
            if self.known.has_authority(&self.host, self.port) { keys.clone() } else { Vec::new() };
        Preferred {
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Owned(certificates),
            ..Preferred::DEFAULT
        }
    }
}

/// What is wrong with a certificate that an authority of the host has made.
fn certificate_problem(certificate: &Certificate, host: &str, now: SystemTime) -> Option<String> {
    if certificate.cert_type() != CertType::Host {
        return Some("it is one of a user".to_owned());
    }
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Some("it is signed with SHA-1".to_owned());
    }
    let principals = certificate.valid_principals();
    let names = principals.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    if !names.is_empty() && !super::pattern::matches(names.iter().map(String::as_str), host) {
        return Some(format!("it is for {}", principals.join(", ")));
    }
    if certificate.critical_options().iter().next().is_some() {
        return Some("it holds options that are not known".to_owned());
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    if now < certificate.valid_after() {
        return Some("it is not valid yet".to_owned());
    }
    if now >= certificate.valid_before() {
        return Some("it is no longer valid".to_owned());
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    let signed = certificate.validate_at(now, [&authority]);
    signed.err().map(|_| "its signature is wrong".to_owned())
}

fn bytes_of(key: &KeyData) -> Vec<u8> {
    PublicKey::new(key.clone(), "").to_bytes().unwrap_or_default()
}

/// `SHA256:…`, as OpenSSH shows it.
fn fingerprint(key: &[u8]) -> String {
    use base64::Engine as _;
    let sum = Sha256::digest(key);
    format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(sum))
}

/// The algorithm and fingerprint of a key.
fn describe(key: &[u8]) -> String {
    let kind = known_hosts::algorithm(key).unwrap_or_else(|| "a key".to_owned());
    format!("{kind} {}", fingerprint(key))
}

/// Reads a fingerprint that was given; `None` if it is none.
pub(super) fn pin(text: &str) -> Option<String> {
    use base64::Engine as _;
    let sum = text.trim().strip_prefix("SHA256:")?.trim_end_matches('=');
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(sum).ok()?;
    (bytes.len() == 32).then(|| format!("SHA256:{sum}"))
}

/// Asks about the key of a host, for the library that speaks to it.
#[derive(Clone)]
pub(super) struct Checker {
    trust: Arc<Trust>,
    sink: Arc<dyn Sink>,
    /// Why the key was refused, and its algorithm.
    refused: Arc<Mutex<Option<(HostKeyError, String)>>>,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl Checker {
    pub(super) fn new(trust: Arc<Trust>, sink: Arc<dyn Sink>) -> Self {
        Self { trust, sink, refused: Arc::default() }
    }

    /// Why the key was refused, if it was, and its algorithm.
    pub(super) fn refused(&self) -> Option<(HostKeyError, String)> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl client::Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        match self.trust.check(shown, SystemTime::now()) {
            Ok(told) => {
                if let Some(message) = told {
                    self.sink.event(Event::Warning { message });
                }
                Ok(true)
            }
            Err(error) => {
                let bytes = shown.public_key().to_bytes().unwrap_or_default();
                let kind = known_hosts::algorithm(&bytes).unwrap_or_default();
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((error, kind));
                Ok(false)
            }
        }
    }
}

/// Reads files of host keys.
pub(super) fn known(files: &[PathBuf]) -> Result<KnownHosts, super::SshError> {
    let mut known = KnownHosts::default();
    for file in files {
        let text = super::keys::read(Path::new(file))?;
        known.add(file, &String::from_utf8_lossy(&text));
    }
    Ok(known)
}
