use std::{
    cell::Cell,
    panic::{self, PanicHookInfo},
    sync::Once,
    time::Duration,
};

use sentry_core::{
    Hub, Level,
    protocol::{Event, Exception, Stacktrace},
};

use crate::{event, link, pipeline};

/// Longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

/// What there is to wait for when a panic ends the process.
const ABORTING: Duration = Duration::from_secs(2);

thread_local! {
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// What a panic said, and the stack it came from: addresses, without names yet.
#[derive(Debug)]
pub(crate) struct Panicked {
    message: String,
    /// `src/main.rs:12`.
    pub(crate) location: Option<String>,
    stacktrace: Option<Stacktrace>,
}

impl Panicked {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let message = steeple_core::text::panic_message(info);
        let message = steeple_core::text::cut(message, MAX_MESSAGE).to_owned();
        let location = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
        Self { message, location, stacktrace: pipeline::capture_stack() }
    }

    pub(crate) fn into_exception(self) -> Exception {
        Exception {
            ty: "panic".to_owned(),
            value: Some(self.message),
            stacktrace: self.stacktrace,
            mechanism: Some(event::mechanism("panic", false)),
            ..Exception::default()
        }
    }
}

/// Sees panics: those of an exchange wait for its end, all others become events at once. The hook that was set before still runs.
///
/// Takes microseconds: the stack is kept as addresses, which the sending thread names. Installed once per process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A panic of what the hook calls, or of the thread that sends, must not come back here for ever.
            let inside = IN_HOOK.try_with(|flag| flag.replace(true)).unwrap_or(true);
            if !inside {
                if !pipeline::on_worker_thread() {
                    see(info);
                }
                let _ending = IN_HOOK.try_with(|flag| flag.set(false));
            }
            before(info);
        }));
    });
}

fn see(info: &PanicHookInfo<'_>) {
    let unwinds = cfg!(panic = "unwind");
    if let Some(link) = link::current_watched()
        && unwinds
    {
        link.saw_panic(Panicked::of(info));
        return;
    }
    let hub = Hub::current();
    let Some(client) = hub.client().filter(|client| client.is_enabled()) else { return };
    let panicked = Panicked::of(info);
    let kind = panicked.location.clone().map_or_else(|| "panic".to_owned(), |place| format!("panic at {place}"));
    hub.capture_event(Event {
        level: Level::Fatal,
        fingerprint: vec!["panic".into(), kind.into()].into(),
        exception: vec![panicked.into_exception()].into(),
        ..Event::default()
    });
    if !unwinds {
        // Nothing runs after this hook but the end of the process.
        client.flush(Some(ABORTING));
    }
}
