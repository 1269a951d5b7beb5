//! Which build checks count: the directive `# check=…`, the build argument
//! `BUILDKIT_DOCKERFILE_CHECK` in its place, and comments above instructions.
//!
//! `skip=A,B;experimental=C;error=true`, where `all` may stand for the names. `skip` is
//! of those that are on, `experimental` of those that are off; neither touches
//! the other's.

use super::{Diagnostic, Dockerfile, Rule, Severity, Span, Spanned};

/// Which checks count, and whether they fail the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    skip: Names,
    experimental: Names,
    error: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    all: bool,
    some: Vec<Rule>,
}

impl Names {
    fn has(&self, rule: Rule) -> bool {
        self.all || self.some.contains(&rule)
    }
}

impl CheckOptions {
    /// What a file asks for, or `instead`, the value of the build argument.
    pub fn of(file: &Dockerfile, instead: Option<&str>) -> (Self, Vec<Diagnostic>) {
        let directive = file.directives.iter().find(|directive| directive.key.value == "check");
        let mut remarks = Vec::new();
        let options = match (instead, directive) {
            (Some(text), _) => Self::parse(&Spanned::new(text, Span::default()), &mut remarks),
            (None, Some(directive)) => {
                let value = Spanned::new(directive.value.value.as_str(), directive.value.span);
                Self::parse(&value, &mut remarks)
            }
            (None, None) => Self::default(),
        };
        if instead.is_some() {
            for remark in &mut remarks {
                remark.span = None;
                remark.message = format!("BUILDKIT_DOCKERFILE_CHECK: {}", remark.message);
            }
        }
        (options, remarks)
    }

    fn parse(text: &Spanned<&str>, remarks: &mut Vec<Diagnostic>) -> Self {
        let mut options = Self::default();
        let mut at = text.span.start;
        for part in text.value.split(';') {
            let start = at + (part.len() - part.trim_start().len());
            at += part.len() + 1;
            let part = part.trim();
            let span = Span::new(start, start + part.len());
            if part.is_empty() {
                continue;
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value_span = Span::new(span.end - value.len(), span.end);
            match key.trim() {
                "skip" => options.skip = names(value, value_span, remarks),
                "experimental" => options.experimental = names(value, value_span, remarks),
                "error" => match value.trim() {
                    "1" | "t" | "T" | "true" | "True" | "TRUE" => options.error = true,
                    "0" | "f" | "F" | "false" | "False" | "FALSE" => options.error = false,
                    other => remarks.push(Diagnostic::error(
                        value_span,
                        format!("error of the checks is true or false, not {other:?}"),
                    )),
                },
                other => {
                    let message = format!("the checks have no option {other:?}");
                    let error = Diagnostic::error(span, message);
                    remarks.push(
                        error
                            .with_help("they have skip=NAME,…; experimental=NAME,…; error=true")
                            .suggesting(other, ["skip", "experimental", "error"]),
                    );
                }
            }
        }
        options
    }

    /// Leaves out what the options leave out.
    pub fn retain(&self, file: &Dockerfile, diagnostics: &mut Vec<Diagnostic>) {
        diagnostics.retain(|diagnostic| {
            let Some(rule) = diagnostic.rule else { return true };
            let here = diagnostic.span.and_then(|span| own_options(file, span));
            let options = || [Some(self), here.as_ref()].into_iter().flatten();
            if rule.is_experimental() {
                options().any(|options| options.experimental.has(rule))
            } else {
                !options().any(|options| options.skip.has(rule))
            }
        });
    }

    /// The error that the warnings of checks amount to with `error=true`.
    pub fn failure(&self, diagnostics: &[Diagnostic]) -> Option<Diagnostic> {
        let mut rules: Vec<Rule> = diagnostics.iter().filter_map(|remark| remark.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        if !self.error || rules.is_empty() {
            return None;
        }
        let names: Vec<&str> = rules.into_iter().map(Rule::name).collect();
        let message = format!("these checks fail, and error=true is set: {}", names.join(", "));
        let error = Diagnostic { span: None, ..Diagnostic::error(Span::default(), message) };
        Some(error.with_help("mend what they say, or leave some out with # check=skip=NAME"))
    }
}

/// The names of a list; a name that is none is worth a remark.
fn names(text: &str, span: Span, remarks: &mut Vec<Diagnostic>) -> Names {
    if text.trim() == "all" {
        return Names { all: true, some: Vec::new() };
    }
    let mut some = Vec::new();
    let mut at = span.start;
    for part in text.split(',') {
        let start = at + (part.len() - part.trim_start().len());
        at += part.len() + 1;
        let name = part.trim();
        match Rule::ALL.into_iter().find(|rule| rule.name() == name) {
            Some(rule) => some.push(rule),
            None => remarks.push(
                Diagnostic::warning(
                    Span::new(start, start + name.len()),
                    format!("there is no check {name:?}"),
                )
                .suggesting(name, Rule::ALL.into_iter().map(Rule::name)),
            ),
        }
    }
    Names { all: false, some }
}

/// The options in the comments above the instruction that `span` is in; up to the
/// first blank, and none if they are malformed.
fn own_options(file: &Dockerfile, span: Span) -> Option<CheckOptions> {
    let instruction = file.instructions.iter().rev().find(|i| i.span.start <= span.start)?;
    let comment = file.comments_above(instruction.span).into_iter().find_map(|comment| {
        let (key, value) = comment.value.split_once('=')?;
        let value = value.trim_start().split(' ').next().unwrap_or_default();
        key.trim().eq_ignore_ascii_case("check").then_some(value)
    })?;
    let mut remarks = Vec::new();
    let options = CheckOptions::parse(&Spanned::new(comment, Span::default()), &mut remarks);
    remarks.iter().all(|remark| remark.severity == Severity::Warning).then_some(options)
}

#[cfg(test)]
mod tests {
    use super::super::{Source, parse};
    use super::*;

    fn of(text: &str) -> (CheckOptions, Vec<String>) {
        let (file, _) = parse(&Source::new("D", format!("# check={text}\nFROM a")));
        let (options, remarks) = CheckOptions::of(&file, None);
        (options, remarks.into_iter().map(|remark| remark.message).collect())
    }

    #[test]
    fn reads_the_directive() {
        let names = |some: &[Rule]| Names { all: false, some: some.to_vec() };
        let all = Names { all: true, some: Vec::new() };
        for (text, skip, experimental, error) in [
            ("skip=all", all.clone(), Names::default(), false),
            (
                "skip=UndefinedVar, FromAsCasing;error=true",
                names(&[Rule::UndefinedVar, Rule::FromAsCasing]),
                Names::default(),
                true,
            ),
            ("error=T ; experimental=all", Names::default(), all, true),
            (
                "experimental=InvalidDefinitionDescription;error=0",
                Names::default(),
                names(&[Rule::InvalidDefinitionDescription]),
                false,
            ),
        ] {
            assert_eq!(of(text), (CheckOptions { skip, experimental, error }, vec![]), "{text}");
        }
        for (text, says) in [
            ("skip", "there is no check \"\""),
            ("skip=undefinedvar", "there is no check \"undefinedvar\""),
            ("error=yes", "error of the checks is true or false, not \"yes\""),
            ("skipp=all", "the checks have no option \"skipp\""),
        ] {
            assert_eq!(of(text).1, [says], "{text}");
        }
    }
}
