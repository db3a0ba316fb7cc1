use std::sync::{Arc, atomic::Ordering};

use sentry_core::{
    ClientOptions, Envelope,
    client_report::{Reason, Recorder},
    protocol::{EnvelopeItem, Map},
};
use steeple_export::DropReason;
use steeple_scrub::Scrubbed;

use super::symbols;
use crate::{context::Context, job::Job, scrub};

/// What is done to every envelope, however it is sent.
#[derive(Clone)]
pub(super) struct Work {
    context: Arc<Context>,
    recorder: Recorder,
    frames: ClientOptions,
}

/// Frames below these paths belong to libraries, not to the application.
const NOT_IN_APP: [&str; 10] = [
    "steeple_core::",
    "steeple_sentry::",
    "steeple_export::",
    "axum::",
    "axum_core::",
    "hyper::",
    "hyper_util::",
    "tonic::",
    "tower::",
    "tower_http::",
];

impl Work {
    pub(super) fn new(context: Arc<Context>, recorder: Recorder, in_app: &[&'static str]) -> Self {
        let frames = ClientOptions::new().in_app_include(in_app.iter().copied()).in_app_exclude(NOT_IN_APP);
        Self { context, recorder, frames }
    }

    /// Fills in what events do not say yet, names the frames of stacks, and removes secrets.
    pub(super) fn scrub(&self, job: Job) -> Scrubbed<Envelope> {
        let Job { envelope, mut user_is_approved, late } = job;
        let headers = self.context.headers.names();
        scrub::envelope(&self.context.scrubber, envelope, |scrubber, item| {
            if let EnvelopeItem::Event(event) = item {
                if let Some(late) = &late {
                    user_is_approved = late.fill(event, &self.context);
                }
                self.place(&mut event.tags);
                symbols::resolve_event(event, &self.frames);
                scrub::approved_event(scrubber, headers, event, user_is_approved);
            } else if let EnvelopeItem::Transaction(transaction) = item {
                self.place(&mut transaction.tags);
                scrub::approved_transaction(scrubber, headers, transaction, user_is_approved);
            } else {
                scrub::item(scrubber, item);
            }
        })
    }

    /// Says where the service runs, unless the tags do already.
    fn place(&self, tags: &mut Map<String, String>) {
        if let Some(region) = &self.context.region {
            tags.entry("cloud.region".to_owned()).or_insert_with(|| region.clone());
        }
    }

    /// An envelope without items is one of raw bytes, which cannot be searched for secrets.
    pub(super) fn admit(envelope: &Envelope) -> Result<(), DropReason> {
        if envelope.items().next().is_some() { Ok(()) } else { Err(DropReason::Internal) }
    }

    /// The counters of release health, if anything was counted.
    pub(super) fn sessions(&self) -> Vec<Job> {
        let counted = self.context.sessions.as_ref().and_then(|sessions| sessions.take());
        let job = |item| {
            let mut envelope = Envelope::new();
            envelope.add_item(item);
            Job { envelope, user_is_approved: false, late: None }
        };
        counted.map(job).into_iter().collect()
    }

    pub(super) fn stored(&self, envelope: &Envelope) {
        let counters = &self.context.counters;
        for item in envelope.items() {
            if matches!(item, EnvelopeItem::Event(_)) {
                counters.events.fetch_add(1, Ordering::Relaxed);
            } else if matches!(item, EnvelopeItem::Transaction(_)) {
                counters.transactions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Reports a loss to Sentry with the next envelope.
    pub(super) fn dropped(&self, envelope: &Envelope, reason: DropReason) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is about this process")]
        let reason = match reason {
            // Sentry counts what it limits; what is held back here is reported where that happens.
            DropReason::RateLimited => return,
            DropReason::Network | DropReason::InDoubt => Reason::NetworkError,
            DropReason::Rejected | DropReason::Unauthorized | DropReason::TooLarge | DropReason::Unavailable => {
                Reason::SendError
            }
            _ => Reason::InternalError,
        };
        self.recorder.record_lost_data(envelope, reason);
    }

    #[cfg(feature = "transport")]
    pub(super) fn held_back(&self, item: &EnvelopeItem) {
        self.recorder.record_lost_data(item, Reason::RatelimitBackoff);
    }
}
