//! Who asks, over http: names and passwords by the URL that they are for.
//!
//! A credential goes to the scheme, host and port that it was given for, and to no other; one that
//! names a path, only to repositories below it. Credentials without a URL of their own are not
//! kept here: they are `GitOptions::authorization`, which goes where the caller's own URL leads.
//! Pure: files come in as text.

mod files;
mod gitconfig;
mod netrc;

use std::fmt;

use base64::Engine as _;

use super::url::decode;
use crate::net::Url;

pub use gitconfig::{Rewrite, Settings};

/// What a server is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password or token.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A whole `Authorization` header.
    Header(String),
}

/// Without what is secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
            Self::Header(_) => f.write_str("Header"),
        }
    }
}

impl Credential {
    /// The value of the header.
    pub fn authorization(&self) -> String {
        match self {
            Self::Header(header) => header.clone(),
            Self::Basic { user, password } => {
                let pair = format!("{user}:{password}");
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
        }
    }

    /// What must not be seen.
    fn secrets(&self) -> Vec<String> {
        let header = self.authorization();
        let word = header.rsplit(' ').next().unwrap_or_default().to_owned();
        match self {
            Self::Basic { password, .. } => vec![password.clone(), word],
            Self::Header(_) => vec![word],
        }
    }
}

/// What a file of credentials says wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct CredentialError {
    /// The line.
    pub line: usize,
    /// What is wrong, without the line's words, which may be secret.
    pub problem: &'static str,
}

/// For what a credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// A scheme, host and port, and a path, perhaps empty.
    Url(Box<Url>),
    /// A host, over https, at any port.
    Host(String),
}

#[derive(Clone, Debug)]
struct Entry {
    scope: Scope,
    credential: Credential,
}

/// Credentials by what they are for; those that were added first come first.
#[derive(Clone, Debug, Default)]
pub struct CredentialStore {
    entries: Vec<Entry>,
    users: Vec<(Scope, String)>,
}

impl CredentialStore {
    /// Adds a credential for an origin, and for what is below the URL's path.
    pub fn add(&mut self, url: &Url, credential: Credential) {
        self.entries.push(Entry { scope: Scope::url(url), credential });
    }

    /// Says which name a credential must have for an origin, and for what is below the URL's path.
    pub fn add_user(&mut self, url: &Url, user: String) {
        self.users.push((Scope::url(url), user));
    }

    /// Adds what another store holds.
    pub fn append(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
        self.users.append(&mut other.users);
    }

    /// Adds those of a file of git-credential-store: a URL with name and password on each line.
    pub fn add_git_credentials(&mut self, text: &str) -> Result<(), CredentialError> {
        for (url, credential) in files::git_credentials(text)? {
            self.add(&url, credential);
        }
        Ok(())
    }

    /// Adds those of a `.netrc`, for https.
    pub fn add_netrc(&mut self, text: &str) -> Result<(), CredentialError> {
        for (host, credential) in netrc::parse(text)? {
            self.entries.push(Entry { scope: Scope::Host(host.to_lowercase()), credential });
        }
        Ok(())
    }

    /// What is shown to the server of a URL: of those with the longest path the first. A name in the
    /// URL must be the credential's.
    pub fn find(&self, url: &Url) -> Option<&Credential> {
        let mut user = decode(url.username());
        if user.is_empty() {
            let known = self.users.iter().find(|(scope, _)| scope.covers(url).is_some());
            user = known.map(|(_, user)| user.clone()).unwrap_or_default();
        }
        let mut best: Option<(usize, &Credential)> = None;
        for Entry { scope, credential } in &self.entries {
            let Some(length) = scope.covers(url) else { continue };
            let named = match credential {
                Credential::Basic { user: known, .. } => user.is_empty() || *known == user,
                Credential::Header(_) => user.is_empty(),
            };
            if named && best.is_none_or(|(longest, _)| length > longest) {
                best = Some((length, credential));
            }
        }
        best.map(|(_, credential)| credential)
    }

    /// What must not be seen.
    pub(in crate::git) fn secrets(&self) -> impl Iterator<Item = String> {
        self.entries.iter().flat_map(|entry| entry.credential.secrets())
    }
}

impl Scope {
    fn url(url: &Url) -> Self {
        let mut url = url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        Self::Url(Box::new(url))
    }

    /// Whether it holds a URL: how much of its path it names.
    fn covers(&self, url: &Url) -> Option<usize> {
        match self {
            Self::Host(host) => {
                (url.scheme() == "https" && url.host_str() == Some(host)).then_some(0)
            }
            Self::Url(scope) => {
                if !crate::net::same_origin(scope, url) {
                    return None;
                }
                let path = scope.path().trim_end_matches('/');
                let rest = url.path().strip_prefix(path)?;
                // A repository may be named with and without its ending.
                let whole = rest.is_empty() || rest.starts_with('/') || rest == ".git";
                whole.then_some(path.len())
            }
        }
    }
}

/// Replaces what is secret in what a server says.
pub(in crate::git) fn redact(text: &str, secrets: &[String]) -> String {
    /// Shorter ones are in too many words to be a secret among them.
    const SHORT: usize = 4;
    secrets
        .iter()
        .filter(|secret| secret.len() >= SHORT)
        .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[secret]"))
}

/// The secrets of a header's value.
pub(in crate::git) fn secrets_of(authorization: &str) -> Vec<String> {
    let word = authorization.rsplit(' ').next().unwrap_or_default();
    let mut secrets = vec![word.to_owned()];
    let decoded = base64::engine::general_purpose::STANDARD.decode(word);
    if let Some(pair) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok())
        && let Some((_, password)) = pair.split_once(':')
    {
        secrets.push(password.to_owned());
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn a_credential_goes_where_it_was_given_for() {
        let mut store = CredentialStore::default();
        for (url, user) in [
            ("https://h.io/org/private", "deep"),
            ("https://h.io", "all"),
            ("https://h.io/other/", "other"),
            ("https://h.io:8443", "port"),
            ("http://plain.io", "plain"),
        ] {
            store.add(&url.parse().unwrap(), basic(user, "word"));
        }
        store.add_netrc("machine rc.io login rc password word").unwrap();
        for (url, expected) in [
            ("https://h.io/x.git", Some("all")),
            ("https://h.io/org/private.git", Some("deep")),
            ("https://h.io/org/private/x", Some("deep")),
            ("https://h.io/org/privately", Some("all")),
            ("https://h.io/other/x", Some("other")),
            ("https://H.IO:443/x", Some("all")),
            ("https://h.io:8443/x", Some("port")),
            ("http://h.io/x", None),
            ("https://x.h.io/x", None),
            ("https://plain.io/x", None),
            ("http://plain.io/x", Some("plain")),
            ("https://rc.io:99/x", Some("rc")),
            ("http://rc.io/x", None),
            ("https://all@h.io/x", Some("all")),
            ("https://nobody@h.io/x", None),
        ] {
            let found = store.find(&url.parse().unwrap());
            let user = found.map(|credential| match credential {
                Credential::Basic { user, .. } => user.as_str(),
                Credential::Header(_) => panic!("a header"),
            });
            assert_eq!(user, expected, "{url}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let credential = basic("me", "s3cret-word");
        let shown = format!("{credential:?} {:?}", Credential::Header("Bearer token".to_owned()));
        assert!(!shown.contains("s3cret") && !shown.contains("token"), "{shown}");
        let header = credential.authorization();
        let secrets = secrets_of(&header);
        let said = format!("no: {header}; s3cret-word is wrong, me");
        assert_eq!(redact(&said, &secrets), "no: Basic [secret]; [secret] is wrong, me");
    }
}
