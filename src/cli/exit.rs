//! Errors to text and exit codes: decided here and nowhere else.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::build::{BuildError, ErrorKind};
use crate::context::ContextError;
use crate::gitops::{Classified, Kind};
use crate::registry::CredentialsError;
use crate::report::{self, message_line};
use crate::sandbox::SandboxError;
use crate::store::StoreError;

/// A wrong flag, argument or value (`EX_USAGE` of sysexits.h, like those below).
pub(super) const USAGE: u8 = 64;

/// A check has something to say (`docker build --check` exits so).
pub(super) const CHECKS: u8 = 1;
/// What was given is wrong.
pub(super) const DATA: u8 = 65;

/// The table of codes, shown by `--help`.
pub(super) const HELP: &str = "\
Exit codes:
    0  done
    1  `build --check` has found something
    3  nothing matches what is to be changed or watched
    4  more matches than one
    6  refused: a protected branch, a hook, a sync window, a policy
    7  another change cannot be reconciled with this one
    8  failed at the other side, or not healthy
    9  the time is over
   10  a newer change is there already
   11  synced, but resources are left that should be removed
    N  the exit code of the RUN step (or of the command of `exec`) that failed,
       127 if its program is not there, 128 + the signal that killed it
   64  wrong flag, argument or value
   65  a file says something wrong: the Dockerfile, a manifest, a configuration, a base image
   66  a file or image is not there
   69  a registry or another server cannot be reached, or misbehaves
   70  a fault of yado's own
   71  the isolation is not possible here
   73  the output cannot be written
   74  the store or the disk
   77  a registry or another server wants other credentials
  130  interrupted";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// A flag's value.
    #[error("{0}")]
    Usage(String),
    /// Something that is not there.
    #[error("{0}")]
    Missing(String),
    /// A file that the user asked for.
    #[error("{0}")]
    Output(String),
    /// The build, with what a step wrote last and what may help.
    #[error("{source}")]
    Build {
        source: Box<BuildError>,
        /// Lines of output, when the progress did not show them.
        output: Vec<String>,
        /// Lines to try next.
        hints: Vec<String>,
    },
    /// A step around a build.
    #[error("{source}")]
    Step {
        source: Box<dyn std::error::Error + Send + Sync>,
        kind: Kind,
        /// Lines to try next.
        hints: Vec<String>,
    },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl From<BuildError> for CliError {
    fn from(source: BuildError) -> Self {
        Self::Build { source: Box::new(source), output: Vec::new(), hints: Vec::new() }
    }
}

impl<E: Classified> From<E> for CliError {
    fn from(source: E) -> Self {
        let (kind, hints) = (source.kind(), source.hints());
        Self::Step { source: Box::new(source), kind, hints }
    }
}

/// Prints an error with its causes; gives the exit code of its kind.
pub(super) fn report(error: &CliError) -> ExitCode {
    let _ = std::io::stderr().lock().write_all(text(error).as_bytes());
    code(error).into()
}

/// The error as JSON events and the terminal show it. Servers, images and files have a
/// part in what it says: nothing of it moves the cursor or makes a line of its own.
pub(super) fn text(error: &CliError) -> String {
    let mut text = String::new();
    if let CliError::Build { output, .. } = error {
        for line in output {
            let _ = writeln!(text, "  | {}", message_line(line));
        }
    }
    match error {
        CliError::Build { source, .. } => text += &build_text(source),
        // Lists of what there is stand on lines of their own.
        CliError::Step { source, .. } => {
            let chain = report::chain(source.as_ref());
            let lines: Vec<_> = chain.lines().map(message_line).collect();
            let _ = write!(text, "error: {}", lines.join("\n"));
        }
        other => {
            let _ = write!(text, "error: {}", chain(other));
        }
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if let CliError::Build { hints, .. } | CliError::Step { hints, .. } = error {
        for hint in hints {
            let _ = writeln!(text, "hint: {}", message_line(hint));
        }
    }
    text
}

fn build_text(error: &BuildError) -> String {
    match error {
        // The places are rendered already, on lines of their own.
        BuildError::Dockerfile(rendered) => {
            rendered.lines().flat_map(|line| [message_line(line), "\n".into()]).collect()
        }
        BuildError::Step { stage, instruction, place, source } => {
            let at = format!("{place}: {instruction}");
            format!(
                "error: {}\n  in [{}]: {}",
                message_line(&at),
                message_line(stage),
                chain(source.as_ref())
            )
        }
        other => format!("error: {}", chain(other)),
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    message_line(&report::chain(error)).into_owned()
}

/// The exit code of an error's kind.
pub(super) fn code(error: &CliError) -> u8 {
    match error {
        CliError::Usage(_) => USAGE,
        CliError::Output(_) => 73,
        CliError::Build { source, .. } => of_kind(source.kind()),
        CliError::Step { kind, .. } => of_step(*kind),
        CliError::Sandbox(_) => 71,
        CliError::Store(_) => 74,
        CliError::Credentials(CredentialsError::Malformed { .. }) => DATA,
        CliError::Missing(_) | CliError::Credentials(CredentialsError::Read { .. }) => 66,
        CliError::Context(error) if error.is_missing() => 66,
        CliError::Credentials(_) => 77,
        CliError::Context(_) => DATA,
    }
}

fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        // A status that does not fit says no more than "failed".
        ErrorKind::Step(code) => u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1),
        ErrorKind::Input => DATA,
        ErrorKind::Missing => 66,
        ErrorKind::Registry => 69,
        ErrorKind::Internal => 70,
        ErrorKind::Sandbox => 71,
        ErrorKind::Output => 73,
        ErrorKind::Storage => 74,
        ErrorKind::Auth => 77,
        ErrorKind::Interrupted => 130,
    }
}

/// The codes from 3 to 11 are for pipelines to act on; what other commands fail with too has the
/// code that it has there.
fn of_step(kind: Kind) -> u8 {
    match kind {
        Kind::NothingMatched => 3,
        Kind::Ambiguous => 4,
        Kind::Refused => 6,
        Kind::Conflict => 7,
        Kind::Failed => 8,
        Kind::Timeout => 9,
        Kind::Superseded => 10,
        Kind::Unpruned => 11,
        Kind::Usage => USAGE,
        Kind::Input => DATA,
        Kind::Missing => 66,
        Kind::Unreachable => 69,
        Kind::Internal => 70,
        Kind::Output => 73,
        Kind::Auth => 77,
        Kind::Interrupted => 130,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_error_moves_the_cursor_or_makes_a_line() {
        let bad = |text: &str| format!("{text}\u{1b}[31m\u{202e}\u{7}\rx\nhint: y");
        let of = |source| CliError::Build {
            source: Box::new(source),
            output: vec![bad("out")],
            hints: vec![bad("try")],
        };
        let around = |middle: &str| format!("  | out x hint: y\n{middle}hint: try x hint: y\n");
        let internal = BuildError::Internal(bad("it"));
        let said = chain(&BuildError::Internal("it x hint: y".into()));
        assert_eq!(text(&of(internal)), around(&format!("error: {said}\n")));
        let rendered = BuildError::Dockerfile("D:1:1: error: x\u{1b}[2J\n 1 | X\n".into());
        assert_eq!(text(&of(rendered)), around("D:1:1: error: x\n 1 | X\n"));
        let step = BuildError::Step {
            stage: bad("one"),
            instruction: bad("RUN a"),
            place: bad("D:1"),
            source: Box::new(BuildError::Internal(bad("it"))),
        };
        let shown =
            format!("error: D:1 x hint: y: RUN a x hint: y\n  in [one x hint: y]: {said}\n");
        assert_eq!(text(&of(step)), around(&shown));
        assert_eq!(text(&CliError::Missing(bad("no"))), "error: no x hint: y\n");
    }
}
