//! The Grafana dashboard's expressions, answered by a real Prometheus; and what is below `deploy/`, by its own tools.

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
