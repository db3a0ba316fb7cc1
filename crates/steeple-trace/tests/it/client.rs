//! Outgoing calls: a span, its parent, the trace passed on.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, routing::get as on_get};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use steeple_core::test_util::{ScriptedBody, Step};
use steeple_trace::{ClientLayer, Sampling, TailSampling, Trace, TraceBuilder, UrlTemplate};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Rig, ask, attributes, is_error};

/// Calls once, outside of any exchange; returns the sent headers.
async fn call(
    rig: &Rig,
    layer: ClientLayer,
    request: Request<Body>,
    answer: Result<Response<ScriptedBody>, std::fmt::Error>,
) -> HeaderMap {
    let sent = Arc::new(Mutex::new(HeaderMap::new()));
    let (seen, answer) = (Arc::clone(&sent), Arc::new(Mutex::new(Some(answer))));
    let client = layer.layer(service_fn(move |request: Request<Body>| {
        *seen.lock().unwrap() = request.headers().clone();
        let answer = answer.lock().unwrap().take().unwrap();
        async move { answer }
    }));
    if let Ok(response) = client.oneshot(request).await {
        let _result = response.into_body().collect().await;
    }
    let _all = rig.spans();
    std::mem::take(&mut sent.lock().unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "what a service returns")]
fn answer(status: u16) -> Result<Response<ScriptedBody>, std::fmt::Error> {
    Ok(Response::builder().status(status).body(ScriptedBody::new([Step::Data(b"x")])).unwrap())
}

fn to(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_call_is_described_in_the_words_of_the_convention_without_its_secrets() {
    let rig = Rig::new(Trace::builder());
    let mut request = to("http://ann:hunter2@api.example/users/7?token=abc123&page=2");
    request.extensions_mut().insert(UrlTemplate("/users/{id}"));
    let sent = call(&rig, rig.trace.client_layer(), request, answer(200)).await;
    let span = rig.span();
    assert_eq!((span.name.as_ref(), span.span_kind.clone()), ("GET /users/{id}", SpanKind::Client));
    let said = attributes(&span);
    assert_eq!(said["http.request.method"], "GET");
    assert_eq!(said["http.response.status_code"], "200:int");
    assert_eq!((said["server.address"].as_str(), said["server.port"].as_str()), ("api.example", "80:int"));
    assert!(said["url.full"].contains("api.example/users/7") && said["url.full"].contains("page=2"), "{said:?}");
    assert!(!format!("{span:?}").contains("hunter2") && !format!("{span:?}").contains("abc123"));
    let context = &span.span_context;
    assert_eq!(sent["traceparent"], format!("00-{}-{}-03", context.trace_id(), context.span_id()).as_str());
    assert_eq!(span.status, Status::Unset);
}

#[tokio::test]
async fn hosts_and_urls_of_calls_are_scrubbed_and_cut() {
    let bot = ["123456789:A", "AHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_"].concat();
    let token = ["ghp_", "x7Kq2mZ9pLw4Rt8Vn3Bc6Yd1Fg5Hj0As2De4"].concat();
    for (uri, secret) in [
        (format!("https://api.telegram.org/bot{bot}/sendMessage?chat_id=7"), "AHdqTcvCH1"),
        (format!("https://{token}.example/a"), "x7Kq2mZ9"),
        (format!("https://a.example/{}", "x".repeat(60_000)), "no secret"),
    ] {
        let rig = Rig::new(Trace::builder());
        call(&rig, rig.trace.client_layer(), to(&uri), answer(200)).await;
        let span = rig.span();
        assert!(!format!("{span:?}").contains(secret), "{span:?}");
        assert!(attributes(&span).values().all(|value| value.len() <= 8 * 1024), "{}", uri.len());
    }
}

#[tokio::test]
async fn a_client_counts_4xx_and_its_own_errors_but_not_what_the_caller_drops() {
    for (answered, class, error) in [
        (answer(404), Some("404"), true),
        (answer(503), Some("503"), true),
        (answer(302), None, false),
        (Err(std::fmt::Error), Some("core::fmt::Error"), true),
        (Ok(Response::new(ScriptedBody::new([Step::Fail("cut")]))), Some("alloc::string::String"), true),
    ] {
        let rig = Rig::new(Trace::builder());
        call(&rig, rig.trace.client_layer(), to("http://a.example/"), answered).await;
        let span = rig.span();
        assert_eq!((attributes(&span).get("error.type").map(String::as_str), is_error(&span)), (class, error));
    }
    let rig = Rig::new(Trace::builder());
    let client = rig
        .trace
        .client_layer()
        .layer(service_fn(|_: Request<Body>| std::future::pending::<Result<Response<ScriptedBody>, Infallible>>()));
    let gave_up =
        tokio::time::timeout(std::time::Duration::from_millis(5), client.oneshot(to("http://a.example/"))).await;
    let span = rig.span();
    assert!(gave_up.is_err() && !is_error(&span));
    assert_eq!(
        attributes(&span).get("error.type").map(String::as_str),
        Some("cancelled"),
        "it is visible all the same"
    );
}

#[tokio::test]
async fn a_grpc_call_is_described_by_its_trailers() {
    let rig = Rig::new(Trace::builder());
    let request = Request::post("/board.v1.Tasks/Get").header("content-type", "application/grpc");
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "5".parse().unwrap())]);
    let answered = Ok(Response::new(ScriptedBody::new([Step::Data(b"m"), Step::Trailers(trailers)])));
    let layer = rig.trace.client_layer().server("board.example:50051".parse().unwrap());
    call(&rig, layer, request.body(Body::empty()).unwrap(), answered).await;
    let span = rig.span();
    let said = attributes(&span);
    let want = [
        ("error.type", "NOT_FOUND"),
        ("rpc.method", "board.v1.Tasks/Get"),
        ("rpc.response.status_code", "NOT_FOUND"),
        ("rpc.system.name", "grpc"),
        ("server.address", "board.example"),
        ("server.port", "50051:int"),
    ];
    assert_eq!(said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), want);
    assert_eq!((span.name.as_ref(), is_error(&span)), ("board.v1.Tasks/Get", true));
}

/// Two services: the first calls the second while it serves.
async fn through_two(builder: TraceBuilder, request: Request<Body>) -> (Vec<SpanData>, HeaderMap) {
    let rig = Rig::new(builder);
    let sent = Arc::new(Mutex::new(HeaderMap::new()));
    let seen = Arc::clone(&sent);
    let second = Router::new()
        .route(
            "/second",
            on_get(move |headers: HeaderMap| async move {
                *seen.lock().unwrap() = headers;
            }),
        )
        .layer(rig.trace.layer());
    let client = rig.trace.client_layer().baggage_to("second.example");
    let first = Router::new()
        .route(
            "/first",
            on_get(move || async move {
                // On a separate thread, as on another machine.
                let remote = service_fn(move |request: Request<Body>| {
                    let second = second.clone();
                    async move {
                        let served = tokio::task::spawn_local(async move { second.oneshot(request).await });
                        served.await.unwrap()
                    }
                });
                let response = client.layer(remote).oneshot(to("http://second.example/second")).await.unwrap();
                response.into_body().collect().await.unwrap();
            }),
        )
        .layer(rig.trace.layer());
    let local = tokio::task::LocalSet::new();
    let status = local.run_until(async { ask(&first, request).await.status() }).await;
    assert_eq!(status, StatusCode::OK);
    let headers = sent.lock().unwrap().clone();
    (rig.spans(), headers)
}

fn first() -> axum::http::request::Builder {
    Request::get("/first").header("tracestate", "vendor=1").header("baggage", "tenant=acme")
}

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn two_services_make_one_trace_with_the_right_parents() {
    let request = first().header("traceparent", CALLER).body(Body::empty()).unwrap();
    let (spans, sent) = through_two(Trace::builder(), request).await;
    let of = |name: &str, kind: &SpanKind| {
        spans.iter().find(|span| span.name == name && span.span_kind == *kind).unwrap_or_else(|| panic!("{name}"))
    };
    let server = of("GET /first", &SpanKind::Server);
    let client = of("GET", &SpanKind::Client);
    let second = of("GET /second", &SpanKind::Server);
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(second.parent_span_id, client.span_context.span_id());
    assert!(second.parent_span_is_remote && spans.len() == 3);
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == CALLER[3..35]));
    assert_eq!((sent["tracestate"].to_str().unwrap(), sent["baggage"].to_str().unwrap()), ("vendor=1", "tenant=acme"));
}

#[tokio::test]
async fn a_callers_ids_are_passed_on_and_unknown_flags_are_not() {
    for (came, goes) in [("01", "01"), ("03", "03"), ("02", "02"), ("fd", "01"), ("ff", "03"), ("fe", "02")] {
        let caller = format!("{}{came}", &CALLER[..53]);
        let request = first().header("traceparent", caller).body(Body::empty()).unwrap();
        let (_, sent) = through_two(Trace::builder(), request).await;
        let passed = sent["traceparent"].to_str().unwrap();
        assert!(passed.starts_with(&CALLER[..36]) && passed.ends_with(goes), "{came}: {passed}");
    }
    let (_, sent) = through_two(Trace::builder(), first().body(Body::empty()).unwrap()).await;
    assert!(sent["traceparent"].to_str().unwrap().ends_with("-03"), "ids of our own are random: {sent:?}");
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_passed_on_without_spans() {
    let not_sampled = format!("{}00", &CALLER[..53]);
    let request = first().header("traceparent", not_sampled).body(Body::empty()).unwrap();
    let (spans, sent) = through_two(Trace::builder(), request).await;
    assert!(spans.is_empty());
    let passed = sent["traceparent"].to_str().unwrap();
    assert!(passed.starts_with(&CALLER[..36]) && passed.ends_with("-00"), "{passed}");
    assert_eq!((sent["tracestate"].to_str().unwrap(), sent["baggage"].to_str().unwrap()), ("vendor=1", "tenant=acme"));
}

#[tokio::test]
async fn calls_of_a_held_exchange_are_held_with_it() {
    let builder = Trace::builder()
        .sampling(Sampling::always_off())
        .tail_sampling(TailSampling::new().slow(std::time::Duration::ZERO));
    let (spans, sent) = through_two(builder, first().body(Body::empty()).unwrap()).await;
    assert_eq!(spans.len(), 3, "each exchange was worth keeping");
    assert!(sent["traceparent"].to_str().unwrap().ends_with("-02"));
}

#[tokio::test]
async fn strangers_get_neither_baggage_nor_trace_if_so_configured() {
    use opentelemetry::{Context, KeyValue, baggage::BaggageExt};
    let rig = Rig::new(Trace::builder());
    let _baggage = Context::current_with_baggage([KeyValue::new("tenant", "acme")]).attach();
    let layer = || rig.trace.client_layer().baggage_to("*.inner.example");
    let sent = call(&rig, layer(), to("http://a.inner.example/"), answer(200)).await;
    assert_eq!(sent["baggage"], "tenant=acme");
    let sent = call(&rig, layer(), to("http://other.example/"), answer(200)).await;
    assert!(sent.contains_key("traceparent") && !sent.contains_key("baggage"));
    let sent = call(&rig, layer().only_to("a.inner.example"), to("http://other.example/"), answer(200)).await;
    assert!(sent.is_empty());
    assert_eq!(rig.spans().len(), 3, "the calls are on record all the same");
}

#[tokio::test]
async fn a_call_outside_of_any_exchange_begins_a_trace() {
    let rig = Rig::new(Trace::builder());
    call(&rig, rig.trace.client_layer(), to("http://a.example/"), answer(200)).await;
    assert_eq!(rig.span().parent_span_id, SpanId::INVALID);
    let none = Rig::new(Trace::builder().sampling(Sampling::always_off()));
    let sent = call(&none, none.trace.client_layer(), to("http://a.example/"), answer(200)).await;
    assert!(none.spans().is_empty() && sent["traceparent"].to_str().unwrap().ends_with("-02"));
}

/// Sends `/start` elsewhere; what arrives is noted by host.
fn redirecting(
    seen: &Arc<Mutex<Vec<(String, HeaderMap)>>>,
) -> impl tower::Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>>,
> + Clone {
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<Body>| {
        let host = request.uri().host().unwrap().to_owned();
        let elsewhere = (request.uri().path() == "/start").then_some("http://other.example/end");
        seen.lock().unwrap().push((host, request.headers().clone()));
        let response = elsewhere
            .into_iter()
            .fold(Response::builder(), |response, place| response.status(StatusCode::FOUND).header("location", place));
        async move { Ok(response.body(Body::empty()).unwrap()) }
    })
}

#[tokio::test]
async fn redirects_that_are_followed_above_the_layer_take_nothing_to_hosts_that_are_not_listed() {
    use opentelemetry::{Context, KeyValue, baggage::BaggageExt};
    use tower_http::follow_redirect::FollowRedirectLayer;
    let rig = Rig::new(Trace::builder());
    let _baggage = Context::current_with_baggage([KeyValue::new("tenant", "acme")]).attach();
    let layer = rig.trace.client_layer().only_to("*.internal").baggage_to("*.internal");
    let carries = |headers: &HeaderMap| headers.contains_key("traceparent") || headers.contains_key("baggage");
    let seen = Arc::default();
    let client = FollowRedirectLayer::new().layer(layer.clone().layer(redirecting(&seen)));
    client.oneshot(to("http://stock.internal/start")).await.unwrap();
    let calls = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(
        calls.iter().map(|(host, headers)| (host.as_str(), carries(headers))).collect::<Vec<_>>(),
        [("stock.internal", true), ("other.example", false)]
    );
    assert_eq!(rig.spans().len(), 2, "each hop is a call");
    // Below the layer it is one call, whose headers go along: that is what the docs warn of.
    let client = layer.layer(FollowRedirectLayer::new().layer(redirecting(&seen)));
    client.oneshot(to("http://stock.internal/start")).await.unwrap();
    assert!(seen.lock().unwrap().iter().all(|(_, headers)| carries(headers)));
}
