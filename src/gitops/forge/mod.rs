//! Pull requests at the services that host repositories: GitHub, GitLab, and Gitea or Forgejo.
//!
//! ```text
//! URL of the repository ─ Location::find ─► service, address of its API, name of the repository
//!                                             │
//! Proposal ──────────────────────── Forge::open
//!                                             │ one request; if there is such a pull request
//!                                             │ already, it is looked for and updated
//!                                             ▼
//!                              labels, reviewers, assignees, merge when checks pass
//! ```
//!
//! It promises one pull request for a branch however often it is asked, and to wait when a service
//! asks for that: some limits come as 403, not as 429. What it refuses: to leave out a label,
//! reviewer or assignee in silence. A token goes to the API's origin, and to no other.

mod api;
mod error;
mod gitea;
mod github;
mod gitlab;
mod location;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::net::{Http, Retry};

pub use error::ForgeError;
pub use gitlab::{merge_request_url, push_options};
pub use location::{Location, Service};

use api::Api;

/// A pull request that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// The branch that has the change.
    pub head: String,
    /// The branch that is to have it.
    pub base: String,
    /// The title, one line.
    pub title: String,
    /// What stands below it.
    pub body: String,
    /// Names of labels.
    pub labels: Vec<String>,
    /// Names of users, or `ORGANISATION/TEAM`.
    pub reviewers: Vec<String>,
    /// Names of users.
    pub assignees: Vec<String>,
    /// Whether it is not meant to be merged yet.
    pub draft: bool,
    /// Whether it is merged, and how, once all checks have passed.
    pub auto_merge: Option<MergeMethod>,
}

/// How a pull request is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeMethod {
    /// With a commit of both.
    Merge,
    /// As one commit.
    Squash,
    /// Its commits on top of the branch.
    Rebase,
}

/// A pull request that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its page.
    pub url: String,
    /// Whether it is new.
    pub created: bool,
}

/// A service, and what is known of it.
#[derive(Debug)]
pub struct Forge {
    api: Api,
    location: Location,
}

impl Forge {
    /// A client with a token; nothing is asked before [`Forge::open`].
    pub fn new(
        http: Http,
        location: Location,
        token: &str,
        retry: Retry,
    ) -> Result<Self, ForgeError> {
        let api = Api::new(http, &location, token, retry)?;
        Ok(Self { api, location })
    }

    /// Opens a pull request, or updates the one that there is.
    pub async fn open(&self, proposal: &Proposal) -> Result<Opened, ForgeError> {
        match self.location.service {
            Service::GitHub => github::open(&self.api, &self.location, proposal).await,
            Service::GitLab => gitlab::open(&self.api, &self.location, proposal).await,
            Service::Gitea => gitea::open(&self.api, &self.location, proposal).await,
        }
    }
}

/// Users, and teams without their organisations.
fn users_and_teams(names: &[String]) -> (Vec<&str>, Vec<&str>) {
    let (mut users, mut teams) = (Vec::new(), Vec::new());
    for name in names {
        match name.split_once('/') {
            Some((_, team)) => teams.push(team),
            None => users.push(name.as_str()),
        }
    }
    (users, teams)
}
