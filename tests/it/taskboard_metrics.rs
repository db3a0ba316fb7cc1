//! The task board under traffic, scraped by a real Prometheus in each format, and asked for what the traffic itself saw.
//!
//! `http_request_duration_seconds` in classic buckets says a quantile to within the bucket that it falls into, in native
//! histograms to within 9 %. The traffic measures at the client, so that its quantiles have the way there and back in
//! them; how much that is at most, requests that ask for nothing tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::SocketAddr,
    num::NonZeroU32,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, http::HeaderMap, middleware::map_response, response::Response, routing::get};
use http::{Method, header};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple::{Steeple, metrics::Metrics, serve::Shutdown};
use steeple_examples::taskboard::{
    App, router,
    traffic::{self, Protocol as Sent, Row, Seen, Tally},
    watch,
};
use steeple_tests::{
    client::{Client, Protocol, empty},
    page::Page,
    peer::{self, Peer},
    server::Server,
    settle::PATIENCE,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What one native bucket is wider than the one before: 2^(1/8).
const NATIVE_FACTOR: f64 = 1.090_507_732_665_257_7;
/// Samples of a series that are needed before rates are asked for.
const SCRAPES: f64 = 8.0;
/// What must come on top of its first sample.
const GROWTH: f64 = 5.0;
/// The routes whose rates and quantiles are looked at.
const ASKED_FOR: [(&str, &str, u16); 4] = [
    ("GET", "/api/projects/{id}", 200),
    ("GET", "/lab/fail", 500),
    ("GET", "/lab/slow", 200),
    ("POST", "/lab/echo", 200),
];
/// The routes that are asked by somebody who records the trace.
const SAMPLED: [&str; 2] = ["/api/projects/{id}", "/lab/fail"];
/// Requests a second.
const RATE: NonZeroU32 = NonZeroU32::new(150).unwrap();

/// A task board that is served through the facade.
struct Board {
    address: SocketAddr,
    metrics: Metrics,
    /// Every media type that a scrape was answered with.
    formats: Arc<Mutex<BTreeSet<String>>>,
    stop: Shutdown,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Board {
    async fn start() -> Self {
        let app = App::open(None).unwrap();
        // With a log: it is what continues the caller's trace where no traces are sent.
        let steeple = watch(&app, Steeple::builder().log_level("error")).build().unwrap();
        app.measure(&steeple);
        let (metrics, stop) = (steeple.metrics().clone(), app.shutdown().clone());
        let formats = Arc::<Mutex<BTreeSet<String>>>::default();
        let seen = Arc::clone(&formats);
        let scraped = steeple.routes().layer(map_response(move |response: Response| {
            note_format(&seen, &response);
            std::future::ready(response)
        }));
        let routes = router(app).merge(scraped).layer(steeple.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = stop.clone();
        let serving =
            tokio::spawn(async move { steeple.serve_until(listener, routes, async move { end.begun().await }).await });
        Self { address, metrics, formats, stop, serving }
    }

    /// The same metrics for a scraper that knows the old text format alone.
    async fn old_text(&self) -> Server {
        let (metrics, formats) = (self.metrics.clone(), Arc::clone(&self.formats));
        let page = move || {
            let mut asked = HeaderMap::new();
            asked.insert(header::ACCEPT, "text/plain;version=0.0.4".parse().unwrap());
            let response = metrics.respond(&asked);
            note_format(&formats, &response);
            std::future::ready(response)
        };
        Server::start(Router::new().route("/metrics", get(page))).await
    }

    fn page(&self) -> Page {
        Page::parse(String::from_utf8(self.metrics.render(None, None).body.to_vec()).unwrap())
    }

    async fn stop(self) {
        self.stop.begin();
        self.serving.await.unwrap().unwrap();
    }
}

fn note_format(formats: &Mutex<BTreeSet<String>>, response: &Response) {
    let Some(kind) = response.headers().get(header::CONTENT_TYPE) else { return };
    let kind = kind.to_str().unwrap().split(';').next().unwrap();
    formats.lock().unwrap().insert(kind.to_owned());
}

/// A Prometheus that scrapes these jobs twice a second.
fn prometheus(binary: &Path, features: &str, jobs: &[(&str, SocketAddr)]) -> Peer {
    let mut config = String::from("global: {scrape_interval: 500ms}\nscrape_configs:\n");
    for (job, target) in jobs {
        writeln!(config, "  - {{job_name: {job}, static_configs: [{{targets: ['{target}']}}]}}").unwrap();
    }
    let arguments = |address, directory: &Path| {
        std::fs::write(directory.join("prometheus.yml"), config).unwrap();
        vec![
            "--config.file=prometheus.yml".to_owned(),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.path=data".to_owned(),
            format!("--enable-feature={features}"),
        ]
    };
    Peer::start(binary, arguments).unwrap()
}

/// Asks Prometheus' API; the parameters' values are encoded here.
async fn ask(prometheus: SocketAddr, endpoint: &str, parameters: &[(&str, &str)]) -> Option<Value> {
    let mut path = format!("/api/v1/{endpoint}?");
    for (name, value) in parameters {
        write!(path, "{name}=").unwrap();
        for byte in value.bytes() {
            write!(path, "%{byte:02X}").unwrap();
        }
        path.push('&');
    }
    let mut client = Client::try_connect(Protocol::Http1, prometheus).await?;
    let answer = client.get(&path).await.ok()?.into_body().collect().await.ok()?.to_bytes();
    let mut answer: Value = serde_json::from_slice(&answer).ok()?;
    assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
    Some(answer["data"].take())
}

/// The one number that an expression gives.
async fn number(prometheus: SocketAddr, expression: &str) -> Option<f64> {
    let data = ask(prometheus, "query", &[("query", expression)]).await?;
    data["result"][0]["value"][1].as_str()?.parse().ok()
}

/// Waits until an expression gives this, then goes on.
async fn until(prometheus: &mut Peer, expression: &str, holds: impl Fn(f64) -> bool) {
    let holds = &holds;
    prometheus
        .until(|address| async move { number(address, expression).await.filter(|value| holds(*value)).map(drop) })
        .await;
}

/// How many requests of the tally these are.
fn count(tally: &Tally, is: impl Fn(&Row) -> bool) -> f64 {
    tally.rows().filter(|(row, _)| is(row)).map(|(_, count)| count).sum::<u64>() as f64
}

fn is_http(row: &Row) -> bool {
    row.protocol != Sent::Grpc && !["/healthz", "/readyz"].contains(&row.route)
}

fn answered(method: &'static str, route: &'static str, status: u16) -> impl Fn(&Row) -> bool {
    move |row| row.method == method && row.route == route && row.status == Some(status)
}

/// The number of requests sent with a status, by the labels that the metrics have for it.
fn by_labels(tally: &Tally) -> BTreeMap<[String; 3], f64> {
    let mut counts = BTreeMap::new();
    for (row, count) in tally.rows().filter(|(row, _)| is_http(row)) {
        let status = row.status.unwrap_or(if row.seen == Seen::Cancelled { 499 } else { 500 });
        let method = if row.method == "BREW" { "_OTHER" } else { row.method };
        *counts.entry([method.to_owned(), row.route.to_owned(), status.to_string()]).or_default() += count as f64;
    }
    counts
}

/// A quantile as the client saw it: at least and at most, because each protocol has a separate row. Of all their
/// requests together it lies between.
fn seen(tally: &Tally, is: impl Fn(&Row) -> bool, q: f64) -> (f64, f64) {
    let seen = tally.rows().filter(|(row, _)| is(row)).map(|(row, _)| tally.quantile(row, q).unwrap().as_secs_f64());
    seen.fold((f64::INFINITY, 0.0), |(least, most), at| (least.min(at), most.max(at)))
}

/// The bucket that this falls into.
fn bucket(page: &Page, labels: &[(&str, &str)], at: f64) -> (f64, f64) {
    let bounds = page.find("http_request_duration_seconds_bucket", labels);
    let mut bounds: Vec<f64> = bounds.map(|sample| sample.label("le").parse().unwrap()).collect();
    bounds.sort_by(f64::total_cmp);
    let place = bounds.iter().position(|bound| at <= *bound).unwrap();
    (place.checked_sub(1).map_or(0.0, |below| bounds[below]), bounds[place])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_has_the_numbers_that_the_traffic_saw() {
    let Some(binary) = peer::find("prometheus") else { return };
    let board = Board::start().await;
    let old_text = board.old_text().await;
    let jobs = [("text", old_text.address()), ("openmetrics", board.address)];
    let mut classic = prometheus(&binary, "exemplar-storage", &jobs);
    let mut native = prometheus(&binary, "exemplar-storage,native-histograms", &[("protobuf", board.address)]);
    // Scraped before anything has happened, so that every series but the first counts from nothing.
    until(&mut classic, "sum(up)", |up| up == 2.0).await;
    until(&mut native, "sum(up)", |up| up == 1.0).await;

    let many = async {
        for (method, route, status) in ASKED_FOR {
            let labels = format!("method=\"{method}\",route=\"{route}\",status_code=\"{status}\"");
            let series = format!("http_requests_total{{{labels}}}[10m]");
            for prometheus in [&mut classic, &mut native] {
                until(prometheus, &format!("min(count_over_time({series}))"), |samples| samples >= SCRAPES).await;
                until(prometheus, &format!("min(increase({series}))"), |more| more >= GROWTH).await;
            }
        }
    };
    let tally = traffic::run(board.address, RATE, many).await;
    assert_eq!(tally.held_back(), 0, "{tally}");
    let traces = sampled(board.address).await;

    // Who hangs up is gone before the service knows it, and a scrape comes later still.
    let sent = count(&tally, is_http) + traces.len() as f64;
    let all = "min(sum by (job) (http_requests_total))";
    until(&mut classic, all, |got| got == sent).await;
    until(&mut native, all, |got| got == sent).await;
    let (classic, native) = (classic.address(), native.address());
    let formats = board.formats.lock().unwrap().iter().cloned().collect::<Vec<_>>();
    assert_eq!(formats, ["application/openmetrics-text", "application/vnd.google.protobuf", "text/plain"]);

    let jobs = [(classic, "text"), (classic, "openmetrics"), (native, "protobuf")];
    for (prometheus, job) in jobs {
        counts_are_the_tallys(prometheus, job, &tally, &traces).await;
        rates_are_the_tallys(prometheus, job, &tally).await;
        beyond_requests(prometheus, job, &tally).await;
    }
    let page = board.page();
    for route in [("GET", "/lab/slow"), ("POST", "/lab/echo")] {
        for q in [0.5, 0.95] {
            quantiles_are_the_tallys([classic, native], &page, &tally, route, q).await;
        }
    }
    exemplars_lead_to_the_traces(classic, "openmetrics", &traces).await;
    exemplars_lead_to_the_traces(native, "protobuf", &traces).await;
    board.stop().await;
}

/// Sends requests of traces that somebody records, and says which.
async fn sampled(address: SocketAddr) -> Vec<(&'static str, String)> {
    let mut client = Client::connect(Protocol::Http1, address).await;
    let mut traces = Vec::new();
    for (number, route) in (0xa1_u128..).zip(SAMPLED) {
        let trace = format!("{number:032x}");
        let request = client.request(Method::GET, &route.replace("{id}", "1"));
        let request = request.header("traceparent", format!("00-{trace}-00000000000000c3-01"));
        let response = client.send(request.body(empty()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
        traces.push((route, trace));
    }
    traces
}

/// By method, route and status: Prometheus stored exactly the sent requests.
async fn counts_are_the_tallys(prometheus: SocketAddr, job: &str, tally: &Tally, traces: &[(&str, String)]) {
    let query = format!("sum by (method, route, status_code) (http_requests_total{{job=\"{job}\"}})");
    let data = ask(prometheus, "query", &[("query", &query)]).await.unwrap();
    let stored = data["result"].as_array().unwrap().iter().map(|series| {
        let labels = ["method", "route", "status_code"].map(|name| series["metric"][name].as_str().unwrap().to_owned());
        (labels, series["value"][1].as_str().unwrap().parse::<f64>().unwrap())
    });
    let mut want = by_labels(tally);
    for (route, _) in traces {
        let status = if *route == "/lab/fail" { "500" } else { "200" };
        *want.get_mut(&["GET", route, status].map(str::to_owned)).unwrap() += 1.0;
    }
    assert_eq!(stored.collect::<BTreeMap<_, _>>(), want, "{job}: {tally}");
}

/// Increase and rate are of the stored samples, stretched to the window's ends by at most 1.1 scrape intervals each.
async fn rates_are_the_tallys(prometheus: SocketAddr, job: &str, tally: &Tally) {
    for (method, route, status) in ASKED_FOR {
        let labels = format!("job=\"{job}\",method=\"{method}\",route=\"{route}\",status_code=\"{status}\"");
        let series = format!("http_requests_total{{{labels}}}");
        let time = number(prometheus, "vector(time())").await.unwrap().to_string();
        let at = async |expression: String| {
            let data = ask(prometheus, "query", &[("query", &expression), ("time", &time)]).await.unwrap();
            data["result"][0].clone()
        };
        let samples = at(format!("{series}[5m]")).await;
        let samples: Vec<f64> = samples["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value[1].as_str().unwrap().parse().unwrap())
            .collect();
        let (first, last) = (samples[0], *samples.last().unwrap());
        let extra = f64::from(SAMPLED.contains(&route));
        assert_eq!(last, count(tally, answered(method, route, status)) + extra, "{job} {route}: {tally}");
        let grown = last - first;
        let stretched = grown * (1.0 + 2.2 / (samples.len() - 1) as f64);
        for (function, seconds) in [("increase", 1.0), ("rate", 300.0)] {
            let value = at(format!("{function}({series}[5m])")).await;
            let value = seconds * value["value"][1].as_str().unwrap().parse::<f64>().unwrap();
            let near = grown * 0.999..=stretched * 1.001;
            assert!(near.contains(&value), "{job} {route}: {function} says {value}, the samples {samples:?}");
        }
    }
}

/// The board's own numbers, where the traffic knows them.
async fn beyond_requests(prometheus: SocketAddr, job: &str, tally: &Tally) {
    let looked_up = |row: &Row| {
        let found = |statuses: &[u16]| row.status.is_some_and(|status| statuses.contains(&status));
        match (row.method, row.route) {
            ("GET" | "HEAD", "/api/projects/{id}") | ("GET", "/api/projects/{id}/export") => found(&[200, 404]),
            ("POST", "/api/projects/{id}/tasks") => found(&[201, 404]),
            _ => false,
        }
    };
    // One of the sampled requests asks for a project, too.
    let lookups = count(tally, looked_up) + 1.0;
    let completed = count(tally, answered("POST", "/api/tasks/{id}/complete", 200));
    // Native in protobuf, like every histogram of durations.
    let durations = match job {
        "protobuf" => "sum(histogram_count(task_completion_duration_seconds{JOB}))",
        _ => "sum(task_completion_duration_seconds_count{JOB})",
    };
    let with_job = |expression: &str| expression.replace("JOB", &format!("job=\"{job}\""));
    for (expression, want) in [
        ("sum(user_registrations_total{JOB})", count(tally, answered("POST", "/api/users", 201))),
        ("sum(user_logins_total{JOB})", count(tally, answered("POST", "/api/sessions", 201))),
        ("sum(projects_created_total{JOB})", count(tally, answered("POST", "/api/projects", 201))),
        ("sum(tasks_completed_total{JOB})", completed),
        (durations, completed),
        ("sum(cache_operations_total{JOB,operation=\"get\",result=~\"hit|miss\"})", lookups),
        ("count(build_info{JOB,service=\"taskboard\"})", 1.0),
    ] {
        let expression = with_job(expression);
        assert_eq!(number(prometheus, &expression).await, Some(want), "{expression}: {tally}");
    }
    let queries = match job {
        "protobuf" => "histogram_count(database_query_duration_seconds{JOB})",
        _ => "database_query_duration_seconds_count{JOB}",
    };
    let query = with_job(&format!("count by (operation, table) ({queries})"));
    let data = ask(prometheus, "query", &[("query", &query)]).await.unwrap();
    let stored: BTreeSet<_> = data["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| ["operation", "table"].map(|name| series["metric"][name].as_str().unwrap().to_owned()).join(" "))
        .collect();
    let want = [
        "insert projects",
        "insert sessions",
        "insert tasks",
        "insert users",
        "select projects",
        "select sessions",
        "select tasks",
        "select users",
        "update tasks",
    ];
    for pair in want.into_iter().chain(["delete sessions"]) {
        assert!(stored.contains(pair), "{job}: no {pair:?} in {stored:?}");
    }
    assert_eq!(stored.len(), want.len() + 1, "{job}: {stored:?}");
    for expression in [
        "active_users{JOB}",
        "cache_operations_total{JOB,result=\"hit\"}",
        "process_resident_memory_bytes{JOB}",
        "process_cpu_seconds_total{JOB}",
        "tokio_workers{JOB}",
        "sum(tokio_worker_parks_total{JOB})",
        "tokio_tasks_alive{JOB}",
    ] {
        let value = number(prometheus, &with_job(expression)).await;
        assert!(value.is_some_and(|value| value > 0.0), "{job} {expression}: {value:?}");
    }
}

/// Both kinds of histograms say a quantile that the traffic's own agrees with, within the bounds of each.
async fn quantiles_are_the_tallys(
    [classic, native]: [SocketAddr; 2],
    page: &Page,
    tally: &Tally,
    (method, route): (&'static str, &'static str),
    q: f64,
) {
    let selector = format!("method=\"{method}\",route=\"{route}\",status_code=\"200\"");
    let labels = [("method", method), ("route", route), ("status_code", "200")];
    let (least, most) = seen(tally, answered(method, route, 200), q);
    let (_, way) =
        seen(tally, |row| is_http(row) && (row.route == "unmatched" || row.route == "/lab/status/{code}"), 1.0);
    let server = least - way;
    for job in ["text", "openmetrics"] {
        let buckets = format!("http_request_duration_seconds_bucket{{job=\"{job}\",{selector}}}");
        let said = number(classic, &format!("histogram_quantile({q}, sum by (le) ({buckets}))")).await.unwrap();
        let (above, to) = bucket(page, &labels, said);
        let all = format!("{job} {route} q{q}: {said} in ({above}, {to}], seen {least} to {most}, {way} on the way");
        assert!(above <= most && server <= to, "{all}");
        // The same by rate, as dashboards ask: of the last part of the requests, so that it can be another bucket's.
        let rated = format!("histogram_quantile({q}, sum by (le) (rate({buckets}[5m])))");
        let rated = number(classic, &rated).await.unwrap();
        let (_, slowest) = seen(tally, answered(method, route, 200), 1.0);
        assert!(rated > 0.0 && rated <= bucket(page, &labels, slowest).1, "by rate {rated}; {all}");
    }
    let histogram = format!("http_request_duration_seconds{{{selector}}}");
    let said = number(native, &format!("histogram_quantile({q}, {histogram})")).await.unwrap();
    let all = format!("native {route} q{q}: {said}, seen {least} to {most}, {way} on the way");
    assert!(said <= most * NATIVE_FACTOR && said * NATIVE_FACTOR >= server, "{all}");
    let counted = number(native, &format!("histogram_count({histogram})")).await;
    assert_eq!(counted, Some(count(tally, answered(method, route, 200))), "{all}");
    let rated = number(native, &format!("histogram_quantile({q}, rate({histogram}[5m]))")).await.unwrap();
    let (_, slowest) = seen(tally, answered(method, route, 200), 1.0);
    assert!(rated > 0.0 && rated <= slowest * NATIVE_FACTOR, "by rate {rated}; {all}");
}

/// The sampled requests are on the buckets that they fell into.
async fn exemplars_lead_to_the_traces(prometheus: SocketAddr, job: &str, traces: &[(&str, String)]) {
    let now = number(prometheus, "vector(time())").await.unwrap();
    let (start, end) = ((now - 600.0).to_string(), (now + 60.0).to_string());
    for (route, trace) in traces {
        let query = format!("{{__name__=~\"http_request_duration_seconds.*\",job=\"{job}\",route=\"{route}\"}}");
        let data = ask(prometheus, "query_exemplars", &[("query", &query), ("start", &start), ("end", &end)]).await;
        let data = data.unwrap();
        let found = data.as_array().unwrap().iter().find_map(|series| {
            let exemplars = series["exemplars"].as_array()?;
            let exemplar = exemplars.iter().find(|exemplar| exemplar["labels"]["trace_id"] == trace.as_str())?;
            let value = exemplar["value"].as_str()?.parse::<f64>().ok()?;
            Some((value, series["seriesLabels"]["le"].as_str().map(|le| le.parse::<f64>().unwrap())))
        });
        let (value, bound) = found.unwrap_or_else(|| panic!("{job}: no exemplar of {trace} for {route}: {data}"));
        assert!(value > 0.0 && bound.is_none_or(|bound| value <= bound), "{job} {route}: {value} in {bound:?}");
    }
}

/// A board that has had some requests of every kind.
async fn after_some_traffic() -> Board {
    let board = Board::start().await;
    let metrics = board.metrics.clone();
    let objectives_known = async move {
        let all_asked = || {
            let page = String::from_utf8(metrics.render(None, None).body.to_vec()).unwrap();
            let page = Page::parse(page);
            let objectives = [("GET", "/api/projects/{id}"), ("POST", "/api/tasks/{id}/complete")];
            objectives
                .iter()
                .all(|(method, route)| page.sum("http_requests_total", &[("method", method), ("route", route)]) > 0.0)
        };
        assert!(steeple_tests::settle::wait_until(all_asked).await);
    };
    let traffic = traffic::run(board.address, RATE, objectives_known);
    tokio::time::timeout(2 * PATIENCE, traffic).await.expect("it ends");
    board
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_no_complaint_about_the_task_boards_page() {
    let Some(promtool) = peer::find("promtool") else { return };
    let board = after_some_traffic().await;
    let checked = peer::run(Command::new(promtool).args(["check", "metrics"]), board.page().text().as_bytes()).unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    board.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_boards_objectives_become_rules_that_fire_when_they_must() {
    let Some(promtool) = peer::find("promtool") else { return };
    let board = after_some_traffic().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yml"), board.metrics.rules().render().unwrap()).unwrap();
    board.stop().await;
    let run = |arguments: &[&str]| {
        let output = peer::run(Command::new(&promtool).args(arguments).current_dir(&directory), b"").unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
    };
    run(&["check", "rules", "rules.yml"]);
    // A minute's requests, and the alerts after an hour and a half. 0.1 % of projects may fail, 0.5 % of completions, and
    // 1 % of projects may take longer than 250 ms.
    let (project, complete) =
        ("method=\"GET\",route=\"/api/projects/{id}\"", "method=\"POST\",route=\"/api/tasks/{id}/complete\"");
    let requests = |labels: &str, ok: u32, failed: u32| {
        let series = |status: u32, count| {
            (format!("http_requests_total{{job=\"app\",{labels},status_code=\"{status}\"}}"), count)
        };
        vec![series(200, ok), series(500, failed)]
    };
    let durations = |fast: u32| {
        let name = "http_request_duration_seconds";
        let bucket = format!("{name}_bucket{{job=\"app\",{project},status_code=\"200\",le=\"0.25\"}}");
        vec![(bucket, fast), (format!("{name}_count{{job=\"app\",{project},status_code=\"200\"}}"), 1_000)]
    };
    let cases = [
        (requests(project, 970, 30), "HttpErrorBudgetBurn", project, "page ticket"),
        (requests(project, 1_999, 1), "HttpErrorBudgetBurn", project, ""),
        (requests(complete, 900, 100), "HttpErrorBudgetBurn", complete, "page ticket"),
        (requests(complete, 980, 20), "HttpErrorBudgetBurn", complete, "ticket"),
        (requests(complete, 996, 4), "HttpErrorBudgetBurn", complete, ""),
        (durations(800), "HttpLatencyBudgetBurn", project, "page ticket"),
        (durations(995), "HttpLatencyBudgetBurn", project, ""),
    ];
    let mut tests = String::from("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n");
    for (series, alert, labels, severities) in cases {
        tests.push_str("  - interval: 1m\n    input_series:\n");
        for (series, a_minute) in series {
            writeln!(tests, "      - {{series: '{series}', values: '0+{a_minute}x120'}}").unwrap();
        }
        let firing = severities.split_whitespace().map(|severity| {
            format!("{{labels: '{{alertname=\"{alert}\",alertstate=\"firing\",{labels},severity=\"{severity}\"}}', value: 1}}")
        });
        let firing = firing.collect::<Vec<_>>().join(", ");
        let query = format!("sum by (alertname,alertstate,method,route,severity) (ALERTS{{alertname=\"{alert}\"}})");
        writeln!(tests, "    promql_expr_test: [{{expr: '{query}', eval_time: 90m, exp_samples: [{firing}]}}]")
            .unwrap();
    }
    std::fs::write(directory.path().join("tests.yml"), tests).unwrap();
    run(&["test", "rules", "tests.yml"]);
}
