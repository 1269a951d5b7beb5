//! The recipes of README.md, as they stand there: only the names of hosts, files and the commit are
//! those of the tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::argocd::{ArgoCd, Script};
use crate::support::git::{GitRepository, GitServer};
use crate::support::kubernetes::Cluster;
use crate::support::kubernetes::controllers::{Ends, deployment, rolls_deployment};
use crate::support::ssh::{SshServer, SshSetup, keygen};
use crate::support::{WorkDir, binary, tool};

const README: &str = include_str!("../../README.md");

/// The block of commands in which `word` stands.
fn recipe(word: &str) -> &'static str {
    let section = README.split_once("### Five recipes").expect("the recipes").1;
    let mut blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(word)).unwrap_or_else(|| panic!("no recipe has {word}"))
}

/// Runs commands as a shell does, with nothing in the environment but what is given.
fn run(work: &WorkDir, commands: &str, changes: &[(&str, &str)], env: &[(&str, &str)]) -> String {
    let mut commands = commands.to_owned();
    for (from, to) in changes {
        assert!(commands.contains(from), "{from} is not in the recipe:\n{commands}");
        commands = commands.replace(from, to);
    }
    let bin = work.path("bin");
    let _ = fs::create_dir(&bin);
    let _ = std::os::unix::fs::symlink(binary(), bin.join("yado"));
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut shell = Command::new("sh");
    shell.args(["-euc", &commands]).env_clear().env("PATH", path).envs(env.iter().copied());
    tool(shell.current_dir(work.path(".")))
}

/// A repository with this file, which the user of the tests may push to.
fn ops<'a>(server: &'a GitServer, path: &str, text: &str) -> GitRepository<'a> {
    let ops = server.repository("ops", &[]);
    ops.write(path, text);
    ops.commit("first");
    ops.open();
    ops
}

const PASSWORD: [(&str, &str); 2] =
    [("GIT_USERNAME", GitServer::USER), ("GIT_PASSWORD", GitServer::PASSWORD)];

#[test]
fn an_overlay_is_changed_and_argo_cd_makes_it_live() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let file = "overlays/production/kustomization.yaml";
    let old = "# production\nimages:\n  - name: registry.example/app # ours\n    newTag: 1.2.2\n";
    let ops = ops(&server, file, old);
    let certificate = server.certificate();
    let (patch, sync) = recipe("--kustomize-image").split_once("yado sync").expect("two commands");
    let url = server.https("private/ops");
    let mut env = PASSWORD.to_vec();
    env.push(("GIT_SSL_CAINFO", certificate.to_str().unwrap()));
    run(&work, patch, &[("https://git.example/team/ops.git", &url)], &env);
    let now = ops.served(["show", &format!("main:{file}")]);
    assert_eq!(format!("{now}\n"), old.replace("1.2.2", "1.2.3"));
    ops.fsck();
    let commit = fs::read_to_string(work.path("results/commit")).unwrap();
    assert_eq!(ops.served(["rev-parse", "main"]), commit);
    let argo = ArgoCd::start(Script { heads: vec![commit.leak()], ..Script::default() });
    let env = [
        ("ARGOCD_SERVER", argo.address.as_str()),
        ("ARGOCD_AUTH_TOKEN", "good"),
        ("ARGOCD_OPTS", "--plaintext"),
    ];
    let said = run(&work, &format!("yado sync{sync}"), &[], &env);
    assert!(said.contains("health: Healthy"), "{said}");
}

#[test]
fn a_value_of_helm_is_set_once() {
    let server = GitServer::start();
    let work = WorkDir::new();
    let path = "charts/app/values.yaml";
    let ops = ops(&server, path, "image:\n  tag: 1.2.2   # by the pipeline\n");
    let certificate = server.certificate();
    let mut env = PASSWORD.to_vec();
    env.push(("GIT_SSL_CAINFO", certificate.to_str().unwrap()));
    let url = server.https("private/ops");
    for changed in ["changed: true", "changed: false"] {
        let change = [("https://git.example/team/ops.git", url.as_str())];
        let said = run(&work, recipe("image.tag"), &change, &env);
        assert!(said.contains(changed), "{said}");
    }
    let now = ops.served(["show", &format!("main:{path}")]);
    assert_eq!(now, "image:\n  tag: 1.2.3   # by the pipeline");
    assert_eq!(ops.served(["rev-list", "--count", "main"]), "2");
}

#[test]
fn a_manifest_is_patched_over_ssh_with_a_tag_of_the_time() {
    let server = GitServer::start();
    let ssh = SshServer::start(SshSetup::default());
    let work = WorkDir::new();
    let text = "kind: Deployment\nmetadata: {name: app}\nspec:\n  template:\n    spec:\n      \
                containers:\n        - name: app\n          image: registry.example/app:old # x\n";
    let ops = ops(&server, "app/deployment.yaml", text);
    keygen(&work.path("id_rsa"), "rsa", &["-m", "PEM"]);
    ssh.authorize(&work.path("id_rsa.pub"));
    fs::create_dir(work.path("secrets")).unwrap();
    fs::rename(work.path("id_rsa"), work.path("secrets/id_rsa")).unwrap();
    work.write("secrets/known_hosts", ssh.known(&ssh.name(), "ed25519"));
    let source = server.repository("app", &[]);
    source.write("main.c", "");
    let commit = source.commit("sources");
    let bare = ops.served(["rev-parse", "--absolute-git-dir"]);
    let changes = [
        ("ssh://git@git.example:7999/team/ops.git", ssh.url(Path::new(&bare))),
        ("/secrets/ssh", work.path("secrets").display().to_string()),
        ("--source src", format!("--source {}", source.path.display())),
    ];
    let changes: Vec<_> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let said = run(&work, recipe("--strategic-patch"), &changes, &[]);
    let tag = said.lines().find_map(|line| line.strip_prefix("tag: ")).expect("a tag");
    assert!(tag.len() == 14 && tag.bytes().all(|b| b.is_ascii_digit()), "{tag}");
    let now = ops.served(["show", "main:app/deployment.yaml"]);
    assert!(now.contains("image: registry.example/app:11212026083000 # x"), "{now}");
    let message = ops.served(["log", "-1", "--format=%B", "main"]);
    assert!(message.contains(&format!("Source-Commit: {commit}")), "{message}");
    ops.fsck();
}

/// The file that a pod or a desk has; gives what the environment says of it.
fn kubeconfig(work: &WorkDir, cluster: &Cluster) -> String {
    let path = work.write("kubeconfig", cluster.kubeconfig(&json!({"token": "t"}), &json!({})));
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_image_is_set_and_its_pods_are_waited_for() {
    let work = WorkDir::new();
    let cluster = Cluster::start();
    deployment(&cluster, "web", "registry.example/app:1.2.2", 2);
    cluster.on_change("deployments", "web", rolls_deployment("web", Ends::Done));
    let config = kubeconfig(&work, &cluster);
    let commands = recipe("rollout set-image");
    run(&work, commands, &[], &[("KUBECONFIG", &config)]);
    let image = &cluster.get("deployments", "web")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(image["image"], "registry.example/app:1.2.3");
}

#[test]
fn a_synced_commit_starts_one_run() {
    let work = WorkDir::new();
    let cluster = Cluster::start();
    let commit = "8f3a5a3f7f0d2a9d1f1c7c2b7e0d4c5b6a798081";
    cluster.put(
        "applications",
        json!({"metadata": {"name": "web"}, "spec": {"source": {"path": "web"}},
            "status": {"operationState": {"phase": "Running",
                "syncResult": {"revision": commit}}}}),
    );
    let config = kubeconfig(&work, &cluster);
    let env = [("KUBECONFIG", config.as_str())];
    run(&work, recipe("--hook-manifest"), &[], &env);
    let hook = fs::read_to_string(work.path("hook.yaml")).unwrap();
    assert!(hook.contains("PostSync") && hook.contains("{{revision}}"), "{hook}");
    for created in ["created: true", "created: false"] {
        let said = run(&work, recipe("--application web"), &[], &env);
        assert!(said.contains(created), "{said}");
    }
    let [run] = &cluster.all("pipelineruns")[..] else { panic!("not one run") };
    assert_eq!(run["spec"]["params"], json!([{"name": "revision", "value": commit}]));
}
