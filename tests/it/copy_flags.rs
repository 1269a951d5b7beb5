//! `--parents`, `--exclude`, `--link`, `--chmod`, and what becomes of what is there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Image, WorkDir};

/// A tree of directories in `context/`.
fn context(work: &WorkDir) {
    for (path, mode) in [
        ("a.txt", 0o644),
        ("b.txt", 0o640),
        ("t/one.md", 0o644),
        ("t/one.txt", 0o644),
        ("t/u/two.md", 0o644),
        ("t/u/v/three.md", 0o600),
        ("t/w/four.txt", 0o644),
    ] {
        let written = work.write(&format!("context/{path}"), format!("this is {path}\n"));
        fs::set_permissions(written, fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, mode) in [("t", 0o750), ("t/u", 0o711), ("t/u/v", 0o700), ("t/w", 0o755)] {
        let path = work.path("context").join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for (link, target) in [("to", "t"), ("t/w/up", "../one.md")] {
        symlink(target, work.path("context").join(link)).unwrap();
    }
}

fn listing(image: &Image) -> Vec<String> {
    image.top().entries.iter().map(ToString::to_string).collect()
}

fn lands(rows: &[(&str, &[&str])]) {
    let work = WorkDir::new();
    context(&work);
    for (instructions, expected) in rows {
        let image = work.built(&format!("FROM {{base}}\n{instructions}\n"));
        assert_eq!(listing(&image), *expected, "{instructions}");
    }
}

#[test]
fn parents_come_along() {
    lands(&[
        (
            "COPY --parents t/u/two.md a.txt /d/",
            &[
                "d 0755 0:0 d",
                "- 0644 0:0 d/a.txt",
                "d 0750 0:0 d/t",
                "d 0711 0:0 d/t/u",
                "- 0644 0:0 d/t/u/two.md",
            ],
        ),
        // What is before /./ does not.
        (
            "COPY --parents t/./u/two.md /d",
            &["d 0755 0:0 d", "d 0711 0:0 d/u", "- 0644 0:0 d/u/two.md"],
        ),
        (
            "COPY --parents ./t/u/v /d/",
            &[
                "d 0755 0:0 d",
                "d 0750 0:0 d/t",
                "d 0711 0:0 d/t/u",
                "d 0700 0:0 d/t/u/v",
                "- 0600 0:0 d/t/u/v/three.md",
            ],
        ),
        // Wildcards, and ** for any number of directories; on both sides of /./.
        (
            "COPY --parents **/*.txt /d/",
            &[
                "d 0755 0:0 d",
                "- 0644 0:0 d/a.txt",
                "- 0640 0:0 d/b.txt",
                "d 0750 0:0 d/t",
                "- 0644 0:0 d/t/one.txt",
                "d 0755 0:0 d/t/w",
                "- 0644 0:0 d/t/w/four.txt",
            ],
        ),
        (
            "COPY --parents t/[uw]/./*.* /d/",
            &["d 0755 0:0 d", "- 0644 0:0 d/four.txt", "- 0644 0:0 d/two.md"],
        ),
        (
            "COPY --parents t/./**/v t/./u/*.none /d/",
            &["d 0755 0:0 d", "d 0711 0:0 d/u", "d 0700 0:0 d/u/v", "- 0600 0:0 d/u/v/three.md"],
        ),
        (
            "COPY --parents ../a.txt /t/../b.txt ./t/./../u/../one.md/ /d/",
            &["d 0755 0:0 d", "- 0644 0:0 d/a.txt", "- 0640 0:0 d/b.txt", "- 0644 0:0 d/one.md"],
        ),
        // A link is kept where it is found and followed before /./.
        (
            "COPY --parents t/w/up to /d/",
            &[
                "d 0755 0:0 d",
                "d 0750 0:0 d/t",
                "d 0755 0:0 d/t/w",
                "l 0777 0:0 d/t/w/up -> ../one.md",
                "l 0777 0:0 d/to -> t",
            ],
        ),
        ("COPY --parents to/./one.md /d/", &["d 0755 0:0 d", "- 0644 0:0 d/one.md"]),
        (
            "COPY --parents --chown=5:6 t/u/two.md /d/",
            &["d 0755 5:6 d", "d 0750 5:6 d/t", "d 0711 5:6 d/t/u", "- 0644 5:6 d/t/u/two.md"],
        ),
        // Patterns of --exclude begin where the parents do.
        (
            "COPY --parents --exclude=t/u/v --exclude=*.md t/u /d/",
            &["d 0755 0:0 d", "d 0750 0:0 d/t", "d 0711 0:0 d/t/u", "- 0644 0:0 d/t/u/two.md"],
        ),
        (
            "COPY --parents --exclude=u/v t/./u /d/",
            &["d 0755 0:0 d", "d 0711 0:0 d/u", "- 0644 0:0 d/u/two.md"],
        ),
        (
            "COPY --from={base} --parents /opt/full/a /d/",
            &[
                "d 0755 0:0 d",
                "d 0755 0:0 d/opt",
                "d 0755 0:0 d/opt/full",
                "- 0644 0:0 d/opt/full/a",
            ],
        ),
    ]);
}

/// What is behind a link is copied below a directory of the link's name.
#[test]
fn parents_may_be_links() {
    lands(&[
        (
            "COPY --parents to/u/two.md /d/",
            &["d 0755 0:0 d", "d 0750 0:0 d/to", "d 0711 0:0 d/to/u", "- 0644 0:0 d/to/u/two.md"],
        ),
        // A link that is named itself stays one, wherever it is.
        (
            "COPY --parents to/w/up /d/",
            &[
                "d 0755 0:0 d",
                "d 0750 0:0 d/to",
                "d 0755 0:0 d/to/w",
                "l 0777 0:0 d/to/w/up -> ../one.md",
            ],
        ),
        (
            "COPY --parents to/*/*.md to/x/*.md tx/*.md /d/",
            &["d 0755 0:0 d", "d 0750 0:0 d/to", "d 0711 0:0 d/to/u", "- 0644 0:0 d/to/u/two.md"],
        ),
        (
            "COPY --parents --exclude=to/u/v to/u /d/",
            &["d 0755 0:0 d", "d 0750 0:0 d/to", "d 0711 0:0 d/to/u", "- 0644 0:0 d/to/u/two.md"],
        ),
        ("COPY --parents --exclude=to to/u /d/", &["d 0755 0:0 d"]),
    ]);
    let work = WorkDir::new();
    let stage = "FROM {base} AS src\nRUN mkdir -p -m 711 /usr/binx && echo tool > /usr/binx/tool \
                 && ln -s usr/binx /binx\nFROM {base}\nCOPY --from=src --parents ";
    for (sources, expected) in [
        ("/binx/tool", &["d 0711 0:0 out/binx", "- 0644 0:0 out/binx/tool"][..]),
        ("/binx/t*", &["d 0711 0:0 out/binx", "- 0644 0:0 out/binx/tool"]),
        ("/binx", &["l 0777 0:0 out/binx -> usr/binx"]),
    ] {
        let image = work.built(&format!("{stage}{sources} /out/\n"));
        assert_eq!(listing(&image)[1..], *expected, "{sources}");
    }
    work.write("context/.dockerignore", "t/u/two.md\n");
    context(&work);
    work.build("FROM {base}\nCOPY --parents to/u/two.md /d/\n")
        .fails(66)
        .says("to/u/two.md is not in the build context: it is excluded by the ignore file");
}

/// What is behind the link, and the modes of the directories on the way, are in the key.
#[test]
fn parents_that_are_links_are_in_the_key() {
    let work = WorkDir::new();
    context(&work);
    let file = "FROM {base}\nCOPY --parents to/u/two.md /d/\n";
    let built = || listing(&work.built(file));
    let first = built();
    let dir = work.path("context/t");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    let second = built();
    assert_ne!(second, first);
    work.write("context/t/u/two.md", "other");
    work.build(file).succeeds();
    assert_eq!(work.image().text("d/to/u/two.md"), "other");
}

#[test]
fn excluded_files_stay_behind() {
    let some = &[
        "d 0755 0:0 d",
        "d 0711 0:0 d/u",
        "- 0644 0:0 d/u/two.md",
        "d 0700 0:0 d/u/v",
        "- 0600 0:0 d/u/v/three.md",
    ][..];
    lands(&[
        // The patterns begin at each source.
        ("COPY --exclude=one.* --exclude=w t /d/", some),
        ("ADD --exclude=./one.* --exclude=./w/ t /d/", some),
        ("COPY --exclude=* --exclude=!u t /d/", some),
        (
            "COPY --exclude=**/*.md --exclude=w --exclude=t/one.txt t /d/",
            &["d 0755 0:0 d", "- 0644 0:0 d/one.txt", "d 0711 0:0 d/u", "d 0700 0:0 d/u/v"],
        ),
        ("COPY --exclude=** t /d/", &["d 0755 0:0 d"]),
        // A file that is a source itself is no one's to exclude.
        ("COPY --exclude=*.txt a.txt /x", &["- 0644 0:0 x"]),
        (
            "COPY --exclude=*.txt *.txt /d/",
            &["d 0755 0:0 d", "- 0644 0:0 d/a.txt", "- 0640 0:0 d/b.txt"],
        ),
        ("COPY --from={base} --exclude=[ab] /opt/full /d/", &["d 0755 0:0 d", "- 0644 0:0 d/c"]),
    ]);
}

#[test]
fn a_mode_is_for_files_and_directories() {
    lands(&[
        (
            "COPY --chmod=750 t/u /d/e/",
            &[
                "d 0750 0:0 d",
                "d 0750 0:0 d/e",
                "- 0750 0:0 d/e/two.md",
                "d 0750 0:0 d/e/v",
                "- 0750 0:0 d/e/v/three.md",
            ],
        ),
        ("COPY --chmod=4755 a.txt /d/", &["d 0755 0:0 d", "- 4755 0:0 d/a.txt"]),
        (
            "COPY --chmod=go=,u=rwX t/u /d/",
            &["d 0755 0:0 d", "- 0600 0:0 d/two.md", "d 0700 0:0 d/v", "- 0600 0:0 d/v/three.md"],
        ),
        ("COPY --chmod=700 <<f /d/\nx\nf", &["d 0700 0:0 d", "- 0700 0:0 d/f"]),
    ]);
}

/// The destination itself keeps its attributes, those below it get the source's.
#[test]
fn what_is_there_is_merged() {
    let there = "RUN mkdir -p /d/u/v /d/t && chmod 770 /d /d/u /d/u/v && chown -R 5:6 /d\n";
    let there = if crate::support::Identity::here() == crate::support::Identity::Single {
        there.replace(" && chown -R 5:6 /d", "")
    } else {
        there.to_owned()
    };
    let mine = if there.contains("chown") { "5:6" } else { "0:0" };
    lands(&[
        (
            &format!("{there}COPY t /d"),
            &[
                &format!("d 0770 {mine} d"),
                "- 0644 0:0 d/one.md",
                "- 0644 0:0 d/one.txt",
                "d 0711 0:0 d/u",
                "- 0644 0:0 d/u/two.md",
                "d 0700 0:0 d/u/v",
                "- 0600 0:0 d/u/v/three.md",
                "d 0755 0:0 d/w",
                "- 0644 0:0 d/w/four.txt",
                "l 0777 0:0 d/w/up -> ../one.md",
            ],
        ),
        // Those that only lead to a file get no more than the mode.
        (
            &format!("{there}COPY --parents t/./u/two.md /d"),
            &[&format!("d 0770 {mine} d"), &format!("d 0711 {mine} d/u"), "- 0644 0:0 d/u/two.md"],
        ),
        // A link that is the destination is followed, one in it is replaced.
        ("RUN echo old >/f && ln -s f /l\nCOPY a.txt /l", &["- 0644 0:0 f"]),
        ("RUN ln -s not/yet /l\nCOPY a.txt /l", &["d 0755 0:0 not", "- 0644 0:0 not/yet"]),
        ("RUN ln -s ../../../../up /l\nCOPY a.txt /l", &["- 0644 0:0 up"]),
        (
            "RUN mkdir /d && ln -s /etc/passwd /d/a.txt\nCOPY a.txt /d",
            &["d 0755 0:0 d", "- 0644 0:0 d/a.txt"],
        ),
    ]);
    let work = WorkDir::new();
    context(&work);
    for (instructions, says) in [
        ("RUN ln -s l /l\nCOPY a.txt /l", "Too many levels of symbolic links"),
        ("RUN mkdir -p /d/one.md\nCOPY t /d", "cannot copy a file over a directory at /one.md"),
        ("RUN mkdir /d && echo >/d/u\nCOPY t /d", "cannot copy a directory over a file at /u"),
        ("COPY t /etc/passwd", "the destination /etc/passwd is not a directory"),
        ("COPY a.txt /etc/passwd/", "the destination /etc/passwd is not a directory"),
    ] {
        let output = work.build(&format!("FROM {{base}}\n{instructions}\n")).run();
        assert!(!output.status.success(), "{instructions}");
        output.says(says);
    }
}

/// As docker does it: where there is no directory each replaces the one before.
#[test]
fn several_sources_and_no_slash() {
    let work = WorkDir::new();
    context(&work);
    for (copy, expected) in [
        ("COPY a.txt b.txt /x", "this is b.txt\n"),
        ("COPY *.txt /x", "this is b.txt\n"),
        ("COPY b.* /x", "this is b.txt\n"),
    ] {
        let output = work.build(&format!("FROM {{base}}\n{copy}\n")).succeeds();
        assert_eq!(work.image().text("x"), expected, "{copy}");
        let warned = output.stderr.contains("several sources were copied to the one file /x");
        assert_eq!(warned, !copy.contains("b.*"), "{}", output.stderr);
    }
    let output = work.build("FROM {base}\nCOPY *.txt /opt/full\n").succeeds();
    assert!(!output.stderr.contains("several sources"), "{}", output.stderr);
    assert_eq!(work.image().text("opt/full/a.txt"), "this is a.txt\n");
    // Nothing is found, so nothing is made.
    let image = work.built("FROM {base}\nCOPY *.none t/*/*/*/none /x/\n");
    assert!(image.entry("x").is_none());
    // Wildcards do not lead through links.
    let image = work.built("FROM {base}\nCOPY t?/one.md /x/\nCOPY to/one.md /y/\n");
    assert!(image.entry("x").is_none() && image.entry("y/one.md").is_some());
}

/// A layer of its own: what is below it has no say.
#[test]
fn a_linked_layer_stands_alone() {
    lands(&[
        (
            "COPY --link a.txt /opt/full/",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0644 0:0 opt/full/a.txt"],
        ),
        ("COPY --link t/u/v /tmp", &["d 0755 0:0 tmp", "- 0600 0:0 tmp/three.md"]),
        // Not through a link, which it replaces; nor into a directory that it does not see.
        (
            "RUN ln -s /opt/full /to\nCOPY --link a.txt /to/",
            &["d 0755 0:0 to", "- 0644 0:0 to/a.txt"],
        ),
        ("COPY --link a.txt /opt", &["- 0644 0:0 opt"]),
        (
            "COPY --link --chown=1000:50 --parents t/./u/two.md /home/app",
            &[
                "d 0755 1000:50 home",
                "d 0755 1000:50 home/app",
                "d 0711 1000:50 home/app/u",
                "- 0644 1000:50 home/app/u/two.md",
            ],
        ),
        // With --chmod it is a copy as any other.
        (
            "COPY --link --chmod=600 a.txt /opt/full",
            &["d 0755 0:0 opt", "d 0755 0:0 opt/full", "- 0600 0:0 opt/full/a.txt"],
        ),
        ("ADD --link a.txt /x", &["- 0644 0:0 x"]),
        ("COPY --link --from={base} /opt/full/a /x", &["- 0644 0:0 x"]),
    ]);
    let work = WorkDir::new();
    context(&work);
    let first = work.built("FROM {base}\nRUN echo 1 >/1\nCOPY --link a.txt /x/\n");
    let output = work
        .build(
            "FROM {base}\nRUN echo 2 >/2\nCOPY --link a.txt /x/\nRUN test -e /2 && cat /x/a.txt\n",
        )
        .succeeds();
    let second = work.image();
    assert_eq!(second.layers[3].digest, first.layers[3].digest);
    // Remembered, although what is below it is new.
    let cached = output.stderr.lines().any(|line| line.contains("CACHED"));
    assert!(cached, "{}", output.stderr);
    // A step on top sees it in place of what was there.
    work.built("FROM {base}\nCOPY --link a.txt /opt\nRUN test -f /opt && test ! -e /opt/full\n");
}

#[test]
fn a_missing_source_is_explained() {
    let work = WorkDir::new();
    context(&work);
    work.write("context/.dockerignore", "# no notes\n**/*.md\n!t/u/two.md\n");
    for (copy, says) in [
        ("COPY t/one.md /", "it is excluded by the ignore file (.dockerignore, line 2: **/*.md)"),
        ("COPY --parents t/one.md /", "(.dockerignore, line 2: **/*.md)"),
        ("COPY --parents t/one.text /", "did you mean t/one.txt?"),
        ("COPY --parents to/./one.text /", "did you mean to/one.txt?"),
        // What is hidden is not near.
        ("COPY t/one.mk /", "t/one.mk is not in the build context"),
    ] {
        work.build(&format!("FROM scratch\n{copy}\n")).fails(66).says(says);
    }
    let image = work.built("FROM scratch\nCOPY --parents **/*.md t/u /d/\n");
    assert_eq!(image.top().paths(), ["d", "d/t", "d/t/u", "d/t/u/two.md", "d/t/u/v"]);
}
