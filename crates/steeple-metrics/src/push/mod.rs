//! Metrics for where nobody scrapes: pushed to a Pushgateway, or written to Prometheus.
//!
//! A push carries everything, and everything is cumulative: what one that failed would have told, the next one tells.
//! So nothing is queued, and a far side that is down costs nothing but its own samples.

mod remote_write;
mod send;

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use steeple_core::clock;
use tokio::{sync::watch, task::JoinHandle};

pub use self::send::{PushError, Transport};
use self::{
    remote_write::{RemoteWriteEncoder, Samples},
    send::{PlainHttp, Target},
};
use crate::{
    BuildError, Metrics,
    encode::{Kind, Meta},
    family::Family,
    registry::Naming,
    render::Others,
    series::Labels,
};

/// Where metrics are pushed to, and how. Becomes a [`Pusher`].
#[derive(Clone)]
#[must_use = "options do nothing until they are built"]
pub struct PushOptions {
    kind: PushKind,
    endpoint: String,
    labels: Vec<(String, String)>,
    headers: HeaderMap,
    interval: Duration,
    timeout: Duration,
    transport: Option<Arc<dyn Transport>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PushKind {
    Pushgateway,
    RemoteWrite,
}

impl PushKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pushgateway => "pushgateway",
            Self::RemoteWrite => "remote_write",
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

    fn new(kind: PushKind, endpoint: String, job: String) -> Self {
        Self {
            kind,
            endpoint,
            labels: vec![("job".to_owned(), job)],
            headers: HeaderMap::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            transport: None,
        }
    }

    /// A label that tells this process from others, such as `instance`.
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

    /// How often a [spawned](Pusher::spawn) pusher pushes. Default: 15 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long a push may take. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends with a client of yours: for `https`, proxies, credentials that change. Default: plain HTTP/1.1.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError::is_endpoint`] for a URL that is none, has credentials in it (a header is the place for those), or is not
    /// plain `http` where no other transport was given; [`BuildError::is_name`] for a label that Prometheus does not allow;
    /// [`BuildError::is_push`] for a job without a name, a label that is set twice, or an interval of 0.
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
        let uri: Uri = url.parse().map_err(|_invalid| unusable())?;
        let plain = uri.scheme_str() == Some("http");
        if uri.host().is_none() || self.endpoint.contains('@') || (self.transport.is_none() && !plain) {
            return Err(unusable());
        }
        let pushes = metrics.pushes();
        let transport = self.transport.unwrap_or_else(|| Arc::new(PlainHttp));
        let target = Target { uri, headers: self.headers, timeout: self.timeout, transport };
        let labels = self.labels;
        Ok(Pusher { metrics: metrics.clone(), kind: self.kind, target, labels, interval: self.interval, pushes })
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
    metrics: Metrics,
    kind: PushKind,
    target: Target,
    labels: Vec<(String, String)>,
    interval: Duration,
    pushes: Arc<Family>,
}

impl Pusher {
    /// Pushes once. For a job: at its end.
    ///
    /// # Errors
    /// When the far side does not answer in time, or does not take it. The next push tells what this one would have.
    pub async fn push(&self) -> Result<(), PushError> {
        let mut push = pin!(self.try_push());
        let result = poll_fn(|cx| {
            // A transport or a collector that panics fails this push, and no other.
            let polled = catch_unwind(AssertUnwindSafe(|| push.as_mut().poll(cx)));
            polled.unwrap_or_else(|_panic| Poll::Ready(Err(PushError::panicked())))
        })
        .await;
        let word = result.as_ref().map_or_else(PushError::as_str, |()| "ok");
        self.pushes.add(&[self.kind.as_str(), word], 1);
        result
    }

    async fn try_push(&self) -> Result<(), PushError> {
        let others = self.metrics.others();
        let complete = if others.is_complete { Ok(()) } else { Err(PushError::panicked()) };
        match self.kind {
            PushKind::Pushgateway => {
                // A page replaces the one before: what a panic leaves out of it would be gone.
                complete?;
                let page = self.metrics.render_with(others, Some("text/plain;version=0.0.4"), None);
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
                self.target.send(Method::PUT, headers, page.body).await
            }
            PushKind::RemoteWrite => {
                let mut result = complete;
                for body in self.requests(others, Samples::Values) {
                    match self.write(body).await {
                        Ok(()) => (),
                        // These series are refused; others may be taken.
                        Err(error) if error.is_of_this_request() => result = result.and(Err(error)),
                        Err(error) => return Err(error),
                    }
                }
                result
            }
        }
    }

    /// Tells Prometheus that no series of ours goes on: they end now, and not in five minutes. A Pushgateway keeps what it
    /// has, as it is meant to. One that fails is not tried again.
    async fn mark_stale(&self) {
        if self.kind != PushKind::RemoteWrite {
            return;
        }
        for body in self.requests(self.metrics.others(), Samples::Stale) {
            if self.write(body).await.is_err() {
                return;
            }
        }
    }

    async fn write(&self, body: Bytes) -> Result<(), PushError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
        self.target.send(Method::POST, headers, body).await
    }

    /// The bodies of a remote write. Made in one go, so that all samples are of one moment.
    fn requests(&self, mut others: Others, samples: Samples) -> Vec<Bytes> {
        let Naming { prefix, common } = std::mem::take(&mut others.naming);
        let common = Labels::new(common.into_iter().map(|(name, value)| (name.into(), value.into())));
        let now_ms = i64::try_from(clock::unix_now().as_millis()).unwrap_or(i64::MAX);
        let mut encoder = RemoteWriteEncoder::new(&common.pairs, &self.labels, now_ms, samples);
        self.metrics.write(&mut others, &prefix, &common, &mut encoder);
        encoder.finish()
    }

    /// Starts a task that pushes now and then. Keep the guard: [`PushGuard::shutdown`] pushes a last time.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(self) -> PushGuard {
        let (stop, mut stopped) = watch::channel(());
        let task = tokio::spawn(async move {
            let mut failing = false;
            loop {
                let is_over = tokio::time::timeout(self.interval, stopped.changed()).await.is_ok();
                match self.push().await {
                    Ok(()) => failing = false,
                    // Said once, until it works again; counted each time.
                    Err(error) if !failing => {
                        failing = true;
                        let (target, reason) = (self.kind.as_str(), error.reason().unwrap_or_default());
                        tracing::warn!(%error, reason, target, "metrics could not be pushed");
                    }
                    Err(_) => (),
                }
                if is_over {
                    self.mark_stale().await;
                    return;
                }
            }
        });
        PushGuard { stop, task }
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").field("kind", &self.kind).field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// A pusher's task. Dropped, the task pushes a last time if the runtime lives long enough.
#[derive(Debug)]
#[must_use = "dropping the guard stops the task"]
pub struct PushGuard {
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl PushGuard {
    /// Pushes a last time and waits for it, for at most this long. Returns whether the task came to its end.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        let Self { stop, mut task } = self;
        drop(stop);
        let is_over = tokio::time::timeout(deadline, &mut task).await.is_ok();
        if !is_over {
            task.abort();
        }
        is_over
    }
}

impl Metrics {
    /// The count of pushes, by target and result.
    fn pushes(&self) -> Arc<Family> {
        let family = self.0.pushes.get_or_init(|| {
            let meta = Meta::new(
                Kind::Counter,
                "steeple_metrics_pushes_total",
                "Times that the metrics were pushed, by how it went.",
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
    fn what_is_no_endpoint_is_refused_and_secrets_in_it_are_not_repeated() {
        let metrics = Metrics::new().unwrap();
        for url in ["", "nonsense", "ftp://host", "https://host", "http://user:hunter2@host"] {
            let error = PushOptions::pushgateway(url, "job").build(&metrics).unwrap_err();
            assert!(error.is_endpoint() && !error.to_string().contains("hunter2"), "{url}: {error}");
        }
        let bad = PushOptions::remote_write("http://host/write", "job").label("a b", "c").build(&metrics);
        assert!(bad.unwrap_err().is_name());
    }
}
