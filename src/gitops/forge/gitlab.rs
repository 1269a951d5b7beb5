//! Merge requests at GitLab: by its API, or by the options of the push, which need no token.
//!
//! Users are given by name and wanted by number. A merge request is prepared in the background after
//! it was opened; until then merging later is refused with 405, so that is asked again.

use serde_json::{Value, json};

use super::api::{Api, number, segment, text};
use super::{ForgeError, Location, MergeMethod, Opened, Proposal, Service};

/// How often merging later is asked for while GitLab prepares the merge request.
const PREPARING: u32 = 10;

pub(super) async fn open(
    api: &Api,
    location: &Location,
    proposal: &Proposal,
) -> Result<Opened, ForgeError> {
    let all = format!("/projects/{}/merge_requests", segment(&location.project));
    let title = title(proposal);
    let reviewers = users(api, &proposal.reviewers).await?;
    let assignees = users(api, &proposal.assignees).await?;
    let mut body = json!({
        "source_branch": proposal.head,
        "target_branch": proposal.base,
        "title": title,
        "description": proposal.body,
        "remove_source_branch": true,
    });
    let mut details = json!({});
    if !reviewers.is_empty() {
        details["reviewer_ids"] = json!(reviewers);
    }
    if !assignees.is_empty() {
        details["assignee_ids"] = json!(assignees);
    }
    if proposal.auto_merge == Some(MergeMethod::Squash) {
        details["squash"] = json!(true);
    }
    let labels = proposal.labels.join(",");
    extend(&mut body, &details);
    if !labels.is_empty() {
        body["labels"] = json!(labels);
    }
    let answer = api.post(&all, body).await?;
    let request = answer.request.clone();
    let mut created = true;
    let merge_request = if answer.status == 409 {
        created = false;
        let query = [
            ("state", "opened"),
            ("source_branch", proposal.head.as_str()),
            ("target_branch", proposal.base.as_str()),
        ];
        let found = api.expect(api.get(&all, &query).await?, &[200])?;
        // One of a fork may come from a branch of the same name.
        let own = |one: &&Value| one["source_project_id"] == one["target_project_id"];
        let Some(first) = found.as_array().into_iter().flatten().find(own) else {
            return Err(api
                .expect(answer, &[201])
                .err()
                .unwrap_or(ForgeError::Malformed { request, what: "merge request" }));
        };
        let iid = number(&request, first, "iid")?;
        let mut change = json!({"title": title, "description": proposal.body});
        extend(&mut change, &details);
        if !labels.is_empty() {
            change["add_labels"] = json!(labels);
        }
        api.expect(api.put(&format!("{all}/{iid}"), change).await?, &[200])?
    } else {
        api.expect(answer, &[201])?
    };
    let url = text(&request, &merge_request, "web_url")?;
    if proposal.auto_merge.is_some() {
        let iid = number(&request, &merge_request, "iid")?;
        // The second name is that of GitLab before 17.11.
        let body = json!({
            "auto_merge": true,
            "merge_when_pipeline_succeeds": true,
            "should_remove_source_branch": true,
        });
        let path = format!("{all}/{iid}/merge");
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = api.put(&path, body.clone()).await?;
            if !matches!(answer.status, 405 | 422) || attempt >= PREPARING {
                api.expect(answer, &[200])?;
                break;
            }
            tokio::time::sleep(api.pause(attempt)).await;
        }
    }
    Ok(Opened { url, created })
}

fn extend(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

fn title(proposal: &Proposal) -> String {
    if proposal.draft { format!("Draft: {}", proposal.title) } else { proposal.title.clone() }
}

/// The numbers of users.
async fn users(api: &Api, names: &[String]) -> Result<Vec<u64>, ForgeError> {
    let mut ids = Vec::new();
    for name in names {
        let answer = api.get("/users", &[("username", name)]).await?;
        let request = answer.request.clone();
        let found = api.expect(answer, &[200])?;
        let Some(user) = found.get(0) else {
            let (service, name) = (Service::GitLab, name.clone());
            return Err(ForgeError::Unknown { service, what: "user", name });
        };
        ids.push(number(&request, user, "id")?);
    }
    Ok(ids)
}

/// The options of a push that make GitLab open a merge request for what is pushed.
pub fn push_options(proposal: &Proposal) -> Result<Vec<String>, ForgeError> {
    if !proposal.reviewers.is_empty() {
        let problem = "reviewers need GitLab's API, and that a token: give --pr-token-file";
        return Err(ForgeError::Unsupported(problem.to_owned()));
    }
    // An option is one line.
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut options = vec![
        "create".to_owned(),
        format!("target={}", proposal.base),
        format!("title={}", line(&title(proposal))),
        "remove_source_branch".to_owned(),
    ];
    if !proposal.body.is_empty() {
        options.push(format!("description={}", line(&proposal.body)));
    }
    options.extend(proposal.labels.iter().map(|label| format!("label={label}")));
    options.extend(proposal.assignees.iter().map(|user| format!("assign={user}")));
    if proposal.auto_merge.is_some() {
        // The second name is that of GitLab before 17.11.
        options.extend(["auto_merge", "merge_when_pipeline_succeeds"].map(str::to_owned));
    }
    if proposal.auto_merge == Some(MergeMethod::Squash) {
        options.push("squash".to_owned());
    }
    Ok(options.into_iter().map(|option| format!("merge_request.{option}")).collect())
}

/// The page of the merge request that GitLab tells of after a push.
pub fn merge_request_url(message: &str) -> Option<String> {
    let url = message.split_whitespace().find(|word| {
        word.starts_with("http") && word.contains("/merge_requests/") && !word.contains("/new")
    });
    url.map(str::to_owned)
}
