//! RUN --mount: what each type shows, who may write to it, and that none of it stays.

use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::{Identity, WorkDir, tool};

/// Isolations that this user has.
fn isolations() -> &'static [&'static str] {
    match Identity::here() {
        Identity::Root => &["namespaces", "chroot"],
        Identity::Subordinate | Identity::Single => &["namespaces"],
    }
}

/// Builds in each isolation; `/result` of the image is what is expected.
fn shows(rows: &[(&str, &str)]) {
    for isolation in isolations() {
        let work = WorkDir::new();
        work.write("context/file", "of the context");
        work.write("context/dir/below/deep", "deep");
        work.write("context/secret.key", "hidden");
        work.write("context/.dockerignore", "*.key\n");
        for (dockerfile, expected) in rows {
            work.build(&format!("FROM {{base}} AS stage\nRUN mkdir /made && echo made > /made/file\nFROM {{base}}\n{dockerfile}"))
                .flags(["--isolation", isolation])
                .succeeds();
            let image = work.image();
            assert_eq!(image.text("result").trim_end(), *expected, "{isolation}: {dockerfile}");
            assert_eq!(image.top().paths(), ["result"], "{isolation}: {dockerfile}");
        }
    }
}

#[test]
fn a_bind_shows_files_of_the_context_a_stage_or_an_image() {
    shows(&[
        ("RUN --mount=target=/context cat /context/file > /result", "of the context"),
        ("RUN --mount=type=bind,source=dir,target=/d cat /d/below/deep > /result", "deep"),
        ("RUN --mount=source=file,target=/etc/one cat /etc/one > /result", "of the context"),
        ("RUN --mount=target=/c ls -A /c > /result", ".dockerignore\nDockerfile\ndir\nfile"),
        ("RUN --mount=target=/c stat -c %u:%g:%a /c /c/file > /result", "0:0:755\n0:0:644"),
        ("RUN --mount=from=stage,target=/s cat /s/made/file > /result", "made"),
        ("RUN --mount=from=0,src=made,dst=/s cat /s/file > /result", "made"),
        ("RUN --mount=from={base},source=/opt/full,target=/o ls /o > /result", "a\nb\nc"),
        ("WORKDIR /opt/full\nRUN --mount=source=file,target=./d cat d > /result", "of the context"),
        ("RUN --mount=target=/c,rw echo new > /c/file && cat /c/file > /result", "new"),
        (
            "RUN --mount=from=stage,target=/s,rw echo new > /s/made/file && rm /s/bin/sh && cat /s/made/file > /result",
            "new",
        ),
    ]);
}

#[test]
fn a_bind_is_read_only_unless_asked() {
    let work = WorkDir::new();
    work.write("context/file", "content");
    for from in ["", "from={base},"] {
        let dockerfile =
            format!("FROM {{base}}\nRUN --mount={from}target=/m ! touch /m/new 2> /result\n");
        let image = work.built(&dockerfile);
        let text = image.text("result");
        assert!(text.contains("Read-only file system"), "{text}");
    }
    // What a writable one took is gone, also from the context.
    work.build("FROM {base}\nRUN --mount=target=/m,rw echo changed > /m/file\n").succeeds();
    assert_eq!(std::fs::read_to_string(work.path("context/file")).unwrap(), "content");
}

#[test]
fn the_content_of_a_bind_is_part_of_the_key() {
    let work = WorkDir::new();
    work.write("context/used/file", "one");
    let dockerfile = "FROM {base}\nRUN --mount=source=used,target=/m cat /m/file > /result\n";
    let result = || work.image().text("result");
    work.build(dockerfile).succeeds();
    work.write("context/unused", "two");
    work.build(dockerfile).succeeds().says("1 step (1 cached)");
    work.write("context/used/file", "two");
    work.build(dockerfile).succeeds();
    assert_eq!(result(), "two");
}

#[test]
fn a_cache_outlives_the_build_and_is_in_no_layer() {
    for isolation in isolations() {
        let work = WorkDir::new();
        let run = |script: &str, options: &str| {
            let dockerfile = format!(
                "FROM {{base}}\nRUN --mount=type=cache,target=/var/cache/x{options} {script}\n"
            );
            work.build(&dockerfile).flags(["--isolation", isolation]).succeeds();
            let image = work.image();
            assert_eq!(image.top().paths(), ["result"]);
            image.text("result")
        };
        assert_eq!(
            run("echo 1 > /var/cache/x/a; stat -c %a:%u /var/cache/x > /result", ""),
            "755:0\n"
        );
        assert_eq!(run("cat /var/cache/x/a > /result", ""), "1\n");
        assert_eq!(run("cat /var/cache/x/a > /result", ",id=/var/cache//x/"), "1\n");
        assert_eq!(run("ls /var/cache/x | wc -l > /result", ",id=other,mode=0700"), "0\n");
        assert_eq!(run("stat -c %a /var/cache/x > /result", ",id=other,mode=0700"), "700\n");
        assert_eq!(
            run("cat /var/cache/x/a > /result # seeded", ",id=seeded,from={base},source=/opt/full"),
            "a"
        );
        if *isolation == "namespaces" {
            let seen = run("! touch /var/cache/x/b 2> /dev/null; ls /var/cache/x > /result", ",ro");
            assert_eq!(seen, "a\n");
        }
        let du = work.yado(["store", "du"]).succeeds().stdout;
        assert!(du.contains("3 cache mounts") && du.contains("/var/cache/x "), "{du}");
        let pruned = work.yado(["store", "prune"]).succeeds().stdout;
        assert!(pruned.contains("3 cache mounts"), "{pruned}");
        assert_eq!(run("ls /var/cache/x | wc -l > /result # again", ""), "0\n");
    }
}

#[test]
fn the_content_of_a_cache_is_not_in_the_key() {
    let work = WorkDir::new();
    let dockerfile = "FROM {base}\nRUN --mount=type=cache,target=/c date > /c/time && touch /x\n";
    work.build(dockerfile).succeeds();
    work.build(dockerfile).succeeds().says("1 step (1 cached)");
}

/// Two builds at once, each of which waits for the other in a cache that both have, or
/// finds out that it is alone.
fn at_once(sharing: &str) -> (String, String) {
    let work = WorkDir::new();
    let build = |name: &str, other: &str| {
        let dockerfile = format!(
            "FROM {{base}}\nRUN --mount=type=cache,id=c,target=/c,sharing={sharing} touch /c/{name}; \
             n=0; while [ ! -e /c/{other} ] && [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done; \
             ls /c > /result\n"
        )
        .replace("{base}", &crate::support::base().reference);
        work.write(&format!("{name}/Dockerfile"), dockerfile);
        let output =
            format!("type=oci,tar=false,dest={}", work.path(format!("{name}-image")).display());
        let context = work.path(name);
        work.yado(["build", "--output", &output, context.to_str().unwrap()]).start()
    };
    let (one, two) = (build("one", "two"), build("two", "one"));
    let (one, two) = (one.finish().with_code(0), two.finish().with_code(0));
    drop((one, two));
    let result = |name: &str| {
        let image = crate::support::Image::read(&work.path(format!("{name}-image")));
        image.text("result").replace('\n', " ")
    };
    (result("one"), result("two"))
}

#[test]
fn sharing_says_who_may_use_a_cache_at_a_time() {
    assert_eq!(at_once("shared"), ("one two ".to_owned(), "one two ".to_owned()));
    assert_eq!(at_once("private"), ("one ".to_owned(), "two ".to_owned()));
    // The later one finds what the earlier one has left.
    let (one, two) = at_once("locked");
    assert!(
        one == "one " && two == "one two " || two == "two " && one == "one two ",
        "{one}/{two}"
    );
}

#[test]
fn a_tmpfs_is_empty_and_limited() {
    shows(&[
        ("RUN --mount=type=tmpfs,target=/opt/full ls /opt/full | wc -l > /result", "0"),
        ("RUN --mount=type=tmpfs,target=/t touch /t/x && stat -c %a /t > /result", "1777"),
        (
            "RUN --mount=type=tmpfs,target=/t --mount=target=/t/c cat /t/c/file > /result",
            "of the context",
        ),
    ]);
    let work = WorkDir::new();
    let dockerfile = "FROM {base}\nRUN --mount=type=tmpfs,target=/t,size=64k \
        ! dd if=/dev/zero of=/t/x bs=1k count=100 2> /result\n";
    let image = work.built(dockerfile);
    let text = image.text("result");
    assert!(text.contains("No space left"), "{text}");
}

#[test]
fn a_secret_is_a_file_or_a_variable_and_nowhere_else() {
    let secret = "the-secret-of-this-test";
    for isolation in isolations() {
        let work = WorkDir::new();
        let file = work.write("token", secret);
        let flag = format!("id=token,src={}", file.display());
        let run = |mount: &str, script: &str| {
            let dockerfile = format!("FROM {{base}}\nRUN --mount=type=secret,{mount} {script}\n");
            work.build(&dockerfile)
                .flags(["--secret", &flag, "--secret", "id=variable,env=MY_TOKEN"])
                .flags(["--secret", "id=MY_TOKEN", "--isolation", isolation])
                .env("MY_TOKEN", secret)
                .run()
        };
        for (mount, script) in [
            ("id=token", "cat /run/secrets/token | wc -c > /result"),
            ("id=token", "stat -c %a:%u /run/secrets/token | grep 400:0 && echo 23 > /result"),
            ("source=token,target=/etc/t", "cat /etc/t | wc -c > /result"),
            (
                "target=/x/token,mode=0444",
                "cat /x/token | wc -c > /result; stat -c %a /x/token | grep 444",
            ),
            ("id=token,env=T", "test ! -e /run/secrets/token && printf %s $T | wc -c > /result"),
            ("id=variable,env=T,target=/t", "printf %s $T | cmp - /t && wc -c < /t > /result"),
            ("id=MY_TOKEN", "wc -c < /run/secrets/MY_TOKEN > /result"),
        ] {
            run(mount, script).with_code(0);
            let image = work.image();
            assert_eq!(image.text("result"), "23\n", "{mount}");
            assert_eq!(image.top().paths(), ["result"], "{isolation}: {mount}");
        }
        // Neither in the store nor in what was written.
        let found = Command::new("grep")
            .args(["-rlF", secret])
            .args([work.path("store"), work.path("image")])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        run("id=absent", "test ! -e /run/secrets/absent").with_code(0);
        run("id=absent,required", "true").with_code(65).says(
            "the secret absent is required and was not given; pass --secret id=absent,src=FILE",
        );
    }
}

#[test]
fn a_secret_is_not_in_the_key() {
    let work = WorkDir::new();
    let dockerfile = "FROM {base}\nRUN --mount=type=secret,id=s,env=S test -n $S && touch /x\n";
    for (value, says) in [("one", "1 step"), ("two", "1 step (1 cached)")] {
        let build = work.build(dockerfile).flags(["--secret", "id=s,env=S"]).env("S", value);
        build.succeeds().says(says);
    }
}

/// Puts `ssh-add` and its libraries into the context's `ssh/`, as they stand in a root.
fn with_ssh_add(work: &WorkDir) {
    let program = "/usr/bin/ssh-add";
    let libraries = tool(Command::new("ldd").arg(program));
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths {
        work.write(&format!("context/ssh{path}"), std::fs::read(path).unwrap());
    }
    work.write("context/ssh/bin/ssh-add", std::fs::read(program).unwrap());
    tool(Command::new("chmod").args(["-R", "755"]).arg(work.path("context/ssh")));
}

#[test]
fn an_agent_answers() {
    let work = WorkDir::new();
    // A short name: the address of a socket has room for 107 bytes.
    let (socket, key) = (work.path("a"), work.path("key"));
    tool(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "of-the-test", "-f"])
            .arg(&key),
    );
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).spawn().unwrap();
    crate::support::eventually("the agent's socket", || socket.exists().then_some(()));
    tool(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket));
    with_ssh_add(&work);
    let users: &[&str] = match Identity::here() {
        Identity::Single => &["root"],
        _ => &["root", "app"],
    };
    for user in users {
        let id = if *user == "app" { ",uid=1000" } else { "" };
        let dockerfile = format!(
            "FROM {{base}}\nCOPY ssh /\nUSER {user}\nRUN --mount=type=ssh{id} ssh-add -l | grep of-the-test\n\
             RUN --mount=type=ssh,id=other,target=/tmp/agent test ! -e /tmp/agent\n"
        );
        work.build(&dockerfile)
            .flags(["--ssh", "default", "--no-cache"])
            .env("SSH_AUTH_SOCK", &socket)
            .succeeds();
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    work.build("FROM {base}\nRUN --mount=type=ssh,required true\n")
        .fails(65)
        .says("the agent default is required and was not given; pass --ssh default");
    let _listener = UnixListener::bind(work.path("deaf")).unwrap();
    work.build("FROM {base}\n")
        .flags(["--ssh", &format!("id={}", key.display())])
        .fails(64)
        .says("is not a socket; a key is used through an agent");
}

#[test]
fn mount_points_leave_no_trace() {
    let work = WorkDir::new();
    work.write("context/file", "x");
    let image = work.built(
        "FROM {base}\nRUN --mount=target=/a/b/c --mount=type=cache,target=/opt/new/cache \
         --mount=type=tmpfs,target=/mnt/t --mount=type=tmpfs,target=/mnt/t/below true\n",
    );
    assert_eq!(image.layers.len(), 2, "{:?}", image.top().paths());
}

#[test]
fn what_is_mounted_must_be_there() {
    let work = WorkDir::new();
    work.write("context/file", "x");
    for (mount, says) in [
        ("source=fiel,target=/m", "did you mean file?"),
        // A name is no pattern.
        ("source=f*,target=/m", "f* is not in the build context"),
        (
            "from={base},source=/none,target=/m",
            "/none is not in the stage or image that from= names",
        ),
    ] {
        work.build(&format!("FROM {{base}}\nRUN --mount={mount} true\n")).fails(66).says(says);
    }
}

#[test]
fn more_rights_must_be_allowed() {
    let work = WorkDir::new();
    let dockerfile =
        "FROM {base}\nRUN --security=insecure grep -i capeff /proc/self/status > /caps\n";
    work.build(dockerfile).fails(65).says("allow it with --allow security.insecure");
    let caps = |dockerfile: &str| {
        work.build(dockerfile).flags(["--allow", "security.insecure"]).succeeds();
        let text = work.image().text("caps");
        u64::from_str_radix(text.split_whitespace().last().unwrap(), 16).unwrap()
    };
    let usual = caps(&dockerfile.replace("--security=insecure", "--security=sandbox"));
    assert!(caps(dockerfile).count_ones() > usual.count_ones());
    work.build("FROM {base}\n")
        .flags(["--allow", "everything"])
        .fails(64)
        .says("security.insecure");
}

#[test]
fn a_cache_with_another_owner_or_mode_is_another_cache() {
    let work = WorkDir::new();
    let result = |options: &str| {
        let dockerfile = format!(
            "FROM {{base}}\nRUN --mount=type=cache,id=one,target=/c{options} \
             ls /c > /result; stat -c %a /c >> /result; touch /c/file\n"
        );
        work.build(&dockerfile).flags(["--no-cache"]).succeeds();
        work.image().text("result")
    };
    assert_eq!(result(""), "755\n");
    assert_eq!(result(",mode=0770"), "770\n");
    assert_eq!(result(""), "file\n755\n");
}

#[test]
fn a_cache_at_two_places_is_one() {
    let work = WorkDir::new();
    for sharing in ["shared", "private", "locked"] {
        let mount =
            |target| format!("--mount=type=cache,id={sharing},sharing={sharing},target=/{target}");
        let dockerfile = format!(
            "FROM {{base}}\nRUN {} {} touch /one/file && ls /two > /result\n",
            mount("one"),
            mount("two")
        );
        assert_eq!(work.built(&dockerfile).text("result"), "file\n", "{sharing}");
    }
}

#[test]
fn what_a_cache_begins_with_is_in_the_key() {
    let work = WorkDir::new();
    let dockerfile = "FROM {base} AS seed\nCOPY file /d/file\nFROM {base}\n\
        RUN --mount=type=cache,target=/c,from=seed,source=/d cp /c/file /result\n";
    for content in ["one", "two"] {
        work.write("context/file", content);
        assert_eq!(work.built(dockerfile).text("result"), content);
    }
}

#[test]
fn the_host_name_is_in_the_key() {
    let work = WorkDir::new();
    for name in ["one", "two"] {
        let argument = format!("BUILDKIT_SANDBOX_HOSTNAME={name}");
        let build = work.build("FROM {base}\nRUN hostname > /result\n");
        build.flags(["--build-arg", &argument]).succeeds();
        assert_eq!(work.image().text("result"), format!("{name}\n"));
    }
}

/// In a chroot, where a cache is moved to its place and back, it is the step's to do with as it likes.
#[test]
fn a_step_in_a_chroot_cannot_spoil_a_cache() {
    if Identity::here() != Identity::Root {
        return;
    }
    let work = WorkDir::new();
    let outside = work.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let run = |script: &str, isolation: &str| {
        let dockerfile = format!(
            "FROM {{base}}\nRUN --mount=type=cache,target=/opt/c/x,id=c {script}\nRUN true\n"
        );
        work.build(&dockerfile).flags(["--no-cache", "--isolation", isolation]).succeeds();
        work.image()
    };
    run("touch /opt/c/x/kept", "chroot");
    // It goes home from wherever it is.
    let image = run("mv /opt/c/x /moved; touch /opt/c/x", "chroot");
    assert!(image.entry("moved/kept").is_none(), "{image}");
    assert_eq!(run("ls /opt/c/x > /result", "chroot").text("result"), "kept\n");
    run("rm -rf /opt/c", "chroot");
    run(&format!("rm -rf /opt/c/x && ln -s {} /opt/c/x", outside.display()), "chroot");
    run("touch /opt/c/x/new", "namespaces");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}
