//! Base layers that mean harm: each is refused with its layer and entry named,
//! or does something defined; nothing outside the store is touched.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::base::hex;
use crate::support::{Options, Output, Registry, WorkDir, tool, write};

/// An archive written byte by byte, with no regard to what is allowed.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    /// A header; `size` is what it claims.
    fn header(mut self, kind: u8, path: &[u8], link: &[u8], size: u64) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        let fields = header.as_old_mut();
        fields.linkflag = [kind];
        fields.name[..path.len()].copy_from_slice(path);
        fields.linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self
    }

    fn content(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.header(b'0', path.as_bytes(), b"", content.len() as u64).content(content.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.header(b'5', path.as_bytes(), b"", 0)
    }

    fn link(self, kind: u8, path: &str, target: &str) -> Self {
        self.header(kind, path.as_bytes(), target.as_bytes(), 0)
    }

    /// A PAX header for the next entry.
    fn pax(self, key: &str, value: &[u8]) -> Self {
        let bare = key.len() + value.len() + 3;
        let mut length = bare + 1;
        while length != bare + length.to_string().len() {
            length += 1;
        }
        let mut record = format!("{length} {key}=").into_bytes();
        record.extend(value);
        record.push(b'\n');
        self.header(b'x', b"pax", b"", record.len() as u64).content(&record)
    }

    /// A sparse file in GNU's old form, all hole.
    fn sparse(mut self, path: &str, size: u64) -> Self {
        let at = self.0.len();
        self = self.header(b'S', path.as_bytes(), b"", 0);
        let header = &mut self.0[at..at + 512];
        header[257..265].copy_from_slice(b"ustar  \0");
        header[345..500].fill(0);
        header[483] = 0x80;
        header[487..495].copy_from_slice(&size.to_be_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image of one layer, as it is put into a registry.
struct Hostile {
    blob: Vec<u8>,
    media_type: &'static str,
    diff_ids: Vec<String>,
}

impl Hostile {
    fn of(tar: &[u8]) -> Self {
        Self::with_blob(gzip(tar), tar)
    }

    fn with_blob(blob: Vec<u8>, tar: &[u8]) -> Self {
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        Self { blob, media_type, diff_ids: vec![format!("sha256:{}", hex(tar))] }
    }

    /// Writes it as a layout and has skopeo push it.
    fn push(&self, work: &WorkDir, name: &str) {
        let layout = work.path("layout");
        let blob = |bytes: &[u8], media_type: &str| -> Value {
            let digest = hex(bytes);
            write(&layout.join("blobs/sha256").join(&digest), bytes);
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
        };
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json"),
            "layers": [blob(&self.blob, self.media_type)],
        });
        let descriptor =
            blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
        write(&layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#);
        write(
            &layout.join("index.json"),
            json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string(),
        );
        let from = format!("oci:{}", layout.display());
        tool(Command::new("skopeo").args([
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &from,
            &format!("docker://{name}"),
        ]));
        fs::remove_dir_all(layout).unwrap();
    }
}

/// Everything below a directory: kind, mode, owner, times and content.
fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = if stat.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else {
            hex(&fs::read(&path).unwrap())
        };
        let shown = format!(
            "{:o} {}:{} {} {}.{} {content}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.nlink(),
            stat.mtime(),
            stat.mtime_nsec()
        );
        all.insert(path.display().to_string(), shown);
    }
    all
}

/// What becomes of a layer.
enum Fate {
    /// An error with these words, besides the layer's name.
    Refused(&'static str),
    /// Files in the result, with their text.
    Holds(Vec<(String, &'static str)>),
}
use Fate::{Holds, Refused};

fn holds(files: &[(&str, &'static str)]) -> Fate {
    Holds(files.iter().map(|(path, text)| ((*path).to_owned(), *text)).collect())
}

/// The regular files that a build on the image sees, as GNU tar's format has them.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        files.insert(path, content);
    }
    files
}

struct Rows {
    registry: Registry,
    work: WorkDir,
    before: BTreeMap<String, String>,
    count: u32,
    failures: Vec<String>,
}

impl Rows {
    fn new() -> Self {
        let (registry, work) = (Registry::start(Options::default()), WorkDir::new());
        work.write("canary/file", "untouched");
        work.write("canary/dir/inner", "untouched");
        fs::set_permissions(work.path("canary/file"), fs::Permissions::from_mode(0o600)).unwrap();
        let before = snapshot(&work.path("canary"));
        Self { registry, work, before, count: 0, failures: Vec::new() }
    }

    fn check(&mut self, what: &str, image: &Hostile, fate: &Fate) {
        self.count += 1;
        let name = format!("{}/hostile:{}", self.registry.host, self.count);
        image.push(&self.work, &name);
        let build = self
            .work
            .yado(["build", "-"])
            .stdin(format!("FROM {name}\nWORKDIR /made\n"))
            .flags(["-o", "type=tar,dest=-"])
            .timeout(Duration::from_mins(1));
        let output = build.run();
        assert_eq!(snapshot(&self.work.path("canary")), self.before, "{what}");
        // All rows are tried, so that one run shows all that is wrong.
        if let Err(wrong) = self.judge(image, &name, fate, &output) {
            self.failures.push(format!("{what}: {wrong}\n{}", output.stderr));
        }
    }

    fn judge(
        &self,
        image: &Hostile,
        name: &str,
        fate: &Fate,
        output: &Output,
    ) -> Result<(), String> {
        let code = output.status.code();
        match fate {
            Refused(says) => {
                let layer = image.diff_ids.first().and_then(|id| id.strip_prefix("sha256:"));
                let layer = layer.unwrap_or_default();
                let short = layer.get(..12).unwrap_or("a layer");
                if code != Some(65) {
                    return Err(format!("ended with {code:?}"));
                }
                if !output.stderr.contains(says) {
                    return Err(format!("does not say {says:?}"));
                }
                let error = output.stderr.rsplit("error:").next().unwrap_or_default();
                if !error.contains(short)
                    && !error.contains(name)
                    && !error.contains("image sha256:")
                {
                    return Err("does not name the layer".to_owned());
                }
                let mut kept = fs::read_dir(self.work.path("store/yado/layers")).unwrap().flatten();
                if !layer.is_empty() && kept.any(|ids| ids.path().join(layer).exists()) {
                    return Err("the layer is in the store".to_owned());
                }
            }
            Holds(expected) => {
                if code != Some(0) {
                    return Err(format!("ended with {code:?}"));
                }
                let seen = files(&output.bytes);
                for (path, text) in expected {
                    if seen.get(path).map(Vec::as_slice) != Some(text.as_bytes()) {
                        return Err(format!("{path} in {:?}", seen.keys()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The store is of use afterwards, and can be emptied.
    fn finish(self) {
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
        assert_eq!(self.work.built("FROM {base}\nRUN echo x > /x\n").text("x"), "x\n");
        let before = snapshot(&self.work.path("canary"));
        self.work.yado(["store", "prune", "--all"]).succeeds();
        assert_eq!(before, self.before);
        assert_eq!(snapshot(&self.work.path("canary")), self.before);
    }
}

/// Names and links that lead out of the layer.
#[test]
fn hostile_names_lead_nowhere() {
    let mut rows = Rows::new();
    let canary = rows.work.path("canary").to_str().unwrap().to_owned();
    let bare = canary.strip_prefix('/').unwrap().to_owned();
    let up = format!("{}{bare}", "../".repeat(20));
    let t = Tar::default;
    let long = |path: &str| t().pax("path", path.as_bytes());
    let inside = |path: &str, text: &'static str| Holds(vec![(path.to_owned(), text)]);
    for (what, tar, fate) in [
        ("up", t().file("../x", "evil"), Refused("..")),
        ("up, long", long(&format!("{up}/x")).file("short", "evil"), Refused("..")),
        ("up in the middle", t().file("a/../../x", "evil"), Refused("..")),
        (
            "absolute",
            long(&format!("{canary}/new")).file("short", "evil"),
            inside(&format!("{bare}/new"), "evil"),
        ),
        (
            "through a link, absolute",
            t().pax("linkpath", canary.as_bytes()).link(b'2', "l", "").file("l/new", "evil"),
            inside(&format!("{bare}/new"), "evil"),
        ),
        (
            "through a link, up",
            t().pax("linkpath", up.as_bytes()).link(b'2', "l", "").file("l/file", "evil"),
            inside(&format!("{bare}/file"), "evil"),
        ),
        (
            "over a link",
            t().pax("linkpath", format!("{canary}/file").as_bytes())
                .link(b'2', "l", "")
                .file("l", "mine"),
            holds(&[("l", "mine")]),
        ),
        (
            "a directory over a link",
            t().pax("linkpath", canary.as_bytes())
                .link(b'2', "l", "")
                .dir("l/")
                .file("l/new", "mine"),
            holds(&[("l/new", "mine")]),
        ),
        (
            "through a chain of links",
            t().link(b'2', "a", "b/..").link(b'2', "b", "../../..").file("a/x", "evil"),
            holds(&[("x", "evil")]),
        ),
        (
            "through /proc",
            t().link(b'2', "l", "/proc/self/cwd").file("l/x", "evil"),
            holds(&[("proc/self/cwd/x", "evil")]),
        ),
        (
            "hard link out",
            t().pax("linkpath", format!("{canary}/file").as_bytes()).link(b'1', "h", ""),
            Refused("which is not there"),
        ),
        (
            "hard link up",
            t().pax("linkpath", format!("{up}/file").as_bytes()).link(b'1', "h", ""),
            Refused(".."),
        ),
        (
            "hard link through a link",
            t().pax("linkpath", canary.as_bytes()).link(b'2', "l", "").link(b'1', "h", "l/file"),
            Refused("which is not there"),
        ),
        (
            "hard link to a link, written to",
            t().pax("linkpath", format!("{canary}/file").as_bytes())
                .link(b'2', "l", "")
                .link(b'1', "h", "l")
                .file("h", "mine"),
            holds(&[("h", "mine")]),
        ),
        ("hard link to itself", t().file("h", "x").link(b'1', "h", "h"), Refused("link to itself")),
        (
            "hard link to a directory",
            t().dir("d/").link(b'1', "h", "d"),
            Refused("hard link to a directory"),
        ),
        ("hard link to the root", t().link(b'1', "h", "/"), Refused("\"h\"")),
        (
            "the root is a link",
            t().pax("linkpath", canary.as_bytes()).link(b'2', "./", "").file("x", "evil"),
            Refused("root of a layer"),
        ),
        ("the root is a file", t().file("./", "evil"), Refused("its kind has none")),
        ("whiteout of ..", t().file(".wh...", ""), Refused("a whiteout must name a file")),
        ("whiteout of .", t().file("a/.wh..", ""), Refused("a whiteout must name a file")),
        ("whiteout of nothing", t().file(".wh.", ""), Refused("a whiteout must name a file")),
        ("whiteout with ..", t().file("a/../../.wh.x", ""), Refused("..")),
        (
            "whiteout through a link",
            t().pax("linkpath", canary.as_bytes())
                .link(b'2', "l", "")
                .file("l/.wh.file", "")
                .file("x", "kept"),
            holds(&[("x", "kept")]),
        ),
        (
            "opaque through a link",
            t().pax("linkpath", canary.as_bytes())
                .link(b'2', "l", "")
                .file("l/.wh..wh..opq", "")
                .file("x", "kept"),
            holds(&[("x", "kept")]),
        ),
        (
            "a whiteout of nothing there",
            t().file("d/x", "kept").file("d/.wh.y", ""),
            holds(&[("d/x", "kept")]),
        ),
        (
            "a whiteout is a directory",
            t().dir(".wh.x/"),
            Refused("a whiteout cannot be a directory"),
        ),
        ("below a whiteout", t().file(".wh.x/y", "evil"), Refused("below a whiteout")),
        ("NUL in a name", t().pax("path", b"a\0b").file("short", "evil"), Refused("NUL")),
        ("NUL in a target", t().pax("linkpath", b"a\0b").link(b'2', "l", ""), Refused("NUL")),
        (
            "line end in a name",
            t().pax("path", b"a\nb\x1b[2J").file("short", "odd"),
            holds(&[("a\nb\u{1b}[2J", "odd")]),
        ),
        ("no name", t().file("", "evil"), Refused("the name is empty")),
        ("a name too long", t().pax("path", &[b'n'; 300]).file("short", "evil"), Refused("nnn")),
        ("a path too long", long(&"d/".repeat(4000)).file("short", "evil"), Refused("d/d/d")),
        (
            "overlay's own marks",
            t().pax("SCHILY.xattr.user.overlay.redirect", canary.as_bytes())
                .dir("d/")
                .file("d/x", "kept"),
            holds(&[("d/x", "kept")]),
        ),
        (
            "overlay's own marks, trusted",
            t().pax("SCHILY.xattr.trusted.overlay.redirect", canary.as_bytes())
                .dir("d/")
                .file("d/x", "kept"),
            holds(&[("d/x", "kept")]),
        ),
        (
            "yado's own marks",
            t().pax("SCHILY.xattr.user.yado.owner", b"1:1").file("x", "kept"),
            holds(&[("x", "kept")]),
        ),
    ] {
        rows.check(what, &Hostile::of(&tar.end()), &fate);
    }
    rows.finish();
}

/// Entries that contradict themselves, each other or the image.
#[test]
fn hostile_contents_are_refused() {
    let mut rows = Rows::new();
    let t = Tar::default;
    let cut = |tar: Tar, length: usize| {
        let mut bytes = tar.0;
        bytes.truncate(length);
        bytes
    };
    let spoilt = {
        let mut bytes = t().file("x", "y").end();
        bytes[0] = b'z';
        bytes
    };
    let plain = t().file("x", "text").end();
    let pax_size =
        t().pax("size", b"3").header(b'0', b"x", b"", 512).content(b"abc").file("y", "after").end();
    for (what, tar, fate) in [
        ("an unknown kind", t().header(b'Z', b"x", b"", 0).end(), Refused("\"x\"")),
        (
            "a kind with content",
            t().header(b'2', b"l", b"t", 512).content(&[b'a'; 512]).end(),
            Refused("\"l\""),
        ),
        (
            "more content than there is",
            t().header(b'0', b"x", b"", 1 << 40).content(b"little").end(),
            Refused("\"x\""),
        ),
        ("cut in a header", cut(t().file("x", "y"), 300), Refused("the archive ends at byte")),
        ("cut in a file", cut(t().file("x", "y"), 700), Refused("\"x\"")),
        ("a wrong checksum", spoilt, Refused("checksum")),
        (
            "garbage behind the first zeros",
            {
                let mut bytes = vec![0; 512];
                bytes.extend(t().file("x", "y").end());
                bytes
            },
            Refused("zeros"),
        ),
        ("PAX and header differ in size", pax_size, holds(&[("x", "abc"), ("y", "after")])),
        ("a negative size", t().pax("size", b"-1").file("x", "y").end(), Refused("PAX")),
        ("a size that is no number", t().pax("size", b"9x").file("x", "y").end(), Refused("PAX")),
        (
            "a size beyond all",
            t().pax("size", b"99999999999999999999").file("x", "y").end(),
            Refused("PAX"),
        ),
        (
            "a PAX record of a wrong length",
            t().header(b'x', b"pax", b"", 8).content(b"9 a=b\n\n\n").file("x", "y").end(),
            Refused("malformed PAX record"),
        ),
        (
            "a PAX header of 2 MiB",
            t().header(b'x', b"pax", b"", 2 << 20)
                .content(&vec![b'a'; 2 << 20])
                .file("x", "y")
                .end(),
            Refused("more than 1 MiB"),
        ),
        ("a PAX header for nothing", t().pax("path", b"x").end(), Refused("")),
        (
            "a global name",
            t().header(b'g', b"pax", b"", 10).content(b"10 path=x\n").file("y", "y").end(),
            Refused("a global header sets names or sizes"),
        ),
        (
            "a sparse bomb",
            t().sparse("x", 1 << 62).end(),
            Refused("a sparse file of more than 16 GiB"),
        ),
        (
            "twice the same name",
            t().file("x", "first").file("x", "second").end(),
            holds(&[("x", "second")]),
        ),
        (
            "the same name spelt twice",
            t().file("d/x", "first").file("./d//x", "second").end(),
            holds(&[("d/x", "second")]),
        ),
        (
            "a file where a directory was",
            t().dir("d/").file("d/x", "gone").file("d", "file").end(),
            holds(&[("d", "file")]),
        ),
        (
            "a directory where a file was",
            t().file("d", "file").dir("d/").file("d/x", "there").end(),
            holds(&[("d/x", "there")]),
        ),
        ("below a file", t().file("d", "file").file("d/x", "y").end(), Refused("\"d/x\"")),
        (
            "device nodes",
            t().header(b'3', b"null", b"", 0)
                .header(b'4', b"disk", b"", 0)
                .header(b'6', b"pipe", b"", 0)
                .file("x", "kept")
                .end(),
            holds(&[("x", "kept")]),
        ),
        ("nothing at all", t().end(), holds(&[])),
        ("no end", t().file("x", "y").0, holds(&[("x", "y")])),
    ] {
        rows.check(what, &Hostile::of(&tar), &fate);
    }
    let packed = gzip(&plain);
    let with = |blob: &[u8]| Hostile::with_blob(blob.to_vec(), &plain);
    let endless_name = {
        let mut bytes = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255];
        bytes.extend(vec![b'n'; 1 << 20]);
        bytes
    };
    let bad_check = {
        let mut bytes = packed.clone();
        let at = bytes.len() - 8;
        bytes[at] ^= 1;
        bytes
    };
    for (what, image, fate) in [
        ("truncated gzip", with(&packed[..packed.len() - 12]), Refused("")),
        ("gzip cut in its check", with(&packed[..packed.len() - 4]), Refused("")),
        ("gzip with a wrong check", with(&bad_check), Refused("")),
        ("a gzip header without end", with(&endless_name), Refused("")),
        (
            "no gzip at all",
            Hostile { diff_ids: vec![format!("sha256:{}", hex(b"hello"))], ..with(b"hello") },
            Refused(""),
        ),
        (
            "another layer's diff_id",
            Hostile::with_blob(packed.clone(), b"other"),
            Refused("the image's configuration says"),
        ),
        (
            "a diff_id that is none",
            Hostile { diff_ids: vec!["../../x".to_owned()], ..with(&packed) },
            Refused(""),
        ),
        (
            "too few diff_ids",
            Hostile { diff_ids: vec![], ..with(&packed) },
            Refused("the manifest has 1 layers, the configuration 0"),
        ),
        ("an archive, said to be compressed", with(&plain), holds(&[("x", "text")])),
    ] {
        rows.check(what, &image, &fate);
    }
    rows.finish();
}

/// Nodes of the host's disks, as a base image could bring them, are not there for a step.
#[test]
fn a_step_finds_no_device_of_a_base() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = format!("{}/devices:1", registry.host);
    let devices = Tar::default()
        .header(b'3', b"character", b"", 0)
        .header(b'4', b"block", b"", 0)
        .file("file", "there")
        .end();
    Hostile::of(&devices).push(&work, &name);
    let dockerfile = format!(
        "FROM {name} AS hostile\nFROM {{base}}\nCOPY --from=hostile / /h/\nRUN ls /h > /result\n"
    );
    assert_eq!(work.built(&dockerfile).text("result"), "file\n");
}
