//! The part of `.gitconfig` that says who asks and where: `[credential]`, `[http] extraHeader` and
//! `[url] insteadOf`. Everything else in it is about work trees and people, and is left alone.

use super::{Credential, CredentialError, CredentialStore};
use crate::git::config;
use crate::net::Url;

/// What a `.gitconfig` says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Headers, and names to log in with, by URL.
    pub credentials: CredentialStore,
    /// URLs that stand for others.
    pub rewrites: Vec<Rewrite>,
    /// Files of git-credential-store, as they stand there; `None` is the usual one.
    pub stores: Vec<Option<String>>,
    /// What has no effect here, in words for people.
    pub ignored: Vec<String>,
}

/// A beginning of URLs that is replaced (`insteadOf`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What a URL begins with.
    pub from: String,
    /// What stands there instead.
    pub to: String,
}

impl Rewrite {
    /// Replaces the beginning of a URL; of those that fit the longest.
    pub fn apply(rewrites: &[Self], url: &str) -> Option<String> {
        let fitting = rewrites.iter().filter(|rewrite| url.starts_with(rewrite.from.as_str()));
        let longest = fitting.max_by_key(|rewrite| rewrite.from.len())?;
        Some(format!("{}{}", longest.to, &url[longest.from.len()..]))
    }
}

impl Settings {
    /// Reads a `.gitconfig`.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let malformed = |line| CredentialError { line, problem: "this line is not understood" };
        let mut settings = Self::default();
        for value in config::parse(text).map_err(malformed)? {
            let config::Value { section, subsection, key, text } = value;
            let url = subsection.as_deref().and_then(|url| url.parse::<Url>().ok());
            match (section.as_str(), key.as_str()) {
                ("url", "insteadof") => {
                    let to = subsection.unwrap_or_default();
                    settings.rewrites.push(Rewrite { from: text, to });
                }
                ("url", "pushinsteadof") => {
                    settings.ignored.push("url.pushInsteadOf".to_owned());
                }
                ("credential", "helper") => settings.helper(&text),
                ("credential", "username") => match url {
                    Some(url) => settings.credentials.add_user(&url, text),
                    None => settings.ignored.push("credential.username".to_owned()),
                },
                // Paths count always.
                ("credential", "usehttppath") => {}
                ("credential", _) => settings.ignored.push(format!("credential.{key}")),
                ("http", "extraheader") => settings.header(url.as_ref(), &text),
                ("http", "sslverify" | "sslcainfo" | "proxy" | "sslcert" | "sslkey") => {
                    settings.ignored.push(format!("http.{key}"));
                }
                ("include" | "includeif", _) => settings.ignored.push(section),
                _ => {}
            }
        }
        Ok(settings)
    }

    fn helper(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        match (words.next(), words.next()) {
            // It clears those before.
            (None, _) => self.stores.clear(),
            (Some("store"), None) => self.stores.push(None),
            (Some("store"), Some(flag)) => {
                let file = flag.strip_prefix("--file=").map(str::to_owned);
                let file = file.or_else(|| words.next().map(str::to_owned));
                self.stores.push(file);
            }
            (Some(_), _) => self.ignored.push("a credential.helper other than store".to_owned()),
        }
    }

    fn header(&mut self, url: Option<&Url>, text: &str) {
        let header = text.split_once(':');
        let value = header.filter(|(name, _)| name.trim().eq_ignore_ascii_case("authorization"));
        match (url, value) {
            (Some(url), Some((_, value))) => {
                let value = value.trim().to_owned();
                self.credentials.add(url, Credential::Header(value));
            }
            // A header for all hosts would be shown to all.
            _ => self.ignored.push("http.extraHeader without a URL or Authorization".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_says_who_asks() {
        let text = "[user]\n\tname = me\n[credential \"https://h.io\"]\n\thelper = store\n\
                    [credential]\n\thelper = store --file ~/x\n\thelper = !cmd secret\n\
                    [credential \"https://u.io\"]\n\tusername = me\n\
                    [http \"https://dev.io/org\"]\n\textraHeader = \"AUTHORIZATION: bearer tok\"\n\
                    [http]\n\textraHeader = Authorization: x\n\tsslVerify = false\n\
                    [url \"https://h.io/\"]\n\tinsteadOf = git@h.io:\n\tinsteadOf = h:\n";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.stores, [None, Some("~/x".to_owned())]);
        let found = settings.credentials.find(&"https://dev.io/org/x".parse().unwrap());
        assert_eq!(found, Some(&Credential::Header("bearer tok".to_owned())));
        assert_eq!(settings.credentials.find(&"https://dev.io/x".parse().unwrap()), None);
        assert_eq!(
            settings.ignored,
            [
                "a credential.helper other than store",
                "http.extraHeader without a URL or Authorization",
                "http.sslverify"
            ]
        );
        let rewritten = Rewrite::apply(&settings.rewrites, "git@h.io:a/b.git");
        assert_eq!(rewritten.as_deref(), Some("https://h.io/a/b.git"));
        assert_eq!(Rewrite::apply(&settings.rewrites, "https://h.io/x"), None);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        assert_eq!(Settings::parse("[url\n").unwrap_err().line, 1);
    }
}
