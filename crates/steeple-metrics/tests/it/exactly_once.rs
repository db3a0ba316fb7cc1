//! Every exchange is counted once, however it ends, and nothing stays in flight.

use std::{convert::Infallible, future::pending, time::Duration};

use crate::support::{Page, TestBody, ask, call, request};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use steeple_core::{
    Exchange, RouteOptions, Signal, Text,
    test_util::{ScriptedBody, Step},
};
use steeple_metrics::{Buckets, Measure, Metrics, Names, RouteMetrics};

fn metrics() -> Metrics {
    Metrics::builder().build().unwrap()
}

#[tokio::test]
async fn a_completed_exchange_is_counted_timed_and_measured() {
    let metrics = metrics();
    let body = ScriptedBody::new([Step::Data(b"hello "), Step::Pending, Step::Data(b"world")]);
    call(&metrics, request("GET", "/users/{id}"), |_| async { Ok::<_, Infallible>(Response::new(body)) }).await;
    let page = Page::of(&metrics);
    let labels = r#"method="GET",route="/users/{id}",status_code="200""#;
    assert_eq!(page.value("http_requests_total", labels), 1.0);
    assert_eq!(page.value("http_request_duration_seconds_count", labels), 1.0);
    let route = r#"method="GET",route="/users/{id}""#;
    assert_eq!(page.value("http_response_head_seconds_count", route), 1.0);
    assert_eq!(page.value("http_response_size_bytes_sum", route), 11.0);
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
    assert!(page.find("http_requests_aborted_total").next().is_none());
}

#[tokio::test]
async fn a_cancelled_exchange_is_499_and_aborted() {
    let metrics = metrics();
    let future = ask(&metrics, request("GET", "/slow"), |_| pending::<Result<Response<TestBody>, Infallible>>());
    assert!(tokio::time::timeout(Duration::from_millis(5), future).await.is_err());
    let page = Page::of(&metrics);
    assert_eq!(page.value("http_requests_total", r#"method="GET",route="/slow",status_code="499""#), 1.0);
    assert_eq!(page.value("http_requests_aborted_total", r#"method="GET",route="/slow",outcome="cancelled""#), 1.0);
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
}

#[tokio::test]
async fn a_body_that_is_dropped_halfway_keeps_its_status_and_is_aborted() {
    let metrics = metrics();
    let body = ScriptedBody::new([Step::Data(b"one"), Step::Data(b"two")]);
    let response =
        ask(&metrics, request("GET", "/s"), |_| async { Ok::<_, Infallible>(Response::new(body)) }).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(Page::of(&metrics).value("http_requests_in_flight", ""), 1.0, "the body is still going");
    drop(body);
    let page = Page::of(&metrics);
    assert_eq!(page.value("http_requests_total", r#"method="GET",route="/s",status_code="200""#), 1.0);
    assert_eq!(
        page.value("http_requests_aborted_total", r#"method="GET",route="/s",outcome="cancelled_in_body""#),
        1.0
    );
    assert_eq!(page.value("http_response_size_bytes_sum", r#"method="GET",route="/s""#), 3.0);
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
}

#[tokio::test]
async fn errors_and_panics_are_500_and_aborted() {
    let metrics = metrics();
    let failed = ask(&metrics, request("GET", "/e"), |_| async { Err::<Response<TestBody>, _>("no database") }).await;
    assert!(failed.is_err());
    let own = metrics.clone();
    let panicked = tokio::spawn(async move {
        let handler = |_| async { std::panic::resume_unwind(Box::new("boom")) };
        ask::<TestBody, Infallible, _>(&own, request("GET", "/e"), handler).await.is_ok()
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let broken = ScriptedBody::new([Step::Data(b"one"), Step::Fail("disk")]);
    call(&metrics, request("GET", "/e"), |_| async { Ok::<_, Infallible>(Response::new(broken)) }).await;
    let page = Page::of(&metrics);
    assert_eq!(page.value("http_requests_total", r#"method="GET",route="/e",status_code="500""#), 2.0);
    assert_eq!(page.value("http_requests_total", r#"method="GET",route="/e",status_code="200""#), 1.0);
    for outcome in ["service_error", "panicked", "body_error"] {
        let labels = format!(r#"method="GET",route="/e",outcome="{outcome}""#);
        assert_eq!(page.value("http_requests_aborted_total", &labels), 1.0, "{outcome}");
    }
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
}

#[tokio::test]
async fn event_streams_are_counted_as_open_and_never_timed() {
    let metrics = metrics();
    let body = ScriptedBody::new([Step::Data(b"data: 1\n\n"), Step::Data(b"data: 2\n\n")]);
    let response = ask(&metrics, request("GET", "/sse"), |_| async {
        let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8").body(body);
        Ok::<_, Infallible>(response.unwrap())
    });
    let body = response.await.unwrap().into_body();
    assert_eq!(Page::of(&metrics).value("http_connections_open", r#"kind="sse""#), 1.0);
    drop(body);
    let page = Page::of(&metrics);
    assert_eq!(page.value("http_connections_open", r#"kind="sse""#), 0.0);
    let labels = r#"method="GET",route="/sse",status_code="200""#;
    assert_eq!(page.value("http_requests_total", labels), 1.0);
    assert_eq!(page.value("http_request_duration_seconds_count", labels), 0.0);
    assert_eq!(page.value("http_response_head_seconds_count", r#"method="GET",route="/sse""#), 0.0);
}

#[cfg(feature = "connection")]
#[tokio::test]
async fn an_upgraded_connection_is_open_until_its_socket_closes() {
    use steeple_core::connection::{Connection, ObservedIo};

    let metrics = metrics();
    let connection = Connection::new(None);
    let io = ObservedIo::new(tokio::io::empty(), connection.clone());
    let mut upgrade = request("GET", "/ws");
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    upgrade.extensions_mut().insert(connection);
    call(&metrics, upgrade, |_| async {
        Ok::<_, Infallible>(Response::builder().status(101).body(TestBody::default()).unwrap())
    })
    .await;
    let page = Page::of(&metrics);
    assert_eq!(page.value("http_connections_open", r#"kind="upgrade""#), 1.0);
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
    let labels = r#"method="GET",route="/ws",status_code="101""#;
    assert_eq!(page.value("http_requests_total", labels), 1.0);
    assert_eq!(page.value("http_request_duration_seconds_count", labels), 0.0);
    drop(io);
    assert_eq!(Page::of(&metrics).value("http_connections_open", r#"kind="upgrade""#), 0.0);
}

#[tokio::test]
async fn a_grpc_call_is_counted_by_its_status_as_go_spells_it() {
    let metrics = Metrics::builder()
        .grpc_method("pkg.S/Get", steeple_metrics::GrpcType::Unary)
        .names(Names::Both)
        .build()
        .unwrap();
    for (status, text) in [("0", "OK"), ("4", "DeadlineExceeded"), ("1", "Canceled")] {
        let call_it = || {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = "/pkg.S/Get".parse().unwrap();
            *request.method_mut() = http::Method::POST;
            request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            request
        };
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        let body = ScriptedBody::new([Step::Data(b"m"), Step::Trailers(trailers)]);
        call(&metrics, call_it(), |_| async { Ok::<_, Infallible>(Response::new(body)) }).await;
        let labels = format!(r#"grpc_type="unary",grpc_service="pkg.S",grpc_method="Get",grpc_code="{text}""#);
        assert_eq!(Page::of(&metrics).value("grpc_server_handled_total", &labels), 1.0);
    }
    let page = Page::of(&metrics);
    let labels = r#"grpc_type="unary",grpc_service="pkg.S",grpc_method="Get""#;
    assert_eq!(page.value("grpc_server_started_total", labels), 3.0);
    assert_eq!(page.value("grpc_server_handling_seconds_count", labels), 3.0);
    let otel = r#"rpc_system_name="grpc",rpc_method="pkg.S/Get",rpc_response_status_code="DEADLINE_EXCEEDED",error_type="DEADLINE_EXCEEDED""#;
    assert_eq!(page.value("rpc_server_call_duration_seconds_count", otel), 1.0);
    assert!(page.find("http_requests_total").next().is_none(), "a call is one thing, not two");
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
}

#[tokio::test]
async fn both_sets_of_names_tell_the_same_story() {
    let metrics = Metrics::builder().names(Names::Both).build().unwrap();
    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let mut request = request("POST", "/orders");
        *request.version_mut() = version;
        call(&metrics, request, |_| async {
            Ok::<_, Infallible>(Response::builder().status(503).body(TestBody::default()).unwrap())
        })
        .await;
    }
    let page = Page::of(&metrics);
    assert_eq!(page.value("http_requests_total", r#"method="POST",route="/orders",status_code="503""#), 2.0);
    assert_eq!(
        page.value("http_request_duration_seconds_count", r#"method="POST",route="/orders",status_code="503""#),
        2.0
    );
    for version in ["1.1", "2"] {
        let labels = format!(
            r#"http_request_method="POST",url_scheme="http",http_route="/orders",http_response_status_code="503",error_type="503",network_protocol_version="{version}""#
        );
        assert_eq!(page.value("http_server_request_duration_seconds_count", &labels), 1.0);
    }
    assert_eq!(page.value("http_server_active_requests", r#"http_request_method="POST",url_scheme="http""#), 0.0);
}

#[tokio::test]
async fn a_route_can_be_left_out_opt_in_or_have_its_own_buckets() {
    let everything = metrics();
    let chosen = Metrics::builder().measure(Measure::OptedIn).build().unwrap();
    let off = RouteOptions::new().skip(steeple_core::Signal::Metrics).layer().unwrap();
    let on = RouteOptions::new().measured().buckets(Buckets::new([30.0, 60.0])).layer().unwrap();
    let ok = || async { Ok::<_, Infallible>(Response::new(TestBody::default())) };
    for metrics in [&everything, &chosen] {
        call(metrics, request("GET", "/default"), |_| ok()).await;
        call(metrics, request("GET", "/off"), |exchange: Exchange| {
            off.apply(&exchange);
            ok()
        })
        .await;
        call(metrics, request("GET", "/on"), |exchange: Exchange| {
            on.apply(&exchange);
            ok()
        })
        .await;
        call(metrics, request("GET", "/skipped"), |exchange: Exchange| {
            exchange.skip(Signal::Metrics);
            ok()
        })
        .await;
        assert_eq!(Page::of(metrics).value("http_requests_in_flight", ""), 0.0);
    }
    let routes = |metrics: &Metrics| {
        let page = Page::of(metrics);
        let routes: Vec<_> = page.find("http_requests_total").map(|(labels, _)| labels.to_owned()).collect();
        routes.into_iter().map(|labels| labels.split('"').nth(3).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(routes(&everything), ["/default", "/on"]);
    assert_eq!(routes(&chosen), ["/on"]);
    let page = Page::of(&chosen);
    let bounds: Vec<_> =
        page.find("http_request_duration_seconds_bucket").map(|(labels, _)| labels.to_owned()).collect();
    assert_eq!(bounds.len(), 3, "{bounds:?}");
    assert!(bounds[0].ends_with(r#"le="30""#), "{bounds:?}");
}

#[tokio::test]
async fn a_rule_beats_the_route_and_a_handlers_name_is_never_a_label() {
    let metrics = metrics();
    call(&metrics, request("GET", "/from-router"), |exchange: Exchange| async move {
        exchange.set_name("invented by a handler 4711");
        Ok::<_, Infallible>(Response::new(TestBody::default()))
    })
    .await;
    call(&metrics, request("GET", "/from-router"), |exchange: Exchange| async move {
        exchange.set_rule_name(Text::from_static("/from-rule"));
        Ok::<_, Infallible>(Response::new(TestBody::default()))
    })
    .await;
    let unmatched = Request::new(Full::default());
    call(&metrics, unmatched, |_| async {
        Ok::<_, Infallible>(Response::builder().status(StatusCode::NOT_FOUND).body(TestBody::default()).unwrap())
    })
    .await;
    let page = Page::of(&metrics);
    for (route, status) in [("/from-router", 200), ("/from-rule", 200), ("unmatched", 404)] {
        let labels = format!(r#"method="GET",route="{route}",status_code="{status}""#);
        assert_eq!(page.value("http_requests_total", &labels), 1.0, "{route}");
    }
    assert!(!page.text.contains("invented"));
}

/// A request is counted the same whether its route is found by its number, by its text or not at all, whichever of its route's statuses
/// it has, whatever buckets its route has, and on threads with counters of their own as on those that share them.
#[test]
fn a_request_counts_the_same_however_its_counters_are_found() {
    const ROUTES: [&str; 3] = ["/first", "/second", "/with-buckets"];
    const THREADS: usize = 12;
    let buckets = RouteOptions::new().buckets(Buckets::new([0.5, 30.0]));
    let metrics = Metrics::builder().route(ROUTES[2], buckets).build().unwrap();
    let all = std::sync::Barrier::new(THREADS);
    let ask_all = |thread: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for turn in 0..12 {
            // In another order on each thread, so that another status is the first.
            let status = [200, 404, 503, 204][(turn + thread) % 4];
            let method = ["GET", "POST", "PURGE"][turn / 4];
            for route in ROUTES.map(Some).into_iter().chain([None]) {
                let mut request = request(method, route.unwrap_or_default());
                let size = if method == "POST" { 700 } else { 0 };
                *request.body_mut() = TestBody::from("x".repeat(size));
                if route.is_none() {
                    request.extensions_mut().clear();
                }
                runtime.block_on(call(&metrics, request, |_| async move {
                    let body = if status == 204 { String::new() } else { "y".repeat(usize::from(status)) };
                    Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::from(body)).unwrap())
                }));
            }
            // No thread ends before all have counted: each has a place of its own, or shares one.
            if turn == 0 {
                all.wait();
            }
        }
        all.wait();
    };
    let ask_all = &ask_all;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || ask_all(thread));
        }
    });
    let page = Page::of(&metrics);
    let of_route = |route: &str| {
        let label = format!("route=\"{route}\"");
        let counted = |line: &&str| {
            let is_bucket_of_time = line.contains("seconds_bucket") || line.contains("seconds_sum");
            line.contains(&label) && !is_bucket_of_time
        };
        page.text.lines().filter(counted).map(|line| line.replace(&label, "")).collect::<Vec<_>>()
    };
    let unmatched = of_route("unmatched");
    assert!(
        unmatched.iter().any(|line| line.starts_with("http_requests_total{method=\"POST\"") && line.ends_with(" 12"))
    );
    for route in ROUTES {
        let mut lines = of_route(route);
        let mut others = unmatched.clone();
        lines.sort();
        others.sort();
        assert_eq!(lines, others, "{route}");
    }
    let reading = metrics.reading();
    let ended = (THREADS * 12 * 4) as u64;
    assert_eq!((reading.totals.counts.requests, reading.totals.counts.latency.count()), (ended, ended));
}
