//! Which server, and who we are there: from flags, `ARGOCD_OPTS`, other variables, and the file of
//! the argocd CLI, in this order.

use std::path::{Path, PathBuf};

use super::super::cluster::ClusterFlags;
use super::super::environment;
use super::super::exit::CliError;
use super::super::step::Step;
use super::options::Options;
use crate::gitops::argocd::{Address, Client, Context, Core, Login};
use crate::net::Identity;
use crate::report::Event;

/// Flags that say which server, and who we are there.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The server")]
pub(super) struct Access {
    /// Argo CD's server: HOST[:PORT][/ROOT] or a URL [env: `ARGOCD_SERVER`]
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// A file with a token, of an account or of a project's role [env: `ARGOCD_AUTH_TOKEN` holds it
    /// itself]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["argocd-username", "argocd-password-file"])]
    auth_token_file: Option<PathBuf>,
    /// Log in as this user [env: `ARGOCD_USERNAME`]
    #[arg(id = "argocd-username", long = "username", value_name = "NAME")]
    username: Option<String>,
    /// A file with the user's password [env: `ARGOCD_PASSWORD` holds it itself]
    #[arg(id = "argocd-password-file", long = "password-file", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Speak http
    #[arg(long)]
    plaintext: bool,
    /// Take any certificate of the server
    #[arg(long)]
    insecure: bool,
    /// A certificate to trust, as the argocd CLI calls it; the same as --ca-file
    #[arg(long, value_name = "FILE")]
    server_crt: Option<PathBuf>,
    /// A client's certificate
    #[arg(long, value_name = "FILE", alias = "client-crt", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The key of the client's certificate
    #[arg(long, value_name = "FILE", alias = "client-crt-key", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// A header of each request, such as a proxy wants
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The path of Argo CD behind a proxy
    #[arg(long, value_name = "PATH", alias = "grpc-web-root-path")]
    root_path: Option<String>,
    /// Taken for the argocd CLI's sake: plain http requests are made in any case
    #[arg(long)]
    grpc_web: bool,
    /// The context in the argocd CLI's file of servers and tokens
    #[arg(long, value_name = "NAME")]
    argocd_context: Option<String>,
    /// Speak to the Kubernetes API instead of a server of Argo CD
    #[arg(long)]
    core: bool,
    /// With --core: the kubeconfig [default: as kubectl finds it, or the pod's service account]
    #[arg(long, value_name = "FILE", requires = "core")]
    kubeconfig: Option<PathBuf>,
    /// With --core: a context of the kubeconfig, instead of the current one
    #[arg(long, value_name = "NAME", requires = "core")]
    kube_context: Option<String>,
}

/// How Argo CD is spoken to.
pub(super) enum Way {
    /// Through its server.
    Server(Client),
    /// Through the cluster.
    Core(Core),
}

fn usage(problem: impl std::fmt::Display) -> CliError {
    CliError::Usage(problem.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|e| CliError::Missing(format!("read {}: {e}", path.display())))
}

/// A secret that is alone in its file; the line end is not part of it.
fn secret(path: &Path) -> Result<String, CliError> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| usage(format!("{} holds no text", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Access {
    /// Makes the client of what was given.
    pub(super) fn way(&self, step: &Step) -> Result<Way, CliError> {
        let options = Options::parse(&environment::variable("ARGOCD_OPTS").unwrap_or_default())
            .map_err(|problem| usage(format!("ARGOCD_OPTS: {problem}")))?;
        for flag in &options.unused {
            let message = format!("ARGOCD_OPTS: {flag} changes nothing here");
            step.sink.event(Event::Note { message });
        }
        let variable = |name: &str| environment::variable(name).filter(|value| !value.is_empty());
        let server = self.server.clone().or_else(|| options.server.clone());
        let server = server.or_else(|| variable("ARGOCD_SERVER"));
        let context = self.context(&options, server.as_deref())?;
        if self.core || options.core || server.is_none() && context.as_ref().is_some_and(|c| c.core)
        {
            let flags = ClusterFlags::of(self.kubeconfig.clone(), self.kube_context.clone());
            return Ok(Way::Core(Core::new(flags.client(&step.net)?)));
        }
        if self.grpc_web || options.grpc_web {
            let message = "--grpc-web changes nothing: requests are plain http in any case";
            step.sink.event(Event::Note { message: message.to_owned() });
        }
        let context = context.unwrap_or_default();
        let server = server.or(Some(context.server).filter(|server| !server.is_empty()));
        let server = server.ok_or_else(|| {
            usage("no server is given: --server, ARGOCD_SERVER, or --core for the Kubernetes API")
        })?;
        let root = self.root_path.clone().or_else(|| options.root.clone()).or(context.root);
        let plaintext = self.plaintext || options.plaintext || context.plaintext;
        let address = Address::parse(&server, plaintext, root.as_deref()).map_err(usage)?;
        let login = self.login(&options, context.token)?;
        let headers = self.header.iter().chain(&options.headers).map(|header| {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| usage("a --header is not NAME: VALUE".to_owned()))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let headers: Vec<_> = headers.collect::<Result<_, CliError>>()?;
        // What holds for this server holds for no repository.
        let mut net = step.net.clone();
        net.unverified = self.insecure || options.insecure || context.insecure;
        let trusted =
            self.server_crt.clone().or_else(|| options.server_crt.as_ref().map(Into::into));
        net.certificates.extend(trusted);
        let cert = self.client_cert.clone().or_else(|| options.client_crt.as_ref().map(Into::into));
        let key = self.client_key.clone().or_else(|| options.client_key.as_ref().map(Into::into));
        net.identity = match (cert, key) {
            (Some(cert), Some(key)) => {
                Some(Identity { certificates: read(&cert)?, key: read(&key)? })
            }
            (None, None) => None,
            _ => return Err(usage("ARGOCD_OPTS: --client-crt and --client-crt-key go together")),
        };
        Ok(Way::Server(Client::new(address, login, headers, &net)))
    }

    /// The context of the argocd CLI's file, if there is one.
    fn context(
        &self,
        options: &Options,
        server: Option<&str>,
    ) -> Result<Option<Context>, CliError> {
        let name = self.argocd_context.as_deref().or(options.context.as_deref());
        let asked = name.is_some() || options.config.is_some();
        let path = options.config.as_ref().map(PathBuf::from);
        let Some(path) = path.or_else(environment::argocd_config) else { return Ok(None) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if asked => {
                return Err(CliError::Missing(format!("read {}: {error}", path.display())));
            }
            Err(_) => return Ok(None),
        };
        Context::find(&text, name, server)
            .map_err(|problem| usage(format!("{}: {problem}", path.display())))
    }

    fn login(&self, options: &Options, of_context: Option<String>) -> Result<Login, CliError> {
        let variable = |name: &str| environment::variable(name).filter(|value| !value.is_empty());
        if let Some(path) = &self.auth_token_file {
            return Ok(Login::File(path.clone()));
        }
        // A flag says that logging in is meant, whatever token the environment holds.
        let log_in = self.username.is_some() || self.password_file.is_some();
        let token = options.auth_token.clone().or_else(|| variable("ARGOCD_AUTH_TOKEN"));
        if let Some(token) = token.filter(|_| !log_in) {
            return Ok(Login::Token(token));
        }
        let username = self.username.clone().or_else(|| variable("ARGOCD_USERNAME"));
        let password = match &self.password_file {
            Some(path) => Some(secret(path)?),
            None => variable("ARGOCD_PASSWORD"),
        };
        match (username, password, of_context) {
            (Some(username), Some(password), _) => Ok(Login::Password { username, password }),
            (_, _, Some(token)) if !log_in => Ok(Login::Token(token)),
            (Some(_), None, _) => Err(usage("a user needs --password-file or ARGOCD_PASSWORD")),
            (None, Some(_), _) => Err(usage("a password needs --username or ARGOCD_USERNAME")),
            (None, None, _) => Err(usage(
                "no credentials are given: --auth-token-file, ARGOCD_AUTH_TOKEN, or --username and \
                 --password-file",
            )),
        }
    }
}
