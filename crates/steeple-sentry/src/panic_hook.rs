use std::{
    cell::Cell,
    panic::{self, PanicHookInfo},
    sync::Once,
};

use sentry_core::{Hub, Level, protocol::Event};

use crate::{bound, panicked::Panicked};

thread_local! {
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Sees panics: those of an exchange wait for its end, all others become events at once. The hook that was set before still runs.
///
/// Takes microseconds: the stack is kept as addresses, which the sending thread names. Installed once per process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A panic of what the hook calls, or of a thread that sends, must not come back here for ever.
            let inside = IN_HOOK.try_with(|flag| flag.replace(true)).unwrap_or(true);
            if !inside {
                if !steeple_export::on_export_thread() {
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
    if let Some(link) = bound::current_watched()
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
        // Nothing runs after this hook but the end of the process. Waits for as long as the SDK's `shutdown_timeout`: 2 s.
        client.flush(None);
    }
}
