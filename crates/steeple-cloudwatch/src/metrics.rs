//! Metrics as `PutMetricData`, once a minute.

use std::{
    borrow::Cow,
    fmt,
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use percent_encoding::utf8_percent_encode;
use steeple_export::{
    Answer, DropReason, Endpoint, InDoubt, Pipeline, Protocol, Reason, Request, Response, Retry, Sink, Unauthorized,
};
use steeple_metrics::Metrics;
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{
    Aws, BuildError, Dimension, Unit,
    alarm::{Alarm, AlarmDefinition},
    aws::MONITORING,
    collect::{Scheme, names},
    custom::Custom,
    datum::{Datum, are_dimensions, is_namespace},
    drops::Drops,
    emf::Emf,
    limits::{MAX_DATA, MAX_DIMENSIONS, MAX_REQUEST_BYTES},
    source::{Source, admit, scrub},
};

/// Metrics in CloudWatch: once a minute, everything that a service's metrics know, and what the application puts in. A cheap clone.
///
/// Between two minutes it costs nothing. The metrics are read on a separate thread, as collectors may block.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use steeple_cloudwatch::{Aws, CloudWatch, Credentials, Unit};
/// use steeple_metrics::Metrics;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metrics = Metrics::new()?;
/// let aws = Aws::new("eu-central-1").credentials(Credentials::new("AKIA…", "…"));
/// let cloudwatch = CloudWatch::builder("shop").service("api").environment("production").build(&metrics, &aws)?;
/// cloudwatch.put_metric("OrdersPlaced", 1.0, Unit::Count, &[("Kind", "web")]);
/// cloudwatch.api_latency("GET /orders/{id}", Duration::from_millis(12));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CloudWatch {
    sink: Arc<dyn Sink>,
    custom: Custom,
    drops: Drops,
    namespace: Arc<str>,
    scheme: Arc<Scheme>,
}

/// Options of [`CloudWatch`]. Made by [`CloudWatch::builder`].
#[derive(Clone)]
#[must_use = "options do nothing until they are built"]
pub struct CloudWatchBuilder {
    namespace: String,
    scheme: Scheme,
    interval: Duration,
    scrubber: Scrubber,
    retry: Retry,
}

impl CloudWatchBuilder {
    /// The service's name, as the dimension `Service`. Default: none.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.scheme.service = Some(name.into());
        self
    }

    /// Where it runs, as the dimension `Environment`. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.scheme.environment = Some(name.into());
        self
    }

    /// The dimensions of every metric. Each combination of values is a metric that is paid for. Default: [`Dimension::ALL`].
    pub fn dimensions(mut self, dimensions: impl IntoIterator<Item = Dimension>) -> Self {
        self.scheme.dimensions = dimensions.into_iter().collect();
        self
    }

    /// Labels of families that become dimensions, under their own names. Series that differ in other labels are added up.
    /// Default: `result`.
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.scheme.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Most metrics that are sent of one reading; the least busy routes are left out, and counted. Default: 500.
    pub fn max_metrics(mut self, metrics: usize) -> Self {
        self.scheme.max_metrics = metrics;
        self
    }

    /// How often metrics are sent. Default: a minute, which is what CloudWatch keeps.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Removes secrets from the dimensions that the application puts in. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// How often a request is tried again, and how long after. Default: [`Retry::default`] for up to half an hour.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    fn check(&self) -> Result<(), BuildError> {
        if !is_namespace(&self.namespace) {
            return Err(BuildError::setting(
                "namespace",
                "1 to 255 letters, digits, spaces and `.-_/#:`, not beginning with `:` or `AWS/`",
            ));
        }
        // Four of ours may stand beside them.
        if !are_dimensions(self.scheme.labels.iter().map(String::as_str))
            || self.scheme.labels.len() > MAX_DIMENSIONS - 4
        {
            return Err(BuildError::setting("labels", "at most 26 different labels"));
        }
        if self.interval < Duration::from_secs(1) {
            return Err(BuildError::setting("interval", "at least a second"));
        }
        Ok(())
    }

    /// Starts sending.
    ///
    /// # Errors
    /// [`BuildError::setting_name`] has the unusable setting: `namespace`, `labels`, `interval`; `region`, `credentials`, `endpoint`
    /// and `client` of AWS.
    pub fn build(self, metrics: &Metrics, aws: &Aws) -> Result<CloudWatch, BuildError> {
        self.check()?;
        let connection = aws.connect(&MONITORING)?;
        let source = self.source(metrics);
        let (making, scrubber, namespace) = (source.clone(), self.scrubber.clone(), Arc::<str>::from(&*self.namespace));
        let put =
            Put { endpoint: connection.endpoint.clone(), namespace: Arc::clone(&namespace), source: making, scrubber };
        let pipeline = self.pipeline().batch_bytes(MAX_REQUEST_BYTES.saturating_sub(2_048));
        let pipeline = pipeline
            .build(move || Ok(connection.speak(put.clone())))
            .map_err(|error| BuildError::part("pipeline", error))?;
        Ok(CloudWatch::new(source, Arc::new(pipeline), namespace))
    }

    /// Writes metrics as lines of the embedded metric format instead, for Lambda, Fargate and the CloudWatch agent.
    ///
    /// Latencies have up to 100 values a minute: percentiles and averages are right, their `SampleCount` is not; `Requests` has
    /// it.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_emf(self, metrics: &Metrics, writer: impl Write + Send + 'static) -> Result<CloudWatch, BuildError> {
        self.check()?;
        let source = self.source(metrics);
        let namespace = Arc::<str>::from(&*self.namespace);
        let (making, scrubber) = (source.clone(), self.scrubber.clone());
        let (named, writer) = (Arc::clone(&namespace), Arc::new(Mutex::new(writer)));
        let pipeline = self.pipeline();
        let pipeline = pipeline
            .build(move || Ok(Emf::new(Arc::clone(&named), making.clone(), scrubber.clone(), Arc::clone(&writer))))
            .map_err(|error| BuildError::part("pipeline", error))?;
        Ok(CloudWatch::new(source, Arc::new(pipeline), namespace))
    }

    fn source(&self, metrics: &Metrics) -> Source {
        Source {
            metrics: metrics.clone(),
            scheme: Arc::new(self.scheme.clone()),
            custom: Custom::default(),
            drops: Drops::default(),
            before: Arc::new(Mutex::new(metrics.reading())),
        }
    }

    fn pipeline(&self) -> steeple_export::PipelineBuilder {
        Pipeline::builder("cloudwatch")
            // Half an hour of the most that one minute can have.
            .max_items(40_000)
            .max_bytes(32 << 20)
            .batch_items(MAX_DATA)
            // The data of one tick are all there.
            .batch_delay(Duration::from_millis(200))
            .timeout(Duration::from_secs(10))
            .retry(self.retry)
            // A permission that is being granted takes minutes.
            .unauthorized(Unauthorized::Keep)
            // CloudWatch does not notice duplicates, and a double sum is worse than a gap.
            .in_doubt(InDoubt::Drop)
            .tick(self.interval)
            // Collectors of the application run in a reading, and may block.
            .own_thread()
    }

    /// Alarms for metrics as these options send them.
    ///
    /// # Errors
    /// [`BuildError::setting_name`] is `alarm` where CloudWatch cannot compute what it watches, or `namespace`, `labels` and
    /// `interval` as above.
    pub fn alarms(&self, alarms: &[Alarm]) -> Result<Vec<AlarmDefinition>, BuildError> {
        self.check()?;
        alarms.iter().map(|alarm| alarm.define(&self.namespace, &self.scheme)).collect()
    }
}

impl fmt::Debug for CloudWatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatchBuilder")
            .field("namespace", &self.namespace)
            .field("scheme", &self.scheme)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl CloudWatch {
    /// Options, with a namespace for the metrics: `shop`.
    pub fn builder(namespace: impl Into<String>) -> CloudWatchBuilder {
        CloudWatchBuilder {
            namespace: namespace.into(),
            scheme: Scheme::default(),
            interval: Duration::from_secs(60),
            scrubber: Scrubber::default(),
            retry: Retry::new().max_age(Duration::from_secs(1_800)),
        }
    }

    /// Puts a value in. It is sent with the next minute's metrics, with the dimensions of the service beside its own.
    ///
    /// Never blocks and never fails: a value that CloudWatch does not take is dropped and counted. A minute has room for 1,000
    /// metrics; a metric with more than 600 different values has them rounded to two digits.
    pub fn put_metric(&self, name: impl Into<Cow<'static, str>>, value: f64, unit: Unit, dimensions: &[(&str, &str)]) {
        self.custom.put(name.into(), value, unit, dimensions, &self.drops);
    }

    /// Counts what a user did, as `UserActivity` with the dimension `Activity`: `login`.
    pub fn user_activity(&self, activity: &str) {
        self.put_metric("UserActivity", 1.0, Unit::Count, &[("Activity", activity)]);
    }

    /// The time that a call took, as `Latency` with the dimension `Route`: for calls that no layer measures.
    pub fn api_latency(&self, route: &str, duration: Duration) {
        self.put_metric(names::LATENCY, duration.as_secs_f64(), Unit::Seconds, &[(Dimension::Route.as_str(), route)]);
    }

    /// The part of some operations that failed, from 0 to 1, as `ErrorRate` in percent with the dimension `Operation`.
    pub fn error_rate(&self, operation: &str, ratio: f64) {
        self.put_metric(names::ERROR_RATE, ratio * 100.0, Unit::Percent, &[("Operation", operation)]);
    }

    /// Connections of a pool that are in use, as `DatabaseConnections` with the dimension `Pool`.
    pub fn database_connections(&self, pool: &str, used: u32) {
        self.put_metric(names::CONNECTIONS, f64::from(used), Unit::Count, &[("Pool", pool)]);
    }

    /// The part of a cache's lookups that found something, from 0 to 1, as `CacheHitRate` in percent with the dimension `Cache`.
    pub fn cache_hit_rate(&self, cache: &str, ratio: f64) {
        self.put_metric(names::CACHE_HIT_RATE, ratio * 100.0, Unit::Percent, &[("Cache", cache)]);
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pipeline, to be flushed and shut down with the others of a process. A flush sends what has come since the last minute.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink)
    }

    /// Values that CloudWatch would not have taken, by reason: `not_finite`, `out_of_range`, `invalid_name`, `too_many`. What the
    /// pipeline drops is in the [`sink`](Self::sink)'s stats.
    pub fn dropped(&self) -> Vec<(&'static str, u64)> {
        self.drops.all()
    }

    /// Alarms for these metrics.
    ///
    /// # Errors
    /// [`BuildError::setting_name`] is `alarm` where CloudWatch cannot compute what it watches.
    pub fn alarms(&self, alarms: &[Alarm]) -> Result<Vec<AlarmDefinition>, BuildError> {
        alarms.iter().map(|alarm| alarm.define(&self.namespace, &self.scheme)).collect()
    }
}

impl fmt::Debug for CloudWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatch").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl CloudWatch {
    fn new(source: Source, sink: Arc<dyn Sink>, namespace: Arc<str>) -> Self {
        Self { sink, custom: source.custom, drops: source.drops, namespace, scheme: source.scheme }
    }
}

/// `PutMetricData` of the query protocol, which every implementation of CloudWatch speaks.
#[derive(Clone)]
pub(crate) struct Put {
    endpoint: Endpoint,
    namespace: Arc<str>,
    source: Source,
    scrubber: Scrubber,
}

impl Protocol for Put {
    type Item = Datum;
    type Ready = Datum;

    // Reading a thousand routes takes milliseconds, and so does writing them.
    const OFFLOAD_BYTES: usize = 0;

    fn size(item: &Datum) -> usize {
        item.bytes()
    }

    fn scrub(&mut self, item: Datum) -> Scrubbed<Datum> {
        scrub(&self.scrubber, item)
    }

    fn admit(&mut self, ready: &Datum) -> Result<(), DropReason> {
        admit(ready.at)
    }

    fn encode(&mut self, batch: &[Scrubbed<Datum>]) -> Result<Request, Reason> {
        let mut body = String::from("Action=PutMetricData&Version=2010-08-01&Namespace=");
        body.extend(utf8_percent_encode(&self.namespace, crate::sign::STRICT));
        for (number, datum) in (1_usize..).zip(batch) {
            datum.write(number, &mut body);
        }
        if body.len() > MAX_REQUEST_BYTES {
            return Err("more than CloudWatch takes at once".into());
        }
        let request = Request::post(&self.endpoint).content_type("application/x-www-form-urlencoded; charset=utf-8");
        Ok(request.body(body).gzip())
    }

    fn sign(&mut self, _request: &mut Request, _now: SystemTime) -> Result<(), Reason> {
        Ok(())
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Datum>]) -> Answer {
        // One invalid datum has the whole request rejected, and the answer does not identify it.
        if response.status == http::StatusCode::BAD_REQUEST {
            return Answer::Bisect(crate::aws::AwsError::of(response).reason(response));
        }
        Answer::of(response)
    }

    fn tick(&mut self) -> Vec<Datum> {
        self.source.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus::{
        IntCounter,
        core::{Collector, Desc},
        proto::MetricFamily,
    };
    use steeple_core::clock;
    use steeple_export::test_util::{ExporterSubject, Script, Subject, Turn, check_all, check_exporter};

    use super::*;
    use crate::datum::dimension_value;

    fn source(metrics: &Metrics) -> Source {
        CloudWatch::builder("shop").source(metrics)
    }

    impl Subject for Source {
        type Protocol = Put;

        fn protocol(&self, endpoint: Endpoint) -> Put {
            let (source, scrubber) = (self.clone(), Scrubber::default());
            Put { endpoint, namespace: Arc::from("shop"), source, scrubber }
        }

        fn item(&self, number: usize) -> Datum {
            datum(number)
        }
    }

    fn datum(number: usize) -> Datum {
        let dimensions = vec![("Number".into(), dimension_value(&format!("{number:06}")))];
        let (at, values) = (clock::unix_now(), vec![(1.0, 1.0)]);
        Datum { name: "Orders".into(), dimensions: Arc::new(dimensions), unit: Unit::Count, at, values }
    }

    #[test]
    fn metrics_pass_every_check_of_a_pipeline() {
        check_all(source(&Metrics::new().unwrap()));
    }

    /// A standard output that a test decides on.
    pub(crate) struct Out(Arc<Script>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.0.next() {
                Turn::Holds => self.0.wait(),
                Turn::Breaks => return Err(std::io::ErrorKind::BrokenPipe.into()),
                Turn::Accepts | Turn::Hangs | Turn::Defers | Turn::Refuses | Turn::Forbids | _ => (),
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl ExporterSubject for Source {
        type Exporter = Emf<Out>;
        type Receiver = Arc<Script>;
        const TURNS: &'static [Turn] = &[Turn::Accepts, Turn::Holds, Turn::Breaks];
        const BLOCKS: bool = true;

        fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Arc<Script> {
            Arc::new(Script::new(turn))
        }

        fn exporter(&self, receiver: &Arc<Script>) -> Emf<Out> {
            let writer = Arc::new(Mutex::new(Out(Arc::clone(receiver))));
            Emf::new(Arc::from("shop"), self.clone(), Scrubber::default(), writer)
        }

        fn item(&self, number: usize) -> Datum {
            datum(number)
        }
    }

    #[test]
    fn metrics_in_lines_pass_every_check_of_a_pipeline() {
        check_exporter(source(&Metrics::new().unwrap()));
    }

    #[test]
    fn what_the_application_puts_in_is_scrubbed() {
        let source = source(&Metrics::new().unwrap());
        let card = [("Card", "4111 1111 1111 1111"), ("Query", "password=hunter2")];
        source.custom.put("password=hunter2".into(), 1.0, Unit::Count, &card, &source.drops);
        let datum = source.custom.take(&[], Duration::ZERO).remove(0);
        let shown = format!("{:?}", scrub(&Scrubber::default(), datum).into_inner());
        assert!(!shown.contains("hunter2") && !shown.contains("4111 1111"), "{shown}");
    }

    /// A collector that panics on demand.
    struct Moody(IntCounter, Arc<AtomicBool>);

    impl Collector for Moody {
        fn desc(&self) -> Vec<&Desc> {
            self.0.desc()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            assert!(!self.1.load(Ordering::Relaxed), "a collector that panics");
            self.0.collect()
        }
    }

    #[test]
    fn a_counter_whose_collector_panics_for_a_minute_is_not_counted_twice() {
        let metrics = Metrics::new().unwrap();
        let (counter, panics) = (IntCounter::new("jobs_total", "Jobs.").unwrap(), Arc::new(AtomicBool::new(false)));
        steeple_metrics::prometheus::registry(&metrics)
            .register(Box::new(Moody(counter.clone(), Arc::clone(&panics))))
            .unwrap();
        let source = source(&metrics);
        let jobs = || {
            let data = source.take();
            data.iter().find(|datum| datum.name == "jobs_total").map(|datum| datum.values[0].0)
        };
        counter.inc_by(5);
        assert_eq!(jobs(), Some(5.0));
        counter.inc_by(2);
        panics.store(true, Ordering::Relaxed);
        assert_eq!(jobs(), None);
        panics.store(false, Ordering::Relaxed);
        counter.inc();
        assert_eq!(jobs(), Some(3.0), "both minutes together");
        assert_eq!(jobs(), Some(0.0));
    }

    #[test]
    fn a_restart_is_not_a_step() {
        // Each process starts at zero, and sends what came.
        let sent: f64 = (0..2_u8)
            .map(|_process| {
                let metrics = Metrics::new().unwrap();
                let counter = metrics.counter("orders_total", "Orders.", []).unwrap();
                let source = source(&metrics);
                (0..3_u8)
                    .map(|_minute| {
                        counter.add([], 4);
                        let data = source.take();
                        data.iter()
                            .filter(|datum| datum.name == "orders_total")
                            .map(|datum| datum.values[0].0)
                            .sum::<f64>()
                    })
                    .sum::<f64>()
            })
            .sum();
        assert!((sent - 24.0).abs() < f64::EPSILON, "{sent}");
    }
}
