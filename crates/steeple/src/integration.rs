//! What is there only if a feature asks for it, and on only if a key is configured.

use crate::own_metrics::OwnMetrics;

/// Errors to Sentry: `None` without a DSN, nothing at all without the feature.
#[cfg(feature = "sentry")]
pub type Errors = Option<steeple_sentry::Sentry>;
/// Errors to Sentry: `None` without a DSN, nothing at all without the feature.
#[cfg(not(feature = "sentry"))]
pub type Errors = ();

/// Traces by OTLP: `None` without an endpoint, nothing at all without the feature.
#[cfg(feature = "trace")]
pub type Traces = Option<steeple_trace::Trace>;
/// Traces by OTLP: `None` without an endpoint, nothing at all without the feature.
#[cfg(not(feature = "trace"))]
pub type Traces = ();

/// Adds what Steeple counts of its own work anyway.
pub(crate) fn own_metrics(handle: Option<steeple_log::LogHandle>, log: steeple_log::Log) -> OwnMetrics {
    let mut own = OwnMetrics::default();
    own.add_by("steeple_log_lines_dropped_total", "Log lines that an output could not write.", "output", move || {
        handle.iter().flat_map(steeple_log::LogHandle::losses).map(|loss| (loss.output, loss.lines)).collect()
    });
    own.add(
        "steeple_log_lines_sampled_out_total",
        "Log lines of exchanges that went well and were left out by sampling.",
        move || log.sampled_out(),
    );
    own.add(
        "steeple_observer_panics_total",
        "Observers' hooks that panicked: bugs of observers.",
        steeple_core::observer_panics,
    );
    own
}

/// Adds what became of events.
#[cfg(feature = "sentry")]
pub(crate) fn sentry_metrics(own: &mut OwnMetrics, sentry: steeple_sentry::Sentry) {
    let counts = sentry.clone();
    own.add_by("steeple_sentry_sent_total", "Items that Sentry accepted.", "item", move || {
        let counts = counts.counts();
        vec![("event".to_owned(), counts.events), ("transaction".to_owned(), counts.transactions)]
    });
    own.add_by("steeple_sentry_dropped_total", "Items that did not reach Sentry.", "reason", move || {
        let counts = sentry.counts();
        steeple_sentry::Loss::ALL.iter().map(|loss| (loss.as_str().to_owned(), counts.lost(*loss))).collect()
    });
}

/// Reads `SENTRY_DSN` and the rest of its variables.
#[cfg(feature = "sentry")]
pub(crate) fn sentry_options(
    env: &impl crate::env::Lookup,
) -> Result<Option<steeple_sentry::SentryOptions>, crate::ConfigError> {
    const NAMES: [&str; 4] = ["SENTRY_DSN", "SENTRY_ENVIRONMENT", "SENTRY_RELEASE", "SENTRY_TRACES_SAMPLE_RATE"];
    let mut values = Vec::new();
    for name in NAMES {
        values.push((name, env.text(name)?));
    }
    steeple_sentry::SentryOptions::from_lookup(|name| {
        values.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.clone())
    })
    .map_err(|error| crate::ConfigError::part("Sentry", error))
}

/// Reads the variables of OpenTelemetry's specification. Off, unless one of them names a receiver.
#[cfg(feature = "trace")]
pub(crate) fn trace_options(
    env: &impl crate::env::Lookup,
) -> Result<Option<steeple_trace::TraceBuilder>, crate::ConfigError> {
    use crate::ConfigError;
    const RECEIVERS: [&str; 6] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "NEW_RELIC_LICENSE_KEY",
        "OTEL_TRACES_EXPORTER",
        "OTEL_LOGS_EXPORTER",
    ];
    if env.first(&RECEIVERS)?.is_none() {
        return Ok(None);
    }
    // The names are asked for by the other side, which knows them all; a value that is no text is none there.
    steeple_trace::TraceBuilder::from_env(|name| env.dynamic(name))
        .map(Some)
        .map_err(|error| ConfigError::part("traces", error))
}

/// Starts sending spans. Who the service is, the log and the spans say alike.
#[cfg(feature = "trace")]
pub(crate) fn traces(
    options: Option<steeple_trace::TraceBuilder>,
    service: &crate::env::Service,
    scrubber: &steeple_scrub::Scrubber,
) -> Result<Traces, crate::ConfigError> {
    let Some(mut options) = options else { return Ok(None) };
    if let Some(name) = &service.name {
        options = options.service_name(name);
    }
    if let Some(version) = &service.version {
        options = options.resource("service.version", version);
    }
    if let Some(environment) = &service.environment {
        options = options.resource("deployment.environment.name", environment);
    }
    let traces = options.scrubber(scrubber.clone()).build();
    traces.map(Some).map_err(|error| crate::ConfigError::part("traces", error))
}

/// Exports the events that are written as lines as well: both obey the same filter.
#[cfg(feature = "trace")]
pub(crate) fn logs_layer<S>(
    traces: Option<&steeple_trace::Trace>,
    filter: &str,
) -> impl tracing_subscriber::Layer<S> + Send + Sync + use<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    use tracing_subscriber::{EnvFilter, Layer};
    let layer = traces.and_then(steeple_trace::Trace::logs_layer);
    // Without the layer the filter is still there, for the reason that the layers' place gives.
    let filter = if layer.is_some() { filter } else { "off" };
    // The log has found it to be a filter already, but takes spaces between its items.
    let plain = filter.split(',').map(str::trim).filter(|item| !item.is_empty()).collect::<Vec<_>>().join(",");
    layer.with_filter(EnvFilter::builder().parse(plain).unwrap_or_default())
}

/// Whether lines of exchanges are to be log records as well.
#[cfg(feature = "trace")]
pub(crate) fn exports_logs(traces: &Traces) -> bool {
    traces.as_ref().is_some_and(|traces| traces.logs_layer().is_some())
}

/// Whether lines of exchanges are to be log records as well.
#[cfg(not(feature = "trace"))]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "with traces it is none")]
pub(crate) fn exports_logs(_traces: &Traces) -> bool {
    false
}

/// Adds what became of spans and log records.
#[cfg(feature = "trace")]
pub(crate) fn trace_metrics(own: &mut OwnMetrics, traces: steeple_trace::Trace) {
    let records = traces.clone();
    own.add("steeple_log_records_exported_total", "Log records that the receiver took.", move || {
        records.log_stats().exported
    });
    let records = traces.clone();
    own.add_by(
        "steeple_log_records_dropped_total",
        "Log records that did not reach the receiver.",
        "reason",
        move || {
            let stats = records.log_stats();
            vec![("queue_full".to_owned(), stats.lost_queue_full), ("export".to_owned(), stats.lost_in_export)]
        },
    );
    let counts = traces.clone();
    own.add("steeple_spans_exported_total", "Spans that the receiver took.", move || counts.stats().exported);
    own.add_by("steeple_spans_dropped_total", "Spans that did not reach the receiver.", "reason", move || {
        let stats = traces.stats();
        vec![
            ("queue_full".to_owned(), stats.lost_queue_full),
            ("export".to_owned(), stats.lost_in_export),
            ("memory".to_owned(), stats.lost_held),
        ]
    });
}

/// Starts sending, where a DSN says whereto. Who the service is, is said to Sentry as well, unless it was told otherwise.
#[cfg(feature = "sentry")]
pub(crate) fn sentry(
    options: Option<steeple_sentry::SentryOptions>,
    service: &crate::env::Service,
    scrubber: &steeple_scrub::Scrubber,
    own: &mut OwnMetrics,
) -> Result<Errors, crate::ConfigError> {
    let Some(mut options) = options else { return Ok(None) };
    if let Some(environment) = &service.environment {
        options = options.environment_or(environment.clone());
    }
    match (&service.name, &service.version) {
        (Some(name), Some(version)) => options = options.release_or(format!("{name}@{version}")),
        (None, Some(version)) => options = options.release_or(version.clone()),
        (_, None) => (),
    }
    let sentry = options
        .scrubber(scrubber.clone())
        .build()
        .map_err(|error| crate::ConfigError::part("Sentry", error))?
        .install();
    sentry_metrics(own, sentry.clone());
    Ok(Some(sentry))
}
