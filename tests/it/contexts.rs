//! `--build-context`: names that stand for directories, images, layouts and stages.

use std::process::Command;

use crate::support::{Image, WorkDir, base, tool};

/// Builds with named contexts; `{}` in a value stands for the test's directory.
fn built(work: &WorkDir, dockerfile: &str, contexts: &[&str]) -> Image {
    let here = work.path(".");
    let here = here.to_str().unwrap().trim_end_matches("/.");
    let flags: Vec<String> = contexts
        .iter()
        .flat_map(|context| ["--build-context".to_owned(), context.replace("{}", here)])
        .collect();
    work.build(dockerfile).flags(flags).succeeds();
    work.image()
}

fn listing(image: &Image) -> Vec<String> {
    image.layers.iter().flat_map(|layer| &layer.entries).map(ToString::to_string).collect()
}

#[test]
fn a_directory_has_a_name() {
    let work = WorkDir::new();
    work.write("context/a.txt", "of the context\n");
    for path in ["more/a.txt", "more/sub/b.txt", "more/c.log"] {
        work.write(path, format!("{path}\n"));
    }
    // Of its own: that of the build context says nothing of it.
    work.write("more/.dockerignore", "*.log\n");
    work.write("context/.dockerignore", "sub\n");
    let contexts = ["More={}/more", "unused={}/not/there"];
    let image = built(
        &work,
        "FROM scratch\nCOPY a.txt /\nCOPY --from=more a.txt sub /d/\nCOPY --from=MORE *.log /e/\n",
        &contexts,
    );
    assert_eq!(image.text("a.txt"), "of the context\n");
    assert_eq!(image.text("d/a.txt"), "more/a.txt\n");
    assert_eq!(image.text("d/b.txt"), "more/sub/b.txt\n");
    assert!(image.entry("e").is_none());
    // As a base, and in place of a stage, which then is not run.
    for dockerfile in [
        "FROM more\nCOPY --from=more a.txt /other\n",
        "FROM {base} AS more\nRUN exit 1\nFROM more AS last\nCOPY --from=0 a.txt /other\n",
    ] {
        let image = built(&work, dockerfile, &contexts);
        let files: Vec<String> =
            listing(&image).into_iter().filter(|line| line.starts_with('-')).collect();
        let expected = [
            "- 0644 0:0 .dockerignore",
            "- 0644 0:0 a.txt",
            "- 0644 0:0 sub/b.txt",
            "- 0644 0:0 other",
        ];
        assert_eq!(files, expected, "{dockerfile}");
        assert_eq!(image.layers.len(), 2);
    }
    // What is in it decides, as for the build context.
    let dockerfile = "FROM scratch\nCOPY --from=more a.txt /\n";
    let first = built(&work, dockerfile, &contexts).digest;
    assert_eq!(built(&work, dockerfile, &contexts).digest, first);
    work.write("more/a.txt", "changed\n");
    assert_eq!(built(&work, dockerfile, &contexts).text("a.txt"), "changed\n");
}

#[test]
fn an_image_stands_for_another() {
    let work = WorkDir::new();
    let base = &base().reference;
    let image = format!("alpine=docker-image://{base}");
    for from in ["alpine", "alpine:latest", "docker.io/library/alpine"] {
        let built = built(&work, &format!("FROM {from}\nRUN test -e /opt/full/a\n"), &[&image]);
        assert!(built.entry("opt/full/a").is_some());
    }
    let copied = built(&work, "FROM scratch\nCOPY --from=alpine /opt/full/a /\n", &[&image]);
    assert_eq!(copied.text("a"), "a");
    // Another tag is another name.
    work.build("FROM localhost:1/alpine:edge\n")
        .flags(["--build-context", &format!("localhost:1/alpine=docker-image://{base}")])
        .fails(69);
    let empty = built(&work, "FROM tools\nCOPY <<f /\nx\nf\n", &["tools=docker-image://scratch"]);
    assert_eq!(listing(&empty), ["- 0644 0:0 f"]);
    let stage =
        built(&work, "FROM scratch AS one\nCOPY <<f /\nx\nf\nFROM again\n", &["again=target:one"]);
    assert_eq!(listing(&stage), ["- 0644 0:0 f"]);
}

#[test]
fn an_image_comes_from_a_layout() {
    let work = WorkDir::new();
    for tag in ["one", "two"] {
        let source = format!("docker://{}", base().reference);
        let target = format!("oci:{}:{tag}", work.path("layout").display());
        tool(Command::new("skopeo").args([
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            &source,
            &target,
        ]));
    }
    let index = std::fs::read(work.path("layout/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    for suffix in [":one", ":two", &format!("@{digest}"), &format!(":none@{digest}")] {
        let work = {
            let fresh = WorkDir::new();
            tool(Command::new("cp").arg("-R").arg(work.path("layout")).arg(fresh.path("layout")));
            fresh
        };
        let image = built(
            &work,
            "FROM local\nRUN test -e /opt/full/a\nCOPY --from=local /etc/group /copied\n",
            &[&format!("local=oci-layout://{{}}/layout{suffix}")],
        );
        assert!(image.text("copied").starts_with("root:"), "{suffix}");
        assert_eq!(image.config["config"]["Labels"]["from"], "base");
    }
    let dockerfile = "FROM local\n";
    let layout = work.path("layout");
    for (value, code, says) in [
        (format!("{}", layout.display()), 65, "none is named \"latest\", only one, two"),
        (format!("{}:three", layout.display()), 65, "none is named \"three\", only one, two"),
        ("/not/there".to_owned(), 66, "/not/there is no OCI layout"),
    ] {
        work.build(dockerfile)
            .flags(["--build-context", &format!("local=oci-layout://{value}")])
            .fails(code)
            .says("Dockerfile:1")
            .says(says);
    }
    // Bytes from outside are verified.
    let blobs = work.path("layout/blobs/sha256");
    let layer = base().manifest["layers"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    let mut bytes = std::fs::read(blobs.join(&layer)).unwrap();
    bytes[100] ^= 1;
    std::fs::write(blobs.join(&layer), bytes).unwrap();
    work.build(dockerfile)
        .flags(["--build-context", &format!("local=oci-layout://{}:one", layout.display())])
        .fails(74)
        .says(&layer);
}

#[test]
fn mistakes_in_contexts_are_named() {
    let work = WorkDir::new();
    work.write("context/a.txt", "");
    for (contexts, code, says) in [
        (&["more"][..], 64, "expected NAME=VALUE"),
        (&["scratch=."], 64, "has a meaning of its own"),
        (&["a=ftp://x"], 64, "ftp:// is not known"),
        (&["a=.", "A=."], 64, "the name a is given twice"),
        (&["more=/not/there"], 66, "context more: there is no directory /not/there"),
        (&["more=alpine:3"], 66, "no directory alpine:3; the image is docker-image://alpine:3"),
        (&["more=target:two"], 65, "there is none of that name before this one"),
    ] {
        let flags = contexts.iter().flat_map(|context| ["--build-context", context]);
        let output =
            work.build("FROM scratch\nCOPY --from=more a.txt /\n").flags(flags).fails(code);
        output.says(says);
    }
}

#[test]
fn a_step_mounts_a_named_context() {
    let work = WorkDir::new();
    work.write("more/a.txt", "of more\n");
    let image = built(
        &work,
        "FROM {base}\nRUN --mount=from=more,target=/m cat /m/a.txt >/b && ! echo >/m/c\n",
        &["more={}/more"],
    );
    assert_eq!(image.text("b"), "of more\n");
}
