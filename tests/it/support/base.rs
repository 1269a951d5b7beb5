//! The base image: busybox, written by hand as an OCI layout and brought to a
//! registry by skopeo. Nothing of yado has a part in it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{Options, Registry, WorkDir, tool, write};

/// The base image and the registry that has it.
#[derive(Debug)]
pub(crate) struct Base {
    /// Serves all tests of this process.
    pub(crate) registry: Registry,
    /// `HOST/base:latest`.
    pub(crate) reference: String,
    /// Its manifest.
    pub(crate) manifest: Value,
}

/// When the base was made: the epoch of what is built on it.
pub(crate) const CREATED: &str = "2024-05-06T07:08:09Z";
/// [`CREATED`] in seconds.
pub(crate) const EPOCH: u64 = 1_714_979_289;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    app:x:1000:1000:app:/home/app:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\napp:x:1000:\nstaff:x:50:app\nnogroup:x:65534:\n";

/// The base, made by who asks first.
pub(crate) fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let registry = Registry::start(Options::default());
        let reference = format!("{}/base:latest", registry.host);
        let work = WorkDir::new();
        let manifest = layout(&work.path("layout"));
        tool(Command::new("skopeo").args([
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &format!("oci:{}", work.path("layout:latest").display()),
            &format!("docker://{reference}"),
        ]));
        Base { registry, reference, manifest }
    })
}

/// Writes the layout; gives the manifest.
fn layout(dir: &Path) -> Value {
    let layers = [tree(), accounts()];
    let mut blobs = BTreeMap::new();
    let mut blob = |media_type: &str, bytes: Vec<u8>| {
        let digest = hex(&bytes);
        let descriptor = json!({
            "mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        });
        blobs.insert(digest, bytes);
        descriptor
    };
    let diff_ids: Vec<String> = layers.iter().map(|tar| format!("sha256:{}", hex(tar))).collect();
    let layers: Vec<Value> = layers
        .iter()
        .map(|tar| {
            // Not how yado compresses, so that a base layer compressed anew is found out.
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(tar).unwrap();
            blob("layer.v1.tar+gzip", encoder.finish().unwrap())
        })
        .collect();
    let config = json!({
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "BASE_VARIABLE=of the base"], "Cmd": ["sh"], "Labels": {"from": "base"}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [
            {"created": CREATED, "created_by": "tree"},
            {"created": CREATED, "created_by": "accounts"},
        ],
    });
    let config = blob("config.v1+json", serde_json::to_vec(&config).unwrap());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let mut descriptor = blob("manifest.v1+json", serde_json::to_vec(&manifest).unwrap());
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    write(&dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#);
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    write(&dir.join("index.json"), serde_json::to_vec(&index).unwrap());
    for (digest, bytes) in blobs {
        write(&dir.join("blobs/sha256").join(digest), bytes);
    }
    manifest
}

/// The hexadecimal SHA-256 of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// busybox with a link for each of its programs, and the directories of a system.
fn tree() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let programs = tool(Command::new("/bin/busybox").arg("--list"));
    let mut tar = Builder::new(Vec::new());
    for (path, mode, owner) in [
        ("bin/", 0o755, 0),
        ("etc/", 0o755, 0),
        ("home/", 0o755, 0),
        ("home/app/", 0o750, 1000),
        ("opt/", 0o755, 0),
        ("opt/full/", 0o755, 0),
        ("root/", 0o700, 0),
        ("tmp/", 0o1777, 0),
        ("usr/", 0o755, 0),
        ("var/", 0o755, 0),
    ] {
        add(&mut tar, EntryType::Directory, path, (mode, owner), &[]);
    }
    add(&mut tar, EntryType::Regular, "bin/busybox", (0o755, 0), &busybox);
    for program in programs.lines().filter(|name| !name.contains('/') && *name != "busybox") {
        link(&mut tar, &format!("bin/{program}"), "busybox");
    }
    for name in ["a", "b", "c"] {
        add(&mut tar, EntryType::Regular, &format!("opt/full/{name}"), (0o644, 0), name.as_bytes());
    }
    tar.into_inner().unwrap()
}

fn accounts() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, EntryType::Directory, "etc/", (0o755, 0), &[]);
    add(&mut tar, EntryType::Regular, "etc/passwd", (0o644, 0), PASSWD.as_bytes());
    add(&mut tar, EntryType::Regular, "etc/group", (0o644, 0), GROUP.as_bytes());
    tar.into_inner().unwrap()
}

fn header(kind: EntryType, (mode, owner): (u32, u64), size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(EPOCH - 86_400);
    header.set_size(size);
    header
}

fn add(tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, who: (u32, u64), content: &[u8]) {
    let mut header = header(kind, who, content.len() as u64);
    tar.append_data(&mut header, path, content).unwrap();
}

fn link(tar: &mut Builder<Vec<u8>>, path: &str, target: &str) {
    let mut header = header(EntryType::Symlink, (0o777, 0), 0);
    tar.append_link(&mut header, path, target).unwrap();
}
