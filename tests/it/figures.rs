//! What a build costs, in counts that are the same on every machine: memory,
//! system calls. `benches/figures.sh` prints these and the times.

use std::collections::BTreeMap;
use std::fs;

use crate::support::WorkDir;

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
    let trace = work.path("trace");
    let calls =
        "trace=open,openat,openat2,read,pread64,readv,preadv,mmap,sendfile,splice,copy_file_range";
    work.build(&format!(
        "FROM {base}\nRUN for i in 1 2 3 4 5; do head -c {SIZE} /dev/urandom > /changed-$i; done\n",
        base = "{base}"
    ))
    .under(["strace", "-ff", "-y", "-qq", "-e", calls, "-o", trace.to_str().unwrap()])
    .succeeds();
    // A file for each thread, so that no line is cut by another's.
    let traces = fs::read_dir(work.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.with_extension("") == trace)
        .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    let trace: String = traces.collect();
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
