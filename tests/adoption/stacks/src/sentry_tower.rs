//! A stack on `sentry-tower`, migrated piece by piece: its two layers, then the scrubbed one in their place, then Steeple's.

mod rows;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    routing::get,
};
use sentry::{
    integrations::tower::{NewSentryLayer, SentryHttpLayer},
    protocol::{EnvelopeItem, Event, Transaction},
    test::TestTransport,
};
use steeple::{Steeple, scrub::Scrubber, sentry::ScrubbedSentryLayer};
use tower::ServiceExt;

use crate::Outcome;

fn routes() -> Router {
    let login = async || {
        sentry::add_breadcrumb(sentry::Breadcrumb {
            message: Some("GET http://inventory/items?api_key=hunter2hunter2".to_owned()),
            ..sentry::Breadcrumb::default()
        });
        sentry::capture_message("password=hunter2hunter2 was refused", sentry::Level::Error);
        StatusCode::INTERNAL_SERVER_ERROR
    };
    Router::new().route("/login/{id}", get(login))
}

type Sent = (Vec<Event<'static>>, Vec<Transaction<'static>>);

/// The events and transactions that were sent since this was last asked.
fn sent(transport: &TestTransport) -> Sent {
    let (mut events, mut transactions) = (Vec::new(), Vec::new());
    for item in transport.fetch_and_clear_envelopes().into_iter().flat_map(sentry::Envelope::into_items) {
        match item {
            EnvelopeItem::Event(event) => events.push(*event),
            EnvelopeItem::Transaction(transaction) => transactions.push(*transaction),
            _ => {}
        }
    }
    (events, transactions)
}

/// What one request sends.
async fn sends(app: Router, transport: &Arc<TestTransport>) -> Result<Sent, Box<dyn std::error::Error>> {
    let request = Request::builder().uri("/login/7?token=hunter2hunter2").header("host", "shop.example");
    let response = app.oneshot(request.body(Body::empty())?).await?;
    assert_eq!(response.status(), 500);
    to_bytes(response.into_body(), 1024).await?;
    Ok(sent(transport))
}

pub async fn run() -> Outcome {
    // The panic of a handler is expected: it is not shown. Steeple keeps a hook that is set before it.
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(rows::PANIC) {
            shown(panic);
        }
    }));
    let transport = TestTransport::new();
    let options = sentry::ClientOptions::new()
        .dsn("https://public@sentry.invalid/1")
        .traces_sample_rate(1.0)
        .transport(Arc::clone(&transport));
    let _sentry = sentry::init(options);

    // Today.
    let today =
        routes().layer(SentryHttpLayer::new().enable_transaction()).layer(NewSentryLayer::<Request>::new_from_top());
    let (events, transactions) = sends(today, &transport).await?;
    assert_eq!((events.len(), transactions.len()), (1, 1), "{events:#?}");
    assert!(format!("{events:?}").contains("hunter2") && format!("{transactions:?}").contains("hunter2"));

    // The scrubbed layer in place of both: the same, without secrets.
    let scrubbed = routes().layer(ScrubbedSentryLayer::new(Scrubber::default()));
    let (scrubbed_events, scrubbed_transactions) = sends(scrubbed, &transport).await?;
    assert_eq!((scrubbed_events.len(), scrubbed_transactions.len()), (1, 1), "{scrubbed_events:#?}");
    let all = format!("{scrubbed_events:?} {scrubbed_transactions:?}");
    assert!(!all.contains("hunter2") && all.contains("was refused") && all.contains("inventory/items"), "{all}");
    assert_eq!(scrubbed_events[0].breadcrumbs.len(), events[0].breadcrumbs.len());

    // Steeple's, which finds their client: the name is the route's, and the captured error is the one event of the failure.
    let steeple = Steeple::builder().without_log_setup().sentry(|sentry| sentry.traces_sample_rate(1.0)).build()?;
    // Both side by side: two transactions of each request, as the page says.
    let both =
        routes().layer(SentryHttpLayer::new().enable_transaction()).layer(NewSentryLayer::<Request>::new_from_top());
    let (_, transactions) = sends(both.layer(steeple.layer()), &transport).await?;
    assert_eq!(transactions.len(), 2, "{transactions:#?}");

    // Steeple's alone.
    let (events, transactions) = sends(routes().layer(steeple.layer()), &transport).await?;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].transaction.as_deref(), Some("GET /login/{id}"));
    assert_eq!(transactions.len(), 1, "{transactions:#?}");
    assert_eq!(transactions[0].name.as_deref(), Some("GET /login/{id}"));
    assert!(!format!("{events:?}").contains("hunter2"), "{events:#?}");

    rows::observe(&transport).await
}
