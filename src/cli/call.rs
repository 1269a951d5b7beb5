//! `yado build --check` and `--call`: what is said of a Dockerfile without building it.
//!
//! The methods, their tables and the keys of their JSON are those of
//! `docker buildx build --call`. All of it goes to standard output: it is what was
//! asked for.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Global;
use super::exit::{self, CliError};
use super::session::{Progress, RegistryFlags, Session};
use crate::build::{self, BuildError, BuildRequest};
use crate::context::Context;
use crate::dockerfile::{Diagnostic, Dockerfile, Rule, Severity, Span, parse, render};
use crate::image::ImageConfig;
use crate::plan::{self, Asked, Examined, ImageRequest, OutlineMount, Stages};
use crate::report::{message_line, width};

/// `--call`: what is asked, and how the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) json: bool,
    /// Warnings do not show in the exit code.
    ignore_status: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Build,
    Check,
    Outline,
    Targets,
}

impl Call {
    pub(super) const CHECK: Self =
        Self { method: Method::Check, json: false, ignore_status: false };
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut method, mut json, mut ignore_status) = (None, false, false);
        for (index, field) in text.split(',').enumerate() {
            let (key, value) = match field.split_once('=') {
                Some(pair) => pair,
                None if index == 0 => ("method", field),
                None => return Err(format!("expected NAME=VALUE, not {field:?}")),
            };
            match (key, value) {
                ("method", "build") => method = Some(Method::Build),
                ("method", "check" | "lint") => method = Some(Method::Check),
                ("method", "outline") => method = Some(Method::Outline),
                ("method", "targets") => method = Some(Method::Targets),
                ("method", _) => {
                    return Err(format!(
                        "expected build, check, outline or targets, not {value:?}"
                    ));
                }
                ("format", "json" | "text") => json = value == "json",
                ("ignorestatus", "true" | "false") => ignore_status = value == "true",
                _ => {
                    return Err(format!(
                        "expected format=json or ignorestatus=true behind the method, not {field:?}"
                    ));
                }
            }
        }
        let method = method.ok_or("expected build, check, outline or targets")?;
        Ok(Self { method, json, ignore_status })
    }
}

/// Answers a call that is not a build; `session` is there if it was needed already.
pub(super) fn run(
    global: &Global,
    call: Call,
    request: &BuildRequest,
    registry: &RegistryFlags,
    session: Option<Session>,
) -> Result<ExitCode, CliError> {
    let source = &request.dockerfile;
    let wrong =
        |remarks: &[Diagnostic]| CliError::from(BuildError::Dockerfile(render(remarks, source)));
    if call.method == Method::Check {
        return check(global, call, request, registry, session);
    }
    let (file, remarks) = parse(source);
    if remarks.iter().any(|remark| remark.severity == Severity::Error) {
        return Err(wrong(&remarks));
    }
    let text = if call.method == Method::Targets {
        let targets = plan::targets(&file);
        if call.json { json_text(&targets_json(&file, &targets)) } else { targets_text(&targets) }
    } else {
        let outline = plan::outline(&file, &request.options).map_err(|remarks| wrong(&remarks))?;
        if call.json { json_text(&outline_json(&file, &outline)) } else { outline_text(&outline) }
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}

fn check(
    global: &Global,
    call: Call,
    request: &BuildRequest,
    registry: &RegistryFlags,
    session: Option<Session>,
) -> Result<ExitCode, CliError> {
    let source = &request.dockerfile;
    let target = request.options.target.as_ref().filter(|target| !target.is_empty());
    let stages = if target.is_some() { Stages::Needed } else { Stages::All };
    let ignore = request.context.as_ref().map(Context::ignore);
    let session = session.map(Ok);
    let mut bases = Bases { global, registry, session, notes: Vec::new() };
    let examined =
        plan::examine(source, &request.options, ignore, stages, &mut |wanted, asked| {
            let find = |wanted: &ImageRequest| Ok((wanted.clone(), bases.find(wanted, asked)?));
            wanted.keys().map(find).collect::<Result<_, CliError>>()
        })?;
    for note in &bases.notes {
        note_on_stderr(note);
    }
    let remarks = &examined.diagnostics;
    if call.json {
        // The format has no place for what is of no check.
        let others: Vec<Diagnostic> = remarks
            .iter()
            .filter(|remark| remark.rule.is_none() && remark.severity == Severity::Warning)
            .cloned()
            .collect();
        note_on_stderr(&render(&others, source));
        print(&json_text(&check_json(&examined)));
    } else {
        print(&check_text(&examined));
    }
    let fails = remarks.iter().any(|remark| remark.rule.is_some()) && !call.ignore_status;
    Ok(if examined.is_wrong() {
        ExitCode::from(exit::DATA)
    } else if fails {
        ExitCode::from(exit::CHECKS)
    } else {
        ExitCode::SUCCESS
    })
}

/// Finds base images for the checks. The store is opened when one is asked for, and
/// whatever fails is no reason not to check the rest.
struct Bases<'a> {
    global: &'a Global,
    registry: &'a RegistryFlags,
    session: Option<Result<Session, String>>,
    notes: Vec<String>,
}

impl Bases<'_> {
    fn find(
        &mut self,
        wanted: &ImageRequest,
        asked: Asked,
    ) -> Result<Option<ImageConfig>, CliError> {
        let session = self.session.get_or_insert_with(|| {
            Session::open(self.global, Progress::Quiet, self.registry)
                .map_err(|error| exit::text(&error).trim_end().to_owned())
        });
        let found = match session {
            Ok(session) => build::find_base(wanted, asked, &session.env),
            Err(problem) if asked == Asked::Again => {
                self.notes.push(unknown(wanted, problem));
                return Ok(None);
            }
            Err(_) => return Ok(None),
        };
        match found {
            Ok(config) => Ok(config),
            Err(error @ BuildError::Interrupted) => Err(error.into()),
            Err(error) => {
                self.notes.push(unknown(wanted, exit::text(&error.into()).trim_end()));
                Ok(None)
            }
        }
    }
}

fn unknown(wanted: &ImageRequest, problem: &str) -> String {
    let image = wanted.source.to_string();
    let image = message_line(&image);
    let problem = problem.trim_start_matches("error: ");
    let rule = Rule::UndefinedVar.name();
    format!("note: {rule} is not checked in stages on {image}, which is not to be had: {problem}\n")
}

/// A reader that has gone away wants no more.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn note_on_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The remarks, and how many there are.
fn check_text(examined: &Examined) -> String {
    let remarks = &examined.diagnostics;
    let mut text = render(remarks, &examined.dockerfile.source);
    if !text.is_empty() {
        text.push('\n');
    }
    let count = |severity| remarks.iter().filter(|remark| remark.severity == severity).count();
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let counts =
        [counted(count(Severity::Error), "error"), counted(count(Severity::Warning), "warning")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let counts = if counts.is_empty() { "no warnings".to_owned() } else { counts.join(", ") };
    let _ = writeln!(text, "Check complete: {counts}");
    text
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// `{"ranges": [{"start": {"line": …}, "end": {"line": …}}]}` of whole instructions.
fn location(file: &Dockerfile, span: Span) -> Value {
    let instruction = file
        .instructions
        .iter()
        .find(|instruction| (instruction.span.start..instruction.span.end).contains(&span.start));
    let span = instruction.map_or(span, |instruction| instruction.span);
    let line = |offset| json!({"line": file.source.position(offset).0});
    json!({"ranges": [{"start": line(span.start), "end": line(span.end.max(span.start))}]})
}

fn check_json(examined: &Examined) -> Value {
    let file = &examined.dockerfile;
    let place = |remark: &Diagnostic| {
        // The empty line itself is to blame, not its instruction.
        let own_line = remark.rule == Some(Rule::NoEmptyContinuation);
        let line = |span: Span| json!({"line": file.source.position(span.start).0});
        match remark.span {
            None => json!({}),
            Some(span) if own_line => json!({"ranges": [{"start": line(span), "end": line(span)}]}),
            Some(span) => location(file, span),
        }
    };
    let warnings: Vec<Value> = examined
        .diagnostics
        .iter()
        .filter_map(|remark| {
            let rule = remark.rule?;
            let mut warning = Map::new();
            warning.insert("ruleName".into(), rule.name().into());
            warning.insert("description".into(), rule.description().into());
            if let Some(url) = rule.url() {
                warning.insert("url".into(), url.into());
            }
            let help = remark.help.as_ref().map(|help| format!("; {help}"));
            let detail = format!("{}{}", remark.message, help.unwrap_or_default());
            warning.insert("detail".into(), detail.into());
            warning.insert("location".into(), place(remark));
            Some(warning.into())
        })
        .collect();
    let mut result = json!({
        "warnings": warnings,
        "sources": [{
            "filename": file.source.name,
            "language": "Dockerfile",
            "data": STANDARD.encode(&file.source.text),
        }],
    });
    let errors: Vec<&Diagnostic> =
        examined.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    if let (Some(first), Some(result)) = (errors.first(), result.as_object_mut()) {
        let messages: Vec<String> = errors.iter().map(|error| error_line(file, error)).collect();
        let error = json!({"message": messages.join("\n"), "location": place(first)});
        result.insert("buildError".into(), error);
    }
    result
}

fn error_line(file: &Dockerfile, error: &Diagnostic) -> String {
    let place = error.span.map(|span| {
        let (line, column) = file.source.position(span.start);
        format!("{}:{line}:{column}: ", file.source.name)
    });
    format!("{}{}", place.unwrap_or_default(), error.message)
}

fn targets_json(file: &Dockerfile, targets: &[plan::Target]) -> Value {
    let targets: Vec<Value> = targets
        .iter()
        .map(|target| {
            object([
                ("name", target.name.clone().map(Value::from)),
                ("default", target.is_default.then_some(Value::Bool(true))),
                ("description", target.description.clone().map(Value::from)),
                ("base", Some(target.base.clone().into())),
                ("platform", target.platform.clone().map(Value::from)),
                ("location", Some(location(file, target.span))),
            ])
        })
        .collect();
    json!({"targets": targets, "sources": [STANDARD.encode(&file.source.text)]})
}

fn outline_json(file: &Dockerfile, outline: &plan::Outline) -> Value {
    let list = |values: Vec<Value>| (!values.is_empty()).then_some(Value::Array(values));
    let arguments = outline.arguments.iter().map(|argument| {
        object([
            ("name", Some(argument.name.clone().into())),
            ("description", argument.description.clone().map(Value::from)),
            ("value", argument.value.clone().filter(|value| !value.is_empty()).map(Value::from)),
            ("location", Some(location(file, argument.span))),
        ])
    });
    let mounts = |key: &'static str, mounts: &[OutlineMount]| {
        let values = mounts.iter().map(|mount| {
            object([
                (key, Some(mount.id.clone().into())),
                ("required", mount.required.then_some(Value::Bool(true))),
                ("location", Some(location(file, mount.span))),
            ])
        });
        list(values.collect())
    };
    object([
        ("name", outline.name.clone().map(Value::from)),
        ("description", outline.description.clone().map(Value::from)),
        ("args", list(arguments.collect())),
        ("secrets", mounts("name", &outline.secrets)),
        ("ssh", mounts("name", &outline.ssh)),
        ("cache", mounts("ID", &outline.caches)),
        ("sources", Some(json!([STANDARD.encode(&file.source.text)]))),
    ])
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(fields.collect())
}

fn targets_text(targets: &[plan::Target]) -> String {
    let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    for target in targets {
        let name = match (&target.name, target.is_default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
        };
        rows.push(vec![name, target.description.clone().unwrap_or_default()]);
    }
    table(&rows)
}

fn outline_text(outline: &plan::Outline) -> String {
    let mut parts = Vec::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.clone().unwrap_or_else(|| "(default)".to_owned());
        let mut rows = vec![vec!["TARGET:".to_owned(), name]];
        if let Some(description) = &outline.description {
            rows.push(vec!["DESCRIPTION:".to_owned(), description.clone()]);
        }
        parts.push(table(&rows));
    }
    let head = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    if !outline.arguments.is_empty() {
        let mut rows = vec![head(&["BUILD ARG", "VALUE", "DESCRIPTION"])];
        rows.extend(outline.arguments.iter().map(|argument| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            vec![argument.name.clone(), text(&argument.value), text(&argument.description)]
        }));
        parts.push(table(&rows));
    }
    for (name, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !mounts.is_empty() {
            let mut rows = vec![head(&[name, "REQUIRED"])];
            rows.extend(mounts.iter().map(|mount| {
                vec![mount.id.clone(), if mount.required { "true" } else { "" }.to_owned()]
            }));
            parts.push(table(&rows));
        }
    }
    if !outline.caches.is_empty() {
        let mut rows = vec![head(&["CACHE MOUNT"])];
        rows.extend(outline.caches.iter().map(|mount| vec![mount.id.clone()]));
        parts.push(table(&rows));
    }
    parts.join("\n")
}

/// Columns, three blanks apart.
fn table(rows: &[Vec<String>]) -> String {
    let shown =
        |row: &Vec<String>| row.iter().map(|cell| message_line(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| width(cell)).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, widest)| {
            let blanks = " ".repeat(widest - width(cell));
            format!("{cell}{blanks}")
        });
        let line = cells.collect::<Vec<_>>().join("   ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
