//! What is asked of each service, and what its answers mean.

use std::time::Duration;

use serde_json::{Value, json};

use super::testing::{Asked, Exchange, Scripted};
use super::*;
use crate::gitops::{Classified, Kind};

const GITHUB: &str = include_str!("../../../testdata/forge/github.json");
const GITLAB: &str = include_str!("../../../testdata/forge/gitlab.json");
const GITEA: &str = include_str!("../../../testdata/forge/gitea.json");

fn proposal() -> Proposal {
    Proposal {
        head: "yado/app-1".to_owned(),
        base: "main".to_owned(),
        title: "app: 1".to_owned(),
        body: "two\nlines".to_owned(),
        ..Proposal::default()
    }
}

fn full(auto_merge: MergeMethod) -> Proposal {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Proposal {
        labels: names(&["deploy", "bot"]),
        reviewers: names(&["ann", "acme/ops"]),
        assignees: names(&["bob"]),
        draft: true,
        auto_merge: Some(auto_merge),
        ..proposal()
    }
}

/// Asks a service for `proposal`; gives the outcome as text, and what was asked.
fn ask(
    service: Service,
    project: &str,
    proposal: &Proposal,
    exchanges: Vec<Exchange>,
) -> (Result<String, ForgeError>, Vec<Asked>) {
    let facts = match service {
        Service::GitHub => GITHUB,
        Service::GitLab => GITLAB,
        Service::Gitea => GITEA,
    };
    let scripted = Scripted::start(facts, exchanges);
    let repository = format!("{}/{project}.git", scripted.origin);
    let location = Location::find(&repository, Some(service), None).unwrap();
    let millisecond = Duration::from_millis(1);
    let retry = Retry {
        attempts: 3,
        base: millisecond,
        cap: millisecond,
        server_cap: Duration::from_secs(2),
    };
    let http = Http::new(crate::net::Options::default());
    let forge = Forge::new(http, location, "secret", retry).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(forge.open(proposal));
    let outcome = opened.map(|Opened { url, created }| format!("{url} {created}"));
    (outcome, scripted.finish())
}

const HUB: &str = "POST /api/v3/repos/o/r/pulls";

fn hub_pull() -> Value {
    json!({"html_url": "https://h/o/r/pull/7", "number": 7, "node_id": "PR_x"})
}

#[test]
fn github_opens_a_pull_request() {
    let exchanges = vec![Exchange::new(HUB, 201, hub_pull())];
    let (outcome, asked) = ask(Service::GitHub, "o/r", &proposal(), exchanges);
    assert_eq!(outcome.unwrap(), "https://h/o/r/pull/7 true");
    let expected = json!({
        "title": "app: 1", "head": "yado/app-1", "base": "main", "body": "two\nlines", "draft": false,
    });
    assert_eq!(asked[0].body, expected);
    assert_eq!(asked[0].headers["authorization"], "Bearer secret");
    assert_eq!(asked[0].headers["x-github-api-version"], "2022-11-28");
}

#[test]
fn github_gives_it_labels_people_and_merges_it_later() {
    let exchanges = vec![
        Exchange::new(HUB, 201, hub_pull()),
        Exchange::new("POST /api/v3/repos/o/r/issues/7/labels", 200, json!([{"name": "deploy"}])),
        Exchange::new(
            "POST /api/v3/repos/o/r/issues/7/assignees",
            201,
            json!({"number": 7, "assignees": [{"login": "Bob"}]}),
        ),
        Exchange::new(
            "POST /api/v3/repos/o/r/pulls/7/requested_reviewers",
            201,
            json!({"number": 7}),
        ),
        Exchange::new("POST /api/graphql", 200, json!({"data": {}})),
    ];
    let (outcome, asked) = ask(Service::GitHub, "o/r", &full(MergeMethod::Squash), exchanges);
    assert_eq!(outcome.unwrap(), "https://h/o/r/pull/7 true");
    assert_eq!(asked[0].body["draft"], true);
    assert_eq!(asked[1].body, json!({"labels": ["deploy", "bot"]}));
    assert_eq!(asked[3].body, json!({"reviewers": ["ann"], "team_reviewers": ["ops"]}));
    assert_eq!(asked[4].body["variables"], json!({"id": "PR_x", "method": "SQUASH"}));
}

#[test]
fn github_merges_at_once_what_waits_for_nothing() {
    let proposal = Proposal { auto_merge: Some(MergeMethod::Merge), ..proposal() };
    let refused = json!({"data": {}, "errors": [{"message": "Pull request is in clean status"}]});
    let state = |state: &str| {
        let pull = json!({"html_url": "x", "number": 7, "mergeable_state": state});
        Exchange::new("GET /api/v3/repos/o/r/pulls/7", 200, pull)
    };
    let exchanges = vec![
        Exchange::new(HUB, 201, hub_pull()),
        Exchange::new("POST /api/graphql", 200, refused.clone()),
        state("clean"),
        Exchange::new("PUT /api/v3/repos/o/r/pulls/7/merge", 200, json!({"merged": true})),
    ];
    let (outcome, _) = ask(Service::GitHub, "o/r", &proposal, exchanges);
    assert_eq!(outcome.unwrap(), "https://h/o/r/pull/7 true");
    let exchanges = vec![
        Exchange::new(HUB, 201, hub_pull()),
        Exchange::new("POST /api/graphql", 200, refused),
        state("dirty"),
    ];
    let (outcome, _) = ask(Service::GitHub, "o/r", &proposal, exchanges);
    let error = outcome.unwrap_err();
    assert!(error.to_string().ends_with("Pull request is in clean status"), "{error}");
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn github_updates_the_one_that_there_is() {
    let exists = json!({
        "message": "Validation Failed",
        "errors": [{"resource": "PullRequest", "code": "custom", "message": "already exists"}],
    });
    let list = "GET /api/v3/repos/o/r/pulls?state=open&head=o%3Ayado%2Fapp-1&base=main";
    let exchanges = vec![
        Exchange::new(HUB, 422, exists.clone()),
        Exchange::new(list, 200, json!([{"number": 7}])),
        Exchange::new("PATCH /api/v3/repos/o/r/pulls/7", 200, hub_pull()),
    ];
    let (outcome, asked) = ask(Service::GitHub, "o/r", &proposal(), exchanges);
    assert_eq!(outcome.unwrap(), "https://h/o/r/pull/7 false");
    assert_eq!(asked[2].body, json!({"title": "app: 1", "body": "two\nlines"}));
    let exchanges = vec![Exchange::new(HUB, 422, exists), Exchange::new(list, 200, json!([]))];
    let (outcome, _) = ask(Service::GitHub, "o/r", &proposal(), exchanges);
    let error = outcome.unwrap_err();
    assert!(error.to_string().ends_with(": 422: Validation Failed; already exists"), "{error}");
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn who_cannot_be_assigned_is_an_error() {
    let proposal = Proposal { assignees: vec!["bob".to_owned()], ..proposal() };
    let exchanges = vec![
        Exchange::new(HUB, 201, hub_pull()),
        Exchange::new("POST /api/v3/repos/o/r/issues/7/assignees", 201, json!({"assignees": []})),
    ];
    let (outcome, _) = ask(Service::GitHub, "o/r", &proposal, exchanges);
    assert_eq!(outcome.unwrap_err().to_string(), "GitHub has no assignable user \"bob\"");
}

#[test]
fn limits_are_waited_for() {
    let limit = json!({"message": "You have exceeded a secondary rate limit."});
    let exchanges = vec![
        Exchange::new(HUB, 403, limit.clone()).header("retry-after", "0"),
        Exchange::new(HUB, 429, json!({"message": "Too many"})).header("retry-after", "0"),
        Exchange::new(HUB, 201, hub_pull()),
    ];
    assert!(ask(Service::GitHub, "o/r", &proposal(), exchanges).0.is_ok());
    // The hour is over: the limit was reset in 1970.
    let exchanges = vec![
        Exchange::new(HUB, 403, json!({"message": "no"}))
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "1"),
        Exchange::new(HUB, 502, Value::Null),
        Exchange::new(HUB, 201, hub_pull()),
    ];
    assert!(ask(Service::GitHub, "o/r", &proposal(), exchanges).0.is_ok());
    let exchanges = vec![Exchange::new(HUB, 403, limit).header("retry-after", "3600")];
    let error = ask(Service::GitHub, "o/r", &proposal(), exchanges).0.unwrap_err();
    assert!(error.to_string().contains("GitHub allows no more requests for "), "{error}");
    let no = json!({"message": "Resource not accessible by integration"});
    let exchanges = vec![Exchange::new(HUB, 403, no).header("x-ratelimit-remaining", "4999")];
    let error = ask(Service::GitHub, "o/r", &proposal(), exchanges).0.unwrap_err();
    assert!(
        error.to_string().ends_with(": 403: Resource not accessible by integration"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Auth);
    assert!(error.hints()[0].contains("pull requests"));
}

const LAB: &str = "POST /api/v4/projects/g%2Fs%2Fr/merge_requests";

fn lab_request() -> Value {
    json!({"iid": 3, "web_url": "https://l/g/s/r/-/merge_requests/3"})
}

#[test]
fn gitlab_opens_a_merge_request() {
    let merge = "PUT /api/v4/projects/g%2Fs%2Fr/merge_requests/3/merge";
    let preparing = json!({"message": "405 Method Not Allowed"});
    let mut proposal = full(MergeMethod::Squash);
    proposal.reviewers = vec!["ann".to_owned()];
    let exchanges = vec![
        Exchange::new("GET /api/v4/users?username=ann", 200, json!([{"id": 11}])),
        Exchange::new("GET /api/v4/users?username=bob", 200, json!([{"id": 12}])),
        Exchange::new(LAB, 201, lab_request()),
        Exchange::new(merge, 405, preparing),
        Exchange::new(merge, 200, lab_request()),
    ];
    let (outcome, asked) = ask(Service::GitLab, "g/s/r", &proposal, exchanges);
    assert_eq!(outcome.unwrap(), "https://l/g/s/r/-/merge_requests/3 true");
    let expected = json!({
        "source_branch": "yado/app-1", "target_branch": "main", "title": "Draft: app: 1",
        "description": "two\nlines", "remove_source_branch": true, "labels": "deploy,bot",
        "reviewer_ids": [11], "assignee_ids": [12], "squash": true,
    });
    assert_eq!(asked[2].body, expected);
    assert_eq!(asked[2].headers["authorization"], "Bearer secret");
    assert_eq!(asked[3].body["merge_when_pipeline_succeeds"], true);
}

#[test]
fn gitlab_updates_the_one_that_there_is() {
    let exists = json!({"message": ["Another open merge request already exists"]});
    let list = "GET /api/v4/projects/g%2Fs%2Fr/merge_requests?state=opened&source_branch=yado%2Fapp-1&target_branch=main";
    let proposal = Proposal { labels: vec!["deploy".to_owned()], ..proposal() };
    let exchanges = vec![
        Exchange::new(LAB, 409, exists),
        Exchange::new(list, 200, json!([{"iid": 3}])),
        Exchange::new("PUT /api/v4/projects/g%2Fs%2Fr/merge_requests/3", 200, lab_request()),
    ];
    let (outcome, asked) = ask(Service::GitLab, "g/s/r", &proposal, exchanges);
    assert_eq!(outcome.unwrap(), "https://l/g/s/r/-/merge_requests/3 false");
    let expected = json!({"title": "app: 1", "description": "two\nlines", "add_labels": "deploy"});
    assert_eq!(asked[2].body, expected);
    let proposal = Proposal { reviewers: vec!["nobody".to_owned()], ..proposal };
    let nobody = vec![Exchange::new("GET /api/v4/users?username=nobody", 200, json!([]))];
    let (outcome, _) = ask(Service::GitLab, "g/s/r", &proposal, nobody);
    assert_eq!(outcome.unwrap_err().to_string(), "GitLab has no user \"nobody\"");
}

#[test]
fn gitlab_takes_a_merge_request_with_the_push() {
    let mut proposal = full(MergeMethod::Squash);
    assert!(push_options(&proposal).is_err(), "reviewers are not left out");
    proposal.reviewers.clear();
    let options = push_options(&proposal).unwrap();
    let expected = [
        "create",
        "target=main",
        "title=Draft: app: 1",
        "remove_source_branch",
        "description=two lines",
        "label=deploy",
        "label=bot",
        "assign=bob",
        "auto_merge",
        "merge_when_pipeline_succeeds",
        "squash",
    ];
    assert_eq!(options, expected.map(|option| format!("merge_request.{option}")));
    for (message, expected) in [
        (
            "View merge request for x:\n  https://l/g/r/-/merge_requests/3\n",
            Some("https://l/g/r/-/merge_requests/3"),
        ),
        ("To create one:\n https://l/g/r/-/merge_requests/new?x=y", None),
        ("done", None),
    ] {
        assert_eq!(merge_request_url(message).as_deref(), expected, "{message}");
    }
}

const TEA: &str = "POST /api/v1/repos/o/r/pulls";

fn tea_pull() -> Value {
    json!({"html_url": "https://t/o/r/pulls/5", "number": 5})
}

#[test]
fn gitea_opens_a_pull_request() {
    let labels = json!([{"id": 1, "name": "deploy"}, {"id": 2, "name": "bot"}]);
    let asked_labels = "POST /api/v1/repos/o/r/issues/5/labels";
    let exchanges = vec![
        Exchange::new(TEA, 201, tea_pull()),
        Exchange::new(asked_labels, 200, labels),
        Exchange::new("POST /api/v1/repos/o/r/pulls/5/requested_reviewers", 201, json!([])),
        Exchange::new("POST /api/v1/repos/o/r/pulls/5/merge", 201, Value::Null),
    ];
    let (outcome, asked) = ask(Service::Gitea, "o/r", &full(MergeMethod::Rebase), exchanges);
    assert_eq!(outcome.unwrap(), "https://t/o/r/pulls/5 true");
    let expected = json!({
        "title": "WIP: app: 1", "body": "two\nlines", "head": "yado/app-1", "base": "main",
        "assignees": ["bob"],
    });
    assert_eq!(asked[0].body, expected);
    assert_eq!(asked[0].headers["authorization"], "token secret");
    assert_eq!(asked[3].body["Do"], "rebase");
    let proposal = Proposal { labels: vec!["x".to_owned()], ..proposal() };
    let exchanges =
        vec![Exchange::new(TEA, 201, tea_pull()), Exchange::new(asked_labels, 200, json!([]))];
    let (outcome, _) = ask(Service::Gitea, "o/r", &proposal, exchanges);
    assert_eq!(outcome.unwrap_err().to_string(), "Gitea has no label \"x\"");
}

#[test]
fn gitea_updates_the_one_that_there_is() {
    let exists = json!({"message": "pull request already exists for these targets"});
    let pull = |number: u32, head: &str| json!({"number": number, "head": {"ref": head}, "base": {"ref": "main"}});
    let page = |n| match n {
        1 => "GET /api/v1/repos/o/r/pulls?state=open&limit=50&page=1",
        _ => "GET /api/v1/repos/o/r/pulls?state=open&limit=50&page=2",
    };
    let exchanges = vec![
        Exchange::new(TEA, 409, exists.clone()),
        Exchange::new(page(1), 200, json!([pull(4, "other")])),
        Exchange::new(page(2), 200, json!([pull(5, "yado/app-1")])),
        Exchange::new("PATCH /api/v1/repos/o/r/pulls/5", 201, tea_pull()),
    ];
    let (outcome, _) = ask(Service::Gitea, "o/r", &proposal(), exchanges);
    assert_eq!(outcome.unwrap(), "https://t/o/r/pulls/5 false");
    let exchanges = vec![Exchange::new(TEA, 409, exists), Exchange::new(page(1), 200, json!([]))];
    let (outcome, _) = ask(Service::Gitea, "o/r", &proposal(), exchanges);
    assert!(outcome.unwrap_err().to_string().contains(": 409: pull request already exists"));
}
