//! Whether a commit contains another, asked of the repository itself.

use std::sync::Arc;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::exit::CliError;
use super::super::step::{GitFlags, Step};
use crate::git::{Git, ObjectId, Remote};
use crate::gitops::argocd::{Ancestry, Contains, Source, same};
use crate::report::{self, Event, Sink};

/// Where these flags stand in `--help`.
const HEADING: &str = "The repository, which tells whether a newer commit contains ours";

/// The flags of git servers, with `git-` in front: the server of Argo CD has flags of these names.
#[derive(Clone, Debug)]
pub(super) struct RepositoryFlags(GitFlags);

impl RepositoryFlags {
    /// The client of the repositories that applications are made from.
    pub(super) fn client(&self, step: &Step) -> Result<Git, CliError> {
        let mut options = self.0.options(step)?;
        // What the environment holds was meant for another step's repository; Argo CD names this.
        if !self.0.says_who() {
            options.authorization = None;
        }
        Ok(Git::new(self.0.http(step)?, options, step.sink.clone()))
    }
}

impl FromArgMatches for RepositoryFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        GitFlags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for RepositoryFlags {
    fn augment_args(command: Command) -> Command {
        let flags = GitFlags::augment_args(Command::new("git"));
        flags.get_arguments().fold(command, |command, flag| {
            let name = format!("git-{}", flag.get_long().unwrap_or_default());
            command.arg(flag.clone().long(name).help_heading(HEADING))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Asks repositories for as much of their history as it takes.
pub(super) struct History {
    git: Git,
    sink: Arc<dyn Sink>,
    said: AtomicBool,
}

impl History {
    pub(super) fn new(git: Git, step: &Step) -> Self {
        Self { git, sink: Arc::clone(&step.sink), said: AtomicBool::new(false) }
    }

    async fn ask(&self, source: &Source, head: &str, ours: &str) -> Result<bool, String> {
        let id = |text: &str| {
            ObjectId::parse(text).ok_or_else(|| format!("{text} is not the whole id of a commit"))
        };
        let (head, ours) = (id(head)?, id(ours)?);
        let remote = Remote::parse(&source.repo_url).map_err(|e| e.to_string())?;
        let remote = remote.ok_or_else(|| format!("{} is no repository", source.repo_url))?;
        let answer = self.git.is_ancestor(&remote, &ours, &head).await;
        answer.map_err(|error| report::chain(&error))
    }
}

impl Ancestry for History {
    async fn contains(&self, source: &Source, head: &str, ours: &str) -> Contains {
        if same(head, ours) {
            return Contains::Yes;
        }
        if !source.chart.is_empty() {
            return Contains::No;
        }
        match self.ask(source, head, ours).await {
            Ok(true) => Contains::Yes,
            Ok(false) => Contains::No,
            Err(problem) => {
                if !self.said.swap(true, Ordering::Relaxed) {
                    let message = format!(
                        "whether {head} contains {ours} is not known, so it does not count: {problem}"
                    );
                    self.sink.event(Event::Note { message });
                }
                Contains::Unknown
            }
        }
    }
}
