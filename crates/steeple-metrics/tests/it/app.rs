//! Metrics beyond the request.

use std::{convert::Infallible, future::pending, time::Duration};

use crate::support::{Page, TestBody, call, request};
use http::Response;
use prometheus::Registry;
use steeple_core::{Exchange, User};
use steeple_metrics::{Buckets, CacheResult, Metrics};

#[tokio::test]
async fn a_query_is_timed_however_its_future_ends() {
    let metrics = Metrics::new().unwrap();
    let database = metrics.database();
    assert_eq!(database.time("select", "users", async { 42 }).await, 42);
    let cut_short = database.time("select", "users", pending::<()>());
    assert!(tokio::time::timeout(Duration::from_millis(5), cut_short).await.is_err());
    drop(database.start("insert", "users"));
    drop(database.start_statement("SELECT * FROM app.users WHERE email = 'ann@example.org'"));
    let page = Page::of(&metrics);
    let count = |labels| page.value("database_query_duration_seconds_count", labels);
    assert_eq!(count(r#"operation="select",table="users""#), 3.0);
    assert_eq!(count(r#"operation="insert",table="users""#), 1.0);
    assert!(page.value("database_query_duration_seconds_sum", r#"operation="select",table="users""#) >= 0.005);
    assert!(!page.text.contains("ann@"));
}

#[test]
fn an_unfinished_cache_operation_is_counted() {
    let metrics = Metrics::new().unwrap();
    let cache = metrics.cache();
    cache.start("get").hit();
    cache.start("get").miss();
    cache.start("set").ok();
    cache.start("set").error();
    drop(cache.start("get"));
    assert_eq!(cache.lookup(Some(1)), Some(1));
    let page = Page::of(&metrics);
    for (operation, result, count) in
        [("get", "hit", 2.0), ("get", "miss", 1.0), ("set", "ok", 1.0), ("set", "error", 1.0), ("get", "dropped", 1.0)]
    {
        let labels = format!(r#"operation="{operation}",result="{result}""#);
        assert_eq!(page.value("cache_operations_total", &labels), count, "{labels}");
    }
}

#[test]
fn operations_and_queries_that_were_measured_elsewhere_are_recorded() {
    let metrics = Metrics::new().unwrap();
    metrics.cache().record("get", CacheResult::Hit, Duration::from_millis(2));
    metrics.cache().start("get").miss();
    metrics.database().record("select", "users", Duration::from_millis(20));
    let page = Page::of(&metrics);
    assert_eq!(page.value("cache_operations_total", r#"operation="get",result="hit""#), 1.0);
    assert_eq!(page.value("cache_operation_duration_seconds_count", r#"operation="get""#), 2.0);
    assert!(page.value("cache_operation_duration_seconds_sum", r#"operation="get""#) >= 0.002);
    assert_eq!(page.value("database_query_duration_seconds_sum", r#"operation="select",table="users""#), 0.02);
}

#[test]
fn a_watcher_that_panics_harms_neither_what_it_watches_nor_an_unwinding_thread() {
    let metrics = Metrics::new().unwrap();
    assert!(metrics.watch_operations(|_operation| std::panic::resume_unwind(Box::new("a watcher's"))));
    metrics.cache().start("get").hit();
    let handler = std::panic::AssertUnwindSafe(|| {
        let _timer = metrics.database().start("select", "users");
        std::panic::resume_unwind(Box::new("the handler's"));
    });
    let unwound = std::panic::catch_unwind(handler);
    assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"the handler's"));
    let values = metrics.values();
    assert_eq!(values[r#"cache_operations_total{operation="get",result="hit"}"#], 1.0);
    assert_eq!(values[r#"database_query_duration_seconds_count{operation="select",table="users"}"#], 1.0);
}

#[test]
fn metrics_by_names_of_run_time_are_checked_and_capped_and_what_is_dropped_is_counted() {
    let metrics = Metrics::builder().build().unwrap();
    let _own = metrics.counter("exports_total", "Exports.", []).unwrap();
    for n in 0..256 {
        metrics.record_metric(&format!("gauge_{n}"), f64::from(n)).unwrap();
    }
    assert!(metrics.record_metric("one_more", 1.0).unwrap_err().is_too_many());
    metrics.record_metric("gauge_7", -0.5).unwrap();
    let values = metrics.values();
    assert_eq!((values["gauge_7"], values["gauge_255"]), (-0.5, 255.0));
    assert!(!values.contains_key("one_more"));
    let page = Page::of(&metrics);
    assert_eq!(page.value("steeple_metrics_label_overflow_total", r#"label="other",reason="limit""#), 1.0);

    let other = Metrics::new().unwrap();
    let _own = other.counter("exports_total", "Exports.", []).unwrap();
    assert!(other.record_metric("exports_total", 1.0).unwrap_err().is_name_taken());
    for bad in ["", "a b", "1a", "é", &"a".repeat(129)] {
        assert!(other.record_metric(bad, 1.0).unwrap_err().is_name(), "{bad}");
    }
}

#[test]
fn the_flat_map_has_each_series_of_the_page_and_no_buckets() {
    let metrics = Metrics::new().unwrap();
    metrics
        .duration_histogram("work_seconds", "Work.", ["kind"], &Buckets::new([0.1, 1.0, 10.0]))
        .unwrap()
        .observe(["a"], Duration::from_secs(2));
    let values = metrics.values();
    assert_eq!(values[r#"work_seconds_count{kind="a"}"#], 1.0);
    assert_eq!(values[r#"work_seconds_sum{kind="a"}"#], 2.0);
    assert!(!values.keys().any(|series| series.contains("_bucket")), "{values:?}");
    let page = Page::of(&metrics).text;
    let series = page.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket")).count();
    assert_eq!(values.len(), series);
}

#[test]
fn the_application_can_set_how_many_users_are_active_also_under_a_second_name() {
    let metrics = Metrics::builder().active_users_alias("active_users_total").build().unwrap();
    assert_eq!(metrics.values()["active_users_total"], 0.0);
    metrics.set_active_users(42);
    let values = metrics.values();
    assert_eq!((values["active_users"], values["active_users_total"]), (42.0, 42.0));
    assert_eq!(metrics.reading().active_users, Some(42.0), "what alerts and the dashboard read");
    let without = Metrics::builder().without_active_users().build().unwrap();
    without.set_active_users(42);
    assert!(!without.values().contains_key("active_users"));
}

#[test]
fn what_the_team_has_already_stays_theirs() {
    let registry = Registry::new();
    let theirs = prometheus::IntCounter::new("cache_operations_total", "Theirs.").unwrap();
    registry.register(Box::new(theirs.clone())).unwrap();
    let start = prometheus::Gauge::new("process_start_time_seconds", "Theirs.").unwrap();
    registry.register(Box::new(start)).unwrap();
    let metrics = Metrics::builder().registry(registry).build().unwrap();
    theirs.inc_by(3);
    metrics.cache().start("get").hit();
    drop(metrics.database().start("select", "users"));
    let page = Page::of(&metrics);
    assert_eq!(page.value("cache_operations_total", ""), 3.0);
    assert_eq!(page.value("database_query_duration_seconds_count", r#"operation="select",table="users""#), 1.0);
    assert_eq!(page.value("process_start_time_seconds", ""), 0.0);
}

#[test]
fn families_of_your_own_are_capped_and_checked() {
    let metrics = Metrics::builder().max_family_series(3).build().unwrap();
    let exports = metrics.counter("exports_total", "Exports.", ["format", "size"]).unwrap();
    for n in 0..1_000 {
        exports.inc([&n.to_string(), "big"]);
    }
    exports.with(["0", "big"]).add(5);
    let page = Page::of(&metrics);
    assert_eq!(page.find("exports_total").count(), 4);
    assert_eq!(page.value("exports_total", r#"format="0",size="big""#), 6.0);
    assert_eq!(page.value("exports_total", r#"format="_OTHER",size="_OTHER""#), 997.0);
    assert_eq!(page.value("steeple_metrics_label_overflow_total", r#"label="other",reason="limit""#), 997.0);
    assert!(metrics.counter("exports_total", "Again.", ["format"]).unwrap_err().is_name_taken());
    assert!(metrics.counter("exports", "No suffix.", []).unwrap_err().is_name());
    assert!(metrics.counter("a b_total", "A space.", []).unwrap_err().is_name());
    assert!(metrics.counter("ok_total", "A bad label.", ["__x"]).unwrap_err().is_name());
    let bad = Buckets::new([2.0, 1.0]);
    assert!(metrics.duration_histogram("x_seconds", "Bounds.", [], &bad).unwrap_err().is_bounds());
}

#[test]
fn gauges_go_up_and_down_and_sizes_are_bytes() {
    let metrics = Metrics::new().unwrap();
    let depth = metrics.gauge("queue_depth", "Jobs that wait.", ["queue"]).unwrap();
    depth.set(["mail"], 5.0);
    depth.add(["mail"], -2.5);
    let guard = depth.hold(["mail"]);
    assert_eq!(Page::of(&metrics).value("queue_depth", r#"queue="mail""#), 3.5);
    drop(guard);
    assert_eq!(Page::of(&metrics).value("queue_depth", r#"queue="mail""#), 2.5);
    let sizes = metrics.size_histogram("upload_bytes", "Uploads.", [], &Buckets::sizes()).unwrap();
    sizes.observe([], 1_000);
    let page = Page::of(&metrics);
    assert_eq!(page.value("upload_bytes_bucket", r#"le="256""#), 0.0);
    assert_eq!(page.value("upload_bytes_bucket", r#"le="1024""#), 1.0);
    let waits = metrics.duration_histogram("wait_seconds", "Waits.", [], &Buckets::coarse()).unwrap();
    drop(waits.start([]));
    assert_eq!(Page::of(&metrics).value("wait_seconds_count", ""), 1.0);
}

#[tokio::test]
async fn active_users_are_counted_once_each() {
    let metrics = Metrics::builder().active_users(Duration::from_mins(1)).build().unwrap();
    for user in ["ann", "bob", "ann", "cid", "ann"] {
        call(&metrics, request("GET", "/"), |exchange: Exchange| async move {
            exchange.set_user(User::new(user));
            Ok::<_, Infallible>(Response::new(TestBody::default()))
        })
        .await;
    }
    assert_eq!(Page::of(&metrics).value("active_users", ""), 3.0);
    let without = Metrics::builder().without_active_users().without_process().build().unwrap();
    assert!(!Page::of(&without).text.contains("active_users") && !Page::of(&without).text.contains("process_"));
}

#[test]
fn the_build_is_identified() {
    let metrics = Metrics::builder().build_info("taskboard", "1.2.3").build().unwrap();
    let labels = format!(r#"service="taskboard",version="1.2.3",steeple_version="{}""#, env!("CARGO_PKG_VERSION"));
    assert_eq!(Page::of(&metrics).value("build_info", &labels), 1.0);
}

#[cfg(feature = "tokio-runtime")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runtime_shows_its_workers() {
    let metrics = Metrics::new().unwrap();
    metrics.watch_runtime(&tokio::runtime::Handle::current());
    metrics.watch_runtime(&tokio::runtime::Handle::current());
    let page = Page::of(&metrics);
    assert_eq!(page.value("tokio_workers", ""), 2.0);
    assert_eq!(page.find("tokio_worker_busy_seconds_total").count(), 2);
}

#[cfg(feature = "sqlx")]
#[test]
fn sqlx_statements_are_timed_without_literals() {
    use tracing_subscriber::layer::SubscriberExt;

    let metrics = Metrics::new().unwrap();
    let subscriber = tracing_subscriber::registry().with(metrics.sqlx_layer());
    tracing::subscriber::with_default(subscriber, || {
        // As `sqlx-core` writes it: a short statement is its own summary, a long one comes beside it.
        let (elapsed, elapsed_secs) = (Duration::from_millis(3), 0.003_f64);
        tracing::event!(target: "sqlx::query", tracing::Level::DEBUG, summary = "DELETE FROM sessions", db.statement = "",
            rows_affected = 1_u64, rows_returned = 0_u64, ?elapsed, elapsed_secs);
        tracing::event!(target: "sqlx::query", tracing::Level::WARN, summary = "SELECT id, name, email …",
            db.statement = "\n\nSELECT id, name, email FROM users WHERE email = 'ann@example.org'\n",
            rows_affected = 0_u64, rows_returned = 1_u64, ?elapsed, elapsed_secs);
        tracing::debug!(elapsed_secs, summary = "SELECT 1 FROM elsewhere", "not sqlx");
    });
    let page = Page::of(&metrics);
    let found: Vec<_> = page.find("database_query_duration_seconds_sum").collect();
    assert_eq!(
        found,
        [(r#"operation="delete",table="sessions""#, 0.003), (r#"operation="select",table="users""#, 0.003)]
    );
}
