//! The peers, each set up as its README says, and the two stacks that a team assembles from them.

use std::{
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::MatchedPath, middleware::Next, response::Response};
use axum_prometheus::PrometheusMetricLayer;
use http::{HeaderName, Request, header};
use opentelemetry_instrumentation_tower::http::server as otel;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{Sampler, SdkTracerProvider},
};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use sentry_tower::{NewSentryLayer, SentryHttpLayer};
use tower::{Layer, Service};
use tower_http::{
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer},
};
use tracing::{Dispatch, Level};

use crate::{
    rows::{Row, app},
    stacks::Discard,
    workload::{App, Sampled},
};

/// What a team assembles today, each part as its README says.
pub const FULL: &str = "full";
/// The same by someone who knows every option.
pub const FULL_TUNED: &str = "full-tuned";

/// The rows of the peers.
///
/// Their tracer samples one in ten by itself: nothing in their READMEs reads the caller's decision.
pub fn rows() -> Vec<Row> {
    vec![
        Row::new("request-id", request_id),
        Row::new("trace-json", trace_json),
        Row::new("hand-prom", hand_prometheus),
        Row::new("axum-prometheus", |router| app(router.layer(PROMETHEUS.clone()))),
        Row::new("otel-tower", otel_tower).sampled(Sampled::Tenth),
        Row::new("sentry-tower", sentry),
        Row::new(FULL, full).sampled(Sampled::Tenth),
        Row::new(FULL_TUNED, full_tuned).sampled(Sampled::Tenth),
    ]
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Its upkeep is a Tokio task.
static PROMETHEUS: LazyLock<PrometheusMetricLayer<'static>> = LazyLock::new(|| {
    let _entered = RUNTIME.as_ref().map(tokio::runtime::Runtime::enter);
    PrometheusMetricLayer::pair().0
});

static RUNTIME: LazyLock<Option<tokio::runtime::Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok());

fn request_id(router: Router) -> App {
    app(router
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid)))
}

fn trace_json(router: Router) -> App {
    let layer = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    with_subscriber(app(router.layer(layer)))
}

/// What a careful engineer writes by hand: one pair of clock reads, one histogram, one counter.
fn hand_prometheus(router: Router) -> App {
    let labels = ["method", "route", "status"];
    let (Ok(requests), Ok(durations)) = (
        IntCounterVec::new(Opts::new("http_requests_total", "Requests."), &labels),
        HistogramVec::new(HistogramOpts::new("http_request_duration_seconds", "Durations."), &labels),
    ) else {
        return app(router);
    };
    app(router.layer(axum::middleware::from_fn(move |request: Request<Body>, next: Next| {
        let (requests, durations) = (requests.clone(), durations.clone());
        async move { hand_measured(request, next, requests, durations).await }
    })))
}

#[expect(clippy::disallowed_methods, reason = "what is written by hand reads the clock itself")]
async fn hand_measured(
    request: Request<Body>,
    next: Next,
    requests: IntCounterVec,
    durations: HistogramVec,
) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status();
    let labels = [method.as_str(), route, status.as_str()];
    requests.with_label_values(&labels).inc();
    durations.with_label_values(&labels).observe(start.elapsed().as_secs_f64());
    response
}

fn otel_tower(router: Router) -> App {
    LazyLock::force(&OTEL);
    app(router.layer(otel::Layer::new()))
}

/// The process's tracer (one in ten) and meter, exporting into nothing.
static OTEL: LazyLock<()> = LazyLock::new(|| {
    let tracer = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.1))))
        .with_batch_exporter(Discard)
        .build();
    opentelemetry::global::set_tracer_provider(tracer);
    opentelemetry::global::set_meter_provider(SdkMeterProvider::builder().with_periodic_exporter(Discard).build());
});

impl PushMetricExporter for Discard {
    async fn export(&self, _metrics: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn sentry(router: Router) -> App {
    LazyLock::force(&SENTRY);
    app(router.layer(SentryHttpLayer::new()).layer(NewSentryLayer::new_from_top()))
}

/// A client on the main hub whose envelopes go nowhere.
static SENTRY: LazyLock<()> = LazyLock::new(|| {
    struct Nowhere;
    impl sentry_core::Transport for Nowhere {
        fn send_envelope(&self, _envelope: sentry_core::Envelope) {}
        fn flush(&self, _timeout: Duration) -> bool {
            true
        }
    }
    let options = sentry_core::ClientOptions::new()
        .dsn("http://public@127.0.0.1:9/1")
        .transport(|_: &sentry_core::ClientOptions| -> Arc<dyn sentry_core::Transport> { Arc::new(Nowhere) });
    let client = sentry_core::Client::from_config(options);
    sentry_core::Hub::main().bind_client(Some(Arc::new(client)));
});

/// Each as its README says.
fn full(router: Router) -> App {
    LazyLock::force(&OTEL);
    LazyLock::force(&SENTRY);
    let stack = router
        .layer(PROMETHEUS.clone())
        .layer(otel::Layer::new())
        .layer(SentryHttpLayer::new().enable_transaction())
        .layer(NewSentryLayer::new_from_top())
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO).include_headers(true))
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        )
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid));
    with_subscriber(app(stack))
}

/// The same by someone who knows every option: no headers in the span, traces without the second set of metrics.
fn full_tuned(router: Router) -> App {
    LazyLock::force(&OTEL);
    LazyLock::force(&SENTRY);
    let Ok(otel) = otel::LayerBuilder::builder().with_metrics(false).build() else { return app(router) };
    let stack = router
        .layer(PROMETHEUS.clone())
        .layer(otel)
        .layer(SentryHttpLayer::new())
        .layer(NewSentryLayer::new_from_top())
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                .on_request(())
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        )
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid));
    with_subscriber(app(stack))
}

/// Runs a stack with a JSON subscriber that writes into nothing. Scoped, so that the other rows have none.
fn with_subscriber(app: App) -> App {
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::INFO).with_writer(std::io::sink).finish();
    let dispatch = Dispatch::new(subscriber);
    App::new(SubscriberLayer(dispatch).layer(app))
}

#[derive(Clone)]
struct SubscriberLayer(Dispatch);

impl<S> Layer<S> for SubscriberLayer {
    type Service = WithSubscriber<S>;

    fn layer(&self, inner: S) -> WithSubscriber<S> {
        WithSubscriber { inner, dispatch: self.0.clone() }
    }
}

#[derive(Clone)]
struct WithSubscriber<S> {
    inner: S,
    dispatch: Dispatch,
}

impl<S: Service<Request<Body>, Response = Response>> Service<Request<Body>> for WithSubscriber<S>
where
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = tracing::instrument::WithDispatch<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        use tracing::instrument::WithSubscriber as _;
        let inner = &mut self.inner;
        tracing::dispatcher::with_default(&self.dispatch, || inner.call(request)).with_subscriber(self.dispatch.clone())
    }
}
