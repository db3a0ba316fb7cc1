use http::request;
use steeple_core::{End, Exchange, GrpcStatus, Identity, Observer, Outcome};

use crate::{Consent, Events, Visitor, pending};

/// Reads consent and Google Analytics' cookies from requests, and releases what waits for the success of an exchange.
///
/// Made by [`Events::observer`].
#[derive(Clone, Debug)]
pub struct EventsObserver(Events);

impl Events {
    /// The observer that joins events with requests: for [`ObserveLayer`](steeple_core::ObserveLayer).
    pub fn observer(&self) -> EventsObserver {
        EventsObserver(self.clone())
    }
}

impl Observer for EventsObserver {
    type State = ();

    fn identity(&self) -> Option<Identity> {
        Some(self.0.identity())
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<()> {
        if self.0.has_sinks()
            && let Some(visitor) = Visitor::of(&request.headers, self.0.reads_ga())
        {
            let _none = exchange.insert(visitor);
        }
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        pending::end(exchange, &self.0, succeeded(end));
    }
}

/// Whether the exchange did what was asked for: it ended whole, with a status below 400 and, for gRPC, `OK`.
fn succeeded(end: &End) -> bool {
    let whole = matches!(end.outcome, Outcome::Completed | Outcome::Upgraded);
    whole && end.status_code() < 400 && end.grpc_status.is_none_or(|status| status == GrpcStatus::OK)
}

/// Sets what the visitor of this exchange agreed to, for events that are tracked from now on: what a consent banner or a
/// user's settings say. It replaces what the request's headers say.
pub fn set_consent(exchange: &Exchange, consent: Consent) {
    let mut visitor = exchange.get::<std::sync::Arc<Visitor>>().map(|visitor| (*visitor).clone()).unwrap_or_default();
    visitor.consent = consent;
    if !consent.allows_analytics() {
        visitor.client_id = None;
        visitor.session_id = None;
    }
    let _before = exchange.insert(std::sync::Arc::new(visitor));
}
