//! A team that keeps `sentry-tower` and adds one line leaks no more.

#![expect(clippy::unwrap_used, clippy::panic, clippy::string_slice, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use axum::{Router, routing::get as route};
use common::{DSN, send, serve};
use http::{Request, StatusCode};
use sentry::integrations::tower::{NewSentryLayer, SentryHttpLayer};
use sentry_core::{Client, ClientOptions, Envelope, Hub, SentryFutureExt, Transport};
use steeple_export::test_util::{Received, Receiver};
use steeple_scrub::Scrubber;
use steeple_sentry::{ScrubIntegration, ScrubSentry};

async fn handler() -> StatusCode {
    sentry_core::add_breadcrumb(sentry_core::Breadcrumb {
        message: Some("GET http://inventory/items?api_key=breadcrumb-hunter2".to_owned()),
        ..Default::default()
    });
    sentry_core::configure_scope(|scope| scope.set_tag("session_token", "tag-hunter2hunter2"));
    sentry::logger_info!("password=log-hunter2 was refused");
    sentry_core::capture_message("password=message-hunter2 was refused", sentry_core::Level::Error);
    StatusCode::INTERNAL_SERVER_ERROR
}

/// A service as `sentry-tower`'s documentation has it.
fn app() -> Router {
    Router::new()
        .route("/login/{id}", route(handler))
        .layer(SentryHttpLayer::new().enable_transaction())
        .layer(NewSentryLayer::<axum::extract::Request>::new_from_top())
}

/// Posts each envelope to a receiver: what leaves is what it was sent.
struct Wire(SocketAddr);

impl Transport for Wire {
    fn send_envelope(&self, envelope: Envelope) {
        let mut body = Vec::new();
        envelope.to_writer(&mut body).unwrap();
        let mut stream = TcpStream::connect(self.0).unwrap();
        write!(stream, "POST /api/1/envelope/ HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        let _answer = stream.read(&mut [0; 64]).unwrap();
    }
}

/// What arrives of one request that carries secrets wherever it can: an event with breadcrumbs, a transaction, logs.
async fn arrives(change: impl FnOnce(ClientOptions, Arc<Wire>) -> ClientOptions) -> Vec<String> {
    arrives_of(app(), change).await
}

/// The same of another service.
async fn arrives_of(service: Router, change: impl FnOnce(ClientOptions, Arc<Wire>) -> ClientOptions) -> Vec<String> {
    let receiver = Receiver::accepting();
    let options = ClientOptions::new().dsn(DSN).traces_sample_rate(1.0);
    let client = Arc::new(Client::from(change(options, Arc::new(Wire(receiver.address())))));
    let hub = Arc::new(Hub::new(Some(Arc::clone(&client)), Arc::default()));
    let request = Request::get("/login/7?token=query-hunter2hunter2")
        .header("host", "shop.example")
        .header("x-auth-token", "header-hunter2hunter2")
        .header("x-csrf-token", "csrf-hunter2hunter2")
        .header("referer", "http://shop.example/?token=referer-hunter2hunter2");
    let request = request.body(String::new()).unwrap();
    let serving = async {
        // Polled on this thread with the hub bound, as the layers take the one that is current.
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, axum::body::Body::from(body));
        tower::ServiceExt::oneshot(service, request).await.unwrap()
    };
    assert_eq!(serving.bind_hub(hub).await.status(), 500);
    // Logs are sent in batches.
    client.close(None);
    let text = |request: Received| String::from_utf8(request.body).unwrap();
    receiver.received().into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_line_everything_that_a_client_sends_is_scrubbed() {
    let today = arrives(ClientOptions::transport).await;
    assert_eq!(today.len(), 3, "an event, a transaction, logs: {today:#?}");
    assert!(today.iter().all(|envelope| envelope.contains("hunter2")), "else this test proves nothing: {today:#?}");

    let scrubber = Scrubber::default();
    let clean = arrives(|options, wire| options.transport(scrubber.transport(wire))).await;
    assert_eq!(clean.len(), 3);
    for (kind, envelope) in ["event", "transaction", "log"].iter().zip(&clean) {
        assert!(envelope.contains(&format!(r#""type":"{kind}""#)), "{envelope}");
        assert!(!envelope.contains("hunter2"), "{envelope}");
    }
    assert!(clean[0].contains("/login/") && clean[0].contains("inventory/items"), "the rest stays: {}", clean[0]);
    assert!(clean[2].contains("was refused"), "the rest stays: {}", clean[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_reach_what_their_names_say() {
    let scrubber = Scrubber::default();
    let hooks = |options: ClientOptions, wire| {
        let options = options.before_send(scrubber.before_send()).before_breadcrumb(scrubber.before_breadcrumb());
        options.before_send_log(scrubber.before_send_log()).transport(wire)
    };
    let leaks: Vec<_> = arrives(hooks).await.iter().map(|envelope| envelope.contains("hunter2")).collect();
    assert_eq!(leaks, [false, true, false], "transactions go past all of them");
}

/// Whether each kind of envelope has a secret in it: `(event, transaction, log)`.
fn leaks(envelopes: &[String]) -> [bool; 3] {
    assert_eq!(envelopes.len(), 3, "an event, a transaction, logs: {envelopes:#?}");
    ["event", "transaction", "log"].map(|kind| {
        let of_kind = envelopes.iter().find(|envelope| envelope.contains(&format!(r#""type":"{kind}""#)));
        of_kind.unwrap_or_else(|| panic!("no {kind} in {envelopes:#?}")).contains("hunter2")
    })
}

#[cfg(feature = "sentry-tower")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scrubbed_layer_in_place_of_sentry_towers_two_lets_no_secret_through() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let seen = Arc::new(AtomicUsize::new(0));
    let scrubbed = || {
        let layer = steeple_sentry::ScrubbedSentryLayer::new(Scrubber::default());
        Router::new().route("/login/{id}", route(handler)).layer(layer)
    };
    assert_eq!(leaks(&arrives(ClientOptions::transport).await), [true; 3], "else this test proves nothing");
    let counting = Arc::clone(&seen);
    let envelopes = arrives_of(scrubbed(), |options, wire| {
        options.transport(wire).before_send(move |event| {
            counting.fetch_add(1, Ordering::Relaxed);
            Some(event)
        })
    });
    let envelopes = envelopes.await;
    assert_eq!(leaks(&envelopes), [false; 3], "{envelopes:#?}");
    assert_eq!(seen.load(Ordering::Relaxed), 1, "the client keeps its hooks");
    assert!(envelopes.iter().any(|envelope| envelope.contains("inventory/items")), "the rest stays: {envelopes:#?}");
    assert!(envelopes.iter().any(|envelope| envelope.contains("was refused")), "the rest stays: {envelopes:#?}");
    // What belongs together still does.
    let trace = |kind: &str| {
        let envelope = envelopes.iter().find(|envelope| envelope.contains(&format!(r#""type":"{kind}""#))).unwrap();
        let at = envelope.rfind(r#""trace_id":""#).unwrap();
        envelope[at..].split('"').nth(3).unwrap().to_owned()
    };
    assert_eq!((trace("event"), trace("log")), (trace("transaction"), trace("transaction")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_integration_scrubs_what_is_captured_anywhere_in_the_process_but_transactions() {
    let add = |options: ClientOptions, wire| {
        options.add_integration(ScrubIntegration::new(Scrubber::default())).transport(wire)
    };
    let envelopes = arrives(add).await;
    assert_eq!(leaks(&envelopes), [false, true, false], "{envelopes:#?}");
}

#[tokio::test]
async fn our_layer_and_sentry_towers_do_not_get_into_each_others_way() {
    let receiver = common::Receiver::new();
    let address = serve(app().layer(receiver.sentry.layer())).await;
    let request = Request::get("/login/7").body(String::new()).unwrap();
    assert_eq!(send(address, request).await.unwrap().status(), 500);
    let event = receiver.event();
    assert_eq!(event.transaction.as_deref(), Some("GET /login/{id}"));
    assert!(event.user.is_none());
}
