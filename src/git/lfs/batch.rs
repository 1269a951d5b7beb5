//! What is said to a server of Git LFS: the batch API, and plain downloads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Pointer;
use crate::git::Git;
use crate::git::error::GitError;
use crate::git::transport;
use crate::git::url::Remote;
use crate::net::{self, Body, HeaderValue, Method, Request, Response, Url};
use crate::report::{TransferKind, transfer};

const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

/// A server.
pub(super) struct Server {
    endpoint: Url,
    /// Shown in errors, without credentials.
    name: String,
    authorization: Option<HeaderValue>,
    /// What is sent with each request beside it.
    headers: BTreeMap<String, String>,
    reference: Option<String>,
}

impl Server {
    /// With the branch that objects are wanted of.
    pub(super) fn with_reference(self, reference: Option<String>) -> Self {
        Self { reference, ..self }
    }
}

/// An object, and how it is had.
pub(super) struct Download {
    pub(super) pointer: Pointer,
    request: Request,
}

#[derive(Serialize)]
struct Asked<'a> {
    operation: &'static str,
    transfers: [&'static str; 1],
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Named<'a>>,
    objects: Vec<Object<'a>>,
    hash_algo: &'static str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Object<'a> {
    oid: &'a str,
    size: u64,
}

#[derive(Deserialize)]
struct Answer {
    transfer: Option<String>,
    #[serde(default)]
    objects: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    oid: String,
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Problem {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Git {
    /// The server at a URL, with the credentials that may go there.
    pub(super) fn lfs_server(
        &self,
        mut endpoint: Url,
        remote: &Remote,
    ) -> Result<Server, GitError> {
        let authorization = self.transport.authorization(&endpoint, crate::git::origin(remote))?;
        let _ = endpoint.set_username("");
        let _ = endpoint.set_password(None);
        let name = endpoint.to_string();
        Ok(Server { endpoint, name, authorization, headers: BTreeMap::new(), reference: None })
    }

    /// The server that an ssh server names for one of its repositories.
    pub(super) async fn lfs_server_of_ssh(
        &self,
        remote: &Remote,
        text: &str,
    ) -> Result<Server, GitError> {
        const PROGRAM: &str = "git-lfs-authenticate";
        let refuse = |problem: &str| GitError::Lfs {
            server: remote.to_string(),
            problem: format!("{PROGRAM} answers {problem}"),
        };
        let answer = self.transport.ask_over_ssh(remote, text, PROGRAM, "download").await?;
        let Action { href, mut header } =
            serde_json::from_slice(&answer).map_err(|_| refuse("with no JSON that it should"))?;
        let url = Url::parse(&href).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let endpoint = url.ok_or_else(|| refuse("with no http or https URL"))?;
        let mut authorization = None;
        header.retain(|name, value| {
            let own = name.eq_ignore_ascii_case("authorization");
            if own {
                authorization = Some(secret(value));
            }
            !own
        });
        let authorization = authorization
            .transpose()
            .map_err(|()| refuse("with credentials that are no header"))?;
        let name = endpoint.to_string();
        Ok(Server { endpoint, name, authorization, headers: header, reference: None })
    }

    /// Asks how objects are had.
    pub(super) async fn lfs_batch(
        &self,
        server: &Server,
        pointers: &[Pointer],
    ) -> Result<Vec<Download>, GitError> {
        let refuse = |problem: String| GitError::Lfs { server: server.name.clone(), problem };
        let asked = Asked {
            operation: "download",
            transfers: ["basic"],
            reference: server.reference.as_deref().map(|name| Named { name }),
            objects: pointers.iter().map(|p| Object { oid: &p.oid, size: p.size }).collect(),
            hash_algo: "sha256",
        };
        let body = serde_json::to_vec(&asked).map_err(|e| refuse(e.to_string()))?;
        let mut url = server.endpoint.clone();
        let path = format!("{}/objects/batch", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let mut request = Request::new(Method::POST, url)
            .header("accept", MEDIA_TYPE)
            .header("content-type", MEDIA_TYPE)
            .body(Body::Bytes(body.into()));
        for (name, value) in &server.headers {
            request = request.header(name.clone(), value.clone());
        }
        request.authorization.clone_from(&server.authorization);
        let mut response = self.lfs_send(server, &request).await?;
        let text = read(server, &mut response).await?;
        let answer: Answer = serde_json::from_slice(&text)
            .map_err(|error| refuse(format!("its answer cannot be read: {error}")))?;
        if let Some(other) = answer.transfer.filter(|kind| kind != "basic") {
            return Err(refuse(format!("it answers with the unknown transfer {other:?}")));
        }
        let mut answered: BTreeMap<String, Answered> =
            answer.objects.into_iter().map(|object| (object.oid.clone(), object)).collect();
        let mut downloads = Vec::new();
        for pointer in pointers {
            let oid = &pointer.oid;
            let object = answered.remove(oid);
            let object = object.ok_or_else(|| refuse(format!("it says nothing of {oid}")))?;
            if let Some(Problem { code, message }) = object.error {
                return Err(refuse(format!("object {oid}: {code} {message}")));
            }
            let action = object.actions.into_iter().find(|(name, _)| name == "download");
            let (_, action) =
                action.ok_or_else(|| refuse(format!("it says not how to download {oid}")))?;
            let request = download(server, &action, object.authenticated).map_err(refuse)?;
            downloads.push(Download { pointer: pointer.clone(), request });
        }
        Ok(downloads)
    }

    /// Fetches an object into a file; goes on where it broke off, if the server can.
    pub(super) async fn lfs_download(
        &self,
        server: &Server,
        download: &Download,
        mut file: File,
    ) -> Result<(), GitError> {
        let Pointer { oid, size } = &download.pointer;
        let wrong = |problem: String| GitError::Lfs {
            server: server.name.clone(),
            problem: format!("object {oid}: {problem}"),
        };
        let io = |source| GitError::Io { path: format!(".git/lfs/objects/{oid}"), source };
        let retry = self.transport.retry();
        let progress = transfer(&self.sink, TransferKind::Pull, oid, Some(*size), None);
        let mut hasher = Sha256::new();
        let mut done = 0;
        let mut failures = 0;
        loop {
            let mut request = download.request.clone();
            if done > 0 {
                request = request.header("range", format!("bytes={done}-"));
            }
            let mut response = self.lfs_send(server, &request).await?;
            if done > 0 && response.status() != 206 {
                (done, hasher) = (0, Sha256::new());
                file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(io)?;
            }
            let error = loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => {
                        done += bytes.len() as u64;
                        if done > *size {
                            return Err(wrong(format!("it has more than its {size} bytes")));
                        }
                        hasher.update(&bytes);
                        file.write_all(&bytes).map_err(io)?;
                        progress.set(done);
                    }
                    Ok(None) => break None,
                    Err(source) => break Some(source),
                }
            };
            match error {
                None => break,
                Some(source) => {
                    failures += 1;
                    let error = GitError::Net { remote: server.name.clone(), source };
                    if failures >= retry.attempts || !transport::is_transient(&error) {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(retry.delay(failures, None)).await;
        }
        if done != *size {
            return Err(wrong(format!("it has {done} bytes and not {size}")));
        }
        let sum = hasher.finalize();
        let digits = (0..oid.len()).step_by(2).map(|at| u8::from_str_radix(&oid[at..at + 2], 16));
        if !digits.eq(sum.iter().map(|byte| Ok(*byte))) {
            return Err(wrong("its content has another SHA-256".to_owned()));
        }
        Ok(())
    }

    /// Sends a request; again, if that may help.
    async fn lfs_send(&self, server: &Server, request: &Request) -> Result<Response, GitError> {
        let retry = self.transport.retry();
        let mut failures = 0;
        loop {
            let (error, asked) = match self.transport.http().send(request).await {
                Ok(response) if matches!(response.status(), 200 | 206) => return Ok(response),
                Ok(response) => {
                    let error = GitError::Status {
                        remote: server.name.clone(),
                        status: response.status(),
                        authorized: request.authorization.is_some(),
                    };
                    (error, response.retry_after())
                }
                Err(source) => (GitError::Net { remote: server.name.clone(), source }, None),
            };
            failures += 1;
            if failures >= retry.attempts || !transport::is_transient(&error) {
                return Err(error);
            }
            tokio::time::sleep(retry.delay(failures, asked)).await;
        }
    }
}

/// A header that is not shown.
fn secret(value: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(value).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The request that an action stands for. `Err` says why it is not made.
fn download(server: &Server, action: &Action, authenticated: bool) -> Result<Request, String> {
    // The query may hold a secret.
    let shown = action.href.split('?').next().unwrap_or_default();
    let url = Url::parse(&action.href).map_err(|_| format!("{shown:?} is no URL"))?;
    match (server.endpoint.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        _ => return Err(format!("{shown:?} is no https URL")),
    }
    let mut request = Request::new(Method::GET, url);
    let mut own = false;
    for (name, value) in &action.header {
        if name.eq_ignore_ascii_case("authorization") {
            let wrong = |()| "it gives credentials that are no header".to_owned();
            request.authorization = Some(secret(value).map_err(wrong)?);
            own = true;
        } else {
            request = request.header(name.clone(), value.clone());
        }
    }
    if !own && !authenticated && net::same_origin(&request.url, &server.endpoint) {
        request.authorization.clone_from(&server.authorization);
    }
    Ok(request)
}

/// Reads an answer whole.
async fn read(server: &Server, response: &mut Response) -> Result<Vec<u8>, GitError> {
    /// A few hundred bytes for each object, with room.
    const LIMIT: usize = 4 << 20;
    let failed = |source| GitError::Net { remote: server.name.clone(), source };
    let mut text = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(failed)? {
        text.extend_from_slice(&bytes);
        if text.len() > LIMIT {
            let problem = format!("its answer has more than {LIMIT} bytes");
            return Err(GitError::Lfs { server: server.name.clone(), problem });
        }
    }
    Ok(text)
}
