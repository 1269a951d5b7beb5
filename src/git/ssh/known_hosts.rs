//! `known_hosts`: which keys hosts have (`sshd(8)`). Pure.
//!
//! Names may be hashed, have wildcards, be negated and hold a port; lines may name authorities
//! and revoke keys. A line that cannot be read is left out and told of: it can only have made
//! something known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use ring::hmac;

use super::address::name_of;

/// The lines of some files.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
    /// What could not be read.
    pub(super) problems: Vec<String>,
}

/// One line that names a key.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) file: Arc<PathBuf>,
    pub(super) number: usize,
    marker: Marker,
    names: Names,
    /// The key, as it goes over the wire.
    pub(super) key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Clone, Debug)]
enum Names {
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    Patterns(Vec<String>),
}

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    /// It is the host's.
    Known,
    /// It is nobody's any more.
    Revoked(&'a Line),
    /// The host has others.
    Other(Vec<&'a Line>),
    /// Nothing is known of the host.
    Unknown,
}

impl KnownHosts {
    /// Adds the lines of a file.
    pub(super) fn add(&mut self, file: &Path, text: &str) {
        let path = Arc::new(file.to_owned());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((marker, names, key)) = parse(line) {
                let file = Arc::clone(&path);
                self.lines.push(Line { file, number, marker, names, key });
            } else {
                let file = file.display();
                self.problems.push(format!("{file}:{number}: this line is not understood"));
            }
        }
    }

    fn of<'a>(&'a self, name: &'a str, marker: Marker) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.marker == marker && line.names.hold(name))
    }

    /// Whether it is a host's key.
    pub(super) fn check(&self, host: &str, port: u16, key: &[u8]) -> Verdict<'_> {
        if let Some(line) = self.revoked(key) {
            return Verdict::Revoked(line);
        }
        let known = |name: &str| -> Vec<&Line> {
            self.lines
                .iter()
                .filter(|line| line.marker == Marker::None && line.names.hold(name))
                .collect()
        };
        let with_port = known(&name_of(host, port));
        if with_port.iter().any(|line| line.key == key) {
            return Verdict::Known;
        }
        if !with_port.is_empty() {
            return Verdict::Other(with_port);
        }
        // A host that is known without a port may have this key at another port, too.
        if known(host).iter().any(|line| line.key == key) {
            return Verdict::Known;
        }
        Verdict::Unknown
    }

    /// The line that revokes a key, wherever it says so: a key that is lost is lost everywhere.
    pub(super) fn revoked(&self, key: &[u8]) -> Option<&Line> {
        self.lines.iter().find(|line| line.marker == Marker::Revoked && line.key == key)
    }

    /// Whether an authority speaks for a host.
    pub(super) fn is_authority(&self, host: &str, port: u16, key: &[u8]) -> bool {
        [name_of(host, port), host.to_owned()]
            .iter()
            .any(|name| self.of(name, Marker::Authority).any(|line| line.key == key))
    }

    /// Whether any authority speaks for a host.
    pub(super) fn has_authority(&self, host: &str, port: u16) -> bool {
        [name_of(host, port), host.to_owned()]
            .iter()
            .any(|name| self.of(name, Marker::Authority).next().is_some())
    }

    /// The algorithms of the keys that a host is known by.
    pub(super) fn algorithms(&self, host: &str, port: u16) -> Vec<String> {
        let mut names: Vec<&Line> = Vec::new();
        let (with_port, host) = (name_of(host, port), host.to_owned());
        names.extend(self.of(&with_port, Marker::None));
        if names.is_empty() {
            names.extend(self.of(&host, Marker::None));
        }
        names.iter().filter_map(|line| algorithm(&line.key)).collect()
    }
}

impl Names {
    fn hold(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), hash).is_ok()
            }
            Self::Patterns(patterns) => {
                super::pattern::matches(patterns.iter().map(String::as_str), name)
            }
        }
    }
}

/// The name at the head of a key.
pub(super) fn algorithm(key: &[u8]) -> Option<String> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let name = rest.get(..u32::from_be_bytes(*length) as usize)?;
    String::from_utf8(name.to_vec()).ok()
}

fn parse(line: &str) -> Option<(Marker, Names, Vec<u8>)> {
    let mut words = line.split_ascii_whitespace();
    let mut word = words.next()?;
    let marker = match word {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        _ if word.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        word = words.next()?;
    }
    let names = match word.strip_prefix("|1|") {
        Some(rest) => {
            let (salt, hash) = rest.split_once('|')?;
            Names::Hashed { salt: decode(salt)?, hash: decode(hash)? }
        }
        None if word.starts_with('|') => return None,
        None => Names::Patterns(word.split(',').map(str::to_lowercase).collect()),
    };
    let kind = words.next()?;
    let key = decode(words.next()?)?;
    (algorithm(&key)? == kind).then_some((marker, names, key))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key in name only.
    fn key(kind: &str, content: &str) -> (Vec<u8>, String) {
        let mut bytes = Vec::new();
        for part in [kind, content] {
            bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let text = format!("{kind} {}", base64::engine::general_purpose::STANDARD.encode(&bytes));
        (bytes, text)
    }

    fn hosts(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), text);
        known
    }

    fn verdict(known: &KnownHosts, host: &str, port: u16, key: &[u8]) -> &'static str {
        match known.check(host, port, key) {
            Verdict::Known => "known",
            Verdict::Revoked(_) => "revoked",
            Verdict::Other(_) => "other",
            Verdict::Unknown => "unknown",
        }
    }

    #[test]
    fn finds_keys_by_name_and_port() {
        let (a, a_text) = key("ssh-ed25519", "a");
        let (b, b_text) = key("ssh-rsa", "b");
        let (c, c_text) = key("ssh-ed25519", "c");
        let known = hosts(&format!(
            "# comment\n\nh.io,10.0.0.1 {a_text} me@x\nh.io {b_text}\n[h.io]:2222 {c_text}\n\
             *.example.com,!bad.example.com {a_text}\n?x {b_text}\n"
        ));
        assert!(known.problems.is_empty());
        for (host, port, key, expected) in [
            ("h.io", 22, &a, "known"),
            ("h.io", 22, &b, "known"),
            ("h.io", 22, &c, "other"),
            ("h.io", 2222, &c, "known"),
            ("h.io", 2222, &a, "other"),
            ("h.io", 2200, &a, "known"),
            ("h.io", 2200, &c, "unknown"),
            ("10.0.0.1", 22, &a, "known"),
            ("10.0.0.2", 22, &a, "unknown"),
            ("x.example.com", 22, &a, "known"),
            ("bad.example.com", 22, &a, "unknown"),
            ("example.com", 22, &a, "unknown"),
            ("yx", 22, &b, "known"),
            ("x", 22, &b, "unknown"),
        ] {
            assert_eq!(verdict(&known, host, port, key), expected, "{host} {port}");
        }
        assert_eq!(known.algorithms("h.io", 22), ["ssh-ed25519", "ssh-rsa"]);
        assert_eq!(known.algorithms("h.io", 2222), ["ssh-ed25519"]);
    }

    #[test]
    fn hashed_names_revoked_keys_and_authorities() {
        let (a, a_text) = key("ssh-ed25519", "a");
        let (b, b_text) = key("ssh-ed25519", "b");
        let salt = b"12345678901234567890";
        let hmac_key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
        let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let hash = hmac::sign(&hmac_key, b"[h.io]:2222");
        let hashed = format!("|1|{}|{}", base64(salt), base64(hash.as_ref()));
        let known = hosts(&format!(
            "{hashed} {a_text}\n@revoked * {b_text}\nh.io {b_text}\n@cert-authority *.io {a_text}\n"
        ));
        assert_eq!(verdict(&known, "h.io", 2222, &a), "known");
        assert_eq!(verdict(&known, "h.io", 2223, &a), "unknown");
        assert_eq!(verdict(&known, "h.io", 22, &b), "revoked");
        assert!(known.is_authority("x.io", 22, &a) && known.is_authority("x.io", 2222, &a));
        assert!(!known.is_authority("x.org", 22, &a) && !known.is_authority("x.io", 22, &b));
        assert!(known.has_authority("x.io", 22) && !known.has_authority("x.org", 22));
    }

    #[test]
    fn tells_of_lines_that_it_cannot_read() {
        let (_, text) = key("ssh-ed25519", "a");
        for line in [
            "h.io",
            "h.io ssh-ed25519",
            "h.io ssh-ed25519 %%%",
            "@unknown h.io ssh-ed25519 AAAA",
            "|2|a|b ssh-ed25519 AAAA",
            &format!("h.io x{text}"),
        ] {
            let known = hosts(line);
            assert_eq!(known.problems, ["known_hosts:1: this line is not understood"], "{line}");
        }
    }
}
