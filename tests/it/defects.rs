//! What today's middlewares were measured to get wrong (d01 to d11 of the survey), done right.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_core::{Exchange, ObserveLayer};
use steeple_tests::{
    client::{Client, Protocol, empty},
    grpc::{GrpcClient, GrpcLab},
    lab::{ARRIVAL, Lab},
    mixed::BothLabs,
    page::Page,
    server::Server,
    settle::settle,
    stack::Stack,
};
use steeple_transaction::ReportRouteLayer;
use steeple_user::Users;
use tower::Layer;

/// A stack around a service, a client of it, and how to read what it had to say.
struct Watched {
    stack: Stack,
    server: Server,
    sent: usize,
}

impl Watched {
    async fn router(app: Router) -> Self {
        Self::router_with(Stack::new(), app).await
    }

    async fn router_with(stack: Stack, app: Router) -> Self {
        let server = Server::start(app.layer(stack.layer())).await;
        Self { stack, server, sent: 0 }
    }

    async fn lab(lab: &Lab) -> Self {
        let stack = Stack::new();
        let server = Server::start(stack.layer().layer(BothLabs(lab.clone()))).await;
        Self { stack, server, sent: 0 }
    }

    async fn client(&self) -> Client {
        Client::connect(Protocol::Http1, self.server.address()).await
    }

    /// Sends a request and reads the answer as far as there is one.
    async fn send(&mut self, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Option<Bytes> {
        self.sent += 1;
        let mut client = self.client().await;
        let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
        for (name, value) in headers {
            if *name == "host" {
                request.headers_mut().unwrap().insert("host", value.parse().unwrap());
            } else {
                request = request.header(*name, *value);
            }
        }
        let response = client.send(request.body(empty()).unwrap()).await.ok()?;
        response.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes)
    }

    async fn get(&mut self, path: &str) -> Option<Bytes> {
        self.send("GET", path, &[]).await
    }

    /// Sends a request for something that never answers and hangs up once it has arrived.
    async fn hang_up(&mut self, lab: &Lab) {
        self.sent += 1;
        let mut client = self.client().await;
        let (arrival, arrived) = lab.arrival();
        let request = client.request(Method::GET, "/never").header(ARRIVAL, arrival).body(empty()).unwrap();
        tokio::select! {
            answer = client.send(request) => panic!("no answer was wanted: {answer:?}"),
            arrived = arrived => arrived.unwrap(),
        }
    }

    /// Once all that was sent has ended.
    async fn page(&self) -> Page {
        settle(self.stack.observer(), self.sent).await;
        self.stack.page()
    }

    /// The lines of the sent requests, once all of them have ended.
    async fn lines(&self) -> Vec<Value> {
        settle(self.stack.observer(), self.sent).await;
        let lines = self.stack.access_lines();
        assert_eq!(lines.len(), self.sent, "a line each");
        lines
    }
}

/// The values that a label has in a family.
fn values(page: &Page, name: &str, label: &str) -> Vec<String> {
    let mut values: Vec<_> = page.find(name, &[]).map(|sample| sample.label(label).to_owned()).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn seconds(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}")) / 1000.0
}

#[tokio::test]
async fn d01_the_in_flight_gauge_returns_to_zero_after_cancelled_and_panicked_requests() {
    let lab = Lab::new();
    let mut watched = Watched::lab(&lab).await;
    for _ in 0..7 {
        watched.hang_up(&lab).await;
        watched.get("/panic").await;
        watched.get("/service-error").await;
    }
    let page = watched.page().await;
    assert_eq!(page.sum("http_requests_in_flight", &[]), 0.0);
    for outcome in ["cancelled", "panicked", "service_error"] {
        assert_eq!(page.sum("http_requests_aborted_total", &[("outcome", outcome)]), 7.0, "{outcome}");
    }
}

#[tokio::test]
async fn d01_made_up_methods_are_one_value() {
    let mut watched = Watched::router(Router::new().route("/", get(|| async {}))).await;
    for number in 0..50 {
        watched.send(&format!("BREW{number}"), "/", &[]).await;
    }
    let page = watched.page().await;
    assert_eq!(values(&page, "http_requests_total", "method"), ["_OTHER"]);
    assert_eq!(page.sum("http_requests_total", &[]), 50.0);
}

/// Two frames of 15 bytes with 300 ms between them.
async fn thirty_bytes_in_300_ms() -> Body {
    let frames = stream::iter(0..2).then(|number| async move {
        tokio::time::sleep(Duration::from_millis(300 * number)).await;
        Ok::<_, String>(Bytes::from_static(b"fifteen bytes!!"))
    });
    Body::from_stream(frames)
}

#[tokio::test]
async fn d02_latency_is_the_time_to_the_last_byte_and_the_time_to_the_head_stands_beside_it() {
    let mut watched = Watched::router(Router::new().route("/slow", get(thirty_bytes_in_300_ms))).await;
    watched.get("/slow").await;
    let page = watched.page().await;
    assert!(page.sum("http_request_duration_seconds_sum", &[("route", "/slow")]) >= 0.3);
    assert!(page.sum("http_response_head_seconds_sum", &[("route", "/slow")]) < 0.25);
}

#[tokio::test]
async fn d02_cancelled_requests_are_counted_every_one() {
    let lab = Lab::new();
    let mut watched = Watched::lab(&lab).await;
    for _ in 0..5 {
        watched.hang_up(&lab).await;
    }
    let page = watched.page().await;
    assert_eq!(page.sum("http_requests_total", &[("route", "/never"), ("status_code", "499")]), 5.0);
    assert_eq!(page.sum("http_request_duration_seconds_count", &[("route", "/never"), ("status_code", "499")]), 5.0);
}

#[tokio::test]
async fn d02_a_scanner_makes_one_series() {
    let mut watched = Watched::router(Router::new().route("/", get(|| async {}))).await;
    for number in 0..200 {
        watched.get(&format!("/wp-admin/{number}.php")).await;
    }
    let page = watched.page().await;
    assert_eq!(values(&page, "http_requests_total", "route"), ["unmatched"]);
}

#[tokio::test]
async fn d02_a_response_of_thirty_bytes_is_one_sample_of_thirty() {
    let mut watched = Watched::router(Router::new().route("/slow", get(thirty_bytes_in_300_ms))).await;
    watched.get("/slow").await;
    let page = watched.page().await;
    assert_eq!(page.sum("http_response_size_bytes_count", &[]), 1.0);
    assert_eq!(page.sum("http_response_size_bytes_sum", &[]), 30.0);
}

#[tokio::test]
async fn d03_made_up_hosts_are_no_label() {
    let mut watched = Watched::router(Router::new().route("/", get(|| async {}))).await;
    for number in 0..100 {
        let host = format!("spoofed-{number}.example");
        watched.send("GET", "/", &[("host", &host), ("x-forwarded-host", &host)]).await;
    }
    let page = watched.page().await;
    assert_eq!(page.find("http_requests_total", &[]).count(), 1);
    assert!(!page.text().contains("spoofed"));
}

#[tokio::test]
async fn d03_a_streamed_body_has_its_size() {
    let stream = || async { Body::from_stream(stream::iter((0..300).map(|_| Ok::<_, String>(vec![b'x'; 1000])))) };
    let mut watched = Watched::router(Router::new().route("/", get(stream))).await;
    assert_eq!(watched.get("/").await.unwrap().len(), 300_000);
    assert_eq!(watched.page().await.sum("http_response_size_bytes_sum", &[]), 300_000.0);
}

/// Secrets where clients put them.
const SECRETS: [(&str, &str); 7] = [
    ("authorization", "Bearer s3cr3t-token-one"),
    ("cookie", "session=s3cr3t-cookie"),
    ("x-auth-token", "s3cr3t-auth"),
    ("x-csrf-token", "s3cr3t-csrf"),
    ("x-amz-security-token", "s3cr3t-amz"),
    ("proxy-authorization", "Basic czNjcjN0"),
    ("referer", "https://user:s3cr3t-pass@example.org/?token=s3cr3t-referer"),
];

#[tokio::test]
async fn d04_credentials_of_headers_and_answers_reach_no_line_and_no_label() {
    let app = Router::new().route("/", get(|| async { [("set-cookie", "session=s3cr3t-set")] }));
    let mut watched = Watched::router(app).await;
    watched.send("GET", "/?token=s3cr3t-query&password=s3cr3t-password&page=2", &SECRETS).await;
    let page = watched.page().await;
    let line = watched.lines().await.remove(0);
    assert!(!line.to_string().contains("s3cr3t"), "{line}");
    assert!(line["url.query"].as_str().unwrap().contains("page=2"), "other parameters stay: {line}");
    assert!(!page.text().contains("s3cr3t"));
}

#[tokio::test]
async fn d04_an_errors_message_is_never_a_label() {
    let fails = |Path(id): Path<u32>| async move {
        Err::<(), _>(Exchange::current().map_or(StatusCode::OK, |exchange| {
            exchange.record_error(&std::io::Error::other(format!("user {id} is unknown")));
            StatusCode::INTERNAL_SERVER_ERROR
        }))
    };
    let mut watched = Watched::router(Router::new().route("/users/{id}", get(fails))).await;
    for number in 0..100 {
        watched.get(&format!("/users/{number}")).await;
    }
    let page = watched.page().await;
    assert_eq!(page.find("http_requests_total", &[]).count(), 1);
    assert!(!page.text().contains("unknown"));
    let lines = watched.lines().await;
    assert!(lines.iter().all(|line| line["error.type"] == "500" && line["level"] == "error"));
    let messages: Vec<_> = lines.iter().map(|line| line["error.message"].as_str().unwrap()).collect();
    assert!(messages.contains(&"user 42 is unknown"), "the line has it: {messages:?}");
}

#[tokio::test]
async fn d05_the_line_covers_the_body_and_has_its_outcome() {
    let lab = Lab::new();
    let mut watched = Watched::lab(&lab).await;
    watched.get("/slow?20000").await;
    watched.hang_up(&lab).await;
    let lines = watched.lines().await;
    assert_eq!((&lines[0]["outcome"], &lines[0]["level"]), (&"completed".into(), &"info".into()));
    assert!(seconds(&lines[0], "duration_ms") >= 0.2, "ten frames of 20 ms each: {}", lines[0]);
    assert!(seconds(&lines[0], "duration_ms") > seconds(&lines[0], "response_head_ms"));
    assert_eq!((&lines[1]["outcome"], &lines[1]["level"]), (&"cancelled".into(), &"warn".into()));
    assert_eq!(lines[1]["http.response.status_code"], Value::Null, "none was sent, so none is made up");
}

#[tokio::test]
async fn d05_the_clients_address_is_from_the_trusted_proxy() {
    let app = || Router::new().route("/", get(|| async {}));
    let forwarded = [("x-forwarded-for", "203.0.113.9, 198.51.100.7")];
    let trusting = Users::builder().trusted_proxies("127.0.0.0/8".parse().unwrap());
    let mut behind = Watched::router_with(Stack::with_users(trusting), app()).await;
    behind.send("GET", "/", &forwarded).await;
    assert_eq!(behind.lines().await[0]["client.address"], "198.51.100.0", "walked from the right, cut to its network");
    let mut exposed = Watched::router(app()).await;
    exposed.send("GET", "/", &forwarded).await;
    assert_eq!(exposed.lines().await[0]["client.address"], "127.0.0.0", "no proxy is trusted by default");
}

#[tokio::test]
async fn d06_a_grpc_status_in_the_trailers_is_the_calls_status() {
    let stack = Stack::new();
    let server = Server::start(stack.layer().layer(GrpcLab)).await;
    let client = GrpcClient::to(server.address());
    let messages = client.server_streaming("/lab.v1.Lab/Count", "1 fail 13").await.unwrap();
    assert_eq!(messages.count().await, 2);
    for _ in 0..4 {
        let mut messages = client.server_streaming("/lab.v1.Lab/Count", "1 stall").await.unwrap();
        assert!(messages.next().await.unwrap().is_ok());
    }
    settle(stack.observer(), 5).await;
    let page = stack.page();
    let handled = |code| page.sum("grpc_server_handled_total", &[("grpc_method", "Count"), ("grpc_code", code)]);
    assert_eq!((handled("Internal"), handled("Canceled"), handled("OK")), (1.0, 4.0, 0.0), "{}", page.text());
    assert_eq!(page.sum("http_requests_in_flight", &[]), 0.0, "and no cancelled call stays in flight");
    let failed = stack.access_lines().into_iter().find(|line| line["rpc.response.status_code"] == "INTERNAL").unwrap();
    assert_eq!((&failed["level"], &failed["outcome"]), (&"error".into(), &"completed".into()));
}

#[tokio::test]
async fn d07_an_error_in_the_middle_of_the_body_is_an_error() {
    let lab = Lab::new();
    let mut watched = Watched::lab(&lab).await;
    watched.get("/body-error").await;
    let line = watched.lines().await.remove(0);
    assert_eq!((&line["level"], &line["outcome"]), (&"error".into(), &"body_error".into()));
    assert_eq!(
        (&line["http.response.status_code"], &line["error.message"]),
        (&200.into(), &"the lab's body failed".into())
    );
    let page = watched.page().await;
    assert_eq!(page.sum("http_requests_aborted_total", &[("outcome", "body_error"), ("route", "/body-error")]), 1.0);
}

#[tokio::test]
async fn d07_a_failure_late_in_a_stream_took_as_long_as_the_stream() {
    let fails_late = || async {
        Body::from_stream(stream::iter(0..2).then(|number| async move {
            tokio::time::sleep(Duration::from_millis(300 * number)).await;
            if number == 0 { Ok("a start") } else { Err("a failure") }
        }))
    };
    let mut watched = Watched::router(Router::new().route("/", get(fails_late))).await;
    assert!(watched.get("/").await.is_none());
    let line = watched.lines().await.remove(0);
    assert_eq!(line["outcome"], "body_error");
    assert!(seconds(&line, "duration_ms") >= 0.3, "{line}");
}

#[tokio::test]
async fn d07_a_panic_is_recorded_with_its_route_and_message() {
    steeple_core::record_panics();
    let panics = || async {
        assert!(Exchange::current().is_none(), "a panic on purpose");
    };
    let mut watched = Watched::router(Router::new().route("/panics/{id}", get(panics))).await;
    assert!(watched.get("/panics/7").await.is_none());
    let line = watched.lines().await.remove(0);
    assert_eq!((&line["level"], &line["outcome"]), (&"error".into(), &"panicked".into()));
    assert_eq!((&line["http.route"], &line["error.type"]), (&"/panics/{id}".into(), &"panicked".into()));
    assert!(line["error.message"].as_str().unwrap().contains("a panic on purpose"), "{line}");
    let page = watched.page().await;
    assert_eq!(page.sum("http_requests_total", &[("route", "/panics/{id}"), ("status_code", "500")]), 1.0);
}

#[tokio::test]
async fn d08_a_delivered_body_of_declared_length_and_an_empty_one_have_completed() {
    let lab = Lab::new();
    let mut watched = Watched::lab(&lab).await;
    assert_eq!(watched.get("/declared").await.unwrap(), "abcdef");
    assert_eq!(watched.get("/empty").await.unwrap(), "");
    for line in watched.lines().await {
        assert_eq!((&line["outcome"], &line["level"]), (&"completed".into(), &"info".into()), "{line}");
    }
    assert_eq!(watched.page().await.sum("http_requests_aborted_total", &[]), 0.0);
}

/// An error that a handler answers with a 500, sources and all.
async fn fails_with_sources() -> Response {
    let source = std::io::Error::other("connect to postgres://app:s3cr3t-password@db/shop failed");
    let error = std::io::Error::other(source);
    steeple_log::log_error(&error);
    if let Some(exchange) = Exchange::current() {
        exchange.record_error(&error);
        exchange.record_error(&error);
    }
    (StatusCode::INTERNAL_SERVER_ERROR, "sorry").into_response()
}

#[tokio::test]
async fn d09_a_failure_is_reported_with_its_request_and_without_secrets() {
    let stack = Stack::new();
    let subscriber = {
        use tracing_subscriber::layer::SubscriberExt;
        tracing_subscriber::Registry::default().with(stack.log().layer())
    };
    // The server of this test runs on this thread.
    let _default = tracing::subscriber::set_default(subscriber);
    let mut watched = Watched::router_with(stack, Router::new().route("/fails", get(fails_with_sources))).await;
    watched.send("GET", "/fails?token=s3cr3t-query", &SECRETS).await;
    settle(watched.stack.observer(), 1).await;
    tracing::info!("outside of any request");

    let lines = watched.stack.lines();
    let text = Value::from(lines.clone()).to_string();
    assert!(!text.contains("s3cr3t"), "{text}");
    let access = lines.iter().find(|line| line["target"] == "steeple::access").unwrap();
    let logged = lines.iter().find(|line| line["target"] == "steeple::error").unwrap();
    let outside = lines.iter().find(|line| line["message"] == "outside of any request").unwrap();
    assert_eq!((&access["level"], &access["http.route"]), (&"error".into(), &"/fails".into()));
    assert_eq!(
        access["error.message"].as_str().unwrap().matches("failed").count(),
        1,
        "recorded twice, logged once: {access}"
    );
    assert_eq!(logged["request_id"], access["request_id"], "the handler's line is the request's");
    assert!(logged["request_id"].is_string());
    for field in ["request_id", "trace_id", "transaction.name", "http.route"] {
        assert_eq!(outside[field], Value::Null, "nothing of the request sticks to what comes after it: {outside}");
    }
}

#[tokio::test]
async fn d10_failures_of_a_real_route_stay_visible_under_attack() {
    let pay = || async { StatusCode::INTERNAL_SERVER_ERROR };
    let mut watched = Watched::router(Router::new().route("/pay", post(pay))).await;
    for number in 0..2500 {
        let host = format!("spoofed-{number}.example");
        watched.send(&format!("M{number}"), &format!("/made/up/{number}"), &[("host", &host)]).await;
    }
    for _ in 0..100 {
        watched.send("POST", "/pay", &[]).await;
    }
    let page = watched.page().await;
    let labels = [("method", "POST"), ("route", "/pay"), ("status_code", "500")];
    assert_eq!(page.sum("http_requests_total", &labels), 100.0);
    assert_eq!(page.sum("http_requests_total", &[]), 2600.0);
}

#[tokio::test]
async fn d11_every_request_is_named_after_its_route_or_as_unmatched() {
    let users = || Router::new().route("/users/{id}", get(|| async { "Ann" }));
    let app = Router::new()
        .route("/plain/{id}", get(|| async { "plain" }))
        .nest("/api", users())
        .nest_service("/svc", users().layer(ReportRouteLayer::matched_path()))
        .nest_service("/joined", users().layer(ObserveLayer::new(())))
        .route_service("/rs/{*rest}", get(|| async { "rest" }));
    let mut watched = Watched::router(app).await;
    let want = [
        ("GET", "/plain/1", 200, "GET /plain/{id}"),
        ("POST", "/plain/1", 405, "POST /plain/{id}"),
        ("GET", "/api/users/1", 200, "GET /api/users/{id}"),
        ("GET", "/api/none", 404, "GET unmatched"),
        ("GET", "/svc/users/1", 200, "GET /svc/users/{id}"),
        ("GET", "/joined/users/1", 200, "GET /joined/users/{id}"),
        ("GET", "/rs/a/b", 200, "GET /rs/{*rest}"),
        ("GET", "/none", 404, "GET unmatched"),
    ];
    for (method, path, ..) in want {
        watched.send(method, path, &[]).await;
    }
    let told: Vec<_> = watched
        .lines()
        .await
        .iter()
        .map(|line| {
            (line["http.response.status_code"].as_u64().unwrap(), line["transaction.name"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(told, want.map(|(_, _, status, name)| (status, name.to_owned())));
}
