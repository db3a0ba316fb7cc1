use std::{
    cell::Cell,
    fmt,
    panic::{self, Location, PanicHookInfo},
    sync::{Arc, Mutex, Once, PoisonError},
};

use crate::{Exchange, RecordedError};

/// Records the message of a panic on the exchange that is being polled. The hook that was installed before is still
/// called, unless a [reporter](report_panics) takes its place.
///
/// Without it a panicked exchange still ends as `panicked`, without a message. Installed once per process, however often
/// this is called.
pub fn record_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A panic within the hook aborts the process; this guards against hooks that call each other.
            let Some(_guard) = InHook::enter() else { return };
            let exchange = Exchange::current();
            let panic = PanicReport { info, exchange: exchange.as_ref() };
            if let Some(exchange) = panic.exchange {
                let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
                exchange.record(RecordedError::from_message("panic", format_args!("{}{place}", panic.message())));
            }
            match reporter() {
                Some(report) => report(&panic),
                None => before(info),
            }
        }));
    });
}

/// Reports panics in place of the hook that was installed before, which prints them to standard error by default: every
/// panic of the process, within exchanges and outside. Calls [`record_panics`]. The last reporter counts.
///
/// `report` is called within the panic hook, so it must not panic, which would abort the process, nor wait.
pub fn report_panics(report: impl Fn(&PanicReport<'_>) + Send + Sync + 'static) {
    *REPORTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(report));
    record_panics();
}

/// Leaves the reporting of panics to the hook that was installed before [`record_panics`] or [`report_panics`].
pub fn forward_panics() {
    *REPORTER.lock().unwrap_or_else(PoisonError::into_inner) = None;
    record_panics();
}

type Report = dyn Fn(&PanicReport<'_>) + Send + Sync;

static REPORTER: Mutex<Option<Arc<Report>>> = Mutex::new(None);

fn reporter() -> Option<Arc<Report>> {
    REPORTER.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A panic, while its hook runs.
#[derive(Clone, Copy)]
pub struct PanicReport<'a> {
    info: &'a PanicHookInfo<'a>,
    exchange: Option<&'a Exchange>,
}

impl<'a> PanicReport<'a> {
    /// The message, as the code wrote it: it may hold secrets. A constant where the panic's value is not text.
    pub fn message(&self) -> &'a str {
        crate::text::panic_message(self.info)
    }

    /// Where it happened.
    pub fn location(&self) -> Option<&'a Location<'a>> {
        self.info.location()
    }

    /// The exchange that was being polled on the thread, if it has not ended yet.
    pub fn exchange(&self) -> Option<&'a Exchange> {
        self.exchange.filter(|exchange| !exchange.has_ended())
    }
}

impl fmt::Debug for PanicReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanicReport").field("location", &self.location()).finish_non_exhaustive()
    }
}

thread_local! {
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

struct InHook;

impl InHook {
    fn enter() -> Option<Self> {
        // On a thread that is ending the panic is reported all the same.
        let inside = IN_HOOK.try_with(|flag| flag.replace(true)).unwrap_or(false);
        (!inside).then_some(Self)
    }
}

impl Drop for InHook {
    fn drop(&mut self) {
        let _ending = IN_HOOK.try_with(|flag| flag.set(false));
    }
}
