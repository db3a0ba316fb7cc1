use std::sync::{Mutex, mpsc::SyncSender};

use super::FileError;

/// How often the file was read again, and its last error.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    pub(super) asks: Mutex<Option<SyncSender<()>>>,
    pub(super) seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) error: Option<FileError>,
}
