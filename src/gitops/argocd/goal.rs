//! What is wanted of an Application.

use std::time::Duration;

use super::model::{Application, Info, Key};

/// What is wanted of an Application.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The commits that are to be live. Without any, whatever its sources point at.
    pub revisions: Vec<Expected>,
    /// Whether a sync is started.
    pub sync: Start,
    /// How it is compared before anything is decided.
    pub refresh: Refresh,
    /// What is waited for.
    pub wait: Wanted,
    /// How long it must have stayed well.
    pub settle: Duration,
    /// How long it may be degraded, missing or in error before that is a failure.
    pub degraded_grace: Duration,
    /// What is done about an operation of somebody else.
    pub on_busy: OnBusy,
    /// What a sync that is started is like.
    pub request: Request,
    /// The note that marks operations as ours.
    pub marker: Info,
    /// Whether its sources have been changed by this run, so that a comparison made for what was
    /// there before says nothing.
    pub changed: bool,
}

/// A commit that is to be live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Of which source; of the one that there is, when absent.
    pub source: Option<Place>,
    /// The commit, or the version of a chart.
    pub revision: String,
}

/// Which source of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By its position, from 1.
    Position(usize),
    /// By its name, or the name by which other sources use it.
    Name(String),
    /// By its repository.
    Repository(String),
}

/// Whether a sync is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// If it is needed.
    #[default]
    Auto,
    /// Once in any case.
    Always,
    /// Somebody else does it.
    Never,
}

/// How an Application is compared before anything is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// What its sources point at is looked up.
    #[default]
    Normal,
    /// Manifests are made again too.
    Hard,
    /// It is taken as it is.
    None,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// That it is synced.
    pub sync: bool,
    /// That it is healthy.
    pub health: bool,
    /// That no operation is under way.
    pub operation: bool,
    /// Suspended is as good as healthy.
    pub suspended: bool,
}

/// What is done about an operation of somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBusy {
    /// Its end is waited for.
    #[default]
    Wait,
    /// Its end is waited for, and if it applies our commit it is as good as one of ours.
    Adopt,
    /// It is ended, unless it applies our commit.
    Terminate,
    /// It is a failure, unless it applies our commit.
    Fail,
}

/// What a sync is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Resources are removed.
    pub prune: bool,
    /// Resources that cannot be changed are made anew.
    pub force: bool,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Without hooks.
    pub apply_only: bool,
    /// Options, `Name=value`.
    pub options: Vec<String>,
    /// Whether the Application's own options hold too.
    pub own_options: bool,
    /// These resources only.
    pub resources: Vec<Selector>,
    /// Resources that have these labels only.
    pub labels: Vec<(String, String)>,
    /// Notes.
    pub infos: Vec<Info>,
    /// How often it is tried again.
    pub retry: RetryFlags,
}

/// How often a sync is tried again; what is absent is the Application's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryFlags {
    /// At most so often.
    pub limit: Option<i64>,
    /// Each time with what the sources point at then.
    pub refresh: Option<bool>,
    /// The first pause.
    pub duration: Option<String>,
    /// By how much each pause is longer.
    pub factor: Option<i64>,
    /// The longest pause.
    pub max_duration: Option<String>,
}

/// Some resources: `GROUP:KIND:[NAMESPACE/]NAME`, in which `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Whether these are left out.
    pub exclude: bool,
    /// The group; empty for the core.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; any, when absent.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl Selector {
    /// Reads `[!]GROUP:KIND:[NAMESPACE/]NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (exclude, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let parts: Vec<&str> = rest.split(':').collect();
        let wrong = || format!("{text:?} is not [!]GROUP:KIND:[NAMESPACE/]NAME");
        let [group, kind, name] = parts[..] else { return Err(wrong()) };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, name),
        };
        if kind.is_empty() || name.is_empty() || namespace.as_deref() == Some("") {
            return Err(wrong());
        }
        let (group, kind, name) = (group.to_owned(), kind.to_owned(), name.to_owned());
        Ok(Self { exclude, group, kind, namespace, name })
    }

    /// Whether a resource is one of these.
    pub fn matches(&self, key: &Key) -> bool {
        glob(&self.group, &key.group)
            && glob(&self.kind, &key.kind)
            && glob(&self.name, &key.name)
            && self.namespace.as_ref().is_none_or(|pattern| glob(pattern, &key.namespace))
    }
}

/// Whether `text` is what `pattern` says, where `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

impl Goal {
    /// What is expected of each source of an Application; an error says which source is meant by
    /// nothing or by too much.
    pub fn expected(&self, app: &Application) -> Result<Vec<Option<&str>>, String> {
        let sources = app.sources();
        let mut expected = vec![None; sources.len().max(1)];
        for Expected { source, revision } in &self.revisions {
            let places: Vec<usize> = match source {
                None => only(app)?,
                Some(Place::Position(position)) => vec![position.wrapping_sub(1)],
                Some(place) => (0..sources.len())
                    .filter(|at| match place {
                        Place::Name(name) => {
                            sources[*at].name == *name || sources[*at].reference == *name
                        }
                        Place::Repository(url) => {
                            repository(&sources[*at].repo_url) == repository(url)
                        }
                        Place::Position(_) => false,
                    })
                    .collect(),
            };
            if places.is_empty() || places.iter().any(|at| *at >= expected.len()) {
                let what = match source {
                    Some(Place::Position(position)) => format!("no source at position {position}"),
                    Some(Place::Name(name)) => format!("no source named {name}"),
                    Some(Place::Repository(url)) => format!("no source in {url}"),
                    None => "no source".to_owned(),
                };
                return Err(format!("there is {what}; there are:\n{}", listed(app)));
            }
            for at in places {
                if expected[at].is_some_and(|other| other != revision) {
                    return Err(format!("source {} is to have two revisions", at + 1));
                }
                expected[at] = Some(revision.as_str());
            }
        }
        Ok(expected)
    }
}

/// The source that a commit is of when none is named: the only one of git, or all those of one
/// repository and branch.
fn only(app: &Application) -> Result<Vec<usize>, String> {
    let sources = app.sources();
    if sources.len() <= 1 {
        return Ok(vec![0]);
    }
    let git: Vec<usize> = (0..sources.len())
        .filter(|at| sources[*at].chart.is_empty() && !sources[*at].repo_url.starts_with("oci:"))
        .collect();
    let branch = |at: &usize| (&sources[*at].repo_url, &sources[*at].target_revision);
    match git.split_first() {
        Some((first, rest)) if rest.iter().all(|at| branch(at) == branch(first)) => Ok(git),
        _ => {
            Err(format!("it has several sources; say of which one the commit is:\n{}", listed(app)))
        }
    }
}

/// The sources of an Application, a line each.
fn listed(app: &Application) -> String {
    let line = |(at, source): (usize, &&super::model::Source)| {
        let name = if source.name.is_empty() { &source.reference } else { &source.name };
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        format!("  {}{name}: {} at {}", at + 1, source.repo_url, source.target_revision)
    };
    app.sources().iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// A repository's address without what does not tell repositories apart.
fn repository(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    // `git@host:path` is what `ssh://git@host/path` is.
    let rest = if scheme.is_empty() { rest.replacen(':', "/", 1) } else { rest.to_owned() };
    rest.to_lowercase()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A goal as the command line has it without flags.
    pub(in super::super) fn goal(revision: Option<&str>) -> Goal {
        let revisions = revision
            .map(|revision| Expected { source: None, revision: revision.to_owned() })
            .into_iter()
            .collect();
        Goal {
            revisions,
            sync: Start::Auto,
            refresh: Refresh::Normal,
            wait: Wanted { sync: true, health: true, operation: true, suspended: false },
            settle: Duration::ZERO,
            degraded_grace: Duration::from_secs(30),
            on_busy: OnBusy::Wait,
            request: Request { own_options: true, ..Request::default() },
            marker: Info { name: "yado".into(), value: "1".into() },
            changed: false,
        }
    }

    #[test]
    fn selectors_match_by_their_parts() {
        let key = |group: &str, kind: &str, namespace: &str, name: &str| Key {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        let web = key("apps", "Deployment", "shop", "web");
        let config = key("", "ConfigMap", "shop", "web-config");
        for (text, first, second) in [
            ("apps:Deployment:web", true, false),
            ("apps:Deployment:shop/web", true, false),
            ("apps:Deployment:other/web", false, false),
            (":ConfigMap:web-*", false, true),
            ("*:*:web", true, false),
            ("*:*:*b-c*g", false, true),
            ("!*:*:*", true, true),
        ] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(&web), first, "{text}");
            assert_eq!(selector.matches(&config), second, "{text}");
        }
        for bad in ["", "web", "apps:Deployment", "apps::web", "a:b:", "a:b:/c", "a:b:c:d"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_commit_is_of_the_source_that_is_meant() {
        let app = |sources: &[(&str, &str, &str)]| {
            let sources: Vec<_> = sources
                .iter()
                .map(|(url, chart, name)| {
                    json!({"repoURL": url, "chart": chart, "name": name, "targetRevision": "main"})
                })
                .collect();
            Application::read(json!({"metadata": {"name": "a"}, "spec": {"sources": sources}}))
                .unwrap()
        };
        let (a, b) = (("https://h/o/a.git", "", "first"), ("ssh://git@h/o/b", "", "second"));
        let chart = ("https://charts", "c", "");
        let at = |place: Place| Some(place);
        for (sources, place, expected) in [
            (vec![a], None, Some(vec![Some("c1")])),
            (vec![chart, a], None, Some(vec![None, Some("c1")])),
            (vec![a, a, chart], None, Some(vec![Some("c1"), Some("c1"), None])),
            (vec![a, b], None, None),
            (vec![a, b], at(Place::Position(2)), Some(vec![None, Some("c1")])),
            (vec![a, b], at(Place::Position(3)), None),
            (vec![a, b], at(Place::Position(0)), None),
            (vec![a, b], at(Place::Name("first".into())), Some(vec![Some("c1"), None])),
            (vec![a, b], at(Place::Name("third".into())), None),
            (
                vec![a, b],
                at(Place::Repository("git@h:o/b.git".into())),
                Some(vec![None, Some("c1")]),
            ),
            (
                vec![a, b],
                at(Place::Repository("https://u:p@h/o/A/".into())),
                Some(vec![Some("c1"), None]),
            ),
        ] {
            let goal = Goal {
                revisions: vec![Expected { source: place.clone(), revision: "c1".into() }],
                ..goal(None)
            };
            let found = goal.expected(&app(&sources));
            assert_eq!(found.ok(), expected, "{place:?} of {sources:?}");
        }
    }
}
