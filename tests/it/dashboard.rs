//! The dashboard over real sockets, and in a real browser.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use steeple::{
    Exchange, RecordedError, Steeple, SteepleBuilder, User,
    alerts::Rules,
    dashboard::Access,
    metrics::{
        Metrics,
        indicator::{Clock, HistoryOptions},
    },
};
use steeple_tests::{
    client::{Client, Protocol},
    peer::{self, Peer},
    settle::PATIENCE,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tower::ServiceExt;

/// A service with a dashboard.
struct Service {
    address: SocketAddr,
    steeple: Steeple,
    serving: JoinHandle<std::io::Result<()>>,
}

/// What a client might send to harm who looks.
const EVIL: &str = "<img src=x onerror=window.harmed=1>";

impl Service {
    async fn start(options: SteepleBuilder) -> Self {
        let steeple = options.without_log_setup().build().unwrap();
        let ok = async |exchange: Exchange| {
            exchange.set_user(User::new("u-42"));
            "ok"
        };
        let fail = async |exchange: Exchange| {
            exchange.set_user(User::new(EVIL));
            exchange.record(RecordedError::from_message("io::Error", format_args!("no such file: {EVIL}")));
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let app = Router::new().route("/ok/{id}", get(ok)).route("/fail", get(fail)).merge(steeple.dashboard());
        let app = app.layer(steeple.layer());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn({
            let steeple = steeple.clone();
            async move { steeple.serve_until(listener, app, std::future::pending()).await }
        });
        Self { address, steeple, serving }
    }

    async fn load(&self, path: &str, times: u32) {
        let mut client = Client::connect(Protocol::Http1, self.address).await;
        for _ in 0..times {
            client.get(path).await.unwrap().into_body().collect().await.unwrap();
        }
    }

    fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    async fn stop(self) {
        self.steeple.shutdown().begin();
        self.serving.await.unwrap().unwrap();
    }
}

/// An hour of another process, as a deploy hands it over.
async fn past_hour() -> Vec<u8> {
    let metrics = Metrics::new().unwrap();
    let clock = Clock::manual(steeple::core::clock::unix_now().saturating_sub(Duration::from_secs(3700)));
    let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
    let app: Router = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/missing", get(async || StatusCode::NOT_FOUND))
        .layer(metrics.layer());
    history.sample();
    for step in 0..360_u32 {
        for _ in 0..=step % 5 {
            for path in ["/ok", "/missing"] {
                let request = Request::get(path).body(Body::empty()).unwrap();
                app.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
            }
        }
        clock.advance(Duration::from_secs(10));
        history.sample();
    }
    history.save()
}

/// nginx with answers collected: a prefix in front of one service, and two behind one address.
async fn nginx(prefixed: SocketAddr, replicas: [SocketAddr; 2]) -> Option<Peer> {
    let binary = peer::find("nginx")?;
    let [one, other] = replicas;
    let mut nginx = Peer::start(&binary, |http, directory| {
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream replicas {{ server {one}; server {other}; }}
  server {{
    listen {http}; proxy_http_version 1.1; proxy_buffering on;
    location /inner/ {{ proxy_pass http://{prefixed}/; }}
    location / {{ proxy_pass http://replicas; }}
  }}
}}
"
        );
        std::fs::write(directory.join("nginx.conf"), configuration).unwrap();
        let prefix = directory.to_str().unwrap().to_owned();
        let file = format!("{prefix}/nginx.conf");
        vec!["-p".to_owned(), prefix, "-c".to_owned(), file, "-e".to_owned(), "error.log".to_owned()]
    })
    .unwrap();
    nginx.until(|http| async move { TcpStream::connect(http).await.ok() }).await;
    Some(nginx)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_in_a_real_browser_what_there_is() {
    let Some(node) = peer::find_in("chromium", "node") else { return };
    let builder = |name: &str| Steeple::builder().service_name(name).service_version("1.8.2").environment("production");
    let board = Service::start(builder("board")).await;
    assert!(board.steeple.metrics().history().restore(&past_hour().await));
    let evil = Service::start(builder(EVIL).alerts(|alerts| alerts.rules(Rules::mission().guarded()))).await;
    let tokens = ["q1o0cFXKZ7nq8Qx2tW6yTR5u", "Zb7Qm2vKx9Lw4Rj8Tn3Ys6Hd"];
    let with_token = |name, token| builder(name).dashboard(|d| d.access(Access::token(token).unwrap()));
    let one = Service::start(with_token("one", tokens[0])).await;
    let other = Service::start(with_token("other", tokens[1])).await;
    let replica = || builder("replica").dashboard(|dashboard| dashboard.access(Access::already_protected()));
    let replicas = [Service::start(replica()).await, Service::start(replica()).await];
    let nginx = nginx(one.address, [replicas[0].address, replicas[1].address]).await;
    board.load("/ok/7", 60).await;
    board.load("/fail", 15).await;
    evil.load("/fail", 40).await;

    let targets = json!({
        "board": board.url(), "evil": evil.url(),
        "routes": { "GET/ok/{id}": "0 %", "GET/fail": "100 %" }, "failed": 15,
        "tokens": [{ "address": one.url(), "token": tokens[0] }, { "address": other.url(), "token": tokens[1] }],
        "proxy": nginx.as_ref().map(|nginx| format!("http://localhost:{}", nginx.address().port())),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/dashboard.cjs");
    let mut command = Command::new(node);
    command.arg(script).arg(targets.to_string());
    if let Some(pictures) = std::env::var_os("STEEPLE_PICTURES") {
        command.arg(pictures);
    }
    let output = tokio::task::spawn_blocking(move || peer::run(&mut command, b"").unwrap()).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.lines().filter(|line| line.starts_with("ok ")).count() >= 10, "{printed}");
    for service in replicas.into_iter().chain([board, evil, one, other]) {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_open_pages_do_not_hold_up_the_end() {
    let service = Service::start(Steeple::builder().drain_timeout(Duration::from_hours(1))).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut client = Client::connect(Protocol::Http1, service.address).await;
        let response = client.get("/steeple/stream").await.unwrap();
        assert_eq!(response.status(), 200);
        streams.push((client, response.into_body()));
    }
    let end = tokio::time::timeout(PATIENCE, async {
        service.stop().await;
        for (_client, mut stream) in streams {
            while let Some(frame) = stream.frame().await {
                frame.expect("the stream ends as it should, and is not cut off");
            }
        }
    });
    end.await.expect("open pages hold the end up");
}
