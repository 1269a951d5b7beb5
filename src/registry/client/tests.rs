//! The client against a registry that fails as it is told.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::image::{Descriptor, Digest, Reference, media_type};
use crate::registry::testing::{Answer, Fate, Heard, Server};
use crate::registry::{Fetched, Kind, Pushed};
use crate::store::Store;
use crate::testing::TempDir;

mod auth;
mod faults;

/// Keeps the warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Sink for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// A client, a registry and a store.
struct World {
    server: Server,
    client: Client,
    store: Store,
    warnings: Arc<Warnings>,
    _temp: TempDir,
}

fn options() -> ClientOptions {
    ClientOptions {
        retry: Retry {
            attempts: 5,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(2),
            server_cap: Duration::from_millis(40),
        },
        ..ClientOptions::default()
    }
}

/// A world whose client waits for nothing longer than a blink. On a busy machine
/// it may give up on what would have come, so no test counts its requests.
fn impatient_world(script: impl FnMut(&Heard) -> Fate + Send + 'static) -> World {
    let mut world = world(script);
    let net = net::Options { stall: Duration::from_millis(150), ..net::Options::default() };
    let options = ClientOptions { net, ..options() };
    world.client = Client::new(options, Arc::clone(&world.warnings) as Arc<dyn Sink>);
    world
}

fn world(script: impl FnMut(&Heard) -> Fate + Send + 'static) -> World {
    let temp = TempDir::new("registry");
    let store = Store::open(temp.path(), "ids").expect("a store");
    let warnings = Arc::new(Warnings::default());
    let client = Client::new(options(), Arc::clone(&warnings) as Arc<dyn Sink>);
    World { server: Server::start(script), client, store, warnings, _temp: temp }
}

impl World {
    /// From now on the client knows who the user is.
    fn log_in(&mut self, credential: Credential) {
        let credentials = Credentials::single(&self.server.host(), credential);
        let options = ClientOptions { credentials, ..options() };
        self.client = Client::new(options, Arc::clone(&self.warnings) as Arc<dyn Sink>);
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.server.host()).parse().expect("a reference")
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.0.lock().unwrap().clone()
    }

    async fn pull(&self, blob: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(blob);
        self.server.shelf().blobs.entry(digest.to_string()).or_insert(blob.to_vec());
        let descriptor = Descriptor::new("x", digest.clone(), blob.len() as u64);
        self.client
            .pull_blob(self.reference("a").repository(), &descriptor, &self.store, None)
            .await?;
        let mut bytes = Vec::new();
        self.store.open_blob(&digest)?.read_to_end(&mut bytes).expect("read");
        assert!(bytes == blob, "the store has other bytes");
        Ok(())
    }

    async fn push(&self, blob: &[u8], from: Option<&str>) -> Result<Pushed, RegistryError> {
        let digest = self.store.put_blob(blob)?;
        let descriptor = Descriptor::new("x", digest.clone(), blob.len() as u64);
        let from = from.map(|from| self.reference(from));
        let from = from.as_ref().map(Reference::repository);
        let to = self.reference("a");
        let pushed =
            self.client.push_blob(to.repository(), &descriptor, &self.store, from, None).await?;
        assert!(self.server.shelf().blobs[digest.as_str()] == blob, "the registry has other bytes");
        Ok(pushed)
    }

    async fn manifest(&self, rest: &str) -> Result<Fetched, RegistryError> {
        self.client.manifest(&self.reference(rest)).await
    }

    fn count(&self, method: &str, part: &str) -> usize {
        self.server.shelf().log.iter().filter(|h| h.is(method, part)).count()
    }
}

/// Bytes that no compression and no accident makes equal.
fn blob(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Gives `fates` to the requests that match, one each, and lets all others pass.
fn once_each(
    method: &'static str,
    part: &'static str,
    fates: Vec<Fate>,
) -> impl FnMut(&Heard) -> Fate + Send + 'static {
    let mut fates = fates.into_iter();
    move |heard| {
        if heard.is(method, part) { fates.next().unwrap_or(Fate::Pass) } else { Fate::Pass }
    }
}

const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

#[test]
fn finds_the_registry_of_a_host() {
    let plain = ClientOptions { insecure: vec!["Plain.io:5000".into()], ..options() };
    let client = Client::new(plain, Arc::new(Warnings::default()));
    let certified = ClientOptions {
        net: net::Options { certificates: vec!["ca.pem".into()], ..net::Options::default() },
        ..options()
    };
    let certified = Client::new(certified, Arc::new(Warnings::default()));
    for (client, reference, expected) in [
        (&client, "busybox", "https://registry-1.docker.io/"),
        (&client, "h.io/a", "https://h.io/"),
        (&client, "plain.io:5000/a", "http://plain.io:5000/"),
        (&client, "plain.io/a", "https://plain.io/"),
        (&client, "localhost:5000/a", "http://localhost:5000/"),
        (&client, "127.1.2.3/a", "http://127.1.2.3/"),
        (&client, "[::1]:5000/a", "http://[::1]:5000/"),
        (&client, "10.0.0.5:5000/a", "https://10.0.0.5:5000/"),
        (&client, "localhost.evil.io/a", "https://localhost.evil.io/"),
        (&certified, "localhost:5000/a", "https://localhost:5000/"),
    ] {
        let reference: Reference = reference.parse().expect("a reference");
        let registry = client.registry(reference.repository()).expect("a registry");
        assert_eq!(registry.base.as_str(), expected);
    }
}

#[tokio::test]
async fn an_unreachable_host_is_named() {
    let world = world(|_| Fate::Pass);
    let host = world.server.host();
    let reference = world.reference("a");
    drop(world.server);
    // The port is free once the accepting thread has ended; until then it hangs up.
    let error = world.client.manifest(&reference).await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains(&host), "{error}");
}

#[tokio::test]
async fn an_https_client_at_a_plain_server_says_so() {
    let world = world(|_| Fate::Pass);
    let temp = TempDir::new("registry-plain");
    let mut options = options();
    // Any named certificate switches plain http off for loopback.
    let certificate = temp.path().join("ca.pem");
    let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, root);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    std::fs::write(&certificate, pem).expect("write");
    options.net.certificates.push(certificate);
    let client = Client::new(options, Arc::new(Warnings::default()));
    let error = client.manifest(&world.reference("a")).await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("--insecure-registry"), "{error}");
}
