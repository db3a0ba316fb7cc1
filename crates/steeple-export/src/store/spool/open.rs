use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use super::{Handle, Spool, SpoolBuilder, inbox::Shared, place::Place, writer::Writer};
use crate::runtime;

impl SpoolBuilder {
    /// Opens the store, and starts its thread. A directory that a process left that has ended is taken over.
    ///
    /// # Errors
    /// When the directory cannot be used: it is on a file system over a network, it is not writable, the disk is full.
    pub fn open(self) -> Result<Spool, OpenError> {
        let place = Place::claim(&self.directory).map_err(|error| OpenError::new(&self.directory, Box::new(error)))?;
        let shared = Arc::new(Shared::new(self.queue));
        let root = self.directory.clone();
        let writer = Writer::open(root, place, (self.limits, self.timing), Arc::clone(&shared))
            .map_err(|error| OpenError::new(&self.directory, Box::new(error)))?;
        thread::Builder::new()
            .name("steeple-spool".to_owned())
            .spawn(move || runtime::as_export_thread(move || writer.run()))
            .map_err(|error| OpenError::new(&self.directory, Box::new(error)))?;
        Ok(Spool(Arc::new(Handle { shared })))
    }
}

/// A store that cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    directory: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl OpenError {
    pub(super) fn new(directory: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self { directory: directory.to_owned(), source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot keep a store in `{}`", self.directory.display())
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
