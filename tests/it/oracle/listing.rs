//! What an image is, as text: the flattened file system, one line for each path that
//! is not as in the base, and the configuration, one line for each key likewise.
//! Nothing of yado has a part in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::base::hex;
use crate::support::{Image, Kind, Layer};

/// An image, described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Path to line.
    pub(super) tree: BTreeMap<String, String>,
    /// Key to line.
    pub(super) config: BTreeMap<String, String>,
}

/// The configuration's keys that Dockerfiles set.
const KEYS: &[&str] = &[
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "Shell",
    "Healthcheck",
    "StopSignal",
    "OnBuild",
];

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A file of the flattened tree.
#[derive(Clone, Debug)]
struct Node {
    line: String,
    /// Equal for hard links of one file.
    inode: usize,
    directory: bool,
}

type Tree = BTreeMap<String, Node>;

impl Listing {
    /// What an image has that `base` has not. An image that is not made of the base
    /// is told from nothing, and says so.
    pub(super) fn of(image: &Image, base: &Image) -> Self {
        let ids = |image: &Image| {
            let ids = image.config["rootfs"]["diff_ids"].as_array();
            ids.cloned().unwrap_or_default()
        };
        let on_base = ids(image).starts_with(&ids(base));
        // What BuildKit gives to an image that is made of nothing.
        let scratch = json!({"config": {"Env": [DEFAULT_PATH], "WorkingDir": "/"}});
        let old_tree = if on_base { lines(&flatten(&base.layers)) } else { BTreeMap::new() };
        let mut tree = lines(&flatten(&image.layers));
        let removed: Vec<String> = old_tree
            .keys()
            .filter(|path| !tree.contains_key(*path))
            .filter(|path| parent(path).is_none_or(|above| tree.contains_key(above)))
            .cloned()
            .collect();
        tree.retain(|path, line| old_tree.get(path) != Some(line));
        tree.extend(removed.into_iter().map(|path| {
            let line = format!("{} removed", quoted(&path));
            (path, line)
        }));
        if !on_base {
            tree.insert(String::new(), "(from scratch)".to_owned());
        }
        let old_config = config(if on_base { &base.config } else { &scratch });
        let mut new_config = config(&image.config);
        for key in old_config.keys() {
            new_config.entry(key.clone()).or_insert_with(|| format!("{key} absent"));
        }
        new_config.retain(|key, line| old_config.get(key) != Some(line));
        Self { tree, config: new_config }
    }

    /// Reads the sections of a case.
    pub(super) fn parse(tree: &str, config: &str) -> Self {
        let by_subject = |text: &str| {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.map(|line| (subject(line), line.to_owned())).collect()
        };
        Self { tree: by_subject(tree), config: by_subject(config) }
    }

    /// The text of the section `tree`.
    pub(super) fn tree_text(&self) -> String {
        self.tree.values().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The text of the section `config`.
    pub(super) fn config_text(&self) -> String {
        self.config.values().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The paths and keys in which another one differs, with both lines.
    pub(super) fn differences(&self, other: &Self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for (ours, theirs) in [(&self.tree, &other.tree), (&self.config, &other.config)] {
            for subject in ours.keys().chain(theirs.keys()) {
                let (old, new) = (ours.get(subject), theirs.get(subject));
                if old != new {
                    let mut text = String::new();
                    for (sign, line) in [('-', old), ('+', new)] {
                        if let Some(line) = line {
                            writeln!(text, "  {sign} {line}").unwrap();
                        }
                    }
                    let name = if subject.is_empty() { "scratch" } else { subject };
                    found.insert(name.to_owned(), text);
                }
            }
        }
        found
    }
}

/// The path or key that a line is about.
fn subject(line: &str) -> String {
    if line == "(from scratch)" {
        return String::new();
    }
    if line.starts_with('"') {
        let mut words = serde_json::Deserializer::from_str(line).into_iter::<String>();
        return words.next().unwrap().unwrap();
    }
    line.split(' ').next().unwrap().to_owned()
}

fn config(image: &Value) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let mut add = |key: &str, value: &Value| {
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            lines.insert(key.to_owned(), format!("{key} {value}"));
        }
    };
    for key in KEYS {
        add(key, &image["config"][*key]);
    }
    add("author", &image["author"]);
    let text = |key: &str| image[key].as_str().unwrap_or_default();
    let platform = [text("os"), text("architecture"), text("variant")];
    let platform = platform.join("/").trim_matches('/').to_owned();
    if !["linux/amd64", ""].contains(&platform.as_str()) {
        add("platform", &Value::String(platform));
    }
    lines
}

/// Applies the layers as the OCI specification says.
fn flatten(layers: &[Layer]) -> Tree {
    let mut tree = Tree::new();
    let mut inodes = 0;
    for layer in layers {
        let entries = || {
            layer.entries.iter().map(|entry| {
                let path = entry.path.trim_start_matches("./").trim_matches('/');
                // The root itself is `./`.
                (format!("/{}", if path == "." { "" } else { path }), entry)
            })
        };
        // Marks are about the layers below only, whatever their place in the archive.
        for (path, _) in entries() {
            let (above, name) = path.rsplit_once('/').unwrap();
            if name == ".wh..wh..opq" {
                remove_below(&mut tree, above);
            } else if let Some(name) = name.strip_prefix(".wh.") {
                let path = format!("{above}/{name}");
                remove_below(&mut tree, &path);
                tree.remove(&path);
            }
        }
        for (path, entry) in entries() {
            if path.contains("/.wh.") {
                continue;
            }
            let node = if entry.kind == Kind::HardLink {
                let target = format!("/{}", entry.link.trim_start_matches("./").trim_matches('/'));
                tree.get(&target).unwrap_or_else(|| panic!("{path} links {target}")).clone()
            } else {
                inodes += 1;
                let directory = entry.kind == Kind::Directory;
                Node { line: describe(entry), inode: inodes, directory }
            };
            if !node.directory {
                remove_below(&mut tree, &path);
            }
            tree.insert(path, node);
        }
    }
    tree
}

fn remove_below(tree: &mut Tree, directory: &str) {
    let below = format!("{}/", directory.trim_end_matches('/'));
    tree.retain(|path, _| path == "/" || !path.starts_with(&below));
}

fn describe(entry: &crate::support::Entry) -> String {
    let kind = match entry.kind {
        Kind::File => "file",
        Kind::Directory => "dir",
        Kind::Symlink => "link",
        Kind::Fifo => "fifo",
        Kind::HardLink | Kind::Other(_) => "other",
    };
    // The mode of a symbolic link means nothing.
    let mode = if entry.kind == Kind::Symlink {
        String::new()
    } else {
        format!(" {:04o}", entry.mode & 0o7777)
    };
    let mut line = format!("{kind}{mode} {}:{}", entry.uid, entry.gid);
    match entry.kind {
        Kind::File => {
            let text = std::str::from_utf8(&entry.content).ok().filter(|text| text.len() <= 400);
            match text {
                Some(text) => write!(line, " {}", Value::from(text)),
                None => {
                    write!(line, " {} bytes sha256:{}", entry.content.len(), hex(&entry.content))
                }
            }
        }
        Kind::Symlink => write!(line, " -> {}", quoted(&entry.link)),
        _ => Ok(()),
    }
    .unwrap();
    for (name, value) in &entry.xattrs {
        match std::str::from_utf8(value) {
            Ok(text) => write!(line, " {name}={}", Value::from(text)),
            Err(_) => write!(line, " {name}={value:02x?}"),
        }
        .unwrap();
    }
    line
}

/// The lines of a tree; hard links name the first path of their file.
fn lines(tree: &Tree) -> BTreeMap<String, String> {
    let mut first: BTreeMap<usize, &str> = BTreeMap::new();
    let line = |(path, node): (&'_ String, &Node), first: Option<&str>| {
        let mut line = format!("{} {}", quoted(path), node.line);
        if let Some(first) = first {
            write!(line, " = {}", quoted(first)).unwrap();
        }
        (path.clone(), line)
    };
    let mut all = BTreeMap::new();
    for (path, node) in tree {
        if path == "/" && node.line == "dir 0755 0:0" {
            continue;
        }
        let earlier = first.get(&node.inode).copied();
        first.entry(node.inode).or_insert(path);
        let (path, line) = line((path, node), earlier);
        all.insert(path, line);
    }
    all
}

/// A path, in quotes if it would not be one word otherwise.
fn quoted(path: &str) -> String {
    let plain = path.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
    if plain && !path.is_empty() { path.to_owned() } else { Value::from(path).to_string() }
}

fn parent(path: &str) -> Option<&str> {
    let (above, _) = path.rsplit_once('/')?;
    (!above.is_empty()).then_some(above)
}
