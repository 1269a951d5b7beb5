//! `yado image-tag`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ValueEnum;

use super::environment;
use super::exit::CliError;
use super::step::{Results, StepFlags};
use crate::gitops::Built;
use crate::gitops::tag::{Bump, MadeTag, TagRequest, TagSource, make_tag};
use crate::image::Digest;

/// The flags of `yado image-tag`.
#[derive(Debug, clap::Args)]
#[command(after_help = "docs/image-tag.md lists the variables of --format.")]
pub(super) struct Flags {
    /// The image without a tag, as HOST/PATH; without it the result image-url is empty
    #[arg(long, value_name = "IMAGE")]
    repo: Option<String>,
    /// What the tag is made of, such as {{date}}-{{short_sha}}; instead of what --from says
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Where the tag comes from [default: time and commit]
    #[arg(long, value_enum, value_name = "SOURCE")]
    from: Option<From>,
    /// A directory in a checkout
    #[arg(long, value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// The commit, where there is no checkout or another one is meant
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// The branch, where a commit is checked out
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// A digest, or a file that `yado build --metadata-file` wrote
    #[arg(long, value_name = "DIGEST|FILE", value_parser = digest)]
    digest: Option<Digest>,
    /// The name of the pipeline's run
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Which part of the last version grows, where the commit has no version
    #[arg(long, value_enum, value_name = "PART")]
    bump: Option<BumpFlag>,
    /// What stands behind a version that grew, such as rc.{{count}}
    #[arg(long, value_name = "TEMPLATE", requires = "bump")]
    prerelease: Option<String>,
    /// What git tags of versions begin with, before v1.2.3
    #[arg(long, value_name = "TEXT", default_value = "")]
    tag_prefix: String,
    /// Take a tag that YAML reads as a number, boolean or date where it stands without quotes
    #[arg(long)]
    allow_numeric: bool,
    #[command(flatten)]
    step: StepFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// The commit: sha-{{short_sha}}
    Git,
    /// The version that git tags give: {{version}}
    Semver,
    /// The time: {{date}}
    Timestamp,
    /// The digest of an image: sha256-{{digest}}
    Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BumpFlag {
    Major,
    Minor,
    Patch,
}

fn digest(text: &str) -> Result<Digest, String> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let content = std::fs::read_to_string(text).map_err(|e| format!("read {text}: {e}"))?;
    Ok(Built::parse(&content).map_err(|e| e.to_string())?.digest)
}

/// What it tells at the end.
const RESULTS: [&str; 5] = ["image-url", "tag", "commit", "short-commit", "timestamp"];

/// Makes the tag and gives it out.
pub(super) fn run(flags: Flags) -> Result<ExitCode, CliError> {
    let step = flags.step.begin(&RESULTS)?;
    let epoch = environment::source_date_epoch()?;
    let now = epoch.unwrap_or_else(|| {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        elapsed.map_or(0, |elapsed| elapsed.as_secs() as i64)
    });
    let request = TagRequest {
        repository: flags.repo,
        format: flags.format,
        source: match flags.from {
            None => TagSource::Both,
            Some(From::Git) => TagSource::Git,
            Some(From::Semver) => TagSource::Semver,
            Some(From::Timestamp) => TagSource::Timestamp,
            Some(From::Digest) => TagSource::Digest,
        },
        checkout: flags.source,
        now,
        commit: flags.commit,
        branch: flags.branch,
        digest: flags.digest,
        run: flags.run,
        bump: flags.bump.map(|bump| match bump {
            BumpFlag::Major => Bump::Major,
            BumpFlag::Minor => Bump::Minor,
            BumpFlag::Patch => Bump::Patch,
        }),
        prerelease: flags.prerelease,
        tag_prefix: flags.tag_prefix,
        allow_numeric: flags.allow_numeric,
    };
    let made = step.run(async move { make_tag(&request) })?;
    step.finish(&results(made))?;
    Ok(ExitCode::SUCCESS)
}

fn results(made: MadeTag) -> Results {
    let MadeTag { tag, image, commit, short_commit, timestamp } = made;
    let mut results = Results::default();
    results.add("image-url", image.unwrap_or_default());
    results.add("tag", tag);
    results.add("commit", commit.unwrap_or_default());
    results.add("short-commit", short_commit.unwrap_or_default());
    results.add("timestamp", timestamp);
    results
}
