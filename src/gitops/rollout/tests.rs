//! Verdicts in tables.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// Adds the fields of `extra` to `object`.
fn with(mut object: Value, extra: &Value) -> Value {
    if let (Some(object), Some(extra)) = (object.as_object_mut(), extra.as_object()) {
        for (key, value) in extra {
            let known = object.entry(key).or_insert(json!({}));
            *known = if value.is_object() { with(known.clone(), value) } else { value.clone() };
        }
        return Value::Object(object.clone());
    }
    extra.clone()
}

fn seen<'a>(workload: Workload, object: &'a Value, pods: &'a [&'a Value]) -> Seen<'a> {
    Seen {
        workload,
        object,
        pods,
        generation: 0,
        lasting: Duration::ZERO,
        grace: Duration::from_secs(30),
        patient: false,
        paused: Paused::Done,
    }
}

/// A verdict as a word and what it says.
fn told(verdict: &Verdict) -> (char, String) {
    match verdict {
        Verdict::Progressing(message) => ('.', message.clone()),
        Verdict::Done(message) => ('+', message.clone()),
        Verdict::Failed(trouble) => ('!', trouble.to_string()),
    }
}

fn check(workload: Workload, base: &Value, rows: &[(Value, char, &str)]) {
    for (extra, word, said) in rows {
        let object = with(base.clone(), extra);
        let (told, message) = told(&verdict(&seen(workload, &object, &[])));
        assert_eq!(told, *word, "{extra}: {message}");
        assert!(message.contains(said), "{extra}: {message}");
    }
}

#[test]
fn deployments_are_judged_by_their_counts() {
    let base = json!({
        "metadata": {"generation": 2}, "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
    });
    let deadline = json!({"status": {"conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"},
    ]}});
    check(
        Workload::Deployment,
        &base,
        &[
            (json!({}), '+', "3 pods are new"),
            (json!({"status": {"observedGeneration": 1}}), '.', "not seen the change"),
            (
                with(deadline.clone(), &json!({"status": {"observedGeneration": 1}})),
                '.',
                "not seen",
            ),
            (json!({"status": null}), '.', "not seen"),
            (json!({"status": {"updatedReplicas": 1}}), '.', "1 of 3 pods are new"),
            (json!({"status": {"replicas": 4}}), '.', "1 old pods"),
            (json!({"status": {"availableReplicas": 2}}), '.', "2 of 3 new pods are available"),
            (deadline, '!', "ProgressDeadlineExceeded: m"),
            // Without a number of its own, whatever the server has decided.
            (
                json!({"spec": {"replicas": null}, "status": {"updatedReplicas": 1, "replicas": 1,
                "availableReplicas": 1}}),
                '+',
                "1 pods",
            ),
            (
                json!({"spec": {"replicas": 0}, "status": {"updatedReplicas": 0, "replicas": 0,
                "availableReplicas": 0}}),
                '+',
                "0 pods",
            ),
            (json!({"spec": {"paused": true}, "status": {"updatedReplicas": 0}}), '!', "Paused"),
            (json!({"spec": {"paused": true}}), '+', ""),
        ],
    );
}

#[test]
fn what_our_change_made_is_waited_for() {
    let object = json!({
        "metadata": {"generation": 1}, "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    });
    for (generation, word) in [(0, '+'), (1, '+'), (2, '.')] {
        let seen = Seen { generation, ..seen(Workload::Deployment, &object, &[]) };
        assert_eq!(told(&verdict(&seen)).0, word, "{generation}");
    }
}

#[test]
fn stateful_sets_are_judged_by_their_counts() {
    let base = json!({
        "metadata": {"generation": 2},
        "spec": {"replicas": 3, "updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
        "status": {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3,
            "currentRevision": "db-1", "updateRevision": "db-2"},
    });
    let partition = |keep: i64, updated: i64| {
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": keep}}},
               "status": {"updatedReplicas": updated}})
    };
    let on_delete =
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    let bare = json!({"spec": {"updateStrategy": {"rollingUpdate": null}}});
    check(
        Workload::StatefulSet,
        &base,
        &[
            (json!({}), '+', "db-2"),
            (json!({"status": {"observedGeneration": 1}}), '.', "not seen"),
            (json!({"status": {"readyReplicas": 1}}), '.', "2 of 3 pods are not ready"),
            (json!({"status": {"updatedReplicas": 1}}), '.', "1 of 3 pods are new"),
            (partition(2, 1), '+', "1 pods"),
            (partition(2, 0), '.', "0 of 1"),
            (partition(5, 0), '+', ""),
            (bare.clone(), '.', "db-2"),
            (with(bare, &json!({"status": {"currentRevision": "db-2"}})), '+', "db-2"),
            (on_delete.clone(), '+', "db-2"),
            (with(on_delete, &json!({"status": {"updatedReplicas": 2}})), '.', "OnDelete"),
        ],
    );
}

#[test]
fn daemon_sets_are_judged_by_their_counts() {
    let base = json!({
        "metadata": {"generation": 2},
        "status": {"observedGeneration": 2, "desiredNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberAvailable": 2},
    });
    let half = json!({"status": {"updatedNumberScheduled": 1}});
    check(
        Workload::DaemonSet,
        &base,
        &[
            (json!({}), '+', "2 pods"),
            (json!({"status": {"observedGeneration": 1}}), '.', "not seen"),
            (half.clone(), '.', "1 of 2 pods are new"),
            (
                with(half, &json!({"spec": {"updateStrategy": {"type": "OnDelete"}}})),
                '.',
                "OnDelete",
            ),
            (json!({"status": {"numberAvailable": 1}}), '.', "1 of 2 pods are available"),
        ],
    );
}

#[test]
fn kinds_that_kubectl_does_not_know_have_a_verdict() {
    let rollout = json!({"metadata": {"generation": 2},
        "status": {"observedGeneration": "2", "phase": "Healthy"}});
    let paused = |pause: Value| {
        json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": pause}]}}},
            "status": {"phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 1}})
    };
    check(
        Workload::Rollout,
        &rollout,
        &[
            (json!({}), '+', "healthy"),
            (json!({"status": {"observedGeneration": "1"}}), '.', "not seen"),
            (json!({"status": {"observedGeneration": "5f6b"}}), '+', "healthy"),
            (
                json!({"status": {"phase": "Progressing", "message": "more"}}),
                '.',
                "progressing: more",
            ),
            (
                json!({"status": {"phase": "Degraded", "message": "aborted"}}),
                '!',
                "Degraded: aborted",
            ),
            (paused(json!({})), '+', "promotes it: CanaryPauseStep"),
            (paused(json!({"duration": "10s"})), '.', "for a while"),
            (
                json!({"spec": {"restartAt": "t2"}, "status": {"restartedAt": "t1"}}),
                '.',
                "restarts",
            ),
            (json!({"spec": {"restartAt": "t2"}, "status": {"restartedAt": "t2"}}), '+', "healthy"),
        ],
    );
    let waiting = with(rollout, &paused(json!({})));
    for (choice, word) in [(Paused::Done, '+'), (Paused::Wait, '.'), (Paused::Fail, '!')] {
        let seen = Seen { paused: choice, ..seen(Workload::Rollout, &waiting, &[]) };
        assert_eq!(told(&verdict(&seen)).0, word, "{choice:?}");
    }
    let is = |kind: &str, reason: &str| json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": reason}]}});
    check(
        Workload::Job,
        &json!({"spec": {"completions": 2}, "status": {"succeeded": 1, "active": 1}}),
        &[
            (json!({}), '.', "1 of 2 pods have succeeded, 1 are active"),
            (is("Complete", ""), '+', "completed"),
            (is("Failed", "BackoffLimitExceeded"), '!', "BackoffLimitExceeded"),
            (is("Suspended", ""), '.', "suspended"),
        ],
    );
    check(
        Workload::Pod,
        &json!({"status": {"phase": "Running"}}),
        &[
            (json!({}), '.', "not ready"),
            (is("Ready", ""), '+', "ready"),
            (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), '!', "Evicted"),
            (json!({"status": {"phase": "Succeeded"}}), '+', "succeeded"),
        ],
    );
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"metadata": {"name": "web-1"}, "status": {"containerStatuses": [{
        "name": "app", "restartCount": 4,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]}})
}

#[test]
fn what_does_not_get_better_by_itself_is_a_failure_at_once() {
    let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 1},
        "status": {"observedGeneration": 2}});
    let unschedulable = json!({"metadata": {"name": "web-1"}, "status": {"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"},
    ]}});
    let mut init = waiting("ImagePullBackOff", "m");
    let status = init["status"]["containerStatuses"].take();
    init["status"]["initContainerStatuses"] = status;
    let leaving = with(
        waiting("ImagePullBackOff", "m"),
        &json!({"metadata": {"deletionTimestamp": "2026-11-28T12:00:00Z"}}),
    );
    // What the pod says, the verdict at once, after the grace, and its words.
    for (pod, at_once, later, said) in [
        (
            waiting("ImagePullBackOff", "m"),
            '!',
            '!',
            "ImagePullBackOff in pod web-1, container app: m",
        ),
        (init, '!', '!', "ImagePullBackOff"),
        (waiting("InvalidImageName", "m"), '!', '!', "InvalidImageName"),
        (waiting("CreateContainerConfigError", "secret \"x\" not found"), '!', '!', "secret"),
        (
            waiting("CrashLoopBackOff", "m"),
            '!',
            '!',
            "exit code 137 (OOMKilled), restarted 4 times",
        ),
        (waiting("ErrImagePull", "manifest unknown"), '!', '!', "manifest unknown"),
        (waiting("ErrImagePull", "i/o timeout"), '.', '!', "i/o timeout"),
        (unschedulable, '.', '!', "FailedScheduling in pod web-1: 0/3"),
        (waiting("ContainerCreating", ""), '.', '.', ""),
        (leaving, '.', '.', ""),
    ] {
        for (lasting, patient, word) in [
            (Duration::ZERO, false, at_once),
            (Duration::from_secs(30), false, later),
            (Duration::from_secs(30), true, '.'),
        ] {
            let pods = [&pod];
            let seen = Seen { lasting, patient, ..seen(Workload::Deployment, &object, &pods) };
            let (told, message) = told(&verdict(&seen));
            assert_eq!(told, word, "{pod}: {message}");
            assert!(patient || message.contains(said), "{message}");
        }
        // What its controller has not seen is not about these pods.
        let newer = Seen { generation: 3, ..seen(Workload::Deployment, &object, &[]) };
        assert_eq!(told(&verdict(&Seen { pods: &[&pod], ..newer })).0, '.');
    }
    // A Job decides itself how often its pods may crash.
    let pod = waiting("CrashLoopBackOff", "m");
    assert_eq!(told(&verdict(&seen(Workload::Job, &json!({}), &[&pod]))).0, '.');
    // A quota.
    let quota = with(
        object,
        &json!({"status": {"conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"},
        ]}}),
    );
    let at_once = seen(Workload::Deployment, &quota, &[]);
    assert_eq!(told(&verdict(&at_once)).0, '.');
    let later = Seen { lasting: Duration::from_secs(30), ..at_once };
    assert_eq!(told(&verdict(&later)), ('!', "FailedCreate: quota".to_owned()));
}

#[test]
fn the_pods_tell_why_the_controller_gave_up() {
    let object = json!({"status": {"conditions": [{"type": "Progressing",
        "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}});
    let pod = waiting("CrashLoopBackOff", "m");
    let (word, message) = told(&verdict(&seen(Workload::Deployment, &object, &[&pod])));
    assert_eq!(word, '!');
    assert!(message.starts_with("ProgressDeadlineExceeded, CrashLoopBackOff in pod"), "{message}");
}

#[test]
fn pods_of_the_current_template_are_told_from_others() {
    let pod = |name: &str, label: &str, hash: &str, image: &str| {
        json!({"metadata": {"name": name, "labels": {label: hash, "app": "web"}},
               "spec": {"containers": [{"name": "app", "image": image}]}})
    };
    let names = |pods: Vec<&Value>| -> Vec<String> {
        pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap_or("").to_owned()).collect()
    };
    let deployment = json!({
        "metadata": {"uid": "d", "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "app", "image": "app:2"}]}}},
    });
    let set = |owner: &str, number: &str, hash: &str| {
        json!({"metadata": {"ownerReferences": [{"uid": owner}], "labels": {"pod-template-hash": hash},
            "annotations": {"deployment.kubernetes.io/revision": number}}})
    };
    let sets = [set("other", "2", "x"), set("d", "1", "a"), set("d", "2", "b")];
    let pods = [
        pod("old", "pod-template-hash", "a", "app:1"),
        pod("new", "pod-template-hash", "b", "app:2"),
        pod("strange", "pod-template-hash", "x", "app:2"),
    ];
    let of =
        |sets: Option<&[Value]>| names(current(Workload::Deployment, &deployment, sets, &pods));
    assert_eq!(of(Some(&sets)), ["new"]);
    // The controller has numbered it already, the new set is not seen yet.
    assert_eq!(of(Some(&sets[..2])), Vec::<String>::new());
    assert_eq!(of(None), ["new", "strange"]);
    let daemon_set = json!({"metadata": {"uid": "d"}, "spec": {"template": {"x": 2}}});
    let revision = |number: i64, x: i64, hash: &str| {
        json!({"revision": number, "data": {"spec": {"template": {"$patch": "replace", "x": x}}},
            "metadata": {"ownerReferences": [{"uid": "d"}], "labels": {"controller-revision-hash": hash}}})
    };
    let pods = [
        pod("old", "controller-revision-hash", "a", "app:1"),
        pod("new", "controller-revision-hash", "b", "app:2"),
    ];
    let revisions = [revision(1, 1, "a"), revision(2, 2, "b")];
    let of = |known: &[Value]| names(current(Workload::DaemonSet, &daemon_set, Some(known), &pods));
    assert_eq!(of(&revisions), ["new"]);
    assert_eq!(of(&revisions[..1]), Vec::<String>::new());
    let stateful_set = json!({"status": {"updateRevision": "b"}});
    assert_eq!(names(current(Workload::StatefulSet, &stateful_set, None, &pods)), ["new"]);
    let lines = other_images(Workload::Deployment, &deployment, &[&pods[0]]);
    assert_eq!(lines, ["pod old runs app:1 in container app, not app:2"]);
}
