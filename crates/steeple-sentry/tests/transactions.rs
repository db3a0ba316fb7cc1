//! Transactions, traces and release health.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use axum::{Router, extract::Path, routing::get as route};
use common::{Receiver, get, send, serve};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use sentry_core::{
    Envelope,
    protocol::{Context, EnvelopeItem, SpanStatus, TraceContext},
};
use steeple_core::{RouteOptions, User};
use steeple_sentry::{Parent, in_span, propagate, set_user};

const SENTRY: &str = "09e04486820349518ac7b5d2adbf6ba5-9cf635fa5b870b3a";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn app() -> Router {
    Router::new()
        .route(
            "/users/{id}",
            route(|Path(id): Path<String>| async move {
                set_user(User::new("u-1").with_email("ann@example.org"));
                in_span("db.query", "SELECT * FROM users WHERE password = 'hunter2hunter2'", || id)
            }),
        )
        .route("/health", route(|| async { "fine" }))
        .route("/fail", route(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/panic", route(panics))
        .route(
            "/out",
            route(|| async {
                let mut headers = HeaderMap::new();
                headers.insert("baggage", HeaderValue::from_static("other=1"));
                propagate(&mut headers);
                let line = |name| {
                    headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("-").to_owned()
                };
                [line("sentry-trace"), line("traceparent"), line("baggage")].join("\n")
            }),
        )
}

async fn panics() -> &'static str {
    panic!("out of cheese")
}

async fn request(address: std::net::SocketAddr, path: &str, headers: &[(&str, &str)]) -> String {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(address, request.body(String::new()).unwrap()).await.unwrap();
    String::from_utf8(answer.body().to_vec()).unwrap()
}

fn trace(contexts: &std::collections::BTreeMap<String, Context>) -> TraceContext {
    match contexts.get("trace") {
        Some(Context::Trace(trace)) => (**trace).clone(),
        other => panic!("no trace: {other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_has_its_route_trace_user_span_and_no_secret() {
    let receiver = Receiver::with(|options| options.release("shop@1.2.3").traces_sample_rate(1.0).without_sessions());
    let address = serve(app().layer(receiver.sentry.layer())).await;
    request(address, "/users/7?token=hunter2hunter2", &[("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01"))])
        .await;
    let envelopes = receiver.envelopes();
    let header = serde_json::to_value(envelopes[0].headers()).unwrap();
    let Some(EnvelopeItem::Transaction(transaction)) = envelopes[0].items().next() else { panic!("{envelopes:?}") };
    assert_eq!(transaction.name.as_deref(), Some("GET /users/{id}"));
    let traced = trace(&transaction.contexts);
    assert_eq!((traced.trace_id.to_string().as_str(), traced.op.as_deref()), (TRACE, Some("http.server")));
    assert_eq!(traced.parent_span_id.unwrap().to_string(), "b7ad6b7169203331");
    assert_eq!((traced.status, traced.data["http.response.status_code"].as_u64()), (Some(SpanStatus::Ok), Some(200)));
    assert_eq!(transaction.request.as_ref().unwrap().query_string.as_deref(), Some("token=[Filtered]"));
    let user = transaction.user.as_ref().unwrap();
    assert_eq!((user.id.as_deref(), user.email.as_deref()), (Some("u-1"), None), "as the privacy policy leaves it");
    let span = &transaction.spans[0];
    assert_eq!((span.op.as_deref(), span.parent_span_id), (Some("db.query"), Some(traced.span_id)));
    assert!(!span.description.as_ref().unwrap().contains("hunter2"), "{:?}", span.description);
    assert_eq!(
        (header["trace"]["sample_rate"].as_str(), header["trace"]["release"].as_str()),
        (Some("1"), Some("shop@1.2.3")),
        "{header}"
    );
    assert_eq!(header["trace"]["transaction"], "GET /users/{id}");
}

#[tokio::test]
async fn route_environment_and_caller_decide_on_sampling() {
    let receiver = Receiver::with(|options| {
        options
            .traces_sample_rate(1.0)
            .traces_sample_rate_in("test", 0.0)
            .route("/users/{id}", RouteOptions::new().trace_sample_ratio(1.0))
    });
    let address = serve(app().layer(receiver.sentry.layer())).await;
    let yes = format!("{SENTRY}-1");
    request(address, "/health", &[]).await;
    request(address, "/health", &[("sentry-trace", &yes)]).await;
    assert_eq!(receiver.transactions().len(), 0, "a rate of 0 is the owner's no");
    request(address, "/users/1", &[]).await;
    request(address, "/users/2", &[("sentry-trace", &format!("{SENTRY}-0"))]).await;
    let transactions = receiver.transactions();
    assert_eq!(transactions.len(), 1);

    let low = Receiver::with(|options| options.traces_sample_rate(1e-9));
    let address = serve(app().layer(low.sentry.layer())).await;
    request(address, "/health", &[("sentry-trace", &yes)]).await;
    let transactions = low.transactions();
    assert_eq!(trace(&transactions[0].contexts).trace_id.to_string(), "09e04486820349518ac7b5d2adbf6ba5");

    let public = Receiver::with(|options| options.traces_sample_rate(1e-9).parent(Parent::Ignored));
    let address = serve(app().layer(public.sentry.layer())).await;
    request(address, "/health", &[("sentry-trace", &yes)]).await;
    assert_eq!(public.transactions().len(), 0, "strangers cannot turn tracing on");
}

#[tokio::test]
async fn outside_of_the_router_the_rate_of_the_route_counts_that_is_learned_later() {
    let receiver = Receiver::with(|options| {
        options.traces_sample_rate(1.0).route("/health", RouteOptions::new().trace_sample_ratio(0.0))
    });
    let inner = app().layer(steeple_core::ObserveLayer::new(()));
    let service = tower::Layer::layer(&receiver.sentry.layer(), inner);
    for path in ["/health", "/users/1"] {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(service.clone(), request).await.unwrap();
        http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    }
    let names: Vec<_> = receiver.transactions().into_iter().filter_map(|transaction| transaction.name).collect();
    assert_eq!(names, ["GET /users/{id}"]);
}

#[tokio::test]
async fn event_and_transaction_of_an_exchange_share_one_trace_and_span() {
    let receiver = Receiver::with(|options| options.traces_sample_rate(1.0));
    let address = serve(app().layer(receiver.sentry.layer())).await;
    get(address, "/fail").await.unwrap();
    let envelopes = receiver.envelopes();
    let event = envelopes.iter().find_map(Envelope::event).unwrap();
    let transaction = envelopes
        .iter()
        .flat_map(Envelope::items)
        .find_map(|item| if let EnvelopeItem::Transaction(it) = item { Some(it) } else { None });
    let (event, transaction) = (trace(&event.contexts), trace(&transaction.unwrap().contexts));
    assert_eq!((event.trace_id, event.span_id), (transaction.trace_id, transaction.span_id));
    assert_eq!(transaction.status, Some(SpanStatus::InternalError));
}

#[tokio::test]
async fn the_trace_goes_out_as_it_came_in() {
    let receiver = Receiver::with(|options| options.traces_sample_rate(1.0).release("shop@1"));
    let address = serve(app().layer(receiver.sentry.layer())).await;
    let out = request(
        address,
        "/out",
        &[
            ("sentry-trace", &format!("{SENTRY}-1")),
            ("baggage", "other=2,sentry-trace_id=09e04486820349518ac7b5d2adbf6ba5,sentry-sample_rate=0.5"),
        ],
    )
    .await;
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("09e04486820349518ac7b5d2adbf6ba5-") && lines[0].ends_with("-1"), "{out}");
    assert!(lines[1].starts_with("00-09e04486820349518ac7b5d2adbf6ba5-") && lines[1].ends_with("-01"), "{out}");
    assert_eq!(
        lines[2], "other=1,sentry-trace_id=09e04486820349518ac7b5d2adbf6ba5,sentry-sample_rate=0.5",
        "frozen by who began"
    );
    let header = serde_json::to_value(receiver.envelopes()[0].headers()).unwrap();
    assert_eq!(header["trace"]["sample_rate"], "0.5");

    let own = request(address, "/out", &[]).await;
    assert!(own.contains("sentry-public_key=public") && own.contains("sentry-release=shop%401"), "{own}");
}

#[tokio::test]
async fn without_tracing_a_trace_still_goes_through() {
    let receiver = Receiver::new();
    let address = serve(app().layer(receiver.sentry.layer())).await;
    let out = request(address, "/out", &[("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-00"))]).await;
    assert!(out.starts_with(TRACE) && out.contains(&format!("00-{TRACE}-")), "{out}");
    assert_eq!(receiver.envelopes().len(), 0);
}

#[tokio::test]
async fn release_health_counts_each_exchange_once() {
    let receiver = Receiver::with(|options| options.release("shop@1.2.3"));
    let _installed = receiver.sentry.clone().install();
    let address = serve(app().layer(receiver.sentry.layer())).await;
    for path in ["/health", "/health", "/nowhere", "/fail"] {
        get(address, path).await.unwrap();
    }
    assert!(get(address, "/panic").await.is_none());
    let envelopes = receiver.envelopes();
    let sessions = envelopes
        .iter()
        .flat_map(Envelope::items)
        .find_map(|item| if let EnvelopeItem::SessionAggregates(it) = item { Some(it) } else { None });
    let sessions = sessions.unwrap();
    let counted = &sessions.aggregates[0];
    assert_eq!((counted.exited, counted.errored, counted.crashed, counted.abnormal), (3, 1, 1, 0));
    assert_eq!(
        (&*sessions.attributes.release, sessions.attributes.environment.as_deref()),
        ("shop@1.2.3", Some("test"))
    );
}

/// What Sentry is searched by.
#[tokio::test]
async fn the_region_is_a_tag_of_each_event_and_each_transaction() {
    let receiver =
        Receiver::with(|options| options.traces_sample_rate(1.0).region("eu-central-1").region_or("elsewhere"));
    let address = serve(app().layer(receiver.sentry.layer())).await;
    get(address, "/fail").await.unwrap();
    let failed: Vec<_> = receiver.envelopes().into_iter().flat_map(Envelope::into_items).collect();
    let event = failed.iter().find_map(|item| if let EnvelopeItem::Event(event) = item { Some(event) } else { None });
    assert_eq!(event.unwrap().tags["cloud.region"], "eu-central-1");
    get(address, "/users/7").await.unwrap();
    let transactions = receiver.transactions();
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].tags["cloud.region"], "eu-central-1");
}
