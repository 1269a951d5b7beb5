//! `yado exec`: a command in an image, with nothing left of it but what it printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::{Identity, Options, Registry, WorkDir, Yado, base, eventually};

fn exec(work: &WorkDir, flags: &[&str], image: &str, command: &[&str]) -> Yado {
    let args = [&["exec"], flags, &[image], command].concat();
    work.yado(args)
}

/// The code of the command, or 128 and its signal.
#[test]
fn exit_codes_and_signals_are_passed_on() {
    let work = WorkDir::new();
    let image = base().reference.as_str();
    for (command, code, says) in [
        (&["true"][..], 0, ""),
        (&["false"], 1, ""),
        (&["sh", "-c", "exit 42"], 42, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["--", "sh", "-c", "exit 3"], 3, ""),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["no-such-program"], 127, "no-such-program"),
        (&["/etc/passwd"], 127, "/etc/passwd"),
    ] {
        let output = exec(&work, &[], image, command).run();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{command:?}: {}", output.stderr);
        if says.is_empty() {
            assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{command:?}");
        }
    }
    let none = format!("{}/none:1", base().registry.host);
    exec(&work, &[], &none, &["true"]).fails(66).says(&none);
}

/// What flags change for the command.
#[test]
fn flags_change_the_surroundings() {
    let work = WorkDir::new();
    let image = base().reference.as_str();
    let one_id = Identity::here() == Identity::Single;
    for (flags, script, expected) in [
        (&[][..], "echo $BASE_VARIABLE; pwd; id -u; hostname", "of the base\n/\n0\nyado\n"),
        (
            &["-e", "A=1", "-e", "B=x y", "-e", "BASE_VARIABLE=mine"],
            "echo $A,$B,$BASE_VARIABLE",
            "1,x y,mine\n",
        ),
        (&["-e", "GIVEN", "-e", "UNSET"], "echo $GIVEN,${UNSET-unset}", "of the caller,unset\n"),
        (&["-w", "/home"], "pwd; echo $PWD", "/home\n/home\n"),
        (&["-w", "/made/here"], "pwd", "/made/here\n"),
        (
            &["--network", "none"],
            "cut -s -d: -f1 /proc/net/dev | tr -d ' '; wc -l < /proc/net/route",
            "lo\n1\n",
        ),
        (
            &["--add-host", "db:10.1.2.3", "--add-host", "six=[::2]"],
            "grep -E 'db|six' /etc/hosts",
            "10.1.2.3\tdb\n::2\tsix\n",
        ),
        (&[], "env | grep -c -E '^(YADO|HOME=.*yado-it|XDG|GIVEN)'; true", "0\n"),
        (&[], "echo $HOME", "/root\n"),
        (&["-u", "0:0"], "id -u; id -g", "0\n0\n"),
    ] {
        let output = exec(&work, flags, image, &["sh", "-c", script])
            .env("GIVEN", "of the caller")
            .run()
            .with_code(0);
        assert_eq!(output.stdout, expected, "{flags:?} {script}: {}", output.stderr);
    }
    for (user, expected) in [
        ("app", "1000:1000:/home/app\n"),
        ("1000", "1000:1000:/home/app\n"),
        ("app:staff", "1000:50:/home/app\n"),
        ("12:34", "12:34:/\n"),
    ] {
        let run =
            exec(&work, &["-u", user], image, &["sh", "-c", "echo $(id -u):$(id -g):$HOME"]).run();
        if one_id {
            run.with_code(65).says("/etc/subuid");
        } else {
            assert_eq!(run.with_code(0).stdout, expected, "{user}");
        }
    }
    exec(&work, &["-u", "nobody-there"], image, &["true"]).fails(65).says("nobody-there");
}

/// Standard input goes through, and its end as well.
#[test]
fn streams_go_through() {
    let work = WorkDir::new();
    let image = base().reference.as_str();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let output = exec(&work, &[], image, &["cat"]).stdin(bytes.clone()).succeeds();
    assert_eq!(output.bytes, bytes);
    let output = exec(&work, &[], image, &["sh", "-c", "read line; echo got $line; echo and >&2"])
        .stdin("a\nb\n")
        .succeeds();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("got a\n", "and\n"));
}

/// Files and directories of the outside.
#[test]
fn volumes_are_seen_inside() {
    let work = WorkDir::new();
    let image = base().reference.as_str();
    work.write("in/file", "outside\n");
    fs::create_dir(work.path("out")).unwrap();
    work.write("single", "one\n");
    fs::set_permissions(work.path("single"), fs::Permissions::from_mode(0o644)).unwrap();
    let volume = |from: &str, rest: &str| format!("{}:{rest}", work.path(from).display());
    let run = |volumes: &[String], script: &str| {
        let flags: Vec<&str> = volumes.iter().flat_map(|volume| ["-v", volume.as_str()]).collect();
        exec(&work, &flags, image, &["sh", "-c", script]).run()
    };
    let both =
        [volume("in", "/in:ro"), volume("out", "/deep/er/out"), volume("single", "/etc/single:ro")];
    let output = run(&both, "cat /in/file /etc/single; echo made > /deep/er/out/new").with_code(0);
    assert_eq!(output.stdout, "outside\none\n");
    assert_eq!(fs::read_to_string(work.path("out/new")).unwrap(), "made\n");
    for script in [
        "echo x > /in/file",
        "echo x > /in/new",
        "rm /in/file",
        "echo x > /etc/single",
        "mount -o remount,rw /in",
    ] {
        assert_ne!(run(&both, script).status.code(), Some(0), "{script}");
    }
    assert_eq!(fs::read_to_string(work.path("in/file")).unwrap(), "outside\n");
    assert_eq!(fs::read_to_string(work.path("single")).unwrap(), "one\n");
    // Over a file of the image, and relative to where yado was started.
    let passwd = ["single:/etc/passwd".to_owned()];
    assert_eq!(run(&passwd, "cat /etc/passwd").with_code(0).stdout, "one\n");
    // The volume is gone from the image, and so are the places made for it.
    assert_eq!(
        run(&[], "ls -d /in /deep /etc/single 2>/dev/null; wc -l < /etc/passwd")
            .with_code(0)
            .stdout,
        "3\n"
    );
}

/// What the command changes is thrown away.
#[test]
fn changes_are_thrown_away() {
    let work = WorkDir::new();
    let image = base().reference.as_str();
    let change = "echo x > /new; rm -r /opt/full; echo y >> /etc/passwd; ls /";
    exec(&work, &[], image, &["sh", "-c", change]).succeeds();
    let output = exec(
        &work,
        &[],
        image,
        &["sh", "-c", "ls /opt/full; ls -d /new 2>/dev/null; wc -l < /etc/passwd"],
    )
    .succeeds();
    assert_eq!(output.stdout, "a\nb\nc\n3\n");
    let used = work.yado(["store", "du"]).succeeds().stdout;
    assert!(used.contains("2 unpacked layers"), "{used}");
}

/// Without a command the image runs what it is for; the image comes from where it is.
#[test]
fn the_image_says_what_it_runs() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = |tag: &str| format!("{}/app:{tag}", registry.host);
    let steps = [
        ("cmd", "CMD echo of cmd", "of cmd\n"),
        ("entry", "ENTRYPOINT [\"echo\", \"of\"]\nCMD [\"both\"]", "of both\n"),
        ("user", "WORKDIR /opt\nENV X=1\nCMD [\"sh\", \"-c\", \"pwd; echo $X\"]", "/opt\n1\n"),
    ];
    for (tag, text, expected) in steps {
        work.build(&format!("FROM {{base}}\n{text}\n"))
            .flags(["-t", &name(tag), "--push"])
            .succeeds();
        // From a store that has never seen it.
        let other = WorkDir::new();
        let output = exec(&other, &[], &name(tag), &[]).succeeds();
        assert_eq!(output.stdout, expected, "{tag}");
        // With a command, that and nothing else.
        assert_eq!(exec(&other, &[], &name(tag), &["echo", "mine"]).succeeds().stdout, "mine\n");
    }
    // An image of the store that no registry has.
    work.build("FROM {base}\nCMD [\"echo\", \"local\"]\n")
        .flags(["-o", "type=image", "-t", "127.0.0.1:1/local:1"])
        .succeeds();
    assert_eq!(exec(&work, &[], "127.0.0.1:1/local:1", &[]).succeeds().stdout, "local\n");
    work.build("FROM scratch\nLABEL a=b\n").flags(["-t", &name("empty"), "--push"]).succeeds();
    exec(&work, &[], &name("empty"), &[]).fails(65).says("neither ENTRYPOINT nor CMD");
    // A new image under an old name is seen with --pull only.
    let other = WorkDir::new();
    let shown = |flags: &[&str]| exec(&other, flags, &name("cmd"), &[]).succeeds().stdout;
    assert_eq!(shown(&[]), "of cmd\n");
    work.build("FROM {base}\nCMD echo newer\n").flags(["-t", &name("cmd"), "--push"]).succeeds();
    assert_eq!(shown(&[]), "of cmd\n");
    assert_eq!(shown(&["--pull"]), "newer\n");
}

/// Ctrl-C ends the command and all that it started.
#[test]
fn ctrl_c_ends_the_command() {
    let work = WorkDir::new();
    let image = base().reference.as_str();
    let mark = format!("{}", 100_000 + std::process::id());
    let script = format!("sleep {mark} & echo started >&2; sleep {mark}");
    let mut running = exec(&work, &[], image, &["sh", "-c", &script]).start();
    assert!(running.says("started"));
    running.signal(Signal::INT);
    let output = running.finish();
    assert!(matches!(output.status.code(), Some(130)), "{:?} {}", output.status, output.stderr);
    eventually("the end of all processes", || {
        let mut all = fs::read_dir("/proc").unwrap().flatten();
        let left = all.any(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line == format!("sleep\0{mark}\0").as_bytes())
        });
        (!left).then_some(())
    });
}
