//! The two builders: each builds a case from the same base, with a store of its own
//! for each folder of cases.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Identity, Image, WorkDir, base};

use super::case::Case;
use super::listing::Listing;
use super::served::Served;

/// How a build ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Image(Listing),
    /// What the builder said.
    Failure(String),
}

/// Builds the cases of one folder.
#[derive(Debug)]
pub(super) struct Builder {
    /// The store is in it.
    store: WorkDir,
    base: Image,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Yado,
    Buildah,
}

impl Builder {
    pub(super) fn yado() -> Self {
        Self::new(Kind::Yado)
    }

    /// Rootless, as which it needs several ids.
    pub(super) fn buildah() -> Self {
        assert_eq!(
            Identity::here(),
            Identity::Subordinate,
            "buildah is compared as a user with subordinate ids: run tests/identities.sh"
        );
        Self::new(Kind::Buildah)
    }

    fn new(kind: Kind) -> Self {
        let store = WorkDir::new();
        let base = Image::pull(&store, &base().reference);
        Self { store, base, kind }
    }

    /// Builds a case, and before it the base that it may have of its own.
    pub(super) fn build(&self, case: &Case) -> Outcome {
        let work = WorkDir::new();
        let dir = work.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        let parent = match self.kind {
            Kind::Yado => format!("{}/parent/{}:latest", base().registry.host, case.name),
            Kind::Buildah => format!("localhost/parent/{}:latest", case.name),
        };
        let served = Served::start(work.path("served"));
        let replace = |text: &str| {
            let text = text.replace("{base}", &base().reference).replace("{parent}", &parent);
            let text = text.replace("{registry}", &base().registry.host);
            let text = text.replace("{served}", &served.address.to_string()).replace("{dir}", &dir);
            text.replace("{outside}", &format!("{dir}/outside"))
                .replace("{context}", &format!("{dir}/context"))
        };
        case.unpack(Path::new(&dir), replace);
        if case.section("base.Dockerfile").is_some() {
            let flags = match self.kind {
                Kind::Yado => ["--tag", &parent, "--push"].map(str::to_owned).to_vec(),
                Kind::Buildah => ["--tag", &parent].map(str::to_owned).to_vec(),
            };
            let file = work.path("base.Dockerfile");
            if let Err(said) = self.run(case, &work, &file, flags) {
                return Outcome::Failure(said);
            }
        }
        let name = if self.kind == Kind::Yado { "yado" } else { "buildah" };
        let mut flags: Vec<String> = case.flags(name).iter().map(|flag| replace(flag)).collect();
        let image = work.path("image");
        let shown = image.display();
        match self.kind {
            Kind::Yado => {
                flags.extend(["--output".to_owned(), format!("type=oci,tar=false,dest={shown}")]);
            }
            Kind::Buildah => flags.extend(["--tag".to_owned(), format!("dir:{shown}")]),
        }
        let built = self.run(case, &work, &work.path("Dockerfile"), flags.clone());
        let built = match built {
            // It cannot find an image again to which the last stage adds nothing.
            Err(said) if said.contains("locating new copy of image") => {
                self.push(case, &work, &flags, &image)
            }
            built => built,
        };
        if let Err(said) = built {
            return Outcome::Failure(said);
        }
        let image = match self.kind {
            Kind::Yado => Image::read(&image),
            Kind::Buildah => Image::read_directory(&image),
        };
        Outcome::Image(Listing::of(&image, &self.base))
    }

    /// Runs a build of the work directory's context.
    fn run(
        &self,
        case: &Case,
        work: &WorkDir,
        dockerfile: &Path,
        mut flags: Vec<String>,
    ) -> Result<(), String> {
        if !flags.iter().any(|flag| flag == "--file") {
            flags.extend(["--file".to_owned(), dockerfile.to_str().unwrap().to_owned()]);
        }
        flags.push(work.path("context").to_str().unwrap().to_owned());
        match self.kind {
            Kind::Yado => {
                let command =
                    work.yado(["build", "--no-cache"].map(str::to_owned).into_iter().chain(flags));
                let command = command.env("YADO_ROOT", self.store.path("store"));
                let output = case
                    .env()
                    .fold(command, |command, (name, value)| command.env(name, value))
                    .run();
                if output.status.success() { Ok(()) } else { Err(output.stderr) }
            }
            Kind::Buildah => {
                let output = self
                    .buildah_command("build")
                    // One layer is all that the comparison needs, and Docker's format
                    // has a place for all that a Dockerfile says.
                    .args(["--isolation", "chroot", "--layers=false", "--format", "docker"])
                    .args(["--identity-label=false", "--pull=false", "--tls-verify=false"])
                    .args(flags)
                    .envs(case.env())
                    .current_dir(work.path("."))
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                if output.status.success() { Ok(()) } else { Err(said) }
            }
        }
    }

    /// Has buildah keep the image under a name, and push it from there.
    fn push(
        &self,
        case: &Case,
        work: &WorkDir,
        flags: &[String],
        image: &Path,
    ) -> Result<(), String> {
        let name = format!("localhost/built/{}:latest", case.name);
        let last = flags.len() - 1;
        let flags = flags[..last].iter().chain([&name]).cloned().collect();
        self.run(case, work, &work.path("Dockerfile"), flags)?;
        let target = format!("dir:{}", image.display());
        let output = self.buildah_command("push").args([name, target]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    fn buildah_command(&self, subcommand: &str) -> Command {
        let at = |below: &str| -> PathBuf { self.store.path(below) };
        let mut command = Command::new("timeout");
        command.args(["120", "buildah", "--storage-driver", "overlay", "--root"]);
        command.arg(at("storage")).arg("--runroot").arg(at("run"));
        command.arg(subcommand);
        command.env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("HOME", at("home")).env("XDG_RUNTIME_DIR", at("home/run"));
        command.env("TMPDIR", at("."));
        command
    }
}
