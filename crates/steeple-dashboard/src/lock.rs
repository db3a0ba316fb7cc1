use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic: nothing panics in the middle of a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
