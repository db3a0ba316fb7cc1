//! The peers, each set up as its README says, and the two stacks that a team assembles from them.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::MatchedPath, middleware::Next, response::Response};
use axum_prometheus::PrometheusMetricLayer;
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use http_body::{Frame, SizeHint};
use opentelemetry_instrumentation_tower::http::server as otel;
use opentelemetry_sdk::{
    metrics::SdkMeterProvider,
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
    rows::{BY_HAND, BY_HAND_TO_LAST_BYTE, FULL, FULL_TUNED, Row, app},
    stacks::Discard,
    workload::{App, Sampled},
};

/// The rows of the peers.
///
/// Their tracer samples one in ten by itself: nothing in their READMEs reads the caller's decision.
pub fn rows() -> Vec<Row> {
    vec![
        Row::new("request-id", request_id),
        Row::new("trace-json", trace_json),
        Row::new(BY_HAND, hand_prometheus),
        Row::new(BY_HAND_TO_LAST_BYTE, hand_prometheus_to_last_byte),
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

/// What a careful engineer writes by hand: one pair of clock reads, one histogram, one counter. Until the response's head.
fn hand_prometheus(router: Router) -> App {
    let Some(metrics) = HandMetrics::new() else { return app(router) };
    app(router.layer(axum::middleware::from_fn(move |request: Request<Body>, next: Next| {
        let begun = Begun::new(&metrics, &request);
        async move {
            let response = next.run(request).await;
            begun.record(response.status());
            response
        }
    })))
}

/// The same until the last byte of the body, or until the client is gone: what the numbers of the row `metrics` mean.
fn hand_prometheus_to_last_byte(router: Router) -> App {
    let Some(metrics) = HandMetrics::new() else { return app(router) };
    app(router.layer(axum::middleware::from_fn(move |request: Request<Body>, next: Next| {
        let begun = Begun::new(&metrics, &request);
        async move {
            let (head, body) = next.run(request).await.into_parts();
            let recorder = Recorder { begun, status: head.status };
            Response::from_parts(head, Body::new(ToLastByte { body, recorder: Some(recorder) }))
        }
    })))
}

#[derive(Clone)]
struct HandMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HandMetrics {
    fn new() -> Option<Self> {
        let labels = ["method", "route", "status"];
        Some(Self {
            requests: IntCounterVec::new(Opts::new("http_requests_total", "Requests."), &labels).ok()?,
            durations: HistogramVec::new(HistogramOpts::new("http_request_duration_seconds", "Durations."), &labels)
                .ok()?,
        })
    }
}

/// A request that has begun.
struct Begun {
    start: Instant,
    method: Method,
    route: Option<MatchedPath>,
    metrics: HandMetrics,
}

impl Begun {
    #[expect(clippy::disallowed_methods, reason = "what is written by hand reads the clock itself")]
    fn new(metrics: &HandMetrics, request: &Request<Body>) -> Self {
        Self {
            start: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            metrics: metrics.clone(),
        }
    }

    fn record(&self, status: StatusCode) {
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let labels = [self.method.as_str(), route, status.as_str()];
        self.metrics.requests.with_label_values(&labels).inc();
        self.metrics.durations.with_label_values(&labels).observe(self.start.elapsed().as_secs_f64());
    }
}

/// Records once, when it is dropped.
struct Recorder {
    begun: Begun,
    status: StatusCode,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.begun.record(self.status);
    }
}

/// A body that drops its recorder after the last frame, or with itself.
struct ToLastByte {
    body: Body,
    recorder: Option<Recorder>,
}

impl http_body::Body for ToLastByte {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // A server does not poll a body again that says that it is over.
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.recorder = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
