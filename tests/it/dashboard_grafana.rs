//! The Grafana dashboard's expressions, answered by a real Prometheus; and the files below `deploy/`, by their own tools.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use axum::{Router, routing::get};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;
use steeple::{
    Exchange, Steeple, User,
    dashboard::Grafana,
    metrics::{Connections, Names},
};
use steeple_examples::taskboard::cli::File;
use steeple_tests::{
    board::Board,
    client::{Client, Protocol},
    peer::{self, Peer},
    server::Server,
    settle::PATIENCE,
};

/// The panels that have no value here: nothing fires, nothing is lost, no container limits the processor.
const EMPTY: [&str; 4] = ["Firing alerts", "Losses", "throttled", "aborted"];

fn prometheus(target: SocketAddr, native: bool) -> Option<Peer> {
    let binary = peer::find("prometheus")?;
    let arguments = |address, directory: &Path| {
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(directory.join("prometheus.yml"), config).unwrap();
        let mut arguments = vec![
            "--config.file=prometheus.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.path=data".to_owned(),
        ];
        if native {
            arguments.push("--enable-feature=native-histograms".to_owned());
        }
        arguments
    };
    Some(Peer::start(&binary, arguments).unwrap())
}

/// What Prometheus answers: how many series there are, or why it cannot.
async fn ask(prometheus: SocketAddr, expression: &str) -> Option<Result<usize, String>> {
    let mut client = Client::try_connect(Protocol::Http1, prometheus).await?;
    let encoded = expression.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"));
    let answer = client.get(&format!("/api/v1/query?query={encoded}")).await.ok()?;
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()?;
    if answer["status"] != "success" {
        return Some(Err(answer.to_string()));
    }
    let series = answer["data"]["result"].as_array()?;
    Some(Ok(series.iter().filter(|series| series["value"][1] != "NaN").count()))
}

async fn service(names: Names) -> (Steeple, Server) {
    let steeple = Steeple::builder()
        .without_log_setup()
        .metrics(|metrics| metrics.names(names))
        .events(|events| events)
        .build()
        .unwrap();
    let metrics = steeple.metrics();
    metrics.watch_connections(|| Connections::new(3, 4, 10));
    let users = metrics.counter("user_registrations_total", "Counted by an event.", ["source"]).unwrap();
    for (name, labels) in
        [("projects_created_total", "type"), ("payments_total", "result"), ("revenue_minor_units_total", "currency")]
    {
        metrics.counter(name, "Counted by an event.", [labels]).unwrap().add(["failed"], 0);
    }
    metrics.counter("tasks_completed_total", "Counted by an event.", []).unwrap().add([], 0);
    metrics.counter("conversions_total", "Counted by an event.", ["from", "to"]).unwrap().add(["a", "b"], 0);
    let work = {
        let steeple = steeple.clone();
        move |exchange: Exchange| {
            let (steeple, users) = (steeple.clone(), users.clone());
            async move {
                exchange.set_user(User::new("7"));
                users.inc(["web"]);
                let metrics = steeple.metrics();
                drop(metrics.database().start("select", "tasks"));
                metrics.cache().start("get").hit();
                "ok"
            }
        }
    };
    let app = Router::new()
        .route("/jobs/{id}", get(work))
        .route("/fail", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .merge(steeple.routes())
        .layer(steeple.layer());
    (steeple, Server::start(app).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_answers_every_expression() {
    for names in [Names::Classic, Names::OpenTelemetry] {
        let (_steeple, server) = service(names).await;
        for native in [false, true] {
            let Some(prometheus) = prometheus(server.address(), native) else { return };
            let address = prometheus.address();
            let file: Value = serde_json::from_str(&Grafana::new("shop").names(names).native(native).json()).unwrap();
            let mut unanswered: Vec<(String, String)> = Vec::new();
            for panel in file["panels"].as_array().unwrap() {
                for target in panel["targets"].as_array().unwrap() {
                    let expr = target["expr"].as_str().unwrap().replace("$__rate_interval", "20s");
                    let expr = expr.replace("$__range", "1m").replace("$job", ".*").replace("$instance", ".*");
                    let title = [panel["title"].as_str().unwrap(), target["legendFormat"].as_str().unwrap()];
                    if !title.iter().any(|title| EMPTY.contains(title)) {
                        unanswered.push((title.join(": "), expr));
                    }
                }
            }
            let asking = async {
                let mut client = Client::connect(Protocol::Http1, server.address()).await;
                while !unanswered.is_empty() {
                    for path in ["/jobs/1", "/jobs/2", "/fail", "/nothing"] {
                        client.get(path).await.unwrap().into_body().collect().await.unwrap();
                    }
                    let mut still = Vec::new();
                    for (title, expr) in std::mem::take(&mut unanswered) {
                        match ask(address, &expr).await {
                            Some(Err(error)) => panic!("{title}: {expr}: {error}"),
                            Some(Ok(series)) if series > 0 => (),
                            _ => still.push((title, expr)),
                        }
                    }
                    unanswered = still;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            let answered = tokio::time::timeout(PATIENCE * 2, asking).await;
            assert!(answered.is_ok(), "{names:?}, native {native}: {unanswered:#?} {}", prometheus.log());
        }
    }
}

#[test]
fn grafanas_own_library_reads_the_dashboard_back_unchanged() {
    let Some(python) = peer::find_in("grafana", "python") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/grafana.py");
    for names in [Names::Classic, Names::OpenTelemetry] {
        for native in [false, true] {
            let file = Grafana::new("shop").names(names).native(native).json();
            let output = peer::run(Command::new(&python).arg(&script), file.as_bytes()).unwrap();
            let printed = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
        }
    }
}

/// What TypeScript says about a dashboard that has to be one of Grafana's schema. Empty: it is.
fn mistakes(tsc: &Path, dashboard: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/grafana.ts");
    let types = std::fs::read_to_string(types).unwrap();
    let file = directory.path().join("dashboard.ts");
    std::fs::write(&file, format!("{types}export const dashboard: File = {dashboard};\n")).unwrap();
    let packages = tsc.parent().unwrap().parent().unwrap().join("node_modules");
    std::os::unix::fs::symlink(packages, directory.path().join("node_modules")).unwrap();
    let mut command = Command::new(tsc);
    command.args(["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"]);
    let output = peer::run(command.arg(&file), b"").unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.success(), printed.is_empty(), "{printed}");
    printed
}

#[test]
fn the_dashboard_has_the_types_of_grafanas_schema() {
    let Some(tsc) = peer::find_in("grafana-types", "tsc") else { return };
    for names in [Names::Classic, Names::OpenTelemetry] {
        for native in [false, true] {
            let file = Grafana::new("shop").names(names).native(native).json();
            assert_eq!(mistakes(&tsc, &file), "");
        }
    }
    let good = std::fs::read_to_string(deploy("grafana/dashboards/taskboard.json")).unwrap();
    assert_eq!(mistakes(&tsc, &good), "");
    for (from, to) in [
        ("\"schemaVersion\": 42", "\"schemaVersion\": \"42\""),
        ("\"mode\": \"thresholds\"", "\"mode\": \"treshold\""),
        ("\"gridPos\"", "\"gridPosition\""),
        ("\"uid\": \"steeple", "\"uid\": 7, \"was\": \"steeple"),
        ("\"type\": \"timeseries\"", "\"type\": 7"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(bad != good && !mistakes(&tsc, &bad).is_empty(), "{to} is taken");
    }
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn accepts(tool: &str, arguments: &[&str], file: &str) {
    let Some(tool) = peer::find(tool) else { return };
    let mut command = Command::new(tool);
    let output = peer::run(command.args(arguments).arg(deploy(file)), b"").unwrap();
    let printed = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&printed));
}

#[test]
fn the_files_to_deploy_are_accepted_by_their_own_tools() {
    accepts("promtool", &["check", "config"], "prometheus/prometheus.yml");
    accepts("promtool", &["check", "rules"], "prometheus/rules.yml");
    accepts("amtool", &["check-config"], "alertmanager/alertmanager.yml");
}

#[test]
fn what_is_to_be_deployed_is_what_the_definitions_make() {
    for (file, path, name) in [
        (File::Grafana, "grafana/dashboards/taskboard.json", "grafana"),
        (File::Rules, "prometheus/rules.yml", "rules"),
    ] {
        let there = std::fs::read_to_string(deploy(path)).unwrap();
        assert!(there == file.contents(), "run `taskboard --print {name} > deploy/{path}`");
    }
}

#[test]
fn the_compose_file_is_one_and_mounts_what_is_there() {
    let Some(python) = peer::find_in("grafana", "python") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/compose.py");
    let output = peer::run(Command::new(&python).arg(&script).arg(deploy("compose.yml")), b"").unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let mut mounted = Vec::new();
    for line in printed.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["port", service, port] => assert!(port.starts_with("127.0.0.1:"), "{service} is open to others: {port}"),
            ["path", service, source, _] => {
                assert!(deploy(source).exists(), "{service} mounts {source}, which is not there");
                mounted.push(deploy(source).canonicalize().unwrap());
            }
            _ => panic!("{line}"),
        }
    }
    // The files below deploy/ are used.
    for directory in ["prometheus", "alertmanager", "grafana/provisioning", "grafana/dashboards"] {
        assert!(
            mounted.contains(&deploy(directory).canonicalize().unwrap()),
            "{directory} is not mounted: {mounted:?}"
        );
    }
}

/// A file of `deploy/` as it is, but for the names of the other services and for how long everything takes.
fn at_hand(file: &str, names: &[(&str, SocketAddr)]) -> String {
    let text = std::fs::read_to_string(deploy(file)).unwrap();
    let text = text.replace("_interval: 15s", "_interval: 1s").replace("group_wait: 10s", "group_wait: 1s");
    names.iter().fold(text, |text, (name, address)| {
        assert!(text.contains(name), "{file} does not name {name}");
        text.replace(name, &address.to_string())
    })
}

/// The document at this path of a peer.
async fn read(address: SocketAddr, path: &str) -> Option<Value> {
    let mut client = Client::try_connect(Protocol::Http1, address).await?;
    let answer = client.get(path).await.ok()?;
    serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deployed_works_together() {
    let (Some(alertmanager), Some(prometheus)) = (peer::find("prometheus-alertmanager"), peer::find("prometheus"))
    else {
        return;
    };
    let fail = |_: &Steeple, router: Router| router.route("/fail", get(async || StatusCode::INTERNAL_SERVER_ERROR));
    let board = Board::start_with(Steeple::builder().service_name("taskboard").without_log_setup(), fail).await;
    let mut alertmanager = Peer::start(&alertmanager, |address, directory| {
        std::fs::write(directory.join("alertmanager.yml"), at_hand("alertmanager/alertmanager.yml", &[])).unwrap();
        vec![
            "--config.file=alertmanager.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".to_owned(),
            "--storage.path=data".to_owned(),
        ]
    })
    .unwrap();
    alertmanager.until(|address| read(address, "/api/v2/status")).await;
    let names = [("taskboard:3000", board.address()), ("alertmanager:9093", alertmanager.address())];
    let mut prometheus = Peer::start(&prometheus, |address, directory| {
        let config = at_hand("prometheus/prometheus.yml", &names);
        std::fs::write(directory.join("prometheus.yml"), config).unwrap();
        std::fs::copy(deploy("prometheus/rules.yml"), directory.join("rules.yml")).unwrap();
        vec![
            "--config.file=prometheus.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.path=data".to_owned(),
            // As in compose.yml.
            "--enable-feature=exemplar-storage".to_owned(),
        ]
    })
    .unwrap();
    prometheus.until(|address| read(address, "/api/v1/status/config")).await;
    let asking = async {
        loop {
            for _ in 0..5 {
                board.get("/fail", "").await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let alerts = read(alertmanager.address(), "/api/v2/alerts").await.unwrap_or_default();
            let fires = |alert: &Value| alert["labels"]["alertname"] == "high_error_rate";
            if let Some(alert) = alerts.as_array().and_then(|alerts| alerts.iter().find(|alert| fires(alert))) {
                return alert.clone();
            }
        }
    };
    let alert = tokio::time::timeout(PATIENCE * 2, asking).await;
    let alert = alert.unwrap_or_else(|_| panic!("no alert: {} {}", prometheus.log(), alertmanager.log()));
    assert_eq!((&alert["labels"]["severity"], &alert["labels"]["job"]), (&"critical".into(), &"taskboard".into()));
    assert!(alert["annotations"]["summary"].as_str().is_some_and(|summary| summary.contains("failed")), "{alert}");
    // Every rule of the file was evaluated without an error.
    let rules = read(prometheus.address(), "/api/v1/rules").await.unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 7);
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    board.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_the_task_board_answers_the_dashboard_that_is_deployed() {
    let board = Board::start(Steeple::builder().service_name("taskboard").without_log_setup()).await;
    let Some(prometheus) = prometheus(board.address(), false) else { return };
    let file: Value =
        serde_json::from_str(&std::fs::read_to_string(deploy("grafana/dashboards/taskboard.json")).unwrap()).unwrap();
    let targets = file["panels"].as_array().unwrap().iter().flat_map(|panel| {
        let of = move |target: &Value| {
            let expr = target["expr"].as_str().unwrap().replace("$__rate_interval", "20s").replace("$__range", "1m");
            (panel["title"].as_str().unwrap().to_owned(), expr.replace("$job", ".*").replace("$instance", ".*"))
        };
        panel["targets"].as_array().unwrap().iter().map(of)
    });
    let targets: Vec<(String, String)> = targets.collect();
    let mut answered = std::collections::BTreeSet::new();
    // What a user does: these panels have numbers then.
    let wanted = [
        "Active users",
        "Requests a minute",
        "Error rate",
        "Response time, p95",
        "In flight",
        "Requests a second",
        "Response time",
        "Top routes",
        "System",
        "Distribution of response times",
    ];
    let asking = async {
        let (_, token) = board.sign_in().await;
        board.task(&token).await;
        while !wanted.iter().all(|title| answered.contains(*title)) {
            for path in ["/api/projects/1/tasks", "/api/projects/1/tasks", "/nothing"] {
                board.get(path, &token).await;
            }
            for (title, expr) in &targets {
                match ask(prometheus.address(), expr).await {
                    Some(Err(error)) => panic!("{title}: {expr}: {error}"),
                    Some(Ok(series)) if series > 0 => drop(answered.insert(title.clone())),
                    _ => (),
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let all = tokio::time::timeout(PATIENCE * 2, asking).await;
    assert!(all.is_ok(), "only {answered:?} {}", prometheus.log());
    board.stop().await;
}
