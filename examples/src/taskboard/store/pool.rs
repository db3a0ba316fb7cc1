//! A fixed number of connections, used on threads where blocking is allowed.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;

/// How long a connection waits for another one's lock.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

/// A connection that goes back when it is dropped, also when the query panicked.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn open(path: &Path, size: usize) -> rusqlite::Result<Self> {
        let connections = (0..size).map(|_| connect(path)).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(connections)), permits: Arc::new(Semaphore::new(size)) })
    }

    /// Waits for a connection. Cancel safe: a cancelled wait holds none.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(StoreError::lost)?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lease { connection, idle: Arc::clone(&self.idle), _permit: permit })
    }
}

impl Lease {
    pub(super) fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or_else(|| StoreError::lost("there are fewer connections than permits"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The permit goes after this: fields are dropped later than `drop` runs.
        if let Some(connection) = self.connection.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // Readers and the writer do not wait for each other; a crash of the machine may cost the last commits, no more.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}
