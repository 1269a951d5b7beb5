//! Mistakes and misfortunes: short errors that say what, where and what to do,
//! an exit code for each kind, and nothing used later that is not whole.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Identity, Options, Registry, WorkDir, base};

/// All mistakes of a file at once, each with its place and the words underlined.
#[test]
fn a_wrong_dockerfile_shows_all_its_mistakes() {
    let work = WorkDir::new();
    let text = "FROM scratch\nCOYP a b\n\tHEALTHCHECK --intervall=3s CMD x\nWORKDIR\nENV a\nCOPY --form=base a b\nNONSENSE\n";
    let output = work.build(text).fails(65);
    for (place, problem, line, marks, help) in [
        ("2:1", "unknown instruction \"COYP\"", "COYP a b", "^^^^", "did you mean COPY?"),
        (
            "3:14",
            "HEALTHCHECK has no flag --intervall",
            "    HEALTHCHECK --intervall=3s CMD x",
            "                ^^^^^^^^^^^^^^",
            "did you mean --interval?",
        ),
        ("4:1", "WORKDIR needs an argument", "WORKDIR", "^^^^^^^", ""),
        ("5:5", "ENV without a value", "ENV a", "    ^", "write ENV a=value"),
        (
            "6:6",
            "COPY has no flag --form",
            "COPY --form=base a b",
            "     ^^^^^^^^^^^",
            "did you mean --from?",
        ),
        ("7:1", "unknown instruction \"NONSENSE\"", "NONSENSE", "^^^^^^^^", ""),
    ] {
        let number = place.split(':').next().unwrap();
        let mut shown =
            format!("Dockerfile:{place}: error: {problem}\n {number} | {line}\n   | {marks}\n");
        if !help.is_empty() {
            shown.extend(["help: ", help, "\n"]);
        }
        assert!(output.stderr.contains(&shown), "{shown}\nis not in\n{}", output.stderr);
    }
    assert_eq!(output.stderr.matches("error:").count(), 6, "{}", output.stderr);
}

/// Mistakes that are alone in their file.
#[test]
fn a_wrong_dockerfile_is_exit_code_65() {
    let work = WorkDir::new();
    work.write("context/file", "x");
    for (text, says) in [
        ("", "Dockerfile"),
        ("# only a comment\n", "Dockerfile"),
        ("RUN true\n", "Dockerfile:1:1"),
        ("FROM scratch\nEXPOSE eighty\n", "Dockerfile:2:8: error: \"eighty\" is no port"),
        ("FROM scratch\nSTOPSIGNAL NOPE\n", "Dockerfile:2:12: error: \"NOPE\" is no signal"),
        ("FROM scratch\nLABEL \"a=b\n", "Dockerfile:2:7: error: missing closing quote"),
        ("FROM scratch\nCOPY --chmod=999 file /\n", "Dockerfile:2:6: error: \"999\" is no mode"),
        ("FROM scratch\nONBUILD FROM x\n", "Dockerfile:2"),
        ("FROM scratch\nRUN <<EOF\ntrue\n", "Dockerfile:2"),
        ("FROM $UNSET\n", "Dockerfile:1:6"),
        (
            "FROM scratch\nCOPY --link --chown=app file /\n",
            "Dockerfile:2:13: error: with --link there are no names to find \"app\" by",
        ),
        ("FROM scratch\nENV A=\"${B:?is needed}\"\n", "is needed"),
        // Understood, but not done yet: never done differently in silence.
        ("FROM scratch\nRUN --device=x true\n", "2:5: error: RUN --device is not supported yet"),
        (
            "FROM scratch\nADD --checksum=sha256:aa file /x\n",
            "2:5: error: --checksum is for a URL or a git repository",
        ),
    ] {
        let output = work.build(text).fails(65).says(says);
        assert!(!work.path("image").exists(), "{text}: {}", output.stderr);
    }
    work.write("context/Dockerfile", b"FROM scratch\nLABEL a=\xff\xfe\n");
    let context = work.path("context");
    work.yado(["build", context.to_str().unwrap()]).fails(65).says("is not UTF-8");
}

/// What is typed wrong, and what is not there.
#[test]
fn flags_and_files_have_their_codes() {
    let work = WorkDir::new();
    work.write("context/Dockerfile", "FROM scratch\nLABEL a=b\n");
    work.write("missing/Dockerfile", "FROM scratch\nCOPY nothing /\n");
    work.write("other/Containerfile", "FROM scratch\n");
    fs::create_dir(work.path("empty")).unwrap();
    work.write("ignored/Dockerfile", "FROM scratch\nCOPY secret /\n");
    work.write("ignored/secret", "x");
    work.write("ignored/.dockerignore", "secret\n");
    for (args, code, says) in [
        (&["bild", "."][..], 64, "build"),
        (&["build"], 64, "<PATH>"),
        (&["build", "--nope", "context"], 64, "--nope"),
        (&["build", "--outptu", "x", "context"], 64, "--output"),
        (&["build", "-o", "type=nope", "context"], 64, "unknown type \"nope\""),
        (&["build", "-o", "type=oci,tar=false", "context"], 64, "dest= is missing"),
        (&["build", "-t", "a/UPPER", "context"], 64, "UPPER"),
        (
            &[
                "build",
                "-t",
                "a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                "context",
            ],
            64,
            "digest",
        ),
        (&["build", "--network", "bridge", "context"], 64, "expected default, host or none"),
        (&["build", "--add-host", "name", "context"], 64, "HOST:IP"),
        (&["build", "--add-host", "name:address", "context"], 64, "is not an IP address"),
        (&["build", "--label", "name", "context"], 64, "NAME=VALUE"),
        (&["build", "--platform", "a/b/c/d", "context"], 64, "a/b/c/d"),
        (&["build", "--isolation", "vm", "context"], 64, "namespaces"),
        (&["build", "--annotation", "index:a=b", "context"], 64, "index"),
        (&["build", "none"], 66, "the build context none is not there"),
        (&["build", "context/Dockerfile"], 66, "not a directory; a Dockerfile is named with -f"),
        (&["build", "empty"], 66, "there is no file empty/Dockerfile; name it with -f"),
        (&["build", "other"], 66, "there is a Containerfile: name it with -f"),
        (&["build", "-f", "none.txt", "context"], 66, "there is no file none.txt"),
        (&["build", "-f", "empty", "context"], 66, "empty"),
        (&["build", "missing"], 66, "nothing is not in the build context"),
        (&["build", "ignored"], 66, "excluded by the ignore file"),
        (&["build", "--target", "nope", "context"], 65, "nope"),
        (&["exec", "-v", "/none:/x", "scratch:1"], 64, "/none is not there"),
        (&["exec", "-v", "context", "scratch:1"], 64, "SOURCE:TARGET"),
    ] {
        let output = work.yado(args).fails(code).says(says);
        assert_eq!(output.stdout, "", "{args:?}");
    }
}

/// Links in the context lead to nothing outside of it.
#[test]
fn links_out_of_the_context_lead_nowhere() {
    const SECRET: &str = "canary 5f1d";
    let work = WorkDir::new();
    work.write("outside/secret", SECRET);
    work.write("context/inner/file", "inside");
    let outside = work.path("outside");
    let link = |target: &str, at: &str| symlink(target, work.path("context").join(at)).unwrap();
    link("../outside/secret", "relative");
    link(outside.join("secret").to_str().unwrap(), "absolute");
    link("../outside", "dir");
    link(outside.to_str().unwrap(), "absolute-dir");
    link("../../outside", "inner/deep");
    link("/proc/self/root", "process");
    link("inner", "inside");
    for (sources, code) in [
        ("relative", 66),
        ("absolute", 66),
        ("dir/secret", 66),
        ("dir/", 66),
        ("absolute-dir/secret", 66),
        ("inner/deep/secret", 66),
        ("../outside/secret", 66),
        ("/../outside/secret", 66),
        ("inner/../../outside/secret", 66),
        ("process/etc/passwd", 66),
        // A pattern may match nothing.
        ("d*/secret", 0),
        ("inside/file", 0),
        ("../inner/file", 0),
        (".", 0),
        ("inner", 0),
    ] {
        for keyword in ["COPY", "ADD"] {
            let text = format!("FROM scratch\n{keyword} {sources} /copied/\n");
            let output = work.build(&text).run().with_code(code);
            if code == 0 {
                let image = work.image();
                for layer in &image.layers {
                    for entry in &layer.entries {
                        assert!(
                            !entry.content.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()),
                            "{sources}: {entry}"
                        );
                    }
                }
            } else {
                assert!(output.stderr.contains("context"), "{sources}: {}", output.stderr);
            }
        }
    }
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), SECRET);
}

/// `unshare` and a shell that makes a file system of `size` the store.
fn with_small_store(work: &WorkDir, options: &str, script: &str) -> Vec<String> {
    let store = work.path("store");
    fs::create_dir_all(&store).unwrap();
    let mut words: Vec<String> =
        ["unshare", "--mount", "--propagation", "private"].map(str::to_owned).to_vec();
    if Identity::here() != Identity::Root {
        words.push("--map-root-user".to_owned());
    }
    let store = store.display();
    words.extend(["sh".to_owned(), "-c".to_owned()]);
    words.push(
        format!("mount -t tmpfs -o {options} tmpfs {store} || exit 99\n{script}")
            .replace("STORE", &store.to_string()),
    );
    words.push("sh".to_owned());
    words
}

/// A full disk: named, with its own exit code; with more room the same store goes on.
#[test]
fn a_full_disk_is_named_and_survived() {
    let registry = Registry::start(Options::default());
    let noise = {
        let mut state: u64 = 1;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..5_000_000).map(step).collect::<Vec<u8>>()
    };
    let name = format!("{}/noise:1", registry.host);
    let first = WorkDir::new();
    first.write("context/noise", &noise);
    first.build("FROM scratch\nCOPY noise /noise\n").flags(["-t", &name, "--push"]).succeeds();
    for (what, dockerfile, free) in [
        ("copying", "FROM scratch\nCOPY noise /noise\nWORKDIR /noises\n".to_owned(), 3),
        ("writing the layer", "FROM scratch\nCOPY noise /noise\nWORKDIR /noises\n".to_owned(), 8),
        ("pulling", format!("FROM {name}\nWORKDIR /usr/new\n"), 3),
        ("unpacking", format!("FROM {name}\nWORKDIR /usr/new\n"), 8),
    ] {
        let work = WorkDir::new();
        work.write("context/noise", &noise);
        // What is not free is taken by a file, which then goes.
        let script = format!(
            "head -c {} /dev/zero > STORE/ballast && \"$@\"; echo $?; echo ==== >&2; \
             rm STORE/ballast && \"$@\"; echo $?",
            (24 - free) << 20
        );
        let wrapper = with_small_store(&work, "size=24m", &script);
        // Beside the ballast: a directory that holds other files is no store.
        let root = work.path("store/root");
        let root = root.to_str().unwrap();
        let build = work.build(&dockerfile).flags(["--root", root]);
        let output = build.under(wrapper).succeeds();
        assert_eq!(output.stdout, "74\n0\n", "{what}: {}", output.stderr);
        let (failed, _) = output.stderr.split_once("====").unwrap();
        assert!(failed.contains("No space left"), "{what}: {failed}");
        assert!(
            failed.contains(&format!("hint: the disk of the store {root} is full")),
            "{what}: {failed}"
        );
        let image = work.image();
        assert_eq!(image.entry("noise").unwrap().content, noise, "{what}");
    }
}

/// A store that cannot be written.
#[test]
fn a_store_that_cannot_be_written_is_named() {
    let work = WorkDir::new();
    work.write("file", "x");
    let build = |root: &str| work.build("FROM {base}\nRUN true\n").flags(["--root", root]);
    let below_file = work.path("file/store");
    build(below_file.to_str().unwrap()).fails(74).says(below_file.to_str().unwrap());
    build("/proc/none/store").fails(74).says("/proc/none/store");
    if Identity::here() != Identity::Root {
        build("/usr/none/store").fails(74).says("/usr/none/store");
    }
    let read_only = with_small_store(&work, "ro", "exec \"$@\"");
    let output = work.build("FROM {base}\nRUN true\n").under(read_only).fails(74);
    let output = output.says("Read-only file system");
    assert!(output.stderr.contains(work.path("store").to_str().unwrap()), "{}", output.stderr);
    // Where temporary files usually go has no part in a build.
    work.build("FROM {base}\nRUN echo x > /x\n").env("TMPDIR", "/proc/none").succeeds();
    assert_eq!(work.image().text("x"), "x\n");
    assert!(base().reference.contains("/base:"));
}
