//! `yado build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::call::{self, Call, Method};
use super::exit::{self, CliError};
use super::output::{self, Kind, Output};
use super::place::Place;
use super::secrets::SecretFlags;
use super::session::{Progress, RegistryFlags, Session};
use super::{Global, environment};
use crate::build::{self, BuildError, BuildRequest, BuildResult, LAST_EPOCH, Timestamps, Uploads};
use crate::cache;
use crate::dockerfile::Source;
use crate::image::{Platform, Reference};
use crate::layer::Compression;
use crate::plan::PlanOptions;
use crate::report::{self, Event, Mode};
use crate::sandbox::{Identity, Network};
use crate::store::{Selection, StoreError};

/// No comment of the documentation, where the schemes would have to be links.
const CONTEXT_HELP: &str = "What NAME stands for in FROM, --from and from=: a directory, a git or https URL, docker-image://IMAGE, oci-layout://DIRECTORY[:TAG][@DIGEST] or target:STAGE";

/// The flags of `yado build`.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The build context: a directory, a git or https URL, or - for standard input: a tar archive,
    /// or a Dockerfile and no context
    #[arg(value_name = "PATH")]
    context: PathBuf,
    /// Name the image, as HOST/PATH:TAG
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<Reference>,
    /// Push the image under its names
    #[arg(long)]
    push: bool,
    /// The Dockerfile, - for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    #[arg(long, help = CONTEXT_HELP, value_name = "NAME=VALUE", value_parser = super::contexts::parse)]
    build_context: Vec<super::contexts::BuildContext>,
    /// Build this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Label the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,
    /// Annotate the image's manifest
    #[arg(long, value_name = "[manifest:]NAME=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// What the image is to run on, as OS/ARCHITECTURE[/VARIANT] [default: this machine]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Ask registries for base images even if the store has them
    #[arg(long)]
    pull: bool,
    /// Run every step, whatever was built before
    #[arg(long)]
    no_cache: bool,
    /// Fetch base images also where COPY and WORKDIR alone follow, to paths that the base does not seem to have
    #[arg(long)]
    eager_base: bool,
    /// How many steps of different stages run at a time; 0 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    jobs: usize,
    /// Where else to look for what steps made: type=local,src=DIR[,tag=NAME][,digest=DIGEST]
    #[arg(long, value_name = "CACHE", value_parser = super::cache::source)]
    cache_from: Vec<cache::Source>,
    /// Write what the steps made for other builds: type=local,dest=DIR[,mode=min|max][,tag=NAME][,ignore-error=true]
    #[arg(long, value_name = "CACHE", value_parser = super::cache::destination)]
    cache_to: Vec<cache::Destination>,
    /// Add a line to the steps' /etc/hosts
    #[arg(long, value_name = "HOST:IP", value_parser = host)]
    add_host: Vec<(String, String)>,
    /// The network of RUN steps
    #[arg(long, value_name = "NETWORK", default_value = "default", value_parser = network)]
    network: Network,
    /// Where the result goes: DIR, - or type=image|registry|oci|docker|tar|local[,dest=…][,tar=false][,push=true]
    /// [,compression=gzip|zstd|uncompressed][,compression-level=N]
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<Output>,
    /// Write the image's id (the digest of its configuration) to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write digests and names as JSON to a file
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Check the Dockerfile instead of building it; the exit code is 1 if there are warnings
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// Check, or list what can be given (outline) or built (targets), instead of building:
    /// build|check|outline|targets[,format=json][,ignorestatus=true]
    #[arg(long, visible_alias = "print", value_name = "METHOD")]
    call: Option<Call>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    progress: Progress,
    /// Write the build as a waterfall, a page for a browser, to a file (docs/timeline.md)
    #[arg(long, value_name = "FILE.html")]
    timeline: Option<PathBuf>,
    /// Show nothing, print the image's digest at the end
    #[arg(short, long)]
    quiet: bool,
    /// Times of new files: not after the epoch (SOURCE_DATE_EPOCH, or when the base was made), or as they are
    #[arg(long, value_name = "RULE", value_enum, default_value_t)]
    timestamps: TimestampsFlag,
    /// After the build, remove the least recently used steps and cache mounts from a store larger than this,
    /// such as 20GB [env: YADO_STORE_LIMIT]
    #[arg(long, value_name = "SIZE", value_parser = super::quantity::size)]
    store_limit: Option<u64>,
    #[command(flatten)]
    secrets: SecretFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TimestampsFlag {
    /// The same inputs give the same digest
    #[default]
    Epoch,
    /// As docker does
    Keep,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Annotations may say where they go; here there are manifests only.
fn annotation(text: &str) -> Result<(String, String), String> {
    let (place, rest) = match text.split_once(':') {
        Some((place, rest)) if !place.contains(['=', '.']) => (place, rest),
        _ => ("manifest", text),
    };
    match place {
        "manifest" => key_value(rest),
        "index" | "manifest-descriptor" | "index-descriptor" => Err(format!(
            "annotations of the {place} are not supported yet; an image of one platform has no index"
        )),
        _ => key_value(text),
    }
}

pub(super) fn host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| "expected HOST:IP".to_owned())?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address: std::net::IpAddr =
        bare.parse().map_err(|_| format!("{address:?} is not an IP address"))?;
    Ok((name.to_owned(), address.to_string()))
}

/// A network by Docker's names.
pub(super) fn network(text: &str) -> Result<Network, String> {
    match text {
        "default" | "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err("expected default, host or none".to_owned()),
    }
}

/// Builds, writes the outputs, pushes.
pub(super) fn run(global: &Global, flags: &Flags) -> Result<ExitCode, CliError> {
    if let Some(call) = flags.call() {
        let mut request = flags.request(&[])?;
        let place = Place::find(&flags.context, flags.file.as_deref())?;
        // For a file of this machine no store is needed.
        let session = match place {
            Place::Here(..) => None,
            _ => Some(Session::open(global, Progress::Quiet, &flags.registry)?),
        };
        let env = session.as_ref().map(|session| &session.env);
        (request.dockerfile, request.context) =
            place.open(flags.file.as_deref(), &request.secrets, env)?;
        return call::run(global, call, &request, &flags.registry, session);
    }
    let outputs = flags.outputs()?;
    let names = flags.names(&outputs)?;
    let mut request = flags.request(&outputs)?;
    let limit = flags.store_limit.map_or_else(environment::store_limit, |limit| Ok(Some(limit)))?;
    let place = Place::find(&flags.context, flags.file.as_deref())?;
    let progress = if flags.quiet { Progress::Quiet } else { flags.progress };
    let session = match &flags.timeline {
        Some(path) => {
            output::can_write(path, "--timeline")?;
            Session::open_with_timeline(global, progress, &flags.registry)?
        }
        None => Session::open(global, progress, &flags.registry)?,
    };
    let built = build_and_write(flags, &mut request, place, &outputs, &names, &session);
    let built = built.and_then(|result| {
        if let Some(limit) = limit {
            keep_within(limit, &session);
        }
        let files_only = outputs.iter().all(Output::is_files);
        let size = result.image.layers.iter().map(|layer| layer.blob.size).sum();
        let end = Event::Finished {
            image: (!files_only).then(|| result.manifest.digest.to_string()),
            names: names.iter().map(ToString::to_string).collect(),
            size: if files_only { 0 } else { size },
            steps: result.steps,
            cached: result.cached,
        };
        // A build whose page cannot be written has failed, as with any other output.
        write_timeline(flags, &session, &end)?;
        session.env.sink.event(end);
        Ok(result)
    });
    match built {
        Ok(result) => {
            drop(session);
            if flags.quiet {
                print(&format!("{}\n", result.manifest.digest));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let error = explain(error, &session);
            let end = Event::Failed { message: exit::text(&error).trim_end().to_owned() };
            if let Err(page) = write_timeline(flags, &session, &end) {
                session.env.sink.event(Event::Warning { message: page.to_string() });
            }
            // The moving lines of a terminal go before the error is printed.
            session.env.sink.event(end);
            // The event has said it; a line that is not JSON would break its reader.
            if session.mode == Mode::Json { Ok(exit::code(&error).into()) } else { Err(error) }
        }
    }
}

/// Writes the page of a build that ends with `end`, if one is wanted.
fn write_timeline(flags: &Flags, session: &Session, end: &Event) -> Result<(), CliError> {
    let (Some(path), Some(timeline)) = (&flags.timeline, &session.timeline) else { return Ok(()) };
    output::write_whole(path, timeline.page(end).as_bytes())
}

/// Removes from the store what was not used for the longest time. What does not work
/// now is for the next build; this one is good.
fn keep_within(limit: u64, session: &Session) {
    let (store, sink) = (&session.env.store, &session.env.sink);
    let selection = Selection { keep: Some(limit), ..Selection::default() };
    match store.clone().prune(&selection) {
        Ok(pruned) => {
            if pruned.bytes > 0 {
                let message = format!("the store limit took {}", super::store::counts(&pruned));
                sink.event(Event::Note { message });
            }
            if pruned.kept > limit {
                let (kept, limit) = (report::size(pruned.kept), report::size(limit));
                let message = format!(
                    "the store has {kept}, more than its limit of {limit}, for named images; `yado store prune --all` removes them"
                );
                sink.event(Event::Warning { message });
            }
        }
        Err(error @ StoreError::Busy(_)) => {
            let message =
                format!("the store limit is for the next build: {}", report::chain(&error));
            sink.event(Event::Note { message });
        }
        Err(error) => {
            let message = format!("the store is not pruned: {}", report::chain(&error));
            sink.event(Event::Warning { message });
        }
    }
}

#[expect(clippy::print_stdout, reason = "the digest is what --quiet is asked for")]
fn print(text: &str) {
    print!("{text}");
}

/// Adds what the progress did not show, and what may help.
fn explain(error: CliError, session: &Session) -> CliError {
    let CliError::Build { source, .. } = error else { return error };
    let failed = session.tail.failed();
    let lines: Vec<String> = failed.into_iter().flat_map(|step| step.output.lines).collect();
    let mut hints = Vec::new();
    if let BuildError::At { help: Some(help), .. } = &*source {
        hints.push(help.clone());
    }
    // What the kernel says of an id that is not mapped, and of one that may not be taken.
    let refused =
        |line: &String| line.contains("Invalid argument") || line.contains("not permitted");
    if matches!(source.kind(), build::ErrorKind::Step(_))
        && session.env.isolation.identity == Identity::Single
        && lines.iter().any(refused)
    {
        hints.push(
            "steps have one user id here, so chown to another user, or changing to one, fails in them".to_owned(),
        );
        hints.extend(session.env.isolation.remarks.iter().cloned());
    }
    if source.kind() == build::ErrorKind::Storage && is_full(&*source) {
        hints.push(format!(
            "the disk of the store {} is full; make room, run `yado store prune`, or name another place with --root",
            session.env.store.root().display()
        ));
    }
    if source.is_gone() {
        hints.push("if the image has another content now, --pull asks for it anew".to_owned());
    }
    let output = if session.mode == Mode::Quiet { lines } else { Vec::new() };
    CliError::Build { source, output, hints }
}

/// Whether an error is for want of space.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded))
    })
}

fn build_and_write(
    flags: &Flags,
    request: &mut BuildRequest,
    place: Place,
    outputs: &[Output],
    names: &[Reference],
    session: &Session,
) -> Result<BuildResult, CliError> {
    let env = &session.env;
    (request.dockerfile, request.context) =
        place.open(flags.file.as_deref(), &request.secrets, Some(env))?;
    let push = outputs.iter().any(|output| matches!(output.kind, Kind::Image { push: true, .. }));
    let uploads = push.then(|| Uploads::begin(names, env));
    let result = build::build(request, uploads.as_ref(), env)?;
    let in_store = outputs.iter().any(|output| matches!(output.kind, Kind::Image { .. }));
    if in_store {
        for name in names {
            env.store.name(name, &result.manifest)?;
        }
    }
    for output in outputs {
        output.write(&result, names, env)?;
    }
    if let Some(uploads) = uploads {
        uploads.finish(&result, env)?;
    }
    for destination in &flags.cache_to {
        build::export_cache(&result, destination, env)?;
    }
    if let Some(path) = &flags.iidfile {
        write_file(path, result.config.digest.as_str().as_bytes())?;
    }
    if let Some(path) = &flags.metadata_file {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let metadata = json!({
            "containerimage.config.digest": result.config.digest,
            "containerimage.digest": result.manifest.digest,
            "containerimage.descriptor": result.manifest,
            "image.name": names.join(","),
        });
        write_file(path, format!("{metadata:#}\n").as_bytes())?;
    }
    Ok(result)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(|e| CliError::Output(format!("write {}: {e}", path.display())))
}

impl Flags {
    /// The outputs; without any, an image of the store.
    fn outputs(&self) -> Result<Vec<Output>, CliError> {
        let mut outputs = self.output.clone();
        if outputs.is_empty() {
            outputs.push(Output {
                kind: Kind::Image { names: Vec::new(), push: false },
                compression: None,
            });
        }
        if self.push {
            match outputs.iter_mut().find_map(|output| match &mut output.kind {
                Kind::Image { push, .. } => Some(push),
                _ => None,
            }) {
                Some(push) => *push = true,
                None => outputs.push(Output {
                    kind: Kind::Image { names: Vec::new(), push: true },
                    compression: None,
                }),
            }
        }
        outputs.iter().try_for_each(Output::check)?;
        let files = [&self.iidfile, &self.metadata_file];
        files.into_iter().flatten().try_for_each(|path| output::has_directory(path))?;
        Ok(outputs)
    }

    /// What is asked instead of a build.
    fn call(&self) -> Option<Call> {
        let mut call = if self.check { Call::CHECK } else { self.call? };
        call.json |= self.progress == Progress::Json;
        (call.method != Method::Build).then_some(call)
    }

    fn names(&self, outputs: &[Output]) -> Result<Vec<Reference>, CliError> {
        let mut names = self.tag.clone();
        for output in outputs {
            if let Kind::Image { names: more, .. } = &output.kind {
                names.extend(more.iter().cloned());
            }
        }
        if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
            return Err(CliError::Usage(format!(
                "{name} has a digest; an image to build is named by a tag"
            )));
        }
        let push =
            outputs.iter().any(|output| matches!(output.kind, Kind::Image { push: true, .. }));
        if push && names.is_empty() {
            return Err(CliError::Usage("there is no name to push to; give one with -t".into()));
        }
        Ok(names)
    }

    fn request(&self, outputs: &[Output]) -> Result<BuildRequest, CliError> {
        let build_args = self.build_args();
        let compression = compression_of(outputs)?;
        let (kinds, contexts) = super::contexts::collect(&self.build_context)?;
        Ok(BuildRequest {
            // These two are set by `Place`.
            dockerfile: Source::new("Dockerfile", String::new()),
            context: None,
            contexts,
            annotations: self.annotation.clone(),
            pull: self.pull,
            no_cache: self.no_cache,
            eager_base: self.eager_base,
            jobs: self.jobs,
            cache_from: self.cache_from.clone(),
            network: self.network,
            add_hosts: self.add_host.clone(),
            secrets: self.secrets.secrets()?,
            agents: self.secrets.agents()?,
            entitlements: self.secrets.entitlements(),
            compression,
            timestamps: self.timestamps(&build_args)?,
            options: PlanOptions {
                build_args,
                target: self.target.clone(),
                platform: self.platform.clone().unwrap_or_else(Platform::host),
                build_platform: Platform::host(),
                labels: self.label.clone(),
                contexts: kinds,
            },
        })
    }

    fn build_args(&self) -> Vec<(String, String)> {
        self.build_arg
            .iter()
            .filter_map(|arg| match arg.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => Some((arg.clone(), environment::variable(arg)?)),
            })
            .collect()
    }

    fn timestamps(&self, build_args: &[(String, String)]) -> Result<Timestamps, CliError> {
        if self.timestamps == TimestampsFlag::Keep {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            return Ok(Timestamps::Keep(now.map_or(0, |since| since.as_secs() as i64)));
        }
        let argument = build_args.iter().rev().find(|(name, _)| name == "SOURCE_DATE_EPOCH");
        let epoch = match argument {
            Some((_, value)) => Some(value.parse().map_err(|_| {
                CliError::Usage(format!(
                    "SOURCE_DATE_EPOCH is {value:?}, expected seconds since 1970"
                ))
            })?),
            None => environment::source_date_epoch()?,
        };
        if let Some(seconds) = epoch.filter(|seconds| !(0..=LAST_EPOCH).contains(seconds)) {
            return Err(CliError::Usage(format!(
                "SOURCE_DATE_EPOCH is {seconds}, expected seconds since 1970 up to {LAST_EPOCH}, the end of the year 9999"
            )));
        }
        Ok(Timestamps::Epoch(epoch))
    }
}

/// The compression of new layers: one for all outputs.
fn compression_of(outputs: &[Output]) -> Result<Compression, CliError> {
    let mut wanted = outputs.iter().filter_map(|output| output.compression);
    let Some(first) = wanted.next() else { return Ok(Compression::default()) };
    if wanted.any(|other| other != first) {
        return Err(CliError::Usage(
            "the outputs ask for different compressions; an image has one".into(),
        ));
    }
    Ok(first)
}
