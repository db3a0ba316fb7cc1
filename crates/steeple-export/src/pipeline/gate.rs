//! When a sink may be tried: backoff, `Retry-After`, and one probe at a time while it fails.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use steeple_core::clock;
use tokio::sync::Notify;

use super::queue::Queue;
use crate::Retry;

pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    failures: u32,
    until: Option<Instant>,
    /// The receiver named this time: neither a flush nor another request's answer shortens it.
    asked_until: Option<Instant>,
    is_probed: bool,
    /// The last flush that shortened a wait.
    hurried: u64,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Go,
    /// The shutdown's time is up, or the sink is off.
    Stop,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the sink may be tried.
    pub(crate) async fn pass<T>(&self, queue: &Queue<T>) -> Pass {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            let mut hurry = std::pin::pin!(queue.hurry.notified());
            changed.as_mut().enable();
            hurry.as_mut().enable();
            let (flushes, close_by) = queue.flushes();
            let now = clock::now();
            if close_by.is_some_and(|by| by <= now) || queue.is_disabled() {
                return Pass::Stop;
            }
            let Look::Wait(until) = self.lock().look(now, flushes) else { return Pass::Go };
            let until = match (until, close_by) {
                (Some(until), Some(by)) => Some(until.min(by)),
                (until, by) => until.or(by),
            };
            let change = std::future::poll_fn(|context| {
                let (changed, hurry) = (changed.as_mut().poll(context), hurry.as_mut().poll(context));
                if changed.is_ready() || hurry.is_ready() { Poll::Ready(()) } else { Poll::Pending }
            });
            match until {
                Some(until) => {
                    let _either = tokio::time::timeout_at(until.into(), change).await;
                }
                None => change.await,
            }
        }
    }

    /// The receiver took a batch, or answered at all.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        let was_closed = state.failures > 0;
        let asked_until = state.asked_until.filter(|until| *until > clock::now());
        // An answer to a request of before does not take back what the receiver has asked for.
        let (failures, hurried) = (u32::from(asked_until.is_some()), state.hurried);
        *state = State { failures, until: asked_until, asked_until, hurried, ..State::default() };
        let is_open = state.failures == 0;
        drop(state);
        if was_closed && is_open {
            self.changed.notify_waiters();
        }
    }

    /// The receiver did not answer, or asked for time.
    pub(crate) fn close(&self, retry: &Retry, after: Option<Duration>) {
        let mut state = self.lock();
        // Requests that were under way together fail together: that is one failure.
        if state.failures == 0 || state.is_probed {
            state.failures = state.failures.saturating_add(1);
        }
        let own = retry.delay(state.failures);
        let asked = after.map(|after| after.min(retry.max_retry_after));
        let now = clock::now();
        let asked_until = asked.filter(|asked| !asked.is_zero()).and_then(|asked| now.checked_add(asked));
        state.asked_until = state.asked_until.filter(|until| *until > now).max(asked_until);
        state.until = now.checked_add(own).max(state.asked_until);
        state.is_probed = false;
        drop(state);
        self.changed.notify_waiters();
    }

    /// An attempt ended without an answer of any kind.
    pub(crate) fn give_back(&self) {
        self.lock().is_probed = false;
        self.changed.notify_waiters();
    }
}

enum Look {
    Go,
    /// Until then, or until something changes.
    Wait(Option<Instant>),
}

impl State {
    fn look(&mut self, now: Instant, flushes: u64) -> Look {
        if self.failures == 0 {
            return Look::Go;
        }
        let is_early = self.until.is_some_and(|until| until > now);
        let hurries = flushes > self.hurried && self.asked_until.is_none_or(|until| until <= now);
        if is_early && !hurries {
            return Look::Wait(self.until);
        }
        if self.is_probed {
            return Look::Wait(None);
        }
        self.hurried = self.hurried.max(flushes);
        self.is_probed = true;
        Look::Go
    }
}
