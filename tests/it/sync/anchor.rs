//! What `argocd app sync` and then `argocd app wait --sync --health --operation` look at, as their
//! source has it: the operation alone, then the state alone, and revisions never.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::argocd::{ArgoCd, OURS};

fn ask(argo: &ArgoCd, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(&argo.address).unwrap();
    let head = format!(
        "{method} /api/v1/applications/web{path} HTTP/1.1\r\nauthorization: Bearer good\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Syncs with `--revision`; waits for the end of the operation.
pub(super) fn sync(argo: &ArgoCd) -> Result<(), String> {
    let (status, answer) = ask(argo, "POST", "/sync", &json!({ "revision": OURS }).to_string());
    if status != 200 {
        return Err(answer["message"].as_str().unwrap().to_owned());
    }
    let done = until(argo, Duration::from_secs(30), |app| {
        let state = &app["status"]["operationState"];
        app["operation"].is_null() && state["finishedAt"].is_string()
    });
    done.map(drop).ok_or_else(|| "timed out".to_owned())
}

/// Waits until it is synced and healthy; gives the revision at which it takes it for that, or
/// nothing when the time is over.
pub(super) fn wait(argo: &ArgoCd, time: Duration) -> Option<String> {
    let app = until(argo, time, |app| {
        let status = &app["status"];
        status["sync"]["status"] == "Synced"
            && status["health"]["status"] == "Healthy"
            && app["operation"].is_null()
    });
    Some(app?["status"]["sync"]["revision"].as_str().unwrap().to_owned())
}

fn until(argo: &ArgoCd, time: Duration, done: impl Fn(&Value) -> bool) -> Option<Value> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let (_, app) = ask(argo, "GET", "", "");
        if done(&app) {
            return Some(app);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
