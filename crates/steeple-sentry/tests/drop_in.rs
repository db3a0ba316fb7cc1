//! A team that keeps `sentry-tower` and adds one line leaks no more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use axum::{Router, routing::get as route};
use common::{DSN, send, serve};
use http::{Request, StatusCode};
use sentry::integrations::tower::{NewSentryLayer, SentryHttpLayer};
use sentry_core::{Client, ClientOptions, Hub, SentryFutureExt, test::TestTransport};
use steeple_scrub::Scrubber;
use steeple_sentry::ScrubSentry;

fn app() -> Router {
    let handler = || async {
        sentry_core::add_breadcrumb(sentry_core::Breadcrumb {
            message: Some("GET http://inventory/items?api_key=breadcrumb-hunter2".to_owned()),
            ..Default::default()
        });
        sentry_core::configure_scope(|scope| scope.set_tag("session_token", "tag-hunter2hunter2"));
        sentry_core::capture_message("password=message-hunter2 was refused", sentry_core::Level::Error);
        StatusCode::INTERNAL_SERVER_ERROR
    };
    Router::new()
        .route("/login/{id}", route(handler))
        .layer(SentryHttpLayer::new().enable_transaction())
        .layer(NewSentryLayer::<axum::extract::Request>::new_from_top())
}

/// What is sent of one request that carries secrets wherever it can.
async fn sent(options: ClientOptions) -> Vec<String> {
    let transport = TestTransport::new();
    let scrubbed = options.transport.is_some();
    let options = options.dsn(DSN).traces_sample_rate(1.0);
    let options = if scrubbed {
        options.transport(Scrubber::default().transport(Arc::clone(&transport)))
    } else {
        options.transport(Arc::clone(&transport))
    };
    let hub = Arc::new(Hub::new(Some(Arc::new(Client::from(options))), Arc::default()));
    let request = Request::get("/login/7?token=query-hunter2hunter2")
        .header("host", "shop.example")
        .header("x-auth-token", "header-hunter2hunter2")
        .header("x-csrf-token", "csrf-hunter2hunter2")
        .header("referer", "http://shop.example/?token=referer-hunter2hunter2");
    let request = request.body(String::new()).unwrap();
    let serving = async {
        // Polled on this thread with the hub bound, as the layers take the one that is current.
        let service = app();
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, axum::body::Body::from(body));
        tower::ServiceExt::oneshot(service, request).await.unwrap()
    };
    assert_eq!(serving.bind_hub(hub).await.status(), 500);
    let envelopes = transport.fetch_and_clear_envelopes();
    let text = |envelope: &sentry_core::Envelope| {
        let mut bytes = Vec::new();
        envelope.to_writer(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    envelopes.iter().map(text).collect()
}

#[tokio::test]
async fn what_sentry_tower_sends_today_is_full_of_secrets_and_with_one_line_it_is_not() {
    let today = sent(ClientOptions::new()).await;
    assert_eq!(today.len(), 2, "an event and a transaction");
    assert!(today.iter().all(|envelope| envelope.contains("hunter2")), "else this test proves nothing");

    let scrubber = Scrubber::default();
    let options =
        ClientOptions::new().before_send(scrubber.before_send()).before_breadcrumb(scrubber.before_breadcrumb());
    let clean = sent(options.transport(scrubber.transport(TestTransport::new()))).await;
    assert_eq!(clean.len(), 2);
    for envelope in clean {
        assert!(!envelope.contains("hunter2"), "{envelope}");
        assert!(envelope.contains("/login/"), "what is no secret stays: {envelope}");
    }
    // By the hooks alone, as far as they reach: the event.
    let hooks = ClientOptions::new().before_send(scrubber.before_send());
    let (event, transaction) = (sent(hooks.clone()).await.swap_remove(0), sent(hooks).await.swap_remove(1));
    assert!(!event.contains("hunter2") && transaction.contains("hunter2"), "transactions go past `before_send`");
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
