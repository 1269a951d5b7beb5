//! Programs that give credentials (`exec` in a kubeconfig, `client.authentication.k8s.io`).
//!
//! The program is run without a terminal; it prints an `ExecCredential`, whose token or certificate
//! holds until its `expirationTimestamp`, or for as long as we run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::KubernetesError;
use crate::net::Identity;

/// The program, and how to run it.
#[derive(Clone)]
pub struct Plugin {
    /// `client.authentication.k8s.io/v1` or `v1beta1`.
    pub api_version: String,
    /// A name in `PATH`, or a path.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables beside those that we have.
    pub env: Vec<(String, String)>,
    /// Where to get it.
    pub install: Option<String>,
    /// What it is told about the cluster, if it wants to know.
    pub cluster: Option<Value>,
}

/// Without arguments and variables, which may be secret.
impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("command", &self.command).finish_non_exhaustive()
    }
}

/// What a program gave.
pub(super) struct Given {
    pub(super) token: Option<String>,
    pub(super) identity: Option<Identity>,
    /// When it is no longer good, in seconds since 1970.
    pub(super) expires: Option<i64>,
}

/// How long a program may take; it may talk to a server of its own.
const PATIENCE: Duration = Duration::from_mins(1);

impl Plugin {
    fn error(&self, problem: impl Into<String>) -> KubernetesError {
        KubernetesError::Plugin {
            program: self.command.display().to_string(),
            problem: problem.into(),
            install: self.install.clone(),
        }
    }

    /// Runs it.
    pub(super) async fn run(&self) -> Result<Given, KubernetesError> {
        let mut spec = json!({"interactive": false});
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = cluster.clone();
        }
        let info = json!({"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec});
        let child = tokio::process::Command::new(&self.command)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(PATIENCE, child).await {
            Ok(output) => output.map_err(|e| self.error(e.to_string()))?,
            Err(_) => return Err(self.error(format!("no answer in {} s", PATIENCE.as_secs()))),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            return Err(self.error(format!("{}: {}", output.status, last.trim())));
        }
        self.read(&output.stdout)
    }

    fn read(&self, bytes: &[u8]) -> Result<Given, KubernetesError> {
        let wrong = |problem: &str| self.error(format!("its answer {problem}"));
        // The text is not repeated, it holds a secret.
        let answer: Value = serde_json::from_slice(bytes).map_err(|_| wrong("is not JSON"))?;
        if answer["kind"] != "ExecCredential" {
            return Err(wrong("is no ExecCredential"));
        }
        if answer["apiVersion"] != self.api_version.as_str() {
            let version = answer["apiVersion"].as_str().unwrap_or("no apiVersion");
            return Err(wrong(&format!("is of {version}, not of {}", self.api_version)));
        }
        let status = &answer["status"];
        let text = |name: &str| status[name].as_str().filter(|text| !text.is_empty());
        let identity = match (text("clientCertificateData"), text("clientKeyData")) {
            (Some(certificate), Some(key)) => {
                Some(Identity { certificates: certificate.into(), key: key.into() })
            }
            (None, None) => None,
            _ => return Err(wrong("has a certificate without a key, or a key without one")),
        };
        let token = text("token").map(str::to_owned);
        if token.is_none() && identity.is_none() {
            return Err(wrong("holds neither a token nor a certificate"));
        }
        let expires = text("expirationTimestamp").map(|text| {
            let time = text.parse::<jiff::Timestamp>();
            time.map(jiff::Timestamp::as_second).map_err(|_| wrong("has a malformed expiry"))
        });
        Ok(Given { token, identity, expires: expires.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_programs_answer() {
        let plugin = Plugin {
            api_version: "client.authentication.k8s.io/v1".into(),
            command: "helper".into(),
            args: Vec::new(),
            env: Vec::new(),
            install: None,
            cluster: None,
        };
        let answer = |version: &str, status: Value| {
            let api_version = format!("client.authentication.k8s.io/{version}");
            let answer =
                json!({"kind": "ExecCredential", "apiVersion": api_version, "status": status});
            plugin.read(answer.to_string().as_bytes())
        };
        let given =
            answer("v1", json!({"token": "t", "expirationTimestamp": "1970-01-01T00:01:40Z"}))
                .expect("a token");
        assert_eq!((given.token.as_deref(), given.expires), (Some("t"), Some(100)));
        let both = json!({"clientCertificateData": "c", "clientKeyData": "k"});
        assert!(answer("v1", both).expect("a certificate").identity.is_some());
        for (version, status, said) in [
            ("v1beta1", json!({"token": "t"}), "v1beta1"),
            ("v1", json!({}), "neither"),
            ("v1", json!({"token": ""}), "neither"),
            ("v1", json!({"clientKeyData": "k"}), "without"),
            ("v1", json!({"token": "t", "expirationTimestamp": "soon"}), "expiry"),
        ] {
            let error = answer(version, status).err().expect("must fail").to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(plugin.read(b"token").err().expect("no JSON").to_string().contains("JSON"));
    }
}
