use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::access::FileAccess;

/// Lets one process at a time write into a log directory, by an advisory lock on the directory.
///
/// It is held for one write or rename. No line depends on it: a process that does not get it in time, because another one
/// was stopped while it held the lock, continues without it. Then a line may be written to a file that was just closed.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    directory: Option<File>,
    /// Set after a wait that timed out, and where locks are not supported.
    skip_until: Option<Instant>,
    /// How long another process may write.
    timeout: Duration,
    /// How long the lock is not tried after that.
    pause: Duration,
}

/// How soon the lock is tried again: a write takes this long, more or less. All pauses together are the timeout.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LAST_PAUSE: Duration = Duration::from_millis(2);

impl DirectoryLock {
    pub(super) fn open(directory: &Path, access: FileAccess) -> Self {
        let FileAccess { lock_timeout: timeout, lock_pause: pause, .. } = access;
        Self { directory: File::open(directory).ok(), skip_until: None, timeout, pause }
    }

    /// Waits for the lock, at most for the timeout. [`release`](Self::release) gives it back.
    pub(super) fn acquire(&mut self) {
        let Some(directory) = &self.directory else { return };
        if self.skip_until.is_some_and(|until| clock::now() < until) {
            return;
        }
        self.skip_until = None;
        let mut pause = FIRST_PAUSE;
        let mut waited = Duration::ZERO;
        loop {
            match directory.try_lock() {
                Ok(()) => return,
                Err(TryLockError::WouldBlock) if waited < self.timeout => {
                    thread::sleep(pause);
                    waited = waited.saturating_add(pause);
                    pause = pause.saturating_mul(2).min(LAST_PAUSE);
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {
                    self.skip_until = clock::now().checked_add(self.pause);
                    return;
                }
            }
        }
    }

    pub(super) fn release(&self) {
        if let Some(directory) = &self.directory {
            // Fails where it was not acquired.
            let _not_held = directory.unlock();
        }
    }
}
