//! `yado git-clone`: a repository into a directory, as a pipeline begins with it.

use std::path::{Path, PathBuf};

use clap::{ArgAction, ValueEnum};

use super::exit::CliError;
use super::step::{GitFlags, Results, StepFlags};
use crate::git::{CloneRequest, Filter, Refspec, Remote, Sparse, Submodules, Tags, Target, Times};

/// Which submodules are cloned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SubmodulesFlag {
    /// None; their directories stay empty
    No,
    /// Those of the repository
    Yes,
    /// Those of the repository, and theirs
    #[default]
    Recursive,
}

/// Which times files get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FileTimes {
    /// That of the clone
    #[default]
    Now,
    /// For each file that of the last commit that changed it, as far as --depth goes back
    Commit,
}

/// Flags of `git-clone`.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The repository
    #[arg(value_name = "URL")]
    url: String,
    /// Where to; made if it is not there [default: the repository's name, or `.` with --subdirectory]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A branch, a tag, a full reference, or a commit's id or its first digits [default: the
    /// repository's HEAD]
    #[arg(short = 'b', long, visible_alias = "branch", value_name = "NAME")]
    revision: Option<String>,
    /// References to fetch too: [+]FROM[:TO]
    #[arg(long, value_name = "REFSPEC")]
    refspec: Vec<String>,
    /// How many commits of history; 0 is all
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: u32,
    /// Leave other branches out [default with a --depth other than 0]
    #[arg(long, overrides_with = "no_single_branch", action = ArgAction::SetTrue)]
    single_branch: bool,
    /// Fetch all branches
    #[arg(long, action = ArgAction::SetTrue)]
    no_single_branch: bool,
    /// Fetch all tags, not only those of what is fetched anyway
    #[arg(long, conflicts_with = "no_tags")]
    tags: bool,
    /// Fetch no tags
    #[arg(long)]
    no_tags: bool,
    /// Which submodules are cloned too
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    submodules: SubmodulesFlag,
    /// A directory to check out, with the files of those above it; others are left out
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    sparse: Vec<String>,
    /// Leave out what is not checked out: blob:none, blob:limit=SIZE or tree:0
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Fetch the files of Git LFS, which are pointers otherwise
    #[arg(long)]
    lfs: bool,
    /// Empty DIR if it holds something
    #[arg(long)]
    delete_existing: bool,
    /// A directory below DIR to clone into
    #[arg(long, value_name = "PATH")]
    subdirectory: Option<String>,
    /// Which times files get
    #[arg(long, value_enum, default_value_t, value_name = "TIMES")]
    file_times: FileTimes,
    #[command(flatten)]
    server: GitFlags,
    #[command(flatten)]
    step: StepFlags,
}

/// Reads a filter of git-rev-list(1), of those that a clone is of use with.
fn filter(text: &str) -> Result<Filter, String> {
    let wrong = || format!("{text:?} is none of blob:none, blob:limit=SIZE and tree:0");
    match text {
        "blob:none" => return Ok(Filter::NoBlobs),
        "tree:0" => return Ok(Filter::TreeDepth(0)),
        _ => {}
    }
    let size = text.strip_prefix("blob:limit=").ok_or_else(wrong)?;
    // Units are git's: powers of 1024, of one letter.
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << (10 * power)).map(Filter::BlobLimit).ok_or_else(wrong)
}

/// The directory that git makes for a repository: the last part of its path.
fn directory(url: &str) -> Option<&str> {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix("/.git").unwrap_or(path).trim_end_matches('/');
    let (_, name) = path.rsplit_once(['/', ':'])?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!matches!(name, "" | "." | "..")).then_some(name)
}

/// The values that say something: a parameter of a pipeline that is not set comes as an empty one.
fn given<'a>(values: impl IntoIterator<Item = &'a String>) -> impl Iterator<Item = &'a String> {
    values.into_iter().filter(|value| !value.is_empty())
}

impl Flags {
    fn request(&self) -> Result<CloneRequest, CliError> {
        let usage = |flag: &str, error: String| CliError::Usage(format!("{flag}: {error}"));
        if self.url.contains(['#', '?']) {
            let problem = "a branch, tag or commit is named by --revision, a directory by --sparse";
            return Err(usage("URL", problem.to_owned()));
        }
        let remote = Remote::named(&self.url).map_err(|e| usage("URL", e.to_string()))?;
        let remote = remote.ok_or_else(|| {
            let shown = self.url.rsplit('@').next().unwrap_or_default();
            usage("URL", format!("{shown:?} is no URL of a git repository"))
        })?;
        let refspecs = given(&self.refspec).map(|spec| Refspec::parse(spec));
        let sparse: Vec<&String> = given(&self.sparse).collect();
        let sparse = (!sparse.is_empty()).then(|| Sparse::new(sparse)).transpose();
        let filter = given(&self.filter).map(|text| filter(text)).next().transpose();
        Ok(CloneRequest {
            revision: given(&self.revision).next().cloned(),
            refspecs: refspecs.collect::<Result<_, _>>()?,
            depth: (self.depth > 0).then_some(self.depth),
            single_branch: self.single_branch || !self.no_single_branch && self.depth > 0,
            tags: match (self.tags, self.no_tags) {
                (true, _) => Tags::All,
                (_, true) => Tags::None,
                _ => Tags::Follow,
            },
            submodules: match self.submodules {
                SubmodulesFlag::No => Submodules::No,
                SubmodulesFlag::Yes => Submodules::Direct,
                SubmodulesFlag::Recursive => Submodules::Recursive,
            },
            sparse: sparse.map_err(|error| usage("--sparse", error.to_string()))?,
            filter: filter.map_err(|error| usage("--filter", error))?,
            lfs: self.lfs,
            times: match self.file_times {
                FileTimes::Now => Times::Now,
                FileTimes::Commit => Times::LastChange,
            },
            ..CloneRequest::new(remote)
        })
    }

    /// Where to.
    fn directory(&self) -> Result<PathBuf, CliError> {
        let dir = match (&self.dir, &self.subdirectory) {
            (Some(dir), _) => dir.clone(),
            (None, Some(_)) => PathBuf::from("."),
            (None, None) => directory(&self.url).map(PathBuf::from).ok_or_else(|| {
                CliError::Usage("the URL ends in no name for a directory; give one".to_owned())
            })?,
        };
        let Some(below) = given(&self.subdirectory).next() else { return Ok(dir) };
        let plain = Path::new(below).components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
        });
        if !plain {
            return Err(CliError::Usage(format!("--subdirectory {below} leads out of DIR")));
        }
        Ok(dir.join(below))
    }
}

/// What it tells at the end.
const RESULTS: [&str; 6] = ["commit", "url", "committer-date", "short-commit", "branch", "tag"];

/// Clones.
pub(super) fn run(flags: &Flags) -> Result<(), CliError> {
    let request = flags.request()?;
    let dir = flags.directory()?;
    let step = flags.step.begin(&RESULTS)?;
    let git = flags.server.git(&step)?;
    let cloned = step.run(async {
        let target = Target::open(&dir, flags.delete_existing)?;
        git.clone_into(&request, target).await
    })?;
    let mut results = Results::default();
    let commit = cloned.commit.to_string();
    results.add("commit", &*commit);
    results.add("url", request.remote.kept());
    results.add("committer-date", cloned.committed.to_string());
    results.add("short-commit", &commit[..7]);
    results.add("branch", cloned.branch.unwrap_or_default());
    results.add("tag", cloned.tag.unwrap_or_default());
    step.finish(&results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_those_of_git() {
        for (url, expected) in [
            ("https://h/a/b.git", Some("b")),
            ("https://h/a/b/", Some("b")),
            ("https://h/a/b/.git", Some("b")),
            ("git@h:b.git", Some("b")),
            ("git@h:a/b", Some("b")),
            ("https://h/.git", None),
            ("https://h/a/..", None),
        ] {
            assert_eq!(directory(url), expected, "{url}");
        }
    }

    #[test]
    fn filters_are_those_of_git() {
        for (text, expected) in [
            ("blob:none", Some(Filter::NoBlobs)),
            ("blob:limit=0", Some(Filter::BlobLimit(0))),
            ("blob:limit=2k", Some(Filter::BlobLimit(2048))),
            ("blob:limit=1M", Some(Filter::BlobLimit(1 << 20))),
            ("tree:0", Some(Filter::TreeDepth(0))),
            ("tree:1", None),
            ("blob:limit=", None),
            ("blob:limit=1x", None),
            ("sparse:oid=x", None),
        ] {
            assert_eq!(filter(text).ok(), expected, "{text}");
        }
    }
}
