//! `yado rollout` against an API server of the test's own, and kubectl beside it as the judge.

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::kubernetes::{Cluster, Fault, Handle};
use crate::support::kubernetes_controllers::{
    Ends, counted, deployment, rolls_counted, rolls_deployment,
};
use crate::support::{Output, WorkDir, Yado};

fn config(work: &WorkDir, cluster: &Cluster) -> String {
    let path = work.write("kubeconfig", cluster.kubeconfig(json!({"token": "t"}), json!({})));
    path.to_str().unwrap().to_owned()
}

fn rollout(work: &WorkDir, cluster: &Cluster, args: &[&str]) -> Yado {
    let config = config(work, cluster);
    let all = ["rollout"].into_iter().chain(args.iter().copied());
    work.yado(all.chain(["--kubeconfig", &config]))
}

/// What kubectl says and its exit code; the judge of the server and of yado.
fn kubectl(work: &WorkDir, cluster: &Cluster, args: &[&str]) -> (i32, String) {
    let config = config(work, cluster);
    let output = Command::new("kubectl")
        .args(args)
        .args(["--kubeconfig", &config, "--cache-dir"])
        .arg(work.path("kubectl-cache"))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", work.path("home"))
        .output()
        .expect("kubectl is installed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

/// The lines of a result.
fn result<'a>(output: &'a Output, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    output.stdout.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
}

fn image(object: &Value) -> &str {
    object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

/// A kind, how its rollout ends, how kubectl and yado end, and what yado says.
#[test]
fn set_image_waits_and_kubectl_agrees() {
    let pull = Ends::Waits("ImagePullBackOff", "Back-off pulling image \"app:2\": not found");
    let crash = Ends::Waits("CrashLoopBackOff", "back-off 40s");
    let rows: &[Row] = &[
        ("deployment", Ends::Done, 0, 0, "2 pods are new and available"),
        ("deployment", Ends::Half, 1, 9, "deployment.apps/web: 1 of 2 pods are new"),
        ("deployment", Ends::Deadline, 1, 8, "ProgressDeadlineExceeded"),
        ("deployment", Ends::Deleted, 1, 8, "was deleted"),
        ("deployment", pull, 1, 8, "ImagePullBackOff in pod web-"),
        ("deployment", crash, 1, 8, "CrashLoopBackOff in pod web-"),
        ("deployment", Ends::Unschedulable, 1, 8, "FailedScheduling in pod web-"),
        ("deployment", Ends::Quota, 1, 8, "FailedCreate: exceeded quota: pods=3"),
        ("statefulset", Ends::Done, 0, 0, "2 pods are at revision web-"),
        ("statefulset", Ends::Half, 1, 9, "1 of 2 pods are new"),
        ("statefulset", pull, 1, 8, "ImagePullBackOff in pod web-0, container app"),
        ("statefulset", Ends::Deleted, 1, 8, "was deleted"),
        ("daemonset", Ends::Done, 0, 0, "2 pods are new and available"),
        ("daemonset", Ends::Half, 1, 9, "1 of 2 pods are new"),
        ("daemonset", crash, 1, 8, "CrashLoopBackOff in pod web-0, container app"),
    ];
    // Most of the time is waiting, which they can do side by side.
    std::thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || set_image_beside_kubectl(row));
        }
    });
}

type Row = (&'static str, Ends, i32, i32, &'static str);

/// A workload that rolls out so when it is changed.
fn changing(kind: &str, ends: Ends) -> (Cluster, &'static str) {
    let cluster = Cluster::start();
    let plural = match kind {
        "statefulset" => "statefulsets",
        "daemonset" => "daemonsets",
        _ => "deployments",
    };
    if plural == "deployments" {
        deployment(&cluster, "web", "app:1", 2);
        cluster.on_change(plural, "web", rolls_deployment("web", ends));
    } else {
        counted(&cluster, plural, "web", "app:1", 2);
        cluster.on_change(plural, "web", rolls_counted(plural, "web", ends));
    }
    (cluster, plural)
}

fn set_image_beside_kubectl((kind, ends, code, ours, said): &Row) {
    let work = WorkDir::new();
    let name = format!("{kind}/web");
    let (cluster, plural) = changing(kind, *ends);
    let output = rollout(&work, &cluster, &["set-image", &name, "app=app:2"])
        .env("YADO_ROLLOUT_TIMEOUT", "3s")
        .env("YADO_ROLLOUT_GRACE", "1s")
        .run()
        .with_code(*ours)
        .says(said);
    if *ours == 0 {
        assert_eq!(image(&cluster.get(plural, "web")), "app:2");
        assert_eq!(result(&output, "changed"), "true");
        assert_eq!(result(&output, "images"), "app:2,r.io/sidecar:1");
    }
    let (cluster, plural) = changing(kind, *ends);
    let (done, text) = kubectl(&work, &cluster, &["set", "image", &name, "app=app:2"]);
    assert_eq!((done, text.contains("image updated")), (0, true), "{text}");
    let args = ["rollout", "status", &name, "--timeout", "2s"];
    let (done, text) = kubectl(&work, &cluster, &args);
    assert_eq!(done, *code, "{name} {ends:?}: {text}");
    if *code == 0 {
        assert_eq!(image(&cluster.get(plural, "web")), "app:2", "{text}");
    }
}

/// What is so already, and what comes when somebody watches: the words that count are the same.
#[test]
fn status_tells_what_kubectl_tells() {
    let edit = |plural: &'static str, edit: fn(&mut Value)| {
        let cluster = Cluster::start();
        if plural == "deployments" {
            deployment(&cluster, "web", "app:1", 3);
        } else {
            counted(&cluster, plural, "web", "app:1", 3);
        }
        cluster.edit(plural, "web", edit);
        cluster
    };
    // The kind, what is so, flags, both exit codes, kubectl's figures and yado's.
    type Row =
        (&'static str, fn(&mut Value), &'static [&'static str], (i32, i32), [&'static str; 2]);
    let rows: &[Row] = &[
        ("deployments", |_| {}, &[], (0, 0), ["successfully rolled out", "3 pods are new"]),
        (
            "deployments",
            |o| o["status"]["updatedReplicas"] = 1.into(),
            &["--watch=false"],
            (0, 0),
            ["1 out of 3 new replicas", "1 of 3 pods are new"],
        ),
        (
            "deployments",
            |o| o["status"]["replicas"] = 5.into(),
            &["--watch=false"],
            (0, 0),
            ["2 old replicas", "2 old pods"],
        ),
        (
            "deployments",
            |o| o["status"]["availableReplicas"] = 2.into(),
            &["--watch=false"],
            (0, 0),
            ["2 of 3 updated replicas are available", "2 of 3 new pods are available"],
        ),
        (
            "deployments",
            |o| o["metadata"]["generation"] = 7.into(),
            &["--watch=false"],
            (0, 0),
            ["spec update to be observed", "not seen the change"],
        ),
        ("deployments", |_| {}, &["--revision=1"], (0, 0), ["successfully", "3 pods are new"]),
        (
            "deployments",
            |_| {},
            &["--revision=4"],
            (1, 10),
            ["different from the running", "is 1, not 4"],
        ),
        (
            "statefulsets",
            |o| o["status"]["readyReplicas"] = 1.into(),
            &["--watch=false"],
            (0, 0),
            ["2 pods to be ready", "2 of 3 pods are not ready"],
        ),
        (
            "statefulsets",
            |o| {
                o["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
                o["status"]["updatedReplicas"] = 1.into();
            },
            &["--watch=false"],
            (0, 0),
            ["1 out of 2 new pods", "1 of 2 pods are new"],
        ),
        (
            "statefulsets",
            |o| {
                o["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 2.into();
                o["status"]["updatedReplicas"] = 1.into();
            },
            &[],
            (0, 0),
            ["partitioned roll out complete: 1", "1 pods are at revision web-"],
        ),
        (
            "daemonsets",
            |o| o["status"]["numberAvailable"] = 1.into(),
            &["--watch=false"],
            (0, 0),
            ["1 of 3 updated pods are available", "1 of 3 pods are available"],
        ),
        // kubectl knows no other strategy than the rolling one; yado waits for the pods.
        (
            "daemonsets",
            |o| o["spec"]["updateStrategy"]["type"] = "OnDelete".into(),
            &[],
            (1, 0),
            ["only available for RollingUpdate", "3 pods are new"],
        ),
        (
            "statefulsets",
            |o| {
                o["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
                o["status"]["updatedReplicas"] = 1.into();
            },
            &["--watch=false"],
            (1, 0),
            ["only available for RollingUpdate", "1 of 3 pods are new"],
        ),
    ];
    for (plural, change, flags, codes, said) in rows {
        let work = WorkDir::new();
        let cluster = edit(plural, *change);
        let name = format!("{plural}/web");
        let args: Vec<&str> = ["status", &name].into_iter().chain(flags.iter().copied()).collect();
        let (code, text) = kubectl(&work, &cluster, &[&["rollout"], &args[..]].concat());
        assert_eq!((code, text.contains(said[0])), (codes.0, true), "{name}: {text}");
        rollout(&work, &cluster, &args).run().with_code(codes.1).says(said[1]);
    }
}

#[test]
fn restart_undo_and_history_are_those_of_kubectl() {
    std::thread::scope(|scope| {
        for kind in ["deployment", "statefulset", "daemonset"] {
            scope.spawn(move || history_beside_kubectl(kind));
        }
    });
}

fn history_beside_kubectl(kind: &str) {
    let work = WorkDir::new();
    let name = format!("{kind}/web");
    let (ours, plural) = changing(kind, Ends::Done);
    let (theirs, _) = changing(kind, Ends::Done);
    let settled = |cluster: &Cluster| {
        let (code, text) =
            kubectl(&work, cluster, &["rollout", "status", &name, "--timeout", "20s"]);
        assert_eq!(code, 0, "{text}");
    };
    // The way there: 1, 2, 3, back to 2 (as 4), back to 1 (as 5), and once more the same.
    for image in ["app:2", "app:3"] {
        rollout(&work, &ours, &["set-image", &name, &format!("app={image}")]).succeeds();
        let (code, text) =
            kubectl(&work, &theirs, &["set", "image", &name, &format!("app={image}")]);
        assert_eq!(code, 0, "{text}");
        settled(&theirs);
    }
    for (to, expected) in [(None, "app:2"), (Some("1"), "app:1")] {
        let flag = to.map(|to| format!("--to-revision={to}"));
        let args: Vec<&str> = ["undo", &name].into_iter().chain(flag.as_deref()).collect();
        rollout(&work, &ours, &args).succeeds();
        assert_eq!(image(&ours.get(plural, "web")), expected);
        let (code, text) = kubectl(&work, &theirs, &[&["rollout"], &args[..]].concat());
        assert_eq!((code, text.contains("rolled back")), (0, true), "{text}");
        settled(&theirs);
        assert_eq!(image(&theirs.get(plural, "web")), expected);
    }
    let revisions = |cluster: &Cluster| {
        let (code, text) = kubectl(&work, cluster, &["rollout", "history", &name]);
        assert_eq!(code, 0, "{text}");
        let numbers = text.lines().filter_map(|line| line.split_whitespace().next());
        let numbers: Vec<String> =
            numbers.filter(|word| word.parse::<u32>().is_ok()).map(str::to_owned).collect();
        numbers.join(",")
    };
    let output = rollout(&work, &ours, &["history", &name]).succeeds();
    assert_eq!(result(&output, "revisions"), "3,4,5");
    assert_eq!((revisions(&ours).as_str(), revisions(&theirs).as_str()), ("3,4,5", "3,4,5"));
    // What is not there.
    let output = rollout(&work, &ours, &["undo", &name, "--to-revision", "9"]);
    output.fails(3).says("there is no revision 9; its revisions are 3, 4, 5");
    let (code, text) = kubectl(&work, &theirs, &["rollout", "undo", &name, "--to-revision=9"]);
    assert_eq!((code, text.contains("unable to find")), (1, true), "{text}");
    // A restart is a new revision of the same image.
    let output = rollout(&work, &ours, &["restart", &name]).succeeds();
    assert_eq!(result(&output, "changed"), "true");
    let (code, text) = kubectl(&work, &theirs, &["rollout", "restart", &name]);
    assert_eq!((code, text.contains("restarted")), (0, true), "{text}");
    settled(&theirs);
    for cluster in [&ours, &theirs] {
        let object = cluster.get(plural, "web");
        let annotations = &object["spec"]["template"]["metadata"]["annotations"];
        let at = annotations["kubectl.kubernetes.io/restartedAt"].as_str().unwrap();
        assert!(at.starts_with("20") && at.len() >= 20, "{at}");
        assert_eq!(image(&object), "app:1");
    }
}

/// Refusals that both have, before anything is changed.
#[test]
fn what_cannot_be_is_refused_before_anything_changes() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Done);
    deployment(&cluster, "paused", "app:1", 1);
    cluster.edit("deployments", "paused", |object| object["spec"]["paused"] = true.into());
    // Arguments of yado, its exit code and words, and those of kubectl.
    let rows: &[(&[&str], i32, &str, &[&str], &str)] = &[
        (
            &["set-image", "deploy/web", "ap=app:2"],
            3,
            "deployment.apps/web has no container \"ap\"; it has app, sidecar",
            &["set", "image", "deploy/web", "ap=app:2"],
            "unable to find container",
        ),
        (
            &["set-image", "deploy/none", "app=app:2"],
            3,
            "deployments.apps \"none\" not found",
            &["set", "image", "deploy/none", "app=app:2"],
            "not found",
        ),
        (
            &["set-image", "gadget/web", "app=app:2"],
            3,
            "no resource type \"gadget\"",
            &["set", "image", "gadget/web", "app=app:2"],
            "doesn't have a resource type",
        ),
        (
            &["undo", "deploy/web"],
            3,
            "no revision to go back to; its revisions are 1",
            &["rollout", "undo", "deploy/web"],
            "no rollout history found",
        ),
        (
            &["undo", "deploy/paused"],
            6,
            "it is paused",
            &["rollout", "undo", "deploy/paused"],
            "paused",
        ),
        (
            &["restart", "deploy/paused"],
            6,
            "it is paused",
            &["rollout", "restart", "deploy/paused"],
            "paused",
        ),
        (
            &["status", "po/web"],
            3,
            "\"web\" not found",
            &["rollout", "status", "po/web"],
            "not found",
        ),
        (
            &["status", "deploy", "-l", "app=none"],
            3,
            "there are no deployments.apps with app=none in namespace shop",
            &["rollout", "status", "deploy/none"],
            "not found",
        ),
    ];
    cluster.asked();
    for (args, code, said, theirs, words) in rows {
        rollout(&work, &cluster, args).fails(*code).says(said);
        let (code, text) = kubectl(&work, &cluster, theirs);
        assert_eq!((code, text.contains(words)), (1, true), "{theirs:?}: {text}");
    }
    for (args, said) in [
        (&["set-image", "deploy/web"][..], "no CONTAINER=IMAGE"),
        (&["set-image", "app=app:2"], "KIND/NAME"),
        (&["set-image", "deploy/web", "app=not an image"], "not an image"),
        (&["set-image", "deploy/web", "app=App:2"], "App:2"),
        (&["status", "deploy"], "expected KIND/NAME"),
        (&["status", "sa/web"], "have no pods"),
        (&["undo", "deploy/web", "--to-revision=-1"], "1 or more"),
    ] {
        rollout(&work, &cluster, args).fails(64).says(said);
    }
    assert!(cluster.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn containers_are_set_all_at_once_and_only_where_they_differ() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Done);
    cluster.asked();
    let all = ["set-image", "deploy", "web", "*=app:5", "--change-cause", "release 5"];
    rollout(&work, &cluster, &all).succeeds();
    let object = cluster.get("deployments", "web");
    let containers = &object["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        (&containers[0]["image"], &containers[1]["image"]),
        (&json!("app:5"), &json!("app:5"))
    );
    assert_eq!(object["metadata"]["annotations"]["kubernetes.io/change-cause"], "release 5");
    let (_, text) = kubectl(&work, &cluster, &["rollout", "history", "deploy/web"]);
    assert!(text.contains("release 5"), "{text}");
    let patches = |cluster: &Cluster| {
        cluster.asked().into_iter().filter(|asked| asked.method == "PATCH").collect::<Vec<_>>()
    };
    assert_eq!(patches(&cluster).len(), 1);
    let output = rollout(&work, &cluster, &all).succeeds();
    assert_eq!(result(&output, "changed"), "false");
    assert_eq!(patches(&cluster).len(), 0);
    let dry = rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:6", "--dry-run"]);
    let output = dry.succeeds().says("would be changed");
    assert_eq!(result(&output, "changed"), "true");
    assert!(patches(&cluster)[0].path.contains("dryRun=All"));
    assert_eq!(image(&cluster.get("deployments", "web")), "app:5");
    let quick = rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:6", "--no-wait"]);
    quick.succeeds();
    assert_eq!(image(&cluster.get("deployments", "web")), "app:6");
}

/// The name of a container is tested by the server: an image never lands at another one.
#[test]
fn a_change_in_between_is_seen() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Done);
    // Between our look and our patch another container comes first.
    let moved = |object: &mut Value| {
        let list = object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
        list.reverse();
    };
    let once = std::sync::atomic::AtomicBool::new(false);
    cluster.before_patch(Arc::new(move |cluster| {
        if !once.swap(true, std::sync::atomic::Ordering::SeqCst) {
            cluster.edit("deployments", "web", moved);
        }
    }));
    rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:2"]).succeeds();
    let object = cluster.get("deployments", "web");
    let containers = &object["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0], json!({"name": "sidecar", "image": "r.io/sidecar:1"}));
    assert_eq!(containers[1], json!({"name": "app", "image": "app:2"}));
    // Somebody sets another image while ours is being rolled out.
    let (cluster, _) = changing("deployment", Ends::Half);
    cluster.on_watch(
        "deployments",
        "web",
        Arc::new(|cluster| {
            cluster.edit("deployments", "web", |object| {
                object["metadata"]["generation"] = 9.into();
                object["spec"]["template"]["spec"]["containers"][0]["image"] = "app:3".into();
            });
        }),
    );
    rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:2"])
        .fails(10)
        .says("container app has image app:3 now: a newer change came in between");
}

#[test]
fn a_failure_comes_with_the_last_words() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Waits("CrashLoopBackOff", "back-off"));
    cluster.on_change(
        "deployments",
        "web",
        Arc::new(|cluster| {
            rolls_deployment("web", Ends::Waits("CrashLoopBackOff", "back-off"))(cluster);
            let pods = cluster.all("pods");
            let pod = pods.iter().find(|pod| pod["status"]["phase"] == "Pending").unwrap();
            let name = pod["metadata"]["name"].as_str().unwrap();
            cluster.log(name, "starting\nno database: \u{1b}[31mrefused\n");
        }),
    );
    let args = ["set-image", "deploy/web", "app=app:2", "--log-lines", "1"];
    let output = rollout(&work, &cluster, &args).fails(8);
    // The pod may be seen before its log is written; then there is none, which is no failure.
    let output = output.says("exit code 1, restarted 3 times");
    assert!(!output.stderr.contains("log: starting"), "{}", output.stderr);
    // The same again, with log and events there from the start.
    let pods = cluster.all("pods");
    let pod = pods.iter().find(|pod| pod["status"]["phase"] == "Pending").unwrap().clone();
    cluster.put(
        "events",
        json!({"metadata": {"name": "e1"}, "type": "Warning", "reason": "BackOff", "count": 7,
            "message": "Back-off restarting failed container", "involvedObject":
                {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
            "lastTimestamp": "2026-11-28T10:00:00Z"}),
    );
    rollout(&work, &cluster, &["status", "deploy/web", "--log-lines", "1"])
        .fails(8)
        .says("event: BackOff: Back-off restarting failed container (7 times)")
        .says("log: no database: refused");
    // Whoever waits as kubectl does waits to the end.
    rollout(&work, &cluster, &["status", "deploy/web", "--patient", "--timeout", "1s"])
        .fails(9)
        .says("deployment.apps/web: 1 of 2 pods are new");
}

/// A role that has only the workload itself is enough.
#[test]
fn few_rights_are_enough_and_missing_ones_are_named() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Done);
    for (verb, resource) in
        [("list", "pods"), ("list", "replicasets"), ("list", "events"), ("get", "pods/log")]
    {
        cluster.forbid(verb, resource);
    }
    rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:2"]).succeeds();
    cluster.on_change("deployments", "web", rolls_deployment("web", Ends::Half));
    rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:3", "--timeout", "2s"])
        .fails(9)
        .says("the caller lacks verbs [list] on resources [pods]");
    // Without the ReplicaSets the pods are known by their template.
    let crash = Ends::Waits("CrashLoopBackOff", "back-off");
    let (cluster, _) = changing("deployment", crash);
    cluster.forbid("list", "replicasets");
    rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:2"])
        .fails(8)
        .says("CrashLoopBackOff in pod web-");
    for (verb, args) in [
        ("get", ["set-image", "deploy/web", "app=app:3"]),
        ("patch", ["set-image", "deploy/web", "app=app:3"]),
        ("watch", ["set-image", "deploy/web", "app=app:3"]),
    ] {
        let (cluster, _) = changing("deployment", Ends::Half);
        cluster.forbid(verb, "deployments");
        let rule = format!("verbs [{verb}] on resources [deployments] of apiGroups [\"apps\"]");
        rollout(&work, &cluster, &args).fails(77).says(&rule);
    }
}

/// What finishes a rollout once somebody watches it.
fn finishes(cluster: &Handle) {
    cluster.edit("deployments", "web", |object| {
        object["status"] = json!({"observedGeneration": object["metadata"]["generation"],
            "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    });
}

/// What servers and the way to them do to requests and watches.
#[test]
fn what_passes_is_survived() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Half);
    cluster.on_watch("deployments", "web", Arc::new(finishes));
    let fault = |method, part, status, retry_after| Fault {
        on: (method, part),
        status,
        retry_after,
        times: 1,
    };
    cluster.fault(fault("GET", "deployments/web", 503, None));
    cluster.fault(fault("PATCH", "deployments/web", 429, Some(0)));
    cluster.fault(fault("GET", "watch=true", 500, None));
    cluster.fault(fault("GET", "watch=true", 410, None));
    cluster.end_watches_after(1);
    rollout(&work, &cluster, &["set-image", "deploy/web", "app=app:2"]).succeeds();
    let asked = cluster.asked();
    let statuses = |status| asked.iter().filter(|asked| asked.status == status).count();
    assert_eq!((statuses(503), statuses(429), statuses(500), statuses(410)), (1, 1, 1, 1));
    // Versions that the server has forgotten: all is listed anew.
    let (cluster, _) = changing("deployment", Ends::Half);
    cluster.edit("deployments", "web", |object| object["status"]["updatedReplicas"] = 1.into());
    cluster.on_watch(
        "deployments",
        "web",
        Arc::new(|cluster| {
            cluster.forget();
            finishes(cluster);
        }),
    );
    rollout(&work, &cluster, &["status", "deploy/web"]).succeeds().says("1 of 2 pods are new");
    // A server that is away.
    drop(cluster);
    let (cluster, _) = changing("deployment", Ends::Done);
    let gone = rollout(&work, &cluster, &["status", "deploy/web", "--timeout", "2s"]);
    drop(cluster);
    let output = gone.run();
    assert!(matches!(output.status.code(), Some(9 | 69)), "{output:?}");
}

/// Two workloads share the time, and the first that fails ends the wait.
#[test]
fn several_are_waited_for_side_by_side() {
    let work = WorkDir::new();
    let (cluster, _) = changing("deployment", Ends::Done);
    deployment(&cluster, "api", "app:1", 2);
    cluster.on_change("deployments", "api", rolls_deployment("api", Ends::Done));
    let output = rollout(&work, &cluster, &["set-image", "deploy/web", "deploy/api", "app=app:2"])
        .succeeds();
    assert_eq!(result(&output, "objects"), "deployment.apps/web,deployment.apps/api");
    assert_eq!(result(&output, "revision"), "2,2");
    cluster.on_change("deployments", "api", rolls_deployment("api", Ends::Half));
    let args = ["set-image", "deploy", "--all", "app=app:3", "--timeout", "2s"];
    let output = rollout(&work, &cluster, &args).fails(9);
    let output = output.says("not done within 2.0s: deployment.apps/api: 1 of 2 pods are new");
    assert!(!output.stderr.contains("; deployment.apps/web"), "{}", output.stderr);
    cluster.on_change("deployments", "web", rolls_deployment("web", Ends::Deadline));
    rollout(&work, &cluster, &["set-image", "deploy", "-l", "app in (web,api)", "app=app:4"])
        .fails(8)
        .says("deployment.apps/web: ProgressDeadlineExceeded");
}

/// Kinds that kubectl does not know, found by both forms of discovery.
#[test]
fn rollouts_and_jobs_have_a_status() {
    for aggregated in [false, true] {
        let work = WorkDir::new();
        let cluster = Cluster::start();
        if aggregated {
            cluster.aggregate();
        }
        let template = json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]}});
        cluster.put(
            "rollouts",
            json!({
            "metadata": {"name": "web", "generation": 1},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template,
                "strategy": {"canary": {"steps": [{"pause": {}}]}}},
            "status": {"observedGeneration": "1", "phase": "Healthy", "currentPodHash": "a"}}),
        );
        cluster.on_change("rollouts", "web", Arc::new(|cluster| {
            cluster.edit("rollouts", "web", |object| {
                object["status"] = json!({"observedGeneration": object["metadata"]["generation"].to_string(),
                    "phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 0});
            });
        }));
        for name in ["rollout/web", "ro/web", "rollouts.argoproj.io/web"] {
            rollout(&work, &cluster, &["status", name]).succeeds().says("it is healthy");
        }
        rollout(&work, &cluster, &["set-image", "rollout/web", "app=app:2", "--paused", "fail"])
            .fails(8)
            .says("rollout.argoproj.io/web: Paused: CanaryPauseStep");
        assert_eq!(image(&cluster.get("rollouts", "web")), "app:2");
        rollout(&work, &cluster, &["status", "rollout/web"])
            .succeeds()
            .says("somebody promotes it");
        // kubectl works with both forms too.
        deployment(&cluster, "web", "app:1", 1);
        assert_eq!(kubectl(&work, &cluster, &["rollout", "status", "deploy/web"]).0, 0);
        let owner = |name: &str| {
            json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": name,
            "uid": cluster.get("cronjobs", name)["metadata"]["uid"]}])
        };
        cluster.put(
            "cronjobs",
            json!({"metadata": {"name": "nightly"}, "spec":
            {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}}),
        );
        rollout(&work, &cluster, &["status", "cj/nightly"]).fails(3).says("has no job yet");
        for (name, time, condition) in [("one", "01", "Failed"), ("two", "02", "Complete")] {
            cluster.put(
                "jobs",
                json!({
                "metadata": {"name": name, "creationTimestamp": format!("2026-11-28T{time}:00:00Z"),
                    "ownerReferences": owner("nightly")},
                "spec": {"template": template},
                "status": {"conditions": [{"type": condition, "status": "True", "message": "m",
                    "reason": "BackoffLimitExceeded"}]}}),
            );
        }
        rollout(&work, &cluster, &["status", "cj/nightly"])
            .succeeds()
            .says("job.batch/two: it has completed");
        rollout(&work, &cluster, &["status", "job/one"]).fails(8).says("BackoffLimitExceeded: m");
        rollout(&work, &cluster, &["set-image", "cj/nightly", "app=app:2"])
            .succeeds()
            .says("its next pods are the new ones");
    }
}
