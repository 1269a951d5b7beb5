//! Workloads of a cluster: give them another image, restart them, put a former template back, and
//! wait until their pods run.
//!
//! ```text
//! names ─ find ─► Object ─ set_image, restart, undo ─► Changed ─ wait ─► Done
//!                                                        watches: object, pods, templates
//!                                                        verdict: what they come to
//! ```
//!
//! What it promises: a wait is for the generation that our own change made, never for an older
//! one; what will not get better by itself ends it at once, with the pod, the container, its last
//! words and the last events; several objects share one deadline. What it needs is get, list, watch
//! and patch on the workload; reading pods, their logs, events and `ReplicaSets` is welcome, not needed.

mod change;
mod current;
mod error;
mod explain;
mod follow;
mod history;
mod kind;
mod target;
mod trouble;
mod verdict;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use change::{Changed, Options, image, restart, set_image};
pub use current::{current, other_images};
pub use error::{Failure, RolloutError};
pub use follow::{Done, Expected, Patience};
pub use history::{Revision, history, is_at, undo};
pub use kind::{Container, Workload, containers};
pub use target::{Names, Object, find};
pub use trouble::{Trouble, trouble};
pub use verdict::{Paused, Seen, Verdict, verdict};

use follow::Follow;

use crate::kubernetes::{Client, Resource, Selection};
use crate::report::Sink;

impl Changed {
    /// What has to be reached for this change to be rolled out.
    pub fn expected(&self) -> Expected {
        let generation = self.object.value["metadata"]["generation"].as_i64().unwrap_or(0);
        Expected { generation, images: self.images.clone() }
    }
}

/// Waits for all of them, side by side. The first that fails ends the wait.
pub async fn wait(
    client: &Client,
    objects: &[(Object, Expected)],
    patience: &Patience,
    deadline: Instant,
    sink: &Arc<dyn Sink>,
) -> Result<Vec<Done>, RolloutError> {
    let begun = Instant::now();
    let progress: Vec<Mutex<String>> =
        objects.iter().map(|_| Mutex::new("nothing was seen of it".to_owned())).collect();
    let finished: Vec<Mutex<bool>> = objects.iter().map(|_| Mutex::new(false)).collect();
    let each = objects.iter().zip(&progress).zip(&finished);
    let each = each.map(|(((object, expected), progress), finished)| async move {
        let follow = Follow::new(client, object, expected, patience, sink, progress);
        let done = follow.run().await?;
        *finished.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        Ok(done)
    });
    let all = futures_util::future::try_join_all(each);
    if let Ok(done) = tokio::time::timeout_at(deadline.into(), all).await {
        return done;
    }
    let text = |at: usize| progress[at].lock().map(|text| text.clone()).unwrap_or_default();
    let is_done = |at: usize| finished[at].lock().is_ok_and(|done| *done);
    let waiting = objects.iter().enumerate().filter(|(at, _)| !is_done(*at));
    let waiting = waiting.map(|(at, (object, _))| format!("{object}: {}", text(at))).collect();
    let time = deadline.saturating_duration_since(begun);
    Err(RolloutError::Timeout {
        time: Duration::from_secs(time.as_secs_f64().round() as u64),
        waiting,
    })
}

/// How far they are now, without waiting.
pub async fn look(
    client: &Client,
    objects: &[Object],
    patience: &Patience,
    sink: &Arc<dyn Sink>,
) -> Result<Vec<Done>, RolloutError> {
    let mut all = Vec::new();
    for object in objects {
        let (expected, progress) = (Expected::default(), Mutex::default());
        let follow = Follow::new(client, object, &expected, patience, sink, &progress);
        all.push(follow.look().await?);
    }
    Ok(all)
}

/// What is to be waited for where an object is named: of a `CronJob` its last Job.
pub async fn with_status(client: &Client, object: Object) -> Result<Object, RolloutError> {
    if !object.workload.has_status() {
        return Err(RolloutError::Usage {
            object: object.to_string(),
            problem: "it does not roll out anything: its pods stay as they are".to_owned(),
        });
    }
    if object.workload != Workload::CronJob {
        return Ok(object);
    }
    let jobs = Resource::new("batch", "v1", "Job", "jobs");
    let list = client.list(&jobs, &object.namespace, &Selection::default()).await?;
    let owned = list.items.into_iter().filter(|job| history::owned_by(job, &object.value));
    let last = owned.max_by_key(|job| kind::text(job, "/metadata/creationTimestamp").to_owned());
    let value = last.ok_or_else(|| RolloutError::Nothing {
        what: format!("{object} has no job yet, or its jobs are gone"),
    })?;
    let name = kind::text(&value, "/metadata/name").to_owned();
    Ok(Object { resource: jobs, workload: Workload::Job, namespace: object.namespace, name, value })
}
