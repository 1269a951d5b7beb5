//! `yado trigger`: a `PipelineRun` for what was synced.
#![expect(clippy::print_stdout, reason = "a manifest is printed to be applied")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::cluster::ClusterFlags;
use super::exit::CliError;
use super::step::{Results, StepFlags};
use crate::gitops::trigger::{
    self, Hook, Request, Source, Started, TriggerError, Values, Workspace,
};
use crate::kubernetes::Client;
use crate::report::Event;

/// Flags of `yado trigger`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The pipeline to run
    #[arg(long, value_name = "NAME", required_unless_present = "from_file")]
    pipeline: Option<String>,
    /// A file with a `PipelineRun`, YAML or JSON; flags go over it
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// A parameter; {{revision}} and the like are filled in
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,
    /// A parameter that is a list or an object, as JSON
    #[arg(long, value_name = "NAME=JSON", value_parser = json)]
    param_json: Vec<(String, Value)>,
    /// A workspace: name=src,claimName=pvc,subPath=dir; emptyDir=, secret=NAME, config=NAME
    #[arg(long, short, value_name = "name=NAME,...", value_parser = Workspace::parse)]
    workspace: Vec<Workspace>,
    /// The service account of the run's pods
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// How the run's name begins [default: the pipeline's, and a dash]
    #[arg(long, value_name = "PREFIX")]
    generate_name: Option<String>,
    /// A label of the run
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// An annotation of the run
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// What makes the run the same as another: it is started once [default: the revision and the
    /// pipeline, where the revision is known]
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Start a run each time, whatever was started before
    #[arg(long, conflicts_with = "key")]
    no_key: bool,
    /// Start nothing if the last run of the pipeline had the same parameters and has not failed
    #[arg(long)]
    if_changed: bool,
    /// Wait until the run has succeeded
    #[arg(long)]
    wait: bool,
    /// How many of the last lines of a step that failed are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    log_lines: usize,
    /// Have the server check the run, and start none
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    synced: SyncedFlags,
    #[command(flatten)]
    hook: HookFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    step: StepFlags,
}

/// Where the revision comes from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Of what was synced")]
struct SyncedFlags {
    /// The commit, instead of that which Argo CD has synced
    #[arg(long, value_name = "SHA")]
    revision: Option<String>,
    /// The Argo CD Application that was synced
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// The namespace of Argo CD's Applications
    #[arg(long, value_name = "NAME", default_value = "argocd")]
    application_namespace: String,
    /// The hook's Job, whose Application it is; --hook-manifest sets it
    #[arg(long, value_name = "NAME", conflicts_with = "application")]
    hook_job: Option<String>,
    /// The namespace of the hook's Job
    #[arg(long, value_name = "NAME")]
    hook_namespace: Option<String>,
    /// The label that tells the Application, where Argo CD tracks by another one
    #[arg(long, value_name = "KEY", default_value = "app.kubernetes.io/instance")]
    tracking_label: String,
}

/// The hook that runs this.
#[derive(Debug, Args)]
#[command(next_help_heading = "Of the hook")]
struct HookFlags {
    /// Print the manifests of a `PostSync` hook that runs this command, and do nothing else
    #[arg(id = "hook_manifest", long = "hook-manifest", requires_all = ["hook_image", "hook_namespace"])]
    manifest: bool,
    /// The image of the hook, with yado in it
    #[arg(id = "hook_image", long = "hook-image", value_name = "IMAGE")]
    image: Option<String>,
    /// The name of the hook's Job, account and roles [default: the pipeline's, and -trigger]
    #[arg(id = "hook_name", long = "hook-name", value_name = "NAME")]
    name: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn json(text: &str) -> Result<(String, Value), String> {
    let (key, value) = pair(text)?;
    let value = serde_json::from_str(&value).map_err(|error| error.to_string())?;
    match value {
        Value::Array(_) | Value::Object(_) => Ok((key, value)),
        _ => Err("expected a list or an object; texts are for --param".to_owned()),
    }
}

/// What it tells at the end.
const RESULTS: [&str; 5] = ["pipelinerun", "created", "revision", "key", "reason"];

pub(super) fn run(flags: &Flags) -> Result<ExitCode, CliError> {
    if flags.hook.manifest {
        print!("{}", trigger::manifest(&hook(flags)?));
        return Ok(ExitCode::SUCCESS);
    }
    let step = flags.step.begin(&RESULTS)?;
    let client = flags.cluster.client(&step.net)?;
    let results = step.run(async {
        let values = values(flags, &client).await?;
        let request = request(flags, &values)?;
        let Started { run, created } = trigger::trigger(&client, &request).await?;
        let name = run["metadata"]["name"].as_str().unwrap_or_default();
        let what = match (created, flags.dry_run) {
            (true, false) => "started",
            (true, true) => "would be started",
            (false, _) => "was started before",
        };
        step.sink.event(Event::Note { message: format!("pipelinerun {name}: {what}") });
        let mut results = Results::default();
        results.add("pipelinerun", name);
        results.add("created", created.to_string());
        results.add("revision", values.revision().unwrap_or_default());
        results.add("key", request.key.clone().unwrap_or_default());
        if flags.wait && !flags.dry_run {
            let ended = trigger::wait(&client, &run, flags.log_lines, &step.sink).await?;
            step.sink
                .event(Event::Note { message: format!("pipelinerun {name}: {}", ended.message) });
            results.add("reason", ended.reason);
        }
        Ok::<_, TriggerError>(results)
    })?;
    step.finish(&results)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks Argo CD what it has synced, if somebody says where to ask.
async fn values(flags: &Flags, client: &Client) -> Result<Values, TriggerError> {
    let SyncedFlags { revision, application, hook_job, .. } = &flags.synced;
    let source = match (application, hook_job) {
        (Some(name), _) => Some(Source::Named(name.clone())),
        (None, Some(job)) => {
            let namespace = flags.synced.hook_namespace.as_deref();
            Some(Source::Job {
                name: job.clone(),
                namespace: namespace.unwrap_or(client.namespace()).to_owned(),
                label: flags.synced.tracking_label.clone(),
            })
        }
        (None, None) => None,
    };
    let namespace = &flags.synced.application_namespace;
    let synced = match source {
        Some(source) => Some(trigger::application(client, &source, namespace).await?),
        None => None,
    };
    Ok(Values { revision: revision.clone(), synced })
}

fn request(flags: &Flags, values: &Values) -> Result<Request, TriggerError> {
    let params = flags.param.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    let of_run = trigger::Flags {
        pipeline: flags.pipeline.clone(),
        generate_name: flags.generate_name.clone(),
        params: params.chain(flags.param_json.iter().cloned()).collect(),
        workspaces: flags.workspace.clone(),
        service_account: flags.service_account.clone(),
        labels: flags.label.clone(),
        annotations: flags.annotation.clone(),
    };
    let run = match &flags.from_file {
        Some(path) => trigger::from_file(path, &of_run, values)?,
        None => trigger::from_flags(&of_run, values)?,
    };
    let key = match (&flags.key, values.key_revision()) {
        _ if flags.no_key => None,
        (Some(key), _) => Some(values.fill(key)?),
        (None, Some(revision)) => Some(trigger::key_of(&revision, &run)),
        (None, None) => None,
    };
    Ok(Request { run, key, if_changed: flags.if_changed, dry_run: flags.dry_run })
}

/// The hook whose Job has the same arguments, without those that are about the hook itself.
fn hook(flags: &Flags) -> Result<Hook, CliError> {
    let HookFlags { image, name, .. } = &flags.hook;
    let (Some(image), Some(namespace)) = (image, &flags.synced.hook_namespace) else {
        return Err(CliError::Usage("--hook-manifest needs --hook-image".to_owned()));
    };
    let Some(pipeline) = flags.pipeline.as_ref().filter(|_| flags.from_file.is_none()) else {
        let problem = "--hook-manifest needs --pipeline; a file would not be in the hook's image";
        return Err(CliError::Usage(problem.to_owned()));
    };
    let mut args = vec!["--pipeline".to_owned(), pipeline.clone()];
    let mut add = |flag: &str, value: &str| args.extend([flag.to_owned(), value.to_owned()]);
    for (name, value) in &flags.param {
        add("--param", &format!("{name}={value}"));
    }
    for (name, value) in &flags.param_json {
        add("--param-json", &format!("{name}={value}"));
    }
    for workspace in &flags.workspace {
        add("--workspace", &workspace.to_string());
    }
    for (flag, list) in [("--label", &flags.label), ("--annotation", &flags.annotation)] {
        for (key, value) in list {
            add(flag, &format!("{key}={value}"));
        }
    }
    let runs = flags.cluster.namespace.clone();
    for (flag, value) in [
        ("--service-account", &flags.service_account),
        ("--generate-name", &flags.generate_name),
        ("--key", &flags.key),
        ("--namespace", &runs),
    ] {
        if let Some(value) = value {
            add(flag, value);
        }
    }
    let argocd = flags.synced.application_namespace.clone();
    if argocd != "argocd" {
        add("--application-namespace", &argocd);
    }
    if flags.synced.tracking_label != "app.kubernetes.io/instance" {
        add("--tracking-label", &flags.synced.tracking_label);
    }
    for (flag, given) in
        [("--no-key", flags.no_key), ("--if-changed", flags.if_changed), ("--wait", flags.wait)]
    {
        args.extend(given.then(|| flag.to_owned()));
    }
    Ok(Hook {
        name: name.clone().unwrap_or_else(|| format!("{pipeline}-trigger")),
        image: image.clone(),
        namespace: namespace.clone(),
        runs,
        argocd,
        args,
        waits: flags.wait,
    })
}
