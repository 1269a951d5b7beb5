//! What can be given to a build, and what it offers: arguments, secrets, agents
//! and caches of a target; the stages of a file.
//!
//! Notes are taken while stages are planned, as only then values are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{Dockerfile, Instruction, InstructionKind, Mount, MountKind, Span, Word};

use super::stage::Context;
use super::stages::{Draft, Stages, plan_stages};
use super::variables::{Variables, build_arg, declare_global, predefined};
use super::{Outcome, PlanOptions, StageId};

/// What a target can be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The name of the target, if it has one.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// Build arguments, in the order of the file.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets of RUN steps.
    pub secrets: Vec<OutlineMount>,
    /// Agents of RUN steps.
    pub ssh: Vec<OutlineMount>,
    /// Persistent caches of RUN steps.
    pub caches: Vec<OutlineMount>,
}

/// An argument of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArgument {
    /// The name.
    pub name: String,
    /// What the comment above it says.
    pub description: Option<String>,
    /// What it is, by default or as given.
    pub value: Option<String>,
    /// The ARG.
    pub span: Span,
}

/// Something that RUN mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineMount {
    /// The id.
    pub id: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The RUN.
    pub span: Span,
}

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name, if it has one.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// Whether it is built when none is named.
    pub is_default: bool,
    /// The base as written.
    pub base: String,
    /// The platform as written.
    pub platform: Option<String>,
    /// The FROM.
    pub span: Span,
}

/// The stages of a file.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let froms = dockerfile.instructions.iter().filter_map(|instruction| match &instruction.kind {
        InstructionKind::From(from) => Some((instruction.span, from)),
        _ => None,
    });
    let mut targets: Vec<Target> = froms
        .map(|(span, from)| Target {
            name: from.name.as_ref().map(|name| name.value.clone()),
            description: from
                .name
                .as_ref()
                .and_then(|name| dockerfile.description_of(&name.value, span)),
            is_default: false,
            base: from.image.value.clone(),
            platform: from.platform.as_ref().map(|platform| platform.value.clone()),
            span,
        })
        .collect();
    if let Some(last) = targets.last_mut() {
        last.is_default = true;
    }
    targets
}

/// What the target of `options` can be given; without the base images, whose
/// triggers may ask for more.
pub fn outline(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
) -> Result<Outline, Vec<crate::dockerfile::Diagnostic>> {
    let mut configs = BTreeMap::new();
    let (plan, notes) = loop {
        let planned = plan_stages(dockerfile, options, &configs, Stages::Needed);
        match planned.outcome {
            None => return Err(planned.diagnostics),
            Some(Outcome::Needs(images)) => {
                configs.extend(images.into_keys().map(|image| (image, None)));
            }
            Some(Outcome::Ready(plan)) => break (plan, planned.findings.notes),
        }
    };
    let targets = targets(dockerfile);
    let target = targets.get(plan.target.0 as usize);
    let mut outline = Outline {
        name: target.and_then(|target| target.name.clone()),
        description: target.and_then(|target| target.description.clone()),
        ..Outline::default()
    };
    // Of several stages with an argument of one name, the one nearest the target.
    for (_, note) in notes.stages.iter().rev() {
        for argument in &note.arguments {
            if !outline.arguments.iter().any(|other| other.name == argument.name) {
                outline.arguments.push(argument.clone());
            }
        }
        for name in notes.with_dependencies(&note.globals) {
            if let Some(global) = notes.globals.get(&name)
                && !outline.arguments.iter().any(|other| other.name == name)
            {
                outline.arguments.push(global.argument.clone());
            }
        }
        for (kind, mount) in &note.mounts {
            let list = match kind {
                MountKind::Secret => &mut outline.secrets,
                MountKind::Ssh => &mut outline.ssh,
                _ => &mut outline.caches,
            };
            match list.iter_mut().find(|other| other.id == mount.id) {
                Some(other) => other.required |= mount.required,
                None => list.push(mount.clone()),
            }
        }
    }
    for argument in &mut outline.arguments {
        argument.description = dockerfile.description_of(&argument.name, argument.span);
    }
    outline.arguments.sort_by_key(|argument| argument.span);
    for list in [&mut outline.secrets, &mut outline.ssh, &mut outline.caches] {
        list.sort_by_key(|mount| mount.span);
    }
    Ok(outline)
}

/// What is noted of arguments and mounts.
#[derive(Debug, Default)]
pub(super) struct Notes {
    globals: BTreeMap<String, Global>,
    stages: BTreeMap<StageId, Note>,
}

/// An ARG before the first FROM.
#[derive(Debug)]
struct Global {
    argument: OutlineArgument,
    /// The arguments that its default is made of.
    uses: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Note {
    arguments: Vec<OutlineArgument>,
    /// The global arguments that it uses.
    globals: BTreeSet<String>,
    mounts: Vec<(MountKind, OutlineMount)>,
}

impl Notes {
    /// Notes of the global arguments.
    pub(super) fn of_globals(dockerfile: &Dockerfile, options: &PlanOptions) -> Self {
        let mut notes = Self::default();
        let mut variables = predefined(options, dockerfile.last_stage());
        for instruction in &dockerfile.instructions {
            let arguments = match &instruction.kind {
                InstructionKind::Arg(arguments) => arguments,
                InstructionKind::From(_) => break,
                _ => continue,
            };
            for argument in arguments {
                let name = &argument.name.value;
                let is_given = build_arg(options, name).is_some();
                let default = argument.default.as_ref().filter(|_| !is_given);
                let mut uses = default
                    .map(|word| variables.used_by(word, dockerfile.escape))
                    .unwrap_or_default();
                if uses.remove(name) {
                    uses.extend(
                        notes.globals.get(name).into_iter().flat_map(|old| old.uses.clone()),
                    );
                }
                declare_global(
                    &mut variables,
                    argument,
                    options,
                    dockerfile.escape,
                    &mut Vec::new(),
                );
                let argument = OutlineArgument {
                    name: name.clone(),
                    description: None,
                    value: variables.get(name).map(str::to_owned),
                    span: instruction.span,
                };
                notes.globals.insert(name.clone(), Global { argument, uses });
            }
        }
        notes
    }

    /// Begins the notes of a stage with what its FROM uses.
    pub(super) fn enter(&mut self, draft: &Draft<'_>, globals: &Variables, escape: char) {
        let words = [Some(&draft.from.image), draft.from.platform.as_ref()];
        let used = words.into_iter().flatten().flat_map(|word| globals.used_by(word, escape));
        self.stages.entry(draft.id).or_default().globals.extend(used);
    }

    /// Global arguments and all that they are made of.
    fn with_dependencies(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let mut all = names.clone();
        let mut open: Vec<String> = names.iter().cloned().collect();
        while let Some(name) = open.pop() {
            for used in self.globals.get(&name).into_iter().flat_map(|global| &global.uses) {
                if all.insert(used.clone()) {
                    open.push(used.clone());
                }
            }
        }
        all
    }
}

impl Context<'_, '_> {
    /// Takes the notes of an instruction, before it is planned.
    pub(super) fn note(&mut self, instruction: &Instruction) {
        let stage = self.draft.id;
        match &instruction.kind {
            InstructionKind::Arg(arguments) => {
                for argument in arguments {
                    let name = &argument.name.value;
                    let given = build_arg(self.planner.options, name).map(str::to_owned);
                    let note = self.planner.findings.notes.stages.entry(stage).or_default();
                    if argument.default.is_none() && given.is_none() {
                        // It stands for the global one; a predefined one is nobody's to give.
                        note.globals.insert(name.clone());
                        if self.planner.globals.get(name).is_some() {
                            continue;
                        }
                    }
                    let quietly = |word: &Word| {
                        self.scope.variables.expand(word, self.escape, &mut Vec::new())
                    };
                    let default = || argument.default.as_ref().and_then(quietly);
                    let value = given.or_else(|| default().map(|value| value.value));
                    note.arguments.retain(|other| other.name != *name);
                    note.arguments.push(OutlineArgument {
                        name: name.clone(),
                        description: None,
                        value,
                        span: instruction.span,
                    });
                }
            }
            InstructionKind::Run(run) => {
                for mount in &run.mounts {
                    let Some(id) = self.mount_id(mount) else { continue };
                    let span = instruction.span;
                    let given = OutlineMount { id, required: mount.required, span };
                    let note = self.planner.findings.notes.stages.entry(stage).or_default();
                    note.mounts.push((mount.kind, given));
                }
            }
            _ => {}
        }
    }

    /// The name of what is mounted, for what has one.
    fn mount_id(&self, mount: &Mount) -> Option<String> {
        let text = |word: &Option<Word>| {
            let expanded =
                self.scope.variables.expand(word.as_ref()?, self.escape, &mut Vec::new());
            expanded.map(|word| word.value).filter(|text| !text.is_empty())
        };
        match mount.kind {
            // `source` is another word for the id.
            MountKind::Secret => text(&mount.source)
                .or_else(|| text(&mount.id))
                .or_else(|| Some(text(&mount.target)?.rsplit('/').next()?.to_owned()))
                .or_else(|| text(&mount.env)),
            MountKind::Cache => text(&mount.id).or_else(|| text(&mount.target)),
            MountKind::Ssh => Some(text(&mount.id).unwrap_or_else(|| "default".to_owned())),
            MountKind::Bind | MountKind::Tmpfs => None,
        }
    }
}
