//! What waits for the sinks of events, and what they will never get.

use std::time::Duration;

use steeple_dashboard::{DashboardBuilder, DeadLetter, Outbox, OutboxSink};
use steeple_events::Events;

use crate::Steeple;

/// Dead letters on the page.
const MAX: usize = 50;

pub(super) fn add(steeple: &Steeple, options: DashboardBuilder) -> DashboardBuilder {
    // Without a sink nothing waits.
    match &steeple.running().events {
        Some(events) if events.has_sinks() => {
            let events = events.clone();
            options.outbox(move || read(events.clone()))
        }
        Some(_) | None => options,
    }
}

async fn read(events: Events) -> Outbox {
    let millis = |at: Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let view = events.outbox(MAX).await;
    let sinks = view.sinks.into_iter().map(|of| OutboxSink {
        waiting: of.backlog.0,
        bytes: of.backlog.1,
        oldest: of.oldest.map(millis),
        delivered: of.delivered,
        dead: of.dead,
        in_doubt: of.in_doubt,
        skipped: of.skipped,
        dead_letters: of.dead_letters,
        sink: of.sink,
    });
    let dead_letters = view.dead_letters.into_iter().map(|dead| DeadLetter {
        sink: dead.sink,
        event: dead.name,
        id: dead.id,
        at: millis(dead.at),
        why: dead.why,
    });
    Outbox { is_durable: view.is_durable, sinks: sinks.collect(), dead_letters: dead_letters.collect() }
}
