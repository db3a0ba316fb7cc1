//! What a server span says, and when it is there.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get as on_get};
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::{
    Context,
    trace::{SpanId, SpanKind, Status, TraceContextExt},
};
use opentelemetry_sdk::trace::{InMemorySpanExporterBuilder, SdkTracerProvider};
use steeple_core::{
    Exchange, ObserveLayer, RouteOptions, User,
    test_util::{ScriptedBody, Step},
};
use steeple_trace::{Sampling, Segments, Trace};
use tower::{Layer, ServiceExt, service_fn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt};

use crate::support::{Rig, ask, attributes, get, is_error};

fn app(trace: &Trace) -> Router {
    Router::new()
        .route("/users/{id}", on_get(|| async { "Ann" }))
        .route("/fail", on_get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .layer(trace.layer())
}

#[tokio::test]
async fn a_request_is_described_in_the_words_of_the_convention() {
    let rig = Rig::new(Trace::builder().peer(|_| Some("192.0.2.7:4321".parse().unwrap())));
    let app = Router::new()
        .route(
            "/users/{id}",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                exchange.set_user(User::new("u-1").with_email("ann@example.org"));
                exchange.set_client_address("192.0.2.7".parse().unwrap());
                exchange.set_attribute("cart.items", 3_i64);
                exchange.set_attribute("http.route", "forged");
                "Ann"
            }),
        )
        .layer(rig.trace.layer());
    let request = Request::get("/users/7?color=red&token=abc123")
        .header("host", "shop.example:8080")
        .header("user-agent", "curl/8")
        .body(Body::empty())
        .unwrap();
    ask(&app, request).await;
    let span = rig.span();
    assert_eq!((span.name.as_ref(), span.span_kind.clone()), ("GET /users/{id}", SpanKind::Server));
    assert_eq!(span.status, Status::Unset);
    let attributes = attributes(&span);
    let want = [
        ("cart.items", "3:int"),
        ("client.address", "192.0.2.0"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200:int"),
        ("http.route", "/users/{id}"),
        ("network.peer.address", "192.0.2.0"),
        ("network.peer.port", "4321:int"),
        ("network.protocol.version", "1.1"),
        ("server.address", "shop.example"),
        ("server.port", "8080:int"),
        ("url.path", "/users/7"),
        ("url.scheme", "http"),
        ("user.id", "u-1"),
        ("user_agent.original", "curl/8"),
    ];
    for (name, value) in want {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(attributes.len(), want.len() + 1, "and the query: {attributes:?}");
    assert!(attributes["url.query"].starts_with("color=red&token="));
    assert!(!format!("{span:?}").contains("abc123") && !format!("{span:?}").contains("ann@example.org"));
}

#[tokio::test]
async fn a_proxys_own_address_is_shown_whole_and_its_word_believed_if_so_configured() {
    let builder = Trace::builder().behind_proxy().peer(|_| Some("192.0.2.7:1".parse().unwrap()));
    let rig = Rig::new(builder);
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                exchange.set_client_address("198.51.100.9".parse().unwrap());
            }),
        )
        .layer(rig.trace.layer());
    let request = Request::get("/")
        .header("host", "inner")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "shop.example");
    ask(&app, request.body(Body::empty()).unwrap()).await;
    let attributes = attributes(&rig.span());
    assert_eq!(attributes["network.peer.address"], "192.0.2.7");
    assert_eq!(attributes["client.address"], "198.51.100.0");
    assert_eq!((attributes["url.scheme"].as_str(), attributes["server.address"].as_str()), ("https", "shop.example"));
}

#[tokio::test]
async fn names_hold_no_paths_and_unknown_methods_fold() {
    let rig = Rig::new(Trace::builder());
    let app = app(&rig.trace);
    ask(&app, get("/nowhere/4711")).await;
    ask(&app, Request::builder().method("BREW").uri("/users/1").body(Body::empty()).unwrap()).await;
    let spans = rig.spans();
    assert_eq!(spans[0].name, "GET");
    assert!(!attributes(&spans[0]).contains_key("http.route"));
    assert_eq!(spans[1].name, "HTTP /users/{id}");
    let brewed = attributes(&spans[1]);
    assert_eq!(brewed["http.request.method"], "_OTHER");
    assert_eq!(brewed["http.request.method_original"], "BREW");
    assert!(!is_error(&spans[1]), "405 is the client's fault");
}

/// What the span of an exchange with this ending says: status code, `error.type`, whether it is an error.
async fn ending<F, Fut>(answer: F) -> (Option<String>, Option<String>, bool)
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<ScriptedBody>, String>> + Send,
{
    let rig = Rig::new(Trace::builder());
    let service = rig.trace.layer().layer(service_fn(move |_| answer()));
    let asked = async {
        let response = service.oneshot(Request::new(Body::empty())).await.ok()?;
        response.into_body().collect().await.ok()
    };
    // Those that never answer are dropped, those that panic are caught.
    let asked = std::panic::AssertUnwindSafe(tokio::time::timeout(Duration::from_millis(20), asked)).catch_unwind();
    let _outcome = asked.await;
    let span = rig.span();
    let attributes = attributes(&span);
    let of = |name: &str| attributes.get(name).cloned();
    (of("http.response.status_code"), of("error.type"), is_error(&span))
}

#[expect(clippy::unnecessary_wraps, reason = "what a service returns")]
fn answer(status: u16, steps: Vec<Step>) -> Result<Response<ScriptedBody>, String> {
    Ok(Response::builder().status(status).body(ScriptedBody::new(steps)).unwrap())
}

#[tokio::test]
async fn each_ending_has_its_status_and_its_class() {
    let said = |status: Option<&str>, class: Option<&str>, is_error| {
        (status.map(str::to_owned), class.map(str::to_owned), is_error)
    };
    let data = || vec![Step::Data(b"a"), Step::Pending, Step::Data(b"b")];
    assert_eq!(ending(move || async move { answer(200, data()) }).await, said(Some("200:int"), None, false));
    assert_eq!(ending(move || async move { answer(404, data()) }).await, said(Some("404:int"), None, false));
    assert_eq!(ending(move || async move { answer(503, data()) }).await, said(Some("503:int"), Some("503"), true));
    assert_eq!(
        ending(|| async { answer(201, vec![Step::Data(b"a"), Step::Fail("disk")]) }).await,
        said(Some("201:int"), Some("body_error"), true)
    );
    assert_eq!(
        ending(|| async { answer(200, vec![Step::Panic("oh")]) }).await,
        said(Some("200:int"), Some("panicked"), true)
    );
    assert_eq!(ending(|| async { Err("lost".to_owned()) }).await, said(None, Some("service_error"), true));
    assert_eq!(ending(std::future::pending).await, said(None, Some("cancelled"), true));
    let stuck = || vec![Step::Data(b"a")];
    let waits_for_ever = move || async move {
        let body = ScriptedBody::new(stuck());
        std::future::pending::<()>().await;
        Ok(Response::new(body))
    };
    assert_eq!(ending(waits_for_ever).await, said(None, Some("cancelled"), true));
}

#[tokio::test]
async fn a_failure_is_an_exception_without_secrets() {
    let rig = Rig::new(Trace::builder());
    let service = rig.trace.layer().layer(service_fn(|_| async {
        let message = "no connection to postgres://ann:hunter2@db/x";
        Err::<Response<ScriptedBody>, _>(std::io::Error::other(message).to_string())
    }));
    let failed = service.oneshot(Request::new(Body::empty())).await;
    assert!(failed.is_err());
    let span = rig.span();
    assert_eq!(span.events.len(), 1);
    let event = &span.events[0];
    assert_eq!(event.name, "exception");
    let keys: Vec<_> = event.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys, ["exception.type", "exception.message"]);
    let Status::Error { description } = &span.status else { panic!("{:?}", span.status) };
    assert!(description.starts_with("no connection to postgres://"), "{description}");
    assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
}

#[tokio::test]
async fn the_span_is_open_until_the_last_byte() {
    let rig = Rig::new(Trace::builder());
    let service = rig.trace.layer().layer(service_fn(|_| async {
        Ok::<_, Infallible>(Response::new(ScriptedBody::new([Step::Data(b"a"), Step::Data(b"b")])))
    }));
    let mut body = service.oneshot(Request::new(Body::empty())).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(rig.spans().is_empty(), "a byte is still to come");
    tokio::time::sleep(Duration::from_millis(30)).await;
    body.frame().await.unwrap().unwrap();
    assert!(body.frame().await.is_none());
    let span = rig.span();
    assert!(span.end_time.duration_since(span.start_time).unwrap() >= Duration::from_millis(30));
}

#[tracing::instrument(fields(password = "hunter2"))]
async fn look_up() {
    tokio::task::yield_now().await;
    tracing::info!(note = "Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "looked");
}

#[tokio::test]
async fn the_handler_sees_the_span_and_all_that_it_starts_is_below_it() {
    let rig = Rig::new(Trace::builder());
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let ids = exchange.trace().copied().unwrap();
                for _ in 0..2 {
                    let of_tracing = tracing::Span::current().context().span().span_context().clone();
                    let of_otel = Context::current().span().span_context().clone();
                    assert_eq!(of_tracing, of_otel);
                    assert_eq!(of_otel.span_id().to_bytes(), ids.span_id().to_bytes());
                    assert_eq!(of_otel.trace_id().to_bytes(), ids.trace_id().to_bytes());
                    assert!(of_otel.is_sampled() && ids.is_sampled());
                    tokio::task::yield_now().await;
                }
                look_up().await;
                exchange.segment("db", "select users", look_up()).with("db.system.name", "postgresql").await;
                tracing::error!("an event does not make the exchange fail");
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    assert!(!Context::current().span().span_context().is_valid(), "nothing stays behind on this thread");
    let spans = rig.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names, ["look_up", "look_up", "select users", "GET /"]);
    let [first, second, segment, server] = spans.as_slice() else { panic!() };
    assert_eq!(server.parent_span_id, SpanId::INVALID);
    assert_eq!(first.parent_span_id, server.span_context.span_id());
    assert_eq!(segment.parent_span_id, server.span_context.span_id());
    assert_eq!(second.parent_span_id, segment.span_context.span_id());
    assert_eq!(segment.span_kind, SpanKind::Client);
    assert_eq!(attributes(segment)["db.query.summary"], "select users");
    assert_eq!((is_error(server), server.events.len()), (false, 1));
    let shown = format!("{spans:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("abcdefghijkl"), "{shown}");
}

#[tokio::test]
async fn a_segment_that_is_dropped_ends_and_one_in_a_spawned_task_is_below_the_exchange() {
    let rig = Rig::new(Trace::builder());
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let never = exchange.segment("http", "never", std::future::pending::<()>());
                assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
                let task = exchange.0.clone();
                tokio::spawn(async move { task.segment("work", "spawned", async {}).await }).await.unwrap();
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    let spans = rig.spans();
    let server = spans.last().unwrap().span_context.span_id();
    let below: Vec<_> =
        spans.iter().filter(|span| span.parent_span_id == server).map(|span| span.name.as_ref()).collect();
    assert_eq!(below, ["never", "spawned"]);
}

#[tokio::test]
async fn a_failed_segment_has_its_class_and_the_exchange_goes_on() {
    let rig = Rig::new(Trace::builder());
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let parsed = exchange.try_segment("db", "select users", async { "x".parse::<u32>() });
                assert!(parsed.with("db.system.name", "postgresql").await.is_err());
                let boxed = async { Err::<(), Box<dyn std::error::Error>>("password=hunter2 is wrong".into()) };
                assert!(exchange.try_segment("cache", "get session", boxed).await.is_err());
                let fine = exchange.try_segment("db", "insert users", async { Ok::<_, std::fmt::Error>(1) });
                assert_eq!(fine.await, Ok(1));
                // An `Err` of this one is not marked as a failure.
                exchange.segment("db", "delete users", async { Err::<(), _>(std::fmt::Error) }).await.unwrap_err();
                let never = exchange.try_segment("db", "never", std::future::pending::<Result<(), String>>());
                assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    let spans = rig.spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| (span.name.as_ref(), is_error(span), attributes(span).get("error.type").cloned()))
        .collect();
    assert_eq!(
        told,
        [
            ("select users", true, Some("core::num::error::ParseIntError".to_owned())),
            ("get session", true, Some("_OTHER".to_owned())),
            ("insert users", false, None),
            ("delete users", false, None),
            ("never", false, None),
            ("GET /", false, None),
        ]
    );
    assert_eq!(attributes(&spans[0])["db.system.name"], "postgresql");
    let Status::Error { description } = &spans[0].status else { panic!("{:?}", spans[0]) };
    assert_eq!(description, "invalid digit found in string");
    assert!(!format!("{spans:?}").contains("hunter2"));
}

#[tokio::test]
async fn without_a_subscriber_the_span_is_there_all_the_same() {
    let rig = Rig::without_subscriber(Trace::builder());
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let current = Context::current().span().span_context().clone();
                assert_eq!(current.span_id().to_bytes(), exchange.trace().unwrap().span_id().to_bytes());
                exchange.segment("db", "select", tokio::task::yield_now()).await;
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    let spans = rig.spans();
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
    assert_eq!(spans[1].name, "GET /");
}

#[tokio::test]
async fn a_filter_takes_the_mirror_away_and_not_the_span() {
    let rig = Rig::without_subscriber(Trace::builder());
    let subscriber = tracing_subscriber::registry().with(rig.trace.tracing_layer()).with(LevelFilter::ERROR);
    let _subscriber = tracing::subscriber::set_default(subscriber);
    ask(&app(&rig.trace), get("/users/1")).await;
    assert_eq!(rig.span().name, "GET /users/{id}");
}

#[tokio::test]
async fn an_exchange_that_is_not_sampled_has_ids_and_its_handler_starts_no_trace() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()));
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let ids = exchange.trace().copied().unwrap();
                assert!(!ids.is_sampled());
                let inner = tracing::info_span!("inner");
                let context = inner.context().span().span_context().clone();
                assert_eq!(context.trace_id().to_bytes(), ids.trace_id().to_bytes(), "others pass the same trace on");
                assert!(!context.is_sampled());
                look_up().await;
                exchange.segment("db", "select", look_up()).await;
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    assert!(rig.spans().is_empty());
}

#[tokio::test]
async fn a_route_and_an_exchange_can_be_left_out() {
    struct Skip;
    impl steeple_core::Observer for Skip {
        type State = ();
        fn on_request(&self, exchange: &Exchange, request: &mut http::request::Parts) -> Option<()> {
            if request.uri.path() == "/fail" {
                exchange.skip(steeple_core::Signal::Traces);
            }
            None
        }
        fn on_end(&self, (): (), _: &Exchange, _: &steeple_core::End) {}
    }
    let rig = Rig::new(Trace::builder().route("/users/{id}", RouteOptions::new().trace_sample_ratio(0.0)));
    let app = Router::new()
        .route("/users/{id}", on_get(|| async {}))
        .route("/fail", on_get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/kept", on_get(|| async {}))
        .layer(ObserveLayer::new((Skip, rig.trace.clone())));
    for path in ["/users/1", "/fail", "/kept"] {
        ask(&app, get(path)).await;
    }
    assert_eq!(rig.span().name, "GET /kept");
}

#[tokio::test]
async fn a_route_without_spans_has_none_whenever_it_is_learned() {
    let skip = || RouteOptions::new().skip(steeple_core::Signal::Traces);
    // The layer is outside of the router: spans have begun when the route is known.
    let rig = Rig::new(Trace::builder().route("/late/{id}", skip()));
    let work = |route: &'static str| {
        move || async move {
            let exchange = Exchange::current().unwrap();
            exchange.report_route(route);
            tracing::info_span!("inner").in_scope(|| ());
            exchange.segment("db", "select", async {}).await;
        }
    };
    let inside = Router::new()
        .route("/late/{id}", on_get(work("/late/{id}")))
        .route("/layered", on_get(work("/layered")).layer(skip().layer().unwrap()))
        .route("/kept", on_get(work("/kept")));
    let app = Router::new().fallback_service(inside).layer(rig.trace.layer());
    for path in ["/late/1", "/layered", "/kept"] {
        ask(&app, get(path)).await;
    }
    let names: Vec<_> = rig.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["inner", "select", "GET /kept"]);
}

#[tokio::test]
async fn invalid_options_of_a_route_are_rejected() {
    let error = Trace::builder().route("/a", RouteOptions::new().trace_sample_ratio(1.5)).build().unwrap_err();
    assert!(error.is_route());
}

#[tokio::test]
async fn two_layers_of_one_trace_make_one_span() {
    let rig = Rig::new(Trace::builder());
    let app = app(&rig.trace).layer(rig.trace.layer());
    ask(&app, get("/users/1")).await;
    assert_eq!(rig.span().name, "GET /users/{id}");
}

#[tokio::test]
async fn below_another_layers_span_ours_is_its_child() {
    let rig = Rig::new(Trace::builder());
    let app = app(&rig.trace);
    let outer = tracing::info_span!("theirs");
    tracing::Instrument::instrument(ask(&app, get("/users/1")), outer.clone()).await;
    let theirs = outer.context().span().span_context().clone();
    let span = rig.span();
    assert_eq!(span.parent_span_id, theirs.span_id());
    assert_eq!(span.span_context.trace_id(), theirs.trace_id());
}

#[tokio::test]
async fn a_provider_that_is_there_already_gets_the_spans_and_its_ids_hold() {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let trace = Trace::builder().build_with_provider(&provider).unwrap();
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.tracing_layer()));
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let current = Context::current().span().span_context().clone();
                assert_eq!(current.span_id().to_bytes(), exchange.trace().unwrap().span_id().to_bytes());
            }),
        )
        .layer(trace.layer());
    ask(&app, get("/")).await;
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!((spans.len(), spans[0].name.as_ref()), (1, "GET /"));
}

fn grpc_request(path: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/grpc")
        .header("host", "board:50051")
        .body(Body::empty())
        .unwrap()
}

async fn grpc(path: &str, code: Option<&'static str>) -> opentelemetry_sdk::trace::SpanData {
    let rig = Rig::new(Trace::builder());
    let service = rig.trace.layer().layer(service_fn(move |_| async move {
        let mut trailers = HeaderMap::new();
        if let Some(code) = code {
            trailers.insert("grpc-status", code.parse().unwrap());
        }
        let body = ScriptedBody::new([Step::Data(b"message"), Step::Trailers(trailers)]);
        let response = Response::builder().header("content-type", "application/grpc").body(body);
        Ok::<_, Infallible>(response.unwrap())
    }));
    let response = service.oneshot(grpc_request(path)).await.unwrap();
    response.into_body().collect().await.unwrap();
    rig.span()
}

#[tokio::test]
async fn a_grpc_call_is_described_by_its_trailers() {
    let span = grpc("/board.v1.Tasks/Get", Some("14")).await;
    assert_eq!(span.name, "board.v1.Tasks/Get");
    let said = attributes(&span);
    let want = [
        ("error.type", "UNAVAILABLE"),
        ("rpc.method", "board.v1.Tasks/Get"),
        ("rpc.response.status_code", "UNAVAILABLE"),
        ("rpc.system.name", "grpc"),
        ("server.address", "board"),
        ("server.port", "50051:int"),
    ];
    assert_eq!(said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), want);
    assert!(is_error(&span));
    for (code, name, failed) in [("0", "OK", false), ("5", "NOT_FOUND", false), ("13", "INTERNAL", true)] {
        let span = grpc("/board.v1.Tasks/Get", Some(code)).await;
        assert_eq!((attributes(&span)["rpc.response.status_code"].as_str(), is_error(&span)), (name, failed));
        assert_eq!(attributes(&span).contains_key("error.type"), failed);
    }
    let silent = grpc("/board.v1.Tasks/Get", None).await;
    assert_eq!(attributes(&silent)["rpc.response.status_code"], "UNKNOWN");
}

#[tokio::test]
async fn a_grpc_method_that_does_not_exist_folds() {
    let span = grpc("/board.v1.Tasks/Nothing", Some("12")).await;
    assert_eq!(span.name, "grpc");
    let said = attributes(&span);
    assert_eq!(
        (said["rpc.method"].as_str(), said["rpc.method_original"].as_str()),
        ("_OTHER", "board.v1.Tasks/Nothing")
    );
}

#[tokio::test]
async fn headers_are_shown_only_if_someone_named_them_and_never_if_they_are_secret() {
    let builder =
        Trace::builder().request_header("x-tenant").request_header("authorization").captured_response_header("etag");
    let rig = Rig::new(builder);
    let app = Router::new().route("/", on_get(|| async { [("etag", "\"7\"")] })).layer(rig.trace.layer());
    let request = Request::get("/")
        .header("x-tenant", "a")
        .header("x-tenant", "b")
        .header("x-other", "c")
        .header("authorization", "Bearer abcdefghijklmnop");
    ask(&app, request.body(Body::empty()).unwrap()).await;
    let attributes = attributes(&rig.span());
    let headers: Vec<_> = attributes.iter().filter(|(name, _)| name.contains("header")).collect();
    assert_eq!(headers.len(), 2, "{headers:?}");
    assert_eq!(attributes["http.request.header.x-tenant"], "a|b");
    assert_eq!(attributes["http.response.header.etag"], "\"7\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_that_interleave_on_several_threads_keep_their_own_span() {
    let rig = Arc::new(Rig::without_subscriber(Trace::builder().queue(10_000, 512)));
    let app = Router::new()
        .route(
            "/{n}",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                for _ in 0..10 {
                    let current = Context::current().span().span_context().span_id();
                    assert_eq!(current.to_bytes(), exchange.trace().unwrap().span_id().to_bytes());
                    tokio::task::yield_now().await;
                }
            }),
        )
        .layer(rig.trace.layer());
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let app = app.clone();
            tokio::spawn(async move { ask(&app, get(&format!("/{n}"))).await.status() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
    let spans = tokio::task::spawn_blocking(move || rig.spans()).await.unwrap();
    assert_eq!(spans.len(), 200);
    assert!(spans.iter().all(|span| span.parent_span_id == SpanId::INVALID && !is_error(span)));
}
