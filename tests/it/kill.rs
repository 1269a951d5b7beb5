//! Interrupted, killed, or one of several: no process, no mount and nothing
//! half-made is left, and the next build gives what it would have given.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::steps::{is_running, unique_sleep};
use crate::support::{Image, Options, Registry, WorkDir, Yado, eventually};

/// The mounts that this process sees.
fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// What is in the store's directory for unfinished work.
fn unfinished(work: &WorkDir) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(work.path("store/yado/work")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_signal_ends_the_step_and_all_it_started() {
    let before = mounts();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 130), (Signal::HUP, 130)] {
        let work = WorkDir::new();
        let time = unique_sleep();
        let script = format!(
            "trap '' INT TERM HUP; sleep {time} & setsid sleep {time} & echo has-begun; wait"
        );
        let build = work.build(&format!("FROM {{base}}\nRUN touch /x\nRUN {script}\n"));
        let mut running = build.flags(["--progress", "json"]).start();
        assert!(running.says(r#""line":"has-begun""#), "{}", running.stderr());
        eventually("the step's process", || is_running(&time).then_some(()));
        running.signal(signal);
        running.finish().with_code(code).says("interrupted");
        assert!(!is_running(&time), "{signal:?}");
        assert_eq!(mounts(), before, "{signal:?}");
        assert_eq!(unfinished(&work), Vec::<PathBuf>::new(), "{signal:?}");
        assert!(!work.path("image").exists(), "{signal:?}");
        // What was done before is remembered, and the next build works.
        let next = work.build("FROM {base}\nRUN touch /x\nRUN echo done\n").succeeds();
        next.says("CACHED");
    }
    // Exec, too; its command is the one that the terminal's Ctrl-C is for.
    let work = WorkDir::new();
    let time = unique_sleep();
    let script = format!("sleep {time} & echo has-begun >&2; wait");
    let image = &crate::support::base().reference;
    let mut running = work.yado(["exec", image, "sh", "-c", &script]).start();
    assert!(running.says("has-begun"));
    running.signal(Signal::TERM);
    running.finish().with_code(130);
    assert!(!is_running(&time));
}

/// A registry that takes a connection and never answers does not hold the build that is to end.
#[test]
fn a_signal_ends_the_wait_for_a_registry() {
    let work = WorkDir::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/base:1", silent.local_addr().unwrap());
    let running = work.build(&format!("FROM {name}\n")).start();
    let (connection, _) = silent.accept().unwrap();
    running.signal(Signal::INT);
    running.finish().with_code(130).says("interrupted");
    drop(connection);
    assert_eq!(unfinished(&work), Vec::<PathBuf>::new());
}

const DOCKERFILE: &str = "FROM {base}\n\
    RUN seq 300000 > /numbers; echo first-done\n\
    COPY big /big\n\
    RUN echo second-begins; rm -r /opt/full; cat /big /big > /twice; mkdir /opt/full\n";

/// A build with a layer that takes a moment to write and to push.
fn prepared(registry: &Registry) -> (WorkDir, Yado) {
    let work = WorkDir::new();
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..4_000_000)
        .map(|_| {
            // Incompressible, and the same each time.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        })
        .collect();
    work.write("context/big", noise);
    let name = format!("{}/killed:1", registry.host);
    let build = work.build(DOCKERFILE).flags(["-t", &name, "--push", "--progress", "json"]);
    (work, build)
}

#[test]
fn a_killed_build_leaves_nothing_that_is_used_later() {
    let before = mounts();
    let registry = Registry::start(Options::default());
    let (work, build) = prepared(&registry);
    build.succeeds();
    let expected = work.image().digest;
    // Events that a build is killed at: pull, unpack, RUN, snapshot, COPY, push.
    let moments = [
        r#""kind":"pull""#,
        r#""kind":"unpack""#,
        r#""event":"step-started""#,
        r#""line":"first-done""#,
        r#""kind":"compress""#,
        r#""event":"step-finished""#,
        r#""line":"second-begins""#,
        r#""kind":"export""#,
        r#""kind":"push""#,
    ];
    let mut killed = 0;
    for moment in moments {
        // A registry of its own: what is pushed already is not pushed again.
        let registry = Registry::start(Options::default());
        let (work, build) = prepared(&registry);
        let mut running = build.clone().start();
        if running.says(moment) {
            running.signal(Signal::KILL);
            killed += 1;
        }
        let ended = running.finish();
        let store = work.path("store").display().to_string();
        eventually("the end of the killed build's processes", || (!uses(&store)).then_some(()));
        assert_eq!(mounts(), before, "killed at {moment}");

        let after = build.run();
        assert_eq!(
            after.status.code(),
            Some(0),
            "after a kill at {moment}: {}\nbefore: {}",
            after.stderr,
            ended.stderr
        );
        assert_eq!(work.image().digest, expected, "killed at {moment}");
        assert_eq!(unfinished(&work), Vec::<PathBuf>::new(), "killed at {moment}");
        let pushed = Image::pull(&work, &format!("{}/killed:1", registry.host));
        assert_eq!(pushed.digest, expected, "killed at {moment}");
        work.yado(["store", "prune", "--all"]).succeeds();
        assert_eq!(left(&work.path("store")), Vec::<PathBuf>::new(), "killed at {moment}");
    }
    assert!(killed >= 5, "only {killed} builds were killed in time");
}

/// Whether a process has this on its command line or keeps its files open.
fn uses(store: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).any(
        |entry| {
            let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { return false };
            fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(store)))
        },
    )
}

/// Blobs, trees, steps and unfinished work in the store.
fn left(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![
        store.join("blobs/sha256"),
        store.join("yado/layers"),
        store.join("yado/steps"),
        store.join("yado/work"),
    ];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            // Layers lie in one directory for each way to map ids.
            if dir.ends_with("yado/layers") { dirs.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn builds_share_a_store() {
    let alone = WorkDir::new();
    let same = "FROM {base}\nRUN seq 50000 > /x\nRUN rm -r /opt/full; cat /x /x > /y\n";
    let expected = alone.built(same).digest;
    for count in [2, 4] {
        let work = WorkDir::new();
        let dockerfile = |number: usize| match number % 2 {
            0 => same.to_owned(),
            _ => format!(
                "FROM {{base}}\nRUN echo {number} > /number\nRUN cat /number /number > /y\n"
            ),
        };
        let start = |build: usize| {
            // Each is built twice at the same time.
            let number = build % count;
            let context = work.path(format!("context-{build}"));
            let text = dockerfile(number).replace("{base}", &crate::support::base().reference);
            crate::support::write(&context.join("Dockerfile"), text);
            let dest = work.path(format!("image-{build}"));
            let output = format!("type=oci,tar=false,dest={}", dest.display());
            let tag = format!("localhost/shared:{number}");
            work.yado([
                "build",
                "-t",
                &tag,
                "-o",
                &output,
                "-o",
                "type=image",
                context.to_str().unwrap(),
            ])
            .start()
        };
        let running: Vec<_> = (0..2 * count).map(start).collect();
        for build in running {
            build.finish().with_code(0);
        }
        for build in 0..2 * count {
            let number = build % count;
            let image = Image::read(&work.path(format!("image-{build}")));
            if number % 2 == 0 {
                assert_eq!(image.digest, expected, "build {number} of {count}");
            } else {
                assert_eq!(image.text("y"), format!("{number}\n{number}\n"));
            }
        }
        assert_eq!(unfinished(&work), Vec::<PathBuf>::new());
        work.yado(["store", "prune"]).succeeds();
        work.yado(["exec", "localhost/shared:0", "wc", "-l", "/y"]).succeeds();
        work.yado(["store", "prune", "--all"]).succeeds();
        assert_eq!(left(&work.path("store")), Vec::<PathBuf>::new());
    }
}
