//! Pull from and push to registries (OCI distribution specification 1.1).
//!
//! `Client` survives what networks and registries ordinarily do: it resumes
//! broken transfers at the byte where they broke, waits as long as it is told,
//! fetches a corrupt blob again, and finds out whether a request whose answer
//! was lost had worked. What it hands on is verified. Credentials come from
//! `Credentials` and go only to the registry and the token server it names.

mod client;
mod credentials;
mod error;
mod helper;
#[cfg(test)]
mod testing;

pub use client::{Client, ClientOptions, Fetched, Pushed};
pub use credentials::{Credential, Credentials, CredentialsError};
pub use error::{Detail, Kind, RegistryError};
