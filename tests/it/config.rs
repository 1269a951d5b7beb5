//! What each instruction and flag makes of the image's configuration, as skopeo shows it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::base::hex;
use crate::support::{Image, Options, Registry, WorkDir, base, tool};

/// The configuration of the image that the last build wrote.
fn inspect(work: &WorkDir) -> Value {
    let layout = format!("oci:{}", work.path("image").display());
    let shown = tool(Command::new("skopeo").args(["inspect", "--config", &layout]));
    let config: Value = serde_json::from_str(&shown).unwrap();
    // skopeo reads OCI's keys and drops Docker's own, which are then read from the blob.
    let own = work.image().config;
    for (key, value) in config["config"].as_object().unwrap() {
        assert_eq!(&own["config"][key], value, "{key}");
    }
    own
}

/// One instruction or a few, and what stands in the configuration then.
#[test]
fn instructions_set_their_keys() {
    let work = WorkDir::new();
    let second: u64 = 1_000_000_000;
    let full_check = json!({
        "Test": ["CMD", "probe", "-q"], "Interval": 90 * second, "Timeout": 3 * second,
        "StartPeriod": second / 2, "StartInterval": 2 * second, "Retries": 4,
    });
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let rows: &[(&str, &str, Value)] = &[
        (
            "ENV A=1 B=\"two words\"\nENV A=${A}2 C=$B",
            "Env",
            json!([path, "A=12", "B=two words", "C=two words"]),
        ),
        ("ENV OLD the rest = of it", "Env", json!([path, "OLD=the rest = of it"])),
        ("LABEL a=1 \"b c\"='$d'\nLABEL a=2", "Labels", json!({"a": "2", "b c": "$d"})),
        (
            "EXPOSE 80 53/udp 9000-9001",
            "ExposedPorts",
            json!({"80/tcp": {}, "53/udp": {}, "9000/tcp": {}, "9001/tcp": {}}),
        ),
        (
            "VOLUME /data\nVOLUME [\"/a b\", \"/c\"]",
            "Volumes",
            json!({"/data": {}, "/a b": {}, "/c": {}}),
        ),
        ("USER app:staff\nUSER 12:34", "User", json!("12:34")),
        ("WORKDIR /a\nWORKDIR b/../c\nWORKDIR ./d", "WorkingDir", json!("/a/c/d")),
        ("ENV D=/x\nWORKDIR $D/y", "WorkingDir", json!("/x/y")),
        ("CMD echo \"$HOME\" && ls", "Cmd", json!(["/bin/sh", "-c", "echo \"$HOME\" && ls"])),
        ("CMD [\"echo\", \"$HOME\"]", "Cmd", json!(["echo", "$HOME"])),
        ("CMD a\nCMD b", "Cmd", json!(["/bin/sh", "-c", "b"])),
        ("ENTRYPOINT run it", "Entrypoint", json!(["/bin/sh", "-c", "run it"])),
        ("ENTRYPOINT [\"run\"]\nCMD [\"it\"]", "Entrypoint", json!(["run"])),
        // A CMD of the same stage stays, whichever comes first.
        ("CMD [\"it\"]\nENTRYPOINT [\"run\"]", "Cmd", json!(["it"])),
        ("SHELL [\"/bin/ash\", \"-ec\"]\nCMD x", "Cmd", json!(["/bin/ash", "-ec", "x"])),
        ("SHELL [\"/bin/ash\", \"-ec\"]", "Shell", json!(["/bin/ash", "-ec"])),
        ("STOPSIGNAL SIGUSR1", "StopSignal", json!("SIGUSR1")),
        ("STOPSIGNAL 9", "StopSignal", json!("9")),
        (
            "HEALTHCHECK CMD probe || exit 1",
            "Healthcheck",
            json!({"Test": ["CMD-SHELL", "probe || exit 1"]}),
        ),
        (
            "HEALTHCHECK --interval=1m30s --timeout=3s --start-period=500ms --start-interval=2s --retries=4 CMD [\"probe\", \"-q\"]",
            "Healthcheck",
            full_check,
        ),
        ("HEALTHCHECK CMD probe\nHEALTHCHECK NONE", "Healthcheck", json!({"Test": ["NONE"]})),
        (
            "ONBUILD ENV A=$B\nONBUILD RUN  make  all",
            "OnBuild",
            json!(["ENV A=$B", "RUN  make  all"]),
        ),
        // A build argument is no environment of the image, but can become it.
        ("ARG A=1\nENV B=$A", "Env", json!([path, "B=1"])),
        ("ARG PATH=/mine", "Env", json!([path])),
    ];
    for (instructions, key, expected) in rows {
        work.build(&format!("FROM scratch\n{instructions}\n")).flags(["-q"]).succeeds();
        assert_eq!(inspect(&work)["config"][key], *expected, "{instructions}");
    }
}

/// What a base hands on, and what resets it.
#[test]
fn a_base_hands_its_settings_on() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let parent = format!("{}/parent:1", registry.host);
    let text = "FROM {base}\nENV A=parent\nLABEL l=parent\nUSER app\nWORKDIR /home/app\nEXPOSE 1\n\
        VOLUME /v\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/ash\", \"-c\"]\nHEALTHCHECK CMD probe\n\
        ENTRYPOINT [\"entry\"]\nCMD [\"command\"]\nMAINTAINER a person\n\
        ONBUILD ARG FROM_ABOVE=default\nONBUILD ENV TRIGGERED=$FROM_ABOVE\n\
        ONBUILD USER root\nONBUILD RUN echo \"$TRIGGERED $A\" > /triggered\n";
    work.build(text).flags(["-t", &parent, "--push"]).succeeds();
    let of_parent = inspect(&work);
    assert_eq!(of_parent["author"], "a person");
    assert_eq!(of_parent["config"]["OnBuild"].as_array().unwrap().len(), 4);

    let child = |more: &str| {
        work.build(&format!("FROM {parent}\n{more}"))
            .flags(["--build-arg", "FROM_ABOVE=here"])
            .succeeds();
        inspect(&work)
    };
    let plain = child("");
    let mut expected = of_parent["config"].clone();
    expected.as_object_mut().unwrap().remove("OnBuild");
    expected["User"] = json!("root");
    expected["Env"].as_array_mut().unwrap().push(json!("TRIGGERED=here"));
    assert_eq!(plain["config"], expected);
    assert_eq!(plain["author"], "a person");
    assert_eq!(work.image().text("triggered"), "here parent\n");
    let rows: Vec<&str> = history(&plain);
    assert_eq!(rows[..2], ["tree", "accounts"]);
    assert!(rows[rows.len() - 1].contains("FROM_ABOVE=here"), "{rows:?}");

    for (more, key, expected) in [
        // The CMD was meant for the ENTRYPOINT of the base.
        ("ENTRYPOINT [\"own\"]\n", "Cmd", Value::Null),
        ("CMD [\"own\"]\n", "Entrypoint", json!(["entry"])),
        ("ENTRYPOINT []\n", "Entrypoint", Value::Null),
        ("HEALTHCHECK NONE\n", "Healthcheck", json!({"Test": ["NONE"]})),
        ("LABEL more=1\n", "Labels", json!({"from": "base", "l": "parent", "more": "1"})),
        ("CMD x\n", "Cmd", json!(["/bin/ash", "-c", "x"])),
        ("WORKDIR sub\n", "WorkingDir", json!("/home/app/sub")),
    ] {
        assert_eq!(child(more)["config"][key], expected, "{more}");
    }
    // Stages of one file hand on all but the triggers, which run for them.
    let stages = "FROM {base} AS first\nENV A=1\nONBUILD RUN echo x > /ran\nFROM first\nENV B=2\n";
    let image = work.built(stages);
    assert_eq!(image.text("ran"), "x\n");
    let config = image.config["config"].clone();
    assert_eq!(config["OnBuild"], Value::Null);
    assert_eq!(config["Env"].as_array().unwrap()[2..], [json!("A=1"), json!("B=2")]);
}

fn history(config: &Value) -> Vec<&str> {
    config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["created_by"].as_str().unwrap())
        .collect()
}

/// A row for each instruction; those with a layer are as many as the layers.
#[test]
fn the_history_has_a_row_for_each_instruction() {
    let work = WorkDir::new();
    work.write("context/file", "x");
    let text = "FROM {base}\nMAINTAINER me\nARG N=1\nARG UNSET\nENV A=b\nRUN echo $N > /n\nRUN true\n\
        COPY --chmod=600 file /f\nWORKDIR /new\nWORKDIR /new\nUSER app\nVOLUME /v\nEXPOSE 80\nLABEL a=b\n\
        ONBUILD RUN x\nSTOPSIGNAL 9\nSHELL [\"/bin/sh\", \"-c\"]\nHEALTHCHECK --retries=2 CMD x\n\
        ENTRYPOINT [\"a\", \"b\"]\nCMD c\n";
    work.build(text).flags(["--label", "flag=1", "--annotation", "note=1"]).succeeds();
    let config = inspect(&work);
    let rows: Vec<(&str, bool)> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!(row["created"], crate::support::base::CREATED);
            (row["created_by"].as_str().unwrap(), row["empty_layer"] == true)
        })
        .collect();
    let expected = [
        ("tree", false),
        ("accounts", false),
        ("MAINTAINER me", true),
        ("ARG N=1", true),
        ("ARG UNSET", true),
        ("ENV A=b", true),
        ("RUN |2 N=1 UNSET= /bin/sh -c echo $N > /n # buildkit", false),
        ("RUN |2 N=1 UNSET= /bin/sh -c true # buildkit", true),
        ("COPY --chmod=600 file /f # buildkit", false),
        ("WORKDIR /new", false),
        ("WORKDIR /new", true),
        ("USER app", true),
        ("VOLUME [/v]", true),
        ("EXPOSE [80/tcp]", true),
        ("LABEL a=b", true),
        ("STOPSIGNAL 9", true),
        ("SHELL [/bin/sh -c]", true),
        (
            "HEALTHCHECK {Test:[CMD-SHELL x] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}",
            true,
        ),
        ("ENTRYPOINT [\"a\" \"b\"]", true),
        ("CMD [\"/bin/sh\" \"-c\" \"c\"]", true),
    ];
    assert_eq!(rows, expected);
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap().len();
    assert_eq!(rows.iter().filter(|(_, empty)| !empty).count(), diff_ids);
    assert_eq!(work.image().layers.len(), diff_ids);
    assert_eq!(config["config"]["Labels"], json!({"a": "b", "flag": "1", "from": "base"}));
    assert_eq!(work.image().manifest["annotations"], json!({"note": "1"}));
}

/// A base's history need not tell of its layers: what is built on it does.
#[test]
fn the_history_of_a_base_is_made_to_fit() {
    let work = WorkDir::new();
    work.write("context/file", "x");
    let registry = Registry::start(Options::default());
    let row = |name: &str, empty: bool| json!({"created_by": name, "empty_layer": empty});
    let expected_end = [("COPY file / # buildkit", false), ("LABEL a=b", true)];
    for (history, expected) in [
        (Value::Null, &[("", false), ("", false)][..]),
        (json!([]), &[("", false), ("", false)]),
        (json!([row("one", false), row("e", true)]), &[("one", false), ("e", true), ("", false)]),
        (
            json!([row("1", false), row("e", true), row("2", false), row("3", false)]),
            &[("1", false), ("e", true), ("2", false), ("3", true)],
        ),
        (json!([row("1", false), row("2", false)]), &[("1", false), ("2", false)]),
    ] {
        let name = altered_base(&registry, |config| match &history {
            Value::Null => drop(config.as_object_mut().unwrap().remove("history")),
            history => config["history"] = history.clone(),
        });
        work.build(&format!("FROM {name}\nCOPY file /\nLABEL a=b\n")).succeeds();
        let config = inspect(&work);
        let rows: Vec<(&str, bool)> = config["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["created_by"].as_str().unwrap_or(""), row["empty_layer"] == true))
            .collect();
        assert_eq!(rows, [expected, &expected_end].concat(), "{history}");
        let layers = rows.iter().filter(|(_, empty)| !empty).count();
        assert_eq!(layers, work.image().layers.len(), "{history}");
    }
}

/// `created` is the base's, or what SOURCE_DATE_EPOCH says.
#[test]
fn the_epoch_decides_the_times() {
    let work = WorkDir::new();
    let of_base = crate::support::base::CREATED;
    for (from, flag, variable, expected) in [
        ("{base}", None, None, of_base),
        ("scratch", None, None, "1980-01-01T00:00:00Z"),
        ("{base}", None, Some("86400"), "1970-01-02T00:00:00Z"),
        ("scratch", Some("SOURCE_DATE_EPOCH=1"), None, "1970-01-01T00:00:01Z"),
        ("{base}", Some("SOURCE_DATE_EPOCH=1"), Some("86400"), "1970-01-01T00:00:01Z"),
        ("{base}", Some("SOURCE_DATE_EPOCH"), Some("86400"), "1970-01-02T00:00:00Z"),
    ] {
        let mut build = work.build(&format!("FROM {from}\nLABEL a=b\n"));
        if let Some(flag) = flag {
            build = build.flags(["--build-arg", flag]);
        }
        if let Some(variable) = variable {
            build = build.env("SOURCE_DATE_EPOCH", variable);
        }
        build.succeeds();
        let config = inspect(&work);
        assert_eq!(config["created"], expected, "{from} {flag:?} {variable:?}");
        let last = config["history"].as_array().unwrap().last().unwrap();
        assert_eq!(last["created"], expected, "{from} {flag:?} {variable:?}");
    }
    // A step sees the same, and its files are not newer.
    let image = {
        work.build("FROM {base}\nRUN echo $SOURCE_DATE_EPOCH > /epoch\n")
            .env("SOURCE_DATE_EPOCH", "86400")
            .succeeds();
        work.image()
    };
    assert_eq!(image.text("epoch"), "86400\n");
    assert_eq!(image.entry("epoch").unwrap().mtime, 86_400);
    for wrong in ["today", "-1", "-62135596800", "253402300800", "99999999999999999999"] {
        let argument = format!("SOURCE_DATE_EPOCH={wrong}");
        work.build("FROM {base}\n").flags(["--build-arg", &argument]).fails(64).says(wrong);
        work.build("FROM {base}\n")
            .env("SOURCE_DATE_EPOCH", wrong)
            .fails(64)
            .says("seconds since 1970");
    }
    work.build("FROM {base}\n").env("SOURCE_DATE_EPOCH", "253402300799").succeeds();
    assert_eq!(inspect(&work)["created"], "9999-12-31T23:59:59Z");
}

/// The base with another configuration, in a registry; gives its name.
fn altered_base(registry: &Registry, change: impl FnOnce(&mut Value)) -> String {
    let work = WorkDir::new();
    let Image { mut config, mut manifest, .. } = Image::pull(&work, &base().reference);
    change(&mut config);
    let blob = |value: &Value| {
        let bytes = serde_json::to_vec(value).unwrap();
        let digest = hex(&bytes);
        work.write(&format!("pulled/blobs/sha256/{digest}"), &bytes);
        (digest, bytes.len())
    };
    let set = |descriptor: &mut Value, (digest, size): &(String, usize)| {
        descriptor["digest"] = json!(format!("sha256:{digest}"));
        descriptor["size"] = json!(size);
    };
    set(&mut manifest["config"], &blob(&config));
    let altered = blob(&manifest);
    let index = work.path("pulled/index.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    set(&mut value["manifests"][0], &altered);
    fs::write(&index, serde_json::to_vec(&value).unwrap()).unwrap();
    let name = format!("{}/altered:{}", registry.host, &altered.0[..16]);
    tool(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        &format!("oci:{}:latest", work.path("pulled").display()),
        &format!("docker://{name}"),
    ]));
    name
}

/// A base's date that is none, and the first that is one.
#[test]
fn a_base_without_a_date_is_of_1980() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    for (created, expected, epoch) in [
        (Value::Null, "1980-01-01T00:00:00Z", "315532800\n"),
        // Go's zero time.
        (json!("0001-01-01T00:00:00Z"), "1980-01-01T00:00:00Z", "315532800\n"),
        (json!("1979-12-31T23:59:59Z"), "1980-01-01T00:00:00Z", "315532800\n"),
        (json!("1980-01-01T00:00:01Z"), "1980-01-01T00:00:01Z", "315532801\n"),
        (json!("9999-12-31T23:59:59-23:00"), "1980-01-01T00:00:00Z", "315532800\n"),
        // Hostile: the offset's bytes end within a character.
        (json!("2024-01-01T00:00:00+\u{20ac}ab"), "1980-01-01T00:00:00Z", "315532800\n"),
    ] {
        let name = altered_base(&registry, |config| config["created"] = created.clone());
        let image = work.built(&format!("FROM {name}\nRUN echo $SOURCE_DATE_EPOCH > /epoch\n"));
        assert_eq!(image.config["created"], expected, "{created}");
        assert_eq!(image.text("epoch"), epoch, "{created}");
    }
}

/// Flags that decide what is built, and for what.
#[test]
fn flags_decide_what_is_built() {
    let work = WorkDir::new();
    let text = "ARG TAG=none\nFROM scratch AS one\nARG A=default\nARG TAG\nLABEL one=$A tag=$TAG\n\
        FROM scratch AS two\nLABEL two=2\nFROM one AS three\nLABEL three=3 platform=$TARGETPLATFORM\nARG TARGETPLATFORM\nLABEL platform=$TARGETPLATFORM\n";
    let labels = |flags: &[&str], env: &[(&str, &str)]| {
        let mut build = work.build(text).flags(flags);
        for (name, value) in env {
            build = build.env(name, value);
        }
        build.succeeds();
        let config = inspect(&work);
        (config["config"]["Labels"].clone(), config)
    };
    for (flags, env, expected) in [
        (&["--target", "one"][..], &[][..], json!({"one": "default", "tag": "none"})),
        (&["--target", "TWO"], &[], json!({"two": "2"})),
        (&["--target", "1"], &[], json!({"two": "2"})),
        (
            &["--target", "one", "--build-arg", "A=given"],
            &[],
            json!({"one": "given", "tag": "none"}),
        ),
        (&["--target", "one", "--build-arg", "A="], &[], json!({"one": "", "tag": "none"})),
        (
            &["--target", "one", "--build-arg", "A"],
            &[("A", "of env")],
            json!({"one": "of env", "tag": "none"}),
        ),
        (&["--target", "one", "--build-arg", "A"], &[], json!({"one": "default", "tag": "none"})),
        (&["--target", "one", "--build-arg", "TAG=7"], &[], json!({"one": "default", "tag": "7"})),
        (
            &["--target", "two", "--label", "two=flag", "--label", "x=a=b"],
            &[],
            json!({"two": "flag", "x": "a=b"}),
        ),
    ] {
        assert_eq!(labels(flags, env).0, expected, "{flags:?}");
    }
    let (of_arm, config) = labels(&["--platform", "linux/arm/v7"], &[]);
    assert_eq!(of_arm["platform"], "linux/arm/v7");
    assert_eq!(
        [&config["os"], &config["architecture"], &config["variant"]],
        ["linux", "arm", "v7"]
    );
    work.build(text).flags(["--target", "four"]).fails(65).says("four");
    work.build(text)
        .flags(["--platform", "linux/no/such/thing"])
        .fails(64)
        .says("linux/no/such/thing");
    // An image without an index is taken as it is, but not silently.
    for _ in ["from the registry", "from the store"] {
        work.build("FROM {base}\n")
            .flags(["--platform", "linux/arm64"])
            .succeeds()
            .says(&format!("image {} is for linux/amd64, not for linux/arm64", base().reference));
    }
}
