//! A registry in this process that fails as it is told.
//!
//! One thread for each connection, one request on each. A script sees the head
//! of every request and may let it take its course, answer in the registry's
//! place, or spoil what the registry does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::image::Digest;

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    /// Filled when the request was read to its end.
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// An answer; `Content-Length` is added unless the body has a fault of length.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// What happens to a request.
pub(crate) enum Fate {
    /// What should.
    Pass,
    /// This answer; the registry does not hear of the request.
    Answer(Answer),
    /// The registry does what was asked and this is answered.
    Cover(Answer),
    /// The registry's answer, changed.
    Change(fn(&mut Answer)),
    /// The answer breaks after so many bytes of its body, by reset or by close.
    Cut { after: usize, reset: bool },
    /// The answer stops after so many bytes, and the connection stays.
    Stall { after: usize },
    /// The answer's body goes on until nobody reads it.
    Endless,
    /// So many bytes of the request's body arrive, then the connection is reset.
    Reset { after: usize },
}

type Script = Box<dyn FnMut(&Heard) -> Fate + Send>;

/// What the registry holds.
#[derive(Default)]
pub(crate) struct Shelf {
    /// By digest.
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    /// By tag and by digest: type and bytes.
    pub(crate) manifests: HashMap<String, (String, Vec<u8>)>,
    sessions: HashMap<usize, Vec<u8>>,
    next: usize,
    /// All requests, as they came.
    pub(crate) log: Vec<Heard>,
}

/// The running server; it stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    stopped: AtomicBool,
    shelf: Mutex<Shelf>,
    script: Mutex<Script>,
}

impl Server {
    pub(crate) fn start(script: impl FnMut(&Heard) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            shelf: Mutex::default(),
            script: Mutex::new(Box::new(script)),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let serving = Arc::clone(&serving);
                // A client that goes away in the middle is part of the play.
                std::thread::spawn(move || serving.serve(&stream).ok());
            }
        });
        Self { address, shared }
    }

    /// Host and port, as in a reference.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shared.shelf()
    }

    /// Method and target of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shelf().log.iter().map(|h| format!("{} {}", h.method, h.target)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        if reader.read_line(&mut first).is_err() {
            // Not text: a client that speaks TLS. Servers answer it in plain.
            let mut out = stream;
            return out.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
        let mut heard = Heard {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            heard.headers.push((name.into(), value.trim().into()));
        }
        let length: usize = heard.header("content-length").map_or(0, |l| l.parse().unwrap_or(0));
        let fate = (self.script.lock().unwrap_or_else(PoisonError::into_inner))(&heard);
        if let Fate::Reset { after } = fate {
            let mut part = vec![0; after.min(length)];
            reader.read_exact(&mut part)?;
            heard.body = part;
            let mut held = self.shelf();
            held.receive(&heard);
            held.log.push(heard);
            drop(held);
            return reset(stream);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        heard.body = body;
        let mut answer = match &fate {
            Fate::Answer(answer) => answer.clone(),
            _ => self.shelf().handle(&heard),
        };
        let bodiless = heard.method == "HEAD";
        self.shelf().log.push(heard);
        match fate {
            Fate::Cover(ref cover) => answer = cover.clone(),
            Fate::Change(change) => change(&mut answer),
            _ => {}
        }
        let mut out = stream;
        let endless = matches!(fate, Fate::Endless);
        write!(out, "HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status)?;
        if !endless {
            write!(out, "Content-Length: {}\r\n", answer.body.len())?;
        }
        for (name, value) in &answer.headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        out.write_all(b"\r\n")?;
        match fate {
            _ if bodiless => {}
            Fate::Cut { after, reset: broken } => {
                out.write_all(&answer.body[..after.min(answer.body.len())])?;
                if broken {
                    // The other side may lose what it has not read yet, as in life.
                    return reset(stream);
                }
            }
            Fate::Stall { after } => {
                out.write_all(&answer.body[..after])?;
                // Ends when the client gives up.
                let _ = reader.read(&mut [0]);
            }
            Fate::Endless => loop {
                out.write_all(&answer.body)?;
            },
            _ => out.write_all(&answer.body)?,
        }
        Ok(())
    }
}

fn reset(stream: &TcpStream) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}

impl Shelf {
    /// Puts a manifest under its digest and a tag.
    pub(crate) fn put_manifest(&mut self, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        for name in [tag, digest.as_str()] {
            self.manifests.insert(name.into(), (media_type.into(), bytes.into()));
        }
        digest
    }

    fn session(heard: &Heard) -> Option<usize> {
        let id = heard.target.split_once("/blobs/uploads/")?.1;
        id.split('?').next()?.parse().ok()
    }

    /// Appends a body to its session.
    fn receive(&mut self, heard: &Heard) -> Option<&mut Vec<u8>> {
        let session = self.sessions.get_mut(&Self::session(heard)?)?;
        let start = heard.header("content-range").and_then(|r| r.split('-').next()?.parse().ok());
        if start.is_some_and(|start: usize| start != session.len()) {
            return None;
        }
        session.extend_from_slice(&heard.body);
        Some(session)
    }

    fn handle(&mut self, heard: &Heard) -> Answer {
        let (path, query) = heard.target.split_once('?').unwrap_or((&heard.target, ""));
        let last = path.rsplit('/').next().unwrap_or_default();
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
        };
        if path.contains("/manifests/") {
            return self.manifest(heard, last);
        }
        if !path.contains("/blobs/uploads/") {
            return match self.blobs.get(last) {
                None => Answer::new(404),
                Some(blob) => ranged(heard, blob),
            };
        }
        match heard.method.as_str() {
            "POST" => match parameter("mount") {
                Some(digest) if self.blobs.contains_key(&digest) => Answer::new(201),
                _ => {
                    self.next += 1;
                    self.sessions.insert(self.next, Vec::new());
                    // Path only, and a query that an eager client would encode anew.
                    Answer::new(202)
                        .with("Location", format!("{path}{}?_state=z%2Fa~b=&a=1", self.next))
                }
            },
            "GET" => match Self::session(heard).and_then(|id| self.sessions.get(&id)) {
                None => Answer::new(404),
                Some(session) => Answer::new(204)
                    .with("Range", format!("0-{}", session.len().saturating_sub(1)))
                    .with("Location", heard.target.as_str()),
            },
            _ if !query.starts_with("_state=z%2Fa~b=&a=1") => Answer::new(400),
            "PATCH" => match self.receive(heard) {
                None => Answer::new(416),
                Some(_) => Answer::new(202).with("Location", heard.target.as_str()),
            },
            "PUT" => {
                let Some(bytes) = self.receive(heard).map(std::mem::take) else {
                    return Answer::new(404);
                };
                let digest = parameter("digest").unwrap_or_default();
                if Digest::of(&bytes).as_str() != digest {
                    return Answer::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.blobs.insert(digest, bytes);
                Answer::new(201)
            }
            _ => Answer::new(405),
        }
    }

    fn manifest(&mut self, heard: &Heard, name: &str) -> Answer {
        if heard.method == "PUT" {
            let kind = heard.header("content-type").unwrap_or_default().to_owned();
            let digest = self.put_manifest(name, &kind, &heard.body);
            return Answer::new(201).with("Docker-Content-Digest", digest.as_str());
        }
        match self.manifests.get(name) {
            None => Answer::new(404)
                .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
            Some((kind, bytes)) => Answer::new(200)
                .with("Content-Type", kind.as_str())
                .with("Docker-Content-Digest", Digest::of(bytes).as_str())
                .body(bytes.as_slice()),
        }
    }
}

fn ranged(heard: &Heard, blob: &[u8]) -> Answer {
    let from = heard.header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-'));
    match from.and_then(|f| f.parse::<usize>().ok()) {
        None => Answer::new(200).body(blob),
        Some(from) => Answer::new(206)
            .with("Content-Range", format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()))
            .body(&blob[from..]),
    }
}
