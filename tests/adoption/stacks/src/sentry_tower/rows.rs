//! The rows of the page's table, each seen with `sentry-tower` and with Steeple.

use std::{convert::Infallible, error::Error, io, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Path, Request},
    http::StatusCode,
    response::Response,
    routing::get,
};
use futures_util::{FutureExt, stream};
use sentry::{
    Breadcrumb, Client, ClientOptions, Hub, Level, Scope, SentryFutureExt,
    integrations::tower::{NewSentryLayer, SentryHttpLayer},
    protocol::Event,
    test::TestTransport,
};
use steeple::{Exchange, Steeple};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::{Sent, sent};
use crate::{Outcome, page::Rows};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The message of the handler that panics.
pub(super) const PANIC: &str = "no seat";

/// What the scrubber removes wherever it stands: a token in a path.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn routes() -> Router {
    let captures = async |Path(id): Path<String>| {
        sentry::add_breadcrumb(Breadcrumb { message: Some(id), ..Breadcrumb::default() });
        tokio::task::yield_now().await;
        sentry::capture_message("captured", Level::Error);
    };
    let streams = async || {
        let body = async {
            sentry::capture_message("in the body", Level::Error);
            Ok::<_, io::Error>("streamed")
        };
        Body::from_stream(stream::once(body))
    };
    let spawns = async || {
        let work = async { sentry::capture_message("spawned", Level::Error) };
        assert!(tokio::spawn(work).await.is_ok());
    };
    let scopes = async |exchange: Exchange| {
        let work = exchange.scope(async { sentry::capture_message("spawned", Level::Error) });
        assert!(tokio::spawn(work).await.is_ok());
    };
    let errs = async |exchange: Exchange| {
        exchange.record_error(&io::Error::other("no stock"));
        StatusCode::INTERNAL_SERVER_ERROR
    };
    Router::new()
        .route("/captures/{id}", get(captures))
        .route("/streams", get(streams))
        .route("/spawns", get(spawns))
        .route("/scopes", get(scopes))
        .route("/fails", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/errs", get(errs))
        .route("/panics", get(async || -> StatusCode { panic!("{PANIC}") }))
}

/// Their two layers, without transactions.
fn theirs(app: Router) -> Router {
    app.layer(SentryHttpLayer::new()).layer(NewSentryLayer::<Request>::new_from_top())
}

fn steeple() -> Result<Steeple> {
    Ok(Steeple::builder().without_log_setup().build()?)
}

/// A request, its answer read to the end.
async fn ask<S, B>(service: S, path: &str) -> Result<StatusCode>
where
    S: Service<Request, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let request = Request::get(path)
        .header("host", "shop.example")
        .header("user-agent", "check/1")
        .header("x-custom", "own")
        .header("authorization", "Basic YW5uOmh1bnRlcjI=")
        .header("cookie", "session=hunter2hunter2");
    let response =
        service.oneshot(request.body(Body::empty())?).await.map_err(|error| -> Box<dyn Error> { error.into() })?;
    let status = response.status();
    to_bytes(Body::new(response.into_body()), 1024).await?;
    Ok(status)
}

/// The one event that this request sends.
async fn event_of(app: Router, path: &str, transport: &TestTransport) -> Result<Event<'static>> {
    ask(app, path).await?;
    let (mut events, _) = sent(transport);
    assert_eq!(events.len(), 1, "{path}: {events:#?}");
    Ok(events.remove(0))
}

fn crumbs(event: &Event<'_>) -> Vec<String> {
    event.breadcrumbs.iter().filter_map(|crumb| crumb.message.clone()).collect()
}

pub(super) async fn observe(transport: &Arc<TestTransport>) -> Outcome {
    sent(transport);
    let mut rows = Rows::of(include_str!("../../../../../docs/migrate-sentry-tower.md"));

    each_request_has_a_hub(transport).await?;
    rows.observed(
        "a hub for each request (`NewSentryLayer::new_from_top`), not for its body",
        "a hub for each request, around each poll of the service and of its body",
    );
    events_have_the_request(transport).await?;
    rows.observed(
        "`SentryHttpLayer`: request on events, with all headers but a few, and the query",
        "headers that are allowed; path and query scrubbed",
    );
    transactions_are_sampled(transport).await?;
    rows.observed(
        "`enable_transaction()`, sampled by the client",
        "`SENTRY_TRACES_SAMPLE_RATE`, or `SentryBuilder::traces_sample_rate`; without either none",
    );
    transactions_are_named(transport).await?;
    rows.observed(
        "transaction `GET /users/7` where Axum has not matched a route",
        "`GET unmatched`; `GET /users/{id}` with `NamingBuilder::template`",
    );
    failures_are_events(transport).await?;
    rows.observed("a 5xx is not an event", "one event for each failed request: error, panic, 5xx");
    tasks_capture(transport).await?;
    rows.observed(
        "what a spawned task captures is without the request",
        "with the request, by `exchange.scope(future)`",
    );

    rows.end();
    Ok(())
}

/// Two requests at once, whose polls alternate; then one that captures while its body is sent.
async fn each_request_has_a_hub(transport: &TestTransport) -> Outcome {
    let ours = routes().layer(steeple()?.layer());
    for app in [theirs(routes()), ours.clone()] {
        let (first, second) = tokio::join!(ask(app.clone(), "/captures/1"), ask(app, "/captures/2"));
        assert_eq!((first?, second?), (StatusCode::OK, StatusCode::OK));
        let (events, _) = sent(transport);
        let mut seen: Vec<_> = events.iter().map(crumbs).collect();
        seen.sort();
        assert_eq!(seen, [["1"], ["2"]], "{events:#?}");
    }
    let in_body = event_of(theirs(routes()), "/streams", transport).await?;
    assert!(in_body.request.is_none(), "{in_body:#?}");
    let in_body = event_of(ours, "/streams", transport).await?;
    assert!(in_body.request.is_some(), "{in_body:#?}");
    assert_eq!(in_body.transaction.as_deref(), Some("GET /streams"), "{in_body:#?}");
    Ok(())
}

async fn events_have_the_request(transport: &TestTransport) -> Outcome {
    let path = format!("/captures/{TOKEN}?token=hunter2hunter2&page=2");
    let names = |event: &Event<'_>| -> Vec<String> {
        event.request.iter().flat_map(|request| request.headers.keys().cloned()).collect()
    };

    let event = event_of(theirs(routes()), &path, transport).await?;
    assert_eq!(names(&event), ["host", "user-agent", "x-custom"], "{event:#?}");
    let url = event.request.and_then(|request| request.url).ok_or("theirs has the address")?;
    assert!(url.path().contains(TOKEN), "{url}");
    assert_eq!(url.query(), Some("token=hunter2hunter2&page=2"));

    let event = event_of(routes().layer(steeple()?.layer()), &path, transport).await?;
    assert_eq!(names(&event), ["host", "user-agent"], "{event:#?}");
    let request = event.request.ok_or("ours has the request")?;
    let url = request.url.ok_or("ours has the address")?;
    assert!(url.path().starts_with("/captures/") && !url.as_str().contains(TOKEN), "{url}");
    let query = request.query_string.ok_or("ours has the query")?;
    assert!(query.contains("page=2") && query.contains("token=") && !query.contains("hunter2"), "{query}");
    Ok(())
}

async fn transactions_are_sampled(transport: &Arc<TestTransport>) -> Outcome {
    let count = |sent: Sent| sent.1.len();

    // The process's client samples all.
    ask(theirs(routes()), "/captures/1").await?;
    assert_eq!(count(sent(transport)), 0, "not enabled");
    let enabled =
        || routes().layer(SentryHttpLayer::new().enable_transaction()).layer(NewSentryLayer::<Request>::new_from_top());
    ask(enabled(), "/captures/1").await?;
    assert_eq!(count(sent(transport)), 1, "enabled");
    // Another one samples none.
    let options = ClientOptions::new()
        .dsn("https://public@sentry.invalid/1")
        .traces_sample_rate(0.0)
        .transport(Arc::clone(transport));
    let hub = Hub::new(Some(Arc::new(Client::with_options(options))), Arc::new(Scope::default()));
    ask(enabled(), "/captures/1").bind_hub(hub).await?;
    assert_eq!(count(sent(transport)), 0, "enabled, and not sampled");

    let by_code =
        |rate: f64| Steeple::builder().without_log_setup().sentry(move |sentry| sentry.traces_sample_rate(rate));
    let by_variable = |rate: &'static str| {
        let read = move |name: &str| (name == "SENTRY_TRACES_SAMPLE_RATE").then(|| rate.to_owned());
        Steeple::builder().without_log_setup().sentry(|sentry| sentry.with_lookup(read).unwrap())
    };
    let unset = Steeple::builder().without_log_setup();
    for (builder, wanted) in
        [(unset, 0), (by_code(0.0), 0), (by_code(1.0), 1), (by_variable("0"), 0), (by_variable("1"), 1)]
    {
        let described = format!("{builder:?}");
        ask(routes().layer(builder.build()?.layer()), "/captures/1").await?;
        assert_eq!(count(sent(transport)), wanted, "{described}");
    }
    Ok(())
}

/// A plain tower service, whose route Axum has not matched.
async fn transactions_are_named(transport: &TestTransport) -> Outcome {
    let plain = || service_fn(async |_: Request| Ok::<_, Infallible>(Response::new(Body::empty())));
    let name = |(_, mut transactions): Sent| {
        assert_eq!(transactions.len(), 1, "{transactions:#?}");
        transactions.remove(0).name.unwrap_or_default()
    };

    let http = SentryHttpLayer::new().enable_transaction();
    ask(NewSentryLayer::<Request>::new_from_top().layer(http.layer(plain())), "/users/7").await?;
    assert_eq!(name(sent(transport)), "GET /users/7");

    let builder = || Steeple::builder().without_log_setup().sentry(|sentry| sentry.traces_sample_rate(1.0));
    ask(builder().build()?.layer().layer(plain()), "/users/7").await?;
    assert_eq!(name(sent(transport)), "GET unmatched");
    let named = builder().naming(|naming| naming.template("/users/{id}")).build()?;
    ask(named.layer().layer(plain()), "/users/7").await?;
    assert_eq!(name(sent(transport)), "GET /users/{id}");
    Ok(())
}

async fn failures_are_events(transport: &TestTransport) -> Outcome {
    assert_eq!(ask(theirs(routes()), "/fails").await?, 500);
    assert!(sent(transport).0.is_empty());

    let steeple = steeple()?;
    let ours = routes().layer(steeple.layer());
    let event = event_of(ours.clone(), "/fails", transport).await?;
    assert_eq!(event.exception.values[0].ty, "HTTP 500", "{event:#?}");
    let event = event_of(ours.clone(), "/errs", transport).await?;
    assert_eq!(event.exception.values[0].value.as_deref(), Some("no stock"), "{event:#?}");
    let unwound = AssertUnwindSafe(ask(ours, "/panics")).catch_unwind().await;
    assert!(unwound.is_err(), "the panic goes on");
    let (events, _) = sent(transport);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].level, Level::Fatal);
    // A service that does not answer.
    let broken = service_fn(async |_: Request| Err::<Response, _>(io::Error::other("no connection")));
    assert!(ask(steeple.layer().layer(broken), "/users/7").await.is_err());
    assert_eq!(sent(transport).0.len(), 1);
    Ok(())
}

async fn tasks_capture(transport: &TestTransport) -> Outcome {
    let event = event_of(theirs(routes()), "/spawns", transport).await?;
    assert!(event.request.is_none(), "{event:#?}");

    let event = event_of(routes().layer(steeple()?.layer()), "/scopes", transport).await?;
    assert!(event.request.is_some(), "{event:#?}");
    assert_eq!(event.transaction.as_deref(), Some("GET /scopes"), "{event:#?}");
    Ok(())
}
