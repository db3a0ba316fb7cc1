//! Where a test may end the process, to see what remains on disk.

/// Ends the process here if a test asks for it: `STEEPLE_SPOOL_ABORT=commit:37` at the 37th time.
#[cfg(any(test, feature = "test-util"))]
pub(super) fn point(name: &str) {
    #[cfg(test)]
    in_test::point(name);
    #[cfg(feature = "test-util")]
    if is_time(name) {
        std::process::abort();
    }
}

/// Ends the process within the next millisecond: inside of what comes now, as likely as not.
#[cfg(feature = "test-util")]
pub(super) fn during(name: &str) {
    if is_time(name) {
        let _never_ends = std::thread::spawn(|| {
            std::thread::sleep(std::time::Duration::from_micros(fastrand::u64(..800)));
            std::process::abort();
        });
    }
}

#[cfg(feature = "test-util")]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn is_time(name: &str) -> bool {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static TIMES: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("STEEPLE_SPOOL_ABORT").ok()?;
        let (name, times) = text.split_once(':')?;
        Some((name.to_owned(), times.parse().ok()?))
    });
    wanted.as_ref().is_some_and(|(wanted, times)| {
        wanted == name && TIMES.fetch_add(1, Ordering::Relaxed).saturating_add(1) == *times
    })
}

#[cfg(not(any(test, feature = "test-util")))]
pub(super) const fn point(_name: &str) {}

#[cfg(not(feature = "test-util"))]
pub(super) const fn during(_name: &str) {}

/// In tests of the module, the end is a panic: what it unwinds is what the end of a process closes.
#[cfg(test)]
pub(super) mod in_test {
    use std::cell::RefCell;

    thread_local! {
        /// The places that count, and how many of them are passed until the end comes.
        static END: RefCell<Option<(&'static [&'static str], u32)>> = const { RefCell::new(None) };
    }

    /// Lets the thread panic at one of these places, when it comes by the next time, for the `times`th time. `None`: nowhere.
    pub(in super::super) fn end_at(end: Option<(&'static [&'static str], u32)>) {
        END.set(end);
    }

    pub(super) fn point(name: &str) {
        let is_now = END.with_borrow_mut(|end| {
            let Some((_, left)) = end.as_mut().filter(|(places, _)| places.contains(&name)) else { return false };
            *left = left.saturating_sub(1);
            *left == 0
        });
        if is_now {
            END.set(None);
            // Not a panic to be reported.
            std::panic::resume_unwind(Box::new(name.to_owned()));
        }
    }
}
