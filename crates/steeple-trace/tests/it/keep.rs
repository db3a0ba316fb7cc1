//! What is kept at the end of an exchange, and what holding costs.

use std::time::Duration;

use axum::{Router, body::Body, routing::get as on_get};
use http::{Request, StatusCode};
use steeple_core::Exchange;
use steeple_trace::{Keep, Sampling, Segments, Trace};
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

fn keeping() -> Keep {
    Keep::new().slow(Duration::from_millis(50)).slow_route("/report", Duration::from_secs(5))
}

#[tokio::test]
async fn what_is_slow_for_its_route_alone_is_kept_once_it_is_known_what_is_usual() {
    let keep = Keep::new().slow_for_its_route(3.0, Duration::from_millis(300));
    let keep = keep.slow(Duration::from_mins(1));
    let rig = Rig::without_subscriber(Trace::builder().sampling(Sampling::always_off()).keep(keep));
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
    let builder = Trace::builder().sampling(Sampling::ratio(0.01)).keep(Keep::new().slow(Duration::from_millis(400)));
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
    assert_eq!((stats.lost(), stats.exported), (0, spans.len() as u64));
    assert_eq!(stats.exported + stats.left_out, 20_000, "each span was exported or left out on purpose");
}

#[tokio::test]
async fn panics_and_cancellations_are_kept_and_children_of_instrument_with_them() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).keep(keeping()));
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
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).keep(keeping()));
    ask(&app(&rig.trace), get("/report")).await;
    assert!(rig.spans().is_empty(), "60 ms are not slow for a report");
    ask(&app(&rig.trace), get("/jobs/slow")).await;
    assert_eq!(rig.spans().len(), 3);
}

#[tokio::test]
async fn what_is_passed_on_says_not_sampled_because_nobody_knows_yet() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).keep(keeping()));
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
    let keep = keeping().max_bytes(limit).max_spans(10_000);
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).keep(keep).queue(100_000, 512));
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
    assert!(stats.lost_held > 900);
    assert_eq!(stats.exported + stats.lost_held, 1_001);
}

#[tokio::test]
async fn one_exchange_holds_a_bounded_number_of_spans() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).keep(keeping().max_spans(5)));
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
    assert_eq!((rig.spans().len(), rig.trace.stats().lost_held), (6, 3));
}

#[tokio::test]
async fn a_span_that_ends_after_its_exchange_follows_its_decision() {
    let rig = Rig::new(Trace::builder().sampling(Sampling::always_off()).keep(keeping()));
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
    assert_eq!(rig.trace.stats().left_out, 2);
}
