//! The 24 defects that were found in Kaniko, each as a test that it would fail. What a
//! single build shows is a case of `testdata/build/kaniko/`; here is the rest.
//!
//! | defect | where |
//! |---|---|
//! | 1, 2, 3: heredocs of RUN are expanded, not run, run by the wrong shell | cases 01, 02, 03 |
//! | 4: an edited heredoc takes the old layer from the cache | here |
//! | 5, 6: arguments of WORKDIR and COPY are not in the cache's key | cases 05, 06; here |
//! | 7: opaque marks of the base are ignored | here |
//! | 8: pipes and attributes of the base are lost; no digest twice | case 08; `layers.rs`, `determinism.rs` |
//! | 9: a link to itself fails the build | case 09 |
//! | 10: a link's target is stored again | case 10; here |
//! | 11: `ADD --checksum` is not verified | case 11 |
//! | 12: `COPY --parents`, `--exclude`, `--link` are ignored | cases 12 |
//! | 13: mounts, `--network` and `--security` are ignored | cases 13; `mounts.rs`, `steps.rs` |
//! | 14: a read-only cache can be written | case 14 |
//! | 15: background processes live on | case 15; `steps.rs` |
//! | 16: files at mount points are not in the image | cases 16 |
//! | 17: RUN reads the builder's credentials | here |
//! | 18, 19: `USER app:group`; `COPY <<EOF` is not expanded | cases 18, 19 |
//! | 20: an ordinary user cannot build | here; `tests/identities.sh` runs all tests as two of them |
//! | 21: `ADD` of a git repository downloads a page | `src/git/`, which fetches them |
//! | 22: ADD reads a file into memory | case 22; here |
//! | 23: flags without effect | here |
//! | 24: orphans stay as zombies | here |

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::support::base::hex;
use crate::support::{Image, Kind, Options, Registry, WorkDir, base, tool};

/// Defect 4.
#[test]
fn an_edited_heredoc_is_run_again() {
    let work = WorkDir::new();
    for text in ["first", "second", "first"] {
        let dockerfile = format!("FROM {{base}}\nRUN <<EOF\necho {text} > /result\nEOF\n");
        assert_eq!(work.built(&dockerfile).text("result"), format!("{text}\n"));
    }
}

/// Defects 5 and 6.
#[test]
fn arguments_of_workdir_and_copy_decide() {
    let work = WorkDir::new();
    work.write("context/file", "text");
    for value in ["1", "2", "1"] {
        let build = work.build("FROM scratch\nARG V\nWORKDIR /w$V\nCOPY file /dst$V\n");
        build.flags(["--build-arg", &format!("V={value}")]).succeeds();
        let image = work.image();
        assert_eq!(image.config["config"]["WorkingDir"], format!("/w{value}"));
        let paths: Vec<&str> = image.layers.iter().flat_map(|layer| layer.paths()).collect();
        assert_eq!(paths, [format!("w{value}"), format!("dst{value}")]);
    }
}

/// Defect 7.
#[test]
fn an_opaque_directory_of_the_base_hides_what_is_below() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = with_layer(&work, &registry, &opaque_layer());
    let image = work.built(&format!("FROM {name}\nRUN ls /opt/full > /result\n"));
    assert_eq!(image.text("result"), "new\n");
    // Also where nothing is run, and the tree is that of a stage.
    let copied = work.built(&format!("FROM scratch\nCOPY --from={name} /opt/full /copied\n"));
    assert_eq!(copied.top().paths(), ["copied", "copied/new"]);
}

/// A layer that replaces all that is in `/opt/full`.
fn opaque_layer() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, kind, mode) in [
        ("opt/full/", EntryType::Directory, 0o755),
        ("opt/full/.wh..wh..opq", EntryType::Regular, 0o644),
        ("opt/full/new", EntryType::Regular, 0o644),
    ] {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        tar.append_data(&mut header, path, std::io::empty()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The base with one layer more, in a registry; gives its name.
fn with_layer(work: &WorkDir, registry: &Registry, tar: &[u8]) -> String {
    let Image { mut config, mut manifest, .. } = Image::pull(work, &base().reference);
    let blob = |bytes: &[u8]| {
        let digest = hex(bytes);
        work.write(&format!("pulled/blobs/sha256/{digest}"), bytes);
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let described = |media_type: &str, bytes: &[u8]| {
        let mut descriptor = blob(bytes);
        descriptor["mediaType"] = json!(media_type);
        descriptor
    };
    let list = |value: &mut Value, item: Value| value.as_array_mut().unwrap().push(item);
    list(&mut config["rootfs"]["diff_ids"], json!(format!("sha256:{}", hex(tar))));
    list(&mut config["history"], json!({"created_by": "opaque"}));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, tar).unwrap();
    let layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    list(&mut manifest["layers"], described(layer_type, &gzip.finish().unwrap()));
    let config_type = "application/vnd.oci.image.config.v1+json";
    manifest["config"] = described(config_type, &serde_json::to_vec(&config).unwrap());
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let mut top = described(manifest_type, &serde_json::to_vec(&manifest).unwrap());
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let index = json!({"schemaVersion": 2, "manifests": [top]});
    work.write("pulled/index.json", serde_json::to_vec(&index).unwrap());
    let name = format!("{}/opaque:1", registry.host);
    tool(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        &format!("oci:{}:latest", work.path("pulled").display()),
        &format!("docker://{name}"),
    ]));
    name
}

/// Defect 10.
#[test]
fn a_link_is_stored_without_its_target() {
    let work = WorkDir::new();
    let image = work.built(
        "FROM {base}\nRUN head -c 8388608 /dev/urandom > /big\nRUN ln -s /big /link\nRUN ln -s /opt /dir\n",
    );
    let size = |layer: &Value| layer["size"].as_u64().unwrap();
    let sizes: Vec<u64> = image.manifest["layers"].as_array().unwrap().iter().map(size).collect();
    assert!(sizes[2] > 8 << 20 && sizes[3] < 1024 && sizes[4] < 1024, "{sizes:?}");
    assert_eq!(image.entry("link").map(|entry| entry.kind), Some(Kind::Symlink));
}

/// Defect 17: neither credentials nor the context, the store or the environment.
#[test]
fn a_step_finds_nothing_of_the_builder() {
    // builder:correct horse
    const SECRET: &str = "YnVpbGRlcjpjb3JyZWN0IGhvcnNl";
    let work = WorkDir::new();
    let auth = format!(r#"{{"auths": {{"registry.invalid": {{"auth": "{SECRET}"}}}}}}"#);
    work.write("home/.docker/config.json", auth);
    work.write("context/not-copied", SECRET);
    // The pattern is put together in a file, so that no command line holds it.
    let (front, back) = SECRET.split_at(7);
    let home = work.path("home").display().to_string();
    work.build(&format!(
        "FROM {{base}}\nRUN printf %s {front} {back} > /tmp/pattern && \
         {{ find / \\( -path /proc -o -path /sys \\) -prune -o -type f -exec grep -lFf /tmp/pattern {{}} +; \
         cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -cFf /tmp/pattern; \
         ls -d {home} {home}/.docker 2>/dev/null; true; }} > /result\n"
    ))
    .env("TOKEN", SECRET)
    .succeeds();
    assert_eq!(work.image().text("result"), "/tmp/pattern\n0\n");
}

/// Defect 20: files of others can be read without the right to hide that.
#[test]
fn a_context_may_be_anothers() {
    let work = WorkDir::new();
    let dockerfile = work.write("Dockerfile", "FROM scratch\nCOPY passwd group /etc/\n");
    // What every user may read and root owns.
    let output = format!("type=oci,tar=false,dest={}", work.path("image").display());
    let flags = ["build", "--file", dockerfile.to_str().unwrap(), "--output", &output, "/etc"];
    let ignore = "*\n!passwd\n!group\n";
    work.write("Dockerfile.dockerignore", ignore);
    work.yado(flags).succeeds();
    assert_eq!(work.image().text("etc/passwd"), fs::read_to_string("/etc/passwd").unwrap());
    // So may the directory above it.
    symlink("/etc", work.path("elsewhere")).unwrap();
    let elsewhere = work.path("elsewhere");
    work.yado(flags[..5].iter().chain([&elsewhere.to_str().unwrap()])).succeeds();
}

/// Defect 22.
#[test]
fn add_of_a_large_file_needs_little_memory() {
    let work = WorkDir::new();
    let file = work.write("context/large", "");
    fs::File::options().write(true).open(file).unwrap().set_len(256 << 20).unwrap();
    let figure = work.path("peak");
    work.build("FROM scratch\nADD large /large\n")
        .under(["time", "--format=%M", "--output", figure.to_str().unwrap()])
        .succeeds();
    let peak: u64 = fs::read_to_string(&figure).unwrap().trim().parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
}

/// Defect 23: what is not known, or cannot have an effect, is refused.
#[test]
fn a_flag_without_effect_is_an_error() {
    let work = WorkDir::new();
    for flags in [
        &["--skip-tls-verify-pull"][..],
        &["--bucket", "b"],
        &["--context-sub-path", "sub"],
        &["--output", "type=oci,dest=x,compression-levle=1"],
        &["--output", "type=oci,dest=x,compression=gzip,compression-level=99"],
        &["--push"],
    ] {
        work.build("FROM scratch\n").flags(flags).fails(64);
    }
}

/// Defect 24.
#[test]
fn orphans_of_a_step_are_reaped() {
    let work = WorkDir::new();
    // The process in the middle goes at once; its child then ends as init's.
    let image = work.built(
        "FROM {base}\nRUN (sh -c 'sleep 0.1 & exec true') && \
         timeout 10 sh -c 'while pidof sleep > /dev/null; do :; done' && echo gone > /result\n",
    );
    assert_eq!(image.text("result"), "gone\n");
}
