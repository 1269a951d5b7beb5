//! RUN and `yado exec`: how a process is started, what it sees, how its end is told.

use std::fs;

use crate::support::{Identity, WorkDir, base, eventually};

/// What a user with one id is told when a step wants another.
const NO_SUCH_ID: &str = "give its user subordinate ids in /etc/subuid and /etc/subgid";

/// Whether a process with `argument` on its command line runs anywhere.
pub(crate) fn is_running(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

/// A number that no other process has on its command line, for `sleep`.
pub(crate) fn unique_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}", 100_000_000 + u64::from(std::process::id()) * 1000 + u64::from(number))
}

/// Isolations that this user has.
fn isolations() -> &'static [&'static str] {
    match Identity::here() {
        Identity::Root => &["namespaces", "chroot"],
        Identity::Subordinate | Identity::Single => &["namespaces"],
    }
}

#[test]
fn run_follows_the_instructions_before_it() {
    // Instructions, what the step writes, and whether it needs another id than root's.
    let rows = [
        ("RUN echo shell: $0 > /tmp/result", "shell: /bin/sh", false),
        (r#"RUN ["sh", "-c", "echo exec: $0 > /tmp/result", "me"]"#, "exec: me", false),
        (
            r#"RUN ["touch", "/tmp/$HOME"]
            RUN cd /tmp && echo * > /tmp/result"#,
            "$HOME",
            false,
        ),
        (
            "SHELL [\"/bin/ash\", \"-e\", \"-c\"]\nRUN echo $0 $- > /tmp/result",
            "/bin/ash ce",
            false,
        ),
        ("RUN a=1 && \\\n  # a comment\n  echo $a > /tmp/result", "1", false),
        ("RUN <<END\necho one > /tmp/result\necho two >> /tmp/result\nEND", "one\ntwo", false),
        ("WORKDIR /a/b\nRUN pwd > /tmp/result", "/a/b", false),
        ("WORKDIR /a\nWORKDIR b\nRUN pwd > /tmp/result", "/a/b", false),
        ("ENV D=/x\nWORKDIR $D/y\nRUN pwd > /tmp/result", "/x/y", false),
        ("ARG A=1\nENV B=$A C=\"x  y\"\nRUN echo \"$A$B$C\" > /tmp/result", "11x  y", false),
        ("RUN echo \"[$A]\" > /tmp/result\nARG A=1", "[]", false),
        ("ARG A=default\nENV A=stronger\nRUN echo $A > /tmp/result", "stronger", false),
        ("RUN echo $BASE_VARIABLE $PATH > /tmp/result", "of the base /bin", false),
        ("RUN umask > /tmp/result", "0022", false),
        ("USER nobody-knows\nWORKDIR /w\nUSER 0\nRUN stat -c %u /w > /tmp/result", "0", false),
        ("RUN id -u > /tmp/result; id -g >> /tmp/result; id -G >> /tmp/result", "0\n0\n0", false),
        ("USER 0:0\nRUN id -u > /tmp/result", "0", false),
        ("USER root\nRUN echo $HOME > /tmp/result", "/root", false),
        ("USER app\nRUN id -u > /tmp/result; id -g >> /tmp/result", "1000\n1000", true),
        ("USER app\nRUN id -G > /tmp/result", "1000 50", true),
        ("USER app\nRUN cd && pwd > /tmp/result", "/home/app", true),
        ("USER app:staff\nRUN id -u > /tmp/result; id -g >> /tmp/result", "1000\n50", true),
        ("USER 1234\nRUN id -u > /tmp/result; id -g >> /tmp/result", "1234\n0", true),
        ("USER 1234:4321\nRUN id -u > /tmp/result; id -g >> /tmp/result", "1234\n4321", true),
        (
            "USER app\nRUN ls /root 2>&1 | grep -o 'Permission.*' > /tmp/result",
            "Permission denied",
            true,
        ),
        (
            "USER app\nWORKDIR /mine\nRUN touch /mine/file && stat -c %U . > /tmp/result",
            "app",
            true,
        ),
    ];
    let work = WorkDir::new();
    for isolation in isolations() {
        for (instructions, expected, needs_ids) in &rows {
            let build = work.build(&format!("FROM {{base}}\n{instructions}\n")).flags([
                "--isolation",
                isolation,
                "--no-cache",
            ]);
            if *needs_ids && Identity::here() == Identity::Single {
                let output = build.run();
                assert_ne!(output.status.code(), Some(0), "{instructions}");
                output.says(NO_SUCH_ID);
                continue;
            }
            build.succeeds();
            let result = work.image().text("tmp/result");
            assert_eq!(result.trim_end(), *expected, "{isolation}: {instructions}");
        }
    }
}

#[test]
fn a_failed_step_passes_on_its_code_and_last_words() {
    let rows: &[(&str, i32, &[&str])] = &[
        ("RUN echo said; echo last words >&2; exit 7", 7, &["said", "last words", "exit code 7"]),
        ("RUN false", 1, &["exit code 1", "Dockerfile:2: RUN false"]),
        ("RUN exit 255", 255, &["255"]),
        ("RUN kill -KILL $$", 137, &["signal 9"]),
        ("RUN kill -TERM $$", 143, &["signal 15"]),
        (r#"RUN ["sh", "-c", "kill -SEGV $$"]"#, 139, &["signal 11"]),
        ("RUN nowhere", 127, &["nowhere: not found", "exit code 127"]),
        (r#"RUN ["nowhere"]"#, 127, &["nowhere", "no such program in PATH (/bin)"]),
        (r#"RUN ["/nowhere"]"#, 127, &["cannot run /nowhere", "No such file"]),
        (r#"RUN ["/etc/passwd"]"#, 127, &["it is not executable"]),
        (r#"RUN ["/etc"]"#, 127, &["it is a directory"]),
        ("SHELL [\"/no/shell\"]\nRUN true", 127, &["cannot run /no/shell"]),
        (
            "RUN printf '#!/no/interpreter\\n' > /x && chmod +x /x\nRUN [\"/x\"]",
            127,
            &["interpreter"],
        ),
        ("USER stranger\nRUN true", 65, &["stranger", "/etc/passwd"]),
        ("USER app:strangers\nRUN true", 65, &["strangers", "/etc/group"]),
        ("RUN true\n\n\nRUN exit 3 # x", 3, &["Dockerfile:5"]),
    ];
    let work = WorkDir::new();
    for isolation in isolations() {
        for (run, code, words) in rows {
            // A failure is not remembered: it fails each time. Machines that read
            // events still get the last words with the error.
            for progress in ["plain", "quiet", "json"] {
                let output = work
                    .build(&format!("FROM {{base}}\n{run}\n"))
                    .flags(["--isolation", isolation, "--progress", progress])
                    .fails(*code);
                let output = words.iter().fold(output, |output, word| output.says(word));
                // None of these is for want of an id, whoever builds.
                assert!(!output.stderr.contains("hint:"), "{run}: {}", output.stderr);
                assert!(!work.path("image").exists(), "{run} left an image");
            }
        }
    }
}

#[test]
fn exec_passes_on_streams_and_code() {
    let work = WorkDir::new();
    let image = &base().reference;
    for (args, stdin, code, stdout) in [
        (&["--", "cat"][..], "through", 0, "through"),
        (&["sh", "-c", "echo out; exit 9"], "", 9, "out\n"),
        (&["sh", "-c", "kill -KILL $$"], "", 137, ""),
        (&["nowhere"], "", 127, ""),
        (&[], "echo by the shell that the image runs", 0, "by the shell that the image runs\n"),
        (&["-e", "A=b", "--", "sh", "-c", "echo $A"], "", 0, "b\n"),
        (&["-w", "/opt/full", "--", "ls"], "", 0, "a\nb\nc\n"),
        (
            &["--network", "none", "--", "sh", "-c", "tail -n +3 /proc/net/dev | cut -d: -f1"],
            "",
            0,
            "    lo\n",
        ),
        // What it writes is thrown away.
        (&["sh", "-c", "echo x > /file && cat /file"], "", 0, "x\n"),
        (&["cat", "/file"], "", 1, ""),
    ] {
        let split = args.iter().position(|arg| *arg == "--").unwrap_or(0);
        let (flags, command) = args.split_at(split);
        let all = ["exec"].into_iter().chain(flags.iter().copied()).chain([image.as_str()]);
        let output = work.yado(all.chain(command.iter().copied())).stdin(stdin).run();
        let output = output.with_code(code);
        assert_eq!(output.stdout, stdout, "{args:?}: {}", output.stderr);
    }
    work.write("shared/file", "from outside\n");
    let volume = |mode: &str| format!("{}:/mnt/in{mode}", work.path("shared").display());
    let run = |mode: &str, script: &str| {
        work.yado(["exec", "-v", &volume(mode), image, "sh", "-c", script])
    };
    assert_eq!(
        run("", "cat /mnt/in/file; echo new > /mnt/in/new").succeeds().stdout,
        "from outside\n"
    );
    assert_eq!(fs::read_to_string(work.path("shared/new")).unwrap(), "new\n");
    run(":ro", "echo newer > /mnt/in/new").fails(1).says("Read-only file system");
    let other_user = work.yado(["exec", "-u", "app", image, "id", "-u"]);
    match Identity::here() {
        Identity::Root | Identity::Subordinate => {
            assert_eq!(other_user.succeeds().stdout, "1000\n");
        }
        Identity::Single => drop(other_user.fails(65).says(NO_SUCH_ID)),
    }
}

#[test]
fn a_step_sees_its_own_machine() {
    let work = WorkDir::new();
    let secret = work.write("home/secret", "hidden");
    let hidden = format!(
        "ls -d {} {} {} 2>&1 | grep -c 'No such file'",
        work.path(".").display(),
        secret.display(),
        std::env::current_exe().unwrap().display(),
    );
    let rows = [
        // Init, and the shell.
        ("cd /proc; echo [0-9]*", "1 2"),
        (
            "cd /dev; echo *",
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
        ),
        (
            "for name in null zero full random urandom tty; do stat -c '%F %t:%T %a' /dev/$name; done",
            "character special file 1:3 666\n\
             character special file 1:5 666\n\
             character special file 1:7 666\n\
             character special file 1:8 666\n\
             character special file 1:9 666\n\
             character special file 5:0 666",
        ),
        (
            "echo x > /dev/null; head -c 2 /dev/zero | od -An -tx1; echo x > /dev/full || echo full",
            " 00 00\nfull",
        ),
        ("head -c 8 /dev/urandom | wc -c; head -c 8 /dev/random | wc -c", "8\n8"),
        (
            "readlink /dev/fd; readlink /dev/ptmx; stat -c %a /dev/shm",
            "/proc/self/fd\npts/ptmx\n1777",
        ),
        ("echo x > /dev/shm/x && cat /dev/shm/x", "x"),
        ("awk '$2 == \"/sys\" { print substr($4, 1, 2) }' /proc/mounts | tail -n 1", "ro"),
        (
            "(echo x > /proc/sys/kernel/domainname) 2>&1 | grep -o 'Read-only.*'",
            "Read-only file system",
        ),
        ("hostname", "yado"),
        ("grep -c localhost /etc/hosts", "2"),
        // The last one is that of ls itself.
        ("ls /proc/self/fd", "0\n1\n2\n3"),
        // A process of its own user namespace cannot look into init.
        ("cd /proc/1; readlink exe root cwd fd/0 fd/1 fd/2 | grep -c .", "0"),
        ("cat /proc/1/environ | wc -c", "0"),
        ("env | grep -c SECRET", "0"),
        (&hidden, "3"),
        // Docker's set.
        (
            "grep -E 'Cap(Eff|Bnd)' /proc/self/status | cut -f2",
            "00000000a80425fb\n00000000a80425fb",
        ),
        (
            "grep -c . /proc/keys; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v ':$' | grep -c .",
            "0\n0",
        ),
        ("mount -t tmpfs tmpfs /tmp 2>&1 | grep -oi 'permission denied'", "permission denied"),
        (
            "mkdir /tmp/d && chroot /tmp/d true 2>&1 | grep -o 'No such file.*'",
            "No such file or directory",
        ),
    ];
    let secretive = |command: crate::support::Yado| {
        command.env("SECRET_TOKEN", "hunter2").env("AWS_SECRET_ACCESS_KEY", "hunter3")
    };
    for (script, expected) in rows {
        let exec = work.yado(["exec", &base().reference, "sh", "-c", script]);
        let output = secretive(exec).run();
        assert_eq!(output.stdout.trim_end(), expected, "exec {script}: {}", output.stderr);
        let script = script.replace('\n', " ");
        let dockerfile = format!("FROM {{base}}\nRUN {{ {script}; }} > /tmp/result || true\n");
        let output = secretive(work.build(&dockerfile)).succeeds();
        let result = work.image().text("tmp/result");
        assert_eq!(result.trim_end(), expected, "RUN {script}: {}", output.stderr);
    }
}

#[test]
fn a_step_has_the_network_that_it_asks_for() {
    let work = WorkDir::new();
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort";
    let here = fs::read_to_string("/proc/net/dev").unwrap();
    let mut here: Vec<&str> =
        here.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    here.sort_unstable();
    for (flag, run_flag, alone) in [
        ("default", "", false),
        ("host", "", false),
        ("none", "", true),
        ("default", "--network=none", true),
    ] {
        let run = format!("FROM {{base}}\nRUN {run_flag} {interfaces} > /tmp/result\n");
        work.build(&run).flags(["--network", flag]).succeeds();
        let result = work.image().text("tmp/result");
        let result: Vec<&str> = result.lines().collect();
        let expected = if alone { &["lo"][..] } else { &here };
        assert_eq!(result, expected, "--network {flag}, RUN {run_flag}");
    }
    work.build("FROM {base}\nRUN --network=host true\n")
        .flags(["--network", "none"])
        .fails(65)
        .says("--network=host is refused");
    // The loopback interface works, as many test suites need.
    let serve = "(echo hello | nc -l -p 4242 &) ; \
                 until nc 127.0.0.1 4242 > /tmp/result 2>/dev/null; do true; done";
    let image = work.built(&format!("FROM {{base}}\nRUN --network=none {serve}\n"));
    assert_eq!(image.text("tmp/result"), "hello\n");
    for address in ["192.0.2.7", "192.0.2.8"] {
        work.build("FROM {base}\nRUN grep app.example /etc/hosts > /tmp/result\n")
            .flags(["--add-host", &format!("app.example:{address}")])
            .succeeds();
        let hosts = work.image().text("tmp/result");
        assert_eq!(hosts.split_whitespace().collect::<Vec<_>>(), [address, "app.example"]);
    }
}

/// What the builder was started with is his alone: neither umask nor limit nor
/// whose his pipes are decides what a step can do.
#[test]
fn a_step_is_free_of_the_builders_umask_and_limits() {
    let work = WorkDir::new();
    let user = if Identity::here() == Identity::Single { "root" } else { "app" };
    let dockerfile = format!(
        "FROM {{base}} AS base\n\
         FROM scratch\n\
         COPY --from=base /bin /bin\n\
         COPY --from=base /etc/passwd /etc/group /tmp/\n\
         RUN cp /tmp/passwd /tmp/group /etc/ && chmod 1777 /tmp\n\
         USER {user}\n\
         RUN cat /etc/resolv.conf /etc/hosts > /tmp/result && echo out > /dev/stdout && \
             echo err > /dev/stderr && ulimit -n > /tmp/files\n\
         USER root\n\
         RUN mkdir /deep && cd /deep && for i in $(seq 300); do mkdir d && cd d; done\n"
    );
    let mut digests = Vec::new();
    for umask in ["022", "077"] {
        let limits = format!("umask {umask}; ulimit -Sn 256; exec \"$@\"");
        let output = work
            .build(&dockerfile)
            .flags(["--no-cache"])
            .under(["sh", "-c", &limits, "sh"])
            .succeeds();
        for said in ["out", "err"] {
            assert!(output.stderr.contains(said), "{}", output.stderr);
        }
        let image = work.image();
        assert_eq!(image.text("tmp/files"), "256\n");
        digests.push(image.digest);
    }
    assert_eq!(digests[0], digests[1]);
}

/// Where times are kept, a step is still known by what goes into it.
#[test]
fn kept_times_do_not_keep_steps_from_the_cache() {
    let work = WorkDir::new();
    let build = || {
        work.build("FROM {base}\nRUN date +%s%N > /now\n")
            .flags(["--timestamps", "keep"])
            .succeeds();
        work.image().text("now")
    };
    assert_eq!(build(), build());
}

#[test]
fn nothing_that_a_step_started_outlives_it() {
    let work = WorkDir::new();
    for isolation in isolations() {
        let time = unique_sleep();
        let sleep = |number: u32| format!("sh -c 'touch /tmp/{number}; exec sleep {time}'");
        let starts = [
            format!("{} &", sleep(1)),
            format!("setsid {} >/dev/null 2>&1 &", sleep(2)),
            format!("({} &) &", sleep(3)),
            format!("(trap '' TERM INT HUP; setsid {} &)", sleep(4)),
        ]
        .join("\n");
        let wait = "until [ -e /tmp/1 -a -e /tmp/2 -a -e /tmp/3 -a -e /tmp/4 ]; do true; done";
        let script = format!("{starts}\n{wait}\n");
        work.build(&format!("FROM {{base}}\nRUN <<END\n{script}END\n"))
            .flags(["--isolation", isolation])
            .succeeds();
        assert!(!is_running(&time), "RUN, {isolation}");
        work.yado(["exec", "--isolation", isolation, &base().reference, "sh", "-c", &script])
            .succeeds();
        eventually("the end of all processes of exec", || (!is_running(&time)).then_some(()));
    }
}

#[test]
fn what_a_step_is_given_stays_out_of_the_image() {
    let work = WorkDir::new();
    work.write("context/hosts", "of the image\n");
    for isolation in isolations() {
        let build = |dockerfile: &str| {
            work.build(dockerfile).flags(["--isolation", isolation, "--no-cache"]).succeeds();
            work.image()
        };
        // The base has neither /proc, /sys and /dev nor /etc/hosts and the like.
        let image = build("FROM {base}\nRUN true\nRUN echo 192.0.2.1 x >> /etc/hosts || true\n");
        assert_eq!(image.layers.len(), 2, "{isolation}: {image}");
        let image = build("FROM {base}\nRUN touch /etc/mine\n");
        assert_eq!(image.top().paths(), ["etc", "etc/mine"], "{isolation}");
        // The image's own are covered, not changed.
        let image = build(
            "FROM {base}\nCOPY hosts /etc/hosts\nRUN ! grep 'of the image' /etc/hosts\nRUN touch /x\n",
        );
        assert_eq!(image.text("etc/hosts"), "of the image\n");
        assert_eq!(image.top().paths(), ["x"], "{isolation}");
        // A step may keep files where mount points were made.
        let image = build("FROM {base}\nRUN mkdir -p /var/x /tmp/dev/pts && touch /tmp/dev/null\n");
        assert_eq!(
            image.top().paths(),
            ["tmp", "tmp/dev", "tmp/dev/null", "tmp/dev/pts", "var", "var/x"],
            "{isolation}"
        );
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(work.path("store").to_str().unwrap()), "{mounts}");
}
