use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
    time::Duration,
};

use super::Identity;
use crate::sink::FileAccess;

/// Opens a log file for reading and appending, and creates it with `create`.
pub(crate) fn open_to_append(path: &Path, create: bool, access: FileAccess) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(create).mode(access.file_mode);
    if !access.follow_links {
        options.custom_flags(libc::O_NOFOLLOW);
    }
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if !access.follow_links => io::Error::new(
            error.kind(),
            format!("{} is a symbolic link, which is not followed ({error})", path.display()),
        ),
        _ => error,
    })?;
    if !access.follow_links && !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display())));
    }
    Ok(file)
}

/// Creates a directory and those above it.
pub(crate) fn make_directory(path: &Path, access: FileAccess) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(access.directory_mode).create(path)
}

#[expect(clippy::unnecessary_wraps, reason = "other systems have no identity")]
pub(crate) fn identity(metadata: &Metadata) -> Option<Identity> {
    Some((metadata.dev(), metadata.ino()))
}

/// Whether a descriptor is closed, or not open for writing.
pub(crate) fn is_bad_descriptor(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// Standard output without the buffer and the lock that `println!` uses, and without std's habit of taking a closed one for
/// one that has written everything.
pub(crate) fn stdout() -> Box<dyn io::Write + Send> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_closed) => Box::new(io::stdout()),
    }
}

/// Writes to standard error without waiting for its reader. A text of at most 4,096 bytes is written whole or not at
/// all where that is a pipe.
pub(crate) fn write_to_stderr(text: &[u8], timeout: Duration) -> io::Result<()> {
    let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    if stderr.metadata()?.is_file() {
        // A disk answers. Opened anew, the text would not be written behind that of others.
        return io::Write::write_all(&mut stderr, text);
    }
    #[cfg(target_os = "linux")]
    if let Some(written) = super::linux::write_to_stderr(text) {
        return match written {
            Ok(bytes) if bytes == text.len() => Ok(()),
            Ok(_part) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
    }
    super::write_beside(stderr, text, timeout)
}
