//! Waits for the end of a run, and tells what failed in it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{TriggerError, resource};
use crate::kubernetes::{Change, Client, Resource, Selection};
use crate::report::{self, Event, Sink};

/// How long looking for the reason of a failure may take.
const TIME: Duration = Duration::from_secs(5);

/// A run that has succeeded.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The reason, such as `Completed`.
    pub reason: String,
    /// What Tekton says.
    pub message: String,
}

/// The condition that tells how a run is.
fn succeeded(run: &Value) -> Option<&Value> {
    let conditions = run["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == "Succeeded")
}

/// Whether a run has come to a bad end.
pub(super) fn has_failed(run: &Value) -> bool {
    succeeded(run).is_some_and(|condition| condition["status"] == "False")
}

/// Waits until a run has succeeded or failed; `lines` of the log of a step that failed are shown.
pub async fn wait(
    client: &Client,
    run: &Value,
    lines: usize,
    sink: &Arc<dyn Sink>,
) -> Result<Ended, TriggerError> {
    let resource = resource(run);
    let name = run["metadata"]["name"].as_str().unwrap_or_default();
    let mut watch = client.watch(&resource, client.namespace(), Selection::named(name));
    let mut told = String::new();
    loop {
        let run = match watch.next().await? {
            Change::All(runs) => runs.into_iter().next(),
            Change::Set(run) => Some(*run),
            Change::Gone(_) => None,
        };
        let Some(run) = run else { return Err(TriggerError::Deleted { name: name.to_owned() }) };
        let Some(condition) = succeeded(&run) else { continue };
        let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
        let (reason, message) = (text("reason"), text("message"));
        match condition["status"].as_str() {
            Some("True") => return Ok(Ended { reason, message }),
            Some("False") => {
                let details = tokio::time::timeout(TIME, details(client, &run, lines)).await;
                return Err(TriggerError::Failed {
                    name: name.to_owned(),
                    message: format!("{reason}: {message}"),
                    details: details.unwrap_or_default(),
                });
            }
            _ if told != message => {
                sink.event(Event::Note { message: format!("pipelinerun {name}: {message}") });
                told = message;
            }
            _ => {}
        }
    }
}

/// The tasks that failed, with the last lines of their steps, as far as they may be read.
async fn details(client: &Client, run: &Value, lines: usize) -> String {
    let mut details = String::new();
    let mut tasks = Resource::new("tekton.dev", "v1", "TaskRun", "taskruns");
    tasks.version = resource(run).version;
    let children = run["status"]["childReferences"].as_array().into_iter().flatten();
    for child in children.filter(|child| child["kind"] == "TaskRun") {
        let name = child["name"].as_str().unwrap_or_default();
        let Ok(task) = client.get(&tasks, client.namespace(), name).await else { continue };
        if !has_failed(&task) {
            continue;
        }
        let message = succeeded(&task).and_then(|c| c["message"].as_str()).unwrap_or_default();
        let of = child["pipelineTaskName"].as_str().unwrap_or(name);
        let _ = write!(details, "\n  task {of}: {}", report::message_line(message));
        let pod = task["status"]["podName"].as_str().unwrap_or_default();
        let steps = task["status"]["steps"].as_array().into_iter().flatten();
        for step in steps {
            let code = step["terminated"]["exitCode"].as_i64().unwrap_or(0);
            let container = step["container"].as_str().unwrap_or_default();
            if code == 0 || container.is_empty() || pod.is_empty() {
                continue;
            }
            let name = step["name"].as_str().unwrap_or(container);
            let _ = write!(details, "\n  step {name}: exit code {code}");
            let log = client.logs(client.namespace(), pod, container, lines, false).await;
            for line in log.unwrap_or_default() {
                let _ = write!(details, "\n  log: {}", report::message_line(&line));
            }
            // What comes behind the first failed step was not run.
            break;
        }
    }
    details
}
