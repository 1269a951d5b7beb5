//! Smart http: the greeting is a page, and each message a request of its own.

use reqwest::header::HeaderValue;

use super::{Answer, Server, Source, Transport, is_transient, net_error};
use crate::git::credentials::Credential;
use crate::git::error::GitError;
use crate::git::packet::Packets;
use crate::git::url::{Remote, decode};
use crate::net::{self, Body, Method, Request, Response, Url};

impl Transport {
    /// The first request; it may be redirected, and what follows goes there.
    pub(super) async fn advertisement(
        &self,
        server: &mut Server,
        url: &Url,
    ) -> Result<Answer, GitError> {
        const SUFFIX: &str = "/info/refs";
        let service = server.service.name();
        let mut first = below(url, "info/refs");
        first.set_query(Some(&format!("service={service}")));
        let request = Request::new(Method::GET, first);
        let response = self.exchange(server, with_version(server, request)).await?;
        check_type(server, &response, &format!("application/x-{service}-advertisement"))?;
        let mut base = response.url().clone();
        base.set_query(None);
        let Some(path) = base.path().strip_suffix(SUFFIX).map(str::to_owned) else {
            return Err(GitError::NotGit {
                remote: server.name.clone(),
                problem: "it redirects to another page".to_owned(),
            });
        };
        base.set_path(&path);
        if !net::same_origin(&base, url) {
            server.authorization = None;
        }
        server.remote = Remote::Http(base);
        Ok(Answer::new(server, Source::Http(response, Packets::default())))
    }

    /// Sends a message; the answer is of the service's type.
    pub(super) async fn post(
        &self,
        server: &Server,
        url: &Url,
        message: Vec<u8>,
    ) -> Result<Answer, GitError> {
        let service = server.service.name();
        let result = format!("application/x-{service}-result");
        let request = Request::new(Method::POST, below(url, service))
            .header("content-type", format!("application/x-{service}-request"))
            .header("accept", result.clone())
            .body(Body::Bytes(message.into()));
        let response = self.exchange(server, with_version(server, request)).await?;
        check_type(server, &response, &result)?;
        Ok(Answer::new(server, Source::Http(response, Packets::default())))
    }

    /// Sends a request, again and again if the service only reads: a change is asked for once.
    async fn exchange(&self, server: &Server, mut request: Request) -> Result<Response, GitError> {
        request.authorization.clone_from(&server.authorization);
        let retry = self.options.retry;
        let once = server.service.changes() && request.method == Method::POST;
        let mut failures = 0;
        loop {
            self.count();
            let (error, asked) = match self.http.send(&request).await {
                Ok(response) if response.status() == 200 => return Ok(response),
                Ok(response) => {
                    let status = response.status();
                    let authorized = server.authorization.is_some();
                    let error =
                        GitError::Status { remote: server.name.clone(), status, authorized };
                    (error, response.retry_after())
                }
                Err(error) => (net_error(&server.name, error), None),
            };
            failures += 1;
            if once || failures >= retry.attempts || !is_transient(&error) {
                return Err(error);
            }
            tokio::time::sleep(retry.delay(failures, asked)).await;
        }
    }

    /// The header for a URL: the caller's at the origin it was given for, else what the URL says.
    pub(in crate::git) fn authorization(
        &self,
        url: &Url,
        origin: Option<&Url>,
    ) -> Result<Option<HeaderValue>, GitError> {
        // It was given for the repository that is asked first; no other place that this one names
        // (submodules, servers of large files, the sources) gets it.
        let home = origin.map(|origin| self.home.get_or_init(|| origin.clone()));
        let given = home.filter(|home| net::same_origin(home, url));
        let text = match (&self.options.authorization, given) {
            (Some(header), Some(_)) => header.clone(),
            _ if url.password().is_none() => match self.options.credentials.find(url) {
                Some(credential) => credential.authorization(),
                // A token may stand where the name does.
                None if !url.username().is_empty() => of_url(url),
                None => return Ok(None),
            },
            _ => of_url(url),
        };
        let mut value = HeaderValue::from_str(text.trim()).map_err(|_| GitError::Protocol {
            remote: Remote::Http(url.clone()).to_string(),
            problem: "the credentials hold characters that a header cannot".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The header that the name and password of a URL make.
fn of_url(url: &Url) -> String {
    let user = decode(url.username());
    let password = decode(url.password().unwrap_or_default());
    Credential::Basic { user, password }.authorization()
}

/// Asks for version 2, where the service has one.
fn with_version(server: &Server, request: Request) -> Request {
    match server.service.version() {
        Some(version) => request.header("git-protocol", version),
        None => request,
    }
}

fn below(url: &Url, name: &str) -> Url {
    let mut below = url.clone();
    below.set_path(&format!("{}/{name}", url.path().trim_end_matches('/')));
    // They are sent as a header, if at all.
    let _ = below.set_username("");
    let _ = below.set_password(None);
    below
}

fn check_type(server: &Server, response: &Response, expected: &str) -> Result<(), GitError> {
    match response.header("content-type") {
        Some(kind) if kind.split(';').next().is_some_and(|kind| kind.trim() == expected) => Ok(()),
        other => Err(GitError::NotGit {
            remote: server.name.clone(),
            problem: match other {
                Some(kind) => format!("it answers with {kind}"),
                None => "its answer has no content type".to_owned(),
            },
        }),
    }
}
