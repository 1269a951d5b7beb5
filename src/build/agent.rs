//! The caller's agent for a step: a socket of the step's own, with the mode and owner
//! that it asks for, whose connections are passed on.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{BuildError, Env};

/// A socket that leads to an agent; closed with this.
pub(super) struct AgentSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl AgentSocket {
    /// Makes a socket that leads to `agent`, with this mode, user and group.
    pub(super) fn forward(
        agent: &Path,
        (mode, uid, gid): (u32, u32, u32),
        env: &Env,
    ) -> Result<Self, BuildError> {
        let path = env.store.work().fresh("agent");
        let make = || {
            let parent = crate::fs::open_dir(path.parent().unwrap_or(&path))?;
            let name = path.file_name().unwrap_or_default();
            // A socket's address has room for 107 bytes, which a store's path may exceed.
            let listener = UnixListener::bind(crate::fs::proc_path(&parent).join(name))?;
            let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(&parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
            listener.set_nonblocking(true)?;
            let _guard = env.runtime.enter();
            tokio::net::UnixListener::from_std(listener)
        };
        let listener = make().map_err(|source| BuildError::Io {
            action: "make a socket at",
            path: path.clone(),
            source,
        })?;
        let agent = agent.to_owned();
        let task = env.runtime.spawn(async move {
            // Dropped with the task: no connection outlives the step.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((inner, _)) = listener.accept().await {
                let agent = agent.clone();
                connections.spawn(pass_on(inner, agent));
            }
        });
        Ok(Self { path, task })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Until one side closes; the step sees an agent that does not answer as a closed connection.
async fn pass_on(mut inner: UnixStream, agent: PathBuf) {
    if let Ok(mut outer) = UnixStream::connect(&agent).await {
        let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
