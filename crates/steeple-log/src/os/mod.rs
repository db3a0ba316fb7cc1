//! What differs between operating systems. `--cfg steeple_os_other` builds what runs elsewhere on this one, for its tests.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

#[cfg(all(target_os = "linux", not(steeple_os_other)))]
mod linux;
#[cfg(all(unix, not(steeple_os_other)))]
mod unix;
#[cfg(all(unix, not(steeple_os_other)))]
pub(crate) use self::unix::{identity, is_bad_descriptor, make_directory, open_to_append, stdout, write_to_stderr};

#[cfg(any(not(unix), steeple_os_other))]
mod other;
#[cfg(any(not(unix), steeple_os_other))]
pub(crate) use self::other::{identity, is_bad_descriptor, make_directory, open_to_append, stdout, write_to_stderr};

/// What a file keeps when it is renamed: its device and its number there.
pub(crate) type Identity = (u64, u64);

/// Writes on another thread, of which there is one at most. While that one hangs, texts are refused at once. The caller waits
/// for it no longer than `timeout`: the process may be about to end.
fn write_beside(mut writer: impl io::Write + Send + 'static, text: &[u8], timeout: Duration) -> io::Result<()> {
    static BUSY: AtomicBool = AtomicBool::new(false);

    struct Idle;

    impl Drop for Idle {
        fn drop(&mut self) {
            BUSY.store(false, Ordering::Release);
        }
    }

    if BUSY.swap(true, Ordering::Acquire) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let idle = Idle;
    let text = text.to_vec();
    let (done, written) = mpsc::sync_channel(1);
    thread::Builder::new().name("log stderr".to_owned()).spawn(move || {
        let _idle = idle;
        let _nobody_waits = done.send(writer.write_all(&text));
    })?;
    written.recv_timeout(timeout).unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(10);

    /// Hangs until its sender is dropped.
    struct Hung(mpsc::Receiver<()>);

    impl io::Write for Hung {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_hangs_is_waited_for_once_and_refused_until_it_is_free() {
        let (free, hung) = mpsc::sync_channel(0);
        let blocked = |result: io::Result<()>| result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(blocked(write_beside(Hung(hung), b"first", TIMEOUT)));
        for _ in 0..1_000 {
            assert!(blocked(write_beside(io::sink(), b"refused", TIMEOUT)));
        }
        drop(free);
        while blocked(write_beside(io::sink(), b"free", TIMEOUT)) {
            thread::yield_now();
        }
    }
}
