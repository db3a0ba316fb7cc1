use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

use super::Identity;
use crate::sink::FileAccess;

/// Opens a log file for reading and appending, and creates it with `create`.
pub(crate) fn open_to_append(path: &Path, create: bool, access: FileAccess) -> io::Result<File> {
    if !access.follow_links && fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display())));
    }
    OpenOptions::new().read(true).append(true).create(create).open(path)
}

/// Creates a directory and those above it.
pub(crate) fn make_directory(path: &Path, _access: FileAccess) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// The standard library has no stable identity of files here: a file that was moved away goes unnoticed.
pub(crate) fn identity(_metadata: &Metadata) -> Option<Identity> {
    None
}

/// Whether a descriptor is closed, or not open for writing.
pub(crate) fn is_bad_descriptor(_error: &io::Error) -> bool {
    false
}

/// Standard output.
pub(crate) fn stdout() -> Box<dyn io::Write + Send> {
    Box::new(io::stdout())
}

/// Writes to standard error without waiting long for its reader.
pub(crate) fn write_to_stderr(text: &[u8], timeout: Duration) -> io::Result<()> {
    super::write_beside(io::stderr(), text, timeout)
}
