//! The support itself: a test that passes for the wrong reason is worse than none.

use std::fs;

use crate::support::{Image, Kind, Options, Registry, WorkDir, base};

/// An image goes to a registry and comes back through other programs' hands.
#[test]
fn a_pushed_image_is_judged_by_others() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = format!("{}/app:1", registry.host);
    work.build("FROM {base}\nRUN echo built > /result\n").flags(["-t", &name, "--push"]).succeeds();
    let image = Image::pull(&work, &name);
    assert_eq!(image.digest, work.image().digest);
    assert_eq!(image.text("result"), "built\n");
    assert_eq!(image.top().paths(), ["result"]);
    let base_layers = base().manifest["layers"].as_array().unwrap();
    assert_eq!(image.manifest["layers"].as_array().unwrap()[..2], base_layers[..]);
    let root = image.unpack(&work);
    assert_eq!(fs::read_to_string(root.join("result")).unwrap(), "built\n");
    let puts = registry.requests().into_iter();
    let puts: Vec<_> =
        puts.filter(|r| r.method == "PUT" && r.path.contains("/manifests/")).collect();
    assert_eq!(puts.len(), 1, "{}", registry.log());
    assert_eq!(puts[0].status, 201);
}

/// A registry with a certificate of its own and a password.
#[test]
fn a_guarded_registry_wants_its_password() {
    let work = WorkDir::new();
    let registry = Registry::start(Options { basic_auth: true, tls: true });
    let name = format!("{}/app:1", registry.host);
    let certificate = registry.certificate();
    let push = || {
        work.build("FROM scratch\nLABEL a=b\n").flags([
            "-t",
            &name,
            "--push",
            "--registry-certificate",
            certificate.to_str().unwrap(),
        ])
    };
    work.build("FROM scratch\n").flags(["-t", &name, "--push"]).fails(69).says("HTTPS server");
    push().fails(77).says(&registry.host);
    // builder:correct horse
    let auth = r#"{"auth": "YnVpbGRlcjpjb3JyZWN0IGhvcnNl"}"#;
    work.write(
        "home/.docker/config.json",
        format!("{{\"auths\": {{\"{}\": {auth}}}}}", registry.host),
    );
    push().succeeds();
}

/// The base is what its own text says.
#[test]
fn the_base_has_a_shell_and_accounts() {
    let work = WorkDir::new();
    let image = work.built("FROM {base}\n");
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.entry("bin/sh").map(|entry| entry.kind), Some(Kind::Symlink));
    assert_eq!(image.config["config"]["Env"][1], "BASE_VARIABLE=of the base");
}
