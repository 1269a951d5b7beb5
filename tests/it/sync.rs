//! `yado sync` against a server and a controller that do what they do wrong in life.
//!
//! In each: no success for a revision without our commit, no end after the deadline, and the end
//! within a moment of the event that decides. That moment is shorter than any pause between two
//! reads, so it is the stream that is acted on.

mod anchor;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::argocd::{ArgoCd, OLD, OURS, RENDERED, Script};
use crate::support::git::GitServer;
use crate::support::{Output, WorkDir, Yado, eventually};

const MS: Duration = Duration::from_millis(1);
/// Longer than a busy machine needs, and shorter than the pause between two reads.
const MOMENT: Duration = Duration::from_secs(2);

fn yado(work: &WorkDir, argo: &ArgoCd, flags: &[&str]) -> Yado {
    let mut words = vec!["sync", "--server", &argo.address, "--plaintext"];
    words.extend(flags);
    if !flags.contains(&"--timeout") {
        words.extend(["--timeout", "30s"]);
    }
    if !flags.iter().any(|flag| matches!(*flag, "api" | "-l")) {
        words.push("web");
    }
    work.yado(words).env("ARGOCD_AUTH_TOKEN", "good")
}

/// Syncs our commit, which must end so; and the end must follow the event at once.
fn run(script: Script, flags: &[&str], code: i32, decides: &str) -> (ArgoCd, Output) {
    let work = WorkDir::new();
    let argo = ArgoCd::start(script);
    let mut all = vec!["--revision", OURS];
    all.extend(flags);
    let output = yado(&work, &argo, &all).run().with_code(code);
    let end = Instant::now();
    if !decides.is_empty() {
        let event = argo.when(decides).unwrap_or_else(|| panic!("{decides} never was"));
        let late = end - event;
        assert!(late < MOMENT, "{late:?} after {decides}: {}", output.stderr);
    }
    (argo, output)
}

fn result(output: &Output, name: &str) -> String {
    let line = output.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name}: {}", output.stdout)).to_owned()
}

#[test]
fn a_commit_is_synced_and_its_results_are_told() {
    let (argo, output) = run(Script::default(), &[], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
    assert_eq!(result(&output, "sync-status"), "Synced");
    assert_eq!(result(&output, "health"), "Healthy");
    assert_eq!(result(&output, "operation-phase"), "Succeeded");
    assert!(result(&output, "duration").parse::<f64>().unwrap() < 30.0);
    let [body] = &argo.syncs()[..] else { panic!("{:?}", argo.syncs()) };
    assert_eq!(body["revision"], OURS);
    assert_eq!(body["project"], "shop");
    assert_eq!(body["infos"][0]["name"], "yado-run");
}

#[test]
fn a_late_comparison_is_asked_for_again() {
    let script = Script { heads: vec![OLD, OLD, OURS], ..Script::default() };
    let (argo, output) = run(script, &[], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
    let refreshed = argo.asked().into_iter().filter(|a| a.query.contains_key("refresh")).count();
    assert!(refreshed >= 3, "{refreshed}");
}

#[test]
fn what_was_well_before_does_not_count() {
    let begun = Instant::now();
    let script = Script { heads: vec![OLD], ..Script::default() };
    let (argo, output) = run(script, &["--timeout", "3s"], 9, "");
    assert!(begun.elapsed() < Duration::from_secs(3) + MOMENT);
    assert_eq!(result(&output, "revision"), OLD);
    output.says("a comparison with our commit; the last one was with").says(OLD);
    assert!(argo.syncs().is_empty());
    // That is what `app wait --sync --health` takes for done.
    let argo = ArgoCd::start(Script { heads: vec![OLD], ..Script::default() });
    assert_eq!(anchor::wait(&argo, Duration::from_secs(3)), Some(OLD.to_owned()));
}

#[test]
fn old_news_after_the_start_of_a_sync_starts_no_other() {
    let script = Script { stale: 1500 * MS, ..Script::default() };
    let (argo, output) = run(script, &[], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
    assert_eq!(argo.syncs().len(), 1);
}

#[test]
fn somebody_elses_operation_is_waited_for_then_ours_is_started() {
    let script = Script { busy: Some((OLD, 1200 * MS)), ..Script::default() };
    let (argo, output) = run(script, &[], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
    assert_eq!(argo.syncs().len(), 1, "it was not raced");
    assert_eq!(argo.asked().iter().filter(|asked| asked.status == 400).count(), 0);
}

#[test]
fn somebody_elses_operation_of_our_commit_is_enough() {
    let script = Script { busy: Some((OURS, 1200 * MS)), ..Script::default() };
    let (argo, output) = run(script, &[], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
    assert!(argo.syncs().is_empty());
}

#[test]
fn somebody_elses_operation_may_be_a_failure_or_be_ended() {
    let script = Script { busy: Some((OLD, Duration::from_mins(1))), ..Script::default() };
    let (argo, output) = run(script.clone(), &["--on-busy", "fail"], 7, "");
    output.says("an operation of somebody is under way").says("--on-busy terminate ends it");
    assert!(!argo.asked().iter().any(|asked| asked.method == "DELETE"));
    let (argo, output) = run(script, &["--on-busy", "terminate", "--timeout", "4s"], 9, "");
    output.says("the operation under way is terminated");
    let ended = argo.asked().iter().filter(|asked| asked.method == "DELETE").count();
    assert_eq!(ended, 1);
}

#[test]
fn waiting_for_another_attempt_is_no_end() {
    let attempts = vec![(200 * MS, "Failed"), (200 * MS, "Succeeded")];
    let results = json!([{"kind": "Service", "name": "web", "status": "SyncFailed",
        "message": "conflict", "syncPhase": "Sync"}]);
    let script = Script { attempts, retries: 2, results, ..Script::default() };
    let (argo, output) = run(script, &[], 0, "Healthy");
    assert_eq!(result(&output, "operation-phase"), "Succeeded");
    assert_eq!(argo.syncs().len(), 1);
    output.says("attempt 1 of the operation");
}

#[test]
fn degraded_from_the_start_is_a_failure_after_its_grace() {
    let script = || Script { health: vec![(Duration::ZERO, "Degraded")], ..Script::default() };
    let (_argo, output) = run(script(), &["--degraded-grace", "1s"], 8, "");
    output
        .says("it is Degraded")
        .says("Deployment shop/web: Degraded")
        .says("event of Deployment shop/web: BackOff: it is about web");
    // `app sync` looks at the operation alone, and `app wait --health` waits for a change.
    let argo = ArgoCd::start(script());
    anchor::sync(&argo).unwrap();
    assert_eq!(anchor::wait(&argo, Duration::from_secs(3)), None);
}

#[test]
fn flapping_is_not_well_until_it_is_over() {
    let health = vec![
        (200 * MS, "Healthy"),
        (300 * MS, "Degraded"),
        (200 * MS, "Progressing"),
        (Duration::ZERO, "Healthy"),
    ];
    let script = Script { health, ..Script::default() };
    let (argo, output) = run(script, &["--settle", "1s"], 0, "");
    assert_eq!(result(&output, "health"), "Healthy");
    let settled = argo.when("Healthy").unwrap().elapsed();
    assert!(settled > 1000 * MS && settled < 1000 * MS + MOMENT, "{settled:?}");
}

#[test]
fn with_auto_sync_no_revision_is_asked_for() {
    let script = Script { auto: true, ..Script::default() };
    let (argo, output) = run(script.clone(), &[], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
    for body in argo.syncs() {
        assert_eq!(body.get("revision"), None);
    }
    assert_eq!(argo.asked().iter().filter(|asked| asked.status != 200).count(), 0);
    // In any case means once more, after the controller's own.
    let (argo, _) = run(script.clone(), &["--sync", "always"], 0, "Healthy");
    assert_eq!(argo.syncs().len(), 1);
    let (argo, _) = run(script.clone(), &["--sync", "never"], 0, "Healthy");
    assert!(argo.syncs().is_empty());
    // `app sync --revision`, the obvious way, is refused.
    let argo = ArgoCd::start(script);
    let refused = anchor::sync(&argo).unwrap_err();
    assert!(refused.contains("auto-sync currently set to main"), "{refused}");
}

#[test]
fn a_window_that_forbids_it_is_told() {
    let script = Script { window: true, ..Script::default() };
    let (_argo, output) = run(script, &[], 6, "");
    output.says("blocked by sync window").says("deny window, 0 22 * * *, for 8h, open now");
}

#[test]
fn what_is_not_there_may_be_what_is_not_allowed() {
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script::default());
    yado(&work, &argo, &["api"])
        .fails(77)
        .says("get api: permission denied, or there is no such application")
        .says("hint: without --project");
    yado(&work, &argo, &["--project", "shop", "api"])
        .fails(3)
        .says("get api: there is no such application");
}

#[test]
fn a_session_that_expires_is_begun_anew() {
    let work = WorkDir::new();
    let script = Script { session: Some(700 * MS), cut: Some(400 * MS), ..Script::default() };
    let attempts = vec![(1500 * MS, "Succeeded")];
    let argo = ArgoCd::start(Script { attempts, ..script.clone() });
    let password = work.write("password", "right\n");
    let flags = ["--username", "bot", "--password-file", password.to_str().unwrap()];
    yado(&work, &argo, &[&flags[..], &["--revision", OURS]].concat()).succeeds();
    let sessions = argo.asked().iter().filter(|asked| asked.path.ends_with("/session")).count();
    assert!(sessions >= 2, "{sessions}");
    // A password that is wrong is tried once: five times lock the account.
    let wrong = work.write("wrong", "no");
    let flags = ["--username", "bot", "--password-file", wrong.to_str().unwrap()];
    let argo = ArgoCd::start(script);
    yado(&work, &argo, &flags).fails(77).says("log in as bot: Invalid username or password");
    let attempts = argo.asked().iter().filter(|asked| asked.path.ends_with("/session")).count();
    assert_eq!(attempts, 1);
    // So is a token that nothing can replace.
    yado(&work, &argo, &[]).env("ARGOCD_AUTH_TOKEN", "old").fails(77).says("token is expired");
}

#[test]
fn a_stream_that_is_cut_again_and_again_is_made_anew() {
    let script = Script { cut: Some(120 * MS), ..Script::default() };
    let (_argo, output) = run(script, &[], 0, "");
    assert_eq!(result(&output, "revision"), OURS);
}

#[test]
fn a_proxy_that_holds_streams_back_is_read_past() {
    let script = Script { held: true, ..Script::default() };
    let begun = Instant::now();
    let (_argo, output) = run(script, &[], 0, "");
    assert_eq!(result(&output, "revision"), OURS);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_fails_most_of_the_time_is_asked_again() {
    let script = Script { failing: 3, ..Script::default() };
    let (_argo, output) = run(script, &[], 0, "");
    assert_eq!(result(&output, "revision"), OURS);
}

#[test]
fn bytes_that_drip_are_waited_for() {
    let script = Script { dripping: true, ..Script::default() };
    let (_argo, output) = run(script, &[], 0, "");
    assert_eq!(result(&output, "revision"), OURS);
}

#[test]
fn the_deadline_holds_whatever_the_server_does() {
    for script in [
        Script { compare: Duration::from_mins(1), ..Script::default() },
        Script { attempts: vec![(Duration::from_mins(1), "Succeeded")], ..Script::default() },
        Script { health: vec![(Duration::ZERO, "Progressing")], ..Script::default() },
        Script { failing: usize::MAX, ..Script::default() },
    ] {
        let begun = Instant::now();
        let work = WorkDir::new();
        let argo = ArgoCd::start(script);
        let output = yado(&work, &argo, &["--revision", OURS, "--timeout", "2s"]).run();
        let code = output.status.code();
        assert!(matches!(code, Some(9 | 69)), "{code:?}: {}", output.stderr);
        assert!(begun.elapsed() < Duration::from_secs(2) + MOMENT, "{:?}", begun.elapsed());
    }
}

#[test]
fn sources_have_their_own_commits() {
    let setup = |app: &mut Value| {
        let spec = app["spec"].as_object_mut().unwrap();
        let source = spec.remove("source").unwrap();
        let chart = json!({"repoURL": "https://charts", "chart": "web", "targetRevision": "1.2.3"});
        spec.insert("sources".into(), json!([source, chart]));
        app["status"]["sync"] = json!({"status": "Synced", "revisions": [OLD, "1.2.3"]});
    };
    let script = Script { setup, ..Script::default() };
    let work = WorkDir::new();
    let argo = ArgoCd::start(script.clone());
    let output = yado(&work, &argo, &["--source-revision", &format!("1={OURS}")]).succeeds();
    assert_eq!(result(&output, "revision"), format!("{OURS},{OURS}"));
    let [body] = &argo.syncs()[..] else { panic!("{:?}", argo.syncs()) };
    assert_eq!(body["revisions"], json!([OURS]));
    assert_eq!(body["sourcePositions"], json!([1]));
    // The only source of git is meant when none is named.
    run(script, &[], 0, "Healthy");
    let argo = ArgoCd::start(Script { setup, ..Script::default() });
    yado(&work, &argo, &["--source-revision", &format!("3={OURS}")])
        .fails(64)
        .says("no source at position 3; there are:\n  1: ftp")
        .says("2: https://charts at 1.2.3");
}

#[test]
fn what_is_rendered_first_is_waited_for_as_what_was_made_of_it() {
    let setup = |app: &mut Value| {
        let spec = app["spec"].as_object_mut().unwrap();
        spec.remove("source");
        spec.insert("sourceHydrator".into(), json!({
            "drySource": {"repoURL": "ftp://ops.invalid/ops", "targetRevision": "main", "path": "web"},
            "syncSource": {"targetBranch": "env/prod", "path": "web"}}));
        app["status"]["sourceHydrator"] = json!({"currentOperation": {"phase": "Hydrated",
            "drySHA": OLD, "hydratedSHA": OLD, "startedAt": "2026-01-01T00:00:00Z"}});
    };
    let script = Script { setup, heads: vec![OLD, RENDERED], auto: true, ..Script::default() };
    let work = WorkDir::new();
    let argo = ArgoCd::start(script);
    let mut running = yado(&work, &argo, &["--revision", OURS]).start();
    assert!(running.says("our commit to be rendered; the last one is"));
    argo.change(|app| {
        app["status"]["sourceHydrator"]["currentOperation"] =
            json!({"phase": "Hydrating", "drySHA": OURS, "startedAt": "2026-01-01T00:00:10Z"});
    });
    assert!(running.says(&format!("the last one is {OURS}")));
    argo.change(|app| {
        let rendered = &mut app["status"]["sourceHydrator"]["currentOperation"];
        rendered["phase"] = json!("Hydrated");
        rendered["hydratedSHA"] = json!(RENDERED);
    });
    let output = running.finish().with_code(0);
    assert_eq!(result(&output, "revision"), RENDERED);
}

#[test]
fn a_newer_commit_on_top_is_as_good_and_another_is_not() {
    let git = GitServer::start();
    let ops = git.repository("ops", &[]);
    ops.write("a", "1");
    let base = ops.commit("base");
    ops.write("a", "2");
    let ours = ops.commit("ours");
    ops.write("a", "3");
    let newer = ops.commit("newer");
    ops.push();
    let url = git.http("ops");
    for (head, code) in [(&newer, 0), (&base, 9)] {
        let work = WorkDir::new();
        let heads = vec![&*head.clone().leak()];
        let argo = ArgoCd::start(Script { heads, ..Script::default() });
        argo.change(|app| app["spec"]["source"]["repoURL"] = json!(url));
        let flags = ["--revision", &ours, "--timeout", if code == 0 { "30s" } else { "3s" }];
        let output = yado(&work, &argo, &flags).run().with_code(code);
        assert_eq!(result(&output, "revision"), **head);
        let synced: Vec<_> = argo.syncs().iter().map(|body| body["revision"].clone()).collect();
        assert_eq!(synced, if code == 0 { vec![json!(newer)] } else { vec![] });
    }
}

#[test]
fn what_is_left_to_prune_has_a_code_of_its_own() {
    let script = Script { leftover: true, ..Script::default() };
    let (_argo, output) = run(script.clone(), &[], 11, "Healthy");
    assert_eq!(result(&output, "sync-status"), "OutOfSync");
    output.says("ConfigMap shop/old").says("hint: --prune removes them");
    let (_argo, output) = run(script, &["--wait", "health,operation"], 0, "Healthy");
    assert_eq!(result(&output, "revision"), OURS);
}

#[test]
fn a_hook_that_fails_is_told_with_what_it_said() {
    let results = json!([{"kind": "Job", "namespace": "shop", "name": "migrate", "group": "batch",
        "hookType": "PreSync", "hookPhase": "Failed", "syncPhase": "PreSync",
        "message": "Job has reached the specified backoff limit"}]);
    let script = Script { attempts: vec![(200 * MS, "Failed")], results, ..Script::default() };
    let (_argo, output) = run(script, &[], 8, "Failed");
    output.says("Job shop/migrate: PreSync hook Failed: Job has reached the specified backoff");
}

#[test]
fn pods_that_do_not_run_end_the_wait() {
    let script = Script { health: vec![(Duration::ZERO, "Progressing")], ..Script::default() };
    let work = WorkDir::new();
    let argo = ArgoCd::start(script);
    let flags = ["--revision", OURS, "--degraded-grace", "0s", "--logs-on-failure"];
    let mut running = yado(&work, &argo, &flags).start();
    assert!(running.says("waits for health; it is Progressing"));
    argo.change(|app| {
        app["status"]["summary"] = json!({"nodes": [
            {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "p", "version": "v1",
                "createdAt": "2099-01-01T00:00:00Z", "health": {"status": "Degraded",
                "message": "Back-off pulling image \"web:2\""},
                "info": [{"name": "Status Reason", "value": "ImagePullBackOff"}]}]});
    });
    let output = running.finish().with_code(8);
    assert!(argo.when("change").unwrap().elapsed() < MOMENT);
    output
        .says("its pods do not run\n  Pod shop/web-1: ImagePullBackOff: Back-off pulling image")
        .says("event of Pod shop/web-1: BackOff")
        .says("log of Pod shop/web-1: panic: no database");
}

#[test]
fn only_an_operation_of_ours_is_terminated_at_the_end() {
    let long = Duration::from_mins(1);
    let ended =
        |argo: &ArgoCd| argo.asked().iter().filter(|asked| asked.method == "DELETE").count();
    let ours = Script { attempts: vec![(long, "Succeeded")], ..Script::default() };
    let theirs = Script { busy: Some((OLD, long)), ..Script::default() };
    for (script, flag, signal, expected) in [
        (&ours, true, false, 1),
        (&ours, false, false, 0),
        (&ours, true, true, 1),
        (&theirs, true, false, 0),
        (&theirs, true, true, 0),
    ] {
        let work = WorkDir::new();
        let argo = ArgoCd::start(script.clone());
        let timeout = if signal { "30s" } else { "4s" };
        let mut flags = vec!["--revision", OURS, "--timeout", timeout];
        flags.extend(flag.then_some("--terminate-on-timeout"));
        let mut running = yado(&work, &argo, &flags).start();
        assert!(running.says("waits for the operation"));
        if signal {
            running.signal(Signal::TERM);
        }
        let output = running.finish().with_code(if signal { 130 } else { 9 });
        assert_eq!(ended(&argo), expected, "{flag} {signal} {}", output.stderr);
    }
}

#[test]
fn what_was_there_before_is_deployed_again_where_that_holds() {
    let script = Script { health: vec![(Duration::ZERO, "Degraded")], ..Script::default() };
    let flags = ["--degraded-grace", "0s", "--rollback-on-failure"];
    let (argo, output) = run(script.clone(), &flags, 8, "");
    output.says("rolled back to what was deployed as 3: Succeeded");
    let asked = argo.asked();
    let rolled = asked.iter().find(|asked| asked.path.ends_with("/rollback")).unwrap();
    assert_eq!(rolled.body["id"], 3);
    let (argo, output) = run(Script { auto: true, ..script }, &flags, 6, "");
    output.says("auto-sync would undo a rollback").says("revert the commit in git instead");
    assert!(argo.syncs().is_empty());
}

#[test]
fn resources_and_labels_limit_a_sync() {
    let (argo, _) = run(Script::default(), &["--resource", "apps:Deployment:web"], 0, "Healthy");
    let deployment =
        json!([{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"}]);
    assert_eq!(argo.syncs()[0]["resources"], deployment);
    let (argo, _) = run(Script::default(), &["--label", "tier=front"], 0, "Healthy");
    assert_eq!(argo.syncs()[0]["resources"], deployment);
    for more in ["auto", "always"] {
        let flags = ["--resource", "apps:Deployment:api", "--sync", more];
        let (argo, output) = run(Script::default(), &flags, 3, "");
        output.says("no resource matches; there are:\n  apps:Deployment:shop/web");
        assert!(argo.syncs().is_empty(), "{more}");
    }
}

#[test]
fn parameters_are_set_and_what_was_compared_before_does_not_count() {
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script { heads: vec![OLD], ..Script::default() });
    let flags = ["--set-parameter", "image.tag=2", "--set-kustomize-image", "web=h:5000/web:2"];
    yado(&work, &argo, &flags).succeeds();
    let source = &argo.app()["spec"]["source"];
    assert_eq!(source["helm"]["parameters"], json!([{"name": "image.tag", "value": "2"}]));
    assert_eq!(source["kustomize"]["images"], json!(["web=h:5000/web:2"]));
    assert_eq!(argo.syncs().len(), 1);
}

#[test]
fn applications_are_found_by_labels_and_told_one_by_one() {
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script::default());
    yado(&work, &argo, &["-l", "team=shop", "--revision", OURS]).succeeds();
    yado(&work, &argo, &["-l", "team=other"]).fails(3).says("no application matches");
    // One that is not there does not keep the other.
    let output = yado(&work, &argo, &["--project", "shop", "api", "web", "-o", "json"]).fails(3);
    let output = output.says("1 of 2 applications are not as they should be\napi: get api:");
    let results: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(results["applications"]["web"]["health"], "Healthy");
    assert_eq!(results["applications"]["web"]["error"], Value::Null);
    assert!(results["applications"]["api"]["error"].as_str().unwrap().contains("no such"));
    assert_eq!(results["revision"], format!("api=\nweb={OURS}"));
}

#[test]
fn progress_is_events_for_programs() {
    let (_argo, output) = run(Script::default(), &["-o", "json"], 0, "Healthy");
    let events: Vec<Value> =
        output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|e| e["event"] == kind).collect::<Vec<_>>();
    let healths: Vec<_> = of("application").iter().map(|event| event["health"].clone()).collect();
    assert!(healths.contains(&json!("Progressing")), "{healths:?}");
    let resource = of("resource");
    assert!(resource.iter().any(|event| event["kind"] == "Deployment"), "{resource:?}");
    assert_eq!(of("application-finished")[0]["good"], true);
}

#[test]
fn a_commit_comes_from_a_file_and_access_from_the_clis_variables() {
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script::default());
    let file = work.write("commit", format!("{{\"commit\": \"{OURS}\", \"changed\": \"true\"}}"));
    let server = format!("--server {} --plaintext --grpc-web", argo.address);
    let output = work
        .yado(["sync", "web", "--from-result", file.to_str().unwrap()])
        .env("ARGOCD_OPTS", server)
        .env("ARGOCD_AUTH_TOKEN", "good")
        .succeeds()
        .says("note: --grpc-web changes nothing");
    assert_eq!(result(&output, "revision"), OURS);
    // The argocd CLI's own file.
    let config = format!(
        "contexts:\n- {{name: a, server: '{0}', user: a}}\ncurrent-context: a\nservers:\n\
         - {{server: '{0}', plain-text: true}}\nusers:\n- {{name: a, auth-token: good}}\n",
        argo.address
    );
    work.write("argocd/config", config);
    work.yado(["sync", "web"]).env("ARGOCD_CONFIG_DIR", work.path("argocd")).succeeds();
    work.yado(["sync", "web"]).fails(64).says("no server is given");
    work.yado(["sync", "web"])
        .env("ARGOCD_OPTS", "--port-forward")
        .fails(64)
        .says("ARGOCD_OPTS: --port-forward is not known");
}

#[test]
fn what_is_no_argo_cd_is_said_to_be_none() {
    let work = WorkDir::new();
    let web = crate::support::Web::start();
    web.answers(
        "/api/v1/applications/web",
        [crate::support::Answer::file("<html>log in").header("content-type", "text/html")],
    );
    let address = web.url.trim_start_matches("http://");
    work.yado(["sync", "web", "--server", address, "--plaintext"])
        .env("ARGOCD_AUTH_TOKEN", "good")
        .fails(69)
        .says("with text/html, which is not the interface of Argo CD")
        .says("hint: --root-path");
}

/// Through the Kubernetes API, as this user of a kubeconfig.
fn core(work: &WorkDir, argo: &ArgoCd, flags: &[&str]) -> Yado {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c",
            "context": {"cluster": "c", "user": "u", "namespace": "argocd"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", argo.address)}}],
        "users": [{"name": "u", "user": {"token": "good"}}],
    });
    let config = work.write("kubeconfig", config.to_string());
    let mut words = vec!["sync", "--core", "--kubeconfig", config.to_str().unwrap()];
    words.extend(flags);
    if !flags.contains(&"api") {
        words.push("web");
    }
    work.yado(words)
}

#[test]
fn without_a_server_the_application_itself_is_changed() {
    let setup = |app: &mut Value| {
        app["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true"]);
    };
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script { setup, heads: vec![OLD, OURS], ..Script::default() });
    let flags = ["--revision", OURS, "--timeout", "30s", "--server-side", "--prune"];
    let output = core(&work, &argo, &flags).succeeds();
    assert!(argo.when("Healthy").unwrap().elapsed() < MOMENT);
    assert_eq!(result(&output, "revision"), OURS);
    let operation = &argo.app()["status"]["operationState"]["operation"];
    let options = json!(["CreateNamespace=true", "ServerSideApply=true"]);
    assert_eq!(operation["sync"]["syncOptions"], options);
    assert_eq!(operation["sync"]["prune"], true);
    assert_eq!(operation["info"][0]["name"], "yado-run");
    let version = argo.asked().iter().any(|asked| asked.body[0]["op"] == "test");
    assert!(version, "it is set on the version that was looked at");
}

#[test]
fn without_a_server_operations_are_not_raced_either() {
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script { busy: Some((OLD, 1200 * MS)), ..Script::default() });
    core(&work, &argo, &["--revision", OURS, "--timeout", "30s"]).succeeds();
    let long = Duration::from_mins(1);
    let attempts = vec![(long, "Succeeded")];
    let argo = ArgoCd::start(Script { attempts, ..Script::default() });
    let flags = ["--revision", OURS, "--timeout", "4s", "--terminate-on-timeout"];
    core(&work, &argo, &flags).fails(9).says("the operation that was started is terminated");
    eventually("its end", || {
        (argo.app()["status"]["operationState"]["phase"] == "Failed").then_some(())
    });
    core(&work, &argo, &["api"]).fails(3);
    core(&work, &argo, &["--label", "a=b", "--sync", "always"]).fails(64).says("--label needs");
}

#[test]
fn a_dry_run_waits_for_its_operation_alone() {
    let (argo, output) = run(Script::default(), &["--dry-run"], 0, "");
    assert_eq!(argo.syncs()[0]["dryRun"], true);
    assert_eq!(result(&output, "operation-phase"), "Succeeded");
}

#[test]
fn it_ends_when_the_application_is_not_seen_to_change_again() {
    // Everything has happened before the stream is there for the first time.
    let work = WorkDir::new();
    let argo = ArgoCd::start(Script::default());
    argo.change(|app| {
        app["status"]["sync"]["revision"] = json!(OURS);
        app["status"]["operationState"]["syncResult"]["revision"] = json!(OURS);
    });
    let begun = Instant::now();
    yado(&work, &argo, &["--revision", OURS, "--refresh", "none"]).succeeds();
    assert!(begun.elapsed() < Duration::from_secs(3) + MOMENT);
    assert!(argo.syncs().is_empty());
}
