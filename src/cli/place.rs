//! PATH: where the build context is, and the Dockerfile.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::exit::CliError;
use crate::build::{self, BuildError, Env, Secrets};
use crate::context::{Context, ContextLocation};
use crate::dockerfile::Source;
use crate::layer::{self, Format};

/// Standard input.
const STDIN: &str = "-";
/// The Dockerfile, if none is named.
const DOCKERFILE: &str = "Dockerfile";
/// How much of standard input shows whether it is an archive: a header of tar.
const HEAD: u64 = 512;

/// Where the context and the Dockerfile are.
pub(super) enum Place {
    /// On this machine, and read.
    Here(Source, Option<Context>),
    /// In an archive on standard input, of which this was read.
    Archive(Vec<u8>),
    /// The context on a server; the Dockerfile too, unless it was read from standard input.
    There(ContextLocation, Option<Source>),
}

impl Place {
    /// Finds both by the argument PATH and the flag `--file`.
    pub(super) fn find(path: &Path, file: Option<&Path>) -> Result<Self, CliError> {
        let stdin = Path::new(STDIN);
        if path == stdin {
            // A Dockerfile that is there is meant, without any context.
            if let Some(file) = file.filter(|file| *file != stdin && file.is_file()) {
                return Ok(Self::Here(read(file, "")?, None));
            }
            let mut head = Vec::new();
            let mut content = io::stdin();
            content.by_ref().take(HEAD).read_to_end(&mut head).map_err(stdin_error)?;
            if Format::of(&head) != Format::Plain || layer::is_header(&head) {
                return Ok(Self::Archive(head));
            }
            if let Some(file) = file.filter(|file| *file != stdin) {
                return Ok(Self::Here(read(file, "")?, None));
            }
            content.read_to_end(&mut head).map_err(stdin_error)?;
            return Ok(Self::Here(source(DOCKERFILE, head)?, None));
        }
        let remote = path.to_str().map(super::contexts::remote).transpose();
        if let Some(location) = remote.map_err(CliError::Usage)?.flatten() {
            let dockerfile =
                file.filter(|file| *file == stdin).map(|_| read_stdin()).transpose()?;
            return Ok(Self::There(location, dockerfile));
        }
        if !path.is_dir() {
            let shown = path.display();
            return Err(CliError::Missing(if path.exists() {
                format!(
                    "the build context {shown} is not a directory; a Dockerfile is named with -f"
                )
            } else {
                format!("the build context {shown} is not there")
            }));
        }
        let (dockerfile, beside) = match file {
            Some(file) if file == stdin => (read_stdin()?, None),
            Some(file) => (read(file, "; name it with -f if it is elsewhere")?, Some(file.into())),
            None => {
                let file = path.join(DOCKERFILE);
                let near = ["Containerfile", "dockerfile"]
                    .into_iter()
                    .find(|name| path.join(name).is_file());
                let hint = match near {
                    Some(name) => format!("; there is a {name}: name it with -f"),
                    None => "; name it with -f if it is elsewhere".to_owned(),
                };
                (read(&file, &hint)?, Some(file))
            }
        };
        let beside: Option<PathBuf> = beside;
        let context = Context::open(path, beside.as_deref())?;
        Ok(Self::Here(dockerfile, Some(context)))
    }

    /// Fetches and unpacks what is not here, into the store of `env`.
    pub(super) fn open(
        self,
        file: Option<&Path>,
        secrets: &Secrets,
        env: Option<&Env>,
    ) -> Result<(Source, Option<Context>), CliError> {
        let (context, name, dockerfile) = match (self, env) {
            (Self::Here(dockerfile, context), _) => return Ok((dockerfile, context)),
            (_, None) => {
                let problem = "a context that is elsewhere needs a store".to_owned();
                return Err(BuildError::Internal(problem).into());
            }
            (Self::Archive(head), Some(env)) => {
                let stream = io::Cursor::new(head).chain(io::stdin());
                let unpacked = build::unpack_context(stream, env)?;
                let context = unpacked.ok_or_else(|| {
                    BuildError::Dockerfile(
                        "error: standard input is neither a Dockerfile nor a tar archive\n".into(),
                    )
                })?;
                (context, None, None)
            }
            (Self::There(location, dockerfile), Some(env)) => {
                let (context, name) = build::open_context(&location, secrets, env)?;
                (context, name, dockerfile)
            }
        };
        let file = file.filter(|file| *file != Path::new(STDIN));
        let file = file.unwrap_or(Path::new(name.unwrap_or(DOCKERFILE)));
        let dockerfile = match dockerfile {
            Some(dockerfile) => dockerfile,
            None => read_in(&context, file)?,
        };
        Ok((dockerfile, Some(context)))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives a value")]
fn stdin_error(error: io::Error) -> CliError {
    CliError::Missing(format!("read standard input: {error}"))
}

fn read_stdin() -> Result<Source, CliError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(stdin_error)?;
    source(DOCKERFILE, bytes)
}

/// Reads a file of this machine.
fn read(file: &Path, hint: &str) -> Result<Source, CliError> {
    let shown = file.strip_prefix("./").unwrap_or(file).display().to_string();
    let bytes = fs::read(file).map_err(|error| missing(&shown, hint, &error))?;
    source(&shown, bytes)
}

/// Reads a file of a context; no link leads out of it.
fn read_in(context: &Context, file: &Path) -> Result<Source, CliError> {
    let shown = file.strip_prefix("./").unwrap_or(file).display().to_string();
    let mut bytes = Vec::new();
    crate::fs::open_in_root(context.root(), file, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .and_then(|fd| fs::File::from(fd).read_to_end(&mut bytes))
        .map_err(|error| missing(&shown, " in the build context; name it with -f", &error))?;
    source(&shown, bytes)
}

fn missing(shown: &str, hint: &str, error: &io::Error) -> CliError {
    CliError::Missing(match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {shown}{hint}"),
        _ => format!("read {shown}: {error}"),
    })
}

fn source(name: &str, bytes: Vec<u8>) -> Result<Source, CliError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        BuildError::Dockerfile(format!("error: {name} is not UTF-8 text: {error}\n"))
    })?;
    Ok(Source::new(name.to_owned(), text))
}
