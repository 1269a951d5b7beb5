use super::*;
use crate::fs;
use crate::image::Digest;
use crate::layer::{CAPABILITY_XATTR, Entry, Kind, TarWriter, capability_v2};
use crate::rootfs::{Ledger, owner};
use crate::testing::TempDir;
use std::fs as std_fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

/// The parts of a hostile archive: what `TarWriter` would refuse to write goes around it.
#[derive(Clone)]
enum Part {
    Entry(Entry, &'static str),
    /// A name in the header as it is, and a kind.
    Raw(&'static str, tar::EntryType, &'static str),
}

use Part::{Entry as E, Raw};

fn file(path: &str) -> Part {
    E(Entry::new(path, Kind::File { size: 7 }), "content")
}

fn dir(path: &str) -> Part {
    E(Entry::new(path, Kind::Dir), "")
}

fn link(path: &str, target: &str) -> Part {
    E(Entry::new(path, Kind::Symlink { target: target.into() }), "")
}

fn hard(path: &str, target: &str) -> Part {
    E(Entry::new(path, Kind::Hardlink { target: target.into() }), "")
}

fn white(path: &'static str) -> Part {
    Raw(path, tar::EntryType::Regular, "")
}

fn archive(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            E(entry, content) => {
                let mut entry = entry.clone();
                // So that an ordinary user may own everything.
                if !rustix::process::geteuid().is_root() {
                    (entry.uid, entry.gid) = (0, 0);
                }
                let mut tar = TarWriter::new(&mut out);
                tar.append(&entry, content.as_bytes()).unwrap();
            }
            Raw(name, kind, target) => {
                let mut header = tar::Header::new_ustar();
                header.set_entry_type(*kind);
                header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
                header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
                header.set_size(0);
                header.set_mode(0o644);
                header.set_uid(0);
                header.set_gid(0);
                header.set_mtime(0);
                header.set_cksum();
                out.extend_from_slice(header.as_bytes());
            }
        }
    }
    out.extend_from_slice(&[0; 1024]);
    out
}

fn owners(ledger: &Ledger) -> Owners<'_> {
    if rustix::process::geteuid().is_root() { Owners::Real } else { Owners::Single(ledger) }
}

/// A temporary directory with `root`, where layers go, and `victim`, which nothing may change.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let temp = TempDir::new("unpack");
        std_fs::create_dir(temp.path().join("root")).unwrap();
        let victim = temp.path().join("victim");
        std_fs::create_dir(&victim).unwrap();
        std_fs::write(victim.join("kept"), "kept").unwrap();
        std_fs::set_permissions(&victim, std_fs::Permissions::from_mode(0o700)).unwrap();
        Self(temp)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn unpack(&self, parts: &[Part]) -> Result<Unpacked, String> {
        self.unpack_bytes(&archive(parts), None)
    }

    fn unpack_bytes(&self, bytes: &[u8], expected: Option<&DiffId>) -> Result<Unpacked, String> {
        let target = fs::open_dir(&self.root()).unwrap();
        let ledger = Ledger::new(&self.root()).unwrap();
        unpack(bytes, expected, &target, &UnpackOptions { owners: owners(&ledger) })
            .map_err(|error| error.to_string())
    }

    /// Everything about the victim and its neighbours that an escape could change.
    fn outside(&self) -> Vec<(PathBuf, u32, u64, i64, u64)> {
        let victim = self.0.path().join("victim");
        let mut paths: Vec<PathBuf> = std_fs::read_dir(self.0.path())
            .unwrap()
            .chain(std_fs::read_dir(&victim).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("root"))
            .collect();
        paths.sort();
        let stat = |path: PathBuf| {
            let meta = std_fs::symlink_metadata(&path).unwrap();
            (path, meta.mode(), meta.ino(), meta.ctime_nsec(), meta.nlink())
        };
        paths.into_iter().map(stat).collect()
    }

    /// The tree as lines: kind, mode, path, link target or content.
    fn tree(&self) -> String {
        let mut lines = Vec::new();
        let mut pending = vec![self.root()];
        while let Some(dir) = pending.pop() {
            for entry in std_fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = std_fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(self.root()).unwrap().display().to_string();
                let kind = meta.file_type();
                lines.push(if kind.is_dir() {
                    let opaque = is_opaque(fs::open_dir(&path).unwrap()).unwrap();
                    pending.push(path);
                    format!("{name}/{}", if opaque { " opaque" } else { "" })
                } else if kind.is_symlink() {
                    format!("{name} -> {}", std_fs::read_link(&path).unwrap().display())
                } else if kind.is_char_device() && meta.rdev() == 0 {
                    format!("{name} whiteout")
                } else if kind.is_file() {
                    format!("{name} {}", std_fs::read_to_string(&path).unwrap())
                } else {
                    format!("{name} special")
                });
            }
        }
        lines.sort();
        lines.join(", ")
    }
}

#[test]
fn no_archive_reaches_outside() {
    let outside = "/../../victim";
    let up = |depth: usize| format!("{}victim", "../".repeat(depth));
    let mut opened = Entry::new("s", Kind::Dir);
    opened.mode = 0o777;
    let mut setuid = Entry::new("su", Kind::File { size: 0 });
    setuid.mode = 0o4755;
    let cases: Vec<(&str, Vec<Part>, Result<&str, &str>)> = vec![
        ("a name with ..", vec![Raw("../victim/x", tar::EntryType::Regular, "")], Err("\"..\"")),
        ("an absolute name", vec![Raw("/victim/x", tar::EntryType::Regular, "")], {
            Ok("victim/, victim/x ")
        }),
        (
            "a link, then a file through it",
            vec![link("s", &up(1)), file("s/x")],
            Ok("s -> ../victim, victim/, victim/x content"),
        ),
        (
            "an absolute link, then a file through it",
            vec![link("s", outside), file("s/x")],
            Ok("s -> /../../victim, victim/, victim/x content"),
        ),
        (
            "a chain of links",
            vec![dir("a"), link("a/b", ".."), link("c", "a/b/.."), file("c/victim/x")],
            Ok("a/, a/b -> .., c -> a/b/.., victim/, victim/x content"),
        ),
        ("a link to itself, as a parent", vec![link("l", "l"), file("l/x")], Err("open its dir")),
        ("a hard link out", vec![Raw("h", tar::EntryType::Link, "../victim/kept")], Err("\"..\"")),
        (
            "an absolute hard link",
            vec![Raw("h", tar::EntryType::Link, "/victim/kept")],
            Err("it links to \"victim/kept\", which is not there"),
        ),
        (
            "a hard link through a link",
            vec![link("s", &up(3)), hard("h", "s/kept")],
            Err("it links to \"s/kept\", which is not there"),
        ),
        (
            "a hard link to a link, then a file of its name",
            vec![link("s", &up(1)), hard("h", "s"), file("h")],
            Ok("h content, s -> ../victim"),
        ),
        ("a hard link to a directory", vec![dir("d"), hard("h", "d")], Err("to a directory")),
        ("a hard link to itself", vec![file("h"), hard("h", "h")], Err("a link to itself")),
        (
            "a whiteout through a link",
            vec![link("s", &up(1)), white("s/.wh.kept")],
            Ok("s -> ../victim, victim/, victim/kept whiteout"),
        ),
        (
            "an opaque mark through a link",
            vec![link("s", &up(1)), white("s/.wh..wh..opq")],
            Ok("s -> ../victim, victim/ opaque"),
        ),
        ("a whiteout of ..", vec![white(".wh...")], Err("a whiteout must name a file")),
        ("a whiteout of .", vec![white("d/.wh..")], Err("a whiteout must name a file")),
        ("a whiteout of nothing", vec![white("d/.wh.")], Err("a whiteout must name a file")),
        ("below a whiteout", vec![white(".wh.d/x")], Err("it is below a whiteout")),
        (
            "the root as a link",
            vec![Raw("./", tar::EntryType::Symlink, "../victim"), file("x")],
            Err("the root of a layer must be a directory"),
        ),
        (
            "the root as a file",
            vec![Raw(".", tar::EntryType::Regular, "")],
            Err("the root of a layer must be a directory"),
        ),
        (
            "a link, then an open directory of its name",
            vec![link("s", &up(1)), E(opened, ""), file("s/x")],
            Ok("s/, s/x content"),
        ),
        (
            "a directory, then a link of its name, then a file through it",
            vec![dir("s"), file("s/old"), link("s", &up(1)), file("s/x")],
            Ok("s -> ../victim, victim/, victim/x content"),
        ),
        ("a file as a parent", vec![file("f"), file("f/x")], Err("its parent is not a directory")),
        ("a name twice", vec![file("f"), link("f", "x"), file("f")], Ok("f content")),
        ("a file over a link", vec![link("f", "../victim/kept"), file("f")], Ok("f content")),
        ("a set-id file", vec![E(setuid, "")], Ok("su ")),
        ("a socket", vec![Raw("s", tar::EntryType::new(b's'), "")], Err("unknown kind of entry")),
        ("marks of aufs", vec![white(".wh..wh.aufs"), dir("d"), white("d/.wh..wh.orph")], Ok("d/")),
    ];
    for (case, parts, expected) in cases {
        let place = Place::new();
        let before = place.outside();
        let result = place.unpack(&parts);
        assert_eq!(place.outside(), before, "{case}: changed what is outside");
        match (result, expected) {
            (Ok(_), Ok(tree)) => assert_eq!(place.tree(), tree, "{case}"),
            (Err(error), Err(text)) => assert!(error.contains(text), "{case}: {error}"),
            (result, _) => panic!("{case}: {result:?}"),
        }
    }
}

#[test]
fn a_layer_below_cannot_lead_the_next_one_out() {
    let place = Place::new();
    symlink("../victim", place.root().join("s")).unwrap();
    let before = place.outside();
    place.unpack(&[file("s/x"), white("s/.wh.kept"), dir("s/kept2")]).unwrap();
    assert_eq!(place.outside(), before);
    let tree = "s -> ../victim, victim/, victim/kept whiteout, victim/kept2/, victim/x content";
    assert_eq!(place.tree(), tree);
}

#[test]
fn marks_do_not_depend_on_their_place_in_the_archive() {
    let zero = E(Entry::new("z", Kind::Char { major: 0, minor: 0 }), "");
    let cases: &[(&str, Vec<Part>, &str)] = &[
        ("a file gone", vec![dir("d"), white("d/.wh.f")], "d/, d/f whiteout"),
        ("a file replaced", vec![white(".wh.f"), file("f")], "f content"),
        ("a directory replaced", vec![white(".wh.d"), dir("d"), file("d/f")], {
            "d/ opaque, d/f content"
        }),
        ("an opaque directory", vec![white("d/.wh..wh..opq"), dir("d"), file("d/f")], {
            "d/ opaque, d/f content"
        }),
        ("both, inside each other", vec![white(".wh.d"), white("d/.wh.f")], {
            "d/ opaque, d/f whiteout"
        }),
        ("a whiteout in overlay's form", vec![zero], "z whiteout"),
    ];
    for (case, parts, expected) in cases {
        for turned in [false, true] {
            let mut parts = parts.clone();
            if turned {
                parts.reverse();
            }
            let place = Place::new();
            place.unpack(&parts).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(place.tree(), *expected, "{case}, turned: {turned}");
        }
    }
    let place = Place::new();
    place.unpack(&[white(".wh..wh..opq")]).unwrap();
    assert!(is_opaque(fs::open_dir(&place.root()).unwrap()).unwrap());
}

#[test]
fn attributes_are_those_of_the_archive() {
    let place = Place::new();
    let with = |path: &str, kind, mode, mtime| Entry { mode, mtime, ..Entry::new(path, kind) };
    let mut f = with("closed/f", Kind::File { size: 7 }, 0o6751, 1_000_000_000);
    (f.uid, f.gid, f.nanos) = (1234, 5678, 999);
    for (name, value) in [
        ("user.mine", "v"),
        ("user.overlay.metacopy", "forged"),
        ("user.yado.owner", "0:0"),
        ("security.selinux", "label"),
        ("trusted.overlay.opaque", "y"),
    ] {
        f.xattrs.insert(name.into(), value.into());
    }
    let root = with("", Kind::Dir, 0o750, -5);
    place
        .unpack(&[
            // The directory's own time and mode hold although a file is put into it afterwards.
            E(with("closed", Kind::Dir, 0o3500, 7), ""),
            E(f, "content"),
            hard("h", "closed/f"),
            E(with("l", Kind::Symlink { target: "closed".into() }, 0o777, 8), ""),
            E(with("p", Kind::Fifo, 0o1622, 9), ""),
            file("implied/x"),
            E(root, ""),
        ])
        .unwrap();
    let root = place.root();
    let stat = |path: &str| std_fs::symlink_metadata(root.join(path)).unwrap();
    for (path, mode, mtime) in [
        ("", 0o750, -5),
        ("closed", 0o3500, 7),
        ("closed/f", 0o6751, 1_000_000_000),
        ("h", 0o6751, 1_000_000_000),
        ("l", 0o777, 8),
        ("p", 0o1622, 9),
        ("implied", 0o755, 0),
        ("implied/x", 0o644, 0),
    ] {
        let stat = stat(path);
        assert_eq!((stat.mode() & 0o7777, stat.mtime()), (mode, mtime), "{path}");
        assert_eq!(stat.mtime_nsec(), 0, "{path}");
    }
    assert_eq!(stat("h").ino(), stat("closed/f").ino());
    assert!(stat("p").file_type().is_fifo());
    if !owners(&Ledger::default()).are_single() {
        assert_eq!((stat("h").uid(), stat("h").gid()), (1234, 5678));
    }
    let mut names = vec![0; 1000];
    let length = rustix::fs::llistxattr(root.join("h"), &mut names[..]).unwrap();
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    let names: Vec<&str> = names.split_terminator('\0').collect();
    let set = names.into_iter().filter(|name| *name != "security.selinux");
    assert_eq!(set.collect::<Vec<_>>(), ["user.mine"]);
}

#[test]
fn a_single_id_keeps_the_owners_beside_the_files() {
    let place = Place::new();
    let mut tar = TarWriter::new(Vec::new());
    // Readable and, as a directory, open: an ordinary user has to look at them afterwards.
    let owned =
        |path: &str, kind| Entry { uid: 1000, gid: 50, mode: 0o555, ..Entry::new(path, kind) };
    tar.append(&owned("", Kind::Dir), io::empty()).unwrap();
    tar.append(&owned("f", Kind::File { size: 1 }), &b"x"[..]).unwrap();
    tar.append(&owned("l", Kind::Symlink { target: "f".into() }), io::empty()).unwrap();
    tar.append(&owned("p", Kind::Fifo), io::empty()).unwrap();
    tar.append(&Entry::new("same", Kind::Hardlink { target: "p".into() }), io::empty()).unwrap();
    for path in ["given", "taken"] {
        let link = Kind::Symlink { target: "f".into() };
        let (first, last) = (owned(path, link.clone()), Entry::new(path, link));
        let both = if path == "taken" { [first, last] } else { [last, first] };
        for entry in both {
            tar.append(&entry, io::empty()).unwrap();
        }
    }
    tar.append(&owned("again", Kind::Dir), io::empty()).unwrap();
    tar.append(&Entry::new("again", Kind::Dir), io::empty()).unwrap();
    let bytes = tar.finish().unwrap();
    let target = fs::open_dir(&place.root()).unwrap();
    let ledger = Ledger::new(&place.root()).unwrap();
    let options = UnpackOptions { owners: Owners::Single(&ledger) };
    unpack(bytes.as_slice(), None, &target, &options).unwrap();
    for (name, expected) in [
        (c".", Some((1000, 50))),
        (c"f", Some((1000, 50))),
        (c"l", None),
        (c"p", None),
        (c"again", None),
    ] {
        // A link and a pipe cannot carry a record, so what cannot be opened has none.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&target, name, flags, Mode::empty()).ok();
        assert_eq!(opened.and_then(owner::recorded_of), expected, "{name:?}");
    }
    let expected = "1000:50 given\x001000:50 l\x001000:50 p\x001000:50 same\0";
    assert_eq!(String::from_utf8(ledger.records()).unwrap(), expected);
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(std_fs::symlink_metadata(place.root().join("f")).unwrap().uid(), own);
}

#[test]
fn devices_are_made_or_left_out() {
    let place = Place::new();
    let disk = Entry::new("disk", Kind::Block { major: 8, minor: 0 });
    place.unpack(&[E(disk, ""), file("f")]).unwrap();
    assert!(["disk special, f content", "f content"].contains(&place.tree().as_str()));
}

#[test]
fn capabilities_are_set_without_their_namespace() {
    let place = Place::new();
    let v3 = [&[1, 0, 0, 3, 0, 4, 0, 0][..], &[0; 12], &[0xe8, 3, 0, 0]].concat();
    let mut entry = Entry::new("f", Kind::File { size: 7 });
    entry.xattrs.insert(CAPABILITY_XATTR.to_vec(), v3.clone());
    place.unpack(&[E(entry, "content")]).unwrap();
    if owners(&Ledger::default()).are_single() {
        return;
    }
    let mut value = [0; 64];
    let path = place.root().join("f");
    let length = rustix::fs::lgetxattr(&path, "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], capability_v2(&v3));
}

#[test]
fn the_digest_is_of_everything() {
    let mut bytes = archive(&[file("f")]);
    bytes.extend_from_slice(&[0; 8192]);
    let diff_id = DiffId(Digest::of(&bytes));
    let unpacked = Place::new().unpack_bytes(&bytes, Some(&diff_id)).unwrap();
    assert_eq!(unpacked, Unpacked { diff_id: diff_id.clone(), size: bytes.len() as u64 });
    bytes.push(0);
    let error = Place::new().unpack_bytes(&bytes, Some(&diff_id)).unwrap_err();
    let actual = Digest::of(&bytes);
    let expected =
        format!("the layer has the diff_id {actual}, the image's configuration says {diff_id}");
    assert_eq!(error, expected);
    let mut hasher = format!("sha512:{}", "0".repeat(128)).parse::<Digest>().unwrap().hasher();
    hasher.update(&bytes);
    Place::new().unpack_bytes(&bytes, Some(&DiffId(hasher.finish()))).unwrap();
    let cut = Place::new().unpack_bytes(&bytes[..700], None).unwrap_err();
    assert_eq!(cut, "the archive ends at byte 700, in the middle of \"f\"");
}

#[test]
fn gnu_tar_finds_no_difference() {
    let place = Place::new();
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut bytes = Vec::new();
    for (path, kind, content) in [
        ("d", Kind::Dir, ""),
        ("d/f", Kind::File { size: 7 }, "content"),
        ("d/h", Kind::Hardlink { target: "d/f".into() }, ""),
        ("l", Kind::Symlink { target: "../é".into() }, ""),
        (&"n/".repeat(70), Kind::Dir, ""),
    ] {
        let path = path.trim_end_matches('/');
        let entry = Entry { uid: user.0, gid: user.1, mtime: 5, ..Entry::new(path, kind) };
        TarWriter::new(&mut bytes).append(&entry, content.as_bytes()).unwrap();
    }
    bytes.extend_from_slice(&[0; 1024]);
    place.unpack_bytes(&bytes, None).unwrap();
    std_fs::write(place.0.path().join("a.tar"), &bytes).unwrap();
    let output = std::process::Command::new("tar")
        .args(["--compare", "--file=../a.tar"])
        .current_dir(place.root())
        .output()
        .expect("tar is needed by this test");
    let printed = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&printed), "");
    assert!(output.status.success());
}

#[test]
fn an_owner_that_does_not_exist_here_is_named() {
    let place = Place::new();
    let target = fs::open_dir(&place.root()).unwrap();
    let mut tree = Tree::new(&target, Owners::Real, Form::Layer);
    // The one id that is outside every range.
    let entry = Entry { uid: u32::MAX, gid: 5, ..Entry::new("f", Kind::File { size: 0 }) };
    let error = tree.add(&entry, &mut io::empty()).unwrap_err().to_string();
    let begin = "unpack \"f\": its owner 4294967295:5 is outside the range of ids";
    assert!(error.starts_with(begin) && error.contains("/etc/subuid"), "{error}");
}
