//! Whether a rollout is done, under way or has failed: from what the API server shows, and nothing
//! else.
//!
//! For Deployments, `StatefulSets` and `DaemonSets` the counts are judged as `kubectl rollout status`
//! judges them. Besides, what will not get better by itself is a failure at once (see
//! [`trouble`]), and kinds that kubectl does not know have rules of their own:
//!
//! | kind | done | failed |
//! |---|---|---|
//! | Rollout | phase Healthy; paused without an end, unless told otherwise | phase Degraded |
//! | Job | condition Complete | condition Failed |
//! | Pod | Ready, or Succeeded | Failed |
//! | `OnDelete` | all pods are new and available | – |

use std::time::Duration;

use serde_json::Value;

use super::kind::{Workload, condition, number, text};
use super::trouble::{Trouble, trouble};

/// What a rollout has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on; this is how far it is.
    Progressing(String),
    /// It is done.
    Done(String),
    /// It has failed, or cannot succeed by itself.
    Failed(Trouble),
}

/// What to make of a Rollout that waits for somebody to promote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paused {
    /// It is done: the rest is for that somebody.
    #[default]
    Done,
    /// It goes on.
    Wait,
    /// It has failed.
    Fail,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The kind of the object.
    pub workload: Workload,
    /// The object.
    pub object: &'a Value,
    /// Its pods of the current template, as far as they may be seen.
    pub pods: &'a [&'a Value],
    /// The generation that has to be reached; 0 for whichever it is.
    pub generation: i64,
    /// For how long a trouble that may pass has been there.
    pub lasting: Duration,
    /// How long such a trouble may last.
    pub grace: Duration,
    /// Whether only the controller's own verdict counts, as for kubectl.
    pub patient: bool,
    /// What to make of a pause.
    pub paused: Paused,
}

/// The verdict on what is seen.
pub fn verdict(seen: &Seen<'_>) -> Verdict {
    // What is seen until then is of an older template.
    if !is_observed(seen) {
        return progressing("its controller has not seen the change yet".to_owned());
    }
    let counts = match seen.workload {
        Workload::Deployment => deployment(seen.object),
        Workload::StatefulSet => stateful_set(seen.object),
        Workload::DaemonSet => daemon_set(seen.object),
        Workload::Rollout => rollout(seen.object, seen.paused),
        Workload::Job => job(seen.object),
        Workload::Pod => pod(seen.object),
        Workload::CronJob | Workload::Replicas => Verdict::Done("it has no rollout".into()),
    };
    match counts {
        Verdict::Progressing(message) => {
            if seen.patient {
                return Verdict::Progressing(message);
            }
            match trouble(seen) {
                Some(trouble) if !trouble.may_pass || seen.lasting >= seen.grace => {
                    Verdict::Failed(trouble)
                }
                Some(trouble) => Verdict::Progressing(format!("{message}; {trouble}")),
                None => Verdict::Progressing(message),
            }
        }
        // The controller gave up; the pods may tell why.
        Verdict::Failed(failed) => match trouble(seen) {
            Some(cause) if failed.pod.is_none() => Verdict::Failed(cause.after(&failed)),
            _ => Verdict::Failed(failed),
        },
        done @ Verdict::Done(_) => done,
    }
}

/// Whether the controller has seen the object as it is now, and as our change made it.
pub(super) fn is_observed(seen: &Seen<'_>) -> bool {
    let generation = number(seen.object, "/metadata/generation").unwrap_or(0);
    let wanted = generation.max(seen.generation);
    let observed = match seen.workload {
        Workload::Deployment | Workload::DaemonSet => {
            number(seen.object, "/status/observedGeneration").unwrap_or(0)
        }
        // Without a generation it has seen nothing at all.
        Workload::StatefulSet => match number(seen.object, "/status/observedGeneration") {
            None | Some(0) => return false,
            Some(observed) => observed,
        },
        // A text there; older ones put a hash into it, which says nothing.
        Workload::Rollout => match text(seen.object, "/status/observedGeneration") {
            "" => 0,
            text => text.parse().unwrap_or(wanted),
        },
        _ => return true,
    };
    observed >= wanted
}

fn progressing(message: String) -> Verdict {
    Verdict::Progressing(message)
}

fn deployment(object: &Value) -> Verdict {
    let of = |name: &str| number(object, &format!("/status/{name}")).unwrap_or(0);
    let progress = condition(object, "Progressing");
    if let Some(progress) = progress.filter(|c| c["reason"] == "ProgressDeadlineExceeded") {
        return Verdict::Failed(Trouble::new(
            "ProgressDeadlineExceeded",
            text(progress, "/message"),
        ));
    }
    let (updated, replicas, available) =
        (of("updatedReplicas"), of("replicas"), of("availableReplicas"));
    let wanted = number(object, "/spec/replicas");
    if wanted.is_some_and(|wanted| updated < wanted) {
        return progressing(format!("{updated} of {} pods are new", wanted.unwrap_or(0)));
    }
    if replicas > updated {
        return progressing(format!("{} old pods have still to go", replicas - updated));
    }
    if available < updated {
        return progressing(format!("{available} of {updated} new pods are available"));
    }
    Verdict::Done(format!("{updated} pods are new and available"))
}

fn stateful_set(object: &Value) -> Verdict {
    let of = |name: &str| number(object, &format!("/status/{name}")).unwrap_or(0);
    let (ready, updated) = (of("readyReplicas"), of("updatedReplicas"));
    let wanted = number(object, "/spec/replicas");
    let update = text(object, "/status/updateRevision");
    let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
    if on_delete && updated < wanted.unwrap_or(1) {
        return progressing(format!(
            "{updated} of {} pods are new; the others are replaced when somebody deletes them \
             (OnDelete)",
            wanted.unwrap_or(1)
        ));
    }
    if let Some(wanted) = wanted.filter(|wanted| ready < *wanted) {
        return progressing(format!("{} of {wanted} pods are not ready", wanted - ready));
    }
    let rolling =
        object.pointer("/spec/updateStrategy/rollingUpdate").is_some_and(Value::is_object);
    if rolling {
        let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
        if let Some(wanted) = wanted.zip(partition).map(|(wanted, keep)| (wanted - keep).max(0))
            && updated < wanted
        {
            return progressing(format!("{updated} of {wanted} pods are new"));
        }
        return Verdict::Done(format!("{updated} pods are at revision {update}"));
    }
    if !on_delete && update != text(object, "/status/currentRevision") {
        return progressing(format!("{updated} pods are at revision {update}"));
    }
    Verdict::Done(format!("all pods are at revision {update}"))
}

fn daemon_set(object: &Value) -> Verdict {
    let of = |name: &str| number(object, &format!("/status/{name}")).unwrap_or(0);
    let wanted = of("desiredNumberScheduled");
    let (updated, available) = (of("updatedNumberScheduled"), of("numberAvailable"));
    if updated < wanted {
        let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
        let how = if on_delete {
            "; the others are replaced when somebody deletes them (OnDelete)"
        } else {
            ""
        };
        return progressing(format!("{updated} of {wanted} pods are new{how}"));
    }
    if available < wanted {
        return progressing(format!("{available} of {wanted} pods are available"));
    }
    Verdict::Done(format!("{updated} pods are new and available"))
}

fn rollout(object: &Value, paused: Paused) -> Verdict {
    let message = text(object, "/status/message");
    let with = |what: &str| match message {
        "" => what.to_owned(),
        message => format!("{what}: {message}"),
    };
    // A restart replaces pods without another template.
    let restart = text(object, "/spec/restartAt");
    let restarting = !restart.is_empty() && text(object, "/status/restartedAt") != restart;
    match text(object, "/status/phase") {
        "Healthy" if restarting => progressing("it restarts its pods".to_owned()),
        "Healthy" => Verdict::Done("it is healthy".to_owned()),
        "Degraded" => Verdict::Failed(Trouble::new("Degraded", message)),
        "Paused" if waits_for_somebody(object) => match paused {
            Paused::Done => Verdict::Done(with("it is paused until somebody promotes it")),
            Paused::Wait => progressing(with("it is paused until somebody promotes it")),
            Paused::Fail => Verdict::Failed(Trouble::new("Paused", message)),
        },
        "Paused" => progressing(with("it is paused for a while")),
        "" => progressing("it has no phase yet".to_owned()),
        phase => progressing(with(&phase.to_lowercase())),
    }
}

/// Whether a pause has no end of its own.
fn waits_for_somebody(object: &Value) -> bool {
    if object.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        return true;
    }
    if object.pointer("/spec/strategy/blueGreen").is_some_and(Value::is_object) {
        return object.pointer("/spec/strategy/blueGreen/autoPromotionSeconds").is_none();
    }
    let step = number(object, "/status/currentStepIndex").unwrap_or(0);
    let pause = object.pointer(&format!("/spec/strategy/canary/steps/{step}/pause"));
    pause.is_none_or(|pause| pause["duration"].is_null())
}

fn job(object: &Value) -> Verdict {
    let is = |kind: &str| condition(object, kind).filter(|c| c["status"] == "True");
    if let Some(failed) = is("Failed") {
        let reason = text(failed, "/reason");
        return Verdict::Failed(Trouble::new(reason, text(failed, "/message")));
    }
    if is("Complete").is_some() {
        return Verdict::Done("it has completed".to_owned());
    }
    if is("Suspended").is_some() {
        return progressing("it is suspended".to_owned());
    }
    let of = |name: &str| number(object, &format!("/status/{name}")).unwrap_or(0);
    let wanted = number(object, "/spec/completions").unwrap_or(1);
    progressing(format!(
        "{} of {wanted} pods have succeeded, {} are active, {} have failed",
        of("succeeded"),
        of("active"),
        of("failed")
    ))
}

fn pod(object: &Value) -> Verdict {
    let phase = text(object, "/status/phase");
    match phase {
        "Succeeded" => Verdict::Done("it has succeeded".to_owned()),
        "Failed" => {
            let reason = text(object, "/status/reason");
            let reason = if reason.is_empty() { "Failed" } else { reason };
            Verdict::Failed(Trouble::new(reason, text(object, "/status/message")))
        }
        _ if condition(object, "Ready").is_some_and(|c| c["status"] == "True") => {
            Verdict::Done("it is ready".to_owned())
        }
        _ => progressing(format!("it is not ready ({})", phase.to_lowercase())),
    }
}
