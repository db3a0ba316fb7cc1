//! `sentry-tower` as a team has it, and the lines that keep secrets from leaving.
//!
//! `cargo run -p steeple-sentry --example sentry-scrub` prints what would be sent of a request with secrets in it.

use std::{error::Error, sync::Arc};

use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::get};
use sentry::{
    ClientOptions, SentryFutureExt,
    integrations::tower::{NewSentryLayer, SentryHttpLayer},
    test::TestTransport,
};
use steeple_scrub::Scrubber;
use steeple_sentry::ScrubSentry;
use tower::ServiceExt;

async fn login() -> StatusCode {
    sentry::capture_message("no answer from postgres://app:hunter2@db/shop", sentry::Level::Error);
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is what the example shows")]
async fn main() -> Result<(), Box<dyn Error>> {
    let transport = TestTransport::new(); // In earnest: sentry::transports::DefaultTransportFactory.
    let scrubber = Scrubber::default();
    let options = ClientOptions::new()
        .dsn("https://public@sentry.example.com/1")
        .traces_sample_rate(1.0)
        .before_send(scrubber.before_send()) // Events.
        .before_breadcrumb(scrubber.before_breadcrumb())
        .transport(scrubber.transport(Arc::clone(&transport))); // Transactions, which pass `before_send` by.
    let _guard = sentry::init(options);

    let app = Router::new()
        .route("/login", get(login))
        .layer(SentryHttpLayer::new().enable_transaction())
        .layer(NewSentryLayer::<Request>::new_from_top());
    let request = Request::get("http://shop.example/login?token=hunter2hunter2")
        .header("x-auth-token", "hunter2hunter2")
        .body(Body::empty())?;
    app.oneshot(request).bind_hub(sentry::Hub::current()).await?;

    for envelope in transport.fetch_and_clear_envelopes() {
        let mut bytes = Vec::new();
        envelope.to_writer(&mut bytes)?;
        println!("{}", String::from_utf8(bytes)?);
    }
    Ok(())
}
