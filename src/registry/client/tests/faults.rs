//! What networks and registries ordinarily do to transfers.

use super::*;

fn cut(after: usize, reset: bool) -> Fate {
    Fate::Cut { after, reset }
}

fn flip(answer: &mut Answer) {
    answer.body[1000] ^= 1;
}

#[tokio::test]
async fn pulls_survive_what_passes() {
    let size = 3_000_000;
    let third = size / 3;
    let long = 4;
    let busy = || Fate::Answer(Answer::new(503));
    for (name, fates, requests) in [
        ("nothing", vec![], 1),
        ("503 twice", vec![busy(), busy()], 3),
        ("429", vec![Fate::Answer(Answer::new(429).with("Retry-After", "0"))], 2),
        ("reset before the answer", vec![Fate::Reset { after: 0 }], 2),
        ("closed at half", vec![cut(size / 2, false)], 2),
        ("reset at half", vec![cut(size / 2, true)], 2),
        ("reset at each third", vec![cut(third, true), cut(third, true)], 3),
        ("small steps", (0..long).map(|_| cut(10_000, false)).collect(), 1 + long),
        ("range refused", vec![cut(9, false), Fate::Answer(Answer::new(416)), Fate::Pass], 3),
        (
            "another range",
            vec![
                cut(9, false),
                Fate::Change(|a| *a = a.clone().with("Content-Range", "bytes 0-1/2")),
            ],
            3,
        ),
        (
            "ranges unknown",
            vec![cut(9, false), Fate::Change(|a| *a = Answer::new(200).body(blob(3_000_000)))],
            2,
        ),
    ] {
        let world = world(once_each("GET", "/blobs/", fates));
        let result = world.pull(&blob(size)).await;
        assert!(result.is_ok(), "{name}: {result:?}");
        assert_eq!(world.count("GET", "/blobs/"), requests, "{name}");
        assert_eq!(world.warnings(), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn a_pull_does_not_wait_for_what_does_not_come() {
    let stall = Fate::Stall { after: 100_000 };
    let world = impatient_world(once_each("GET", "/blobs/", vec![stall]));
    world.pull(&blob(200_000)).await.expect("the blob");
    let log = world.server.shelf().log.clone();
    assert!(log.iter().any(|h| h.header("range") == Some("bytes=100000-")), "{log:?}");

    let silent = impatient_world(|_| Fate::Stall { after: 0 });
    let error = silent.pull(b"x").await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("no progress for 0.15 seconds"), "{error}");
}

#[tokio::test]
async fn a_pull_goes_on_where_it_broke() {
    let world = world(once_each("GET", "/blobs/", vec![cut(70_000, false), cut(50_000, false)]));
    world.pull(&blob(200_000)).await.expect("the blob");
    let log = world.server.shelf().log.clone();
    let ranges: Vec<_> = log.iter().map(|h| h.header("range").unwrap_or("none")).collect();
    assert_eq!(ranges, ["none", "bytes=70000-", "bytes=120000-"]);
}

#[tokio::test]
async fn a_pull_gives_up_on_what_does_not_pass() {
    for (name, always, kind, requests, text) in [
        ("503", Fate::Answer(Answer::new(503)), Kind::Unreachable, 5, "503"),
        ("404", Fate::Answer(Answer::new(404)), Kind::NotFound, 1, "404"),
        ("403", Fate::Answer(Answer::new(403)), Kind::Auth, 1, "rights"),
        ("longer", Fate::Change(|a| a.body.push(0)), Kind::Content, 1, "50001"),
        ("endless", Fate::Endless, Kind::Content, 1, "more than the 50000"),
        ("corrupt", Fate::Change(flip), Kind::Content, 2, "expected sha256:"),
    ] {
        let world = world(move |_| match &always {
            Fate::Answer(answer) => Fate::Answer(answer.clone()),
            Fate::Change(change) => Fate::Change(*change),
            _ => Fate::Endless,
        });
        let blob = blob(50_000);
        let error = world.pull(&blob).await.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(text), "{name}: {error}");
        assert_eq!(world.server.requests().len(), requests, "{name}");
        assert!(!world.store.blob_path(&Digest::of(&blob)).exists(), "{name}");
    }
}

#[tokio::test]
async fn one_flipped_bit_costs_a_warning() {
    let world = world(once_each("GET", "/blobs/", vec![Fate::Change(flip)]));
    let blob = blob(50_000);
    world.pull(&blob).await.expect("the blob");
    let warnings = world.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(Digest::of(&blob).as_str()), "{warnings:?}");
    world.pull(&blob).await.expect("the blob");
    assert_eq!(world.count("GET", "/blobs/"), 2, "what is in the store is not fetched");
}

#[tokio::test]
async fn pushes_survive_what_passes() {
    let half = 1_500_000;
    let later = |status: u16| Fate::Answer(Answer::new(status));
    for (name, method, part, fates, bodies) in [
        ("nothing", "", "", vec![], "PUT 3000000"),
        ("503 on POST", "POST", "", vec![later(503), later(503)], "PUT 3000000"),
        ("reset on HEAD", "HEAD", "", vec![Fate::Reset { after: 0 }], "PUT 3000000"),
        ("500 on PUT", "PUT", "", vec![later(500)], "PUT 3000000, PUT 3000000"),
        ("502 though it worked", "PUT", "", vec![Fate::Cover(Answer::new(502))], "PUT 3000000"),
        (
            "reset at half",
            "PUT",
            "",
            vec![Fate::Reset { after: half }],
            "PUT 1500000, PATCH 1500000, PUT 0",
        ),
        (
            "reset at half and again",
            "P",
            "_state",
            vec![Fate::Reset { after: half }, Fate::Reset { after: 1000 }],
            "PUT 1500000, PATCH 1000, PATCH 1499000, PUT 0",
        ),
        (
            "session lost",
            "PUT",
            "",
            vec![Fate::Answer(Answer::new(404))],
            "PUT 3000000, PUT 3000000",
        ),
    ] {
        let mut fates = fates.into_iter();
        let world = world(move |heard| {
            if !method.is_empty()
                && heard.method.starts_with(method)
                && heard.target.contains(part)
                && (method != "P" || heard.method != "POST")
            {
                fates.next().unwrap_or(Fate::Pass)
            } else {
                Fate::Pass
            }
        });
        let result = world.push(&blob(2 * half), None).await;
        assert!(matches!(result, Ok(Pushed::Uploaded)), "{name}: {result:?}");
        let log = world.server.shelf().log.clone();
        let sent: Vec<_> = log
            .iter()
            .filter(|h| h.is("PUT", "") || h.is("PATCH", ""))
            .map(|h| format!("{} {}", h.method, h.body.len()))
            .collect();
        assert_eq!(sent.join(", "), bodies, "{name}");
        let again = world.push(&blob(2 * half), None).await;
        assert!(matches!(again, Ok(Pushed::Existed)), "{name}: {again:?}");
    }
}

#[tokio::test]
async fn a_new_blob_costs_two_requests_and_a_large_one_three() {
    let world = world(|_| Fate::Pass);
    let large = blob(Client::WORTH_ASKING as usize);
    for (number, bytes) in [&b"hello"[..], &large].into_iter().enumerate() {
        world.push(bytes, None).await.expect("pushed");
        let digest = Digest::of(bytes);
        let session = number + 1;
        let mut expected = vec![
            format!("HEAD /v2/a/blobs/{digest}"),
            "POST /v2/a/blobs/uploads/".into(),
            format!("PUT /v2/a/blobs/uploads/{session}?_state=z%2Fa~b=&a=1&digest={digest}"),
        ];
        if number == 0 {
            expected.remove(0);
        }
        let requests = world.server.requests();
        assert_eq!(requests[requests.len() - expected.len()..], expected);
    }
    assert_eq!(world.server.requests().len(), 5);
    let empty = world.push(b"", None).await;
    assert!(matches!(empty, Ok(Pushed::Uploaded)), "{empty:?}");
}

#[tokio::test]
async fn a_push_gives_up_on_what_does_not_pass() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#;
    for (name, answer, kind, text) in [
        ("denied", Answer::new(403).body(denied), Kind::Auth, "DENIED: read only"),
        ("too large", Answer::new(413), Kind::Protocol, "413"),
        ("busy", Answer::new(503), Kind::Unreachable, "503"),
        ("no session", Answer::new(202), Kind::Protocol, "no Location"),
        (
            "session elsewhere",
            Answer::new(202).with("Location", "ftp://other/"),
            Kind::Protocol,
            "neither http nor https",
        ),
    ] {
        let world =
            world(
                move |heard| {
                    if heard.is("POST", "") { Fate::Answer(answer.clone()) } else { Fate::Pass }
                },
            );
        let error = world.push(b"hello", None).await.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(text), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_blob_is_mounted_where_that_works() {
    let mount = "/v2/a/blobs/uploads/?mount=";
    let there = world(|_| Fate::Pass);
    there.server.shelf().blobs.insert(Digest::of(b"base").to_string(), b"base".to_vec());
    let pushed = there.push(b"base", Some("base")).await;
    assert!(matches!(pushed, Ok(Pushed::Mounted)), "{pushed:?}");
    assert!(there.server.requests()[0].ends_with("&from=base"), "{:?}", there.server.requests());

    let refused = world(|_| Fate::Pass);
    let pushed = refused.push(b"base", Some("base")).await;
    assert!(matches!(pushed, Ok(Pushed::Uploaded)), "{pushed:?}");
    assert_eq!(refused.count("POST", ""), 1, "the session of a refused mount is used");

    for status in [400, 401, 403, 500] {
        let denied = world(move |heard| {
            if heard.is("POST", mount) { Fate::Answer(Answer::new(status)) } else { Fate::Pass }
        });
        let pushed = denied.push(b"base", Some("base")).await;
        assert!(matches!(pushed, Ok(Pushed::Uploaded)), "{status}: {pushed:?}");
    }
}

#[tokio::test]
async fn manifests_are_fetched_whole_and_verified() {
    let world = world(|_| Fate::Pass);
    let digest = world.server.shelf().put_manifest("v1", media_type::OCI_INDEX, INDEX.as_bytes());
    for rest in ["a:v1".to_owned(), format!("a@{digest}"), format!("a:gone@{digest}")] {
        let fetched = world.manifest(&rest).await.expect("the index");
        assert_eq!(fetched.bytes, INDEX.as_bytes());
        assert_eq!(fetched.descriptor.digest, digest);
        assert_eq!(fetched.descriptor.media_type, media_type::OCI_INDEX);
    }
    assert!(world.server.shelf().log.iter().all(|h| {
        h.header("accept").is_some_and(|a| a.contains("image.index") && a.contains("manifest.v2"))
    }));
    let missing = world.manifest("a:gone").await.expect_err("must fail");
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(missing.to_string().contains("MANIFEST_UNKNOWN: manifest unknown"), "{missing}");
    assert_eq!(world.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn manifests_survive_what_passes() {
    let busy = |after: &str| Fate::Answer(Answer::new(429).with("Retry-After", after));
    for (name, fates, warnings) in [
        ("429", vec![busy("0"), busy("0")], 0),
        ("cut", vec![cut(3, true), cut(5, false)], 0),
        ("corrupt", vec![Fate::Change(|a| a.body[0] ^= 1)], 1),
    ] {
        let world = world(once_each("GET", "/manifests/", fates));
        let digest =
            world.server.shelf().put_manifest("v1", media_type::OCI_INDEX, INDEX.as_bytes());
        let result = world.manifest(&format!("a@{digest}")).await;
        assert!(result.is_ok(), "{name}: {result:?}");
        assert_eq!(world.warnings().len(), warnings, "{name}");
    }
}

#[tokio::test]
async fn waits_as_long_as_the_registry_asks_up_to_a_bound() {
    let busy = || Fate::Answer(Answer::new(429).with("Retry-After", "3600"));
    let world = world(once_each("PUT", "/manifests/", vec![busy(), busy()]));
    let begun = Instant::now();
    let reference = world.reference("a:v1");
    let digest = world
        .client
        .push_manifest(&reference, media_type::OCI_INDEX, INDEX.as_bytes())
        .await
        .expect("pushed");
    assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
    assert_eq!(digest, Digest::of(INDEX.as_bytes()));
}

#[tokio::test]
async fn a_manifest_is_never_longer_than_four_mebibytes() {
    // Endless, so that only the client can end it; and announced, so that nothing is read.
    for fate in [|| Fate::Endless, || Fate::Change(|a| a.body = vec![b' '; 5 * 1024 * 1024])] {
        let world = world(move |_| fate());
        world.server.shelf().put_manifest("v1", media_type::OCI_INDEX, &vec![b' '; 200 * 1024]);
        let error = world.manifest("a:v1").await.expect_err("must fail");
        assert_eq!(error.kind(), Kind::Content);
        assert!(error.to_string().contains("4 MiB"), "{error}");
    }
}

#[tokio::test]
async fn a_false_digest_header_is_only_a_warning() {
    let world = world(|_| {
        Fate::Change(|a| *a = a.clone().with("Docker-Content-Digest", Digest::of(b"x").as_str()))
    });
    world.server.shelf().put_manifest("v1", media_type::OCI_INDEX, INDEX.as_bytes());
    let fetched = world.manifest("a:v1").await.expect("the index");
    assert_eq!(fetched.descriptor.digest, Digest::of(INDEX.as_bytes()));
    assert_eq!(world.warnings().len(), 1);
}

#[tokio::test]
async fn a_tag_that_cannot_change_is_well_if_it_is_the_same() {
    let world = world(|heard| {
        if heard.is("PUT", "/manifests/") {
            Fate::Answer(Answer::new(400).body(r#"{"errors":[{"code":"TAG_INVALID"}]}"#))
        } else {
            Fate::Pass
        }
    });
    let digest = world.server.shelf().put_manifest("v1", media_type::OCI_INDEX, INDEX.as_bytes());
    let reference = world.reference("a:v1");
    let put = |text: &'static str| {
        world.client.push_manifest(&reference, media_type::OCI_INDEX, text.as_bytes())
    };
    assert_eq!(put(INDEX).await.expect("the same"), digest);
    let error = put(r#"{"schemaVersion":2,"manifests":[],"x":1}"#).await.expect_err("must fail");
    assert!(error.to_string().contains("TAG_INVALID"), "{error}");
}
