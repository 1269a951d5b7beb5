//! The checks of FROM: its variables, defaults and platforms.

use std::collections::BTreeSet;

use crate::dockerfile::{Diagnostic, Dockerfile, InstructionKind, Rule, Severity, Span, Word};
use crate::image::{ImageConfig, Platform, Reference};

use super::stages::Draft;
use super::variables::{Variables, declare_global, predefined};
use super::{ImageRequest, PlanOptions};

/// Checks the FROM of every stage, needed or not.
pub(super) fn check(
    dockerfile: &Dockerfile,
    drafts: &[Draft<'_>],
    globals: &Variables,
    options: &PlanOptions,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let escape = dockerfile.escape;
    let defaults = defaults(dockerfile, options);
    let mut names = BTreeSet::new();
    for draft in drafts {
        let from = draft.from;
        let mut remarks = Vec::new();
        // Mistakes are reported when the stage is planned.
        let _ = globals.expand(&from.image, escape, &mut remarks);
        if let Some(word) = &from.platform {
            let _ = globals.expand(word, escape, &mut remarks);
            redundant_platform(word, globals, escape, diagnostics);
            constant_platform(word, draft, globals, escape, diagnostics);
        }
        remarks.retain(|remark| remark.severity == Severity::Warning);
        diagnostics.extend(remarks);
        if let Some(defaults) = &defaults
            && from.image.value.contains('$')
            && let Some(image) = defaults.expand(&from.image, escape, &mut Vec::new())
            && !names.contains(&image.value.to_lowercase())
            && image.value.parse::<Reference>().is_err()
        {
            let message = format!("without --build-arg, this is no image: {:?}", image.value);
            let warning =
                Diagnostic::check(Rule::InvalidDefaultArgInFrom, from.image.span, message);
            diagnostics.push(warning.with_help("give the ARGs that it uses a default"));
        }
        names.extend(from.name.as_ref().map(|name| name.value.clone()));
    }
}

/// The global variables as they are without build arguments, if that can be said.
fn defaults(dockerfile: &Dockerfile, options: &PlanOptions) -> Option<Variables> {
    let mut variables = predefined(options, dockerfile.last_stage());
    let options = PlanOptions { build_args: Vec::new(), ..options.clone() };
    let mut remarks = Vec::new();
    for instruction in &dockerfile.instructions {
        match &instruction.kind {
            InstructionKind::Arg(arguments) => {
                for argument in arguments {
                    let escape = dockerfile.escape;
                    declare_global(&mut variables, argument, &options, escape, &mut remarks);
                }
            }
            InstructionKind::From(_) => break,
            _ => {}
        }
    }
    remarks.is_empty().then_some(variables)
}

fn redundant_platform(
    word: &Word,
    globals: &Variables,
    escape: char,
    diagnostics: &mut Vec<Diagnostic>,
) {
    const TARGET: &str = "TARGETPLATFORM";
    let used = globals.used_by(word, escape);
    let mut remarks = Vec::new();
    let platform = globals.expand(word, escape, &mut remarks);
    if used.iter().eq([TARGET])
        && remarks.is_empty()
        && platform.is_some_and(|platform| Some(platform.value.as_str()) == globals.get(TARGET))
    {
        let message = "the target platform is the default of FROM";
        let warning = Diagnostic::check(Rule::RedundantTargetPlatform, word.span, message);
        diagnostics.push(warning.with_help("leave --platform out"));
    }
}

fn constant_platform(
    word: &Word,
    draft: &Draft<'_>,
    globals: &Variables,
    escape: char,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut remarks = Vec::new();
    let Some(text) = globals.expand(word, escape, &mut remarks) else { return };
    if !remarks.is_empty() || !globals.used_by(word, escape).is_empty() || word.value.contains('$')
    {
        return;
    }
    let Ok(platform) = text.value.parse::<Platform>() else { return };
    let name = draft.from.name.as_ref().map_or("", |name| name.value.as_str());
    if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
        let message = format!("the platform is {platform}, whatever is built for");
        let rule = Rule::FromPlatformFlagConstDisallowed;
        let warning = Diagnostic::check(rule, word.span, message);
        diagnostics.push(warning.with_help(
            "use a variable such as $BUILDPLATFORM, or give the stage a name that says the platform",
        ));
    }
}

/// Warns of a base image for another platform than was asked for.
pub(super) fn check_platform(
    config: &ImageConfig,
    request: &ImageRequest,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let (wanted, actual) = (&request.platform, config.platform());
    // An image without layers runs nothing.
    if config.rootfs.diff_ids.is_empty()
        || (wanted.os == actual.os && wanted.architecture == actual.architecture)
    {
        return;
    }
    let message = format!("image {} is for {actual}, not for {wanted}", request.source);
    diagnostics.push(Diagnostic::check(Rule::InvalidBaseImagePlatform, span, message));
}
