//! The part of OpenSSH's configuration that says where a host is, who logs in there and whom to
//! trust (`ssh_config(5)`). Pure.
//!
//! As there, the first value of a keyword counts, keys add up. `Match` blocks and keywords that
//! are not known here are left out and told of: the file is OpenSSH's, and most of what it may
//! say is about sessions of people.

use std::path::{Path, PathBuf};

use super::SshError;

/// What the configuration says of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostConfig {
    /// `HostName`.
    pub(super) host: Option<String>,
    /// `User`.
    pub(super) user: Option<String>,
    /// `Port`.
    pub(super) port: Option<u16>,
    /// `IdentityFile`, as it stands there.
    pub(super) identities: Vec<String>,
    /// `IdentitiesOnly`.
    pub(super) only: Option<bool>,
    /// `StrictHostKeyChecking`.
    pub(super) strict: Option<Strict>,
    /// `UserKnownHostsFile`, as it stands there.
    pub(super) known_hosts: Option<Vec<String>>,
    /// `HostKeyAlias`.
    pub(super) alias: Option<String>,
    /// What has no effect, in words for people.
    pub(super) ignored: Vec<String>,
}

/// What becomes of a host that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strict {
    /// It is refused.
    Yes,
    /// Its key is taken as it is.
    AcceptNew,
}

/// Reads what a configuration says of a host.
pub(super) fn read(file: &Path, text: &str, host: &str) -> Result<HostConfig, SshError> {
    let mut config = HostConfig::default();
    let mut applies = true;
    for (number, line) in (1..).zip(text.lines()) {
        let fail =
            |problem: String| SshError::Config { path: file.to_owned(), line: number, problem };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (keyword, rest) = split(line);
        let words = words(rest).ok_or_else(|| fail("a quote is not closed".to_owned()))?;
        let Some(first) = words.first().cloned() else {
            return Err(fail(format!("{keyword} has no value")));
        };
        let keyword_lower = keyword.to_ascii_lowercase();
        match keyword_lower.as_str() {
            "host" => {
                let patterns: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
                applies = super::pattern::matches(patterns.iter().map(String::as_str), host);
                continue;
            }
            "match" => {
                applies = words.len() == 1 && first.eq_ignore_ascii_case("all");
                if !applies {
                    config.ignored.push(format!("{}:{number}: Match", file.display()));
                }
                continue;
            }
            _ if !applies => continue,
            _ => {}
        }
        match keyword_lower.as_str() {
            "hostname" => set(&mut config.host, first.replace("%h", host).replace("%%", "%")),
            "user" => set(&mut config.user, first),
            "hostkeyalias" => set(&mut config.alias, first.to_lowercase()),
            "port" => {
                let port = first.parse().map_err(|_| fail(format!("{first:?} is no port")))?;
                set(&mut config.port, port);
            }
            "identityfile" if first.eq_ignore_ascii_case("none") => {}
            "identityfile" => config.identities.push(first),
            "identitiesonly" => match yes(&first) {
                Some(value) => set(&mut config.only, value),
                None => return Err(fail(format!("{first:?} is neither yes nor no"))),
            },
            "stricthostkeychecking" => match first.to_ascii_lowercase().as_str() {
                "yes" | "true" | "ask" => set(&mut config.strict, Strict::Yes),
                "no" | "false" | "off" | "accept-new" => set(&mut config.strict, Strict::AcceptNew),
                _ => return Err(fail(format!("{keyword} cannot be {first:?}"))),
            },
            "userknownhostsfile" => set(&mut config.known_hosts, words),
            _ => config.ignored.push(format!("{}:{number}: {keyword}", file.display())),
        }
    }
    Ok(config)
}

fn set<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

fn yes(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// The keyword and what follows it; an equals sign may stand between them.
fn split(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (keyword, rest.strip_prefix('=').unwrap_or(rest).trim_start())
}

/// Words, of which some may be quoted. `None` if a quote has no end.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let word = if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"')?;
            rest = after;
            word
        } else {
            let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
            rest = after;
            word
        };
        words.push(word.to_owned());
        rest = rest.trim_start();
    }
    Some(words)
}

/// The file that a path of the configuration names. `dir` is the directory of the configuration,
/// which stands for `~/.ssh` wherever it is; a file that is not where the path says may lie there
/// under its own name, since whoever wrote the path had the directory elsewhere.
pub(super) fn locate(path: &str, dir: &Path, home: Option<&Path>, host: &str) -> PathBuf {
    let path = path.replace("%h", host);
    let in_ssh = ["~/.ssh/", "%d/.ssh/", "$HOME/.ssh/", "${HOME}/.ssh/"];
    if let Some(rest) = in_ssh.iter().find_map(|prefix| path.strip_prefix(prefix)) {
        return dir.join(rest);
    }
    if let Some(rest) = path.strip_prefix("~/").or(path.strip_prefix("%d/")) {
        return home.map_or_else(|| dir.join(rest), |home| home.join(rest));
    }
    let found = dir.join(&path);
    match Path::new(&path).file_name() {
        Some(name) if !found.exists() && dir.join(name).exists() => dir.join(name),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, host: &str) -> HostConfig {
        read(Path::new("config"), text, host).unwrap()
    }

    #[test]
    fn the_first_value_counts_and_keys_add_up() {
        let text = "# all\nHost git *.example.com !bad.example.com\n  HostName=real.%h\n  User me\n\
                    \tPort = 2222\n  IdentityFile \"~/.ssh/a key\"\n\nHost *\n  User other\n  port 22\n\
                    IdentityFile %d/.ssh/id_b\n StrictHostKeyChecking accept-new\n ForwardX11 yes\n\
                    IdentitiesOnly yes\nUserKnownHostsFile a b\n";
        let git = of(text, "git");
        assert_eq!(git.host.as_deref(), Some("real.git"));
        assert_eq!((git.user.as_deref(), git.port), (Some("me"), Some(2222)));
        assert_eq!(git.identities, ["~/.ssh/a key", "%d/.ssh/id_b"]);
        assert_eq!((git.only, git.strict), (Some(true), Some(Strict::AcceptNew)));
        assert_eq!(git.known_hosts.as_deref().unwrap(), ["a", "b"]);
        assert_eq!(git.ignored, ["config:13: ForwardX11"]);
        let bad = of(text, "bad.example.com");
        assert_eq!((bad.host, bad.user.as_deref(), bad.port), (None, Some("other"), Some(22)));
        assert_eq!(of(text, "x.example.com").host.as_deref(), Some("real.x.example.com"));
    }

    #[test]
    fn match_blocks_are_left_out() {
        let text = "Match exec \"true\"\n User a\nMatch all\n User b\n";
        let config = of(text, "h");
        assert_eq!(config.user.as_deref(), Some("b"));
        assert_eq!(config.ignored, ["config:1: Match"]);
    }

    #[test]
    fn values_that_mean_nothing_are_errors() {
        for text in
            ["Port x", "Port", "IdentitiesOnly maybe", "StrictHostKeyChecking never", "User \"a"]
        {
            let error = read(Path::new("config"), text, "h").unwrap_err();
            assert!(error.to_string().starts_with("config:1: "), "{error}");
        }
        assert_eq!(of("Host x\nPort x\n", "h"), HostConfig::default(), "it is for another host");
    }

    #[test]
    fn paths_are_found_beside_the_configuration() {
        let temp = crate::testing::TempDir::new("ssh-config");
        let dir = temp.path();
        std::fs::write(dir.join("id_x"), "").unwrap();
        let home = Path::new("/home/me");
        for (path, expected) in [
            ("~/.ssh/id_a", dir.join("id_a")),
            ("%d/.ssh/id_a", dir.join("id_a")),
            ("/tekton/home/.ssh/id_x", dir.join("id_x")),
            ("/keys/%h", PathBuf::from("/keys/git")),
            ("~/keys/a", home.join("keys/a")),
            ("id_x", dir.join("id_x")),
        ] {
            assert_eq!(locate(path, dir, Some(home), "git"), expected, "{path}");
        }
    }
}
