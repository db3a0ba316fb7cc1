//! The store, and what all sinks need of it.

use std::{fmt, sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use steeple_export::store::spool::Spool;
use steeple_scrub::Scrubber;

/// The store, and what all sinks need of it.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) spool: Spool,
    key: Arc<[u8; 32]>,
    /// After a failure that is not the row's, it is read again so much later.
    pub(crate) retry_after: Duration,
    /// How many events a second of a backlog each sink gets.
    pub(crate) replay_rate: u32,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("spool", &self.spool).finish_non_exhaustive()
    }
}

impl Outbox {
    pub(crate) fn new(spool: Spool, key: [u8; 32], retry_after: Duration, replay_rate: u32) -> Self {
        Self { spool, key: Arc::new(key), retry_after, replay_rate }
    }

    /// What a user's events are found by: no user can be read from it.
    pub(crate) fn key_of(&self, user: &str) -> Box<[u8]> {
        keyed(&self.key, user)
    }
}

/// What makes a row of an event, on the thread that writes.
#[derive(Debug)]
pub(crate) struct Storing {
    pub(crate) outbox: Outbox,
    pub(crate) scrubber: Scrubber,
}

/// What a user's rows are found by in the stores of a directory, for tools: `user` is the id that the application sets.
///
/// # Errors
/// When the directory's key cannot be read.
pub fn erase_key(directory: &std::path::Path, user: &str) -> std::io::Result<Box<[u8]>> {
    Ok(keyed(&crate::secret::key(directory)?, user))
}

/// HMAC-SHA-256, the first half of it.
fn keyed(key: &[u8; 32], user: &str) -> Box<[u8]> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Box::default() };
    mac.update(user.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().take(16).copied().collect()
}
