use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Creates a directory that other users cannot read, and those above it.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A directory of another user, such as a volume's, stays as it is; the files in it are private.
    let _of_another = std::fs::set_permissions(path, Permissions::from_mode(0o700));
    Ok(())
}

/// Options for a file that other users cannot read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Used bytes and size of the file system that holds a path, as `df` shows them.
pub(crate) fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let used = stat.f_blocks.checked_sub(stat.f_bfree)?;
    Some((used.checked_mul(stat.f_frsize)?, used.checked_add(stat.f_bavail)?.checked_mul(stat.f_frsize)?))
}
