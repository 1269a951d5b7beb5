//! What the controllers of a cluster would do, as scripts: workloads that are rolled out, and
//! rollouts that end in one way or another, one event after the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kubernetes::{Handle, Script, texts};

/// How a rollout ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// All pods are new.
    Done,
    /// After the first new pod nothing happens any more.
    Half,
    /// The first new pod waits for this reason, with this message.
    Waits(&'static str, &'static str),
    /// The first new pod finds no node.
    Unschedulable,
    /// No new pod may be made.
    Quota,
    /// The controller gives up.
    Deadline,
    /// The object is deleted half-way.
    Deleted,
}

/// A template with one container `app` and one `sidecar`.
fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "app", "image": image},
                                {"name": "sidecar", "image": "r.io/sidecar:1"}]},
    })
}

fn owner(object: &Value) -> Value {
    json!([{"apiVersion": object["apiVersion"], "kind": object["kind"], "controller": true,
        "name": object["metadata"]["name"], "uid": object["metadata"]["uid"]}])
}

/// A number that is the same for the same template.
fn hash(template: &Value) -> String {
    let text = template.to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", hash as u32)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A pod that is ready.
fn pod(app: &str, name: &str, label: (&str, &str), template: &Value, owner: &Value) -> Value {
    let ready = json!({"name": "app", "ready": true, "restartCount": 0, "image": "", "imageID": "",
        "state": {"running": {"startedAt": "2026-11-28T10:00:00Z"}}});
    json!({
        "metadata": {"name": name, "labels": texts(&[("app", app), label]), "ownerReferences": owner},
        "spec": template["spec"],
        "status": {"phase": "Running", "containerStatuses": [ready],
            "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// What a pod says that does not become ready.
fn trouble(ends: Ends) -> Option<Value> {
    match ends {
        Ends::Waits(reason, message) => Some(json!({"phase": "Pending", "containerStatuses": [{
            "name": "app", "ready": false, "restartCount": 3, "image": "", "imageID": "",
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }]})),
        Ends::Unschedulable => Some(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/3 nodes are available"}]})),
        _ => None,
    }
}

/// A Deployment that is rolled out: itself, its `ReplicaSet`, its pods.
pub(crate) fn deployment(cluster: &Handle, name: &str, image: &str, replicas: i64) {
    let template = template(name, image);
    let object = cluster.put(
        "deployments",
        json!({
            "metadata": {"name": name, "generation": 1, "labels": {"app": name},
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": template, "strategy": {"type": "RollingUpdate"},
                "progressDeadlineSeconds": 600},
            "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas},
        }),
    );
    let hash = replica_set(cluster, &object, "1");
    let set = cluster.get("replicasets", &format!("{name}-{hash}"));
    for at in 0..replicas {
        let name_ = format!("{name}-{hash}-{at}");
        let label = ("pod-template-hash", &*hash);
        cluster.put("pods", pod(name, &name_, label, &template, &owner(&set)));
    }
}

/// The set of the template, with a number; gives its hash.
fn replica_set(cluster: &Handle, deployment: &Value, number: &str) -> String {
    let name = text(deployment, "/metadata/name");
    let mut template = deployment["spec"]["template"].clone();
    let hash = hash(&template);
    let set = format!("{name}-{hash}");
    let cause = deployment.pointer("/metadata/annotations/kubernetes.io~1change-cause").cloned();
    let mut annotations = texts(&[("deployment.kubernetes.io/revision", number)]);
    if let Some(cause) = cause {
        annotations["kubernetes.io/change-cause"] = cause;
    }
    if !cluster.get("replicasets", &set).is_null() {
        cluster.edit("replicasets", &set, |set| set["metadata"]["annotations"] = annotations);
        return hash;
    }
    template["metadata"]["labels"]["pod-template-hash"] = hash.clone().into();
    let mut labels = template["metadata"]["labels"].clone();
    labels["pod-template-hash"] = hash.clone().into();
    cluster.put(
        "replicasets",
        json!({
            "metadata": {"name": set, "labels": labels, "annotations": annotations,
                "ownerReferences": owner(deployment)},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }),
    );
    hash
}

/// Rolls a Deployment out.
pub(crate) fn rolls_deployment(name: &'static str, ends: Ends) -> Script {
    Arc::new(move |cluster: &Handle| roll_deployment(cluster, name, ends))
}

fn roll_deployment(cluster: &Handle, name: &str, ends: Ends) {
    let object = cluster.get("deployments", name);
    let replicas = object["spec"]["replicas"].as_i64().unwrap();
    let sets = cluster.all("replicasets").into_iter();
    let sets: Vec<Value> =
        sets.filter(|set| text(set, "/metadata/ownerReferences/0/name") == name).collect();
    let number = |set: &Value| -> i64 {
        set["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
            .as_str()
            .map_or(0, |number| number.parse().unwrap())
    };
    let highest = sets.iter().map(number).max().unwrap_or(0);
    let wanted = hash(&object["spec"]["template"]);
    let is_current = sets.iter().any(|set| {
        text(set, "/metadata/name") == format!("{name}-{wanted}") && number(set) == highest
    });
    let next = if is_current { highest } else { highest + 1 }.to_string();
    let status = |edit: &dyn Fn(&mut Value)| {
        cluster.edit("deployments", name, |object| edit(&mut object["status"]));
    };
    let old: Vec<String> = cluster
        .all("pods")
        .iter()
        .filter(|pod| text(pod, "/metadata/labels/app") == name)
        .filter(|pod| text(pod, "/metadata/labels/pod-template-hash") != wanted)
        .map(|pod| text(pod, "/metadata/name").to_owned())
        .collect();
    let hash = replica_set(cluster, &object, &next);
    let set = cluster.get("replicasets", &format!("{name}-{hash}"));
    let template = object["spec"]["template"].clone();
    cluster.edit("deployments", name, |object| {
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = next.into();
        object["status"] = json!({
            "observedGeneration": object["metadata"]["generation"], "replicas": old.len(),
            "updatedReplicas": 0, "availableReplicas": old.len(), "readyReplicas": old.len()});
    });
    if ends == Ends::Quota {
        status(&|status| {
            status["conditions"] = json!([{"type": "ReplicaFailure", "status": "True",
                "reason": "FailedCreate", "message": "exceeded quota: pods=3"}]);
        });
        return;
    }
    for at in 0..replicas {
        let pod_name = format!("{name}-{hash}-{at}");
        let mut new = pod(name, &pod_name, ("pod-template-hash", &hash), &template, &owner(&set));
        let total = old.len() as i64 + 1;
        if let Some(trouble) = trouble(ends) {
            new["status"] = trouble;
            cluster.put("pods", new);
            status(&|status| {
                status["updatedReplicas"] = (at + 1).into();
                status["replicas"] = total.into();
            });
            return;
        }
        cluster.put("pods", new);
        if let Some(old) = old.get(at as usize) {
            cluster.delete("pods", old);
        }
        status(&|status| {
            status["updatedReplicas"] = (at + 1).into();
            status["availableReplicas"] = (at + 1).max(old.len() as i64).into();
            status["replicas"] = (old.len() as i64).max(at + 1).into();
        });
        match ends {
            Ends::Half => return,
            Ends::Deleted => return cluster.delete("deployments", name),
            Ends::Deadline => {
                return status(&|status| {
                    status["conditions"] = json!([{"type": "Progressing", "status": "False",
                        "reason": "ProgressDeadlineExceeded",
                        "message": "ReplicaSet has timed out progressing."}]);
                });
            }
            _ => {}
        }
    }
}

/// A `StatefulSet` or `DaemonSet` that is rolled out, with its revision and its pods.
pub(crate) fn counted(cluster: &Handle, plural: &str, name: &str, image: &str, replicas: i64) {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}},
        "template": template(name, image), "updateStrategy": {"type": "RollingUpdate"}});
    if plural == "statefulsets" {
        spec["replicas"] = replicas.into();
        spec["serviceName"] = name.into();
        spec["updateStrategy"]["rollingUpdate"] = json!({"partition": 0});
    }
    cluster.put(
        plural,
        json!({"metadata": {"name": name, "generation": 1}, "spec": spec,
        "status": initial(plural, replicas)}),
    );
    roll_counted(cluster, plural, name, Ends::Done);
}

fn initial(plural: &str, replicas: i64) -> Value {
    match plural {
        "daemonsets" => json!({"observedGeneration": 1, "desiredNumberScheduled": replicas,
            "currentNumberScheduled": replicas, "numberMisscheduled": 0, "numberReady": replicas,
            "numberAvailable": replicas, "updatedNumberScheduled": replicas}),
        _ => json!({"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas, "updatedReplicas": replicas,
            "currentReplicas": replicas}),
    }
}

/// Rolls a `StatefulSet` or `DaemonSet` out.
pub(crate) fn rolls_counted(plural: &'static str, name: &'static str, ends: Ends) -> Script {
    Arc::new(move |cluster: &Handle| roll_counted(cluster, plural, name, ends))
}

fn roll_counted(cluster: &Handle, plural: &str, name: &str, ends: Ends) {
    let object = cluster.get(plural, name);
    let daemons = plural == "daemonsets";
    let template = object["spec"]["template"].clone();
    let hash = hash(&template);
    let revision = format!("{name}-{hash}");
    let known = cluster.all("controllerrevisions");
    let of = known.iter().filter(|r| text(r, "/metadata/ownerReferences/0/name") == name);
    let highest = of.filter_map(|r| r["revision"].as_i64()).max().unwrap_or(0);
    let mut data = template.clone();
    data["$patch"] = "replace".into();
    let labels = texts(&[("app", name), ("controller-revision-hash", &hash)]);
    let number = match cluster.get("controllerrevisions", &revision)["revision"].as_i64() {
        Some(number) if number == highest => highest,
        _ => highest + 1,
    };
    cluster.put(
        "controllerrevisions",
        json!({
        "metadata": {"name": revision, "labels": labels, "ownerReferences": owner(&object)},
        "data": {"spec": {"template": data}}, "revision": number}),
    );
    let label = if daemons { hash.clone() } else { revision.clone() };
    let replicas = match daemons {
        true => object["status"]["desiredNumberScheduled"].as_i64().unwrap_or(0),
        false => object["spec"]["replicas"].as_i64().unwrap(),
    };
    let (updated, available) = match daemons {
        true => ("updatedNumberScheduled", "numberAvailable"),
        false => ("updatedReplicas", "readyReplicas"),
    };
    cluster.edit(plural, name, |object| {
        object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
        object["status"][updated] = 0.into();
        if !daemons {
            object["status"]["updateRevision"] = revision.clone().into();
        }
    });
    let keep = object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    for at in 0..(replicas - keep) {
        let pod_name = format!("{name}-{at}");
        cluster.delete("pods", &pod_name);
        let label = ("controller-revision-hash", &*label);
        let mut new = pod(name, &pod_name, label, &template, &owner(&object));
        let troubled = trouble(ends);
        if let Some(trouble) = &troubled {
            new["status"] = trouble.clone();
        }
        cluster.put("pods", new);
        cluster.edit(plural, name, |object| {
            object["status"][updated] = (at + 1).into();
            object["status"][available] =
                if troubled.is_some() { replicas - 1 } else { replicas }.into();
        });
        match ends {
            Ends::Done => {}
            Ends::Deleted => return cluster.delete(plural, name),
            _ => return,
        }
    }
    if !daemons && keep == 0 {
        cluster.edit(plural, name, |object| {
            object["status"]["currentRevision"] = revision.into();
        });
    }
}
