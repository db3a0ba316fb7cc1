//! What differs between operating systems.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use self::unix::{identity, is_bad_descriptor, make_directory, open_to_append, stdout};

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
pub(crate) use self::other::{identity, is_bad_descriptor, make_directory, open_to_append, stdout};

/// What a file keeps when it is renamed: its device and its number there.
pub(crate) type Identity = (u64, u64);
