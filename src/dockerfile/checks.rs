//! The build checks that need nothing but the file: a function for each.
//!
//! Those that need the values of variables or the base images are in `plan`.

use std::collections::BTreeSet;

use super::lines::Line;
use super::words::Part;
use super::{Diagnostic, Dockerfile, From, Instruction, InstructionKind, Rule, Span, Word};

/// What the names of secrets are made of, between underscores.
const SECRETS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// Beside one of these, it is no secret after all.
const NO_SECRETS: [&str; 3] = ["public", "file", "version"];

/// Finds what the checks of a file have to say, in no order.
pub fn check(file: &Dockerfile) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    stage_names(file, &mut found);
    instruction_casing(file, &mut found);
    multiple_instructions(file, &mut found);
    for instruction in &file.instructions {
        match &instruction.kind {
            InstructionKind::From(from) => {
                stage_name_casing(instruction, from, &mut found);
                from_as_casing(file, instruction, from, &mut found);
                let name: Vec<&Word> = from.name.iter().collect();
                definition_description(file, instruction, &name, &mut found);
            }
            InstructionKind::Arg(arguments) => {
                let names: Vec<&Word> = arguments.iter().map(|argument| &argument.name).collect();
                definition_description(file, instruction, &names, &mut found);
            }
            InstructionKind::Maintainer(_) => maintainer(instruction, &mut found),
            InstructionKind::Env(_) | InstructionKind::Label(_) => {
                legacy_key_value(file, instruction, &mut found);
            }
            _ => {}
        }
    }
    secrets(file, &mut found);
    found
}

/// The instructions of stages: those from the first FROM on.
fn of_stages(file: &Dockerfile) -> &[Instruction] {
    let is_from = |i: &Instruction| matches!(i.kind, InstructionKind::From(_));
    let first = file.instructions.iter().position(is_from);
    &file.instructions[first.unwrap_or(file.instructions.len())..]
}

/// The keyword as written.
fn keyword(instruction: &Instruction) -> &str {
    instruction.text.split(char::is_whitespace).next().unwrap_or_default()
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}

fn stage_names(file: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let mut names = BTreeSet::new();
    for instruction in &file.instructions {
        let InstructionKind::From(From { name: Some(name), .. }) = &instruction.kind else {
            continue;
        };
        if matches!(name.value.as_str(), "scratch" | "context") {
            let message = format!("the stage name {:?} has a meaning of its own", name.value);
            let warning = Diagnostic::check(Rule::ReservedStageName, name.span, message);
            found.push(
                warning.with_help("choose another name; FROM and --from never mean this stage"),
            );
        }
        if !names.insert(&name.value) {
            let message = format!("a stage before has the name {:?} too", name.value);
            let warning = Diagnostic::check(Rule::DuplicateStageName, name.span, message);
            found.push(warning.with_help("from here on the name means this stage"));
        }
    }
}

fn stage_name_casing(instruction: &Instruction, from: &From, found: &mut Vec<Diagnostic>) {
    let Some(name) = &from.name else { return };
    let written = instruction.text.split_whitespace().next_back().unwrap_or_default();
    if !is_lower(written) {
        let message = format!("the stage name {written:?} is not in lower case");
        let warning = Diagnostic::check(Rule::StageNameCasing, name.span, message);
        found.push(warning.with_help(format!("it is looked up as {:?}", name.value)));
    }
}

fn from_as_casing(
    file: &Dockerfile,
    instruction: &Instruction,
    from: &From,
    found: &mut Vec<Diagnostic>,
) {
    let Some(name) = &from.name else { return };
    let mut words = instruction.text.split_whitespace().rev();
    let Some(word) = words.nth(1) else { return };
    let keyword = keyword(instruction);
    // A FROM of both cases is the matter of another check.
    let wanted = if is_lower(keyword) {
        word.to_lowercase()
    } else if is_upper(keyword) {
        word.to_uppercase()
    } else {
        return;
    };
    if word != wanted {
        let between = file.source.text.get(from.image.span.end..name.span.start);
        let at = between.and_then(|text| text.rfind(word)).map(|at| from.image.span.end + at);
        let span = at.map_or(name.span, |at| Span::new(at, at + word.len()));
        let message = format!("{word:?} is not in the case of {keyword:?}");
        let warning = Diagnostic::check(Rule::FromAsCasing, span, message);
        found.push(warning.with_help(format!("write {wanted}")));
    }
}

fn instruction_casing(file: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let keywords = || of_stages(file).iter().map(keyword);
    let lower = keywords().filter(|word| is_lower(word)).count();
    let upper = keywords().filter(|word| is_upper(word)).count();
    for instruction in of_stages(file) {
        let word = keyword(instruction);
        let (right, wanted) = if lower > upper {
            (word.to_lowercase(), "lower")
        } else {
            (word.to_uppercase(), "upper")
        };
        if word != right {
            let message = format!("{word:?} is not in {wanted} case, as most instructions are");
            let warning =
                Diagnostic::check(Rule::ConsistentInstructionCasing, instruction.keyword, message);
            found.push(warning.with_help(format!("write {right}")));
        }
    }
}

fn multiple_instructions(file: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let (mut cmd, mut entrypoint, mut healthcheck) = (None, None, None);
    for instruction in of_stages(file) {
        let (name, last): (_, &mut Option<Span>) = match &instruction.kind {
            InstructionKind::From(_) => {
                (cmd, entrypoint, healthcheck) = (None, None, None);
                continue;
            }
            InstructionKind::Cmd(_) => ("CMD", &mut cmd),
            InstructionKind::Entrypoint(_) => ("ENTRYPOINT", &mut entrypoint),
            InstructionKind::Healthcheck(_) => ("HEALTHCHECK", &mut healthcheck),
            _ => continue,
        };
        if let Some(ignored) = last.replace(instruction.keyword) {
            let message = format!("this {name} is without effect, as another one follows");
            let rule = Rule::MultipleInstructionsDisallowed;
            let (line, _) = file.source.position(instruction.keyword.start);
            let warning = Diagnostic::check(rule, ignored, message);
            found
                .push(warning.with_help(format!("the one of line {line} counts; remove this one")));
        }
    }
}

fn maintainer(instruction: &Instruction, found: &mut Vec<Diagnostic>) {
    let rule = Rule::MaintainerDeprecated;
    let warning = Diagnostic::check(rule, instruction.keyword, "MAINTAINER is deprecated");
    found.push(warning.with_help("write LABEL org.opencontainers.image.authors=…"));
}

fn legacy_key_value(file: &Dockerfile, instruction: &Instruction, found: &mut Vec<Diagnostic>) {
    let (InstructionKind::Env(pairs) | InstructionKind::Label(pairs)) = &instruction.kind else {
        return;
    };
    let line = Line::of(&instruction.text);
    let (name, arguments) = Part::whole(&line).keyword();
    let words = arguments.quoted_words(file.escape);
    let (Some(first), Some(pair)) = (words.first(), pairs.first()) else { return };
    if !first.text().contains('=') {
        let message = "the form without '=' is deprecated";
        let warning = Diagnostic::check(Rule::LegacyKeyValueFormat, pair.key.span, message);
        let name = name.text().to_uppercase();
        found.push(warning.with_help(format!("write {name} {}=\"…\"", pair.key.value)));
    }
}

fn secrets(file: &Dockerfile, found: &mut Vec<Diagnostic>) {
    for instruction in of_stages(file) {
        let (name, keys): (_, Vec<&Word>) = match &instruction.kind {
            InstructionKind::Arg(arguments) => {
                ("ARG", arguments.iter().map(|argument| &argument.name).collect())
            }
            InstructionKind::Env(pairs) => ("ENV", pairs.iter().map(|pair| &pair.key).collect()),
            _ => continue,
        };
        for key in keys.into_iter().filter(|key| is_secret(&key.value)) {
            let message =
                format!("{name} {} looks like a secret, and stays in the image", key.value);
            let warning = Diagnostic::check(Rule::SecretsUsedInArgOrEnv, key.span, message);
            found.push(
                warning.with_help("give it to the steps that need it: RUN --mount=type=secret"),
            );
        }
    }
}

/// Whether a variable of this name is likely to hold a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    has(&SECRETS) && !has(&NO_SECRETS)
}

fn definition_description(
    file: &Dockerfile,
    instruction: &Instruction,
    names: &[&Word],
    found: &mut Vec<Diagnostic>,
) {
    let comments = file.comments_above(instruction.span);
    let (Some(comment), Some(first)) = (comments.last(), names.first()) else { return };
    let word = comment.value.split(' ').next().unwrap_or_default();
    // What the comment says is for the checks.
    if word.starts_with("check=") || names.iter().any(|name| name.value == word) {
        return;
    }
    let name = if names.len() == 1 { first.value.as_str() } else { "<name>" };
    let rule = Rule::InvalidDefinitionDescription;
    let message = "the comment above does not begin with the name of what it describes";
    let warning = Diagnostic::check(rule, instruction.keyword, message);
    found.push(warning.with_help(format!(
        "write `# {name} <description>`, or put an empty line between if it is no description"
    )));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_secrets_by_their_names() {
        for name in [
            "SECRET_PASSPHRASE",
            "super_Secret",
            "password",
            "super_duper_secret_token",
            "auth",
            "apikey",
            "git_key",
            "AWS_CREDENTIALS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "sunflower",
            "PUBLIC_KEY",
            "public_token",
            "KEYBOARD",
            "passwords",
            "TOKEN_FILE",
            "key_version",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
