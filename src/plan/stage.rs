//! The instructions of one stage to its steps.

use serde_json::{Map, Value};

use crate::dockerfile::{
    CommandLine, Diagnostic, Healthcheck, Instruction, InstructionKind, KeyValue, Rule, Span,
    Spanned, Word,
};
use crate::image::{self, ImageConfig, Platform, RuntimeConfig};

use super::settings::{Exposed, is_signal, nearest_signal, ports, resolve};
use super::stages::{Draft, Planner, argument_value};
use super::variables::{DEFAULT_PATH, Variables};
use super::{Base, FileSource, ImageRequest, Stage, Step, StepKind, copy, history};

/// Build arguments that are settings of the builder and never reach a step.
const NOT_IN_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What is in force at a place of a stage, and what a stage hands on.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) runtime: RuntimeConfig,
    pub(super) variables: Variables,
    /// The arguments declared, for the history.
    pub(super) arguments: Vec<(String, Option<String>)>,
    author: Option<String>,
    /// Whether CMD was set in this stage.
    cmd_is_own: bool,
    /// Whether a WORKDIR of this file was before.
    has_workdir: bool,
    /// The base image, if its configuration cannot be had.
    pub(super) unknown_base: Option<ImageRequest>,
}

impl Scope {
    /// That of `FROM scratch`.
    pub(super) fn scratch() -> Self {
        let runtime = RuntimeConfig {
            env: vec![format!("PATH={DEFAULT_PATH}")],
            working_dir: "/".to_owned(),
            ..RuntimeConfig::default()
        };
        Self::of(runtime, None)
    }

    /// That of an image.
    pub(super) fn of_image(config: &ImageConfig) -> Self {
        Self::of(config.config.clone(), config.author.clone())
    }

    /// That of an image whose configuration cannot be had.
    pub(super) fn unknown(request: &ImageRequest) -> Self {
        Self { unknown_base: Some(request.clone()), ..Self::scratch() }
    }

    fn of(runtime: RuntimeConfig, author: Option<String>) -> Self {
        let mut variables = Variables::default();
        for entry in &runtime.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            variables.set(name, value);
        }
        if variables.get("PATH").is_none() {
            variables.set("PATH", DEFAULT_PATH);
        }
        Self {
            runtime,
            variables,
            arguments: Vec::new(),
            author,
            cmd_is_own: false,
            has_workdir: false,
            unknown_base: None,
        }
    }

    pub(super) fn workdir(&self) -> String {
        resolve("/", &self.runtime.working_dir)
    }

    pub(super) fn with_shell(&self, text: String) -> Vec<String> {
        let shell = self.runtime.shell.clone().filter(|shell| !shell.is_empty());
        let mut args = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        args.push(text);
        args
    }

    pub(super) fn command(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Shell(text) => self.with_shell(text.value.clone()),
            CommandLine::Exec(words) => words.iter().map(|word| word.value.clone()).collect(),
        }
    }
}

/// Makes the steps of a stage; `triggers` (with the escape character of each)
/// come first. Before them come the `files` of a named context, if it is the base.
pub(super) fn build_stage(
    planner: &mut Planner<'_>,
    draft: &Draft<'_>,
    base: Base,
    platform: Platform,
    mut scope: Scope,
    triggers: &[(Instruction, char)],
    files: Option<String>,
) -> (Stage, Scope) {
    scope.cmd_is_own = false;
    scope.variables.enter_stage(&planner.globals);
    let mut steps: Vec<Step> =
        files.map(|name| copy::whole_context(name, draft, &scope)).into_iter().collect();
    let escape = planner.escape;
    let own = draft.instructions.iter().map(|instruction| (*instruction, escape, false));
    let all = triggers.iter().map(|(instruction, escape)| (instruction, *escape, true)).chain(own);
    for (instruction, escape, is_trigger) in all {
        let before = planner.diagnostics.len();
        let mut context =
            Context { planner, draft, platform: &platform, scope: &mut scope, escape };
        let env = context.scope.variables.pairs().to_vec();
        let user = context.scope.runtime.user.clone();
        let workdir = context.scope.workdir();
        context.note(instruction);
        let done = context.step(instruction);
        planner.doubt(&scope, before);
        let span = if is_trigger { draft.span } else { instruction.span };
        if is_trigger {
            // The places of a trigger are not in this file.
            for diagnostic in &mut planner.diagnostics[before..] {
                diagnostic.span = Some(draft.from.image.span);
                diagnostic.message = format!(
                    "ONBUILD {:?} of the base image: {}",
                    instruction.text, diagnostic.message
                );
            }
        }
        if let Some((created_by, kind)) = done {
            let text = shown(instruction, is_trigger);
            steps.push(Step { span, text, created_by, env, user, workdir, kind });
        }
    }
    let stage = Stage {
        id: draft.id,
        name: draft.shown(),
        base,
        platform,
        steps,
        runtime: scope.runtime.clone(),
        author: scope.author.clone(),
        span: draft.span,
    };
    (stage, scope)
}

/// The instruction as shown: the keyword in upper case, a script by its first line.
fn shown(instruction: &Instruction, is_trigger: bool) -> String {
    let text = &instruction.text;
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let trigger = if is_trigger { "ONBUILD " } else { "" };
    let mut shown = format!("{trigger}{}{}", text[..end].to_ascii_uppercase(), &text[end..]);
    if let InstructionKind::Run(run) = &instruction.kind
        && let [heredoc] = run.heredocs.as_slice()
    {
        let body = heredoc.body.value.trim();
        let first = body.lines().next().unwrap_or_default();
        let more = if body.lines().nth(1).is_some() { "..." } else { "" };
        shown = format!("{shown} ({first}{more})");
    }
    shown
}

/// An instruction's surroundings while it is planned.
pub(super) struct Context<'c, 'p> {
    pub(super) planner: &'c mut Planner<'p>,
    pub(super) draft: &'c Draft<'c>,
    pub(super) platform: &'c Platform,
    pub(super) scope: &'c mut Scope,
    pub(super) escape: char,
}

impl Context<'_, '_> {
    pub(super) fn fail(&mut self, span: Span, message: impl Into<String>) {
        self.planner.diagnostics.push(Diagnostic::error(span, message));
    }

    pub(super) fn expand(&mut self, word: &Word) -> Option<Spanned<String>> {
        self.scope.variables.expand(word, self.escape, self.planner.diagnostics)
    }

    fn warn(&mut self, rule: Rule, span: Span, message: impl Into<String>, help: &str) {
        let warning = Diagnostic::check(rule, span, message).with_help(help);
        self.planner.diagnostics.push(warning);
    }

    /// Expands the value of a flag, empty when it is absent.
    pub(super) fn expand_flag(&mut self, word: Option<&Word>) -> Option<Spanned<String>> {
        match word {
            None => Some(Spanned::new(String::new(), Span::default())),
            Some(word) => self.expand(word),
        }
    }

    /// The history's words and what is to be done; `None` after a mistake, and
    /// for ONBUILD, which leaves no entry.
    fn step(&mut self, instruction: &Instruction) -> Option<(String, StepKind)> {
        let created_by = match &instruction.kind {
            InstructionKind::Run(run) => return self.run(run, instruction.span),
            InstructionKind::Copy(copy) => {
                let from = match &copy.from {
                    None => FileSource::Context,
                    Some(word) => self.planner.file_source(
                        self.draft,
                        &word.value,
                        self.platform,
                        word.span,
                    )?,
                };
                let parents = copy.parents.is_some();
                return self.copy(None, from, &copy.transfer, parents);
            }
            InstructionKind::Add(add) => {
                return self.copy(Some(add), FileSource::Context, &add.transfer, false);
            }
            InstructionKind::Workdir(word) => return self.workdir(word),
            InstructionKind::From(_) => return None,
            InstructionKind::Onbuild(onbuild) => {
                self.scope.runtime.on_build.push(onbuild.trigger.clone());
                return None;
            }
            InstructionKind::Arg(arguments) => {
                let mut words = vec!["ARG".to_owned()];
                for argument in arguments {
                    let name = &argument.name.value;
                    let value =
                        argument_value(self.planner, &self.scope.variables, argument, self.escape);
                    self.scope.variables.declare(name);
                    if let Some(value) = &value
                        && !NOT_IN_ENVIRONMENT.contains(&name.as_str())
                    {
                        self.scope.variables.set(name, value);
                    }
                    words.push(match &value {
                        Some(value) => format!("{name}={value}"),
                        None => name.clone(),
                    });
                    let arguments = &mut self.scope.arguments;
                    match arguments.iter_mut().find(|(other, _)| other == name) {
                        Some((_, old)) => *old = value,
                        None => arguments.push((name.clone(), value)),
                    }
                }
                words.join(" ")
            }
            InstructionKind::Env(pairs) => {
                let pairs = self.pairs(pairs)?;
                for (key, value) in &pairs {
                    self.scope.variables.set(key, value);
                    let env = &mut self.scope.runtime.env;
                    let entry = format!("{key}={value}");
                    match env.iter_mut().find(|e| e.split('=').next() == Some(key)) {
                        Some(old) => *old = entry,
                        None => env.push(entry),
                    }
                }
                joined("ENV", &pairs)
            }
            InstructionKind::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                self.scope.runtime.labels.extend(pairs.iter().cloned());
                joined("LABEL", &pairs)
            }
            InstructionKind::User(word) => {
                let user = self.expand(word)?;
                if user.value.is_empty() {
                    self.fail(word.span, "USER is empty after expansion");
                    return None;
                }
                self.scope.runtime.user.clone_from(&user.value);
                format!("USER {}", user.value)
            }
            InstructionKind::Cmd(command) => {
                self.recommend_json("CMD", command);
                let args = self.scope.command(command);
                let created_by = format!("CMD {}", history::quoted_list(&args));
                self.scope.runtime.cmd = Some(args).filter(|args| !args.is_empty());
                self.scope.cmd_is_own = true;
                created_by
            }
            InstructionKind::Entrypoint(command) => {
                self.recommend_json("ENTRYPOINT", command);
                let args = self.scope.command(command);
                let created_by = format!("ENTRYPOINT {}", history::quoted_list(&args));
                self.scope.runtime.entrypoint = Some(args).filter(|args| !args.is_empty());
                // A CMD of the base was meant for the base's entrypoint.
                if !self.scope.cmd_is_own {
                    self.scope.runtime.cmd = None;
                }
                created_by
            }
            InstructionKind::Expose(words) => self.expose(words)?,
            InstructionKind::Volume(words) => {
                let mut volumes = Vec::new();
                for word in words {
                    let volume = self.expand(word)?.value;
                    if volume.is_empty() {
                        self.fail(word.span, "VOLUME has an empty path");
                        return None;
                    }
                    self.scope.runtime.volumes.insert(volume.clone(), empty());
                    volumes.push(volume);
                }
                format!("VOLUME {}", history::plain_list(&volumes))
            }
            InstructionKind::Healthcheck(check) => {
                let check = self.healthcheck(check);
                let created_by = format!("HEALTHCHECK {}", history::healthcheck(&check));
                self.scope.runtime.healthcheck = Some(check);
                created_by
            }
            InstructionKind::Shell(words) => {
                let shell: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
                let created_by = format!("SHELL {}", history::plain_list(&shell));
                self.scope.runtime.shell = Some(shell);
                created_by
            }
            InstructionKind::Stopsignal(word) => {
                let signal = self.expand(word)?.value;
                if !is_signal(&signal) {
                    let error = Diagnostic::error(word.span, format!("{signal:?} is no signal"));
                    let help = "a signal is a number, or a name such as SIGTERM or TERM";
                    let near = nearest_signal(&signal).map(|near| format!("did you mean {near}?"));
                    let error = error.with_help(near.unwrap_or_else(|| help.to_owned()));
                    self.planner.diagnostics.push(error);
                    return None;
                }
                let created_by = format!("STOPSIGNAL {signal}");
                self.scope.runtime.stop_signal = Some(signal);
                created_by
            }
            InstructionKind::Maintainer(word) => {
                self.scope.author = Some(word.value.clone());
                format!("MAINTAINER {}", word.value)
            }
        };
        Some((created_by, StepKind::Config))
    }

    /// All words see the variables from before the instruction.
    fn pairs(&mut self, pairs: &[KeyValue]) -> Option<Vec<(String, String)>> {
        let mut expanded = Vec::new();
        for pair in pairs {
            let key = self.expand(&pair.key)?.value;
            let value = self.expand(&pair.value)?.value;
            if key.is_empty() {
                self.fail(pair.key.span, "the name is empty after expansion");
                return None;
            }
            expanded.push((key, value));
        }
        Some(expanded)
    }

    fn expose(&mut self, words: &[Word]) -> Option<String> {
        // BuildKit sorts the words as written; the history shows it.
        let mut words: Vec<&Word> = words.iter().collect();
        words.sort_by(|left, right| left.value.cmp(&right.value));
        let mut all = Vec::new();
        for word in words {
            let variables = &self.scope.variables;
            let words = variables.expand_words(word, self.escape, self.planner.diagnostics)?;
            for port in words {
                match ports(&port) {
                    Ok(exposed) => {
                        self.check_port(&port, &exposed, word.span);
                        all.extend(exposed.ports);
                    }
                    Err(message) => {
                        self.fail(word.span, message);
                        return None;
                    }
                }
            }
        }
        let exposed = all.iter().map(|port| (port.clone(), empty()));
        self.scope.runtime.exposed_ports.extend(exposed);
        Some(format!("EXPOSE {}", history::plain_list(&all)))
    }

    fn check_port(&mut self, port: &str, exposed: &Exposed, span: Span) {
        if !exposed.protocol_is_lower {
            let message = format!("the protocol of {port} is not in lower case");
            let help = format!("write {}", port.to_lowercase());
            self.warn(Rule::ExposeProtoCasing, span, message, &help);
        }
        if exposed.is_mapping {
            let message =
                format!("{port} has an address or a port of the host, which EXPOSE ignores");
            let port = port.rsplit(':').next().unwrap_or(port);
            let help = format!("write {port}; it will become an error");
            self.warn(Rule::ExposeInvalidFormat, span, message, &help);
        }
    }

    /// The shell form is for shells that the file chose itself.
    fn recommend_json(&mut self, name: &str, command: &CommandLine) {
        let CommandLine::Shell(word) = command else { return };
        if self.scope.runtime.shell.as_ref().is_none_or(Vec::is_empty) {
            let message = format!("{name} runs in a shell, which does not pass on signals");
            let help = format!("write {name} [\"program\", \"argument\"], or name a SHELL");
            self.warn(Rule::JsonArgsRecommended, word.span, message, &help);
        }
    }

    fn healthcheck(&self, check: &Healthcheck) -> image::Healthcheck {
        let test = match &check.command {
            None => vec!["NONE".to_owned()],
            Some(CommandLine::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
            Some(command @ CommandLine::Exec(_)) => {
                let mut test = vec!["CMD".to_owned()];
                test.extend(self.scope.command(command));
                test
            }
        };
        image::Healthcheck {
            test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }
    }

    fn workdir(&mut self, word: &Word) -> Option<(String, StepKind)> {
        let path = self.expand(word)?.value;
        if path.is_empty() {
            self.fail(word.span, "WORKDIR is empty after expansion");
            return None;
        }
        if !self.scope.has_workdir && !path.starts_with('/') {
            let message = format!("where {path:?} is depends on the base image");
            let help = "let the first WORKDIR begin with a '/'";
            self.warn(Rule::WorkdirRelativePath, word.span, message, help);
        }
        self.scope.has_workdir = true;
        let path = resolve(&self.scope.workdir(), &path);
        self.scope.runtime.working_dir.clone_from(&path);
        let created_by = format!("WORKDIR {path}");
        let kind = if path == "/" { StepKind::Config } else { StepKind::Workdir { path } };
        Some((created_by, kind))
    }
}

fn joined(keyword: &str, pairs: &[(String, String)]) -> String {
    let words = pairs.iter().map(|(key, value)| format!(" {key}={value}"));
    std::iter::once(keyword.to_owned()).chain(words).collect()
}

fn empty() -> Value {
    Value::Object(Map::new())
}
