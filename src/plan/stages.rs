//! The stages of a file, what they depend on, and which are needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{
    ArgDeclaration, Diagnostic, Dockerfile, From, Instruction, InstructionKind, Rule, Severity,
    Source, Span, parse,
};
use crate::image::{ImageConfig, Platform};

use super::from;
use super::names::Found;
use super::outline::Notes;
use super::stage::{Scope, build_stage};
use super::variables::{Variables, declare_global, predefined, warn_of_undeclared};
use super::{
    Base, ImageRequest, ImageSource, Outcome, Plan, PlanOptions, Stage, StageId, context_name,
};

/// Plans a build.
///
/// `configs` holds the configurations of base images known so far. The second
/// part of a success is warnings; a failure is all remarks, with one error at
/// least.
pub fn plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    configs: &BTreeMap<ImageRequest, ImageConfig>,
) -> Result<(Outcome, Vec<Diagnostic>), Vec<Diagnostic>> {
    let configs =
        configs.iter().map(|(image, config)| (image.clone(), Some(config.clone()))).collect();
    let Planned { outcome, diagnostics, .. } =
        plan_stages(dockerfile, options, &configs, Stages::Needed);
    match outcome {
        Some(outcome) => Ok((outcome, diagnostics)),
        None => Err(diagnostics),
    }
}

/// The configurations of base images; none for one that cannot be had.
pub type Configs = BTreeMap<ImageRequest, Option<ImageConfig>>;

/// Which stages are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    /// The target and what it needs.
    Needed,
    /// All of the file.
    All,
}

/// What came of planning.
pub(super) struct Planned {
    /// `None` after a mistake.
    pub(super) outcome: Option<Outcome>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) findings: Findings,
}

/// What is found out on the way.
#[derive(Default)]
pub(super) struct Findings {
    /// The images that cannot be had and on which a check depends.
    pub(super) doubts: BTreeMap<ImageRequest, Span>,
    /// What is to be said of the stages that were planned.
    pub(super) notes: Notes,
}

/// Plans the stages.
pub(super) fn plan_stages(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    configs: &Configs,
    stages: Stages,
) -> Planned {
    let mut diagnostics = Vec::new();
    let mut findings = Findings::default();
    let outcome = try_plan(dockerfile, options, configs, stages, &mut diagnostics, &mut findings);
    // A derived stage may repeat what was said of its base.
    let mut unique: Vec<Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        if !unique.contains(&diagnostic) {
            unique.push(diagnostic);
        }
    }
    let is_fine = unique.iter().all(|d| d.severity == Severity::Warning);
    Planned { outcome: outcome.filter(|_| is_fine), diagnostics: unique, findings }
}

/// A stage as written.
pub(super) struct Draft<'a> {
    pub(super) id: StageId,
    pub(super) from: &'a From,
    pub(super) span: Span,
    /// Empty if a named context stands in the stage's place.
    pub(super) instructions: Vec<&'a Instruction>,
    /// Whether one does.
    pub(super) replaced: bool,
}

impl Draft<'_> {
    /// What users see.
    pub(super) fn shown(&self) -> String {
        self.from
            .name
            .as_ref()
            .map_or_else(|| format!("stage-{}", self.id.0), |name| name.value.clone())
    }

    /// What is looked up.
    pub(super) fn name(&self) -> String {
        self.from.name.as_ref().map_or_else(|| self.id.0.to_string(), |name| name.value.clone())
    }
}

fn try_plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    configs: &Configs,
    stages: Stages,
    diagnostics: &mut Vec<Diagnostic>,
    findings: &mut Findings,
) -> Option<Outcome> {
    let mut globals = predefined(options, dockerfile.last_stage());
    let mut drafts = drafts(dockerfile, options, &mut globals, diagnostics);
    for draft in &mut drafts {
        let name = draft.from.name.as_ref().and_then(|name| context_name(&name.value));
        draft.replaced = name.is_some_and(|name| options.contexts.contains_key(&name));
        if draft.replaced {
            draft.instructions.clear();
        }
    }
    if drafts.is_empty() {
        if diagnostics.iter().all(|d| d.severity == Severity::Warning) {
            let error = Diagnostic::error(Span::default(), "there is no FROM, so nothing to build");
            diagnostics.push(Diagnostic { span: None, ..error });
        }
        return None;
    }
    from::check(dockerfile, &drafts, &globals, options, diagnostics);
    let target = target(&drafts, options, diagnostics)?;
    let mut declared: Vec<&str> = Vec::new();
    for instruction in &dockerfile.instructions {
        if let InstructionKind::Arg(arguments) = &instruction.kind {
            declared.extend(arguments.iter().map(|argument| argument.name.value.as_str()));
        }
    }
    warn_of_undeclared(options, &declared, diagnostics);
    let mut planner = Planner {
        drafts: &drafts,
        options,
        configs,
        globals,
        escape: dockerfile.escape,
        diagnostics,
        visited: BTreeSet::new(),
        under_way: Vec::new(),
        bases: BTreeMap::new(),
        stages: Vec::new(),
        scopes: BTreeMap::new(),
        needs: BTreeMap::new(),
        findings,
    };
    planner.findings.notes = Notes::of_globals(dockerfile, options);
    let wanted = match stages {
        Stages::Needed => vec![target],
        Stages::All => drafts.iter().map(|draft| draft.id).collect(),
    };
    for stage in planner.in_order(wanted) {
        planner.visit(stage);
    }
    let (needs, stages) = (planner.needs, planner.stages);
    if needs.is_empty() {
        let mut plan = Plan { stages, target };
        if let Some(stage) = plan.stages.iter_mut().find(|stage| stage.id == target) {
            stage.runtime.labels.extend(options.labels.iter().cloned());
        }
        return Some(Outcome::Ready(plan));
    }
    Some(Outcome::Needs(needs))
}

/// Splits the instructions into stages and sets the global variables.
fn drafts<'a>(
    dockerfile: &'a Dockerfile,
    options: &PlanOptions,
    globals: &mut Variables,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for instruction in &dockerfile.instructions {
        match &instruction.kind {
            InstructionKind::From(from) => {
                drafts.push(Draft {
                    id: StageId(u32::try_from(drafts.len()).unwrap_or(u32::MAX)),
                    from,
                    span: instruction.span,
                    instructions: Vec::new(),
                    replaced: false,
                });
            }
            kind => match (drafts.last_mut(), kind) {
                (Some(draft), _) => draft.instructions.push(instruction),
                (None, InstructionKind::Arg(arguments)) => {
                    for argument in arguments {
                        declare_global(globals, argument, options, dockerfile.escape, diagnostics);
                    }
                }
                (None, _) => diagnostics.push(
                    Diagnostic::error(
                        instruction.keyword,
                        "only ARG may stand before the first FROM",
                    )
                    .with_help("begin with FROM image, or FROM scratch"),
                ),
            },
        }
    }
    drafts
}

fn target(
    drafts: &[Draft<'_>],
    options: &PlanOptions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<StageId> {
    let Some(wanted) = options.target.as_ref().filter(|target| !target.is_empty()) else {
        return drafts.last().map(|draft| draft.id);
    };
    let name = wanted.to_lowercase();
    let by_name = drafts.iter().rev().find(|draft| draft.name() == name);
    if let Some(draft) = by_name {
        return Some(draft.id);
    }
    if let Some(draft) = wanted.parse::<usize>().ok().and_then(|number| drafts.get(number)) {
        return Some(draft.id);
    }
    let names: Vec<String> =
        drafts.iter().filter_map(|d| d.from.name.as_ref()).map(|n| n.value.clone()).collect();
    let message = format!("there is no stage {wanted:?} to be the target");
    let error = Diagnostic { span: None, ..Diagnostic::error(Span::default(), message) };
    let error = error.suggesting(&name, names.iter().map(String::as_str));
    diagnostics.push(match error.help {
        None if !names.is_empty() => {
            error.with_help(format!("the stages are {}", names.join(", ")))
        }
        _ => error,
    });
    None
}

/// What a stage begins with.
struct Foundation {
    base: Base,
    /// The named context whose files are there from the start.
    files: Option<String>,
    platform: Platform,
}

/// The way from the target down to what it needs.
pub(super) struct Planner<'a> {
    pub(super) drafts: &'a [Draft<'a>],
    pub(super) options: &'a PlanOptions,
    configs: &'a Configs,
    pub(super) globals: Variables,
    pub(super) escape: char,
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
    visited: BTreeSet<StageId>,
    /// The stages that are being planned, each for the sake of the one before.
    under_way: Vec<StageId>,
    /// The base and platform of every stage visited, if it could be found out.
    bases: BTreeMap<StageId, (Base, Platform)>,
    stages: Vec<Stage>,
    /// What a stage hands on to those derived from it; absent if it failed.
    scopes: BTreeMap<StageId, Scope>,
    needs: BTreeMap<ImageRequest, Span>,
    pub(super) findings: &'a mut Findings,
}

impl Planner<'_> {
    /// The stages that `wanted` need by what is written, themselves included, each after
    /// those that it depends on: so it finds them done, and a chain of any length takes
    /// no more stack than one. Triggers may add others later.
    fn in_order(&self, wanted: Vec<StageId>) -> Vec<StageId> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        // Stages still to enter, and those to leave when all that they need is there.
        let mut stack: Vec<(StageId, bool)> =
            wanted.into_iter().rev().map(|stage| (stage, false)).collect();
        while let Some((id, is_left)) = stack.pop() {
            if is_left {
                order.push(id);
            } else if let Some(draft) = self.drafts.get(id.0 as usize)
                && seen.insert(id)
            {
                stack.push((id, true));
                // Mistakes are reported when the stage is planned.
                let name = self.base_name(draft, &mut Vec::new());
                let base = name.and_then(|name| self.find_by_name(draft, &name.value));
                let base = match base {
                    Some(Found::Stage(base)) => Some(base),
                    _ => None,
                };
                let sources = draft.instructions.iter().flat_map(|i| self.stages_of(draft, i));
                let mut needed: Vec<StageId> =
                    sources.map(|(stage, _)| stage).chain(base).collect();
                // The order of the file where there is a choice.
                needed.sort_by(|left, right| right.cmp(left));
                stack.extend(needed.into_iter().map(|stage| (stage, false)));
            }
        }
        order
    }

    /// Plans a stage after all that it depends on; each is visited once.
    fn visit(&mut self, id: StageId) {
        let drafts = self.drafts;
        let Some(draft) = drafts.get(id.0 as usize) else { return };
        if !self.visited.insert(id) {
            return;
        }
        self.under_way.push(id);
        self.plan_stage(draft);
        self.under_way.pop();
    }

    fn plan_stage(&mut self, draft: &Draft<'_>) {
        let id = draft.id;
        self.findings.notes.enter(draft, &self.globals, self.escape);
        let foundation = self.foundation(draft);
        for instruction in &draft.instructions {
            refuse_unsupported(instruction, instruction.span, "", self.diagnostics);
            self.visit_sources(draft, instruction);
        }
        let Some(Foundation { base, files, platform }) = foundation else { return };
        self.bases.insert(id, (base.clone(), platform.clone()));
        let scope = match &base {
            Base::Scratch => Some(Scope::scratch()),
            Base::Stage(base) => self.scopes.get(base).cloned(),
            Base::Image(request) => match self.configs.get(request) {
                Some(Some(config)) => {
                    from::check_platform(config, request, draft.from.image.span, self.diagnostics);
                    Some(Scope::of_image(config))
                }
                Some(None) => Some(Scope::unknown(request)),
                None => {
                    self.needs.entry(request.clone()).or_insert(draft.from.image.span);
                    None
                }
            },
        };
        let Some(mut scope) = scope else { return };
        let triggers = if draft.replaced { Vec::new() } else { self.triggers(draft, &mut scope) };
        for (instruction, _) in &triggers {
            self.visit_sources(draft, instruction);
        }
        let (stage, scope) = build_stage(self, draft, base, platform, scope, &triggers, files);
        self.stages.push(stage);
        self.scopes.insert(id, scope);
    }

    /// Takes back what was said, from `before` on, of variables that an unknown
    /// base image may set.
    pub(super) fn doubt(&mut self, scope: &Scope, before: usize) {
        let Some(request) = &scope.unknown_base else { return };
        let said = self.diagnostics.split_off(before);
        for remark in said {
            match remark.span {
                Some(span) if remark.rule == Some(Rule::UndefinedVar) => {
                    self.findings.doubts.entry(request.clone()).or_insert(span);
                }
                _ => self.diagnostics.push(remark),
            }
        }
    }

    /// The base of a stage and the platform that it runs on.
    fn foundation(&mut self, draft: &Draft<'_>) -> Option<Foundation> {
        let from = draft.from;
        let mut mistakes = Vec::new();
        let image = self.base_name(draft, &mut mistakes);
        self.diagnostics.append(&mut mistakes);
        let image = image?;
        let mut platform = self.options.platform.clone();
        if let Some(word) = &from.platform {
            let text = self.globals.expand(word, self.escape, self.diagnostics)?;
            match text.value.parse::<Platform>() {
                Ok(parsed) => platform = parsed,
                Err(error) => {
                    self.diagnostics.push(Diagnostic::error(word.span, error.to_string()));
                    return None;
                }
            }
        }
        if image.value.is_empty() {
            let error = Diagnostic::error(image.span, "the base image is empty after expansion");
            self.diagnostics.push(if from.image.value.contains('$') {
                error.with_help(
                    "FROM sees only the ARGs before the first FROM; give them a default or pass --build-arg",
                )
            } else {
                error.with_help("name an image, or scratch for none")
            });
            return None;
        }
        let found = match self.find_by_name(draft, &image.value) {
            Some(found) => found,
            None if image.value == "scratch" => Found::Scratch,
            None => Found::Image(ImageSource::Registry(self.reference(&image.value, image.span)?)),
        };
        let mut files = None;
        let base = match found {
            Found::Scratch => Base::Scratch,
            Found::Files(name) => {
                files = Some(name);
                Base::Scratch
            }
            Found::Stage(base) => {
                self.depend(base, image.span);
                if let Some((_, inherited)) = self.bases.get(&base) {
                    platform = inherited.clone();
                }
                Base::Stage(base)
            }
            Found::Image(source) => {
                Base::Image(ImageRequest { source, platform: platform.clone() })
            }
            Found::NoStage(stage) => {
                self.no_stage(&image.value, &stage, image.span);
                return None;
            }
        };
        Some(Foundation { base, files, platform })
    }

    /// Visits the stages that an instruction takes files from.
    fn visit_sources(&mut self, draft: &Draft<'_>, instruction: &Instruction) {
        for (stage, span) in self.stages_of(draft, instruction) {
            self.depend(stage, span);
        }
    }

    /// Visits a stage that the one under way needs.
    fn depend(&mut self, stage: StageId, span: Span) {
        if let Some(at) = self.under_way.iter().position(|other| *other == stage) {
            let around = self.under_way[at..].iter().chain([&stage]);
            let names: Vec<String> =
                around.map(|stage| self.drafts[stage.0 as usize].shown()).collect();
            let message = format!("a stage needs itself: {}", names.join(" needs "));
            self.diagnostics.push(
                Diagnostic::error(span, message)
                    .with_help("take the files from a stage that can be done before"),
            );
        }
        self.visit(stage);
    }

    /// The triggers of the base, which the stage takes over and does not hand on.
    fn triggers(&mut self, draft: &Draft<'_>, scope: &mut Scope) -> Vec<(Instruction, char)> {
        let mut triggers = Vec::new();
        for text in std::mem::take(&mut scope.runtime.on_build) {
            let name = format!("{} ONBUILD", draft.from.image.value);
            let (parsed, remarks) = parse(&Source::new(name, text.clone()));
            let span = draft.from.image.span;
            let place = format!("ONBUILD {text:?} of the base image: ");
            let before = self.diagnostics.len();
            for remark in remarks {
                self.diagnostics.push(Diagnostic {
                    span: Some(span),
                    message: format!("{place}{}", remark.message),
                    ..remark
                });
            }
            let allowed = |kind: &InstructionKind| {
                !matches!(kind, InstructionKind::From(_) | InstructionKind::Onbuild(_))
            };
            match parsed.instructions.as_slice() {
                [instruction] if allowed(&instruction.kind) => {
                    refuse_unsupported(instruction, span, &place, self.diagnostics);
                    triggers.push((instruction.clone(), parsed.escape));
                }
                _ if self.diagnostics.len() > before => {}
                _ => self.diagnostics.push(Diagnostic::error(
                    span,
                    format!("{place}a trigger is one instruction, not FROM or ONBUILD"),
                )),
            }
        }
        triggers
    }
}

/// Refuses what is understood but cannot be executed yet; a trigger's remarks
/// are all at `fallback`, as its spans are not in this file.
fn refuse_unsupported(
    instruction: &Instruction,
    fallback: Span,
    place: &str,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut refuse = |span: Span, what: &str| {
        let span = if place.is_empty() { span } else { fallback };
        diagnostics.push(Diagnostic::error(span, format!("{place}{what} is not supported yet")));
    };
    if let InstructionKind::Run(run) = &instruction.kind {
        for device in &run.devices {
            refuse(device.span, "RUN --device");
        }
    }
}

/// Declares an ARG in a stage; the value that it has then.
pub(super) fn argument_value(
    planner: &mut Planner<'_>,
    variables: &Variables,
    argument: &ArgDeclaration,
    escape: char,
) -> Option<String> {
    let name = &argument.name.value;
    if let Some(value) = super::variables::build_arg(planner.options, name) {
        return Some(value.to_owned());
    }
    match &argument.default {
        Some(default) => {
            variables.expand(default, escape, planner.diagnostics).map(|value| value.value)
        }
        None => planner.globals.get(name).map(str::to_owned),
    }
}
