//! Which service a repository is at, and where its API is. Pure.

use super::ForgeError;
use crate::net::Url;

/// A kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// github.com, and GitHub Enterprise Server.
    GitHub,
    /// gitlab.com, and GitLab of one's own.
    GitLab,
    /// Gitea, and Forgejo such as codeberg.org.
    Gitea,
}

/// A repository as its service knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The kind of service.
    pub service: Service,
    /// The address of its API, without a slash at its end.
    pub api: Url,
    /// The name: `OWNER/NAME`; at GitLab with all groups.
    pub project: String,
}

impl Service {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Gitea => "Gitea",
        }
    }

    /// The service that a host's name tells of.
    fn of_host(host: &str) -> Option<Self> {
        let any = |words: &[&str]| words.iter().any(|word| host.contains(word));
        if any(&["github"]) || host.ends_with(".ghe.com") {
            Some(Self::GitHub)
        } else if any(&["gitlab"]) {
            Some(Self::GitLab)
        } else if any(&["gitea", "forgejo", "codeberg.org"]) {
            Some(Self::Gitea)
        } else {
            None
        }
    }

    /// The path of its API.
    fn path(self) -> &'static str {
        match self {
            Self::GitHub => "api/v3",
            Self::GitLab => "api/v4",
            Self::Gitea => "api/v1",
        }
    }
}

impl Location {
    /// Finds what the URL of a repository (https, ssh, or `git@host:path`) means. The service is
    /// told by the host's name, and its API is where such services have it, unless they are given.
    pub fn find(
        repository: &str,
        service: Option<Service>,
        api: Option<Url>,
    ) -> Result<Self, ForgeError> {
        let unknown = || ForgeError::Location { repository: shown(repository) };
        let (origin, path) = split(repository).ok_or_else(unknown)?;
        let host = origin.host_str().ok_or_else(unknown)?.to_ascii_lowercase();
        let service = service.or_else(|| Service::of_host(&host));
        let service = service.ok_or_else(|| ForgeError::Service { host: host.clone() })?;
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
        // A service need not be at the root of its host; GitLab's groups look the same, so there only
        // the address of the API tells.
        let (below, project) = if service == Service::GitLab {
            let prefix = api.as_ref().map_or("", |api| api.path().trim_matches('/'));
            let prefix = prefix.strip_suffix("api/v4").unwrap_or_default();
            ("", path.strip_prefix(prefix).unwrap_or(path))
        } else {
            let (rest, _) = path.rsplit_once('/').ok_or_else(unknown)?;
            let below = rest.rsplit_once('/').map_or("", |(below, _)| below);
            (below, path[below.len()..].trim_start_matches('/'))
        };
        if project.split('/').count() < 2 || project.split('/').any(str::is_empty) {
            return Err(unknown());
        }
        let api = match api {
            Some(mut api) => {
                let path = api.path().trim_end_matches('/').to_owned();
                api.set_path(&path);
                api
            }
            None if service == Service::GitHub && host == "github.com" => {
                "https://api.github.com".parse().map_err(|_| unknown())?
            }
            None if service == Service::GitHub && host.ends_with(".ghe.com") => {
                format!("https://api.{host}").parse().map_err(|_| unknown())?
            }
            None => {
                let mut api = origin;
                api.set_path(&format!("{below}/{}", service.path()));
                api
            }
        };
        Ok(Self { service, api, project: project.to_owned() })
    }
}

/// The web origin of a repository's URL, and its path.
fn split(text: &str) -> Option<(Url, String)> {
    if let Some((scheme, _)) = text.split_once("://") {
        let url: Url = text.parse().ok()?;
        let host = url.host_str()?;
        let web = match (scheme, url.port()) {
            ("http" | "https", Some(port)) => format!("{scheme}://{host}:{port}"),
            ("http" | "https", None) => format!("{scheme}://{host}"),
            // The port is that of ssh.
            _ => format!("https://{host}"),
        };
        return Some((web.parse().ok()?, url.path().to_owned()));
    }
    let (host, path) = text.split_once(':')?;
    let host = host.rsplit('@').next()?;
    Some((format!("https://{host}").parse().ok()?, path.to_owned()))
}

/// A repository's URL without a user and password.
fn shown(text: &str) -> String {
    match text.parse::<Url>() {
        Ok(mut url) => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_services_and_projects() {
        for (url, expected) in [
            ("https://github.com/o/r.git", "GitHub https://api.github.com/ o/r"),
            ("git@github.com:o/r.git", "GitHub https://api.github.com/ o/r"),
            ("ssh://git@github.com:22/o/r", "GitHub https://api.github.com/ o/r"),
            ("https://acme.ghe.com/o/r.git", "GitHub https://api.acme.ghe.com/ o/r"),
            ("https://github.acme.io/o/r.git/", "GitHub https://github.acme.io/api/v3 o/r"),
            ("https://u:p@gitlab.com/g/s/r.git", "GitLab https://gitlab.com/api/v4 g/s/r"),
            ("ssh://git@gitlab.io:2222/g/r.git", "GitLab https://gitlab.io/api/v4 g/r"),
            ("http://gitea.local:3000/o/r.git", "Gitea http://gitea.local:3000/api/v1 o/r"),
            ("https://x.io/forgejo/o/r.git", "unknown service x.io"),
            ("https://codeberg.org/o/r", "Gitea https://codeberg.org/api/v1 o/r"),
            ("https://forgejo.io/git/o/r", "Gitea https://forgejo.io/git/api/v1 o/r"),
            ("https://github.com/r.git", "no repository https://github.com/r.git"),
            ("https://u:secret@gitlab.com/", "no repository https://gitlab.com/"),
            ("/srv/r.git", "no repository /srv/r.git"),
        ] {
            let found = match Location::find(url, None, None) {
                Ok(Location { service, api, project }) => {
                    format!("{} {api} {project}", service.name())
                }
                Err(ForgeError::Service { host }) => format!("unknown service {host}"),
                Err(ForgeError::Location { repository }) => format!("no repository {repository}"),
                Err(other) => format!("{other}"),
            };
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn what_is_given_decides() {
        let api = |text: &str| Some(text.parse().unwrap());
        let find = |url, service, base: &str| {
            let found = Location::find(url, Some(service), api(base)).unwrap();
            format!("{} {}", found.api, found.project)
        };
        let found = find("https://x.io/gl/g/r.git", Service::GitLab, "https://x.io/gl/api/v4/");
        assert_eq!(found, "https://x.io/gl/api/v4 g/r");
        let found = find("ssh://git@x.io/o/r", Service::Gitea, "http://y.io/api/v1");
        assert_eq!(found, "http://y.io/api/v1 o/r");
    }
}
