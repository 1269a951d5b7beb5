//! Runs a plan: from a Dockerfile to an image in the store.
//!
//! [`build`] parses and plans, fetches the base images that the plan names, and
//! walks the stages in the order of the plan. A stage is a list of layers that
//! grows; its files are put on disk only when a step has to run. The result is
//! in the store before anything is pushed or exported.

mod agent;
mod base;
mod caches;
mod contexts;
mod copy;
mod error;
mod export;
mod layers;
mod layout;
mod mounts;
mod push;
mod remote;
mod run;
mod schedule;
mod secrets;
mod sources;
mod stage;
mod steps;
mod tree;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::cache::{self, Cache};
use crate::context::{Context, ContextLocation};
use crate::dockerfile::{self, Source, Span};
use crate::image::{Descriptor, Document, ImageConfig, Platform, RuntimeConfig};
use crate::layer::{Compression, Pool};
use crate::net::Http;
use crate::plan::{self, FileSource, ImageRequest, ImageSource, Plan, PlanOptions, Stages, Wanted};
use crate::registry::Client;
use crate::report::{Event, Sink};
use crate::rootfs::{Ledger, Owners};
use crate::sandbox::{Cancellation, Identity, Isolation, Launcher, Network};
use crate::snapshot::Times;
use crate::store::Store;

pub use base::{Image, find_base};
pub use contexts::{open_context, unpack_context};
pub use error::{BuildError, ErrorKind};
pub use export::{
    ExportError, Format, TreeOutput, export_cache, export_image, export_image_dir, export_tree,
};
pub use layers::Trees;
pub use push::Uploads;
pub use remote::FetchError;
pub use run::{ExecRequest, exec};
pub use secrets::{Agents, Secrets};
pub use tree::Overlays;

use contexts::Contexts;
use schedule::{Board, Jobs, Once};
use stage::Shared;

/// 1980-01-01: the epoch of what has no base image; zip archives know no older date.
const DEFAULT_EPOCH: i64 = 315_532_800;
/// 9999-12-31, the last second that RFC 3339 can write.
pub const LAST_EPOCH: i64 = 253_402_300_799;

/// What to build.
#[derive(Debug)]
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: Source,
    /// The build context; without one, COPY has only stages and images.
    pub context: Option<Context>,
    /// Where the files of the named contexts are that are [`plan::NamedContext::Files`].
    pub contexts: BTreeMap<String, ContextLocation>,
    /// Arguments, target, platform, labels and what named contexts there are.
    pub options: PlanOptions,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// Ask the registry for base images even if the store has them.
    pub pull: bool,
    /// Run every step, whatever is remembered.
    pub no_cache: bool,
    /// Look at the files of base images also where nothing depends on them, as it seems.
    pub eager_base: bool,
    /// How many steps of different stages run at a time; 0 for no limit.
    pub jobs: usize,
    /// Where else steps may be remembered.
    pub cache_from: Vec<cache::Source>,
    /// The network of steps that do not say.
    pub network: Network,
    /// `HOST IP` lines for `/etc/hosts`.
    pub add_hosts: Vec<(String, String)>,
    /// What steps may use without a trace.
    pub secrets: Secrets,
    /// The sockets of agents that steps may use.
    pub agents: Agents,
    /// Rights beyond the usual ones that steps may ask for.
    pub entitlements: BTreeSet<Entitlement>,
    /// How new layers are compressed.
    pub compression: Compression,
    /// What becomes of the times of files.
    pub timestamps: Timestamps,
}

/// A right beyond the usual ones: `--allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `RUN --network=host`. It takes no right here: the network of a build is the host's
    /// unless `--network none` says otherwise, which nothing lifts.
    NetworkHost,
    /// `RUN --security=insecure`.
    SecurityInsecure,
}

/// What becomes of the times of files that steps write, and of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// None is later than the epoch: `SOURCE_DATE_EPOCH` if given, else when the
    /// base image was made, else 1980.
    Epoch(Option<i64>),
    /// As they are; the image is made at this time (seconds since 1970).
    Keep(i64),
}

/// What a build needs of the world.
pub struct Env {
    /// Where images, layers and remembered steps are.
    pub store: Store,
    /// Registries.
    pub client: Client,
    /// Other servers.
    pub http: Http,
    /// Runs what the client does.
    pub runtime: tokio::runtime::Runtime,
    /// How steps are isolated.
    pub isolation: Isolation,
    /// Starts the processes of steps.
    pub launcher: Launcher,
    /// Whether trees are stacked or copied.
    pub overlays: Overlays,
    /// Takes what happens.
    pub sink: Arc<dyn Sink>,
    /// Stops it all.
    pub cancellation: Arc<Cancellation>,
    /// The content of `/etc/resolv.conf` for steps.
    pub resolv_conf: Vec<u8>,
    /// How many threads read the files of a context.
    pub threads: usize,
    /// What is known of unpacked layers.
    pub trees: Trees,
    /// The threads that compress layers.
    pub pool: Pool,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Env {
    /// Which owners the files of a tree can have; `ledger` is that tree's.
    fn owners<'a>(&self, ledger: &'a Ledger) -> Owners<'a> {
        match self.isolation.identity {
            Identity::Single => Owners::Single(ledger),
            Identity::Real | Identity::Subordinate => Owners::Real,
        }
    }

    fn check_cancelled(&self) -> Result<(), BuildError> {
        if self.cancellation.is_cancelled() { Err(BuildError::Interrupted) } else { Ok(()) }
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct BuildResult {
    /// The manifest, in the store.
    pub manifest: Descriptor,
    /// The configuration, in the store.
    pub config: Descriptor,
    /// The image's layers and configuration.
    pub image: Image,
    /// How many steps there were.
    pub steps: u32,
    /// How many of them were remembered.
    pub cached: u32,
    /// The steps whose layers are in the image, but for the base image's.
    pub image_steps: cache::Steps,
    /// All steps.
    pub all_steps: cache::Steps,
}

/// Builds an image into the store. With `uploads` its layers are pushed while it is built,
/// and base images whose files nobody needs stay where they are; without, the store has
/// all of the image in the end.
pub fn build(
    request: &BuildRequest,
    uploads: Option<&Uploads>,
    env: &Env,
) -> Result<BuildResult, BuildError> {
    let mut bases: BTreeMap<ImageRequest, Image> = BTreeMap::new();
    let ignore = request.context.as_ref().map(Context::ignore);
    let mut find = |wanted: &Wanted, _| {
        let found = resolve_all(wanted, request, env)?;
        let config =
            |(wanted, image): (&ImageRequest, &Image)| (wanted.clone(), Some(image.config.clone()));
        let configs = found.iter().map(config).collect();
        bases.extend(found);
        Ok::<_, BuildError>(configs)
    };
    let (source, options) = (&request.dockerfile, &request.options);
    let examined = plan::examine(source, options, ignore, Stages::Needed, &mut find)?;
    let Some(plan) = examined.plan else {
        return Err(BuildError::Dockerfile(dockerfile::render(&examined.diagnostics, source)));
    };
    for diagnostic in &examined.diagnostics {
        let place = diagnostic.span.map(|span| format!("{}: ", place(request, span)));
        let message = format!("{}{}", place.unwrap_or_default(), diagnostic.titled());
        env.sink.event(Event::Warning { message });
    }
    let copied: Wanted = plan
        .stages
        .iter()
        .flat_map(copied_images)
        .filter(|(wanted, _)| !bases.contains_key(wanted))
        .map(|(wanted, span)| (wanted.clone(), span))
        .collect();
    for (wanted, image) in resolve_all(&copied, request, env)? {
        let (actual, platform) = (image.config.platform(), &wanted.platform);
        if !actual.satisfies(platform) {
            let image = &wanted.source;
            let message = format!("image {image} is for {actual}, not for {platform}");
            env.sink.event(Event::Warning { message });
        }
        bases.insert(wanted, image);
    }
    run_plan(request, uploads, env, &plan, &bases)
}

/// Finds images, several at once.
fn resolve_all(
    wanted: &Wanted,
    request: &BuildRequest,
    env: &Env,
) -> Result<BTreeMap<ImageRequest, Image>, BuildError> {
    let resolve = |wanted: &ImageRequest, span| {
        base::resolve(wanted, request.pull, env)
            .map_err(|error| error.at(place(request, span), meant(request, wanted)))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .iter()
            .map(|(wanted, span)| (wanted, scope.spawn(|| resolve(wanted, *span))))
            .collect();
        let panicked = || BuildError::Internal("finding an image panicked".to_owned());
        let found = threads
            .into_iter()
            .map(|(wanted, thread)| Ok((wanted.clone(), thread.join().map_err(|_| panicked())??)));
        // All of them, so that the first error is the same every time.
        found.collect::<Vec<_>>().into_iter().collect()
    })
}

/// The stage that was perhaps meant by the name of an image.
fn meant(request: &BuildRequest, wanted: &ImageRequest) -> Option<String> {
    // A stage's name has no registry and no folder.
    let ImageSource::Registry(reference) = &wanted.source else { return None };
    let name = reference.repository().path().strip_prefix("library/")?;
    let (parsed, _) = dockerfile::parse(&request.dockerfile);
    let stages: Vec<String> =
        plan::targets(&parsed).into_iter().filter_map(|target| target.name).collect();
    let near = dockerfile::nearest(name, stages.iter().map(String::as_str))?;
    Some(format!("did you mean the stage {near}? it must stand before its use"))
}

/// `FILE:LINE`.
fn place(request: &BuildRequest, span: Span) -> String {
    let (line, _) = request.dockerfile.position(span.start);
    format!("{}:{line}", request.dockerfile.name)
}

/// The images that steps take files from, and where they are named.
fn copied_images(stage: &plan::Stage) -> impl Iterator<Item = (&ImageRequest, Span)> {
    stage.steps.iter().flat_map(|step| {
        step.file_sources().into_iter().filter_map(|source| match source {
            FileSource::Image(request) => Some((request, step.span)),
            _ => None,
        })
    })
}

fn run_plan(
    request: &BuildRequest,
    uploads: Option<&Uploads>,
    env: &Env,
    plan: &Plan,
    bases: &BTreeMap<ImageRequest, Image>,
) -> Result<BuildResult, BuildError> {
    let sources = if request.no_cache { &[] } else { request.cache_from.as_slice() };
    let shared = Shared {
        request,
        env,
        bases,
        contexts: Contexts::new(request, env),
        cache: Cache::open(&env.store, sources, &env.sink),
        board: Board::default(),
        jobs: Jobs::new(request.jobs),
        names: plan.stages.iter().map(|stage| (stage.id, stage.name.clone())).collect(),
        read: plan.stages.iter().flat_map(plan::Stage::stages_read).collect(),
        once: Once::default(),
        cached: AtomicU32::new(0),
        alone: plan.stages_without_files(),
        uploads: uploads.map(|uploads| (uploads, plan.stages_of_image())),
    };
    let mut results = schedule::run(&plan.stages, &shared)?;
    let mut all_steps = cache::Steps::default();
    for stage in results.values() {
        all_steps.extend(&stage.steps);
    }
    let target = plan.stages.iter().find(|stage| stage.id == plan.target);
    let (Some(stage), Some(result)) = (target, results.remove(&plan.target)) else {
        return Err(BuildError::Internal("the plan has no target".to_owned()));
    };
    let image_steps = result.steps.clone();
    let image = Arc::unwrap_or_clone(result).into_image(&stage.runtime, stage.author.as_deref());
    if uploads.is_none() {
        layers::fetch(&image.layers, env)?;
    }
    let (manifest, config) = write_image(&image, &request.annotations, &env.store)?;
    Ok(BuildResult {
        manifest,
        config,
        image,
        steps: plan.stages.iter().map(plan::Stage::working_steps).sum(),
        cached: shared.cached.into_inner(),
        image_steps,
        all_steps,
    })
}

/// Writes configuration and manifest of an image whose layers are in the store.
fn write_image(
    image: &Image,
    annotations: &[(String, String)],
    store: &Store,
) -> Result<(Descriptor, Descriptor), BuildError> {
    use crate::image::{Manifest, media_type};
    let json = |e: serde_json::Error| BuildError::Internal(format!("write the image: {e}"));
    let bytes = serde_json::to_vec(&image.config).map_err(json)?;
    let digest = store.put_blob(&bytes)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, bytes.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: config.clone(),
        layers: image.layers.iter().map(|layer| layer.blob.clone()).collect(),
        annotations: annotations.iter().cloned().collect(),
        extra: serde_json::Map::new(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(json)?;
    let digest = store.put_blob(&bytes)?;
    let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64);
    descriptor.platform = Some(image.config.platform());
    Ok((descriptor, config))
}

/// The environment that RUN steps see by default, and the one of `yado exec`.
fn default_env(runtime: &RuntimeConfig) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = runtime
        .env
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), plan::DEFAULT_PATH.to_owned()));
    }
    env
}

/// A file of the work directory that a step sees; the builder's umask has no say in its mode.
fn work_file(env: &Env, label: &str, content: &[u8], mode: u32) -> Result<PathBuf, BuildError> {
    use std::os::unix::fs::PermissionsExt;
    let path = env.store.work().fresh(label);
    let permissions = fs::Permissions::from_mode(mode);
    let write = fs::write(&path, content).and_then(|()| fs::set_permissions(&path, permissions));
    write.map_err(|source| BuildError::Io { action: "write", path: path.clone(), source })?;
    Ok(path)
}

/// The manifest and configuration that `descriptor` leads to for `platform`.
fn read_image(
    store: &Store,
    descriptor: &Descriptor,
    platform: &Platform,
) -> Result<Image, BuildError> {
    let bytes = store.read_document(&descriptor.digest)?;
    let parse = |e: crate::image::DocumentError| BuildError::Image {
        name: descriptor.digest.to_string(),
        problem: e.to_string(),
    };
    match Document::parse(&bytes, &descriptor.media_type).map_err(parse)? {
        Document::Manifest(manifest) => {
            let bytes = store.read_document(&manifest.config.digest)?;
            let config: ImageConfig =
                serde_json::from_slice(&bytes).map_err(|e| BuildError::Image {
                    name: manifest.config.digest.to_string(),
                    problem: format!("malformed configuration: {e}"),
                })?;
            Image::new(&manifest, config).map_err(|problem| BuildError::Image {
                name: descriptor.digest.to_string(),
                problem,
            })
        }
        Document::Index(index) => {
            let manifest = base::choose(&index, platform).ok_or_else(|| BuildError::Image {
                name: descriptor.digest.to_string(),
                problem: base::no_platform(&index, platform),
            })?;
            read_image(store, manifest, platform)
        }
    }
}

impl Timestamps {
    /// The epoch of a stage whose base was made at `created` (seconds since 1970).
    ///
    /// An earlier date than the default is none: Go's zero time, or that of another
    /// tool without dates, which archivers would refuse.
    fn epoch(self, created: Option<i64>) -> i64 {
        let created = created.filter(|seconds| (DEFAULT_EPOCH..=LAST_EPOCH).contains(seconds));
        match self {
            Self::Epoch(given) => given.or(created).unwrap_or(DEFAULT_EPOCH),
            Self::Keep(now) => now,
        }
    }

    fn times(self, epoch: i64) -> Times {
        match self {
            Self::Epoch(_) => Times::Clamp(epoch),
            Self::Keep(_) => Times::Keep,
        }
    }
}
