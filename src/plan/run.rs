//! RUN: its arguments, scripts and mounts.

use crate::dockerfile::{CommandLine, Heredoc, Span};

use super::stage::Context;
use super::variables::proxies;
use super::{Run, StepKind};

/// Where a RUN script that has an interpreter line of its own stands.
const SCRIPTS: &str = "/dev/pipes";

impl Context<'_, '_> {
    pub(super) fn run(
        &mut self,
        run: &crate::dockerfile::Run,
        span: Span,
    ) -> Option<(String, StepKind)> {
        let mut scripts = Vec::new();
        let args = match &run.command {
            CommandLine::Exec(words) if words.is_empty() => {
                self.fail(span, "RUN [] has nothing to run");
                return None;
            }
            CommandLine::Shell(text) if !run.heredocs.is_empty() => {
                let text = script(&text.value, &run.heredocs, &mut scripts);
                self.scope.with_shell(text)
            }
            command => self.scope.command(command),
        };
        let mut words = vec!["RUN".to_owned()];
        let arguments = &self.scope.arguments;
        if !arguments.is_empty() {
            words.push(format!("|{}", arguments.len()));
        }
        for (name, value) in arguments {
            let value = self.scope.variables.get(name).or(value.as_deref()).unwrap_or_default();
            words.push(format!("{name}={value}"));
        }
        words.extend(args.iter().cloned());
        let mut proxies = proxies(self.planner.options);
        proxies.retain(|(name, _)| self.scope.variables.get(name).is_none());
        let network = run.network.as_ref().map(|network| network.value).unwrap_or_default();
        let security = run.security.as_ref().map(|security| security.value).unwrap_or_default();
        let mounts = self.mounts(&run.mounts)?;
        let run = Run { args, scripts, proxies, network, security, mounts };
        Some((format!("{} # buildkit", words.join(" ")), StepKind::Run(run)))
    }
}

/// The shell text of a RUN with heredocs. A lone heredoc is itself the text,
/// or a file to execute when it begins with `#!`; otherwise the shell gets the
/// line and all bodies and does the rest.
fn script(line: &str, heredocs: &[Heredoc], scripts: &mut Vec<(String, String)>) -> String {
    if let [heredoc] = heredocs
        && heredoc.is_all_of(line)
    {
        let content = heredoc.content();
        if !content.starts_with("#!") {
            return content;
        }
        scripts.push((heredoc.name.clone(), content));
        return format!("{SCRIPTS}/{}", heredoc.name);
    }
    let mut text = line.to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&heredoc.body.value);
        text.push_str(&heredoc.name);
    }
    text
}
