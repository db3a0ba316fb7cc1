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

/// The value of the series with this tenant.
fn of(metrics: &Metrics, family: &str, tenant: &str) -> Option<f64> {
    let page = String::from_utf8(metrics.render(None, None).body.to_vec()).unwrap();
    let families = strict::classic(&page);
    let samples = families.iter().flat_map(|family| &family.samples).filter(|sample| sample.name == family);
    let mut found = samples.filter(|sample| sample.labels.get("tenant").is_some_and(|value| value == tenant));
    let value = found.next()?.value;
    assert!(found.next().is_none());
    Some(value)
}

#[tokio::test]
async fn requests_are_told_apart_by_a_label_of_ones_own_and_read_as_one_route() {
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
