//! The closures for tower-http's layers, in the stack of a team that keeps them.
#![cfg(feature = "tower-http")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Path, routing::get};
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple::{Steeple, tower_http::TowerHttp};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::TraceLayer,
};
use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::format::FmtSpan;

/// What the team's own subscriber wrote.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn subscribe() -> (Self, DefaultGuard) {
        let output = Self::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(Level::DEBUG)
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(move || writer.clone())
            .finish();
        (output, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line with this message, written in tower-http's span.
    fn line(&self, message: &str) -> Value {
        let is_it = |line: &Value| line["fields"]["message"] == message && line["span"]["name"] == "request";
        let found: Vec<_> = self.lines().into_iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{message}: {}", self.text());
        found.into_iter().next().unwrap()
    }
}

const TOKEN: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

fn app(steeple: &Steeple) -> Router {
    let closures = steeple.tower_http();
    Router::new()
        .route("/users/{id}", get(async |Path(id): Path<String>| id))
        .route("/broken", get(async || StatusCode::BAD_GATEWAY))
        .route("/panics", get(async || -> &'static str { panic!("no luck with password=hunter2") }))
        .layer(CatchPanicLayer::custom(closures.catch_panic()))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(closures.make_span())
                .on_response(closures.on_response().level(Level::INFO))
                .on_failure(closures.on_failure()),
        )
        .layer(SetSensitiveRequestHeadersLayer::new([HeaderName::from_static("x-colour")]))
        .layer(steeple.layer())
}

async fn ask(app: Router, uri: &str) -> Response<Body> {
    let request = Request::get(uri).header("x-colour", "mauve-and-secret").body(Body::empty()).unwrap();
    app.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn the_span_and_its_lines_have_ids_and_names_and_no_secrets() {
    let (output, _guard) = Output::subscribe();
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let response = ask(app(&steeple), &format!("/users/7?password=hunter2&token={TOKEN}&page=2")).await;
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "7");

    let line = output.line("finished processing request");
    let span = &line["span"];
    assert_eq!(span["request_id"], *id);
    assert_eq!(span["trace_id"].as_str().map(str::len), Some(32), "{span}");
    assert_eq!(span["span_id"].as_str().map(str::len), Some(16), "{span}");
    assert_eq!(span["http.request.method"], "GET");
    assert_eq!(span["network.protocol.version"], "1.1");
    assert_eq!(span["url.path"], "/users/7");
    assert_eq!(span["http.route"], "/users/{id}");
    assert_eq!(span["transaction.name"], "GET /users/{id}");
    assert_eq!(span["http.response.status_code"], 200);
    assert_eq!(line["fields"]["http.response.status_code"], 200);
    assert!(line["fields"]["response_head_ms"].as_f64().unwrap() >= 0.0);
    assert!(span["url.query"].as_str().unwrap().ends_with("&page=2"), "{span}");
    for secret in ["hunter2", TOKEN, "mauve"] {
        assert!(!output.text().contains(secret), "{secret}: {}", output.text());
    }
}

#[tokio::test]
async fn a_failure_is_one_line_at_error_with_the_classifiers_words() {
    let (output, _guard) = Output::subscribe();
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    assert_eq!(ask(app(&steeple), "/broken").await.status(), StatusCode::BAD_GATEWAY);
    let line = output.line("response failed");
    assert_eq!((&line["level"], &line["span"]["transaction.name"]), (&"ERROR".into(), &"GET /broken".into()));
    assert_eq!(line["fields"]["error.message"], "Status code: 502 Bad Gateway");
}

#[tokio::test]
async fn a_caught_panic_is_answered_without_its_message_and_recorded_on_the_exchange() {
    let (output, _guard) = Output::subscribe();
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let response = ask(app(&steeple), "/panics").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "internal server error");
    let lines = output.lines();
    let own = lines.iter().find(|line| line["target"] == "steeple::access").unwrap();
    assert!(own["fields"]["error.message"].as_str().unwrap().starts_with("no luck with password="), "{own}");
    assert!(!output.text().contains("hunter2"), "{}", output.text());
}

#[tokio::test]
async fn a_services_error_is_a_line_without_its_secrets() {
    let (output, _guard) = Output::subscribe();
    let closures = TowerHttp::new(steeple::Steeple::builder().without_log_setup().build().unwrap().scrubber().clone());
    let service = ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(closures.make_span())
                .on_failure(closures.on_failure().level(Level::WARN)),
        )
        .service(service_fn(async |_: Request<Body>| {
            Err::<Response<Body>, _>(io::Error::other(format!("token={TOKEN}")))
        }));
    assert!(service.oneshot(Request::new(Body::empty())).await.is_err());
    let line = output.line("response failed");
    assert_eq!(line["level"], "WARN");
    assert!(!output.text().contains(TOKEN), "{}", output.text());
}

#[tokio::test]
async fn without_steeples_layer_the_id_is_tower_https() {
    let (output, _guard) = Output::subscribe();
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let closures = steeple.tower_http();
    for (sent, shown) in [("from-client-1", "from-client-1"), (TOKEN, "[redacted:github]")] {
        output.0.lock().unwrap().clear();
        let service = ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(closures.make_span().level(Level::INFO))
                    .on_response(closures.on_response()),
            )
            .service(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))));
        let request = Request::builder().method("BREW").uri("/pot").header("x-request-id", sent).body(Body::empty());
        service.oneshot(request.unwrap()).await.unwrap();
        let line = output.line("finished processing request");
        assert_eq!((&line["span"]["request_id"], &line["span"]["url.path"]), (&shown.into(), &"/pot".into()));
        assert_eq!(line["span"]["http.request.method"], "_OTHER");
    }
}
