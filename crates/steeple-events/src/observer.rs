use std::time::Duration;

use http::{request, response};
use steeple_core::{End, Exchange, GrpcStatus, Identity, Observer, Outcome};

use crate::{
    Consent, Events, Visitor,
    page_view::{self, PageRequest},
    pending,
    preset::{ApiResponse, CacheOperation, DatabaseQuery, PageView},
};

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
    type State = Option<Box<PageRequest>>;

    fn identity(&self) -> Option<Identity> {
        Some(self.0.identity())
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Self::State> {
        let visitor = if self.0.has_sinks() { Visitor::of(&request.headers, self.0.reads_ga()) } else { None };
        let sampled = self.0.sampled();
        let refuses = visitor.as_ref().is_some_and(|visitor| !visitor.consent.allows_analytics());
        let page = (sampled.takes_page_view() && !refuses).then(|| PageRequest::of(request).map(Box::new)).flatten();
        if let Some(visitor) = visitor {
            let _none = exchange.insert(visitor);
        }
        Some(page)
    }

    fn on_response(&self, state: &mut Self::State, _exchange: &Exchange, response: &mut response::Parts) {
        if state.is_some() && !page_view::is_page(response) {
            *state = None;
        }
    }

    fn on_end(&self, state: Self::State, exchange: &Exchange, end: &End) {
        pending::end(exchange, &self.0, succeeded(end));
        if let Some(page) = state
            && succeeded(end)
            && let Some(location) = page.location(exchange)
        {
            let _receipt = self.0.track_of(exchange, &PageView { location: &location, title: None });
        }
        if self.0.sampled().takes_api_response()
            && let Some(status) = end.status
        {
            let route = exchange.route().map(|route| route.as_str().to_owned());
            let event = ApiResponse {
                method: exchange.method(),
                path: route.as_deref(),
                status: status.as_u16(),
                duration_ms: end.latency().as_secs_f64() * 1_000.0,
            };
            let _receipt = self.0.track_of(exchange, &event);
        }
    }
}

impl Events {
    /// Whether queries or operations on a cache become events: whether to call [`observe_query`](Self::observe_query) and
    /// [`observe_cache`](Self::observe_cache) at all.
    pub fn observes_operations(&self) -> bool {
        let sampled = self.sampled();
        sampled.database_queries > 0.0 || sampled.cache_operations > 0.0
    }

    /// A query was measured: it becomes an event as often as
    /// [`EventsBuilder::database_queries`](crate::EventsBuilder::database_queries) says.
    pub fn observe_query(&self, operation: &str, table: &str, duration: Duration) {
        if page_view::takes(self.sampled().database_queries) {
            let duration_ms = duration.as_secs_f64() * 1_000.0;
            let _receipt = self.track(DatabaseQuery { operation, table, duration_ms, failed: None });
        }
    }

    /// An operation on a cache was counted: it becomes an event as often as
    /// [`EventsBuilder::cache_operations`](crate::EventsBuilder::cache_operations) says.
    pub fn observe_cache(&self, operation: &str, result: &str) {
        if page_view::takes(self.sampled().cache_operations) {
            let _receipt = self.track(CacheOperation { operation, result });
        }
    }
}

/// Whether the exchange succeeded: it completed, with a status below 400 and, for gRPC, `OK`.
fn succeeded(end: &End) -> bool {
    let whole = matches!(end.outcome, Outcome::Completed | Outcome::Upgraded);
    whole && end.status_code() < 400 && end.grpc_status.is_none_or(|status| status == GrpcStatus::OK)
}

/// Sets what the visitor of this exchange agreed to, for events that are tracked from now on: what a consent banner or a
/// user's settings have. It replaces the request's headers.
pub fn set_consent(exchange: &Exchange, consent: Consent) {
    let mut visitor = exchange.get::<std::sync::Arc<Visitor>>().map(|visitor| (*visitor).clone()).unwrap_or_default();
    visitor.consent = consent;
    if !consent.allows_analytics() {
        visitor.client_id = None;
        visitor.session_id = None;
    }
    let _before = exchange.insert(std::sync::Arc::new(visitor));
}
