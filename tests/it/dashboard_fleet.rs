//! The dashboard of all instances: a real Prometheus that scrapes real task boards, and one that is in trouble.

use std::{net::SocketAddr, path::Path, time::Duration};

use axum::{Router, routing::any};
use http::StatusCode;
use serde_json::Value;
use steeple::{Steeple, SteepleBuilder, dashboard::PrometheusOptions};
use steeple_tests::{
    board::Board,
    client::{Client, Protocol},
    peer::{self, Peer},
    server::Server,
    settle::PATIENCE,
};
use tokio::net::TcpListener;

/// Scrapes each second what `targets.json` in its directory has. With a user `admin`, whose password is `test`, if it is `locked`.
fn prometheus(locked: bool) -> Option<Peer> {
    let binary = peer::find("prometheus")?;
    let arguments = |address, directory: &Path| {
        let config = "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: taskboard, file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]}]\n";
        std::fs::write(directory.join("prometheus.yml"), config).unwrap();
        std::fs::write(directory.join("targets.json"), "[]").unwrap();
        // Of the password `test`, with little work: a machine that is busy answers in time.
        let web = "basic_auth_users: {admin: '$2b$04$abcdefghijklmnopqrstuuoD8yw7MmybLKVooaTGGZAt3HXugv2.a'}\n";
        std::fs::write(directory.join("web.yml"), if locked { web } else { "" }).unwrap();
        vec![
            "--config.file=prometheus.yml".to_owned(),
            "--web.config.file=web.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.path=data".to_owned(),
        ]
    };
    Some(Peer::start(&binary, arguments).unwrap())
}

fn scrape(prometheus: &Peer, targets: &[SocketAddr]) {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let text = serde_json::json!([{ "targets": targets }]).to_string();
    let file = prometheus.directory().join("targets.json");
    // Replaced at once: half of a file is not read.
    std::fs::write(file.with_extension("new"), text).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
}

fn options(url: impl Into<String>) -> PrometheusOptions {
    PrometheusOptions::new(url).job("taskboard").scrape_interval(Duration::from_secs(1))
}

fn watched(prometheus: PrometheusOptions) -> SteepleBuilder {
    Steeple::builder().without_log_setup().dashboard(|dashboard| dashboard.prometheus(prometheus))
}

async fn board(prometheus: PrometheusOptions) -> Board {
    Board::start_with(watched(prometheus), |steeple, router| router.merge(steeple.dashboard())).await
}

async fn json(board: &Board, path: &str) -> Value {
    let (status, body) = board.get(path, "").await.expect("an answer");
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn sum(numbers: &Value) -> f64 {
    numbers.as_array().map_or(0.0, |numbers| numbers.iter().filter_map(Value::as_f64).sum())
}

fn row<'a>(view: &'a Value, route: &str) -> Option<&'a Value> {
    view["real_time"]["routes"].as_array()?.iter().find(|row| row["route"] == route)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_all_instances_has_the_numbers_of_each_and_the_past_comes_back() {
    let Some(mut prometheus) = prometheus(false) else { return };
    let url = format!("http://{}", prometheus.address());
    prometheus.until(|address| async move { Client::try_connect(Protocol::Http1, address).await }).await;
    let [one, other] = [board(options(&url)).await, board(options(&url)).await];
    scrape(&prometheus, &[one.address(), other.address()]);

    // Both are asked until Prometheus has seen enough of it: three times as much here as there.
    let asked = async {
        let (_, token) = one.sign_in().await;
        one.task(&token).await;
        loop {
            for _ in 0..3 {
                one.get("/api/projects/1/tasks", &token).await;
                one.get("/nothing", "").await;
            }
            other.get("/nothing", "").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let view = json(&one, "/steeple/fleet?range=300").await;
            let seen = sum(&view["columns"]["client_errors"]) * view["step"].as_f64().unwrap_or(0.0);
            if view["replicas"].as_array().is_some_and(|replicas| replicas.len() == 2) && seen > 100.0 {
                return view;
            }
        }
    };
    let view = tokio::time::timeout(PATIENCE * 2, asked).await.expect("Prometheus sees the load");
    assert_eq!(view["error"], Value::Null);

    // What a page of one process has of itself, and Prometheus of that process.
    let own = json(&one, "/steeple/frame").await;
    let replica = json(&one, &format!("/steeple/fleet?range=300&replica={}", one.address())).await;
    let tasks = "/api/projects/{id}/tasks";
    for view in [&own, &replica, &view] {
        let row = row(view, tasks).unwrap_or_else(|| panic!("no row of {tasks} in {view}"));
        assert_eq!((row["method"].as_str(), row["error_ratio"].as_f64()), (Some("GET"), Some(0.0)), "{row}");
        assert!(row["p95"].as_f64().is_some_and(|p95| p95 > 0.0 && p95 < 30.0), "{row}");
    }
    let at = |view: &Value, path: &[&str]| path.iter().fold(view.clone(), |at, name| at[*name].clone()).as_f64();
    assert_eq!(at(&replica, &["real_time", "active_users", "now"]), at(&own, &["real_time", "active_users", "now"]));
    let memory = |view: &Value| at(view, &["system", "memory", "ratio"]).unwrap();
    assert!((memory(&replica) - memory(&own)).abs() < 0.1, "{} and {}", memory(&replica), memory(&own));
    // Requests of one instance are not those of all.
    let other_view = json(&one, &format!("/steeple/fleet?range=300&replica={}", other.address())).await;
    let missed = |view: &Value| sum(&view["columns"]["client_errors"]);
    assert!(missed(&replica) > 1.5 * missed(&other_view) && missed(&other_view) > 0.0, "{replica} {other_view}");
    assert!(row(&other_view, tasks).is_none(), "{other_view}");
    let (status, _) = one.get("/steeple/fleet?range=9999999999", "").await.unwrap();
    assert_eq!(status, 400);

    // The successor of the one that is left has its past, and so does a page that is open already.
    other.stop().await;
    scrape(&prometheus, &[one.address()]);
    // A frame of a minute is there once a minute of the clock has ended. Until then what it counts goes on, for 20 seconds at least.
    let seconds = || steeple::core::clock::unix_now().as_secs();
    let ended = (seconds() + 20).next_multiple_of(60) + 5;
    while seconds() < ended {
        one.get("/nothing", "").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let next = board(options(&url).instance(one.address().to_string())).await;
    let began = json(&next, "/steeple/frame").await["started"].as_f64().unwrap();
    let back = async {
        loop {
            let frame = json(&next, "/steeple/frame").await;
            let of = |tier: &str| {
                let times = frame[tier]["t"].as_array().cloned().unwrap_or_default();
                let older = times.iter().filter(|t| t.as_f64().is_some_and(|t| t < began)).count();
                (older, sum(&frame[tier]["client_errors"]))
            };
            if let ((1.., tens), (1.., minutes)) = (of("tens"), of("minutes"))
                && tens > 0.0
                && minutes > 0.0
            {
                return;
            }
            one.get("/nothing", "").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, back).await.expect("the past comes from Prometheus");

    // Without Prometheus, the page shows the age of its numbers, and the service does its work.
    drop(prometheus);
    let stale = async {
        loop {
            let view = json(&one, "/steeple/fleet?range=300").await;
            if view["error"].is_string() {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let stale = tokio::time::timeout(PATIENCE, stale).await.expect("it is noticed");
    assert!(stale["asked"].as_u64().is_some() && sum(&stale["columns"]["client_errors"]) > 0.0, "{stale}");
    assert_eq!(one.get("/nothing", "").await.unwrap().0, 404);
    for board in [one, next] {
        board.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credentials_are_those_of_the_setting() {
    let Some(mut prometheus) = prometheus(true) else { return };
    let address = prometheus.address();
    prometheus.until(|address| async move { Client::try_connect(Protocol::Http1, address).await }).await;
    let in_url = options(format!("http://admin:test@{address}"));
    let plain = || options(format!("http://{address}"));
    for (options, error) in [
        (plain(), Some("Prometheus does not accept the credentials")),
        (plain().basic("admin", "wrong"), Some("Prometheus does not accept the credentials")),
        (plain().bearer("test"), Some("Prometheus does not accept the credentials")),
        (plain().basic("admin", "test"), None),
        (in_url, None),
    ] {
        let board = board(options).await;
        let view = json(&board, "/steeple/fleet?range=300").await;
        assert_eq!(view["error"].as_str(), error, "{view}");
        assert_eq!(view["columns"].is_object(), error.is_none(), "{view}");
        board.stop().await;
    }
}

/// The answers of a server at this address that is not a healthy Prometheus.
async fn trouble(options: PrometheusOptions) -> String {
    let board = board(options).await;
    let asking = async {
        // The service goes on while somebody waits for Prometheus.
        let (view, (status, _)) =
            tokio::join!(json(&board, "/steeple/fleet?range=3600"), async { board.get("/nothing", "").await.unwrap() });
        assert_eq!(status, 404);
        // The next one is not kept waiting.
        let again = json(&board, "/steeple/fleet?range=3600").await;
        assert_eq!(again["error"], view["error"]);
        view
    };
    let view = tokio::time::timeout(PATIENCE, asking).await.expect("it does not wait for ever");
    board.stop().await;
    assert!(view["asked"].is_null() && view["columns"].is_null(), "{view}");
    view["error"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_in_trouble_costs_the_page_its_numbers_and_nothing_else() {
    let at = |address: SocketAddr| options(format!("http://{address}"));
    let why = trouble(at(peer::free_address())).await;
    assert!(why.contains("connect") || why.contains("refused"), "{why}");

    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let soon = Duration::from_millis(100);
    let hasty = || at(silent.local_addr().unwrap()).retry_after(Duration::ZERO);
    let why = trouble(hasty().query_timeout(soon)).await;
    assert_eq!(why, "no answer within the time limit");
    // Of all queries together, where each may take an hour.
    let hour = Duration::from_hours(1);
    let why = trouble(hasty().query_timeout(hour).refresh_timeout(soon)).await;
    assert_eq!(why, "no answer within the time limit");

    let answers = |answer: fn() -> (StatusCode, String)| {
        Server::start(Router::new().route("/{*path}", any(async move || answer())))
    };
    for (answer, expected) in [
        ((|| (StatusCode::OK, "x".repeat(5 << 20))) as fn() -> _, "an answer of Prometheus is larger than 4 MiB"),
        (|| (StatusCode::OK, "<html>".to_owned()), "the answer is not one of Prometheus's"),
        (|| (StatusCode::SERVICE_UNAVAILABLE, "starting up".to_owned()), "503: starting up"),
        (
            || (StatusCode::UNPROCESSABLE_ENTITY, "{\"status\":\"error\",\"error\":\"too many samples\"}".to_owned()),
            "too many samples",
        ),
        (|| (StatusCode::TEMPORARY_REDIRECT, String::new()), "307"),
    ] {
        let server = answers(answer).await;
        let why = trouble(at(server.address())).await;
        assert!(why.contains(expected), "{why}, not {expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pages_ask_prometheus_once_and_four_questions_at_a_time() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    #[derive(Default)]
    struct Seen {
        now: AtomicUsize,
        most: AtomicUsize,
        all: AtomicUsize,
    }
    let seen = Arc::new(Seen::default());
    let answer = {
        let seen = Arc::clone(&seen);
        async move || {
            let now = seen.now.fetch_add(1, SeqCst) + 1;
            seen.most.fetch_max(now, SeqCst);
            seen.all.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            seen.now.fetch_sub(1, SeqCst);
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}"
        }
    };
    let server = Server::start(Router::new().route("/{*path}", any(answer))).await;
    // An hour in steps of half a minute: the view stays for the whole test.
    let prometheus = PrometheusOptions::new(format!("http://{}", server.address()))
        .job("taskboard")
        .instance("here")
        .scrape_interval(Duration::from_mins(10));
    let board = board(prometheus).await;
    let first = json(&board, "/steeple/fleet?range=86400").await;
    assert_eq!(first["error"], Value::Null, "{first}");
    // The past of this process is asked for as well, at the start: that ends before it is counted.
    let mut before = usize::MAX;
    while before != seen.all.load(SeqCst) {
        before = seen.all.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let pages = (0..16).map(|_| json(&board, "/steeple/fleet?range=86400"));
    for view in futures_util::future::join_all(pages).await {
        assert_eq!(view, first);
    }
    assert_eq!(seen.all.load(SeqCst), before, "cached answers are used again");
    assert!((1..=4).contains(&seen.most.load(SeqCst)), "{} at once", seen.most.load(SeqCst));
    board.stop().await;
}
