//! Fetching as versions 0 and 1 of the protocol have it, which is what a plain `sshd` serves.
//!
//! The server lists its references by itself. A fetch is one message on a stream of its own: what
//! is wanted, then `done`; the answer is the commits whose parents were left out, and the pack. It
//! gives out what references point to, and other objects only where it says so.

use super::error::GitError;
use super::id::ObjectId;
use super::packet::{Limit, Message, Packet};
use super::protocol::{FetchRequest, Received};
use super::refs::Reference;
use super::transport::{Answer, Server};

/// Those of the listed references whose names begin with one of `prefixes`.
pub(super) fn references(all: &[Reference], prefixes: &[String]) -> Vec<Reference> {
    let wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    all.iter().filter(|reference| wanted(&reference.name)).cloned().collect()
}

/// Makes the message of a fetch.
pub(super) fn message(server: &Server, request: &FetchRequest) -> Result<Vec<u8>, GitError> {
    if server.capability("side-band-64k").is_none() {
        return Err(server.protocol("it does not tell the pack from other output (side-band-64k)"));
    }
    let mut capabilities = "side-band-64k ofs-delta no-progress".to_owned();
    let mut add = |name: &str, wanted: bool| {
        if wanted && server.capability(name).is_some() {
            capabilities.push(' ');
            capabilities.push_str(name);
        }
    };
    add("shallow", true);
    add("include-tag", request.include_tag);
    add("filter", request.filter.is_some());
    if server.capability("agent").is_some() {
        capabilities.push_str(concat!(" agent=yado/", env!("CARGO_PKG_VERSION")));
    }
    if server.capability("object-format").is_some() {
        capabilities.push_str(" object-format=");
        capabilities.push_str(server.format()?.name());
    }
    let mut wants = request.wants.clone();
    for name in &request.want_refs {
        let reference = server.references.iter().find(|r| r.name == *name);
        wants.extend(reference.map(|r| r.id));
    }
    wants.sort_unstable();
    wants.dedup();
    let mut message = Message::default();
    for (at, want) in wants.iter().enumerate() {
        match at {
            0 => message.line(&format!("want {want} {capabilities}")),
            _ => message.line(&format!("want {want}")),
        };
    }
    if server.capability("shallow").is_some() {
        for commit in &request.shallow {
            message.line(&format!("shallow {commit}"));
        }
        if let Some(depth) = request.depth {
            message.line(&format!("deepen {depth}"));
        }
    }
    if let Some(filter) = request.filter.filter(|_| server.capability("filter").is_some()) {
        message.line(&format!("filter {filter}"));
    }
    let mut bytes = message.finish();
    for have in &request.haves {
        message.line(&format!("have {have}"));
    }
    bytes.extend(message.line("done").unfinished());
    Ok(bytes)
}

/// What a server says of an object that it does not give out is an error of its own, so that
/// the caller may ask for what it does give out.
pub(super) fn unadvertised(server: &Server, error: GitError) -> GitError {
    let text = match &error {
        GitError::Refused { message, .. } => message.clone(),
        GitError::Ssh { source, .. } => source.to_string(),
        _ => return error,
    };
    if !text.contains("not our ref") && !text.contains("unadvertised object") {
        return error;
    }
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit());
    match words.find_map(ObjectId::parse) {
        Some(id) => GitError::Unadvertised { remote: server.name.clone(), id },
        None => error,
    }
}

/// Reads what comes before the pack; gives the first packet of it too.
pub(super) async fn head(
    server: &Server,
    answer: &mut Answer,
) -> Result<(Received, Packet), GitError> {
    let mut received = Received::default();
    let mut limit = Limit::new("commits without parents", 100_000, 16 << 20);
    loop {
        let packet = answer.next().await.map_err(|error| unadvertised(server, error))?;
        limit.take(&packet).map_err(|problem| server.protocol(problem))?;
        match packet.line() {
            Some(line) if line.starts_with("shallow ") || line.starts_with("unshallow ") => {
                received.shallow.extend(line.strip_prefix("shallow ").and_then(ObjectId::parse));
            }
            Some(line) if line == "NAK" || line.starts_with("ACK ") => {}
            // The end of the list of shallow commits.
            None if packet == Packet::Flush => {}
            _ => return Ok((received, packet)),
        }
    }
}
