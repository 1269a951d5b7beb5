//! What a build costs, in counts that are the same on every machine: memory,
//! system calls. `benches/builders.py` prints these and the times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{WorkDir, Yado, eventually};

const MIB: u64 = 1024 * 1024;

/// Two layers of 200 MB, one that does not compress and one that does: the
/// memory is bounded by the blocks in flight, not by the layer.
#[test]
fn a_large_layer_needs_little_memory() {
    for (content, least) in [
        ("dd if=/dev/urandom of=/large bs=1M count=200", 200 * MIB),
        ("yes 'a line of text' | head -c 209715200 > /large", 0),
    ] {
        let work = WorkDir::new();
        let figure = work.path("peak");
        work.build(&["FROM {base}\nRUN ", content].concat())
            .under(["time", "--format=%M", "--output", figure.to_str().unwrap()])
            .succeeds();
        let manifest = work.image().manifest;
        let layer = manifest["layers"].as_array().unwrap().last().unwrap().clone();
        assert!(layer["size"].as_u64().unwrap() >= least, "{layer}");
        let peak: u64 = fs::read_to_string(&figure).unwrap().trim().parse().unwrap();
        assert!(peak < 64 * 1024, "{content}: {peak} KiB");
    }
}

/// Files that a step wrote are opened once and each byte of them is read once:
/// archive, digests and compression are one pass.
#[test]
fn a_changed_file_is_read_once() {
    const SIZE: usize = 300_000;
    let work = WorkDir::new();
    let text = format!(
        "FROM {base}\nRUN for i in 1 2 3 4 5; do head -c {SIZE} /dev/urandom > /changed-$i; done\n",
        base = "{base}"
    );
    let calls =
        "open,openat,openat2,read,pread64,readv,preadv,mmap,sendfile,splice,copy_file_range";
    let trace = traced(&work, &text, calls);
    // In the directory of changes, as opposed to the step's own view of it.
    let in_upper = |line: &&str| line.contains("/upper") && line.contains("changed-");
    let (mut opened, mut read) = (BTreeMap::new(), BTreeMap::new());
    for line in trace.lines().filter(in_upper) {
        let at = line.find("changed-").unwrap();
        let file = line[at..at + "changed-1".len()].to_owned();
        let result = line.rsplit_once("= ").unwrap().1;
        if line.starts_with("open") {
            *opened.entry(file).or_insert(0) += 1;
        } else {
            *read.entry(file).or_insert(0) += result.parse::<usize>().unwrap();
        }
    }
    assert_eq!(opened.len(), 5, "{trace}");
    assert!(opened.values().all(|times| *times == 1), "{opened:?}");
    assert!(read.values().all(|bytes| *bytes == SIZE) && read.len() == 5, "{read:?}");
}

/// A build whose files are as they were opens none of them to read it, nor any that is
/// ignored; one that may have changed is read, and no other.
#[test]
fn a_context_that_did_not_change_is_not_read() {
    let work = WorkDir::new();
    for number in 0..200 {
        work.write(&format!("context/d/{}/f-{number}", number % 7), number.to_string());
    }
    work.write("context/.dockerignore", "d/*/hidden-*\n");
    let last = work.write("context/d/1/hidden-1", "");
    let text = "FROM scratch\nCOPY d /d/\n";
    let touched = work.path("context/d/3/f-3");
    settle(&last);
    // To hash it, and to copy it.
    assert_eq!(opened(&traced(&work, text, "open,openat,openat2")), (400, 200));
    let first = work.image();
    assert_eq!(opened(&traced(&work, text, "open,openat,openat2")), (0, 0));
    // The same content with other times.
    fs::write(&touched, "3").unwrap();
    settle(&touched);
    assert_eq!(opened(&traced(&work, text, "open,openat,openat2")), (1, 1));
    work.write("context/d/1/hidden-1", "other");
    assert_eq!(opened(&traced(&work, text, "open,openat,openat2")), (0, 0));
    assert_eq!(work.image().manifest, first.manifest);
    fs::write(&touched, "4").unwrap();
    settle(&touched);
    assert_eq!(opened(&traced(&work, text, "open,openat,openat2")), (201, 200));
    assert_eq!(work.image().text("d/3/f-3"), "4");
    fs::remove_file(work.path("context/.dockerignore")).unwrap();
    assert_eq!(work.built(text).text("d/1/hidden-1"), "other");
}

/// What is written at once after a build and has the same size is another file.
#[test]
fn a_change_within_a_tick_is_seen() {
    let work = WorkDir::new();
    let text = "FROM scratch\nCOPY f /\n";
    for content in ["1", "2", "3", "4", "5"] {
        work.write("context/f", content);
        assert_eq!(work.built(text).text("f"), content);
    }
}

/// Where nothing is below a copy and no step looks at its files, none is made.
#[test]
fn files_that_no_step_wants_are_not_made() {
    let work = WorkDir::new();
    for number in 0..50 {
        work.write(&format!("context/d/f-{number}"), "x");
    }
    let calls = "open,openat,openat2,mkdirat,linkat,symlinkat,mknodat";
    let made = |text: &str| {
        let trace = traced_command(&work, work.build(text).flags(["--no-cache"]), calls);
        trace.lines().filter(|line| line.contains("f-") && line.contains("O_CREAT")).count()
    };
    assert_eq!(made("FROM scratch\nCOPY d /d/\nENV a=b\n"), 0);
    let straight = work.image();
    assert_eq!(made("FROM scratch\nCOPY d /d/\nWORKDIR /d/e\n"), 50);
    let layers =
        |image: &crate::support::Image| image.manifest["layers"].as_array().cloned().unwrap();
    assert_eq!(layers(&straight)[0], layers(&work.image())[0]);
    // Another stage's step wants them, and has them.
    let text = "FROM scratch AS s\nCOPY d /d/\nFROM scratch\nCOPY --from=s /d/f-7 /g-7\n";
    work.build("FROM scratch\nCOPY d /e/\n").succeeds();
    assert_eq!(work.built(text).text("g-7"), "x");
}

/// A large file is moved by the kernel, which shares its blocks where it can.
#[test]
fn a_large_file_is_moved_by_the_kernel() {
    const SIZE: usize = 3_000_000;
    let work = WorkDir::new();
    work.write("context/large", vec![b'x'; SIZE]);
    work.write("context/small", "x");
    let trace = traced(&work, "FROM scratch\nCOPY large small /\n", "copy_file_range");
    let moved: usize = trace
        .lines()
        .filter(|line| line.contains("large"))
        .filter_map(|line| line.rsplit_once("= ")?.1.trim().parse::<usize>().ok())
        .sum();
    assert_eq!(moved, SIZE, "{trace}");
    assert!(!trace.contains("small"), "{trace}");
    assert_eq!(work.image().text("large").len(), SIZE);
}

/// Builds, and gives the system calls of these names of all threads.
fn traced(work: &WorkDir, text: &str, calls: &str) -> String {
    traced_command(work, work.build(text), calls)
}

fn traced_command(work: &WorkDir, command: Yado, calls: &str) -> String {
    let dir = work.path("trace");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    let (calls, trace) = (format!("trace={calls}"), dir.join("of"));
    command
        .under(["strace", "-ff", "-y", "-qq", "-e", &calls, "-o", trace.to_str().unwrap()])
        .succeeds();
    // A file for each thread, so that no line is cut by another's.
    let traces = fs::read_dir(&dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    traces.map(|trace| String::from_utf8_lossy(&trace).into_owned()).collect()
}

/// How often files `f-N` and `hidden-N` of the context were opened to be read, and how
/// many different ones.
fn opened(trace: &str) -> (usize, usize) {
    let mut files = BTreeMap::new();
    for line in trace.lines() {
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        let is_file = ["/f-", "/hidden-"].iter().any(|name| result.contains(name));
        if is_file && result.contains("/context/d/") && !call.contains("O_PATH") {
            *files.entry(result.split_once('<').unwrap().1.to_owned()).or_insert(0) += 1;
        }
    }
    (files.values().sum(), files.len())
}

/// Waits until the last change of a file is older than the clock of any file system
/// could hide.
fn settle(file: &Path) {
    let changed = fs::metadata(file).unwrap().ctime();
    eventually("the file is old", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now.as_secs().cast_signed() > changed + 3).then_some(())
    });
}

/// Five stages that write large layers at once share the threads and the memory of one.
#[test]
fn large_layers_at_once_need_little_memory() {
    let stage = |number: u32| {
        let content = if number.is_multiple_of(2) { "/dev/urandom" } else { "/dev/zero" };
        let make = format!("dd if={content} bs=1M count=16 of=/large-{number}");
        format!("FROM {{base}} AS s{number}\nRUN {make}\n")
    };
    let copy = |number: u32| format!("COPY --from=s{number} /large-{number} /\n");
    let stages: String = (0..5).map(stage).collect();
    let copies: String = (0..5).map(copy).collect();
    let work = WorkDir::new();
    let figure = work.path("peak");
    work.build(&[stages.as_str(), "FROM scratch\n", &copies].concat())
        .under(["time", "--format=%M", "--output", figure.to_str().unwrap()])
        .succeeds();
    let peak: u64 = fs::read_to_string(&figure).unwrap().trim().parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
}

/// What a trivial step costs beyond its command: three forks of a small process, and
/// neither a thread nor another program.
#[test]
fn a_trivial_step_starts_its_program_alone() {
    const MORE: usize = 10;
    let started = |steps: usize| {
        let work = WorkDir::new();
        let trace = work.path("trace");
        let steps: Vec<String> = (0..steps).map(|step| format!("RUN echo > /{step}\n")).collect();
        let steps = steps.concat();
        let calls = "trace=execve,clone,clone3,fork,vfork";
        work.build(&["FROM {base}\n", steps.as_str()].concat())
            .under(["strace", "-f", "-qq", "-e", calls, "-o", trace.to_str().unwrap()])
            .succeeds();
        let trace = fs::read_to_string(trace).unwrap();
        // A call that is interrupted by another's has two lines; the first has its flags.
        let begun = |line: &&str| line.contains('(') && !line.contains("resumed>");
        let (programs, forks): (Vec<&str>, Vec<&str>) =
            trace.lines().filter(begun).partition(|line| line.contains("execve("));
        let threads = forks.iter().filter(|line| line.contains("CLONE_THREAD")).count();
        [programs.len(), forks.len() - threads, threads]
    };
    let (few, many) = (started(1), started(1 + MORE));
    let [programs, processes, threads] =
        [0, 1, 2].map(|what| many[what] - few[what].min(many[what]));
    assert_eq!(programs, MORE);
    assert!(processes <= 3 * MORE, "{few:?} {many:?}");
    // Some of the runtime's own may start a little later.
    assert!(threads < MORE / 2, "{few:?} {many:?}");
}
