//! The engine's quantile and a real Prometheus', over the same requests.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};
use serde_json::Value;
use steeple_metrics::{
    Metrics,
    indicator::{HistoryOptions, Indicator, Promql, Selector, Window},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{missing, record};

/// Upper bounds of the default buckets.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

struct Prometheus {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn prometheus(target: SocketAddr) -> Option<Prometheus> {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Command::new("prometheus")
        .current_dir(directory.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(child) => {
            record("prometheus", true);
            Some(Prometheus { child, port, _directory: directory })
        }
        Err(error) => {
            missing("prometheus", &error);
            None
        }
    }
}

async fn fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

async fn ask(prometheus: &Prometheus, expression: &str) -> Option<f64> {
    let encoded = expression.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"));
    let answer = fetch(prometheus.port, &format!("/api/v1/query?query={encoded}")).await?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    // The body may come in chunks.
    let body = body.get(body.find('{')?..=body.rfind('}')?)?;
    let answer: Value = serde_json::from_str(body).ok()?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

/// The bucket that a value falls into.
fn bucket(seconds: f64) -> usize {
    BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_95th_percentile_is_a_real_prometheus_within_one_bucket_and_the_first_failure_is_seen() {
    let metrics = Metrics::builder().build().unwrap();
    let history = metrics.history_with(HistoryOptions::new().without_thread());
    let window = Window::FIVE_MINUTES;
    let indicator = Indicator::quantile(0.95).of("GET", "/wait/{ms}");
    let watched = history.watch(indicator.clone(), window).unwrap();
    // One counter is there from the start, the other begins with its first failure.
    let failed = |name: &str| metrics.counter(name, "Payments.", ["result"]).unwrap();
    let ours = failed("payments_total");
    ours.add(["failed"], 0);
    let late = failed("refunds_total");
    let first = history.watch(Indicator::counter_increase(Selector::new("refunds_total")), window).unwrap();

    let wait = async |Path(ms): Path<u64>| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        "ok"
    };
    let app = Router::new().route("/wait/{ms}", get(wait)).merge(metrics.routes()).layer(metrics.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let Some(server) = prometheus(address) else { return };
    let up = async |what: &str| {
        for _ in 0..600 {
            if let Some(value) = ask(&server, what).await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Prometheus does not answer {what}");
    };
    assert_eq!(up("up").await, 1.0);
    history.sample();
    // One request, so that the series is there before the others come; rates need two scrapes of it.
    fetch(address.port(), "/wait/1").await.unwrap();
    up("http_request_duration_seconds_count{route=\"/wait/{ms}\"}").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    history.sample();

    let requests: Vec<_> = (0..400_u64)
        .map(|n| {
            // Most are fast, a tenth is slow: the 95th percentile lies among those.
            let ms = if n % 10 == 0 { 300 + n } else { 5 + n % 60 };
            tokio::spawn(async move { fetch(address.port(), &format!("/wait/{ms}")).await.unwrap() })
        })
        .collect();
    for request in requests {
        assert!(request.await.unwrap().contains("200 OK"));
    }
    ours.add(["failed"], 1);
    late.add(["failed"], 1);
    history.sample();
    let counted = "http_request_duration_seconds_count{route=\"/wait/{ms}\"} >= 401";
    up(counted).await;
    tokio::time::sleep(Duration::from_secs(3)).await;

    let here = watched.value();
    let there = up(&indicator.promql(window, &Promql::new())).await;
    let seconds = here.value.unwrap();
    println!("p95 of {} requests: here {seconds:.4} s, Prometheus {there:.4} s", here.samples);
    assert!(here.samples >= 400, "{here:?}");
    assert!(bucket(seconds).abs_diff(bucket(there)) <= 1, "{seconds} {there}");

    // A series that begins at 1 has never increased for a server; here it is seen.
    assert_eq!(first.value().value, Some(1.0));
    assert_eq!(up("increase(refunds_total[5m])").await, 0.0);
    assert!(up("increase(payments_total[5m])").await > 0.0);
}
