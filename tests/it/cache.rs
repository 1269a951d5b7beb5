//! `--cache-to` and `--cache-from`: what one build has made, another with another store takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Output, Registry, WorkDir, Yado, base, tool};

/// Two stages; the image has nothing of the first but a file.
const TWO: &str = "FROM {base} AS make\nRUN echo made > /made\nRUN echo more > /more\nFROM {base}\nCOPY --from=make /made /taken\nRUN cat /taken > /copy\nRUN true\n";

/// How many steps were run, and how many were not.
fn steps(output: &Output) -> [usize; 2] {
    let events: Vec<Value> =
        output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let finished = |cached: bool| {
        let finished = events.iter().filter(|event| event["event"] == "step-finished");
        finished.filter(|event| event["cached"] == cached).count()
    };
    [finished(false), finished(true)]
}

/// A build with a store of its own.
fn build(work: &WorkDir, store: &str, dockerfile: &str, flags: &[&str]) -> Yado {
    work.build(dockerfile)
        .flags(["--progress", "json"])
        .flags(flags)
        .env("YADO_ROOT", work.path(store))
}

fn to(work: &WorkDir, more: &str) -> String {
    format!("--cache-to=type=local,dest={}{more}", work.path("cache").display())
}

fn from(work: &WorkDir, more: &str) -> String {
    format!("--cache-from=type=local,src={}{more}", work.path("cache").display())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The blobs of the cache, without those that are JSON.
fn layers(work: &WorkDir) -> Vec<PathBuf> {
    let blobs = fs::read_dir(work.path("cache/blobs/sha256")).unwrap();
    let mut paths: Vec<PathBuf> = blobs.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| fs::read(path).unwrap()[0] != b'{');
    paths.sort();
    paths
}

/// Another store runs nothing, unpacks nothing, and makes the same image.
#[test]
fn another_machine_runs_nothing() {
    let work = WorkDir::new();
    let first = build(&work, "one", TWO, &[&to(&work, ",mode=max")]).succeeds();
    assert_eq!(steps(&first), [5, 0]);
    let digest = work.image().digest;
    let second = build(&work, "two", TWO, &[&from(&work, "")]).succeeds();
    assert_eq!(steps(&second), [0, 5]);
    assert_eq!(work.image().digest, digest);
    let trees = fs::read_dir(work.path("two/yado/layers")).unwrap();
    assert!(trees.flat_map(|ids| fs::read_dir(ids.unwrap().path()).unwrap()).next().is_none());
    // It is in the store now, without the directory.
    let third = build(&work, "two", TWO, &[]).succeeds();
    assert_eq!(steps(&third), [0, 5]);
    // What is not remembered anywhere is run, on top of what is.
    let changed = TWO.replace("RUN true", "RUN echo new > /new");
    let fourth = build(&work, "three", &changed, &[&from(&work, "")]).succeeds();
    assert_eq!(steps(&fourth), [1, 4]);
    assert_eq!(work.image().text("new"), "new\n");
    // Asked not to look, it does not; what it made is written all the same.
    let fifth = build(&work, "three", TWO, &[&from(&work, ""), "--no-cache", &to(&work, "")]);
    assert_eq!(steps(&fifth.succeeds()), [5, 0]);
    assert_eq!(work.image().digest, digest);
}

/// Without `mode=max`, what is not in the image is not in the cache.
#[test]
fn a_cache_has_the_steps_of_the_image_or_all() {
    let work = WorkDir::new();
    build(&work, "one", TWO, &[&to(&work, "")]).succeeds();
    assert_eq!(layers(&work).len(), 2);
    let second = build(&work, "two", TWO, &[&from(&work, "")]).succeeds();
    assert_eq!(steps(&second), [2, 3]);
    // Nothing was run in the first store now, and it is the same.
    build(&work, "one", TWO, &[&to(&work, ",mode=max")]).succeeds();
    let all = layers(&work);
    assert_eq!(all.len(), 4);
    // A stage that stands on another has that one's steps.
    let on_top = "FROM {base} AS make\nRUN echo made > /made\nFROM make\nRUN echo up > /up\n";
    build(&work, "one", on_top, &[&to(&work, "")]).succeeds();
    assert_eq!(layers(&work).len(), 2);
    let third = build(&work, "three", on_top, &[&from(&work, "")]).succeeds();
    assert_eq!(steps(&third), [0, 2]);
}

/// The files of a stage count, whatever else the stage has.
#[test]
fn a_copy_from_a_stage_depends_on_its_files() {
    let work = WorkDir::new();
    let text = "FROM {base} AS make\nARG N\nARG X=x\nRUN mkdir -p /out/d /out/log; echo $N | tee /n > /out/log/n; echo $X > /out/d/file; ln /out/d/file /out/d/other; chmod 600 /out/d/file\nFROM {base}\nCOPY --from=make --exclude=log /out /out\nCOPY --from=make --parents /./out/d/f* /parents/\nCOPY --from=make --chmod=644 /out/d/file /file\nRUN cat /file > /copy\n";
    let run = |store: &str, args: &[&str]| {
        let flags: Vec<&str> = args.iter().flat_map(|arg| ["--build-arg", arg]).collect();
        steps(&build(&work, store, text, &flags).succeeds())
    };
    assert_eq!(run("store", &["N=1"]), [5, 0]);
    let digest = work.image().digest;
    // The stage has changed, and nothing that is taken from it.
    assert_eq!(run("store", &["N=2"]), [1, 4]);
    assert_eq!(work.image().digest, digest);
    assert_eq!(run("store", &["N=2"]), [0, 5]);
    assert_eq!(run("store", &["N=2", "X=y"]), [5, 0]);
    assert_eq!(work.image().text("copy"), "y\n");
    assert_eq!(run("store", &["N=3", "X=y"]), [1, 4]);
    // Another machine knows it too.
    let export = ["--build-arg", "N=3", &to(&work, "")];
    build(&work, "store", text, &export).succeeds();
    let import = ["--build-arg", "N=4", &from(&work, "")];
    let output = build(&work, "another", text, &import).succeeds();
    assert_eq!(steps(&output), [1, 4]);
    assert_eq!(work.image().digest, digest);
    // Owners and modes are part of what is taken.
    let chmod = text.replace("chmod 600", "chmod 640");
    let output = build(&work, "store", &chmod, &["--build-arg", "N=3"]).succeeds();
    assert_eq!(steps(&output), [5, 0]);
}

/// The directory is as large as what it is good for, and nothing of others' is removed.
#[test]
fn what_is_not_needed_any_more_is_removed() {
    let work = WorkDir::new();
    let say = |word: &str| format!("FROM {{base}}\nRUN echo {word} > /word\n");
    build(&work, "store", &say("one"), &[&to(&work, ",tag=one")]).succeeds();
    let one = layers(&work);
    assert_eq!(one.len(), 1);
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = modified(&one[0]);
    work.write("cache/blobs/sha256/README", "{not ours}");
    build(&work, "store", &say("two"), &[&to(&work, "")]).succeeds();
    assert_eq!(layers(&work).len(), 2);
    build(&work, "store", &say("three"), &[&to(&work, "")]).succeeds();
    let left = layers(&work);
    assert_eq!(left.len(), 2);
    // What is there is not written again.
    assert!(left.contains(&one[0]));
    assert_eq!(modified(&one[0]), before);
    let index = json(&work.path("cache/index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    for (word, tag, expected) in [
        ("one", ",tag=one", [0, 1]),
        ("one", "", [1, 0]),
        ("two", "", [1, 0]),
        ("three", "", [0, 1]),
        (
            "three",
            &format!(",digest={}", index["manifests"][1]["digest"].as_str().unwrap()),
            [0, 1],
        ),
    ] {
        let store = format!("{word}{}", tag.len());
        let output = build(&work, &store, &say(word), &[&from(&work, tag)]).succeeds();
        assert_eq!(steps(&output), expected, "{word}{tag}");
    }
    // A manifest that cannot be read may need whatever is there.
    let manifest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    fs::remove_file(work.path("cache/blobs").join(manifest)).unwrap();
    build(&work, "store", &say("four"), &[&to(&work, "")]).succeeds();
    assert_eq!(layers(&work).len(), 3);
    assert!(work.path("cache/blobs/sha256/README").exists());
}

/// Other tools read the directory, and carry it through a registry.
#[test]
fn a_cache_goes_through_a_registry() {
    let work = WorkDir::new();
    build(&work, "one", TWO, &[&to(&work, ",mode=max")]).succeeds();
    let registry = Registry::start(crate::support::Options::default());
    let name = format!("docker://{}/app:cache", registry.host);
    let copy = |from: &str, to: &str| {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
        tool(&mut skopeo);
    };
    copy(&format!("oci:{}:latest", work.path("cache").display()), &name);
    fs::rename(work.path("cache"), work.path("gone")).unwrap();
    copy(&name, &format!("oci:{}", work.path("cache").display()));
    let output = build(&work, "two", TWO, &[&from(&work, "")]).succeeds();
    assert_eq!(steps(&output), [0, 5]);
}

/// A cache that cannot be used is a warning, and the steps are run.
#[test]
fn a_damaged_cache_is_no_obstacle() {
    let work = WorkDir::new();
    let text = "FROM {base}\nRUN echo x > /x\n";
    // In the first build there is none.
    let first = build(&work, "one", text, &[&from(&work, ""), &to(&work, "")]).succeeds();
    assert_eq!(steps(&first), [1, 0]);
    assert!(first.stderr.contains("there is no cache in") && !first.stderr.contains("warning"));
    let [layer] = layers(&work).try_into().unwrap();
    let whole = fs::read(&layer).unwrap();
    let digest = work.image().digest;
    for (store, bytes) in [("short", &whole[1..]), ("other", &vec![0; whole.len()])] {
        fs::write(&layer, bytes).unwrap();
        let output = build(&work, store, text, &[&from(&work, "")]).succeeds();
        assert_eq!(steps(&output), [1, 0]);
        assert!(output.stderr.contains("\"warning\""), "{}", output.stderr);
        assert_eq!(work.image().digest, digest);
    }
    // Who makes the layer again mends the cache.
    let mended = build(&work, "third", text, &[&from(&work, ""), &to(&work, "")]).succeeds();
    assert_eq!(steps(&mended), [1, 0]);
    assert_eq!(fs::read(&layer).unwrap(), whole);
    let again = build(&work, "fourth", text, &[&from(&work, "")]).succeeds();
    assert_eq!(steps(&again), [0, 1]);
    // A good one behind a bad one is used.
    let bad = work.write("bad/index.json", "{");
    let bad = format!("--cache-from=type=local,src={}", bad.parent().unwrap().display());
    let output = build(&work, "fifth", text, &[&from(&work, ""), &bad]).succeeds();
    assert_eq!(steps(&output), [0, 1]);
    assert!(output.stderr.contains("bad/index.json is damaged"), "{}", output.stderr);
    // An image is no cache.
    let image = format!("--cache-from=type=local,src={}", work.path("image").display());
    let output = build(&work, "sixth", text, &[&image]).succeeds();
    assert_eq!(steps(&output), [1, 0]);
    assert!(output.stderr.contains("not a cache of yado's"), "{}", output.stderr);
}

/// What cannot be written ends the build, unless it may be missing.
#[test]
fn a_cache_that_cannot_be_written() {
    let work = WorkDir::new();
    let text = "FROM {base}\nRUN echo x > /x\n";
    work.write("cache", "a file");
    let failed = build(&work, "store", text, &[&to(&work, "")]).fails(73);
    assert!(failed.stderr.contains("write the cache"), "{}", failed.stderr);
    let done = build(&work, "store", text, &[&to(&work, ",ignore-error=true")]).succeeds();
    assert!(done.stderr.contains("the cache is not written"), "{}", done.stderr);
    // The blobs of a store have other names than the index's.
    let store = format!("--cache-to=type=local,dest={}", work.path("store").display());
    build(&work, "store", text, &[&store]).fails(73).says("is a store of yado's");
    assert_eq!(steps(&build(&work, "store", text, &[]).succeeds()), [0, 1]);
    for (flag, says) in [
        (
            "--cache-to=type=registry,ref=example.org/app",
            "a cache of type registry is not supported",
        ),
        ("--cache-from=example.org/app", "only type=local,src=DIR"),
        ("--cache-to=type=inline", "a cache of type inline is not supported"),
        ("--cache-to=type=local,dest=x,squash=true", "unknown key \"squash\""),
    ] {
        build(&work, "store", text, &[flag]).fails(64).says(says);
    }
}

/// Builds that write one directory at once leave a whole one.
#[test]
fn several_builds_write_one_cache() {
    let work = WorkDir::new();
    let context = |n: usize| {
        let text = format!("FROM {}\nRUN echo {n} > /n\n", base().reference);
        work.write(&format!("context{n}/Dockerfile"), text);
        work.path(format!("context{n}")).to_str().unwrap().to_owned()
    };
    let run = |n: usize, store: &str, cache: &str| {
        let args = ["build", "--progress", "json", cache, &context(n)].map(str::to_owned);
        work.yado(args).env("YADO_ROOT", work.path(store)).start()
    };
    let builds: Vec<_> =
        (0..6).map(|n| run(n, "store", &to(&work, &format!(",tag={}", n % 3)))).collect();
    for build in builds {
        build.finish().with_code(0);
    }
    // Of two with one tag, either has been the last.
    let found: usize = (0..6)
        .map(|n| {
            let cache = from(&work, &format!(",tag={}", n % 3));
            let output = run(n, &format!("other{n}"), &cache).finish().with_code(0);
            assert!(!output.stderr.contains("\"warning\""), "{}", output.stderr);
            steps(&output)[1]
        })
        .sum();
    assert_eq!((found, layers(&work).len()), (3, 3));
    assert!(!work.path("cache/.yado.partial").exists());
}
