//! What differs between operating systems.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use self::unix::{identity, make_directory, open_to_append};

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
pub(crate) use self::other::{identity, make_directory, open_to_append};

/// What a file keeps when it is renamed: its device and its number there.
pub(crate) type Identity = (u64, u64);
