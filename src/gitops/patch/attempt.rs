//! The loop: read, edit, commit, push; again when somebody else was faster.

use std::collections::BTreeMap;

use super::images::images;
use super::message::Facts;
use super::upstream::Upstream;
use super::{
    Change, ChangedFile, Computed, OnConflict, PatchError, PatchRequest, Patched, Superseded, When,
    history,
};
use crate::git::{GitError, NewCommit, ObjectId, PushOutcome, Pushed};
use crate::report::{Event, Sink};

/// Commits that are looked through for what others have done.
const LOG: u32 = 50;
/// How often a refusal is repeated before it is taken as final, if the branch has not moved: who
/// holds the branch's lock at the server may not have moved it yet.
const CONFIRMATIONS: u32 = 4;

/// How it ended.
pub(super) enum End<U: Upstream> {
    /// Nothing is left to do.
    Done(Patched),
    /// The commit is to be proposed.
    Propose(Ready<U>),
}

/// A commit that is not on the branch.
pub(super) struct Ready<U: Upstream> {
    pub(super) head: ObjectId,
    pub(super) made: U::Made,
    pub(super) computed: Computed,
    pub(super) attempts: u32,
    /// Why the branch was not changed.
    pub(super) refusal: Option<Pushed>,
}

pub(super) async fn run<U: Upstream>(
    upstream: &U,
    request: &PatchRequest,
    branch: &str,
    sink: &dyn Sink,
) -> Result<End<U>, PatchError> {
    let hash = request.hash(branch);
    let images = images(&request.edits, &request.options);
    let mut first: Option<Vec<Change>> = None;
    let mut sent: Vec<Sent> = Vec::new();
    let (mut unmoved, mut unknown) = (0, None);
    for attempt in 1..=request.max_attempts.max(1) {
        if attempt > 1 {
            tokio::time::sleep(request.pace.delay(attempt - 1, None)).await;
        }
        let (tip, old) = open(upstream, request, branch).await?;
        let head = upstream.commit(&tip).id;
        if let Some(landed) = landed(upstream, &tip, &sent).await? {
            return Ok(End::Done(Patched {
                commit: Some(landed.id),
                previous: Some(landed.previous),
                changed: true,
                attempts: attempt - 1,
                files: landed.files.clone(),
                ..Patched::default()
            }));
        }
        let files = read(upstream, &tip, request).await?;
        let computed = request.compute(&files)?;
        let as_wanted = |note: Option<String>| {
            let (commit, previous) = (Some(head), Some(head));
            let attempts = attempt;
            End::Done(Patched { commit, previous, attempts, note, ..Patched::default() })
        };
        if computed.files.is_empty() {
            return Ok(as_wanted(None));
        }
        if request.on_conflict == OnConflict::Fail
            && let Some(first) = &first
        {
            compare(first, &computed.changes)?;
        }
        if let Some(note) = before(upstream, request, &tip, &computed, &hash, sink).await? {
            return Ok(as_wanted(Some(note)));
        }
        let facts = Facts { images: &images, changes: &computed.changes, branch, hash: &hash };
        let new = NewCommit {
            author: request.author.clone(),
            committer: request.committer.clone(),
            message: request.texts.message(facts)?,
        };
        let contents: BTreeMap<String, Vec<u8>> =
            computed.files.iter().map(|file| (file.path.clone(), file.new.clone())).collect();
        let Some(made) = upstream.make(&tip, &contents, &new).await? else {
            return Ok(as_wanted(None));
        };
        let id = upstream.id(&made);
        let ready = |made, refusal| {
            let (computed, attempts) = (computed.clone(), attempt);
            End::Propose(Ready { head, made, computed, attempts, refusal })
        };
        if request.pull.when == When::Always {
            return Ok(ready(made, None));
        }
        let done = || {
            End::Done(Patched {
                commit: Some(id),
                previous: Some(head),
                changed: true,
                attempts: attempt,
                files: computed.files.clone(),
                ..Patched::default()
            })
        };
        if request.dry_run {
            return Ok(done());
        }
        match upstream.push(branch, old, &made, &request.push_options).await {
            Ok(Pushed { outcome: PushOutcome::Done, .. }) => return Ok(done()),
            Ok(pushed) => {
                let moved = upstream.reference(branch).await? != old;
                unmoved = if moved { 0 } else { unmoved + 1 };
                if !moved && (unmoved > CONFIRMATIONS || is_final(&pushed)) {
                    return Ok(ready(made, Some(pushed)));
                }
                if moved {
                    note(sink, format!("{branch} was changed by others; once more ({attempt})"));
                }
                unknown = None;
            }
            Err(error @ GitError::Unknown { .. }) => {
                note(sink, format!("{error}; looking whether it was taken"));
                sent.push(Sent { id, previous: head, files: computed.files.clone() });
                unknown = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
        first.get_or_insert(computed.changes);
    }
    if let Some(error) = unknown {
        return Err(error.into());
    }
    let (branch, attempts) = (branch.to_owned(), request.max_attempts);
    Err(PatchError::Attempts { branch, attempts })
}

fn note(sink: &dyn Sink, message: String) {
    sink.event(Event::Note { message });
}

/// Words by which a hook or a protection refuses: no other attempt is needed to believe them. Where
/// they are missing, it is tried again a few times, no more.
fn is_final(pushed: &Pushed) -> bool {
    let PushOutcome::Refused { reason, .. } = &pushed.outcome else { return false };
    ["hook declined", "protected", "denied", "not allowed", "permission"]
        .iter()
        .any(|words| reason.contains(words))
}

/// The branch, and what it must be for the push; where it is not there, what it is made of.
async fn open<U: Upstream>(
    upstream: &U,
    request: &PatchRequest,
    branch: &str,
) -> Result<(U::Tip, Option<ObjectId>), PatchError> {
    match (upstream.open(branch).await, &request.base) {
        (Err(GitError::NoReference { .. }), Some(base)) => Ok((upstream.open(base).await?, None)),
        (tip, _) => {
            let tip = tip?;
            let id = upstream.commit(&tip).id;
            Ok((tip, Some(id)))
        }
    }
}

/// A commit that was sent, of which nobody knows whether it was taken.
struct Sent {
    id: ObjectId,
    previous: ObjectId,
    files: Vec<ChangedFile>,
}

/// The commit of `sent` that the branch has.
async fn landed<'s, U: Upstream>(
    upstream: &U,
    tip: &U::Tip,
    sent: &'s [Sent],
) -> Result<Option<&'s Sent>, PatchError> {
    if sent.is_empty() {
        return Ok(None);
    }
    let log = upstream.log(tip, LOG).await?;
    Ok(sent.iter().find(|sent| log.iter().any(|commit| commit.id == sent.id)))
}

/// The files that edits are about.
async fn read<U: Upstream>(
    upstream: &U,
    tip: &U::Tip,
    request: &PatchRequest,
) -> Result<Vec<(String, Vec<u8>)>, PatchError> {
    let mut paths: Vec<String> = Vec::new();
    for glob in request.patterns() {
        let pattern = glob.as_str();
        let found = if glob.has_wildcard() {
            upstream.glob(tip, pattern).await?
        } else {
            vec![pattern.to_owned()]
        };
        if found.is_empty() {
            return Err(missing(upstream, tip, pattern).await);
        }
        paths.extend(found);
    }
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    let contents = upstream.read(tip, &paths).await?;
    let mut files = Vec::new();
    for (path, content) in paths.into_iter().zip(contents) {
        let Some(content) = content else {
            return Err(missing(upstream, tip, &path).await);
        };
        files.push((path, content.to_vec()));
    }
    Ok(files)
}

/// A path that is not there, with what is in the last directory on the way to it that is.
async fn missing<U: Upstream>(upstream: &U, tip: &U::Tip, path: &str) -> PatchError {
    let mut dir = path;
    loop {
        dir = dir.rsplit_once('/').map_or("", |(dir, _)| dir);
        let names = if dir.contains(['*', '?']) {
            Vec::new()
        } else {
            upstream.list(tip, dir).await.unwrap_or_default()
        };
        if !names.is_empty() || dir.is_empty() {
            let full = |name| if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let there = names.into_iter().map(full).collect();
            return PatchError::NoFile { path: path.to_owned(), there };
        }
    }
}

/// Whether a value is another one than at the first attempt.
fn compare(first: &[Change], now: &[Change]) -> Result<(), PatchError> {
    for change in now {
        let before = first.iter().find(|b| b.path == change.path && b.place == change.place);
        if let Some(before) = before.filter(|before| before.old != change.old) {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
            return Err(PatchError::Conflict {
                path: change.path.clone(),
                place: change.place.clone(),
                old: text(&before.old),
                now: text(&change.old),
            });
        }
    }
    Ok(())
}

/// Looks at what was done before: a note if our change was made already and was changed since; an
/// error if what is there is of a newer source.
async fn before<U: Upstream>(
    upstream: &U,
    request: &PatchRequest,
    tip: &U::Tip,
    computed: &Computed,
    hash: &str,
    sink: &dyn Sink,
) -> Result<Option<String>, PatchError> {
    let texts = &request.texts;
    if request.on_conflict == OnConflict::Overwrite {
        return Ok(None);
    }
    let ours = texts.source_commit.as_deref().and_then(ObjectId::parse);
    if ours.is_none() && texts.run.is_none() {
        return Ok(None);
    }
    let images = images(&request.edits, &request.options);
    let log = upstream.log(tip, LOG).await?;
    if let Some(own) = history::own(&log, texts, &images, hash) {
        let id = own.id;
        return Ok(Some(format!(
            "commit {id} of this run has changed it already; it was changed since"
        )));
    }
    let Some(ours) = ours else { return Ok(None) };
    let mut known: BTreeMap<ObjectId, Option<bool>> = BTreeMap::new();
    for change in &computed.changes {
        let Some(now) = &change.old else { continue };
        let Some(theirs) = history::source_of(&log, now, texts, &images) else { continue };
        if theirs == ours {
            continue;
        }
        let answer = match known.get(&theirs) {
            Some(answer) => *answer,
            None => upstream.leads_to(&ours, &theirs).await?,
        };
        if known.insert(theirs, answer).is_none() && answer.is_none() {
            note(
                sink,
                format!(
                    "{now} was built of {theirs}; whether that comes after {ours} is not known; --source-repo tells"
                ),
            );
        }
        if answer == Some(true) {
            let (path, place, now) = (change.path.clone(), change.place.clone(), now.clone());
            let newer = Superseded { path, place, now, theirs, ours };
            return Err(PatchError::Superseded(newer.into()));
        }
    }
    Ok(None)
}
