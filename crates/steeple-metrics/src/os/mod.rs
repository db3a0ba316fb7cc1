//! What differs between operating systems. `--cfg steeple_os_other` builds what runs elsewhere on this one, for its tests.

#[cfg(any(not(unix), steeple_os_other))]
mod other;
#[cfg(all(unix, not(steeple_os_other)))]
mod unix;

#[cfg(any(not(unix), steeple_os_other))]
pub(crate) use self::other::{disk, make_private_directory, private};
#[cfg(all(unix, not(steeple_os_other)))]
pub(crate) use self::unix::{disk, make_private_directory, private};
