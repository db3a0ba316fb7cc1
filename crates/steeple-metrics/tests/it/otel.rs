//! The OpenTelemetry SDK hears of the same exchanges, in its own words.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use http::{Request, Response};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData, ScopeMetrics},
};
use steeple_metrics::{Buckets, Metrics};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{TestBody, call, request};

#[tokio::test]
async fn the_sdk_records_requests_queries_and_counters() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let metrics = Metrics::builder()
        .meter(provider.meter("steeple"))
        .buckets(Buckets::opentelemetry().with_bound(0.2))
        .build()
        .unwrap();
    for status in [200, 200, 503] {
        call(&metrics, request("GET", "/users/{id}"), |_| async move {
            Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
        })
        .await;
    }
    let client = metrics.client_layer().layer(service_fn(|_: Request<TestBody>| {
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(404).body(TestBody::default()).unwrap()))
    }));
    client.oneshot(Request::get("https://a.example/").body(TestBody::default()).unwrap()).await.unwrap();
    let logins = metrics.counter("user_logins_total", "Logins.", ["method"]).unwrap();
    logins.inc(["password"]);
    let uploads = metrics.size_histogram("upload_bytes", "Uploads.", [], &Buckets::new([10.0, 1e9])).unwrap();
    uploads.observe([], 100);
    let waits = metrics.duration_histogram("wait_seconds", "Waits.", [], &Buckets::coarse()).unwrap();
    waits.observe([], Duration::from_secs(1));
    metrics.database().record_statement("SELECT * FROM users", Duration::from_millis(20));
    provider.force_flush().unwrap();

    let finished = exporter.get_finished_metrics().unwrap();
    let mut found: BTreeMap<String, (String, Vec<(String, f64)>)> = BTreeMap::new();
    let mut bounds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for metric in finished.last().unwrap().scope_metrics().flat_map(ScopeMetrics::metrics) {
        let text = |attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
            let mut pairs: Vec<_> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
            pairs.sort();
            pairs.join(",")
        };
        let points = match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(data)) => {
                bounds.insert(metric.name().to_owned(), data.data_points().next().unwrap().bounds().collect());
                data.data_points().map(|point| (text(&mut point.attributes()), point.count() as f64)).collect()
            }
            AggregatedMetrics::U64(MetricData::Histogram(data)) => {
                bounds.insert(metric.name().to_owned(), data.data_points().next().unwrap().bounds().collect());
                data.data_points().map(|point| (text(&mut point.attributes()), point.count() as f64)).collect()
            }
            AggregatedMetrics::F64(MetricData::Sum(data)) => {
                data.data_points().map(|point| (text(&mut point.attributes()), point.value())).collect()
            }
            AggregatedMetrics::F64(MetricData::Gauge(data)) => {
                data.data_points().map(|point| (text(&mut point.attributes()), point.value())).collect()
            }
            AggregatedMetrics::F64(_) | AggregatedMetrics::U64(_) | AggregatedMetrics::I64(_) => {
                panic!("{}: of no kind that is ours", metric.name())
            }
        };
        found.insert(metric.name().to_owned(), (metric.unit().to_owned(), points));
    }
    let (unit, duration) = &found["http.server.request.duration"];
    assert_eq!(unit, "s");
    let ok = "http.request.method=GET,http.response.status_code=200,http.route=/users/{id},network.protocol.version=1.1,url.scheme=http";
    let failed = "error.type=503,http.request.method=GET,http.response.status_code=503,http.route=/users/{id},network.protocol.version=1.1,url.scheme=http";
    assert!(duration.contains(&(ok.to_owned(), 2.0)) && duration.contains(&(failed.to_owned(), 1.0)), "{duration:?}");
    assert_eq!(
        found["database_query_duration"],
        ("s".to_owned(), vec![("operation=select,table=users".to_owned(), 1.0)])
    );
    let call = "error.type=404,http.request.method=GET,http.response.status_code=404,network.protocol.version=1.1,server.address=a.example,server.port=443";
    assert_eq!(found["http.client.request.duration"], ("s".to_owned(), vec![(call.to_owned(), 1.0)]));
    let durations = Buckets::opentelemetry().with_bound(0.2);
    for (name, buckets) in [
        ("http.server.request.duration", &durations),
        ("database_query_duration", &durations),
        ("wait", &Buckets::coarse()),
        ("upload", &Buckets::new([10.0, 1e9])),
        ("http.server.request.body.size", &Buckets::sizes()),
        ("http.client.response.body.size", &Buckets::sizes()),
    ] {
        assert_eq!(bounds[name], buckets.bounds(), "{name}");
    }
    assert_eq!(found["upload"], ("By".to_owned(), vec![(String::new(), 1.0)]));
    assert_eq!(found["http_client_requests"].1.len(), 1);
    assert_eq!(found["user_logins"].1, [("method=password".to_owned(), 1.0)]);
    assert_eq!(found["http_requests_in_flight"].1, [(String::new(), 0.0)]);
    if cfg!(all(target_os = "linux", not(steeple_os_other))) {
        assert_eq!(found["process_resident_memory"].0, "By");
    }
}

#[tokio::test]
async fn the_sdk_gets_no_more_servers_and_ports_than_the_page() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let metrics = Metrics::builder().meter(provider.meter("steeple")).max_servers(3).build().unwrap();
    for n in 0..50 {
        let client = metrics.client_layer().layer(service_fn(|_: Request<TestBody>| {
            std::future::ready(Ok::<_, Infallible>(Response::new(TestBody::default())))
        }));
        let url = format!("http://host-{n}.example:{}/", 8_000 + n);
        client.oneshot(Request::get(url).body(TestBody::default()).unwrap()).await.unwrap();
    }
    provider.force_flush().unwrap();
    let finished = exporter.get_finished_metrics().unwrap();
    let duration = finished.last().unwrap().scope_metrics().flat_map(ScopeMetrics::metrics);
    let mut duration = duration.filter(|metric| metric.name() == "http.client.request.duration");
    let AggregatedMetrics::F64(MetricData::Histogram(data)) = duration.next().unwrap().data() else { panic!() };
    assert_eq!(data.data_points().count(), 4, "three, and one for all others");
}

#[tokio::test]
async fn the_sdk_gets_label_values_as_the_page_shows_them_and_a_calls_status_by_its_name() {
    const TOKEN: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let metrics = Metrics::builder().meter(provider.meter("steeple")).build().unwrap();
    let long = "x".repeat(1_000);
    let exports = metrics.counter("exports_total", "Exports.", ["customer"]).unwrap();
    let waits = metrics.duration_histogram("wait_seconds", "Waits.", ["customer"], &Buckets::coarse()).unwrap();
    for value in [TOKEN, &long] {
        exports.inc([value]);
        waits.observe([value], Duration::from_secs(1));
        drop(metrics.database().start_statement(&format!("SELECT * FROM {value}")));
        let route = format!("/files/{value}");
        call(&metrics, request("GET", ""), |exchange: steeple_core::Exchange| async move {
            exchange.report_route(route);
            Ok::<_, Infallible>(Response::new(TestBody::default()))
        })
        .await;
        let client = metrics.client_layer().layer(service_fn(|_: Request<TestBody>| {
            std::future::ready(Ok::<_, Infallible>(Response::new(TestBody::default())))
        }));
        client
            .oneshot(Request::get(format!("http://{value}.example/")).body(TestBody::default()).unwrap())
            .await
            .unwrap();
    }
    let rpc = Request::post("/pkg.S/Get").header("content-type", "application/grpc").body(TestBody::default()).unwrap();
    call(&metrics, rpc, |_| async {
        Ok::<_, Infallible>(Response::builder().header("grpc-status", "14").body(TestBody::default()).unwrap())
    })
    .await;
    provider.force_flush().unwrap();
    let finished = exporter.get_finished_metrics().unwrap();
    let text = format!("{:?}", finished.last().unwrap());
    assert!(!text.contains(TOKEN) && !text.contains(&"x".repeat(129)), "{text}");
    assert!(text.contains(&"x".repeat(120)), "cut, and not left out");
    let all = finished.last().unwrap().scope_metrics().flat_map(ScopeMetrics::metrics);
    let mut durations = all.filter(|metric| metric.name() == "rpc.server.call.duration");
    let AggregatedMetrics::F64(MetricData::Histogram(data)) = durations.next().unwrap().data() else { panic!() };
    let point = data.data_points().next().unwrap();
    let mut said: Vec<_> = point.attributes().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    said.sort();
    let want = [
        "error.type=UNAVAILABLE",
        "rpc.method=pkg.S/Get",
        "rpc.response.status_code=UNAVAILABLE",
        "rpc.system.name=grpc",
    ];
    assert_eq!(said, want);
}
