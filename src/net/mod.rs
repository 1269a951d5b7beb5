//! The one HTTP client: TLS, proxies, redirects, stalls, retries.
//!
//! What it promises: nothing is read from the environment (proxies and bundles
//! come in as `Options`); building it costs nothing until the first request;
//! an `Authorization` header is sent to the origin it was given for and to no
//! other; a transfer that makes no progress ends after `Options::stall`, one
//! that makes progress may last as long as it needs. What it does not do: it
//! never retries by itself, since only the caller knows what may be repeated;
//! `Retry` says when and how long to wait. `Http::connect` gives a bare connection
//! to what does not speak http.

mod client;
mod error;
mod retry;
mod tcp;
mod tls;

pub use client::{
    Body, FileBody, Http, Identity, Options, Proxies, Ready, Request, Response, same_origin,
};
pub use error::{Cause, NetError};
pub use reqwest::header::HeaderValue;
pub use reqwest::{Method, Url};
pub use retry::{Retry, http_date, is_transient, retry_after};
pub use tcp::Connection;
