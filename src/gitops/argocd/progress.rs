//! What is seen of an Application, as events: what has changed, and no more.

use std::collections::HashMap;
use std::sync::Arc;

use super::backend::Id;
use super::model::{Application, Key, Resource};
use super::verdict::Waiting;
use crate::report::{Event, Sink};

/// What was reported last.
pub(super) struct Progress {
    sink: Arc<dyn Sink>,
    application: String,
    last: Option<Event>,
    resources: HashMap<Key, Event>,
}

impl Progress {
    pub(super) fn new(sink: Arc<dyn Sink>, id: &Id) -> Self {
        Self { sink, application: id.to_string(), last: None, resources: HashMap::new() }
    }

    pub(super) fn note(&self, message: impl std::fmt::Display) {
        self.sink.event(Event::Note { message: format!("{}: {message}", self.application) });
    }

    pub(super) fn warn(&self, message: impl std::fmt::Display) {
        self.sink.event(Event::Warning { message: format!("{}: {message}", self.application) });
    }

    /// Reports how an Application is and what is waited for.
    pub(super) fn show(&mut self, app: &Application, waiting: Option<&Waiting>) {
        let status = &app.status;
        let operation = match (&app.operation, &status.operation_state) {
            (Some(_), state)
                if !state.as_ref().is_some_and(super::model::OperationState::running) =>
            {
                "Requested"
            }
            (_, Some(state)) => &state.phase,
            (_, None) => "",
        };
        let event = Event::Application {
            application: self.application.clone(),
            revision: app.compared().join(","),
            sync: status.sync.status.clone(),
            health: status.health.status.clone(),
            operation: operation.to_owned(),
            waits_for: waiting.map(ToString::to_string),
        };
        if self.last.as_ref() != Some(&event) {
            self.sink.event(event.clone());
            self.last = Some(event);
        }
        for resource in &status.resources {
            self.resource(app, resource);
        }
    }

    fn resource(&mut self, app: &Application, resource: &Resource) {
        let health = resource.health.as_ref();
        let status = health.map_or("", |health| &health.status);
        let key = &resource.key;
        let good = resource.status != "OutOfSync" && matches!(status, "" | "Healthy");
        if good && !self.resources.contains_key(key) {
            return;
        }
        // While it is applied, what the cluster said of it is the news.
        let state = app.status.operation_state.as_ref();
        let results = state.filter(|s| s.running()).and_then(|s| s.sync_result.as_ref());
        let said = results.and_then(|r| r.resources.iter().find(|r| r.key == *key));
        let message = health.map(|health| health.message.clone()).filter(|m| !m.is_empty());
        let message = message.or_else(|| said.map(|said| said.message.clone()));
        let event = Event::Resource {
            application: self.application.clone(),
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            sync: resource.status.clone(),
            health: status.to_owned(),
            message: message.unwrap_or_default(),
        };
        if self.resources.get(key) != Some(&event) {
            self.sink.event(event.clone());
            self.resources.insert(key.clone(), event);
        }
    }

    pub(super) fn finish(&self, good: bool) {
        let application = self.application.clone();
        self.sink.event(Event::ApplicationFinished { application, good });
    }
}
