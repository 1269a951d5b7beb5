//! What keeps pods from running that does not get better by itself.
//!
//! An image that cannot be pulled, a container that cannot be made or that crashes again and
//! again is a failure at once. What another part of the cluster may still solve is one only after a
//! grace: a pod without a node (a node may be added), one that a quota keeps out (an old pod may
//! go), a pull that failed for a reason that passes.

use std::fmt;

use serde_json::Value;

use super::kind::{Workload, condition, entries, number, text};
use super::verdict::Seen;

/// A reason for a rollout to fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The cluster's word for it, such as `ImagePullBackOff`.
    pub reason: String,
    /// What the cluster says about it.
    pub message: String,
    /// The pod that has it.
    pub pod: Option<String>,
    /// The container that has it.
    pub container: Option<String>,
    /// Whether it is one only when it lasts.
    pub may_pass: bool,
}

impl Trouble {
    /// Of the object as a whole.
    pub fn new(reason: &str, message: &str) -> Self {
        Self { reason: reason.to_owned(), message: message.to_owned(), ..Self::default() }
    }

    /// This one, as the cause of another that the controller reports.
    pub(super) fn after(mut self, failed: &Self) -> Self {
        self.reason = format!("{}, {}", failed.reason, self.reason);
        self
    }

    /// Whether a container has run and ended, so that its last run left a log.
    pub fn crashed(&self) -> bool {
        self.reason.contains("CrashLoopBackOff")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if let Some(pod) = &self.pod {
            write!(f, " in pod {pod}")?;
        }
        if let Some(container) = &self.container {
            write!(f, ", container {container}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// The gravest trouble that is seen.
pub fn trouble(seen: &Seen<'_>) -> Option<Trouble> {
    let of_pods = seen.pods.iter().flat_map(|pod| of_pod(pod, seen.workload == Workload::Job));
    let mut all: Vec<Trouble> = of_pods.chain(of_object(seen)).collect();
    all.sort_by_key(|trouble| trouble.may_pass);
    all.into_iter().next()
}

/// What the object itself says.
fn of_object(seen: &Seen<'_>) -> Option<Trouble> {
    let Seen { workload, object, .. } = seen;
    if *workload == Workload::Deployment && object["spec"]["paused"] == true {
        return Some(Trouble::new("Paused", "nothing is rolled out until it is resumed"));
    }
    // The controller copies it from the ReplicaSet whose pods are refused.
    let failure = condition(object, "ReplicaFailure").filter(|c| c["status"] == "True")?;
    let trouble = Trouble::new(text(failure, "/reason"), text(failure, "/message"));
    Some(Trouble { may_pass: true, ..trouble })
}

/// What a pod says; that of a Job may crash as often as the Job allows.
fn of_pod(pod: &Value, may_crash: bool) -> Vec<Trouble> {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return Vec::new();
    }
    let name = Some(text(pod, "/metadata/name").to_owned());
    let mut found = Vec::new();
    for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        for status in entries(pod, list) {
            let waiting = &status["state"]["waiting"];
            let (reason, message) = (text(waiting, "/reason"), text(waiting, "/message"));
            let may_pass = match reason {
                "CrashLoopBackOff" if may_crash => continue,
                "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "CreateContainerConfigError"
                | "CreateContainerError"
                | "CrashLoopBackOff" => false,
                // The first attempt; what the registry says for good is told apart.
                "ErrImagePull" => !is_final(message),
                "RegistryUnavailable" | "SignatureValidationFailed" | "ImageInspectError" => true,
                _ => continue,
            };
            let message = match reason {
                "CrashLoopBackOff" => last_end(status).unwrap_or_else(|| message.to_owned()),
                _ => message.to_owned(),
            };
            found.push(Trouble {
                reason: reason.to_owned(),
                message,
                pod: name.clone(),
                container: Some(text(status, "/name").to_owned()),
                may_pass,
            });
        }
    }
    let scheduled = condition(pod, "PodScheduled");
    if let Some(unscheduled) = scheduled.filter(|c| c["reason"] == "Unschedulable") {
        let trouble = Trouble::new("FailedScheduling", text(unscheduled, "/message"));
        found.push(Trouble { pod: name, may_pass: true, ..trouble });
    }
    found
}

/// How the run before ended.
fn last_end(status: &Value) -> Option<String> {
    let end = status.pointer("/lastState/terminated")?;
    let code = number(end, "/exitCode")?;
    let reason = match text(end, "/reason") {
        "" | "Error" => String::new(),
        reason => format!(" ({reason})"),
    };
    let message = match text(end, "/message").trim() {
        "" => String::new(),
        message => format!(": {message}"),
    };
    let restarts = number(status, "/restartCount").unwrap_or(0);
    Some(format!("exit code {code}{reason}, restarted {restarts} times{message}"))
}

/// Whether a registry's refusal is one that stays.
fn is_final(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "not found",
        "manifest unknown",
        "name unknown",
        "unauthorized",
        "denied",
        "forbidden",
        "invalid",
    ]
    .iter()
    .any(|word| message.contains(word))
}
