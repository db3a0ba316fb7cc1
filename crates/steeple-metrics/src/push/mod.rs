//! Metrics without a scraper: pushed to a Pushgateway, written to Prometheus, or sent by OTLP or to New Relic's Metric API.
//!
//! A push carries everything, and everything is cumulative (or, with [`Temporality::Delta`], counted from the last push that
//! arrived): the next push carries what one that failed would have. So nothing
//! is tried twice, nothing piles up, and a receiver that is down costs only its own samples.
//!
//! Pushes go out through `steeple-export`: `https` needs the feature `tls-ring` or `tls-aws-lc`.

mod newrelic;
mod otlp;
mod protocol;
mod remote_write;

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use steeple_core::clock;
use steeple_export::{
    Answer, Client, ClientBuilder, DropReason, Endpoint, Exporter, Flush, FlushReport, Http, Pipeline, Reason, Retry,
    Sink, Stats,
};

pub use self::otlp::{HistogramKind, Temporality};
use self::{
    otlp::OtlpStyle,
    protocol::{Body, PushProtocol, Target},
};
use crate::{
    BuildError, Metrics,
    encode::{Kind, Meta},
    family::Family,
};

/// Where metrics are pushed to, and how. Becomes a [`Pusher`].
#[derive(Clone)]
#[must_use = "options do nothing until they are built"]
pub struct PushOptions {
    kind: PushKind,
    otlp: OtlpStyle,
    endpoint: String,
    labels: Vec<(String, String)>,
    headers: HeaderMap,
    interval: Duration,
    timeout: Duration,
    http: ClientBuilder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PushKind {
    Pushgateway,
    RemoteWrite,
    Otlp,
    NewRelic,
}

impl PushKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pushgateway => "pushgateway",
            Self::RemoteWrite => "remote_write",
            Self::Otlp => "otlp",
            Self::NewRelic => "newrelic",
        }
    }
}

impl PushOptions {
    /// A Pushgateway, such as `http://127.0.0.1:9091`, for jobs that end before they are scraped. Each push replaces what
    /// this job has there.
    pub fn pushgateway(url: impl Into<String>, job: impl Into<String>) -> Self {
        Self::new(PushKind::Pushgateway, url.into(), job.into())
    }

    /// Remote write 1.0, such as `http://127.0.0.1:9090/api/v1/write`: to Prometheus and to what speaks its protocol.
    /// Histograms go as classic buckets.
    pub fn remote_write(url: impl Into<String>, job: impl Into<String>) -> Self {
        Self::new(PushKind::RemoteWrite, url.into(), job.into())
    }

    /// OTLP over HTTP with protobuf, such as `http://127.0.0.1:4318/v1/metrics`: to a collector and to what speaks its
    /// protocol. `service` is the `service.name` of the resource.
    ///
    /// The families of OpenTelemetry's conventions have their names there ([`Names::Both`](crate::Names::Both) and
    /// [`Names::OpenTelemetry`](crate::Names::OpenTelemetry)): `http.server.request.duration` with `http.route`. All others have the
    /// names of `/metrics`. Exemplars go along.
    #[doc(alias = "opentelemetry")]
    pub fn otlp(url: impl Into<String>, service: impl Into<String>) -> Self {
        let mut options = Self::new(PushKind::Otlp, url.into(), "otlp".to_owned());
        options.otlp.resource.push(("service.name".to_owned(), service.into()));
        options.interval = Duration::from_secs(60);
        options
    }

    /// New Relic's Metric API, such as `https://metric-api.newrelic.com/metric/v1`, for where metrics do not go there by
    /// OTLP. `service` is the attribute `service.name`; a license key that cannot be a header makes [`build`](Self::build)
    /// fail.
    ///
    /// Counters are counts since the push before that arrived. Histograms are summaries: count, sum, and as least and
    /// greatest value the bounds of the buckets that grew; for percentiles use OTLP. Names are those of `/metrics`. Labels
    /// with a name that New Relic keeps for itself (`count`, `value`, …) are `label_count`.
    ///
    /// # Source
    /// New Relic, "Report metrics via the Metric API".
    pub fn new_relic(url: impl Into<String>, license_key: impl AsRef<str>, service: impl Into<String>) -> Self {
        let mut options = Self::new(PushKind::NewRelic, url.into(), "newrelic".to_owned());
        options.otlp.resource.push(("service.name".to_owned(), service.into()));
        options.interval = Duration::from_secs(60);
        options.http = Client::builder();
        match HeaderValue::from_str(license_key.as_ref()) {
            Ok(key) if !key.is_empty() => options.header(HeaderName::from_static("api-key"), key),
            Ok(_) | Err(_) => options,
        }
    }

    /// Adds an attribute of the resource, for [`otlp`](Self::otlp) and [`new_relic`](Self::new_relic):
    /// `deployment.environment.name`.
    pub fn resource(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.otlp.resource.push((key.into(), value.into()));
        self
    }

    /// [`resource`](Self::resource), unless the attribute is set to something already.
    pub fn resource_or(mut self, key: &str, value: &str) -> Self {
        match self.otlp.resource.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) if known.is_empty() => value.clone_into(known),
            Some(_) => (),
            None => self.otlp.resource.push((key.to_owned(), value.to_owned())),
        }
        self
    }

    /// Whether it goes with attributes of the service: [`otlp`](Self::otlp), [`new_relic`](Self::new_relic).
    pub fn has_resource(&self) -> bool {
        matches!(self.kind, PushKind::Otlp | PushKind::NewRelic)
    }

    /// Whether this is [`otlp`](Self::otlp).
    pub fn is_otlp(&self) -> bool {
        self.kind == PushKind::Otlp
    }

    /// Host and port of the receiver, without credentials.
    pub fn host(&self) -> &str {
        let url = self.endpoint.split_once("://").map_or(&*self.endpoint, |(_, rest)| rest);
        let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// Whether counters and histograms count from the start or from the push before, for [`otlp`](Self::otlp). Default:
    /// cumulative.
    pub fn temporality(mut self, temporality: Temporality) -> Self {
        self.otlp.temporality = temporality;
        self
    }

    /// How histograms are sent, for [`otlp`](Self::otlp). Default: with explicit bounds.
    pub fn histograms(mut self, kind: HistogramKind) -> Self {
        self.otlp.histograms = kind;
        self
    }

    fn new(kind: PushKind, endpoint: String, job: String) -> Self {
        Self {
            kind,
            otlp: OtlpStyle::default(),
            endpoint,
            labels: vec![("job".to_owned(), job)],
            headers: HeaderMap::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            http: Client::builder().allow_plain_http(),
        }
    }

    /// A label that identifies this process, such as `instance`.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// A header, such as `authorization`. It is never shown.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// How often a [spawned](Pusher::spawn) pusher pushes. Default: 15 s, by OTLP and to New Relic 60 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long a push may take. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Changes how the receiver is reached: proxies, certificates. Other than for other sinks, plain `http` to another machine
    /// is allowed: Pushgateways seldom have TLS.
    #[doc(alias = "proxy")]
    #[doc(alias = "ca_file")]
    pub fn http(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.http = change(self.http);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError::is_endpoint`] for an invalid URL, one that has credentials in it (a header is the place for those), or is
    /// one that the client cannot speak to; [`BuildError::is_name`] for a label that Prometheus does not allow;
    /// [`BuildError::is_push`] for a job without a name, a label that is set twice, an interval of 0, or a license key that
    /// is none.
    pub fn build(self, metrics: &Metrics) -> Result<Pusher, BuildError> {
        let unusable = || BuildError::endpoint(if self.endpoint.contains('@') { "[redacted]" } else { &self.endpoint });
        let is_name = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        };
        if let Some((name, _)) = self.labels.iter().find(|(name, _)| !is_name(name) || name.starts_with("__")) {
            return Err(BuildError::name(name));
        }
        let is_twice = |name: &str| self.labels.iter().filter(|(other, _)| other == name).count() > 1;
        if self.labels.iter().any(|(name, _)| is_twice(name)) {
            return Err(BuildError::push("each label of a push may be set once; `job` is set already"));
        }
        if self.labels.iter().any(|(name, job)| name == "job" && ["", ".", ".."].contains(&&**job)) {
            return Err(BuildError::push("the job of a push must have a name other than `.` and `..`"));
        }
        if self.kind == PushKind::NewRelic && !self.headers.contains_key("api-key") {
            return Err(BuildError::push("New Relic wants an ingest license key: letters and digits"));
        }
        if self.interval.is_zero() {
            return Err(BuildError::push("the interval between pushes must be above zero"));
        }
        let mut url = self.endpoint.trim_end_matches('/').to_owned();
        if self.kind == PushKind::Pushgateway {
            url.push_str("/metrics");
            for (name, value) in &self.labels {
                url.push('/');
                url.push_str(&grouping(name, value));
            }
        }
        if self.endpoint.contains('@') {
            return Err(unusable());
        }
        let endpoint = Endpoint::parse(&url).map_err(|_invalid| unusable())?;
        let agent = Client::builder().user_agent(concat!("steeple-metrics/", env!("CARGO_PKG_VERSION")));
        let client = self.http.or(&agent).build().map_err(|_no_tls| unusable())?;
        client.check(&endpoint).map_err(|_no_tls| unusable())?;
        let target = Target {
            metrics: metrics.clone(),
            kind: self.kind,
            endpoint,
            headers: self.headers,
            labels: self.labels,
            otlp: self.otlp,
            start_nanos: OnceLock::new(),
            sent: Mutex::default(),
            counts: Mutex::default(),
            pushes: metrics.pushes(),
            waiting: AtomicUsize::new(0),
            is_ending: AtomicBool::new(false),
        };
        Ok(Pusher { target: Arc::new(target), client, interval: self.interval, timeout: self.timeout })
    }
}

impl fmt::Debug for PushOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushOptions")
            .field("kind", &self.kind)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// One pair of a Pushgateway's path.
fn grouping(name: &str, value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    // Dots alone would be taken for a step in the path.
    if !["", ".", ".."].contains(&value) && value.bytes().all(plain) {
        format!("{name}/{value}")
    } else {
        format!("{name}@base64/{}", base64(value))
    }
}

/// Base64 for URLs; a single `=` for nothing at all, as a path needs something there.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..=chunk.len() {
            let shift = 18_usize.saturating_sub(digit.saturating_mul(6));
            let index = usize::try_from((bits >> shift) & 63).unwrap_or(0);
            out.extend(DIGITS.get(index).map(|digit| char::from(*digit)));
        }
    }
    if out.is_empty() { "=".to_owned() } else { out }
}

/// Pushes metrics: once, or again and again.
pub struct Pusher {
    target: Arc<Target>,
    client: Client,
    interval: Duration,
    timeout: Duration,
}

/// A push that did not get through.
#[derive(Debug)]
pub struct PushError {
    cause: DropReason,
    why: Reason,
}

impl PushError {
    fn new(cause: DropReason, why: impl Into<Reason>) -> Self {
        Self { cause, why: why.into() }
    }

    /// Why, as the label `result` has it.
    pub fn cause(&self) -> DropReason {
        self.cause
    }

    /// Why, for people: what the receiver answered, scrubbed and cut.
    pub fn reason(&self) -> &str {
        self.why.as_str()
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metrics could not be pushed: {}", self.why)
    }
}

impl std::error::Error for PushError {}

impl Pusher {
    /// Pushes once. For a job: at its end. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the receiver does not answer in time, or does not take it, or a collector panics. The next push carries what this
    /// one would have.
    pub async fn push(&self) -> Result<(), PushError> {
        let mut push = pin!(self.try_push());
        poll_fn(|cx| {
            // A collector that panics fails this push, and no other.
            let polled = catch_unwind(AssertUnwindSafe(|| push.as_mut().poll(cx)));
            polled.unwrap_or_else(|_panic| {
                self.target.count(DropReason::Panicked.as_str());
                Poll::Ready(Err(PushError::new(DropReason::Panicked, "a collector panicked")))
            })
        })
        .await
    }

    async fn try_push(&self) -> Result<(), PushError> {
        let bodies = self.target.bodies();
        let mut result =
            if bodies.is_complete { Ok(()) } else { Err(PushError::new(DropReason::Panicked, "a collector panicked")) };
        for body in bodies.bodies {
            let sent = body.sent.clone();
            match self.send(body).await {
                Ok(()) => self.target.arrived(sent.as_ref()),
                // These series are refused; others may be taken.
                Err(error) if error.cause == DropReason::Rejected => result = result.and(Err(error)),
                Err(error) => return Err(error),
            }
        }
        result
    }

    async fn send(&self, body: Body) -> Result<(), PushError> {
        let mut exporter = Http::new(self.client.clone(), PushProtocol::new(&self.target));
        let batch = [exporter.scrub(body)];
        let deadline = clock::now().checked_add(self.timeout).unwrap_or_else(clock::now);
        let answer = match exporter.prepare(&batch) {
            Err(why) => Answer::Rejected { cause: DropReason::Internal, why },
            Ok(()) => match tokio::time::timeout(self.timeout, exporter.export(&batch, deadline)).await {
                Ok(answer) => exporter.conclude(&batch, answer),
                Err(_elapsed) => Answer::retry(DropReason::Network, "the push timed out"),
            },
        };
        let result = match answer {
            Answer::Accepted | Answer::Items(_) => Ok(()),
            Answer::Retry { cause, why, .. } | Answer::Rejected { cause, why } => Err(PushError { cause, why }),
            Answer::TooLarge => Err(PushError::new(DropReason::TooLarge, "the receiver takes less")),
            Answer::Bisect(why) => Err(PushError { cause: DropReason::Rejected, why }),
            Answer::InDoubt(why) => Err(PushError { cause: DropReason::InDoubt, why }),
            Answer::Paused(why) => Err(PushError { cause: DropReason::Unauthorized, why }),
            Answer::Disabled(why) => Err(PushError { cause: DropReason::Disabled, why }),
            _ => Err(PushError::new(DropReason::Internal, "an answer that is not known")),
        };
        self.target.count(result.as_ref().map_or_else(|error| error.cause.as_str(), |()| "ok"));
        result
    }

    /// Pushes now and then, on its own thread, as collectors may block. What it returns is a [`Sink`]: shut down, it pushes
    /// a last time; a remote write then marks every series as stale, so that it ends now and not in five minutes.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn spawn(self) -> Result<Push, steeple_export::BuildError> {
        let Self { target, client, interval, timeout } = self;
        let making = Arc::clone(&target);
        let pipeline = Pipeline::builder("metrics_push")
            .max_items(MAX_WAITING)
            .max_bytes(MAX_WAITING_BYTES)
            .batch_items(1)
            .timeout(timeout)
            .retry(Retry::never())
            .tick(interval)
            .own_thread()
            .build(move || {
                // After a panic, nothing from before waits any more.
                making.waiting.store(0, Relaxed);
                Ok(Http::new(client.clone(), PushProtocol::new(&making)))
            })?;
        Ok(Push { pipeline, target })
    }
}

/// Most requests of one push: two million series.
const MAX_WAITING: usize = 1_000;

/// Most bytes of one push, compressed where it is a remote write.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher")
            .field("kind", &self.target.kind)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Pushes now and then: made by [`Pusher::spawn`]. A cheap clone. Dropped without a shutdown, it ends without a last push.
#[derive(Clone)]
pub struct Push {
    pipeline: Pipeline<Body>,
    target: Arc<Target>,
}

impl Sink for Push {
    fn name(&self) -> &str {
        self.pipeline.name()
    }

    fn stats(&self) -> Stats {
        self.pipeline.stats()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        self.pipeline.begin_flush(deadline)
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        self.target.is_ending.store(true, Relaxed);
        self.pipeline.begin_shutdown(deadline)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        self.pipeline.wait(flush)
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("kind", &self.target.kind).finish_non_exhaustive()
    }
}

impl Metrics {
    /// The count of pushes, by target and result.
    fn pushes(&self) -> Arc<Family> {
        let family = self.0.pushes.get_or_init(|| {
            let meta = Meta::new(
                Kind::Counter,
                "steeple_metrics_pushes_total",
                "Requests that pushed metrics, by how they went.",
                &["target", "result"],
            );
            let family = self.new_family(meta, None);
            self.add_or_yield("pushes", &[Arc::clone(&family) as _]);
            family
        });
        Arc::clone(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grouping_label_can_hold_anything() {
        assert_eq!(grouping("job", "import"), "job/import");
        assert_eq!(grouping("path", "/var/tmp"), "path@base64/L3Zhci90bXA");
        assert_eq!(grouping("empty", ""), "empty@base64/=");
        assert_eq!(grouping("name", "Prometheus ü"), "name@base64/UHJvbWV0aGV1cyDDvA");
    }

    #[test]
    fn invalid_endpoints_are_rejected_without_their_secrets() {
        let metrics = Metrics::new().unwrap();
        for url in ["", "nonsense", "ftp://host", "http://user:hunter2@host"] {
            let error = PushOptions::pushgateway(url, "job").build(&metrics).unwrap_err();
            assert!(error.is_endpoint() && !error.to_string().contains("hunter2"), "{url}: {error}");
        }
        let bad = PushOptions::remote_write("http://host/write", "job").label("a b", "c").build(&metrics);
        assert!(bad.unwrap_err().is_name());
    }
}
