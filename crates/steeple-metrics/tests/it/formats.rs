//! The rendered page is read by other implementations: a strict parser for the text formats, `prost` for protobuf, `promtool`.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use crate::support::{TestBody, call, request, strict};
use http::{Request, Response};
use prometheus::{Registry, core::Collector};
use proptest::prelude::*;
use prost::Message;
use steeple_core::{
    Exchange, TraceContext,
    test_util::{ScriptedBody, Step},
};
use steeple_metrics::{Metrics, Names};
use tower::{Layer, ServiceExt, service_fn};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

fn text(metrics: &Metrics, accept: &str) -> String {
    String::from_utf8(metrics.render(Some(accept), None).body.to_vec()).unwrap()
}

/// `io.prometheus.client`, as far as it is used here, for another implementation of protobuf.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct MetricFamily {
        #[prost(string, optional, tag = "1")]
        pub(crate) name: Option<String>,
        #[prost(string, optional, tag = "2")]
        pub(crate) help: Option<String>,
        #[prost(int32, optional, tag = "3")]
        pub(crate) kind: Option<i32>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) metric: Vec<Metric>,
        #[prost(string, optional, tag = "5")]
        pub(crate) unit: Option<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Metric {
        #[prost(message, repeated, tag = "1")]
        pub(crate) label: Vec<LabelPair>,
        #[prost(message, optional, tag = "2")]
        pub(crate) gauge: Option<Value>,
        #[prost(message, optional, tag = "3")]
        pub(crate) counter: Option<Value>,
        #[prost(message, optional, tag = "4")]
        pub(crate) summary: Option<Summary>,
        #[prost(message, optional, tag = "7")]
        pub(crate) histogram: Option<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct LabelPair {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Value {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Summary {
        #[prost(uint64, tag = "1")]
        pub(crate) count: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(crate) count: u64,
        #[prost(double, tag = "2")]
        pub(crate) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(crate) bucket: Vec<Bucket>,
        #[prost(sint32, optional, tag = "5")]
        pub(crate) schema: Option<i32>,
        #[prost(double, tag = "6")]
        pub(crate) zero_threshold: f64,
        #[prost(uint64, tag = "7")]
        pub(crate) zero_count: u64,
        #[prost(message, repeated, tag = "12")]
        pub(crate) positive_span: Vec<Span>,
        #[prost(sint64, repeated, packed = "false", tag = "13")]
        pub(crate) positive_delta: Vec<i64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Bucket {
        #[prost(uint64, tag = "1")]
        pub(crate) count: u64,
        #[prost(double, tag = "2")]
        pub(crate) bound: f64,
        #[prost(message, optional, tag = "3")]
        pub(crate) exemplar: Option<Exemplar>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(crate) label: Vec<LabelPair>,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Span {
        #[prost(sint32, tag = "1")]
        pub(crate) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(crate) length: u32,
    }
}

fn protobuf(metrics: &Metrics) -> BTreeMap<String, wire::MetricFamily> {
    let page = metrics.render(Some(PROTOBUF), None);
    assert!(page.content_type.starts_with("application/vnd.google.protobuf"));
    let mut body = page.body;
    let mut families = BTreeMap::new();
    while !body.is_empty() {
        let family = wire::MetricFamily::decode_length_delimited(&mut body).unwrap();
        assert!(families.insert(family.name.clone().unwrap(), family).is_none());
    }
    families
}

/// The buckets of a native histogram: their indexes and counts.
fn native(histogram: &wire::Histogram) -> Vec<(i32, u64)> {
    let (mut index, mut count, mut deltas, mut out) = (0, 0, histogram.positive_delta.iter(), Vec::new());
    for span in &histogram.positive_span {
        index += span.offset;
        for _ in 0..span.length {
            count += deltas.next().unwrap();
            out.push((index, u64::try_from(count).unwrap()));
            index += 1;
        }
    }
    assert!(deltas.next().is_none());
    out
}

async fn some_traffic(metrics: &Metrics) {
    for (route, status, wait_ms) in [("/a", 200, 0), ("/a", 500, 2), ("/b/{id}", 200, 12), ("/b/{id}", 404, 30)] {
        call(metrics, request("GET", route), |exchange: Exchange| async move {
            exchange.set_trace(TraceContext::from_ids([7; 16], [9; 8], true).unwrap());
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
        })
        .await;
    }
    let client = metrics.client_layer().layer(service_fn(|_: Request<TestBody>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(TestBody::from("x"))))
    }));
    client.oneshot(Request::get("http://a.example/").body(TestBody::default()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn every_format_is_readable_and_has_the_same_values() {
    let metrics = Metrics::builder().names(Names::Both).build().unwrap();
    some_traffic(&metrics).await;
    let classic = strict::classic(&text(&metrics, "text/plain"));
    let openmetrics = strict::openmetrics(&text(&metrics, OPENMETRICS));
    let protobuf = protobuf(&metrics);
    let without_total = |name: &String| name.strip_suffix("_total").unwrap_or(name).to_owned();
    let bases: BTreeSet<String> = strict::names(&classic).iter().map(without_total).collect();
    assert_eq!(bases, strict::names(&openmetrics));
    assert_eq!(strict::names(&classic), protobuf.keys().cloned().collect());
    for family in &openmetrics {
        for sample in family.samples.iter().filter(|sample| {
            // What goes on while the page is rendered is another number on the next one.
            let changes = ["process_", "container_", "disk_"];
            !sample.name.ends_with("_created") && !changes.iter().any(|prefix| sample.name.starts_with(prefix))
        }) {
            let mut labels = sample.labels.clone();
            if let Some(le) = labels.get_mut("le") {
                *le = le.strip_suffix(".0").unwrap_or(le).to_owned();
            }
            let same = classic
                .iter()
                .flat_map(|family| &family.samples)
                .find(|other| other.name == sample.name && other.labels == labels);
            assert_eq!(same.expect(&sample.name).value, sample.value, "{} {labels:?}", sample.name);
        }
    }
    let duration = &protobuf["http_request_duration_seconds"];
    assert_eq!((duration.kind, duration.unit.as_deref()), (Some(4), Some("seconds")));
    assert_eq!(duration.metric.len(), 4);
    for metric in &duration.metric {
        let histogram = metric.histogram.as_ref().unwrap();
        assert_eq!(histogram.schema, Some(3));
        let buckets: u64 = native(histogram).iter().map(|(_, count)| count).sum();
        assert_eq!(histogram.zero_count + buckets, histogram.count);
        // The one request of this series lies in the native bucket that its duration asks for.
        let index = (histogram.sum.log2() * 8.0).ceil();
        assert_eq!(native(histogram), [(index as i32, 1)], "{}", histogram.sum);
    }
    assert_eq!(protobuf["http_requests_total"].metric[0].counter.as_ref().unwrap().value, 1.0);
}

#[tokio::test]
async fn an_empty_native_histogram_is_marked_as_native() {
    let metrics = Metrics::new().unwrap();
    call(&metrics, request("GET", "/sse"), |_| async {
        // Of no length that anybody knows beforehand, or it would be no stream.
        let body = ScriptedBody::new([Step::Data(b"data: 1\n\n")]);
        let response = Response::builder().header("content-type", "text/event-stream").body(body);
        Ok::<_, Infallible>(response.unwrap())
    })
    .await;
    let families = protobuf(&metrics);
    let histogram = families["http_request_duration_seconds"].metric[0].histogram.clone().unwrap();
    assert_eq!((histogram.count, histogram.positive_span.len(), histogram.positive_span[0].length), (0, 1, 0));
}

#[tokio::test]
async fn the_callers_trace_is_an_exemplar_without_other_observers() {
    let metrics = Metrics::new().unwrap();
    let mut sampled = request("GET", "/x");
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    sampled.headers_mut().insert("traceparent", caller);
    call(&metrics, sampled, |_| async { Ok::<_, Infallible>(Response::new(TestBody::default())) }).await;
    assert!(text(&metrics, OPENMETRICS).contains("trace_id=\"0af7651916cd43dd8448eb211c80319c\""));
}

#[tokio::test]
async fn a_sampled_exchange_is_its_buckets_exemplar_and_an_unsampled_one_is_not() {
    let metrics = Metrics::new().unwrap();
    for (id, sampled, route) in [(1, true, "/x"), (2, false, "/x"), (3, false, "/y")] {
        call(&metrics, request("GET", route), |exchange: Exchange| async move {
            exchange.set_trace(TraceContext::from_ids([id; 16], [id; 8], sampled).unwrap());
            Ok::<_, Infallible>(Response::new(TestBody::default()))
        })
        .await;
    }
    let families = strict::openmetrics(&text(&metrics, OPENMETRICS));
    let duration = families.iter().find(|family| family.name == "http_request_duration_seconds").unwrap();
    let exemplars: Vec<_> =
        duration.samples.iter().filter_map(|sample| Some((sample, sample.exemplar.as_ref()?))).collect();
    assert_eq!(exemplars.len(), 1);
    let (sample, (labels, _)) = &exemplars[0];
    assert_eq!(sample.labels["route"], "/x");
    assert_eq!(labels["trace_id"], "01".repeat(16));
    assert_eq!(labels["span_id"], "01".repeat(8));
    let bucket = protobuf(&metrics)["http_request_duration_seconds"].metric.clone();
    let found: Vec<_> =
        bucket.iter().flat_map(|m| &m.histogram.as_ref().unwrap().bucket).filter_map(|b| b.exemplar.as_ref()).collect();
    assert_eq!((found.len(), &*found[0].label[0].value), (1, &*"01".repeat(16)));
}

#[tokio::test]
async fn a_failed_exchange_keeps_its_bucket_from_those_that_did_not_fail() {
    let metrics = Metrics::new().unwrap();
    for (id, fails) in [(1, true), (2, false)] {
        call(&metrics, request("GET", "/x"), |exchange: Exchange| async move {
            exchange.set_trace(TraceContext::from_ids([id; 16], [id; 8], true).unwrap());
            let body = steeple_core::test_util::ScriptedBody::new(
                fails.then_some(steeple_core::test_util::Step::Fail("disk")),
            );
            Ok::<_, Infallible>(Response::new(body))
        })
        .await;
    }
    let page = text(&metrics, OPENMETRICS);
    let duration: Vec<_> =
        page.lines().filter(|line| line.starts_with("http_request_duration") && line.contains(" # ")).collect();
    assert_eq!(duration.len(), 1);
    assert!(duration[0].contains(&"01".repeat(16)), "{duration:?}");
}

#[test]
fn what_the_teams_own_code_registered_is_in_the_same_answer_in_every_format() {
    let (ours, theirs) = (Registry::new(), Registry::new());
    let metrics = Metrics::builder().registry(ours.clone()).merge(theirs.clone()).build().unwrap();
    let jobs = prometheus::IntCounterVec::new(prometheus::Opts::new("jobs_total", "Jobs."), &["kind"]).unwrap();
    jobs.with_label_values(&["import"]).inc_by(5);
    ours.register(Box::new(jobs)).unwrap();
    let wait = prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("wait_seconds", "Wait.")).unwrap();
    wait.observe(0.3);
    theirs.register(Box::new(wait)).unwrap();
    let odd = prometheus::IntCounter::new("odd_name", "A counter without its suffix.").unwrap();
    theirs.register(Box::new(odd)).unwrap();

    let classic = strict::classic(&text(&metrics, "text/plain"));
    let openmetrics = strict::openmetrics(&text(&metrics, OPENMETRICS));
    let protobuf = protobuf(&metrics);
    for families in [&classic, &openmetrics] {
        let wait = families.iter().find(|family| family.name == "wait_seconds").unwrap();
        assert_eq!((&*wait.kind, wait.samples.len()), ("histogram", 14));
    }
    assert!(strict::names(&classic).contains("jobs_total") && strict::names(&openmetrics).contains("jobs"));
    assert_eq!(openmetrics.iter().find(|family| family.name == "odd_name").unwrap().kind, "unknown");
    assert_eq!(protobuf["jobs_total"].metric[0].counter.as_ref().unwrap().value, 5.0);
    assert_eq!(protobuf["wait_seconds"].metric[0].histogram.as_ref().unwrap().count, 1);
}

#[tokio::test]
async fn a_family_of_two_registries_is_written_in_one_piece_and_each_label_set_once() {
    let theirs = Registry::new();
    let labels = ["method", "route", "status_code"];
    let counter =
        prometheus::IntCounterVec::new(prometheus::Opts::new("http_requests_total", "Theirs."), &labels).unwrap();
    counter.with_label_values(&["GET", "/a", "200"]).inc_by(100);
    counter.with_label_values(&["GET", "/old", "200"]).inc_by(7);
    theirs.register(Box::new(counter)).unwrap();
    let gauge = prometheus::IntGauge::new("http_request_duration_seconds", "Another kind.").unwrap();
    theirs.register(Box::new(gauge)).unwrap();
    let metrics = Metrics::builder().merge(theirs).build().unwrap();
    some_traffic(&metrics).await;
    for families in [strict::classic(&text(&metrics, "text/plain")), strict::openmetrics(&text(&metrics, OPENMETRICS))]
    {
        let requests = families
            .iter()
            .find(|family| family.name.starts_with("http_requests") && family.kind == "counter")
            .unwrap();
        let of = |route: &str| -> f64 {
            let found = requests.samples.iter().find(|s| {
                s.labels["route"] == route && s.labels["status_code"] == "200" && !s.name.ends_with("_created")
            });
            found.unwrap().value
        };
        assert_eq!((of("/a"), of("/old")), (1.0, 7.0), "ours first, then what only they have");
    }
}

#[tokio::test]
async fn the_registrys_own_prefix_and_labels_are_kept() {
    let labels = [("team".to_owned(), "tower \"bells\"".to_owned())].into();
    let registry = Registry::new_custom(Some("app".into()), Some(labels)).unwrap();
    let metrics = Metrics::builder().registry(registry.clone()).build().unwrap();
    some_traffic(&metrics).await;
    let families = strict::classic(&text(&metrics, "text/plain"));
    assert!(families.iter().all(|family| family.name.starts_with("app_")));
    assert!(
        families.iter().flat_map(|family| &family.samples).all(|sample| sample.labels["team"] == "tower \"bells\"")
    );
    assert!(!strict::names(&families).iter().any(|name| name.contains("probe")));
    // The same families and numbers as the registry itself hands out.
    let theirs = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let theirs = strict::classic(&theirs);
    assert_eq!(strict::names(&theirs), strict::names(&families));
    let count = |families: &[strict::Family]| families.iter().map(|family| family.samples.len()).sum::<usize>();
    assert_eq!(count(&theirs), count(&families));
}

#[test]
fn a_name_that_is_taken_is_an_error_at_the_start() {
    let registry = Registry::new();
    let taken = prometheus::IntCounter::new("http_requests_total", "Mine.").unwrap();
    assert!(!taken.desc().is_empty());
    registry.register(Box::new(taken)).unwrap();
    let error = Metrics::builder().registry(registry.clone()).build().unwrap_err();
    assert!(error.is_name_taken());
    let again = Metrics::builder().registry(Registry::new());
    again.clone().build().unwrap();
}

#[cfg(feature = "gzip")]
#[tokio::test]
async fn gzip_is_smaller_and_has_the_same_content() {
    use std::io::Read;
    let metrics = Metrics::builder().without_process().build().unwrap();
    some_traffic(&metrics).await;
    let (plain, zipped) = (metrics.render(None, None), metrics.render(None, Some("gzip, br")));
    assert_eq!((plain.content_encoding, zipped.content_encoding), (None, Some("gzip")));
    assert!(zipped.body.len() * 4 < plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*zipped.body).read_to_string(&mut text).unwrap();
    assert_eq!(text.as_bytes(), plain.body);
}

#[tokio::test]
async fn promtool_has_no_complaint() {
    let metrics = Metrics::builder().names(Names::Both).build().unwrap();
    some_traffic(&metrics).await;
    crate::support::promtool(&["check", "metrics"], Some(&text(&metrics, "text/plain")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_label_value_and_no_help_breaks_a_line(value in ".{0,40}", nasty in "[\\\\\"\n\r{}, #=a]{0,20}", help in "[\\\\\"\n a]{1,12}") {
        let registry = Registry::new();
        let theirs = prometheus::IntGaugeVec::new(prometheus::Opts::new("theirs", help.clone()), &["l"]).unwrap();
        theirs.with_label_values(&[&value]).set(1);
        theirs.with_label_values(&[&nasty]).set(1);
        registry.register(Box::new(theirs)).unwrap();
        let metrics = Metrics::builder().registry(registry).known_routes([value.clone(), nasty.clone()]).build().unwrap();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            for route in [value.clone(), nasty.clone()] {
                call(&metrics, request("GET", ""), |exchange: Exchange| async move {
                    exchange.set_rule_name(route);
                    Ok::<_, Infallible>(Response::new(TestBody::default()))
                }).await;
            }
        });
        for families in [strict::classic(&text(&metrics, "text/plain")), strict::openmetrics(&text(&metrics, OPENMETRICS))] {
            let labels = |family: &str, label: &str| -> Vec<String> {
                let is_it = |found: &&strict::Family| found.name.strip_suffix("_total").unwrap_or(&found.name) == family;
                let family = families.iter().find(is_it).unwrap();
                family.samples.iter().map(|sample| sample.labels[label].clone()).collect()
            };
            prop_assert!(labels("http_requests", "route").contains(&value));
            prop_assert!(labels("theirs", "l").contains(&value) && labels("theirs", "l").contains(&nasty));
            prop_assert_eq!(&families.iter().find(|family| family.name == "theirs").unwrap().help, &help);
        }
    }
}

#[test]
fn a_gauge_and_a_counter_of_one_name_are_two_families_in_openmetrics() {
    let theirs = prometheus::Registry::new();
    for name in ["http_requests", "mails"] {
        theirs.register(Box::new(prometheus::IntGauge::new(name, "Theirs.").unwrap())).unwrap();
    }
    let mails = prometheus::IntCounter::new("mails_total", "Theirs.").unwrap();
    mails.inc();
    theirs.register(Box::new(mails)).unwrap();
    let metrics = Metrics::builder().merge(theirs).build().unwrap();
    let jobs = metrics.counter("jobs_total", "Jobs.", []).unwrap();
    jobs.inc([]);
    assert!(metrics.gauge("jobs", "Jobs.", []).unwrap_err().is_name_taken());
    let render = |accept| String::from_utf8(metrics.render(Some(accept), None).body.to_vec()).unwrap();
    let page = render("application/openmetrics-text;version=1.0.0");
    let families = strict::openmetrics(&page);
    let kind = |name: &str| families.iter().find(|family| family.name == name).map(|family| family.kind.as_str());
    assert_eq!((kind("mails"), kind("mails_total"), kind("jobs")), (Some("gauge"), Some("unknown"), Some("counter")));
    assert!(page.contains("\nmails_total 1.0\n") || page.contains("\nmails_total 1\n"), "{page}");
    strict::classic(&render("text/plain"));
}

#[test]
fn a_name_in_two_places_is_warned_of_once() {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{Layer, layer::SubscriberExt};

    struct Seen(Arc<Mutex<Vec<String>>>);
    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            struct Metric(Option<String>);
            impl tracing::field::Visit for Metric {
                fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                    if field.name() == "metric" {
                        self.0 = Some(value.to_owned());
                    }
                }

                fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
            }
            let mut metric = Metric(None);
            event.record(&mut metric);
            self.0.lock().unwrap().extend(metric.0);
        }
    }
    let (first, second) = (prometheus::Registry::new(), prometheus::Registry::new());
    first.register(Box::new(prometheus::IntCounter::new("http_requests_total", "Theirs.").unwrap())).unwrap();
    first.register(Box::new(prometheus::IntCounter::new("process_threads", "Theirs.").unwrap())).unwrap();
    first.register(Box::new(prometheus::IntGauge::new("twice", "Theirs.").unwrap())).unwrap();
    second.register(Box::new(prometheus::IntCounter::new("twice", "Theirs.").unwrap())).unwrap();
    let metrics = Metrics::builder().merge(first).merge(second).build().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Seen(Arc::clone(&seen)));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            metrics.render(None, None);
        }
    });
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let expected: &[&str] = if cfg!(all(target_os = "linux", not(steeple_os_other))) {
        &["http_requests_total", "process_threads", "twice"]
    } else {
        &["http_requests_total", "twice"]
    };
    assert_eq!(seen, expected);
}
