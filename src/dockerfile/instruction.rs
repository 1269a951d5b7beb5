//! Instructions, typed, with their words unexpanded.

use super::{Directive, Heredoc, Source, Span, Spanned, Word};

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text that the spans refer to.
    pub source: Source,
    /// The directives of its head.
    pub directives: Vec<Directive>,
    /// The escape character, `\` or `` ` ``.
    pub escape: char,
    /// The instructions that could be understood, in order.
    pub instructions: Vec<Instruction>,
}

impl Dockerfile {
    /// The name of the last stage, if it has one.
    pub fn last_stage(&self) -> Option<&str> {
        let last = self.instructions.iter().rev().find_map(|instruction| match &instruction.kind {
            InstructionKind::From(from) => Some(from),
            _ => None,
        });
        last.and_then(|from| from.name.as_ref()).map(|name| name.value.as_str())
    }
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// From the keyword to the last word, heredocs excluded.
    pub span: Span,
    /// The keyword.
    pub keyword: Span,
    /// What it says.
    pub kind: InstructionKind,
    /// As written, on one line, without comments.
    pub text: String,
}

/// The kinds of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the language's")]
pub enum InstructionKind {
    From(From),
    Arg(Vec<ArgDeclaration>),
    Env(Vec<KeyValue>),
    Run(Run),
    Copy(Copy),
    Add(Add),
    Workdir(Word),
    User(Word),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    Expose(Vec<Word>),
    Volume(Vec<Word>),
    Label(Vec<KeyValue>),
    Healthcheck(Healthcheck),
    Shell(Vec<Word>),
    Stopsignal(Word),
    Onbuild(Onbuild),
    Maintainer(Word),
}

/// `FROM [--platform=…] image [AS name]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// An image, an earlier stage, or `scratch`.
    pub image: Word,
    /// The name of the stage, in lower case.
    pub name: Option<Word>,
}

/// One `name[=default]` of ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name.
    pub name: Word,
    /// The default, perhaps empty.
    pub default: Option<Word>,
}

/// One `key=value` of ENV and LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Word,
    /// The value.
    pub value: Word,
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A text for the shell.
    Shell(Word),
    /// A JSON array; the words are decoded.
    Exec(Vec<Word>),
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<Spanned<Network>>,
    /// `--security`.
    pub security: Option<Spanned<Security>>,
    /// `--device`, in order.
    pub devices: Vec<Spanned<Device>>,
    /// The command.
    pub command: CommandLine,
    /// Its heredocs, in order; only with a shell form.
    pub heredocs: Vec<Heredoc>,
}

/// What a RUN step sees of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// What the build as a whole has.
    #[default]
    Default,
    /// Nothing.
    None,
    /// The host's.
    Host,
}

/// The confinement of a RUN step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Confined.
    #[default]
    Sandbox,
    /// Not confined.
    Insecure,
}

/// `--device=name[,required]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The name of the device.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

/// The types of `--mount`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the language's")]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Who may use a cache mount at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Many steps at once.
    #[default]
    Shared,
    /// One, others get a new cache.
    Private,
    /// One, others wait.
    Locked,
}

/// `RUN --mount=…`; the words may hold variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The flag.
    pub span: Span,
    /// `type`.
    pub kind: MountKind,
    /// `id`.
    pub id: Option<Word>,
    /// `from`: a stage or an image.
    pub from: Option<Word>,
    /// `source`.
    pub source: Option<Word>,
    /// `target`.
    pub target: Option<Word>,
    /// `env`, of secrets.
    pub env: Option<Word>,
    /// `readonly` or `readwrite`; without, only cache and tmpfs are writable.
    pub read_only: Option<bool>,
    /// `sharing`, of caches.
    pub sharing: Option<Sharing>,
    /// `required`, of secrets and ssh.
    pub required: bool,
    /// `mode`, octal.
    pub mode: Option<Word>,
    /// `uid`.
    pub uid: Option<Word>,
    /// `gid`.
    pub gid: Option<Word>,
    /// `size`, of tmpfs, such as `64m`.
    pub size: Option<Word>,
}

/// What COPY and ADD have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Paths, patterns or addresses.
    pub sources: Vec<Word>,
    /// Heredocs; they follow the paths.
    pub inline: Vec<InlineSource>,
    /// Where to.
    pub destination: Word,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`, where it stands when it is on.
    pub link: Option<Span>,
    /// `--exclude`, in order.
    pub exclude: Vec<Word>,
}

/// A heredoc as a source of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineSource {
    /// The word `<<NAME`.
    pub span: Span,
    /// The document.
    pub heredoc: Heredoc,
}

/// `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What ADD has too.
    pub transfer: Transfer,
    /// `--from`: a stage by name or number, or an image.
    pub from: Option<Word>,
    /// `--parents`, where it stands when it is on.
    pub parents: Option<Span>,
}

/// `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// What COPY has too.
    pub transfer: Transfer,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<Spanned<bool>>,
    /// `--unpack`.
    pub unpack: Option<Spanned<bool>>,
}

/// `HEALTHCHECK`; durations in nanoseconds, 0 is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// The command, or `None` for `HEALTHCHECK NONE`.
    pub command: Option<CommandLine>,
    /// `--interval`.
    pub interval: u64,
    /// `--timeout`.
    pub timeout: u64,
    /// `--start-period`.
    pub start_period: u64,
    /// `--start-interval`.
    pub start_interval: u64,
    /// `--retries`.
    pub retries: u64,
}

/// `ONBUILD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger as an image's configuration stores it, heredocs included.
    pub trigger: String,
    /// The trigger, understood.
    pub instruction: Box<Instruction>,
}
