//! One failure is one event, however many of log bridge, panic hook and layer saw it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{io, sync::Arc};

use axum::{Router, routing::get as route};
use common::{DSN, Receiver, exception, get, serve};
use http::StatusCode;
use sentry_core::{Client, ClientOptions, test::TestTransport};
use steeple_core::Exchange;
use steeple_sentry::{Sentry, capture_error, capture_message};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;

fn app() -> Router {
    Router::new()
        .route(
            "/logged-and-failed",
            route(|exchange: Exchange| async move {
                let error = io::Error::other("connection refused");
                tracing::error!(%error, "cannot reach the database");
                tracing::error!("giving up");
                exchange.record_error(&error);
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/captured-and-logged",
            route(|| async {
                capture_error(&io::Error::other("connection refused"));
                tracing::error!("cannot reach the database");
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/logged-and-survived",
            route(|| async {
                tracing::error!("cannot reach the cache");
                "fine"
            }),
        )
        .route(
            "/logged-and-5xx",
            route(|| async {
                tracing::error!("cannot reach the database");
                StatusCode::SERVICE_UNAVAILABLE
            }),
        )
        .route("/captured-then-panicked", route(captures_then_panics))
        .route(
            "/warned",
            route(|| async {
                capture_message("look at this", sentry_core::Level::Warning);
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route("/panic", route(panics))
        .route("/logged-and-stuck", route(logs_and_waits))
}

/// Where `/logged-and-stuck` goes on from.
static GO_ON: tokio::sync::Notify = tokio::sync::Notify::const_new();

async fn logs_and_waits() -> StatusCode {
    tracing::error!("cannot reach the database");
    GO_ON.notified().await;
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn captures_then_panics() -> StatusCode {
    capture_error(&io::Error::other("a retry failed"));
    panic!("and then this")
}

async fn panics() -> StatusCode {
    panic!("out of cheese")
}

/// Serves with a log bridge, as a team has it that sends its log's errors to Sentry.
#[expect(deprecated, reason = "what teams have today: lines at error are events, those below are breadcrumbs")]
async fn serve_logging(sentry: &Sentry) -> std::net::SocketAddr {
    let bridge = tracing_subscriber::registry().with(sentry::integrations::tracing::layer());
    let subscriber: tracing::Dispatch = bridge.into();
    let layer = tower::layer::layer_fn(move |inner: axum::routing::Route| {
        let subscriber = subscriber.clone();
        tower::service_fn(move |request: axum::extract::Request| {
            tower::ServiceExt::oneshot(inner.clone(), request).with_subscriber(subscriber.clone())
        })
    });
    serve(app().layer(layer).layer(sentry.layer())).await
}

#[tokio::test]
async fn a_log_line_is_folded_into_the_failure_that_it_is_about() {
    let receiver = Receiver::new();
    let address = serve_logging(&receiver.sentry).await;
    get(address, "/logged-and-failed").await.unwrap();
    let event = receiver.event();
    assert_eq!(exception(&event).1, "connection refused");
    let steps: Vec<_> = event.breadcrumbs.iter().filter_map(|step| step.message.as_deref()).collect();
    assert_eq!(steps, ["cannot reach the database", "giving up"], "what the lines said is not lost");
    assert_eq!(receiver.sentry.counts().duplicates, 2);
}

#[tokio::test]
async fn a_log_line_and_a_bare_5xx_are_one_event() {
    let receiver = Receiver::new();
    let address = serve_logging(&receiver.sentry).await;
    get(address, "/logged-and-5xx").await.unwrap();
    let event = receiver.event();
    assert_eq!(exception(&event).0, "HTTP 503");
    assert_eq!(event.breadcrumbs[0].message.as_deref(), Some("cannot reach the database"));
}

#[tokio::test]
async fn a_log_line_after_a_capture_is_not_another_event() {
    let receiver = Receiver::new();
    let address = serve_logging(&receiver.sentry).await;
    get(address, "/captured-and-logged").await.unwrap();
    assert_eq!(exception(&receiver.event()).1, "connection refused");
}

#[tokio::test]
async fn a_log_line_without_a_failure_is_an_event_as_it_was() {
    let receiver = Receiver::new();
    let address = serve_logging(&receiver.sentry).await;
    get(address, "/logged-and-survived").await.unwrap();
    let event = receiver.event();
    assert_eq!(event.message.as_deref(), Some("cannot reach the cache"));
    assert_eq!(
        (event.transaction.as_deref(), event.tags["outcome"].as_str()),
        (Some("GET /logged-and-survived"), "completed")
    );
}

#[tokio::test]
async fn flushing_sends_a_log_line_that_waits_for_its_exchange_and_its_end_says_nothing_more() {
    let receiver = Receiver::new();
    let address = serve_logging(&receiver.sentry).await;
    let stuck = tokio::spawn(get(address, "/logged-and-stuck"));
    let events = async {
        loop {
            // As a process does that is told to end while it still serves.
            let events = receiver.events();
            if !events.is_empty() {
                return events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let events = tokio::time::timeout(std::time::Duration::from_secs(20), events).await.expect("an event");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].message.as_deref(), Some("cannot reach the database"));
    GO_ON.notify_one();
    assert_eq!(stuck.await.unwrap().unwrap().status(), 500);
    assert_eq!(receiver.events().len(), 0, "one failure is one event");
}

#[tokio::test]
async fn a_warning_is_not_a_sighting() {
    let receiver = Receiver::new();
    let address = serve(app().layer(receiver.sentry.layer())).await;
    get(address, "/warned").await.unwrap();
    assert_eq!(receiver.events().len(), 2);
}

#[tokio::test]
async fn a_panic_after_a_capture_is_another_failure() {
    let receiver = Receiver::new();
    let _installed = receiver.sentry.clone().install();
    let address = serve(app().layer(receiver.sentry.layer())).await;
    assert!(get(address, "/captured-then-panicked").await.is_none());
    let said: Vec<_> = receiver.events().iter().map(|event| exception(event).1.to_owned()).collect();
    assert_eq!(said, ["a retry failed", "and then this"]);
}

/// A team that keeps its own `sentry::init`, with the SDK's panic hook and log bridge, and adds our layer.
#[tokio::test]
async fn beside_the_sdks_own_panic_hook_and_log_bridge_each_failure_is_one_event() {
    let transport = TestTransport::new();
    let options = ClientOptions::new()
        .dsn(DSN)
        .transport(Arc::clone(&transport))
        .integrations([
            Arc::new(sentry::integrations::panic::PanicIntegration::new()) as Arc<dyn sentry_core::Integration>
        ]);
    let client = Arc::new(Client::from(options));
    let sentry = Sentry::with_client(Arc::clone(&client), Sentry::builder(DSN)).unwrap();
    let address = serve_logging(&sentry).await;
    assert!(get(address, "/panic").await.is_none());
    get(address, "/logged-and-failed").await.unwrap();
    get(address, "/captured-and-logged").await.unwrap();
    client.flush(None);
    let events = transport.fetch_and_clear_events();
    let names: Vec<_> = events.iter().filter_map(|event| event.transaction.as_deref()).collect();
    assert_eq!(names, ["GET /panic", "GET /logged-and-failed", "GET /captured-and-logged"], "{events:#?}");
    assert!(events.iter().all(|event| event.request.is_some()));
}

/// Writes its line when the exchange is over, as steeple-log does: no hub of it is bound any more.
struct Summary;

impl steeple_core::Observer for Summary {
    type State = ();

    fn on_request(&self, _: &Exchange, _: &mut http::request::Parts) -> Option<()> {
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, _: &steeple_core::End) {
        tracing::error!(target: "steeple::access", "{} failed", exchange.name());
    }
}

#[tokio::test]
#[expect(deprecated, reason = "what teams have today")]
async fn the_line_that_sums_up_a_failed_exchange_is_not_another_event() {
    let receiver = Receiver::new();
    let main = Arc::new(sentry_core::Hub::new(Some(Arc::clone(receiver.sentry.client())), Arc::default()));
    let service = app().layer(steeple_core::ObserveLayer::new((Summary, receiver.sentry.clone(), Summary)));
    let bridge = tracing_subscriber::registry().with(sentry::integrations::tracing::layer());
    let request = http::Request::get("/captured-and-logged").body(axum::body::Body::empty()).unwrap();
    let served = async {
        let answer = tower::ServiceExt::oneshot(service, request).await.unwrap();
        axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
    };
    sentry_core::SentryFutureExt::bind_hub(served.with_subscriber(bridge), main).await;
    assert_eq!(exception(&receiver.event()).1, "connection refused");
    assert_eq!(receiver.sentry.counts().duplicates, 4, "two summaries, a line and the layer's own");
}
