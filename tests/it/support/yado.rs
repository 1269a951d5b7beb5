//! The binary under test.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{WorkDir, eventually};

/// A `yado` command that is not started yet.
#[derive(Clone, Debug)]
pub(crate) struct Yado {
    binary: PathBuf,
    wrapper: Vec<String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    stdin: Vec<u8>,
    dir: PathBuf,
    timeout: Duration,
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Running {
    command: Yado,
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Output {
    command: Yado,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// Standard output, for what is no text.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stderr: String,
}

/// The binary: `YADO`, else the one that cargo built.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("YADO").map_or_else(|| env!("CARGO_BIN_EXE_yado").into(), PathBuf::from)
}

impl Yado {
    pub(super) fn new<S: AsRef<str>>(work: &WorkDir, args: impl IntoIterator<Item = S>) -> Self {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: &Path| {
            env.insert(name.to_owned(), value.to_str().unwrap().to_owned());
        };
        set("YADO_ROOT", &work.path("store"));
        set("HOME", &work.path("home"));
        set("XDG_RUNTIME_DIR", &work.path("home/run"));
        set("PATH", Path::new("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
        Self {
            binary: binary(),
            wrapper: Vec::new(),
            args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            env,
            stdin: Vec::new(),
            dir: work.path("."),
            timeout: Duration::from_mins(2),
        }
    }

    /// Starts it by another program, which gets the command as its last arguments.
    pub(crate) fn under<S: AsRef<str>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = wrapper.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Runs a copy of the binary.
    pub(crate) fn binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = binary.into();
        self
    }

    /// Adds arguments right after the subcommand.
    pub(crate) fn flags<S: AsRef<str>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.args.splice(1..1, flags.into_iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// Sets a variable; there are no others than `HOME`, `PATH` and yado's own.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_str().unwrap().to_owned());
        self
    }

    /// What it reads from standard input; nothing unless set.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Starts it in another directory than the test's.
    pub(crate) fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// After this time it is killed and the test fails; two minutes unless set.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts it, in a process group of its own.
    pub(crate) fn start(self) -> Running {
        let binary = self.binary.clone();
        let words = self.wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let words: Vec<&OsStr> = words.chain(self.args.iter().map(OsStr::new)).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", words[0].display()));
        let mut stdin = child.stdin.take().unwrap();
        let bytes = self.stdin.clone();
        // A thread of its own, since it may not be read; then writing to it fails.
        std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let stdout = Stream::of(child.stdout.take().unwrap());
        let stderr = Stream::of(child.stderr.take().unwrap());
        Running { command: self, child, stdout, stderr }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Output {
        self.start().finish()
    }

    /// Runs it; it must succeed.
    pub(crate) fn succeeds(self) -> Output {
        self.run().with_code(0)
    }

    /// Runs it; it must end with this exit code.
    pub(crate) fn fails(self, code: i32) -> Output {
        assert_ne!(code, 0, "that is success");
        self.run().with_code(code)
    }
}

impl Running {
    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the process alone; it may have ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard error holds `text`; false if it ended without.
    pub(crate) fn says(&mut self, text: &str) -> bool {
        eventually(&format!("{text:?} from {:?}", self.command.args), || {
            let ended = self.child.try_wait().unwrap().is_some();
            let said = self.stderr().contains(text);
            (said || ended).then_some(said)
        })
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Output {
        let deadline = Instant::now() + self.command.timeout;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = kill_process_group(self.pid(), Signal::KILL);
                let _ = self.child.wait();
                let (command, out, err) = (&self.command, self.stdout.text(), self.stderr.text());
                panic!("{command:?} did not end in time\nstdout: {out}\nstderr: {err}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        let bytes = self.stdout.bytes.lock().unwrap().clone();
        Output { command: self.command, status, stdout, bytes, stderr }
    }
}

impl Output {
    /// Fails unless it ended with this exit code.
    pub(crate) fn with_code(self, code: i32) -> Self {
        let signal = self.status.signal();
        assert!(
            self.status.code() == Some(code),
            "{:?} ended with {:?} (signal {signal:?}), expected {code}\nstdout: {}\nstderr: {}",
            self.command.args,
            self.status.code(),
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails unless standard error holds `text`.
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{:?} does not say {text:?}\nstderr: {}",
            self.command.args,
            self.stderr
        );
        self
    }
}

/// Reads a stream on a thread, so that the process never waits for its reader.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count) = from.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                shared.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// All of it: until the last process that holds the stream has ended.
    fn finish(&mut self) -> String {
        eventually("the end of the output, which a process left behind holds open", || {
            self.reader.is_finished().then_some(())
        });
        self.text()
    }
}
