//! The file in which the argocd CLI keeps servers and tokens.

use serde::Deserialize;

use super::model::without_nulls;
use crate::yaml;

/// What the file says of one context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The server, as the CLI takes it.
    pub server: String,
    /// The token.
    pub token: Option<String>,
    /// Whether its certificate is not checked.
    pub insecure: bool,
    /// Whether it speaks http.
    pub plaintext: bool,
    /// The path in front of the interface.
    pub root: Option<String>,
    /// Whether there is no server, and the cluster is spoken to.
    pub core: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    current_context: String,
    contexts: Vec<Named>,
    servers: Vec<Server>,
    users: Vec<User>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    server: String,
    user: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Server {
    #[serde(rename = "server")]
    address: String,
    grpc_web_root_path: String,
    insecure: bool,
    plain_text: bool,
    core: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    name: String,
    auth_token: String,
}

impl Context {
    /// Finds a context in the file's text: by its name, else by its server, else the current one.
    /// An error is for people, and does not repeat the text, which holds tokens.
    pub fn find(
        text: &str,
        name: Option<&str>,
        server: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let stream = yaml::parse(text).map_err(|e| e.to_string())?;
        let Some(document) = stream.documents.first() else { return Ok(None) };
        let mut value = yaml::to_json(text, document).map_err(|e| e.to_string())?;
        without_nulls(&mut value);
        let file: File = serde_json::from_value(value).map_err(|e| e.to_string())?;
        let context = file.contexts.iter().find(|context| match (name, server) {
            (Some(name), _) => context.name == name,
            (None, Some(server)) => context.server == server,
            (None, None) => context.name == file.current_context,
        });
        let Some(context) = context else {
            return match name {
                Some(name) => Err(format!("it has no context {name:?}")),
                None => Ok(None),
            };
        };
        // Its token is not for another server.
        if let (Some(name), Some(asked)) = (name, server)
            && context.server != asked
        {
            return Err(format!("the context {name:?} is of {}, not of {asked}", context.server));
        }
        let server = file.servers.into_iter().find(|server| server.address == context.server);
        let server = server.unwrap_or_default();
        let user = file.users.into_iter().find(|user| user.name == context.user);
        Ok(Some(Self {
            server: context.server.clone(),
            token: user.map(|user| user.auth_token).filter(|token| !token.is_empty()),
            insecure: server.insecure,
            plaintext: server.plain_text,
            root: Some(server.grpc_web_root_path).filter(|root| !root.is_empty()),
            core: server.core,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_found_by_name_server_or_choice() {
        let text = "\
contexts:
- {name: a, server: a.example, user: a}
- {name: b, server: 'b.example:443', user: b}
current-context: a
servers:
- server: a.example
  grpc-web-root-path: cd
- server: b.example:443
  insecure: true
  plain-text: true
users:
- {name: a, auth-token: token-a, refresh-token: x}
- name: b
";
        for (name, server, expected) in [
            (None, None, Some(("a.example", Some("token-a"), false))),
            (Some("b"), None, Some(("b.example:443", None, true))),
            (None, Some("b.example:443"), Some(("b.example:443", None, true))),
            (None, Some("c.example"), None),
        ] {
            let found = Context::find(text, name, server).unwrap();
            let found = found.as_ref().map(|c| (c.server.as_str(), c.token.as_deref(), c.insecure));
            assert_eq!(found, expected, "{name:?} {server:?}");
        }
        assert!(Context::find(text, Some("c"), None).is_err());
        assert_eq!(Context::find("", None, None), Ok(None));
        assert!(Context::find("contexts: {", None, None).is_err());
    }
}
