//! The judge: images as skopeo, umoci and the `tar` crate read them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::getuid;
use serde_json::Value;

use super::{WorkDir, tool};

/// An image of one platform.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    dir: PathBuf,
    /// `sha256:…` of the manifest.
    pub(crate) digest: String,
    pub(crate) manifest: Value,
    pub(crate) config: Value,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// A layer: its entries in the order of the archive.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) digest: String,
    pub(crate) entries: Vec<Entry>,
}

/// What an entry of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Other(u8),
}

/// An entry of a layer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As the archive has it, without the slash of a directory.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    /// The target of a link.
    pub(crate) link: String,
    /// Extended attributes.
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    pub(crate) content: Vec<u8>,
}

impl fmt::Debug for Entry {
    /// All but long contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.content[..self.content.len().min(2000)];
        let content = String::from_utf8_lossy(shown);
        write!(f, "{self} mtime {} {:?} {content:?}", self.mtime, self.xattrs)
    }
}

impl fmt::Display for Entry {
    /// `-rw-r--r-- 0:0 path` as `ls` would, with a link's target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File => '-',
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::HardLink => 'h',
            Kind::Fifo => 'p',
            Kind::Other(_) => '?',
        };
        write!(f, "{kind} {:04o} {}:{} {}", self.mode, self.uid, self.gid, self.path)?;
        if self.link.is_empty() { Ok(()) } else { write!(f, " -> {}", self.link) }
    }
}

impl Image {
    /// The first image of an OCI layout.
    pub(crate) fn read(dir: &Path) -> Self {
        let json = |path: PathBuf| -> Value {
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
            serde_json::from_slice(&bytes).unwrap()
        };
        let blob = |digest: &Value| dir.join("blobs").join(text(digest).replace(':', "/"));
        let index = json(dir.join("index.json"));
        let digest = &index["manifests"][0]["digest"];
        let manifest = json(blob(digest));
        let config = json(blob(&manifest["config"]["digest"]));
        // BuildKit writes null for an image of no layers.
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let layers = layers.map(|layer| Layer {
            digest: text(&layer["digest"]),
            entries: entries(open(&blob(&layer["digest"]), &text(&layer["mediaType"]))),
        });
        let layers = layers.collect();
        Self { dir: dir.to_owned(), digest: text(digest), manifest, config, layers }
    }

    /// An image in a directory as containers' tools write it with `dir:`: Docker's
    /// format, each blob a file named after its digest.
    pub(crate) fn read_directory(dir: &Path) -> Self {
        let json = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
        };
        let name = |blob: &Value| text(&blob["digest"]).trim_start_matches("sha256:").to_owned();
        let manifest = json("manifest.json");
        let config = json(&name(&manifest["config"]));
        let layers = manifest["layers"].as_array().unwrap().iter();
        let layers = layers.map(|layer| {
            let compressed = text(&layer["mediaType"]).ends_with("gzip");
            let media_type = if compressed { "tar+gzip" } else { "tar" };
            let digest = text(&layer["digest"]);
            let mut entries = entries(open(&dir.join(name(layer)), media_type));
            for entry in &mut entries {
                // Marks of the overlay that the tool works on, which slip into its layers.
                entry.xattrs.retain(|name, _| !name.starts_with("user.overlay."));
            }
            Layer { digest, entries }
        });
        let layers = layers.collect();
        Self { dir: dir.to_owned(), digest: String::new(), manifest, config, layers }
    }

    /// Fetches an image with skopeo, which verifies it.
    pub(crate) fn pull(work: &WorkDir, reference: &str) -> Self {
        let dir = work.path("pulled");
        let _ = fs::remove_dir_all(&dir);
        tool(Command::new("skopeo").args([
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            &format!("docker://{reference}"),
            &format!("oci:{}:latest", dir.display()),
        ]));
        Self::read(&dir)
    }

    /// Unpacks it with umoci, which refuses what is not as the specification
    /// says; gives the root directory. As an ordinary user, all files are his.
    pub(crate) fn unpack(&self, work: &WorkDir) -> PathBuf {
        let (layout, bundle) = (work.path("judged"), work.path("bundle"));
        let from = format!("oci:{}", self.dir.display());
        let to = format!("oci:{}:latest", layout.display());
        tool(Command::new("skopeo").args(["--insecure-policy", "copy", &from, &to]));
        let mut umoci = Command::new("umoci");
        umoci.arg("unpack");
        if !getuid().is_root() {
            umoci.arg("--rootless");
        }
        umoci.arg("--image").arg(format!("{}:latest", layout.display())).arg(&bundle);
        tool(&mut umoci);
        bundle.join("rootfs")
    }

    /// The layer on top.
    pub(crate) fn top(&self) -> &Layer {
        self.layers.last().unwrap()
    }

    /// What stands at `path` in the end, by the uppermost layer that has it.
    pub(crate) fn entry(&self, path: &str) -> Option<&Entry> {
        for layer in self.layers.iter().rev() {
            if let Some(entry) = layer.entry(path) {
                return Some(entry);
            }
            let above = Path::new(path).ancestors().filter(|above| *above != Path::new(""));
            for hidden in above {
                let name = hidden.file_name().unwrap().to_str().unwrap();
                let whiteout = hidden.with_file_name(format!(".wh.{name}"));
                let opaque = hidden.with_file_name(".wh..wh..opq");
                if [whiteout, opaque]
                    .iter()
                    .any(|mark| layer.entry(mark.to_str().unwrap()).is_some())
                {
                    return None;
                }
            }
        }
        None
    }

    /// The text of the file at `path`.
    pub(crate) fn text(&self, path: &str) -> String {
        let entry = self.entry(path).unwrap_or_else(|| panic!("there is no {path}:\n{self}"));
        assert_eq!(entry.kind, Kind::File, "{path}");
        String::from_utf8(entry.content.clone()).unwrap()
    }
}

impl fmt::Display for Image {
    /// The layers' entries, without those of the base.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for layer in self.layers.iter().skip(2) {
            writeln!(f, "{}", layer.digest)?;
            for entry in &layer.entries {
                writeln!(f, "  {entry}")?;
            }
        }
        Ok(())
    }
}

impl Layer {
    /// The entry of a path.
    pub(crate) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// The paths, in the order of the archive.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.path.as_str()).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string")).to_owned()
}

fn open(path: &Path, media_type: &str) -> Box<dyn Read> {
    let file = fs::File::open(path).unwrap();
    match media_type.rsplit_once('+') {
        Some((_, "gzip")) => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some((_, "zstd")) => Box::new(zstd::Decoder::new(file).unwrap()),
        _ => Box::new(file),
    }
}

fn entries(from: impl Read) -> Vec<Entry> {
    let mut archive = tar::Archive::new(from);
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut xattrs = BTreeMap::new();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            if let Ok(key) = extension.key()
                && let Some(name) = key.strip_prefix("SCHILY.xattr.")
            {
                xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
        }
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = lossy(&entry.path_bytes());
        let path = path.strip_suffix('/').map_or(path.clone(), str::to_owned);
        let link = entry.link_name_bytes().map_or_else(String::new, |name| lossy(&name));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Regular => Kind::File,
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Symlink => Kind::Symlink,
            tar::EntryType::Link => Kind::HardLink,
            tar::EntryType::Fifo => Kind::Fifo,
            other => Kind::Other(other.as_byte()),
        };
        Entry {
            path,
            kind,
            mode: header.mode().unwrap(),
            uid: header.uid().unwrap(),
            gid: header.gid().unwrap(),
            mtime: header.mtime().unwrap(),
            link,
            xattrs,
            content,
        }
    };
    archive.entries().unwrap().map(read).collect()
}
