//! Whether a commit contains another, asked of the repository itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::step::Step;
use crate::git::{Git, GitOptions, GitUrl, ObjectId};
use crate::gitops::argocd::{Ancestry, Contains, Source, same};
use crate::report::{self, Event, Sink};

/// Asks repositories for as much of their history as it takes.
pub(super) struct History {
    git: Git,
    sink: Arc<dyn Sink>,
    said: AtomicBool,
}

impl History {
    pub(super) fn new(step: &Step) -> Self {
        let git = Git::new(step.http(), GitOptions::default(), Arc::clone(&step.sink));
        Self { git, sink: Arc::clone(&step.sink), said: AtomicBool::new(false) }
    }

    async fn ask(&self, source: &Source, head: &str, ours: &str) -> Result<bool, String> {
        let id = |text: &str| {
            ObjectId::parse(text).ok_or_else(|| format!("{text} is not the whole id of a commit"))
        };
        let (head, ours) = (id(head)?, id(ours)?);
        let url = GitUrl::parse(&source.repo_url).map_err(|e| e.to_string())?;
        let url = url.ok_or_else(|| format!("{} is no repository", source.repo_url))?;
        let answer = self.git.is_ancestor(&url.remote, &ours, &head).await;
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
