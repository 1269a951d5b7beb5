//! `yado build --check`, `--call`, and what a build says of its checks. Which check
//! finds what is the matter of `testdata/checks`.

use serde_json::{Value, json};

use crate::support::{Options, Registry, WorkDir};

/// A file with two warnings.
const TWO: &str = "FROM scratch AS base\nFROM base as two\nCMD serve\n";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn lines(first: u64, last: u64) -> Value {
    json!({"ranges": [{"start": {"line": first}, "end": {"line": last}}]})
}

/// A check that finds nothing says so, and leaves nothing behind.
#[test]
fn a_clean_file_is_exit_code_0() {
    let work = WorkDir::new();
    let output = work.build("FROM scratch\nRUN exit 1\n").flags(["--check"]).succeeds();
    assert_eq!(output.stdout, "Check complete: no warnings\n");
    assert_eq!(output.stderr, "");
    assert!(!work.path("image").exists() && !work.path("store").exists());
}

#[test]
fn warnings_are_shown_in_full_and_exit_code_1() {
    let work = WorkDir::new();
    let output = work.build(TWO).flags(["--check"]).fails(1);
    let shown = "\
Dockerfile:2:11: warning: \"as\" is not in the case of \"FROM\" [FromAsCasing]
 2 | FROM base as two
   |           ^^
help: write AS
see: https://docs.docker.com/go/dockerfile/rule/from-as-casing/

Dockerfile:3:5: warning: CMD runs in a shell, which does not pass on signals [JSONArgsRecommended]
 3 | CMD serve
   |     ^^^^^
help: write CMD [\"program\", \"argument\"], or name a SHELL
see: https://docs.docker.com/go/dockerfile/rule/json-args-recommended/

Check complete: 2 warnings
";
    let context = format!("{}/", work.path("context").display());
    assert_eq!(output.stdout.replace(&context, ""), shown);
    let same = work.build(TWO).flags(["--call=check"]).fails(1);
    assert_eq!(same.stdout, output.stdout);
    let same = work.build(TWO).flags(["--call=check,ignorestatus=true"]).succeeds();
    assert_eq!(same.stdout, output.stdout);
}

/// The file may be anybody's.
#[test]
fn nothing_of_the_file_reaches_the_terminal_as_it_is() {
    let work = WorkDir::new();
    let file = "FROM scratch\nNO\u{1b}[2J\u{202e}\u{7} x\n";
    for flags in [&["--check"][..], &[]] {
        let output = work.build(file).flags(flags).fails(65);
        let shown = output.stdout + &output.stderr;
        assert!(shown.contains("NO\u{fffd}[2J\u{fffd}\u{fffd} x"), "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{shown:?}");
    }
}

/// Mistakes are worse than warnings, and both are shown.
#[test]
fn mistakes_are_exit_code_65_with_the_warnings() {
    let work = WorkDir::new();
    let output = work.build("FROM scratch AS Name\nNONSENSE\n").flags(["--check"]).fails(65);
    assert!(output.stdout.contains("Dockerfile:1:17: warning: "), "{}", output.stdout);
    assert!(output.stdout.contains("Dockerfile:2:1: error: "), "{}", output.stdout);
    assert!(output.stdout.ends_with("Check complete: 1 error, 1 warning\n"), "{}", output.stdout);
    let output = work
        .build("FROM scratch AS a\nFROM scratch\n")
        .flags(["--check", "--target", "b"])
        .fails(65);
    assert!(output.stdout.contains("help: did you mean a?"), "{}", output.stdout);
}

/// All stages are checked, unless one is named.
#[test]
fn a_target_narrows_the_check() {
    let work = WorkDir::new();
    let text = "FROM scratch AS a\nCMD x\nFROM scratch AS b\nENV A=$B\n";
    let count = |flags: &[&str]| {
        let output = work.build(text).flags(["--check"]).flags(flags).fails(1);
        output.stdout.matches(": warning: ").count()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--target", "a"]), 1);
}

/// The keys are those that tools know from docker.
#[test]
fn warnings_as_json() {
    let work = WorkDir::new();
    let text = "FROM scratch\nENV a=b \\\n    c=$d\n";
    let output = work.build(text).flags(["--check", "--progress=json"]).fails(1);
    let warning = json!({
        "ruleName": "UndefinedVar",
        "description": "a variable is declared before it is used",
        "url": "https://docs.docker.com/go/dockerfile/rule/undefined-var/",
        "detail": "the variable d is not set here; declare it with ARG d in this stage",
        "location": lines(2, 3),
    });
    let data = "RlJPTSBzY3JhdGNoCkVOViBhPWIgXAogICAgYz0kZAo=";
    let source = json!({"language": "Dockerfile", "data": data});
    let mut found = parsed(&output.stdout);
    let name = found["sources"][0].as_object_mut().unwrap().remove("filename").unwrap();
    assert!(name.as_str().unwrap().ends_with("Dockerfile"), "{name}");
    assert_eq!(found, json!({"warnings": [warning], "sources": [source]}));
    let output = work.build("FROM scratch\nRNU\nCPOY\n").flags(["--call=check,format=json"]);
    let found = parsed(&output.fails(65).stdout);
    assert_eq!(found["buildError"]["location"], lines(2, 2));
    let message = found["buildError"]["message"].as_str().unwrap();
    assert_eq!(message.lines().count(), 2, "{message}");
    let clean = work.build("FROM scratch\n").flags(["--call=check,format=json"]).succeeds();
    assert_eq!(parsed(&clean.stdout)["warnings"], json!([]));
}

/// A registry is asked only for what decides a check.
#[test]
fn base_images_are_looked_up_when_it_matters() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let text = format!("FROM {}/nothing:1\nENV A=b\nRUN x\n", registry.host);
    work.build(&text).flags(["--check"]).succeeds();
    assert!(registry.requests().is_empty(), "{}", registry.log());
    let text = format!("FROM {}/nothing:1\nENV A=$B\n", registry.host);
    let output = work.build(&text).flags(["--check"]).succeeds();
    assert!(!registry.requests().is_empty());
    output.says("note: UndefinedVar is not checked in stages on ").says("/nothing:1");
    let text = "FROM {base}\nENV A=$BASE_VARIABLE B=$NOTHING\n";
    let output = work.build(text).flags(["--check"]).fails(1);
    assert_eq!(output.stdout.matches(": warning: ").count(), 1, "{}", output.stdout);
    assert!(output.stdout.contains("the variable NOTHING is not set here"), "{}", output.stdout);
}

/// A name that is no stage is an image; when there is none, a stage may be meant.
#[test]
fn a_mistyped_stage_is_asked_about() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let proxy = format!("http://{}", registry.host);
    let text = "FROM scratch AS build\nFROM biuld\n";
    let output = work.build(text).env("HTTPS_PROXY", proxy).run();
    assert!(!output.status.success());
    output.says("hint: did you mean the stage build?");
}

/// The ignore file of the context has a say.
#[test]
fn sources_that_are_ignored_are_found() {
    let work = WorkDir::new();
    work.write("context/.dockerignore", "*.log\n");
    work.write("context/a.log", "x");
    let output = work.build("FROM scratch\nCOPY a.log /\n").flags(["--check"]).fails(1);
    assert!(output.stdout.contains("[CopyIgnoredFile]"), "{}", output.stdout);
}

/// A build says it in one line each, and goes on.
#[test]
fn a_build_shows_its_warnings_once() {
    let work = WorkDir::new();
    let output = work.build(TWO).flags(["--progress=plain"]).succeeds();
    let warnings: Vec<&str> =
        output.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{}", output.stderr);
    assert!(
        warnings[0].ends_with("Dockerfile:2: \"as\" is not in the case of \"FROM\" [FromAsCasing]")
    );
    assert!(
        warnings[1].contains("Dockerfile:3: ") && warnings[1].ends_with("[JSONArgsRecommended]")
    );
}

/// `error=true` fails the build after all is said; the build argument overrides the file.
#[test]
fn checks_can_fail_a_build() {
    let work = WorkDir::new();
    let strict = format!("# check=error=true\n{TWO}");
    let output = work.build(&strict).fails(65);
    for part in [
        "[FromAsCasing]",
        "[JSONArgsRecommended]",
        "error: these checks fail, and error=true is set: FromAsCasing, JSONArgsRecommended",
    ] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    assert!(!work.path("image").exists());
    let relaxed = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all"];
    let output = work.build(&strict).flags(relaxed).flags(["--progress=plain"]).succeeds();
    assert!(!output.stderr.contains("warning: "), "{}", output.stderr);
    let stricter = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=FromAsCasing;error=true"];
    let output = work.build(TWO).flags(stricter).fails(65);
    assert!(output.stderr.contains("set: JSONArgsRecommended\n"), "{}", output.stderr);
}

const OUTLINE: &str = "\
# tag which base
ARG tag=1
ARG image=base:$tag
ARG unused
# build compiles
FROM $image AS build
ARG TARGETARCH
# mode how
ARG mode=fast
ARG tag
RUN --mount=type=secret,id=token,required --mount=type=secret,target=/etc/key \
    --mount=type=ssh --mount=type=cache,target=/root/.cache true
# app is what ships
FROM scratch AS app
ARG empty
COPY --from=build /a /
FROM scratch AS other
ARG not_of_app
";

#[test]
fn an_outline_lists_what_a_target_takes() {
    let work = WorkDir::new();
    let call = |method: &str| {
        let flags = ["--call", method, "--target", "app", "--build-arg", "mode=slow"];
        work.build(OUTLINE).flags(flags).succeeds().stdout
    };
    let expected = "\
TARGET:        app
DESCRIPTION:   is what ships

BUILD ARG   VALUE    DESCRIPTION
tag         1        which base
image       base:1
mode        slow     how
empty

SECRET   REQUIRED
token    true
key

SSH       REQUIRED
default

CACHE MOUNT
/root/.cache
";
    assert_eq!(call("outline"), expected);
    let mut found = parsed(&call("outline,format=json"));
    assert_eq!(
        found.as_object_mut().unwrap().remove("sources").unwrap().as_array().unwrap().len(),
        1
    );
    let expected = json!({
        "name": "app",
        "description": "is what ships",
        "args": [
            {"name": "tag", "value": "1", "description": "which base", "location": lines(2, 2)},
            {"name": "image", "value": "base:1", "location": lines(3, 3)},
            {"name": "mode", "value": "slow", "description": "how", "location": lines(9, 9)},
            {"name": "empty", "location": lines(14, 14)},
        ],
        "secrets": [
            {"name": "token", "required": true, "location": lines(11, 11)},
            {"name": "key", "location": lines(11, 11)},
        ],
        "ssh": [{"name": "default", "location": lines(11, 11)}],
        "cache": [{"ID": "/root/.cache", "location": lines(11, 11)}],
    });
    assert_eq!(found, expected);
}

#[test]
fn targets_lists_the_stages() {
    let work = WorkDir::new();
    let text = OUTLINE.replace("AS other", "");
    let output = work.build(&text).flags(["--print=targets"]).succeeds();
    let expected = "\
TARGET      DESCRIPTION
build       compiles
app         is what ships
(default)
";
    assert_eq!(output.stdout, expected);
    let output = work.build(&text).flags(["--call=targets,format=json"]).succeeds();
    let expected = json!([
        {"name": "build", "description": "compiles", "base": "$image", "location": lines(6, 6)},
        {"name": "app", "description": "is what ships", "base": "scratch", "location": lines(13, 13)},
        {"default": true, "base": "scratch", "location": lines(16, 16)},
    ]);
    assert_eq!(parsed(&output.stdout)["targets"], expected);
    work.build("FROM\n").flags(["--call=targets"]).fails(65).says("FROM needs an argument");
    work.build("ARG a\n").flags(["--call=outline"]).fails(65).says("there is no FROM");
}

#[test]
fn calls_that_mean_nothing_are_refused() {
    let work = WorkDir::new();
    for (flag, says) in [
        ("--call=lint,format=xml", "expected format=json"),
        ("--call=everything", "expected build, check, outline or targets"),
        ("--call=check,json", "expected NAME=VALUE"),
    ] {
        work.build(TWO).flags([flag]).fails(64).says(says);
    }
    work.build(TWO).flags(["--check", "--call=targets"]).fails(64);
    // A build by its name is a build.
    work.build("FROM scratch\n").flags(["--call=build"]).succeeds();
    assert!(work.path("image").exists());
}
