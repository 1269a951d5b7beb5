//! What is left when the machine takes something away: which isolation follows,
//! that the image is the same, and what the user is told.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Identity, WorkDir};

const DOCKERFILE: &str = "FROM {base} AS made\n\
    COPY --chown=app:staff links /links\n\
    RUN cd /links && rm replaced && ln -s by-root replaced\n\
    FROM made\n\
    RUN echo built > /result && mkdir /dir && id -u >> /result\n\
    COPY --from=made /links /again\n";

/// A directory with the context of [`DOCKERFILE`].
fn work() -> WorkDir {
    let work = WorkDir::new();
    let links = work.path("context/links");
    fs::create_dir_all(&links).unwrap();
    for link in ["kept", "replaced"] {
        symlink("nowhere", links.join(link)).unwrap();
    }
    work
}

/// Privileges withheld by setpriv, and what `yado` makes of the rest.
#[test]
fn fewer_privileges_build_the_same_image() {
    let whole = work();
    let digest = whole.built(DOCKERFILE).digest;
    // What is taken away, and the isolation that is left.
    let rows: &[(&str, &str)] = match Identity::here() {
        Identity::Root => &[
            ("--bounding-set=-sys_admin", "(user, mount, pid, ipc, uts), real ids"),
            ("--no-new-privs", "(user, mount, pid, ipc, uts), real ids"),
        ],
        Identity::Subordinate | Identity::Single => {
            &[("--no-new-privs", "(user, mount, pid, ipc, uts), one id")]
        }
    };
    for (taken, left) in rows {
        let work = work();
        let output =
            work.build(DOCKERFILE).under(["setpriv", *taken, "--inh-caps=-all"]).succeeds();
        output.says(left);
        assert_eq!(work.image().digest, digest, "{taken}");
    }
}

/// On a file system that overlay does not want, trees are copied. An ordinary
/// user is root of a namespace with one id here, as in some containers.
#[test]
fn a_store_without_overlay_builds_the_same_image() {
    let whole = work();
    let digest = whole.built(DOCKERFILE).digest;
    let work = work();
    let (upper, store) = (work.path("overlay"), work.path("store"));
    fs::create_dir(&store).unwrap();
    let script = "mkdir $0 && mount -t tmpfs tmpfs $0 && cd $0 && mkdir l u w && \
        mount -t overlay -o userxattr,lowerdir=l,upperdir=u,workdir=w overlay $1 && shift && exec \"$@\"";
    let namespace: &[&str] = match Identity::here() {
        Identity::Root => &["unshare", "--mount"],
        Identity::Subordinate | Identity::Single => &["unshare", "--mount", "--map-root-user"],
    };
    let words = ["sh", "-c", script, upper.to_str().unwrap(), store.to_str().unwrap()];
    work.build(DOCKERFILE)
        .under([namespace, &words].concat())
        .succeeds()
        .says("overlay cannot be mounted in the store");
    assert_eq!(work.image().digest, digest);
}

/// Where nothing is possible, RUN says what would make it so; the rest works.
#[test]
fn without_any_isolation_only_run_fails() {
    let work = work();
    if Identity::here() == Identity::Root {
        let nothing = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
        work.build(DOCKERFILE).under(nothing).fails(71).says("CAP_SYS_CHROOT");
        work.write("context/file", "content");
        work.build("FROM {base}\nCOPY file /\n").under(nothing).succeeds();
        assert_eq!(work.image().text("file"), "content");
    } else {
        let flags = ["--isolation", "chroot"];
        work.build(DOCKERFILE).flags(flags).fails(71).says("an ordinary user may not chroot");
    }
}
