//! A test's own directory: store, home, build context.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Identity, Image, Yado, base};

/// A new directory, removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir(PathBuf);

impl WorkDir {
    /// Makes it, named after the test.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("process").replace("::", "-");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("yado-it-{}-{number}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        fs::create_dir_all(path.join("home/run")).unwrap();
        Self(path)
    }

    /// A path in it; `.` for itself.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.join(below)
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        super::write(&path, content);
        path
    }

    /// A `yado` command with this directory's store and home.
    pub(crate) fn yado<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Yado {
        Yado::new(self, args)
    }

    /// `yado build` of a Dockerfile in the context `context/`, the image in the
    /// layout `image/`. `{base}` stands for the base image.
    pub(crate) fn build(&self, dockerfile: &str) -> Yado {
        self.write("context/Dockerfile", dockerfile.replace("{base}", &base().reference));
        let output = format!("type=oci,tar=false,dest={}", self.path("image").display());
        let context = self.path("context");
        self.yado(["build", "--output", &output, context.to_str().unwrap()])
    }

    /// The image that [`WorkDir::build`] wrote.
    pub(crate) fn image(&self) -> Image {
        Image::read(&self.path("image"))
    }

    /// Builds, which must succeed, and reads the image.
    pub(crate) fn built(&self, dockerfile: &str) -> Image {
        self.build(dockerfile).succeeds();
        self.image()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // A mount below would be emptied with the directory: better leave it, loudly.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.0.to_str().unwrap();
        if mounts.contains(here) {
            assert!(std::thread::panicking(), "a mount is left below {here}:\n{mounts}");
            return;
        }
        // Subordinate ids' files can be removed by who has these ids.
        let mut command = match Identity::here() {
            Identity::Subordinate => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--map-root-user", "--map-auto", "rm"]);
                command
            }
            Identity::Root | Identity::Single => Command::new("rm"),
        };
        // The modes of files in a store are the image's, and may keep one user out.
        if Identity::here() == Identity::Single {
            let _ = Command::new("chmod").args(["-R", "u+rwX", "--", here]).output();
        }
        let _ = command.args(["-rf", "--one-file-system", "--", here]).output();
    }
}
