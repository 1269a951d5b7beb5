//! Manifests and indexes: fetched whole, at most 4 MiB, verified.

use std::sync::Arc;

use super::{Client, Registry, Scopes, is_transient};
use crate::image::{Descriptor, Digest, Document, Reference, media_type};
use crate::net::{Body, Method, NetError, Request};
use crate::registry::RegistryError;

/// What may be answered; on one line, since some proxies keep only the last of several.
const ACCEPT: &str = concat!(
    "application/vnd.oci.image.index.v1+json, ",
    "application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.docker.distribution.manifest.v2+json"
);

/// A manifest or index as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its digest, size and media type.
    pub descriptor: Descriptor,
    /// Its bytes, which are what the digest is of.
    pub bytes: Vec<u8>,
    /// What they say.
    pub document: Document,
}

impl Client {
    /// The most bytes of a manifest; what registries take too.
    const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

    /// Fetches the manifest or index of a reference. A digest in the reference
    /// decides over its tag, and the bytes must have it.
    pub async fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        self.fetch_manifest(reference, &Scopes::pull(reference.repository())).await
    }

    /// The same with the right to push, which is wanted next: one token for both.
    pub async fn pushed_manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        self.fetch_manifest(reference, &Scopes::push(reference.repository())).await
    }

    async fn fetch_manifest(
        &self,
        reference: &Reference,
        scopes: &Scopes,
    ) -> Result<Fetched, RegistryError> {
        let registry = self.registry(reference.repository())?;
        let wanted = reference.digest();
        let name = wanted.map_or(reference.tag().unwrap_or("latest"), Digest::as_str);
        let (bytes, media_type, request) =
            self.get_manifest(&registry, scopes, name, wanted).await?;
        let document = Document::parse(&bytes, &media_type)
            .map_err(|source| RegistryError::Document { request: request.to_string(), source })?;
        let digest = wanted.cloned().unwrap_or_else(|| Digest::of(&bytes));
        let media_type = own_type(&document, &media_type);
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok(Fetched { descriptor, bytes, document })
    }

    /// Gets the bytes and their media type; repeats what broke or came corrupt.
    async fn get_manifest(
        &self,
        registry: &Registry,
        scopes: &Scopes,
        name: &str,
        wanted: Option<&Digest>,
    ) -> Result<(Vec<u8>, String, Request), RegistryError> {
        let request = Request::new(Method::GET, registry.url(&format!("manifests/{name}")))
            .header("accept", ACCEPT);
        let mut budget = self.budget();
        let mut corrupt = false;
        loop {
            let attempt = self.try_manifest(registry, scopes, &request, wanted).await;
            let (error, asked) = match attempt {
                Ok((bytes, media_type)) => return Ok((bytes, media_type, request)),
                Err(failed) => failed,
            };
            match &error {
                RegistryError::Digest { actual, .. } if !corrupt => {
                    corrupt = true;
                    self.warn(format!("{request} arrived as {actual}, fetching it again"));
                }
                error if is_transient(error) => {}
                _ => return Err(error),
            }
            match budget.spend(asked) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(error),
            }
        }
    }

    async fn try_manifest(
        &self,
        registry: &Registry,
        scopes: &Scopes,
        request: &Request,
        wanted: Option<&Digest>,
    ) -> Result<(Vec<u8>, String), (RegistryError, Option<std::time::Duration>)> {
        let broken = |error: NetError| (registry.unreachable(request, error), None);
        let mut response =
            self.send_signed(registry, scopes, request).await.map_err(|e| (e, None))?;
        if response.status() != 200 {
            let asked = response.retry_after();
            return Err((registry.refused(request, &mut response).await, asked));
        }
        let announced = response.length();
        let limit = Self::MANIFEST_LIMIT;
        let (bytes, more) = if announced.is_some_and(|length| length > limit as u64) {
            (Vec::new(), true)
        } else {
            response.read(limit).await.map_err(broken)?
        };
        if more {
            let problem = "the manifest is larger than the 4 MiB that any may have".to_owned();
            return Err((RegistryError::length(request, problem), None));
        }
        let mut hasher = wanted.map_or_else(Default::default, Digest::hasher);
        hasher.update(&bytes);
        let actual = hasher.finish();
        if let Some(expected) = wanted.filter(|wanted| **wanted != actual) {
            let request = request.to_string();
            return Err((
                RegistryError::Digest { request, expected: expected.clone(), actual },
                None,
            ));
        }
        if let Some(said) = response.header("docker-content-digest")
            && said.starts_with("sha256:")
            && actual.algorithm() == "sha256"
            && said != actual.as_str()
        {
            self.warn(format!(
                "{request}: the registry says the digest is {:?}, the manifest has {actual}",
                said.chars().take(80).collect::<String>()
            ));
        }
        let media_type = response.header("content-type").unwrap_or_default().to_owned();
        Ok((bytes, media_type))
    }

    /// Puts a manifest or index under the reference's digest, if it has one, or
    /// its tag; gives the digest. What it refers to must be there already.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let registry = self.registry(reference.repository())?;
        let mut hasher = reference.digest().map_or_else(Default::default, Digest::hasher);
        hasher.update(bytes);
        let digest = hasher.finish();
        let name = match reference.digest() {
            Some(named) => named.as_str(),
            None => reference.tag().unwrap_or("latest"),
        };
        let request = Request::new(Method::PUT, registry.url(&format!("manifests/{name}")))
            .header("content-type", media_type)
            .body(Body::Bytes(Arc::from(bytes)));
        if let Some(expected) = reference.digest().filter(|named| **named != digest) {
            let (request, expected) = (request.to_string(), expected.clone());
            return Err(RegistryError::Digest { request, expected, actual: digest });
        }
        let scopes = Scopes::push(&registry.repository);
        let mut response = self.send(&registry, &scopes, &request).await?;
        match response.status() {
            200..=299 => {
                let said = response.header("docker-content-digest").unwrap_or(digest.as_str());
                // Some registries digest again with sha256 what was named by sha512.
                if said != digest.as_str() && digest.algorithm() == "sha256" {
                    self.warn(format!("{request}: the registry calls {digest} {said:?}"));
                }
                Ok(digest)
            }
            // A tag that cannot be changed: every registry says so in words of its
            // own, so ask whether it is already what it should be.
            400..=499 => {
                let error = registry.refused(&request, &mut response).await;
                if !matches!(error, RegistryError::Refused { status: 401, .. })
                    && let Ok((there, _, _)) =
                        self.get_manifest(&registry, &scopes, name, None).await
                    && there == bytes
                {
                    return Ok(digest);
                }
                Err(error)
            }
            _ => Err(registry.refused(&request, &mut response).await),
        }
    }
}

/// The media type for a descriptor: what the document calls itself, else how it
/// was served, else OCI's, for registries that serve plain JSON.
fn own_type(document: &Document, served: &str) -> String {
    let (own, default) = match document {
        Document::Manifest(manifest) => (&manifest.media_type, media_type::OCI_MANIFEST),
        Document::Index(index) => (&index.media_type, media_type::OCI_INDEX),
    };
    let served = served.split(';').next().unwrap_or_default().trim();
    match own {
        Some(own) => own.clone(),
        None if served.starts_with("application/vnd.") => served.to_owned(),
        None => default.to_owned(),
    }
}
