//! The dashboard over real sockets, and in a real browser.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::json;
use steeple::{
    Exchange, RecordedError, Steeple, SteepleBuilder, User,
    alerts::Rules,
    dashboard::{Access, PrometheusOptions},
};
use steeple_tests::{
    client::{Client, Protocol},
    peer::{self, Peer},
};
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    dashboard_process,
    dashboard_shop::{Shop, for_pictures, past_hour, trade},
};

/// A service with a dashboard.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) steeple: Steeple,
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
        let app = Router::new().route("/ok/{id}", get(ok)).route("/fail", get(fail));
        Self::serve(steeple, app).await
    }

    pub(crate) async fn serve(steeple: Steeple, app: Router) -> Self {
        let app = app.merge(steeple.dashboard()).merge(steeple.routes());
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
        load(self.address, path, times).await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    pub(crate) async fn stop(self) {
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

/// nginx with answers collected: a prefix in front of one service, the same by HTTPS, and two behind one address.
async fn nginx(prefixed: SocketAddr, replicas: [SocketAddr; 2], https: SocketAddr) -> Option<Peer> {
    let (binary, openssl) = (peer::find("nginx")?, peer::find("openssl")?);
    let [one, other] = replicas;
    let mut nginx = Peer::start(&binary, |http, directory| {
        let mut certificate = Command::new(&openssl);
        certificate.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        certificate.arg("-keyout").arg(directory.join("key.pem")).arg("-out").arg(directory.join("certificate.pem"));
        assert!(peer::run(&mut certificate, b"").unwrap().status.success(), "a certificate");
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
  server {{
    listen {https} ssl; ssl_certificate certificate.pem; ssl_certificate_key key.pem;
    proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;
    location / {{ proxy_pass http://{prefixed}; }}
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

/// Whether this process has no network but its loopback.
fn is_offline() -> bool {
    std::env::var_os(OFFLINE).is_some()
}

const OFFLINE: &str = "STEEPLE_TEST_OFFLINE";

/// Runs a test of this binary with the loopback as its only network. `false`: that is not possible here.
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
    let past = past_hour().await;
    let board = Service::start(builder("board")).await;
    assert!(board.steeple.metrics().history().restore(&past));
    let evil = Service::start(builder(EVIL).alerts(|alerts| alerts.rules(Rules::mission().guarded()))).await;
    let tokens = ["q1o0cFXKZ7nq8Qx2tW6yTR5u", "Zb7Qm2vKx9Lw4Rj8Tn3Ys6Hd"];
    let with_token = |name, token| builder(name).dashboard(|d| d.access(Access::token(token).unwrap()));
    let one = Service::start(with_token("one", tokens[0])).await;
    let other = Service::start(with_token("other", tokens[1])).await;
    let replica = || builder("replica").dashboard(|dashboard| dashboard.access(Access::already_protected()));
    let replicas = [Service::start(replica()).await, Service::start(replica()).await];
    let https = peer::free_address();
    let nginx = nginx(one.address, [replicas[0].address, replicas[1].address], https).await;
    let mut program = dashboard_process::start().await;
    let shop = Shop::start(past).await;
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
    trade(shop.service.address, 8).await;
    if for_pictures() {
        // A minute or two of it are in the charts.
        for round in 0..160 {
            trade(shop.service.address, 1 + round % 3).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    // Scrapes go on while people look.
    let busy = Arc::new(AtomicBool::new(true));
    let load = tokio::spawn({
        let (busy, address, shop) = (Arc::clone(&busy), replicas[0].address, shop.service.address);
        async move {
            while busy.load(Ordering::Relaxed) {
                load(address, "/fail", 2).await;
                if for_pictures() {
                    trade(shop, 2).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });

    let failed = shop.failed.lock().unwrap().clone();
    let targets = json!({
        "board": board.url(), "evil": evil.url(), "shop": shop.service.url(), "lost": lost.url(), "all": all.as_ref().map(Service::url),
        "replica": replicas[0].address.to_string(),
        "routes": { "GET/ok/{id}": "0 %", "GET/fail": "100 %" }, "failed": 15,
        "tour": { "route": "POST /payments", "version": "1.8.2", "before": "1.8.1", "user": "u-4711", "traces": failed },
        "tokens": [{ "address": one.url(), "token": tokens[0] }, { "address": other.url(), "token": tokens[1] }],
        "proxy": nginx.as_ref().map(|nginx| format!("http://localhost:{}", nginx.address().port())),
        "https": nginx.as_ref().map(|_| format!("https://localhost:{}", https.port())),
        "bare": format!("http://localhost:{}", replicas[1].address.port()),
        "program": { "address": format!("http://localhost:{}", program.address().port()), "id": program.id() },
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
    assert!(printed.lines().filter(|line| line.starts_with("ok ")).count() >= 22, "{printed}");
    // The clicks had their effects: the silence is in force, and the log's filter was changed for a while.
    let alerts = evil.steeple.alerts().unwrap();
    assert!(alerts.silences().iter().any(|silence| silence.rule == "high_error_rate"), "{:?}", alerts.silences());
    program.ended().await;
    let log = program.log();
    let lines = |message: &str| log.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    assert_eq!(lines("details that are seldom of interest").len(), 1, "{log:#?}");
    let changes = lines("changes the log's filter for some minutes");
    assert_eq!((&changes[0]["filter"], &changes[0]["minutes"]), (&json!("debug"), &json!(15)), "{log:#?}");
    // The second is refused: it is not a filter.
    assert_eq!((changes.len(), lines("the log level was not changed").len()), (2, 1), "{log:#?}");
    assert_eq!(lines("the log level was reset").len(), 1, "{log:#?}");
    shop.stop().await;
    for service in replicas.into_iter().chain([board, evil, one, other, lost]).chain(all) {
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
