//! Answers to challenges: Basic, and Bearer tokens that are fetched once and shared.
//!
//! A token is asked for with the scopes of the operation, the registry's push
//! scope first, since several servers read only the first one. Tokens are kept
//! by host and scopes; whoever needs one that is just being fetched waits for
//! it. A challenge that was met once is met again without being asked, so that
//! a large upload is not refused after its last byte.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::{Client, Registry};
use crate::image::Repository;
use crate::net::{Body, Method, Request, Response, Url};
use crate::registry::{Credential, RegistryError};

/// What an operation may do, in the order in which it is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Scopes(Vec<String>);

impl Scopes {
    pub(super) fn pull(repository: &Repository) -> Self {
        Self(vec![format!("repository:{}:pull", repository.path())])
    }

    pub(super) fn push(repository: &Repository) -> Self {
        Self(vec![format!("repository:{}:pull,push", repository.path())])
    }

    pub(super) fn push_and_mount(repository: &Repository, from: &Repository) -> Self {
        let Self(mut scopes) = Self::push(repository);
        scopes.push(format!("repository:{}:pull", from.path()));
        Self(scopes)
    }

    /// Adds what the registry asked for and the operation did not foresee.
    fn with(&self, asked: Option<&str>) -> Self {
        let mut scopes = self.0.clone();
        for scope in asked.unwrap_or_default().split_ascii_whitespace() {
            if !scopes.iter().any(|have| covers(have, scope)) {
                scopes.push(scope.to_owned());
            }
        }
        Self(scopes)
    }
}

/// Whether the scope `have` allows all that `wanted` does.
fn covers(have: &str, wanted: &str) -> bool {
    match (have.rsplit_once(':'), wanted.rsplit_once(':')) {
        (Some((resource, actions)), Some((other, wanted))) => {
            resource == other && wanted.split(',').all(|w| actions.split(',').any(|a| a == w))
        }
        _ => have == wanted,
    }
}

struct Token {
    header: HeaderValue,
    fresh_until: Instant,
}

type TokenCell = Arc<tokio::sync::Mutex<Option<Token>>>;

/// What is known about the hosts and their tokens.
#[derive(Default)]
pub(super) struct Auth {
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<(String, Scopes), TokenCell>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenAnswer")
    }
}

impl Client {
    /// The most that is read of a token server's answer.
    const TOKEN_LIMIT: usize = 64 * 1024;

    /// Sends a request that is signed as the registry wants it; a 401 is
    /// answered once. Any status but a challenge that was met is an answer.
    pub(super) async fn send_signed(
        &self,
        registry: &Registry,
        scopes: &Scopes,
        request: &Request,
    ) -> Result<Response, RegistryError> {
        let mut request = request.clone();
        let ours = crate::net::same_origin(&request.url, &registry.base);
        if ours && let Some(known) = self.known(registry) {
            request.authorization = self.authorize(registry, scopes, &known, None).await?;
        }
        let response = self.exchange(registry, &request).await?;
        // A storage server behind a redirect has no say in our credentials.
        let theirs = crate::net::same_origin(response.url(), &registry.base);
        if response.status() != 401 || !ours || !theirs {
            return Ok(response);
        }
        let Some(challenge) = challenge::parse(response.headers("www-authenticate")) else {
            return Ok(response);
        };
        self.auth()
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(registry.host.clone(), challenge.clone());
        let refused = request.authorization.take();
        let fresh = self.authorize(registry, scopes, &challenge, refused.as_ref()).await?;
        if fresh.is_none() || fresh == refused {
            return Ok(response);
        }
        request.authorization = fresh;
        self.exchange(registry, &request).await
    }

    fn known(&self, registry: &Registry) -> Option<Challenge> {
        let challenges = self.auth().challenges.lock().unwrap_or_else(PoisonError::into_inner);
        match challenges.get(&registry.host).cloned()? {
            // The scope belonged to the request that failed then.
            Challenge::Bearer { realm, service, .. } => {
                Some(Challenge::Bearer { realm, service, scope: None })
            }
            Challenge::Basic => Some(Challenge::Basic),
        }
    }

    /// The header that meets a challenge, `None` if there is nothing to show.
    /// `refused` is a header that the registry did not take.
    async fn authorize(
        &self,
        registry: &Registry,
        scopes: &Scopes,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let credential = self.credential(registry).await?;
        if let Some(Credential::RegistryToken(token)) = &credential {
            return bearer(registry, token).map(Some);
        }
        match challenge {
            Challenge::Basic => match &credential {
                Some(Credential::Basic { username, password }) => {
                    Ok(Some(basic(username, password)))
                }
                _ => Ok(None),
            },
            Challenge::Bearer { realm, service, scope } => {
                let asked = scopes.with(scope.as_deref());
                // Kept by what the operation needs, so that the next one like it finds it.
                let cell = {
                    let mut tokens =
                        self.auth().tokens.lock().unwrap_or_else(PoisonError::into_inner);
                    let key = (registry.host.clone(), scopes.clone());
                    Arc::clone(tokens.entry(key).or_default())
                };
                let mut token = cell.lock().await;
                if let Some(token) = &*token
                    && Instant::now() < token.fresh_until
                    && refused != Some(&token.header)
                {
                    return Ok(Some(token.header.clone()));
                }
                *token = None;
                let fetched = self
                    .fetch_token(registry, realm, service.as_deref(), &asked, credential)
                    .await?;
                Ok(Some(token.insert(fetched).header.clone()))
            }
        }
    }

    async fn fetch_token(
        &self,
        registry: &Registry,
        realm: &str,
        service: Option<&str>,
        scopes: &Scopes,
        credential: Option<Credential>,
    ) -> Result<Token, RegistryError> {
        let request = token_request(registry, realm, service, scopes, credential)?;
        // Not repeated here: the operation that needs the token is.
        let mut response = self.exchange(registry, &request).await?;
        if response.status() != 200 {
            return Err(registry.refused(&request, &mut response).await);
        }
        let (bytes, more) = response
            .read(Self::TOKEN_LIMIT)
            .await
            .map_err(|error| registry.unreachable(&request, error))?;
        if more {
            return Err(RegistryError::protocol(&request, "the answer is longer than 64 KiB"));
        }
        // The parser's own text could quote the token.
        let answer: TokenAnswer = serde_json::from_slice(&bytes)
            .map_err(|_| RegistryError::protocol(&request, "the answer is not a JSON token"))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if token.is_empty() {
            return Err(RegistryError::protocol(&request, "the answer holds no token"));
        }
        // 60 seconds is what the specification has for an absent or shorter value.
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(60).clamp(60, 86_400));
        let margin = Duration::from_secs(30).min(lifetime / 4);
        Ok(Token {
            header: bearer(registry, &token)?,
            fresh_until: Instant::now() + lifetime.saturating_sub(margin),
        })
    }
}

/// The request for a token: a form with a refresh token, or a query with Basic.
fn token_request(
    registry: &Registry,
    realm: &str,
    service: Option<&str>,
    scopes: &Scopes,
    credential: Option<Credential>,
) -> Result<Request, RegistryError> {
    let refuse = |problem: &str| RegistryError::Protocol {
        request: registry.base.to_string(),
        problem: format!("the registry names {realm:?} as its token server: {problem}"),
    };
    let mut url: Url = realm.parse().map_err(|_| refuse("it is not a URL"))?;
    match (url.scheme(), registry.base.scheme()) {
        ("https", _) | ("http", "http") => {}
        _ => return Err(refuse("it must be https, or credentials would be readable on the way")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user name or password"));
    }
    if let Some(Credential::IdentityToken(token)) = credential {
        let mut form = Url::parse("form:/").map_err(|_| refuse("it is not a URL"))?;
        let mut pairs = form.query_pairs_mut();
        pairs.append_pair("grant_type", "refresh_token").append_pair("client_id", "yado");
        if let Some(service) = service {
            pairs.append_pair("service", service);
        }
        pairs.append_pair("scope", &scopes.0.join(" ")).append_pair("refresh_token", &token);
        drop(pairs);
        let body = form.query().unwrap_or_default().as_bytes().into();
        return Ok(Request::new(Method::POST, url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::Bytes(body)));
    }
    let mut pairs = url.query_pairs_mut();
    if let Some(service) = service {
        pairs.append_pair("service", service);
    }
    for scope in &scopes.0 {
        pairs.append_pair("scope", scope);
    }
    drop(pairs);
    let mut request = Request::new(Method::GET, url);
    if let Some(Credential::Basic { username, password }) = credential {
        request.authorization = Some(basic(&username, &password));
    }
    Ok(request)
}

fn basic(username: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    // Base64 has only characters that a header may have.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn bearer(registry: &Registry, token: &str) -> Result<HeaderValue, RegistryError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| RegistryError::Protocol {
            request: registry.base.to_string(),
            problem: "the token has characters that no header may have".into(),
        })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(base: &str) -> Registry {
        Registry {
            host: "h.io".into(),
            base: base.parse().expect("a URL"),
            repository: "h.io/a"
                .parse::<crate::image::Reference>()
                .expect("x")
                .repository()
                .clone(),
        }
    }

    #[test]
    fn a_realm_without_tls_is_refused_to_a_registry_with_it() {
        let scopes = Scopes(vec!["repository:a:pull".into()]);
        for (base, realm, good) in [
            ("https://h.io/", "https://auth.io/t", true),
            ("https://h.io/", "http://auth.io/t", false),
            ("https://h.io/", "file:///t", false),
            ("https://h.io/", "/t", false),
            ("https://h.io/", "https://me@auth.io/t", false),
            ("http://h.io/", "http://auth.io/t", true),
        ] {
            let request = token_request(&registry(base), realm, None, &scopes, None);
            assert_eq!(request.is_ok(), good, "{base} {realm}");
        }
    }

    #[test]
    fn scopes_are_repeated_in_a_query_and_joined_in_a_form() {
        let scopes = Scopes(vec!["repository:a:pull,push".into()])
            .with(Some("repository:a:push repository:b:pull"));
        let registry = registry("https://h.io/");
        let realm = "https://auth.io/t?account=x";
        let get = token_request(&registry, realm, Some("s"), &scopes, None).expect("a request");
        assert_eq!(
            get.url.query(),
            Some(
                "account=x&service=s&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull"
            )
        );
        let identity = Some(Credential::IdentityToken("t&t".into()));
        let post = token_request(&registry, realm, None, &scopes, identity).expect("a request");
        let Body::Bytes(form) = post.body else { panic!("a form") };
        assert_eq!(
            String::from_utf8_lossy(&form),
            "grant_type=refresh_token&client_id=yado&\
             scope=repository%3Aa%3Apull%2Cpush+repository%3Ab%3Apull&refresh_token=t%26t"
        );
    }
}
