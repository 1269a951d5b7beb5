//! What `build` and `exec` share: entering the sandbox's side, opening the store, Ctrl-C.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::CliError;
use super::{Global, environment};
use crate::build::{self, Env, Overlays};
use crate::layer::Pool;
use crate::net::Http;
use crate::registry::{Client, ClientOptions, Credentials};
use crate::report::{self, Clock, Event, Mode, Sink, Size, Tail, Timeline};
use crate::sandbox::{self, Cancellation, Isolation, Launcher};
use crate::store::Store;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
    /// `tty` on a terminal, else `plain`
    #[default]
    Auto,
    /// Lines that change in place
    Tty,
    /// Whole lines, for logs
    Plain,
    /// One JSON event per line (docs/events.md)
    Json,
    /// Nothing
    Quiet,
}

/// Flags of commands that talk to registries.
#[derive(Debug, clap::Args)]
pub(super) struct RegistryFlags {
    /// A registry that is spoken to without TLS (loopback ones are anyway)
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
    /// A file of certificates to trust besides the system's
    #[arg(long, value_name = "FILE")]
    registry_certificate: Vec<PathBuf>,
}

/// A command under way.
pub(super) struct Session {
    pub(super) env: Env,
    pub(super) tail: Arc<Tail>,
    /// Only of a session that was opened with one.
    pub(super) timeline: Option<Arc<Timeline>>,
    pub(super) mode: Mode,
}

/// Enters the private mount namespace and opens the store. Before any thread.
pub(super) fn open_store(global: &Global) -> Result<(Store, Isolation), CliError> {
    let isolation = sandbox::enter(global.isolation.into())?;
    let root = global.root.clone().map_or_else(environment::store_root, Ok)?;
    let store = Store::open(&root, &isolation.fingerprint())?;
    Ok((store, isolation))
}

impl Session {
    pub(super) fn open(
        global: &Global,
        progress: Progress,
        flags: &RegistryFlags,
    ) -> Result<Self, CliError> {
        Self::open_with(global, progress, flags, |sink, _| (sink, None))
    }

    /// The same, with a timeline of all events.
    pub(super) fn open_with_timeline(
        global: &Global,
        progress: Progress,
        flags: &RegistryFlags,
    ) -> Result<Self, CliError> {
        Self::open_with(global, progress, flags, |sink, clock| {
            let timeline = Arc::new(Timeline::new(sink, clock));
            (Arc::clone(&timeline) as Arc<dyn Sink>, Some(timeline))
        })
    }

    fn open_with(
        global: &Global,
        progress: Progress,
        flags: &RegistryFlags,
        timeline: impl FnOnce(Arc<dyn Sink>, Clock) -> (Arc<dyn Sink>, Option<Arc<Timeline>>),
    ) -> Result<Self, CliError> {
        let (store, isolation) = open_store(global)?;
        let scratch = store.work().fresh("overlay");
        let overlays = match isolation.view {
            sandbox::View::Namespaces => Overlays::detect(&scratch),
            _ => Overlays::Impossible(
                "there is no private mount namespace, so trees are copied".to_owned(),
            ),
        };
        let credentials = Credentials::from_files(&environment::credential_files())?;
        let mode = match progress {
            Progress::Auto if std::io::stderr().is_terminal() => Mode::Terminal,
            Progress::Auto | Progress::Plain => Mode::Plain,
            Progress::Tty => Mode::Terminal,
            Progress::Json => Mode::Json,
            Progress::Quiet => Mode::Quiet,
        };
        let options = options();
        let clock = options.clock.clone();
        let tail = Arc::new(Tail::new(report::sink(mode, Box::new(std::io::stderr()), options)));
        let (sink, timeline) = timeline(Arc::clone(&tail) as Arc<dyn Sink>, clock);
        sink.event(Event::Note { message: isolation.describe() });
        for remark in &isolation.remarks {
            sink.event(Event::Note { message: remark.clone() });
        }
        if let Overlays::Impossible(reason) = &overlays {
            sink.event(Event::Note { message: reason.clone() });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| CliError::Output(format!("start threads: {e}")))?;
        let cancellation = Arc::new(Cancellation::default());
        stop_on_signals(&runtime, &cancellation);
        let mut client = ClientOptions { credentials, ..ClientOptions::default() };
        client.insecure.clone_from(&flags.insecure_registry);
        client.net.certificates.clone_from(&flags.registry_certificate);
        client.net.system_bundles = environment::certificate_bundles();
        client.net.proxies = environment::proxies();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let env = Env {
            store,
            http: Http::new(client.net.clone()),
            client: Client::new(client, Arc::clone(&sink)),
            runtime,
            isolation,
            launcher: Launcher::default(),
            overlays,
            sink,
            cancellation,
            resolv_conf: std::fs::read("/etc/resolv.conf").unwrap_or_default(),
            threads,
            pool: Pool::new(threads),
            trees: build::Trees::default(),
        };
        Ok(Self { env, tail, timeline, mode })
    }
}

/// How this terminal is written to.
pub(super) fn options() -> report::Options {
    let size = || {
        rustix::termios::tcgetwinsize(std::io::stderr().as_fd()).map_or(
            Size { columns: 0, rows: 0 },
            |size| Size { columns: size.ws_col, rows: size.ws_row },
        )
    };
    report::Options {
        clock: Clock::start(),
        colour: environment::colour(),
        size: Box::new(size),
        refresh: Some(Duration::from_millis(100)),
    }
}

/// The first Ctrl-C stops the build in order, the second at once: what it leaves
/// in the work directory is removed by the next yado.
fn stop_on_signals(runtime: &tokio::runtime::Runtime, cancellation: &Arc<Cancellation>) {
    let _guard = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let Ok(mut stream) = signal(kind) else { continue };
        let cancellation = Arc::clone(cancellation);
        runtime.spawn(async move {
            while stream.recv().await.is_some() {
                if cancellation.is_cancelled() {
                    crate::sys::exit_now(130);
                }
                cancellation.cancel();
            }
        });
    }
}
