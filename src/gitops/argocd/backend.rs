//! What the wait needs of Argo CD, whether through its server or through the cluster.

use std::future::Future;

use serde_json::Value;

use super::error::ApiError;
use super::model::{Application, Key, Tree};
use super::plan::Plan;

/// Which Application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Id {
    /// Its name.
    pub name: String,
    /// Its namespace, where it is not Argo CD's own.
    pub namespace: Option<String>,
    /// Its project, as soon as it is known.
    pub project: Option<String>,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Which Applications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By their labels, as Kubernetes writes that.
    pub selector: String,
    /// By their project.
    pub project: String,
    /// By their namespace.
    pub namespace: Option<String>,
}

/// Changes as they happen.
pub trait Watch<T>: Send + 'static {
    /// The next one; the end of the stream is an error.
    fn next(&mut self) -> impl Future<Output = Result<T, ApiError>> + Send;
}

type Answer<T> = Result<T, ApiError>;

/// A way to Argo CD.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Changes of an Application.
    type Watch: Watch<Application>;
    /// Changes of a tree.
    type TreeWatch: Watch<Tree>;

    /// The Applications that a filter lets through.
    fn list(&self, filter: &Filter) -> impl Future<Output = Answer<Vec<Application>>> + Send;
    /// An Application as JSON, with all that is not understood here.
    fn get(&self, id: &Id) -> impl Future<Output = Answer<Value>> + Send;
    /// Has it compared, and waits until that is done.
    fn refresh(&self, id: &Id, hard: bool) -> impl Future<Output = Answer<Value>> + Send;
    /// Starts a sync.
    fn sync(&self, id: &Id, plan: &Plan) -> impl Future<Output = Answer<Value>> + Send;
    /// Ends the operation that is under way.
    fn terminate(&self, id: &Id) -> impl Future<Output = Answer<()>> + Send;
    /// Deploys again what was deployed before.
    fn rollback(&self, id: &Id, history: i64) -> impl Future<Output = Answer<Value>> + Send;
    /// Replaces the specification.
    fn set_spec(&self, id: &Id, spec: Value) -> impl Future<Output = Answer<()>> + Send;
    /// Changes of an Application, the first of which is how it is.
    fn watch(&self, id: &Id) -> impl Future<Output = Answer<Self::Watch>> + Send;
    /// Changes of its tree, the first of which is how it is.
    fn watch_tree(&self, id: &Id) -> impl Future<Output = Answer<Self::TreeWatch>> + Send;
    /// Its tree.
    fn tree(&self, id: &Id) -> impl Future<Output = Answer<Tree>> + Send;
    /// The manifests of a revision, as JSON.
    fn manifests(&self, id: &Id, revision: &str)
    -> impl Future<Output = Answer<Vec<Value>>> + Send;
    /// The windows that forbid a sync now, a line each.
    fn windows(&self, id: &Id) -> impl Future<Output = Answer<Vec<String>>> + Send;
    /// What the cluster has to say of a resource, the last lines.
    fn events(
        &self,
        id: &Id,
        key: &Key,
        uid: &str,
    ) -> impl Future<Output = Answer<Vec<String>>> + Send;
    /// The last lines that a pod has written.
    fn logs(&self, id: &Id, pod: &Key) -> impl Future<Output = Answer<Vec<String>>> + Send;
}
