//! The layers of the `sentry-tower` crate, with everything that leaves a request scrubbed.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use sentry_core::{
    Client, ClientOptions, Envelope, Hub, Transport, TransportFactory, TransportOptions, protocol::EnvelopeItem,
};
use sentry_tower::{HubProvider, SentryHttpLayer, SentryHttpService, SentryLayer, SentryService};
use steeple_scrub::Scrubber;
use tower_layer::Layer;

use crate::{ScrubSentry, Sentry, scrub};

/// The two layers of the [`sentry-tower`](https://docs.rs/sentry-tower) crate, a hub for each request and a transaction for it, with
/// secrets removed from whatever is captured in the request: events with their breadcrumbs, the transaction with its spans, logs and
/// metrics.
///
/// For a stack that stays with `sentry::init` and `sentry-tower`: this is in place of
/// `NewSentryLayer::new_from_top()` and `SentryHttpLayer::new().enable_transaction()`. The client stays as it is, with its transport,
/// hooks and options; a request's hub has a client in front of it that scrubs. What is captured outside of requests does not come
/// through here: [`ScrubIntegration`](crate::ScrubIntegration) reaches it, and [`ScrubSentry::transport`] everything that a client
/// sends.
///
/// - The client's hooks (`before_send` and its like) see what the request has; what they return is scrubbed. Logs go through
///   `before_send_log` twice.
/// - The client's integrations are set up a second time, for the client in front.
/// - Metrics wait up to five seconds in the client in front; those of the last seconds of a process are not sent.
///
/// # Examples
/// ```
/// use axum::{Router, routing::get};
/// use steeple_scrub::Scrubber;
/// use steeple_sentry::ScrubbedSentryLayer;
///
/// let app = Router::new().route("/", get(|| async { "hello" })).layer(ScrubbedSentryLayer::new(Scrubber::default()));
/// # let _unused: Router = app;
/// ```
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ScrubbedSentryLayer<Request> {
    hubs: SentryLayer<ScrubbedHubs, Arc<Hub>, Request>,
    http: SentryHttpLayer,
}

impl<Request> ScrubbedSentryLayer<Request> {
    /// The two layers, with transactions.
    pub fn new(scrubber: Scrubber) -> Self {
        Self { hubs: SentryLayer::new(ScrubbedHubs::new(scrubber)), http: SentryHttpLayer::new().enable_transaction() }
    }

    /// Another layer for the request and its transaction: `SentryHttpLayer::new()` for none.
    pub fn http(mut self, http: SentryHttpLayer) -> Self {
        self.http = http;
        self
    }
}

impl<Request> Clone for ScrubbedSentryLayer<Request> {
    fn clone(&self) -> Self {
        Self { hubs: self.hubs.clone(), http: self.http.clone() }
    }
}

impl<Request> fmt::Debug for ScrubbedSentryLayer<Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubbedSentryLayer").finish_non_exhaustive()
    }
}

impl<S, Request> Layer<S> for ScrubbedSentryLayer<Request> {
    type Service = SentryService<SentryHttpService<S>, ScrubbedHubs, Arc<Hub>, Request>;

    fn layer(&self, inner: S) -> Self::Service {
        self.hubs.layer(self.http.layer(inner))
    }
}

/// Makes the hub of each request. Part of [`ScrubbedSentryLayer`].
#[derive(Clone)]
pub struct ScrubbedHubs(Arc<Inner>);

struct Inner {
    scrubber: Scrubber,
    /// The client that requests have now, and the one in front of it.
    front: Mutex<Option<(Weak<Client>, Arc<Client>)>>,
}

impl ScrubbedHubs {
    fn new(scrubber: Scrubber) -> Self {
        Self(Arc::new(Inner { scrubber, front: Mutex::new(None) }))
    }

    /// The client in front of this one.
    fn front(&self, client: &Arc<Client>) -> Arc<Client> {
        let mut front = self.0.front.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, made)) = &*front
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(client))
        {
            return Arc::clone(made);
        }
        let made = Arc::new(Client::with_options(self.options(client)));
        *front = Some((Arc::downgrade(client), Arc::clone(&made)));
        made
    }

    fn options(&self, client: &Arc<Client>) -> ClientOptions {
        let scrubber = self.0.scrubber.clone();
        // A client waits with logs until it has some. Where the process ends, it flushes those of its own client and knows of no
        // other: so they wait there.
        let (to, logs) = (Arc::clone(client), scrubber.before_send_log());
        let options = client.options().clone();
        options.transport(Through { scrubber, client: Arc::clone(client) }).before_send_log(move |log| {
            if let Some(log) = logs(log) {
                // The scope has been applied already, and changes nothing now: another one would set another trace.
                Hub::current().configure_scope(|scope| to.capture_log(log, scope));
            }
            None
        })
    }
}

impl fmt::Debug for ScrubbedHubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubbedHubs").finish_non_exhaustive()
    }
}

impl<Request> HubProvider<Arc<Hub>, Request> for ScrubbedHubs {
    fn hub(&self, _request: &Request) -> Arc<Hub> {
        let hub = Hub::new_from_top(Hub::current());
        // What Steeple's own client sends is scrubbed already.
        if let Some(client) = hub.client()
            && client.is_enabled()
            && !Sentry::is_installed(&client)
        {
            hub.bind_client(Some(self.front(&client)));
        }
        Arc::new(hub)
    }
}

/// The way of the client in front: to the other one, scrubbed.
#[derive(Clone)]
struct Through {
    scrubber: Scrubber,
    client: Arc<Client>,
}

impl TransportFactory for Through {
    fn create_transport_with_options(&self, _options: TransportOptions) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }
}

impl Transport for Through {
    fn send_envelope(&self, envelope: Envelope) {
        let mut kept = Envelope::new().with_headers(envelope.headers().clone());
        for item in envelope.into_items() {
            // It would count the logs that went on as logs that were dropped.
            if !matches!(item, EnvelopeItem::ClientReport(_)) {
                kept.add_item(item);
            }
        }
        if kept.items().next().is_some() {
            self.client.send_envelope(scrub::envelope(&self.scrubber, kept, scrub::item).into_inner());
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.client.flush(Some(timeout))
    }
}
