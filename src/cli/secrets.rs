//! `--secret`, `--ssh` and `--allow`, in buildx's words.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::environment;
use super::exit::CliError;
use crate::build::{Agents, Entitlement, Secrets};
use crate::git::SshOptions;

/// How large a secret may be, in bytes: `BuildKit`'s limit, which is the kernel's for a variable.
const LARGEST: usize = 500 * 1024;

/// What steps may use besides their files.
#[derive(Debug, clap::Args)]
pub(super) struct SecretFlags {
    /// A secret for RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]; it reaches neither the image nor the cache
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Vec<Secret>,
    /// The socket of an agent for RUN --mount=type=ssh: default, or NAME[=SOCKET] [default socket: $`SSH_AUTH_SOCK`]
    #[arg(long, value_name = "AGENT", value_parser = agent)]
    ssh: Vec<Agent>,
    /// Let RUN steps ask for more rights: security.insecure (network.host needs none and is taken as well)
    #[arg(long, value_name = "RIGHT", value_delimiter = ',', value_parser = entitlement)]
    allow: Vec<Entitlement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Secret {
    id: String,
    from: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Variable(String),
    /// The variable of the secret's name, else the file of that name.
    Unsaid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Agent {
    id: String,
    socket: Option<PathBuf>,
}

fn secret(text: &str) -> Result<Secret, String> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(format!("{field:?}: expected id=NAME[,src=FILE|,env=VARIABLE]"));
        };
        let place = match key.to_lowercase().as_str() {
            "id" => &mut id,
            "src" | "source" => &mut file,
            "env" => &mut variable,
            "type" => &mut kind,
            _ => return Err(format!("{key:?} is none of id, src, env and type")),
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(format!("{key} is given twice"));
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("the id is missing: id=NAME")?;
    let from = match (kind.as_deref(), file, variable) {
        (_, Some(_), Some(_)) => return Err("src and env exclude each other".to_owned()),
        (None | Some("file"), Some(file), None) => Origin::File(file.into()),
        (None | Some("env"), None, Some(variable)) | (Some("env"), Some(variable), None) => {
            Origin::Variable(variable)
        }
        (None, None, None) => Origin::Unsaid,
        (Some("file"), None, None) => Origin::File(PathBuf::from(&id)),
        (Some("env"), None, None) => Origin::Variable(id.clone()),
        (Some("file"), None, Some(_)) => {
            return Err("a secret of type file has no env".to_owned());
        }
        (Some(other), ..) => return Err(format!("the type is file or env, not {other:?}")),
    };
    Ok(Secret { id, from })
}

fn agent(text: &str) -> Result<Agent, String> {
    let (id, socket) = match text.split_once('=') {
        Some((_, "")) => return Err("the socket is missing: NAME=SOCKET".to_owned()),
        Some((id, socket)) => (id, Some(PathBuf::from(socket))),
        None => (text, None),
    };
    let id = if id.is_empty() { "default" } else { id };
    Ok(Agent { id: id.to_owned(), socket })
}

fn entitlement(text: &str) -> Result<Entitlement, String> {
    match text {
        "network.host" => Ok(Entitlement::NetworkHost),
        "security.insecure" => Ok(Entitlement::SecurityInsecure),
        _ => Err("expected network.host or security.insecure".to_owned()),
    }
}

impl SecretFlags {
    /// The secrets, read now.
    pub(super) fn secrets(&self) -> Result<Secrets, CliError> {
        let mut contents = BTreeMap::new();
        for Secret { id, from } in &self.secret {
            let content = match from {
                Origin::File(path) => read(id, path)?,
                Origin::Variable(name) => environment::variable(name)
                    .ok_or_else(|| {
                        CliError::Missing(format!(
                            "--secret id={id}: the variable {name} is not set"
                        ))
                    })?
                    .into_bytes(),
                Origin::Unsaid => match environment::variable(id) {
                    Some(value) => value.into_bytes(),
                    None => read(id, Path::new(id))?,
                },
            };
            if content.len() > LARGEST {
                return Err(CliError::Usage(format!(
                    "--secret id={id}: it has {} bytes, more than the {LARGEST} that a secret may have",
                    content.len()
                )));
            }
            if contents.insert(id.clone(), content).is_some() {
                return Err(CliError::Usage(format!("--secret id={id} is given twice")));
            }
        }
        // Repositories that are reached over ssh see the agent that steps see.
        let ssh = SshOptions {
            agent: self.agents()?.remove("default"),
            known_hosts: environment::known_hosts(),
            ..SshOptions::default()
        };
        Ok(Secrets::new(contents).with_ssh(ssh))
    }

    /// The agents' sockets.
    pub(super) fn agents(&self) -> Result<Agents, CliError> {
        let mut agents = Agents::new();
        for Agent { id, socket } in &self.ssh {
            let socket = match socket {
                Some(socket) => socket.clone(),
                None => environment::ssh_agent().ok_or_else(|| {
                    CliError::Missing(format!(
                        "--ssh {id}: there is no agent, as SSH_AUTH_SOCK is not set; start one with `eval $(ssh-agent)`, or name its socket: --ssh {id}=SOCKET"
                    ))
                })?,
            };
            let shown = socket.display();
            let meta = std::fs::metadata(&socket)
                .map_err(|e| CliError::Missing(format!("--ssh {id}: {shown}: {e}")))?;
            if !meta.file_type().is_socket() {
                return Err(CliError::Usage(format!(
                    "--ssh {id}: {shown} is not a socket; a key is used through an agent: `ssh-add {shown}`, then --ssh {id}"
                )));
            }
            if agents.insert(id.clone(), socket).is_some() {
                return Err(CliError::Usage(format!("--ssh {id} is given twice")));
            }
        }
        Ok(agents)
    }

    /// What `--allow` allows.
    pub(super) fn entitlements(&self) -> BTreeSet<Entitlement> {
        self.allow.iter().copied().collect()
    }
}

fn read(id: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path)
        .map_err(|e| CliError::Missing(format!("--secret id={id}: read {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_secrets() {
        let of = |id: &str, from| Ok(Secret { id: id.to_owned(), from });
        let file = |path: &str| Origin::File(path.into());
        let variable = |name: &str| Origin::Variable(name.to_owned());
        for (text, expected) in [
            ("id=a,src=/f", of("a", file("/f"))),
            ("type=file,id=a,source=f", of("a", file("f"))),
            ("id=a,env=B", of("a", variable("B"))),
            ("id=a,type=env,src=B", of("a", variable("B"))),
            ("id=a,type=env", of("a", variable("a"))),
            ("id=a,type=file", of("a", file("a"))),
            ("id=a", of("a", Origin::Unsaid)),
        ] {
            assert_eq!(secret(text), expected, "{text}");
        }
        for bad in
            ["", "a", "src=f", "id=", "id=a,id=b", "id=a,src=f,env=B", "id=a,type=x", "id=a,x=y"]
        {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }
}
