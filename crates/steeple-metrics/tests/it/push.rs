//! Pushes arrive, in a server of the test's own and in the real ones where they are installed.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{self, Page, TestBody, call, request, strict};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::core::Collector;
use prost::Message;
use steeple_core::{Exchange, TraceContext};
use steeple_export::{DropReason, FlushReport, Sink};
use steeple_metrics::{
    Metrics,
    push::{Push, PushOptions},
};
use tokio::net::{TcpListener, TcpStream};

mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) exemplars: Vec<Exemplar>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Label {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }
}

type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A server that keeps what it is sent and answers with one status.
async fn server(status: StatusCode) -> (SocketAddr, Seen) {
    answering(move |_| Response::builder().status(status).body(Full::default()).unwrap()).await
}

/// A server that keeps what it is sent and answers the n-th request, from 0 on, as it is told to.
async fn answering(
    answer: impl Fn(usize) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (kept, answer) = (Arc::clone(&kept), answer.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (kept, answer) = (Arc::clone(&kept), answer.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let mut kept = kept.lock().unwrap();
                    kept.push(Request::from_parts(head, body));
                    Ok::<_, Infallible>(answer(kept.len() - 1))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

async fn some_traffic(metrics: &Metrics) {
    call(metrics, request("GET", "/a"), |exchange: Exchange| async move {
        exchange.set_trace(TraceContext::from_ids([7; 16], [9; 8], true).unwrap());
        Ok::<_, Infallible>(Response::new(TestBody::default()))
    })
    .await;
}

#[tokio::test]
async fn a_pushgateway_gets_the_whole_page_under_its_grouping() {
    let (address, seen) = server(StatusCode::OK).await;
    let metrics = Metrics::new().unwrap();
    some_traffic(&metrics).await;
    let options = PushOptions::pushgateway(format!("http://{address}/base/"), "nightly").label("path", "/var");
    let options = options.header(header::AUTHORIZATION, "Bearer hunter2".parse().unwrap());
    assert!(!format!("{options:?}").contains("hunter2"));
    options.build(&metrics).unwrap().push().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), seen[0].method().as_str()), (1, "PUT"));
    assert_eq!(seen[0].uri(), "/base/metrics/job/nightly/path@base64/L3Zhcg");
    assert_eq!(seen[0].headers()["authorization"], "Bearer hunter2");
    assert_eq!(seen[0].headers()["host"], address.to_string());
    let families = strict::classic(std::str::from_utf8(seen[0].body()).unwrap());
    assert!(strict::names(&families).contains("http_requests_total"));
    let pushes = Page::of(&metrics).value("steeple_metrics_pushes_total", r#"target="pushgateway",result="ok""#);
    assert_eq!(pushes, 1.0);
}

#[tokio::test]
async fn remote_write_sends_sorted_labels_the_same_numbers_and_exemplars() {
    let (address, seen) = server(StatusCode::NO_CONTENT).await;
    let theirs = prometheus::Registry::new();
    let wait = prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("wait_seconds", "Wait.")).unwrap();
    wait.observe(0.3);
    theirs.register(Box::new(wait)).unwrap();
    let metrics = Metrics::builder().merge(theirs).build().unwrap();
    some_traffic(&metrics).await;
    let url = format!("http://{address}/api/v1/write");
    let pusher = PushOptions::remote_write(url, "app").label("instance", "one").build(&metrics).unwrap();
    pusher.push().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].method().as_str(), seen[0].uri().path()), ("POST", "/api/v1/write"));
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ] {
        assert_eq!(seen[0].headers()[name], value);
    }
    let body = snap::raw::Decoder::new().decompress_vec(seen[0].body()).unwrap();
    let write = wire::WriteRequest::decode(&*body).unwrap();
    let mut found = BTreeMap::new();
    for series in &write.timeseries {
        assert!(series.labels.is_sorted_by(|a, b| a.name < b.name), "{series:?}");
        let value =
            |name: &str| series.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str());
        assert_eq!((value("job"), value("instance")), (Some("app"), Some("one")));
        assert_eq!(series.samples.len(), 1);
        let labels: BTreeMap<_, _> =
            series.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
        assert!(found.insert(labels, series.clone()).is_none(), "twice: {series:?}");
    }
    let of = |wanted: &[(&str, &str)]| {
        let is_it = |labels: &BTreeMap<String, String>| {
            wanted.iter().all(|(name, value)| labels.get(*name).is_some_and(|found| found == value))
        };
        found.iter().filter(|(labels, _)| is_it(labels)).map(|(_, series)| series.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(&[("__name__", "http_requests_total"), ("route", "/a")])[0].samples[0].value, 1.0);
    let buckets = of(&[("__name__", "http_request_duration_seconds_bucket")]);
    assert_eq!(buckets.len(), 15);
    let exemplar = buckets.iter().find_map(|bucket| bucket.exemplars.first()).unwrap();
    assert_eq!(exemplar.labels[1].value, "07".repeat(16));
    assert_eq!(of(&[("__name__", "wait_seconds_bucket"), ("le", "0.5")])[0].samples[0].value, 1.0);
    assert_eq!(of(&[("__name__", "wait_seconds_count")])[0].samples[0].value, 1.0);
}

#[tokio::test]
async fn many_series_go_in_several_requests() {
    let (address, seen) = server(StatusCode::OK).await;
    let metrics = Metrics::builder().max_family_series(5_000).build().unwrap();
    let counter = metrics.counter("things_total", "Things.", ["n"]).unwrap();
    for n in 0..5_000 {
        counter.inc([&n.to_string()]);
    }
    let options = PushOptions::remote_write(format!("http://{address}/write"), "app");
    options.build(&metrics).unwrap().push().await.unwrap();
    let requests = seen.lock().unwrap().clone();
    assert_eq!(requests.len(), 3);
    let mut series = 0;
    for request in requests {
        let body = snap::raw::Decoder::new().decompress_vec(request.body()).unwrap();
        series += wire::WriteRequest::decode(&*body).unwrap().timeseries.len();
    }
    assert!(series > 5_000);
}

#[tokio::test]
async fn a_far_side_that_refuses_is_down_or_silent_is_counted_and_costs_nothing_else() {
    let metrics = Metrics::new().unwrap();
    let (address, _) = server(StatusCode::SERVICE_UNAVAILABLE).await;
    let push = |url: String| {
        PushOptions::remote_write(url, "app").timeout(Duration::from_millis(100)).build(&metrics).unwrap()
    };
    let refused = push(format!("http://{address}")).push().await.unwrap_err();
    assert_eq!(refused.cause(), DropReason::Unavailable);
    // A port without a listener: it was just released.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let unreachable = push(format!("http://{free}")).push().await.unwrap_err();
    assert_eq!(unreachable.cause(), DropReason::Network);
    // One that takes the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = push(format!("http://{}", silent.local_addr().unwrap())).push().await.unwrap_err();
    assert_eq!((slow.cause(), slow.reason()), (DropReason::Network, "the push timed out"));
    let page = Page::of(&metrics);
    for (result, count) in [("unavailable", 1.0), ("network", 2.0)] {
        let labels = format!(r#"target="remote_write",result="{result}""#);
        assert_eq!(page.value("steeple_metrics_pushes_total", &labels), count, "{result}");
    }
}

#[tokio::test]
async fn a_refused_request_does_not_keep_the_next_ones_from_being_sent() {
    let refuse = |n: usize| {
        let (status, body) = match n {
            1 => (400, "\n out of order sample, password=hunter2\nsecond line\n"),
            _ => (204, ""),
        };
        Response::builder().status(status).body(Full::from(body)).unwrap()
    };
    let (address, seen) = answering(refuse).await;
    let metrics = Metrics::builder().max_family_series(9_000).build().unwrap();
    let counter = metrics.counter("things_total", "Things.", ["n"]).unwrap();
    for n in 0..9_000 {
        counter.inc([&n.to_string()]);
    }
    let options = PushOptions::remote_write(format!("http://{address}/write"), "app");
    let error = options.build(&metrics).unwrap().push().await.unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 5, "all of them are sent");
    assert_eq!(error.cause(), DropReason::Rejected);
    assert!(error.reason().contains("out of order sample, password=[redacted:key]"), "{error}");
    let refused = r#"target="remote_write",result="rejected""#;
    assert_eq!(Page::of(&metrics).value("steeple_metrics_pushes_total", refused), 1.0);
}

/// A collector that panics while the switch is on.
struct Moody {
    gauge: prometheus::IntGauge,
    panics: Arc<AtomicBool>,
}

impl Moody {
    fn boxed(name: &str, panics: &Arc<AtomicBool>) -> Box<dyn Collector> {
        let gauge = prometheus::IntGauge::new(name, "Mood.").unwrap();
        Box::new(Self { gauge, panics: Arc::clone(panics) })
    }
}

impl Collector for Moody {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        assert!(!self.panics.load(SeqCst), "a collector of the test panics");
        self.gauge.collect()
    }
}

#[test]
fn a_panicking_collector_costs_its_own_family() {
    let panics = Arc::new(AtomicBool::new(true));
    let (registry, merged) = (prometheus::Registry::new(), prometheus::Registry::new());
    let steady = prometheus::IntGauge::new("steady", "Steady.").unwrap();
    merged.register(Box::new(steady)).unwrap();
    let metrics = Metrics::builder().registry(registry.clone()).merge(merged).build().unwrap();
    let calm = prometheus::IntGauge::new("calm", "Calm.").unwrap();
    metrics.register(Box::new(calm)).unwrap();
    metrics.register(Moody::boxed("moody", &panics)).unwrap();
    let page = Page::of(&metrics);
    assert_eq!((page.find("calm").count(), page.find("moody").count(), page.find("steady").count()), (1, 0, 1));
    assert_eq!(page.value("steeple_metrics_collector_panics_total", ""), 1.0);
    // In the registry itself, it takes along what the registry reads with it, and nothing else.
    registry.register(Moody::boxed("bare", &panics)).unwrap();
    let page = Page::of(&metrics);
    assert_eq!((page.find("steady").count(), page.find("http_requests_in_flight").count()), (1, 1));
    panics.store(false, SeqCst);
    let page = Page::of(&metrics);
    for name in ["calm", "moody", "bare", "steady"] {
        assert_eq!(page.find(name).count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_collector_fails_one_push_and_the_next_one_goes() {
    let (address, seen) = server(StatusCode::OK).await;
    let on = Arc::new(AtomicBool::new(true));
    let registry = prometheus::Registry::new();
    registry.register(Moody::boxed("moody", &on)).unwrap();
    let metrics = Metrics::builder().registry(registry).build().unwrap();
    let options = PushOptions::pushgateway(format!("http://{address}"), "app");
    let push = options.interval(Duration::from_millis(5)).build(&metrics).unwrap().spawn().unwrap();
    let counted = |result: &str| {
        let labels = format!(r#"target="pushgateway",result="{result}""#);
        let page = Page::of(&metrics);
        page.find("steeple_metrics_pushes_total").find(|(found, _)| *found == labels).map_or(0.0, |(_, n)| n)
    };
    let wait_for = async |result: &str| {
        tokio::time::timeout(Duration::from_secs(30), async {
            while counted(result) < 2.0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap();
    };
    wait_for("panicked").await;
    assert_eq!((counted("ok"), seen.lock().unwrap().len()), (0.0, 0));
    on.store(false, SeqCst);
    wait_for("ok").await;
    assert!(shutdown(push, Duration::from_secs(30)).await.is_complete());
}

/// Shuts a push down from where blocking does no harm.
async fn shutdown(push: Push, timeout: Duration) -> FlushReport {
    let deadline = steeple_core::clock::now() + timeout;
    tokio::task::spawn_blocking(move || push.shutdown(deadline)).await.unwrap()
}

#[test]
fn a_push_that_could_never_be_taken_is_refused() {
    let metrics = Metrics::new().unwrap();
    let options = |job: &str| PushOptions::pushgateway("http://127.0.0.1:9091", job);
    for job in ["", ".", ".."] {
        assert!(options(job).build(&metrics).unwrap_err().is_push(), "{job:?}");
    }
    assert!(options("a").label("job", "b").build(&metrics).unwrap_err().is_push());
    assert!(options("a").label("zone", "b").label("zone", "c").build(&metrics).unwrap_err().is_push());
    assert!(options("a").interval(Duration::ZERO).build(&metrics).unwrap_err().is_push());
    for name in ["__name__", "__reserved", "a-b", "1a", ""] {
        assert!(options("a").label(name, "b").build(&metrics).unwrap_err().is_name(), "{name}");
    }
    options("a").label("zone", "..").build(&metrics).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_remote_write_ends_every_series() {
    let (address, seen) = server(StatusCode::NO_CONTENT).await;
    let metrics = Metrics::new().unwrap();
    some_traffic(&metrics).await;
    let options = PushOptions::remote_write(format!("http://{address}/write"), "app");
    let push = options.build(&metrics).unwrap().spawn().unwrap();
    assert!(shutdown(push, Duration::from_secs(30)).await.is_complete());
    let seen = seen.lock().unwrap();
    let read = |request: &Request<Bytes>| {
        wire::WriteRequest::decode(&*snap::raw::Decoder::new().decompress_vec(request.body()).unwrap()).unwrap()
    };
    let [last_values, stale] = [seen.len() - 2, seen.len() - 1].map(|place| read(&seen[place]).timeseries);
    let names = |series: &[wire::TimeSeries]| series.iter().map(|series| series.labels.clone()).collect::<Vec<_>>();
    let (last_names, stale_names) = (names(&last_values), names(&stale));
    assert!(last_names.iter().all(|name| stale_names.contains(name)), "every series ends");
    assert!(stale.iter().all(|series| series.samples[0].value.to_bits() == 0x7ff0_0000_0000_0002));
    assert!(stale.iter().all(|series| series.exemplars.is_empty()));
    assert!(last_values.iter().all(|series| !series.samples[0].value.is_nan()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_pusher_pushes_now_and_then_and_once_more_at_the_end() {
    let (address, seen) = server(StatusCode::OK).await;
    let metrics = Metrics::new().unwrap();
    let options = PushOptions::pushgateway(format!("http://{address}"), "app").interval(Duration::from_millis(20));
    let push = options.build(&metrics).unwrap().spawn().unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while seen.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    some_traffic(&metrics).await;
    assert!(shutdown(push, Duration::from_secs(30)).await.is_complete());
    let last = seen.lock().unwrap().last().unwrap().body().clone();
    assert!(std::str::from_utf8(&last).unwrap().contains(r#"route="/a""#), "the last push has the last request");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stuck = PushOptions::pushgateway(url, "app").build(&metrics).unwrap().spawn().unwrap();
    assert!(!shutdown(stuck, Duration::from_millis(50)).await.is_complete(), "bounded by its deadline");
}

/// A real server that ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts a real server on a free port, or prints that it is not installed.
async fn peer(program: &str, arguments: &[&str]) -> Option<(Peer, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let listen = format!("--web.listen-address={address}");
    let child = Command::new(program).arg(listen).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = match child {
        Ok(child) => Peer(child),
        Err(error) => {
            support::missing(program, &error);
            return None;
        }
    };
    support::record(program, true);
    for _ in 0..200 {
        if get(address, "/-/ready").await.is_some_and(|(status, _)| status == StatusCode::OK) {
            return Some((child, address));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{program} does not become ready");
}

async fn get(address: SocketAddr, path: &str) -> Option<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "peer").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test]
async fn a_real_pushgateway_takes_it_twice() {
    let Some((_peer, address)) = peer("prometheus-pushgateway", &[]).await else { return };
    let metrics = Metrics::builder().names(steeple_metrics::Names::Both).build().unwrap();
    some_traffic(&metrics).await;
    let pusher = PushOptions::pushgateway(format!("http://{address}"), "batch/7").build(&metrics).unwrap();
    pusher.push().await.unwrap();
    some_traffic(&metrics).await;
    pusher.push().await.unwrap();
    let (_, page) = get(address, "/metrics").await.unwrap();
    let line = page.lines().find(|line| line.starts_with("http_requests_total{")).unwrap();
    assert!(line.contains(r#"job="batch/7""#) && line.ends_with(" 2"), "{line}");
}

#[tokio::test]
async fn a_real_prometheus_takes_remote_writes() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    std::fs::write(&config, "global: {}\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let storage = format!("--storage.tsdb.path={}", directory.path().join("data").display());
    let arguments =
        [config.as_str(), &storage, "--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage"];
    let Some((_peer, address)) = peer("prometheus", &arguments).await else { return };
    let metrics = Metrics::new().unwrap();
    some_traffic(&metrics).await;
    let url = format!("http://{address}/api/v1/write");
    let pusher = PushOptions::remote_write(url, "app").label("instance", "one").build(&metrics).unwrap();
    pusher.push().await.unwrap();
    let (_, answer) = get(address, "/api/v1/query?query=http_requests_total").await.unwrap();
    assert!(
        answer.contains(r#""job":"app""#) && answer.contains(r#""route":"/a""#) && answer.contains(r#","1"]"#),
        "{answer}"
    );
    let path = "/api/v1/query_exemplars?query=http_request_duration_seconds_bucket&start=0&end=9999999999";
    let (_, answer) = get(address, path).await.unwrap();
    assert!(answer.contains(&"07".repeat(16)), "{answer}");
}

fn inflate(body: &[u8]) -> serde_json::Value {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(body), &mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The metrics of a request by name, in the form of New Relic's documentation.
fn metrics_named(body: &serde_json::Value, name: &str) -> Vec<serde_json::Value> {
    let metrics = body[0]["metrics"].as_array().unwrap();
    metrics.iter().filter(|metric| metric["name"] == name).cloned().collect()
}

#[tokio::test]
async fn new_relic_gets_counts_since_the_push_before_that_arrived() {
    // The second push is refused.
    let answers = |number| {
        let status = if number == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::ACCEPTED };
        Response::builder().status(status).body(Full::default()).unwrap()
    };
    let (address, seen) = answering(answers).await;
    let metrics = Metrics::new().unwrap();
    let jobs = metrics.counter("jobs_total", "Jobs.", ["count"]).unwrap();
    let temperature = prometheus::Gauge::new("temperature", "How warm it is.").unwrap();
    metrics.register(Box::new(temperature.clone())).unwrap();
    temperature.set(f64::NAN);
    let url = format!("http://{address}/metric/v1");
    let options = PushOptions::new_relic(url, "hunter2", "shop").resource("deployment.environment.name", "staging");
    assert!(!format!("{options:?}").contains("hunter2"));
    let pusher = options.build(&metrics).unwrap();
    jobs.add(["import"], 3);
    some_traffic(&metrics).await;
    pusher.push().await.unwrap();
    jobs.add(["import"], 4);
    some_traffic(&metrics).await;
    assert_eq!(pusher.push().await.unwrap_err().cause(), DropReason::Unavailable);
    temperature.set(21.5);
    pusher.push().await.unwrap();
    pusher.push().await.unwrap();

    let seen = seen.lock().unwrap();
    let bodies: Vec<_> = seen.iter().map(|request| inflate(request.body())).collect();
    assert_eq!(seen[0].headers()["api-key"], "hunter2");
    assert_eq!(seen[0].headers()["content-type"], "application/json");
    let ids: std::collections::BTreeSet<_> = seen.iter().map(|request| &request.headers()["x-request-id"]).collect();
    assert_eq!(ids.len(), 4, "one for each request");
    let common = &bodies[0][0]["common"];
    assert_eq!(common["attributes"]["service.name"], "shop");
    assert_eq!(common["attributes"]["deployment.environment.name"], "staging");
    let counts: Vec<_> = bodies.iter().map(|body| metrics_named(body, "jobs_total")[0]["value"].clone()).collect();
    assert_eq!(counts, [3.0, 4.0, 4.0, 0.0]);
    let first = &metrics_named(&bodies[0], "jobs_total")[0];
    assert_eq!((&first["type"], &first["attributes"]["label_count"]), (&"count".into(), &"import".into()));
    // The fields that New Relic's own client for Python writes.
    let fields: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["attributes", "interval.ms", "name", "timestamp", "type", "value"]);
    // A period begins where the one before that arrived has ended.
    let millis = |value: &serde_json::Value| value.as_u64().unwrap();
    let third = &metrics_named(&bodies[2], "jobs_total")[0];
    assert_eq!(millis(&third["timestamp"]), millis(&bodies[0][0]["common"]["timestamp"]));
    let end = millis(&third["timestamp"]) + millis(&third["interval.ms"]);
    assert!(end.abs_diff(millis(&bodies[2][0]["common"]["timestamp"])) <= 1);
    // Values that are not numbers are left out.
    assert!(metrics_named(&bodies[0], "temperature").is_empty());
    assert_eq!(metrics_named(&bodies[2], "temperature")[0]["value"], 21.5);
    let durations = metrics_named(&bodies[0], "http_request_duration_seconds");
    let value = &durations[0]["value"];
    assert_eq!((&durations[0]["type"], &value["count"]), (&"summary".into(), &1.0.into()));
    assert!(value["min"].as_f64().unwrap() <= value["sum"].as_f64().unwrap(), "{value}");
    assert!(value["sum"].as_f64().unwrap() <= value["max"].as_f64().unwrap(), "{value}");
    assert_eq!(metrics_named(&bodies[2], "http_request_duration_seconds")[0]["value"]["count"], 1.0);
    let page = Page::of(&metrics);
    assert_eq!(page.value("steeple_metrics_pushes_total", r#"target="newrelic",result="ok""#), 3.0);
}

#[tokio::test]
async fn many_series_are_several_requests_to_new_relic_and_each_is_remembered_by_itself() {
    // The first of them is refused each time, until it is not.
    let answers = |number| {
        let status = if number == 0 { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
        Response::builder().status(status).body(Full::default()).unwrap()
    };
    let (address, seen) = answering(answers).await;
    let metrics = Metrics::new().unwrap();
    let of_user = prometheus::IntCounterVec::new(prometheus::Opts::new("clicks_total", "Clicks."), &["page"]).unwrap();
    metrics.register(Box::new(of_user.clone())).unwrap();
    for page in 0..3_000 {
        of_user.with_label_values(&[&page.to_string()]).inc_by(2);
    }
    let pusher = PushOptions::new_relic(format!("http://{address}/metric/v1"), "key", "shop").build(&metrics).unwrap();
    assert!(pusher.push().await.is_err());
    let (mut first, mut second) = (0.0, 0.0);
    let parts = seen.lock().unwrap().len();
    assert!(parts >= 2, "{parts}");
    pusher.push().await.unwrap();
    for (number, request) in seen.lock().unwrap().iter().enumerate() {
        let body = inflate(request.body());
        let sum: f64 =
            metrics_named(&body, "clicks_total").iter().map(|metric| metric["value"].as_f64().unwrap()).sum();
        // Rejected series come again, and nothing else.
        if number > 0 && number < parts {
            first += sum;
        } else if number >= parts {
            second += sum;
        }
    }
    assert_eq!(first + second, 6_000.0);
    assert!(second > 0.0);
}

#[test]
fn a_license_key_that_is_none_is_an_error_without_it() {
    let metrics = Metrics::new().unwrap();
    for key in ["", "hunter2\n"] {
        let error = PushOptions::new_relic("http://127.0.0.1:9/metric/v1", key, "shop").build(&metrics).unwrap_err();
        assert!(error.is_push() && !error.to_string().contains("hunter2"), "{error}");
    }
}
