//! What is told with a failure: the last events, and the last lines of the container.
//!
//! None of it is needed; what may not be read, or takes too long, is left out.

use std::time::Duration;

use serde_json::Value;

use super::error::Failure;
use super::kind::{number, text};
use crate::kubernetes::Client;

/// How many events are told.
const EVENTS: usize = 3;
/// How long may be spent.
const TIME: Duration = Duration::from_secs(5);

/// Adds events and the log to a failure.
pub(super) async fn explain(
    client: &Client,
    namespace: &str,
    object: &Value,
    pods: &[&Value],
    mut failure: Failure,
    lines: usize,
) -> Failure {
    let of = failure.trouble.pod.as_deref();
    let pod = pods.iter().find(|pod| of.is_some_and(|name| pod["metadata"]["name"] == name));
    let about = pod.map_or(object, |pod| *pod);
    let uid = text(about, "/metadata/uid");
    let events = tokio::time::timeout(TIME, client.events(namespace, uid));
    if let Ok(Ok(events)) = events.await {
        let warnings: Vec<_> = events.iter().filter(|event| event["type"] == "Warning").collect();
        let last = warnings.iter().skip(warnings.len().saturating_sub(EVENTS));
        failure.events = last.map(|event| line(event)).collect();
    }
    let place = (failure.trouble.pod.as_deref(), failure.trouble.container.as_deref());
    let (Some(pod), Some(container), true) = (place.0, place.1, lines > 0) else { return failure };
    // Where nothing has run there is no log, and asking for it is an error.
    if failure.trouble.crashed() {
        let log = client.logs(namespace, pod, container, lines, true);
        if let Ok(Ok(log)) = tokio::time::timeout(TIME, log).await {
            failure.log = log;
        }
    }
    failure
}

fn line(event: &Value) -> String {
    let count = number(event, "/count").filter(|count| *count > 1);
    let count = count.map(|count| format!(" ({count} times)")).unwrap_or_default();
    format!("{}: {}{count}", text(event, "/reason"), text(event, "/message").trim())
}
