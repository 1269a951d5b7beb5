//! A sync that is to be started, as the interface and as the cluster take it.

use serde_json::{Map, Value, json};

use super::decide::selects;
use super::goal::{Goal, RetryFlags};
use super::model::{Application, Info, Key};

/// A sync that is to be started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Revisions by source; none for what the sources point at.
    pub revisions: Vec<Option<String>>,
    /// Whether the Application has several sources.
    pub several: bool,
    /// Resources are removed.
    pub prune: bool,
    /// Nothing is changed.
    pub dry_run: bool,
    /// `hook` or `apply`, if it is not the usual one.
    pub strategy: Option<Value>,
    /// These resources only, unless empty.
    pub resources: Vec<Key>,
    /// Notes.
    pub infos: Vec<Info>,
    /// All options, if other ones are wanted than the Application's own.
    pub options: Option<Vec<String>>,
    /// How often it is tried again, if otherwise than the Application says.
    pub retry: Option<Value>,
}

/// The resources that a sync is limited to; none if it is not. An error lists what there is.
pub(super) fn chosen(
    app: &Application,
    goal: &Goal,
    labelled: Option<&[Key]>,
) -> Result<Vec<Key>, String> {
    let request = &goal.request;
    if request.resources.is_empty() && request.labels.is_empty() {
        return Ok(Vec::new());
    }
    // What is not yet in the cluster is known by its labels only from the manifests.
    let known = app.status.resources.iter().filter(|r| !r.hook).map(|r| r.key.clone());
    let known = known.chain(labelled.unwrap_or_default().iter().cloned());
    let mut resources: Vec<Key> = known.filter(|key| selects(goal, labelled, key)).collect();
    resources.sort();
    resources.dedup();
    if resources.is_empty() {
        let all: Vec<String> = app.status.resources.iter().map(|r| spelt(&r.key)).collect();
        return Err(format!("no resource matches; there are:\n  {}", all.join("\n  ")));
    }
    Ok(resources)
}

impl Plan {
    /// Makes the plan of a sync. Fails if resources were asked for of which there are none.
    pub fn new(
        app: &Application,
        goal: &Goal,
        revisions: Vec<Option<String>>,
        labelled: Option<&[Key]>,
    ) -> Result<Self, String> {
        let request = &goal.request;
        let policy = &app.spec.sync_policy;
        let resources = chosen(app, goal, labelled)?;
        let strategy = match (request.apply_only, request.force) {
            (false, false) => None,
            (false, true) => Some(json!({ "hook": { "force": true } })),
            (true, force) => Some(json!({ "apply": { "force": force } })),
        };
        let auto_prunes = app.auto_sync().is_some_and(|auto| auto.prune);
        let infos = std::iter::once(&goal.marker).chain(&request.infos).cloned().collect();
        Ok(Self {
            revisions,
            several: app.sources().len() > 1,
            // A sync that leaves what auto-sync would remove is never completed by it.
            prune: request.prune || auto_prunes,
            dry_run: request.dry_run,
            strategy,
            resources,
            infos,
            options: options(&policy.sync_options, &request.options, request.own_options),
            retry: retry(policy.retry.as_ref(), &request.retry),
        })
    }

    /// The body of the interface's request.
    pub fn body(&self, project: &str, namespace: Option<&str>) -> Value {
        let mut body = Map::new();
        if self.several {
            let pinned = self.revisions.iter().enumerate();
            let pinned = pinned.filter_map(|(at, revision)| Some((at + 1, revision.as_ref()?)));
            let (positions, revisions): (Vec<_>, Vec<_>) = pinned.unzip();
            if !positions.is_empty() {
                body.insert("revisions".into(), json!(revisions));
                body.insert("sourcePositions".into(), json!(positions));
            }
        } else if let Some(Some(revision)) = self.revisions.first() {
            body.insert("revision".into(), json!(revision));
        }
        for (name, flag) in [("prune", self.prune), ("dryRun", self.dry_run)] {
            if flag {
                body.insert(name.into(), json!(true));
            }
        }
        if let Some(strategy) = &self.strategy {
            body.insert("strategy".into(), strategy.clone());
        }
        if !self.resources.is_empty() {
            let resources: Vec<Value> = self.resources.iter().map(resource).collect();
            body.insert("resources".into(), json!(resources));
        }
        body.insert("infos".into(), json!(self.infos.iter().map(info).collect::<Vec<_>>()));
        if let Some(options) = &self.options {
            body.insert("syncOptions".into(), json!({ "items": options }));
        }
        if let Some(retry) = &self.retry {
            body.insert("retryStrategy".into(), retry.clone());
        }
        if !project.is_empty() {
            body.insert("project".into(), json!(project));
        }
        if let Some(namespace) = namespace {
            body.insert("appNamespace".into(), json!(namespace));
        }
        Value::Object(body)
    }
}

/// A note as the interface has it.
pub(super) fn info(info: &Info) -> Value {
    json!({ "name": info.name, "value": info.value })
}

/// A resource as the interface has it.
pub(super) fn resource(key: &Key) -> Value {
    let mut value = Map::new();
    let Key { group, kind, namespace, name } = key;
    for (field, text) in
        [("group", group), ("kind", kind), ("namespace", namespace), ("name", name)]
    {
        if !text.is_empty() {
            value.insert(field.into(), json!(text));
        }
    }
    Value::Object(value)
}

fn spelt(key: &Key) -> String {
    let Key { group, kind, namespace, name } = key;
    if namespace.is_empty() {
        format!("{group}:{kind}:{name}")
    } else {
        format!("{group}:{kind}:{namespace}/{name}")
    }
}

/// The options of a request. They stand in for the Application's own, so these are repeated; one
/// of the same name gives way.
fn options(own: &[String], asked: &[String], keep_own: bool) -> Option<Vec<String>> {
    if asked.is_empty() {
        return None;
    }
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let kept =
        own.iter().filter(|own| keep_own && !asked.iter().any(|asked| name(asked) == name(own)));
    Some(kept.chain(asked).cloned().collect())
}

/// The retry strategy of a request, which stands in for the Application's own as a whole.
fn retry(own: Option<&Value>, asked: &RetryFlags) -> Option<Value> {
    if *asked == RetryFlags::default() {
        return None;
    }
    let mut retry = own.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut backoff = retry.get("backoff").and_then(Value::as_object).cloned().unwrap_or_default();
    let set = |map: &mut Map<String, Value>, name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    set(&mut retry, "limit", asked.limit.map(Value::from));
    set(&mut retry, "refresh", asked.refresh.map(Value::from));
    set(&mut backoff, "duration", asked.duration.clone().map(Value::from));
    set(&mut backoff, "factor", asked.factor.map(Value::from));
    set(&mut backoff, "maxDuration", asked.max_duration.clone().map(Value::from));
    if !backoff.is_empty() {
        retry.insert("backoff".to_owned(), Value::Object(backoff));
    }
    Some(Value::Object(retry))
}

#[cfg(test)]
mod tests {
    use super::super::goal::Selector;
    use super::super::goal::tests::goal;
    use super::*;

    fn app(spec: &Value) -> Application {
        let resource = |group: &str, kind: &str, name: &str| json!({"group": group, "kind": kind, "namespace": "shop", "name": name});
        Application::read(json!({
            "metadata": {"name": "a"},
            "spec": spec,
            "status": {"resources": [
                resource("apps", "Deployment", "web"), resource("", "ConfigMap", "web")
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn options_and_retries_are_added_to_the_applications_own() {
        let spec = json!({"syncPolicy": {
            "syncOptions": ["CreateNamespace=true", "Replace=false"],
            "retry": {"limit": 2, "backoff": {"duration": "5s", "factor": 2}},
        }});
        let mut goal = goal(None);
        let plan = Plan::new(&app(&spec), &goal, vec![], None).unwrap();
        let marker = json!([{"name": "yado", "value": "1"}]);
        assert_eq!(plan.body("", None), json!({ "infos": marker }));
        goal.request.options = vec!["Replace=true".into(), "ServerSideApply=true".into()];
        goal.request.retry = RetryFlags { limit: Some(5), factor: Some(3), ..Default::default() };
        goal.request.force = true;
        let plan = Plan::new(&app(&spec), &goal, vec![Some("c".into())], None).unwrap();
        assert_eq!(
            plan.body("shop", Some("teams")),
            json!({
                "revision": "c",
                "infos": marker,
                "strategy": {"hook": {"force": true}},
                "syncOptions": {"items":
                    ["CreateNamespace=true", "Replace=true", "ServerSideApply=true"]},
                "retryStrategy": {"limit": 5, "backoff": {"duration": "5s", "factor": 3}},
                "project": "shop",
                "appNamespace": "teams",
            })
        );
        goal.request.own_options = false;
        let plan = Plan::new(&app(&spec), &goal, vec![], None).unwrap();
        assert_eq!(plan.options.unwrap(), ["Replace=true", "ServerSideApply=true"]);
    }

    #[test]
    fn revisions_of_several_sources_have_their_positions() {
        let spec = json!({"sources": [{"repoURL": "a"}, {"repoURL": "b"}, {"repoURL": "c"}],
            "syncPolicy": {"automated": {"prune": true}}});
        let revisions = vec![None, Some("y".into()), Some("z".into())];
        let plan = Plan::new(&app(&spec), &goal(None), revisions, None).unwrap();
        let body = plan.body("", None);
        assert_eq!(body["revisions"], json!(["y", "z"]));
        assert_eq!(body["sourcePositions"], json!([2, 3]));
        assert_eq!(body["prune"], json!(true));
        assert_eq!(body.get("revision"), None);
    }

    #[test]
    fn resources_are_those_that_match_with_their_namespace() {
        let mut goal = goal(None);
        let select = |text: &str| vec![Selector::parse(text).unwrap()];
        goal.request.resources = select("!apps:*:*");
        let plan = Plan::new(&app(&json!({})), &goal, vec![], None).unwrap();
        let config = json!([{"kind": "ConfigMap", "namespace": "shop", "name": "web"}]);
        assert_eq!(plan.body("", None)["resources"], config);
        goal.request.resources = select("apps:Deployment:api");
        let error = Plan::new(&app(&json!({})), &goal, vec![], None).unwrap_err();
        assert!(error.contains("apps:Deployment:shop/web"), "{error}");
        goal.request.resources.clear();
        goal.request.labels = vec![("tier".into(), "front".into())];
        let new = Key { kind: "Secret".into(), name: "s".into(), ..Key::default() };
        let plan =
            Plan::new(&app(&json!({})), &goal, vec![], Some(std::slice::from_ref(&new))).unwrap();
        assert_eq!(plan.resources, [new]);
    }
}
