//! Changing references of a repository elsewhere (gitprotocol-pack, "Pushing Data To a Server").
//!
//! ```text
//! ─► which references there are, and what the server can do
//! ◄─ for each reference: what it is, what it is to be; options; a pack of what is new
//! ─► whether the pack was taken, and for each reference whether it was changed, or why not
//! ```
//!
//! A reference is changed only if it still is what the caller has seen. A message is sent once:
//! when the connection breaks after it, nobody knows what has become of it, and the error says so.

use std::collections::HashSet;

use super::error::GitError;
use super::id::ObjectId;
use super::pack::{self, Object};
use super::packet::{Band, Limit, Message, Packet, Packets};
use super::protocol::SIDEBAND;
use super::transport::{Answer, Server, Service};
use super::url::Remote;
use super::{Git, Made, origin};
use crate::report::{Event, cut, message_line};

/// What is to be changed.
#[derive(Clone, Debug, Default)]
pub struct Push<'a> {
    /// References.
    pub updates: Vec<Update>,
    /// Commits that were made for them.
    pub commits: Vec<&'a Made>,
    /// Whether all references are changed or none; a server that cannot do so is an error.
    pub atomic: bool,
    /// Words for the server and its hooks; a server that takes none is an error.
    pub options: Vec<String>,
}

/// The change of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its full name.
    pub reference: String,
    /// What it must be; `None` if it must not be there.
    pub old: Option<ObjectId>,
    /// What it becomes; `None` removes it.
    pub new: Option<ObjectId>,
}

/// What has become of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// All references are changed.
    Done,
    /// The server will not do it. Texts differ from server to server: whether somebody else was
    /// faster is seen by reading the reference again.
    Refused {
        /// The first reference that was not changed. Without `atomic`, others may have been.
        reference: String,
        /// Why, in the server's words.
        reason: String,
    },
}

/// The answer to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What has become of it.
    pub outcome: PushOutcome,
    /// What the server and its hooks have said, line by line, without control characters.
    pub messages: Vec<String>,
}

impl Git {
    /// Changes references. What is refused is an outcome; [`GitError::Unknown`] means that the
    /// references must be read again to know whether they were changed.
    pub async fn push(&self, remote: &Remote, push: &Push<'_>) -> Result<Pushed, GitError> {
        for update in &push.updates {
            if !good_name(&update.reference) {
                return Err(GitError::Commit {
                    problem: format!("{:?} is no name of a reference", update.reference),
                });
            }
        }
        let server = self.transport.greet(remote, origin(remote), Service::ReceivePack).await?;
        if let Some(reason) = stale(&server, push) {
            return Ok(Pushed { outcome: reason, messages: Vec::new() });
        }
        let message = message(&server, push)?;
        let unknown = |source: GitError| match source {
            // A proxy may say 502 or 504 of what was done behind it; other words are the server's.
            GitError::Status { status, .. } if status < 500 => source,
            GitError::Refused { .. } | GitError::Protocol { .. } | GitError::NotGit { .. } => {
                source
            }
            source => GitError::Unknown { remote: server.name.clone(), source: source.into() },
        };
        let answer = self.transport.send(&server, message).await.map_err(unknown)?;
        let report = Report { server: &server, git: self, messages: Vec::new(), line: Vec::new() };
        report.read(answer, push).await.map_err(unknown)
    }
}

/// What the server has listed is newer than what the caller knows.
fn stale(server: &Server, push: &Push<'_>) -> Option<PushOutcome> {
    push.updates.iter().find_map(|update| {
        let listed = server.references.iter().find(|known| known.name == update.reference)?;
        let reason = match update.old {
            Some(old) if old == listed.id => return None,
            Some(old) => format!("it is {} by now, and not {old}", listed.id),
            None => format!("it is there already, at {}", listed.id),
        };
        Some(PushOutcome::Refused { reference: update.reference.clone(), reason })
    })
}

fn message(server: &Server, push: &Push<'_>) -> Result<Vec<u8>, GitError> {
    let has = |word: &str| server.capability(word).is_some();
    let lacks = |what| GitError::Unsupported { remote: server.name.clone(), what };
    if !has("report-status") && !has("report-status-v2") {
        return Err(lacks("say what becomes of a push"));
    }
    if push.atomic && push.updates.len() > 1 && !has("atomic") {
        return Err(lacks("change several references at once (atomic)"));
    }
    if !push.options.is_empty() && !has("push-options") {
        return Err(lacks("take push options (receive.advertisePushOptions)"));
    }
    if push.options.iter().any(|option| option.contains(['\n', '\0'])) {
        let problem = "a push option holds a line end".to_owned();
        return Err(GitError::Commit { problem });
    }
    if push.updates.iter().any(|update| update.new.is_none()) && !has("delete-refs") {
        return Err(lacks("remove references"));
    }
    let format = server.format()?;
    let mut capabilities = String::new();
    let status = if has("report-status-v2") { "report-status-v2" } else { "report-status" };
    for word in [status, SIDEBAND, "quiet"] {
        if has(word) {
            capabilities.extend([" ", word]);
        }
    }
    if push.atomic && has("atomic") {
        capabilities.push_str(" atomic");
    }
    if !push.options.is_empty() {
        capabilities.push_str(" push-options");
    }
    if has("object-format") {
        capabilities.extend([" object-format=", format.name()]);
    }
    if has("agent") {
        capabilities.push_str(concat!(" agent=yado/", env!("CARGO_PKG_VERSION")));
    }
    let mut message = Message::default();
    for (n, update) in push.updates.iter().enumerate() {
        let null = ObjectId::null(format);
        let (old, new) = (update.old.unwrap_or(null), update.new.unwrap_or(null));
        let mut line = format!("{old} {new} {}", update.reference);
        if n == 0 {
            line.extend(["\0", &capabilities]);
        }
        message.raw(line.as_bytes());
    }
    message.flush();
    if !push.options.is_empty() {
        for option in &push.options {
            message.raw(option.as_bytes());
        }
        message.flush();
    }
    let mut bytes = message.unfinished();
    if push.updates.iter().any(|update| update.new.is_some()) {
        let mut seen = HashSet::new();
        let objects = push.commits.iter().flat_map(|made| &made.objects);
        let objects: Vec<&Object> = objects.filter(|object| seen.insert(object.id)).collect();
        let pack = pack::build(format, objects.into_iter());
        let io = |source| GitError::Io { path: format!("the pack for {}", server.name), source };
        bytes.extend_from_slice(&pack.map_err(io)?);
    }
    Ok(bytes)
}

/// Whether git takes it for the full name of a reference (git-check-ref-format).
fn good_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.starts_with("refs/")
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && !name.contains(bad)
        && name.split('/').all(|part| {
            !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none()
        })
}

/// Reads what the server says of a push.
struct Report<'a> {
    server: &'a Server,
    git: &'a Git,
    messages: Vec<String>,
    /// A line whose end has not come.
    line: Vec<u8>,
}

impl Report<'_> {
    async fn read(mut self, mut answer: Answer, push: &Push<'_>) -> Result<Pushed, GitError> {
        let mut limit = Limit::new("lines about a push", 100_000, 16 << 20);
        let mut lines = Vec::new();
        let banded = self.server.capability(SIDEBAND).is_some();
        let mut inner = Packets::default();
        let mut ended = false;
        loop {
            let packet = answer.next().await?;
            limit.take(&packet).map_err(|problem| self.server.protocol(problem))?;
            let Packet::Data(bytes) = &packet else { break };
            if !banded {
                lines.extend(packet.line().map(str::to_owned));
                continue;
            }
            match Band::of(bytes) {
                Some(Band::Data(data)) => inner.push(data),
                Some(Band::Progress(text)) => self.said(text),
                Some(Band::Fatal(message)) => {
                    self.end_line();
                    let remote = self.server.name.clone();
                    return Err(GitError::Refused { remote, message });
                }
                None => return Err(self.server.protocol("a message has no known channel")),
            }
            while !ended {
                let packet = inner.next().map_err(|problem| self.server.protocol(problem))?;
                match packet {
                    Some(packet @ Packet::Data(_)) => {
                        lines.extend(packet.line().map(str::to_owned));
                    }
                    Some(_) => ended = true,
                    None => break,
                }
            }
        }
        self.end_line();
        let outcome = self.outcome(&lines, push)?;
        Ok(Pushed { outcome, messages: self.messages })
    }

    fn outcome(&self, lines: &[String], push: &Push<'_>) -> Result<PushOutcome, GitError> {
        let clean = |text: &str| cut(&message_line(text), 500).into_owned();
        let first = push.updates.first().map(|update| update.reference.clone());
        let unpacked = lines.iter().find_map(|line| line.strip_prefix("unpack "));
        match unpacked {
            Some("ok") => {}
            Some(problem) => {
                let reason = format!("the pack was not taken: {}", clean(problem));
                let reference = first.unwrap_or_default();
                return Ok(PushOutcome::Refused { reference, reason });
            }
            None => return Err(self.server.protocol("nothing is said of the push")),
        }
        for update in &push.updates {
            let name = update.reference.as_str();
            let refused = lines.iter().find_map(|line| {
                let rest = line.strip_prefix("ng ")?.strip_prefix(name)?;
                if rest.is_empty() { Some("") } else { rest.strip_prefix(' ') }
            });
            if let Some(reason) = refused {
                let reference = update.reference.clone();
                return Ok(PushOutcome::Refused { reference, reason: clean(reason) });
            }
            if !lines.iter().any(|line| line.strip_prefix("ok ") == Some(name)) {
                return Err(self.server.protocol(format!("nothing is said of {name}")));
            }
        }
        Ok(PushOutcome::Done)
    }

    /// Takes words for people, which come in pieces of any length.
    fn said(&mut self, text: &[u8]) {
        /// The most of a line that is kept.
        const LONGEST: usize = 4096;
        for byte in text {
            match byte {
                b'\n' | b'\r' => self.end_line(),
                _ if self.line.len() < LONGEST => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        /// The most lines that are kept and shown.
        const MOST: usize = 200;
        let line = std::mem::take(&mut self.line);
        let line = message_line(&String::from_utf8_lossy(&line)).trim().to_owned();
        if line.is_empty() || self.messages.len() == MOST {
            return;
        }
        let message = format!("{}: {line}", self.server.name);
        self.git.sink.event(Event::Note { message });
        self.messages.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_references() {
        for (name, expected) in [
            ("refs/heads/main", true),
            ("refs/heads/yado/a-1.2", true),
            ("refs/for/main%topic=x", true),
            ("main", false),
            ("refs/heads/", false),
            ("refs//heads", false),
            ("refs/heads/a b", false),
            ("refs/heads/a\n", false),
            ("refs/heads/a..b", false),
            ("refs/heads/.a", false),
            ("refs/heads/a.lock", false),
            ("refs/heads/a.", false),
            ("refs/heads/a@{1}", false),
            ("refs/heads/a:b", false),
        ] {
            assert_eq!(good_name(name), expected, "{name:?}");
        }
    }
}
