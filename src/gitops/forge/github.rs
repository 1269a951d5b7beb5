//! Pull requests at GitHub.
//!
//! A second pull request for a branch is refused with 422, as other things are too: then the open
//! ones of the branch are asked for. Merging later is only in the GraphQL API, and only where
//! something is still to be waited for; a pull request that is ready is merged at once.

use serde_json::json;

use super::api::{Api, number, segment, text};
use super::{ForgeError, Location, MergeMethod, Opened, Proposal, users_and_teams};
use crate::net::{Method, Url};

const AUTO_MERGE: &str = "mutation($id: ID!, $method: PullRequestMergeMethod!) { \
    enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) { \
    pullRequest { number } } }";

pub(super) async fn open(
    api: &Api,
    location: &Location,
    proposal: &Proposal,
) -> Result<Opened, ForgeError> {
    let (owner, name) = location.project.split_once('/').unwrap_or_default();
    let repository = format!("/repos/{}/{}", segment(owner), segment(name));
    let pulls = format!("{repository}/pulls");
    let body = json!({
        "title": proposal.title,
        "head": proposal.head,
        "base": proposal.base,
        "body": proposal.body,
        "draft": proposal.draft,
    });
    let answer = api.post(&pulls, body).await?;
    let request = answer.request.clone();
    let mut created = true;
    let pull = if answer.status == 422 {
        created = false;
        let head = format!("{owner}:{}", proposal.head);
        let query = [("state", "open"), ("head", &head), ("base", &proposal.base)];
        let found = api.get(&pulls, &query).await?;
        let found = api.expect(found, &[200])?;
        let Some(first) = found.get(0) else {
            // It was refused for another reason.
            return Err(api
                .expect(answer, &[201])
                .err()
                .unwrap_or(ForgeError::Malformed { request, what: "pull request" }));
        };
        let number = number(&request, first, "number")?;
        let change = json!({"title": proposal.title, "body": proposal.body});
        let updated = api.patch(&format!("{pulls}/{number}"), change).await?;
        api.expect(updated, &[200])?
    } else {
        api.expect(answer, &[201])?
    };
    let url = text(&request, &pull, "html_url")?;
    let number = number(&request, &pull, "number")?;
    let issue = format!("{repository}/issues/{number}");
    if !proposal.labels.is_empty() {
        let body = json!({"labels": proposal.labels});
        api.expect(api.post(&format!("{issue}/labels"), body).await?, &[200])?;
    }
    if !proposal.assignees.is_empty() {
        let body = json!({"assignees": proposal.assignees});
        let issue = api.expect(api.post(&format!("{issue}/assignees"), body).await?, &[201])?;
        // Who may not be assigned is left out without a word.
        let known = issue["assignees"].as_array().cloned().unwrap_or_default();
        for name in &proposal.assignees {
            let same = |login: &str| login.eq_ignore_ascii_case(name);
            if !known.iter().any(|user| user["login"].as_str().is_some_and(same)) {
                let (service, name) = (location.service, name.clone());
                return Err(ForgeError::Unknown { service, what: "assignable user", name });
            }
        }
    }
    if !proposal.reviewers.is_empty() {
        let (users, teams) = users_and_teams(&proposal.reviewers);
        let body = json!({"reviewers": users, "team_reviewers": teams});
        let asked = api.post(&format!("{pulls}/{number}/requested_reviewers"), body).await?;
        api.expect(asked, &[201])?;
    }
    if let Some(method) = proposal.auto_merge {
        let id = text(&request, &pull, "node_id")?;
        auto_merge(api, location, &format!("{pulls}/{number}"), &id, method).await?;
    }
    Ok(Opened { url, created })
}

async fn auto_merge(
    api: &Api,
    location: &Location,
    pull: &str,
    id: &str,
    method: MergeMethod,
) -> Result<(), ForgeError> {
    let name = match method {
        MergeMethod::Merge => "merge",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase",
    };
    let variables = json!({"id": id, "method": name.to_uppercase()});
    let body = json!({"query": AUTO_MERGE, "variables": variables});
    let answer = api.send(Method::POST, graphql(&location.api), Some(body)).await?;
    let request = answer.request.clone();
    let answered = api.expect(answer, &[200])?;
    let message = super::api::message(&answered);
    if answered["errors"].is_null() {
        return Ok(());
    }
    let state = api.expect(api.get(pull, &[]).await?, &[200])?;
    if state["mergeable_state"] != "clean" {
        let service = location.service;
        return Err(ForgeError::Status { service, request, status: 200, message });
    }
    let body = json!({"merge_method": name});
    let merged = api.put(&format!("{pull}/merge"), body).await?;
    api.expect(merged, &[200]).map(|_| ())
}

/// Beside `/api/v3`, or below the API's own host.
fn graphql(api: &Url) -> Url {
    let mut url = api.clone();
    let path = match api.path().trim_end_matches('/').strip_suffix("/v3") {
        Some(above) => format!("{above}/graphql"),
        None => format!("{}/graphql", api.path().trim_end_matches('/')),
    };
    url.set_path(&path);
    url
}
