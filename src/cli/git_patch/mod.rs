//! `yado git-patch`.
#![expect(clippy::print_stdout, reason = "--diff is for standard output")]

mod flags;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::environment;
use super::exit::CliError;
use super::step::{GitFlags, Results, Step};
use crate::git::{Author, LocalRepository, Remote, Signer, signer};
use crate::gitops::Built;
use crate::gitops::edits::{Edit, Flag, Options, Target, diff};
use crate::gitops::forge::{Forge, Location, MergeMethod, Service};
use crate::gitops::patch::{
    OnConflict, Opener, PatchError, PatchRequest, Patched, Pull, Repository, Texts, When, patch,
    patch_directory,
};
use crate::net::Retry;
use crate::report::{Event, Mode};
use flags::{Conflict, EditFlags, Method, Provider, PullFlags, PullWhen, Superseded, TextFlags};

pub(super) use flags::Flags;

/// What it tells at the end.
const RESULTS: [&str; 6] = ["commit", "previous-commit", "changed", "pr-url", "attempts", "files"];

/// Makes the change.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, CliError> {
    let request = flags.request()?;
    let step = flags.step.begin(&RESULTS)?;
    let patched = match &flags.workdir {
        Some(dir) => step.run(async { patch_directory(dir, &request) }),
        None => flags.elsewhere(&step, &request),
    };
    let patched = match patched {
        Err(CliError::Step { source, kind: crate::gitops::Kind::Superseded, .. })
            if flags.superseded == Superseded::Ok =>
        {
            step.sink.event(Event::Note { message: source.to_string() });
            Patched::default()
        }
        patched => patched?,
    };
    if let Some(note) = &patched.note {
        step.sink.event(Event::Note { message: note.clone() });
    }
    flags.print_diff(&patched, step.mode);
    step.finish(&results(&patched))?;
    Ok(ExitCode::SUCCESS)
}

fn results(patched: &Patched) -> Results {
    let mut results = Results::default();
    let id = |id: Option<crate::git::ObjectId>| id.map_or_else(String::new, |id| id.to_string());
    let files: Vec<&str> = patched.files.iter().map(|file| file.path.as_str()).collect();
    results.add("commit", id(patched.commit));
    results.add("previous-commit", id(patched.previous));
    results.add("changed", patched.changed.to_string());
    results.add("pr-url", patched.pull_url.clone().unwrap_or_default());
    results.add("attempts", patched.attempts.to_string());
    results.add("files", cut(&files));
    results
}

/// Paths on one line; what would fill Tekton's results is left out, with a number.
fn cut(files: &[&str]) -> String {
    const MOST: usize = 2048;
    let mut text = String::new();
    for (n, file) in files.iter().enumerate() {
        if text.len() + file.len() > MOST {
            return format!("{text},and {} more", files.len() - n);
        }
        if n > 0 {
            text.push(',');
        }
        text.push_str(file);
    }
    text
}

impl Flags {
    fn elsewhere(&self, step: &Step, request: &PatchRequest) -> Result<Patched, CliError> {
        let url = self.url.as_deref().unwrap_or_default();
        let remote = located(url, "--url")?;
        let sources = self.texts.source_repo.as_deref().map(|url| located(url, "--source-repo"));
        let sources = sources.transpose()?;
        let signer = self.texts.signer()?;
        let git = self.server.git(step)?;
        let repository = Repository {
            git: &git,
            remote: &remote,
            sources: sources.as_ref(),
            signer: signer.as_deref(),
        };
        let forge = self.pull.forge(url, step, &self.server)?;
        let opener = match &forge {
            Some(forge) => Some(Opener::Forge(forge)),
            None if self.pull.pr_by_push => Some(Opener::PushOptions),
            None => None,
        };
        step.run(patch(&repository, request, opener, step.sink.as_ref()))
    }

    fn request(&self) -> Result<PatchRequest, CliError> {
        let edits = self.edits.edits()?;
        let options = self.edits.options(&edits)?;
        let (author, committer) = self.texts.people()?;
        let pull = &self.pull;
        Ok(PatchRequest {
            branch: self.branch.clone(),
            base: self.base.clone(),
            paths: self.path.clone(),
            edits,
            options,
            texts: self.texts.texts()?,
            author,
            committer,
            on_conflict: match self.on_conflict {
                Conflict::NewerWins => OnConflict::NewerWins,
                Conflict::Overwrite => OnConflict::Overwrite,
                Conflict::Fail => OnConflict::Fail,
            },
            max_attempts: self.max_attempts,
            pace: Retry {
                attempts: self.max_attempts,
                base: Duration::from_millis(250),
                cap: Duration::from_secs(4),
                server_cap: Duration::from_mins(1),
            },
            push_options: self.push_option.clone(),
            pull: Pull {
                when: match pull.pr {
                    PullWhen::Never => When::Never,
                    PullWhen::Fallback => When::Refused,
                    PullWhen::Always => When::Always,
                },
                title: pull.pr_title.clone(),
                body: pull.pr_body.clone(),
                branch: pull.pr_branch.clone(),
                labels: pull.labels.clone(),
                reviewers: pull.reviewers.clone(),
                assignees: pull.assignees.clone(),
                draft: pull.draft,
                auto_merge: pull.auto_merge.map(|method| match method {
                    Method::Merge => MergeMethod::Merge,
                    Method::Squash => MergeMethod::Squash,
                    Method::Rebase => MergeMethod::Rebase,
                }),
            },
            dry_run: self.dry_run,
        })
    }

    /// Prints the difference: before the results; where these are JSON, to standard error.
    fn print_diff(&self, patched: &Patched, mode: Mode) {
        if !self.diff {
            return;
        }
        let json = mode == Mode::Json;
        let terminal =
            if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let colour = terminal && environment::colour();
        for file in &patched.files {
            let text = diff(&file.path, &file.old, &file.new, colour);
            if json {
                let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            } else {
                print!("{text}");
            }
        }
    }
}

fn located(url: &str, flag: &str) -> Result<Remote, CliError> {
    let wrong = |problem: &str| CliError::Usage(format!("{flag}: {problem}"));
    let remote = Remote::named(url).map_err(|error| wrong(&error.to_string()))?;
    remote.ok_or_else(|| wrong("this is no URL of a git repository"))
}

impl EditFlags {
    fn edits(&self) -> Result<Vec<Edit>, CliError> {
        let flags: [(Flag, &[String]); 12] = [
            (Flag::SetImage, &self.set_image),
            (Flag::KustomizeImage, &self.kustomize_image),
            (Flag::HelmImage, &self.helm_image),
            (Flag::ChartVersion, &self.chart_version),
            (Flag::AppVersion, &self.app_version),
            (Flag::Set, &self.set),
            (Flag::SetString, &self.set_string),
            (Flag::SetRaw, &self.set_raw),
            (Flag::Marker, &self.marker),
            (Flag::ArgocdParameter, &self.argocd_parameter),
            (Flag::ArgocdKustomizeImage, &self.argocd_kustomize_image),
            (Flag::StrategicPatch, &self.strategic_patch),
        ];
        let mut edits = Vec::new();
        for (flag, values) in flags {
            for value in values {
                let file = value.strip_prefix('@').filter(|_| flag == Flag::StrategicPatch);
                edits.push(match file {
                    Some(file) => Edit::parse(flag, &read(Path::new(file), flag.name())?)?,
                    None => Edit::parse(flag, value)?,
                });
            }
        }
        for file in &self.edits {
            let text = read(file, "--edits")?;
            edits.extend(Edit::list(&file.display().to_string(), text.as_bytes())?);
        }
        Ok(edits)
    }

    fn options(&self, edits: &[Edit]) -> Result<Options, CliError> {
        let image = self.image()?;
        if let Some(image) = &image
            && !edits.iter().any(takes_image)
        {
            return Err(CliError::Usage(format!(
                "the image {image} is for edits that name none, such as --set-image app, and here there is none"
            )));
        }
        Ok(Options {
            all: self.all,
            add: self.add,
            pin: self.pin,
            namespace: self.namespace.clone(),
            image,
        })
    }

    /// The image of `--image` with the digest of `--digest`.
    fn image(&self) -> Result<Option<String>, CliError> {
        let Some(given) = &self.digest else { return Ok(self.image.clone()) };
        let built = match given.parse() {
            Ok(digest) => Built { digest, names: Vec::new() },
            Err(_) => Built::parse(&read(Path::new(given), "--digest")?)
                .map_err(|error| CliError::Usage(format!("--digest {given}: {error}")))?,
        };
        if self.image.as_ref().is_some_and(|image| image.contains('@')) {
            let problem = "--image has a digest already; give --digest or that";
            return Err(CliError::Usage(problem.to_owned()));
        }
        let name = self.image.clone().or(built.names.into_iter().next()).unwrap_or_default();
        Ok(Some(format!("{name}@{}", built.digest)))
    }
}

/// Whether an edit's image is said elsewhere.
fn takes_image(edit: &Edit) -> bool {
    match &edit.target {
        Target::Image { image, .. } | Target::Helm { image, .. } | Target::Marker { image, .. } => {
            image.is_none()
        }
        Target::Kustomize(_) | Target::ArgocdImage { .. } => {
            let entry = edit.text.rsplit('/').next().unwrap_or_default();
            !edit.text.contains(['=', '@']) && !entry.contains(':')
        }
        _ => false,
    }
}

fn read(file: &Path, flag: &str) -> Result<String, CliError> {
    std::fs::read_to_string(file)
        .map_err(|error| CliError::Missing(format!("{flag}: {}: {error}", file.display())))
}

/// The content of a file, without the line end that editors and shells put there.
fn secret(file: &Path, flag: &str) -> Result<String, CliError> {
    Ok(read(file, flag)?.trim_end_matches(['\r', '\n']).to_owned())
}

impl TextFlags {
    fn texts(&self) -> Result<Texts, CliError> {
        let commit = match (&self.source_commit, &self.source) {
            (Some(commit), _) => {
                if crate::git::ObjectId::parse(commit).is_none() {
                    return Err(CliError::Usage(format!(
                        "--source-commit {commit:?} is no commit: expected all 40 or 64 hexadecimal digits"
                    )));
                }
                Some(commit.clone())
            }
            (None, Some(dir)) => Some(checked_out(dir)?),
            (None, None) => None,
        };
        Ok(Texts {
            message: self.message.clone(),
            trailers: self.trailer.clone(),
            skip_ci: self.skip_ci,
            // A password in it is nobody's business.
            source_repo: match &self.source_repo {
                Some(url) => Some(located(url, "--source-repo")?.to_string()),
                None => None,
            },
            source_commit: commit,
            run: self.run.clone(),
            url: self.run_url.clone(),
        })
    }

    /// Author and committer, now or at `SOURCE_DATE_EPOCH`.
    fn people(&self) -> Result<(Author, Author), CliError> {
        let now = || {
            let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            elapsed.map_or(0, |elapsed| elapsed.as_secs() as i64)
        };
        let seconds = environment::source_date_epoch()?.unwrap_or_else(now);
        let of = |role: &str| {
            let variable = |what: &str| {
                let value = environment::variable(&format!("GIT_{role}_{what}"));
                value.filter(|value| !value.trim().is_empty()).map(|value| value.trim().to_owned())
            };
            let (name, email) = match &self.author {
                Some((name, email)) => (Some(name.clone()), Some(email.clone())),
                None => (variable("NAME"), variable("EMAIL")),
            };
            Author {
                name: name.unwrap_or_else(|| "yado".to_owned()),
                email: email.unwrap_or_else(|| "yado@localhost".to_owned()),
                seconds,
                offset: 0,
            }
        };
        Ok((of("AUTHOR"), of("COMMITTER")))
    }

    fn signer(&self) -> Result<Option<Box<dyn Signer>>, CliError> {
        let Some(file) = &self.sign_key else { return Ok(None) };
        let passphrase = match &self.sign_key_passphrase_file {
            Some(file) => Some(secret(file, "--sign-key-passphrase-file")?),
            None => None,
        };
        let key = read(file, "--sign-key")?;
        Ok(Some(signer(&key, passphrase.as_deref()).map_err(PatchError::from)?))
    }
}

/// The commit of a checkout.
fn checked_out(dir: &Path) -> Result<String, CliError> {
    let wrong = |problem: String| CliError::Missing(format!("--source: {problem}"));
    let opened = LocalRepository::open(dir).map_err(|error| wrong(error.to_string()))?;
    let missing = || wrong(format!("{} is in no checkout", dir.display()));
    let head = opened.ok_or_else(missing)?.head().map_err(|error| wrong(error.to_string()))?;
    Ok(head.commit.to_string())
}

impl PullFlags {
    /// The service, if it may be needed and is not told by the push.
    fn forge(&self, url: &str, step: &Step, server: &GitFlags) -> Result<Option<Forge>, CliError> {
        if self.pr == PullWhen::Never || self.pr_by_push {
            return Ok(None);
        }
        let service = match self.pr_provider {
            Provider::Auto => None,
            Provider::Github => Some(Service::GitHub),
            Provider::Gitlab => Some(Service::GitLab),
            Provider::Gitea => Some(Service::Gitea),
        };
        let location = Location::find(url, service, self.pr_api.clone())?;
        let token = match &self.pr_token_file {
            Some(file) => Some(secret(file, "--pr-token-file")?),
            None => environment::variable("PR_TOKEN")
                .filter(|token| !token.is_empty())
                .map_or_else(|| server.token(), |token| Ok(Some(token)))?,
        };
        let Some(token) = token else {
            let mut problem =
                "--pr needs a token of the service's API: --pr-token-file FILE, or PR_TOKEN"
                    .to_owned();
            if location.service == Service::GitLab {
                problem += "; --pr-by-push needs none";
            }
            return Err(CliError::Usage(problem));
        };
        let retry = Retry { server_cap: step.timeout, ..Retry::default() };
        Ok(Some(Forge::new(server.http(step)?, location, &token, retry)?))
    }
}
