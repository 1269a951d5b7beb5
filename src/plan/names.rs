//! What the names of FROM and `--from` lead to.

use crate::dockerfile::{Diagnostic, Instruction, InstructionKind, Span, Spanned, Word};
use crate::image::{Platform, Reference};

use super::stages::{Draft, Planner};
use super::{FileSource, ImageRequest, ImageSource, NamedContext, StageId, context_name};

/// What a name leads to.
pub(super) enum Found {
    Stage(StageId),
    /// A named context of files, by its key.
    Files(String),
    Image(ImageSource),
    Scratch,
    /// A named context that stands for a stage which is not there.
    NoStage(String),
}

impl Planner<'_> {
    /// What FROM names; for a stage that a named context replaces, that context.
    pub(super) fn base_name(
        &self,
        draft: &Draft<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Spanned<String>> {
        match &draft.from.name {
            Some(name) if draft.replaced => Some(name.clone()),
            _ => self.globals.expand(&draft.from.image, self.escape, diagnostics),
        }
    }

    /// The stages that an instruction takes files from.
    pub(super) fn stages_of(
        &self,
        draft: &Draft<'_>,
        instruction: &Instruction,
    ) -> Vec<(StageId, Span)> {
        let names: Vec<&Word> = match &instruction.kind {
            InstructionKind::Copy(copy) => copy.from.iter().collect(),
            InstructionKind::Run(run) => {
                run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect()
            }
            _ => Vec::new(),
        };
        names
            .into_iter()
            .filter_map(|name| match self.find(draft, &name.value) {
                Some(Found::Stage(stage)) => Some((stage, name.span)),
                _ => None,
            })
            .collect()
    }

    /// What a name of `--from` leads to, by number too, if it is no image of a registry. It
    /// may be a stage that stands further down.
    fn find(&self, draft: &Draft<'_>, name: &str) -> Option<Found> {
        let numbered = self.numbered(name).map(Found::Stage);
        let found = numbered.or_else(|| self.find_by_name(draft, name));
        found.or_else(|| {
            let name = name.to_lowercase();
            let mut here_and_below = self.drafts[draft.id.0 as usize..].iter();
            here_and_below.find(|other| other.name() == name).map(|other| Found::Stage(other.id))
        })
    }

    fn numbered(&self, name: &str) -> Option<StageId> {
        let number = name.parse::<u32>().ok()?;
        ((number as usize) < self.drafts.len()).then_some(StageId(number))
    }

    /// The same, but by name only: named contexts come before stages.
    pub(super) fn find_by_name(&self, draft: &Draft<'_>, name: &str) -> Option<Found> {
        let key = context_name(name);
        let context = key.and_then(|key| self.options.contexts.get_key_value(&key));
        Some(match context {
            None => Found::Stage(self.earlier(draft, name)?),
            Some((key, NamedContext::Files)) => Found::Files(key.clone()),
            Some((_, NamedContext::Image(source))) => Found::Image(source.clone()),
            Some((_, NamedContext::Scratch)) => Found::Scratch,
            Some((_, NamedContext::Stage(stage))) => {
                let numbered = self.numbered(stage).filter(|number| *number < draft.id);
                let found = numbered.or_else(|| self.earlier(draft, stage));
                found.map_or_else(|| Found::NoStage(stage.clone()), Found::Stage)
            }
        })
    }

    /// What `--from=name` means, mistakes reported at `span`.
    pub(super) fn file_source(
        &mut self,
        draft: &Draft<'_>,
        name: &str,
        platform: &Platform,
        span: Span,
    ) -> Option<FileSource> {
        if name.contains('$') {
            self.diagnostics.push(
                Diagnostic::error(span, "--from cannot hold variables")
                    .with_help("name a stage: FROM $IMAGE AS name, then --from=name"),
            );
            return None;
        }
        match self.find(draft, name) {
            Some(Found::Stage(stage)) => return Some(FileSource::Stage(stage)),
            Some(Found::Files(key)) => return Some(FileSource::Named(key)),
            Some(Found::Image(source)) => {
                let platform = platform.clone();
                return Some(FileSource::Image(ImageRequest { source, platform }));
            }
            Some(Found::NoStage(stage)) => {
                self.no_stage(name, &stage, span);
                return None;
            }
            Some(Found::Scratch) => {
                self.diagnostics.push(Diagnostic::error(span, "scratch has no files to copy from"));
                return None;
            }
            None => {}
        }
        if name.parse::<u32>().is_ok() {
            let error =
                Diagnostic::error(span, format!("there is no stage with the number {name}"));
            self.diagnostics.push(error.with_help("stages are numbered from 0"));
            return None;
        }
        if name.to_lowercase() == "scratch" {
            self.diagnostics.push(Diagnostic::error(span, "scratch has no files to copy from"));
            return None;
        }
        let source = ImageSource::Registry(self.reference(name, span)?);
        Some(FileSource::Image(ImageRequest { source, platform: platform.clone() }))
    }

    pub(super) fn no_stage(&mut self, name: &str, stage: &str, span: Span) {
        let message = format!(
            "the context {name:?} stands for the stage {stage:?}, and there is none of that name before this one"
        );
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    pub(super) fn reference(&mut self, text: &str, span: Span) -> Option<Reference> {
        match text.parse::<Reference>() {
            Ok(reference) => Some(reference),
            Err(error) => {
                self.diagnostics.push(Diagnostic::error(span, error.to_string()));
                None
            }
        }
    }

    /// The last stage before `draft` with a name.
    fn earlier(&self, draft: &Draft<'_>, name: &str) -> Option<StageId> {
        let name = name.to_lowercase();
        let before = &self.drafts[..draft.id.0 as usize];
        let named = |other: &&Draft<'_>| other.from.name.as_ref().is_some_and(|n| n.value == name);
        before.iter().rev().find(named).map(|other| other.id)
    }
}
