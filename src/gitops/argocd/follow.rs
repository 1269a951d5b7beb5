//! What is seen of an Application, however it comes: by the stream, and by asking now and then.
//!
//! A stream that breaks is made anew, after the whole has been read once. Since a proxy may hold
//! a stream back without breaking it, the whole is read now and then too, and often as long as
//! the stream has brought nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::backend::{Backend, Id, Watch};
use super::error::ApiError;
use super::model::{Application, Tree};

/// How often all is read beside a stream that works.
const POLL: Duration = Duration::from_secs(20);
/// How often all is read while the stream has brought nothing.
const BLIND: Duration = Duration::from_secs(3);
/// Pauses before a stream is made anew.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// A stream that has lived for so long is made anew at once.
const LIVED: Duration = Duration::from_secs(5);

/// Something that was seen.
#[derive(Debug)]
pub(super) enum Seen {
    App(Box<Application>),
    Tree(Tree),
    Trouble(ApiError),
}

/// Follows an Application until the set is dropped.
pub(super) fn application<B: Backend>(backend: &B, id: &Id, to: &Sender<Seen>) -> JoinSet<()> {
    let works = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    tasks.spawn(stream(backend.clone(), id.clone(), to.clone(), Arc::clone(&works)));
    tasks.spawn(poll(backend.clone(), id.clone(), to.clone(), works));
    tasks
}

/// Follows a tree. What does not work is no trouble: it is only for finding failures earlier.
pub(super) async fn tree<B: Backend>(backend: B, id: Id, to: Sender<Seen>) {
    let mut pause = PAUSES.0;
    loop {
        if let Ok(mut watch) = backend.watch_tree(&id).await {
            while let Ok(tree) = watch.next().await {
                pause = PAUSES.0;
                if to.send(Seen::Tree(tree)).await.is_err() {
                    return;
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Reads the whole once; says whether to go on.
async fn read<B: Backend>(backend: &B, id: &Id, to: &Sender<Seen>) -> bool {
    let seen = match backend.get(id).await {
        Ok(value) => match Application::read(value) {
            Ok(app) => Seen::App(Box::new(app)),
            Err(problem) => {
                Seen::Trouble(ApiError::Answer { request: format!("get {id}"), problem })
            }
        },
        Err(error) => Seen::Trouble(error),
    };
    let good = matches!(seen, Seen::App(_));
    to.send(seen).await.is_ok() && good
}

async fn stream<B: Backend>(backend: B, id: Id, to: Sender<Seen>, works: Arc<AtomicBool>) {
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        if read(&backend, &id, &to).await {
            let mut brought = false;
            let error = match backend.watch(&id).await {
                Err(error) => error,
                Ok(mut watch) => loop {
                    match watch.next().await {
                        Ok(app) => {
                            brought = true;
                            works.store(true, Ordering::Relaxed);
                            if to.send(Seen::App(Box::new(app))).await.is_err() {
                                return;
                            }
                        }
                        Err(error) => break error,
                    }
                },
            };
            if matches!(error, ApiError::Removed) {
                let _ = to.send(Seen::Trouble(error)).await;
                return;
            }
            works.store(brought, Ordering::Relaxed);
        }
        if begun.elapsed() > LIVED {
            pause = PAUSES.0;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn poll<B: Backend>(backend: B, id: Id, to: Sender<Seen>, works: Arc<AtomicBool>) {
    let mut last = Instant::now();
    loop {
        sleep(BLIND).await;
        if works.load(Ordering::Relaxed) && last.elapsed() < POLL {
            continue;
        }
        read(&backend, &id, &to).await;
        last = Instant::now();
    }
}
