//! Which cluster, and who we are to it: kubeconfig, certificates, tokens that change, programs that give
//! them. `yado rollout status` is the one that asks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::kubernetes::{Cluster, Handle, Stream};
use crate::support::kubernetes_controllers::deployment;
use crate::support::{WorkDir, Yado, tool};

const STATUS: [&str; 3] = ["rollout", "status", "deploy/web"];

fn cluster() -> Cluster {
    let cluster = Cluster::start();
    deployment(&cluster, "web", "app:1", 1);
    cluster
}

/// With a kubeconfig of this user.
fn status(work: &WorkDir, cluster: &Cluster, user: Value) -> Yado {
    let path = work.write("kubeconfig", cluster.kubeconfig(user, json!({})));
    work.yado(STATUS).env("KUBECONFIG", path)
}

#[test]
fn clusters_are_found_as_kubectl_finds_them() {
    let work = WorkDir::new();
    let cluster = cluster();
    let text = cluster.kubeconfig(json!({}), json!({}));
    work.yado(STATUS).fails(66).says("there is no cluster");
    work.write("home/.kube/config", &text);
    work.yado(STATUS).succeeds();
    fs::remove_file(work.path("home/.kube/config")).unwrap();
    let status = |flags: &[&str]| work.yado(STATUS.iter().chain(flags));
    let named = work.write("named", &text);
    let named = named.to_str().unwrap();
    status(&["--kubeconfig", named]).succeeds();
    status(&["--kubeconfig", "none"]).fails(66).says("none");
    status(&["--context", "x"]).fails(66).says("context \"x\"");
    status(&["--kubeconfig", named, "--context", "x"]).fails(65).says("there are fake");
    status(&["--kubeconfig", named, "-n", "other"]).fails(3).says("in other");
    status(&["--server", &cluster.url, "-n", "shop"]).succeeds();
    // Several files are one; YAML is read as well.
    work.write("first", "current-context: two\ncontexts:\n- name: two\n  context: {cluster: fake, namespace: shop}\n");
    let list =
        format!("{}:{}:{named}", work.path("missing").display(), work.path("first").display());
    work.yado(STATUS).env("KUBECONFIG", &list).succeeds();
    work.write("first", "current-context: [");
    work.yado(STATUS).env("KUBECONFIG", &list).fails(65).says("first:1:");
    cluster.want_token("t");
    let token = work.write("token", "t\n");
    status(&["--kubeconfig", named])
        .fails(77)
        .says("the token has run out, or is another server's");
    status(&["--kubeconfig", named, "--token-file", token.to_str().unwrap()]).succeeds();
    // Variables, as each flag has one.
    work.yado(STATUS)
        .env("YADO_ROLLOUT_KUBECONFIG", named)
        .env("YADO_ROLLOUT_TOKEN_FILE", &token)
        .succeeds();
}

/// The token of a pod is another one after some time; who waits goes on with it.
#[test]
fn a_token_that_changes_is_read_again() {
    let work = WorkDir::new();
    let cluster = cluster();
    cluster.edit("deployments", "web", |object| object["status"]["updatedReplicas"] = 0.into());
    cluster.want_token("old");
    cluster.end_watches_after(1);
    let token = work.write("token", "old");
    cluster.on_watch(
        "deployments",
        "web",
        Arc::new(move |cluster: &Handle| {
            fs::write(&token, "new").unwrap();
            cluster.want_token("new");
            for updated in [0, 1] {
                cluster.edit("deployments", "web", |object| {
                    object["status"]["replicas"] = 1.into();
                    object["status"]["updatedReplicas"] = updated.into();
                });
            }
        }),
    );
    status(&work, &cluster, json!({"tokenFile": "token"})).succeeds();
    let sent = |token: &str| {
        let sent = format!("Bearer {token}");
        move |asked: &crate::support::kubernetes::Asked| {
            asked.headers.get("authorization") == Some(&sent)
        }
    };
    let asked = cluster.asked();
    assert!(asked.iter().any(sent("old")));
}

#[test]
fn programs_give_tokens() {
    let work = WorkDir::new();
    let cluster = cluster();
    cluster.want_token("good");
    // The first one that it gives is refused.
    let program = work.write(
        "bin/helper",
        "#!/bin/sh\ntest \"$1 $EXTRA\" = 'login more' || exit 9\n\
         case $KUBERNETES_EXEC_INFO in *'\"interactive\":false'*) ;; *) exit 8 ;; esac\n\
         token=good; test -e \"$0.again\" || token=bad; touch \"$0.again\"\n\
         echo '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\",'\
         '\"status\": {\"token\": \"'$token'\"}}'\n",
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let exec = |command: &str, args: Value| {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command,
            "args": args, "env": [{"name": "EXTRA", "value": "more"}], "interactiveMode": "Never",
            "installHint": "get it from the shelf"}})
    };
    status(&work, &cluster, exec("bin/helper", json!(["login"]))).succeeds();
    status(&work, &cluster, exec("bin/helper", json!(["other"]))).fails(77).says("exit status: 9");
    status(&work, &cluster, exec("no-such-helper", json!([])))
        .fails(77)
        .says("hint: get it from the shelf");
}

/// An authority, a server's certificate and a client's.
fn certificates(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let openssl = |args: &[&str]| tool(Command::new("openssl").current_dir(dir).args(args));
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let ca =
        ["req", "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj", "/CN=ca"];
    openssl(&[&ca[..], &key].concat());
    for (name, extra) in
        [("server", "subjectAltName=IP:127.0.0.1"), ("client", "subjectAltName=DNS:me")]
    {
        let (keyfile, csr) = (format!("{name}.key"), format!("{name}.csr"));
        let subject = format!("/CN={name}");
        let req = ["req", "-keyout", &keyfile, "-out", &csr, "-subj", &subject];
        openssl(&[&req[..], &key].concat());
        fs::write(dir.join("extra"), extra).unwrap();
        let certificate = format!("{name}.crt");
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "3650",
            "-extfile",
            "extra",
            "-out",
            &certificate,
        ]);
    }
}

#[test]
fn servers_and_clients_show_certificates() {
    let work = WorkDir::new();
    let dir = work.path("pki");
    certificates(&dir);
    let pem = |name: &str| fs::read(dir.join(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem("ca.crt")).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("server.crt")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("server.key")).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let cluster = Cluster::listen("https", move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        Box::new(StreamOwned::new(connection, stream)) as Box<dyn Stream>
    });
    deployment(&cluster, "web", "app:1", 1);
    let data = |name: &str| STANDARD.encode(pem(name));
    let shown = json!({"client-certificate-data": data("client.crt"), "client-key-data": data("client.key")});
    let files = json!({"client-certificate": "pki/client.crt", "client-key": "pki/client.key"});
    let trusted = json!({"certificate-authority-data": data("ca.crt")});
    let rows = [
        (shown.clone(), trusted.clone(), 0, ""),
        (files, json!({"certificate-authority": "pki/ca.crt"}), 0, ""),
        (shown.clone(), json!({"insecure-skip-tls-verify": true}), 0, ""),
        (shown.clone(), json!({}), 69, "unknown authority"),
        (json!({}), trusted.clone(), 69, &cluster.url),
        (shown, json!({"certificate-authority": "pki/none"}), 66, "pki/none"),
    ];
    for (user, of_cluster, code, said) in rows {
        let path = work.write("kubeconfig", cluster.kubeconfig(user.clone(), of_cluster.clone()));
        let yado = work.yado(STATUS).env("KUBECONFIG", &path);
        yado.run().with_code(code).says(said);
        // kubectl has the same verdict, of the server too.
        let kubectl = Command::new("kubectl")
            .args(["rollout", "status", "deploy/web", "--kubeconfig"])
            .arg(&path)
            .arg("--cache-dir")
            .arg(work.path("kubectl-cache"))
            .output()
            .expect("kubectl is installed");
        let stderr = String::from_utf8_lossy(&kubectl.stderr);
        assert_eq!(kubectl.status.success(), code == 0, "{user} {of_cluster}: {stderr}");
    }
    // A program may give a certificate instead of a token.
    let status = json!({"clientCertificateData": String::from_utf8(pem("client.crt")).unwrap(),
        "clientKeyData": String::from_utf8(pem("client.key")).unwrap()});
    let answer = json!({"apiVersion": "client.authentication.k8s.io/v1beta1",
        "kind": "ExecCredential", "status": status});
    work.write("answer", answer.to_string());
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "cat", "args": [work.path("answer")]}});
    let path = work.write("kubeconfig", cluster.kubeconfig(exec, trusted));
    work.yado(STATUS).env("KUBECONFIG", path).succeeds();
}
