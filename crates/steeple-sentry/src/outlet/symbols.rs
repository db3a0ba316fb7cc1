//! Turns the addresses of a stack into names, away from the request's thread.

use std::{ffi::c_void, ptr::without_provenance_mut};

use sentry_core::{
    ClientOptions,
    protocol::{Addr, Event, Frame, Stacktrace},
};

/// A stack deeper than this is cut at its oldest end.
const MAX_FRAMES: usize = 256;

/// The calling thread's stack as addresses, the oldest call first, without names. Microseconds.
pub(crate) fn capture() -> Option<Stacktrace> {
    let mut frames = Vec::with_capacity(64);
    backtrace::trace(|frame| {
        frames.push(Frame { instruction_addr: Some(Addr::from(frame.ip())), ..Frame::default() });
        frames.len() < MAX_FRAMES
    });
    Stacktrace::from_frames_reversed(frames)
}

/// Reads the debug information of this program, which the first look-up would do.
pub(super) fn warm_up() {
    let mut seen = false;
    let here = (warm_up as fn() as *const ()).addr();
    backtrace::resolve(without_provenance_mut(here), |_| seen = true);
}

/// Names the frames of an event that are nothing but addresses, and marks those of the application.
pub(super) fn resolve_event(event: &mut Event<'_>, options: &ClientOptions) {
    let exceptions = event.exception.values.iter_mut().filter_map(|exception| exception.stacktrace.as_mut());
    let threads = event.threads.values.iter_mut().filter_map(|thread| thread.stacktrace.as_mut());
    for stacktrace in exceptions.chain(threads).chain(event.stacktrace.as_mut()) {
        if resolve(stacktrace) {
            sentry_backtrace::process_event_stacktrace(stacktrace, options);
        }
    }
}

/// Whether there was anything to name.
fn resolve(stacktrace: &mut Stacktrace) -> bool {
    let bare = |frame: &Frame| frame.function.is_none() && frame.instruction_addr.is_some();
    if !stacktrace.frames.iter().any(bare) {
        return false;
    }
    let mut named = Vec::with_capacity(stacktrace.frames.len().saturating_mul(2));
    for frame in stacktrace.frames.drain(..) {
        match frame.instruction_addr {
            Some(address) if frame.function.is_none() => name(address, &mut named),
            _ => named.push(frame),
        }
    }
    // What panics go through is on every one of them: the newest frames up to the call that panicked.
    if let Some(call) = named.iter().rposition(is_panic_entry) {
        named.truncate(call);
    }
    stacktrace.frames = named;
    true
}

/// One frame for each function that was inlined at an address, the oldest call first.
fn name(address: Addr, out: &mut Vec<Frame>) {
    let first = out.len();
    let Ok(pointer) = usize::try_from(address.0) else { return };
    backtrace::resolve(without_provenance_mut::<c_void>(pointer), |symbol| {
        let path = symbol.filename().map(|path| path.to_string_lossy().into_owned());
        out.push(Frame {
            // `{:#}` leaves the hash at the end out.
            function: symbol.name().map(|name| cut(format!("{name:#}"))),
            filename: path.as_deref().and_then(|path| path.rsplit(['/', '\\']).next()).map(str::to_owned),
            abs_path: path,
            lineno: symbol.lineno().map(u64::from),
            colno: symbol.colno().map(u64::from),
            instruction_addr: Some(address),
            ..Frame::default()
        });
    });
    if out.len() == first {
        out.push(Frame { function: Some("<unknown>".to_owned()), instruction_addr: Some(address), ..Frame::default() });
    }
    if let Some(inlined) = out.get_mut(first..) {
        inlined.reverse();
    }
}

/// Longer names are cut by the server, which marks them on the event.
fn cut(mut name: String) -> String {
    const MAX: usize = 500;
    name.truncate(steeple_core::text::cut(&name, MAX).len());
    name
}

fn is_panic_entry(frame: &Frame) -> bool {
    const ENTRIES: [&str; 4] = [
        "rust_begin_unwind",
        "std::panicking::begin_panic",
        "std::panicking::panic_handler",
        "__rustc::rust_begin_unwind",
    ];
    let Some(function) = &frame.function else { return false };
    ENTRIES.iter().any(|entry| function.starts_with(entry))
        || function.starts_with("std::panicking::begin_panic_handler")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_to_be_found() -> Option<Stacktrace> {
        std::hint::black_box(capture())
    }

    #[test]
    fn addresses_become_names_with_the_newest_call_last() {
        let mut stacktrace = a_function_to_be_found().unwrap();
        assert!(stacktrace.frames.iter().all(|frame| frame.function.is_none()), "nothing is looked up while capturing");
        assert!(resolve(&mut stacktrace));
        let names: Vec<_> = stacktrace.frames.iter().filter_map(|frame| frame.function.as_deref()).collect();
        let place = names
            .iter()
            .rposition(|name| name.ends_with("a_function_to_be_found"))
            .expect("the caller is on the stack");
        let test = names.iter().position(|name| name.contains("addresses_become_names")).expect("and so is its caller");
        assert!(test < place, "{names:#?}");
        let frame = &stacktrace.frames[place];
        assert_eq!(frame.filename.as_deref(), Some("symbols.rs"));
        assert!(frame.lineno.is_some());
        assert!(!resolve(&mut stacktrace), "what has names is left alone");
    }
}
