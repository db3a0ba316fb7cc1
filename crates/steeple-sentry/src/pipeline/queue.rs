use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Job;

/// A bounded queue whose emptying can be waited for.
pub(super) struct Queue {
    capacity: usize,
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// Something is done.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// How many came in, and how many of these are over.
    taken_in: u64,
    over: u64,
    stopped: bool,
}

/// What the thread does next.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack of one thread, for a moment")]
pub(super) enum Next {
    Job(Job),
    /// The time that was waited for has come.
    Time,
    Stop,
}

impl Queue {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            capacity: capacity.get(),
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    /// Takes a job in, or hands it back when there is no room or nobody to do it.
    #[expect(clippy::result_large_err, reason = "the job itself, which the caller counts")]
    pub(super) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.stopped || state.jobs.len() >= self.capacity {
            return Err(job);
        }
        state.jobs.push_back(job);
        state.taken_in = state.taken_in.saturating_add(1);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for something to do, at the longest until a time.
    pub(super) fn next(&self, until: Option<Instant>) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Next::Job(job);
            }
            if state.stopped {
                return Next::Stop;
            }
            let Some(until) = until else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(steeple_core::clock::now());
            if left.is_zero() {
                return Next::Time;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The job that was taken last is over.
    pub(super) fn done(&self) {
        let mut state = self.lock();
        state.over = state.over.saturating_add(1);
        drop(state);
        self.drained.notify_all();
    }

    /// Waits until everything that was in the queue at this call is over. `false`: time ran out before.
    pub(super) fn drain(&self, timeout: Duration) -> bool {
        let state = self.lock();
        let target = state.taken_in;
        let waited =
            self.drained.wait_timeout_while(state, timeout, |state| state.over < target && !state.lost_its_worker());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.over >= target
    }

    /// Takes nothing more in. What is in the queue is still done.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.work.notify_all();
        self.drained.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Stopped with nothing left to do: the thread is gone or was never there.
    fn lost_its_worker(&self) -> bool {
        self.stopped && self.jobs.is_empty() && self.taken_in == self.over
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use sentry_core::Envelope;

    use super::*;

    fn job() -> Job {
        Job { envelope: Envelope::new(), user_is_approved: false }
    }

    fn queue(capacity: usize) -> Queue {
        Queue::new(NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn a_full_queue_hands_back_and_never_waits() {
        let queue = queue(2);
        assert!(queue.push(job()).is_ok() && queue.push(job()).is_ok());
        assert!(queue.push(job()).is_err());
    }

    #[test]
    fn draining_ends_at_its_deadline_when_nobody_works() {
        let queue = queue(2);
        assert!(queue.drain(Duration::from_secs(5)), "nothing to wait for");
        assert!(queue.push(job()).is_ok());
        assert!(!queue.drain(Duration::from_millis(20)));
    }

    #[test]
    fn draining_waits_for_what_was_there_and_stopping_does_the_rest_first() {
        let queue = Arc::new(queue(100));
        for _ in 0..50 {
            assert!(queue.push(job()).is_ok());
        }
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut done = 0;
                loop {
                    match queue.next(None) {
                        Next::Job(_) => {
                            done += 1;
                            queue.done();
                        }
                        Next::Time => panic!("nobody waits for a time"),
                        Next::Stop => return done,
                    }
                }
            })
        };
        assert!(queue.drain(Duration::from_secs(30)));
        assert!(queue.push(job()).is_ok());
        queue.stop();
        assert!(queue.push(job()).is_err(), "stopped");
        assert_eq!(worker.join().unwrap(), 51);
    }
}
