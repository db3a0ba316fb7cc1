use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

/// Writes to the pipe or terminal behind standard error without ever waiting: opened anew, so that not waiting is a setting
/// of this writer alone and not of everybody who has the pipe.
///
/// `None`: it cannot be opened anew, as a socket cannot.
pub(super) fn write_to_stderr(text: &[u8]) -> Option<io::Result<usize>> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let mut stderr: File = options.open("/proc/self/fd/2").ok()?;
    Some(stderr.write(text))
}
