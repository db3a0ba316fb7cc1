use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

/// Creates a directory and those above it, with the permissions that they inherit.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Options for a file, which inherits its permissions.
pub(crate) fn private() -> OpenOptions {
    OpenOptions::new()
}

/// Not known here.
pub(crate) fn disk(_path: &Path) -> Option<(u64, u64)> {
    None
}
