//! A client of the Kubernetes API, as far as the steps around a build need one.
//!
//! Objects are JSON values; which fields they have is the server's affair. [`Config`] comes from a
//! kubeconfig or from the service account of a pod, [`Client`] asks, [`Watch`] follows. What it
//! promises: a token is sent to the server that it is for and to no other, a file that holds one is
//! read again for each request, what passes (a broken connection, 429, 5xx) is tried again where
//! that cannot do a thing twice, and a refusal names the verb and the resource that it is about.
//! What it refuses: ways to log in that it does not know, in words, never in silence.

mod client;
mod config;
mod credential;
mod discovery;
mod error;
mod kubeconfig;
mod plugin;
mod resource;
mod selector;
mod watch;

pub use client::{Client, List, Patch, Selection};
pub use config::{Config, Credential, SERVICE_ACCOUNT};
pub use error::{Call, KubernetesError, Refusal};
pub use kubeconfig::{Choice, Document, kubeconfig};
pub use plugin::Plugin;
pub use resource::{Name, Resource};
pub use selector::selector;
pub use watch::{Change, Watch};
