//! What CloudWatch takes, and where that is written.

/// Metrics of one request.
///
/// # Source
/// CloudWatch API reference, `PutMetricData`; user guide, "CloudWatch service quotas".
pub const MAX_DATA: usize = 1_000;

/// Bytes of one request, before compression.
///
/// # Source
/// CloudWatch API reference, `PutMetricData`: "1 MB in size for HTTP POST requests", which is read here as the smaller of both
/// meanings of MB.
pub const MAX_REQUEST_BYTES: usize = 1_000_000;

/// Different values of one datum.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Values`.
pub const MAX_VALUES: usize = 150;

/// Dimensions of one metric.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Dimensions`.
pub const MAX_DIMENSIONS: usize = 30;

/// Characters of a metric's, a dimension's or a namespace's name.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Dimension`, `PutMetricData`.
pub const MAX_NAME: usize = 255;

/// Characters of a dimension's value.
///
/// # Source
/// CloudWatch API reference, `Dimension`.
pub const MAX_DIMENSION_VALUE: usize = 1_024;

/// The largest number, 2^360; the smallest is its negative.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Value`.
pub const MAX_NUMBER: f64 = 2.348_542_582_773_833_3e108;

/// How old a datum may be: two weeks.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Timestamp`.
pub const MAX_AGE_SECONDS: u64 = 14 * 24 * 3600;

/// How far in the future a datum may be: two hours.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Timestamp`.
pub const MAX_AHEAD_SECONDS: u64 = 2 * 3600;

/// Metrics of one directive of the embedded metric format.
///
/// # Source
/// CloudWatch user guide, "Specification: Embedded Metric Format".
pub const MAX_EMF_METRICS: usize = 100;

/// Values of one metric of the embedded metric format.
///
/// # Source
/// CloudWatch user guide, "Specification: Embedded Metric Format".
pub const MAX_EMF_VALUES: usize = 100;

/// Bytes of a line of the embedded metric format: container runtimes cut lines at 16 KiB, and half a document is invalid.
///
/// # Source
/// Docker, "json-file logging driver"; Kubernetes, container runtime interface, log format.
pub const MAX_EMF_LINE: usize = 15_000;

/// Lines of one request.
///
/// # Source
/// CloudWatch Logs API reference, `PutLogEvents`.
pub const MAX_EVENTS: usize = 10_000;

/// Bytes of the lines of one request, with [`EVENT_OVERHEAD`] for each.
///
/// # Source
/// CloudWatch Logs API reference, `PutLogEvents`.
pub const MAX_EVENTS_BYTES: usize = 1_048_576;

/// What each line counts besides its own bytes.
///
/// # Source
/// CloudWatch Logs API reference, `PutLogEvents`.
pub const EVENT_OVERHEAD: usize = 26;

/// Bytes of one line. Longer ones are cut.
///
/// # Source
/// CloudWatch Logs API reference, `PutLogEvents`: 1 MB since 2025. A batch has room for it alone.
pub const MAX_EVENT_BYTES: usize = MAX_EVENTS_BYTES - EVENT_OVERHEAD;

/// The time between the first and the last line of one request: 24 hours.
///
/// # Source
/// CloudWatch Logs API reference, `PutLogEvents`.
pub const MAX_EVENTS_SPAN_MILLIS: u64 = 24 * 3600 * 1_000;

/// How many days lines can be kept.
///
/// # Source
/// CloudWatch Logs API reference, `PutRetentionPolicy`.
pub const RETENTION_DAYS: [u16; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
