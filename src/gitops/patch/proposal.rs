//! The commit on a branch of its own, and a pull request for it.

use super::attempt::Ready;
use super::images::{images, short_name};
use super::message::{Facts, lines};
use super::upstream::{self, Upstream};
use super::{Opener, PatchError, PatchRequest, Patched, When};
use crate::git::{GitError, ObjectId, PushOutcome, Pushed};
use crate::gitops::forge::{Opened, Proposal, merge_request_url, push_options};
use crate::gitops::tag::slug;
use crate::report::{Event, Sink};

/// The longest name of a branch: services keep 255 bytes, with `refs/heads/`.
const LONGEST: usize = 200;

pub(super) async fn propose<U: Upstream>(
    upstream: &U,
    request: &PatchRequest,
    opener: Option<Opener<'_>>,
    branch: &str,
    ready: Ready<U>,
    sink: &dyn Sink,
) -> Result<Patched, PatchError> {
    let Ready { head, made, computed, attempts, refusal } = ready;
    if let Some(refusal) = refusal {
        let alone = request.pull.when == When::Never;
        let error = refused(branch, refusal, alone);
        if alone {
            return Err(error);
        }
        sink.event(Event::Note { message: format!("{error}; opening a pull request") });
    }
    let images = images(&request.edits, &request.options);
    let hash = request.hash(branch);
    let facts = Facts { images: &images, changes: &computed.changes, branch, hash: &hash };
    let texts = &request.texts;
    let own = if let Some(template) = &request.pull.branch {
        texts.fill(template, facts)?
    } else {
        let name = images.first().map(|image| slug(short_name(image))).unwrap_or_default();
        let name = if name.is_empty() { "change".to_owned() } else { name };
        format!("yado/{name}-{hash}")
    };
    let own: String = own.trim().chars().take(LONGEST).collect();
    if upstream::short_name(&own) == upstream::short_name(branch) {
        return Err(PatchError::SameBranch(own));
    }
    let message = texts.message(facts)?;
    let title = match &request.pull.title {
        Some(template) => texts.fill(template, facts)?,
        None => message.lines().next().unwrap_or_default().to_owned(),
    };
    let body = match &request.pull.body {
        Some(template) => texts.fill(template, facts)?,
        None => format!("```\n{}\n```", lines(&computed.changes)),
    };
    let proposal = Proposal {
        head: own.clone(),
        base: branch.to_owned(),
        title: title.lines().next().unwrap_or_default().trim().to_owned(),
        body,
        labels: request.pull.labels.clone(),
        reviewers: request.pull.reviewers.clone(),
        assignees: request.pull.assignees.clone(),
        draft: request.pull.draft,
        auto_merge: request.pull.auto_merge,
    };
    let mut options = request.push_options.clone();
    if let Some(Opener::PushOptions) = opener {
        options.extend(push_options(&proposal)?);
    }
    let mut patched = Patched {
        commit: Some(upstream.id(&made)),
        previous: Some(head),
        changed: true,
        attempts,
        files: computed.files,
        ..Patched::default()
    };
    if request.dry_run {
        return Ok(patched);
    }
    let pushed = push(upstream, request, (branch, &own), &made, &options).await?;
    if let Err(there) = pushed {
        patched.commit = Some(there);
        patched.changed = false;
    }
    patched.pull_url = if let Some(Opener::Forge(forge)) = opener {
        let Opened { url, created } = forge.open(&proposal).await?;
        let what = if created { "opened" } else { "updated" };
        sink.event(Event::Note { message: format!("{what} {url}") });
        patched.changed |= created;
        Some(url)
    } else {
        let said = pushed.map(|pushed| pushed.messages).unwrap_or_default();
        said.iter().find_map(|line| merge_request_url(line))
    };
    Ok(patched)
}

/// Sets the branch of the pull request; `Err` is its commit, if that has all of it already. What
/// others have put there is not replaced.
async fn push<U: Upstream>(
    upstream: &U,
    request: &PatchRequest,
    (branch, own): (&str, &str),
    made: &U::Made,
    options: &[String],
) -> Result<Result<Pushed, ObjectId>, PatchError> {
    /// How far the branch may have moved since the pull request was made.
    const FAR: u32 = 1000;
    let old = match upstream.reference(own).await? {
        None => None,
        Some(old) => {
            let tip = upstream.open(own).await?;
            let there = upstream.commit(&tip);
            if there.tree == upstream.tree(made) {
                return Ok(Err(there.id));
            }
            let base = upstream.open(branch).await?;
            let base = upstream.log(&base, FAR).await?;
            // One commit of ours on the branch that it is for; more than that is somebody's work.
            let alone = there.parents.iter().all(|parent| base.iter().any(|c| c.id == *parent));
            if !alone || there.committer.email != request.committer.email {
                let author = there.committer.name.clone();
                return Err(PatchError::Foreign { branch: own.to_owned(), author });
            }
            Some(old)
        }
    };
    let pushed = match upstream.push(own, old, made, options).await {
        Err(error @ GitError::Unknown { .. }) => {
            if upstream.reference(own).await? != Some(upstream.id(made)) {
                return Err(error.into());
            }
            Pushed { outcome: PushOutcome::Done, messages: Vec::new() }
        }
        pushed => pushed?,
    };
    match pushed.outcome {
        PushOutcome::Done => Ok(Ok(pushed)),
        PushOutcome::Refused { .. } => Err(refused(own, pushed, false)),
    }
}

fn refused(branch: &str, pushed: Pushed, alone: bool) -> PatchError {
    let reason = match pushed.outcome {
        PushOutcome::Refused { reason, .. } => reason,
        PushOutcome::Done => String::new(),
    };
    PatchError::Refused { branch: branch.to_owned(), reason, messages: pushed.messages, alone }
}
