//! Logging in: keys of files, then those of an agent, until the server takes one.

use std::path::Path;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::SshError;
use super::host::Checker;
use super::keys::{Identity, fingerprint};

/// With what to log in.
pub(super) struct LogIn<'a> {
    pub(super) user: &'a str,
    pub(super) identities: &'a [Identity],
    /// The socket of an agent.
    pub(super) agent: Option<&'a Path>,
    /// Whether the agent's other keys are left alone.
    pub(super) only: bool,
    /// How long an answer may take.
    pub(super) stall: Duration,
}

/// An attempt that the server has judged.
type Judged = Result<AuthResult, SshError>;

impl LogIn<'_> {
    /// Shows one key after the other.
    pub(super) async fn run(&self, handle: &mut Handle<Checker>) -> Result<(), SshError> {
        let mut tried = Vec::new();
        let mut hash = None;
        for identity in self.identities {
            let Identity::Private { name, key, certificate } = identity else { continue };
            let hash = self.hash(handle, &key.algorithm(), &mut hash).await?;
            if let Some(certificate) = certificate {
                let mut signer = Signer::Key(key);
                let attempt = handle.authenticate_certificate_with(
                    self.user,
                    certificate.as_ref().clone(),
                    hash,
                    &mut signer,
                );
                if self.judge(attempt).await?.success() {
                    return Ok(());
                }
                tried.push(format!("{name} with its certificate"));
            }
            let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
            let attempt = handle.authenticate_publickey(self.user, key);
            if self.judge(attempt).await?.success() {
                return Ok(());
            }
            tried.push(name.clone());
            if handle.is_closed() {
                return Err(self.refused(tried, true));
            }
        }
        if self.with_agent(handle, &mut hash, &mut tried).await? {
            return Ok(());
        }
        if tried.is_empty() {
            return Err(SshError::NoKey);
        }
        Err(self.refused(tried, handle.is_closed()))
    }

    async fn with_agent(
        &self,
        handle: &mut Handle<Checker>,
        hash: &mut Option<HashAlg>,
        tried: &mut Vec<String>,
    ) -> Result<bool, SshError> {
        let Some(path) = self.agent else { return Ok(false) };
        let fail = |problem: String| SshError::Agent { path: path.to_owned(), problem };
        let wait = |_| fail("it does not answer".to_owned());
        let stream = UnixStream::connect(path).await.map_err(|error| fail(error.to_string()))?;
        let mut agent = AgentClient::connect(stream);
        if let Some(binding) = handle.agent_session_binding() {
            // Only keys that are bound to hosts need it, and only some agents know it.
            let _ = timeout(self.stall, agent.bind_session(binding, false)).await.map_err(wait)?;
        }
        let listed = timeout(self.stall, agent.request_identities()).await.map_err(wait)?;
        let listed = listed.map_err(|error| fail(error.to_string()))?;
        for identity in listed {
            let (key, certificate, comment) = match identity {
                AgentIdentity::PublicKey { key, comment } => (key, None, comment),
                AgentIdentity::Certificate { certificate, comment } => {
                    let key = PublicKey::new(certificate.public_key().clone(), "");
                    (key, Some(certificate), comment)
                }
            };
            if !self.wants(&key) {
                continue;
            }
            let hash = self.hash(handle, &key.algorithm(), hash).await?;
            let name = format!("{comment} of the agent ({})", fingerprint(&key));
            let mut signer = Signer::Agent(&mut agent);
            let result = if let Some(certificate) = certificate {
                let attempt =
                    handle.authenticate_certificate_with(self.user, certificate, hash, &mut signer);
                self.judge(attempt).await
            } else {
                let attempt = handle.authenticate_publickey_with(self.user, key, hash, &mut signer);
                self.judge(attempt).await
            };
            match result {
                Ok(result) if result.success() => return Ok(true),
                // An agent may refuse one key, as its owner wants it, and not the next.
                Ok(_) | Err(SshError::Agent { .. }) => tried.push(name),
                Err(error) => return Err(error),
            }
            if handle.is_closed() {
                break;
            }
        }
        Ok(false)
    }

    /// Whether a key of the agent may be shown: all, unless some are named.
    fn wants(&self, key: &PublicKey) -> bool {
        let data = key.key_data();
        if self.identities.iter().any(|identity| match identity {
            Identity::Private { key, .. } => key.public_key().key_data() == data,
            Identity::Public(_) => false,
        }) {
            // It was shown already.
            return false;
        }
        let mut named = self.identities.iter().filter_map(|identity| match identity {
            Identity::Public(key) => Some(key),
            Identity::Private { .. } => None,
        });
        let any = named.clone().next().is_some();
        if any || self.only { named.any(|key| key.key_data() == data) } else { true }
    }

    /// The hash for an RSA key, as the server likes it. It is asked once.
    async fn hash(
        &self,
        handle: &Handle<Checker>,
        algorithm: &Algorithm,
        known: &mut Option<HashAlg>,
    ) -> Result<Option<HashAlg>, SshError> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        if known.is_some() {
            return Ok(*known);
        }
        let said = handle.best_supported_rsa_hash().await.map_err(SshError::Protocol)?;
        // A server that says nothing knows this one, if it is of this decade; SHA-1 is not used.
        let hash = said.flatten().or(Some(HashAlg::Sha256));
        *known = hash;
        Ok(hash)
    }

    async fn judge<E: Into<SshError>>(
        &self,
        attempt: impl Future<Output = Result<AuthResult, E>>,
    ) -> Judged {
        match timeout(self.stall, attempt).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(crate::net::NetError::Stalled(self.stall).into()),
        }
    }

    fn refused(&self, tried: Vec<String>, closed: bool) -> SshError {
        SshError::Refused { user: self.user.to_owned(), tried, closed }
    }
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

/// Who signs.
enum Signer<'a> {
    Key(&'a PrivateKey),
    Agent(&'a mut AgentClient<UnixStream>),
}

/// Why nothing was signed.
struct SignError(String);

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self("the connection is closed".to_owned())
    }
}

impl From<SignError> for SshError {
    fn from(error: SignError) -> Self {
        Self::Agent { path: "the signer".into(), problem: error.0 }
    }
}

impl russh::Signer for Signer<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Agent(agent) => {
                let signed = agent.sign_request(identity, hash, data).await;
                signed.map_err(|error| SignError(error.to_string()))
            }
            Self::Key(key) => {
                let signed = match key.key_data() {
                    KeypairData::Rsa(pair) => (pair, hash).try_sign(&data),
                    pair => pair.try_sign(&data),
                };
                let signature = signed.map_err(|error| SignError(error.to_string()))?;
                let mut bytes = Vec::new();
                let encoded = signature.encode(&mut bytes).and_then(|()| bytes.encode(&mut data));
                encoded.map_err(|error| SignError(error.to_string()))?;
                Ok(data)
            }
        }
    }
}
