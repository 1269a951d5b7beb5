//! What a fetch gets: the message read, and the pack of what it asks for, object by object.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::store::LocalRepository;
use super::walk::{Wanted, walk};
use super::{Problem, Say, unheard};
use crate::git::id::{Hasher, ObjectId};
use crate::git::pack;
use crate::git::packet::{Message, Packet, Packets};
use crate::git::protocol::Filter;

/// Answers a message of version 1.
pub(super) fn give(
    repository: &LocalRepository,
    message: &[u8],
    say: Say<'_>,
) -> Result<(), Problem> {
    let wanted = read(message)?;
    for id in &wanted.wants {
        if !repository.has(id) {
            let mut error = Message::default();
            error.line(&format!("ERR upload-pack: not our ref {id}"));
            return say(error.unfinished()).map_err(unheard);
        }
    }
    let given = walk(repository, &wanted)?;
    let mut head = Message::default();
    for id in &given.shallow {
        head.line(&format!("shallow {id}"));
    }
    if wanted.depth.is_some() {
        head.flush();
    }
    head.line("NAK");
    say(head.unfinished()).map_err(unheard)?;
    let mut hasher = Hasher::new(repository.format);
    let mut send = |bytes: &[u8]| {
        hasher.update(bytes);
        band(1, bytes, say)
    };
    let mut start = b"PACK\0\0\0\x02".to_vec();
    start.extend_from_slice(&(given.objects.len() as u32).to_be_bytes());
    send(&start)?;
    for id in &given.objects {
        let (kind, content) = repository.read(id)?;
        let mut entry = Vec::new();
        pack::before(&mut entry, kind, content.len());
        let mut encoder = ZlibEncoder::new(&mut entry, Compression::fast());
        let packed = encoder.write_all(&content).and_then(|()| encoder.finish().map(drop));
        packed.map_err(|error| error.to_string())?;
        send(&entry)?;
    }
    let sum = hasher.finish().ok_or("the pack was made to collide with another")?;
    band(1, sum.as_bytes(), say)?;
    say(Message::default().finish()).map_err(unheard)
}

/// Sends bytes on a channel of the stream.
pub(super) fn band(channel: u8, bytes: &[u8], say: Say<'_>) -> Result<(), Problem> {
    /// The most that a packet of this form holds, with its channel.
    const MOST: usize = 65_515;
    for piece in bytes.chunks(MOST) {
        let mut message = Message::default();
        message.raw(&[&[channel], piece].concat());
        say(message.unfinished()).map_err(unheard)?;
    }
    Ok(())
}

fn read(message: &[u8]) -> Result<Wanted, Problem> {
    let mut packets = Packets::default();
    packets.push(message);
    let mut wanted = Wanted::default();
    while let Some(packet) = packets.next()? {
        let Packet::Data(_) = packet else { continue };
        let line = packet.line().ok_or("a line is no text")?.to_owned();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let value = rest.split(' ').next().unwrap_or_default();
        let id = || ObjectId::parse(value).ok_or_else(|| format!("{value:?} is no id"));
        match word {
            "want" => wanted.wants.push(id()?),
            "have" => wanted.haves.push(id()?),
            "shallow" => wanted.shallow.push(id()?),
            "deepen" => {
                wanted.depth = Some(value.parse().map_err(|_| format!("{value:?} is no depth"))?);
            }
            "filter" => {
                let filter = filter(value);
                wanted.filter = Some(filter.ok_or_else(|| format!("{value:?} is no filter"))?);
            }
            "done" => return Ok(wanted),
            other => return Err(format!("{other:?} is not understood")),
        }
    }
    Err("the message has no end".to_owned())
}

fn filter(text: &str) -> Option<Filter> {
    if text == "blob:none" {
        return Some(Filter::NoBlobs);
    }
    if let Some(depth) = text.strip_prefix("tree:") {
        return depth.parse().ok().map(Filter::TreeDepth);
    }
    text.strip_prefix("blob:limit=")?.parse().ok().map(Filter::BlobLimit)
}
