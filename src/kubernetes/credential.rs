//! What goes with each request: the connection, and who it is from.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;

use super::KubernetesError;
use super::config::{Config, Credential, read};
use super::plugin::Given;
use crate::net::{self, HeaderValue, Http, Identity};

/// How long a watch may be silent before it is taken up anew: connections die without a word
/// behind load balancers, and servers send bookmarks once a minute, not sooner.
const SILENCE: Duration = Duration::from_secs(75);

/// The connections of a client.
pub(super) struct Session {
    config: Config,
    net: net::Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: Option<Arc<Connections>>,
    given: Option<Given>,
}

/// For requests, and for watches.
pub(super) struct Connections {
    pub(super) requests: Http,
    pub(super) streams: Http,
}

impl Session {
    pub(super) fn new(config: &Config, net: &net::Options) -> Self {
        let mut net = net.clone();
        net.authorities.extend(config.authorities.iter().cloned());
        net.unverified |= config.unverified;
        if let Some(proxy) = &config.proxy {
            net.proxies.http = Some(proxy.clone());
            net.proxies.https = Some(proxy.clone());
            net.proxies.no_proxy = None;
        }
        Self { config: config.clone(), net, state: Mutex::default() }
    }

    /// The connection to use now, and the header to send over it. `refused` says that the server
    /// did not take the last one.
    pub(super) async fn authorize(
        &self,
        refused: bool,
    ) -> Result<(Arc<Connections>, Option<HeaderValue>), KubernetesError> {
        let mut state = self.state.lock().await;
        let token = match &self.config.credential {
            Credential::None => None,
            Credential::Token(token) => Some(format!("Bearer {token}")),
            Credential::TokenFile(path) => {
                let token = String::from_utf8_lossy(&read(path)?).trim().to_owned();
                if token.is_empty() {
                    let place = path.display().to_string();
                    return Err(KubernetesError::Config { place, problem: "it is empty".into() });
                }
                Some(format!("Bearer {token}"))
            }
            Credential::Basic { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            Credential::Plugin(plugin) => {
                let good = |given: &Given| given.expires.is_none_or(|until| now() + 10 < until);
                if refused || !state.given.as_ref().is_some_and(good) {
                    let given = plugin.run().await?;
                    if given.identity.is_some() {
                        state.connections = None;
                    }
                    state.given = Some(given);
                }
                let given = state.given.as_ref();
                given.and_then(|given| given.token.as_ref()).map(|token| format!("Bearer {token}"))
            }
        };
        let header = token.map(|token| {
            let mut value = HeaderValue::from_str(&token).map_err(|_| KubernetesError::Config {
                place: "the token".to_owned(),
                problem: "it holds characters that no header may have".to_owned(),
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        let of_plugin = state.given.as_ref().and_then(|given| given.identity.clone());
        let connections = state.connections.get_or_insert_with(|| {
            Arc::new(self.connections(of_plugin.or_else(|| self.config.identity.clone())))
        });
        Ok((Arc::clone(connections), header.transpose()?))
    }

    /// Whether another credential may be had when one was refused.
    pub(super) fn renews(&self) -> bool {
        matches!(self.config.credential, Credential::TokenFile(_) | Credential::Plugin(_))
    }

    fn connections(&self, identity: Option<Identity>) -> Connections {
        let requests = net::Options { identity, ..self.net.clone() };
        let streams = net::Options { stall: SILENCE, ..requests.clone() };
        Connections { requests: Http::new(requests), streams: Http::new(streams) }
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
