//! What a step leaves in its layer, as other programs read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tar::{EntryType, Header};

use crate::support::{Identity, Image, Layer, Options, Registry, WorkDir, base, tool};

/// When the base was made, in seconds.
const EPOCH: u64 = 1_714_979_289;

/// What holds for every layer: no path twice, and parents before children.
fn check(layer: &Layer) {
    let mut seen = BTreeSet::new();
    for path in layer.paths() {
        let parent = Path::new(path).parent().unwrap().to_str().unwrap();
        assert!(parent.is_empty() || seen.contains(parent), "{path} before {parent}");
        assert!(seen.insert(path), "{path} twice");
    }
}

fn listing(image: &Image) -> Vec<String> {
    check(image.top());
    image.top().entries.iter().map(ToString::to_string).collect()
}

/// Isolations that this user has; each must make the same layer.
fn isolations() -> &'static [&'static str] {
    match Identity::here() {
        Identity::Root => &["namespaces", "chroot"],
        Identity::Subordinate | Identity::Single => &["namespaces"],
    }
}

#[test]
fn a_step_leaves_what_it_changed() {
    let full = ["d 0755 0:0 opt", "d 0755 0:0 opt/full"];
    let with = |more: &[&str]| -> Vec<String> {
        full.iter().chain(more).map(ToString::to_string).collect()
    };
    let only = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
    let long = "n".repeat(200);
    let deep = ["d".repeat(120), "e".repeat(120), "f".repeat(120)].join("/");
    let (deep_1, deep_2) = (&deep[..120], &deep[..241]);
    let rows = [
        // Removed and replaced.
        ("rm /opt/full/a".to_owned(), with(&["- 0000 0:0 opt/full/.wh.a"])),
        ("rm -r /opt/full".to_owned(), only(&["d 0755 0:0 opt", "- 0000 0:0 opt/.wh.full"])),
        ("rm /opt/full/a && mkdir /opt/full/a".to_owned(), with(&["d 0755 0:0 opt/full/a"])),
        (
            "rm -r /opt/full && echo x > /opt/full".to_owned(),
            only(&["d 0755 0:0 opt", "- 0644 0:0 opt/full"]),
        ),
        ("rm /opt/full/a && ln -s b /opt/full/a".to_owned(), with(&["l 0777 0:0 opt/full/a -> b"])),
        (
            "mv /opt/full/a /opt/full/z".to_owned(),
            with(&["- 0000 0:0 opt/full/.wh.a", "- 0644 0:0 opt/full/z"]),
        ),
        // Added and changed.
        ("echo x >> /opt/full/a".to_owned(), with(&["- 0644 0:0 opt/full/a"])),
        ("chmod 600 /opt/full/a".to_owned(), with(&["- 0600 0:0 opt/full/a"])),
        ("chmod 700 /opt/full".to_owned(), only(&["d 0755 0:0 opt", "d 0700 0:0 opt/full"])),
        (
            "mkdir -p /a/b && touch /a/b/c".to_owned(),
            only(&["d 0755 0:0 a", "d 0755 0:0 a/b", "- 0644 0:0 a/b/c"]),
        ),
        // Links.
        (
            "echo 1 > /x && ln /x /y && mkdir /z && ln /x /z/w".to_owned(),
            only(&["- 0644 0:0 x", "h 0644 0:0 y -> x", "d 0755 0:0 z", "h 0644 0:0 z/w -> x"]),
        ),
        (
            "ln -s / /tmp/root && ln -s nowhere/../.. /tmp/nowhere".to_owned(),
            only(&[
                "d 1777 0:0 tmp",
                "l 0777 0:0 tmp/nowhere -> nowhere/../..",
                "l 0777 0:0 tmp/root -> /",
            ]),
        ),
        // Other kinds and modes.
        ("mkfifo -m 620 /tmp/p".to_owned(), only(&["d 1777 0:0 tmp", "p 0620 0:0 tmp/p"])),
        (
            "touch /x && chmod 6755 /x && mkdir /y && chmod 3777 /y".to_owned(),
            only(&["- 6755 0:0 x", "d 3777 0:0 y"]),
        ),
        (
            "echo x > /x && chmod 0 /x && mkdir -m 0 /y".to_owned(),
            only(&["- 0000 0:0 x", "d 0000 0:0 y"]),
        ),
        // Names.
        (format!("touch /{long}"), only(&[&format!("- 0644 0:0 {long}")])),
        (
            format!("mkdir -p /{deep} && touch /{deep}/f"),
            only(&[
                &format!("d 0755 0:0 {deep_1}"),
                &format!("d 0755 0:0 {deep_2}"),
                &format!("d 0755 0:0 {deep}"),
                &format!("- 0644 0:0 {deep}/f"),
            ]),
        ),
        (format!("ln -s /{deep} /x"), only(&[&format!("l 0777 0:0 x -> /{deep}")])),
        (
            "touch \"$(printf '/\\377\\376')\" '/ü' '/a b' '/.wx'".to_owned(),
            only(&[
                "- 0644 0:0 .wx",
                "- 0644 0:0 a b",
                "- 0644 0:0 ü",
                "- 0644 0:0 \u{fffd}\u{fffd}",
            ]),
        ),
    ];
    let work = WorkDir::new();
    for isolation in isolations() {
        for (script, expected) in &rows {
            work.build(&format!("FROM {{base}}\nRUN {script}\n"))
                .flags(["--isolation", isolation, "--no-cache"])
                .succeeds();
            assert_eq!(listing(&work.image()), *expected, "{isolation}: {script}");
        }
        for script in ["true", "cat /etc/passwd", "touch /x && rm /x", "ls -R /opt /etc /tmp"] {
            work.build(&format!("FROM {{base}}\nRUN {script}\n"))
                .flags(["--isolation", isolation, "--no-cache"])
                .succeeds();
            let image = work.image();
            assert_eq!(image.layers.len(), 2, "{isolation}: {script}: {image}");
            let last = image.config["history"].as_array().unwrap().last().unwrap();
            assert_eq!(last["empty_layer"], true, "{script}");
        }
    }
}

#[test]
fn owners_are_kept_or_refused_with_advice() {
    let work = WorkDir::new();
    let script = "chown 5:50 /opt/full/a && touch /x && chown -h 1000:1000 /x && chown 60000 /opt";
    let build = work.build(&format!("FROM {{base}}\nRUN {script}\n"));
    match Identity::here() {
        Identity::Root | Identity::Subordinate => {
            build.succeeds();
            let expected = [
                "d 0755 60000:0 opt",
                "d 0755 0:0 opt/full",
                "- 0644 5:50 opt/full/a",
                "- 0644 1000:1000 x",
            ];
            assert_eq!(listing(&work.image()), expected);
        }
        Identity::Single => {
            build.fails(1).says("hint: steps have one user id here").says("--add-subuids");
        }
    }
    // The base has files of others, and COPY makes some: those are kept by all.
    let image = work.built(
        "FROM {base}\nCOPY --chown=60000:50 Dockerfile /home/app/\nRUN chmod 700 /home/app && echo >> /home/app/Dockerfile\n",
    );
    let expected =
        ["d 0755 0:0 home", "d 0700 1000:1000 home/app", "- 0644 60000:50 home/app/Dockerfile"];
    assert_eq!(listing(&image), expected);
}

/// A directory that is made anew hides what was in it, whether by one mark or several.
#[test]
fn a_replaced_directory_hides_the_old_one() {
    let registry = Registry::start(Options::default());
    let name = format!("{}/replaced:1", registry.host);
    let work = WorkDir::new();
    let script = "rm -r /opt/full && mkdir /opt/full && echo new > /opt/full/new && rm /etc/group";
    for isolation in isolations() {
        work.build(&format!("FROM {{base}}\nRUN {script}\n"))
            .flags(["--isolation", isolation, "--no-cache", "-t", &name, "--push"])
            .succeeds();
        let image = work.image();
        check(image.top());
        for (path, there) in [
            ("opt/full/a", false),
            ("opt/full/new", true),
            ("etc/group", false),
            ("etc/passwd", true),
        ] {
            assert_eq!(image.entry(path).is_some(), there, "{isolation}: {path}\n{image}");
        }
        let root = image.unpack(&work);
        let names = |dir: &Path| -> Vec<String> {
            let entries = fs::read_dir(dir).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        assert_eq!(names(&root.join("opt/full")), ["new"], "{isolation}");
        assert_eq!(names(&root.join("etc")), ["passwd"], "{isolation}");
        for used in ["bundle", "judged"] {
            fs::rename(work.path(used), work.path(format!("{used}-{isolation}"))).unwrap();
        }
        // And for a build on top of it, in a store that has none of it yet.
        let other = WorkDir::new();
        let top = other.built(&format!(
            "FROM {name}\nRUN ls /opt/full > /tmp/result; ls /etc/group || true\n"
        ));
        assert_eq!(top.text("tmp/result"), "new\n");
        let (below, layers) = (&image.manifest["layers"], &top.manifest["layers"]);
        assert_eq!(layers.as_array().unwrap()[..3], below.as_array().unwrap()[..]);
    }
}

#[test]
fn times_end_at_the_epoch_or_stay() {
    let work = WorkDir::new();
    let dockerfile = "FROM {base}\n\
        RUN touch /new && touch -d @1000 /old && touch -d @4000000000 /future && ln -s x /link\n\
        RUN stat -c '%Y %y' /new /old /future > /tmp/seen; echo $SOURCE_DATE_EPOCH >> /tmp/seen\n\
        COPY Dockerfile /copied\n";
    let times = |image: &Image| -> Vec<u64> {
        ["new", "old", "future", "link", "tmp/seen", "copied", "tmp"]
            .iter()
            .map(|path| image.entry(path).unwrap().mtime)
            .collect()
    };
    let image = work.built(dockerfile);
    assert_eq!(times(&image), [EPOCH, 1000, EPOCH, EPOCH, EPOCH, EPOCH, EPOCH]);
    assert_eq!(image.config["created"], "2024-05-06T07:08:09Z");
    // Later steps see on disk what the layer has, without fractions of a second.
    let seen = image.text("tmp/seen");
    let seen: Vec<&str> = seen.lines().collect();
    assert!(seen[0].starts_with(&EPOCH.to_string()) && seen[0].contains(".000000000"), "{seen:?}");
    assert!(seen[1].starts_with("1000 ") && seen[2].starts_with(&EPOCH.to_string()), "{seen:?}");
    assert_eq!(seen[3], EPOCH.to_string());

    work.build(dockerfile).env("SOURCE_DATE_EPOCH", "1600000000").succeeds();
    let image = work.image();
    let given = 1_600_000_000;
    assert_eq!(times(&image), [given, 1000, given, given, given, given, given]);
    assert_eq!(image.config["created"], "2020-09-13T12:26:40Z");
    assert!(image.text("tmp/seen").ends_with("1600000000\n"));

    let seconds =
        |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let before = seconds(std::time::SystemTime::now());
    let copied =
        seconds(fs::metadata(work.path("context/Dockerfile")).unwrap().modified().unwrap());
    work.build(dockerfile).flags(["--timestamps", "keep"]).succeeds();
    let image = work.image();
    let after = seconds(std::time::SystemTime::now());
    let kept = times(&image);
    assert_eq!(kept[1..3], [1000, 4_000_000_000]);
    for index in [0, 3, 4, 6] {
        assert!((before..=after).contains(&kept[index]), "{kept:?} at {index}");
    }
    assert!((copied..=after).contains(&kept[5]), "{kept:?}");
    assert_ne!(image.config["created"], "2024-05-06T07:08:09Z");
    assert!(image.text("tmp/seen").ends_with("4000000000 2096-10-02 07:06:40.000000000 +0000\n\n"));
}

/// An archive with extended attributes, which busybox has no program for.
fn attributes() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, attribute, value) in [
        ("capable", "security.capability", &CAPABILITY[..]),
        ("noted", "user.note", b"a \xff value"),
    ] {
        let key = format!("SCHILY.xattr.{attribute}");
        tar.append_pax_extensions([(key.as_str(), value)]).unwrap();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o755);
        header.set_size(2);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, &b"x\n"[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// `cap_net_bind_service=ep` as revision 2, without an owner: little-endian words
/// of revision and flag, permitted, inheritable, and the upper halves of both.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn attributes_and_capabilities_are_the_same_for_all_users() {
    let work = WorkDir::new();
    work.write("context/attributes.tar", attributes());
    for isolation in isolations() {
        work.build(
            "FROM {base} AS made\nADD attributes.tar /\n\
             FROM made AS touched\nRUN chmod 750 /capable /noted\n\
             FROM {base}\nCOPY --from=touched /capable /noted /d/\n",
        )
        .flags(["--isolation", isolation, "--target", "touched", "--no-cache"])
        .succeeds();
        let image = work.image();
        for (step, layer) in ["ADD", "RUN chmod"].iter().zip(&image.layers[2..]) {
            let xattrs = |path: &str| layer.entry(path).unwrap().xattrs.clone();
            let capable = [("security.capability".to_owned(), CAPABILITY.to_vec())];
            assert_eq!(xattrs("capable"), capable.into(), "{isolation}, {step}");
            let noted = [("user.note".to_owned(), b"a \xff value".to_vec())];
            assert_eq!(xattrs("noted"), noted.into(), "{isolation}, {step}");
        }
        work.build(&fs::read_to_string(work.path("context/Dockerfile")).unwrap())
            .flags(["--isolation", isolation])
            .succeeds();
        let image = work.image();
        assert_eq!(
            image.top().entry("d/capable").unwrap().xattrs["security.capability"],
            CAPABILITY
        );
        assert_eq!(image.top().entry("d/noted").unwrap().xattrs["user.note"], b"a \xff value");
    }
}

#[test]
fn a_sparse_file_is_small_and_whole() {
    let work = WorkDir::new();
    let image = work.built("FROM {base}\nRUN truncate -s 20M /x && echo end >> /x\n");
    let content = &image.top().entry("x").unwrap().content;
    assert_eq!(content.len(), (20 << 20) + 4);
    assert!(content.ends_with(b"\0end\n") && content[..20 << 20].iter().all(|byte| *byte == 0));
    let size = image.manifest["layers"][2]["size"].as_u64().unwrap();
    assert!(size < 200_000, "{size} bytes for zeros");
}

#[test]
fn history_and_layers_agree() {
    let work = WorkDir::new();
    work.write("context/f", "f");
    let image = work.built(
        "FROM {base}\nENV A=b\nRUN true\nRUN touch /x\nCOPY f /f\nWORKDIR /w\nWORKDIR /w\nCMD [\"x\"]\nLABEL l=1\n",
    );
    let history = image.config["history"].as_array().unwrap();
    let layers = history.iter().filter(|row| row["empty_layer"] != true).count();
    assert_eq!(layers, image.layers.len());
    assert_eq!(image.config["rootfs"]["diff_ids"].as_array().unwrap().len(), layers);
    let by: Vec<&str> = history.iter().map(|row| row["created_by"].as_str().unwrap()).collect();
    assert_eq!(by[..2], ["tree", "accounts"]);
    for (row, word) in by[2..].iter().zip([
        "ENV A=b",
        "true",
        "touch /x",
        "COPY f /f",
        "WORKDIR /w",
        "WORKDIR /w",
        "CMD",
        "LABEL l=1",
    ]) {
        assert!(row.contains(word), "{row:?} for {word:?}");
    }
    assert_eq!(by.len(), 10);
    // A file that is copied into its own place again leaves an image as it was.
    assert_eq!(image.top().paths(), ["w"]);
}

#[test]
fn compression_changes_nothing_but_itself() {
    let work = WorkDir::new();
    let mut contents: Vec<(Value, Vec<u8>)> = Vec::new();
    for (keys, media_type) in [
        ("", "application/vnd.oci.image.layer.v1.tar+gzip"),
        (",compression=gzip,compression-level=9", "application/vnd.oci.image.layer.v1.tar+gzip"),
        (",compression=zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
        (",compression=zstd,compression-level=19", "application/vnd.oci.image.layer.v1.tar+zstd"),
        (",compression=uncompressed", "application/vnd.oci.image.layer.v1.tar"),
    ] {
        work.write(
            "context/Dockerfile",
            format!("FROM {}\nRUN seq 100000 > /x\n", base().reference),
        );
        let output = format!("type=oci,tar=false,dest={}{keys}", work.path("image").display());
        work.yado(["build", "-o", &output, work.path("context").to_str().unwrap()]).succeeds();
        let image = work.image();
        let layers = image.manifest["layers"].as_array().unwrap();
        assert_eq!(layers[..2], base().manifest["layers"].as_array().unwrap()[..], "{keys}");
        assert_eq!(layers[2]["mediaType"], media_type, "{keys}");
        let content = image.top().entry("x").unwrap().content.clone();
        contents.push((image.config["rootfs"]["diff_ids"].clone(), content));
        // Others can read it: skopeo verifies digests and the uncompressed ones.
        let archive = format!("dir:{}", work.path("dir").display());
        let layout = format!("oci:{}", work.path("image").display());
        tool(Command::new("skopeo").args(["--insecure-policy", "copy", &layout, &archive]));
    }
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]), "the content differs");
    for (keys, word) in [
        ("compression=lzma", "lzma"),
        ("compression=gzip,compression-level=99", "99"),
        ("compresion=gzip", "compresion"),
        ("type=zip", "type"),
    ] {
        let output = format!("type=oci,dest=/nowhere,{keys}");
        work.yado(["build", "-o", &output, "."]).fails(64).says(word);
    }
}

/// Layers may be equal; readers of images meet that often, with empty ones.
#[test]
fn equal_layers_are_stacked_like_others() {
    let work = WorkDir::new();
    work.write("context/in/a", "a");
    let image = work
        .built("FROM {base}\nCOPY in /d\nCOPY in/a /d/\nRUN rm /d/a\nCOPY in /d\nRUN ls /d > /e\n");
    assert_eq!(image.text("e"), "a\n");
}
