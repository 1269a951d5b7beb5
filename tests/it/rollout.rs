//! `yado rollout` against an API server of the test's own, and kubectl beside it as the judge.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::kubernetes::{Cluster, Fault};
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
    let rows: &[(&str, Ends, i32, i32, &str)] = &[
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
    for (kind, ends, code, ours, said) in rows {
        let work = WorkDir::new();
        let prepare = || {
            let cluster = Cluster::start();
            let plural: &str = match *kind {
                "statefulset" => "statefulsets",
                "daemonset" => "daemonsets",
                _ => "deployments",
            };
            if *kind == "deployment" {
                deployment(&cluster, "web", "app:1", 2);
                cluster.on_change(plural, "web", rolls_deployment("web", *ends));
            } else {
                counted(&cluster, plural, "web", "app:1", 2);
                let plural = if *kind == "daemonset" { "daemonsets" } else { "statefulsets" };
                cluster.on_change(plural, "web", rolls_counted(plural, "web", *ends));
            }
            (cluster, plural)
        };
        let name = format!("{kind}/web");
        let (cluster, plural) = prepare();
        let output = rollout(&work, &cluster, &["set-image", &name, "app=app:2"])
            .flags([] as [&str; 0])
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
        let (cluster, plural) = prepare();
        let (done, text) = kubectl(&work, &cluster, &["set", "image", &name, "app=app:2"]);
        assert_eq!((done, text.contains("image updated")), (0, true), "{text}");
        let args = ["rollout", "status", &name, "--timeout", "2s"];
        let (done, text) = kubectl(&work, &cluster, &args);
        assert_eq!(done, *code, "{name} {ends:?}: {text}");
        if *code == 0 {
            assert_eq!(image(&cluster.get(plural, "web")), "app:2", "{text}");
        }
    }
}
