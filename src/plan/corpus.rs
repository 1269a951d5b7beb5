//! The cases of `testdata/plan`: a Dockerfile, the options in `args.txt`, and a
//! dump of the plan. `UPDATE_EXPECT=1` rewrites the dumps.
//!
//! A line of `args.txt` is `build-arg NAME=value`, `label NAME=value`,
//! `target NAME`, `platform P`, `build-platform P`, `context NAME=KIND` with one of
//! `files`, `scratch`, `image:REFERENCE`, `target:STAGE`; or `no-configs`: then the
//! wanted images are shown instead of found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::dockerfile::{Security, Source, parse, render};
use crate::image::ImageConfig;

use super::*;

/// The images that cases build on.
fn image(path: &str) -> Option<&'static str> {
    Some(match path {
        "library/base" => {
            r#"{"architecture":"amd64","os":"linux","author":"them","config":{
                "Env":["PATH=/usr/bin","LANG=C"],"Cmd":["sh"],"Entrypoint":["/init"],
                "WorkingDir":"/srv","User":"app","Labels":{"from":"base"}}}"#
        }
        "library/plain" => r#"{"architecture":"amd64","os":"linux"}"#,
        "library/shelly" => {
            r#"{"architecture":"amd64","os":"linux","config":{"Shell":["/bin/bash","-ec"]}}"#
        }
        "library/triggers" => {
            r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=base"],"OnBuild":[
                "COPY . /src/$A","RUN <<EOF\nmake\nEOF","copy --from=tools /bin/t /t"]}}"#
        }
        "library/badtrigger" => {
            r#"{"architecture":"amd64","os":"linux","config":{"OnBuild":["RNU x","RUN --mount=target=/x y"]}}"#
        }
        _ => return None,
    })
}

fn file_source(from: &FileSource) -> String {
    match from {
        FileSource::Context => "context".to_owned(),
        FileSource::Named(name) => format!("named context {name}"),
        FileSource::Stage(id) => format!("stage {}", id.0),
        FileSource::Image(request) => format!("image {}", request.source),
    }
}

fn mount_kind(kind: &MountKind) -> String {
    let attributes = |a: &Attributes| format!("{:o} {}:{}", a.mode, a.uid, a.gid);
    match kind {
        MountKind::Bind { from, source, read_only } => {
            let access = if *read_only { "ro" } else { "rw" };
            format!("bind {source} from {} {access}", file_source(from))
        }
        MountKind::Cache { id, seed, read_only, sharing } => {
            let access = if *read_only { "ro" } else { "rw" };
            let seed = match seed {
                Seed::Empty(a) => attributes(a),
                Seed::Files { from, source } => format!("{source} from {}", file_source(from)),
            };
            format!("cache {id} of {seed} {sharing:?} {access}")
        }
        MountKind::Tmpfs { size } => format!("tmpfs of {size}"),
        MountKind::Secret { id, env, required, attributes: a } => {
            format!("secret {id} env {env:?} required {required} {}", attributes(a))
        }
        MountKind::Ssh { id, required, attributes: a } => {
            format!("ssh {id} required {required} {}", attributes(a))
        }
    }
}

fn dump_step(out: &mut String, step: &Step) {
    let _ = writeln!(out, "  {}", step.text.replace('\n', "\\n"));
    let _ = writeln!(out, "    history {:?}", step.created_by);
    match &step.kind {
        StepKind::Config => {}
        StepKind::Workdir { path } => {
            let _ = writeln!(out, "    mkdir {path} for {:?}", step.user);
        }
        StepKind::Run(run) => {
            let _ = writeln!(out, "    args {:?}", run.args);
            for (name, body) in &run.scripts {
                let _ = writeln!(out, "    script {name} {body:?}");
            }
            let env: Vec<String> = step.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let _ = writeln!(out, "    env {}", env.join(" "));
            if !run.proxies.is_empty() {
                let _ = writeln!(out, "    proxies {:?}", run.proxies);
            }
            let _ = writeln!(
                out,
                "    user {:?} workdir {} network {:?}",
                step.user, step.workdir, run.network
            );
            if run.security != Security::Sandbox {
                let _ = writeln!(out, "    security {:?}", run.security);
            }
            for mount in &run.mounts {
                let target = mount.target.as_deref().unwrap_or("no file");
                let _ = writeln!(out, "    mount at {target}: {}", mount_kind(&mount.kind));
            }
        }
        StepKind::Copy(copy) => {
            let from = file_source(&copy.from);
            let sources: Vec<&String> = copy.paths().map(|source| &source.value).collect();
            let directory = if copy.destination_is_directory { " (directory)" } else { "" };
            let _ = writeln!(out, "    from {from} {sources:?} to {}{directory}", copy.destination);
            for source in &copy.sources {
                match source {
                    CopySource::Path(_) => {}
                    CopySource::Inline(file) => {
                        let _ = writeln!(out, "    file {} {:?}", file.name, file.content);
                    }
                    CopySource::Download(file) => {
                        let _ = writeln!(out, "    download {} as {}", file.url, file.name);
                        if let Some(checksum) = &file.checksum {
                            let _ = writeln!(out, "      which is {checksum}");
                        }
                        if file.unpack {
                            let _ = writeln!(out, "      unpacked");
                        }
                    }
                    CopySource::Git { url, keep_git_dir } => {
                        let kept = if *keep_git_dir { " with .git" } else { "" };
                        let _ = writeln!(
                            out,
                            "    repository {} ref {:?} commit {:?} subdir {:?}{kept}",
                            url.remote, url.reference, url.checksum, url.subdir
                        );
                    }
                }
            }
            for (name, value) in [("chown", &copy.chown), ("chmod", &copy.chmod)] {
                if let Some(value) = value {
                    let _ = writeln!(out, "    {name} {value}");
                }
            }
            if !copy.exclude.is_empty() {
                let _ = writeln!(out, "    exclude {:?}", copy.exclude);
            }
            for (name, on) in [
                ("parents", copy.parents),
                ("link", copy.link),
                ("packed", copy.add && !copy.unpack),
            ] {
                if on {
                    let _ = writeln!(out, "    {name}");
                }
            }
        }
    }
}

fn dump(source: &Source, args: &str) -> String {
    let mut options = PlanOptions {
        build_args: Vec::new(),
        target: None,
        platform: "linux/amd64".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
        labels: Vec::new(),
        contexts: BTreeMap::new(),
    };
    let mut configs_known = true;
    for line in args.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let pair = || {
            let (name, value) = value.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        match key {
            "build-arg" => options.build_args.push(pair()),
            "label" => options.labels.push(pair()),
            "target" => options.target = Some(value.to_owned()),
            "platform" => options.platform = value.parse().unwrap(),
            "build-platform" => options.build_platform = value.parse().unwrap(),
            "context" => {
                let (name, kind) = pair();
                let kind = match kind.split_once(':') {
                    None if kind == "files" => NamedContext::Files,
                    None if kind == "scratch" => NamedContext::Scratch,
                    Some(("image", name)) => {
                        NamedContext::Image(ImageSource::Registry(name.parse().unwrap()))
                    }
                    Some(("target", name)) => NamedContext::Stage(name.to_owned()),
                    _ => panic!("unknown kind of context {kind}"),
                };
                options.contexts.insert(context_name(&name).unwrap(), kind);
            }
            "no-configs" => configs_known = false,
            other => panic!("unknown option {other}"),
        }
    }
    let (dockerfile, remarks) = parse(source);
    let mut out = render(&remarks, source);
    let mut configs: BTreeMap<ImageRequest, ImageConfig> = BTreeMap::new();
    let (outcome, remarks) = loop {
        match plan(&dockerfile, &options, &configs) {
            Ok((Outcome::Needs(needs), _)) if configs_known => {
                for request in needs.into_keys() {
                    let ImageSource::Registry(reference) = &request.source else { unreachable!() };
                    let json = image(reference.repository().path()).unwrap();
                    configs.insert(request, serde_json::from_str(json).unwrap());
                }
            }
            Ok((outcome, remarks)) => break (Some(outcome), remarks),
            Err(remarks) => break (None, remarks),
        }
    };
    match outcome {
        None => {}
        Some(Outcome::Needs(needs)) => {
            for request in needs.keys() {
                let _ = writeln!(out, "needs {} for {}", request.source, request.platform);
            }
        }
        Some(Outcome::Ready(plan)) => {
            for stage in &plan.stages {
                let base = match &stage.base {
                    Base::Scratch => "scratch".to_owned(),
                    Base::Stage(id) => format!("stage {}", id.0),
                    Base::Image(request) => {
                        format!("{} for {}", request.source, request.platform)
                    }
                };
                let target = if stage.id == plan.target { " (target)" } else { "" };
                let _ = writeln!(
                    out,
                    "stage {} {:?} from {base} on {}{target}",
                    stage.id.0, stage.name, stage.platform
                );
                stage.steps.iter().for_each(|step| dump_step(&mut out, step));
                let runtime = serde_json::to_string(&stage.runtime).unwrap();
                let _ = writeln!(out, "  = {runtime}");
                if let Some(author) = &stage.author {
                    let _ = writeln!(out, "  author {author}");
                }
            }
        }
    }
    if !remarks.is_empty() {
        out.push_str("---\n");
        out.push_str(&render(&remarks, source));
    }
    out
}

#[test]
fn a_long_chain_of_stages_needs_little_stack() {
    let mut text = "FROM scratch AS s0\n".to_owned();
    for stage in 1..2000 {
        let _ = writeln!(text, "FROM s{} AS s{stage}", stage - 1);
    }
    let out = dump(&Source::new("Dockerfile", text), "");
    assert_eq!(out.matches("stage ").count(), 2000 + 1999);
    assert!(out.contains("stage 1999 \"s1999\" from stage 1998"));
}

#[test]
fn every_case_is_planned_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plan");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let case = entry.unwrap().path();
        count += 1;
        let text = std::fs::read_to_string(case.join("Dockerfile")).unwrap();
        let args = std::fs::read_to_string(case.join("args.txt")).unwrap_or_default();
        let found = dump(&Source::new("Dockerfile", text), &args);
        let file = case.join("expect.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &found).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != found {
            wrong.push(format!("== {}\n{found}", case.display()));
        }
    }
    assert!(count >= 20, "only {count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
