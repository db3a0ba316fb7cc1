//! Readings tell what happened, and every indicator is an expression that Prometheus takes.

use std::{convert::Infallible, fmt::Write, time::Duration};

use crate::support::{TestBody, call, promtool, request};
use http::{Request, Response};
use steeple_core::{
    Exchange, Outcome, RouteOptions, TraceContext,
    test_util::{ScriptedBody, Step},
};
use steeple_metrics::{
    Buckets, Connections, Metrics, Names, Objective, RouteMetrics,
    indicator::{FamilyKind, Indicator, Promql, ResourceOptions, Selector, SeriesValue, Unit, Window},
};

async fn answer(metrics: &Metrics, route: &'static str, status: u16) {
    call(metrics, request("GET", route), |exchange: Exchange| async move {
        exchange.set_trace(TraceContext::from_ids([status as u8; 16], [9; 8], true).unwrap());
        Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
    })
    .await;
}

async fn grpc(metrics: &Metrics, status: &'static str) {
    let rpc = Request::post("/pkg.S/Get").header("content-type", "application/grpc").body(TestBody::default()).unwrap();
    call(metrics, rpc, |_| async move {
        Ok::<_, Infallible>(Response::builder().header("grpc-status", status).body(TestBody::default()).unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_reading_has_classes_aborts_latency_and_exemplars_by_route() {
    let metrics = Metrics::new().unwrap();
    for status in [200, 201, 302, 404, 404, 503] {
        answer(&metrics, "/a", status).await;
    }
    let broken = ScriptedBody::new([Step::Data(b"abc"), Step::Fail("disk")]);
    call(&metrics, request("GET", "/b"), |_| async { Ok::<_, Infallible>(Response::new(broken)) }).await;
    call(&metrics, request("GET", "/b"), |_| async { Err::<Response<TestBody>, _>(std::fmt::Error) }).await;
    for status in ["0", "1", "5", "14"] {
        grpc(&metrics, status).await;
    }
    let reading = metrics.reading();
    let a = reading.route("GET", "/a").unwrap();
    let classes = a.counts.classes;
    assert_eq!((classes.successes, classes.redirects, classes.client_errors, classes.server_errors), (2, 1, 2, 1));
    assert_eq!((a.counts.requests, a.counts.errors, a.counts.latency.count()), (6, 1, 6));
    assert_eq!(a.counts.error_ratio(), Some(1.0 / 6.0));
    let failed = a.exemplars.iter().find(|exemplar| exemplar.failed).unwrap();
    assert_eq!((failed.status, failed.trace_id), (503, [503_u16 as u8; 16]));
    assert!(a.exemplars.is_sorted_by_key(|exemplar| std::cmp::Reverse(exemplar.unix)));
    let b = &reading.route("GET", "/b").unwrap().counts;
    assert_eq!((b.aborted.body_error, b.aborted.service_error, b.errors, b.response_bytes), (1, 1, 2, 3));
    assert_eq!((b.aborted.total(), b.aborted.of(Outcome::BodyError), b.classes.server_errors), (2, 1, 1));
    let rpc = &reading.route("", "pkg.S/Get").unwrap().counts;
    let classes = rpc.classes;
    assert_eq!((rpc.requests, classes.successes, classes.client_errors, classes.server_errors), (4, 1, 1, 1));
    let totals = &reading.totals.counts;
    assert_eq!((totals.requests, totals.errors, totals.latency.count()), (12, 4, 12));
    assert_eq!(totals.latency.quantile(1.0), metrics.totals().counts.latency.quantile(1.0));
    assert_eq!(totals.latency.slower_than(Duration::ZERO), 12);
    assert_eq!(totals.latency.slower_than(Duration::from_secs(10)), 0);
    assert!(totals.latency.mean() > Some(Duration::ZERO) && totals.latency.quantile(1.1).is_none());
    assert_eq!(totals.latency.cells().map(|(_, count)| count).sum::<u64>(), 12);
    answer(&metrics, "/a", 200).await;
    let lately = metrics.reading().since(&reading);
    assert_eq!((lately.totals.counts.requests, lately.route("GET", "/a").unwrap().counts.requests), (1, 1));
    assert_eq!(lately.route("GET", "/b").unwrap().counts.requests, 0);
    assert!(lately.per_second(1) > 0.0 && lately.covers > Duration::ZERO);
}

#[tokio::test]
async fn routes_with_their_own_buckets_are_added_to_the_totals() {
    let metrics = Metrics::new().unwrap();
    let objective = Objective::success(0.99).latency(Duration::from_millis(300), 0.9);
    let own = RouteOptions::new().buckets(Buckets::new([0.3, 3.0])).objective(objective.clone()).layer().unwrap();
    for n in 0..20 {
        call(&metrics, request("GET", if n % 2 == 0 { "/own" } else { "/other" }), |exchange: Exchange| {
            if n % 2 == 0 {
                own.apply(&exchange);
            }
            async { Ok::<_, Infallible>(Response::new(TestBody::default())) }
        })
        .await;
    }
    let reading = metrics.reading();
    let own = reading.route("GET", "/own").unwrap();
    assert_eq!((own.counts.latency.count(), reading.totals.counts.latency.count()), (10, 20));
    assert_eq!(own.objective, Some(objective));
    let [slowest, all] = [&own.counts, &reading.totals.counts].map(|counts| counts.latency.quantile(1.0).unwrap());
    assert!(slowest <= all.mul_f64(1.1) && all < Duration::from_mins(1), "{slowest:?} {all:?}");
}

#[tokio::test]
async fn a_reading_has_the_families_of_the_application_and_of_its_registries() {
    let registry = prometheus::Registry::new_custom(
        Some("app".to_owned()),
        Some([("region".to_owned(), "eu".to_owned())].into_iter().collect()),
    )
    .unwrap();
    let theirs = prometheus::IntCounterVec::new(prometheus::Opts::new("theirs_total", "Theirs."), &["kind"]).unwrap();
    theirs.with_label_values(&["a"]).inc_by(3);
    registry.register(Box::new(theirs.clone())).unwrap();
    let wait = prometheus::HistogramOpts::new("wait_seconds", "Wait.").buckets(vec![1.0, 2.0]);
    let wait = prometheus::Histogram::with_opts(wait).unwrap();
    registry.register(Box::new(wait.clone())).unwrap();
    let lost = prometheus::IntCounterVec::new(prometheus::Opts::new("steeple_spans_dropped_total", "."), &["reason"]);
    let lost = lost.unwrap();
    lost.with_label_values(&["queue_full"]).inc_by(7);
    registry.register(Box::new(lost)).unwrap();
    let metrics = Metrics::builder().registry(registry).build().unwrap();
    let payments = metrics.counter("payments_total", "Payments.", ["result"]).unwrap();
    payments.add(["ok"], 5);
    let level = metrics.gauge("level", "Level.", []).unwrap();
    level.set([], 2.5);
    let own = metrics.duration_histogram("own_seconds", "Own.", [], &Buckets::coarse()).unwrap();
    own.observe([], Duration::from_millis(200));
    for seconds in [0.5, 1.5, 1.5, 9.0] {
        wait.observe(seconds);
    }
    answer(&metrics, "/a", 200).await;
    let before = metrics.reading();
    let number = |name: &str| before.family(name).unwrap().series[0].number();
    assert_eq!((number("payments_total"), number("theirs_total"), number("level")), (5.0, 3.0, 2.5));
    let theirs_family = before.family("theirs_total").unwrap();
    assert_eq!(theirs_family.kind, FamilyKind::Counter);
    assert_eq!(theirs_family.series[0].labels, [("kind".into(), "a".into())], "without the registry's own");
    assert!(before.family("http_requests_total").is_none(), "that is what `routes` is for");
    let histogram = |name: &str| {
        let value = &before.family(name).unwrap().series[0].value;
        let SeriesValue::Histogram(histogram) = value else { panic!("{value:?}") };
        histogram.clone()
    };
    let waits = histogram("wait_seconds");
    assert_eq!(waits.buckets, [(1.0, 1), (2.0, 3), (f64::INFINITY, 4)]);
    assert_eq!((waits.quantile(0.5), waits.quantile(0.99)), (Some(1.5), Some(2.0)));
    let p50 = histogram("own_seconds").quantile(0.5).unwrap();
    assert!((p50 - 0.2).abs() < 0.2 * 0.045, "{p50}");
    assert_eq!(before.dropped.len(), 1);
    assert_eq!(
        (&*before.dropped[0].sink, &*before.dropped[0].reason, before.dropped[0].count),
        ("spans", "queue_full", 7)
    );
    payments.add(["ok"], 2);
    theirs.reset();
    theirs.with_label_values(&["a"]).inc();
    wait.observe(0.1);
    level.set([], 1.0);
    let lately = metrics.reading().since(&before);
    let number = |name: &str| lately.family(name).unwrap().series[0].number();
    assert_eq!((number("payments_total"), number("level"), number("wait_seconds")), (2.0, 1.0, 1.0));
    assert_eq!(number("theirs_total"), 1.0, "a counter that began anew counts whole");
}

#[test]
fn a_reading_has_connections_caches_users_and_resources() {
    let metrics = Metrics::new().unwrap();
    assert_eq!(metrics.reading().connections, None);
    metrics.watch_connections(|| Connections::new(7, 3, 20));
    metrics.watch_connections(|| Connections::new(1, 0, 5));
    metrics.watch_connections(|| panic!("a pool of the test"));
    let cache = metrics.cache();
    for hit in [true, true, true, false] {
        cache.lookup(hit.then_some(()));
    }
    let reading = metrics.reading();
    let connections = reading.connections.unwrap();
    assert_eq!((connections, connections.used_ratio()), (Connections::new(8, 3, 25), 0.32));
    assert_eq!(reading.cache.hit_ratio(), Some(0.75));
    assert_eq!(reading.active_users, Some(0.0));
    #[cfg(all(target_os = "linux", not(steeple_os_other)))]
    {
        let (cpu, memory, disk) =
            (reading.resources.cpu.unwrap(), reading.resources.memory.unwrap(), reading.resources.disk.unwrap());
        assert!(cpu.used_seconds >= 0.0 && cpu.limit_cores > 0.0);
        assert!(memory.used_bytes > 0 && (0.0..=1.0).contains(&memory.used_ratio()), "{memory:?}");
        assert!(disk.size_bytes > 0 && (0.0..=1.0).contains(&disk.used_ratio()), "{disk:?}");
    }
    let nowhere = Metrics::builder().resources(ResourceOptions::new().root("/nonexistent").disk("/nonexistent"));
    let nowhere = nowhere.build().unwrap().reading().resources;
    assert_eq!((nowhere.cpu, nowhere.memory, nowhere.disk), (None, None, None));
}

fn every_indicator() -> Vec<Indicator> {
    let payments = || Selector::new("payments_total").not("kind", "te\"st");
    let mut all = vec![
        Indicator::in_flight(),
        Indicator::active_users(),
        Indicator::cpu(),
        Indicator::cpu_throttled(),
        Indicator::memory(),
        Indicator::disk(),
        Indicator::connections(),
        Indicator::cache_hit_ratio(),
        Indicator::dropped(),
        Indicator::counter_rate(payments()),
        Indicator::counter_increase(payments()),
        Indicator::counter_ratio(payments().label("result", "failed"), payments()),
        Indicator::gauge(Selector::new("level")),
        Indicator::histogram_quantile(0.9, Selector::new("wait_seconds")),
    ];
    let targets = [0.001, 0.3, 0.5, 10.0, 60.0].map(Duration::from_secs_f64).map(Indicator::slow_ratio);
    let requests = [
        Indicator::error_ratio(),
        Indicator::quantile(0.95),
        Indicator::mean(),
        Indicator::rate(),
        Indicator::aborted_ratio(Outcome::Cancelled),
    ];
    for indicator in targets.into_iter().chain(requests) {
        all.push(indicator.clone().of("GET", "/users/{id}"));
        all.push(indicator.clone().of("GET", "unmatched"));
        all.push(indicator.clone().of("", "pkg.S/Get"));
        all.push(indicator);
    }
    all
}

#[test]
fn every_indicator_is_an_expression_that_prometheus_takes() {
    let mut rules = String::from("groups:\n  - name: indicators\n    rules:\n");
    let mut number = 0;
    for indicator in every_indicator() {
        indicator.check().unwrap();
        for names in [Names::Classic, Names::OpenTelemetry] {
            for native in [false, true] {
                for by in [&[][..], &["instance", "job"]] {
                    let style =
                        Promql::new().names(names).native(native).matchers("job=\"shop\"").by(by.iter().copied());
                    let window = Window::FIVE_MINUTES;
                    let samples = indicator.samples_promql(window, &style);
                    for expression in [Some(indicator.promql(window, &style)), samples].into_iter().flatten() {
                        let quoted = expression.replace('\'', "''");
                        writeln!(rules, "      - record: indicator_{number}\n        expr: '{quoted}'").unwrap();
                        number += 1;
                    }
                }
            }
        }
    }
    assert!(number > 300);
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    promtool(&["check", "rules", "--lint=none", file.path().to_str().unwrap()], None);
}

#[test]
fn what_can_never_have_a_value_is_refused() {
    for bad in [
        Indicator::quantile(0.0),
        Indicator::quantile(1.0),
        Indicator::quantile(f64::NAN),
        Indicator::slow_ratio(Duration::ZERO),
        Indicator::aborted_ratio(Outcome::Completed),
        Indicator::gauge(Selector::new("")),
        Indicator::gauge(Selector::new("a b")),
        Indicator::counter_rate(Selector::new("a").label("b c", "")),
    ] {
        assert!(bad.check().unwrap_err().is_indicator(), "{bad}");
    }
    for seconds in [0.0, 0.9, 86_400.1, 1e9] {
        assert!(Window::new(Duration::from_secs_f64(seconds)).unwrap_err().is_window(), "{seconds}");
    }
    let shown = |seconds| Window::new(Duration::from_secs(seconds)).unwrap().to_string();
    assert_eq!([1, 90, 120, 7_200, 86_400].map(shown), ["1s", "90s", "2m", "2h", "24h"]);
    assert_eq!(Indicator::error_ratio().unit(), Unit::Ratio);
}
