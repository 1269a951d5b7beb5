//! Signatures of commits, by a key that was given as text: an ssh key (SSHSIG, for the purpose
//! `git`) or a secret key of OpenPGP.
//!
//! A key that cannot be used is refused when it is given, not when a commit is made. An OpenPGP
//! signature carries the time of the commit, so that the same commit has the same id again.

use std::fmt;

use pgp::composed::{ArmorOptions, Deserializable, DetachedSignature, SignedSecretKey};
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyVersion, Password, SigningKey, Timestamp};
use russh::keys::ssh_key::{self, HashAlg, LineEnding, PrivateKey};

use super::error::GitError;

/// Signs commits.
pub trait Signer: Send + Sync {
    /// The signature of a commit's text, which was made at this time: lines of text.
    fn sign(&self, text: &[u8], seconds: i64) -> Result<String, GitError>;
}

/// A signer with a key, of whichever kind its text says: a private key of ssh in any form, or an
/// armored secret key of OpenPGP.
pub fn signer(key: &str, passphrase: Option<&str>) -> Result<Box<dyn Signer>, GitError> {
    let head = key.lines().find(|line| line.starts_with("-----BEGIN ")).unwrap_or_default();
    match head {
        "" => Err(refused("it holds no private key")),
        head if head.contains("PGP PRIVATE KEY") => Ok(Box::new(OpenPgp::new(key, passphrase)?)),
        head if head.contains("PGP") => Err(refused("it is a public key; give the private one")),
        _ => Ok(Box::new(Ssh::new(key, passphrase)?)),
    }
}

fn refused(problem: impl Into<String>) -> GitError {
    GitError::SigningKey { problem: problem.into() }
}

fn passphrase_problem(given: Option<&str>) -> GitError {
    refused(match given {
        Some(_) => "its passphrase is wrong",
        None => "it is encrypted, and no passphrase was given",
    })
}

/// A key of ssh.
struct Ssh(PrivateKey);

impl Ssh {
    fn new(text: &str, passphrase: Option<&str>) -> Result<Self, GitError> {
        let encrypted = text.contains("ENCRYPTED");
        let key = match russh::keys::decode_secret_key(text.trim(), passphrase) {
            Ok(key) => key,
            Err(russh::keys::Error::KeyIsEncrypted) => return Err(passphrase_problem(passphrase)),
            Err(russh::keys::Error::SshKey(ssh_key::Error::Crypto)) if passphrase.is_some() => {
                return Err(passphrase_problem(passphrase));
            }
            Err(_) if encrypted => return Err(passphrase_problem(passphrase)),
            Err(error) => return Err(refused(format!("it cannot be read: {error}"))),
        };
        if key.is_encrypted() {
            return Err(passphrase_problem(passphrase));
        }
        let signer = Self(key);
        signer.sign(b"", 0)?;
        Ok(signer)
    }
}

impl Signer for Ssh {
    fn sign(&self, text: &[u8], _: i64) -> Result<String, GitError> {
        let failed = |error: ssh_key::Error| refused(format!("it cannot sign: {error}"));
        let signature = self.0.sign("git", HashAlg::Sha512, text).map_err(failed)?;
        signature.to_pem(LineEnding::LF).map_err(failed)
    }
}

/// A key of OpenPGP, and which part of it signs.
struct OpenPgp {
    key: SignedSecretKey,
    /// The subkey; else it is the primary key.
    subkey: Option<usize>,
    password: Password,
}

/// Without the password.
impl fmt::Debug for OpenPgp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenPgp").field("subkey", &self.subkey).finish_non_exhaustive()
    }
}

impl OpenPgp {
    fn new(text: &str, passphrase: Option<&str>) -> Result<Self, GitError> {
        let (key, _) = SignedSecretKey::from_string(text)
            .map_err(|error| refused(format!("it cannot be read: {error}")))?;
        key.verify_bindings().map_err(|error| refused(format!("it is damaged: {error}")))?;
        if !key.details.revocation_signatures.is_empty() {
            return Err(refused("it is revoked"));
        }
        // The newest subkey for signing, as gpg has it.
        let subkeys = key.secret_subkeys.iter().enumerate();
        let mut signing: Vec<(Timestamp, usize)> = subkeys
            .filter(|(_, subkey)| may_sign(&subkey.signatures, SignatureType::SubkeyRevocation))
            .filter_map(|(n, subkey)| {
                let created = subkey.signatures.iter().filter_map(Signature::created);
                Some((created.max_by_key(|time| time.as_secs())?, n))
            })
            .collect();
        signing.sort_by_key(|(time, _)| time.as_secs());
        let subkey = signing.pop().map(|(_, n)| n);
        let users = key.details.users.iter().flat_map(|user| &user.signatures);
        let own: Vec<Signature> = users.chain(&key.details.direct_signatures).cloned().collect();
        if subkey.is_none() && !may_sign(&own, SignatureType::CertRevocation) {
            return Err(refused("no part of it may sign"));
        }
        let password = Password::from(passphrase.unwrap_or_default());
        let signer = Self { key, subkey, password };
        if signer.sign(b"", 0).is_err() {
            let encrypted = match subkey {
                Some(n) => signer.key.secret_subkeys[n].secret_params().is_encrypted(),
                None => signer.key.primary_key.secret_params().is_encrypted(),
            };
            if encrypted {
                return Err(passphrase_problem(passphrase));
            }
        }
        signer.sign(b"", 0)?;
        Ok(signer)
    }

    fn sign_with<K: SigningKey>(
        &self,
        key: &K,
        text: &[u8],
        seconds: i64,
    ) -> Result<String, pgp::errors::Error> {
        if key.version() != KeyVersion::V4 {
            return Err(pgp::errors::Error::from("only keys of version 4 sign commits".to_owned()));
        }
        // A signature from before its key is no good.
        let seconds = u32::try_from(seconds).unwrap_or(0).max(key.created_at().as_secs());
        let time = SubpacketData::SignatureCreationTime(Timestamp::from_secs(seconds));
        let mut config =
            SignatureConfig::v4(SignatureType::Binary, key.algorithm(), key.hash_alg());
        config.hashed_subpackets = vec![
            Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
            Subpacket::regular(time)?,
        ];
        config.unhashed_subpackets =
            vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
        let signature = config.sign(key, &self.password, text)?;
        DetachedSignature::new(signature).to_armored_string(ArmorOptions::default())
    }
}

impl Signer for OpenPgp {
    fn sign(&self, text: &[u8], seconds: i64) -> Result<String, GitError> {
        let signed = match self.subkey {
            Some(n) => self.sign_with(&self.key.secret_subkeys[n].key, text, seconds),
            None => self.sign_with(&self.key.primary_key, text, seconds),
        };
        signed.map_err(|error| refused(format!("it cannot sign: {error}")))
    }
}

/// Whether the newest of a key's own signatures lets it sign, and none takes it back.
fn may_sign(signatures: &[Signature], revocation: SignatureType) -> bool {
    let revoked = signatures.iter().any(|signature| signature.typ() == Some(revocation));
    let newest = signatures.iter().max_by_key(|s| s.created().map(Timestamp::as_secs));
    !revoked && newest.is_some_and(|signature| signature.key_flags().sign())
}
