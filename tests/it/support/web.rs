//! A web server of the test's own: what it answers is written down beforehand, what
//! it was asked afterwards. Below `/git/` it is `git http-backend` for
//! what is not written down.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::http::{Request, request};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How much of the body is sent before the connection breaks.
    cut: Option<usize>,
}

impl Answer {
    /// A file.
    pub(crate) fn file(body: impl AsRef<[u8]>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.as_ref().to_vec(), cut: None }
    }

    /// Another status, without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::file("") }
    }

    /// The same content with another status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// With a header; `etag` and `last-modified` are also compared with what is asked.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Breaks off after so many bytes.
    pub(crate) fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }
}

/// A request, as it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The path, with its query.
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// What was sent.
    pub(crate) body: Vec<u8>,
    /// What was answered.
    pub(crate) status: u16,
}

#[derive(Debug, Default)]
struct Shared {
    /// By path; the last one of several is given again and again.
    answers: Mutex<BTreeMap<String, Vec<Answer>>>,
    log: Mutex<Vec<Asked>>,
    repositories: Mutex<PathBuf>,
    stopped: AtomicBool,
}

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Web {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        Self { url, shared, thread: Some(thread) }
    }

    /// What `path` is answered with, one after the other.
    pub(crate) fn answers(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answers);
    }

    /// Serves the bare repositories in a directory below `/git/`.
    pub(crate) fn serve_git(&self, directory: &Path) {
        directory.clone_into(&mut self.shared.repositories.lock().unwrap());
    }

    /// What was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.log.lock().unwrap())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers the requests of a connection; a client that goes away is no one's fault.
fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(Request { method, target: path, headers, body }) = request(&mut reader) {
        let written = match shared.answers.lock().unwrap().get_mut(&path) {
            Some(answers) if answers.len() > 1 => Some(answers.remove(0)),
            Some(answers) => Some(answers[0].clone()),
            None => None,
        };
        let mut answer = match written {
            Some(answer) => answer,
            None if path.starts_with("/git/") => git(&method, &path, &headers, &body, shared),
            None => Answer::status(404),
        };
        for (asked, name) in [("if-none-match", "etag"), ("if-modified-since", "last-modified")] {
            let of_answer = answer.headers.iter().find(|(header, _)| header == name);
            if of_answer.is_some_and(|(_, value)| headers.get(asked) == Some(value)) {
                answer = Answer::status(304);
            }
        }
        shared.log.lock().unwrap().push(Asked { path, headers, body, status: answer.status });
        let mut head = format!("HTTP/1.1 {} -\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["content-length: ", &answer.body.len().to_string(), "\r\n\r\n"]);
        let sent = &answer.body[..answer.cut.unwrap_or(answer.body.len())];
        let mut writer = stream;
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(sent)).is_err()
            || answer.cut.is_some()
        {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// Runs git's own server as a CGI program.
fn git(
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    shared: &Shared,
) -> Answer {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &*shared.repositories.lock().unwrap())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path.trim_start_matches("/git"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is installed");
    backend.stdin.take().unwrap().write_all(body).unwrap();
    let output = backend.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(output.len() - 4);
    let mut answer = Answer::file(&output[end + 4..]);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            answer.status = value[..3].parse().unwrap();
        } else {
            answer.headers.push((name.to_lowercase(), value.to_owned()));
        }
    }
    answer
}
