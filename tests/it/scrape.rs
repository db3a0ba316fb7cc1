//! Read by a real Prometheus, and by `promtool`.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use axum::Router;
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_tests::{
    client::{Client, Protocol},
    lab::Lab,
    mixed::{self, BothLabs},
    peer::{self, Peer},
    server::Server,
    settle::settle,
    stack::Stack,
};
use tower::Layer;

/// Some traffic of every kind, and a server with the page about it.
async fn after_some_traffic() -> (Stack, Server) {
    let (lab, stack) = (Lab::new(), Stack::new());
    let server = Server::start(stack.layer().layer(BothLabs(lab.clone()))).await;
    mixed::run(&server, &lab, 500, 16).await;
    settle(stack.observer(), 500).await;
    let page = Server::start(Router::new().merge(stack.metrics().routes())).await;
    (stack, page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_no_complaint() {
    let Some(promtool) = peer::find("promtool") else { return };
    let (stack, _page) = after_some_traffic().await;
    let checked = peer::run(Command::new(promtool).args(["check", "metrics"]), stack.page().text().as_bytes()).unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Asks Prometheus for one number.
pub(crate) async fn query(prometheus: SocketAddr, expression: &str) -> Option<f64> {
    let mut client = Client::try_connect(Protocol::Http1, prometheus).await?;
    let encoded = expression.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"));
    let answer = client.get(&format!("/api/v1/query?query={encoded}")).await.ok()?;
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

/// A Prometheus that has scraped this page. `None`, which is logged, without one on this machine.
pub(crate) async fn scraping(target: SocketAddr) -> Option<Peer> {
    let prometheus = peer::find("prometheus")?;
    let arguments = |address, directory: &Path| {
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: steeple, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(directory.join("prometheus.yml"), config).unwrap();
        vec![
            "--config.file=prometheus.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.path=data".to_owned(),
            "--enable-feature=exemplar-storage,native-histograms".to_owned(),
        ]
    };
    let mut prometheus = Peer::start(&prometheus, arguments).unwrap();
    let up = prometheus.until(|address| async move { query(address, "up").await }).await;
    assert_eq!(up, 1.0, "{}", prometheus.log());
    Some(prometheus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_scrapes_what_was_counted() {
    let (stack, page) = after_some_traffic().await;
    let Some(prometheus) = scraping(page.address()).await else { return };
    let address = prometheus.address();
    for name in ["http_requests_total", "http_requests_aborted_total", "grpc_server_handled_total"] {
        let want = stack.page().sum(name, &[]);
        assert!(want > 0.0, "{name}");
        assert_eq!(query(address, &format!("sum({name})")).await, Some(want), "{name}");
    }
    let quantile = "histogram_quantile(0.5, sum(http_request_duration_seconds{status_code=\"200\"}))";
    let median = query(address, quantile).await.expect("native histograms are understood");
    assert!(median > 0.0 && median < Duration::from_secs(30).as_secs_f64(), "{median}");
}
