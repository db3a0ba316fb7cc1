//! Today's stack with Steeple beside it. First both, then Steeple alone: what changes is what the migration pages say.

use std::{error::Error, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ws::WebSocketUpgrade,
    http::{Request, StatusCode},
    routing::get,
};
use axum_prometheus::PrometheusMetricLayerBuilder;
use steeple::{Exchange, Steeple, User};
use tower::ServiceExt;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use crate::{Outcome, page, written::Written};

/// What the page on tower-http names of code, and not of lines.
const CODE: [&str; 7] = [
    "make_span_with",
    "on_response",
    "on_failure",
    "exchange.set_attribute(…)",
    "LogBuilder::route",
    "slow_after",
    "warn_on",
];

fn routes() -> Router {
    let user = async || {
        tracing::info!("looked up");
        "Ann"
    };
    let fails = async |exchange: Exchange| {
        exchange.record_error(&io::Error::other("no stock, password=hunter2hunter2"));
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let spawns = async |exchange: Exchange| {
        exchange.set_user(User::new("u-7"));
        let work = async {
            tokio::task::yield_now().await;
            sentry::capture_message("spawned", sentry::Level::Warning);
        };
        let ended = tokio::spawn(work.instrument(tracing::Span::current())).await;
        assert!(ended.is_ok());
    };
    let socket = async |upgrade: WebSocketUpgrade, exchange: Exchange| {
        let carrier = exchange.carrier();
        upgrade.on_upgrade(move |_| carrier.scope(async {}))
    };
    Router::new()
        .route("/users/{id}", get(user))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/fails", get(fails))
        .route("/spawns", get(spawns))
        .route("/socket", get(socket))
}

async fn ask(app: &Router, path: &str) -> Result<(StatusCode, Option<String>), Box<dyn Error>> {
    let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
    let id = response.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
    let status = response.status();
    to_bytes(response.into_body(), 1 << 20).await?;
    Ok((status, id))
}

pub async fn run() -> Outcome {
    // The team's own subscriber and Sentry, first.
    let written = Written::default();
    let writer = written.clone();
    let formatter = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let level = tracing_subscriber::filter::LevelFilter::DEBUG;
    let own = tracing_subscriber::registry().with(level).with(formatter).with(Steeple::log_layer());
    tracing::subscriber::set_global_default(own)?;
    let transport = sentry::test::TestTransport::new();
    let options = sentry::ClientOptions::new()
        .dsn("https://public@sentry.invalid/1")
        .release("their-release")
        .transport(Arc::clone(&transport));
    let _sentry = sentry::init(options);

    let steeple = Steeple::builder().service_name("shop").build()?;
    let (prometheus, page) =
        PrometheusMetricLayerBuilder::new().enable_response_body_size(true).with_default_metrics().build_pair();
    let theirs = routes().layer(prometheus).layer(TraceLayer::new_for_http()).layer(CatchPanicLayer::new());
    let both = theirs
        .layer(steeple.layer())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid));

    // Side by side: each writes its own, and the request has one id.
    let (status, id) = ask(&both, "/users/7?token=s3cr3t-s3cr3t-s3cr3t").await?;
    assert_eq!(status, 200);
    let id = id.expect("an id");
    let mut lines = written.take();
    let of = |text: &str| lines.lines().filter(|line| line.contains(text)).collect::<Vec<_>>();
    assert_eq!((of("finished processing request").len(), of("steeple::access").len()), (1, 1), "{lines}");
    let own = of("looked up");
    assert!(own.len() == 1 && own[0].contains(&id), "the handler's line has the id: {own:?}");
    assert!(of("steeple::access")[0].contains(&id) && !of("steeple::access")[0].contains("s3cr3t"), "{lines}");
    assert!(of("finished processing request")[0].contains("s3cr3t"), "theirs shows the query");
    let ours = steeple.metrics().render(None, None);
    let ours = String::from_utf8(ours.body.to_vec())?;
    assert!(ours.contains(r#"http_requests_total{method="GET",route="/users/{id}",status_code="200"} 1"#), "{ours}");
    let theirs = page.render();
    assert!(
        theirs.contains(r#"axum_http_requests_total{method="GET",status="200",endpoint="/users/{id}"} 1"#),
        "{theirs}"
    );

    // What the pages say of both is what was seen: every name in their tables.
    ask(&both, "/nonexistent/7").await?;
    assert_eq!(ask(&both, "/fails").await?.0, 500);
    let never = both.clone().oneshot(Request::get("/never").body(Body::empty())?);
    assert!(tokio::time::timeout(Duration::from_millis(20), never).await.is_err(), "its client goes away");
    lines += &written.take();
    let ours = String::from_utf8(steeple.metrics().render(None, None).body.to_vec())?;
    let theirs = page.render();
    let metrics = page::rows(include_str!("../../../../docs/migrate-axum-prometheus.md"));
    assert!(metrics.len() >= 5, "{metrics:?}");
    for (left, right) in metrics {
        assert!(left.iter().all(|name| page::metrics_have(&theirs, name)), "{left:?} in {theirs}");
        assert!(right.iter().all(|name| page::metrics_have(&ours, name)), "{right:?} in {ours}");
    }
    assert!(
        ours.contains(r#"route="/never",status_code="499"} 1"#) && !theirs.contains(r#"status="499""#),
        "{ours}{theirs}"
    );
    let log = page::rows(include_str!("../../../../docs/migrate-tower-http.md"));
    assert!(log.len() >= 8, "{log:?}");
    for name in log.into_iter().flat_map(|(left, right)| [left, right].concat()) {
        assert!(CODE.contains(&name) || page::lines_have(&lines, name), "{name} in {lines}");
    }

    let sentry = steeple.sentry().ok_or("the process has a Sentry client")?;
    sentry.flush(Duration::from_secs(30));
    transport.fetch_and_clear_events();

    // Steeple alone.
    let alone = routes().layer(steeple.layer());
    let (status, id) = ask(&alone, "/fails").await?;
    assert!(status == 500 && id.is_some());
    let lines = written.take();
    assert!(!lines.contains("finished processing request") && !lines.contains("hunter2"), "{lines}");
    assert!(lines.lines().any(|line| line.contains("steeple::access") && line.contains("ERROR")), "{lines}");
    // An invalid request for an upgrade is answered like any other.
    assert_eq!(ask(&alone, "/socket").await?.0, 400);

    // The failure is one event of the team's own client, without the secret.
    sentry.flush(Duration::from_secs(30));
    let events = transport.fetch_and_clear_events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].release.as_deref(), Some("their-release"));
    assert!(!format!("{events:?}").contains("hunter2"));

    // What a handler spawns with the request's span, which is the current one, captures for the request.
    assert_eq!(ask(&alone, "/spawns").await?.0, 200);
    let events = transport.fetch_and_clear_events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].message.as_deref(), Some("spawned"));
    assert_eq!(events[0].user.as_ref().and_then(|user| user.id.as_deref()), Some("u-7"), "{events:#?}");
    assert_eq!(events[0].transaction.as_deref(), Some("GET /spawns"), "{events:#?}");

    // A job, beside all of it.
    steeple.job("nightly import").run(async { Err::<(), _>("no file") }).await.unwrap_err();
    assert!(written.take().lines().any(|line| line.contains("nightly import failed")));
    assert_eq!(transport.fetch_and_clear_events().len(), 1);
    Ok(())
}
