//! A Dockerfile's text to a plan and all remarks about it: parsed, planned and
//! checked, with the base images that a caller finds.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{
    self, CheckOptions, Diagnostic, Dockerfile, Ignore, InstructionKind, Rule, Severity, Source,
    Span,
};

use super::stages::{Configs, Planned, Stages, plan_stages};
use super::variables::build_arg;
use super::{Copy, FileSource, ImageRequest, Outcome, Plan, PlanOptions, StageId, StepKind};

/// The build argument that stands in for the directive `check`.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Instructions that may be missing without a change in what others mean.
const INDEPENDENT: [&str; 9] =
    ["ADD", "CMD", "COPY", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "RUN", "VOLUME"];

/// What there is to say about a file.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The file.
    pub dockerfile: Dockerfile,
    /// The plan, unless there are mistakes.
    pub plan: Option<Plan>,
    /// All remarks, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
    /// Base images that were not found although a check depends on them, and the
    /// place where it does.
    pub unknown: BTreeMap<ImageRequest, Span>,
}

impl Examined {
    /// Whether there are mistakes.
    pub fn is_wrong(&self) -> bool {
        self.diagnostics.iter().any(|remark| remark.severity == Severity::Error)
    }
}

/// Why the configuration of a base image is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is a base.
    Base,
    /// It was not found before, and a check depends on it.
    Again,
}

/// Base images that are wanted, each with where it is named.
pub type Wanted = BTreeMap<ImageRequest, Span>;

/// Finds base images, all at once: `None` for one that cannot be had.
pub type Find<'a, E> = &'a mut dyn FnMut(&Wanted, Asked) -> Result<Configs, E>;

/// Parses, plans and checks a file; `ignore` is that of its build context.
pub fn examine<E>(
    source: &Source,
    options: &PlanOptions,
    ignore: Option<&Ignore>,
    stages: Stages,
    find: Find<'_, E>,
) -> Result<Examined, E> {
    let (dockerfile, mut diagnostics) = dockerfile::parse(source);
    let (checks, remarks) = CheckOptions::of(&dockerfile, build_arg(options, CHECK_ARGUMENT));
    diagnostics.extend(remarks);
    diagnostics.extend(dockerfile::check(&dockerfile));
    let is_wrong = |all: &[Diagnostic]| all.iter().any(|d| d.severity == Severity::Error);
    let (mut plan, mut unknown) = (None, BTreeMap::new());
    if is_wrong(&diagnostics) {
        diagnostics.extend(more_mistakes(&dockerfile, options, stages, &diagnostics));
    } else {
        let planned = plan_with_images(&dockerfile, options, stages, find)?;
        unknown = planned.findings.doubts;
        diagnostics.extend(planned.diagnostics);
        if let Some(Outcome::Ready(ready)) = planned.outcome {
            if let Some(ignore) = ignore {
                diagnostics.extend(ignored_sources(&ready, ignore));
            }
            keep_needed(&dockerfile, &ready, &mut diagnostics);
            plan = Some(ready);
        }
    }
    checks.retain(&dockerfile, &mut diagnostics);
    diagnostics.extend(checks.failure(&diagnostics));
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    diagnostics.dedup();
    let plan = plan.filter(|_| !is_wrong(&diagnostics));
    Ok(Examined { dockerfile, plan, diagnostics, unknown })
}

fn plan_with_images<E>(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    stages: Stages,
    find: Find<'_, E>,
) -> Result<Planned, E> {
    let mut configs = Configs::new();
    let mut asked_again = BTreeSet::new();
    loop {
        let planned = plan_stages(dockerfile, options, &configs, stages);
        let (images, asked) = if let Some(Outcome::Needs(images)) = &planned.outcome {
            (images.clone(), Asked::Base)
        } else {
            let mut doubts = planned.findings.doubts.clone();
            doubts.retain(|image, _| !asked_again.contains(image));
            asked_again.extend(doubts.keys().cloned());
            (doubts, Asked::Again)
        };
        if images.is_empty() {
            return Ok(planned);
        }
        configs.extend(find(&images, asked)?);
    }
}

/// What can be said of the rest of a file that has mistakes, if these are in
/// instructions on which no other depends. Nothing is looked up for a file that
/// will not be built.
fn more_mistakes(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    stages: Stages,
    mistakes: &[Diagnostic],
) -> Vec<Diagnostic> {
    let mistakes = mistakes.iter().filter(|remark| remark.severity == Severity::Error);
    let others_depend = mistakes.into_iter().any(|remark| {
        let Some(span) = remark.span else { return true };
        let (_, line) = dockerfile.source.line_at(span.start);
        let keyword = line.split_whitespace().next().unwrap_or_default().to_uppercase();
        !INDEPENDENT.contains(&keyword.as_str())
    });
    if others_depend {
        return Vec::new();
    }
    let mut nothing = |wanted: &Wanted, _| {
        let found = wanted.keys().map(|request| (request.clone(), None)).collect();
        Ok::<_, std::convert::Infallible>(found)
    };
    let Ok(planned) = plan_with_images(dockerfile, options, stages, &mut nothing);
    planned.diagnostics
}

/// Drops what is about stages that are not built.
fn keep_needed(dockerfile: &Dockerfile, plan: &Plan, diagnostics: &mut Vec<Diagnostic>) {
    let froms = dockerfile.instructions.iter();
    let froms = froms.filter(|i| matches!(i.kind, InstructionKind::From(_)));
    let starts: Vec<usize> = froms.map(|instruction| instruction.span.start).collect();
    diagnostics.retain(|diagnostic| {
        let (Some(rule), Some(span)) = (diagnostic.rule, diagnostic.span) else { return true };
        let before = starts.partition_point(|start| *start <= span.start);
        let stage = StageId(u32::try_from(before.saturating_sub(1)).unwrap_or(u32::MAX));
        !rule.only_where_needed() || plan.stages.iter().any(|needed| needed.id == stage)
    });
}

/// Sources of COPY and ADD that the ignore file leaves out for sure.
fn ignored_sources(plan: &Plan, ignore: &Ignore) -> Vec<Diagnostic> {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    let copies = steps.filter_map(|step| match &step.kind {
        StepKind::Copy(copy @ Copy { from: FileSource::Context, .. }) => Some((step, copy)),
        _ => None,
    });
    let mut found = Vec::new();
    for (step, copy) in copies {
        for source in copy.paths().filter(|source| ignore.surely_excludes(&source.value)) {
            let name = if copy.add { "ADD" } else { "COPY" };
            let message =
                format!("{name} takes {:?}, which .dockerignore leaves out", source.value);
            // The words of a trigger are not in this file.
            let is_here = (step.span.start..step.span.end).contains(&source.span.start);
            let span = if is_here { source.span } else { step.span };
            found.push(Diagnostic::check(Rule::CopyIgnoredFile, span, message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    //! The cases of `testdata/checks`, a folder for each check: a Dockerfile,
    //! perhaps `args.txt` (`build-arg NAME=value`, `platform P`) and `ignore.txt`, and
    //! what is expected of a check of all stages, a line `LINE NAME` each, where
    //! the line is that of the instruction. `expect-build.txt` is of a build, where
    //! that differs. The facts are those of `BuildKit`'s own tests.

    use std::fmt::Write as _;
    use std::fs;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;
    use crate::image::ImageConfig;
    use crate::plan::ImageSource;
    use crate::plan::{outline, targets};

    /// The images that cases build on.
    fn image(path: &str) -> Option<ImageConfig> {
        let (architecture, config) = match path {
            "library/alpine" | "library/busybox" => {
                ("amd64", r#"{"Env":["PATH=/bin"],"WorkingDir":"/srv"}"#)
            }
            "library/shelly" => ("amd64", r#"{"Shell":["/bin/bash","-c"]}"#),
            "library/triggers" => ("amd64", r#"{"OnBuild":["CMD run"]}"#),
            "library/arm" => ("arm64", "{}"),
            _ => return None,
        };
        let diff_id = format!("sha256:{:064}", 0);
        let json = format!(
            r#"{{"os":"linux","architecture":"{architecture}","config":{config},
                "rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        Some(serde_json::from_str(&json).unwrap())
    }

    fn options(args: &str) -> PlanOptions {
        let mut options = PlanOptions {
            build_args: Vec::new(),
            target: None,
            platform: "linux/amd64".parse().unwrap(),
            build_platform: "linux/amd64".parse().unwrap(),
            labels: Vec::new(),
            contexts: std::collections::BTreeMap::new(),
        };
        for line in args.lines() {
            match line.split_once(' ').unwrap() {
                ("build-arg", pair) => {
                    let (name, value) = pair.split_once('=').unwrap();
                    options.build_args.push((name.to_owned(), value.to_owned()));
                }
                ("platform", platform) => options.platform = platform.parse().unwrap(),
                (other, _) => panic!("unknown option {other}"),
            }
        }
        options
    }

    fn images(wanted: &Wanted) -> Configs {
        let of = |request: &ImageRequest| match &request.source {
            ImageSource::Registry(reference) => image(reference.repository().path()),
            ImageSource::Layout { .. } => None,
        };
        wanted.keys().map(|request| (request.clone(), of(request))).collect()
    }

    fn found(case: &Path, stages: Stages) -> String {
        let read = |name| fs::read_to_string(case.join(name)).ok();
        let source = Source::new("Dockerfile", read("Dockerfile").unwrap());
        let ignore = read("ignore.txt").map(|text| Ignore::parse(&text).unwrap());
        let options = options(&read("args.txt").unwrap_or_default());
        let mut find = |wanted: &Wanted, _| Ok::<_, std::convert::Infallible>(images(wanted));
        let Ok(examined) = examine(&source, &options, ignore.as_ref(), stages, &mut find);
        let mut lines: Vec<String> = Vec::new();
        for remark in &examined.diagnostics {
            let name = match (remark.rule, remark.severity) {
                (Some(rule), _) => rule.name(),
                (None, Severity::Error) => "error",
                (None, Severity::Warning) => "warning",
            };
            let place = remark.span.map(|span| {
                let of = |i: &&dockerfile::Instruction| {
                    (i.span.start..=i.span.end).contains(&span.start)
                        && remark.rule != Some(Rule::NoEmptyContinuation)
                };
                let instruction = examined.dockerfile.instructions.iter().find(of);
                source.position(instruction.map_or(span, |i| i.span).start).0.to_string()
            });
            lines.push(format!("{} {name}\n", place.unwrap_or_else(|| "-".to_owned())));
        }
        lines.sort();
        lines.concat()
    }

    #[test]
    fn mistakes_of_all_kinds_come_at_once() {
        let remarks = |text: &str| {
            let source = Source::new("D", text);
            let mut find =
                |_: &Wanted, _| -> Result<_, std::convert::Infallible> { panic!("looked up") };
            let Ok(found) = examine(&source, &options(""), None, Stages::Needed, &mut find);
            assert!(found.plan.is_none());
            found.diagnostics.into_iter().map(|remark| remark.message).collect::<Vec<_>>()
        };
        let found = remarks("FROM a\nCOPY a\nEXPOSE x\nENV B=$C\n");
        assert_eq!(found.len(), 2, "{found:?}");
        // What a wrong ARG or FROM would have meant is not guessed.
        assert_eq!(remarks("FROM a\nARG =x\nEXPOSE x\n").len(), 1);
        assert_eq!(remarks("FORM a\nEXPOSE x\n").len(), 1);
    }

    #[test]
    fn every_case_is_found_as_expected() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/checks");
        let mut wrong = String::new();
        let mut count = 0;
        for rule in Rule::ALL {
            assert!(root.join(rule.name()).is_dir(), "no cases of {}", rule.name());
        }
        for folder in fs::read_dir(root).unwrap() {
            for case in fs::read_dir(folder.unwrap().path()).unwrap() {
                let case = case.unwrap().path();
                let expected = fs::read_to_string(case.join("expect.txt")).unwrap();
                let of_build = fs::read_to_string(case.join("expect-build.txt"));
                let of_build = of_build.unwrap_or_else(|_| expected.clone());
                for (stages, expected) in [(Stages::All, expected), (Stages::Needed, of_build)] {
                    let found = found(&case, stages);
                    let mut expected: Vec<&str> = expected.split_inclusive('\n').collect();
                    expected.sort_unstable();
                    if found != expected.concat() {
                        let _ = writeln!(wrong, "== {} {stages:?}\n{found}", case.display());
                    }
                    count += 1;
                }
            }
        }
        assert!(count >= 200, "only {count} cases");
        assert!(wrong.is_empty(), "{wrong}");
    }

    fn dockerfiles() -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let folders = fs::read_dir(root.join("checks")).unwrap().map(|f| f.unwrap().path());
        let folders = folders.chain([root.join("plan")]);
        let cases = folders.flat_map(|f| fs::read_dir(f).unwrap().map(|case| case.unwrap().path()));
        let mut files: Vec<PathBuf> = cases.map(|case| case.join("Dockerfile")).collect();
        files.sort();
        files
    }

    proptest! {
        #[test]
        fn never_panics_on_a_changed_file(
            index in any::<prop::sample::Index>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![
                "\\\n", "\n", "<<E", "'", "\"", "[", "]", "--", "=", "$", "${", "}", "#", ":", "/", "é",
                "\u{feff}", " ", "", "\nFROM x AS y\n", "# check=", "\nONBUILD ", "a", "0",
            ]), 0..6_usize), 1..8),
        ) {
            let files = dockerfiles();
            let text = fs::read_to_string(&files[index.index(files.len())]).unwrap();
            let mut text: Vec<char> = text.chars().collect();
            for (at, insert, remove) in edits {
                let at = at.index(text.len() + 1);
                let end = (at + remove).min(text.len());
                text.splice(at..end, insert.chars());
            }
            let source = Source::new("D", text.into_iter().collect::<String>());
            let ignore = Ignore::parse("*\n!a*").unwrap();
            let mut find = |wanted: &Wanted, _| Ok::<_, std::convert::Infallible>(images(wanted));
            for stages in [Stages::All, Stages::Needed] {
                let Ok(found) = examine(&source, &options(""), Some(&ignore), stages, &mut find);
                let _ = dockerfile::render(&found.diagnostics, &source);
                let _ = targets(&found.dockerfile);
                let _ = outline(&found.dockerfile, &options(""));
                for remark in &found.diagnostics {
                    if let Some(span) = remark.span {
                        prop_assert!(source.text.get(span.start..span.end.max(span.start)).is_some(), "{remark:?}");
                    }
                }
            }
        }
    }
}
