//! Has Argo CD sync Applications and waits until they are what was asked for.
//!
//! [`decide()`] says what to do from what is seen, without any connection; [`run`]
//! does it: it watches, asks and writes, each Application in a task of its own and all under one
//! deadline. [`Client`] speaks to the server. What "done" means is written in `docs/sync.md`.

mod address;
mod ancestry;
mod backend;
mod client;
mod config;
mod core;
mod decide;
mod driver;
mod edit;
mod error;
mod explain;
mod follow;
mod goal;
mod model;
mod plan;
mod progress;
mod server;
mod stream;
mod verdict;

pub use address::Address;
pub use ancestry::{Ancestry, Contains, Equality, same};
pub use backend::{Backend, Filter, Id, Watch};
pub use client::{Client, Login};
pub use config::Context;
pub use core::{Applications, Core, Nothing};
pub use decide::{Memory, decide};
pub use driver::{Report, Settings, run};
pub use edit::Edits;
pub use error::ApiError;
pub use explain::{Several, SyncError};
pub use goal::{
    Expected, Goal, OnBusy, Place, Refresh, Request, RetryFlags, Selector, Start, Wanted,
};
pub use model::{
    Application, Automated, Condition, Health, History, HydrateOperation, Hydrator, HydratorStatus,
    Info, Initiator, Key, Metadata, Node, Operation, OperationState, Parent, REFRESH, Resource,
    ResourceResult, Retry, Source, Spec, Status, SyncOperation, SyncPolicy, SyncResult, SyncSource,
    SyncStatus, Time, Tree,
};
pub use plan::Plan;
pub use server::Stream;
pub use verdict::{Action, Bad, Failure, Outcome, Question, Waiting};
