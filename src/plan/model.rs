//! What a plan is made of.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::dockerfile::{Network, Security, Sharing, Span, Spanned};
use crate::git::GitUrl;
use crate::image::{Digest, Platform, Reference, RuntimeConfig};

/// What a build is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// `--build-arg`; of two with one name the later counts.
    pub build_args: Vec<(String, String)>,
    /// `--target`: a stage by name or number; without it, the last one.
    pub target: Option<String>,
    /// What the image is to run on.
    pub platform: Platform,
    /// What the build runs on.
    pub build_platform: Platform,
    /// `--label`, for the target stage.
    pub labels: Vec<(String, String)>,
    /// `--build-context`: what names stand for, before stages and images. The
    /// names are as [`context_name`] gives them.
    pub contexts: BTreeMap<String, NamedContext>,
}

/// What a name of `--build-context` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A tree of files; the builder knows where they are.
    Files,
    /// An image.
    Image(ImageSource),
    /// Nothing: `docker-image://scratch`.
    Scratch,
    /// A stage of the same file.
    Stage(String),
}

/// The form in which names of contexts are compared: a reference in its short form,
/// so that `alpine`, `alpine:latest` and `docker.io/library/alpine` are one name.
/// `None` if it is no name, or one that has a meaning of its own.
pub fn context_name(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    if lower == "scratch" || lower == "context" {
        return None;
    }
    let reference = name.parse::<Reference>().or_else(|_| lower.parse::<Reference>());
    let full = reference.ok()?.to_string();
    let short = full.strip_prefix("docker.io/library/").unwrap_or(&full);
    Some(short.strip_suffix(":latest").unwrap_or(short).to_owned())
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSource {
    /// In a registry, or in the store under this name.
    Registry(Reference),
    /// In an OCI layout: a directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// The name in its index.
        tag: Option<String>,
        /// The digest of a manifest or index; it decides over the tag.
        digest: Option<Digest>,
    },
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout { path, tag, digest } => {
                write!(f, "oci-layout://{}", path.display())?;
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
            }
        }
    }
}

/// An image for a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// The image.
    pub source: ImageSource,
    /// The platform.
    pub platform: Platform,
}

impl ImageRequest {
    fn key(&self) -> (&ImageSource, String) {
        (&self.source, self.platform.to_string())
    }
}

impl PartialOrd for ImageRequest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ImageRequest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// How far planning came.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The configurations of these base images are wanted, each with where it is
    /// named; then plan again.
    Needs(BTreeMap<ImageRequest, Span>),
    /// The plan.
    Ready(Plan),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The stages that the target needs, each after those that it depends on.
    pub stages: Vec<Stage>,
    /// The stage that becomes the image.
    pub target: StageId,
}

impl Plan {
    /// The stages whose layers the image has: the target and those that it begins with.
    pub fn stages_of_image(&self) -> BTreeSet<StageId> {
        let mut found = BTreeSet::new();
        let mut next = Some(self.target);
        while let Some(id) = next.filter(|id| found.insert(*id)) {
            let stage = self.stages.iter().find(|stage| stage.id == id);
            next = stage.and_then(|stage| match &stage.base {
                Base::Stage(below) => Some(*below),
                Base::Scratch | Base::Image(_) => None,
            });
        }
        found
    }

    /// The stages whose files no process and no other stage sees, neither as they are nor as
    /// part of another.
    pub fn stages_without_files(&self) -> BTreeSet<StageId> {
        let mut found: BTreeSet<StageId> = self.stages.iter().map(|stage| stage.id).collect();
        // Each stage stands after those that it depends on.
        for stage in self.stages.iter().rev() {
            let runs = stage.steps.iter().any(|step| matches!(step.kind, StepKind::Run(_)));
            if runs {
                found.remove(&stage.id);
            }
            if let (false, Base::Stage(below)) = (found.contains(&stage.id), &stage.base) {
                found.remove(below);
            }
            for source in stage.steps.iter().flat_map(Step::file_sources) {
                if let FileSource::Stage(other) = source {
                    found.remove(other);
                }
            }
        }
        found
    }
}

/// A stage, by its number in the file, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub u32);

/// A stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its number in the file.
    pub id: StageId,
    /// Its name, or `stage-` and its number, for display.
    pub name: String,
    /// What it begins with.
    pub base: Base,
    /// What it runs on.
    pub platform: Platform,
    /// What is done, in order, the base's triggers first.
    pub steps: Vec<Step>,
    /// The configuration at its end.
    pub runtime: RuntimeConfig,
    /// The author, from MAINTAINER or the base.
    pub author: Option<String>,
    /// The FROM.
    pub span: Span,
}

impl Stage {
    /// How many of its steps do more than change the configuration.
    pub fn working_steps(&self) -> u32 {
        self.steps.iter().filter(|step| step.kind != StepKind::Config).count() as u32
    }

    /// The stages whose files it has or takes some of.
    pub fn stages_read(&self) -> Vec<StageId> {
        let sources = self.steps.iter().flat_map(Step::file_sources);
        let stages = sources.filter_map(|source| match source {
            FileSource::Stage(id) => Some(*id),
            _ => None,
        });
        let base = match self.base {
            Base::Stage(id) => Some(id),
            Base::Scratch | Base::Image(_) => None,
        };
        stages.chain(base).collect()
    }
}

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(StageId),
    /// An image.
    Image(ImageRequest),
}

/// A step of a stage: one instruction, one entry of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The instruction; the FROM for a trigger of the base image.
    pub span: Span,
    /// The instruction as shown.
    pub text: String,
    /// `created_by` of the history, in `BuildKit`'s words.
    pub created_by: String,
    /// The variables in force before the step: the base's ENV and PATH, ENV
    /// and ARG of the stage, the later of one name counts.
    pub env: Vec<(String, String)>,
    /// The user in force before the step, `""` for root.
    pub user: String,
    /// The working directory in force before the step, absolute.
    pub workdir: String,
    /// What is done.
    pub kind: StepKind,
}

impl Step {
    /// Whether what it makes depends on the files that the stage has before it.
    pub fn reads_stage(&self) -> bool {
        match &self.kind {
            StepKind::Run(_) | StepKind::Workdir { .. } => true,
            StepKind::Copy(copy) => !copy.link,
            StepKind::Config => false,
        }
    }

    /// Where the step takes files from, besides the tree that it changes.
    pub fn file_sources(&self) -> Vec<&FileSource> {
        match &self.kind {
            StepKind::Copy(copy) => vec![&copy.from],
            StepKind::Run(run) => {
                let mounts = run.mounts.iter();
                mounts
                    .filter_map(|mount| match &mount.kind {
                        MountKind::Bind { from, .. }
                        | MountKind::Cache { seed: Seed::Files { from, .. }, .. } => Some(from),
                        _ => None,
                    })
                    .collect()
            }
            StepKind::Workdir { .. } | StepKind::Config => Vec::new(),
        }
    }
}

/// The kinds of steps.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a plan has tens of steps")]
pub enum StepKind {
    /// A process.
    Run(Run),
    /// Files.
    Copy(Copy),
    /// A directory that must exist, made with all that lead to it, mode 0755,
    /// for the user in force.
    Workdir {
        /// Absolute and clean.
        path: String,
    },
    /// Nothing but the configuration: a history entry without a layer.
    Config,
}

/// A process to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The whole argument list: the shell and its text, or the exec form.
    pub args: Vec<String>,
    /// Scripts (name, text), to stand read-only at `/dev/pipes/NAME`, mode 0755.
    pub scripts: Vec<(String, String)>,
    /// Proxy variables from build arguments that nobody declared: they belong
    /// to the environment of the process, not to the cache key or the history.
    pub proxies: Vec<(String, String)>,
    /// What it sees of the network.
    pub network: Network,
    /// How it is confined.
    pub security: Security,
    /// Mounts, in the order of the file.
    pub mounts: Vec<Mount>,
}

/// A mount of a RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it stands, absolute and clean; `None` for a secret that is a variable only.
    pub target: Option<String>,
    /// What stands there.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files from elsewhere; what is written to them is thrown away.
    Bind {
        /// Where they are.
        from: FileSource,
        /// The file or directory there, absolute and clean.
        source: String,
        /// Whether the step may not write.
        read_only: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// What it is found by.
        id: String,
        /// What a new one begins with.
        seed: Seed,
        /// Whether the step may not write.
        read_only: bool,
        /// Who may use it at a time.
        sharing: Sharing,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// How much it holds, in bytes; 0 is no limit.
        size: u64,
    },
    /// A secret of the caller's, as a file, a variable or both.
    Secret {
        /// What the caller names it.
        id: String,
        /// The variable.
        env: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// The file's.
        attributes: Attributes,
    },
    /// The socket of an agent of the caller's.
    Ssh {
        /// What the caller names it.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// The socket's.
        attributes: Attributes,
    },
}

/// What a cache holds when it is new. Caches of one id with different seeds are different
/// caches, so that another owner or mode takes effect at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a plan has tens of mounts")]
pub enum Seed {
    /// Nothing; the directory has these.
    Empty(Attributes),
    /// A directory from elsewhere, with its owner and mode.
    Files {
        /// Where it is.
        from: FileSource,
        /// The directory there, absolute and clean.
        source: String,
    },
}

/// Mode and owner of what is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Files to copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// ADD, not COPY.
    pub add: bool,
    /// Where the sources are that are paths.
    pub from: FileSource,
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Absolute and clean, without a slash at the end.
    pub destination: String,
    /// Whether the destination is a directory for sure: it ends in `/` or `.`.
    pub destination_is_directory: bool,
    /// `--chown`: `user[:group]`, by name or number.
    pub chown: Option<String>,
    /// `--chmod`: octal, or symbolic.
    pub chmod: Option<String>,
    /// `--exclude`: patterns for [`crate::dockerfile::Ignore::from_patterns`], counted
    /// from each source that is a directory.
    pub exclude: Vec<String>,
    /// `--parents`: the directories that lead to the sources are made too.
    pub parents: bool,
    /// `--link`: the layer is made on its own, whatever is below it.
    pub link: bool,
    /// Whether archives among the paths are unpacked.
    pub unpack: bool,
}

impl Copy {
    /// The sources that are paths, as written.
    pub fn paths(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.sources.iter().filter_map(|source| match source {
            CopySource::Path(path) => Some(path),
            _ => None,
        })
    }
}

/// A source of COPY or ADD.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySource {
    /// A path or pattern, expanded, as written otherwise.
    Path(Spanned<String>),
    /// A file whose content stands in the Dockerfile.
    Inline(InlineFile),
    /// A file of a web server.
    Download(Download),
    /// Files of a git repository, unless `keep_git_dir` without its `.git`.
    Git {
        /// Where it is, and what of it is wanted.
        url: GitUrl,
        /// Whether `.git` comes with the files.
        keep_git_dir: bool,
    },
}

/// A file of a web server: mode 0600, of root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The URL, http or https.
    pub url: String,
    /// The name that the file gets in a directory.
    pub name: String,
    /// What the content must be.
    pub checksum: Option<Digest>,
    /// Whether an archive is unpacked.
    pub unpack: bool,
}

/// Where COPY and mounts take files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// The build context.
    Context,
    /// The files that a name of `--build-context` stands for.
    Named(String),
    /// An earlier stage.
    Stage(StageId),
    /// An image.
    Image(ImageRequest),
}

/// A file of COPY or ADD whose content stands in the Dockerfile: mode 0644, of root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFile {
    /// The name, if the destination is a directory.
    pub name: String,
    /// The content, expanded.
    pub content: String,
}
