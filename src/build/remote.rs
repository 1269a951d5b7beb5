//! What ADD and contexts fetch: files of web servers, and git repositories.
//!
//! A file goes into the store under its digest, which is part of a step's key. What
//! its server said of it is remembered, so that it is asked for again only with the
//! question whether it has changed. Within one build everything is fetched once.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BuildError, Env, ErrorKind, Secrets};
use crate::cache::Key;
use crate::git::{FetchOptions, Git, GitError, GitOptions, GitUrl, Resolved};
use crate::image::{Descriptor, Digest};
use crate::net::{self, HeaderValue, Method, NetError, Request, Retry, Url};
use crate::report::{TransferKind, transfer};

/// Secrets for web servers; the host follows.
const HTTP_SECRETS: [&str; 2] = ["HTTP_AUTH_HEADER_", "HTTP_AUTH_TOKEN_"];
/// Secrets for git servers, perhaps with a dot and the host behind them.
const GIT_SECRETS: [&str; 2] = ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"];

/// Why something of elsewhere cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// What should be a URL is none.
    #[error("{0:?} is no URL")]
    Url(String),
    /// A secret that cannot be sent.
    #[error("the secret {0} cannot be the value of a header")]
    Secret(String),
    /// The server cannot be reached, or the connection broke.
    #[error("{url}")]
    Net {
        /// The URL, without what may be secret.
        url: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// The server has something else to say.
    #[error("{url}: the server answered with status {status}{}", hint(*status, host))]
    Status {
        /// The URL, without what may be secret.
        url: String,
        /// Its host.
        host: String,
        /// The status.
        status: u16,
    },
    /// The content is another than wanted.
    #[error("{url} has the digest {actual}, not {expected} as --checksum says")]
    Checksum {
        /// The URL, without what may be secret.
        url: String,
        /// What is wanted.
        expected: Digest,
        /// What is there.
        actual: Digest,
    },
    /// Of a git repository.
    #[error(transparent)]
    Git(#[from] GitError),
}

fn hint(status: u16, host: &str) -> String {
    match status {
        401 | 403 => {
            format!("; credentials are given with --secret id=HTTP_AUTH_TOKEN_{host},src=FILE")
        }
        _ => String::new(),
    }
}

impl FetchError {
    /// Of which kind it is.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) | Self::Secret(_) | Self::Checksum { .. } => ErrorKind::Input,
            Self::Net { .. } => ErrorKind::Registry,
            Self::Status { status, .. } => status_kind(*status),
            Self::Git(error) => git_kind(error),
        }
    }
}

fn status_kind(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Auth,
        404 | 410 => ErrorKind::Missing,
        _ => ErrorKind::Registry,
    }
}

fn git_kind(error: &GitError) -> ErrorKind {
    match error {
        GitError::Status { status, .. } => status_kind(*status),
        GitError::Empty { .. } | GitError::NoReference { .. } | GitError::NoSubdir { .. } => {
            ErrorKind::Missing
        }
        GitError::Ssh { source, .. } if source.is_auth() => ErrorKind::Auth,
        GitError::Ssh { source, .. } if source.is_input() => ErrorKind::Input,
        GitError::Ssh { source, .. } if source.is_missing() => ErrorKind::Missing,
        GitError::Unadvertised { .. } => ErrorKind::Missing,
        GitError::Checksum { .. } | GitError::Path { .. } | GitError::Module { .. } => {
            ErrorKind::Input
        }
        GitError::Submodule { source, .. } => git_kind(source),
        GitError::Io { .. } => ErrorKind::Storage,
        GitError::Stopped => ErrorKind::Interrupted,
        _ => ErrorKind::Registry,
    }
}

/// A file of a web server, in the store; and what the server said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Download {
    /// The blob.
    pub(super) digest: Digest,
    size: u64,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Download {
    fn blob(&self) -> Descriptor {
        Descriptor::new("", self.digest.clone(), self.size)
    }

    /// When it was changed, in seconds since 1970; 0 if the server does not say.
    pub(super) fn modified(&self) -> i64 {
        let seconds = self.last_modified.as_deref().and_then(net::http_date);
        seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or_default()
    }
}

/// A repository's files on disk.
#[derive(Clone, Debug)]
pub(super) struct Checkout {
    pub(super) path: PathBuf,
    /// When the commit was made, in seconds since 1970.
    pub(super) committed: i64,
}

/// What this build has fetched.
#[derive(Debug)]
pub(super) struct Remotes<'a> {
    secrets: &'a Secrets,
    env: &'a Env,
    downloads: Mutex<BTreeMap<String, Download>>,
    commits: Mutex<BTreeMap<String, Resolved>>,
    checkouts: Mutex<BTreeMap<String, Checkout>>,
}

impl<'a> Remotes<'a> {
    pub(super) fn new(secrets: &'a Secrets, env: &'a Env) -> Self {
        Self {
            secrets,
            env,
            downloads: Mutex::default(),
            commits: Mutex::default(),
            checkouts: Mutex::default(),
        }
    }

    pub(super) fn env(&self) -> &'a Env {
        self.env
    }

    /// The file at `url`, which must have the digest `checksum`, if one is given.
    pub(super) fn download(
        &self,
        url: &str,
        checksum: Option<&Digest>,
    ) -> Result<Download, BuildError> {
        let name = format!("{url} {}", checksum.map_or("", Digest::as_str));
        once(&self.downloads, &name, || self.fetch(url, checksum))
    }

    fn fetch(&self, text: &str, checksum: Option<&Digest>) -> Result<Download, BuildError> {
        let env = self.env;
        let url: Url = text.parse().map_err(|_| FetchError::Url(text.to_owned()))?;
        let mut key = Key::new([]);
        key.field("download", text);
        let key = key.finish();
        let known = env.store.step(&key).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known = known.filter(|known: &Download| env.store.has_blob(&known.blob()));
        if let (Some(known), Some(checksum)) = (&known, checksum)
            && known.digest == *checksum
        {
            return Ok(known.clone());
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = Request::new(Method::GET, url.clone());
        request.authorization = self.http_authorization(&host)?;
        // With a checksum the known content is not what is wanted.
        let known = known.filter(|_| checksum.is_none());
        if let Some(etag) = known.as_ref().and_then(|known| known.etag.clone()) {
            request = request.header("if-none-match", etag);
        } else if let Some(date) = known.as_ref().and_then(|known| known.last_modified.clone()) {
            request = request.header("if-modified-since", date);
        }
        let shown = request.to_string().trim_start_matches("GET ").to_owned();
        let fetching = Fetching { env, request, shown, host, known, checksum };
        let download = env.runtime.block_on(async {
            tokio::select! {
                fetched = fetching.run() => fetched,
                () = super::push::until_cancelled(env) => Err(BuildError::Interrupted),
            }
        })?;
        if let Ok(record) = serde_json::to_vec(&download) {
            env.store.put_step(&key, &record)?;
        }
        Ok(download)
    }

    fn http_authorization(&self, host: &str) -> Result<Option<HeaderValue>, FetchError> {
        let mut value = None;
        for prefix in HTTP_SECRETS {
            let id = format!("{prefix}{host}");
            let Some(secret) = self.secrets.get(&id) else { continue };
            let secret = String::from_utf8_lossy(secret).trim().to_owned();
            let is_token = prefix == HTTP_SECRETS[1];
            let text = if is_token { format!("Bearer {secret}") } else { secret };
            let mut header =
                HeaderValue::from_str(&text).map_err(|_| FetchError::Secret(id.clone()))?;
            header.set_sensitive(true);
            value = Some(header);
        }
        Ok(value)
    }

    /// The commit that a git source means now.
    pub(super) fn commit(&self, url: &GitUrl) -> Result<Resolved, BuildError> {
        once(&self.commits, &format!("{url:?}"), || {
            self.git(url, |git| async move { git.resolve(url).await })
        })
    }

    /// The files of a git source, in a directory of the work directory.
    pub(super) fn checkout(
        &self,
        url: &GitUrl,
        keep_git_dir: bool,
    ) -> Result<Checkout, BuildError> {
        once(&self.checkouts, &format!("{url:?} {keep_git_dir}"), || {
            let env = self.env;
            let resolved = self.commit(url)?;
            let submodules = url.submodules.unwrap_or(true);
            let options = FetchOptions { submodules, keep_git_dir };
            let work = env.store.work().path();
            let fetched = self
                .git(url, |git| async move { git.fetch(url, &resolved, &options, work).await })?;
            let path = env.store.work().fresh("checkout");
            let fail = |source| BuildError::Io { action: "create", path: path.clone(), source };
            std::fs::create_dir(&path).map_err(fail)?;
            let dir = crate::fs::open_dir(&path).map_err(fail)?;
            fetched
                .checkout(&dir, &|| env.cancellation.is_cancelled())
                .map_err(FetchError::from)?;
            Ok(Checkout { path, committed: fetched.committed() })
        })
    }

    fn git<T, F: Future<Output = Result<T, GitError>>>(
        &self,
        url: &GitUrl,
        action: impl FnOnce(Git) -> F,
    ) -> Result<T, BuildError> {
        let env = self.env;
        let options =
            GitOptions { authorization: self.git_authorization(url), ..GitOptions::default() };
        let git = Git::new(env.http.clone(), options, std::sync::Arc::clone(&env.sink));
        env.runtime.block_on(async {
            tokio::select! {
                done = action(git) => done.map_err(|error| FetchError::from(error).into()),
                () = super::push::until_cancelled(env) => Err(BuildError::Interrupted),
            }
        })
    }

    fn git_authorization(&self, url: &GitUrl) -> Option<String> {
        let host = match &url.remote {
            crate::git::Remote::Http(url) => url.host_str()?.to_owned(),
            _ => return None,
        };
        let find = |name: &str| {
            let secret = self.secrets.get(&format!("{name}.{host}")).or(self.secrets.get(name))?;
            Some(String::from_utf8_lossy(secret).trim().to_owned())
        };
        let header = find(GIT_SECRETS[0]);
        header.or_else(|| find(GIT_SECRETS[1]).map(|token| GitOptions::token(&token)))
    }
}

/// What `make` gave for `name` before, or gives now.
fn once<T: Clone>(
    done: &Mutex<BTreeMap<String, T>>,
    name: &str,
    make: impl FnOnce() -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    // Held meanwhile, so that no other step fetches it too.
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = done.get(name) {
        return Ok(value.clone());
    }
    let value = make()?;
    done.insert(name.to_owned(), value.clone());
    Ok(value)
}

/// A download under way.
struct Fetching<'a> {
    env: &'a Env,
    request: Request,
    /// The URL, for people.
    shown: String,
    host: String,
    /// What the store has of it.
    known: Option<Download>,
    checksum: Option<&'a Digest>,
}

/// Why an attempt failed, and whether the next may not.
struct Broken {
    error: BuildError,
    transient: bool,
    /// How long the server asks to wait.
    asked: Option<Duration>,
}

impl<E: Into<BuildError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self { error: error.into(), transient: false, asked: None }
    }
}

impl Fetching<'_> {
    async fn run(&self) -> Result<Download, BuildError> {
        let retry = Retry::default();
        let mut failures = 0;
        loop {
            let broken = match self.attempt().await {
                Ok(download) => return Ok(download),
                Err(broken) => broken,
            };
            failures += 1;
            if !broken.transient || failures == retry.attempts {
                return Err(broken.error);
            }
            tokio::time::sleep(retry.delay(failures, broken.asked)).await;
        }
    }

    fn broken(&self, source: NetError) -> Broken {
        let transient = source.is_transient();
        let error = FetchError::Net { url: self.shown.clone(), source }.into();
        Broken { error, transient, asked: None }
    }

    async fn attempt(&self) -> Result<Download, Broken> {
        let mut response =
            self.env.http.send(&self.request).await.map_err(|error| self.broken(error))?;
        let header = |name: &str| response.header(name).map(str::to_owned);
        let (etag, last_modified) = (header("etag"), header("last-modified"));
        match (response.status(), &self.known) {
            (304, Some(known)) => return Ok(known.clone()),
            // Some servers do not heed the question.
            (200, Some(known)) if etag.is_some() && known.etag == etag => {
                return Ok(known.clone());
            }
            (200, _) => {}
            (status, _) => {
                let (url, host) = (self.shown.clone(), self.host.clone());
                return Err(Broken {
                    error: FetchError::Status { url, host, status }.into(),
                    transient: net::is_transient(status),
                    asked: response.retry_after(),
                });
            }
        }
        let env = self.env;
        let mut writer = env.store.blob_writer(None)?;
        let mut hasher = self.checksum.map(Digest::hasher);
        let name = self.shown.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&self.shown);
        let progress = transfer(&env.sink, TransferKind::Pull, name, response.length(), None);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            writer.write_all(&chunk).map_err(|source| BuildError::Io {
                action: "write to",
                path: env.store.root().to_owned(),
                source,
            })?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
            progress.advance(chunk.len() as u64);
        }
        if let (Some(hasher), Some(expected)) = (hasher, self.checksum) {
            let actual = hasher.finish();
            if actual != *expected {
                let (url, expected) = (self.shown.clone(), expected.clone());
                return Err(FetchError::Checksum { url, expected, actual }.into());
            }
        }
        let (digest, size) = writer.finish()?;
        Ok(Download { digest, size, etag, last_modified })
    }
}
