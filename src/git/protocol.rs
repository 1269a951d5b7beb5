//! Asking for references and for objects: the commands `ls-refs` and `fetch` of version 2, and what
//! stands for them in versions 0 and 1 (gitprotocol-v2, gitprotocol-pack).

use std::fmt;

use super::error::GitError;
use super::id::ObjectId;
use super::packet::{Band, Limit, Message, Packet};
use super::refs::Reference;
use super::transport::{Answer, Server, Transport, Version};

/// How a pack and what is said of it come over one connection.
pub(super) const SIDEBAND: &str = "side-band-64k";

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
        return Ok(listed(server, prefixes));
    }
    server.renew();
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

/// What a server of version 1 has listed by itself.
fn listed(server: &Server, prefixes: &[String]) -> References {
    let wanted = |name: &str| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    };
    let all = server.references.iter().filter(|reference| wanted(&reference.name)).cloned();
    References { all: all.collect(), unborn: server.references.is_empty() }
}

/// What a server leaves out of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
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
/// [`Server::can_fetch`]) is left out of the message, so that more comes than was asked for: who needs
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
    let mut message = match server.version {
        Version::Two => command(server, request)?,
        Version::One => wants(server, request)?,
    };
    let message = match server.version {
        Version::Two => message.finish(),
        Version::One => message.unfinished(),
    };
    transport.send(server, message).await.map_err(|error| unadvertised(server, error))
}

/// What a server of version 1 says of an object that it does not give out is an error of its own,
/// so that the caller may ask for what it does give out.
fn unadvertised(server: &Server, error: GitError) -> GitError {
    let text = match &error {
        GitError::Refused { message, .. } => message.clone(),
        GitError::Ssh { source, .. } => source.to_string(),
        _ => return error,
    };
    let refuses = text.contains("not our ref") || text.contains("unadvertised object");
    if server.version == Version::Two || !refuses {
        return error;
    }
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit());
    match words.find_map(ObjectId::parse) {
        Some(id) => GitError::Unadvertised { remote: server.name.clone(), id },
        None => error,
    }
}

/// The command of version 2.
fn command(server: &Server, request: &FetchRequest) -> Result<Message, GitError> {
    let mut message = server.command("fetch")?;
    message.line("no-progress").line("ofs-delta");
    if request.include_tag {
        message.line("include-tag");
    }
    for want in &request.wants {
        message.line(&format!("want {want}"));
    }
    if server.can_fetch("ref-in-want") {
        for name in &request.want_refs {
            message.line(&format!("want-ref {name}"));
        }
    }
    limits(server, request, &mut message);
    for have in &request.haves {
        message.line(&format!("have {have}"));
    }
    message.line("done");
    Ok(message)
}

/// The message of version 1: capabilities stand behind the first object.
fn wants(server: &Server, request: &FetchRequest) -> Result<Message, GitError> {
    if server.capability(SIDEBAND).is_none() {
        return Err(server.protocol(format!("the server cannot do {SIDEBAND}")));
    }
    let mut capabilities = SIDEBAND.to_owned();
    let mut add = |word: &str| {
        if server.capability(word.split('=').next().unwrap_or_default()).is_some() {
            capabilities.extend([" ", word]);
        }
    };
    add("ofs-delta");
    add("no-progress");
    if request.include_tag {
        add("include-tag");
    }
    if request.depth.is_some() || !request.shallow.is_empty() {
        add("shallow");
    }
    if request.filter.is_some() {
        add("filter");
    }
    add(concat!("agent=yado/", env!("CARGO_PKG_VERSION")));
    add(&format!("object-format={}", server.format()?.name()));
    let mut message = Message::default();
    for (n, want) in request.wants.iter().enumerate() {
        match n {
            0 => message.line(&format!("want {want} {capabilities}")),
            _ => message.line(&format!("want {want}")),
        };
    }
    limits(server, request, &mut message);
    message.flush();
    for have in &request.haves {
        message.line(&format!("have {have}"));
    }
    // The last packet of this message is a line, and no mark comes after it.
    message.line("done");
    Ok(message)
}

/// How far the pack goes.
fn limits(server: &Server, request: &FetchRequest, message: &mut Message) {
    if server.can_fetch("shallow") {
        for commit in &request.shallow {
            message.line(&format!("shallow {commit}"));
        }
        if let Some(depth) = request.depth {
            message.line(&format!("deepen {depth}"));
        }
    }
    if let Some(filter) = request.filter.filter(|_| server.can_fetch("filter")) {
        message.line(&format!("filter {filter}"));
    }
}

/// Reads what [`fetch`] asked for; `sink` takes the pack's bytes.
pub(super) async fn receive(
    server: &Server,
    mut answer: Answer,
    mut sink: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<Received, GitError> {
    let received = match server.version {
        Version::Two => sections(server, &mut answer).await?,
        Version::One => {
            let before = acknowledged(server, &mut answer).await;
            before.map_err(|error| unadvertised(server, error))?
        }
    };
    loop {
        match answer.next().await? {
            Packet::Flush => {
                if server.version == Version::Two {
                    answer.finish().await;
                }
                return Ok(received);
            }
            Packet::Data(bytes) => match Band::of(&bytes) {
                Some(Band::Data(data)) => sink(data)?,
                Some(Band::Progress(_)) => {}
                Some(Band::Fatal(message)) => {
                    return Err(server.refused(&message));
                }
                None => return Err(server.protocol("a part of the pack has no known channel")),
            },
            _ => return Err(server.protocol("the pack is cut in sections")),
        }
    }
}

/// Few commits are asked for, so few are expected; bytes that are not ids are not kept.
fn boundary() -> Limit {
    Limit::new("commits without parents", 100_000, 16 << 20)
}

/// What comes before the pack in version 2.
async fn sections(server: &Server, answer: &mut Answer) -> Result<Received, GitError> {
    let mut received = Received::default();
    let mut limit = boundary();
    let mut section = String::new();
    loop {
        let packet = answer.next().await?;
        limit.take(&packet).map_err(|problem| server.protocol(problem))?;
        match packet.line() {
            Some("packfile") => return Ok(received),
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
}

/// What comes before the pack in version 1: commits without parents and a mark, if a depth was
/// asked for; and one line on what is here already.
async fn acknowledged(server: &Server, answer: &mut Answer) -> Result<Received, GitError> {
    let mut received = Received::default();
    let mut limit = boundary();
    loop {
        let packet = answer.next().await?;
        limit.take(&packet).map_err(|problem| server.protocol(problem))?;
        match packet.line() {
            Some("NAK") => return Ok(received),
            Some(line) if line.starts_with("ACK ") => return Ok(received),
            Some(line) => {
                let id = line.strip_prefix("shallow ").and_then(ObjectId::parse);
                received.shallow.extend(id);
            }
            None if packet == Packet::Flush => {}
            None => return Err(server.protocol("the answer holds no pack")),
        }
    }
}
