//! What the steps around a build share: their flags, their deadline, their results.
//!
//! They need no store, no namespace and no home directory; they run as any uid.

mod config;
mod git;
mod results;

use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::CliError;
use super::{environment, session};
use crate::gitops::{Classified, Kind};
use crate::net;
use crate::report::{self, Mode, Sink};

pub(super) use config::expand;
pub(super) use git::GitFlags;
pub(super) use results::Results;

/// What is printed to standard output when a step is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// The results, one `name: value` a line
    #[default]
    Text,
    /// The results as one JSON object, and progress as JSON events (docs/events.md)
    Json,
}

/// Flags of every step around a build.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Of every step")]
pub(super) struct StepFlags {
    /// Write the result NAME to PATH
    #[arg(long, value_name = "NAME=PATH", value_parser = results::file)]
    result: Vec<(String, PathBuf)>,
    /// Write each result to a file of its name in DIR [default: /tekton/results, where it is]
    #[arg(long, value_name = "DIR")]
    results_dir: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
    /// Give up after this long: 90s, 5m, 1h30m [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = super::quantity::duration)]
    timeout: Option<Duration>,
    /// Take flags from a YAML or JSON file: `flag: value`; those of the command line come first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of certificates to trust besides the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Print nothing but results and errors
    #[arg(short, long)]
    quiet: bool,
}

/// A step under way.
pub(super) struct Step {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) mode: Mode,
    /// How to connect; to be changed before [`Http::new`] is called with it.
    pub(super) net: net::Options,
    /// When the step is to be over. Requests made by it are to be so too.
    pub(super) deadline: Instant,
    /// The whole time it has.
    pub(super) timeout: Duration,
    runtime: tokio::runtime::Runtime,
    flags: StepFlags,
}

/// Why a step did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("not done within {}", report::duration(*.0))]
    Timeout(Duration),
    #[error("interrupted by a signal")]
    Signal,
}

impl Classified for Stopped {
    fn kind(&self) -> Kind {
        match self {
            Self::Timeout(_) => Kind::Timeout,
            Self::Signal => Kind::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Timeout(_) => vec!["--timeout gives it more time".to_owned()],
            Self::Signal => Vec::new(),
        }
    }
}

impl StepFlags {
    /// Begins a step that has these `results`; its time runs from here.
    pub(super) fn begin(&self, results: &[&str]) -> Result<Step, CliError> {
        const DEFAULT: Duration = Duration::from_mins(10);
        // What is found out at the end would be found out when all is done.
        if let Some((name, _)) = self.result.iter().find(|(name, _)| !results.contains(&&**name)) {
            let known = results.join(", ");
            return Err(CliError::Usage(format!(
                "--result {name}: there is no such result; there are {known}"
            )));
        }
        let mode = match (self.quiet, self.output) {
            (true, _) => Mode::Quiet,
            (false, OutputFormat::Json) => Mode::Json,
            (false, OutputFormat::Text) if std::io::stderr().is_terminal() => Mode::Terminal,
            (false, OutputFormat::Text) => Mode::Plain,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| CliError::Output(format!("start threads: {e}")))?;
        let net = net::Options {
            system_bundles: environment::certificate_bundles(),
            certificates: self.ca_file.clone(),
            proxies: environment::proxies(),
            ..net::Options::default()
        };
        let timeout = self.timeout.unwrap_or(DEFAULT);
        Ok(Step {
            sink: report::sink(mode, Box::new(std::io::stderr()), session::options()),
            mode,
            net,
            deadline: Instant::now() + timeout,
            timeout,
            runtime,
            flags: self.clone(),
        })
    }
}

impl Step {
    /// Runs the step's work to its end, its deadline or a signal, whichever comes first; what is
    /// under way then is dropped.
    pub(super) fn run<T, E: Classified>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CliError> {
        self.runtime.block_on(async {
            // Before anything is made that a signal would leave behind.
            let stopped = signalled();
            tokio::select! {
                biased;
                done = work => Ok(done?),
                () = stopped => Err(Stopped::Signal.into()),
                () = tokio::time::sleep_until(self.deadline.into()) => {
                    Err(Stopped::Timeout(self.timeout).into())
                }
            }
        })
    }

    /// Runs work that minds the deadline and signals by itself, since it has to take leave.
    pub(super) fn run_to_its_own_end<T, E: Classified>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CliError> {
        Ok(self.runtime.block_on(work)?)
    }

    /// Prints the results and writes them to their files.
    pub(super) fn finish(self, results: &Results) -> Result<(), CliError> {
        let Self { sink, flags, .. } = self;
        // What moves on the terminal goes before the results come.
        drop(sink);
        results.write(flags.results_dir.as_deref(), &flags.result)?;
        results.print(flags.output)
    }
}

/// Ends when the process is asked to stop, from this call on. The caller has its work dropped then.
pub(super) fn signalled() -> impl Future<Output = ()> {
    let mut streams: Vec<_> =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .filter_map(|kind| signal(kind).ok())
            .collect();
    async move {
        let any = streams.iter_mut().map(|stream| Box::pin(stream.recv()));
        futures_util::future::select_all(any).await;
    }
}
