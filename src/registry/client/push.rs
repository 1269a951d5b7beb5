//! Blobs to a registry.
//!
//! ```text
//! HEAD blob ── 200 ─► existed               (a large blob, or one that is not here)
//!   └─ POST uploads/[?mount&from] ── 201 ─► mounted
//!        └─ 202 Location ─► PUT Location&digest= ── 201 ─► uploaded
//!               ▲                └─ 5xx, reset, stall ─► HEAD blob ── 200 ─► uploaded
//!               │                                          └─ GET Location ─► offset
//!               └──── session unknown or refused ◄─────────────┘  └─ PATCH the rest, PUT
//! ```
//!
//! Two requests for a new blob; to ask first whether it is there is worth a third only
//! where it saves sending much. A blob is a file, so any part of it can be sent again.

use std::sync::Arc;
use std::time::Duration;

use super::{Budget, Client, Registry, Scopes, is_transient};
use crate::image::{Descriptor, Digest, Repository};
use crate::net::{self, Body, FileBody, Method, Ready, Request, Response, Url};
use crate::registry::RegistryError;
use crate::report::{TransferKind, transfer};
use crate::store::{BlobError, Follower, Store};

/// How a blob came to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was taken over from another repository of the registry.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// An answer to the opening of a session.
enum Opened {
    Mounted,
    Session(Url),
}

/// How an attempt to send went.
enum Sent {
    Done,
    /// It may work in another session.
    NewSession(RegistryError),
    /// It may work later, from wherever the registry is then.
    Later(RegistryError, Option<Duration>),
}

struct Upload<'a> {
    client: &'a Client,
    registry: &'a Registry,
    scopes: Scopes,
    digest: &'a Digest,
    file: FileBody,
}

impl Client {
    /// From this size on, in bytes, it is asked whether the registry has a blob.
    pub(super) const WORTH_ASKING: u64 = 256 * 1024;

    /// Sends a blob of the store, unless the registry has it; made by `step` or for all.
    /// `mount_from` is a repository of the same registry that has it, as far as known. Fails
    /// with [`BlobError::Missing`] if the blob is neither there nor here.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        store: &Store,
        mount_from: Option<&Repository>,
        step: Option<u32>,
    ) -> Result<Pushed, RegistryError> {
        let _permit = self.permit().await;
        let registry = self.registry(repository)?;
        let digest = &descriptor.digest;
        let from = mount_from.filter(|from| from.host() == repository.host());
        let was_there = from == Some(repository);
        let from = from.filter(|_| !was_there);
        let is_here = store.has_blob(descriptor);
        let ask = from.is_none() && (!is_here || descriptor.size >= Self::WORTH_ASKING);
        if (ask || was_there) && self.has(&registry, digest).await? {
            return Ok(Pushed::Existed);
        }
        let mut session = None;
        if let Some(from) = from {
            match self.mount(&registry, digest, from).await? {
                Some(Opened::Mounted) => return Ok(Pushed::Mounted),
                Some(Opened::Session(url)) => session = Some(url),
                None => {}
            }
        }
        let file = store.open_blob(digest)?;
        let actual = file
            .metadata()
            .map_err(|source| crate::store::StoreError::Io {
                action: "read",
                path: store.blob_path(digest),
                source,
            })?
            .len();
        if actual != descriptor.size {
            let (digest, expected) = (digest.clone(), descriptor.size);
            return Err(BlobError::Size { digest, expected, actual }.into());
        }
        self.upload(&registry, descriptor, (file, None), step, session).await?;
        Ok(Pushed::Uploaded)
    }

    /// Sends a blob that is still arriving in the store, and that the registry does not have.
    pub async fn push_arriving(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        follower: Follower,
        step: Option<u32>,
    ) -> Result<(), RegistryError> {
        let registry = self.registry(repository)?;
        let file = follower.file().map_err(|source| crate::store::StoreError::Io {
            action: "open",
            path: descriptor.digest.as_str().into(),
            source,
        })?;
        let ready = Ready::new(move |bytes| follower.wait(bytes));
        self.upload(&registry, descriptor, (file, Some(ready)), step, None).await
    }

    async fn upload(
        &self,
        registry: &Registry,
        descriptor: &Descriptor,
        (file, ready): (std::fs::File, Option<Ready>),
        step: Option<u32>,
        session: Option<Url>,
    ) -> Result<(), RegistryError> {
        let (digest, end) = (&descriptor.digest, descriptor.size);
        let sink = &self.inner.sink;
        let transfer = transfer(sink, TransferKind::Push, digest.short(), Some(end), step);
        let transfer = Arc::new(transfer);
        let file = FileBody { file: Arc::new(file), start: 0, end, transfer, ready };
        let scopes = Scopes::push(&registry.repository);
        Upload { client: self, registry, scopes, digest, file }.run(session).await
    }

    /// Whether the registry has the blob. No answer to the question, such as
    /// 401, 403 or 405, is left to the upload, whose refusal comes with a message.
    async fn has(&self, registry: &Registry, digest: &Digest) -> Result<bool, RegistryError> {
        let url = registry.url(&format!("blobs/{digest}"));
        let request = Request::new(Method::HEAD, url);
        let scopes = Scopes::push(&registry.repository);
        let mut response = self.send(registry, &scopes, &request).await?;
        match response.status() {
            200..=299 => Ok(true),
            400..=499 if !net::is_transient(response.status()) => Ok(false),
            _ => Err(registry.refused(&request, &mut response).await),
        }
    }

    /// Tries to take the blob over; `None` if that is refused in any way.
    async fn mount(
        &self,
        registry: &Registry,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Option<Opened>, RegistryError> {
        let mut url = registry.url("blobs/uploads/");
        url.set_query(Some(&format!("mount={digest}&from={}", from.path())));
        let request = Request::new(Method::POST, url);
        let scopes = Scopes::push_and_mount(&registry.repository, from);
        let response = match self.send(registry, &scopes, &request).await {
            Ok(response) => response,
            // A token server that gives nothing for two scopes may for one.
            Err(RegistryError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match response.status() {
            201 => Some(Opened::Mounted),
            202 => response.location().ok().map(Opened::Session),
            _ => None,
        })
    }
}

impl Upload<'_> {
    async fn run(&self, session: Option<Url>) -> Result<(), RegistryError> {
        let mut budget = self.client.budget();
        let mut session = session;
        let mut offset = 0;
        let mut refused = 0;
        loop {
            let url = match session.take() {
                Some(url) => url,
                None => self.open().await?,
            };
            let (url, sent) = self.send_from(url, offset).await?;
            let (error, asked, resume) = match sent {
                Sent::Done => return Ok(()),
                // Once is bad luck on the way; a blob that is damaged here stays so.
                Sent::NewSession(error) if refused == 2 => return Err(error),
                Sent::NewSession(error) => {
                    refused += 1;
                    (error, None, false)
                }
                Sent::Later(error, asked) => (error, asked, true),
            };
            let before = offset;
            offset = 0;
            self.pause(&mut budget, asked, error).await?;
            if self.client.has(self.registry, self.digest).await? {
                return Ok(());
            }
            if resume && let Some((next, there)) = self.status(url).await? {
                if there >= before + Client::PROGRESS {
                    budget.refill();
                }
                (session, offset) = (Some(next), there);
            }
        }
    }

    /// Waits before another attempt, or gives up with `error`.
    async fn pause(
        &self,
        budget: &mut Budget,
        asked: Option<Duration>,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        match budget.spend(asked) {
            Some(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    async fn open(&self) -> Result<Url, RegistryError> {
        let request = Request::new(Method::POST, self.registry.url("blobs/uploads/"));
        let mut response = self.client.send(self.registry, &self.scopes, &request).await?;
        if response.status() != 202 {
            return Err(self.registry.refused(&request, &mut response).await);
        }
        response.location().map_err(|problem| RegistryError::protocol(&request, problem))
    }

    /// Sends what is missing from `offset`, and closes the session. Gives the
    /// session's last URL along, since every answer may move it.
    async fn send_from(&self, url: Url, offset: u64) -> Result<(Url, Sent), RegistryError> {
        let mut part = self.file.clone();
        part.start = offset;
        let binary = ("content-type", "application/octet-stream");
        let mut url = url;
        let mut body = Body::File(part.clone());
        if offset > 0 {
            if offset < part.end {
                let range = format!("{offset}-{}", part.end - 1);
                let request = Request::new(Method::PATCH, url.clone())
                    .header(binary.0, binary.1)
                    .header("content-range", range)
                    .body(body);
                match self.attempt(&request).await? {
                    (Sent::Done, Some(response)) => {
                        url = response
                            .location()
                            .map_err(|problem| RegistryError::protocol(&request, problem))?;
                    }
                    (sent, _) => return Ok((url, sent)),
                }
            }
            body = Body::Empty;
        }
        let mut closing = url.clone();
        // Appended as text: a signed query must keep its bytes.
        closing.set_query(Some(&match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&digest={}", self.digest),
            _ => format!("digest={}", self.digest),
        }));
        let request = Request::new(Method::PUT, closing).header(binary.0, binary.1).body(body);
        let (sent, _) = self.attempt(&request).await?;
        Ok((url, sent))
    }

    async fn attempt(&self, request: &Request) -> Result<(Sent, Option<Response>), RegistryError> {
        let answer = self.client.send_signed(self.registry, &self.scopes, request).await;
        let mut response = match answer {
            Ok(response) => response,
            Err(error) if is_transient(&error) => return Ok((Sent::Later(error, None), None)),
            Err(error) => return Err(error),
        };
        let status = response.status();
        if (200..300).contains(&status) {
            return Ok((Sent::Done, Some(response)));
        }
        let asked = response.retry_after();
        let error = self.registry.refused(request, &mut response).await;
        let code = match &error {
            RegistryError::Refused { detail, .. } => detail.code.as_deref().unwrap_or_default(),
            _ => "",
        };
        let session_lost = matches!(status, 404 | 416)
            || matches!(
                code,
                "BLOB_UPLOAD_INVALID" | "BLOB_UPLOAD_UNKNOWN" | "DIGEST_INVALID" | "RANGE_INVALID"
            );
        if net::is_transient(status) {
            Ok((Sent::Later(error, asked), None))
        } else if session_lost {
            Ok((Sent::NewSession(error), None))
        } else {
            Err(error)
        }
    }

    /// How many bytes a session has, and its URL now; `None` if it is not to be
    /// gone on with.
    async fn status(&self, url: Url) -> Result<Option<(Url, u64)>, RegistryError> {
        let request = Request::new(Method::GET, url.clone());
        let Ok(response) = self.client.send(self.registry, &self.scopes, &request).await else {
            return Ok(None);
        };
        if !(200..300).contains(&response.status()) {
            return Ok(None);
        }
        let offset = response.header("range").and_then(offset).unwrap_or(0);
        if offset > self.file.end {
            return Ok(None);
        }
        Ok(Some((response.location().unwrap_or(url), offset)))
    }
}

/// The number of bytes in `0-LAST`, with or without a unit. `0-0` is what
/// registries say of an empty session; of a session of one byte it would be
/// wrong by that byte, and the registry would refuse the digest.
fn offset(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    match range.trim().split_once('-')? {
        ("0", "0") => Some(0),
        ("0", last) => last.parse::<u64>().ok()?.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_offset_of_a_session() {
        for (range, expected) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", Some(0)),
            ("5-99", None),
            ("", None),
            ("0-x", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(super::offset(range), expected, "{range}");
        }
    }
}
