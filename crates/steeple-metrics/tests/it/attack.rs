//! What clients make up cannot make series, and no order of attack hides a real route.

use std::{convert::Infallible, sync::Arc};

use crate::support::{Page, TestBody, ask, call, request};
use http::{Method, Request, Response};
use http_body_util::Full;
use steeple_core::{
    Exchange, Text,
    test_util::{ScriptedBody, Step},
};
use steeple_metrics::{GrpcType, Metrics};
use tower::{Layer, ServiceExt, service_fn};

const ATTACK: usize = 100_000;

async fn answer(metrics: &Metrics, method: &str, route: Text, status: u16) {
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    call(metrics, request, |exchange: Exchange| async move {
        exchange.report_route(route);
        Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
    })
    .await;
}

async fn grpc(metrics: &Metrics, method: &str, status: &'static str, message: Option<&'static [u8]>) {
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("/{method}").parse().unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    let body = ScriptedBody::new(message.map(Step::Data).into_iter().chain([Step::Trailers(trailers)]));
    call(metrics, request, |_| async { Ok::<_, Infallible>(Response::new(body)) }).await;
}

fn series(metrics: &Metrics) -> usize {
    Page::of(metrics).text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn a_hundred_thousand_made_up_routes_leave_series_and_memory_where_they_were_and_real_routes_apart() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let metrics = Metrics::builder().max_routes(100).known_routes(["/declared/{id}"]).build().unwrap();
    // The worst order: the attack comes first, and what it makes up is reported as a route by some careless code.
    let attack = |from: usize, to: usize| {
        runtime.block_on(async {
            for n in from..to {
                answer(&metrics, "GET", format!("/made/up/{n}").into(), 200).await;
            }
        });
    };
    // More than the 2,048 made-up templates that get a number in this process.
    attack(0, 3_000);
    let series_before = series(&metrics);
    let memory = allocation_counter::measure(|| attack(3_000, ATTACK));
    assert_eq!(series(&metrics), series_before);
    assert!(memory.count_total > ATTACK as u64 && memory.bytes_current == 0, "{memory:?}");
    runtime.block_on(real_routes(&metrics));
}

async fn real_routes(metrics: &Metrics) {
    for route in ["/declared/{id}", "/users/{id}", "/orders"] {
        answer(metrics, "GET", Text::from_static(route), 500).await;
    }
    let page = Page::of(metrics);
    for route in ["/declared/{id}", "/users/{id}", "/orders"] {
        let labels = format!(r#"method="GET",route="{route}",status_code="500""#);
        assert_eq!(page.value("http_requests_total", &labels), 1.0, "{route}");
    }
    let requests: f64 = page.find("http_requests_total").map(|(_, value)| value).sum();
    assert_eq!(requests, (ATTACK + 3) as f64, "nothing is lost, only its name");
    let overflow = page.value("http_requests_total", r#"method="GET",route="_OTHER",status_code="200""#);
    assert_eq!(page.value("steeple_metrics_label_overflow_total", r#"label="route",reason="limit""#), overflow);
}

#[tokio::test]
async fn made_up_methods_fold_and_unmatched_paths_are_one_route() {
    let metrics = Metrics::new().unwrap();
    answer(&metrics, "GET", Text::from_static("/real"), 200).await;
    for n in 0..10_000 {
        answer(&metrics, &format!("BREW{n}"), Text::from_static("/real"), 405).await;
        let mut unmatched = Request::new(Full::<bytes::Bytes>::default());
        *unmatched.uri_mut() = format!("/wp-admin/{n}").parse().unwrap();
        call(&metrics, unmatched, |_| async {
            Ok::<_, Infallible>(Response::builder().status(404).body(TestBody::default()).unwrap())
        })
        .await;
    }
    let page = Page::of(&metrics);
    assert_eq!(page.find("http_requests_total").count(), 3);
    assert_eq!(page.value("http_requests_total", r#"method="_OTHER",route="/real",status_code="405""#), 10_000.0);
    assert_eq!(page.value("http_requests_total", r#"method="GET",route="unmatched",status_code="404""#), 10_000.0);
}

#[tokio::test]
async fn every_known_method_on_every_route_cannot_crowd_out_the_status_that_matters() {
    let metrics = Metrics::builder().max_series(100).build().unwrap();
    let routes: Vec<Text> = (0..50).map(|n| Text::from(&*format!("/r{n}").leak())).collect();
    for method in ["DELETE", "PUT", "PATCH", "TRACE", "OPTIONS"] {
        for route in &routes {
            answer(&metrics, method, route.clone(), 405).await;
        }
    }
    for route in &routes {
        answer(&metrics, "GET", route.clone(), 500).await;
    }
    let page = Page::of(&metrics);
    for n in 0..50 {
        let labels = format!(r#"method="GET",route="/r{n}",status_code="500""#);
        assert_eq!(page.value("http_requests_total", &labels), 1.0);
    }
}

#[tokio::test]
async fn a_service_that_invents_status_codes_fills_one_method_and_no_more() {
    let metrics = Metrics::new().unwrap();
    for status in 100..=999 {
        if status != 101 {
            answer(&metrics, "GET", Text::from_static("/odd"), status).await;
        }
    }
    let page = Page::of(&metrics);
    let total: f64 = page.find("http_requests_total").map(|(_, value)| value).sum();
    assert_eq!((page.find("http_requests_total").count(), total), (40, 899.0));
    assert!(page.value("steeple_metrics_label_overflow_total", r#"label="status_code",reason="limit""#) > 0.0);
}

#[tokio::test]
async fn unimplemented_and_refused_grpc_methods_make_no_series() {
    let metrics = Metrics::builder().grpc_method("shop.Orders/Get", GrpcType::Unary).build().unwrap();
    for n in 0..ATTACK / 2 {
        // Turned away by the service (12), and by an auth layer before it (16).
        grpc(&metrics, &format!("made.Up{n}/Method"), "12", None).await;
        grpc(&metrics, &format!("shop.Orders/Guess{n}"), "16", None).await;
    }
    let made = Page::of(&metrics).find("grpc_server_handled_total").count();
    assert!(made <= 64 + 3, "{made}");
    // Declared, and failing from its first call on; not declared, but it answers.
    grpc(&metrics, "shop.Orders/Get", "13", None).await;
    grpc(&metrics, "shop.Orders/List", "0", Some(b"m")).await;
    grpc(&metrics, "shop.Orders/Watch", "14", Some(b"m")).await;
    let page = Page::of(&metrics);
    for (kind, method, code) in
        [("unary", "Get", "Internal"), ("unknown", "List", "OK"), ("unknown", "Watch", "Unavailable")]
    {
        let labels =
            format!(r#"grpc_type="{kind}",grpc_service="shop.Orders",grpc_method="{method}",grpc_code="{code}""#);
        assert_eq!(page.value("grpc_server_handled_total", &labels), 1.0, "{method}");
    }
    let sum = |name| page.find(name).map(|(_, value)| value).sum::<f64>();
    assert_eq!(sum("grpc_server_handled_total"), (ATTACK + 3) as f64);
    assert_eq!(sum("grpc_server_started_total"), (ATTACK + 3) as f64);
}

#[test]
fn folding_is_logged_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::{Event, Metadata, Subscriber, span};

    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);
    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
    let warnings = Warnings::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let metrics = Metrics::builder().max_routes(2).build().unwrap();
    tracing::subscriber::with_default(warnings.clone(), || {
        runtime.block_on(async {
            for n in 0..10 {
                answer(&metrics, "GET", format!("/{n}").into(), 200).await;
            }
        });
    });
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_threads_that_record_into_one_series_lose_nothing() {
    let metrics = Metrics::new().unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let metrics = metrics.clone();
            tokio::spawn(async move {
                for n in 0..5_000 {
                    let response = ask(&metrics, request("GET", "/hot"), |_| async {
                        Ok::<_, Infallible>(Response::new(ScriptedBody::new([Step::Data(b"xy"), Step::Data(b"z")])))
                    });
                    let mut body = response.await.unwrap().into_body();
                    http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
                    if n % 5 == 0 {
                        drop(body);
                        continue;
                    }
                    // The end is on whichever thread this is by now.
                    tokio::task::yield_now().await;
                    while http_body_util::BodyExt::frame(&mut body).await.is_some() {}
                }
            })
        })
        .collect();
    let scraper = metrics.clone();
    let reading = tokio::spawn(async move {
        let mut last = 0.0;
        for _ in 0..200 {
            let page = Page::of(&scraper);
            let now: f64 = page.find("http_requests_total").map(|(_, value)| value).sum();
            assert!(now >= last, "a counter went from {last} to {now}");
            last = now;
            tokio::task::yield_now().await;
        }
    });
    for task in tasks {
        task.await.unwrap();
    }
    reading.await.unwrap();
    let page = Page::of(&metrics);
    let labels = r#"method="GET",route="/hot",status_code="200""#;
    assert_eq!(page.value("http_requests_total", labels), 20_000.0);
    assert_eq!(page.value("http_request_duration_seconds_count", labels), 20_000.0);
    let aborted = r#"method="GET",route="/hot",outcome="cancelled_in_body""#;
    assert_eq!(page.value("http_requests_aborted_total", aborted), 4_000.0);
    assert_eq!(
        page.value("http_response_size_bytes_sum", r#"method="GET",route="/hot""#),
        16_000.0 * 3.0 + 4_000.0 * 2.0
    );
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
}

#[tokio::test]
async fn label_values_are_scrubbed_and_at_most_128_bytes() {
    const TOKEN: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
    let metrics = Metrics::builder().max_grpc_methods(10).build().unwrap();
    let exports = metrics.counter("exports_total", "Exports.", ["customer"]).unwrap();
    let waits = metrics.gauge("waits", "Waits.", ["customer"]).unwrap();
    let huge = "x".repeat(1_900_000);
    for n in 0..300 {
        exports.inc([&format!("{huge}{n}")]);
        waits.set([&format!("é{}{n}", huge.as_str())], 1.0);
    }
    exports.with([TOKEN]).inc();
    exports.inc([TOKEN]);
    exports.inc(["plain"]);
    drop(metrics.database().start_statement(&format!("SELECT * FROM {TOKEN}")));
    for host in [format!("{TOKEN}.example"), "h".repeat(1_000)] {
        let call = Request::get(format!("http://{host}/")).body(TestBody::default()).unwrap();
        let client = metrics
            .client_layer()
            .layer(service_fn(|_| std::future::ready(Ok::<_, Infallible>(Response::new(TestBody::default())))));
        client.oneshot(call).await.unwrap();
    }
    for route in [format!("/files/{TOKEN}"), format!("/{}", "r".repeat(1_000))] {
        call(&metrics, request("GET", ""), |exchange: Exchange| async move {
            exchange.report_route(route);
            Ok::<_, Infallible>(Response::new(TestBody::default()))
        })
        .await;
    }
    for method in [format!("/pkg.S/{TOKEN}"), format!("/pkg.S/{}", "m".repeat(1_000))] {
        let rpc = Request::post(method).header("content-type", "application/grpc").body(TestBody::default()).unwrap();
        call(&metrics, rpc, |_| async {
            Ok::<_, Infallible>(Response::builder().header("grpc-status", "0").body(TestBody::default()).unwrap())
        })
        .await;
    }
    let page = Page::of(&metrics);
    assert!(!page.text.contains(TOKEN) && page.text.len() < 200_000, "{} bytes", page.text.len());
    for line in page.text.lines().filter(|line| !line.starts_with('#')) {
        for value in line.split('"').skip(1).step_by(2) {
            assert!(value.len() <= 128, "{line}");
        }
    }
    let cut = format!("customer=\"{}\"", "x".repeat(128));
    assert_eq!(page.value("exports_total", &cut), 300.0);
    assert_eq!(page.find("exports_total").count(), 3);
    assert_eq!(page.find("waits").map(|(labels, _)| labels.len()).collect::<Vec<_>>(), [139], "a whole character");
    assert!(page.value("steeple_metrics_label_values_changed_total", r#"reason="too_long""#) >= 600.0);
    assert!(page.value("steeple_metrics_label_values_changed_total", r#"reason="secret""#) >= 4.0);
    assert_eq!(page.find("grpc_server_handled_total").count(), 1, "both are _OTHER");
}

#[tokio::test]
async fn label_values_are_as_long_as_is_asked_for_and_never_longer_than_two_kilobytes() {
    const TOKEN: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
    for (set, want) in [(16, 16_usize), (300, 300), (usize::MAX, 2_048), (0, 1)] {
        let known = "/known/".repeat(500);
        let metrics = Metrics::builder().max_label_bytes(set).known_routes([known]).build().unwrap();
        let exports = metrics.counter("exports_total", "Exports.", ["customer"]).unwrap();
        let words = "word ".repeat(1_000);
        for _ in 0..2 {
            exports.inc([&words]);
            answer(&metrics, "GET", format!("/{words}").into(), 200).await;
            answer(&metrics, "GET", Text::from_static("/a/text/of/the/program/that/is/longer/than/sixteen"), 200).await;
        }
        // A secret at the cut is removed as a whole.
        exports.inc([&format!("{} {TOKEN}", &words[..want.saturating_sub(6)])]);
        let page = Page::of(&metrics);
        let values = |label: &str| {
            let parts: Vec<_> = page.text.split(&format!("{label}=\"")).skip(1).collect();
            parts.iter().map(|part| part.split('"').next().unwrap().len()).max()
        };
        assert_eq!((values("customer"), values("route")), (Some(want), Some(want)), "{set}");
        assert_eq!(page.value("exports_total", &format!("customer=\"{}\"", &words[..want])), 2.0, "one series");
        assert!(!page.text.contains("ghp_"), "{set}");
    }
}
