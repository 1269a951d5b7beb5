//! The named contexts of files, opened when the first step wants them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::BuildError;
use crate::context::{Context, ContextError, ContextLocation};

/// A context: the build's own, or a named one.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    Main(&'a Context),
    Named(Arc<Context>),
}

impl Deref for Opened<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        match self {
            Self::Main(context) => context,
            Self::Named(context) => context,
        }
    }
}

/// What `--build-context` names; a context that no step wants is not touched.
#[derive(Debug)]
pub(super) struct Contexts<'a> {
    locations: &'a BTreeMap<String, ContextLocation>,
    opened: Mutex<BTreeMap<String, Arc<Context>>>,
}

impl<'a> Contexts<'a> {
    pub(super) fn new(locations: &'a BTreeMap<String, ContextLocation>) -> Self {
        Self { locations, opened: Mutex::new(BTreeMap::new()) }
    }

    /// The context `name`; opened once.
    pub(super) fn get(&self, name: &str) -> Result<Arc<Context>, BuildError> {
        // Held while it is opened, so that no other step opens it too.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = opened.get(name) {
            return Ok(Arc::clone(context));
        }
        let context = match self.locations.get(name) {
            Some(ContextLocation::Directory(path)) => {
                Context::open(path, None).map_err(|source| ContextError::Named {
                    name: name.to_owned(),
                    source: Box::new(source),
                })?
            }
            None => return Err(BuildError::Internal(format!("the context {name} is missing"))),
        };
        let context = Arc::new(context);
        opened.insert(name.to_owned(), Arc::clone(&context));
        Ok(context)
    }
}
