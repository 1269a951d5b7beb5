//! Pull requests at Gitea and Forgejo.
//!
//! A second one for a branch is refused with 409; then the open ones are looked through. Labels that
//! do not exist are left out by the service without a word, so its answer is looked at.

use serde_json::{Value, json};

use super::api::{Api, number, segment, text};
use super::{ForgeError, Location, MergeMethod, Opened, Proposal, Service, users_and_teams};

pub(super) async fn open(
    api: &Api,
    location: &Location,
    proposal: &Proposal,
) -> Result<Opened, ForgeError> {
    let (owner, name) = location.project.split_once('/').unwrap_or_default();
    let repository = format!("/repos/{}/{}", segment(owner), segment(name));
    let pulls = format!("{repository}/pulls");
    let title =
        if proposal.draft { format!("WIP: {}", proposal.title) } else { proposal.title.clone() };
    let mut details = json!({"title": title, "body": proposal.body});
    if !proposal.assignees.is_empty() {
        details["assignees"] = json!(proposal.assignees);
    }
    let mut body = details.clone();
    body["head"] = json!(proposal.head);
    body["base"] = json!(proposal.base);
    let answer = api.post(&pulls, body).await?;
    let request = answer.request.clone();
    let mut created = true;
    let pull = if answer.status == 409 {
        created = false;
        let Some(found) = find(api, &pulls, proposal).await? else {
            return Err(api
                .expect(answer, &[201])
                .err()
                .unwrap_or(ForgeError::Malformed { request, what: "pull request" }));
        };
        let number = number(&request, &found, "number")?;
        api.expect(api.patch(&format!("{pulls}/{number}"), details).await?, &[200, 201])?
    } else {
        api.expect(answer, &[201])?
    };
    let url = text(&request, &pull, "html_url")?;
    let number = number(&request, &pull, "number")?;
    if !proposal.labels.is_empty() {
        let path = format!("{repository}/issues/{number}/labels");
        let body = json!({"labels": proposal.labels});
        let now = api.expect(api.post(&path, body).await?, &[200])?;
        let now = now.as_array().cloned().unwrap_or_default();
        for name in &proposal.labels {
            if !now.iter().any(|label| label["name"] == name.as_str()) {
                let (service, name) = (Service::Gitea, name.clone());
                return Err(ForgeError::Unknown { service, what: "label", name });
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
        let way = match method {
            MergeMethod::Merge => "merge",
            MergeMethod::Squash => "squash",
            MergeMethod::Rebase => "rebase",
        };
        let body = json!({
            "Do": way,
            "merge_when_checks_succeed": true,
            "delete_branch_after_merge": true,
        });
        let answer = api.post(&format!("{pulls}/{number}/merge"), body).await?;
        // 201: it will be merged; 200: it is; 409: that was asked for before.
        api.expect(answer, &[200, 201, 409])?;
    }
    Ok(Opened { url, created })
}

/// The open pull request of a branch.
async fn find(api: &Api, pulls: &str, proposal: &Proposal) -> Result<Option<Value>, ForgeError> {
    /// Pages of fifty that are looked through.
    const PAGES: usize = 40;
    for page in 1..=PAGES {
        let page = page.to_string();
        let query = [("state", "open"), ("limit", "50"), ("page", page.as_str())];
        let answered = api.expect(api.get(pulls, &query).await?, &[200])?;
        let all = answered.as_array().cloned().unwrap_or_default();
        if all.is_empty() {
            break;
        }
        let same = |pull: &Value| {
            pull["head"]["ref"] == proposal.head.as_str()
                && pull["base"]["ref"] == proposal.base.as_str()
                // One of a fork may come from a branch of the same name.
                && pull["head"]["repo_id"] == pull["base"]["repo_id"]
        };
        if let Some(found) = all.into_iter().find(same) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
