//! Metrics by OTLP, decoded by OpenTelemetry's own classes.

use std::collections::BTreeMap;

use axum::{Router, body::Body, http::Request, routing::get};
use serde_json::Value;
use steeple::{
    Steeple,
    metrics::push::{HistogramKind, PushOptions, Temporality},
    testing::Recorder,
};
use steeple_tests::{otlp::Otlp, settle::wait_until};
use tower::ServiceExt;

type Metrics = BTreeMap<String, Value>;

async fn ask(steeple: &Steeple, requests: usize) {
    for _ in 0..requests {
        let app = Router::new().route("/users/{id}", get(async || "Ann")).layer(steeple.layer());
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = Request::get("/users/7").header("traceparent", trace).body(Body::empty()).unwrap();
        let answer = app.oneshot(request).await.unwrap();
        axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
    }
}

/// Pushes twice, with requests before each.
async fn two_pushes(change: impl FnOnce(PushOptions) -> PushOptions) -> Option<[Metrics; 2]> {
    let otlp = Otlp::start().await?;
    let recorder =
        Recorder::with(|builder| builder.metrics(steeple::metrics::MetricsBuilder::with_otel_names)).unwrap();
    let options = PushOptions::otlp(format!("{}/v1/metrics", otlp.endpoint()), "shop");
    let pusher = change(options).build(recorder.steeple().metrics()).unwrap();
    ask(recorder.steeple(), 3).await;
    pusher.push().await.unwrap();
    ask(recorder.steeple(), 2).await;
    pusher.push().await.unwrap();
    assert!(wait_until(|| otlp.metrics().len() == 2).await);
    otlp.metrics().try_into().ok()
}

/// The point of the route.
fn point<'m>(metrics: &'m Metrics, name: &str, data: &str) -> &'m Value {
    let metric = metrics.get(name).unwrap_or_else(|| panic!("{name}: {:?}", metrics.keys()));
    let points = metric[data]["dataPoints"].as_array().unwrap_or_else(|| panic!("{metric:#}"));
    let of_route = |point: &&Value| point["attributes"].to_string().contains("/users/{id}");
    points.iter().find(of_route).unwrap_or_else(|| panic!("{metric:#}"))
}

/// 64-bit numbers are texts in protobuf's JSON.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_histograms_arrive_cumulative_with_the_names_of_the_conventions_and_exemplars() {
    let Some([first, second]) = two_pushes(|options| options).await else { return };
    let duration = &first["http.server.request.duration"];
    assert_eq!((&duration["unit"], duration["description"].is_string()), (&Value::from("s"), true));
    assert_eq!(duration["histogram"]["aggregationTemporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
    for (metrics, requests) in [(&first, 3.0), (&second, 5.0)] {
        let point = point(metrics, "http.server.request.duration", "histogram");
        let counts: f64 = point["bucketCounts"].as_array().unwrap().iter().map(number).sum();
        assert_eq!((number(&point["count"]), counts), (requests, requests));
        assert_eq!(
            point["bucketCounts"].as_array().unwrap().len(),
            point["explicitBounds"].as_array().unwrap().len() + 1
        );
        assert!(number(&point["sum"]) > 0.0);
        let keys: Vec<_> =
            point["attributes"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
        assert!(keys.contains(&"http.route") && keys.contains(&"http.response.status_code"), "{keys:?}");
        // Base64 of the trace's id.
        assert!(point["exemplars"].to_string().contains("CvdlGRbNQ92ESOshHIAxnA=="), "{point:#}");
        assert_eq!(number(&self::point(metrics, "http_requests_total", "sum")["asInt"]), requests);
        assert_eq!(metrics["http_requests_total"]["sum"]["isMonotonic"], true);
    }
    let start = |metrics| point(metrics, "http_requests_total", "sum")["startTimeUnixNano"].clone();
    assert_eq!(start(&first), start(&second), "they count from the start");
    assert!(first["http_requests_in_flight"]["gauge"]["dataPoints"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_count_from_the_push_before() {
    let Some([first, second]) = two_pushes(|options| options.temporality(Temporality::Delta)).await else { return };
    for (metrics, requests) in [(&first, 3.0), (&second, 2.0)] {
        assert_eq!(metrics["http_requests_total"]["sum"]["aggregationTemporality"], "AGGREGATION_TEMPORALITY_DELTA");
        assert_eq!(number(&point(metrics, "http_requests_total", "sum")["asInt"]), requests);
        let duration = point(metrics, "http.server.request.duration", "histogram");
        assert_eq!(number(&duration["count"]), requests);
    }
    let duration = |metrics| point(metrics, "http.server.request.duration", "histogram");
    assert_eq!(duration(&first)["timeUnixNano"], duration(&second)["startTimeUnixNano"], "without a gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_that_did_not_arrive_is_in_the_next_one() {
    let Some(otlp) = Otlp::start().await else { return };
    let recorder = Recorder::new();
    let pusher = |url: String| {
        let options = PushOptions::otlp(url, "shop").temporality(Temporality::Delta);
        options.build(recorder.steeple().metrics()).unwrap()
    };
    let good = pusher(format!("{}/v1/metrics", otlp.endpoint()));
    ask(recorder.steeple(), 1).await;
    good.push().await.unwrap();
    // Another receiver, which is not there, has its own deltas.
    assert!(pusher("http://127.0.0.1:1/v1/metrics".to_owned()).push().await.is_err());
    ask(recorder.steeple(), 4).await;
    good.push().await.unwrap();
    assert!(wait_until(|| otlp.metrics().len() == 2).await);
    let [first, second] = <[Metrics; 2]>::try_from(otlp.metrics()).unwrap();
    let count = |metrics| number(&point(metrics, "http_requests_total", "sum")["asInt"]);
    assert_eq!((count(&first), count(&second)), (1.0, 4.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn exponential_histograms_hold_each_request_in_a_bucket_that_its_duration_fits() {
    let exponential = |options: PushOptions| options.histograms(HistogramKind::Exponential);
    let Some([_, second]) = two_pushes(exponential).await else { return };
    let point = point(&second, "http.server.request.duration", "exponentialHistogram");
    let positive = &point["positive"];
    let counts: Vec<f64> = positive["bucketCounts"].as_array().unwrap().iter().map(number).collect();
    let zero = point.get("zeroCount").map_or(0.0, number);
    assert_eq!((number(&point["count"]), counts.iter().sum::<f64>() + zero), (5.0, 5.0));
    let (scale, offset) = (number(&point["scale"]), number(&positive["offset"]));
    // Between the sums of the lower and of the upper bounds of the buckets lies the sum of all durations.
    let bound = |index: f64| (index * (-scale).exp2()).exp2();
    let sum_of = |shift: f64| -> f64 {
        counts.iter().enumerate().map(|(place, count)| count * bound(offset + place as f64 + shift)).sum()
    };
    let sum = number(&point["sum"]);
    let in_zero = zero * number(&point["zeroThreshold"]);
    assert!((sum_of(0.0)..=sum_of(1.0) + in_zero).contains(&sum), "{point:#}");
}
