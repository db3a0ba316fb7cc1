//! What an exchange's span gets at its end, on its way past the SDK.
//!
//! The SDK takes a span's attributes one by one, each behind a lock and two virtual calls, and hands the span to its processor on
//! the same thread when it ends. So the ending waits here for the processor.

use std::cell::RefCell;

use opentelemetry::trace::{SpanContext, SpanId, Status, TraceId};
use opentelemetry_sdk::trace::SpanData;

use crate::ending::Ending;

thread_local! {
    static ENDING: RefCell<Option<Handed>> = const { RefCell::new(None) };
}

struct Handed {
    ids: (TraceId, SpanId),
    ending: Ending,
}

/// While this lives, the processor finds the ending of a span that ends on this thread.
#[must_use = "dropping it takes the ending back"]
pub(crate) struct HandedOver(());

impl HandedOver {
    pub(crate) fn new(span: &SpanContext, ending: Ending) -> Self {
        set(Some(Handed { ids: ids(span), ending }));
        Self(())
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        set(None);
    }
}

fn ids(span: &SpanContext) -> (TraceId, SpanId) {
    (span.trace_id(), span.span_id())
}

fn set(handed: Option<Handed>) {
    // A thread that is ending has no place for it. Then the span ends without.
    let before =
        ENDING.try_with(|place| place.try_borrow_mut().ok().map(|mut place| std::mem::replace(&mut *place, handed)));
    drop(before);
}

/// Completes a span that has ended with its ending, if that was handed over. `max` is how many attributes a span may have.
///
/// Returns what its exchange says of it.
pub(super) fn complete(span: &mut SpanData, max: u32) -> Option<bool> {
    let handed = ENDING.try_with(|place| {
        let mut place = place.try_borrow_mut().ok()?;
        place.take_if(|handed| handed.ids == ids(&span.span_context))
    });
    let Ending { name, failure, attributes, verdict } = handed.ok().flatten()?.ending;
    span.name = name.into_inner();
    if let Some(status) = failure.map(|failure| Status::error(failure.into_inner()))
        && status > span.status
    {
        span.status = status;
    }
    let mut attributes = attributes.into_vec();
    let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(span.attributes.len());
    let dropped = attributes.len().saturating_sub(room);
    if dropped > 0 {
        attributes.truncate(room);
        span.dropped_attributes_count =
            span.dropped_attributes_count.saturating_add(u32::try_from(dropped).unwrap_or(u32::MAX));
    }
    span.attributes.append(&mut attributes);
    verdict
}
