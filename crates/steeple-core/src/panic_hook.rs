use std::{panic, sync::Once};

use crate::{Exchange, RecordedError};

/// Notices the message of a panic on the exchange that is being polled. The hook that was set before still runs.
///
/// Without it a panicked exchange still ends as `panicked`; it just cannot say why. Installed once per process,
/// however often it is called.
pub fn notice_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if let Some(exchange) = Exchange::current() {
                let message = crate::text::panic_message(info);
                let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
                exchange.record(RecordedError::from_message("panic", format_args!("{message}{place}")));
            }
            before(info);
        }));
    });
}
