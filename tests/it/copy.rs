//! COPY and ADD: what lands where, as whose, and what is refused.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::support::{Identity, Image, Options, Registry, WorkDir, tool, write};

/// A directory with something of everything in `context/`.
fn context(work: &WorkDir) {
    for (path, mode) in [
        ("a.txt", 0o644),
        ("b.txt", 0o640),
        ("run.sh", 0o755),
        ("dir/one", 0o644),
        ("dir/two", 0o600),
        ("dir/.hidden", 0o644),
        ("dir/sub/three", 0o644),
        ("packed/in/file", 0o640),
    ] {
        let written = work.write(&format!("context/{path}"), format!("this is {path}\n"));
        fs::set_permissions(written, fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, mode) in
        [("dir", 0o755), ("dir/sub", 0o700), ("packed", 0o755), ("packed/in", 0o750)]
    {
        let path = work.path("context").join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(work.path("context/links")).unwrap();
    fs::set_permissions(work.path("context/links"), fs::Permissions::from_mode(0o755)).unwrap();
    for (link, target) in [
        ("link", "a.txt"),
        ("out", "/etc/passwd"),
        ("outdir", "/etc"),
        ("up", "../../../../../../../etc"),
        ("links/beside", "../a.txt"),
        ("links/out", "/etc/passwd"),
        ("links/up", "../../../../../../../etc"),
        ("links/nowhere", "nowhere"),
        ("packed/in/link", "/etc/passwd"),
    ] {
        symlink(target, work.path("context").join(link)).unwrap();
    }
    tool(Command::new("mkfifo").arg(work.path("context/fifo")));
    // Made by others than yado, each with its own program.
    for (name, flag) in [("tar", "-c"), ("tar.gz", "-cz"), ("tar.bz2", "-cj"), ("tar.xz", "-cJ")] {
        tool(
            Command::new("tar")
                .current_dir(work.path("context/packed"))
                .args(["--owner=app:1000", "--group=staff:50", flag, "-f"])
                .arg(work.path("context").join(format!("data.{name}")))
                .arg("in"),
        );
    }
    tool(
        Command::new("zstd")
            .args(["-q"])
            .arg(work.path("context/data.tar"))
            .arg("-o")
            .arg(work.path("context/data.tar.zst")),
    );
    for name in ["fake.tar.gz", "fake.tar"] {
        let path = work.write(&format!("context/{name}"), "\x1f\u{8b}not packed\n");
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

fn listing(image: &Image) -> Vec<String> {
    image.top().entries.iter().map(ToString::to_string).collect()
}

#[test]
fn sources_land_where_the_reference_says() {
    let work = WorkDir::new();
    context(&work);
    let unpacked = &[
        "d 0750 1000:50 in",
        "- 0640 1000:50 in/file",
        "l 0777 1000:50 in/link -> /etc/passwd",
    ][..];
    let rows: &[(&str, &[&str])] = &[
        // One file.
        ("COPY a.txt /x", &["- 0644 0:0 x"]),
        ("COPY b.txt /dst/", &["d 0755 0:0 dst", "- 0640 0:0 dst/b.txt"]),
        (
            "COPY run.sh /opt/full",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0755 0:0 opt/full/run.sh"],
        ),
        (
            "COPY a.txt /opt/full/a",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0644 0:0 opt/full/a"],
        ),
        ("COPY ./dir/../a.txt /x", &["- 0644 0:0 x"]),
        ("COPY /a.txt /x", &["- 0644 0:0 x"]),
        (r#"COPY ["a.txt", "/with space"]"#, &["- 0644 0:0 with space"]),
        // Directories: what is in them.
        (
            "COPY dir /d",
            &[
                "d 0755 0:0 d",
                "- 0644 0:0 d/.hidden",
                "- 0644 0:0 d/one",
                "d 0700 0:0 d/sub",
                "- 0644 0:0 d/sub/three",
                "- 0600 0:0 d/two",
            ],
        ),
        ("COPY dir/sub /", &["- 0644 0:0 three"]),
        ("COPY dir/sub /tmp/", &["d 1777 0:0 tmp", "- 0644 0:0 tmp/three"]),
        // Several, and patterns.
        ("COPY a.txt dir/sub /d/", &["d 0755 0:0 d", "- 0644 0:0 d/a.txt", "- 0644 0:0 d/three"]),
        ("COPY *.txt /d/", &["d 0755 0:0 d", "- 0644 0:0 d/a.txt", "- 0640 0:0 d/b.txt"]),
        ("COPY d?r/[ot]* /d/", &["d 0755 0:0 d", "- 0644 0:0 d/one", "- 0600 0:0 d/two"]),
        ("COPY *.none a.txt /d/", &["d 0755 0:0 d", "- 0644 0:0 d/a.txt"]),
        ("COPY */one /d/", &["d 0755 0:0 d", "- 0644 0:0 d/one"]),
        // Links: followed where named, kept where found, never out of the context.
        ("COPY link /x", &["- 0644 0:0 x"]),
        (
            "COPY links /d",
            &[
                "d 0755 0:0 d",
                "l 0777 0:0 d/beside -> ../a.txt",
                "l 0777 0:0 d/nowhere -> nowhere",
                "l 0777 0:0 d/out -> /etc/passwd",
                "l 0777 0:0 d/up -> ../../../../../../../etc",
            ],
        ),
        // Relative destinations, variables.
        ("WORKDIR /w\nCOPY a.txt .", &["d 0755 0:0 w", "- 0644 0:0 w/a.txt"]),
        ("WORKDIR /w\nCOPY a.txt b/c", &["d 0755 0:0 w", "d 0755 0:0 w/b", "- 0644 0:0 w/b/c"]),
        ("ENV D=/deep\nCOPY a.txt ${D}/", &["d 0755 0:0 deep", "- 0644 0:0 deep/a.txt"]),
        ("ARG S=a\nCOPY $S.txt /x", &["- 0644 0:0 x"]),
        // Owners: USER does not count, those above new files are as those.
        ("USER 1000\nCOPY a.txt /x", &["- 0644 0:0 x"]),
        ("COPY --chown=app a.txt /x", &["- 0644 1000:1000 x"]),
        ("COPY --chown=app:staff a.txt /x", &["- 0644 1000:50 x"]),
        ("COPY --chown=1234 a.txt /x", &["- 0644 1234:1234 x"]),
        ("COPY --chown=5:60000 a.txt /x", &["- 0644 5:60000 x"]),
        (
            "COPY --chown=app dir/sub /d/e/",
            &["d 0755 1000:1000 d", "d 0755 1000:1000 d/e", "- 0644 1000:1000 d/e/three"],
        ),
        (
            "COPY --chown=app a.txt /opt/full/",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0644 1000:1000 opt/full/a.txt"],
        ),
        ("COPY --chmod=4711 a.txt /x", &["- 4711 0:0 x"]),
        ("COPY --chmod=600 --chown=app b.txt /x", &["- 0600 1000:1000 x"]),
        // Through links of the image, but never out of it.
        (
            "RUN ln -s /opt/full /to\nCOPY a.txt /to/",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0644 0:0 opt/full/a.txt"],
        ),
        ("RUN ln -s ../../../../../../../.. /up\nCOPY a.txt /up/in", &["- 0644 0:0 in"]),
        (
            "RUN ln -s /not/there /to\nCOPY dir/sub /to/",
            &["d 0755 0:0 not", "d 0755 0:0 not/there", "- 0644 0:0 not/there/three"],
        ),
        // Archives: unpacked by ADD, with their owners; COPY takes them as they are.
        ("ADD data.tar /", unpacked),
        ("ADD data.tar.gz /", unpacked),
        ("ADD data.tar.bz2 /", unpacked),
        ("ADD data.tar.xz /", unpacked),
        ("ADD data.tar.zst /", unpacked),
        (
            "COPY data.tar.gz /opt/full/a",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0644 0:0 opt/full/a"],
        ),
        (
            "ADD fake.tar.gz fake.tar /d/",
            &["d 0755 0:0 d", "- 0644 0:0 d/fake.tar", "- 0644 0:0 d/fake.tar.gz"],
        ),
        ("ADD --chown=app a.txt /x", &["- 0644 1000:1000 x"]),
        (
            "ADD --chown=app --chmod=700 data.tar /u",
            &[
                "d 0755 1000:1000 u",
                "d 0750 1000:1000 u/in",
                "- 0640 1000:1000 u/in/file",
                "l 0777 1000:1000 u/in/link -> /etc/passwd",
            ],
        ),
        // Text of the Dockerfile itself.
        ("COPY <<END /x\nhello\nEND", &["- 0644 0:0 x"]),
        (
            "COPY --chmod=755 <<one <<two /d/\n1\none\n2\ntwo",
            &["d 0755 0:0 d", "- 0755 0:0 d/one", "- 0755 0:0 d/two"],
        ),
        // Other stages and images, with the owners that files have there.
        ("COPY --from={base} /home/app /h", &["d 0755 0:0 h"]),
        ("COPY --from={base} /etc/group /x", &["- 0644 0:0 x"]),
    ];
    for (instructions, expected) in rows {
        let image = work.built(&format!("FROM {{base}}\n{instructions}\n"));
        assert_eq!(listing(&image), *expected, "{instructions}");
    }
}

#[test]
fn stages_give_files_to_others() {
    let work = WorkDir::new();
    work.write("context/a.txt", "a\n");
    let stages = "FROM {base} AS first\nCOPY --chown=1000:50 --chmod=640 a.txt /made/here\n\
                  RUN ln -s here /made/link && ln /made/here /made/same\n";
    let all = [
        "d 0755 0:0 all",
        "- 0640 1000:50 all/here",
        "l 0777 0:0 all/link -> here",
        "h 0640 1000:50 all/same -> all/here",
    ];
    for (copy, expected) in [
        ("COPY --from=first /made/here /x", &["- 0640 1000:50 x"][..]),
        ("COPY --from=FIRST /made/here /x", &["- 0640 1000:50 x"]),
        ("COPY --from=0 made/here /x", &["- 0640 1000:50 x"]),
        ("COPY --from=first /made/link /x", &["- 0640 1000:50 x"]),
        ("COPY --from=first --chown=0 /made/here /x", &["- 0640 0:0 x"]),
        ("COPY --from=first /made /all", &all),
        ("COPY --from=first /ma*/h* /x/", &["d 0755 0:0 x", "- 0640 1000:50 x/here"]),
    ] {
        let image = work.built(&format!("{stages}FROM scratch\n{copy}\n"));
        assert_eq!(image.layers.len(), 1);
        assert_eq!(listing(&image), expected, "{copy}");
    }
    // What is not asked for is not run.
    work.built("FROM {base} AS unused\nRUN exit 1\nFROM {base}\nCOPY a.txt /\n");
    work.build("FROM {base} AS one\nRUN exit 1\nFROM {base} AS two\nCOPY a.txt /\nFROM one\n")
        .flags(["--target", "two"])
        .succeeds();
    work.build("FROM {base} AS one\nFROM {base}\nCOPY --from=one /not/there /\n")
        .fails(66)
        .says("/not/there");
}

/// For a user with one id they have no place in the file system.
#[test]
fn links_and_pipes_keep_their_owners() {
    let work = WorkDir::new();
    for dir in ["context/tree/in", "context/packed"] {
        fs::create_dir_all(work.path(dir)).unwrap();
    }
    for path in ["context/tree", "context/tree/in"] {
        fs::set_permissions(work.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (dir, name) in [("tree/in", "a"), ("tree/in", "b"), ("packed", "l")] {
        symlink("nowhere", work.path("context").join(dir).join(name)).unwrap();
    }
    for pipe in ["tree/p", "packed/p"] {
        tool(Command::new("mkfifo").args(["-m", "640"]).arg(work.path("context").join(pipe)));
    }
    let tar = |owner: &str, file: &str, names: &[&str]| {
        let mut tar = Command::new("tar");
        tar.current_dir(work.path("context/packed")).args(["--group=staff:50", owner, "-cf"]);
        tool(tar.arg(work.path("context").join(file)).args(names));
    };
    tar("--owner=app:1000", "app.tar", &["l", "p"]);
    tar("--owner=other:7", "other.tar", &["l"]);
    let stages = "FROM {base} AS copied\nCOPY --chown=app:staff tree /t\n\
        FROM {base} AS unpacked\nADD app.tar /u/\n\
        FROM copied AS changed\nRUN cd /t/in && rm a && ln -s other a && mkfifo q\n\
        FROM unpacked AS twice\nADD other.tar /u/\n\
        FROM unpacked AS moved\nRUN rm -r /u\nCOPY --chown=5:6 tree/in /u/\n";
    let rows: &[(&str, &[&str])] = &[
        (
            "FROM copied",
            &[
                "d 0755 1000:50 t",
                "d 0755 1000:50 t/in",
                "l 0777 1000:50 t/in/a -> nowhere",
                "l 0777 1000:50 t/in/b -> nowhere",
                "p 0640 1000:50 t/p",
            ],
        ),
        ("FROM unpacked", &["d 0755 0:0 u", "l 0777 1000:50 u/l -> nowhere", "p 0640 1000:50 u/p"]),
        (
            "FROM changed",
            &[
                "d 0755 1000:50 t",
                "d 0755 1000:50 t/in",
                "l 0777 0:0 t/in/a -> other",
                "p 0644 0:0 t/in/q",
            ],
        ),
        ("FROM twice", &["d 0755 0:0 u", "l 0777 7:50 u/l -> nowhere"]),
        // From other stages: whose they are there.
        (
            "FROM scratch\nCOPY --from=changed /t /x",
            &[
                "d 0755 0:0 x",
                "d 0755 1000:50 x/in",
                "l 0777 0:0 x/in/a -> other",
                "l 0777 1000:50 x/in/b -> nowhere",
                "p 0644 0:0 x/in/q",
                "p 0640 1000:50 x/p",
            ],
        ),
        (
            "FROM scratch\nCOPY --from=twice /u /x",
            &["d 0755 0:0 x", "l 0777 7:50 x/l -> nowhere", "p 0640 1000:50 x/p"],
        ),
        (
            "FROM scratch\nCOPY --from=moved /u /x",
            &["d 0755 0:0 x", "l 0777 5:6 x/a -> nowhere", "l 0777 5:6 x/b -> nowhere"],
        ),
        (
            "FROM changed AS led\nRUN ln -s /t/in /way\nFROM scratch\nCOPY --from=led /way /x",
            &[
                "d 0755 0:0 x",
                "l 0777 0:0 x/a -> other",
                "l 0777 1000:50 x/b -> nowhere",
                "p 0644 0:0 x/q",
            ],
        ),
        (
            "FROM scratch\nCOPY --from=twice --chown=0:9 /u /x",
            &["d 0755 0:9 x", "l 0777 0:9 x/l -> nowhere", "p 0640 0:9 x/p"],
        ),
    ];
    for (end, expected) in rows {
        let image = work.built(&format!("{stages}{end}\n"));
        assert_eq!(listing(&image), *expected, "{end}");
    }
    // As an archive of all files.
    let output = format!("type=tar,dest={}", work.path("files.tar").display());
    let end = "FROM changed\nCOPY --from=twice /u /x\n";
    work.build(&format!("{stages}{end}")).flags(["-o", &output]).succeeds();
    let listing = tool(
        Command::new("tar")
            .args(["--numeric-owner", "-tvf"])
            .arg(work.path("files.tar"))
            .arg("t")
            .arg("x"),
    );
    let owners: Vec<String> = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| format!("{} {}", words[1], words[5]))
        .collect();
    let expected = [
        "1000/50 t/",
        "1000/50 t/in/",
        "0/0 t/in/a",
        "1000/50 t/in/b",
        "0/0 t/in/q",
        "1000/50 t/p",
        "0/0 x/",
        "7/50 x/l",
        "1000/50 x/p",
    ];
    assert_eq!(owners, expected, "{listing}");
    // Unpacked from the layers of an image, which another store has not made.
    let registry = Registry::start(Options::default());
    let name = format!("{}/app:1", registry.host);
    work.build(&format!("{stages}{end}")).flags(["-t", &name, "--push"]).succeeds();
    let image = WorkDir::new().built(&format!("FROM scratch\nCOPY --from={name} /t /x /y/\n"));
    let expected = [
        "d 0755 0:0 y",
        "d 0755 1000:50 y/in",
        "l 0777 0:0 y/in/a -> other",
        "l 0777 1000:50 y/in/b -> nowhere",
        "p 0644 0:0 y/in/q",
        "l 0777 7:50 y/l -> nowhere",
        "p 0640 1000:50 y/p",
    ];
    assert_eq!(self::listing(&image), expected);
}

#[test]
fn what_cannot_be_copied_is_named() {
    let work = WorkDir::new();
    context(&work);
    let rows: &[(&str, i32, &[&str])] = &[
        (
            "COPY missing /x",
            66,
            &["Dockerfile:2", "COPY missing /x", "missing is not in the build context"],
        ),
        ("COPY a.text /x", 66, &["did you mean a.txt?"]),
        ("COPY a.txt missing /d/", 66, &["missing is not in the build context"]),
        ("COPY dir/four/five /x", 66, &["there is no directory dir/four"]),
        ("COPY out /x", 66, &["out is a link to /etc/passwd, which is not in the build context"]),
        ("COPY outdir/passwd /x", 66, &["outdir/passwd is not in the build context"]),
        ("COPY up/passwd /x", 66, &["up/passwd is not in the build context"]),
        ("COPY ../../../../../../etc/passwd /x", 66, &["is not in the build context"]),
        ("COPY fifo /x", 65, &["fifo is a named pipe, which cannot be copied"]),
        ("COPY a.txt /etc/passwd/x", 65, &["/etc/passwd"]),
        ("COPY dir /etc/passwd", 65, &["/etc/passwd", "not a directory"]),
        ("COPY --chown=stranger a.txt /x", 65, &["stranger", "/etc/passwd"]),
        ("COPY --chown=app:strangers a.txt /x", 65, &["strangers", "/etc/group"]),
        ("COPY --chmod=9999 a.txt /x", 65, &["9999"]),
        ("COPY --from=7 /a /x", 65, &["Dockerfile:2", "7"]),
        ("COPY --chwon=app a.txt /x", 65, &["--chwon", "--chown"]),
        ("COPY a.txt", 65, &["Dockerfile:2"]),
    ];
    for (instruction, code, words) in rows {
        let output = work.build(&format!("FROM {{base}}\n{instruction}\n")).fails(*code);
        words.iter().fold(output, |output, word| output.says(word));
    }
    // The place is underlined.
    let output = work.build("FROM {base}\nCOPY --chwon=app a.txt /x\n").fails(65);
    let underlined = output.stderr.lines().any(|line| line.trim_start().contains("^^^^^^^"));
    assert!(underlined, "{}", output.stderr);
    // Without a context there is nothing to copy.
    let no_context = work.yado(["build", "-"]).stdin("FROM scratch\nCOPY a.txt /\n");
    no_context.fails(66).says("this build has no context");
}

#[test]
fn an_ignore_file_hides_files() {
    let work = WorkDir::new();
    for path in ["a.md", "keep.md", "d/x.md", "d/y.txt", "d/e/z.md", "tmp/1"] {
        work.write(&format!("context/{path}"), path);
    }
    let all = ["Dockerfile", "a.md", "d/e/z.md", "d/x.md", "d/y.txt", "keep.md", "tmp/1"];
    for (ignore, hidden) in [
        ("", &[][..]),
        ("*.md\n!keep.md\n", &["a.md"]),
        ("**/*.md\n", &["a.md", "d/e/z.md", "d/x.md", "keep.md"]),
        ("# d is not needed\n\n  /d/  \n", &["d/e/z.md", "d/x.md", "d/y.txt"]),
        ("d\n!d/y.txt\n", &["d/e/z.md", "d/x.md"]),
        ("*\n!d/x.md\n", &["Dockerfile", "a.md", "d/e/z.md", "d/y.txt", "keep.md", "tmp/1"]),
        ("!d\nd/*\n", &["d/e/z.md", "d/x.md", "d/y.txt"]),
        ("Dockerfile\n.dockerignore\n", &["Dockerfile"]),
        ("d/?.md\n[a-c].md\n", &["a.md", "d/x.md"]),
        ("./tmp\nd/../a.md\n", &["a.md", "tmp/1"]),
    ] {
        work.write("context/.dockerignore", ignore);
        let image = work.built("FROM scratch\nCOPY . /all/\n");
        let files: Vec<&str> = image
            .top()
            .entries
            .iter()
            .filter(|entry| !entry.content.is_empty())
            .filter_map(|entry| entry.path.strip_prefix("all/"))
            .filter(|path| *path != ".dockerignore")
            .collect();
        let expected: Vec<&str> =
            all.iter().copied().filter(|path| !hidden.contains(path)).collect();
        assert_eq!(files, expected, "{ignore}");
    }
    work.write("context/.dockerignore", "a.md\n");
    work.build("FROM scratch\nCOPY a.md /\n").fails(66).says("excluded by the ignore file");
    // A Dockerfile's own comes first.
    let file = work.write("context/other.Dockerfile", "FROM scratch\nCOPY *.md /\n");
    work.write("context/other.Dockerfile.dockerignore", "keep.md\n");
    work.build("").flags(["-f", file.to_str().unwrap()]).succeeds();
    assert_eq!(work.image().top().paths(), ["a.md"]);
}

/// A file that is written after it was hashed and before it is copied: the step
/// fails, and what it copied is never given for the old content.
#[test]
fn a_change_during_the_build_does_not_reach_the_cache() {
    let work = WorkDir::new();
    // On both sides, so that there is time while one is hashed and the other copied.
    for name in ["before", "behind"] {
        let file = work.write(&format!("context/{name}"), "");
        fs::File::options().write(true).open(file).unwrap().set_len(32 << 20).unwrap();
    }
    let file = work.write("context/file", "first");
    let text = "FROM {base}\nCOPY before file behind /d/\n";
    let notify = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&notify, &file, inotify::WatchFlags::CLOSE_NOWRITE).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
            let closed = poll(&mut [PollFd::new(&notify, PollFlags::IN)], Some(&timeout));
            assert_eq!(closed, Ok(1), "the file was not read");
            fs::write(&file, "other").unwrap();
        });
        work.build(text)
            .fails(65)
            .says("Dockerfile:2")
            .says("files of the build context changed while the step used them; build again");
    });
    assert_eq!(work.built(text).text("d/file"), "other");
    fs::write(&file, "first").unwrap();
    assert_eq!(work.built(text).text("d/file"), "first");
}

/// Names are bytes: what is no UTF-8 is neither changed nor lost.
#[test]
fn names_need_not_be_text() {
    let work = WorkDir::new();
    let names: [&[u8]; 3] = [b"caf\xe8", b"caf\xe9", "caf\u{e9}".as_bytes()];
    for name in names {
        write(&work.path("context/in").join(OsStr::from_bytes(name)), name);
    }
    work.write("context/Dockerfile", "FROM scratch\nCOPY in/caf* /files/\nCOPY in /tree/\n");
    let (context, local) = (work.path("context"), work.path("local"));
    let paths = [context.to_str().unwrap(), local.to_str().unwrap()];
    work.yado(["build", paths[0], "-o", paths[1]]).succeeds();
    for dir in ["files", "tree"] {
        let mut found: Vec<Vec<u8>> = fs::read_dir(local.join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_vec())
            .collect();
        found.sort();
        let mut expected = names.map(<[u8]>::to_vec);
        expected.sort();
        assert_eq!(found, expected, "{dir}");
        for name in names {
            assert_eq!(fs::read(local.join(dir).join(OsStr::from_bytes(name))).unwrap(), name);
        }
    }
}

/// A link to what the ignore file hides shows it neither by name nor in a directory.
#[test]
fn a_link_is_no_way_round_the_ignore_file() {
    let work = WorkDir::new();
    for path in ["conf/secret", "conf/public", "deep/er/secret"] {
        work.write(&format!("context/{path}"), path);
    }
    for (link, target) in [
        ("current", "conf"),
        ("again", "current"),
        ("link", "conf/secret"),
        ("within", "deep/er/secret"),
        ("hidden", "conf/public"),
    ] {
        symlink(target, work.path("context").join(link)).unwrap();
    }
    work.write("context/.dockerignore", "conf/secret\ndeep\nhidden\n");
    for (copy, expected) in [
        ("COPY current /x/", &["x", "x/public"][..]),
        ("COPY again /x/", &["x", "x/public"]),
        ("COPY again/ /x/", &["x", "x/public"]),
        ("ADD curr*nt /x/", &["x", "x/public"]),
        ("COPY current/* /x/", &["x", "x/public"]),
        // Patterns that match nothing that takes part.
        ("COPY lin? current/pub* /x/", &["x", "x/public"]),
        ("COPY deep/*/secret conf /x/", &["x", "x/public"]),
        // What --exclude names counts from where the link leads to.
        ("COPY --exclude=public current /x/", &["x"]),
        ("COPY --exclude=secret current /x/", &["x", "x/public"]),
    ] {
        let image = work.built(&format!("FROM scratch\n{copy}\n"));
        assert_eq!(image.top().paths(), expected, "{copy}");
    }
    for source in ["link", "current/secret", "again/secret", "within", "hidden"] {
        work.build(&format!("FROM scratch\nCOPY {source} /\n"))
            .fails(66)
            .says(&format!("{source} is not in the build context: it is excluded"));
    }
}

#[test]
fn a_pattern_without_match_copies_nothing() {
    let image = WorkDir::new().built("FROM {base}\nCOPY *.none /d/\n");
    assert_eq!(image.layers.len(), 2, "{image}");
}

/// The content, not only the names; and as another program unpacks it.
#[test]
fn copied_files_hold_what_they_held() {
    let work = WorkDir::new();
    context(&work);
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
    work.write("context/large", &large);
    work.write("context/empty", "");
    let image = work.built(
        "FROM {base} AS other\nCOPY large /l\nFROM {base}\n\
         COPY a.txt link dir/ large empty /d/\nADD data.tar.xz /d/\nCOPY --from=other /l /d/second\n\
         COPY <<END /d/text\n$HOME\nEND\n",
    );
    let root = image.unpack(&work).join("d");
    let read = |name: &str| fs::read(root.join(name)).unwrap();
    assert_eq!(read("a.txt"), b"this is a.txt\n");
    assert_eq!(read("link"), b"this is a.txt\n");
    assert_eq!(read("sub/three"), b"this is dir/sub/three\n");
    assert_eq!(read("in/file"), b"this is packed/in/file\n");
    assert_eq!(read("text"), b"\n");
    assert!(read("empty").is_empty());
    assert!(read("large") == large && read("second") == large);
    if Identity::here() == Identity::Root {
        use std::os::unix::fs::MetadataExt;
        let file = fs::metadata(root.join("in/file")).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode()), (1000, 50, 0o100_640));
    }
}

/// Where no step looks at the files that a copy makes, it makes none: its layer is the
/// same as from files.
#[test]
fn a_layer_without_files_is_the_layer_of_the_files() {
    let work = WorkDir::new();
    context(&work);
    tool(Command::new("mkfifo").args(["-m", "640"]).arg(work.path("context/pipe")));
    work.write("context/dir/long", vec![b'l'; 300_000]);
    work.write(&format!("context/dir/{}", "n".repeat(150)), "");
    fs::hard_link(work.path("context/a.txt"), work.path("context/dir/again")).unwrap();
    work.write("context/.dockerignore", "Dockerfile\npacked/*\n!packed/in\n");
    let stage = "FROM {base} AS s\n\
        RUN mkdir /made && cd /made && echo a > a && ln a b && ln -s a l && mkfifo p && \
        chmod 4750 a && mkdir -m 1777 deep && ln b deep/c\n\
        COPY --chown=5:50 dir /made/owned/\nFROM scratch\n";
    for (number, copy) in [
        "COPY . /",
        "COPY . /x/y/",
        "COPY dir /d",
        "COPY a.txt /f",
        "COPY a.txt /f/",
        "COPY a.txt /",
        "COPY link /f",
        "COPY --chmod=750 . /m/",
        "COPY --chmod=u+s,go-rwx . /m/",
        "COPY --chown=3:4 . /o/p/",
        "COPY --chown=3:4 --chmod=600 a.txt /o/p/",
        "COPY --exclude=**/one --exclude=links . /e/",
        "COPY --exclude=* --exclude=!dir/sub dir /e/",
        "COPY --link . /l/",
        "COPY dir/sub/* /glob/",
        "COPY --from=s /made /",
        "COPY --from=s /made /way/to/",
        "COPY --from=s --chown=9:9 --chmod=o-x /made /way/",
        "COPY --from=s --exclude=a /made /",
        "COPY --from=s /made/a /",
        "COPY --from=s / /all/",
    ]
    .into_iter()
    .enumerate()
    {
        let top = |rest: &str| {
            let text = format!("{stage}{copy}\n{rest}");
            work.build(&text).flags(["--no-cache"]).succeeds();
            work.image().manifest["layers"][0].clone()
        };
        let straight = top("LABEL a=b\n");
        assert_eq!(straight, top("WORKDIR /last\n"), "{number}: {copy}");
        assert!(straight["size"].is_u64(), "{number}: {copy}: no layer");
    }
}
