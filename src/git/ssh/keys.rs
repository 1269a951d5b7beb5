//! Keys to log in with: files of all forms that are about, and their certificates.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, decode_secret_key};

use super::SshError;

/// A key that may be shown to a server.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// It is here, and may have a certificate.
    Private { name: String, key: Arc<PrivateKey>, certificate: Option<Box<Certificate>> },
    /// Only its public half is here: an agent has the rest.
    Public(Box<PublicKey>),
}

/// What is larger than this is no key.
const LIMIT: u64 = 1 << 20;

/// Reads a key and the certificate beside it. The note is of what a careful user wants to know.
pub(super) fn load(
    path: &Path,
    passphrase: Option<&str>,
) -> Result<(Identity, Option<String>), SshError> {
    let text = read(path)?;
    let fail = |problem: String| SshError::Key { path: path.to_owned(), problem };
    let text = String::from_utf8(text).map_err(|_| fail("it is no text".to_owned()))?;
    if let Ok(key) = PublicKey::from_openssh(text.trim()) {
        return Ok((Identity::Public(Box::new(key)), None));
    }
    let key = decode(&text, passphrase).map_err(fail)?;
    let certificate = certificate(path, &key)?;
    let name = format!("{} ({})", path.display(), fingerprint(key.public_key()));
    let note = open_to_others(path);
    Ok((Identity::Private { name, key: Arc::new(key), certificate }, note))
}

/// The fingerprint of a key, as OpenSSH shows it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SshError> {
    let fail = |source| SshError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(fail)?.len();
    if size > LIMIT {
        return Err(fail(io::Error::other("it is far too large")));
    }
    fs::read(path).map_err(fail)
}

fn decode(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    // Editors and secret stores take the last line end away, or make two bytes of each.
    let text = text.trim();
    let Some(head) = text.lines().find(|line| line.starts_with("-----BEGIN ")) else {
        return Err("it holds no private key".to_owned());
    };
    let encrypted = head.contains("ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED");
    let opener = if head.contains("OPENSSH") || encrypted { passphrase } else { None };
    let error = match decode_secret_key(text, opener) {
        Ok(key) if key.is_encrypted() => return Err(needs_passphrase(passphrase)),
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    Err(match error {
        russh::keys::Error::KeyIsEncrypted => needs_passphrase(passphrase),
        _ if encrypted && passphrase.is_none() => needs_passphrase(passphrase),
        russh::keys::Error::SshKey(russh::keys::ssh_key::Error::Crypto) if passphrase.is_some() => {
            needs_passphrase(passphrase)
        }
        _ if text.contains("DEK-Info:") && !text.contains("DEK-Info: AES-128-CBC,") => {
            "it is encrypted in an old way; `ssh-keygen -p -f FILE` writes it anew".to_owned()
        }
        _ if encrypted => format!("the passphrase is wrong, or the file is damaged ({error})"),
        error => format!("it cannot be read: {error}"),
    })
}

fn needs_passphrase(given: Option<&str>) -> String {
    match given {
        Some(_) => "the passphrase is wrong".to_owned(),
        None => "it is encrypted, and no passphrase was given".to_owned(),
    }
}

/// The certificate in `FILE-cert.pub`, if there is one.
fn certificate(path: &Path, key: &PrivateKey) -> Result<Option<Box<Certificate>>, SshError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-cert.pub");
    let path = PathBuf::from(name);
    if !path.exists() {
        return Ok(None);
    }
    let fail = |problem: String| SshError::Key { path: path.clone(), problem };
    let text = String::from_utf8(read(&path)?).map_err(|_| fail("it is no text".to_owned()))?;
    let certificate = Certificate::from_openssh(text.trim())
        .map_err(|error| fail(format!("this is no certificate: {error}")))?;
    if certificate.public_key() != key.public_key().key_data() {
        return Err(fail("the certificate is of another key".to_owned()));
    }
    Ok(Some(Box::new(certificate)))
}

/// Mounted secrets are like this, so it is no more than a note.
fn open_to_others(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    let mode = meta.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let owner = meta.uid();
        format!("the ssh key {} can be read by others (mode {mode:o}, uid {owner})", path.display())
    })
}

/// The keys of a directory like `~/.ssh`, or of a secret of Tekton's kind.
pub(super) fn in_directory(dir: &Path) -> Result<Vec<PathBuf>, SshError> {
    let fail = |source| SshError::Read { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_key = name == "ssh-privatekey" || name.starts_with("id_");
        let is_public = path.extension().is_some_and(|end| end == "pub");
        if is_key && !is_public && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
