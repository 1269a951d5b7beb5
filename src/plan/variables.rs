//! Variables: the global scope, that of a stage, and words expanded in them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::dockerfile::{
    ArgDeclaration, Diagnostic, Expansion, Rule, Severity, Span, Spanned, Word, expand, nearest,
};

use super::PlanOptions;

/// Proxy arguments, usable without a declaration.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// `PATH` where an image sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in the order of their first setting; a later value replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variables {
    pairs: Vec<(String, String)>,
    /// What an ARG of this scope names, perhaps without a value.
    declared: BTreeSet<String>,
    /// What the ARGs before the first FROM name; for hints within a stage, and
    /// `None` where FROM itself is read.
    globals: Option<BTreeSet<String>>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.pairs.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Notes an ARG; without a value it is empty, but no mistake.
    pub(super) fn declare(&mut self, name: &str) {
        self.declared.insert(name.to_owned());
    }

    /// Makes these the variables of a stage below `globals`.
    pub(super) fn enter_stage(&mut self, globals: &Self) {
        self.globals = Some(globals.declared.clone());
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The variables whose value `word` asks for and gets.
    pub(super) fn used_by(&self, word: &Word, escape: char) -> BTreeSet<String> {
        let used = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            let value = self.get(name)?;
            used.borrow_mut().insert(name.to_owned());
            Some(value.to_owned())
        };
        // A mistake in the word is reported where it is expanded.
        let _ = expand(&word.value, escape, &lookup);
        used.into_inner()
    }

    /// Expands `word`, with a warning for each variable that nobody set.
    pub(super) fn expand(
        &self,
        word: &Word,
        escape: char,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Spanned<String>> {
        let expansion = self.expansion(word, escape, diagnostics)?;
        Some(Spanned::new(expansion.text, word.span))
    }

    /// Expands `word` and splits it at unquoted blanks; as in `BuildKit`, without
    /// a warning.
    pub(super) fn expand_words(
        &self,
        word: &Word,
        escape: char,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Vec<String>> {
        let mut remarks = Vec::new();
        let expansion = self.expansion(word, escape, &mut remarks);
        remarks.retain(|remark| remark.severity == Severity::Error);
        diagnostics.extend(remarks);
        Some(expansion?.words)
    }

    fn expansion(
        &self,
        word: &Word,
        escape: char,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Expansion> {
        match expand(&word.value, escape, &|name| self.get(name).map(str::to_owned)) {
            Ok(expansion) => {
                self.warn_of_unset(&expansion, word.span, diagnostics);
                Some(expansion)
            }
            Err(error) => {
                diagnostics.push(Diagnostic::error(word.span, error.to_string()));
                None
            }
        }
    }

    pub(super) fn warn_of_unset(
        &self,
        expansion: &Expansion,
        span: Span,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for name in expansion.unset.iter().filter(|name| !self.declared.contains(*name)) {
            let names = self.pairs.iter().map(|(name, _)| name.as_str());
            let names = names.chain(self.declared.iter().map(String::as_str));
            let near = nearest(name, names).map(|near| format!("did you mean {near}?"));
            diagnostics.push(match &self.globals {
                None => {
                    let message = format!("no ARG before the first FROM declares {name}");
                    let help = near.unwrap_or_else(|| format!("write ARG {name} above it"));
                    Diagnostic::check(Rule::UndefinedArgInFrom, span, message).with_help(help)
                }
                Some(globals) => {
                    let help = if globals.contains(name) {
                        format!(
                            "an ARG before FROM is not seen in a stage; repeat ARG {name} in it"
                        )
                    } else {
                        near.unwrap_or_else(|| format!("declare it with ARG {name} in this stage"))
                    };
                    let message = format!("the variable {name} is not set here");
                    Diagnostic::check(Rule::UndefinedVar, span, message).with_help(help)
                }
            });
        }
    }
}

/// A build argument of the command line.
pub(super) fn build_arg<'a>(options: &'a PlanOptions, name: &str) -> Option<&'a str> {
    let found = options.build_args.iter().rev().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str())
}

/// The proxies of the build arguments, in upper and lower case.
pub(super) fn proxies(options: &PlanOptions) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for proxy in PROXIES {
        let given = options.build_args.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(proxy));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            found.push((proxy.to_owned(), value.clone()));
            found.push((proxy.to_lowercase(), value.clone()));
        }
    }
    found
}

/// What FROM and the defaults of global arguments see before the first ARG.
///
/// `last` is the name of the last stage, which is built unless another is asked for.
pub(super) fn predefined(options: &PlanOptions, last: Option<&str>) -> Variables {
    let stage = options.target.as_deref().filter(|target| !target.is_empty()).or(last);
    let (target, build) = (&options.platform, &options.build_platform);
    let mut variables = Variables::default();
    for (name, value) in [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone().unwrap_or_default()),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", target.variant.clone().unwrap_or_default()),
        ("TARGETSTAGE", stage.unwrap_or("default").to_owned()),
    ] {
        variables.set(name, build_arg(options, name).unwrap_or(&value));
    }
    variables
}

/// Sets a global ARG.
pub(super) fn declare_global(
    globals: &mut Variables,
    argument: &ArgDeclaration,
    options: &PlanOptions,
    escape: char,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let name = &argument.name.value;
    if let Some(value) = build_arg(options, name) {
        globals.set(name, value);
    } else if let Some(default) = &argument.default {
        let mut remarks = Vec::new();
        if let Some(value) = globals.expand(default, escape, &mut remarks) {
            globals.set(name, &value.value);
        }
        // No check is about variables in these.
        remarks.retain(|remark| remark.severity == Severity::Error);
        diagnostics.extend(remarks);
    }
    globals.declare(name);
}

/// Warns of build arguments that no ARG of the file declares.
pub(super) fn warn_of_undeclared(
    options: &PlanOptions,
    declared: &[&str],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let known = predefined(options, None);
    for (name, _) in &options.build_args {
        let predefined = known.get(name).is_some()
            || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
            || name.starts_with("BUILDKIT_")
            || name == "SOURCE_DATE_EPOCH";
        if !predefined && !declared.contains(&name.as_str()) {
            let warning = Diagnostic {
                span: None,
                ..Diagnostic::warning(
                    Span::default(),
                    format!("the build argument {name} is not declared by any ARG"),
                )
            };
            diagnostics.push(warning.suggesting(name, declared.iter().copied()));
        }
    }
}
