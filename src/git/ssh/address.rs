//! Where a repository is over ssh: `ssh://user@host:port/path` and `user@host:path`. Pure.
//!
//! The path goes to a shell at the other side, as ssh has it, so it is quoted there; what no
//! quoting helps against (a line end, a path that reads like an option) is refused here.

use std::fmt;

use super::SshError;
use crate::git::url::decode;

/// A repository on a host that is reached by ssh.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::git) struct Address {
    /// As whom to log in, if it says so.
    pub(in crate::git) user: Option<String>,
    /// A name, an address, or what the configuration has a `Host` for.
    pub(in crate::git) host: String,
    /// The port, if it says so.
    pub(in crate::git) port: Option<u16>,
    /// The path on the host; a relative one begins at the user's home.
    pub(in crate::git) path: String,
}

impl Address {
    /// Reads a URL or its short form.
    pub(in crate::git) fn parse(text: &str) -> Result<Self, SshError> {
        let malformed = |problem| SshError::Address { problem };
        let address = match text.split_once("://") {
            Some((_, rest)) => Self::url(rest),
            None => Self::short(text),
        };
        let address = address.ok_or_else(|| malformed("it names no host and path"))?;
        let Self { user, host, path, .. } = &address;
        let parts = [user.as_deref().unwrap_or("x"), host, path];
        if parts.iter().any(|part| part.contains(char::is_control)) {
            return Err(malformed("it holds control characters"));
        }
        if parts.iter().any(|part| part.is_empty() || part.starts_with('-')) {
            return Err(malformed(
                "user, host and path may neither be empty nor begin with a dash",
            ));
        }
        if host.contains(char::is_whitespace) {
            return Err(malformed("its host holds a space"));
        }
        Ok(address)
    }

    /// What follows `ssh://`.
    fn url(rest: &str) -> Option<Self> {
        let (authority, path) = rest.split_at(rest.find('/')?);
        let (user, host) = match authority.rsplit_once('@') {
            // A password is of no use: keys are what is shown.
            Some((user, host)) => (Some(user.split(':').next().unwrap_or_default()), host),
            None => (None, authority),
        };
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, after.strip_prefix(':').or((after.is_empty()).then_some(""))?)
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        let path = decode(path);
        // The path of a home directory is sent without the slash in front of it.
        let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
        Some(Self { user: user.map(decode), host: decode(host).to_lowercase(), port, path })
    }

    /// `user@host:path`, where the user may be missing.
    fn short(text: &str) -> Option<Self> {
        let (user, rest) = match text.split_once('@') {
            Some((user, rest)) if !user.contains([':', '/']) => (Some(user.to_owned()), rest),
            _ => (None, text),
        };
        let (host, path) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once("]:")?,
            None => rest.split_once(':')?,
        };
        let path = path.strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(path);
        Some(Self { user, host: host.to_lowercase(), port: None, path: path.to_owned() })
    }

    /// What is run at the other side.
    pub(in crate::git) fn command(&self, service: &str) -> String {
        format!("{service} {}", quote(&self.path))
    }
}

/// A word for a shell of the Bourne kind; `!` is quoted once more, for those of the C kind.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// How `known_hosts` calls a host: the port is part of it unless it is the usual one.
pub(super) fn name_of(host: &str, port: u16) -> String {
    if port == super::PORT { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// Host and port, for people.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.write_str(&name_of(&self.host, port)),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        for (text, expected) in [
            ("ssh://git@h.io/a/b.git", "git h.io - /a/b.git"),
            ("ssh://h/a", "- h - /a"),
            ("ssh://git:word@h:2222/a", "git h 2222 /a"),
            ("ssh://h:/a", "- h - /a"),
            ("ssh://[::1]:22/a", "- ::1 22 /a"),
            ("ssh://[::1]/a", "- ::1 - /a"),
            ("ssh://H.IO/~me/a%20b", "- h.io - ~me/a b"),
            ("git@h:a/b", "git h - a/b"),
            ("git@h:/a/b", "git h - /a/b"),
            ("git@[::1]:a", "git ::1 - a"),
            ("h:a@b", "- h - a@b"),
            ("git@h:/~me/a", "git h - ~me/a"),
        ] {
            let Address { user, host, port, path } = Address::parse(text).unwrap();
            let or = |text: Option<String>| text.unwrap_or("-".to_owned());
            let shown = format!("{} {host} {} {path}", or(user), or(port.map(|p| p.to_string())));
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_would_speak_to_a_shell_or_to_an_option() {
        for text in [
            "ssh://h",
            "ssh:///a",
            "ssh://h:port/a",
            "ssh://h:70000/a",
            "ssh://[::1/a",
            "ssh://[::1]22/a",
            "ssh://h/a%0ab",
            "ssh://h%00/a",
            "ssh://-oProxyCommand=x/a",
            "ssh://-x@h/a",
            "git@h:-a",
            "git@h:",
            "@h:a",
            "h",
            "ssh://a%20b/c",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_path_is_one_word() {
        let command = |path: &str| {
            let host = "h".to_owned();
            let address = Address { user: None, host, port: None, path: path.to_owned() };
            address.command("git-upload-pack")
        };
        assert_eq!(command("/a/b c.git"), "git-upload-pack '/a/b c.git'");
        assert_eq!(command("a'; reboot; '"), r"git-upload-pack 'a'\''; reboot; '\'''");
        assert_eq!(command("a!b"), r"git-upload-pack 'a'\!'b'");
        assert_eq!(command("$(x)`y`\\"), r"git-upload-pack '$(x)`y`\'");
    }
}
