//! Who the user is at a registry: docker's config.json and containers' auth.json.
//!
//! Both formats are one: `auths`, `credHelpers`, `credsStore`. The files are
//! merged, the first that knows a key decides. Keys are tried from the most
//! particular to the least: `host/org/name`, `host/org`, `host`; for one key a
//! helper named for it comes before `auths`, as the file's author meant the
//! helper to replace what is written there. Which files exist is the caller's
//! business; no secret is ever shown by `Debug`.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::helper;
use crate::image::Repository;

/// What Docker Hub's key is called in every credentials file.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Something that shows who the user is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged at the registry's token server.
    IdentityToken(String),
    /// A token that is shown to the registry as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file is there but cannot be read.
    #[error("read credentials from {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not a docker config.json: {problem}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what, without any of the file's content.
        problem: String,
    },
    /// A helper's program is not there.
    #[error(
        "the credentials of {server} are kept by {program}, which is not installed; \
         install it, or log in without it"
    )]
    HelperMissing {
        /// The program.
        program: String,
        /// Whose credentials were asked for.
        server: String,
    },
    /// A helper failed.
    #[error("{program} gave no credentials of {server}: {problem}")]
    Helper {
        /// The program.
        program: String,
        /// Whose credentials were asked for.
        server: String,
        /// What it said.
        problem: String,
    },
}

/// What a file says.
#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

/// An `auth` that is not base64 of `user:password`.
struct BadAuth;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<String>,
}

/// Credentials of all files; cheap to clone.
#[derive(Clone, Default)]
pub struct Credentials {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    files: Vec<Known>,
    /// What helpers said, by program and key: a build asks many times.
    asked: Mutex<HashMap<(String, String), Asked>>,
}

type Asked = Arc<OnceCell<Option<Credential>>>;

#[derive(Default)]
struct Known {
    auths: HashMap<String, Credential>,
    helpers: HashMap<String, String>,
    store: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("files", &self.inner.files.len()).finish()
    }
}

impl Credentials {
    /// Reads files in order of precedence; those that do not exist are skipped.
    pub fn from_files(paths: &[PathBuf]) -> Result<Self, CredentialsError> {
        let mut files = Vec::new();
        for path in paths {
            match std::fs::read(path) {
                Ok(bytes) => files.push(parse(path, &bytes)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(CredentialsError::Read { path: path.clone(), source }),
            }
        }
        Ok(Self { inner: Arc::new(Inner { files, asked: Mutex::default() }) })
    }

    /// One credential for one key (a host, or a host and the begin of a path).
    pub fn single(key: &str, credential: Credential) -> Self {
        let known =
            Known { auths: HashMap::from([(normalise(key), credential)]), ..Known::default() };
        Self { inner: Arc::new(Inner { files: vec![known], asked: Mutex::default() }) }
    }

    /// The credential for a repository; `None` is anonymous.
    pub async fn get(
        &self,
        repository: &Repository,
    ) -> Result<Option<Credential>, CredentialsError> {
        let keys = keys(repository);
        for key in &keys {
            for file in &self.inner.files {
                if let Some(helper) = file.helpers.get(key)
                    && let Some(found) = self.ask(helper, key).await?
                {
                    return Ok(Some(found));
                }
                if let Some(found) = file.auths.get(key) {
                    return Ok(Some(found.clone()));
                }
            }
        }
        // A store keeps hosts only, and is asked last: entries in a file are more particular.
        let Some(host) = keys.last() else { return Ok(None) };
        for file in &self.inner.files {
            if let Some(store) = &file.store
                && let Some(found) = self.ask(store, host).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn ask(&self, helper: &str, key: &str) -> Result<Option<Credential>, CredentialsError> {
        let cell = {
            let mut asked = self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(asked.entry((helper.to_owned(), key.to_owned())).or_default())
        };
        let server = if key == "docker.io" { DOCKER_HUB_KEY } else { key };
        let program = format!("docker-credential-{helper}");
        cell.get_or_try_init(|| helper::get(&program, server, Duration::from_secs(30)))
            .await
            .cloned()
    }
}

/// The keys of a repository, the most particular first, the host last.
fn keys(repository: &Repository) -> Vec<String> {
    let full = normalise(&repository.to_string());
    let mut keys = vec![full.clone()];
    let mut rest = full.as_str();
    while let Some(slash) = rest.rfind('/') {
        rest = &rest[..slash];
        keys.push(rest.to_owned());
    }
    keys
}

/// Brings a key of a file to the form of [`keys`]: without scheme, `/v1/`,
/// `/v2/` and trailing slash, the host in lower case, Docker Hub as `docker.io`.
fn normalise(key: &str) -> String {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = match key.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (key, None),
    };
    let mut host = host.to_ascii_lowercase();
    if matches!(host.as_str(), "index.docker.io" | "registry-1.docker.io") {
        "docker.io".clone_into(&mut host);
    }
    path.map_or(host.clone(), |path| format!("{host}/{path}"))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Known, CredentialsError> {
    let malformed =
        |problem: String| CredentialsError::Malformed { path: path.to_owned(), problem };
    let file: File = serde_json::from_slice(bytes).map_err(|e| {
        // serde_json's own text can quote a value of the file, which may be a secret.
        let what = if e.is_data() { "a value of the wrong type" } else { "malformed JSON" };
        malformed(format!("{what} at line {} column {}", e.line(), e.column()))
    })?;
    let mut auths = HashMap::new();
    for (key, entry) in file.auths {
        let credential = entry.credential().map_err(|BadAuth| {
            malformed(format!("the \"auth\" of {key:?} is not base64 of user:password"))
        })?;
        if let Some(credential) = credential {
            auths.insert(normalise(&key), credential);
        }
    }
    let helpers = file.helpers.into_iter().map(|(key, name)| (normalise(&key), name)).collect();
    Ok(Known { auths, helpers, store: file.store.filter(|store| !store.is_empty()) })
}

impl Entry {
    /// The entry's credential; none for an empty entry, which docker writes for
    /// what a store keeps.
    fn credential(self) -> Result<Option<Credential>, BadAuth> {
        let some = |text: Option<String>| text.filter(|t| !t.is_empty());
        if let Some(token) = some(self.registry_token) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(token) = some(self.identity_token) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(auth) = some(self.auth) {
            let auth = auth.trim();
            let bytes = STANDARD
                .decode(auth)
                .or_else(|_| STANDARD_NO_PAD.decode(auth))
                .map_err(|_| BadAuth)?;
            let text = String::from_utf8(bytes).map_err(|_| BadAuth)?;
            let (username, password) = text.split_once(':').ok_or(BadAuth)?;
            return Ok(Some(from_pair(username, password.trim_end_matches('\0'))));
        }
        match (some(self.username), self.password) {
            (Some(username), Some(password)) => Ok(Some(from_pair(&username, &password))),
            _ => Ok(None),
        }
    }
}

/// The user `<token>` marks an identity token.
pub(super) fn from_pair(username: &str, secret: &str) -> Credential {
    if username == "<token>" {
        Credential::IdentityToken(secret.to_owned())
    } else {
        Credential::Basic { username: username.to_owned(), password: secret.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Reference;
    use crate::testing::TempDir;

    #[tokio::test]
    async fn the_most_particular_key_of_the_first_file_decides() {
        let temp = TempDir::new("credentials");
        let write = |name: &str, text: &str| {
            let path = temp.path().join(name);
            std::fs::write(&path, text).expect("write");
            path
        };
        let pair = |username: &str, password: &str| Some(from_pair(username, password));
        let auth = |pair: &str| STANDARD.encode(pair);
        let first = write(
            "config.json",
            &format!(
                r#"{{"auths":{{
                    "https://index.docker.io/v1/":{{"auth":"{}"}},
                    "H.io/org/app":{{"username":"app","password":"1"}},
                    "h.io/org":{{"auth":"{}"}},
                    "https://v2.io/v2/":{{"auth":"{}"}},
                    "id.io":{{"auth":"eDp5","identitytoken":"T"}},
                    "reg.io":{{"registrytoken":"R"}},
                    "kept-by-store.io":{{}}}}}}"#,
                auth("hub:h:ub"),
                auth("org:2"),
                auth("<token>:tok")
            ),
        );
        let second = write(
            "auth.json",
            &format!(
                r#"{{"auths":{{"h.io":{{"auth":"{}"}},"id.io":{{"auth":"{}"}}}}}}"#,
                auth("host:3"),
                auth("no:no")
            ),
        );
        let missing = temp.path().join("missing.json");
        let credentials = Credentials::from_files(&[missing, first, second]).expect("credentials");
        for (reference, expected) in [
            ("busybox", pair("hub", "h:ub")),
            ("h.io/org/app", pair("app", "1")),
            ("h.io/org/app2", pair("org", "2")),
            ("h.io/organ/x", pair("host", "3")),
            ("v2.io/x", Some(Credential::IdentityToken("tok".into()))),
            ("id.io/x", Some(Credential::IdentityToken("T".into()))),
            ("reg.io/x", Some(Credential::RegistryToken("R".into()))),
            ("kept-by-store.io/x", None),
            ("h.io:443/x", None),
        ] {
            let repository = reference.parse::<Reference>().expect("a reference");
            let got = credentials.get(repository.repository()).await.expect("no helper is asked");
            assert_eq!(got, expected, "{reference}");
        }
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_it_and_no_secret() {
        let temp = TempDir::new("credentials-broken");
        let path = temp.path().join("config.json");
        for text in [
            r#"{"auths": {"h.io": {"auth": "c2VjcmV0OnNlY3JldA=="}"#,
            r#"{"auths": {"h.io": {"auth": "c2VjcmV0"}}}"#,
            r#"{"auths": "c2VjcmV0OnNlY3JldA=="}"#,
        ] {
            std::fs::write(&path, text).expect("write");
            let error = Credentials::from_files(std::slice::from_ref(&path)).expect_err(text);
            let error = error.to_string();
            assert!(error.contains("config.json") && !error.contains("c2Vj"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_installed_is_an_error() {
        let temp = TempDir::new("credentials-helper");
        let path = temp.path().join("config.json");
        std::fs::write(&path, r#"{"credHelpers":{"h.io":"yado-not-there"}}"#).expect("write");
        let credentials = Credentials::from_files(&[path]).expect("credentials");
        let reference: Reference = "h.io/x".parse().expect("a reference");
        let error = credentials.get(reference.repository()).await.expect_err("must fail");
        assert!(error.to_string().contains("docker-credential-yado-not-there"), "{error}");
    }
}
