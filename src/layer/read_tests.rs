use super::*;
use crate::layer::TarWriter;
use crate::testing::TempDir;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

type Listed = Vec<(Entry, Vec<u8>)>;

fn read(archive: &[u8]) -> Result<Listed, ReadError> {
    let mut tar = TarReader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        let mut content = Vec::new();
        tar.read_to_end(&mut content).map_err(|source| ReadError::Io { offset: 0, source })?;
        entries.push((entry, content));
    }
    Ok(entries)
}

fn write(entries: &Listed) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        tar.append(entry, content.as_slice()).unwrap();
    }
    tar.finish().unwrap()
}

/// A header as another writer might make it, then `content`, padded.
fn raw(kind: u8, name: &[u8], size: u64, content: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[header::MAGIC].copy_from_slice(header::POSIX_MAGIC);
    block[..name.len()].copy_from_slice(name);
    block[header::TYPE] = kind;
    if kind == b'1' || kind == b'2' {
        block[header::LINK.start] = b't';
    }
    for field in [header::MODE, header::UID, header::GID, header::MTIME] {
        header::put_octal(&mut block, field, 0);
    }
    header::put_octal(&mut block, header::SIZE, size);
    header::seal(&mut block);
    let mut out = block.to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

fn pax(kind: u8, records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        pax::push(&mut content, key, value);
    }
    raw(kind, b"x", content.len() as u64, &content)
}

fn file(name: &[u8]) -> Vec<u8> {
    raw(b'0', name, 0, b"")
}

fn resealed(mut archive: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    archive[at..at + bytes.len()].copy_from_slice(bytes);
    let block: &mut Block = (&mut archive[..BLOCK]).try_into().unwrap();
    header::seal(block);
    archive
}

#[test]
fn what_is_ambiguous_or_malformed_is_refused() {
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("dot dot", file(b"a/../../b"), "the name has a component \"..\""),
        ("dot dot link", pax(b'x', &[(b"linkpath", b"../x")]), "in the middle of an extended"),
        (
            "hard link out",
            [pax(b'x', &[(b"linkpath", b"../x")]), raw(b'1', b"h", 0, b"")].concat(),
            "entry \"h\" at byte 1024 of the archive: the name has a component \"..\"",
        ),
        ("no name", file(b""), "the name is empty"),
        (
            "NUL in a PAX path",
            [pax(b'x', &[(b"path", b"a\0b")]), file(b"f")].concat(),
            "entry \"f\" at byte 1024 of the archive: the name contains a NUL byte",
        ),
        (
            "NUL in a long name",
            [raw(b'L', b"l", 4, b"a\0b\0"), file(b"f")].concat(),
            "the name contains a NUL byte",
        ),
        (
            "PAX size below zero",
            [pax(b'x', &[(b"size", b"-1")]), file(b"f")].concat(),
            "a PAX record holds no valid number",
        ),
        (
            "PAX size over all",
            [pax(b'x', &[(b"size", b"9223372036854775808")]), file(b"f")].concat(),
            "a PAX record holds no valid number",
        ),
        ("binary size below zero", resealed(file(b"f"), 124, &[0xff; 12]), "its size is out of"),
        (
            "binary size over all",
            resealed(file(b"f"), 124, &[0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]),
            "its size is out of",
        ),
        ("owner -1", resealed(file(b"f"), 108, &[0xff; 8]), "its owner's id is out of range"),
        (
            "owner 4294967295",
            [pax(b'x', &[(b"uid", b"4294967295")]), file(b"f")].concat(),
            "its owner's id is out of range",
        ),
        ("malformed PAX", raw(b'x', b"x", 9, b"8 path=x\n"), "in the middle of an extended"),
        (
            "malformed PAX, with its entry",
            [raw(b'x', b"x", 9, b"8 path=x\n"), file(b"f")].concat(),
            "malformed PAX record: its length is wrong",
        ),
        (
            "empty PAX path",
            [pax(b'x', &[(b"path", b"")]), file(b"f")].concat(),
            "a PAX record holds an empty name",
        ),
        (
            "PAX time",
            [pax(b'x', &[(b"mtime", b"yesterday")]), file(b"f")].concat(),
            "a PAX record holds no valid time",
        ),
        ("global path", pax(b'g', &[(b"path", b"p")]), "a global header sets names or sizes"),
        (
            "two names",
            [pax(b'x', &[(b"path", b"p")]), raw(b'L', b"l", 2, b"q\0"), file(b"f")].concat(),
            "two extended headers give it different names",
        ),
        (
            "two PAX headers",
            [pax(b'x', &[(b"path", b"p")]), pax(b'x', &[(b"path", b"q")]), file(b"f")].concat(),
            "two extended headers of one kind",
        ),
        (
            "huge PAX header",
            raw(b'x', b"x", EXTENDED_LIMIT + 1, b""),
            "an extended header of more than 1 MiB",
        ),
        ("checksum", [b"x".to_vec(), file(b"f").split_off(1)].concat(), "its checksum is wrong"),
        ("content of a directory", raw(b'5', b"d", 5, b"hello"), "it has content, but its kind"),
        ("content of a link", raw(b'2', b"l", 5, b"hello"), "it has content, but its kind"),
        ("content of a name with a slash", raw(b'0', b"d/", 5, b"hello"), "it has content, but"),
        ("a socket", raw(b's', b"s", 0, b""), "unknown kind of entry"),
        ("a volume", raw(b'V', b"v", 0, b""), "unknown kind of entry"),
        (
            "one block of zeros",
            [vec![0; BLOCK], file(b"f")].concat(),
            "a single block of zeros is followed by something else",
        ),
        (
            "cut header",
            file(b"f").split_off(100),
            "the archive ends at byte 412, in the middle of a header",
        ),
        (
            "cut content",
            raw(b'0', b"f", 2000, b"begin"),
            "the archive ends at byte 1024, in the middle of \"f\"",
        ),
        (
            "sparse directory",
            [pax(b'x', &[(b"GNU.sparse.size", b"5")]), raw(b'5', b"d", 0, b"")].concat(),
            "only a file can be sparse",
        ),
    ];
    for (case, archive, expected) in cases {
        let mut tar = TarReader::new(archive.as_slice());
        // Content is skipped here, not read.
        let error = loop {
            match tar.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{case}: accepted"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains(expected), "{case}: {error}");
    }
    let error = read(&raw(b'0', b"f", 2000, b"begin")).unwrap_err();
    let ReadError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_all_tars_accept_is_accepted() {
    let end = vec![0; 2 * BLOCK];
    for (case, archive, paths) in [
        ("nothing", Vec::new(), &[][..]),
        ("an end only", end.clone(), &[]),
        ("no end", file(b"f"), &["f"]),
        ("half an end", [file(b"f"), vec![0; BLOCK]].concat(), &["f"]),
        ("rubbish behind the end", [file(b"f"), end, b"rubbish".to_vec()].concat(), &["f"]),
        ("absolute", file(b"/etc/./x"), &["etc/x"]),
        ("the root", raw(b'5', b"./", 0, b""), &[""]),
        ("an old directory", raw(0, b"d/", 0, b""), &["d"]),
        ("a comment", [pax(b'g', &[(b"comment", b"c")]), file(b"f")].concat(), &["f"]),
        ("a size at a hard link", raw(b'1', b"h", 99, b""), &["h"]),
        (
            "one name, said twice",
            [pax(b'x', &[(b"path", b"p")]), raw(b'L', b"l", 3, b"p\0\0"), file(b"f")].concat(),
            &["p"],
        ),
    ] {
        let entries = read(&archive).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found: Vec<_> = entries.iter().map(|(e, _)| String::from_utf8_lossy(&e.path)).collect();
        assert_eq!(found, paths, "{case}");
    }
}

/// A header that says 0 while PAX says more, with another header in the content: the smuggling of
/// RUSTSEC-2025-0111.
#[test]
fn a_header_inside_content_stays_content() {
    let inner = file(b"smuggled");
    let outer = pax(b'x', &[(b"size", inner.len().to_string().as_bytes())]);
    let archive = [outer, file(b"f"), inner.clone(), vec![0; 2 * BLOCK]].concat();
    let entries = read(&archive).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].1, inner);
}

#[test]
fn records_override_the_header() {
    let records: &[(&[u8], &[u8])] = &[
        (b"mtime", b"-1.25"),
        (b"gid", b"3000000"),
        (b"SCHILY.xattr.user.k", b"a=b\n\0"),
        (b"LIBARCHIVE.xattr.user.other", b"Zm9v"),
        (b"atime", b"5"),
        (b"uname", b"nobody"),
    ];
    let globals = pax(b'g', &[(b"uid", b"7"), (b"gid", b"8")]);
    let archive = [globals, pax(b'x', records), file(b"f"), file(b"g")].concat();
    let entries = read(&archive).unwrap();
    let (first, second) = (&entries[0].0, &entries[1].0);
    assert_eq!((first.uid, first.gid), (7, 3_000_000));
    assert_eq!((first.mtime, first.nanos), (-2, 750_000_000));
    assert_eq!(first.xattrs, [(b"user.k".to_vec(), b"a=b\n\0".to_vec())].into());
    assert_eq!((second.uid, second.gid, second.mtime), (7, 8, 0));
    assert!(second.xattrs.is_empty());
}

fn any_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let part = vec(any::<u8>(), 1..40).prop_map(|bytes| {
        let ok = |byte: u8| if matches!(byte, 0 | b'/') { b'_' } else { byte };
        let part: Vec<u8> = bytes.into_iter().map(ok).collect();
        if part.starts_with(b".") { [b"_", &part[..]].concat() } else { part }
    });
    let path = vec(part, 1..6).prop_map(|parts| parts.join(&b'/'));
    let size = prop_oneof![Just(0), Just(512), 1..2000_usize];
    let numbers = (any::<u32>(), any::<u32>());
    let kind = prop_oneof![
        Just(Kind::File { size: 0 }),
        Just(Kind::Dir),
        path.clone().prop_map(|target| Kind::Symlink { target }),
        path.clone().prop_map(|target| Kind::Hardlink { target }),
        Just(Kind::Fifo),
        (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| Kind::Char { major, minor }),
        (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| Kind::Block { major, minor }),
    ];
    let xattrs = btree_map("(user|trusted)\\.[a-z.]{1,20}", vec(any::<u8>(), 0..200), 0..3);
    let content = size.prop_flat_map(|size| vec(any::<u8>(), size));
    (path, kind, 0..0o10000_u32, numbers, any::<i64>(), xattrs, content).prop_map(
        |(path, mut kind, mode, (uid, gid), mtime, xattrs, mut content)| {
            match &mut kind {
                Kind::File { size } => *size = content.len() as u64,
                _ => content.clear(),
            }
            let entry = Entry {
                mode,
                uid: uid.min(u32::MAX - 1),
                gid: gid.min(u32::MAX - 1),
                // Time in the range that PAX numbers of all readers have.
                mtime: mtime >> 8,
                xattrs: xattrs.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect(),
                ..Entry::new(path, kind)
            };
            (entry, content)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(entries in vec(any_entry(), 0..8)) {
        let archive = write(&entries);
        prop_assert_eq!(archive.len() % BLOCK, 0);
        prop_assert_eq!(read(&archive).unwrap(), entries);
    }

    #[test]
    fn no_input_makes_the_reader_panic(
        mut bytes in vec(any::<u8>(), BLOCK..3 * BLOCK),
        kind in any::<u8>(),
        seal in any::<bool>(),
    ) {
        bytes[header::TYPE] = kind;
        if seal {
            bytes[header::SIZE].copy_from_slice(b"00000000100\0");
            header::seal((&mut bytes[..BLOCK]).try_into().unwrap());
        }
        let _ = read(&bytes);
    }
}

/// Runs a program that this test needs and gives what it prints.
fn run(directory: &Path, program: &str, arguments: &[&OsStr]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    output.stdout
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn python_and_gnu_tar_read_what_we_write() {
    let long = [&b"d/".repeat(60)[..], b"\xff\xfe"].concat();
    let mut owned = Entry::new(long.clone(), Kind::File { size: 5 });
    (owned.uid, owned.gid, owned.mtime) = (3_000_000, 4_000_000_000, -5);
    owned.mode = 0o4755;
    owned.xattrs.insert(b"user.k".to_vec(), b"v=1\n2".to_vec());
    let entries = vec![
        (Entry::new("", Kind::Dir), Vec::new()),
        (Entry { mode: 0o1777, ..Entry::new("tmp", Kind::Dir) }, Vec::new()),
        (owned, b"hello".to_vec()),
        (Entry::new(b"short\xe9", Kind::Hardlink { target: long }), Vec::new()),
        (Entry::new("l", Kind::Symlink { target: "../é/".repeat(40).into() }), Vec::new()),
        (Entry::new("null", Kind::Char { major: 1, minor: 3 }), Vec::new()),
        (Entry::new("disk", Kind::Block { major: 259, minor: 300_000 }), Vec::new()),
        (Entry::new("pipe", Kind::Fifo), Vec::new()),
    ];
    let temp = TempDir::new("tar-out");
    std::fs::write(temp.path().join("a.tar"), write(&entries)).unwrap();
    let script = "import tarfile\nfor m in tarfile.open('a.tar', errors='surrogateescape'):\n \
                  h=lambda s: s.encode('utf-8','surrogateescape').hex()\n \
                  x=m.pax_headers.get('SCHILY.xattr.user.k','')\n \
                  print(h(m.name), m.type.decode(), m.size, oct(m.mode), m.uid, m.gid, \
                  int(m.mtime), h(m.linkname), m.devmajor, m.devminor, h(x))";
    let python = run(temp.path(), "python3", &["-c".as_ref(), script.as_ref()]);
    let mut expected = String::new();
    for (entry, content) in &entries {
        let (kind, link, device) = match &entry.kind {
            Kind::File { .. } => (0, &b""[..], (0, 0)),
            Kind::Hardlink { target } => (1, &target[..], (0, 0)),
            Kind::Symlink { target } => (2, &target[..], (0, 0)),
            Kind::Char { major, minor } => (3, &b""[..], (*major, *minor)),
            Kind::Block { major, minor } => (4, &b""[..], (*major, *minor)),
            Kind::Dir => (5, &b""[..], (0, 0)),
            Kind::Fifo => (6, &b""[..], (0, 0)),
        };
        let path = if entry.path.is_empty() { b"." } else { &entry.path[..] };
        let xattr = entry.xattrs.get(&b"user.k"[..]).map_or(&b""[..], Vec::as_slice);
        writeln!(
            expected,
            "{} {kind} {} 0o{:o} {} {} {} {} {} {} {}",
            hex(path),
            content.len(),
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime,
            hex(link),
            device.0,
            device.1,
            hex(xattr)
        )
        .unwrap();
    }
    assert_eq!(String::from_utf8_lossy(&python), expected);

    let arguments = ["-tf", "a.tar", "--quoting-style=literal"].map(OsStr::new);
    let listed = run(temp.path(), "tar", &arguments);
    let mut expected = Vec::new();
    for (entry, _) in &entries {
        expected.extend_from_slice(if entry.path.is_empty() { b"." } else { &entry.path });
        expected.extend_from_slice(if entry.kind == Kind::Dir { b"/\n" } else { b"\n" });
    }
    assert_eq!(listed, expected);
}

#[test]
fn we_read_what_gnu_tar_writes() {
    let temp = TempDir::new("tar-in");
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let long = "long-".repeat(30);
    std::fs::create_dir(tree.join(&long)).unwrap();
    std::fs::write(tree.join(&long).join(OsStr::from_bytes(b"caf\xe9")), "content").unwrap();
    std::os::unix::fs::symlink("t/".repeat(70), tree.join("link")).unwrap();
    // Data, a hole, data, and a hole at the end.
    let holes = std::fs::File::create(tree.join("holes")).unwrap();
    let mut expected_holes = vec![0; 6 << 20];
    for at in (0..40_usize).map(|n| n * 128 * 1024 + 4096) {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"data", at as u64).unwrap();
        expected_holes[at..at + 4].copy_from_slice(b"data");
    }
    holes.set_len(6 << 20).unwrap();

    for format in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        let mut arguments = format.to_vec();
        arguments.extend(["--sort=name", "--mtime=@1700000000", "-C", "tree", "-cf", "a.tar", "."]);
        let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
        run(temp.path(), "tar", &arguments);
        let archive = std::fs::read(temp.path().join("a.tar")).unwrap();
        if format.contains(&"--sparse") {
            assert!(archive.len() < 2 << 20, "{format:?}: not sparse");
        }
        let entries = read(&archive).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let paths: Vec<&[u8]> = entries.iter().map(|(entry, _)| entry.path.as_slice()).collect();
        let below = [long.as_bytes(), b"/caf\xe9"].concat();
        let expected: [&[u8]; 5] = [b"", b"holes", b"link", long.as_bytes(), &below];
        assert_eq!(paths, expected, "{format:?}");
        assert!(entries.iter().all(|(entry, _)| entry.mtime == 1_700_000_000));
        assert_eq!(entries[1].0.kind, Kind::File { size: 6 << 20 }, "{format:?}");
        assert!(entries[1].1 == expected_holes, "{format:?}");
        assert_eq!(entries[2].0.kind, Kind::Symlink { target: "t/".repeat(70).into() });
        assert_eq!(entries[4].1, b"content");
    }
}
