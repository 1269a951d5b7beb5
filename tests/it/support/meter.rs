//! A proxy that counts what a client and a server of http say to each other.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// First lines of requests, without `HTTP/1.1`.
    pub(crate) requests: Vec<String>,
    /// Bytes from the client.
    pub(crate) sent: u64,
    /// Bytes from the server.
    pub(crate) received: u64,
}

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Vec<String>>,
    sent: AtomicU64,
    received: AtomicU64,
    stopped: AtomicBool,
    /// Part of a request after whose first line the connection is cut, once the server has it.
    cut: Mutex<Option<&'static str>>,
}

/// The proxy, until it is dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// A proxy of the server in a URL, and the URL by which it is reached through the proxy.
    pub(crate) fn of(url: &str) -> (Self, String) {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (theirs, host) = (Arc::clone(&shared), host.to_owned());
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let server = TcpStream::connect(&host).unwrap();
                join(client.unwrap(), server, &theirs);
            }
        });
        (Self { port, shared, thread: Some(thread) }, format!("http://127.0.0.1:{port}/{path}"))
    }

    /// What has passed since this was asked last.
    pub(crate) fn counted(&self) -> Counted {
        Counted {
            requests: std::mem::take(&mut *self.shared.requests.lock().unwrap()),
            sent: self.shared.sent.swap(0, Ordering::SeqCst),
            received: self.shared.received.swap(0, Ordering::SeqCst),
        }
    }

    /// The client hears nothing of the answer to the next request that has `part` in its first
    /// line; the server does what it was asked for.
    pub(crate) fn cut_answer(&self, part: &'static str) {
        *self.shared.cut.lock().unwrap() = Some(part);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Moves bytes both ways until both sides have closed; whoever goes first is no one's fault.
fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    let deaf = Arc::new(AtomicBool::new(false));
    let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (theirs, their_deaf) = (Arc::clone(shared), Arc::clone(&deaf));
    std::thread::spawn(move || {
        let mut head = Vec::new();
        let _ = pump(up.0, &up.1, |bytes| {
            theirs.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            for byte in bytes {
                head.push(*byte);
                if *byte == b'\n' {
                    let line = String::from_utf8_lossy(&head);
                    if let Some(line) = line.trim_end().strip_suffix(" HTTP/1.1") {
                        // A body has no line end before it.
                        let start = line.rfind("GET /").or_else(|| line.rfind("POST /"));
                        let line = line[start.unwrap_or(0)..].to_owned();
                        let mut cut = theirs.cut.lock().unwrap();
                        if cut.is_some_and(|part| line.contains(part)) {
                            *cut = None;
                            their_deaf.store(true, Ordering::SeqCst);
                        }
                        theirs.requests.lock().unwrap().push(line);
                    }
                    head.clear();
                }
            }
            true
        });
    });
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let _ = pump(server, &client, |bytes| {
            if deaf.load(Ordering::SeqCst) {
                return false;
            }
            shared.received.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            true
        });
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn pump(
    mut from: TcpStream,
    mut to: &TcpStream,
    mut seen: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 || !seen(&buffer[..count]) {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&buffer[..count])?;
    }
}
