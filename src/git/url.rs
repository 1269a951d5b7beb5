//! What a git source looks like in a Dockerfile or on a command line, as BuildKit reads it.
//!
//! `https://host/x.git#ref:subdir`, `https://host/x.git?branch=b&subdir=d`, `git://host/x`,
//! `ssh://git@host/x` and `git@host:x`. An http URL is a git source only if its path ends in
//! `.git`; all else is a file or a download. Pure.

use std::fmt;

use crate::net::Url;

/// A git source: where a repository is, and what of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitUrl {
    /// The repository.
    pub remote: Remote,
    /// A branch, a tag, a full reference or a full commit id; absent: the default branch.
    pub reference: Option<String>,
    /// What the id of the commit (or of its tag) must begin with.
    pub checksum: Option<String>,
    /// The directory that is wanted, relative, without `.` and `..`.
    pub subdir: Option<String>,
    /// What the URL says on keeping `.git`; ADD's flag of this name comes first.
    pub keep_git_dir: Option<bool>,
    /// What the URL says on submodules; absent: they are fetched.
    pub submodules: Option<bool>,
    /// Whether files are to have the commit's time.
    pub commit_times: bool,
    /// Whether the checksum is fetched itself, wherever the reference points now.
    pub fetch_by_commit: bool,
    /// Whether it was `github.com/…`, which is a path in ADD and a repository in a build context.
    pub like_a_path: bool,
}

/// Where a repository is. It is shown without user name and password.
#[derive(Clone, PartialEq, Eq)]
pub enum Remote {
    /// Over http or https; the URL may hold a user name and password, and neither query nor fragment.
    Http(Url),
    /// Over git's own protocol, which is neither encrypted nor authenticated.
    Git {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// The path on the server.
        path: String,
    },
    /// Over ssh, as it was written.
    Ssh(String),
}

/// What is wrong with a git source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitUrlError {
    /// A key of the query that means nothing.
    #[error(
        "unexpected query {0:?}; known are ref, branch, tag, commit, checksum, subdir, keep-git-dir, submodules, mtime and fetch-by-commit"
    )]
    UnknownKey(String),
    /// A key of the query without a value.
    #[error("query {0:?} has no value")]
    NoValue(String),
    /// A key of the query that comes twice.
    #[error("query {0:?} has multiple values")]
    Twice(String),
    /// A key of the query with a value that it cannot have.
    #[error("invalid {key} value: {value:?}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Two references.
    #[error("ref conflicts: {0:?} vs {1:?}")]
    Reference(String, String),
    /// Two directories.
    #[error("subdir conflicts: {0:?} vs {1:?}")]
    Subdir(String, String),
    /// Both a branch and a tag.
    #[error("branch conflicts with tag")]
    BranchAndTag,
    /// A directory outside of the repository.
    #[error("subdir {0:?} leads out of the repository")]
    Outside(String),
    /// A checksum that is no beginning of a commit id.
    #[error("invalid checksum {0:?}, expected the hexadecimal digits of a commit")]
    Checksum(String),
    /// Two checksums.
    #[error("checksum conflicts: {0:?} vs {1:?}")]
    Checksums(String, String),
    /// Control characters, which would end the line that a server reads.
    #[error("{0:?} holds control characters, which no host and no path of a repository may")]
    Control(String),
    /// `fetch-by-commit` without the commit.
    #[error("query \"fetch-by-commit\" needs the full commit, as commit= or checksum=")]
    FetchByCommit,
}

/// Whether ADD takes `text` for a git source, well-formed or not.
pub fn is_git_source(text: &str) -> bool {
    match GitUrl::parse(text) {
        Ok(url) => url.is_some_and(|url| !url.like_a_path),
        Err(_) => true,
    }
}

impl GitUrl {
    /// Reads a git source; `None` if the text is something else.
    pub fn parse(text: &str) -> Result<Option<Self>, GitUrlError> {
        if text.starts_with("./") || text.starts_with("../") {
            return Ok(None);
        }
        let like_a_path = text.starts_with("github.com/");
        let full = if like_a_path { format!("https://{text}") } else { text.to_owned() };
        let scp = !like_a_path && scheme(&full).is_none();
        let (rest, fragment) = cut(&full, '#');
        let (base, query) = cut(rest, '?');
        let remote = if scp { scp_like(base) } else { url(base)? };
        let Some(remote) = remote else { return Ok(None) };
        if let Remote::Http(url) = &remote
            && !like_a_path
            && !decode(url.path()).as_bytes().ends_with(b".git")
        {
            return Ok(None);
        }
        let mut parsed = Self { like_a_path, ..Self::new(remote) };
        let fragment = if scp { fragment.to_owned() } else { decode(fragment) };
        let (reference, subdir) = cut(&fragment, ':');
        parsed.reference = non_empty(reference);
        parsed.subdir = non_empty(subdir);
        parsed.read_query(query)?;
        if let Some(subdir) = parsed.subdir.take() {
            parsed.subdir = clean(&subdir)?;
        }
        Ok(Some(parsed))
    }

    /// The default branch of a repository, all of it.
    pub fn new(remote: Remote) -> Self {
        Self {
            remote,
            reference: None,
            checksum: None,
            subdir: None,
            keep_git_dir: None,
            submodules: None,
            commit_times: false,
            fetch_by_commit: false,
            like_a_path: false,
        }
    }

    /// Sets what the commit must begin with, as `ADD --checksum` does; it must agree with the
    /// URL's own.
    pub fn with_checksum(self, checksum: &str) -> Result<Self, GitUrlError> {
        let good = !checksum.is_empty() && checksum.bytes().all(|b| b.is_ascii_hexdigit());
        if !good {
            return Err(GitUrlError::Checksum(checksum.to_owned()));
        }
        let checksum = checksum.to_ascii_lowercase();
        match self.checksum {
            Some(other) if other != checksum => Err(GitUrlError::Checksums(other, checksum)),
            _ => Ok(Self { checksum: Some(checksum), ..self }),
        }
    }

    fn read_query(&mut self, query: &str) -> Result<(), GitUrlError> {
        let (mut tag, mut branch, mut by_commit) = (None, None, false);
        let mut seen = Vec::new();
        for (key, value) in pairs(query) {
            if seen.contains(&key) {
                return Err(GitUrlError::Twice(key));
            }
            seen.push(key.clone());
            let switch = |name| boolean(name, &value);
            match key.as_str() {
                "submodules" => self.submodules = Some(switch("submodules")?),
                "keep-git-dir" => self.keep_git_dir = Some(switch("keep-git-dir")?),
                "fetch-by-commit" => by_commit = switch("fetch-by-commit")?,
                _ if value.is_empty() => return Err(GitUrlError::NoValue(key)),
                "ref" => self.set_reference(value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" => match &self.subdir {
                    Some(other) if *other != value => {
                        return Err(GitUrlError::Subdir(other.clone(), value));
                    }
                    _ => self.subdir = Some(value),
                },
                "checksum" | "commit" => self.checksum = Some(value),
                "mtime" => {
                    self.commit_times = match value.as_str() {
                        "checkout" => false,
                        "commit" => true,
                        _ => return Err(GitUrlError::Value { key: "mtime", value }),
                    }
                }
                _ => return Err(GitUrlError::UnknownKey(key)),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(GitUrlError::BranchAndTag);
        }
        for (prefix, name) in [("refs/tags/", tag), ("refs/heads/", branch)] {
            match name {
                Some(name) if name.starts_with(prefix) => self.set_reference(name)?,
                Some(name) => self.set_reference(format!("{prefix}{name}"))?,
                None => {}
            }
        }
        if let Some(checksum) = self.checksum.take() {
            if self.reference.is_none() {
                self.reference = Some(checksum.clone());
            }
            *self = self.clone().with_checksum(&checksum)?;
        }
        self.fetch_by_commit = by_commit;
        if by_commit && !self.checksum.as_deref().is_some_and(is_full_id) {
            return Err(GitUrlError::FetchByCommit);
        }
        Ok(())
    }

    fn set_reference(&mut self, reference: String) -> Result<(), GitUrlError> {
        match &self.reference {
            Some(other) if *other != reference => {
                Err(GitUrlError::Reference(other.clone(), reference))
            }
            _ => {
                self.reference = Some(reference);
                Ok(())
            }
        }
    }
}

impl Remote {
    /// The port of git's own protocol.
    const GIT_PORT: u16 = 9418;

    /// Reads the URL of a repository alone, as it stands in `.gitmodules`; `None` if the text is
    /// something else.
    pub fn parse(text: &str) -> Result<Option<Self>, GitUrlError> {
        if scheme(text).is_some() { url(text) } else { Ok(scp_like(text)) }
    }

    /// As it is kept in a configuration: like it is shown, but whom one is over ssh is part of the
    /// address.
    pub fn kept(&self) -> String {
        let Self::Ssh(text) = self else { return self.to_string() };
        let Some((scheme, rest)) = text.split_once("://") else { return text.clone() };
        let (authority, path) = cut(rest, '/');
        let Some((user, host)) = authority.rsplit_once('@') else { return text.clone() };
        let (user, _) = cut(user, ':');
        format!("{scheme}://{user}@{host}/{path}")
    }

    /// Follows a URL of `.gitmodules` that begins with `./` or `../`.
    pub(super) fn join(&self, relative: &str) -> Option<Self> {
        let up = |path: &str| {
            let mut parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
            for part in relative.split('/') {
                match part {
                    "" | "." => {}
                    ".." if parts.len() > 1 => drop(parts.pop()),
                    ".." => return None,
                    name => parts.push(name),
                }
            }
            (parts.len() > 1).then(|| parts.join("/"))
        };
        match self {
            Self::Http(url) => {
                let mut url = url.clone();
                let path = up(url.path())?;
                url.set_path(&path);
                Some(Self::Http(url))
            }
            Self::Git { host, port, path } => {
                Some(Self::Git { host: host.clone(), port: *port, path: up(path)? })
            }
            Self::Ssh(text) => up(text).map(Self::Ssh),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => {
                let mut url = url.clone();
                let _ = url.set_username("");
                let _ = url.set_password(None);
                f.write_str(url.as_str())
            }
            Self::Git { host, port: Self::GIT_PORT, path } => write!(f, "git://{host}{path}"),
            Self::Git { host, port, path } => write!(f, "git://{host}:{port}{path}"),
            // ssh://user:password@host is possible, if of no use.
            Self::Ssh(text) => match text.split_once("://") {
                Some((scheme, rest)) => {
                    let (authority, path) = cut(rest, '/');
                    let host = authority.rsplit('@').next().unwrap_or_default();
                    write!(f, "{scheme}://{host}/{path}")
                }
                None => f.write_str(text),
            },
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

/// Whether `text` is a commit id in full, of SHA-1 or SHA-256.
pub(super) fn is_full_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn cut(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What stands before `://`, in small letters.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let good = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    good.then(|| scheme.to_ascii_lowercase())
}

/// `None` is what is no URL of a repository.
fn url(text: &str) -> Result<Option<Remote>, GitUrlError> {
    let Some(scheme) = scheme(text) else { return Ok(None) };
    let Ok(url) = text.parse::<Url>() else { return Ok(None) };
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return Ok(None) };
    Ok(match scheme.as_str() {
        "http" | "https" => Some(Remote::Http(url)),
        "git" => {
            let path = decode(url.path());
            // Both are sent as they are: a line end would speak to a server of another kind.
            for part in [&decode(host), &path] {
                if part.contains(char::is_control) {
                    return Err(GitUrlError::Control(part.clone()));
                }
            }
            let port = url.port().unwrap_or(Remote::GIT_PORT);
            Some(Remote::Git { host: host.to_owned(), port, path })
        }
        "ssh" => Some(Remote::Ssh(text.to_owned())),
        _ => None,
    })
}

/// `user@host:path`.
fn scp_like(text: &str) -> Option<Remote> {
    let (user, rest) = text.split_once('@')?;
    let (host, _) = rest.split_once(':')?;
    let word = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    (word(user, b"-_") && word(host, b"-.")).then(|| Remote::Ssh(text.to_owned()))
}

/// The keys and values of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let url = Url::parse(&format!("query:/?{query}"));
    let pairs = |url: Url| url.query_pairs().map(|(k, v)| (k.into(), v.into())).collect();
    url.map(pairs).unwrap_or_default()
}

/// Replaces `%XX` by its byte.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A switch of the query; its name alone switches it on.
fn boolean(key: &'static str, value: &str) -> Result<bool, GitUrlError> {
    match value {
        "" | "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(GitUrlError::Value { key, value: value.to_owned() }),
    }
}

/// A directory without `.`, `..` and empty names; `None` is the whole tree.
fn clean(subdir: &str) -> Result<Option<String>, GitUrlError> {
    let mut parts = Vec::new();
    for part in subdir.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_some() => {}
            // Above the root of an absolute path is the root again.
            ".." if subdir.starts_with('/') => {}
            ".." => return Err(GitUrlError::Outside(subdir.to_owned())),
            name => parts.push(name),
        }
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
