//! The client: where a registry is, how a request is repeated, how many run at once.

mod auth;
mod challenge;
mod manifest;
mod pull;
mod push;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::image::Repository;
use crate::net::{self, Http, NetError, Request, Response, Retry, Url};
use crate::report::{Event, Sink};

use super::error::{Detail, advice};
use super::{Credential, Credentials, CredentialsError, RegistryError};
use auth::{Auth, Scopes};

pub use manifest::Fetched;
pub use push::Pushed;

/// What a client needs to know.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Who the user is.
    pub credentials: Credentials,
    /// Hosts (with their port, as in a reference) that are spoken to in plain http.
    /// Loopback hosts are too, unless [`net::Options::certificates`] names some.
    pub insecure: Vec<String>,
    /// Proxies, certificates and time limits.
    pub net: net::Options,
    /// How often and after how long requests are repeated.
    pub retry: Retry,
}

/// A client of all registries; cheap to clone, clones share tokens and limits.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    credentials: Credentials,
    insecure: Vec<String>,
    loopback_http: bool,
    retry: Retry,
    auth: Auth,
    transfers: Semaphore,
    sink: Arc<dyn Sink>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A repository and where its registry's API is.
struct Registry {
    /// The host as in references, the key of tokens.
    host: String,
    /// Scheme, host and port.
    base: Url,
    repository: Repository,
}

impl Registry {
    /// The URL of `what` in the repository, such as `manifests/latest`.
    fn url(&self, what: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{what}", self.repository.path()));
        url
    }

    fn unreachable(&self, request: &Request, error: NetError) -> RegistryError {
        let ours = net::same_origin(&request.url, &self.base);
        let other = request.url.host_str().filter(|_| !ours);
        let host = other.unwrap_or(&self.host).to_owned();
        RegistryError::Unreachable { request: request.to_string(), host, error }
    }

    /// An answer that is a refusal, as an error with the registry's own words.
    async fn refused(&self, request: &Request, response: &mut Response) -> RegistryError {
        let status = response.status();
        let detail = Detail::read(response).await;
        let advice = advice(status, &detail, &self.host);
        RegistryError::Refused { request: request.to_string(), status, detail, advice }
    }
}

/// How often an operation may still fail.
struct Budget {
    retry: Retry,
    failures: u32,
}

impl Budget {
    /// Counts a failure: how long to wait, or `None` if there were too many.
    fn spend(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        (self.failures < self.retry.attempts).then(|| self.retry.delay(self.failures, asked))
    }

    /// Something was achieved: earlier failures no longer count.
    fn refill(&mut self) {
        self.failures = 0;
    }
}

impl Client {
    /// Blobs that are moved at the same time.
    const TRANSFERS: usize = 6;

    /// Makes a client; certificates are read at the first request.
    pub fn new(options: ClientOptions, sink: Arc<dyn Sink>) -> Self {
        let loopback_http = options.net.certificates.is_empty();
        Self {
            inner: Arc::new(Inner {
                http: Http::new(options.net),
                credentials: options.credentials,
                insecure: options.insecure,
                loopback_http,
                retry: options.retry,
                auth: Auth::default(),
                transfers: Semaphore::new(Self::TRANSFERS),
                sink,
            }),
        }
    }

    fn auth(&self) -> &Auth {
        &self.inner.auth
    }

    fn budget(&self) -> Budget {
        Budget { retry: self.inner.retry, failures: 0 }
    }

    /// Waits for a turn to move a blob.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there is always a permit.
        self.inner.transfers.acquire().await.ok()
    }

    fn warn(&self, message: String) {
        self.inner.sink.event(Event::Warning { message });
    }

    async fn credential(
        &self,
        registry: &Registry,
    ) -> Result<Option<Credential>, CredentialsError> {
        self.inner.credentials.get(&registry.repository).await
    }

    /// Finds the API of a repository's registry.
    fn registry(&self, repository: &Repository) -> Result<Registry, RegistryError> {
        let host = repository.host();
        // The API of Docker Hub has a name of its own.
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let plain = self.inner.insecure.iter().any(|h| h.eq_ignore_ascii_case(host))
            || (self.inner.loopback_http && is_loopback(host));
        let scheme = if plain { "http" } else { "https" };
        let text = format!("{scheme}://{address}/");
        let base = text.parse().map_err(|_| RegistryError::Protocol {
            request: text.clone(),
            problem: "the registry's host is not one of a URL".into(),
        })?;
        Ok(Registry { host: host.to_ascii_lowercase(), base, repository: repository.clone() })
    }

    async fn exchange(
        &self,
        registry: &Registry,
        request: &Request,
    ) -> Result<Response, RegistryError> {
        self.inner.http.send(request).await.map_err(|error| registry.unreachable(request, error))
    }

    /// Sends a signed request until its answer is one that will not change; for
    /// requests that do no harm when they are done twice.
    async fn send(
        &self,
        registry: &Registry,
        scopes: &Scopes,
        request: &Request,
    ) -> Result<Response, RegistryError> {
        let mut budget = self.budget();
        loop {
            let result = self.send_signed(registry, scopes, request).await;
            let asked = match &result {
                Ok(response) if net::is_transient(response.status()) => response.retry_after(),
                Err(error) if is_transient(error) => None,
                _ => return result,
            };
            match budget.spend(asked) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return result,
            }
        }
    }
}

/// Whether an operation may succeed when it is tried again.
fn is_transient(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { error, .. } => error.is_transient(),
        // Of a token server; a registry's answers are looked at before they are errors.
        RegistryError::Refused { status, .. } => net::is_transient(*status),
        _ => false,
    }
}

/// `localhost`, 127.0.0.0/8 and `::1`, with or without a port. Not the private
/// networks: going down to http there would show credentials to neighbours.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
