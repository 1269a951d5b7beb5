//! `yado rollout`: kubectl's `set image` and `rollout`, with an early end for what has failed.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::cluster::ClusterFlags;
use super::exit::CliError;
use super::quantity;
use super::step::{Results, Step, StepFlags};
use crate::gitops::rollout::{
    self, Changed, Done, Expected, Names, Object, Options, Patience, Paused, RolloutError,
};
use crate::kubernetes::Client;
use crate::report::Event;

/// Flags of `yado rollout`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give containers another image, and wait until the new pods run
    SetImage(SetImage),
    /// Wait until a workload's pods are those of its template, and run
    Status(Status),
    /// Replace all pods by new ones of the same template
    Restart(Restart),
    /// Put a former template back
    Undo(Undo),
    /// List the revisions of a workload
    History(History),
}

/// Which workloads.
#[derive(Debug, Args)]
struct Which {
    /// Workloads: KIND/NAME..., or KIND NAME...
    #[arg(value_name = "KIND/NAME", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    labels: Labels,
}

#[derive(Debug, Args)]
struct Labels {
    /// All of the kind that have these labels: a=b,c!=d
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// All of the kind in the namespace
    #[arg(long, conflicts_with = "selector")]
    all: bool,
}

/// How a wait goes.
#[derive(Debug, Args)]
struct Waiting {
    /// How long pods may stay without a node, or be kept out by a quota: 30s, 5m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = quantity::duration)]
    grace: Duration,
    /// Wait until the cluster itself gives up, as kubectl does
    #[arg(long)]
    patient: bool,
    /// What a Rollout has come to that waits for somebody to promote it
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    paused: PausedFlag,
    /// How many of the last lines of a container that crashed are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    log_lines: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PausedFlag {
    /// It is done
    #[default]
    Done,
    /// It goes on
    Wait,
    /// It has failed
    Fail,
}

/// How a change is made.
#[derive(Debug, Args)]
struct Changing {
    /// Do not wait for the new pods
    #[arg(long)]
    no_wait: bool,
    /// Have the server check the change, and make none
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history of the workload (kubernetes.io/change-cause)
    #[arg(long, value_name = "TEXT")]
    change_cause: Option<String>,
}

/// What all have that change workloads.
#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    step: StepFlags,
}

#[derive(Debug, Args)]
struct SetImage {
    /// Workloads, then images: KIND/NAME... CONTAINER=IMAGE...; * is every container
    #[arg(value_name = "KIND/NAME CONTAINER=IMAGE", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    labels: Labels,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    which: Which,
    /// Wait for the end; --watch=false tells how far it is now
    #[arg(
        short,
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    watch: bool,
    /// The revision that has to be the current one; another is an error
    #[arg(long, value_name = "N")]
    revision: Option<i64>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    step: StepFlags,
}

#[derive(Debug, Args)]
struct Restart {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
struct Undo {
    #[command(flatten)]
    which: Which,
    /// The revision to go back to [default: the one before the current one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    to_revision: i64,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
struct History {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    step: StepFlags,
}

impl Waiting {
    fn patience(&self) -> Patience {
        Patience {
            grace: self.grace,
            patient: self.patient,
            paused: match self.paused {
                PausedFlag::Done => Paused::Done,
                PausedFlag::Wait => Paused::Wait,
                PausedFlag::Fail => Paused::Fail,
            },
            log_lines: self.log_lines,
        }
    }
}

impl Changing {
    fn options(&self) -> Options {
        Options { cause: self.change_cause.clone(), dry_run: self.dry_run }
    }
}

impl Which {
    fn names(&self) -> Result<Names, RolloutError> {
        Names::parse(&self.words, self.labels.selector.as_deref(), self.labels.all)
    }
}

/// What it tells at the end; of `history` it is the revisions.
const RESULTS: [&str; 4] = ["objects", "changed", "revision", "images"];

pub(super) fn run(flags: Flags) -> Result<ExitCode, CliError> {
    match flags.action {
        Action::SetImage(flags) => set_image(&flags)?,
        Action::Status(flags) => status(&flags)?,
        Action::Restart(flags) => restart(&flags)?,
        Action::Undo(flags) => undo(&flags)?,
        Action::History(flags) => history(&flags)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn set_image(flags: &SetImage) -> Result<(), CliError> {
    // Neither a kind nor a name holds a `=`.
    let (images, words): (Vec<_>, Vec<_>) =
        flags.words.iter().cloned().partition(|word| word.contains('='));
    let images = images.iter().map(|word| {
        let wrong = || CliError::Usage(format!("{word:?}: expected CONTAINER=IMAGE"));
        rollout::image(word).ok_or_else(wrong)
    });
    let images = images.collect::<Result<Vec<_>, _>>()?;
    if images.is_empty() {
        return Err(CliError::Usage("there is no CONTAINER=IMAGE to set".to_owned()));
    }
    for (_, image) in &images {
        if let Err(error) = image.parse::<crate::image::Reference>() {
            return Err(CliError::Usage(format!("{image}: {error}")));
        }
    }
    let labels = &flags.labels;
    let names = Names::parse(&words, labels.selector.as_deref(), labels.all)?;
    change(&flags.change, &names, &What::Images(&images))
}

fn restart(flags: &Restart) -> Result<(), CliError> {
    change(&flags.change, &flags.which.names()?, &What::Restart(&now()))
}

fn undo(flags: &Undo) -> Result<(), CliError> {
    if flags.to_revision < 0 {
        return Err(CliError::Usage("--to-revision: a revision is 1 or more".to_owned()));
    }
    // As for kubectl, 0 is the one before.
    let to = Some(flags.to_revision).filter(|to| *to > 0);
    change(&flags.change, &flags.which.names()?, &What::Undo(to))
}

/// A change of workloads.
enum What<'a> {
    /// Images by container.
    Images(&'a [(String, String)]),
    /// New pods, as of this time.
    Restart(&'a str),
    /// Back to a revision, or to the one before.
    Undo(Option<i64>),
}

/// Changes each workload, then waits for all of them.
fn change(flags: &Change, names: &Names, what: &What<'_>) -> Result<(), CliError> {
    let step = flags.step.begin(&RESULTS)?;
    let client = flags.cluster.client(&step.net)?;
    let options = flags.changing.options();
    let outcome = step.run(async {
        let mut changes = Vec::new();
        for object in rollout::find(&client, client.namespace(), names).await? {
            changes.push(match what {
                What::Images(images) => {
                    rollout::set_image(&client, &object, images, &options).await?
                }
                What::Restart(now) => rollout::restart(&client, &object, now, &options).await?,
                What::Undo(to) => rollout::undo(&client, &object, *to, &options).await?,
            });
        }
        follow(&step, &client, changes, &flags.changing, &flags.waiting).await
    })?;
    step.finish(&outcome)
}

fn status(flags: &Status) -> Result<(), CliError> {
    let names = flags.which.names()?;
    let step = flags.step.begin(&RESULTS)?;
    let client = flags.cluster.client(&step.net)?;
    let patience = flags.waiting.patience();
    let done = step.run(async {
        let mut objects = Vec::new();
        for object in rollout::find(&client, client.namespace(), &names).await? {
            if let Some(revision) = flags.revision {
                rollout::is_at(&client, &object, revision).await?;
            }
            objects.push(rollout::with_status(&client, object).await?);
        }
        if !flags.watch {
            return rollout::look(&client, &objects, &patience, &step.sink).await;
        }
        let objects: Vec<_> =
            objects.into_iter().map(|object| (object, Expected::default())).collect();
        rollout::wait(&client, &objects, &patience, step.deadline, &step.sink).await
    })?;
    let results = results(false, done.iter().map(|done| &*done.object), &done);
    step.finish(&results)
}

fn history(flags: &History) -> Result<(), CliError> {
    let names = flags.which.names()?;
    let step = flags.step.begin(&["revisions"])?;
    let client = flags.cluster.client(&step.net)?;
    let numbers = step.run(async {
        let mut numbers = Vec::new();
        for object in rollout::find(&client, client.namespace(), &names).await? {
            for revision in rollout::history(&client, &object).await? {
                let cause = revision.cause.as_deref().unwrap_or("<none>");
                let images = revision.images().join(", ");
                let message = format!("{object}: {}: {images}: {cause}", revision.number);
                step.sink.event(Event::Note { message });
                numbers.push(revision.number.to_string());
            }
        }
        Ok::<_, RolloutError>(numbers)
    })?;
    let mut results = Results::default();
    results.add("revisions", numbers.join(","));
    step.finish(&results)
}

/// Waits for what has changed, if it is to be waited for; what is left to say becomes results.
async fn follow(
    step: &Step,
    client: &Client,
    changes: Vec<Changed>,
    changing: &Changing,
    waiting: &Waiting,
) -> Result<Results, RolloutError> {
    let any = changes.iter().any(|change| change.changed);
    let names: Vec<String> = changes.iter().map(|change| change.object.to_string()).collect();
    let names = || names.iter().map(String::as_str);
    for Changed { object, changed, .. } in &changes {
        let message = format!("{object}: {}", what_happened(*changed, changing.dry_run));
        step.sink.event(Event::Note { message });
    }
    if changing.no_wait || changing.dry_run {
        return Ok(results(any, names(), &[]));
    }
    let (rolling, others): (Vec<Changed>, Vec<Changed>) =
        changes.into_iter().partition(|change| change.object.workload.rolls_out());
    for Changed { object, .. } in others {
        let message = format!("{object}: its next pods are the new ones; there is no rollout");
        step.sink.event(Event::Note { message });
    }
    let objects: Vec<(Object, Expected)> =
        rolling.into_iter().map(|change| (change.object.clone(), change.expected())).collect();
    let patience = waiting.patience();
    let done = rollout::wait(client, &objects, &patience, step.deadline, &step.sink).await?;
    Ok(results(any, names(), &done))
}

fn what_happened(changed: bool, dry_run: bool) -> &'static str {
    match (changed, dry_run) {
        (true, false) => "changed",
        (true, true) => "would be changed",
        (false, _) => "is so already",
    }
}

fn results<'a>(changed: bool, objects: impl Iterator<Item = &'a str>, done: &[Done]) -> Results {
    let mut results = Results::default();
    results.add("objects", objects.collect::<Vec<_>>().join(","));
    results.add("changed", changed.to_string());
    let revisions: Vec<&str> = done.iter().filter_map(|done| done.revision.as_deref()).collect();
    results.add("revision", revisions.join(","));
    let mut images: Vec<&str> =
        done.iter().flat_map(|done| &done.images).map(|(_, image)| image.as_str()).collect();
    images.sort_unstable();
    images.dedup();
    results.add("images", images.join(","));
    results
}

/// The time in UTC, to the second.
fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{:.0}", jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
