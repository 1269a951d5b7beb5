//! What the environment says: directories, credentials, proxies, certificates.

use std::env;
use std::path::PathBuf;

use super::exit::CliError;
use crate::net::Proxies;

/// Bundles of certificates where distributions keep them.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn text(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

/// A variable as it is.
pub(super) fn raw(name: &std::ffi::OsStr) -> Option<std::ffi::OsString> {
    env::var_os(name)
}

/// A variable, for `--build-arg NAME`.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The socket of the caller's agent.
pub(super) fn ssh_agent() -> Option<PathBuf> {
    path("SSH_AUTH_SOCK")
}

/// The store's directory: `YADO_ROOT`, else by XDG's rules. An empty variable is none.
pub(super) fn store_root() -> Result<PathBuf, CliError> {
    if let Some(root) = path("YADO_ROOT") {
        return Ok(root);
    }
    let data = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
    data.or_else(|| path("HOME").map(|home| home.join(".local/share")))
        .map(|dir| dir.join("yado"))
        .ok_or_else(|| {
            CliError::Usage(
                "there is no HOME to keep the store in; name a directory with --root or YADO_ROOT"
                    .into(),
            )
        })
}

/// How large the store may become: `YADO_STORE_LIMIT`. An empty variable is none.
pub(super) fn store_limit() -> Result<Option<u64>, CliError> {
    let limit = text(&["YADO_STORE_LIMIT"]).map(|value| super::quantity::size(&value)).transpose();
    limit.map_err(|problem| CliError::Usage(format!("YADO_STORE_LIMIT: {problem}")))
}

/// The files that may hold credentials, the first match counts.
pub(super) fn credential_files() -> Vec<PathBuf> {
    if let Some(file) = path("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let docker = path("DOCKER_CONFIG").or_else(|| path("HOME").map(|home| home.join(".docker")));
    let config = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
    let docker = docker.map(|dir| dir.join("config.json"));
    let podman = [path("XDG_RUNTIME_DIR"), config].into_iter().flatten();
    docker.into_iter().chain(podman.map(|dir| dir.join("containers/auth.json"))).collect()
}

/// The argocd CLI's file of servers and tokens.
pub(super) fn argocd_config() -> Option<PathBuf> {
    if let Some(dir) = path("ARGOCD_CONFIG_DIR") {
        return Some(dir.join("config"));
    }
    // The first is where it was in older versions, and still is if it is there.
    let old = path("HOME").map(|home| home.join(".argocd/config")).filter(|file| file.exists());
    let config = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
    old.or_else(|| config.map(|dir| dir.join("argocd/config")))
}

/// Bundles of certificates that this system trusts.
pub(super) fn certificate_bundles() -> Vec<PathBuf> {
    match path("SSL_CERT_FILE") {
        Some(file) => vec![file],
        None => BUNDLES.iter().map(PathBuf::from).filter(|path| path.exists()).collect(),
    }
}

/// The proxies, by the usual names; `HTTP_PROXY` in capitals too, as docker reads it.
pub(super) fn proxies() -> Proxies {
    Proxies {
        http: text(&["http_proxy", "HTTP_PROXY"]),
        https: text(&["https_proxy", "HTTPS_PROXY"]),
        no_proxy: text(&["no_proxy", "NO_PROXY"]),
    }
}

/// The kubeconfig files: those of `KUBECONFIG`, else that of the user.
pub(super) fn kubeconfigs() -> Vec<PathBuf> {
    match env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(list) => env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => path("HOME").map(|home| home.join(".kube/config")).into_iter().collect(),
    }
}

/// Host and port of the API server, as a pod is told.
pub(super) fn kubernetes_service() -> Option<(String, String)> {
    Some((text(&["KUBERNETES_SERVICE_HOST"])?, text(&["KUBERNETES_SERVICE_PORT"])?))
}

/// What the environment says of git servers.
#[derive(Clone, Debug, Default)]
pub(super) struct GitEnvironment {
    /// `HOME`; a user without one has none.
    pub(super) home: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`.
    pub(super) agent: Option<PathBuf>,
    /// `YADO_SSH_PASSPHRASE`.
    pub(super) passphrase: Option<String>,
    /// `GIT_USERNAME`.
    pub(super) user: Option<String>,
    /// `GIT_PASSWORD`.
    pub(super) password: Option<String>,
    /// `GIT_TOKEN`.
    pub(super) token: Option<String>,
    /// `GIT_SSL_CAINFO`: a file of certificates to trust too.
    pub(super) certificates: Option<PathBuf>,
    /// `GIT_SSL_NO_VERIFY`.
    pub(super) unverified: bool,
}

/// Reads what git itself reads of it, and what pipelines set for it.
pub(super) fn git() -> GitEnvironment {
    GitEnvironment {
        home: path("HOME"),
        agent: ssh_agent(),
        passphrase: text(&["YADO_SSH_PASSPHRASE"]),
        user: text(&["GIT_USERNAME"]),
        password: text(&["GIT_PASSWORD"]),
        token: text(&["GIT_TOKEN"]),
        certificates: path("GIT_SSL_CAINFO"),
        unverified: text(&["GIT_SSL_NO_VERIFY"])
            .is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no" | "off")),
    }
}

/// `SOURCE_DATE_EPOCH`, in seconds since 1970.
pub(super) fn source_date_epoch() -> Result<Option<i64>, CliError> {
    text(&["SOURCE_DATE_EPOCH"])
        .map(|value| {
            value.parse().map_err(|_| {
                CliError::Usage(format!(
                    "SOURCE_DATE_EPOCH is {value:?}, expected seconds since 1970"
                ))
            })
        })
        .transpose()
}

/// Whether colours are welcome.
pub(super) fn colour() -> bool {
    path("NO_COLOR").is_none() && path("TERM").is_none_or(|term| term.as_os_str() != "dumb")
}
