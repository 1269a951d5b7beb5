//! Follows one workload until there is a verdict.
//!
//! The object, its pods and the objects that hold its templates are watched, each by a task. Only
//! the object must be readable: without the pods there is no early failure, without the others pods
//! are told apart by their template. The verdict is made anew with each change, and when a trouble
//! that may pass has lasted for its grace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::RolloutError;
use super::current::{current, other_images};
use super::error::Failure;
use super::explain::explain;
use super::kind::{Workload, containers, number, text};
use super::target::Object;
use super::trouble::{Trouble, trouble};
use super::verdict::{Paused, Seen, Verdict, is_observed, verdict};
use crate::kubernetes::{Change, Client, KubernetesError, Resource, Selection, Watch, selector};
use crate::report::{Event, Sink};

/// How a rollout is waited for.
#[derive(Clone, Debug)]
pub struct Patience {
    /// How long a trouble that may pass may last.
    pub grace: Duration,
    /// Whether only the controller's own verdict counts, as for kubectl.
    pub patient: bool,
    /// What to make of a pause of a Rollout.
    pub paused: Paused,
    /// How many of the last lines of a container are shown when it has failed.
    pub log_lines: usize,
}

/// What has to be reached.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The generation; 0 for whichever it is.
    pub generation: i64,
    /// The images by container, which nobody may have changed since.
    pub images: Vec<(String, String)>,
}

/// A rollout that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The object.
    pub object: String,
    /// In which way it is done.
    pub message: String,
    /// Its revision, where it has one.
    pub revision: Option<String>,
    /// Its images, by container.
    pub images: Vec<(String, String)>,
}

/// Whose watch it is.
#[derive(Clone, Copy)]
enum Of {
    Object,
    Pods,
    Revisions,
}

type News = (Of, Result<Change, KubernetesError>);

pub(super) struct Follow<'a> {
    client: &'a Client,
    object: &'a Object,
    expected: &'a Expected,
    patience: &'a Patience,
    sink: &'a Arc<dyn Sink>,
    /// How far it is, for when the time is over.
    progress: &'a Mutex<String>,
    value: Value,
    pods: Option<BTreeMap<String, Value>>,
    revisions: Option<BTreeMap<String, Value>>,
    /// Since when there is a trouble that may pass.
    troubled: Option<Instant>,
    /// Since when nothing has changed.
    quiet: Instant,
    /// Whether the events were looked at since then.
    asked: bool,
}

impl<'a> Follow<'a> {
    pub(super) fn new(
        client: &'a Client,
        object: &'a Object,
        expected: &'a Expected,
        patience: &'a Patience,
        sink: &'a Arc<dyn Sink>,
        progress: &'a Mutex<String>,
    ) -> Self {
        Self {
            client,
            object,
            expected,
            patience,
            sink,
            progress,
            value: object.value.clone(),
            pods: None,
            revisions: None,
            troubled: None,
            quiet: Instant::now(),
            asked: false,
        }
    }

    /// Waits for the end.
    pub(super) async fn run(mut self) -> Result<Done, RolloutError> {
        let (sender, mut news) = mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        self.start(&mut watches, &sender);
        drop(sender);
        loop {
            let wake = self.wake();
            tokio::select! {
                Some((of, change)) = news.recv() => self.take(of, change)?,
                () = tokio::time::sleep_until(wake), if self.may_wake() => self.refused().await?,
            }
            // What has come meanwhile belongs to the same look.
            while let Ok((of, change)) = news.try_recv() {
                self.take(of, change)?;
            }
            match self.judge() {
                Verdict::Progressing(message) => self.tell(&message),
                Verdict::Done(message) => return self.finish(message).await,
                Verdict::Failed(trouble) => return Err(self.failed(trouble).await),
            }
        }
    }

    /// The verdict on what is known now, once.
    pub(super) async fn look(mut self) -> Result<Done, RolloutError> {
        match self.judge() {
            Verdict::Progressing(message) => {
                self.tell(&message);
                Ok(self.done(message))
            }
            Verdict::Done(message) => Ok(self.done(message)),
            Verdict::Failed(trouble) => Err(self.failed(trouble).await),
        }
    }

    fn start(&self, watches: &mut JoinSet<()>, sender: &mpsc::UnboundedSender<News>) {
        let Object { resource, namespace, name, workload, value } = self.object;
        let mut watch = |of, resource: &Resource, selection| {
            let watch = self.client.watch(resource, namespace, selection);
            watches.spawn(report(of, watch, sender.clone()));
        };
        watch(Of::Object, resource, Selection::named(name));
        let labels = selector(&value["spec"]["selector"]);
        let Some(labels) = labels.filter(|_| *workload != Workload::Pod) else { return };
        let pods = Resource::new("", "v1", "Pod", "pods");
        watch(Of::Pods, &pods, Selection::labelled(labels.clone()));
        if let Some(revisions) = workload.revisions().filter(|_| has_watched_revisions(*workload)) {
            watch(Of::Revisions, &revisions, Selection::labelled(labels));
        }
    }

    /// Takes what a watch says.
    fn take(
        &mut self,
        of: Of,
        change: Result<Change, KubernetesError>,
    ) -> Result<(), RolloutError> {
        self.quiet = Instant::now();
        self.asked = false;
        let change = match change {
            Ok(change) => change,
            // The object's own state is enough for the controller's verdict.
            Err(error) if error.is_forbidden() && !matches!(of, Of::Object) => {
                let rule = error.missing_rule().unwrap_or_default();
                self.note(&format!("less is seen of its pods: the caller lacks {rule}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        match of {
            Of::Object => {
                let value = match change {
                    Change::All(items) => items.into_iter().next(),
                    Change::Set(value) => Some(*value),
                    Change::Gone(_) => None,
                };
                let uid = |value: &Value| text(value, "/metadata/uid").to_owned();
                match value {
                    Some(value) if uid(&value) == uid(&self.value) => self.set(value)?,
                    // Another one of the same name is no better than none.
                    _ => return Err(RolloutError::Deleted { object: self.object.to_string() }),
                }
            }
            Of::Pods => merge(self.pods.get_or_insert_default(), change),
            Of::Revisions => merge(self.revisions.get_or_insert_default(), change),
        }
        Ok(())
    }

    /// Takes the object as it is now, unless somebody has set another image since.
    fn set(&mut self, value: Value) -> Result<(), RolloutError> {
        let generation = |value| number(value, "/metadata/generation").unwrap_or(0);
        // A list from before our change tells nothing.
        if generation(&value) < self.expected.generation {
            return Ok(());
        }
        for container in containers(self.object.workload, &value) {
            let mut ours = self.expected.images.iter().filter(|(name, _)| *name == container.name);
            if ours.any(|(_, image)| *image != container.image) {
                return Err(RolloutError::Superseded {
                    object: self.object.to_string(),
                    problem: format!(
                        "container {} has image {} now: a newer change came in between",
                        container.name, container.image
                    ),
                });
            }
        }
        self.value = value;
        Ok(())
    }

    /// What is made of all that is known.
    fn judge(&mut self) -> Verdict {
        let pods: Vec<Value> = match self.object.workload {
            Workload::Pod => vec![self.value.clone()],
            _ => self.pods.iter().flat_map(BTreeMap::values).cloned().collect(),
        };
        let revisions = self.revisions.as_ref();
        let revisions = revisions.map(|known| known.values().cloned().collect::<Vec<_>>());
        let current = current(self.object.workload, &self.value, revisions.as_deref(), &pods);
        let mut seen = Seen {
            workload: self.object.workload,
            object: &self.value,
            pods: &current,
            generation: self.expected.generation,
            lasting: Duration::ZERO,
            grace: self.patience.grace,
            patient: self.patience.patient,
            paused: self.patience.paused,
        };
        self.troubled = match trouble(&seen) {
            Some(_) if is_observed(&seen) => Some(self.troubled.unwrap_or_else(Instant::now)),
            _ => None,
        };
        seen.lasting = self.troubled.map(|since| since.elapsed()).unwrap_or_default();
        verdict(&seen)
    }

    /// When to look again although nothing has changed.
    fn wake(&self) -> Instant {
        self.troubled.unwrap_or(self.quiet) + self.patience.grace
    }

    fn may_wake(&self) -> bool {
        !self.patience.patient && (self.troubled.is_some() || !self.asked)
    }

    /// Looks for pods that were refused, where only events tell of it.
    async fn refused(&mut self) -> Result<(), RolloutError> {
        if self.troubled.is_some() {
            return Ok(());
        }
        self.asked = true;
        let uid = text(&self.value, "/metadata/uid");
        let events = self.client.events(&self.object.namespace, uid).await;
        let events = match events {
            Ok(events) => events,
            Err(error) if error.is_forbidden() || error.is_transient() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // One that was created since has ended the trouble.
        let tells = |event: &&Value| {
            event["reason"] == "FailedCreate" || event["reason"] == "SuccessfulCreate"
        };
        let last = events.iter().rev().find(tells);
        match last.filter(|event| event["reason"] == "FailedCreate") {
            Some(event) => {
                let trouble = Trouble::new("FailedCreate", text(event, "/message"));
                Err(self.failed(trouble).await)
            }
            None => Ok(()),
        }
    }

    /// Says how far it is, if that is something else than before.
    fn tell(&self, message: &str) {
        let mut progress = self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *progress != message {
            message.clone_into(&mut progress);
            drop(progress);
            self.note(message);
        }
    }

    fn note(&self, message: &str) {
        self.sink.event(Event::Note { message: format!("{}: {message}", self.object) });
    }

    /// Looks at the pods once more: the watches may not have told of them yet.
    async fn finish(self, message: String) -> Result<Done, RolloutError> {
        let labels = selector(&self.value["spec"]["selector"]);
        if let Some(labels) = labels.filter(|_| self.object.workload != Workload::Pod) {
            let selection = Selection::labelled(labels);
            let pods = self.now(&Resource::new("", "v1", "Pod", "pods"), &selection).await?;
            let revisions = match self.object.workload.revisions() {
                Some(revisions) if has_watched_revisions(self.object.workload) => {
                    self.now(&revisions, &selection).await?
                }
                _ => None,
            };
            let pods = pods.unwrap_or_default();
            let current = current(self.object.workload, &self.value, revisions.as_deref(), &pods);
            for line in other_images(self.object.workload, &self.value, &current) {
                let message = format!("{}: {line}", self.object);
                self.sink.event(Event::Warning { message });
            }
        }
        self.note(&message);
        Ok(self.done(message))
    }

    /// What there is now, unless the caller may not see it, which he was told of.
    async fn now(
        &self,
        resource: &Resource,
        selection: &Selection,
    ) -> Result<Option<Vec<Value>>, RolloutError> {
        match self.client.list(resource, &self.object.namespace, selection).await {
            Ok(list) => Ok(Some(list.items)),
            Err(error) if error.is_forbidden() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn done(&self, message: String) -> Done {
        let revision = match self.object.workload {
            Workload::StatefulSet => text(&self.value, "/status/updateRevision").to_owned(),
            workload => super::history::number_of(workload, &self.value)
                .map(|number| number.to_string())
                .unwrap_or_default(),
        };
        let images = containers(self.object.workload, &self.value);
        Done {
            object: self.object.to_string(),
            message,
            revision: Some(revision).filter(|revision| !revision.is_empty()),
            images: images.into_iter().map(|c| (c.name, c.image)).collect(),
        }
    }

    async fn failed(&self, trouble: Trouble) -> RolloutError {
        let failure = Failure { object: self.object.to_string(), trouble, ..Failure::default() };
        let namespace = &self.object.namespace;
        let pods = self.pods.as_ref().map(|pods| pods.values().collect::<Vec<_>>());
        let pods = pods.unwrap_or_default();
        let lines = self.patience.log_lines;
        let explained = explain(self.client, namespace, &self.value, &pods, failure, lines).await;
        RolloutError::Failed(Box::new(explained))
    }
}

/// Whether the revisions tell which pods are of the template.
fn has_watched_revisions(workload: Workload) -> bool {
    matches!(workload, Workload::Deployment | Workload::DaemonSet)
}

/// Passes on what a watch says until nobody listens, or it has failed.
async fn report(of: Of, mut watch: Watch, sender: mpsc::UnboundedSender<News>) {
    loop {
        let change = watch.next().await;
        let failed = change.is_err();
        if sender.send((of, change)).is_err() || failed {
            return;
        }
    }
}

fn merge(known: &mut BTreeMap<String, Value>, change: Change) {
    let uid = |value: &Value| text(value, "/metadata/uid").to_owned();
    match change {
        Change::All(items) => {
            *known = items.into_iter().map(|item| (uid(&item), item)).collect();
        }
        Change::Set(item) => drop(known.insert(uid(&item), *item)),
        Change::Gone(item) => drop(known.remove(&uid(&item))),
    }
}
