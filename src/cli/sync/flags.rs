//! Flags of `yado sync`, and what they ask for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::exit::CliError;
use super::super::quantity;
use super::super::step::StepFlags;
use super::access::Access;
use super::history::RepositoryFlags;
use crate::gitops::argocd::{
    Edits, Expected, Goal, Info, OnBusy, Place, Refresh, Request, RetryFlags, Selector, Start,
    Wanted,
};

/// Flags of `yado sync`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Flags {
    /// Applications: [NAMESPACE/]NAME
    #[arg(value_name = "APP", required_unless_present_any = ["selector", "project"])]
    pub(super) apps: Vec<String>,
    /// All applications that have these labels: a=b,c!=d
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "apps")]
    pub(super) selector: Option<String>,
    /// The project of the applications; without names, all of it
    #[arg(long, value_name = "NAME")]
    pub(super) project: Option<String>,
    /// The namespace of the applications, where it is not Argo CD's own
    #[arg(short = 'N', long, value_name = "NAMESPACE")]
    pub(super) app_namespace: Option<String>,
    #[command(flatten)]
    pub(super) what: What,
    #[command(flatten)]
    pub(super) how: How,
    #[command(flatten)]
    pub(super) wait: Wait,
    #[command(flatten)]
    pub(super) access: Access,
    #[command(flatten)]
    pub(super) git: RepositoryFlags,
    #[command(flatten)]
    pub(super) step: StepFlags,
}

/// What is to be live.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is to be live")]
pub(super) struct What {
    /// The commit that is to be live, or one after it; of a chart, its version
    #[arg(long, value_name = "COMMIT")]
    pub(super) revision: Option<String>,
    /// Take the commit from a result of git-patch: the file of its result `commit`, or its JSON
    #[arg(long, value_name = "FILE", conflicts_with = "revision")]
    from_result: Option<PathBuf>,
    /// The commit of one source of several, by its name or its position from 1
    #[arg(long, value_name = "NAME|POSITION=COMMIT", value_parser = source_revision)]
    source_revision: Vec<Expected>,
    /// Set a parameter of helm in the application first
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, conflicts_with = "dry_run")]
    set_parameter: Vec<(String, String)>,
    /// Set an image of kustomize in the application first
    #[arg(long, value_name = "[OLD=]NEW", conflicts_with = "dry_run")]
    set_kustomize_image: Vec<String>,
}

/// How it is synced.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it is synced")]
pub(super) struct How {
    /// How the application is compared first
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    refresh: RefreshFlag,
    /// Whether a sync is started
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    sync: SyncFlag,
    /// What is done about an operation of somebody else that does not apply our commit
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_busy: BusyFlag,
    /// Remove resources that are not in git any more
    #[arg(long)]
    prune: bool,
    /// Delete and make again what cannot be changed
    #[arg(long)]
    force: bool,
    /// Replace resources instead of applying them (Replace=true)
    #[arg(long)]
    replace: bool,
    /// Apply on the server's side (ServerSideApply=true)
    #[arg(long)]
    server_side: bool,
    /// Apply only what differs (ApplyOutOfSyncOnly=true)
    #[arg(long)]
    apply_out_of_sync_only: bool,
    /// An option of the sync
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,
    /// Whether the application's own options hold beside those given here
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    merge_sync_options: bool,
    /// With hooks, or apply alone
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    strategy: StrategyFlag,
    /// Only these resources: [!]GROUP:KIND:[NAMESPACE/]NAME, * for anything; ! leaves them out
    #[arg(long, value_name = "RESOURCE", value_parser = Selector::parse)]
    resource: Vec<Selector>,
    /// Only resources that have this label
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A note that is kept with the operation
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    info: Vec<(String, String)>,
    /// Try a failed sync again so often; -1 for no end
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retry_limit: Option<i64>,
    /// Look at the sources again before each try
    #[arg(long)]
    retry_refresh: bool,
    /// The first pause before another try: 5s
    #[arg(long, value_name = "DURATION")]
    retry_backoff_duration: Option<String>,
    /// By how much each pause is longer
    #[arg(long, value_name = "N")]
    retry_backoff_factor: Option<i64>,
    /// The longest pause: 3m
    #[arg(long, value_name = "DURATION")]
    retry_backoff_max_duration: Option<String>,
    /// Have the cluster check the sync, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is waited for.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is waited for")]
pub(super) struct Wait {
    /// What is waited for, separated by commas; suspended beside health takes either
    #[arg(
        id = "wait",
        long = "wait",
        value_enum,
        value_delimiter = ',',
        default_values_t = [WaitFlag::Sync, WaitFlag::Health, WaitFlag::Operation],
        value_name = "WHAT"
    )]
    what: Vec<WaitFlag>,
    /// How long it must stay well: 10s
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = quantity::duration)]
    settle: Duration,
    /// How long it may be degraded before that is a failure
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = quantity::duration)]
    degraded_grace: Duration,
    /// Show the last lines of pods that do not run; takes `logs, get`
    #[arg(long)]
    pub(super) logs_on_failure: bool,
    /// Deploy again what was there before when this fails; for applications without auto-sync
    #[arg(long)]
    pub(super) rollback_on_failure: bool,
    /// When the time is over or a signal comes, terminate the operation that was started here
    #[arg(long)]
    pub(super) terminate_on_timeout: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RefreshFlag {
    /// What its sources point at is looked up
    #[default]
    Normal,
    /// Manifests are made again too
    Hard,
    /// It is taken as it is
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SyncFlag {
    /// If it is needed
    #[default]
    Auto,
    /// In any case, once
    Always,
    /// Somebody else does it
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum BusyFlag {
    /// Wait for its end
    #[default]
    Wait,
    /// As wait; one that applies our commit stands in for --sync always too
    Adopt,
    /// End it
    Terminate,
    /// Fail
    Fail,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum StrategyFlag {
    /// With hooks
    #[default]
    Hook,
    /// Without
    Apply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFlag {
    Sync,
    Health,
    Operation,
    Suspended,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn source_revision(text: &str) -> Result<Expected, String> {
    let (place, revision) = pair(text).map_err(|_| "expected NAME=COMMIT or POSITION=COMMIT")?;
    let source = match place.parse() {
        Ok(0) => return Err("positions begin with 1".to_owned()),
        Ok(position) => Place::Position(position),
        Err(_) => Place::Name(place),
    };
    Ok(Expected { source: Some(source), revision: commit(&revision)? })
}

/// A commit's id or the beginning of one, a digest, or the version of a chart; a branch says
/// nothing about what is to be live.
fn commit(text: &str) -> Result<String, String> {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let digest = text.strip_prefix("sha256:");
    let version = text.strip_prefix('v').unwrap_or(text);
    if (7..=64).contains(&text.len()) && hex(text)
        || digest.is_some_and(|digest| digest.len() == 64 && hex(digest))
        || semver::Version::parse(version).is_ok()
    {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not the id of a commit, which has at least 7 hexadecimal digits"))
}

/// The commit in a result of git-patch.
fn result(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.starts_with('{') {
        return commit(text);
    }
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
    let found = value.get("commit").and_then(serde_json::Value::as_str);
    commit(found.ok_or("it has no commit")?)
}

impl What {
    pub(super) fn edits(&self) -> Edits {
        Edits { parameters: self.set_parameter.clone(), images: self.set_kustomize_image.clone() }
    }

    fn expected(&self) -> Result<Vec<Expected>, CliError> {
        let mut expected = self.source_revision.clone();
        let usage = |problem: String| CliError::Usage(problem);
        // A pipeline's parameter that was not given is empty.
        let given = self.revision.as_ref().filter(|revision| !revision.is_empty());
        let revision =
            given.map(|text| commit(text).map_err(|e| usage(format!("--revision: {e}"))));
        let from_file = self.from_result.as_ref().map(|path| {
            let text = std::fs::read_to_string(path)
                .map_err(|e| CliError::Missing(format!("read {}: {e}", path.display())))?;
            result(&text).map_err(|e| usage(format!("--from-result {}: {e}", path.display())))
        });
        if let Some(revision) = revision.or(from_file).transpose()? {
            expected.push(Expected { source: None, revision });
        }
        Ok(expected)
    }
}

impl Flags {
    /// What they ask for. `marker` is what marks operations as ours.
    pub(super) fn goal(&self, marker: Info) -> Result<Goal, CliError> {
        let (how, wait) = (&self.how, &self.wait);
        let revisions = self.what.expected()?;
        let waits = |what| wait.what.contains(&what);
        Ok(Goal {
            revisions,
            sync: match how.sync {
                SyncFlag::Auto => Start::Auto,
                SyncFlag::Always => Start::Always,
                SyncFlag::Never => Start::Never,
            },
            refresh: match how.refresh {
                RefreshFlag::Normal => Refresh::Normal,
                RefreshFlag::Hard => Refresh::Hard,
                RefreshFlag::None => Refresh::None,
            },
            wait: Wanted {
                sync: waits(WaitFlag::Sync),
                health: waits(WaitFlag::Health),
                operation: waits(WaitFlag::Operation),
                suspended: waits(WaitFlag::Suspended),
            },
            settle: wait.settle,
            degraded_grace: wait.degraded_grace,
            on_busy: match how.on_busy {
                BusyFlag::Wait => OnBusy::Wait,
                BusyFlag::Adopt => OnBusy::Adopt,
                BusyFlag::Terminate => OnBusy::Terminate,
                BusyFlag::Fail => OnBusy::Fail,
            },
            request: how.request(),
            marker,
            changed: false,
        })
    }
}

impl How {
    fn request(&self) -> Request {
        let mut options = self.sync_option.clone();
        for (flag, option) in [
            (self.replace, "Replace=true"),
            (self.server_side, "ServerSideApply=true"),
            (self.apply_out_of_sync_only, "ApplyOutOfSyncOnly=true"),
        ] {
            if flag {
                options.push(option.to_owned());
            }
        }
        let infos = self.info.iter().cloned();
        Request {
            prune: self.prune,
            force: self.force,
            dry_run: self.dry_run,
            apply_only: self.strategy == StrategyFlag::Apply,
            options,
            own_options: self.merge_sync_options,
            resources: self.resource.clone(),
            labels: self.label.clone(),
            infos: infos.map(|(name, value)| Info { name, value }).collect(),
            retry: RetryFlags {
                limit: self.retry_limit,
                refresh: self.retry_refresh.then_some(true),
                duration: self.retry_backoff_duration.clone(),
                factor: self.retry_backoff_factor,
                max_duration: self.retry_backoff_max_duration.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_ids_digests_and_versions() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        for good in [sha, &sha[..7], "1.2.3", "v1.2.3-rc.1", &format!("sha256:{sha}{}", &sha[..24])]
        {
            assert_eq!(commit(good).as_deref(), Ok(good));
        }
        for bad in ["", "main", "012345", "1.2", "HEAD", "sha256:0123"] {
            assert!(commit(bad).is_err(), "{bad}");
        }
        assert_eq!(result(&format!("{sha}\n")), Ok(sha.to_owned()));
        let json = format!("{{\"commit\": \"{sha}\", \"changed\": \"true\"}}\n");
        assert_eq!(result(&json), Ok(sha.to_owned()));
        for bad in ["", "{}", "{\"commit\": 1}", "{", "main"] {
            assert!(result(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_have_names_or_positions() {
        let place = |text| source_revision(text).unwrap().source.unwrap();
        assert_eq!(place("2=0123456"), Place::Position(2));
        assert_eq!(place("values=0123456"), Place::Name("values".into()));
        for bad in ["0=0123456", "2", "=0123456", "2=main"] {
            assert!(source_revision(bad).is_err(), "{bad}");
        }
    }
}
