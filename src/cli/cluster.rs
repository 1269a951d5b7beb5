//! Which cluster, as `kubectl` finds it: flags, kubeconfig, the service account of the pod.

use std::path::PathBuf;

use super::environment;
use super::exit::CliError;
use crate::kubernetes::{
    Choice, Client, Config, Credential, Document, KubernetesError, SERVICE_ACCOUNT, kubeconfig,
};
use crate::net;

/// Flags of the steps that talk to Kubernetes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Of the cluster")]
pub(super) struct ClusterFlags {
    /// The namespace [default: that of the context, or of the pod]
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// The kubeconfig [default: those of KUBECONFIG, or ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, instead of the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The URL of the API server, instead of that of the context
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// A file that holds the token, instead of the context's credentials
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ClusterFlags {
    /// As these flags of a step say that has others of such names.
    pub(super) fn of(kubeconfig: Option<PathBuf>, context: Option<String>) -> Self {
        Self { kubeconfig, context, ..Self::default() }
    }

    /// The client, which has asked nothing yet.
    pub(super) fn client(&self, net: &net::Options) -> Result<Client, CliError> {
        let mut config = self.config()?;
        if let Some(path) = &self.token_file {
            config.credential = Credential::TokenFile(path.clone());
            config.identity = None;
        }
        if let Some(namespace) = &self.namespace {
            config.namespace.clone_from(namespace);
        }
        Ok(Client::new(&config, net))
    }

    fn config(&self) -> Result<Config, CliError> {
        let server = self.server.as_deref().map(|server| {
            let url = server.parse::<net::Url>().ok();
            let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
            url.ok_or_else(|| {
                CliError::Usage(format!("--server {server:?} is not a URL of http or https"))
            })
        });
        let server = server.transpose()?;
        if let Some(mut config) = self.of_files()? {
            if let Some(server) = server {
                config.server = server;
            }
            return Ok(config);
        }
        if let Some(server) = server {
            return Ok(Config::new(server));
        }
        match environment::kubernetes_service() {
            Some((host, port)) => Ok(Config::of_pod(SERVICE_ACCOUNT.as_ref(), &host, &port)?),
            None => Err(CliError::Missing(
                "there is no cluster: no kubeconfig, and this is no pod; name one with \
                 --kubeconfig or KUBECONFIG"
                    .to_owned(),
            )),
        }
    }

    /// What the kubeconfig files say; a file that was named must be there.
    fn of_files(&self) -> Result<Option<Config>, CliError> {
        let choice = Choice { context: self.context.clone() };
        let documents: Result<Vec<_>, KubernetesError> = match &self.kubeconfig {
            Some(path) => Document::read(path).map(|document| vec![document]),
            None => environment::kubeconfigs()
                .iter()
                .filter(|path| path.exists())
                .map(|path| Document::read(path))
                .collect(),
        };
        let documents = documents?;
        if let (Some(context), true) = (&self.context, documents.is_empty()) {
            return Err(CliError::Missing(format!(
                "there is no kubeconfig that could have a context {context:?}"
            )));
        }
        Ok(kubeconfig(&documents, &choice)?)
    }
}
