use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::{
    Context, Key, KeyValue, Value,
    trace::{Span as _, Status},
};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanProcessor},
};
use steeple_core::{Exchange, RoutePolicy, RouteSettings, Signal, clock};
use steeple_export::{Pipeline, Sink};

use super::handover::complete;
use crate::{
    recorded::DROPPED_EVENTS,
    tail::{Hold, Slot},
};

/// On an exchange's own span: true if it did not fail, false if its route has no spans.
///
/// `tracing-opentelemetry` sets the status of a span to failed for each event at `error`, and the SDK does not allow to reset
/// it; nor does it take a span back.
pub(crate) const VERDICT: &str = "steeple.verdict";
/// The exchange that a held span belongs to.
const SLOT: &str = "steeple.slot";

/// Removes an attribute that does not leave this process. Such are set last, or first.
fn take(span: &mut SpanData, name: &'static str) -> Option<Value> {
    let place = span.attributes.iter().rposition(|attribute| attribute.key == Key::from_static_str(name))?;
    Some(span.attributes.remove(place).value)
}

/// The same of one that was set last.
fn take_last(span: &mut SpanData, name: &'static str) -> Option<Value> {
    let last = span.attributes.pop_if(|attribute| attribute.key == Key::from_static_str(name))?;
    Some(last.value)
}

/// The SDK's way into the queue, past the spans that are held.
pub(crate) struct Processor {
    pub(crate) queue: Pipeline<SpanData>,
    pub(crate) hold: Option<Arc<Hold>>,
    pub(crate) routes: Arc<RouteSettings<RoutePolicy>>,
    pub(crate) timeout: Duration,
    /// How many attributes a span may have.
    pub(crate) max_attributes: u32,
}

impl Processor {
    /// Whether a span that ends now belongs to an exchange without spans.
    fn skips_current(&self) -> bool {
        let skips = |exchange: &Exchange| {
            exchange.is_skipped(Signal::Traces)
                || self.routes.of(exchange).is_some_and(|route| route.skips(Signal::Traces))
        };
        Exchange::current().is_some_and(|exchange| skips(&exchange))
    }
}

impl SpanProcessor for Processor {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        if self.hold.is_some()
            && !span.span_context().is_sampled()
            && let Some(slot) = parent.get::<Slot>()
        {
            span.set_attribute(KeyValue::new(SLOT, slot.value()));
        }
    }

    fn on_end(&self, mut span: SpanData) {
        // Whatever is set last, this is set after it.
        if let Some(Value::I64(dropped)) = take_last(&mut span, DROPPED_EVENTS) {
            span.events.dropped_count =
                span.events.dropped_count.saturating_add(u32::try_from(dropped).unwrap_or(u32::MAX));
        }
        let verdict = complete(&mut span, self.max_attributes)
            .or_else(|| if let Value::Bool(verdict) = take(&mut span, VERDICT)? { Some(verdict) } else { None });
        match verdict {
            Some(true) => span.status = Status::Unset,
            Some(_) if span.span_context.is_sampled() => return,
            None if span.span_context.is_sampled() && self.skips_current() => return,
            // Held spans are dropped and counted with the rest of their exchange.
            Some(_) | None => (),
        }
        if span.span_context.is_sampled() {
            self.queue.push(span);
        } else if let Some(hold) = &self.hold
            && let Some(slot) = take(&mut span, SLOT).and_then(|slot| Slot::read(&slot))
        {
            hold.push(slot, span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        result(self.queue.flush(by(self.timeout)).left, self.timeout)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        result(self.queue.shutdown(by(timeout)).left, timeout)
    }
}

/// When that much time is over.
pub(crate) fn by(timeout: Duration) -> Instant {
    /// Longer than anybody waits.
    const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);
    let now = clock::now();
    now.checked_add(timeout.min(FOREVER)).unwrap_or(now)
}

fn result(left: u64, timeout: Duration) -> OTelSdkResult {
    if left == 0 { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor").field("holds", &self.hold.is_some()).finish_non_exhaustive()
    }
}
