//! What a push does: new objects are written one by one, then references are changed, each only if
//! it still is what the other side has seen.
//!
//! A hook that decides on pushes is not run here, and nothing is changed past it: such a repository
//! is refused. Objects are verified before any of them is written, and complete before a reference
//! leads to them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::give::band;
use super::store::{LocalRepository, text_of};
use super::{Problem, Say, refs, unheard};
use crate::git::id::ObjectId;
use crate::git::object::{self, Commit, Kind, Mode};
use crate::git::pack::{Pack, PackReader, PackWriter};
use crate::git::packet::{Message, Packet, Packets};
use crate::git::stored::text;

/// Hooks that may refuse a push.
const HOOKS: [&str; 4] = ["pre-receive", "update", "reference-transaction", "proc-receive"];

/// A reference that is to be changed.
#[derive(Debug)]
struct Change {
    name: String,
    old: ObjectId,
    new: ObjectId,
}

/// Answers a push.
pub(super) fn take(
    repository: &LocalRepository,
    message: &[u8],
    say: Say<'_>,
) -> Result<(), Problem> {
    let (changes, pack) = read(message)?;
    let mut report = Message::default();
    let taken = hooks(repository).and_then(|()| store(repository, pack, &changes));
    match &taken {
        Ok(()) => report.line("unpack ok"),
        Err(problem) => report.line(&format!("unpack {problem}")),
    };
    for change in &changes {
        let done = match &taken {
            Ok(()) => apply(repository, change),
            Err(_) => Err("nothing was taken".to_owned()),
        };
        match done {
            Ok(()) => report.line(&format!("ok {}", change.name)),
            Err(problem) => report.line(&format!("ng {} {problem}", change.name)),
        };
    }
    band(1, &report.finish(), say)?;
    say(Message::default().finish()).map_err(unheard)
}

/// The changes, and the pack behind them.
fn read(message: &[u8]) -> Result<(Vec<Change>, &[u8]), Problem> {
    let mut packets = Packets::default();
    let mut changes = Vec::new();
    let mut at = 0;
    // Packet by packet: what follows their end is the pack.
    loop {
        let head = message.get(at..at + 4).ok_or("the message has no end")?;
        let length = std::str::from_utf8(head).ok();
        let length = length.and_then(|head| usize::from_str_radix(head, 16).ok());
        let length = length.ok_or("the message is malformed")?.max(4);
        packets.push(message.get(at..at + length).ok_or("the message is cut short")?);
        at += length;
        let packet = packets.next()?.ok_or("the message is malformed")?;
        let Packet::Data(bytes) = packet else { break };
        let line = String::from_utf8_lossy(&bytes).into_owned();
        let line = line.split('\0').next().unwrap_or_default().trim_end();
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [old, new, name] = words[..] else { return Err("a change is malformed".to_owned()) };
        let id = |text: &str| ObjectId::parse(text).ok_or_else(|| format!("{text:?} is no id"));
        changes.push(Change { name: name.to_owned(), old: id(old)?, new: id(new)? });
    }
    Ok((changes, &message[at..]))
}

fn hooks(repository: &LocalRepository) -> Result<(), Problem> {
    if repository.config.iter().any(|value| value.section.starts_with("include")) {
        // It may name a directory of hooks.
        return Err(
            "its config includes other files, which are not read; push through a server".to_owned()
        );
    }
    let dir = match repository.setting("core", "hookspath") {
        Some(path) if path.starts_with('~') => {
            return Err(format!(
                "core.hooksPath {path:?} is in a home directory; push through a server"
            ));
        }
        Some(path) => repository.common.join(path),
        None => repository.common.join("hooks"),
    };
    for name in HOOKS {
        let path = dir.join(name);
        let meta = fs::metadata(&path);
        if meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0) {
            return Err(format!(
                "{} would have to be run, which yado does not do; push through a server",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Writes the objects of a pack, if all that they lead to is there.
fn store(repository: &LocalRepository, pack: &[u8], changes: &[Change]) -> Result<(), Problem> {
    let mut objects = HashMap::new();
    if !pack.is_empty() {
        let writer = PackWriter::in_memory(repository.format);
        let mut writer = writer.map_err(|error| error.to_string())?;
        writer.write(pack).map_err(|error| error.to_string())?;
        let pack: Pack = writer.finish(&|| false).map_err(text_of)?;
        let mut reader = PackReader::new(&pack);
        for (id, kind) in pack.objects() {
            objects.insert(id, (kind, reader.read(&id, kind).map_err(text_of)?));
        }
    }
    let here = |id: &ObjectId| objects.contains_key(id) || repository.has(id);
    for (id, (kind, bytes)) in &objects {
        let leads: Vec<ObjectId> = match kind {
            Kind::Commit => {
                let commit = Commit::parse(bytes).ok_or_else(|| format!("{id} is malformed"))?;
                let parents = Commit::parents(bytes);
                parents.into_iter().chain([commit.tree]).collect()
            }
            Kind::Tag => object::tagged(bytes).into_iter().collect(),
            Kind::Tree => {
                let entries = object::parse_tree(bytes, repository.format);
                let entries = entries.ok_or_else(|| format!("{id} is malformed"))?;
                let inside = entries.into_iter().filter(|entry| entry.mode != Mode::Submodule);
                inside.map(|entry| entry.id).collect()
            }
            Kind::Blob => Vec::new(),
        };
        if let Some(missing) = leads.iter().find(|id| !here(id)) {
            return Err(format!("{id} leads to {missing}, which is missing"));
        }
    }
    if let Some(change) = changes.iter().find(|change| !here(&change.new)) {
        return Err(format!("{} is missing", change.new));
    }
    for (id, (kind, bytes)) in &objects {
        if !repository.has(id) {
            let place = repository.place(id);
            write(&place, *kind, bytes).map_err(|error| format!("write {id}: {error}"))?;
        }
    }
    Ok(())
}

/// Writes an object under its name, whole or not at all.
fn write(place: &Path, kind: Kind, content: &[u8]) -> io::Result<()> {
    let dir = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(dir)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let new = dir.join(format!("tmp_obj_{}_{name}", std::process::id()));
    let write = || {
        let file = OpenOptions::new().write(true).create_new(true).open(&new)?;
        let mut encoder = ZlibEncoder::new(file, Compression::default());
        write!(encoder, "{} {}\0", kind.name(), content.len())?;
        encoder.write_all(content)?;
        let file = encoder.finish()?;
        file.set_permissions(fs::Permissions::from_mode(0o444))?;
        file.sync_all()?;
        fs::rename(&new, place)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Changes a reference, under git's own lock.
fn apply(repository: &LocalRepository, change: &Change) -> Result<(), Problem> {
    let name = change.name.as_str();
    if !crate::git::push::good_name(name) {
        return Err("this is no name of a reference".to_owned());
    }
    checked_out(repository, name)?;
    // One cannot be a file where another needs a directory, even if that one is packed.
    let other = refs::all(repository)?.all.into_keys().find(|other| {
        let below = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'))
        };
        below(other, name) || below(name, other)
    });
    if let Some(other) = other {
        return Err(format!("{other} is in the way"));
    }
    let path = repository.common.join(name);
    let failed = |error: io::Error| format!("cannot write it: {error}");
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = Path::new(&lock);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err("somebody else is changing it".to_owned());
        }
        Err(error) => return Err(failed(error)),
    };
    let changed = replace(repository, change, &mut file, &path, lock);
    if changed.is_err() {
        let _ = fs::remove_file(lock);
    }
    changed
}

fn replace(
    repository: &LocalRepository,
    change: &Change,
    file: &mut File,
    path: &Path,
    lock: &Path,
) -> Result<(), Problem> {
    let null = ObjectId::null(repository.format);
    let now = refs::read(repository, &change.name).unwrap_or(null);
    if now != change.old {
        return Err(format!("it is {now} by now, and not {}", change.old));
    }
    let failed = |error: io::Error| format!("cannot write it: {error}");
    let denies = repository.setting("receive", "denynonfastforwards");
    let truth = ["true", "yes", "on", "1"];
    let denies = denies.is_some_and(|value| truth.contains(&value.to_lowercase().as_str()));
    if denies && now != null {
        follows(repository, change)?;
    }
    writeln!(file, "{}", change.new).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(lock, path).map_err(failed)
}

/// Whether the new commit comes after the old one.
fn follows(repository: &LocalRepository, change: &Change) -> Result<(), Problem> {
    let mut left = vec![change.new];
    let mut seen = std::collections::HashSet::new();
    while let Some(id) = left.pop() {
        if id == change.old {
            return Ok(());
        }
        if seen.insert(id) && repository.has(&id) {
            left.extend(Commit::parents(&repository.read(&id)?.1));
        }
    }
    Err("it would lose commits (non-fast-forward)".to_owned())
}

/// A work tree would no longer be what its branch says.
fn checked_out(repository: &LocalRepository, name: &str) -> Result<(), Problem> {
    let is = |section, key, value| repository.setting(section, key) == Some(value);
    let allowed =
        is("receive", "denycurrentbranch", "ignore") || is("receive", "denycurrentbranch", "warn");
    if allowed {
        return Ok(());
    }
    // That of the repository itself, and those of work trees that are linked to it.
    let mut heads = Vec::new();
    if !is("core", "bare", "true") {
        heads.push(repository.common.join("HEAD"));
    }
    let linked = fs::read_dir(repository.common.join("worktrees")).into_iter().flatten().flatten();
    heads.extend(linked.map(|entry| entry.path().join("HEAD")));
    let here = |head: &std::path::PathBuf| {
        let text = text(head).unwrap_or_default();
        text.trim().strip_prefix("ref: ").is_some_and(|target| target.trim() == name)
    };
    match heads.iter().find(|head| here(head)) {
        Some(_) => Err("the branch is checked out there".to_owned()),
        None => Ok(()),
    }
}
