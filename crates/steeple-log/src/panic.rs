//! Panics, in the log instead of on standard error.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use steeple_core::{PanicReport, clock};
use steeple_scrub::{Scrubbed, Scrubber};
use tracing::Level;

use crate::{
    LogHandle,
    encode::{
        Context, Field, Line, Names, Value,
        escape::{clamp, visible},
    },
    os,
};

/// What becomes of panics.
///
/// Wherever a layer watches, a panic's message is on its exchange's own line. This decides about the report besides, with
/// its place and its backtrace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicHook {
    /// The log reports panics, without secrets. The default where Steeple sets up the log.
    ///
    /// - Within an exchange: an `error` line with the target `steeple::panic`, through the queues of the outputs.
    /// - Outside of exchanges, once the log is closed, and with `panic = "abort"`: at once to standard error, which is never
    ///   waited for; at most 4,096 bytes, counted as dropped where standard error has no room.
    ///
    /// The backtrace is in it if `RUST_BACKTRACE` (or `RUST_LIB_BACKTRACE`) asks for one. The hook that was installed before
    /// is **not** called: std's hook would write the raw message to standard error, and block while nothing reads that.
    #[default]
    Log,
    /// The hook that was installed before reports panics: std's, unless the process has another.
    Forward,
}

/// The target of lines about panics.
const PANIC: &str = "steeple::panic";

/// Longest text for standard error, newline included: what a pipe takes whole.
const MAX_STDERR: usize = 4096;

/// Longest message and longest backtrace that are scrubbed: more than is shown, so that a secret is found before it is cut.
const MAX_SCRUBBED: usize = 64 * 1024;

/// Reports of panics that standard error had no room for.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many reports of panics standard error had no room for.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Runs in the panic hook, so it must not panic or block.
pub(crate) fn report(handle: &LogHandle, panic: &PanicReport<'_>) {
    let scrubber = &handle.shared().scrubber;
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = thread::current();
    let thread = thread.name().unwrap_or("<unnamed>");
    let message = clamp(panic.message(), MAX_SCRUBBED);
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    if cfg!(panic = "unwind")
        && !handle.is_closed()
        && let Some(exchange) = panic.exchange()
    {
        let names = Names::of(exchange);
        handle.write_line(&Line {
            at: clock::unix_now(),
            level: Level::ERROR,
            target: Scrubbed::from_static(PANIC),
            message: Line::message(scrubber, &format!("panicked{place}: {message}")),
            context: Some(Context::of(scrubber, exchange, &names)),
            span: None,
            is_access: false,
            fields: vec![
                Field::new(scrubber, "error.type", Value::Text(Cow::Borrowed("panic"))),
                Field::new(scrubber, "thread.name", Value::Text(Cow::Borrowed(thread))),
            ],
            stacktrace: backtrace.map(|text| Line::stacktrace(scrubber, clamp(&text, MAX_SCRUBBED))),
        });
        return;
    }
    let text = for_stderr(scrubber, thread, &place, message, backtrace.as_deref());
    if os::write_to_stderr(text.as_bytes(), handle.shared().stderr_timeout).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// As std writes it, without secrets, and cut.
fn for_stderr(scrubber: &Scrubber, thread: &str, place: &str, message: &str, backtrace: Option<&str>) -> String {
    let line = format!("thread '{thread}' panicked{place}: {message}");
    let mut text = visible(scrubber.text(&line)).into_owned();
    if let Some(backtrace) = backtrace {
        text.push_str("\nstack backtrace:\n");
        text.push_str(&scrubber.text(clamp(backtrace, MAX_SCRUBBED)));
    }
    let cut = clamp(text.trim_end(), MAX_STDERR.saturating_sub(1)).len();
    text.truncate(cut);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_standard_error_is_scrubbed_whole_and_cut_after_that() {
        let scrubber = Scrubber::default();
        let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        for padding in (3_900..4_100).step_by(7) {
            let message = format!("{} {secret}\nforged line", "word ".repeat(padding / 5));
            let text = for_stderr(&scrubber, "main", " at src/main.rs:1:2", &message, Some("  0: main\n  1: start"));
            assert!(text.len() <= MAX_STDERR && text.ends_with('\n'), "{}", text.len());
            assert!(!text.contains("ghp_"), "{text}");
        }
        let text = for_stderr(&scrubber, "main", " at src/main.rs:1:2", "token=hunter2hunter2\nforged", None);
        assert_eq!(text, "thread 'main' panicked at src/main.rs:1:2: token=[redacted:key]\\nforged\n");
    }
}
