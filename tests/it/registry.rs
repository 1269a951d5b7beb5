//! Pull and push with a real registry: who may, what is moved, and what goes wrong.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::support::{Image, Options, Output, Registry, Request, WorkDir, base, eventually, tool};

/// `builder:correct horse`
const AUTH: &str = "YnVpbGRlcjpjb3JyZWN0IGhvcnNl";
/// `builder:wrong`
const WRONG: &str = "YnVpbGRlcjp3cm9uZw==";

/// A file and its content, a variable, the exit code, and what is said.
type Row<'a> = (&'a str, String, Option<(&'a str, &'a str)>, i32, &'a str);

/// What the registry answered until and with the `count`th manifest that was
/// put: the log has a request only after its answer.
fn until_pushed(registry: &Registry, count: usize) -> Vec<Request> {
    let is_end = |r: &Request| r.method == "PUT" && r.path.contains("/manifests/");
    eventually("the push in the registry's log", || {
        let requests = registry.requests();
        (requests.iter().filter(|r| is_end(r)).count() >= count).then_some(requests)
    })
}

fn uploads(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|r| r.path.contains("/blobs/uploads/")).collect()
}

fn silent_about_secrets(output: &Output) {
    for secret in [Registry::PASSWORD, AUTH, WRONG, "horse"] {
        assert!(
            !output.stderr.contains(secret) && !output.stdout.contains(secret),
            "{}",
            output.stderr
        );
    }
}

/// Where credentials may stand, and what is said when they are missing or wrong.
#[test]
fn credentials_are_found_where_docker_keeps_them() {
    let registry = Registry::start(Options { basic_auth: true, tls: false });
    let host = &registry.host;
    let name = format!("{host}/team/app:1");
    let auths = |auth: &str| format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{auth}\"}}}}}}");
    let setup = |work: &WorkDir| {
        let answer = format!(
            "{{\"ServerURL\": \"{host}\", \"Username\": \"{}\", \"Secret\": \"{}\"}}",
            Registry::USER,
            Registry::PASSWORD
        );
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = get ] || exit 2\nread -r server\n[ \"$server\" = \"{host}\" ] && echo '{answer}' && exit\necho credentials not found in native keychain; exit 1\n"
        );
        let helper = work.write("bin/docker-credential-test", script);
        fs::set_permissions(helper, fs::Permissions::from_mode(0o755)).unwrap();
        let helper =
            work.write("bin/docker-credential-broken", "#!/bin/sh\necho out of order; exit 1\n");
        fs::set_permissions(helper, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let helpers = |program: &str| format!("{{\"credHelpers\": {{\"{host}\": \"{program}\"}}}}");
    let config = "home/.docker/config.json";
    let nothing = "{}".to_owned();
    let advice = format!("docker login {host}");
    let plain = auths(AUTH);
    let rows: Vec<Row<'_>> = vec![
        (config, plain.clone(), None, 0, ""),
        (config, plain.replace("127.0.0.1", "http://127.0.0.1"), None, 0, ""),
        (
            config,
            format!(
                "{{\"auths\": {{\"{host}\": {{\"username\": \"builder\", \"password\": \"correct horse\"}}}}}}"
            ),
            None,
            0,
            "",
        ),
        (config, helpers("test"), None, 0, ""),
        (config, "{\"credsStore\": \"test\"}".to_owned(), None, 0, ""),
        ("home/run/containers/auth.json", plain.clone(), None, 0, ""),
        ("home/.config/containers/auth.json", plain.clone(), None, 0, ""),
        ("elsewhere/config.json", plain.clone(), Some(("DOCKER_CONFIG", "elsewhere")), 0, ""),
        (
            "elsewhere/auth.json",
            plain.clone(),
            Some(("REGISTRY_AUTH_FILE", "elsewhere/auth.json")),
            0,
            "",
        ),
        (config, nothing.clone(), None, 77, &advice),
        // Of another registry.
        (config, plain.replace("127.0.0.1", "127.0.0.2"), None, 77, &advice),
        (config, plain.clone(), Some(("DOCKER_CONFIG", "empty")), 77, &advice),
        (config, auths(WRONG), None, 77, &advice),
        (config, auths("no base64!"), None, 65, "config.json"),
        (config, "{\"auths\": ".to_owned(), None, 65, "config.json is not a docker config.json"),
        (config, helpers("absent"), None, 77, "docker-credential-absent, which is not installed"),
        (config, helpers("broken"), None, 77, "docker-credential-broken gave no credentials"),
    ];
    for (file, content, variable, code, says) in rows {
        let work = WorkDir::new();
        setup(&work);
        work.write(file, &content);
        let path = format!("{}:/usr/bin:/bin", work.path("bin").display());
        let mut build = work
            .build("FROM scratch\nLABEL a=b\n")
            .flags(["-t", &name, "--push"])
            .env("PATH", path);
        if let Some((variable, value)) = variable {
            build = build.env(variable, work.path(value));
        }
        let output = build.run().with_code(code).says(says);
        if code != 0 {
            assert!(
                output.stderr.contains(host.as_str()) || says.contains("config.json"),
                "{file} {content}: {}",
                output.stderr
            );
        }
        silent_about_secrets(&output);
    }

    // The base of a build needs them as well.
    let work = WorkDir::new();
    let from = format!("docker://{}", base().reference);
    let credentials = format!("{}:{}", Registry::USER, Registry::PASSWORD);
    let to = format!("docker://{host}/base:1");
    tool(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--dest-creds",
        &credentials,
        &from,
        &to,
    ]));
    let build = || work.build(&format!("FROM {host}/base:1\nRUN true\n"));
    let denied = build().fails(77).says(&advice).says(&format!("{host}/base:1"));
    silent_about_secrets(&denied);
    work.write(config, plain);
    build().succeeds();
}

/// Certificates, and where plain http is allowed.
#[test]
fn tls_is_wanted_except_on_loopback() {
    let work = WorkDir::new();
    let tls = Registry::start(Options { tls: true, ..Options::default() });
    let plain = Registry::start(Options::default());
    let push = |host: &str, flags: &[&str]| {
        let name = format!("{host}/app:1");
        work.build("FROM scratch\nLABEL a=b\n").flags(["-t", &name, "--push"]).flags(flags).run()
    };
    let certificate = tls.certificate();
    let certificate = certificate.to_str().unwrap();
    let trust = ["--registry-certificate", certificate];
    // A name of the loopback interface that does not look like one.
    let outside = |registry: &Registry| registry.host.replace("127.0.0.1", "0.0.0.0");
    let localhost = tls.host.replace("127.0.0.1", "localhost");
    let insecure = outside(&plain);
    push(&localhost, &trust).with_code(0);
    push(&tls.host, &trust).with_code(0);
    // The certificate is not for this name.
    push(&outside(&tls), &trust).with_code(69).says("0.0.0.0");
    push(&outside(&tls), &[]).with_code(69).says("--registry-certificate FILE");
    push(&insecure, &[]).with_code(69).says(&format!("--insecure-registry {insecure}"));
    push(&insecure, &["--insecure-registry", &insecure]).with_code(0);
    push(&plain.host, &[]).with_code(0);
    push(&tls.host, &["--registry-certificate", "/none.pem"]).says("/none.pem");
    let not_pem = work.write("not.pem", "no certificate");
    push(&tls.host, &["--registry-certificate", not_pem.to_str().unwrap()]).says("not.pem");
}

/// What is not there, and who does not answer.
#[test]
fn missing_images_and_registries_have_their_codes() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let host = &registry.host;
    // Nobody listens here, and nobody can while it is held.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = held.local_addr().unwrap();
    drop(held);
    let of_base = base().manifest["config"]["digest"].as_str().unwrap();
    for (from, code, says) in [
        (format!("{host}/none:1"), 66, format!("{host}/none:1")),
        (format!("{host}/none@{of_base}"), 66, "none@sha256:".to_owned()),
        (format!("{deaf}/base:1"), 69, format!("{deaf}/base:1")),
        ("127.0.0.1:1/Base:1".to_owned(), 65, "Base".to_owned()),
    ] {
        work.build(&format!("FROM {from}\nRUN true\n")).fails(code).says(&says);
    }
    let name = format!("{deaf}/app:1");
    work.build("FROM scratch\nLABEL a=b\n").flags(["-t", &name, "--push"]).fails(69).says(&name);
    work.build("FROM scratch\n").flags(["--push"]).fails(64).says("-t");
}

/// Only what the registry lacks is moved, with few requests.
#[test]
fn a_push_moves_only_what_is_missing() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = format!("{}/app", registry.host);
    let text = "FROM {base}\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN echo 3 > /3\n";
    work.build(text).flags(["-t", &format!("{name}:1"), "--push"]).succeeds();
    let first = until_pushed(&registry, 1);
    let image = Image::pull(&work, &format!("{name}:1"));
    // Base layers are passed on as they are.
    let layers = image.manifest["layers"].as_array().unwrap();
    assert_eq!(layers[..2], base().manifest["layers"].as_array().unwrap()[..]);
    let starts = first.iter().filter(|r| r.method == "POST").count();
    assert_eq!(starts, 6, "{first:#?}");

    // A second push of the same image uploads nothing.
    let before = registry.requests().len();
    work.build(text).flags(["-t", &format!("{name}:2"), "--push"]).succeeds();
    let second = until_pushed(&registry, 2)[before..].to_vec();
    assert_eq!(uploads(&second), Vec::<&Request>::new());
    assert_eq!(Image::pull(&work, &format!("{name}:2")).digest, image.digest);

    // One more layer: that, and the configuration.
    let before = registry.requests().len();
    work.build(&format!("{text}RUN echo 4 > /4\n"))
        .flags(["-t", &format!("{name}:3"), "--push"])
        .succeeds();
    let third = until_pushed(&registry, 3)[before..].to_vec();
    assert_eq!(third.iter().filter(|r| r.method == "POST").count(), 2, "{third:#?}");
}

/// An image of three layers and a configuration, all new: what the name has now, two requests
/// for each (a session, the bytes) and one for the manifest. The same image again: one.
#[test]
fn a_push_takes_few_requests() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    for file in ["a", "b", "c"] {
        work.write(&format!("context/{file}"), file);
    }
    let name = format!("{}/app:1", registry.host);
    work.build("FROM scratch\nCOPY a /\nCOPY b /\nCOPY c /\n")
        .flags(["-t", &name, "--push"])
        .succeeds();
    let requests = until_pushed(&registry, 1);
    let listed: Vec<String> =
        requests.iter().map(|r| format!("{} {} {}", r.method, r.path, r.status)).collect();
    assert_eq!(requests.iter().filter(|r| r.method == "POST").count(), 4, "{listed:#?}");
    assert_eq!(requests.len(), 10, "{listed:#?}");
    assert!(requests[1..].iter().all(|r| r.status < 400), "{listed:#?}");

    work.build("FROM scratch\nCOPY a /\nCOPY b /\nCOPY c /\n")
        .flags(["-t", &name, "--push"])
        .succeeds();
    let again = eventually("the question in the log", || {
        let requests = registry.requests();
        (requests.len() > 10).then_some(requests)
    });
    assert_eq!(again.len(), 11, "{again:#?}");
    assert_eq!((again[10].method.as_str(), again[10].status), ("GET", 200), "{again:#?}");
}

/// What an image had before is not asked for again; if the registry has lost it meanwhile, it
/// is sent after all.
#[test]
fn a_registry_that_lost_a_layer_gets_it_again() {
    let work = WorkDir::new();
    let registry = Registry::with_files();
    work.write("context/a", "a");
    let name = format!("{}/app:1", registry.host);
    let text = "FROM scratch\nCOPY a /a\n";
    work.build(text).flags(["-t", &name, "--push"]).succeeds();
    let digest = work.image().manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    fs::remove_file(registry.blob(&digest)).unwrap();
    work.build(&format!("{text}COPY a /b\n")).flags(["-t", &name, "--push"]).succeeds();
    assert!(registry.blob(&digest).exists());
    assert_eq!(Image::pull(&work, &name).layers.len(), 2);
}

/// A base whose files nobody needs is not fetched: its layers are taken over by the registry
/// itself, or fetched only to be sent to another one.
#[test]
fn a_base_whose_files_nobody_needs_stays_where_it_is() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let other = Registry::start(Options::default());
    let host = &registry.host;
    work.write("context/hello.txt", "hello");
    work.write("context/tool", "#!/bin/sh\n");
    let rows = [
        ("COPY hello.txt /hello.txt\nWORKDIR /app\nCOPY hello.txt .\n", host, 0),
        // From a registry that has the layers to one that has not.
        ("COPY hello.txt /hello.txt\n", &other.host, 1),
        // What systems have, what the base tells of, and what only its files say.
        ("COPY tool /usr/bin/tool\n", host, 1),
        ("COPY hello.txt /data/hello.txt\n", host, 1),
        ("COPY --chown=app hello.txt /hello.txt\n", host, 1),
        ("COPY hello.txt /hello.txt\nRUN true\n", host, 1),
    ];
    // It tells what it has, as the base of the tests does not.
    let names = (0..rows.len()).map(|number| ["-t".to_owned(), format!("{host}/base{number}:1")]);
    work.build("FROM {base} AS files\nFROM scratch\nCOPY --from=files / /\nENV DATA=/data/x\n")
        .flags(names.flatten())
        .flags(["--push"])
        .succeeds();
    for (number, (text, to, layers)) in rows.into_iter().enumerate() {
        let build = |store: &str, name: &str, flags: &[&str]| {
            work.yado(["build", "-f", "-", "-t", name, "--push", "context"])
                .env("YADO_ROOT", work.path(store))
                .stdin(format!("FROM {host}/base{number}:1\n{text}"))
                .flags(flags)
                .succeeds();
            Image::pull(&work, name)
        };
        let image = build(&format!("store{number}"), &format!("{to}/app{number}:1"), &[]);
        let blobs = format!("/v2/base{number}/blobs/");
        let is_end = |r: &Request| r.path.contains(&format!("app{number}/manifests/"));
        let asked = eventually("the end in the registry's log", || {
            let requests = registry.requests();
            let asked = requests.iter().filter(|r| r.method == "GET" && r.path.contains(&blobs));
            let asked = asked.count();
            (to != host && asked > layers || requests.iter().any(is_end)).then_some(asked)
        });
        // With the configuration.
        assert_eq!(asked, layers + 1, "{text}: {:#?}", registry.requests());
        assert_eq!(image.entry("bin/busybox").map(|entry| entry.mode), Some(0o755), "{text}");
        // With the base's files at hand it comes out the same.
        let eager = build("eager", &format!("{to}/eager{number}:1"), &["--eager-base"]);
        assert_eq!(eager.digest, image.digest, "{text}");
    }
}

/// Layers of a base in another repository of the same registry are not uploaded.
#[test]
fn base_layers_on_the_same_registry_are_mounted() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let host = &registry.host;
    for name in ["aaa/tools", "base"] {
        let from = format!("docker://{}", base().reference);
        let to = format!("docker://{host}/{name}:1");
        tool(Command::new("skopeo").args([
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &from,
            &to,
        ]));
    }
    // A small image whose repository has none of the layers, and comes first by name.
    work.build("FROM scratch\nLABEL a=b\n")
        .flags(["-t", &format!("{host}/aaa/empty:1"), "--push"])
        .succeeds();
    let started = until_pushed(&registry, 3).len();
    for (count, (tag, dockerfile)) in [
        ("one", format!("FROM {host}/base:1\nRUN echo one > /x\n")),
        ("two", format!("FROM {host}/aaa/empty:1 AS other\nFROM {host}/base:1\nRUN echo two > /x\nCOPY --from={host}/aaa/tools:1 /opt/full /y\n")),
    ].iter().enumerate() {
        let name = format!("{host}/mounted-{tag}:1");
        work.build(dockerfile).flags(["-t", &name, "--push"]).succeeds();
        let requests = until_pushed(&registry, 4 + count)[started..].to_vec();
        let ours: Vec<&Request> = requests.iter().filter(|r| r.path.contains(&format!("/mounted-{tag}/"))).collect();
        for layer in base().manifest["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap();
            let mounts = ours.iter().filter(|r| r.method == "POST" && r.path.contains("mount=") && r.path.replace("%3A", ":").contains(digest));
            assert_eq!(mounts.map(|r| r.status).collect::<Vec<_>>(), [201], "{ours:#?}");
            let sent = ours.iter().filter(|r| r.method == "PUT" && r.path.replace("%3A", ":").contains(digest)).count();
            assert_eq!(sent, 0, "{ours:#?}");
        }
        assert_eq!(Image::pull(&work, &name).layers.len(), 3 + count);
    }
}

/// A name by digest is that manifest and no other.
#[test]
fn a_base_by_digest_is_that_one() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = format!("{}/parent", registry.host);
    let push = |value: &str| {
        work.build(&format!("FROM scratch\nLABEL value={value}\n"))
            .flags(["-t", &format!("{name}:1"), "--push"])
            .succeeds();
        work.image().digest
    };
    let (old, new) = (push("old"), push("new"));
    for (from, expected) in [
        (format!("{name}@{old}"), "old"),
        (format!("{name}:1@{old}"), "old"),
        (format!("{name}@{new}"), "new"),
        (format!("{name}:1"), "new"),
    ] {
        let image = work.built(&format!("FROM {from}\n"));
        assert_eq!(image.config["config"]["Labels"]["value"], expected, "{from}");
    }
    // A tag of the store is not asked for again, unless --pull says so.
    push("newest");
    let again = work
        .yado(["build", "--pull", "-"])
        .stdin(format!("FROM {name}:1\n"))
        .flags(["-o", &format!("type=oci,tar=false,dest={}", work.path("image").display())]);
    again.succeeds();
    assert_eq!(work.image().config["config"]["Labels"]["value"], "newest");
}

/// Content that is not what its digest says is not used, now or later.
#[test]
fn wrong_content_is_found_out() {
    let registry = Registry::with_files();
    let name = format!("{}/base:1", registry.host);
    let from = format!("docker://{}", base().reference);
    tool(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &from,
        &format!("docker://{name}"),
    ]));
    let of = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    let layer = of(&base().manifest["layers"][0]);
    let config = of(&base().manifest["config"]);
    let text = format!("FROM {name}\nRUN echo x > /x\n");
    for (digest, spoil) in [
        (
            &layer,
            (|bytes: &mut Vec<u8>| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }) as fn(&mut Vec<u8>),
        ),
        (&layer, |bytes| bytes.truncate(bytes.len() - 100)),
        (&layer, |bytes| bytes.extend([0; 100])),
        (&layer, Vec::clear),
        (&config, |bytes| {
            let at = bytes.len() - 3;
            bytes[at] = b' ';
        }),
        (&config, |bytes| bytes.extend(b"\n")),
    ] {
        let work = WorkDir::new();
        let file = registry.blob(digest);
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        spoil(&mut bytes);
        fs::write(&file, &bytes).unwrap();
        // Not the second time either, when something is in the store.
        for _ in 0..2 {
            let hex = digest.strip_prefix("sha256:").unwrap();
            let output =
                work.build(&text).fails(69).says(&format!("{}/base", registry.host)).says(hex);
            assert!(!work.path("store/blobs/sha256").join(hex).exists(), "{}", output.stderr);
        }
        fs::write(&file, &whole).unwrap();
        assert_eq!(work.built(&text).text("x"), "x\n");
    }
}
