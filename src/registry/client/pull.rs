//! Blobs to the store: resumed where they broke, never longer than announced, verified.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::{Client, Registry, Scopes, is_transient};
use crate::image::{Descriptor, Repository};
use crate::net::{self, Method, Request};
use crate::registry::RegistryError;
use crate::report::{Transfer, TransferKind, transfer};
use crate::store::{BlobError, BlobWriter, Store, StoreError};

/// Why an attempt ended before the blob did.
struct Broken {
    error: RegistryError,
    /// Whether another attempt makes sense.
    transient: bool,
    /// How long the server asks to wait.
    asked: Option<Duration>,
}

impl From<RegistryError> for Broken {
    fn from(error: RegistryError) -> Self {
        Self { transient: is_transient(&error), error, asked: None }
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        RegistryError::from(error).into()
    }
}

/// A blob on its way.
struct Download<'a> {
    client: &'a Client,
    registry: Registry,
    request: Request,
    size: u64,
    writer: BlobWriter,
    progress: Transfer,
    /// Where the blob is written, for errors.
    path: PathBuf,
}

impl Client {
    /// So much gained by an attempt means that the connection works after all.
    pub(super) const PROGRESS: u64 = 1024 * 1024;

    /// Fetches a blob into the store, if it is not there; for `step` or for all.
    pub async fn pull_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        store: &Store,
        step: Option<u32>,
    ) -> Result<(), RegistryError> {
        if store.has_blob(descriptor) {
            return Ok(());
        }
        let writer = store.blob_writer(Some(descriptor))?;
        self.pull_into(repository, descriptor, writer, step).await
    }

    /// Fetches a blob with a writer that was begun for it, so that others can follow.
    ///
    /// The content is verified against the descriptor; corrupt content is
    /// fetched once more.
    pub async fn pull_into(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        writer: BlobWriter,
        step: Option<u32>,
    ) -> Result<(), RegistryError> {
        let _permit = self.permit().await;
        let registry = self.registry(repository)?;
        let digest = &descriptor.digest;
        let size = descriptor.size;
        let request = Request::new(Method::GET, registry.url(&format!("blobs/{digest}")));
        let (sink, kind) = (&self.inner.sink, TransferKind::Pull);
        let mut download = Download {
            client: self,
            registry,
            request,
            size,
            progress: transfer(sink, kind, digest.short(), Some(size), step),
            path: writer.path().to_owned(),
            writer,
        };
        let mut corrupt = false;
        loop {
            download.fetch().await?;
            match download.writer.verify() {
                Ok(_) => break,
                Err(BlobError::Digest { actual, .. }) if !corrupt => {
                    corrupt = true;
                    self.warn(format!("blob {digest} arrived as {actual}, fetching it again"));
                    download.restart()?;
                }
                Err(BlobError::Digest { expected, actual }) => {
                    let request = download.request.to_string();
                    return Err(RegistryError::Digest { request, expected, actual });
                }
                Err(other) => return Err(other.into()),
            }
        }
        download.writer.finish()?;
        Ok(())
    }
}

impl Download<'_> {
    /// Writes all bytes of the blob, in as many attempts as it takes.
    async fn fetch(&mut self) -> Result<(), RegistryError> {
        let mut budget = self.client.budget();
        while self.writer.position() < self.size {
            let before = self.writer.position();
            let Err(broken) = self.attempt().await else { continue };
            if !broken.transient {
                return Err(broken.error);
            }
            if self.writer.position() >= before + Client::PROGRESS {
                budget.refill();
            }
            match budget.spend(broken.asked) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(broken.error),
            }
        }
        Ok(())
    }

    /// One attempt, from where the writer stands. A redirect is followed anew
    /// each time, as signed URLs of storage servers expire.
    async fn attempt(&mut self) -> Result<(), Broken> {
        let (at, size) = (self.writer.position(), self.size);
        let mut request = self.request.clone();
        if at > 0 {
            request = request.header("range", format!("bytes={at}-"));
        }
        let scopes = Scopes::pull(&self.registry.repository);
        let mut response = self.client.send_signed(&self.registry, &scopes, &request).await?;
        match response.status() {
            206 if at > 0 => {
                let range = response.header("content-range").unwrap_or_default();
                let expected = format!("bytes {at}-{}/", size - 1);
                let total = range.strip_prefix(&expected);
                if total != Some("*") && total != Some(&size.to_string()) {
                    let problem = format!("a range that was not asked for: {range:?}");
                    return Err(self.start_over(problem)?);
                }
            }
            // No ranges here: all of it again.
            200 => {
                if at > 0 {
                    self.restart()?;
                }
                if let Some(length) = response.length().filter(|length| *length != size) {
                    let problem =
                        format!("the blob has {length} bytes, its descriptor says {size}");
                    return Err(RegistryError::length(&request, problem).into());
                }
            }
            416 if at > 0 => return Err(self.start_over("no such range".into())?),
            status => {
                let asked = response.retry_after();
                let error = self.registry.refused(&request, &mut response).await;
                return Err(Broken { error, transient: net::is_transient(status), asked });
            }
        }
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| self.registry.unreachable(&request, error))?;
            let Some(chunk) = chunk else { break };
            if self.writer.position() + chunk.len() as u64 > size {
                let problem = format!("the blob has more than the {size} bytes of its descriptor");
                return Err(RegistryError::length(&request, problem).into());
            }
            // On the async thread: a chunk is some KiB, hashed and written in microseconds.
            self.writer.write_all(&chunk).map_err(StoreError::io("write", &self.path))?;
            self.progress.advance(chunk.len() as u64);
        }
        if self.writer.position() < size {
            let problem =
                format!("the blob ended after {} of {size} bytes", self.writer.position());
            let error = RegistryError::length(&request, problem);
            return Err(Broken { error, transient: true, asked: None });
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        self.progress.set(0);
        self.writer.restart()
    }

    /// Forgets what there is, so that the next attempt asks for all of it.
    fn start_over(&mut self, problem: String) -> Result<Broken, StoreError> {
        self.restart()?;
        let error = RegistryError::protocol(&self.request, problem);
        Ok(Broken { error, transient: true, asked: None })
    }
}
