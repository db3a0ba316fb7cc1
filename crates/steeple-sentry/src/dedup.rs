//! One failure, one event: who saw what of an exchange, and what becomes of an envelope because of it.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use sentry_core::{
    Envelope, Level,
    protocol::{DynamicSamplingContext, EnvelopeHeaders, EnvelopeItem, Event},
    types::Uuid,
};
use steeple_core::Exchange;

use crate::{
    context::Context,
    event,
    job::{Job, Late},
    slot::Link,
};

thread_local! {
    /// What the event processor saw of the event that its thread is about to hand to the transport.
    static SIGHTING: RefCell<Option<Sighting>> = const { RefCell::new(None) };
}

/// Further log lines of one failure are kept up to this many.
const MAX_FOLDED: usize = 16;

/// What became of an envelope.
#[expect(clippy::large_enum_variant, reason = "moved once, on its way into the queue")]
pub(crate) enum Verdict {
    Send(Job),
    /// It waits for its exchange, there.
    Held(Weak<Link>),
    /// Another event reports it already.
    Duplicate,
}

/// What an event processor knows of an event and the transport does not.
struct Sighting {
    event: Option<Uuid>,
    link: Option<Arc<Link>>,
    kind: Kind,
    user_is_approved: bool,
    dsc: Option<DynamicSamplingContext>,
    late: Option<Box<Late>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A log bridge made an event of a line.
    Log,
    Failure,
    Panic,
    /// Below error, or not an event at all.
    Other,
}

impl Kind {
    fn of(event: &Event<'_>) -> Self {
        if event.level < Level::Error {
            return Self::Other;
        }
        let is_panic = |ty: &str| ty == "panic";
        let mechanism = |exception: &sentry_core::protocol::Exception| {
            exception.mechanism.as_ref().is_some_and(|mechanism| is_panic(&mechanism.ty))
        };
        if event.exception.values.iter().any(mechanism) {
            Self::Panic
        } else if event.logger.is_some() {
            Self::Log
        } else {
            Self::Failure
        }
    }
}

fn sighted(sighting: Sighting) {
    let _ending = SIGHTING.try_with(|slot| slot.replace(Some(sighting)));
}

/// The transaction that this thread is about to finish has a user that may be seen.
pub(crate) fn expect_transaction(user_is_approved: bool, dsc: DynamicSamplingContext) {
    sighted(Sighting { event: None, link: None, kind: Kind::Other, user_is_approved, dsc: Some(dsc), late: None });
}

/// Whether a log bridge made an event of the line that sums up an exchange: its failure has a separate event.
fn is_summary(event: &Event<'_>) -> bool {
    event.logger.as_deref().is_some_and(|logger| SUMMARIES.contains(&logger))
}

/// What steeple-log writes them under.
const SUMMARIES: [&str; 1] = [steeple_core::ACCESS_TARGET];

/// Decides what becomes of an envelope that was captured on this thread.
pub(crate) fn judge(envelope: Envelope) -> Verdict {
    let sighting = SIGHTING.try_with(RefCell::take).ok().flatten();
    if envelope.event().is_some_and(is_summary) {
        return Verdict::Duplicate;
    }
    let event = envelope.event().map(|event| event.event_id);
    let Some(sighting) = sighting.filter(|sighting| sighting.event == event) else {
        return Verdict::Send(Job { envelope, user_is_approved: false, late: None });
    };
    let (user_is_approved, late) = (sighting.user_is_approved, sighting.late);
    let envelope = match sighting.dsc {
        Some(dsc) if envelope.items().any(|item| matches!(item, EnvelopeItem::Transaction(_))) => {
            let headers = EnvelopeHeaders::new().with_trace(dsc);
            let headers = envelope.uuid().map_or(headers.clone(), |id| headers.with_event_id(*id));
            envelope.with_headers(headers)
        }
        _ => envelope,
    };
    let job = Job { envelope, user_is_approved, late };
    let Some(link) = sighting.link else { return Verdict::Send(job) };
    let mut slot = link.lock();
    let over = slot.exchange.as_ref().is_none_or(Exchange::has_ended);
    let seen = &mut slot.sightings;
    match sighting.kind {
        Kind::Other => Verdict::Send(job),
        Kind::Failure | Kind::Panic => {
            seen.reported = true;
            seen.reported_panic |= sighting.kind == Kind::Panic;
            Verdict::Send(job)
        }
        Kind::Log if over && !seen.reported => {
            seen.reported = true;
            Verdict::Send(job)
        }
        Kind::Log if seen.reported => Verdict::Duplicate,
        Kind::Log if seen.held.is_none() => {
            seen.held = Some(Box::new(job));
            drop(slot);
            Verdict::Held(Arc::downgrade(&link))
        }
        Kind::Log => {
            if seen.folded.len() < MAX_FOLDED
                && let Some(event) = job.envelope.event()
            {
                seen.folded.push(event::as_breadcrumb(event));
            }
            Verdict::Duplicate
        }
    }
}

/// Completes whatever is captured in the exchange's hub.
pub(crate) fn enrich(link: &Arc<Link>, owner: &Weak<Context>, mut event: Event<'static>) -> Option<Event<'static>> {
    let Some(context) = owner.upgrade() else { return Some(event) };
    let kind = Kind::of(&event);
    let mut slot = link.lock();
    let Some(exchange) = slot.exchange.clone() else { return Some(event) };
    if let Some(end) = slot.ended.take() {
        let (head, own_trace) = (std::mem::take(&mut slot.head), slot.own_trace);
        drop(slot);
        let (link, late) = (Some(Arc::clone(link)), Some(Box::new(Late { exchange, head, own_trace, end })));
        sighted(Sighting { event: Some(event.event_id), link, kind, user_is_approved: false, dsc: None, late });
        return Some(event);
    }
    let about =
        event::About { exchange: &exchange, head: &slot.head, own_trace: slot.own_trace, elapsed: exchange.elapsed() };
    let user_is_approved = event::fill(&mut event, &about, &context);
    let repeated = slot.sightings.reported && kind == Kind::Log;
    drop(slot);
    if context.has_gate {
        let link = Some(Arc::clone(link));
        sighted(Sighting { event: Some(event.event_id), link, kind, user_is_approved, dsc: None, late: None });
        return Some(event);
    }
    // The client is the team's own: nothing of ours lies between here and its transport.
    if repeated {
        context.counters.duplicate();
        return None;
    }
    if kind != Kind::Other {
        let seen = &mut link.lock().sightings;
        seen.reported = true;
        seen.reported_panic |= kind == Kind::Panic;
    }
    crate::scrub::approved_event(&context.scrubber, context.headers.names(), &mut event, user_is_approved);
    Some(event)
}
