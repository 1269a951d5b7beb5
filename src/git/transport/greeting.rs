//! What a server says first: in version 2 what it can do; in versions 0 and 1 what references it
//! has, and on the first line of them what it can do.

use super::Answer;
use crate::git::error::GitError;
use crate::git::id::ObjectId;
use crate::git::packet::{Limit, Packet};
use crate::git::refs::Reference;

/// Which messages a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Version {
    /// 0 and 1, which differ in one line: references first, one message, one answer.
    One,
    /// Commands, each on its own.
    Two,
}

/// The first words of a server.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) version: Version,
    pub(super) capabilities: Vec<String>,
    /// Those of version 1; with what annotated tags lead to.
    pub(super) references: Vec<Reference>,
}

impl Answer {
    /// Reads the greeting, to its end, which leaves the connection to the first message.
    pub(super) async fn greeting(mut self) -> Result<Greeting, GitError> {
        let mut packet = self.next().await?;
        if packet.line().is_some_and(|line| line.starts_with("# service=")) {
            if self.next().await? != Packet::Flush {
                return Err(self.protocol("there is no end to the service's name".to_owned()));
            }
            packet = self.next().await?;
        }
        let greeting = match packet.line() {
            Some("version 2") => self.commands().await?,
            Some("version 1") => {
                let packet = self.next().await?;
                self.advertised(packet).await?
            }
            _ => self.advertised(packet).await?,
        };
        self.finish().await;
        Ok(greeting)
    }

    async fn commands(&mut self) -> Result<Greeting, GitError> {
        let mut capabilities = Vec::new();
        let mut limit = Limit::new("capabilities", 1000, 1 << 20);
        loop {
            match self.next().await? {
                Packet::Flush => break,
                packet => {
                    limit.take(&packet).map_err(|problem| self.protocol(problem))?;
                    capabilities.extend(packet.line().map(str::to_owned));
                }
            }
        }
        Ok(Greeting { version: Version::Two, capabilities, references: Vec::new() })
    }

    async fn advertised(&mut self, first: Packet) -> Result<Greeting, GitError> {
        let mut greeting =
            Greeting { version: Version::One, capabilities: Vec::new(), references: Vec::new() };
        let mut limit = Limit::new("references", 1_000_000, 128 << 20);
        let mut packet = first;
        let mut is_first = true;
        while packet != Packet::Flush {
            limit.take(&packet).map_err(|problem| self.protocol(problem))?;
            let Packet::Data(bytes) = &packet else {
                return Err(self.protocol("the references are cut in sections".to_owned()));
            };
            // A name that is not text is nobody's to ask for.
            let line = String::from_utf8_lossy(bytes);
            let line = line.strip_suffix('\n').unwrap_or(&line);
            let line = match line.split_once('\0') {
                Some((line, capabilities)) if is_first => {
                    greeting.capabilities = capabilities.split(' ').map(str::to_owned).collect();
                    line
                }
                _ => line,
            };
            is_first = false;
            if !greeting.take(line) {
                return Err(self.protocol(format!("{line:?} is no reference")));
            }
            packet = self.next().await?;
        }
        greeting.resolve_symbolic();
        Ok(greeting)
    }
}

impl Greeting {
    /// Takes a line; false if it is none.
    fn take(&mut self, line: &str) -> bool {
        if line.starts_with("shallow ") {
            return true;
        }
        let Some((id, name)) = line.split_once(' ') else { return false };
        let Some(id) = ObjectId::parse(id) else { return false };
        if name == "capabilities^{}" {
            return true;
        }
        if let Some(name) = name.strip_suffix("^{}") {
            let last = self.references.last_mut().filter(|last| last.name == name);
            if let Some(last) = last {
                last.peeled = Some(id);
            }
            return true;
        }
        let name = name.to_owned();
        self.references.push(Reference { name, id, peeled: None, target: None });
        true
    }

    /// `symref=HEAD:refs/heads/main` says what HEAD stands for.
    fn resolve_symbolic(&mut self) {
        for capability in &self.capabilities {
            let pair = capability.strip_prefix("symref=").and_then(|pair| pair.split_once(':'));
            let Some((name, target)) = pair else { continue };
            let found = self.references.iter_mut().find(|reference| reference.name == name);
            if let Some(reference) = found {
                reference.target = Some(target.to_owned());
            }
        }
    }
}
