//! A failure is one event, with the data to find its cause.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{convert::Infallible, fmt, io};

use axum::{Router, body::Body, extract::Path, response::IntoResponse, routing::get as route};
use common::{Receiver, exception, get, send, serve, trace_id};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use sentry_core::{
    Level,
    protocol::{Context, EnvelopeItem},
};
use steeple_core::{Exchange, GrpcStatus, ObserveLayer, RecordedError, RequestIds, User};
use steeple_sentry::{Carried, ErrorContext, breadcrumb, capture_error, capture_error_with, set_extra, set_tag};
use tower::{Layer, ServiceExt};

#[derive(Debug)]
struct SaveFailed(io::Error);

impl fmt::Display for SaveFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("could not save")
    }
}

impl std::error::Error for SaveFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn save_failed() -> SaveFailed {
    SaveFailed(io::Error::other("disk full"))
}

/// An Axum error that carries its cause, as applications write it.
struct AppError(StatusCode, SaveFailed);

impl IntoResponse for AppError {
    fn into_response(self) -> axum::response::Response {
        let mut response = self.0.into_response();
        response.extensions_mut().insert(RecordedError::of(&self.1));
        response
    }
}

fn app() -> Router {
    Router::new()
        .route("/ok", route(|| async { "fine" }))
        .route(
            "/noticed/{id}",
            route(|Path(id): Path<String>, exchange: Exchange| async move {
                exchange.set_user(User::new("u-1").with_email("ann@example.org"));
                exchange.set_attribute("cart", "c-9");
                breadcrumb("cart", format!("opened cart {id}"));
                set_tag("plan", "pro");
                set_extra("items", 3);
                exchange.record_error(&save_failed());
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/carried/{status}",
            route(
                |Path(status): Path<u16>| async move { AppError(StatusCode::from_u16(status).unwrap(), save_failed()) },
            ),
        )
        .route(
            "/status/{status}",
            route(|Path(status): Path<u16>| async move { StatusCode::from_u16(status).unwrap() }),
        )
        .route("/panic", route(|| async { panic_somewhere_deep() }))
        .route("/body-error", route(|| async { Response::new(common::broken_body()) }))
        .route(
            "/captured-and-noticed",
            route(|exchange: Exchange| async move {
                let error = save_failed();
                capture_error(&error);
                exchange.record_error(&error);
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/captured-with",
            route(|exchange: Exchange| async move {
                exchange.set_attribute("tier", "gold, password=hunter2hunter2");
                exchange.set_attribute("cart", "c-9");
                let context =
                    ErrorContext::new().tag("step", "payment").extra("token", "hunter2hunter2").extra("attempt", 2);
                capture_error_with(&save_failed(), context.level(Level::Warning).fingerprint(["payments"]));
                capture_error(&io::Error::other("another"));
                StatusCode::OK
            }),
        )
        .route(
            "/noticed-but-answered",
            route(|exchange: Exchange| async move {
                exchange.record_error(&save_failed());
                "a cached answer"
            }),
        )
        .route(
            "/spawned",
            route(|| async {
                let task = tokio::spawn(Carried::current().future(async {
                    breadcrumb("task", "in the task");
                    capture_error(&save_failed());
                }));
                task.await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/spawned-in-scope",
            route(|exchange: Exchange| async move {
                let task = exchange.scope(async {
                    tokio::task::yield_now().await;
                    breadcrumb("task", "in the task");
                    capture_error(&save_failed());
                });
                tokio::spawn(task).await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/panic-in-scope",
            route(|exchange: Exchange| async move {
                let failed = tokio::spawn(exchange.scope(async { panic!("in the task") })).await.is_err();
                if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
            }),
        )
        .route(
            "/spawned-panic",
            route(|| async {
                let task = tokio::spawn(Carried::current().future(async { panic!("in the task") }));
                let failed = task.await.is_err();
                if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
            }),
        )
}

#[inline(never)]
fn panic_somewhere_deep() -> StatusCode {
    panic!("the cart of u-1 is upside down")
}

async fn start(receiver: &Receiver) -> std::net::SocketAddr {
    serve(app().layer(receiver.sentry.layer())).await
}

#[tokio::test]
async fn a_noticed_error_has_its_chain_route_user_steps_tags_and_request() {
    let receiver = Receiver::new();
    let address = serve(app().layer(ObserveLayer::new((RequestIds::new(), receiver.sentry.clone())))).await;
    let request = Request::get("/noticed/7?page=2&token=hunter2hunter2")
        .header("user-agent", "test/1.0")
        .header("authorization", "Bearer abcdef0123456789")
        .header("x-request-id", "request-0001")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .body(String::new())
        .unwrap();
    assert_eq!(send(address, request).await.unwrap().status(), 500);
    let event = receiver.event();
    let told: Vec<_> = event.exception.iter().map(|it| (it.ty.as_str(), it.value.as_deref().unwrap())).collect();
    assert_eq!(told, [("Error", "disk full"), ("SaveFailed", "could not save")], "the root first");
    assert_eq!(event.exception[1].module.as_deref(), Some("failures"));
    assert_eq!(event.exception[1].mechanism.as_ref().unwrap().handled, Some(true));
    assert_eq!(event.level, Level::Error);
    assert_eq!(event.transaction.as_deref(), Some("GET /noticed/{id}"));
    assert_eq!(&*event.fingerprint, ["GET /noticed/{id}", "failures::SaveFailed"], "no message in it");
    let user = event.user.as_ref().unwrap();
    assert_eq!((user.id.as_deref(), user.email.as_deref(), user.ip_address.as_ref()), (Some("u-1"), None, None));
    assert_eq!(event.breadcrumbs[0].message.as_deref(), Some("opened cart 7"));
    assert_eq!((event.tags["plan"].as_str(), event.tags["outcome"].as_str()), ("pro", "completed"));
    assert_eq!(event.tags["http.response.status_code"], "500");
    assert_eq!((&event.extra["items"], &event.extra["cart"]), (&3.into(), &"c-9".into()));
    assert_eq!(trace_id(&event), "0af7651916cd43dd8448eb211c80319c");
    let request = event.request.as_ref().unwrap();
    assert_eq!(request.url.as_ref().unwrap().as_str(), "http://shop.example/noticed/7");
    assert_eq!(request.method.as_deref(), Some("GET"));
    assert_eq!(request.query_string.as_deref(), Some("page=2&token=[Filtered]"));
    assert_eq!(request.headers["user-agent"], "test/1.0");
    assert!(!request.headers.contains_key("authorization"));
    let Some(Context::Other(exchange)) = event.contexts.get("exchange") else { panic!("{:?}", event.contexts) };
    assert_eq!((&exchange["request_id"], &exchange["name_source"]), (&"request-0001".into(), &"route".into()));
    assert_eq!(event.environment.as_deref(), Some("test"));
}

#[tokio::test]
async fn an_error_is_captured_with_tags_and_extras_of_that_event_alone() {
    let receiver = Receiver::new();
    assert_eq!(get(start(&receiver).await, "/captured-with").await.unwrap().status(), 200);
    let events = receiver.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    let event = &events[0];
    assert_eq!((&*event.tags["step"], &event.extra["attempt"]), ("payment", &2.into()));
    assert_eq!((event.level, &*event.fingerprint[0]), (Level::Warning, "payments"));
    assert!(!event.extra["token"].to_string().contains("hunter2"), "{:?}", event.extra);
    assert!(!events[1].tags.contains_key("step") && !events[1].extra.contains_key("attempt"), "{:?}", events[1]);
}

#[tokio::test]
async fn an_attribute_that_is_set_to_be_a_tag_is_a_scrubbed_tag_of_events_and_transactions() {
    let receiver = Receiver::with(|options| options.tag_attribute("tier").traces_sample_rate(1.0));
    assert_eq!(get(start(&receiver).await, "/captured-with").await.unwrap().status(), 200);
    let envelopes = receiver.envelopes();
    let events: Vec<_> = envelopes.iter().filter_map(|envelope| envelope.event()).collect();
    let transactions: Vec<_> = envelopes
        .iter()
        .flat_map(sentry_core::Envelope::items)
        .filter_map(|item| if let EnvelopeItem::Transaction(it) = item { Some(it) } else { None })
        .collect();
    assert_eq!((events.len(), transactions.len()), (2, 1));
    for tags in events.iter().map(|event| &event.tags).chain(transactions.iter().map(|it| &it.tags)) {
        assert!(tags["tier"].starts_with("gold, password=[") && !tags["tier"].contains("hunter2"), "{tags:?}");
    }
    assert!(events.iter().all(|event| !event.extra.contains_key("tier") && event.extra["cart"] == "c-9"));
}

#[test]
fn what_cannot_be_a_tag_is_refused_and_named() {
    let build =
        |options: steeple_sentry::SentryBuilder| options.transport(sentry_core::test::TestTransport::new()).build();
    for name in ["", "with space", &"x".repeat(33), "naïve"] {
        let error = build(steeple_sentry::Sentry::builder(common::DSN).tag_attribute(name.to_owned())).unwrap_err();
        assert!(error.is_tag() && error.to_string().contains(&format!("`{name}`")), "{error}");
    }
    let many =
        (0..17).fold(steeple_sentry::Sentry::builder(common::DSN), |options, n| options.tag_attribute(format!("t{n}")));
    assert!(build(many).unwrap_err().is_tag());
}

#[tokio::test]
async fn a_panic_has_its_own_stack_and_is_fatal() {
    let receiver = Receiver::new();
    let _installed = receiver.sentry.clone().install();
    let address = start(&receiver).await;
    assert!(get(address, "/panic").await.is_none(), "the panic goes on as it would without us");
    let event = receiver.event();
    assert_eq!(exception(&event), ("panic", "the cart of u-1 is upside down"));
    assert_eq!((event.level, event.transaction.as_deref()), (Level::Fatal, Some("GET /panic")));
    let last = event.exception.last().unwrap();
    assert_eq!(last.mechanism.as_ref().unwrap().handled, Some(false));
    assert!(
        event.fingerprint[1].starts_with("panic at ") && event.fingerprint[1].contains("failures.rs:"),
        "{:?}",
        event.fingerprint
    );
    let frames = &last.stacktrace.as_ref().unwrap().frames;
    let newest: Vec<_> = frames.iter().rev().take(3).filter_map(|frame| frame.function.as_deref()).collect();
    let thrower = frames
        .iter()
        .rev()
        .find(|frame| frame.function.as_deref().is_some_and(|name| name.ends_with("panic_somewhere_deep")));
    let thrower = thrower.unwrap_or_else(|| panic!("newest frames: {newest:#?}"));
    assert_eq!((thrower.filename.as_deref(), thrower.in_app), (Some("failures.rs"), Some(true)));
    assert!(newest.iter().all(|name| !name.contains("steeple_sentry")), "what panics go through is cut: {newest:#?}");
}

#[tokio::test]
async fn a_panic_that_a_layer_made_into_a_response_is_still_the_panic() {
    let receiver = Receiver::new();
    let _installed = receiver.sentry.clone().install();
    let caught = app().layer(axum::middleware::from_fn(|request, next: axum::middleware::Next| async move {
        use futures_util::FutureExt;
        let answer = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await;
        answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }));
    let address = serve(caught.layer(receiver.sentry.layer())).await;
    assert_eq!(get(address, "/panic").await.unwrap().status(), 500);
    assert_eq!(exception(&receiver.event()), ("panic", "the cart of u-1 is upside down"));
}

#[tokio::test]
async fn an_unexplained_5xx_is_an_event_and_a_4xx_never_is() {
    let receiver = Receiver::new();
    let address = start(&receiver).await;
    for path in ["/ok", "/status/400", "/status/404", "/status/499", "/carried/404", "/nowhere"] {
        get(address, path).await.unwrap();
    }
    assert_eq!(receiver.events().len(), 0);
    get(address, "/status/503").await.unwrap();
    let event = receiver.event();
    assert_eq!(exception(&event), ("HTTP 503", "GET /status/{status} answered 503 Service Unavailable"));
    assert_eq!(&*event.fingerprint, ["GET /status/{status}", "503"]);
}

#[tokio::test]
async fn an_error_in_a_responses_extensions_is_reported_with_its_chain() {
    let receiver = Receiver::new();
    let address = start(&receiver).await;
    get(address, "/carried/500").await.unwrap();
    assert_eq!(receiver.event().exception.len(), 2);
}

#[tokio::test]
async fn an_error_that_was_noticed_and_survived_is_an_event() {
    let receiver = Receiver::new();
    let address = start(&receiver).await;
    assert_eq!(get(address, "/noticed-but-answered").await.unwrap().status(), 200);
    assert_eq!(exception(&receiver.event()).0, "SaveFailed");
}

#[tokio::test]
async fn a_body_that_breaks_is_an_event_with_the_bodys_error() {
    let receiver = Receiver::new();
    let address = start(&receiver).await;
    assert!(get(address, "/body-error").await.is_none());
    let event = receiver.event();
    assert!(exception(&event).1.contains("the disk is gone"), "{:?}", event.exception);
    assert_eq!(event.tags["outcome"], "body_error");
}

#[tokio::test]
async fn a_service_error_is_an_event() {
    let receiver = Receiver::new();
    let service = receiver.sentry.layer().layer(tower::service_fn(|_: Request<Body>| async {
        Err::<Response<Body>, tower::BoxError>(Box::new(save_failed()))
    }));
    assert!(service.oneshot(Request::new(Body::empty())).await.is_err());
    let event = receiver.event();
    assert_eq!(event.exception.len(), 2);
    assert_eq!(event.tags["outcome"], "service_error");
}

#[tokio::test]
async fn expected_failures_are_not_events() {
    let receiver = Receiver::with(|options| {
        options
            .expect_status(StatusCode::SERVICE_UNAVAILABLE)
            .expect_error::<SaveFailed>()
            .expect_grpc(GrpcStatus::from_code(14))
    });
    let address = start(&receiver).await;
    for path in ["/status/503", "/carried/500", "/noticed/1", "/noticed-but-answered"] {
        get(address, path).await.unwrap();
    }
    assert_eq!(call_grpc(&receiver, "14").await, 0);
    assert_eq!(receiver.events().len(), 0);
    get(address, "/status/500").await.unwrap();
    assert_eq!(receiver.events().len(), 1, "an event without a name is still sent");
}

/// A call that ends with this status in its trailers.
async fn call_grpc(receiver: &Receiver, code: &'static str) -> usize {
    let service = receiver.sentry.layer().layer(tower::service_fn(move |_: Request<Body>| async move {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(code))]);
        let frames =
            [Ok::<_, Infallible>(Frame::data(bytes::Bytes::from_static(b"first"))), Ok(Frame::trailers(trailers))];
        Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(frames))))
    }));
    let request =
        Request::post("/shop.Cart/Watch").header("content-type", "application/grpc").body(Body::empty()).unwrap();
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    receiver.events().len()
}

#[tokio::test]
async fn of_grpc_the_servers_failures_are_events_and_the_callers_are_not() {
    for (code, want) in [("0", 0), ("3", 0), ("5", 0), ("16", 0), ("2", 1), ("13", 1), ("14", 1)] {
        assert_eq!(call_grpc(&Receiver::new(), code).await, want, "grpc-status {code}");
    }
}

#[tokio::test]
async fn an_error_captured_by_hand_is_not_reported_again_at_the_end() {
    let receiver = Receiver::new();
    let address = start(&receiver).await;
    get(address, "/captured-and-noticed").await.unwrap();
    let event = receiver.event();
    assert_eq!(
        event.transaction.as_deref(),
        Some("GET /captured-and-noticed"),
        "events captured by hand have their exchange"
    );
    assert_eq!(&*event.fingerprint, ["GET /captured-and-noticed", "SaveFailed"]);
    assert!(event.request.is_some());
    assert_eq!(receiver.sentry.counts().duplicates, 1);
}

#[tokio::test]
async fn what_a_spawned_task_captures_belongs_to_its_exchange() {
    for path in ["/spawned", "/spawned-in-scope"] {
        let receiver = Receiver::new();
        let address = start(&receiver).await;
        get(address, path).await.unwrap();
        let event = receiver.event();
        assert_eq!(event.transaction, Some(format!("GET {path}")));
        assert_eq!(event.breadcrumbs[0].message.as_deref(), Some("in the task"));
    }
}

#[tokio::test]
async fn a_panic_of_a_spawned_task_is_reported_at_once_and_its_500_is_not_another() {
    for path in ["/spawned-panic", "/panic-in-scope"] {
        let receiver = Receiver::new();
        let _installed = receiver.sentry.clone().install();
        let address = start(&receiver).await;
        get(address, path).await.unwrap();
        let event = receiver.event();
        assert_eq!(exception(&event), ("panic", "in the task"));
        assert_eq!(event.transaction, Some(format!("GET {path}")));
    }
}

#[tokio::test]
async fn a_client_that_is_off_watches_nothing() {
    let client = std::sync::Arc::new(sentry_core::Client::from(sentry_core::ClientOptions::new()));
    let sentry = steeple_sentry::Sentry::with_client(client, steeple_sentry::Sentry::builder(common::DSN)).unwrap();
    let address = serve(app().layer(sentry.layer())).await;
    assert_eq!(get(address, "/noticed/1").await.unwrap().status(), 500);
    assert!(sentry_core::Hub::current().last_event_id().is_none());
}

#[tokio::test]
async fn a_user_id_goes_through_the_scrubber_as_on_lines_and_spans() {
    let ids = ["ada@example.org", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "4111 1111 1111 1111", "u-1"];
    let scrubber = steeple_scrub::Scrubber::default();
    for id in ids {
        let receiver = Receiver::with(|options| options.traces_sample_rate(1.0));
        let handler = move || async move {
            steeple_sentry::set_user(User::new(id));
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let address = serve(Router::new().route("/", route(handler)).layer(receiver.sentry.layer())).await;
        get(address, "/").await.unwrap();
        let want = scrubber.text(id);
        assert_eq!(want == id, id == "u-1", "{id}");
        let mut users = Vec::new();
        for envelope in receiver.envelopes() {
            for item in envelope.items() {
                if let EnvelopeItem::Event(event) = item {
                    users.extend(event.user.clone());
                } else if let EnvelopeItem::Transaction(transaction) = item {
                    users.extend(transaction.user.clone());
                }
            }
        }
        let users: Vec<_> = users.iter().map(|user| user.id.as_deref()).collect();
        assert_eq!(users, [Some(want.as_ref()), Some(want.as_ref())], "on the event and on the transaction");
    }
}
