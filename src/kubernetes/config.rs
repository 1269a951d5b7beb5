//! Where the API server is, and who we are to it.

use std::path::{Path, PathBuf};

use super::KubernetesError;
use super::plugin::Plugin;
use crate::net::{Identity, Url};

/// Where a pod finds the files of its service account.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A server, and how to log in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its URL; a path before `/api` stays.
    pub server: Url,
    /// PEM texts of certificates to trust besides those of the system.
    pub authorities: Vec<Vec<u8>>,
    /// Whether its certificate is taken unseen.
    pub unverified: bool,
    /// The certificate that the client shows.
    pub identity: Option<Identity>,
    /// The proxy; that of the environment if there is none.
    pub proxy: Option<String>,
    /// How requests say who they are from.
    pub credential: Credential,
    /// The namespace, where none is said.
    pub namespace: String,
}

/// How a request says who it is from.
#[derive(Clone, Default)]
pub enum Credential {
    /// It does not, or the certificate does.
    #[default]
    None,
    /// A token.
    Token(String),
    /// A file with a token, read again for each request, since tokens of pods last an hour.
    TokenFile(PathBuf),
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A program that gives a token or a certificate.
    Plugin(Box<Plugin>),
}

/// Without the secrets.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::TokenFile(_) => "TokenFile",
            Self::Basic { .. } => "Basic",
            Self::Plugin(_) => "Plugin",
        })
    }
}

impl Config {
    /// A server without anything else.
    pub fn new(server: Url) -> Self {
        Self {
            server,
            authorities: Vec::new(),
            unverified: false,
            identity: None,
            proxy: None,
            credential: Credential::None,
            namespace: "default".to_owned(),
        }
    }

    /// That of a pod: the files of its service account in `dir`, and what
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` say.
    pub fn of_pod(dir: &Path, host: &str, port: &str) -> Result<Self, KubernetesError> {
        // An address of IPv6 has no brackets there.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let server = format!("https://{host}:{port}");
        let url = server.parse().map_err(|_| KubernetesError::Config {
            place: "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT".to_owned(),
            problem: format!("{server:?} is not a URL"),
        })?;
        let mut config = Self::new(url);
        config.authorities = vec![read(&dir.join("ca.crt"))?];
        let token = dir.join("token");
        read(&token)?;
        config.credential = Credential::TokenFile(token);
        // A pod without this file is in the namespace that it says itself.
        if let Ok(namespace) = std::fs::read_to_string(dir.join("namespace")) {
            namespace.trim().clone_into(&mut config.namespace);
        }
        Ok(config)
    }
}

/// A whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KubernetesError> {
    std::fs::read(path).map_err(|source| KubernetesError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_pod_has_files_and_two_variables() {
        let temp = TempDir::new("service-account");
        let write = |name: &str, text: &str| {
            std::fs::write(temp.path().join(name), text).expect("write");
        };
        write("token", "t");
        let error = Config::of_pod(temp.path(), "10.0.0.1", "443").expect_err("no certificate");
        assert!(error.to_string().contains("ca.crt"), "{error}");
        write("ca.crt", "pem");
        for (host, namespace, expected) in [
            ("10.0.0.1", "default", "https://10.0.0.1/"),
            ("fd00::1", "shop", "https://[fd00::1]/"),
        ] {
            let config = Config::of_pod(temp.path(), host, "443").expect("a configuration");
            assert_eq!(config.server.as_str(), expected);
            assert_eq!(config.namespace, namespace);
            write("namespace", "shop\n");
        }
    }
}
