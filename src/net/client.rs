//! One exchange: a request, its redirects, and an answer that is read in pieces.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION};
use reqwest::{Method, NoProxy, Proxy, Url, redirect};
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

use super::{NetError, retry, tls};
use crate::report::Transfer;

/// How the client connects.
#[derive(Clone, Debug)]
pub struct Options {
    /// CA bundles of the system; those that cannot be read are left out.
    pub system_bundles: Vec<PathBuf>,
    /// PEM files that are trusted too; each must be readable.
    pub certificates: Vec<PathBuf>,
    /// PEM texts of certificates that are trusted too.
    pub authorities: Vec<Vec<u8>>,
    /// The certificate that the client shows.
    pub identity: Option<Identity>,
    /// Whether any certificate of the server is taken, unseen.
    pub unverified: bool,
    /// Proxies.
    pub proxies: Proxies,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long nothing may move while an answer is awaited or bytes flow.
    pub stall: Duration,
    /// How long the server may take to answer after the last byte of a body:
    /// registries verify and move gigabytes in this time.
    pub digestion: Duration,
}

/// A certificate with its chain, and its key, as PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// The client's certificate, then those that lead to its authority.
    pub certificates: Vec<u8>,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Proxies by the scheme of the request, as the caller read them from its environment.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For http URLs (`http_proxy`).
    pub http: Option<String>,
    /// For https URLs (`https_proxy`).
    pub https: Option<String>,
    /// Hosts, domains and address ranges that are reached directly (`no_proxy`).
    pub no_proxy: Option<String>,
}

/// Without the URLs, which may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("no_proxy", &self.no_proxy).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            system_bundles: Vec::new(),
            certificates: Vec::new(),
            authorities: Vec::new(),
            identity: None,
            unverified: false,
            proxies: Proxies::default(),
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(20),
            digestion: Duration::from_mins(5),
        }
    }
}

/// The HTTP client; cheap to make and to clone.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    client: OnceLock<reqwest::Client>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// One request; it can be sent again.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers, without `Authorization`.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Sent only to the origin of `url`.
    pub authorization: Option<HeaderValue>,
    /// Whether the headers are for that origin too: a redirect elsewhere is then not followed.
    pub bound: bool,
    /// What is sent.
    pub body: Body,
}

/// What a request sends; always of known length.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing, with a `Content-Length` of 0 where the method may have a body.
    Empty,
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// A part of a file.
    File(FileBody),
}

/// A part of a file, read while it is sent.
#[derive(Clone, Debug)]
pub struct FileBody {
    /// The file; its position is not used.
    pub file: Arc<std::fs::File>,
    /// The first byte that is sent.
    pub start: u64,
    /// The byte after the last that is sent.
    pub end: u64,
    /// Is told how far it is.
    pub transfer: Arc<Transfer>,
    /// For a file that is still being written.
    pub ready: Option<Ready>,
}

/// Waits until a file has so many bytes, on a thread that may wait.
#[derive(Clone)]
pub struct Ready(Arc<dyn Fn(u64) -> std::io::Result<()> + Send + Sync>);

impl Ready {
    /// With the function that waits.
    pub fn new(wait: impl Fn(u64) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(wait))
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ready")
    }
}

/// Whether two URLs have the same scheme, host and port.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            authorization: None,
            bound: false,
            body: Body::Empty,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// Method and URL; the query is left out, it may hold a secret.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, without_query(&self.url))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({self})")
    }
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

impl Http {
    /// Redirects in a row that are followed.
    const REDIRECTS: usize = 5;
    /// How much of a file is read at once.
    const PIECE: u64 = 256 * 1024;

    /// A client; nothing is read or checked before the first request.
    pub fn new(options: Options) -> Self {
        Self { inner: Arc::new(Inner { options, client: OnceLock::new() }) }
    }

    /// How it connects.
    pub(super) fn options(&self) -> &Options {
        &self.inner.options
    }

    fn client(&self) -> Result<&reqwest::Client, NetError> {
        if let Some(client) = self.inner.client.get() {
            return Ok(client);
        }
        let client = build(&self.inner.options)?;
        Ok(self.inner.client.get_or_init(|| client))
    }

    /// Sends a request and follows redirects; any status is an answer.
    ///
    /// Redirects lead only to http and https, never from https to http; a
    /// request with a body is not repeated at another origin.
    pub async fn send(&self, request: &Request) -> Result<Response, NetError> {
        let mut url = request.url.clone();
        let mut method = request.method.clone();
        let mut authorization = request.authorization.clone();
        let bare = matches!(request.body, Body::Empty);
        for _ in 0..=Self::REDIRECTS {
            let response =
                self.exchange(request, method.clone(), &url, authorization.as_ref()).await?;
            let status = response.status();
            // 201 and 202 have a Location too, which is not a redirect.
            let location = match status {
                301 | 302 | 303 | 307 | 308 => response.header(LOCATION.as_str()),
                _ => None,
            };
            let Some(location) = location else { return Ok(response) };
            let refuse = |problem| NetError::Redirect {
                to: location.split('?').next().unwrap_or_default().to_owned(),
                problem,
            };
            let next = follow(&url, location).map_err(refuse)?;
            if !same_origin(&url, &next) {
                if request.bound {
                    return Err(refuse("the headers of this request are for its origin only"));
                }
                if !bare {
                    return Err(refuse("a request with a body stays at its origin"));
                }
                authorization = None;
            }
            let safe = method == Method::GET || method == Method::HEAD;
            if status == 303 && !safe {
                return Err(refuse("the answer to a change is not elsewhere"));
            }
            if !safe && matches!(status, 301 | 302) {
                // Clients disagree on whether these turn a POST into a GET.
                return Err(refuse("only 307 and 308 redirect a change"));
            }
            url = next;
            if status == 303 {
                method = Method::GET;
            }
        }
        Err(NetError::Redirect { to: without_query(&url), problem: "there are too many in a row" })
    }

    async fn exchange(
        &self,
        request: &Request,
        method: Method,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, NetError> {
        let has_body = !matches!(method, Method::GET | Method::HEAD | Method::DELETE);
        let mut builder = self.client()?.request(method, url.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name.as_ref(), value);
        }
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value.clone());
        }
        let sent = Arc::new(AtomicU64::new(0));
        let mut length = 0;
        match &request.body {
            Body::Empty if !has_body => {}
            Body::Empty => builder = builder.header(CONTENT_LENGTH, 0),
            Body::Bytes(bytes) => builder = builder.body(bytes.to_vec()),
            Body::File(part) => {
                length = part.end - part.start;
                part.transfer.set(part.start);
                builder = builder
                    .header(CONTENT_LENGTH, length)
                    .body(reqwest::Body::wrap_stream(pieces(part, Arc::clone(&sent))));
            }
        }
        let inner = self.watch(builder.send(), &sent, length).await?;
        Ok(Response { inner, stall: self.inner.options.stall })
    }

    /// Waits for an answer as long as the body moves.
    async fn watch(
        &self,
        answer: impl Future<Output = reqwest::Result<reqwest::Response>>,
        sent: &AtomicU64,
        length: u64,
    ) -> Result<reqwest::Response, NetError> {
        let options = &self.inner.options;
        let mut answer = std::pin::pin!(answer);
        let mut before = 0;
        loop {
            let done = length > 0 && sent.load(Ordering::Relaxed) == length;
            let limit = if done { options.digestion } else { options.stall };
            if let Ok(answer) = timeout(limit, &mut answer).await {
                return answer.map_err(NetError::exchange);
            }
            let now = sent.load(Ordering::Relaxed);
            if now == before {
                return Err(NetError::Stalled(limit));
            }
            before = now;
        }
    }
}

/// Where a `Location` leads. A user name and password of `from` go along at its origin and no
/// further; the server itself may not give any.
fn follow(from: &Url, location: &str) -> Result<Url, &'static str> {
    // Without them in the base, those in the result are the location's own.
    let mut base = from.clone();
    let _ = base.set_username("");
    let _ = base.set_password(None);
    let mut next = base.join(location).map_err(|_| "it is not a URL")?;
    check(from, &next)?;
    if same_origin(from, &next) {
        let _ = next.set_username(from.username());
        let _ = next.set_password(from.password());
    }
    Ok(next)
}

/// What a redirect or another URL from a server may not do.
fn check(from: &Url, to: &Url) -> Result<(), &'static str> {
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err("it leads from https to http"),
        _ => return Err("it is neither http nor https"),
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("it holds a user name or password");
    }
    Ok(())
}

fn build(options: &Options) -> Result<reqwest::Client, NetError> {
    // The URL is not repeated, it may hold a password.
    let malformed =
        |kind: &str| NetError::Options(format!("the URL of the {kind} proxy is malformed"));
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(options)?)
        .user_agent(concat!("yado/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(options.connect)
        .http2_adaptive_window(true)
        .no_proxy();
    let direct = options.proxies.no_proxy.as_deref().and_then(NoProxy::from_string);
    if let Some(url) = &options.proxies.http {
        let proxy = Proxy::http(url).map_err(|_| malformed("http"))?;
        builder = builder.proxy(proxy.no_proxy(direct.clone()));
    }
    if let Some(url) = &options.proxies.https {
        let proxy = Proxy::https(url).map_err(|_| malformed("https"))?;
        builder = builder.proxy(proxy.no_proxy(direct));
    }
    builder.build().map_err(|e| NetError::Options(e.without_url().to_string()))
}

/// Reads a part of a file piece by piece, off the threads that serve connections.
fn pieces(
    part: &FileBody,
    sent: Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let state = (part.clone(), part.start, sent);
    stream::try_unfold(state, |(part, at, sent)| async move {
        if at == part.end {
            return Ok(None);
        }
        let (file, ready) = (Arc::clone(&part.file), part.ready.clone());
        let length = (part.end - at).min(Http::PIECE) as usize;
        let piece = tokio::task::spawn_blocking(move || {
            if let Some(Ready(wait)) = ready {
                wait(at + length as u64)?;
            }
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        })
        .await
        .map_err(std::io::Error::other)??;
        let count = piece.len() as u64;
        sent.fetch_add(count, Ordering::Relaxed);
        part.transfer.advance(count);
        Ok(Some((Bytes::from(piece), (part, at + count, sent))))
    })
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
    stall: Duration,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// Where the answer came from, after redirects.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// All headers of this name that are text.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inner.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The length of the body in bytes, if it was announced.
    pub fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(self.header("retry-after")?, SystemTime::now())
    }

    /// The `Location`, resolved against where the answer came from; the query
    /// keeps its bytes. `Err` says why it is not usable.
    pub fn location(&self) -> Result<Url, &'static str> {
        let location = self.header("location").ok_or("it has no Location")?;
        let url = self.url().join(location).map_err(|_| "its Location is not a URL")?;
        check(self.url(), &url)?;
        Ok(url)
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        match timeout(self.stall, self.inner.chunk()).await {
            Ok(chunk) => chunk.map_err(NetError::exchange),
            Err(_) => Err(NetError::Stalled(self.stall)),
        }
    }

    /// The body up to `limit` bytes; the flag says whether there was more.
    pub async fn read(&mut self, limit: usize) -> Result<(Vec<u8>, bool), NetError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                bytes.extend_from_slice(&chunk[..limit - bytes.len()]);
                return Ok((bytes, true));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let a = url("https://h.io/x");
        for (other, expected) in [
            ("https://h.io:443/y?z", true),
            ("https://H.io/y", true),
            ("http://h.io/x", false),
            ("https://h.io:444/x", false),
            ("https://h.io.evil/x", false),
        ] {
            assert_eq!(same_origin(&a, &url(other)), expected, "{other}");
        }
    }

    #[test]
    fn server_urls_do_not_lead_astray() {
        for (from, to, good) in [
            ("https://h/", "https://other/", true),
            ("http://h/", "http://h/x", true),
            ("http://h/", "https://h/x", true),
            ("https://h/", "http://h/x", false),
            ("http://h/", "file:///etc/passwd", false),
            ("https://h/", "https://user@h/", false),
        ] {
            assert_eq!(check(&url(from), &url(to)).is_ok(), good, "{from} {to}");
        }
    }

    #[test]
    fn credentials_follow_a_redirect_at_their_origin_only() {
        const OWN: &str = "error: it holds a user name or password";
        let from = url("http://u%40x:p%3aw@h/a/b?c");
        for (location, expected) in [
            ("/d", "http://u%40x:p%3aw@h/d"),
            ("d?e", "http://u%40x:p%3aw@h/a/d?e"),
            ("//h:80/d", "http://u%40x:p%3aw@h/d"),
            ("http://H/d", "http://u%40x:p%3aw@h/d"),
            ("//other/d", "http://other/d"),
            ("http://h:81/d", "http://h:81/d"),
            ("https://h/d", "https://h/d"),
            ("http://u%40x:p%3aw@h/d", OWN),
            ("//v@h/d", OWN),
            ("https://v:w@other/d", OWN),
            ("http://[/", "error: it is not a URL"),
            ("file:///d", "error: it is neither http nor https"),
        ] {
            let found = follow(&from, location);
            let found = found.map_or_else(|e| format!("error: {e}"), |url| url.to_string());
            assert_eq!(found, expected, "{location}");
        }
        assert_eq!(follow(&url("http://h/a"), "/b").unwrap().as_str(), "http://h/b");
    }

    #[test]
    fn a_request_is_shown_without_secrets() {
        let request = Request::new(Method::PUT, url("https://u:p@h/x?_state=secret"));
        assert_eq!(request.to_string(), "PUT https://h/x");
    }
}
