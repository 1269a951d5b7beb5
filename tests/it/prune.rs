//! What a clean-up takes and what it leaves: by last use, by size, cache mounts alone.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{WorkDir, base};

const DAY: Duration = Duration::from_hours(24);

/// What the store holds.
fn usage(work: &WorkDir) -> Value {
    serde_json::from_str(&work.yado(["store", "du", "--format", "json"]).succeeds().stdout).unwrap()
}

fn number(usage: &Value, of: &str) -> u64 {
    let value = if usage[of].is_number() { &usage[of] } else { &usage[of]["count"] };
    value.as_u64().unwrap_or_else(|| panic!("{of} in {usage}"))
}

fn ids(usage: &Value) -> Vec<&str> {
    let caches = usage["cache-mounts"].as_array().unwrap().iter();
    caches.map(|cache| cache["id"].as_str().unwrap()).collect()
}

fn prune(work: &WorkDir, flags: &[&str]) -> String {
    work.yado(["store", "prune"].iter().chain(flags)).succeeds().stdout
}

/// Builds an image with a file of 1 MB of its own; says whether it was there already.
fn build(work: &WorkDir, name: &str) -> bool {
    let text = format!("FROM {{base}}\nRUN head -c 1000000 /dev/urandom > /{name}\n");
    let output = work.build(&text).flags(["--progress", "json"]).succeeds();
    output.stderr.contains("\"cached\":true")
}

/// The files whose times say when steps were last used.
fn steps(work: &WorkDir) -> Vec<PathBuf> {
    // Before the first build there is no store.
    let records = fs::read_dir(work.path("store/yado/steps")).into_iter().flatten();
    records.map(|entry| entry.unwrap().path()).collect()
}

fn set_age(path: &PathBuf, days: u32) {
    let time = SystemTime::now() - DAY * days;
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Builds these one after the other, as if each on a day of its own, the first `days` ago.
fn build_daily(work: &WorkDir, names: &[&str], days: u32) {
    let mut before = steps(work);
    for (name, days) in names.iter().zip((0..=days).rev()) {
        assert!(!build(work, name));
        let new: Vec<PathBuf> =
            steps(work).into_iter().filter(|path| !before.contains(path)).collect();
        set_age(&new[0], days);
        before.extend(new);
    }
}

#[test]
fn what_was_not_used_for_long_goes() {
    let work = WorkDir::new();
    build_daily(&work, &["a", "b", "c"], 9);
    // What is used is young again.
    assert!(build(&work, "a"));
    let said = prune(&work, &["--older-than", "8d12h", "--dry-run"]);
    assert!(said.starts_with("would remove 0 blobs"), "{said}");
    let before = usage(&work);
    let said = prune(&work, &["--older-than", "7d12h", "--dry-run"]);
    assert!(said.starts_with("would remove 1 blobs, 1 unpacked layers, 1 remembered"), "{said}");
    assert_eq!(usage(&work), before);
    let said = prune(&work, &["--older-than", "7d12h"]);
    assert!(said.starts_with("removed 1 blobs, 1 unpacked layers, 1 remembered"), "{said}");
    let freed = number(&before, "bytes") - number(&usage(&work), "bytes");
    assert!((2_000_000..2_100_000).contains(&freed), "{freed}");
    assert!(build(&work, "a") && build(&work, "c") && !build(&work, "b"));
}

#[test]
fn the_least_recently_used_go_until_the_store_is_small_enough() {
    let work = WorkDir::new();
    build_daily(&work, &["a", "b", "c", "d"], 9);
    assert!(build(&work, "a"));
    let before = number(&usage(&work), "bytes");
    let keep = |bytes: u64| prune(&work, &["--keep-storage", &bytes.to_string()]);
    assert!(keep(before).contains("0 remembered steps"));
    // Each has a blob and a tree.
    let said = keep(before - 3_000_000);
    assert!(said.contains("2 remembered steps"), "{said}");
    assert!(number(&usage(&work), "bytes") <= before - 3_000_000);
    assert!(build(&work, "a") && build(&work, "d"));
    assert!(!build(&work, "b") && !build(&work, "c"));
    // Both conditions hold for what goes.
    let said = prune(&work, &["--keep-storage", "0", "--older-than", "1h"]);
    assert!(
        said.contains("0 remembered steps") && said.contains("are left, more than 0 B"),
        "{said}"
    );
    let said = prune(&work, &["--keep-storage", "1kB"]);
    assert!(said.contains("4 remembered steps") && said.contains("named images need it"), "{said}");
    // The base has a name.
    work.yado(["exec", &base().reference, "true"]).succeeds();
    for bad in [["--keep-storage", "much"], ["--older-than", "7"], ["--older-than", "-1d"]] {
        work.yado(["store", "prune"].iter().chain(&bad)).fails(64);
    }
}

#[test]
fn cache_mounts_go_alone() {
    let work = WorkDir::new();
    let run = |id: &str| format!("RUN --mount=type=cache,id={id},target=/c echo {id} > /c/x\n");
    let text = format!("FROM {{base}}\n{}{}{}", run("one"), run("two"), run("three"));
    work.build(&text).succeeds();
    let full = usage(&work);
    assert_eq!(ids(&full), ["one", "three", "two"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for cache in full["cache-mounts"].as_array().unwrap() {
        assert!(cache["bytes"].as_u64().unwrap() > 0, "{cache}");
        let used = cache["last-used"].as_u64().unwrap();
        assert!((now - 600..=now).contains(&used), "{used} at {now}");
    }
    let text = work.yado(["store", "du"]).succeeds().stdout;
    assert!(
        text.lines().any(|line| line.trim_start().starts_with("one ") && line.contains(", used ")),
        "{text}"
    );

    work.yado(["store", "prune", "--cache", "four"])
        .fails(66)
        .says("there is no cache mount \"four\"");
    work.yado(["store", "prune", "--caches", "--all"]).fails(64);
    let said = prune(&work, &["--cache", "two", "--dry-run"]);
    assert!(said.contains("0 remembered steps and 1 cache mounts"), "{said}");
    prune(&work, &["--cache", "two"]);
    let left = usage(&work);
    assert_eq!(ids(&left), ["one", "three"]);
    for same in ["blobs", "unpacked-layers", "remembered-steps"] {
        assert_eq!(left[same], full[same], "{same}");
    }
    let caches = fs::read_dir(work.path("store/yado/caches")).unwrap().next().unwrap().unwrap();
    for entry in fs::read_dir(caches.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "id") {
            set_age(&entry, 30);
        }
    }
    // A step that is remembered does not use its cache.
    work.build(&format!("FROM {{base}}\n{}", run("one"))).succeeds();
    work.build(&format!("FROM {{base}}\n{} # again\n", run("three").trim_end())).succeeds();
    prune(&work, &["--caches", "--older-than", "2w"]);
    assert_eq!(ids(&usage(&work)), ["three"]);
    prune(&work, &["--caches", "--keep-storage", "1GB"]);
    assert_eq!(ids(&usage(&work)), ["three"]);
    prune(&work, &["--caches"]);
    let empty = usage(&work);
    assert_eq!(ids(&empty), [""; 0]);
    let caches = fs::read_dir(work.path("store/yado/caches")).unwrap();
    let left = caches.flat_map(|ids| fs::read_dir(ids.unwrap().path()).unwrap()).count();
    assert_eq!(left, 0);
    assert!(number(&empty, "remembered-steps") >= 4);
}

/// A limit holds after each build, and is no reason for one to fail.
#[test]
fn a_store_keeps_within_its_limit() {
    let work = WorkDir::new();
    build_daily(&work, &["a", "b"], 9);
    let two = number(&usage(&work), "bytes");
    // Room for two.
    let limit = (two + 500_000).to_string();
    let text = "FROM {base}\nRUN head -c 1000000 /dev/urandom > /third\n";
    work.build(text)
        .env("YADO_STORE_LIMIT", &limit)
        .succeeds()
        .says("the store limit took 1 blobs");
    assert!(number(&usage(&work), "bytes") <= two + 500_000);
    assert!(build(&work, "b") && build(&work, "third") && !build(&work, "a"));
    work.build(text).env("YADO_STORE_LIMIT", "much").fails(64).says("YADO_STORE_LIMIT: \"much\"");
    // A flag comes before the variable; the base is a named image, whatever the limit.
    let build = work.build(text).env("YADO_STORE_LIMIT", "1PB").flags(["--store-limit", "1kB"]);
    build.succeeds().says("more than its limit of 1.00 kB");
    assert_eq!(number(&usage(&work), "remembered-steps"), 0);
    assert_eq!(work.image().top().paths(), ["third"]);

    // While another build is at work the limit waits.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let waiting = format!("FROM {{base}}\nRUN echo waiting; nc 127.0.0.1 {port}\n");
    let mut other = work.build(&waiting).start();
    assert!(other.says("waiting"), "{}", other.stderr());
    work.write("second/Dockerfile", text.replace("{base}", &base().reference));
    let second = work.path("second");
    work.yado(["build", "--store-limit", "1kB", second.to_str().unwrap()])
        .succeeds()
        .says("the store limit is for the next build");
    assert_eq!(number(&usage(&work), "remembered-steps"), 1);
    drop(listener.accept().unwrap());
    other.finish().with_code(0);
}
