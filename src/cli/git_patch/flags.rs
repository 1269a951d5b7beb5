//! The flags of `yado git-patch`, as they are typed.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::step::{GitFlags, StepFlags};
use crate::gitops::edits::Pin;
use crate::net::Url;

/// The flags of `yado git-patch`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "docs/git-patch.md has examples, the grammar of edits and the variables of texts."
)]
pub(in crate::cli) struct Flags {
    /// The repository
    #[arg(long, value_name = "URL", required_unless_present = "workdir")]
    pub(super) url: Option<String>,
    /// The branch that is changed [default: that of the repository's HEAD]
    #[arg(long, value_name = "NAME")]
    pub(super) branch: Option<String>,
    /// The branch that it is made of, if it is not there
    #[arg(long, value_name = "NAME", requires = "branch")]
    pub(super) base: Option<String>,
    /// A file that edits are about; * stands for names, ** for directories
    #[arg(long, value_name = "FILE|GLOB")]
    pub(super) path: Vec<String>,
    /// Change the files of a directory instead, without git
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "branch", "base", "pr"])]
    pub(super) workdir: Option<PathBuf>,
    /// What becomes of a value that others have changed
    #[arg(long, value_enum, default_value_t, value_name = "RULE")]
    pub(super) on_conflict: Conflict,
    /// Whether it is a success when a newer change is there already
    #[arg(long, value_enum, default_value_t, value_name = "ok|fail")]
    pub(super) superseded: Superseded,
    /// How often it is tried when others are faster
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(super) max_attempts: u32,
    /// A word for the server's hooks, such as ci.skip
    #[arg(long, value_name = "TEXT")]
    pub(super) push_option: Vec<String>,
    /// Print what changes
    #[arg(long)]
    pub(super) diff: bool,
    /// Do all but the push
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) edits: EditFlags,
    #[command(flatten)]
    pub(super) texts: TextFlags,
    #[command(flatten)]
    pub(super) pull: PullFlags,
    #[command(flatten)]
    pub(super) server: GitFlags,
    #[command(flatten)]
    pub(super) step: StepFlags,
}

/// Flags that say what is changed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is changed")]
pub(super) struct EditFlags {
    /// The image of a container: [KIND/NAME/]CONTAINER[=IMAGE], or repo:OLD[=IMAGE]
    #[arg(long, value_name = "EDIT")]
    pub(super) set_image: Vec<String>,
    /// An image of a kustomization: NAME[=NEWNAME][:TAG][@DIGEST]
    #[arg(long, value_name = "EDIT")]
    pub(super) kustomize_image: Vec<String>,
    /// The image of a chart's values: PREFIX[=IMAGE]
    #[arg(long, value_name = "EDIT")]
    pub(super) helm_image: Vec<String>,
    /// The version of a Chart.yaml
    #[arg(long, value_name = "VERSION")]
    pub(super) chart_version: Vec<String>,
    /// The appVersion of a Chart.yaml
    #[arg(long, value_name = "VERSION")]
    pub(super) app_version: Vec<String>,
    /// A value by its path, written as what the old one is
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// A value by its path, as a text
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) set_string: Vec<String>,
    /// A value by its path, as it is given
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) set_raw: Vec<String>,
    /// Lines with a marker in a comment: POLICY[=IMAGE]
    #[arg(long, value_name = "EDIT")]
    pub(super) marker: Vec<String>,
    /// A Helm parameter of an Argo CD Application: [APP/]NAME=VALUE
    #[arg(long, value_name = "EDIT")]
    pub(super) argocd_parameter: Vec<String>,
    /// A Kustomize image of an Argo CD Application: [APP//]NAME[=NEWNAME][:TAG][@DIGEST]
    #[arg(long, value_name = "EDIT")]
    pub(super) argocd_kustomize_image: Vec<String>,
    /// A strategic merge patch, or @FILE that holds one
    #[arg(long, value_name = "JSON|@FILE")]
    pub(super) strategic_patch: Vec<String>,
    /// A file with a list of edits, each with its own path
    #[arg(long, value_name = "FILE")]
    pub(super) edits: Vec<PathBuf>,
    /// The image of edits that name none
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// The digest of that image, or a file that `yado build --metadata-file` wrote, with its names
    #[arg(long, value_name = "DIGEST|FILE")]
    pub(super) digest: Option<String>,
    /// Which parts of an image are written: tag, digest or both [default: those that are given]
    #[arg(long, value_name = "PARTS")]
    pub(super) pin: Option<Pin>,
    /// The namespace of Kubernetes objects
    #[arg(long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Change each place that matches, where there are several
    #[arg(long)]
    pub(super) all: bool,
    /// Add what is not there
    #[arg(long)]
    pub(super) add: bool,
}

/// Flags about the commit.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The commit")]
pub(super) struct TextFlags {
    /// The message, with variables such as {{image}} [default: what has changed]
    #[arg(short, long, value_name = "TEMPLATE")]
    pub(super) message: Option<String>,
    /// A trailer of the message
    #[arg(long, value_name = "NAME=VALUE", value_parser = trailer)]
    pub(super) trailer: Vec<(String, String)>,
    /// Ask for no pipeline by [skip ci] in the subject
    #[arg(long)]
    pub(super) skip_ci: bool,
    /// Who makes it, as NAME <ADDRESS> [default: `GIT_AUTHOR_NAME` and so on, else yado]
    #[arg(long, value_name = "NAME <ADDRESS>", value_parser = person)]
    pub(super) author: Option<(String, String)>,
    /// A private key that signs it, of ssh or gpg
    #[arg(long, value_name = "FILE")]
    pub(super) sign_key: Option<PathBuf>,
    /// A file with the passphrase of that key
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    pub(super) sign_key_passphrase_file: Option<PathBuf>,
    /// The commit of the sources that the image was built of
    #[arg(long, value_name = "COMMIT")]
    pub(super) source_commit: Option<String>,
    /// A directory in their checkout, whose commit it is
    #[arg(long, value_name = "DIR", conflicts_with = "source_commit")]
    pub(super) source: Option<PathBuf>,
    /// The repository of the sources, which is asked whose commit is newer
    #[arg(long, value_name = "URL")]
    pub(super) source_repo: Option<String>,
    /// The name of the pipeline's run, whose change is made once
    #[arg(long, value_name = "NAME")]
    pub(super) run: Option<String>,
    /// A page about the run
    #[arg(long, value_name = "URL")]
    pub(super) run_url: Option<String>,
}

/// Flags about a pull request.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A pull request")]
pub(super) struct PullFlags {
    /// When one is opened
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(super) pr: PullWhen,
    /// Where [default: told by the host's name]
    #[arg(long, value_enum, default_value_t, value_name = "SERVICE")]
    pub(super) pr_provider: Provider,
    /// The address of the service's API, if it is not where it usually is
    #[arg(long, value_name = "URL")]
    pub(super) pr_api: Option<Url>,
    /// A file with a token of the API [env: `PR_TOKEN` holds it itself] [default: that of git]
    #[arg(long, value_name = "FILE")]
    pub(super) pr_token_file: Option<PathBuf>,
    /// Have GitLab open it by the push alone, without a token of its API
    #[arg(long)]
    pub(super) pr_by_push: bool,
    /// The branch of the commit [default: yado/{{name}}-{{hash}}]
    #[arg(long, value_name = "TEMPLATE")]
    pub(super) pr_branch: Option<String>,
    /// The title [default: the subject of the commit]
    #[arg(long, value_name = "TEMPLATE")]
    pub(super) pr_title: Option<String>,
    /// What stands below it [default: what has changed]
    #[arg(long, value_name = "TEMPLATE")]
    pub(super) pr_body: Option<String>,
    /// Names of labels
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) labels: Vec<String>,
    /// Users, or teams as ORGANISATION/TEAM
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) reviewers: Vec<String>,
    /// Users
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) assignees: Vec<String>,
    /// Open it as a draft
    #[arg(long)]
    pub(super) draft: bool,
    /// Merge it once all checks have passed
    #[arg(long, value_enum, value_name = "METHOD", num_args = 0..=1, default_missing_value = "merge")]
    pub(super) auto_merge: Option<Method>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Conflict {
    /// What was built of a newer commit stays: see --superseded
    #[default]
    NewerWins,
    /// Write it whatever is there
    Overwrite,
    /// As newer-wins; and fail if the value changes while it is tried
    Fail,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Superseded {
    /// Exit code 10
    #[default]
    Fail,
    /// Exit code 0, with changed=false
    Ok,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum PullWhen {
    /// A branch that may not be changed is an error
    #[default]
    Never,
    /// When the branch may not be changed
    Fallback,
    /// Always; the branch itself is left alone
    Always,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Provider {
    /// As the host's name says
    #[default]
    Auto,
    /// GitHub, also of one's own
    Github,
    /// GitLab, also of one's own
    Gitlab,
    /// Gitea or Forgejo
    Gitea,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Method {
    Merge,
    Squash,
    Rebase,
}

fn trailer(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn person(text: &str) -> Result<(String, String), String> {
    let inner = text.trim().strip_suffix('>').and_then(|text| text.split_once('<'));
    match inner {
        Some((name, address)) if !name.trim().is_empty() && !address.contains('<') => {
            Ok((name.trim().to_owned(), address.trim().to_owned()))
        }
        _ => Err("expected NAME <ADDRESS>".to_owned()),
    }
}
