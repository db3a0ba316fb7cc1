//! Labels of the application's own on request metrics.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Response;
use steeple_core::Exchange;
use steeple_metrics::{Metrics, MetricsBuilder, Names};

use crate::support::{Page, TestBody, call, request, strict};

/// What a handler puts beside its exchange.
#[derive(Clone)]
struct Tenant(Arc<str>);

fn by_tenant() -> MetricsBuilder {
    Metrics::builder().label("tenant", |exchange| exchange.get::<Tenant>().map(|tenant| tenant.0.to_string()))
}

async fn ask(metrics: &Metrics, path: &'static str, tenant: Option<&str>) {
    let tenant = tenant.map(|tenant| Tenant(tenant.into()));
    call(metrics, request("GET", path), |_| async move {
        let exchange = Exchange::current().unwrap();
        exchange.report_route("/orders");
        let _none = tenant.map(|tenant| exchange.insert(tenant));
        Ok::<_, Infallible>(Response::new(TestBody::default()))
    })
    .await;
}

/// The whole page, in this format.
fn page(metrics: &Metrics, accept: Option<&str>) -> String {
    String::from_utf8(metrics.render(accept, None).body.to_vec()).unwrap()
}

/// The value of the series with this tenant.
fn of(metrics: &Metrics, family: &str, tenant: &str) -> Option<f64> {
    on(&page(metrics, None), family, tenant)
}

/// The same, on a page.
fn on(page: &str, family: &str, tenant: &str) -> Option<f64> {
    let families = strict::classic(page);
    let samples = families.iter().flat_map(|family| &family.samples).filter(|sample| sample.name == family);
    let mut found = samples.filter(|sample| sample.labels.get("tenant").is_some_and(|value| value == tenant));
    let value = found.next()?.value;
    assert!(found.next().is_none());
    Some(value)
}

#[tokio::test]
async fn requests_are_distinguished_by_a_custom_label_and_read_as_one_route() {
    let metrics = by_tenant().names(Names::Both).build().unwrap();
    for (tenant, requests) in [(Some("blue"), 3), (Some("red"), 2), (None, 1)] {
        for _ in 0..requests {
            ask(&metrics, "/orders", tenant).await;
        }
    }
    for (tenant, requests) in [("blue", 3.0), ("red", 2.0), ("", 1.0)] {
        for family in [
            "http_requests_total",
            "http_request_duration_seconds_count",
            "http_response_size_bytes_count",
            "http_server_request_duration_seconds_count",
        ] {
            assert_eq!(of(&metrics, family, tenant), Some(requests), "{family} {tenant}");
        }
    }
    let reading = metrics.reading();
    assert_eq!(reading.routes.iter().filter(|route| route.route == "/orders").count(), 1);
    assert_eq!(reading.route("GET", "/orders").unwrap().counts.requests, 6);
}

#[tokio::test]
async fn values_beyond_the_cap_count_with_their_route_and_are_counted() {
    let metrics = by_tenant().max_label_series(2).build().unwrap();
    for tenant in 0..50 {
        ask(&metrics, "/orders", Some(&format!("t{tenant}"))).await;
    }
    assert_eq!(of(&metrics, "http_requests_total", "t0"), Some(1.0));
    assert_eq!(of(&metrics, "http_requests_total", "t2"), None);
    assert_eq!(of(&metrics, "http_requests_total", "_OTHER"), Some(48.0), "nothing is lost, and its room is reserved");
    let page = String::from_utf8(metrics.render(None, None).body.to_vec()).unwrap();
    assert!(page.contains("steeple_metrics_label_overflow_total{label=\"own\",reason=\"limit\"} 48\n"), "{page}");
}

#[tokio::test]
async fn values_are_scrubbed_and_cut_and_a_function_that_panics_reads_none() {
    let metrics = by_tenant().label("panics", |_| panic!("in a label")).build().unwrap();
    ask(&metrics, "/orders", Some("password=hunter2hunter2")).await;
    ask(&metrics, "/orders", Some(&"x".repeat(300))).await;
    let page = String::from_utf8(metrics.render(None, None).body.to_vec()).unwrap();
    assert!(!page.contains("hunter2") && !page.contains(&"x".repeat(129)), "{page}");
    assert!(page.contains("panics=\"\""), "{page}");
}

#[test]
fn a_label_that_cannot_be_one_or_is_there_already_is_an_error() {
    for name in ["", "1st", "te-nant", "__name", "route", "status_code", "error_type", "le"] {
        let error = Metrics::builder().label(name, |_| None).build().unwrap_err();
        assert!(error.is_name() && error.to_string().contains(name), "{name}: {error}");
    }
    let twice = Metrics::builder().label("a", |_| None).label("a", |_| None).build().unwrap_err();
    assert!(twice.is_name());
    let many = (0..9).fold(Metrics::builder(), |builder, n| builder.label(format!("l{n}"), |_| None));
    assert!(many.build().unwrap_err().is_too_many());
}

#[tokio::test]
async fn series_in_which_nothing_changes_are_left_out_until_something_does() {
    let metrics = Metrics::builder().expire_idle(Duration::from_nanos(1)).build().unwrap();
    let ask = |route| {
        call(&metrics, request("GET", route), |_| async { Ok::<_, Infallible>(Response::new(TestBody::default())) })
    };
    let shown = |route: &str| {
        let page = Page::of(&metrics);
        page.find("http_requests_total").find(|(labels, _)| labels.contains(route)).map(|(_, value)| value)
    };
    ask("/a").await;
    assert_eq!(shown("/a"), Some(1.0), "as of the first scrape that sees it");
    ask("/b").await;
    assert_eq!((shown("/a"), shown("/a")), (None, None));
    assert!(!Page::of(&metrics).text.contains("/a"), "no histogram of it either");
    assert!(Page::of(&metrics).text.contains("\nhttp_requests_in_flight 0\n"), "gauges stay");
    ask("/a").await;
    assert_eq!(shown("/a"), Some(2.0), "it goes on from where it was");
    let expired = Page::of(&metrics).value("steeple_metrics_series_expired_total", "");
    assert!(expired >= 2.0, "{expired}");
    let reading = metrics.reading();
    assert_eq!(reading.route("GET", "/b").map(|route| route.counts.requests), Some(1), "readings have all of them");
}

#[tokio::test]
async fn an_idle_value_of_ones_own_label_gives_its_room_to_another_and_no_sum_in_the_process_falls() {
    let metrics = by_tenant().max_label_series(2).expire_idle(Duration::from_nanos(1)).build().unwrap();
    for (tenant, requests) in [("blue", 3), ("red", 2)] {
        for _ in 0..requests {
            ask(&metrics, "/orders", Some(tenant)).await;
        }
    }
    let before = metrics.reading();
    let first = page(&metrics, None);
    let counted = |page: &str, tenants: [&str; 3]| tenants.map(|tenant| on(page, "http_requests_total", tenant));
    assert_eq!(counted(&first, ["blue", "red", "_OTHER"]), [Some(3.0), Some(2.0), None]);
    // Nothing has come since that page.
    assert_eq!(counted(&page(&metrics, None), ["blue", "red", "_OTHER"]), [None; 3]);
    for tenant in ["green", "white", "black"] {
        ask(&metrics, "/orders", Some(tenant)).await;
    }
    let after = page(&metrics, None);
    assert_eq!(counted(&after, ["green", "white", "black"]), [Some(1.0), Some(1.0), None]);
    assert_eq!(
        on(&after, "http_requests_total", "_OTHER"),
        Some(1.0),
        "what was removed is not among what had no room"
    );
    let now = metrics.reading();
    let counts = |reading: &steeple_metrics::indicator::Reading| {
        let counts = reading.route("GET", "/orders").unwrap().counts.clone();
        (counts.requests, counts.classes.successes, counts.latency.count(), reading.totals.counts.requests)
    };
    assert_eq!(counts(&before), (5, 5, 5, 5));
    assert_eq!(counts(&now), (8, 8, 8, 8), "in the process nothing is lost");
    assert_eq!(counts(&now.since(&before)).0, 3);
    let expired = Page::of(&metrics).value("steeple_metrics_series_expired_total", "");
    assert!(expired >= 2.0, "{expired}");
}

#[tokio::test]
async fn what_is_removed_stays_in_the_sums_of_its_status_whichever_came_first() {
    let metrics = by_tenant().expire_idle(Duration::from_nanos(1)).build().unwrap();
    for (tenant, statuses) in [("blue", [404, 200, 200]), ("red", [200, 503, 404]), ("green", [503, 503, 200])] {
        for status in statuses {
            call(&metrics, request("GET", "/orders"), |exchange| async move {
                exchange.insert(Tenant(tenant.into()));
                let body = TestBody::from("x".repeat(usize::from(status)));
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            })
            .await;
        }
        page(&metrics, None);
        page(&metrics, None);
    }
    assert_eq!(of(&metrics, "http_requests_total", "green"), None, "all are removed");
    let reading = metrics.reading();
    let counts = &reading.route("GET", "/orders").unwrap().counts;
    assert_eq!((counts.classes.successes, counts.classes.client_errors, counts.classes.server_errors), (4, 2, 3));
    assert_eq!((counts.requests, counts.errors, counts.latency.count()), (9, 3, 9));
    assert_eq!(counts.response_bytes, 4 * 200 + 2 * 404 + 3 * 503);
    assert_eq!(counts.latency.sum(), reading.totals.counts.latency.sum());
}

const OPENMETRICS: Option<&str> = Some("application/openmetrics-text;version=1.0.0");

#[tokio::test]
async fn a_value_that_comes_back_begins_anew_with_another_created_timestamp() {
    let metrics = by_tenant().expire_idle(Duration::from_nanos(1)).build().unwrap();
    let created = |page: &str| {
        let line = page.lines().find(|line| line.starts_with("http_requests_created{") && line.contains("blue"));
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    };
    for _ in 0..3 {
        ask(&metrics, "/orders", Some("blue")).await;
    }
    let first = created(&page(&metrics, OPENMETRICS)).unwrap();
    let between = page(&metrics, OPENMETRICS);
    assert_eq!(created(&between), None, "a scrape without it: {between}");
    // Timestamps are in milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    ask(&metrics, "/orders", Some("blue")).await;
    let again = page(&metrics, OPENMETRICS);
    assert!(created(&again).unwrap() > first, "{again}");
    let line = again.lines().find(|line| line.starts_with("http_requests_total{") && line.contains("blue")).unwrap();
    assert!(line.split_once("} ").unwrap().1.starts_with('1'), "{line}");
    // What there is for as long as the process measures has one created timestamp.
    let own = |page: &str| {
        page.lines().find(|line| line.starts_with("steeple_metrics_series_expired_created")).map(str::to_owned)
    };
    assert!(own(&again).is_some());
    assert_eq!(own(&again), own(&page(&metrics, OPENMETRICS)));
}

#[tokio::test]
async fn requests_that_end_while_idle_values_are_removed_are_all_counted() {
    let metrics = by_tenant().max_label_series(3).expire_idle(Duration::from_nanos(1)).build().unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let scraper = std::thread::spawn({
        let (metrics, stop) = (metrics.clone(), Arc::clone(&stop));
        move || {
            let mut highest = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                metrics.render(None, None);
                let requests = metrics.reading().totals.counts.requests;
                assert!(requests >= highest, "{requests} after {highest}");
                highest = requests;
            }
        }
    });
    for request in 0..600 {
        ask(&metrics, "/orders", Some(&format!("t{}", request % 7))).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    scraper.join().unwrap();
    let reading = metrics.reading();
    assert_eq!((reading.totals.counts.requests, reading.routes.len()), (600, 1));
}
