//! Which exchanges are kept at their end, and the cost of holding them.

use std::time::Duration;

use axum::{Router, body::Body, routing::get as on_get};
use http::{Request, StatusCode};
use steeple_core::{Exchange, RouteOptions};
use steeple_trace::{Sampling, Segments, TailSampling, Trace};
use tower::ServiceExt;

use crate::support::{Rig, ask, get};

fn app(trace: &Trace) -> Router {
    Router::new()
        .route(
            "/jobs/{kind}",
            on_get(|exchange: axum::Extension<Exchange>, axum::extract::Path(kind): axum::extract::Path<String>| async move {
                exchange.segment("db", "select work", step()).await;
                match kind.as_str() {
                    "fails" => StatusCode::INTERNAL_SERVER_ERROR,
                    "slow" => {
                        tokio::time::sleep(Duration::from_millis(60)).await;
                        StatusCode::OK
                    }
                    "slower" => {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                        StatusCode::OK
                    }
                    "panics" => panic!("oh"),
                    _ => StatusCode::OK,
                }
            }),
        )
        .route(
            "/report",
            on_get(|| async {
                tokio::time::sleep(Duration::from_millis(60)).await;
            }),
        )
        .layer(trace.layer())
}

#[tracing::instrument]
async fn step() {
    tokio::task::yield_now().await;
}

fn keeping() -> TailSampling {
    TailSampling::new().slow(Duration::from_millis(50))
}

#[tokio::test]
async fn what_is_slow_for_its_route_alone_is_kept_once_it_is_known_what_is_usual() {
    let tail = TailSampling::new().slow_for_its_route(3.0, Duration::from_millis(300));
    let tail = tail.slow(Duration::from_mins(1));
    let rig = Rig::without_subscriber(Trace::builder().sampling(Sampling::always_off()).tail_sampling(tail));
    let app = app(&rig.trace);
    ask(&app, get("/jobs/slower")).await;
    for _ in 0..100 {
        ask(&app, get("/jobs/fast")).await;
    }
    assert!(rig.spans().is_empty(), "nothing was known of it yet, or nothing was unusual");
    ask(&app, get("/jobs/slower")).await;
    let spans = rig.spans();
    assert_eq!(spans.iter().map(|span| span.name.as_ref()).collect::<Vec<_>>(), ["select work", "GET /jobs/{kind}"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failed_and_every_slow_one_of_ten_thousand_is_there_in_full() {
    let builder = Trace::builder()
        .sampling(Sampling::ratio(0.01))
        .tail_sampling(TailSampling::new().slow(Duration::from_millis(400)));
    let builder = builder.queue(100_000, 512);
    let rig = Rig::without_subscriber(builder);
    let app = app(&rig.trace);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000_u32 {
        let kind = match number % 200 {
            0 => "fails",
            100 => "slower",
            _ => "plain",
        };
        let app = app.clone();
        tasks.spawn(async move { ask(&app, get(&format!("/jobs/{kind}"))).await });
        if tasks.len() >= 64 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let (spans, stats) = tokio::task::spawn_blocking(move || (rig.spans(), rig.trace.stats())).await.unwrap();
    let servers: Vec<_> = spans.iter().filter(|span| span.name == "GET /jobs/{kind}").collect();
    let with_code = |code: &str| {
        let is = |span: &&&opentelemetry_sdk::trace::SpanData| {
            span.attributes.iter().any(|a| a.key.as_str() == "http.response.status_code" && a.value.as_str() == code)
        };
        servers.iter().filter(is).count()
    };
    assert_eq!(with_code("500"), 50, "every failure");
    let slow = servers
        .iter()
        .filter(|span| span.end_time.duration_since(span.start_time).unwrap_or_default() >= Duration::from_millis(400));
    assert!(slow.count() >= 50, "every slow one");
    // 1 % of the other 9,900, give or take five deviations, and whatever this machine made slow.
    assert!((150..400).contains(&servers.len()), "{} kept", servers.len());
    for server in &servers {
        let below = |span: &&opentelemetry_sdk::trace::SpanData| span.parent_span_id == server.span_context.span_id();
        assert_eq!(spans.iter().filter(below).count(), 1, "its segment is there too");
    }
    assert!(spans.iter().all(|span| span.span_context.is_sampled()));
    assert!(spans.iter().all(|span| !span.attributes.iter().any(|a| a.key.as_str().starts_with("steeple."))));
    assert_eq!((stats.dropped_total(), stats.spans.exported), (0, spans.len() as u64));
    assert_eq!(stats.spans.exported + stats.sampled_out, 20_000, "each span was exported or left out on purpose");
}

#[tokio::test]
async fn panics_and_cancellations_are_kept_and_children_of_instrument_with_them() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).tail_sampling(keeping()));
    let app = app(&rig.trace);
    ask(&app, get("/jobs/plain")).await;
    assert!(rig.spans().is_empty());
    let panicking = tokio::task::LocalSet::new();
    let asked = app.clone();
    let panicked = panicking.run_until(async move {
        tokio::task::spawn_local(async move { ask(&asked, get("/jobs/panics")).await }).await
    });
    assert!(panicked.await.is_err());
    let spans = rig.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names, ["step", "select work", "GET /jobs/{kind}"]);
    let cancelled = tokio::time::timeout(Duration::from_millis(10), app.clone().oneshot(get("/report"))).await;
    assert!(cancelled.is_err());
    assert_eq!(rig.spans().len(), 4);
}

#[tokio::test]
async fn a_route_has_its_own_idea_of_slow() {
    let options = RouteOptions::new().slow_after(Duration::from_secs(5));
    let builder = Trace::builder().sampling(Sampling::always_off()).tail_sampling(keeping());
    let rig = Rig::new(builder.route("/report", options));
    ask(&app(&rig.trace), get("/report")).await;
    assert!(rig.spans().is_empty(), "60 ms are not slow for a report");
    ask(&app(&rig.trace), get("/jobs/slow")).await;
    assert_eq!(rig.spans().len(), 3);
}

#[tokio::test]
async fn the_context_is_passed_on_as_unsampled_before_the_decision() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).tail_sampling(keeping()));
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                assert!(!exchange.trace().unwrap().is_sampled());
                StatusCode::BAD_GATEWAY
            }),
        )
        .layer(rig.trace.layer());
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    ask(&app, Request::get("/").header("traceparent", caller).body(Body::empty()).unwrap()).await;
    let span = rig.span();
    assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
}

#[tokio::test]
async fn held_spans_stay_within_their_memory_and_the_exchanges_own_is_never_lost() {
    let limit = 64 * 1024;
    let tail = keeping().slow(Duration::from_hours(1)).max_bytes(limit).max_spans(10_000);
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).tail_sampling(tail).queue(100_000, 512));
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                for _ in 0..1_000 {
                    exchange.segment("work", "part", async {}).with("note", "x".repeat(1_000)).await;
                }
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    let spans = rig.spans();
    let stats = rig.trace.stats();
    assert_eq!(spans.last().unwrap().name, "GET /");
    assert!(stats.held_bytes_peak <= limit as u64 + 4_096, "{}", stats.held_bytes_peak);
    assert!(stats.held_dropped > 900);
    assert_eq!(stats.spans.exported + stats.held_dropped, 1_001);
}

#[tokio::test]
async fn one_exchange_holds_a_bounded_number_of_spans() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).tail_sampling(keeping().max_spans(5)));
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                for _ in 0..8 {
                    exchange.segment("work", "part", async {}).await;
                }
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    assert_eq!((rig.spans().len(), rig.trace.stats().held_dropped), (6, 3));
}

#[tokio::test]
async fn a_span_that_ends_after_its_exchange_follows_its_decision() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).tail_sampling(keeping()));
    let app = Router::new()
        .route(
            "/{status}",
            on_get(|exchange: axum::Extension<Exchange>, axum::extract::Path(status): axum::extract::Path<u16>| async move {
                let mut late = Box::pin(exchange.segment("work", "late", tokio::time::sleep(Duration::from_millis(20))));
                assert!(futures_util::poll!(&mut late).is_pending());
                tokio::spawn(late);
                StatusCode::from_u16(status).unwrap()
            }),
        )
        .layer(rig.trace.layer());
    for status in [200, 500] {
        ask(&app, get(&format!("/{status}"))).await;
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    let names: Vec<_> = rig.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["GET /{status}", "late"]);
    assert_eq!(rig.trace.stats().sampled_out, 2);
}

#[tokio::test]
async fn beyond_the_limit_inner_spans_are_dropped_and_each_span_has_its_parent() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).tail_sampling(keeping().max_spans(5)));
    let app = Router::new()
        .route(
            "/",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                let inner = exchange.0.clone();
                let batch = async move {
                    for _ in 0..20 {
                        let row = async { inner.segment("db", "select", async {}).await };
                        inner.segment("work", "row", row).await;
                    }
                };
                let batches = exchange.segment("work", "batch", batch);
                exchange.segment("work", "job", batches).await;
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    let spans = rig.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert!(names.ends_with(&["batch", "job", "GET /"]) && names.len() == 6, "{names:?}");
    let ids: Vec<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
    for span in &spans {
        let is_root = span.name == "GET /";
        assert!(is_root || ids.contains(&span.parent_span_id), "{}: its parent is missing", span.name);
    }
    assert_eq!(rig.trace.stats().spans.exported + rig.trace.stats().held_dropped, 43);
}

/// A service whose streams stay open after many segments, beside requests that fail at once.
fn streams(trace: &Trace) -> Router {
    Router::new()
        .route(
            "/stream",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                for _ in 0..200 {
                    exchange.segment("work", "part", async {}).with("note", "x".repeat(1_000)).await;
                }
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/fails",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                exchange.segment("work", "step", async {}).await;
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(trace.layer())
}

/// Opens this many streams and leaves them open.
async fn open_streams(app: &Router, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut asked = Box::pin(app.clone().oneshot(get("/stream")));
        assert!(futures_util::poll!(&mut asked).is_pending());
        open.push(tokio::spawn(async move {
            let _response = asked.await;
        }));
    }
    open
}

#[tokio::test]
async fn exchanges_that_stay_open_take_no_room_from_the_others() {
    // Slow is what takes an hour: what the streams hold cannot be decided yet.
    let tail = TailSampling::new().slow(Duration::from_hours(1)).max_bytes(1 << 20);
    let rig = Rig::without_subscriber(
        Trace::builder().sampling(Sampling::always_off()).tail_sampling(tail).queue(100_000, 512),
    );
    let app = streams(&rig.trace);
    let open = open_streams(&app, 40).await;
    assert!(rig.trace.stats().held_dropped > 0, "they would hold eight times as much");
    for _ in 0..20 {
        ask(&app, get("/fails")).await;
    }
    let names: Vec<_> = rig.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["step", "GET /fails"].repeat(20));
    assert!(rig.trace.stats().held_bytes_peak <= 1 << 20);
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_slow_already_is_exported_before_its_end_and_holds_nothing() {
    let tail = TailSampling::new().slow(Duration::ZERO).max_bytes(1 << 20);
    let rig = Rig::without_subscriber(
        Trace::builder().sampling(Sampling::always_off()).tail_sampling(tail).queue(100_000, 512),
    );
    let app = streams(&rig.trace);
    let open = open_streams(&app, 40).await;
    assert_eq!(rig.spans().len(), 8_000, "they are open still");
    assert_eq!((rig.trace.stats().held_dropped, rig.trace.stats().sampled_out), (0, 0));
    assert!(rig.spans().iter().all(|span| span.span_context.is_sampled()));
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_became_slow_makes_room_when_room_is_needed() {
    let tail = TailSampling::new().slow(Duration::from_millis(50)).max_bytes(1 << 20);
    let rig = Rig::without_subscriber(
        Trace::builder().sampling(Sampling::always_off()).tail_sampling(tail).queue(100_000, 512),
    );
    let app = streams(&rig.trace);
    let open = open_streams(&app, 3).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let more = open_streams(&app, 40).await;
    let exported = rig.spans().len();
    assert!(exported >= 600, "{exported}: what the first three held");
    open.iter().chain(&more).for_each(tokio::task::JoinHandle::abort);
}
