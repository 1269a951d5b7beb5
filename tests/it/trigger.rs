//! `yado trigger` against an API server of the test's own: one run for each commit.

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::kubernetes::{Cluster, Fault, Handle};
use crate::support::{Output, WorkDir, Yado};

const COMMIT: &str = "8f3a5a3f7f0d2a9d1f1c7c2b7e0d4c5b6a798081";

/// A cluster with an Application that is being synced, and the Job of its hook.
fn synced() -> Cluster {
    let cluster = Cluster::start();
    cluster.put(
        "applications",
        json!({"metadata": {"name": "web"},
            "spec": {"source": {"repoURL": "https://git.example/ops", "path": "web"}},
            "status": {"operationState": {"phase": "Running", "syncResult": {"revision": COMMIT}},
                "sync": {"revision": "0000000"},
                "summary": {"images": ["r.io/team/app:1.4", "r.io/db:9"]}}}),
    );
    cluster.put(
        "jobs",
        json!({"metadata": {"name": "hook",
                "annotations": {"argocd.argoproj.io/tracking-id": "web:batch/Job:shop/hook"}},
            "spec": {"template": {"spec": {"containers": []}}}}),
    );
    cluster
}

fn trigger(work: &WorkDir, cluster: &Cluster, args: &[&str]) -> Yado {
    let path = work.write("kubeconfig", cluster.kubeconfig(json!({"token": "t"}), json!({})));
    let all = ["trigger"].into_iter().chain(args.iter().copied());
    work.yado(all.chain(["--kubeconfig", path.to_str().unwrap()]))
}

fn result<'a>(output: &'a Output, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    output.stdout.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
}

/// What Tekton does with a run: it works a while and ends so.
fn runs(cluster: &Cluster, status: &'static str, reason: &'static str) {
    let script = move |cluster: &Handle| {
        for run in cluster.all("pipelineruns") {
            let name = run["metadata"]["name"].as_str().unwrap().to_owned();
            let condition = |status: &str, reason: &str, message: &str| {
                json!({"conditions": [{"type": "Succeeded", "status": status, "reason": reason,
                    "message": message}],
                    "childReferences": [{"kind": "TaskRun", "name": "build-t",
                        "pipelineTaskName": "build"}]})
            };
            cluster.edit("pipelineruns", &name, |run| {
                run["status"] = condition("Unknown", "Running", "Tasks Completed: 0");
            });
            cluster.edit("pipelineruns", &name, |run| {
                run["status"] = condition(status, reason, "Tasks Completed: 1");
            });
        }
    };
    cluster.on_change("pipelineruns", "", Arc::new(script));
}

#[test]
fn a_hook_starts_one_run_for_a_commit() {
    let work = WorkDir::new();
    let cluster = synced();
    let args = [
        "--pipeline",
        "build",
        "--hook-job",
        "hook",
        "-p",
        "commit={{revision}}",
        "-p",
        "image={{image:app}}",
        "-p",
        "tag={{tag:app}}",
        "--param-json",
        "args=[\"--rev\", \"{{short_revision}}\"]",
        "--label",
        "git-commit={{revision}}",
        "--label",
        "app={{application}}",
        "-w",
        "name=source,claimName=pvc,subPath=web",
        "-w",
        "name=tmp,emptyDir=",
        "--service-account",
        "builder",
    ];
    let output = trigger(&work, &cluster, &args).succeeds().says(": started");
    let all = cluster.all("pipelineruns");
    assert_eq!(all.len(), 1);
    let run = &all[0];
    assert_eq!(result(&output, "created"), "true");
    assert_eq!(result(&output, "revision"), COMMIT);
    let key = result(&output, "key").to_owned();
    assert!(key.starts_with(&format!("{COMMIT}-")), "{key}");
    assert_eq!(result(&output, "pipelinerun"), run["metadata"]["name"]);
    let labels = &run["metadata"]["labels"];
    assert_eq!((&labels["git-commit"], &labels["app"]), (&json!(COMMIT), &json!("web")));
    assert_eq!(labels["yado.dev/trigger-key"], *key);
    assert_eq!(
        run["spec"],
        json!({"pipelineRef": {"name": "build"},
            "params": [{"name": "commit", "value": COMMIT},
                {"name": "image", "value": "r.io/team/app:1.4"}, {"name": "tag", "value": "1.4"},
                {"name": "args", "value": ["--rev", "8f3a5a3"]}],
            "workspaces": [
                {"name": "source", "persistentVolumeClaim": {"claimName": "pvc"}, "subPath": "web"},
                {"name": "tmp", "emptyDir": {}}],
            "taskRunTemplate": {"serviceAccountName": "builder"}})
    );
    // Another attempt of the hook, and another name for the same Application.
    let output = trigger(&work, &cluster, &args).succeeds().says("was started before");
    assert_eq!(result(&output, "created"), "false");
    let by_name = ["--pipeline", "build", "--application", "web"];
    assert_eq!(result(&trigger(&work, &cluster, &by_name).succeeds(), "created"), "false");
    // Another pipeline, another commit: others.
    let other = ["--pipeline", "test", "--hook-job", "hook"];
    assert_eq!(result(&trigger(&work, &cluster, &other).succeeds(), "created"), "true");
    cluster.edit("applications", "web", |application| {
        application["status"]["operationState"]["syncResult"]["revision"] = "1".repeat(40).into();
    });
    assert_eq!(result(&trigger(&work, &cluster, &args).succeeds(), "created"), "true");
    assert_eq!(cluster.all("pipelineruns").len(), 3);
}

/// Whoever comes at the same time finds no run when he looks; then the server decides.
#[test]
fn of_many_at_once_one_starts_the_run() {
    let cluster = synced();
    let created = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let cluster = &cluster;
                scope.spawn(move || {
                    let work = WorkDir::new();
                    let args = ["--pipeline", "build", "--hook-job", "hook"];
                    let output = trigger(&work, cluster, &args).succeeds();
                    (
                        result(&output, "created") == "true",
                        result(&output, "pipelinerun").to_owned(),
                    )
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(created.iter().filter(|(created, _)| *created).count(), 1, "{created:?}");
    assert!(created.iter().all(|(_, name)| *name == created[0].1), "{created:?}");
    assert_eq!(cluster.all("pipelineruns").len(), 1);
    // The label of another caller's run is not seen, only its name: certainly a race.
    let work = WorkDir::new();
    let name = created[0].1.clone();
    let key = |run: &mut Value, key: &str| {
        run["metadata"]["labels"]["yado.dev/trigger-key"] = key.into();
    };
    cluster.edit("pipelineruns", &name, |run| key(run, "another"));
    trigger(&work, &cluster, &["--pipeline", "build", "--hook-job", "hook"])
        .fails(7)
        .says(&format!("a PipelineRun {name} is there already, and it is another one"));
}

#[test]
fn a_lost_answer_does_not_start_another_run() {
    let work = WorkDir::new();
    let cluster = synced();
    let fault = |method, status, retry_after| Fault {
        on: (method, "pipelineruns"),
        status,
        retry_after,
        times: 1,
    };
    // Turned away before it was begun: asked again.
    cluster.fault(fault("POST", 429, Some(0)));
    cluster.fault(fault("GET", 503, Some(0)));
    trigger(&work, &cluster, &["--pipeline", "build"]).succeeds();
    assert_eq!(cluster.all("pipelineruns").len(), 1);
    // Nobody knows whether it was begun: not asked again.
    cluster.fault(fault("POST", 504, None));
    trigger(&work, &cluster, &["--pipeline", "build"]).fails(9);
    assert_eq!(cluster.all("pipelineruns").len(), 1);
}

#[test]
fn without_a_key_each_call_starts_a_run_unless_nothing_changed() {
    let work = WorkDir::new();
    let cluster = synced();
    runs(&cluster, "True", "Succeeded");
    let plain = ["--pipeline", "build", "-p", "a=1"];
    for number in 1..=2 {
        let output = trigger(&work, &cluster, &plain).succeeds();
        assert_eq!(result(&output, "key"), "");
        assert!(result(&output, "pipelinerun").starts_with("build-x"), "{}", output.stdout);
        assert_eq!(cluster.all("pipelineruns").len(), number);
    }
    let changed = |value: &str| {
        let param = format!("a={value}");
        let args = ["--pipeline", "build", "-p", &param, "--if-changed", "--wait"];
        let output = trigger(&work, &cluster, &args).succeeds();
        result(&output, "created").to_owned()
    };
    assert_eq!([changed("1"), changed("2"), changed("2")], ["false", "true", "false"]);
    // One that failed is no reason to leave it at that.
    for run in cluster.all("pipelineruns") {
        let name = run["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.edit("pipelineruns", &name, |run| {
            run["status"]["conditions"][0]["status"] = "False".into();
        });
    }
    assert_eq!(changed("2"), "true");
    let keyed = ["--pipeline", "build", "--key", "release {{revision}}", "--revision", "v1"];
    let output = trigger(&work, &cluster, &keyed).succeeds();
    assert_eq!((result(&output, "key"), result(&output, "revision")), ("release v1", "v1"));
    assert_eq!(result(&trigger(&work, &cluster, &keyed).succeeds(), "created"), "false");
    let before = cluster.all("pipelineruns").len();
    let args = ["--pipeline", "build", "--revision", "v1", "--no-key", "--dry-run"];
    trigger(&work, &cluster, &args).succeeds().says("would be started");
    assert_eq!(cluster.all("pipelineruns").len(), before);
}

#[test]
fn a_wait_ends_as_the_run_does() {
    let work = WorkDir::new();
    let cluster = synced();
    runs(&cluster, "True", "Completed");
    let args = ["--pipeline", "build", "--wait"];
    let output = trigger(&work, &cluster, &args).succeeds();
    assert_eq!(result(&output, "reason"), "Completed");
    let cluster = synced();
    runs(&cluster, "False", "Failed");
    cluster.put(
        "taskruns",
        json!({"metadata": {"name": "build-t"}, "status": {"podName": "build-t-pod",
            "conditions": [{"type": "Succeeded", "status": "False", "message": "step failed"}],
            "steps": [
                {"name": "fetch", "container": "step-fetch", "terminated": {"exitCode": 0}},
                {"name": "make", "container": "step-make", "terminated": {"exitCode": 2}}]}}),
    );
    cluster.log("build-t-pod", "one\ntwo\nmake: *** [all] Error 2\n");
    let args = ["--pipeline", "build", "--wait", "--log-lines", "2", "--hook-job", "hook"];
    let output = trigger(&work, &cluster, &args).fails(8).says("Failed: Tasks Completed: 1");
    assert!(
        output.stderr.contains(
            "\n  task build: step failed\n  step make: exit code 2\n  log: two\n  log: make: ***"
        ),
        "{}",
        output.stderr
    );
    // A hook that is tried again fails again, and starts no other run.
    trigger(&work, &cluster, &args).fails(8).says("was started before");
    assert_eq!(cluster.all("pipelineruns").len(), 1);
    let cluster = synced();
    cluster.on_change("pipelineruns", "", Arc::new(|_: &Handle| {}));
    trigger(&work, &cluster, &["--pipeline", "build", "--wait", "--timeout", "1s"]).fails(9);
    cluster.on_watch("pipelineruns", "r", Arc::new(|cluster| cluster.delete("pipelineruns", "r")));
    work.write(
        "run.yaml",
        "apiVersion: tekton.dev/v1\nkind: PipelineRun\nmetadata: {name: r}\n\
                            spec: {pipelineRef: {name: build}}\n",
    );
    trigger(&work, &cluster, &["--from-file", "run.yaml", "--wait"]).fails(8).says("was deleted");
}

#[test]
fn what_is_missing_is_named() {
    let work = WorkDir::new();
    let cluster = synced();
    cluster.put(
        "jobs",
        json!({"metadata": {"name": "stray"},
        "spec": {"template": {"spec": {"containers": []}}}}),
    );
    cluster.put("applications", json!({"metadata": {"name": "new"}, "status": {}}));
    work.write("pod.yaml", "kind: Pod\n");
    for (args, code, said) in [
        (
            &["--pipeline", "build", "--hook-job", "stray"][..],
            3,
            "no trace of an Argo CD Application",
        ),
        (&["--pipeline", "build", "--hook-job", "none"], 3, "jobs.batch \"none\" not found"),
        (&["--pipeline", "build", "--application", "none"], 3, "\"none\" not found"),
        (&["--pipeline", "build", "--application", "new"], 3, "application new has no revision"),
        (&["--pipeline", "build", "-p", "a={{revision}}"], 64, "{{revision}} has no value here"),
        (&["--pipeline", "build", "-p", "a={{commit}}"], 64, "{{commit}} is not known"),
        (&["--pipeline", "build", "-p", "a"], 64, "NAME=VALUE"),
        (&["--pipeline", "build", "-w", "name=x"], 64, "expected a source"),
        (&["-p", "a=1"], 64, "--pipeline"),
        (&["--from-file", "pod.yaml"], 65, "pod.yaml: it is not a PipelineRun"),
        (&["--from-file", "none.yaml"], 65, "none.yaml"),
    ] {
        trigger(&work, &cluster, args).fails(code).says(said);
    }
    assert_eq!(cluster.all("pipelineruns").len(), 0);
    cluster.forbid("create", "pipelineruns");
    trigger(&work, &cluster, &["--pipeline", "build"]).fails(77).says(
        "a Role that is bound to the caller has to allow verbs [create] on resources [pipelineruns] \
         of apiGroups [\"tekton.dev\"]",
    );
}

/// The manifests of the hook, as kubectl reads them; the Job's own arguments start the run.
#[test]
fn a_hook_is_made_of_the_same_flags() {
    let work = WorkDir::new();
    let cluster = synced();
    let flags = [
        "--pipeline",
        "build",
        "-p",
        "commit={{revision}}",
        "-w",
        "name=tmp,emptyDir=",
        "--wait",
        "--namespace",
        "ci",
    ];
    let hook = ["--hook-manifest", "--hook-image", "r.io/yado:1", "--hook-namespace", "shop"];
    let output = trigger(&work, &cluster, &[&flags[..], &hook].concat()).succeeds();
    let path = work.write("hook.yaml", &output.stdout);
    let config = work.write("kubeconfig", cluster.kubeconfig(json!({}), json!({})));
    let kubectl = Command::new("kubectl")
        .args(["create", "--dry-run=client", "--validate=false", "--output=json", "--filename"])
        .args([&path, std::path::Path::new("--kubeconfig"), &config])
        .arg("--cache-dir")
        .arg(work.path("kubectl-cache"))
        .output()
        .expect("kubectl is installed");
    let stderr = String::from_utf8_lossy(&kubectl.stderr);
    assert!(kubectl.status.success(), "{stderr}");
    // One after the other.
    let items = serde_json::Deserializer::from_slice(&kubectl.stdout).into_iter::<Value>();
    let items: Vec<Value> = items.collect::<Result<_, _>>().unwrap();
    assert_eq!(items.len(), 8);
    let job = items.iter().find(|item| item["kind"] == "Job").unwrap();
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(annotations["argocd.argoproj.io/hook"], "PostSync");
    // What the Job runs.
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let args: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args[0], "trigger");
    runs(&cluster, "True", "Succeeded");
    let ours: Vec<&str> =
        args[1..].iter().map(|arg| if *arg == "ci" { "shop" } else { *arg }).collect();
    let output = trigger(&work, &cluster, &ours)
        .env("YADO_TRIGGER_HOOK_JOB", "hook")
        .env("YADO_TRIGGER_HOOK_NAMESPACE", "shop")
        .succeeds();
    assert_eq!(result(&output, "revision"), COMMIT);
    // With these rights and no others, as the roles of the hook say.
    let rules: Vec<&Value> = items
        .iter()
        .filter(|item| item["kind"] == "Role")
        .flat_map(|role| role["rules"].as_array().unwrap())
        .collect();
    let allowed = |verb: &str, resource: &str| {
        let has = |list: &Value, word: &str| list.as_array().unwrap().contains(&json!(word));
        rules.iter().any(|rule| has(&rule["verbs"], verb) && has(&rule["resources"], resource))
    };
    for asked in cluster.asked().iter().filter(|asked| asked.path.contains("/namespaces/")) {
        let path = asked.path.split('?').next().unwrap();
        let parts: Vec<&str> =
            path.split("/namespaces/").nth(1).unwrap().split('/').skip(1).collect();
        let verb = match (asked.method.as_str(), parts.len()) {
            ("POST", _) => "create",
            (_, 1) if asked.path.contains("watch=true") => "watch",
            (_, 1) => "list",
            _ => "get",
        };
        assert!(allowed(verb, parts[0]), "{verb} {parts:?} of {rules:?}");
    }
}
