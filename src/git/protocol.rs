//! The two commands of protocol version 2 that are used: `ls-refs` and `fetch`; what servers of
//! older versions understand instead is in `dialect`.

use std::fmt;

use super::dialect;
use super::error::GitError;
use super::id::ObjectId;
use super::packet::{Limit, Packet};
use super::refs::Reference;
use super::transport::{Answer, Server, Transport, Version};

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
    if server.version == Version::One {
        let all = transport.listed(server).await?;
        return Ok(References { all: dialect::references(&all, prefixes), unborn: all.is_empty() });
    }
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

/// What a server leaves out of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// All files.
    NoBlobs,
    /// Files of more than so many bytes.
    BlobLimit(u64),
    /// Trees and files that are so far from a commit or from what is wanted; 0 leaves out all that
    /// is not wanted by itself.
    TreeDepth(u32),
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBlobs => f.write_str("blob:none"),
            Self::BlobLimit(bytes) => write!(f, "blob:limit={bytes}"),
            Self::TreeDepth(depth) => write!(f, "tree:{depth}"),
        }
    }
}

/// Which objects are asked for. What a server cannot do (`shallow`, `filter`, `ref-in-want`; see
/// [`Server::can`]) is left out of the message, so that more comes than was asked for: who needs
/// it asks first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchRequest {
    /// The objects, with what they lead to.
    pub(super) wants: Vec<ObjectId>,
    /// References whose objects are wanted, whatever they are by now.
    pub(super) want_refs: Vec<String>,
    /// Commits that are here, with all that they lead to.
    pub(super) haves: Vec<ObjectId>,
    /// Commits that are here without their parents.
    pub(super) shallow: Vec<ObjectId>,
    /// How many commits of each line of history; `None` is all.
    pub(super) depth: Option<u32>,
    /// What is left out.
    pub(super) filter: Option<Filter>,
    /// Whether annotated tags of what is sent come with it.
    pub(super) include_tag: bool,
}

/// What came beside the pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Commits whose parents were left out.
    pub(super) shallow: Vec<ObjectId>,
    /// What the references are that were wanted by name.
    pub(super) references: Vec<(String, ObjectId)>,
}

/// Asks for a pack.
pub(super) async fn fetch(
    transport: &Transport,
    server: &Server,
    request: &FetchRequest,
) -> Result<Answer, GitError> {
    if server.version == Version::One {
        return transport.send(server, dialect::message(server, request)?).await;
    }
    let mut message = server.command("fetch")?;
    message.line("no-progress").line("ofs-delta");
    if request.include_tag {
        message.line("include-tag");
    }
    for want in &request.wants {
        message.line(&format!("want {want}"));
    }
    if server.can("fetch", "ref-in-want") {
        for name in &request.want_refs {
            message.line(&format!("want-ref {name}"));
        }
    }
    if server.can("fetch", "shallow") {
        for commit in &request.shallow {
            message.line(&format!("shallow {commit}"));
        }
        if let Some(depth) = request.depth {
            message.line(&format!("deepen {depth}"));
        }
    }
    if let Some(filter) = request.filter.filter(|_| server.can("fetch", "filter")) {
        message.line(&format!("filter {filter}"));
    }
    for have in &request.haves {
        message.line(&format!("have {have}"));
    }
    message.line("done");
    transport.send(server, message.finish()).await
}

/// Reads what [`fetch`] asked for; `sink` takes the pack's bytes.
pub(super) async fn receive(
    server: &Server,
    mut answer: Answer,
    sink: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<Received, GitError> {
    if server.version == Version::One {
        let (received, first) = dialect::head(server, &mut answer).await?;
        // The stream ends with the pack.
        return pack(server, &mut answer, first, sink).await.map(|()| received);
    }
    let mut received = Received::default();
    // Few commits are asked for, so few are expected; bytes that are not ids are not kept.
    let mut limit = Limit::new("commits without parents", 100_000, 16 << 20);
    let mut section = String::new();
    loop {
        let packet = answer.next().await?;
        limit.take(&packet).map_err(|problem| server.protocol(problem))?;
        match packet.line() {
            Some("packfile") => break,
            Some(line @ ("shallow-info" | "wanted-refs" | "acknowledgments")) => {
                line.clone_into(&mut section);
            }
            Some(line) if section == "wanted-refs" => {
                let pair = line.split_once(' ');
                let pair =
                    pair.and_then(|(id, name)| Some((name.to_owned(), ObjectId::parse(id)?)));
                received.references.extend(pair);
            }
            Some(line) => {
                let id = line.strip_prefix("shallow ").and_then(ObjectId::parse);
                received.shallow.extend(id);
            }
            None if packet == Packet::Delimiter => {}
            None => return Err(server.protocol("the answer holds no pack")),
        }
    }
    let first = answer.next().await?;
    pack(server, &mut answer, first, sink).await?;
    answer.finish().await;
    Ok(received)
}

/// Reads a pack to its end, beginning with its first packet.
async fn pack(
    server: &Server,
    answer: &mut Answer,
    first: Packet,
    mut sink: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<(), GitError> {
    const DATA: u8 = 1;
    const PROGRESS: u8 = 2;
    const FATAL: u8 = 3;
    let mut packet = first;
    loop {
        match packet {
            Packet::Flush => return Ok(()),
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
        packet = answer.next().await?;
    }
}
