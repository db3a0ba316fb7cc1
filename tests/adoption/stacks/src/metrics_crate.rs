//! A team that counts with the `metrics` crate: its recorder stays, and its families are in Steeple's `/metrics`. Each row of the
//! page's table is seen on their exporter's page and on Steeple's.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::Request,
    routing::{get, put},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use steeple::{Steeple, metrics::push::PushOptions};
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::{Outcome, page::Rows, written::Written};

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Steeple's `/metrics`, for a scraper that accepts this.
async fn scraped(app: &Router, accept: &str) -> Result<String> {
    let request = Request::get("/metrics").header("accept", accept).body(Body::empty())?;
    let response = app.clone().oneshot(request).await?;
    Ok(String::from_utf8_lossy(&to_bytes(response.into_body(), 1 << 20).await?).into_owned())
}

fn has(page: &str, wanted: &str) -> bool {
    page.lines().any(|line| line == wanted)
}

/// The lines of a family, with those that describe it.
fn family<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let of = |line: &&str| line.strip_prefix("# TYPE ").unwrap_or(line).starts_with(name);
    let mut lines: Vec<_> = page.lines().filter(of).collect();
    lines.sort_unstable();
    lines
}

/// What one push to a Pushgateway carries.
async fn pushed(steeple: &Steeple) -> Result<String> {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    let keeps = async move |body: Bytes| kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&body);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let gateway = Router::new().route("/metrics/job/shop", put(keeps));
    let served = tokio::spawn(async move { axum::serve(listener, gateway).await });
    PushOptions::pushgateway(url, "shop").build(steeple.metrics())?.push().await?;
    served.abort();
    let bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(String::from_utf8_lossy(&bodies).into_owned())
}

pub async fn run() -> Outcome {
    let written = Written::default();
    let writer = written.clone();
    let formatter = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(formatter))?;
    let warnings = |name: &str| {
        let lines = written.take();
        let named = format!("\"metric\":\"{name}\"");
        lines.lines().filter(|line| line.contains("\"level\":\"WARN\"") && line.contains(&named)).count()
    };

    // Their exporter is built without its features for a listener and for pushes: nothing of it has an address.
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("parcel_size".to_owned()), &[1.0, 10.0])?
        .install_recorder()?;
    let theirs = recorder.clone();
    let steeple = Steeple::builder()
        .without_log_setup()
        .metrics(|metrics| metrics.append("the metrics crate", move || recorder.render()))
        .build()?;
    let order = async || {
        metrics::counter!("orders_total", "plan" => "pro").increment(1);
        metrics::gauge!("seats").set(7.5);
        metrics::histogram!("basket_size").record(3.0);
        metrics::histogram!("parcel_size").record(3.0);
        "ordered"
    };
    let app = Router::new().route("/orders", get(order)).layer(steeple.layer()).merge(steeple.routes());
    let response = app.clone().oneshot(Request::get("/orders").body(Body::empty())?).await?;
    to_bytes(response.into_body(), 1024).await?;

    let mut rows = Rows::of(include_str!("../../../../docs/migrate-metrics-crate.md"));
    let page = scraped(&app, "text/plain;version=0.0.4").await?;
    let before = theirs.render();

    let counter = r#"orders_total{plan="pro"} 1"#;
    assert!(has(&before, counter), "{before}");
    assert!(has(&page, counter), "{page}");
    let open = scraped(&app, "application/openmetrics-text;version=1.0.0").await?;
    assert!(has(&open, "# TYPE orders counter") && open.trim_end().ends_with("# EOF"), "{open}");
    assert!(open.lines().any(|line| line.starts_with(r#"orders_total{plan="pro"} 1"#)), "{open}");
    let binary = scraped(&app, PROTOBUF).await?;
    assert!(binary.contains("orders_total") && !has(&binary, "# TYPE orders_total counter"), "{binary}");
    let push = pushed(&steeple).await?;
    assert!(push.contains("orders_total"), "{push}");
    rows.observed(
        r#"`counter!("orders_total", "plan" => "pro")`"#,
        r#"`orders_total{plan="pro"}`, as it was; in OpenMetrics and protobuf too, and in pushes"#,
    );

    assert!(has(&before, "seats 7.5") && has(&page, "seats 7.5"), "{before}{page}");
    rows.observed(r#"`gauge!("seats")`"#, "`seats`");

    assert!(has(&before, "# TYPE basket_size summary") && has(&page, "# TYPE basket_size summary"), "{before}{page}");
    assert!(before.contains("basket_size_count 1"), "{before}");
    for name in ["basket_size", "parcel_size"] {
        assert!(family(&before, name).len() > 3, "{before}");
        assert_eq!(family(&page, name), family(&before, name), "{name}");
    }
    assert!(has(&page, "# TYPE parcel_size histogram") && has(&page, r#"parcel_size_bucket{le="10"} 1"#), "{page}");
    rows.observed(
        r#"`histogram!("basket_size")` without buckets"#,
        "a summary, as their exporter makes it; with `set_buckets`, a histogram",
    );

    // Nothing has been in two places so far.
    assert_eq!(warnings("http_requests_total"), 0);
    metrics::counter!("http_requests_total", "method" => "GET", "route" => "/theirs", "status_code" => "200")
        .increment(3);
    metrics::counter!("http_requests_total", "method" => "GET", "route" => "/orders", "status_code" => "200")
        .increment(9);
    let page = scraped(&app, "text/plain;version=0.0.4").await?;
    assert_eq!(page.matches("# TYPE http_requests_total counter").count(), 1, "{page}");
    for line in [
        r#"http_requests_total{method="GET",route="/orders",status_code="200"} 1"#,
        r#"http_requests_total{method="GET",route="/theirs",status_code="200"} 3"#,
    ] {
        assert!(has(&page, line), "{line} in {page}");
    }
    assert_eq!(
        page.matches(r#"http_requests_total{method="GET",route="/orders",status_code="200"}"#).count(),
        1,
        "{page}"
    );
    assert_eq!(warnings("http_requests_total"), 1);
    rows.observed(
        "a name and kind that Steeple has as well",
        "one family with the series of both, and a warning; of the same labels, Steeple's is shown",
    );

    metrics::counter!("http_requests_in_flight").increment(9);
    assert!(has(&theirs.render(), "http_requests_in_flight 9"));
    let page = scraped(&app, "text/plain;version=0.0.4").await?;
    assert_eq!(page.matches("# TYPE http_requests_in_flight ").count(), 1, "{page}");
    assert!(!page.contains("http_requests_in_flight 9"), "{page}");
    assert_eq!(warnings("http_requests_in_flight"), 1);
    rows.observed("a name that Steeple has of another kind", "not shown, and a warning");

    // What was scraped and pushed above came from Steeple's route and Steeple's push.
    rows.observed("their HTTP listener, their push gateway", "not needed");
    rows.end();
    Ok(())
}
