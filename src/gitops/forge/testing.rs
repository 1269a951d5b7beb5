//! A service that answers as the test has written down, and holds both sides against what the
//! real service's description says (testdata/forge).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

/// One exchange: what must be asked, and what is answered.
pub(super) struct Exchange {
    /// Method and path with its query.
    pub(super) asked: &'static str,
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) answer: Value,
}

impl Exchange {
    pub(super) fn new(asked: &'static str, status: u16, answer: Value) -> Self {
        Self { asked, status, headers: Vec::new(), answer }
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

/// The service, until all exchanges are over.
pub(super) struct Scripted {
    pub(super) origin: String,
    log: Arc<Mutex<Vec<Asked>>>,
    thread: JoinHandle<()>,
}

impl Scripted {
    /// Starts one whose description is `facts`.
    pub(super) fn start(facts: &'static str, exchanges: Vec<Exchange>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        let thread = std::thread::spawn(move || {
            let facts: Value = serde_json::from_str(facts).unwrap();
            for exchange in exchanges {
                // A connection each, since which one is used again is not the test's affair.
                let (stream, _) = listener.accept().unwrap();
                let (line, asked) = read(&stream);
                assert_eq!(line, exchange.asked);
                check(&facts, &line, &asked.body, exchange.status, &exchange.answer);
                shared.lock().unwrap().push(asked);
                write(&stream, &exchange);
            }
        });
        Self { origin, log, thread }
    }

    /// What was asked; fails if there was less than all, or something else.
    pub(super) fn finish(self) -> Vec<Asked> {
        // What still waits for a request gets an empty one, and fails.
        if !self.thread.is_finished() {
            let address = self.origin.trim_start_matches("http://").to_owned();
            let _ = TcpStream::connect(address);
        }
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
        Arc::try_unwrap(self.log).unwrap().into_inner().unwrap()
    }
}

fn read(stream: &TcpStream) -> (String, Asked) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (line, Asked { headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn write(mut stream: &TcpStream, exchange: &Exchange) {
    let body = if exchange.answer.is_null() { String::new() } else { exchange.answer.to_string() };
    let mut head = format!(
        "HTTP/1.1 {} -\r\ncontent-length: {}\r\nconnection: close\r\n",
        exchange.status,
        body.len()
    );
    for (name, value) in &exchange.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
}

/// Fails unless the description has such a request and such an answer to it.
fn check(facts: &Value, line: &str, body: &Value, status: u16, answer: &Value) {
    let (method, target) = line.split_once(' ').expect("a request");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let base = facts["base"].as_str().unwrap();
    let operations = facts["operations"].as_array().unwrap();
    let operation = operations.iter().find(|operation| {
        let template = operation["path"].as_str().unwrap();
        let full = match template.strip_prefix('!') {
            Some(rest) => rest.to_owned(),
            None => format!("{base}{template}"),
        };
        operation["method"] == method && fits(&full, path)
    });
    let operation = operation.unwrap_or_else(|| panic!("{line} is no operation"));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap();
        let known = operation["query"].as_array();
        assert!(known.is_some_and(|known| known.iter().any(|k| k == name)), "{line}: {name}");
    }
    let none = serde_json::Map::new();
    object(line, operation["body"].as_object().unwrap_or(&none), body);
    // Some statuses any operation may have: they come from what stands before it.
    let said = match (&operation["answers"][status.to_string()], status) {
        (Value::Null, 401 | 403 | 429 | 500..=504) => return,
        (said, _) => said,
    };
    let place = format!("the answer {status} to {line}");
    match said {
        Value::Null => panic!("{place} is not described"),
        Value::String(kind) => assert!(is(kind, answer), "{place}: {answer}"),
        Value::Array(items) => {
            for item in answer.as_array().unwrap_or_else(|| panic!("{place} is a list")) {
                object(&place, items[0].as_object().unwrap(), item);
            }
        }
        said => object(&place, said.as_object().unwrap(), answer),
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(t, p)| t == p || t.starts_with('{') && !p.is_empty())
}

/// Each property is known and has its type, and those that are required are there.
fn object(place: &str, known: &serde_json::Map<String, Value>, value: &Value) {
    let empty = serde_json::Map::new();
    let properties = value.as_object().unwrap_or(&empty);
    for (name, value) in properties {
        let kind = known.get(name).and_then(Value::as_str);
        let kind = kind.unwrap_or_else(|| panic!("{place} has no property {name}"));
        assert!(is(kind.trim_end_matches('!'), value), "{place}: {name} is {value}, not {kind}");
    }
    for (name, kind) in known {
        let required = kind.as_str().unwrap().ends_with('!');
        assert!(!required || properties.contains_key(name), "{place} lacks {name}");
    }
}

fn is(kind: &str, value: &Value) -> bool {
    let all = |good: fn(&Value) -> bool| value.as_array().is_some_and(|a| a.iter().all(good));
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "strings" => all(Value::is_string),
        "integers" => all(Value::is_u64),
        "null" => value.is_null(),
        "any" => true,
        other => panic!("no kind {other}"),
    }
}
