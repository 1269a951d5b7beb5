//! The two commands of protocol version 2 that are used: `ls-refs` and `fetch`.

use super::error::GitError;
use super::id::ObjectId;
use super::packet::{Limit, Packet};
use super::refs::Reference;
use super::transport::{Answer, Server, Transport};

/// What references a server has.
#[derive(Debug)]
pub(super) struct References {
    /// Those that were asked for.
    pub(super) all: Vec<Reference>,
    /// Whether the default branch has no commit yet.
    pub(super) unborn: bool,
}

/// Lists the references whose names begin with one of `prefixes`.
pub(super) async fn ls_refs(
    transport: &Transport,
    server: &Server,
    prefixes: &[String],
) -> Result<References, GitError> {
    let mut message = server.command("ls-refs")?;
    message.line("peel").line("symrefs");
    if server.can("ls-refs", "unborn") {
        message.line("unborn");
    }
    for prefix in prefixes {
        message.line(&format!("ref-prefix {prefix}"));
    }
    let mut answer = transport.send(server, message.finish()).await?;
    let mut references = References { all: Vec::new(), unborn: false };
    let mut limit = Limit::new("references", 1_000_000, 128 << 20);
    loop {
        let packet = answer.next().await?;
        if packet == Packet::Flush {
            answer.finish().await;
            return Ok(references);
        }
        limit.take(&packet).map_err(|problem| server.protocol(problem))?;
        let line = packet.line().unwrap_or_default();
        if line.starts_with("unborn ") {
            references.unborn = true;
            continue;
        }
        let reference = Reference::parse(line);
        references.all.extend([
            reference.ok_or_else(|| server.protocol(format!("{line:?} is no reference")))?
        ]);
    }
}

/// Asks for the pack of one object and what it leads to, of one commit's depth.
pub(super) async fn fetch(
    transport: &Transport,
    server: &Server,
    want: &ObjectId,
) -> Result<Answer, GitError> {
    let mut message = server.command("fetch")?;
    message.line("no-progress").line("ofs-delta").line(&format!("want {want}"));
    if server.can("fetch", "shallow") {
        message.line("deepen 1");
    }
    message.line("done");
    transport.send(server, message.finish()).await
}

/// Reads what [`fetch`] asked for; `sink` takes the pack's bytes. Gives the commits whose parents
/// were left out.
pub(super) async fn receive(
    server: &Server,
    mut answer: Answer,
    mut sink: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<Vec<ObjectId>, GitError> {
    const DATA: u8 = 1;
    const PROGRESS: u8 = 2;
    const FATAL: u8 = 3;
    let mut shallow = Vec::new();
    // One commit is asked for, so few are expected; bytes that are not ids are not kept.
    let mut limit = Limit::new("commits without parents", 100_000, 16 << 20);
    loop {
        let packet = answer.next().await?;
        limit.take(&packet).map_err(|problem| server.protocol(problem))?;
        match packet.line() {
            Some("packfile") => break,
            Some(line) => {
                let id = line.strip_prefix("shallow ").and_then(ObjectId::parse);
                shallow.extend(id);
            }
            None if packet == Packet::Delimiter => {}
            None => return Err(server.protocol("the answer holds no pack")),
        }
    }
    loop {
        match answer.next().await? {
            Packet::Flush => {
                answer.finish().await;
                return Ok(shallow);
            }
            Packet::Data(bytes) => match bytes.split_first() {
                Some((&DATA, data)) => sink(data)?,
                Some((&PROGRESS, _)) => {}
                Some((&FATAL, text)) => {
                    let message = String::from_utf8_lossy(text).trim().to_owned();
                    return Err(GitError::Refused { remote: server.name.clone(), message });
                }
                _ => return Err(server.protocol("a part of the pack has no known channel")),
            },
            _ => return Err(server.protocol("the pack is cut in sections")),
        }
    }
}
