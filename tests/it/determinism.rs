//! The same inputs give the same digest: for whoever builds, wherever, whenever.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::{Identity, Image, WorkDir, base, tool, write};

/// Something of everything that a layer can hold, in two stages. Only a step's
/// programs give no owners, since not every user can.
const DOCKERFILE: &str = "FROM {base} AS made\n\
    ARG GREETING=hello\n\
    WORKDIR /made\n\
    COPY . .\n\
    COPY --chown=app:staff --chmod=640 src/a.txt src/b.txt /owned/\n\
    COPY --chown=app:staff . /chowned/\n\
    ADD data.tar /unpacked/\n\
    RUN echo $GREETING > out; id -u > who; id -g >> who; env | sort > env; umask > umask\n\
    RUN rm -r /opt/full && mkdir -p /opt/full/deep/er && mkfifo /opt/full/p && ln out linked && ln -s out soft\n\
    RUN find / -xdev -type f ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' ! -path '/etc/*' ! -path /listed -exec stat -c '%n %s %Y %a' {} + | sort > /listed\n\
    FROM {base}\n\
    RUN rm /etc/group && mv /opt/full/a /opt/full/z && chmod 700 /home/app\n\
    COPY --from=made /made /owned /opt /listed /all/\n\
    COPY --from=made /chowned /chowned/\n\
    COPY --from=made /unpacked /unpacked/\n\
    LABEL made=yes\n";

/// Writes the context to `dir`.
fn context(dir: &Path) {
    for (path, mode) in
        [("src/a.txt", 0o644), ("src/b.txt", 0o600), ("run.sh", 0o755), ("src/deep/er/c", 0o444)]
    {
        write(&dir.join(path), format!("this is {path}\n"));
        fs::set_permissions(dir.join(path), Permissions::from_mode(mode)).unwrap();
    }
    for path in ["src", "src/deep", "src/deep/er"] {
        fs::set_permissions(dir.join(path), Permissions::from_mode(0o755)).unwrap();
    }
    symlink("src/a.txt", dir.join("link")).unwrap();
    // The registry's port is in the Dockerfile, which is another in each run.
    write(&dir.join(".dockerignore"), "Dockerfile\n");
    fs::set_permissions(dir.join(".dockerignore"), Permissions::from_mode(0o644)).unwrap();
    let packed = ["--sort=name", "--mtime=@0", "--owner=:1000", "--group=:50", "--mode=a=rX,u+w"];
    tool(
        Command::new("tar").current_dir(dir).args(packed).args(["-cf", "data.tar", "src", "link"]),
    );
    fs::set_permissions(dir.join("data.tar"), Permissions::from_mode(0o644)).unwrap();
}

/// Builds in `work`, with a context of its own.
fn build(work: &WorkDir, flags: &[&str]) -> Image {
    if !work.path("context/src").exists() {
        context(&work.path("context"));
    }
    work.build(DOCKERFILE).flags(flags).succeeds();
    work.image()
}

/// Fails unless both are the same, with the entries that differ.
fn same(image: &Image, first: &Image, how: &str) {
    for (layer, expected) in image.layers.iter().zip(&first.layers) {
        assert_eq!(layer.entries, expected.entries, "{how}");
    }
    assert_eq!(image.config, first.config, "{how}");
    assert_eq!(image.digest, first.digest, "{how}");
}

#[test]
fn the_digest_is_the_same_wherever_and_whenever() {
    let work = WorkDir::new();
    let first = build(&work, &[]);
    same(&build(&work, &[]), &first, "all cached");
    same(&build(&work, &["--no-cache"]), &first, "run again");
    same(&build(&WorkDir::new(), &[]), &first, "in another store");
    if Identity::here() == Identity::Root {
        same(&build(&WorkDir::new(), &["--isolation", "chroot"]), &first, "chroot");
    }

    // Half cached: the first steps are remembered, the last ones are not.
    let half = WorkDir::new();
    context(&half.path("context"));
    let (stage, _) = DOCKERFILE.split_once("RUN rm -r").unwrap();
    half.build(stage).succeeds();
    same(&build(&half, &[]), &first, "half cached");

    // Another checkout: later, deeper, under another umask, written in another order.
    let other = WorkDir::new();
    let deep = other.path("some/where/else");
    fs::create_dir_all(&deep).unwrap();
    context(&deep);
    let year = Duration::from_hours(365 * 24);
    for path in ["src/a.txt", "src", "run.sh"] {
        File::open(deep.join(path)).unwrap().set_modified(SystemTime::now() + year).unwrap();
    }
    write(&deep.join("Dockerfile"), DOCKERFILE.replace("{base}", &base().reference));
    let image = other.path("image");
    let output = format!("type=oci,tar=false,dest={}", image.display());
    let umask = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    other.yado(["build", "--output", &output, "."]).dir(&deep).under(umask).succeeds();
    same(&other.image(), &first, "another directory, time and umask");

    note("image", &first.digest);
}

/// Whether files of one content are names of one file depends on how a checkout was made.
#[test]
fn hard_links_of_the_context_are_files_of_their_own() {
    let dockerfile = "FROM scratch\nCOPY in /d\nADD in/a in/b /f/\nCOPY in/* /e/\n";
    let built = |linked: bool| {
        let work = WorkDir::new();
        let first = work.write("context/in/a", "same\n");
        let second = work.path("context/in/b");
        if linked {
            fs::hard_link(&first, &second).unwrap();
        } else {
            fs::copy(&first, &second).unwrap();
        }
        for (path, mode) in [("in", 0o755), ("in/a", 0o644), ("in/b", 0o644)] {
            let path = work.path("context").join(path);
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        work.built(dockerfile)
    };
    let image = built(false);
    assert_eq!(image.layers[0].paths(), ["d", "d/a", "d/b"]);
    same(&built(true), &image, "hard links");
    note("hard links", &image.digest);
}

/// What must change the digest does, lest the test above compare nothing.
#[test]
fn other_inputs_give_another_digest() {
    let work = WorkDir::new();
    let digest = |work: &WorkDir, flags: &[&str]| build(work, flags).digest;
    let mut digests = vec![digest(&work, &[])];
    digests.push(digest(&work, &["--build-arg", "GREETING=good morning"]));
    digests.push(digest(&work, &["--label", "more=1"]));
    digests.push(digest(&work, &["--annotation", "more=1"]));
    fs::set_permissions(work.path("context/run.sh"), Permissions::from_mode(0o700)).unwrap();
    digests.push(digest(&work, &[]));
    work.write("context/src/a.txt", "other\n");
    digests.push(digest(&work, &[]));
    fs::remove_file(work.path("context/link")).unwrap();
    symlink("src/b.txt", work.path("context/link")).unwrap();
    digests.push(digest(&work, &[]));
    work.build(DOCKERFILE).env("SOURCE_DATE_EPOCH", "1000").succeeds();
    digests.push(work.image().digest);
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count, "{digests:?}");
}

/// Notes a digest down for `identities.sh`, which compares those of all users.
fn note(what: &str, digest: &str) {
    let Some(dir) = std::env::var_os("DIGESTS") else { return };
    let name = format!("{:?}", Identity::here());
    let mut file =
        OpenOptions::new().create(true).append(true).open(Path::new(&dir).join(name)).unwrap();
    writeln!(file, "{what} {digest}").unwrap();
}
