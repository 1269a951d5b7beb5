//! The threads and the memory that all layers being written at once share.
//!
//! As many blocks as there is room for are on their way; who has another one
//! waits. A block that has room is compressed, and written in its turn, without
//! waiting for any other room, so however many layers share a pool, none stops.
//! Threads are started when there is the first block for them.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Compression;
use super::compress::Compressor;

/// Threads that compress, shared by clones.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

#[derive(Debug)]
struct Shared {
    threads: usize,
    state: Mutex<State>,
    /// There is a job, or the end.
    job: Condvar,
    /// There is room for a block.
    room: Condvar,
    /// For layers of less than a block, compressed by who writes them.
    spare: Mutex<Compressor>,
    memory: Memory,
}

/// A block's way from the queue to the file.
pub(super) type Job = Box<dyn FnOnce(&mut Compressor, &Memory) + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: Vec<JoinHandle<()>>,
    idle: usize,
    /// How many blocks more may be on their way.
    room: usize,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (jobs, workers) = (self.jobs.len(), self.workers.len());
        f.debug_struct("State")
            .field("jobs", &jobs)
            .field("workers", &workers)
            .finish_non_exhaustive()
    }
}

/// Memory of blocks that are done, for the next ones: large pieces that come and go cost
/// the kernel as much as storing what is in them.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    blocks: Vec<Vec<u8>>,
    results: Vec<Vec<u8>>,
}

/// Ends the threads with the last clone.
#[derive(Debug)]
struct End(Arc<Shared>);

/// Room for one block, until it is dropped.
#[derive(Debug)]
pub(super) struct Room(Arc<Shared>);

impl Pool {
    /// At most `threads` threads (at least one).
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        // One in work for each thread, one that each finds when it is done with that, and
        // some whose turn to be written has not come.
        let room = threads + threads.div_ceil(2) + 2;
        let shared = Arc::new(Shared {
            threads,
            state: Mutex::new(State { room, ..State::default() }),
            job: Condvar::new(),
            room: Condvar::new(),
            spare: Mutex::default(),
            memory: Memory::default(),
        });
        Self { _end: Arc::new(End(Arc::clone(&shared))), shared }
    }

    /// Waits until there is room for one more block.
    pub(super) fn wait_for_room(&self) -> Room {
        let state = self.shared.lock();
        let wait = self.shared.room.wait_while(state, |state| state.room == 0);
        wait.unwrap_or_else(PoisonError::into_inner).room -= 1;
        Room(Arc::clone(&self.shared))
    }

    /// Has `job` done by a thread, or, where none can be started, at once.
    pub(super) fn submit(&self, job: Job) {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.workers.len() < self.shared.threads {
            let shared = Arc::clone(&self.shared);
            let name = "compress".to_owned();
            match std::thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(worker) => state.workers.push(worker),
                Err(_) if state.workers.is_empty() => {
                    let job = state.jobs.pop_back();
                    drop(state);
                    if let Some(job) = job {
                        job(&mut self.shared.spare(), &self.shared.memory);
                    }
                    return;
                }
                // Those that there are do it.
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.job.notify_one();
    }

    /// Compresses a block at once, on the calling thread.
    pub(super) fn compress_here(
        &self,
        compression: Compression,
        block: &[u8],
    ) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let length = self.shared.spare().compress(compression, block, &mut out)?;
        out.truncate(length);
        Ok(out)
    }

    /// How many threads were started.
    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.shared.lock().workers.len()
    }

    /// For how many blocks there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.shared.lock().room
    }

    /// An empty block.
    pub(super) fn take_block(&self) -> Vec<u8> {
        self.shared.memory.take_block()
    }

    /// Keeps the memory of a block.
    pub(super) fn keep_block(&self, block: Vec<u8>) {
        self.shared.memory.keep_block(block);
    }
}

impl Memory {
    /// An empty block, with the memory of one that is done if there is one.
    pub(super) fn take_block(&self) -> Vec<u8> {
        self.lock().blocks.pop().unwrap_or_default()
    }

    /// A place for a result; what it holds is left over from before.
    pub(super) fn take_result(&self) -> Vec<u8> {
        self.lock().results.pop().unwrap_or_default()
    }

    /// Keeps the memory of a block. No more are kept than were in use at once.
    pub(super) fn keep_block(&self, mut block: Vec<u8>) {
        block.clear();
        self.lock().blocks.push(block);
    }

    /// Keeps the memory of a result.
    pub(super) fn keep_result(&self, result: Vec<u8>) {
        self.lock().results.push(result);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Compressor> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut compressor = Compressor::default();
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // What a panic leaves undone is seen by who waits for it.
                if catch_unwind(AssertUnwindSafe(|| job(&mut compressor, &self.memory))).is_err() {
                    compressor = Compressor::default();
                }
                state = self.lock();
            } else if state.closed {
                return;
            } else {
                state.idle += 1;
                state = self.job.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.lock().room += 1;
        self.0.room.notify_one();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let workers = std::mem::take(&mut state.workers);
        drop(state);
        self.0.job.notify_all();
        for worker in workers {
            let _ = worker.join();
        }
    }
}
