//! The page of another recorder is a part of ours, in every format.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
};

use http::Response;
use steeple_metrics::Metrics;

use crate::support::{Page, TestBody, call, promtool, request, strict};

/// As `metrics-exporter-prometheus` writes it, and what else the format allows.
const THEIRS: &str = r#"# HELP jobs_total Jobs \\ "done"\nand more.
# TYPE jobs_total counter
jobs_total{queue="mail",path="C:\\temp\n\"x\""} 3
jobs_total{queue="import"} 4 1700000000000

# HELP temperature One of theirs.
# TYPE temperature gauge
temperature -1.5e1
# HELP wait_seconds One of theirs.
# TYPE wait_seconds histogram
wait_seconds_bucket{queue="mail",le="0.5"} 1
wait_seconds_bucket{queue="mail",le="+Inf"} 2
wait_seconds_sum{queue="mail"} 3.5
wait_seconds_count{queue="mail"} 2
# HELP size One of theirs.
# TYPE size summary
size{quantile="0.5"} 10
size{quantile="0.99"} 20
size_sum 30
size_count 3
"#;

async fn with(page: &'static str) -> Metrics {
    let metrics = Metrics::builder().append("theirs", move || page.to_owned()).build().unwrap();
    call(&metrics, request("GET", "/a"), |_| async { Ok::<_, Infallible>(Response::new(TestBody::default())) }).await;
    metrics
}

#[tokio::test]
async fn every_kind_is_shown_as_it_was_in_every_format() {
    let metrics = with(THEIRS).await;
    let page = Page::of(&metrics);
    promtool(&["check", "metrics"], Some(&page.text));
    assert_eq!(page.value("jobs_total", r#"queue="mail",path="C:\\temp\n\"x\"""#), 3.0);
    assert_eq!((page.value("jobs_total", r#"queue="import""#), page.value("temperature", "")), (4.0, -15.0));
    assert_eq!(page.value("wait_seconds_bucket", r#"queue="mail",le="0.5""#), 1.0);
    assert_eq!(page.value("wait_seconds_bucket", r#"queue="mail",le="+Inf""#), 2.0);
    assert_eq!(
        (page.value("wait_seconds_sum", r#"queue="mail""#), page.value("size", r#"quantile="0.99""#)),
        (3.5, 20.0)
    );
    assert_eq!(
        (
            page.value("size_count", ""),
            page.value("http_requests_total", r#"method="GET",route="/a",status_code="200""#)
        ),
        (3.0, 1.0)
    );
    let open = metrics.render(Some("application/openmetrics-text;version=1.0.0"), None).body;
    let families = strict::openmetrics(std::str::from_utf8(&open).unwrap());
    for name in ["jobs", "temperature", "wait_seconds", "size", "http_requests"] {
        assert!(families.iter().any(|family| family.name == name), "{name}");
    }
}

#[tokio::test]
async fn a_family_that_is_there_already_is_shown_once_beside_ours_or_not_at_all() {
    let theirs = "# TYPE http_requests_total counter\n\
        http_requests_total{method=\"GET\",route=\"/a\",status_code=\"200\"} 99\n\
        http_requests_total{app=\"other\"} 5\n\
        # TYPE http_requests_in_flight counter\nhttp_requests_in_flight 7\n";
    let page = Page::of(&with(theirs).await);
    assert_eq!(page.text.matches("# TYPE http_requests_total ").count(), 1);
    assert_eq!(page.value("http_requests_total", r#"method="GET",route="/a",status_code="200""#), 1.0, "ours");
    assert_eq!(page.value("http_requests_total", r#"app="other""#), 5.0);
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0, "of another kind");
    promtool(&["check", "metrics"], Some(&page.text));
}

#[tokio::test]
async fn lines_that_are_none_are_left_out_and_a_panic_costs_their_families_alone() {
    let page = Page::of(&with("good_total 1\nnot a line\nbad{x=} 1\nbad{x=\"1\" 2\n{} 3\n# TYPE\nalso_good 2\n").await);
    assert_eq!((page.value("good_total", ""), page.value("also_good", "")), (1.0, 2.0));
    assert!(!page.text.contains("bad") && !page.text.contains("not a line"), "{}", page.text);
    let panics = AtomicBool::new(true);
    let render =
        move || if panics.swap(false, Ordering::Relaxed) { panic!("no page") } else { "theirs 1\n".to_owned() };
    let metrics = Metrics::builder().append("theirs", render).build().unwrap();
    let page = Page::of(&metrics);
    assert!(!page.text.contains("theirs") && page.text.contains("http_requests_in_flight 0"));
    assert_eq!(page.value("steeple_metrics_collector_panics_total", ""), 1.0);
    assert_eq!(Page::of(&metrics).value("theirs", ""), 1.0);
}
