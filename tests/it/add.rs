//! ADD of what is elsewhere: files of web servers, archives, git repositories.

use std::path::Path;
use std::process::Command;

use crate::support::base::{EPOCH, hex};
use crate::support::{Answer, Image, Web, WorkDir, tool};

/// What is in `/f`.
const CONTENT: &str = "of the server\n";

fn listing(image: &Image) -> Vec<String> {
    image.top().entries.iter().map(ToString::to_string).collect()
}

/// A tar archive with a file of another's.
fn archive(work: &WorkDir) -> Vec<u8> {
    work.write("packed/in/file", "packed\n");
    let tar = work.path("data.tar.gz");
    tool(
        Command::new("tar")
            .current_dir(work.path("packed"))
            .args(["--owner=app:1000", "--group=staff:50", "--mode=0750", "-czf"])
            .arg(&tar)
            .arg("in/file"),
    );
    std::fs::read(tar).unwrap()
}

#[test]
fn a_download_is_a_file_of_root() {
    let work = WorkDir::new();
    let web = Web::start();
    work.write("context/a.txt", "of the context\n");
    std::fs::set_permissions(
        work.path("context/a.txt"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let file = Answer::file(CONTENT).header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    for path in ["/f", "/dir/?q=/x", "/a%20b"] {
        web.answers(path, [file.clone()]);
    }
    web.answers("/", [Answer::file("")]);
    web.answers("/tar", [Answer::file(archive(&work))]);
    web.answers("/moved", [Answer::status(302).header("location", "/f")]);
    let rows: &[(&str, &[&str])] = &[
        ("ADD {url}/f /x", &["- 0600 0:0 x"]),
        ("ADD {url}/f /d/", &["d 0755 0:0 d", "- 0600 0:0 d/f"]),
        ("ADD {url}/moved /x", &["- 0600 0:0 x"]),
        (
            "ADD {url}/dir/?q=/x {url}/a%20b {url}/ /d/",
            &["d 0755 0:0 d", "- 0600 0:0 d/__unnamed__", "- 0600 0:0 d/a b", "- 0600 0:0 d/dir"],
        ),
        (
            "ADD --chown=app --chmod=755 {url}/f /d/",
            &["d 0755 1000:1000 d", "- 0755 1000:1000 d/f"],
        ),
        (
            "ADD a.txt {url}/f <<inline /d/\ntext\ninline",
            &["d 0755 0:0 d", "- 0644 0:0 d/a.txt", "- 0600 0:0 d/f", "- 0644 0:0 d/inline"],
        ),
        ("ARG NAME=f\nADD --link {url}/$NAME /x", &["- 0600 0:0 x"]),
        ("ADD {url}/tar /x", &["- 0600 0:0 x"]),
        ("ADD --unpack=false {url}/tar /x", &["- 0600 0:0 x"]),
        (
            "ADD --unpack {url}/tar /u",
            &["d 0755 0:0 u", "d 0755 0:0 u/in", "- 0750 1000:50 u/in/file"],
        ),
        ("ADD --unpack {url}/f /x", &["- 0600 0:0 x"]),
    ];
    for (instructions, expected) in rows {
        let instructions = instructions.replace("{url}", &web.url);
        let image = work.built(&format!("FROM {{base}}\n{instructions}\n"));
        assert_eq!(listing(&image), *expected, "{instructions}");
    }
    let image = work.built(&format!("FROM {{base}}\nADD {0}/f {0}/ /d/\n", web.url));
    assert_eq!(image.text("d/f"), CONTENT);
    assert_eq!(image.entry("d/f").unwrap().mtime, 784_111_777);
    assert_eq!(image.entry("d/__unnamed__").unwrap().mtime, 0);
    assert_eq!(image.entry("d").unwrap().mtime, EPOCH);
    let history = image.config["history"].as_array().unwrap().last().unwrap();
    assert_eq!(history["created_by"], format!("ADD {0}/f {0}/ /d/ # buildkit", web.url));
    // Local archives too can be left as they are.
    std::fs::write(work.path("context/data.tar.gz"), archive(&work)).unwrap();
    let image = work.built("FROM {base}\nADD --unpack=false data.tar.gz /x/\n");
    assert!(image.entry("x/data.tar.gz").is_some());
}

#[test]
fn what_has_not_changed_is_not_fetched_again() {
    let work = WorkDir::new();
    let web = Web::start();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (path, header, value) in
        [("/etag", "etag", "\"one\""), ("/date", "last-modified", date), ("/neither", "x-a", "b")]
    {
        web.answers(path, [Answer::file(CONTENT).header(header, value)]);
        let dockerfile = format!("FROM scratch\nADD {}{path} /f\n", web.url);
        web.asked();
        let first = work.built(&dockerfile);
        let asked = web.asked();
        assert_eq!((asked.len(), asked[0].status), (1, 200), "{asked:?}");
        assert_eq!(asked[0].path, path);
        let second = work.build(&dockerfile).succeeds();
        assert!(second.stderr.contains("CACHED"), "{}", second.stderr);
        assert_eq!(work.image().digest, first.digest);
        let asked = web.asked();
        let status = if path == "/neither" { 200 } else { 304 };
        assert_eq!((asked.len(), asked[0].status), (1, status), "{asked:?}");
        // Other content, other steps.
        web.answers(
            path,
            [Answer::file("changed").header(header, "Mon, 07 Nov 1994 08:49:37 GMT")],
        );
        assert_eq!(work.built(&dockerfile).text("f"), "changed");
    }
    // Of one build the same file is fetched once.
    web.asked();
    work.built(&format!("FROM scratch\nADD {0}/etag /f\nADD {0}/etag /g\n", web.url));
    assert_eq!(web.asked().len(), 1);
}

#[test]
fn a_checksum_is_kept() {
    let work = WorkDir::new();
    let web = Web::start();
    web.answers("/f", [Answer::file(CONTENT)]);
    let sum = format!("sha256:{}", hex(CONTENT.as_bytes()));
    let dockerfile = format!("FROM scratch\nARG SUM={sum}\nADD --checksum=$SUM {}/f /f\n", web.url);
    assert_eq!(work.built(&dockerfile).text("f"), CONTENT);
    // Then it is known, whatever the server has to say.
    web.asked();
    web.answers("/f", [Answer::status(500)]);
    work.build(&dockerfile).succeeds();
    assert_eq!(web.asked().len(), 0);
    web.answers("/f", [Answer::file("something else")]);
    WorkDir::new()
        .build(&dockerfile)
        .fails(65)
        .says("Dockerfile:3")
        .says(&format!("has the digest sha256:{}", hex(b"something else")))
        .says(&format!("not {sum} as --checksum says"));
    let zeros = "0".repeat(64);
    for (add, says) in [
        (format!("--checksum=sha256:{zeros} /f"), "is for a URL or a git repository"),
        (format!("--checksum=sha256:{zeros} {}/f /g", web.url), "is for one source"),
        (format!("--checksum=sha256:0 {}/f", web.url), "malformed digest"),
        (format!("--checksum=md5:{zeros} {}/f", web.url), "unsupported digest algorithm"),
    ] {
        work.build(&format!("FROM scratch\nADD {add} /x/\n")).fails(65).says(says);
    }
}

#[test]
fn servers_fail_in_many_ways() {
    let work = WorkDir::new();
    let web = Web::start();
    let add = |path: &str| work.build(&format!("FROM scratch\nADD {}{path} /x\n", web.url));
    web.answers("/private", [Answer::status(401)]);
    web.answers("/gone", [Answer::status(410)]);
    web.answers("/away", [Answer::status(302).header("location", "ftp://x/y")]);
    for (path, code, says) in [
        ("/nothing?token=hidden", 66, "/nothing: the server answered with status 404"),
        ("/gone", 66, "status 410"),
        ("/private", 77, "--secret id=HTTP_AUTH_TOKEN_127.0.0.1,src=FILE"),
        ("/away", 69, "neither http nor https"),
    ] {
        let output = add(path).fails(code).says("Dockerfile:2").says(says);
        // Nothing else is said of the URL.
        let cause = output.stderr.split("in [").nth(1).unwrap();
        assert!(!cause.contains("hidden"), "{cause}");
    }
    // What passes is tried again; a file that breaks off is no file.
    web.answers(
        "/shaky",
        [Answer::status(503), Answer::file(CONTENT).cut(3), Answer::file(CONTENT)],
    );
    add("/shaky").succeeds();
    assert_eq!(work.image().text("x"), CONTENT);
    let url = web.url.clone();
    drop(web);
    work.build(&format!("FROM scratch\nADD http://nothing.invalid/f {url}/x /y/\n"))
        .fails(69)
        .says("http://nothing.invalid/f");
}

#[test]
fn credentials_are_secrets() {
    let work = WorkDir::new();
    let web = Web::start();
    let other = Web::start();
    other.answers("/f", [Answer::file(CONTENT)]);
    web.answers("/f", [Answer::file(CONTENT)]);
    web.answers("/moved", [Answer::status(302).header("location", &format!("{}/f", other.url))]);
    let token = work.write("token", "abc\n");
    let token = format!("id=HTTP_AUTH_TOKEN_127.0.0.1,src={}", token.display());
    for (path, flags, expected) in [
        ("/f", vec![], None),
        ("/f", vec!["--secret", &token], Some("Bearer abc")),
        ("/moved", vec!["--secret", &token], Some("Bearer abc")),
        ("/f", vec!["--secret", "id=HTTP_AUTH_HEADER_127.0.0.1,env=HEADER"], Some("Basic eDp5")),
    ] {
        work.build(&format!("FROM scratch\nADD {}{path} /\n", web.url))
            .env("HEADER", "Basic eDp5")
            .flags(["--no-cache"])
            .flags(flags)
            .succeeds();
        let asked = web.asked();
        assert_eq!(asked[0].headers.get("authorization").map(String::as_str), expected);
    }
    // Not for who answers in another's place.
    let asked = other.asked();
    assert_eq!((asked.len(), asked[0].headers.get("authorization")), (1, None));
}

/// A bare repository `git/app.git` with two commits, a branch and a tag.
fn repository(work: &WorkDir) -> Vec<String> {
    let source = work.path("source");
    std::fs::create_dir(&source).unwrap();
    let git = |args: &[&str]| {
        tool(
            Command::new("git")
                .current_dir(&source)
                .args(["-c", "user.name=them", "-c", "user.email=them@example.org"])
                .args(["-c", "commit.gpgsign=false"])
                .args(args)
                .env("HOME", work.path("home"))
                .env("GIT_COMMITTER_DATE", "2020-01-02T03:04:05Z")
                .env("GIT_AUTHOR_DATE", "2020-01-02T03:04:05Z"),
        )
        .trim()
        .to_owned()
    };
    git(&["init", "-q", "-b", "main"]);
    let commit = |text: &str| {
        work.write("source/file", text);
        work.write("source/sub/run.sh", text);
        tool(Command::new("chmod").arg("755").arg(work.path("source/sub/run.sh")));
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", text]);
        git(&["rev-parse", "HEAD"])
    };
    let first = commit("first\n");
    git(&["tag", "v1"]);
    work.write("source/Dockerfile", "FROM scratch\nCOPY . /all/\n");
    work.write("source/.dockerignore", "file\n");
    let second = commit("second\n");
    let target = work.path("git/app.git");
    git(&["clone", "-q", "--bare", ".", target.to_str().unwrap()]);
    vec![first, second]
}

#[test]
fn a_repository_is_added() {
    let work = WorkDir::new();
    let web = Web::start();
    let commits = repository(&work);
    web.serve_git(&work.path("git"));
    let (first, second) = (&commits[0], &commits[1]);
    let of_first =
        &["d 0755 0:0 r", "- 0644 0:0 r/file", "d 0755 0:0 r/sub", "- 0755 0:0 r/sub/run.sh"][..];
    let sub = &["d 0755 0:0 r", "- 0755 0:0 r/run.sh"][..];
    for (add, expected, text) in [
        ("{url}#v1 /r", of_first, "first\n"),
        (&format!("{{url}}#{first} /r/"), of_first, "first\n"),
        ("{url}?tag=v1 /r", of_first, "first\n"),
        (&format!("--checksum={first} {{url}}#v1 /r"), of_first, "first\n"),
        ("{url}#main:sub /r/", sub, "second\n"),
        ("{url}?subdir=sub /r/", sub, "second\n"),
        (
            "--chown=5:6 --chmod=700 {url}?subdir=sub /r/",
            &["d 0700 5:6 r", "- 0700 5:6 r/run.sh"],
            "second\n",
        ),
    ] {
        let add = add.replace("{url}", &format!("{}/git/app.git", web.url));
        let image = work.built(&format!("FROM {{base}}\nADD {add}\n"));
        assert_eq!(listing(&image), *expected, "{add}");
        let file = if expected == of_first { "r/file" } else { "r/run.sh" };
        assert_eq!(image.text(file), text, "{add}");
        assert_eq!(image.entry(file).unwrap().mtime, EPOCH, "{add}");
    }
    let url = format!("{}/git/app.git", web.url);
    let image = work.built(&format!("FROM scratch\nADD --keep-git-dir=true {url} /r\n"));
    assert!(image.entry("r/.git/HEAD").is_some());
    assert_eq!(image.text("r/file"), "second\n");
    // The commit decides, however it is named.
    work.built(&format!("FROM scratch\nADD {url}#main /r\n"));
    let again = work.build(&format!("FROM scratch\nADD {url}#{second} /r\n")).succeeds();
    assert!(again.stderr.contains("CACHED"), "{}", again.stderr);
    for (add, code, says) in [
        (format!("ADD {url}#nothing /r"), 66, "has no branch or tag \"nothing\""),
        (format!("ADD {url}#main:nothing /r"), 66, "has no directory \"nothing\""),
        (format!("ADD --checksum={first} {url}#main /r"), 65, "expected checksum to match"),
        (format!("ADD {url}?nope=1 /r"), 65, "unexpected query \"nope\""),
        (
            format!("ADD --keep-git-dir=false {url}?keep-git-dir=true /r"),
            65,
            "say different things of .git",
        ),
        (format!("ADD {}/git/none.git /r", web.url), 66, "no such repository"),
        (format!("COPY {url} /r"), 65, "COPY takes no URL or git repository"),
    ] {
        work.build(&format!("FROM scratch\n{add}\n")).fails(code).says("Dockerfile:2").says(says);
    }
    web.asked();
    work.build(&format!("FROM scratch\nADD {url} /r\n"))
        .flags(["--secret", "id=GIT_AUTH_TOKEN,env=TOKEN"])
        .env("TOKEN", "abc")
        .succeeds();
    let asked = web.asked();
    let sent = asked[0].headers.get("authorization").map(String::as_str);
    assert_eq!(sent, Some("Basic eC1hY2Nlc3MtdG9rZW46YWJj"));
}

/// `yado build` of a context that is elsewhere; the image in the layout `image/`.
fn build_of(work: &WorkDir, context: &str) -> crate::support::Yado {
    let output = format!("type=oci,tar=false,dest={}", work.path("image").display());
    work.yado(["build", "--output", &output, context])
}

fn paths(image: &Image) -> Vec<&str> {
    image.layers.iter().flat_map(super::support::Layer::paths).collect()
}

#[test]
fn the_context_is_a_repository() {
    let work = WorkDir::new();
    let web = Web::start();
    repository(&work);
    web.serve_git(&work.path("git"));
    let url = format!("{}/git/app.git", web.url);
    build_of(&work, &url).succeeds();
    // No ignore file holds there, as with docker.
    let all =
        ["all", "all/.dockerignore", "all/Dockerfile", "all/file", "all/sub", "all/sub/run.sh"];
    assert_eq!(paths(&work.image()), all);
    build_of(&work, &format!("{url}#main:sub"))
        .flags(["-f", "-"])
        .stdin("FROM scratch\nCOPY run.sh /\n")
        .succeeds();
    assert_eq!(work.image().text("run.sh"), "second\n");
    build_of(&work, &format!("{url}#v1"))
        .fails(66)
        .says("there is no file Dockerfile in the build context");
    work.yado(["build", "--call=targets", &url]).succeeds();
    work.yado(["build", "--check", &format!("{url}#main")]).succeeds();
    build_of(&work, &format!("{url}#v9")).fails(66).says("has no branch or tag \"v9\"");
    // By name.
    work.build(
        "FROM app AS files\nFROM scratch\nCOPY --from=files file /a\nCOPY --from=app sub /b\n",
    )
    .flags(["--build-context", &format!("app={url}")])
    .succeeds();
    assert_eq!(paths(&work.image()), ["a", "b", "b/run.sh"]);
}

#[test]
fn the_context_is_an_archive() {
    let work = WorkDir::new();
    let web = Web::start();
    work.write("source/Dockerfile", "FROM scratch\nCOPY a.txt d /\n");
    work.write("source/other", "FROM scratch\nCOPY other /\n");
    work.write("source/a.txt", "a\n");
    work.write("source/d/b.txt", "b\n");
    std::os::unix::fs::symlink("/etc/passwd", work.path("source/d/out")).unwrap();
    for (name, flag) in [("tar", "-c"), ("tar.gz", "-cz"), ("tar.xz", "-cJ")] {
        let tar = work.path(name);
        tool(
            Command::new("tar")
                .current_dir(work.path("source"))
                .args(["--owner=app:1000", "--group=staff:50", flag, "-f"])
                .arg(&tar)
                .arg("."),
        );
        let bytes = std::fs::read(&tar).unwrap();
        build_of(&work, "-").stdin(bytes.clone()).succeeds();
        let image = work.image();
        assert_eq!(paths(&image), ["a.txt", "b.txt", "out"], "{name}");
        assert_eq!((image.entry("a.txt").unwrap().uid, image.text("a.txt")), (0, "a\n".into()));
        build_of(&work, "-").flags(["-f", "other"]).stdin(bytes.clone()).succeeds();
        assert_eq!(paths(&work.image()), ["other"], "{name}");
        web.answers("/context", [Answer::file(bytes)]);
        build_of(&work, &format!("{}/context", web.url)).succeeds();
        assert_eq!(work.image().digest, {
            build_of(&work, work.path("source").to_str().unwrap()).succeeds();
            work.image().digest
        });
    }
    // A Dockerfile alone.
    web.answers("/Dockerfile", [Answer::file("FROM scratch\nCOPY <<f context /\nx\nf\n")]);
    build_of(&work, &format!("{}/Dockerfile", web.url)).succeeds();
    assert_eq!(paths(&work.image()), ["context", "f"]);
    // A named one is a file, whatever is in it.
    let named = format!("app={}/context", web.url);
    work.build("FROM scratch\nCOPY --from=app . /\n").flags(["--build-context", &named]).succeeds();
    assert_eq!(paths(&work.image()), ["context"]);
    for (stdin, code, says) in [
        (
            &b"\x1f\x8bnot packed"[..],
            65,
            "standard input is neither a Dockerfile nor a tar archive",
        ),
        (&std::fs::read(work.path("tar")).unwrap()[..2000], 65, "the build context"),
    ] {
        build_of(&work, "-").stdin(stdin).fails(code).says(says);
    }
    build_of(&work, &format!("{}/none", web.url))
        .fails(66)
        .says("/none: the server answered with status 404");
    build_of(&work, "-").flags(["-f", "none"]).stdin("").fails(66).says("there is no file none");
    assert!(!Path::new("/passwd").exists());
}
