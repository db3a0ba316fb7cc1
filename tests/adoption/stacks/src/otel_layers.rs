//! OpenTelemetry's own tower layers with Steeple's beside them, then Steeple's alone: each row of the migration page's table is seen
//! on both sides. The row about an exporter, a batch processor and a provider in `main` is seen on their side by
//! `tests/adoption/otlp-defaults`, and on Steeple's here.

use std::{
    collections::BTreeMap,
    error::Error,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{HeaderMap, Request, Uri},
    routing::get,
};
use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use opentelemetry::{
    metrics::MeterProvider,
    trace::{SpanKind, TracerProvider},
};
use opentelemetry_instrumentation_tower::http::server::Layer as OtelLayer;
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, SdkMeterProvider,
        data::{AggregatedMetrics, Metric, MetricData},
    },
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use steeple::{
    Steeple,
    trace::{ResponseHeader, Trace},
};
use tower::ServiceExt;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;

use crate::{Outcome, page::Rows};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PATH: &str = "/users/7?token=hunter2hunter2&sig=c2lnbmF0dXJl&page=2";
const CALLER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// What the scrubber removes wherever it stands: a token in a path.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Their scope, and that of `tracing-opentelemetry`.
const THEIRS: [&str; 2] = ["opentelemetry-instrumentation-tower", "shop"];
/// Set for the process that sends by the variables of the specification.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

fn routes() -> Router {
    Router::new()
        .route("/users/{id}", get(async || "Ann"))
        .route("/never", get(async || std::future::pending::<&str>().await))
}

/// A request of a caller with a trace, its answer read to the end.
async fn ask(app: &Router, path: &str) -> Result<HeaderMap> {
    let request = Request::get(path).header("traceparent", format!("00-{CALLER}-00f067aa0ba902b7-01"));
    let response = app.clone().oneshot(request.body(Body::empty())?).await?;
    let headers = response.headers().clone();
    assert_eq!(to_bytes(response.into_body(), 1024).await?, "Ann");
    Ok(headers)
}

/// A request whose client goes away.
async fn ask_and_go(app: &Router) -> Outcome {
    let request = Request::get("/never").body(Body::empty())?;
    let waited = tokio::time::timeout(Duration::from_millis(20), app.clone().oneshot(request)).await;
    assert!(waited.is_err(), "it never answers");
    Ok(())
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

/// The server spans of both, by who made them: `(theirs, ours)`.
fn by_scope(spans: Vec<SpanData>) -> (Vec<SpanData>, Vec<SpanData>) {
    let server = spans.into_iter().filter(|span| span.span_kind == SpanKind::Server);
    // Steeple's goes through `tracing-opentelemetry` where the subscriber has it, and has the scope of the team's tracer then.
    let is_ours = |span: &SpanData| attribute(span, "target").as_deref() == Some("steeple_trace");
    server.partition(|span| THEIRS.contains(&span.instrumentation_scope.name()) && !is_ours(span))
}

struct Observed {
    spans: InMemorySpanExporter,
    tracer: SdkTracerProvider,
    numbers: InMemoryMetricExporter,
    meter: SdkMeterProvider,
    trace: Trace,
    steeple: Steeple,
}

pub async fn run() -> Outcome {
    if std::env::var_os(ENDPOINT).is_some() {
        return sends_by_variables().await;
    }
    let (spans, numbers) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
    let tracer = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let meter = SdkMeterProvider::builder().with_periodic_exporter(numbers.clone()).build();
    opentelemetry::global::set_tracer_provider(tracer.clone());
    opentelemetry::global::set_meter_provider(meter.clone());
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let trace = Trace::builder().build_with_provider(&tracer)?;
    let of_steeple = meter.meter("steeple");
    let steeple = Steeple::builder().without_log_setup().metrics(|metrics| metrics.meter(of_steeple)).build()?;
    let observed = Observed { spans, tracer, numbers, meter, trace, steeple };

    let mut rows = Rows::of(include_str!("../../../../docs/migrate-opentelemetry.md"));
    observed.side_by_side(&mut rows).await?;
    observed.canceled(&mut rows).await?;
    observed.of_tracing(&mut rows).await?;
    observed.metrics(&mut rows).await?;
    observed.alone().await?;
    by_variables(&mut rows).await?;
    rows.end();
    Ok(())
}

impl Observed {
    /// The server spans since this was last asked: `(theirs, ours)`.
    fn take(&self) -> Result<(Vec<SpanData>, Vec<SpanData>)> {
        let spans = self.spans.get_finished_spans()?;
        self.spans.reset();
        Ok(by_scope(spans))
    }

    /// The one server span of each.
    fn pair(&self) -> Result<[SpanData; 2]> {
        let (mut theirs, mut ours) = self.take()?;
        assert_eq!((theirs.len(), ours.len()), (1, 1), "{theirs:#?} {ours:#?}");
        Ok([theirs.remove(0), ours.remove(0)])
    }

    fn both(&self) -> Router {
        routes().layer(OtelLayer::new()).layer(self.steeple.layer()).layer(self.trace.layer())
    }

    async fn side_by_side(&self, rows: &mut Rows) -> Outcome {
        ask(&self.both(), PATH).await?;
        let pair = self.pair()?;
        rows.observed(
            "`opentelemetry_instrumentation_tower::http::server::Layer::new()`",
            "`trace.layer()`, or `steeple.layer()` with the feature `trace`",
        );
        for span in &pair {
            assert_eq!((&*span.name, &span.span_kind), ("GET /users/{id}", &SpanKind::Server), "{span:#?}");
            assert_eq!(span.span_context.trace_id().to_string(), CALLER, "{span:#?}");
        }
        rows.observed("span `GET /users/{id}`, kind `SERVER`", "the same name and kind");

        let of_both = |key: &str| pair.each_ref().map(|span| attribute(span, key));
        for key in ["http.request.method", "http.route", "http.response.status_code", "url.path"] {
            let [theirs, ours] = of_both(key);
            assert!(theirs.is_some() && ours == theirs, "{key}: {theirs:?}, {ours:?}");
        }
        let scheme = of_both("url.scheme");
        let [theirs, ours] = of_both("url.query").map(Option::unwrap_or_default);
        ask(&self.both(), &format!("/users/{TOKEN}")).await?;
        let [shown, removed] = self.pair()?.map(|span| attribute(&span, "url.path").unwrap_or_default());
        assert_eq!(shown, format!("/users/{TOKEN}"));
        assert!(removed.starts_with("/users/") && !removed.contains(TOKEN), "{removed}");
        rows.observed(
            "`http.request.method`, `http.route`, `http.response.status_code`, `url.path`",
            "the same values; a secret in a path is removed",
        );

        assert_eq!(scheme, [Some(String::new()), Some("http".to_owned())]);
        rows.observed("`url.scheme`, empty for HTTP/1, whose request line has none", "`http` or `https`");

        assert_eq!(theirs, "token=hunter2hunter2&sig=REDACTED&page=2");
        assert_eq!(ours, "token=[redacted:key]&sig=[redacted:key]&page=2");
        rows.observed("`url.query` as it came, but for some names such as `sig`", "scrubbed: `token=[redacted:key]`");
        Ok(())
    }

    async fn canceled(&self, rows: &mut Rows) -> Outcome {
        ask_and_go(&self.both()).await?;
        let error = self.pair()?.map(|span| attribute(&span, "error.type"));
        assert_eq!(error, [None, Some("cancelled".to_owned())]);
        rows.observed("a span without `error.type` when the client is gone", "ends with `error.type=\"cancelled\"`");
        Ok(())
    }

    /// The layers over `tracing`'s spans.
    async fn of_tracing(&self, rows: &mut Rows) -> Outcome {
        let layer = tracing_opentelemetry::layer().with_tracer(self.tracer.tracer(THEIRS[1]));
        let subscriber = tracing_subscriber::registry().with(layer);
        let header = |header| Trace::builder().response_header(header).build_with_provider(&self.tracer);
        let theirs = routes().layer(OtelInResponseLayer).layer(OtelAxumLayer::default());
        let both = theirs.layer(header(ResponseHeader::TraceResponse)?.layer());
        let headers = ask(&both, PATH).with_subscriber(subscriber).await?;
        let [theirs, ours] = self.pair()?;
        for span in [&theirs, &ours] {
            assert_eq!((&*span.name, &span.span_kind), ("GET /users/{id}", &SpanKind::Server), "{span:#?}");
            assert_eq!(span.span_context.trace_id().to_string(), CALLER, "{span:#?}");
            assert_eq!(span.instrumentation_scope.name(), THEIRS[1], "the page says so below the table");
        }
        let of = |span: &SpanData| format!("00-{CALLER}-{}-01", span.span_context.span_id());
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(value("traceparent"), of(&theirs), "{headers:?}");
        assert_eq!(value("traceresponse"), of(&ours), "{headers:?}");

        let timed = routes().layer(header(ResponseHeader::ServerTiming)?.layer());
        let headers = ask(&timed, PATH).await?;
        let (_, spans) = self.take()?;
        let wanted = format!("traceparent;desc=\"{}\"", of(&spans[0]));
        assert_eq!(headers.get("server-timing").ok_or("the header")?, &*wanted);
        rows.observed(
            "`OtelAxumLayer`, `OtelInResponseLayer` with `traceparent` on the answer",
            "the same layer as above; `TraceBuilder::response_header` with `traceresponse` or `server-timing`",
        );
        Ok(())
    }

    /// All requests so far were seen by both meters: two that were answered, and one whose client went away.
    async fn metrics(&self, rows: &mut Rows) -> Outcome {
        self.meter.force_flush()?;
        let all = self.numbers.get_finished_metrics()?;
        let last = all.last().ok_or("metrics were collected")?;
        let of = |scope: &str, name: &str| {
            let scopes = last.scope_metrics().filter(|metrics| metrics.scope().name() == scope);
            scopes.flat_map(|metrics| metrics.metrics()).find(|metric| metric.name() == name)
        };
        let duration = "http.server.request.duration";
        let theirs = counts(of(THEIRS[0], duration).ok_or("theirs")?);
        let ours = counts(of("steeple", duration).ok_or("ours")?);
        let answered = "GET /users/{id} 200".to_owned();
        assert_eq!(theirs, BTreeMap::from([(answered.clone(), 2)]), "one that was dropped is not in it");
        assert_eq!(ours.get(&answered), Some(&2), "{ours:?}");
        assert_eq!(ours.values().sum::<u64>(), 3, "{ours:?}");

        let active = of(THEIRS[0], "http.server.active_requests").ok_or("theirs")?;
        let AggregatedMetrics::I64(MetricData::Sum(sum)) = active.data() else { return Err("a sum".into()) };
        assert_eq!(sum.data_points().map(|point| point.value()).sum::<i64>(), 1, "the request that was dropped");
        let page = String::from_utf8(self.steeple.metrics().render(None, None).body.to_vec())?;
        let in_flight = page.lines().find(|line| line.starts_with("http_requests_in_flight")).ok_or("the gauge")?;
        assert!(in_flight.ends_with(" 0"), "{in_flight}");
        rows.observed(
            "`http.server.active_requests`, which leaks when requests are dropped",
            "`http_requests_in_flight`, exact",
        );
        Ok(())
    }

    /// Steeple's alone: the caller's trace goes on.
    async fn alone(&self) -> Outcome {
        ask(&routes().layer(self.trace.layer()), PATH).await?;
        let (theirs, ours) = self.take()?;
        assert_eq!((theirs.len(), ours.len()), (0, 1));
        assert_eq!(ours[0].span_context.trace_id().to_string(), CALLER);
        assert_eq!(ours[0].parent_span_id.to_string(), "00f067aa0ba902b7");
        assert!(!format!("{ours:?}").contains("hunter2"), "{ours:#?}");
        Ok(())
    }
}

/// How many requests a histogram has of each `method route status`.
fn counts(metric: &Metric) -> BTreeMap<String, u64> {
    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else { return BTreeMap::new() };
    let mut counts = BTreeMap::new();
    for point in histogram.data_points() {
        let named = |key: &str| {
            let pair = point.attributes().find(|pair| pair.key.as_str() == key);
            pair.map_or_else(String::new, |pair| pair.value.to_string())
        };
        let key = ["http.request.method", "http.route", "http.response.status_code"].map(named).join(" ");
        *counts.entry(key).or_default() += point.count();
    }
    counts
}

/// The process that this starts has no exporter, processor or provider in its `main`.
async fn by_variables(rows: &mut Rows) -> Outcome {
    type Bodies = Arc<Mutex<Vec<(String, Bytes)>>>;
    let bodies = Bodies::default();
    let keeps = async |State(bodies): State<Bodies>, uri: Uri, body: Bytes| {
        bodies.lock().unwrap_or_else(PoisonError::into_inner).push((uri.path().to_owned(), body));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let receiver = Router::new().fallback(keeps).with_state(Arc::clone(&bodies));
    let served = tokio::spawn(async move { axum::serve(listener, receiver).await });
    let mut service = Command::new(std::env::current_exe()?);
    service.arg("otel-layers").env(ENDPOINT, endpoint).env("OTEL_METRICS_EXPORTER", "otlp");
    let status = tokio::task::spawn_blocking(move || service.status()).await??;
    assert!(status.success(), "the service: {status}");
    served.abort();
    let bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |path: &str, text: &str| {
        bodies.iter().any(|(of, body)| of == path && String::from_utf8_lossy(body).contains(text))
    };
    assert!(has("/v1/metrics", "http.server.request.duration"), "{bodies:?}");
    rows.observed(
        "`http.server.request.duration` by the SDK's meter provider",
        "`MetricsBuilder::meter(meter)` (feature `otel`), or `OTEL_METRICS_EXPORTER=otlp` with the feature `push`",
    );
    assert!(has("/v1/traces", "GET /users/{id}"), "{bodies:?}");
    rows.observed(
        "an exporter, a batch processor and a provider in `main`",
        "the variables of OpenTelemetry's specification; flushed at the end",
    );
    Ok(())
}

/// The process that is started with the variables.
async fn sends_by_variables() -> Outcome {
    let steeple = Steeple::builder_from_env()?.without_log_setup().build()?;
    ask(&routes().layer(steeple.layer()), PATH).await?;
    let closed = tokio::task::spawn_blocking(move || steeple.close()).await?;
    assert!(closed.is_complete(), "{closed:?}");
    Ok(())
}
