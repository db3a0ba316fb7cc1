//! Steeple's observers, as the benchmark sets them up.
//!
//! Nothing leaves the process: log lines are written in full and their thread writes them into nothing, spans are handed
//! to an exporter that drops them, a transport that drops stands behind the DSN. The peers' are set up alike.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};
use steeple_alerts::{Alerts, AlertsObserver, Rules};
use steeple_core::{ObserveLayer, Observer, RequestIds};
use steeple_dashboard::{Access, Dashboard, Requests};
use steeple_log::{Format, Log, LogGuard};
use steeple_metrics::{Metrics, push::PushOptions};
use steeple_sentry::Sentry;
use steeple_trace::{Sampling, Trace};
use steeple_transaction::Naming;
use steeple_user::Users;
use tower::Service;

use crate::{
    socket::Sink,
    workload::{App, block_on},
};

/// What `steeple::Steeple` builds with the features `sentry` and `trace` from an environment in which both are configured, in the
/// same order.
pub type Everything = (RequestIds, Naming, Users, Option<Trace>, Option<Sentry>, Log, Metrics);

/// Puts an observer around a router.
pub fn watched(router: Router, observer: impl Observer) -> Router {
    router.layer(ObserveLayer::new(observer))
}

/// A line per exchange, in JSON.
///
/// # Panics
/// When the log cannot be set up.
pub fn log() -> Log {
    static LOG: LazyLock<LogGuard> = LazyLock::new(|| {
        let logging = Log::builder().service_name("shop").without_console().writer(std::io::sink(), Format::Json);
        logging.build().expect("a log into nothing can be built")
    });
    LOG.log()
}

/// Metrics with a registry of their own.
///
/// # Panics
/// When they cannot be built.
pub fn metrics() -> Metrics {
    Metrics::new().expect("a registry of our own holds no families of others")
}

/// Who looks at the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// It is mounted, without viewers.
    Mounted,
    /// One page is open.
    Watched,
}

/// Metrics, and the dashboard's lists of requests. The dashboard stays for as long as the process.
///
/// # Panics
/// When it cannot be built.
pub fn dashboard(page: Page) -> (Metrics, Requests) {
    let (metrics, requests) = (metrics(), Requests::default());
    let options = Dashboard::builder().access(Access::already_protected()).requests(requests.clone());
    let dashboard = options.build(&metrics).expect("its options are all defaults");
    if page == Page::Watched {
        let mut app: App = crate::rows::app(dashboard.routes());
        let request = Request::get("/steeple/stream").body(Body::empty()).expect("a valid request");
        let Ok(mut response) = block_on(app.call(request));
        let first = block_on(response.body_mut().frame());
        assert!(first.is_some_and(|frame| frame.is_ok()), "the stream begins with the whole");
        // The page stays open.
        Box::leak(Box::new(response));
    }
    Box::leak(Box::new(dashboard));
    (metrics, requests)
}

/// Metrics, the rules of [`Rules::mission`] evaluated every ten seconds, and failures counted by group. No channel: no alert
/// leaves the process. They stay for as long as the process.
///
/// # Panics
/// When they cannot be built.
pub fn alerts() -> (Metrics, AlertsObserver) {
    let metrics = metrics();
    let alerts = Alerts::builder().rules(Rules::mission()).build(&metrics).expect("the rules are valid");
    let observer = alerts.observer();
    Box::leak(Box::new(alerts));
    (metrics, observer)
}

/// Metrics that are pushed by OTLP once a second, to a receiver that takes them. Both stay for as long as the process.
///
/// # Panics
/// When they cannot be built.
pub fn otlp_metrics() -> Metrics {
    static SINK: LazyLock<Sink> = LazyLock::new(|| Sink::start().expect("a port of loopback is free"));
    let metrics = metrics();
    let options = PushOptions::otlp(format!("http://127.0.0.1:{}/v1/metrics", SINK.port()), "shop");
    let pusher = options.interval(Duration::from_secs(1)).build(&metrics).expect("the URL is valid");
    Box::leak(Box::new(pusher.spawn().expect("there is room for a thread")));
    metrics
}

/// Metrics that OpenTelemetry's SDK records as well, and collects every minute into nothing. It stays for as long as the process.
///
/// # Panics
/// When they cannot be built.
pub fn sdk_metrics() -> Metrics {
    let provider = SdkMeterProvider::builder().with_periodic_exporter(Discard).build();
    let metrics = Metrics::builder().meter(provider.meter("steeple")).build();
    Box::leak(Box::new(provider));
    metrics.expect("a registry of our own holds no families of others")
}

/// Errors to Sentry: armed, and nothing to tell. All share one client.
///
/// # Panics
/// When it cannot be built.
pub fn errors() -> Sentry {
    static ERRORS: LazyLock<Sentry> = LazyLock::new(new_errors);
    ERRORS.clone()
}

/// The same with another client.
///
/// # Panics
/// When it cannot be built.
pub fn new_errors() -> Sentry {
    struct Nowhere;
    impl sentry_core::Transport for Nowhere {
        fn send_envelope(&self, _envelope: sentry_core::Envelope) {}
        fn flush(&self, _timeout: Duration) -> bool {
            true
        }
    }
    let options = Sentry::builder("http://public@127.0.0.1:9/1")
        .transport(|_: &sentry_core::ClientOptions| -> Arc<dyn sentry_core::Transport> { Arc::new(Nowhere) });
    options.build().expect("the DSN is one")
}

/// Trace context alone: the caller's ids are read, ours are made, handlers and clients can pass them on. No spans.
///
/// # Panics
/// When it cannot be built.
pub fn trace_context() -> Trace {
    Trace::builder().service_name("shop").build().expect("the defaults can be built")
}

/// Traces as the caller samples them, one in ten where there is none.
///
/// # Panics
/// When they cannot be built.
pub fn traces() -> Trace {
    static TRACES: LazyLock<Trace> = LazyLock::new(|| {
        let traces = Trace::builder().service_name("shop").sampling(Sampling::ratio(0.1).parent_based());
        traces.build_with_exporter(Discard).expect("an exporter that drops can be built")
    });
    TRACES.clone()
}

/// Everything that is watched with `trace` and `sentry`.
pub fn everything() -> Everything {
    (RequestIds::new(), Naming::new(), Users::new(), Some(traces()), Some(errors()), log(), metrics())
}

/// Drops what it is given.
#[derive(Debug)]
pub struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

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
