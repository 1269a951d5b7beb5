//! Stages side by side, each on a thread of its own.
//!
//! A stage waits only for what it takes from others: for its base before its first
//! step, for a stage that it copies from before that step. Steps that are remembered
//! need no turn; of those that run, `--jobs` run at a time. Two stages that come to the
//! same step do it once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stage::{self, Shared, StageResult};
use super::{BuildError, Env};
use crate::plan::{Stage, StageId};

/// How long a waiting thread sleeps before it looks for Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs all stages; gives what became of them, or the first error. Where one stage fails,
/// the steps of the others are stopped.
pub(super) fn run(
    stages: &[Stage],
    shared: &Shared<'_>,
) -> Result<BTreeMap<StageId, Arc<StageResult>>, BuildError> {
    let mut first_steps = Vec::new();
    let mut next = 1;
    for stage in stages {
        first_steps.push(next);
        next += stage.working_steps();
    }
    let failure = Mutex::new(None);
    let run = |stage: &Stage, first| {
        // A fault of ours must not leave the others waiting.
        let panicking = StopOnPanic(shared);
        let result = stage::run(stage, first, shared);
        drop(panicking);
        result
    };
    let run = |stage: &Stage, first| match run(stage, first) {
        Ok(result) => shared.board.put(stage.id, result),
        Err(error) => {
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            // What is stopped since another failed has nothing to say.
            if failure.is_none() {
                *failure = Some(error);
            }
            shared.board.stop();
            shared.env.cancellation.cancel();
        }
    };
    if let [only] = stages {
        run(only, 1);
    } else {
        std::thread::scope(|scope| {
            for (stage, first) in stages.iter().zip(first_steps) {
                let run = &run;
                scope.spawn(move || run(stage, first));
            }
        });
    }
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(std::mem::take(&mut shared.board.lock().results)),
    }
}

/// Stops the others when a stage's thread panics.
struct StopOnPanic<'a, 'b>(&'a Shared<'b>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.board.stop();
            self.0.env.cancellation.cancel();
        }
    }
}

/// The results of stages, as they come.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BoardState {
    results: BTreeMap<StageId, Arc<StageResult>>,
    stopped: bool,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, id: StageId, result: StageResult) {
        self.lock().results.insert(id, Arc::new(result));
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// The result of the stage `id`; `waits` is called if it is not there yet.
    pub(super) fn wait(
        &self,
        id: StageId,
        waits: impl FnOnce(),
    ) -> Result<Arc<StageResult>, BuildError> {
        let mut waits = Some(waits);
        let mut state = self.lock();
        loop {
            if let Some(result) = state.results.get(&id) {
                return Ok(Arc::clone(result));
            }
            if state.stopped {
                return Err(BuildError::Interrupted);
            }
            if let Some(waits) = waits.take() {
                drop(state);
                waits();
                state = self.lock();
                continue;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Turns to run a step.
#[derive(Debug)]
pub(super) struct Jobs {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A turn; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Jobs);

impl Jobs {
    /// So many at a time; 0 for no limit.
    pub(super) fn new(number: usize) -> Self {
        let free = if number == 0 { usize::MAX } else { number };
        Self { free: Mutex::new(free), changed: Condvar::new() }
    }

    /// Waits for a turn; `waits` is called if there is none free.
    pub(super) fn take(&self, env: &Env, waits: impl FnOnce()) -> Result<Turn<'_>, BuildError> {
        let mut waits = Some(waits);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            env.check_cancelled()?;
            if let Some(waits) = waits.take() {
                waits();
            }
            let woken = self.changed.wait_timeout(free, PATIENCE);
            free = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_add(1);
        self.0.changed.notify_one();
    }
}

/// One thread at a time for each key: what the first does, the next finds done.
#[derive(Debug)]
pub(super) struct Once<K> {
    busy: Mutex<BTreeSet<K>>,
    changed: Condvar,
}

impl<K> Default for Once<K> {
    fn default() -> Self {
        Self { busy: Mutex::default(), changed: Condvar::new() }
    }
}

/// The right to a key.
#[derive(Debug)]
pub(super) struct Held<'a, K: Ord> {
    once: &'a Once<K>,
    key: Option<K>,
}

impl<K: Ord + Clone> Once<K> {
    /// Waits until no other thread has the key.
    pub(super) fn hold(&self, key: &K, env: &Env) -> Result<Held<'_, K>, BuildError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(key.clone()) {
            env.check_cancelled()?;
            let woken = self.changed.wait_timeout(busy, PATIENCE);
            busy = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(Held { once: self, key: Some(key.clone()) })
    }
}

impl<K: Ord> Drop for Held<'_, K> {
    fn drop(&mut self) {
        let mut busy = self.once.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.key.take() {
            busy.remove(&key);
        }
        self.once.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_waited_for_and_a_stop_ends_the_waiting() {
        let board = Board::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let waits = || board.stop();
                board.wait(StageId(1), waits).map(|_| ())
            });
            assert!(matches!(waiting.join().unwrap(), Err(BuildError::Interrupted)));
        });
    }
}
