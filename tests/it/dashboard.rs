//! The dashboard over real sockets, and in a real browser.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use steeple::{
    Exchange, RecordedError, Steeple, SteepleBuilder, User,
    alerts::Rules,
    dashboard::{Access, PrometheusOptions},
    metrics::{
        Metrics,
        indicator::{Clock, HistoryOptions},
        state::{State, StateOptions},
    },
    trace::{Otlp, SegmentKind, Segments},
};
use steeple_tests::{
    client::{Client, Protocol},
    peer::{self, Peer},
    settle::PATIENCE,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tower::ServiceExt;

/// The ids of the traces that failed, as the handler sees them.
type Failed = Arc<Mutex<Vec<String>>>;

/// A service with a dashboard.
struct Service {
    failed: Failed,
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
        let failed = Failed::default();
        let seen = Arc::clone(&failed);
        // As a service calls a database within a request.
        let pay = async move |exchange: Exchange| {
            exchange.set_user(User::new("u-4711"));
            let trace = exchange.trace().map(|trace| trace.trace_id().to_string());
            seen.lock().unwrap().extend(trace);
            let wait = |millis| tokio::time::sleep(Duration::from_millis(millis));
            exchange.segment(SegmentKind::Internal, "reserve the goods", wait(5)).await;
            exchange.segment(SegmentKind::Datastore, "INSERT payments", wait(20)).await;
            exchange.record(RecordedError::from_message("sqlx::Error", format_args!("pool timed out")));
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let fail = async |exchange: Exchange| {
            exchange.set_user(User::new(EVIL));
            exchange.record(RecordedError::from_message("io::Error", format_args!("no such file: {EVIL}")));
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let app = Router::new().route("/ok/{id}", get(ok)).route("/fail", get(fail)).route("/pay", get(pay));
        let app = app.merge(steeple.dashboard()).merge(steeple.routes());
        let app = app.layer(steeple.layer());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn({
            let steeple = steeple.clone();
            async move { steeple.serve_until(listener, app, std::future::pending()).await }
        });
        Self { failed, address, steeple, serving }
    }

    async fn load(&self, path: &str, times: u32) {
        load(self.address, path, times).await;
    }

    fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    async fn stop(self) {
        self.steeple.shutdown().begin();
        self.serving.await.unwrap().unwrap();
    }
}

async fn load(address: SocketAddr, path: &str, times: u32) {
    let mut client = Client::connect(Protocol::Http1, address).await;
    for _ in 0..times {
        client.get(path).await.unwrap().into_body().collect().await.unwrap();
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
            "user root; daemon off; master_process off; pid nginx.pid; error_log error.log; worker_processes 1;
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

/// What the page of a predecessor leaves in the state directory: it was deployed half an hour before, and all was well.
async fn deployed_before(directory: &Path) {
    let before = steeple::core::clock::unix_now().saturating_sub(Duration::from_mins(30)).as_millis();
    let options = StateOptions::new(directory, "shop", "production").version("1.8.1");
    let state = State::open(options).unwrap();
    let past = past_hour().await;
    state.section("history", move || past.clone(), |_, _| ());
    let deploys = json!([{ "t": u64::try_from(before).unwrap(), "version": "1.8.1" }]).to_string();
    state.section("deploys", move || deploys.clone().into_bytes(), |_, _| ());
    state.save().unwrap();
}

/// Whether this process has no network but its loopback.
fn is_offline() -> bool {
    std::env::var_os(OFFLINE).is_some()
}

const OFFLINE: &str = "STEEPLE_TEST_OFFLINE";

/// Runs a test of this binary where there is no network but the loopback. `false`: that cannot be done here.
fn ran_offline(test: &str) -> bool {
    let (Some(unshare), Some(_ip)) = (peer::find("unshare"), peer::find("ip")) else { return false };
    let mut command = Command::new(unshare);
    command.args([
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        "PATH=$PATH:/usr/sbin:/sbin ip link set lo up && exec \"$0\" \"$@\"",
    ]);
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]).env(OFFLINE, "1");
    let output = peer::run(&mut command, b"").unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    if printed.contains("unshare failed") || printed.contains("Operation not permitted") {
        assert!(!peer::required(), "a namespace without a network cannot be made here: {printed}");
        return false;
    }
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_in_a_real_browser_what_there_is() {
    let Some(node) = peer::find_in("chromium", "node") else { return };
    if !is_offline()
        && tokio::task::spawn_blocking(|| ran_offline("dashboard::people_see_in_a_real_browser_what_there_is"))
            .await
            .unwrap()
    {
        return;
    }
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
    // Somebody deploys 1.8.2, and payments fail from then on.
    let directory = tempfile::tempdir().unwrap();
    deployed_before(directory.path()).await;
    let shop = builder("shop")
        .state_directory(directory.path())
        .alerts(|alerts| alerts.rules(Rules::mission().guarded()))
        // Nobody listens there: the spans that are kept are those of the page.
        .traces(|traces| {
            traces.otlp(Otlp::new().endpoint("http://127.0.0.1:9")).export_delay(Duration::from_millis(200))
        });
    let shop = Service::start(shop).await;
    // All instances: a real Prometheus that scrapes one, and one that is gone.
    let prometheus = prometheus(replicas[0].address).await;
    let fleet = |address: SocketAddr| {
        let options =
            PrometheusOptions::new(format!("http://{address}")).job("board").scrape_interval(Duration::from_secs(1));
        builder("fleet").dashboard(|dashboard| dashboard.prometheus(options))
    };
    let lost = Service::start(fleet(peer::free_address())).await;
    let all = match &prometheus {
        Some(prometheus) => Some(Service::start(fleet(prometheus.address())).await),
        None => None,
    };
    board.load("/ok/7", 60).await;
    board.load("/fail", 15).await;
    evil.load("/fail", 40).await;
    shop.load("/ok/1", 20).await;
    shop.load("/pay", 40).await;

    // What is scraped goes on while people look.
    let busy = Arc::new(AtomicBool::new(true));
    let load = tokio::spawn({
        let (busy, address) = (Arc::clone(&busy), replicas[0].address);
        async move {
            while busy.load(Ordering::Relaxed) {
                load(address, "/fail", 2).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });

    let failed = shop.failed.lock().unwrap().clone();
    let targets = json!({
        "board": board.url(), "evil": evil.url(), "shop": shop.url(), "lost": lost.url(), "all": all.as_ref().map(Service::url),
        "replica": replicas[0].address.to_string(),
        "routes": { "GET/ok/{id}": "0 %", "GET/fail": "100 %" }, "failed": 15,
        "tour": { "route": "GET /pay", "version": "1.8.2", "before": "1.8.1", "user": "u-4711", "traces": failed },
        "tokens": [{ "address": one.url(), "token": tokens[0] }, { "address": other.url(), "token": tokens[1] }],
        "proxy": nginx.as_ref().map(|nginx| format!("http://localhost:{}", nginx.address().port())),
        "offline": is_offline(),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/dashboard.cjs");
    let mut command = Command::new(node);
    command.arg(script).arg(targets.to_string());
    if let Some(pictures) = std::env::var_os("STEEPLE_PICTURES") {
        command.arg(pictures);
    }
    let output = tokio::task::spawn_blocking(move || peer::run(&mut command, b"").unwrap()).await.unwrap();
    busy.store(false, Ordering::Relaxed);
    load.await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.lines().filter(|line| line.starts_with("ok ")).count() >= 13, "{printed}");
    for service in replicas.into_iter().chain([board, evil, one, other, shop, lost]).chain(all) {
        service.stop().await;
    }
}

/// Scrapes one service each second.
async fn prometheus(target: SocketAddr) -> Option<Peer> {
    let binary = peer::find("prometheus")?;
    let mut prometheus = Peer::start(&binary, |address, directory| {
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: board, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(directory.join("prometheus.yml"), config).unwrap();
        vec![
            "--config.file=prometheus.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.path=data".to_owned(),
        ]
    })
    .unwrap();
    prometheus.until(|http| async move { TcpStream::connect(http).await.ok() }).await;
    Some(prometheus)
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
