//! `--output` and the files beside it, as other programs read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Identity, Options, Registry, WorkDir, base, tool};

const DOCKERFILE: &str =
    "FROM {base}\nRUN mkdir /d && echo text > /d/file && chmod 640 /d/file && ln -s file /d/link\n";

/// Writes the context and gives its path.
fn context(work: &WorkDir) -> String {
    work.write("context/Dockerfile", DOCKERFILE.replace("{base}", &base().reference));
    work.path("context").to_str().unwrap().to_owned()
}

/// The manifest's digest, by skopeo from any transport.
fn digest(image: &str) -> String {
    let out = tool(Command::new("skopeo").args([
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        image,
    ]));
    out.trim().to_owned()
}

/// The digests of the layers' archives, which no form of the image changes.
fn diff_ids(image: &str) -> Value {
    let out =
        tool(Command::new("skopeo").args(["inspect", "--tls-verify=false", "--config", image]));
    serde_json::from_str::<Value>(&out).unwrap()["rootfs"]["diff_ids"].clone()
}

/// The same image in each form.
#[test]
fn every_form_of_the_image_is_read_by_skopeo() {
    let work = WorkDir::new();
    let context = context(&work);
    let registry = Registry::start(Options::default());
    let name = |tag: &str| format!("{}/app:{tag}", registry.host);
    let at = |path: &str| work.path(path).to_str().unwrap().to_owned();
    let build = |flags: &[&str]| work.yado(["build", &context]).flags(flags).succeeds();

    build(&["-o", &format!("type=oci,tar=false,dest={}", at("layout"))]);
    let expected = digest(&format!("oci:{}", at("layout")));
    let expected_diff_ids = diff_ids(&format!("oci:{}", at("layout")));
    let to_stdout = |flags: &[&str], path: &str| {
        let out = build(flags);
        work.write(path, &out.bytes);
    };
    build(&["-o", &format!("type=oci,dest={}", at("oci.tar"))]);
    to_stdout(&["-o", "type=oci"], "oci-stdout.tar");
    build(&["-o", &format!("type=image,name={},push=true", name("1"))]);
    build(&["-o", &format!("type=registry,\"name={},{}\"", name("2"), name("3"))]);
    for image in [
        format!("oci-archive:{}", at("oci.tar")),
        format!("oci-archive:{}", at("oci-stdout.tar")),
        format!("docker://{}", name("1")),
        format!("docker://{}", name("2")),
        format!("docker://{}", name("3")),
    ] {
        assert_eq!(digest(&image), expected, "{image}");
        assert_eq!(diff_ids(&image), expected_diff_ids, "{image}");
    }
    assert_eq!(fs::read(at("oci.tar")).unwrap(), fs::read(at("oci-stdout.tar")).unwrap());

    let (one, two) = (name("one"), name("two"));
    build(&["-t", &one, "-t", &two, "-o", &format!("type=docker,dest={}", at("docker.tar"))]);
    to_stdout(&["-t", &one, "-o", "type=docker,dest=-"], "docker-stdout.tar");
    build(&["-t", &one, "-o", &format!("type=docker,tar=false,dest={}", at("docker"))]);
    for image in [
        format!("docker-archive:{}:{one}", at("docker.tar")),
        format!("docker-archive:{}:{two}", at("docker.tar")),
        format!("docker-archive:{}", at("docker-stdout.tar")),
        format!("oci:{}", at("docker")),
        // docker load since 25 reads the layout in the same archive.
        format!("oci-archive:{}:one", at("docker.tar")),
    ] {
        assert_eq!(diff_ids(&image), expected_diff_ids, "{image}");
    }
}

/// The files of the image, as an archive and as a directory.
#[test]
fn the_files_come_as_an_archive_or_a_directory() {
    let work = WorkDir::new();
    let context = context(&work);
    let at = |path: &str| work.path(path).to_str().unwrap().to_owned();
    let build = |output: &str| work.yado(["build", &context]).flags(["-o", output]).succeeds();
    build(&format!("type=tar,dest={}", at("files.tar")));
    let piped = build("-");
    assert_eq!(fs::read(at("files.tar")).unwrap(), piped.bytes);
    let listing = tool(Command::new("tar").args(["--numeric-owner", "-tvf", &at("files.tar")]));
    let of = |name: &str| {
        let line = listing
            .lines()
            .find(|line| line.ends_with(name))
            .unwrap_or_else(|| panic!("{name} in {listing}"));
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    for (name, expected) in [
        (" d/file", "-rw-r----- 0/0"),
        (" d/link -> file", "lrwxrwxrwx 0/0"),
        (" d/", "drwxr-xr-x 0/0"),
        (" home/app/", "drwxr-x--- 1000/1000"),
        (" tmp/", "drwxrwxrwt 0/0"),
        (" bin/busybox", "-rwxr-xr-x 0/0"),
    ] {
        assert_eq!(of(name), expected, "{name}");
    }
    let names: Vec<&str> = listing.lines().collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    assert!(!listing.contains(".wh."), "{listing}");

    // `-o DIR`; what is there already stays, and the directory is as it was.
    work.write("local/mine", "kept");
    fs::set_permissions(work.path("local"), fs::Permissions::from_mode(0o700)).unwrap();
    for _ in ["into what is there", "once more over itself"] {
        build(&at("local"));
    }
    let root = work.path("local");
    assert_eq!(fs::read_to_string(root.join("mine")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(root.join("d/link")).unwrap(), "text\n");
    assert_eq!(fs::read_link(root.join("d/link")).unwrap(), Path::new("file"));
    assert_eq!(fs::metadata(root.join("d/file")).unwrap().permissions().mode() & 0o7777, 0o640);
    assert!(root.join("etc/passwd").is_file());
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o700);
    // Only root can have files of others; a user's are his, so that he can remove them.
    let owner = match Identity::here() {
        Identity::Root => 1000,
        Identity::Subordinate | Identity::Single => rustix::process::getuid().as_raw(),
    };
    assert_eq!(fs::metadata(root.join("home/app")).unwrap().uid(), owner);
    build(&format!("type=local,dest={}", at("fresh/below")));
    assert!(root.parent().unwrap().join("fresh/below/etc/passwd").is_file());
}

/// A file of the image replaces a file or an empty directory, never what a directory holds.
#[test]
fn a_directory_output_removes_no_directory() {
    let work = WorkDir::new();
    work.write("context/Dockerfile", "FROM scratch\nCOPY in /\n");
    work.write("context/in/plain", "of the image");
    work.write("context/in/dir/file", "of the image");
    std::os::unix::fs::symlink("plain", work.path("context/in/link")).unwrap();
    let (context, local) = (work.path("context"), work.path("local"));
    let build = || work.yado(["build", context.to_str().unwrap(), "-o", local.to_str().unwrap()]);
    for name in ["plain", "link"] {
        let kept = work.write(&format!("local/{name}/keep/file"), "mine");
        build()
            .fails(73)
            .says(&format!("cannot copy a file over a directory that is not empty at /{name}"));
        assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
        fs::remove_dir_all(&local).unwrap();
    }
    for name in ["plain", "link"] {
        fs::create_dir_all(local.join(name)).unwrap();
    }
    // A file where a directory goes, and beside it.
    work.write("local/dir", "mine");
    work.write("local/other/file", "mine");
    build().succeeds();
    assert_eq!(fs::read_to_string(local.join("plain")).unwrap(), "of the image");
    assert_eq!(fs::read_link(local.join("link")).unwrap(), Path::new("plain"));
    assert_eq!(fs::read_to_string(local.join("dir/file")).unwrap(), "of the image");
    assert_eq!(fs::read_to_string(local.join("other/file")).unwrap(), "mine");
}

/// Where the tree of `type=local` goes, links that stand there lead nowhere.
#[test]
fn a_directory_output_follows_no_link() {
    let work = WorkDir::new();
    let context = context(&work);
    work.write("elsewhere/file", "canary");
    fs::create_dir(work.path("local")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", work.path("local/d")).unwrap();
    work.yado(["build", &context]).flags(["-o", work.path("local").to_str().unwrap()]).run();
    assert_eq!(fs::read_to_string(work.path("elsewhere/file")).unwrap(), "canary");
    assert_eq!(fs::read_dir(work.path("elsewhere")).unwrap().count(), 1);
}

/// What a script reads after a build.
#[test]
fn ids_and_metadata_are_written() {
    let work = WorkDir::new();
    let context = context(&work);
    let registry = Registry::start(Options::default());
    let names = [format!("{}/app:1", registry.host), format!("{}/other:2", registry.host)];
    let iid = work.path("iid");
    let metadata = work.path("metadata.json");
    let out = work
        .yado(["build", &context])
        .flags(["-q", "--push", "-t", &names[0], "-t", &names[1]])
        .flags(["--iidfile", iid.to_str().unwrap(), "--metadata-file", metadata.to_str().unwrap()])
        .succeeds();
    assert_eq!(out.stderr, "");
    let printed = out.stdout.strip_suffix('\n').unwrap();
    for name in &names {
        assert_eq!(digest(&format!("docker://{name}")), printed);
    }
    let raw = tool(Command::new("skopeo").args([
        "inspect",
        "--tls-verify=false",
        "--raw",
        &format!("docker://{}", names[0]),
    ]));
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    assert_eq!(fs::read_to_string(&iid).unwrap(), config);
    let metadata: Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], printed);
    assert_eq!(metadata["containerimage.config.digest"], config);
    assert_eq!(metadata["image.name"], names.join(","));
    assert_eq!(metadata["containerimage.descriptor"]["digest"], printed);
    assert_eq!(metadata["containerimage.descriptor"]["size"], raw.len());

    // Without an output the image is in the store, under its names.
    let (one, two) = ("localhost:1/a:1", "localhost:1/b:2");
    work.yado(["build", &context]).flags(["-t", one, "-t", two]).succeeds();
    let listed = work.yado(["store", "du"]).succeeds().stdout;
    for name in [one, two] {
        assert!(listed.contains(&format!("{name} {printed}")), "{listed}");
    }
}

/// Layers are compressed as asked, and are the same archives whatever the compression.
#[test]
fn layers_are_compressed_as_asked() {
    let work = WorkDir::new();
    let noise = |seed: u64| -> Vec<u8> {
        let mut state = seed;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 60) as u8 + b'a'
        };
        (0..300_000).map(step).collect()
    };
    work.write("context/letters", noise(7));
    work.write("context/Dockerfile", "FROM scratch\nCOPY letters /\n");
    let context = work.path("context");
    let mut sizes = Vec::new();
    let mut archives = BTreeSet::new();
    for (keys, suffix, magic) in [
        ("", "+gzip", &[0x1f, 0x8b][..]),
        (",compression=gzip,compression-level=1", "+gzip", &[0x1f, 0x8b]),
        (",compression=gzip,compression-level=9", "+gzip", &[0x1f, 0x8b]),
        (",compression=zstd", "+zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
        (",compression=zstd,compression-level=19", "+zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
        (",compression=uncompressed", "", b"letters\0"),
    ] {
        let output = format!("type=oci,tar=false,dest={}{keys}", work.path("image").display());
        work.yado(["build", "--no-cache", context.to_str().unwrap()])
            .flags(["-o", &output])
            .succeeds();
        let image = work.image();
        let layer = &image.manifest["layers"][0];
        assert_eq!(
            layer["mediaType"],
            format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            "{keys}"
        );
        let blob =
            work.path("image/blobs").join(layer["digest"].as_str().unwrap().replace(':', "/"));
        let bytes = fs::read(&blob).unwrap();
        assert!(bytes.starts_with(magic), "{keys}: {:x?}", &bytes[..8]);
        assert_eq!(layer["size"], bytes.len());
        archives.insert(image.config["rootfs"]["diff_ids"].to_string());
        sizes.push(bytes.len());
    }
    assert_eq!(archives.len(), 1);
    assert!(sizes[1] > sizes[2] && sizes[3] > sizes[4], "{sizes:?}");
    assert!(sizes[5] > 300_000, "{sizes:?}");
    for (keys, says) in [
        ("compression=brotli", "brotli"),
        ("compression=gzip,compression-level=13", "level"),
        ("compression=gzip,compression-level=high", "level"),
        ("compression-levle=1", "compression-levle"),
    ] {
        let output = format!("type=oci,dest=/dev/null,{keys}");
        work.yado(["build", context.to_str().unwrap()]).flags(["-o", &output]).fails(64).says(says);
    }
}

/// The names of the events and their fields, as docs/events.md has them; of a field, whether
/// it is always there.
fn documented(text: &str) -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut events = BTreeMap::new();
    let mut event = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### `") {
            let name = name.trim_end_matches('`').to_owned();
            events.insert(name.clone(), BTreeMap::new());
            event = Some(name);
        } else if let Some(row) = line.strip_prefix("| `")
            && let Some(fields) = event.as_ref().and_then(|event| events.get_mut(event))
        {
            fields.insert(row.split('`').next().unwrap().to_owned(), !row.contains("absent"));
        }
    }
    events
}

/// Each line of `--progress=json` is what docs/events.md says.
#[test]
fn json_lines_are_the_documented_events() {
    let documented = documented(include_str!("../../docs/events.md"));
    assert!(documented.len() > 8, "{documented:?}");
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = format!("{}/app:1", registry.host);
    let run = |dockerfile: &str, code: i32| {
        let output = work.build(dockerfile).flags(["--progress=json", "-t", &name, "--push"]).run();
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        let mut lines = Vec::new();
        for line in output.stderr.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let object = event.as_object().unwrap();
            let kind = event["event"].as_str().unwrap().to_owned();
            let mut fields: BTreeSet<String> = object.keys().cloned().collect();
            assert!(fields.remove("time") && fields.remove("event"), "{line}");
            let known = documented.get(&kind).unwrap_or_else(|| panic!("{line}"));
            assert!(fields.iter().all(|field| known.contains_key(field)), "{line}");
            let always = known.iter().filter(|(_, always)| **always);
            assert!(always.clone().all(|(field, _)| fields.contains(field)), "{line}");
            lines.push((kind, event));
        }
        assert_eq!(lines[0].0, "begin");
        lines
    };
    let lines = run("FROM {base}\nCOYP a b\n", 65);
    assert_eq!(lines.last().unwrap().0, "failed");
    let lines =
        run("FROM {base}\nRUN echo out; printf '\\377\\033[1m\"\\n' >&2\nRUN touch /x\n", 0);
    let kinds: BTreeSet<&str> = lines.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in [
        "note",
        "step-started",
        "step-output",
        "step-finished",
        "transfer-started",
        "transfer-progress",
        "transfer-finished",
        "finished",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
    let output: Vec<_> = lines
        .iter()
        .filter(|(kind, _)| kind == "step-output")
        .map(|(_, e)| (e["stream"].as_str().unwrap(), e["line"].as_str().unwrap()))
        .collect();
    assert!(
        output.contains(&("stdout", "out")) && output.contains(&("stderr", "\u{fffd}\u{1b}[1m\"")),
        "{output:?}"
    );
    let (last, finished) = lines.last().unwrap();
    assert_eq!(last, "finished");
    assert_eq!(finished["names"], serde_json::json!([name]));
    assert_eq!(finished["image"], digest(&format!("docker://{name}")));
    let lines = run("FROM {base}\nRUN echo last words; exit 9\n", 9);
    let last = lines.last().unwrap();
    assert_eq!(last.0, "failed");
    assert!(
        last.1["message"].as_str().unwrap().contains("Dockerfile:2: RUN echo last words"),
        "{last:?}"
    );
    assert!(lines.iter().any(|(kind, _)| kind == "step-failed"));
}

/// `--progress=plain` has whole lines and no control characters, whoever writes them.
#[test]
fn plain_lines_are_plain() {
    let work = WorkDir::new();
    let output = work
        .build("FROM {base}\nRUN printf 'a\\rb\\033[31mred\\n\\007'; exit 3\n")
        .flags(["--progress=plain"])
        .fails(3)
        .says("Dockerfile:2: RUN printf");
    assert!(output.stderr.ends_with('\n'));
    let control = output.stderr.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{:?}", output.stderr);
    assert!(output.stderr.contains("red"), "{}", output.stderr);
    assert_eq!(output.stdout, "");
}

/// An output that cannot be written: its own exit code, its name, and no part of it left.
#[test]
fn what_cannot_be_written_leaves_nothing() {
    let work = WorkDir::new();
    let context = context(&work);
    work.write("file", "a file");
    fs::create_dir(work.path("dir")).unwrap();
    let at = |path: &str| work.path(path).to_str().unwrap().to_owned();
    let listing = || -> BTreeSet<_> {
        let names =
            |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
        names(&work.path(".")).into_iter().chain(names(&work.path("dir"))).collect()
    };
    work.yado(["build", &context]).succeeds();
    let before = listing();
    let (below_file, no_dir, dir) = (at("file/x"), at("none/x"), at("dir"));
    for (flags, says) in [
        (["-o".to_owned(), format!("type=oci,dest={below_file}")], below_file.as_str()),
        (["-o".to_owned(), format!("type=docker,dest={no_dir}")], &no_dir),
        (["-o".to_owned(), format!("type=tar,dest={no_dir}")], &no_dir),
        (["-o".to_owned(), format!("type=oci,dest={dir}")], &dir),
        (["-o".to_owned(), format!("type=oci,tar=false,dest={below_file}")], &below_file),
        (["-o".to_owned(), format!("type=local,dest={below_file}")], &below_file),
        (["-o".to_owned(), "type=oci,dest=/dev/full".to_owned()], "No space left"),
        (["-o".to_owned(), "type=tar,dest=/dev/full".to_owned()], "No space left"),
        (["--iidfile".to_owned(), no_dir.clone()], &no_dir),
        (["--metadata-file".to_owned(), below_file.clone()], &below_file),
    ] {
        let out = work.yado(["build", &context]).flags(&flags).fails(73).says(says);
        assert_eq!(out.stdout, "");
        assert_eq!(listing(), before, "{flags:?}");
    }
    // A device is written to and stays what it is.
    work.yado(["build", &context]).flags(["-o", "type=tar,dest=/dev/null"]).succeeds();
    let mut null = Vec::new();
    fs::File::open("/dev/null").unwrap().read_to_end(&mut null).unwrap();
    assert!(null.is_empty());
}

/// Zeroes some bytes in the middle of a file, whose size stays.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0);
    fs::write(path, bytes).unwrap();
}

/// What the disk has made of a blob is found when it leaves the store, and put right.
#[test]
fn a_damaged_blob_is_not_exported() {
    let work = WorkDir::new();
    let context = context(&work);
    let at = |path: &str| work.path(path).to_str().unwrap().to_owned();
    let build = |output: &str| work.yado(["build", &context]).flags(["-o", output]);
    let layout = format!("type=oci,tar=false,dest={}", at("layout"));
    build(&layout).succeeds();
    let expected = digest(&format!("oci:{}", at("layout")));
    let manifest: Value = {
        let path = work.path("layout/blobs").join(expected.replace(':', "/"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    // One layer of the base's, and one that was made here.
    for layer in [&manifest["layers"][0], manifest["layers"].as_array().unwrap().last().unwrap()] {
        let layer = layer["digest"].as_str().unwrap();
        let blob = format!("blobs/{}", layer.replace(':', "/"));
        let says = format!("blob {layer} of the store was damaged");
        for output in [
            format!("type=oci,dest={}", at("image.tar")),
            format!("type=docker,dest={}", at("image.tar")),
            format!("type=oci,tar=false,dest={}", at("fresh")),
        ] {
            damage(&work.path("store").join(&blob));
            build(&output).fails(74).says(&says);
            assert!(!work.path("image.tar").exists() && !work.path("fresh/index.json").exists());
            let left = fs::read_dir(work.path(".")).unwrap().map(|e| e.unwrap().file_name());
            let left: Vec<_> = left.filter(|n| n.to_string_lossy().contains("partial")).collect();
            assert!(left.is_empty(), "{left:?}");
            // As it says: once more.
            build(&output).succeeds();
            let _ = fs::remove_file(work.path("image.tar"));
            let _ = fs::remove_dir_all(work.path("fresh"));
        }
        // A layout that is written again, where a blob has gone bad meanwhile.
        damage(&work.path("layout").join(&blob));
        build(&layout).succeeds();
        assert_eq!(digest(&format!("oci:{}", at("layout"))), expected);
        let bytes = fs::read(work.path("layout").join(&blob)).unwrap();
        assert_eq!(bytes, fs::read(work.path("store").join(&blob)).unwrap());
    }
}

/// In a directory of everybody's, a link that waits under the name of the unfinished file leads nowhere.
#[test]
fn a_planted_link_is_not_written_through() {
    let work = WorkDir::new();
    let context = context(&work);
    work.yado(["build", &context]).succeeds();
    work.write("precious", "untouched");
    // The name has the number of the process: a shell makes the link, and becomes yado.
    let script = "ln -s \"$1\" \"$2.$$.partial\" && shift 2 && exec \"$@\"";
    for (output, partial, image) in [
        ("type=oci,dest=image.tar", ".image.tar", "oci-archive:image.tar"),
        ("type=tar,dest=files.tar", ".files.tar", ""),
        ("type=oci,tar=false,dest=layout", "layout/.index.json", "oci:layout"),
    ] {
        fs::create_dir_all(work.path("layout")).unwrap();
        let precious = work.path("precious").to_str().unwrap().to_owned();
        let build = work.yado(["build", &context]).flags(["-o", output]).dir(work.path("."));
        build.under(["sh", "-c", script, "sh", &precious, partial]).succeeds();
        assert_eq!(fs::read_to_string(work.path("precious")).unwrap(), "untouched", "{output}");
        if let Some((transport, path)) = image.split_once(':') {
            digest(&format!("{transport}:{}", work.path(path).display()));
        }
        let names = |dir: &str| {
            let entries = fs::read_dir(work.path(dir)).unwrap();
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let left = [names("."), names("layout")].concat();
        assert!(!left.iter().any(|name| name.contains("partial")), "{left:?}");
    }
}

/// A layout whose index cannot be put in its place keeps no unfinished file.
#[test]
fn an_unfinished_layout_keeps_no_partial_file() {
    let work = WorkDir::new();
    let context = context(&work);
    work.write("layout/index.json/in-the-way", "");
    let output = format!("type=oci,tar=false,dest={}", work.path("layout").display());
    work.yado(["build", &context]).flags(["-o", &output]).fails(73).says("layout/index.json");
    let names = fs::read_dir(work.path("layout")).unwrap();
    let names: BTreeSet<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["blobs", "index.json"].map(str::to_owned).into());
}
