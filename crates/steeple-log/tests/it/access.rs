use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use steeple_core::{
    RouteOptions, Signal,
    test_util::{ScriptedBody, Step},
};
use steeple_log::{Format, Log, LogBuilder};
use tower::{Layer, ServiceExt};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Book, Client, get, send, send_through};

/// What a request of this path, by this client, has on its line.
#[track_caller]
fn check(line: &serde_json::Value, want: &[(&str, serde_json::Value)]) {
    for (key, value) in want {
        assert_eq!(line.get(key).unwrap_or(&serde_json::Value::Null), value, "{key} in {line:#}");
    }
}

#[tokio::test]
async fn every_ending_has_one_line_with_its_outcome() {
    let cases = [
        ("/ok", Client::ToTheEnd, "info", "completed", json!(200), json!(null)),
        ("/status/404", Client::ToTheEnd, "info", "completed", json!(404), json!(null)),
        ("/status/503", Client::ToTheEnd, "error", "completed", json!(503), json!("503")),
        ("/upgrade", Client::ToTheEnd, "info", "upgraded", json!(101), json!(null)),
        ("/service-error", Client::ToTheEnd, "error", "service_error", json!(null), json!("service_error")),
        ("/body-error", Client::ToTheEnd, "error", "body_error", json!(200), json!("body_error")),
        ("/panic", Client::ToTheEnd, "error", "panicked", json!(null), json!("panicked")),
        ("/body-panic", Client::ToTheEnd, "error", "panicked", json!(200), json!("panicked")),
        ("/never", Client::OnePoll, "warn", "cancelled", json!(null), json!("cancelled")),
        ("/stream", Client::UntilTheHead, "warn", "cancelled_in_body", json!(200), json!("cancelled_in_body")),
        ("/stream", Client::UntilTheFirstFrame, "warn", "cancelled_in_body", json!(200), json!("cancelled_in_body")),
    ];
    for (path, client, level, outcome, status, error) in cases {
        let book = Book::new(Format::Json);
        let layer = book.guard.log().layer();
        send(&layer, get(path), client).await;
        check(
            &book.line(),
            &[
                ("level", json!(level)),
                ("outcome", json!(outcome)),
                ("http.response.status_code", status),
                ("error.type", error),
                ("url.path", json!(path)),
                ("transaction.name", json!("GET unmatched")),
                ("target", json!("steeple::access")),
            ],
        );
    }
}

#[tokio::test]
async fn a_line_has_all_known_fields() {
    let logging =
        Log::builder().service_name("shop").service_version("1.2.3").environment("test").region("eu-central-1");
    let book = Book::with(logging, Format::Json);
    let layer = book.guard.log().layer();
    let request = Request::post("/users/42?page=2&access_token=hush")
        .header("user-agent", "test/1.0")
        .header("x-request-id", "too short? no: has spaces")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .body("12345".to_owned())
        .unwrap();
    send_through(&layer, request, |exchange| {
        exchange.report_route("/users/{id}");
        exchange.set_user(steeple_core::User::new("u-42"));
        exchange.set_client_address("192.0.2.77".parse().unwrap());
        exchange.set_attribute("plan", "pro");
        exchange.set_attribute("password", "hunter2");
        exchange.set_attribute("level", 3_u32);
        exchange.record_error(&std::io::Error::other("cannot reach postgres://app:hunter2@db/shop"));
    })
    .await;
    let line = book.line();
    check(
        &line,
        &[
            ("level", json!("info")),
            ("message", json!("POST /users/{id} 200")),
            ("service.name", json!("shop")),
            ("service.version", json!("1.2.3")),
            ("deployment.environment.name", json!("test")),
            ("cloud.region", json!("eu-central-1")),
            ("client_request_id", json!("too short? no: has spaces")),
            ("trace_id", json!("0af7651916cd43dd8448eb211c80319c")),
            ("transaction.name", json!("POST /users/{id}")),
            ("http.request.method", json!("POST")),
            ("http.route", json!("/users/{id}")),
            ("url.path", json!("/users/42")),
            ("url.query", json!("page=2&access_token=[redacted:key]")),
            ("http.response.body.size", json!(0)),
            ("network.protocol.version", json!("1.1")),
            ("user_agent.original", json!("test/1.0")),
            ("client.address", json!("192.0.2.0")),
            ("user.id", json!("u-42")),
            ("attributes.plan", json!("pro")),
            ("attributes.level", json!(3)),
        ],
    );
    assert!(!line.to_string().contains("hunter2"), "{line:#}");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!((timestamp.len(), &timestamp[19..20], &timestamp[26..]), (27, ".", "Z"), "{timestamp}");
    assert_eq!(line["request_id"].as_str().unwrap().len(), 36);
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    assert!(line["duration_ms"].is_f64() && line["response_head_ms"].is_f64());
}

#[tokio::test]
async fn as_many_lines_as_exchanges_of_every_ending() {
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    let kinds = [
        ("/ok", Client::ToTheEnd, "completed"),
        ("/status/404", Client::ToTheEnd, "completed"),
        ("/status/500", Client::ToTheEnd, "completed"),
        ("/upgrade", Client::ToTheEnd, "upgraded"),
        ("/service-error", Client::ToTheEnd, "service_error"),
        ("/body-error", Client::ToTheEnd, "body_error"),
        ("/panic", Client::ToTheEnd, "panicked"),
        ("/body-panic", Client::ToTheEnd, "panicked"),
        ("/never", Client::OnePoll, "cancelled"),
        ("/stream", Client::UntilTheFirstFrame, "cancelled_in_body"),
    ];
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ())); // 200 expected panics say nothing.
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let layer = layer.clone();
            tokio::spawn(async move {
                for number in 0..250 {
                    let (path, client, _) = kinds[number % kinds.len()];
                    send(&layer, get(path), client).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    std::panic::set_hook(before);
    let lines = book.lines();
    for outcome in
        ["completed", "upgraded", "service_error", "body_error", "panicked", "cancelled", "cancelled_in_body"]
    {
        let sent = 100 * kinds.iter().filter(|kind| kind.2 == outcome).count();
        let logged = lines.iter().filter(|line| line["outcome"] == *outcome).count();
        assert_eq!(logged, sent, "{outcome}");
    }
    assert_eq!((lines.len(), book.guard.dropped()), (1000, 0));
    let mut ids: Vec<_> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1000, "each line has its own id");
}

/// The levels of lines for these paths.
async fn levels(options: LogBuilder, book: &Book, paths: &[&str]) -> Vec<String> {
    let layer = options.build_onto(&book.guard.handle()).unwrap().layer();
    for path in paths {
        send(&layer, get(path), Client::ToTheEnd).await;
    }
    book.lines().iter().map(|line| line["level"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_4xx_is_a_warning_only_if_a_rule_names_it() {
    let book = Book::new(Format::Json);
    let options = Log::builder().warn_on([403, 429]);
    let paths = ["/status/400", "/status/403", "/status/404", "/status/429", "/status/499"];
    assert_eq!(levels(options, &book, &paths).await, ["info", "warn", "info", "warn", "info"]);
}

const LIMIT: Duration = Duration::from_millis(2);

#[tokio::test]
async fn slow_is_a_warning_and_what_slow_is_depends_on_the_route() {
    let check = async |options: fn(LogBuilder) -> LogBuilder, want: &str| {
        let book = Book::new(Format::Json);
        let layer = options(Log::builder()).build_onto(&book.guard.handle()).unwrap().layer();
        send_through(&layer, get("/reports/7"), |exchange| {
            exchange.report_route("/reports/{id}");
            std::thread::sleep(Duration::from_millis(3));
        })
        .await;
        assert_eq!(book.line()["level"], want);
    };
    check(|options| options, "info").await;
    check(|options| options.slow_after(LIMIT), "warn").await;
    check(|options| options.slow_after(LIMIT).never_slow(), "info").await;
    check(|options| options.route("/reports/{id}", RouteOptions::new().slow_after(LIMIT)), "warn").await;
    check(|options| options.route("GET /reports/{id}", RouteOptions::new().slow_after(LIMIT)), "warn").await;
    check(|options| options.route("PUT /reports/{id}", RouteOptions::new().slow_after(LIMIT)), "info").await;
    check(|options| options.slow_after(LIMIT).route("/reports/{id}", RouteOptions::new().never_slow()), "info").await;
}

#[tokio::test]
async fn a_stream_of_events_is_slow_by_its_head_and_not_by_its_length() {
    let book = Book::new(Format::Json);
    let layer = Log::builder().slow_after(Duration::from_millis(2)).build_onto(&book.guard.handle()).unwrap().layer();
    for content_type in ["text/event-stream", "text/plain"] {
        let service = layer.layer(tower::service_fn(move |_: Request<crate::support::Body>| async move {
            let body = ScriptedBody::new([Step::Data(b"one"), Step::Data(b"two")]);
            Ok::<_, Infallible>(Response::builder().header("content-type", content_type).body(body).unwrap())
        }));
        let mut body = Box::pin(service.oneshot(get("/events")).await.unwrap().into_body());
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let levels: Vec<_> = book.lines().iter().map(|line| line["level"].clone()).collect();
    assert_eq!(levels, ["info", "warn"]);
}

#[tokio::test]
async fn sampling_leaves_out_only_what_went_well_and_counts_it() {
    let book = Book::new(Format::Json);
    let log = Log::builder().sample_ratio(0.0).warn_on([429]).build_onto(&book.guard.handle()).unwrap();
    let layer = log.layer();
    for _ in 0..10 {
        for path in ["/ok", "/status/404", "/status/429", "/status/500", "/service-error", "/body-error"] {
            send(&layer, get(path), Client::ToTheEnd).await;
        }
        send(&layer, get("/never"), Client::OnePoll).await;
    }
    assert_eq!((book.lines().len(), log.sampled_out()), (50, 20));
}

#[tokio::test]
async fn what_is_applied_to_an_exchange_comes_before_what_its_route_has() {
    let applied = |options: RouteOptions| async move {
        let book = Book::new(Format::Json);
        let of_route = RouteOptions::new().slow_after(Duration::ZERO);
        let log = Log::builder().route("/a", of_route).build_onto(&book.guard.handle()).unwrap();
        let layer = options.layer().unwrap();
        send_through(&log.layer(), get("/a"), move |exchange| {
            exchange.report_route("/a");
            layer.apply(exchange);
        })
        .await;
        book.lines().iter().map(|line| line["level"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(applied(RouteOptions::new()).await, ["warn"], "what it does not set is as for its route");
    assert_eq!(applied(RouteOptions::new().never_slow()).await, ["info"]);
    assert!(applied(RouteOptions::new().skip(Signal::Log)).await.is_empty());
}

#[tokio::test]
async fn a_share_is_kept_and_kept_and_left_out_are_all_there_were() {
    let book = Book::new(Format::Json);
    let log = Log::builder()
        .sample_ratio(0.25)
        .route("/all", RouteOptions::new().log_sample_ratio(1.0))
        .build_onto(&book.guard.handle())
        .unwrap();
    let layer = log.layer();
    for _ in 0..2_000 {
        send(&layer, get("/ok"), Client::ToTheEnd).await;
    }
    for _ in 0..20 {
        send_through(&layer, get("/all"), |exchange| exchange.report_route("/all")).await;
    }
    let lines = book.lines();
    let all = lines.iter().filter(|line| line["http.route"] == "/all").count();
    let kept = lines.len() - all;
    assert_eq!((kept as u64 + log.sampled_out(), all), (2_000, 20));
    // Ten standard deviations of a fair draw.
    assert!((306..=694).contains(&kept), "{kept}");
}

#[tokio::test]
async fn what_is_skipped_has_no_line() {
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    send_through(&layer, get("/healthz"), |exchange| exchange.skip(Signal::Log)).await;
    send_through(&layer, get("/other"), |exchange| exchange.skip(Signal::Metrics)).await;
    assert_eq!(book.line()["url.path"], "/other");
}

#[tokio::test]
async fn one_exchange_has_one_line_however_many_layers_write_to_one_place() {
    let book = Book::new(Format::Json);
    let (outer, inner) = (book.guard.log(), Log::builder().sample_ratio(0.5).build_onto(&book.guard.handle()).unwrap());
    let handler =
        tower::service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(ScriptedBody::default())) });
    let service = outer.layer().layer(inner.layer().layer(handler));
    let response = service.oneshot(get("/nested")).await.unwrap();
    drop(Box::pin(response.into_body()).collect().await);
    assert_eq!(book.line()["url.path"], "/nested");
}

#[tokio::test]
async fn a_grpc_call_is_named_and_judged_by_grpc() {
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    for status in ["0", "14", "5", "12"] {
        let service = layer.layer(tower::service_fn(move |_: Request<crate::support::Body>| async move {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            let body = ScriptedBody::new([Step::Data(b"frame"), Step::Trailers(trailers)]);
            Ok::<_, Infallible>(Response::new(body))
        }));
        let request = Request::post("/shop.v1.Cart/Get").header("content-type", "application/grpc");
        let response = service.oneshot(request.body(String::new()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let seen: Vec<_> = book
        .lines()
        .iter()
        .map(|line| {
            let keys = ["level", "message", "rpc.method", "rpc.response.status_code", "error.type"];
            keys.map(|key| line.get(key).and_then(serde_json::Value::as_str).unwrap_or("-").to_owned())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ["info", "shop.v1.Cart/Get OK", "shop.v1.Cart/Get", "OK", "-"],
            ["error", "shop.v1.Cart/Get UNAVAILABLE", "shop.v1.Cart/Get", "UNAVAILABLE", "UNAVAILABLE"],
            ["info", "shop.v1.Cart/Get NOT_FOUND", "shop.v1.Cart/Get", "NOT_FOUND", "-"],
            // Any client can make up a method: no line for `error.log`.
            ["info", "_OTHER UNIMPLEMENTED", "_OTHER", "UNIMPLEMENTED", "UNIMPLEMENTED"],
        ]
    );
}

#[test]
fn options_that_cannot_be_are_refused_and_say_what_may_be() {
    for share in [-0.1, 1.1, f64::NAN] {
        let error = Log::builder().sample_ratio(share).build_events().unwrap_err();
        assert!(error.is_ratio() && error.to_string().contains("0 to 1"), "{error}");
    }
    let error = Log::builder().route("/", RouteOptions::new().warn_on([500])).build_events().unwrap_err();
    assert!(error.is_status() && error.to_string().contains("500"), "{error}");
}

#[tokio::test]
async fn a_pseudonym_is_shown_and_a_token_in_its_place_is_not() {
    let pseudonym = "u1_0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    for id in [pseudonym, "0199a7b0-5c1e-7d2f-9d3c-2f6e8a41b7c5", "4711", token] {
        send_through(&layer, get("/"), |exchange| exchange.set_user(steeple_core::User::new(id))).await;
    }
    let ids: Vec<_> = book.lines().iter().map(|line| line["user.id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [pseudonym, "0199a7b0-5c1e-7d2f-9d3c-2f6e8a41b7c5", "4711", "[redacted:jwt]"]);
}

#[tokio::test]
async fn a_line_that_is_exported_as_well_is_written_once() {
    struct Exported(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Exported {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.fetch_add(usize::from(event.metadata().target() == "steeple::access"), Ordering::Relaxed);
        }
    }

    let (book, exported) = (Book::new(Format::Pretty), Arc::new(AtomicUsize::new(0)));
    let subscriber = Registry::default().with(book.guard.layer()).with(Exported(Arc::clone(&exported)));
    let layer = Log::builder().also_events().build_onto(&book.guard.handle()).unwrap().layer();
    let seen = async {
        send(&layer, get("/x"), Client::ToTheEnd).await;
        // A line that was never written does not count as left out.
        send(&Log::default().layer(), get("/y"), Client::ToTheEnd).await;
    };
    seen.with_subscriber(subscriber).await;
    assert_eq!(exported.load(Ordering::Relaxed), 2);
    let text = book.text();
    assert_eq!((text.lines().count(), text.matches(" /x ").count()), (2, 1), "{text}");
    assert!(text.contains("INFO GET unmatched /x 200"), "for people, not field by field: {text}");
}
