//! The store: where it is, how much it holds, and what a clean-up leaves.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{Identity, Image, Options, Registry, WorkDir, base};

/// The number before a word of `yado store du` or `prune`.
fn count(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().filter(|before| before.len() < text.len());
    let number = before.and_then(|before| before.split_whitespace().last());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number of {word} in {text}"))
}

/// Images, blobs, unpacked layers and remembered steps, as `du` counts them.
fn usage(work: &WorkDir) -> [u64; 4] {
    let text = work.yado(["store", "du"]).succeeds().stdout;
    [" named images", " blobs", " unpacked layers", " remembered steps"]
        .map(|word| count(&text, word))
}

/// Prune takes what no named image needs, and no more.
#[test]
fn prune_keeps_what_named_images_need() {
    let work = WorkDir::new();
    assert_eq!(usage(&work), [0, 0, 0, 0]);
    let build = |tag: &str, text: &str| {
        work.build(text)
            .flags(["-o", "type=image", "-t", &format!("127.0.0.1:1/{tag}:1")])
            .succeeds();
        work.image()
    };
    let kept = build("kept", "FROM {base}\nRUN echo kept > /kept\n");
    let before = usage(&work);
    // The base is a named image as well. Two layers, a configuration and a manifest each, two of the layers shared.
    assert_eq!(before, [2, 7, 3, 1]);
    work.build("FROM {base}\nRUN echo lost > /lost\nRUN echo more > /more\n").succeeds();
    // Two layers, configuration and manifest without a name.
    assert_eq!(usage(&work), [2, 11, 5, 3]);
    let pruned = work.yado(["store", "prune"]).succeeds().stdout;
    assert_eq!(
        [count(&pruned, " blobs"), count(&pruned, " unpacked"), count(&pruned, " remembered")],
        [4, 2, 3],
        "{pruned}"
    );
    assert_eq!(usage(&work), [2, 7, 3, 0]);
    // What is left is whole: used without a registry, and pushed.
    let output = work.yado(["exec", "127.0.0.1:1/kept:1", "cat", "/kept"]).succeeds();
    assert_eq!(output.stdout, "kept\n");
    let registry = Registry::start(Options::default());
    let name = format!("{}/kept:1", registry.host);
    work.build("FROM 127.0.0.1:1/kept:1\nLABEL pushed=yes\n")
        .flags(["-t", &name, "--push"])
        .succeeds();
    assert_eq!(Image::pull(&work, &name).text("kept"), "kept\n");
    // The same step gives the same layer again.
    let again = build("kept", "FROM {base}\nRUN echo kept > /kept\n");
    assert_eq!(again.digest, kept.digest);
    // A name that is given to another image leaves the old one to the next prune.
    let moved = build("kept", "FROM {base}\nRUN echo moved > /moved\n");
    assert_ne!(moved.digest, kept.digest);
    work.yado(["store", "prune"]).succeeds();
    let hex = kept.digest.strip_prefix("sha256:").unwrap();
    assert!(!work.path("store/blobs/sha256").join(hex).exists());

    work.yado(["store", "prune", "--all"]).succeeds();
    assert_eq!(usage(&work), [0, 0, 0, 0]);
    assert!(work.yado(["store", "prune", "--all"]).succeeds().stdout.contains("removed 0 blobs"));
    work.yado(["exec", "127.0.0.1:1/kept:1", "true"]).fails(69);
    assert_eq!(work.built("FROM {base}\nRUN echo kept > /kept\n").digest, kept.digest);
}

/// Files of ids that are not to be had now do not stop a prune, and go when they can.
#[test]
fn prune_leaves_what_belongs_to_other_ids() {
    let work = WorkDir::new();
    let unfinished = || fs::read_dir(work.path("store/yado/work")).unwrap().count();
    work.built("FROM {base}\nRUN touch /x\n");
    let du = work.yado(["store", "du"]).succeeds().stdout;
    assert_eq!(count(&du, " unpacked layers"), 3);
    // Without new privileges newuidmap gives no ids, so that there is the one only.
    let prune = work.yado(["store", "prune", "--all"]).under(["setpriv", "--no-new-privs"]);
    let pruned = prune.succeeds().stdout;
    let subordinate = Identity::here() == Identity::Subordinate;
    // The base's second layer has the home of a user.
    assert_eq!(pruned.contains("left 1 unpacked layers"), subordinate, "{pruned}");
    assert_eq!(pruned.contains("not permitted"), subordinate, "{pruned}");
    assert_eq!(count(&pruned, " unpacked layers,"), if subordinate { 2 } else { 3 });
    assert_eq!(unfinished() > 0, subordinate);
    // Half a layer is not taken for a whole one.
    assert_eq!(usage(&work), [0, 0, 0, 0]);
    assert_eq!(unfinished(), 0);
    let image = work.built("FROM {base}\nRUN ls -ld /home/app > /x\n");
    assert!(image.text("x").contains("app"), "{}", image.text("x"));
}

/// A store in use is not pruned, and a prune does not disturb the build.
#[test]
fn prune_waits_for_no_build_and_harms_none() {
    let work = WorkDir::new();
    work.write("context/file", "x");
    // The step ends when its connection does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "FROM {{base}}\nCOPY file /\nRUN echo waiting; nc 127.0.0.1 {port}; echo done > /done\n"
    );
    let mut build = work.build(&text).start();
    assert!(build.says("waiting"), "{}", build.stderr());
    let refused = work.yado(["store", "prune", "--all"]).fails(74);
    assert!(refused.stderr.contains(work.path("store").to_str().unwrap()), "{}", refused.stderr);
    // Looking, and another build, go on beside it.
    work.yado(["store", "du"]).succeeds();
    work.yado(["exec", &base().reference, "true"]).succeeds();
    drop(listener.accept().unwrap());
    build.finish().with_code(0);
    assert_eq!(work.image().text("done"), "done\n");
    work.yado(["store", "prune", "--all"]).succeeds();
}

/// Builds and prunes at once: each ends well or says that the store is in use.
#[test]
fn builds_and_prunes_at_once() {
    let work = WorkDir::new();
    work.write(
        "context/Dockerfile",
        format!("FROM {}\nARG N\nRUN echo $N > /n\n", base().reference),
    );
    let context = work.path("context");
    let builds: Vec<_> = (0..4)
        .map(|n| {
            let dest =
                format!("type=oci,tar=false,dest={}", work.path(format!("image{n}")).display());
            let args =
                ["build", "--build-arg", &format!("N={n}"), "-o", &dest, context.to_str().unwrap()]
                    .map(str::to_owned);
            (work.yado(&args).start(), work.yado(["store", "prune"]).start())
        })
        .collect();
    for (n, (build, prune)) in builds.into_iter().enumerate() {
        build.finish().with_code(0);
        let prune = prune.finish();
        assert!(matches!(prune.status.code(), Some(0 | 74)), "{}", prune.stderr);
        assert_eq!(Image::read(&work.path(format!("image{n}"))).text("n"), format!("{n}\n"));
    }
}

/// `--root` before `YADO_ROOT` before XDG's directory before `~/.local/share`.
#[test]
fn the_store_is_where_it_is_told_to_be() {
    let work = WorkDir::new();
    let at = |path: &str| work.path(path).to_str().unwrap().to_owned();
    let stores = ["flag", "variable", "xdg/yado", "home/.local/share/yado"];
    let is_store = |path: &str| work.path(path).join("oci-layout").is_file();
    for (level, expected) in stores.iter().enumerate() {
        let mut du = work.yado(["store", "du"]).env("YADO_ROOT", "");
        if level == 0 {
            du = du.flags(["--root", &at("flag")]);
        }
        if level <= 1 {
            du = du.env("YADO_ROOT", at("variable"));
        }
        if level <= 2 {
            du = du.env("XDG_DATA_HOME", at("xdg"));
        }
        let output = du.succeeds();
        assert_eq!(output.stdout.lines().next(), Some(at(expected).as_str()));
        for (other, path) in stores.iter().enumerate() {
            assert_eq!(is_store(path), other <= level, "{path} at {level}");
        }
    }
    // A relative XDG directory is to be ignored, by its specification.
    let du = work.yado(["store", "du"]).env("YADO_ROOT", "").env("XDG_DATA_HOME", "xdg");
    assert_eq!(du.succeeds().stdout.lines().next(), Some(at("home/.local/share/yado").as_str()));
    let no_home = work.yado(["store", "du"]).env("YADO_ROOT", "").env("HOME", "");
    no_home.fails(64).says("--root or YADO_ROOT");
    // Others have no business in it.
    let mode =
        |path: &Path| std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap()) & 0o077;
    for dir in ["flag", "flag/yado", "flag/yado/layers"] {
        assert_eq!(mode(&work.path(dir)), 0, "{dir}");
    }
    // A directory of something else is no store.
    work.write("taken/thesis.txt", "years of work");
    work.yado(["store", "prune", "--all", "--root", &at("taken")])
        .fails(74)
        .says("not a yado store");
    assert_eq!(fs::read_to_string(work.path("taken/thesis.txt")).unwrap(), "years of work");
    assert_eq!(fs::read_dir(work.path("taken")).unwrap().count(), 1);
}

/// An image that was exported, by yado or another program, is not taken for a store and emptied.
#[test]
fn an_exported_image_is_no_store() {
    let work = WorkDir::new();
    let digest = work.built("FROM {base}\nRUN echo x > /x\n").digest;
    let at = work.path("image").to_str().unwrap().to_owned();
    for args in [["store", "prune"], ["store", "du"]] {
        work.yado(args).flags(["--root", &at]).fails(74).says(&format!(
            "{at} is an image layout that yado's store did not make; choose another directory"
        ));
    }
    let image = work.image();
    assert_eq!((image.digest.as_str(), image.text("x").as_str()), (digest.as_str(), "x\n"));
    let names = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name());
    let names: std::collections::BTreeSet<_> = names.collect();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"].map(Into::into).into());
}

/// A store is closed to others again when it was not, and is not where they have a say.
#[test]
fn a_store_is_its_users_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let work = WorkDir::new();
    let set = |path: &str, mode| {
        fs::set_permissions(work.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |path: &str| fs::metadata(work.path(path)).unwrap().mode() & 0o7777;
    fs::create_dir(work.path("store")).unwrap();
    set("store", 0o755);
    for dir in ["yado", "blobs"] {
        fs::create_dir(work.path("store").join(dir)).unwrap();
        set(&format!("store/{dir}"), 0o777);
    }
    work.yado(["store", "du"]).succeeds();
    assert_eq!(["store", "store/yado", "store/blobs"].map(mode), [0o755, 0o700, 0o700]);

    // A volume of a pod is writable for all; what is in it is not.
    fs::create_dir(work.path("volume")).unwrap();
    set("volume", 0o777);
    work.yado(["store", "du", "--root", work.path("volume").to_str().unwrap()]).succeeds();
    assert_eq!(["volume", "volume/yado", "volume/blobs"].map(mode), [0o777, 0o700, 0o700]);
}

/// What a power cut may have spoilt: unpacked layers are of one boot, blobs are verified.
#[test]
fn what_an_earlier_boot_left_is_not_trusted() {
    let work = WorkDir::new();
    let exec = || work.yado(["exec", &base().reference, "cat", "/etc/passwd"]);
    let expected = exec().succeeds().stdout;
    let layers = work.path("store/yado/layers");
    let dirs = || -> Vec<_> {
        fs::read_dir(&layers).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim().replace('-', "");
    let [dir] = dirs().try_into().unwrap();
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let ids = name.strip_suffix(&format!("-{boot}")).expect("the boot in the name");
    for tree in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
        if tree.join("etc/passwd").exists() {
            fs::write(tree.join("etc/passwd"), "").unwrap();
        }
    }
    // In the same boot it is as if no one had touched it.
    assert_eq!(exec().succeeds().stdout, "");
    fs::rename(&dir, layers.join(format!("{ids}-{}", "0".repeat(boot.len())))).unwrap();
    assert_eq!(exec().succeeds().stdout, expected);
    assert_eq!(dirs(), std::slice::from_ref(&dir));

    // A blob that is wrong when its layer is unpacked again is pulled again.
    fs::rename(&dir, layers.join(format!("{ids}-{}", "0".repeat(boot.len())))).unwrap();
    let digest = base().manifest["layers"][1]["digest"].as_str().unwrap();
    let blob = work.path("store/blobs").join(digest.replace(':', "/"));
    let size = fs::metadata(&blob).unwrap().len();
    fs::write(&blob, vec![0; size as usize]).unwrap();
    exec().fails(74).says(&format!("blob {digest} of the store was damaged"));
    assert_eq!(exec().succeeds().stdout, expected);
}

/// Where files have their real owners, a record of another one, as a step may make it, counts nothing.
#[test]
fn a_record_of_an_owner_counts_for_a_single_id_only() {
    let work = WorkDir::new();
    work.yado(["exec", &base().reference, "true"]).succeeds();
    if Identity::here() != Identity::Single {
        let layers = fs::read_dir(work.path("store/yado/layers")).unwrap();
        for tree in layers.flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap()) {
            let (name, flags) = ("user.yado.owner", rustix::fs::XattrFlags::empty());
            rustix::fs::setxattr(tree.unwrap().path(), name, b"5:5", flags).unwrap();
        }
    }
    let image = work.built("FROM {base}\nRUN ls -nd / > /x\n");
    assert_eq!(image.top().paths(), ["x"]);
    let ids: Vec<_> = image.text("x").split_whitespace().map(str::to_owned).collect();
    assert_eq!(ids[2..4], ["0", "0"]);
}

/// What `yado info` says of this user.
#[test]
fn info_says_who_and_how() {
    let work = WorkDir::new();
    let text = work.yado(["info"]).succeeds().stdout;
    let uid = rustix::process::getuid().as_raw();
    let ids = match Identity::here() {
        Identity::Root => "real ids",
        Identity::Subordinate => "subordinate ids",
        Identity::Single => "one id",
    };
    for line in [
        format!("yado {}", env!("CARGO_PKG_VERSION")),
        format!("caller   uid {uid}"),
        format!("store    {}", work.path("store").display()),
        format!("isolation: namespaces (user, mount, pid, ipc, uts), {ids}"),
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} in\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("kernel   ")), "{text}");
    let probes: Vec<&str> =
        text.lines().filter(|l| l.starts_with("yes  ") || l.starts_with("no   ")).collect();
    assert!(probes.len() >= 4, "{text}");
    assert!(probes.iter().all(|line| line.starts_with("yes") || line.contains(": ")), "{text}");
    if Identity::here() == Identity::Single {
        assert!(text.contains("usermod --add-subuids"), "{text}");
    }
    // What is asked for and cannot be had is an error, not something else in silence.
    let forced = work.yado(["info", "--isolation", "chroot"]);
    if Identity::here() == Identity::Root {
        assert!(forced.succeeds().stdout.contains("chroot"));
    } else {
        forced.fails(71).says("chroot");
    }
}
