//! The key by which a user's events are found again. It never leaves the directory of the events.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// The name of the file.
const FILE: &str = "key";

/// Reads the key, or makes one. Processes that start at once agree on one.
pub(crate) fn key(directory: &Path) -> io::Result<[u8; 32]> {
    let path = directory.join(FILE);
    if !path.exists() {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let draft = directory.join(format!("key.{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(&key)?;
        file.sync_all()?;
        // Unlike a rename, this leaves one alone that another process has made.
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let bytes = fs::read(&path)?;
    bytes
        .try_into()
        .map_err(|_other| io::Error::new(io::ErrorKind::InvalidData, "the key's file does not hold 32 bytes"))
}
