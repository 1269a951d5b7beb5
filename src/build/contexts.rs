//! Contexts: named ones, opened when the first step wants them, and what has to be
//! fetched or unpacked first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::remote::Remotes;
use super::{BuildError, BuildRequest, Env, Secrets};
use crate::context::{Contents, Context, ContextError, ContextLocation, Index};
use crate::image::{Digest, Reference};
use crate::rootfs::{Include, Owners};

/// A context: the build's own, or a named one.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    Main(&'a Context),
    Named(Arc<Context>),
}

impl Deref for Opened<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        match self {
            Self::Main(context) => context,
            Self::Named(context) => context,
        }
    }
}

/// The build's own context, what `--build-context` names, and what is fetched from elsewhere; what no step
/// wants is not touched.
#[derive(Debug)]
pub(super) struct Contexts<'a> {
    main: Option<&'a Context>,
    locations: &'a BTreeMap<String, ContextLocation>,
    opened: Mutex<BTreeMap<String, Arc<Context>>>,
    /// Held by who makes a digest: all cores are his, and what he reads no other stage
    /// has to read.
    hashing: Mutex<()>,
    pub(super) remotes: Remotes<'a>,
}

impl<'a> Contexts<'a> {
    pub(super) fn new(request: &'a BuildRequest, env: &'a Env) -> Self {
        Self {
            main: request.context.as_ref(),
            locations: &request.contexts,
            opened: Mutex::default(),
            hashing: Mutex::default(),
            remotes: Remotes::new(&request.secrets, env),
        }
    }

    /// The context `name`; opened once.
    pub(super) fn get(&self, name: &str) -> Result<Arc<Context>, BuildError> {
        // Held while it is opened, so that no other step opens it too.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = opened.get(name) {
            return Ok(Arc::clone(context));
        }
        let location = self.locations.get(name);
        let location = location
            .ok_or_else(|| BuildError::Internal(format!("the context {name} is missing")))?;
        let context = open(location, &self.remotes).map_err(|error| match error {
            BuildError::Context(source) => {
                ContextError::Named { name: name.to_owned(), source: Box::new(source) }.into()
            }
            other => other.at(format!("context {name}"), None),
        })?;
        let context = Arc::new(context);
        opened.insert(name.to_owned(), Arc::clone(&context));
        Ok(context)
    }

    /// The digest of what `source` of a context holds; what is known is not read.
    pub(super) fn digest(
        &self,
        context: &Context,
        source: &Path,
        include: &dyn Fn(&Path, bool) -> Include,
    ) -> Result<Digest, BuildError> {
        let env = self.remotes.env();
        let _hashing = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = context.index_or(|| {
            let known = context.lasting_path().and_then(|path| env.store.context(&path));
            known.map_or_else(Index::default, |bytes| Index::decode(&bytes))
        });
        let contents = Contents { root: context.root(), index, threads: env.threads };
        Ok(contents.digest(source, include)?)
    }

    /// Keeps what was learnt of a context's files for other builds.
    fn keep(&self, context: &Context) {
        let learnt = context.used_index().and_then(Index::encode);
        if let (Some(bytes), Some(path)) = (learnt, context.lasting_path()) {
            // Without it the next build reads the files again; this one has done its work.
            let _ = self.remotes.env().store.put_context(&path, &bytes);
        }
    }
}

/// However the build ends: the next one after a failure has the same files.
impl Drop for Contexts<'_> {
    fn drop(&mut self) {
        let opened = self.opened.get_mut().unwrap_or_else(PoisonError::into_inner);
        let opened: Vec<Arc<Context>> = opened.values().cloned().collect();
        for context in opened.iter().map(Arc::as_ref).chain(self.main) {
            self.keep(context);
        }
    }
}

/// The name of the one file of a context that is a download.
const DOWNLOADED: &str = "context";

fn open(location: &ContextLocation, remotes: &Remotes<'_>) -> Result<Context, BuildError> {
    let path = match location {
        ContextLocation::Directory(path) if !path.is_dir() => {
            let name = path.to_str().filter(|name| name.parse::<Reference>().is_ok());
            let hint = name.map(|name| format!("; the image is docker-image://{name}"));
            let hint = hint.unwrap_or_default();
            let message = format!("there is no directory {}{hint}", path.display());
            return Err(ContextError::Missing(message).into());
        }
        ContextLocation::Directory(path) => return Ok(Context::open(path, None)?),
        ContextLocation::Git(url) => {
            remotes.checkout(url, url.keep_git_dir.unwrap_or_default())?.path
        }
        ContextLocation::Web(url) => {
            let download = remotes.download(url, None)?;
            let path = new_directory(remotes.env())?;
            let (blob, file) =
                (remotes.env().store.blob_path(&download.digest), path.join(DOWNLOADED));
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::copy(&blob, &file)
                .and_then(|_| std::fs::set_permissions(&file, mode))
                .map_err(io_error("copy", &blob))?;
            path
        }
    };
    // As BuildKit: only a directory of the user's own has an ignore file.
    Ok(Context::open_all(&path)?)
}

/// Opens the build's own context where it is elsewhere: a repository, an archive, or a
/// Dockerfile alone, whose name is then given. No ignore file holds for it.
pub fn open_context(
    location: &ContextLocation,
    secrets: &Secrets,
    env: &Env,
) -> Result<(Context, Option<&'static str>), BuildError> {
    let remotes = Remotes::new(secrets, env);
    if let ContextLocation::Web(url) = location {
        let download = remotes.download(url, None)?;
        let file = env.store.open_blob(&download.digest)?;
        if let Some(context) = unpack(file, env)? {
            return Ok((context, None));
        }
        return Ok((open(location, &remotes)?, Some(DOWNLOADED)));
    }
    Ok((open(location, &remotes)?, None))
}

/// Unpacks a context that is an archive; `None` if `content` is none.
pub fn unpack_context(mut content: impl Read, env: &Env) -> Result<Option<Context>, BuildError> {
    let path = env.store.work().fresh("archive");
    let mut write = || {
        let mut file = File::create_new(&path)?;
        io::copy(&mut content, &mut file)?;
        File::open(&path)
    };
    let file = write().map_err(io_error("write", &path))?;
    // It goes when it is closed.
    std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
    unpack(file, env)
}

fn unpack(file: File, env: &Env) -> Result<Option<Context>, BuildError> {
    let path = new_directory(env)?;
    let fail = |source| BuildError::Io { action: "read", path: path.clone(), source };
    let Some(archive) = crate::rootfs::archive(&file.into()).map_err(fail)? else {
        return Ok(None);
    };
    let target = crate::fs::open_dir(&path).map_err(io_error("open", &path))?;
    // Whose the files were says nothing; who may read them here is what counts.
    crate::rootfs::extract(archive, &target, Some((0, 0)), Owners::Real)
        .map_err(|source| BuildError::Archive { source })?;
    Ok(Some(Context::open_all(&path)?))
}

fn new_directory(env: &Env) -> Result<PathBuf, BuildError> {
    let path = env.store.work().fresh("context");
    std::fs::create_dir(&path).map_err(io_error("create", &path))?;
    Ok(path)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::Io { action, path: path.to_owned(), source }
}
