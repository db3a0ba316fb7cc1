//! Jobs and consumers: work that is not a request, with every signal of one.

use std::{
    fmt,
    sync::OnceLock,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, request};
use steeple_core::{
    End, Exchange, Identity, JobOutput, ObserveLayer, Observer, Outcome, RequestIds, Signal, Text, clock, observe,
};
use steeple_log::{JobLog, Log};
use steeple_metrics::{Buckets, CounterFamily, DurationFamily, GaugeFamily, Metrics};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Steeple,
    integrations::{JobParts, Running},
    skips::Skips,
    testing::Capture,
};

/// From a tenth of a second to six hours.
const SECONDS: [f64; 12] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 10_800.0, 21_600.0];

impl Steeple {
    /// A job by the clock, at the start, on demand: each run is observed as an exchange is.
    ///
    /// - A log line at its end, and ids, name and user on every line within it.
    /// - `job_runs_total{job,outcome}` (`completed`, `failed`, `panicked`, `cancelled`), `job_duration_seconds{job}` and
    ///   `job_last_success_timestamp_seconds{job}`.
    /// - With the feature `trace` a span, with `sentry` an event for a failure and a check-in.
    ///
    /// The name is a label: use a handful of names, never an id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let steeple = steeple::Steeple::builder().without_log_setup().build().unwrap();
    /// use steeple::Exchange;
    ///
    /// let imported = steeple.job("nightly import").run(async {
    ///     Exchange::current().unwrap().set_attribute("rows", 17_i64); // on the line and in the span
    ///     Ok::<_, std::io::Error>(17)
    /// });
    /// assert_eq!(imported.await.unwrap(), 17);
    /// # }
    /// ```
    #[doc(alias = "cron")]
    #[doc(alias = "background task")]
    #[doc(alias = "transaction")]
    pub fn job(&self, name: impl Into<Text>) -> Job {
        Job { observers: self.inner().jobs.clone(), job: observe::Job::new(name) }
    }

    /// A message that a broker delivered: a [`job`](Self::job) whose span is a `CONSUMER` with a link to the trace in the
    /// message's headers (`traceparent`).
    pub fn message(&self, name: impl Into<Text>, headers: HeaderMap) -> Job {
        Job { observers: self.inner().jobs.clone(), job: observe::Job::message(name, headers) }
    }

    /// A layer for a tower service that consumes messages: each call is a [`message`](Self::message) of this name.
    ///
    /// The service may take any type; [`ConsumerLayer::headers`] sets where a message has its headers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let steeple = steeple::Steeple::builder().without_log_setup().build().unwrap();
    /// use steeple::core::MessagingSystem;
    /// use tower::{Service, ServiceBuilder, ServiceExt};
    ///
    /// let mut orders = ServiceBuilder::new()
    ///     .layer(steeple.consumer_layer("orders").with(MessagingSystem("kafka")))
    ///     .service_fn(async |order: u32| if order > 0 { Ok(()) } else { Err("no such order") });
    /// assert_eq!(orders.ready().await.unwrap().call(0).await, Err("no such order"));
    /// # }
    /// ```
    pub fn consumer_layer<M>(&self, name: impl Into<Text>) -> ConsumerLayer<M> {
        let headers: fn(&M) -> HeaderMap = |_| HeaderMap::new();
        ConsumerLayer { job: self.message(name, HeaderMap::new()), headers }
    }
}

/// One run of a job, before it begins. Made by [`Steeple::job`].
#[derive(Clone, Debug)]
#[must_use = "a job does nothing until it runs"]
pub struct Job {
    observers: ObserveLayer<JobObservers>,
    job: observe::Job,
}

impl Job {
    /// Adds what one integration looks for: `steeple::sentry::CheckIn`, [`MessagingSystem`](steeple_core::MessagingSystem),
    /// [`Operation`](steeple_core::Operation).
    pub fn with<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.job = self.job.with(value);
        self
    }

    /// Runs the job: its begin is the first poll of what this returns, its end the value, a panic, or being dropped.
    ///
    /// A value that is an `Err` is a failure; the error is recorded. The value is handed back as it is.
    pub fn run<F>(self, future: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: Future,
        F::Output: JobOutput,
    {
        self.observers.job(self.job, future)
    }
}

/// Observes a service that consumes messages. Made by [`Steeple::consumer_layer`].
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ConsumerLayer<M> {
    job: Job,
    headers: fn(&M) -> HeaderMap,
}

impl<M> ConsumerLayer<M> {
    /// Adds what one integration looks for, see [`Job::with`].
    pub fn with<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.job = self.job.with(value);
        self
    }

    /// Where a message has its headers. Default: it has none.
    pub fn headers(mut self, headers: fn(&M) -> HeaderMap) -> Self {
        self.headers = headers;
        self
    }
}

impl<M> Clone for ConsumerLayer<M> {
    fn clone(&self) -> Self {
        Self { job: self.job.clone(), headers: self.headers }
    }
}

impl<M> fmt::Debug for ConsumerLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerLayer").field("job", &self.job).finish_non_exhaustive()
    }
}

impl<S, M> Layer<S> for ConsumerLayer<M> {
    type Service = Consumer<S, M>;

    fn layer(&self, inner: S) -> Consumer<S, M> {
        Consumer { inner, layer: self.clone() }
    }
}

/// A service whose messages are observed. Made by [`ConsumerLayer`].
pub struct Consumer<S, M> {
    inner: S,
    layer: ConsumerLayer<M>,
}

impl<S: Clone, M> Clone for Consumer<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Consumer<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<S, M> Service<M> for Consumer<S, M>
where
    S: Service<M>,
    S::Error: fmt::Display + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = observe::JobFuture<S::Future, JobObservers>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, message: M) -> Self::Future {
        let Job { observers, job } = self.layer.job.clone();
        let job = job.with_headers((self.layer.headers)(&message));
        observers.job(job, self.inner.call(message))
    }
}

/// Counts jobs. The families are there from the first run on.
#[derive(Clone)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct JobCounts {
    metrics: Metrics,
    families: std::sync::Arc<OnceLock<Option<Families>>>,
}

struct Families {
    runs: CounterFamily<2>,
    durations: DurationFamily<1>,
    successes: GaugeFamily<1>,
}

impl JobCounts {
    /// `None` where the application has families of these names itself.
    fn families(&self) -> Option<&Families> {
        let make = || {
            let metrics = &self.metrics;
            Some(Families {
                runs: metrics
                    .counter("job_runs_total", "Runs of jobs that ended, by how they did.", ["job", "outcome"])
                    .ok()?,
                durations: metrics
                    .duration_histogram(
                        "job_duration_seconds",
                        "How long runs of jobs took.",
                        ["job"],
                        &Buckets::new(SECONDS),
                    )
                    .ok()?,
                successes: metrics
                    .gauge(
                        "job_last_success_timestamp_seconds",
                        "When a job last completed, in seconds since the Unix epoch.",
                        ["job"],
                    )
                    .ok()?,
            })
        };
        self.families.get_or_init(make).as_ref()
    }
}

impl fmt::Debug for JobCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobCounts").finish_non_exhaustive()
    }
}

impl Observer for JobCounts {
    type State = ();

    fn identity(&self) -> Option<Identity> {
        self.metrics.identity()
    }

    fn on_request(&self, _exchange: &Exchange, _head: &mut request::Parts) -> Option<()> {
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        if exchange.is_skipped(Signal::Metrics) {
            return;
        }
        let Some(families) = self.families() else { return };
        let name = exchange.name();
        let outcome = match end.outcome {
            Outcome::Completed | Outcome::Upgraded => "completed",
            Outcome::ServiceError | Outcome::BodyError => "failed",
            Outcome::Panicked => "panicked",
            Outcome::Cancelled | Outcome::CancelledInBody => "cancelled",
        };
        families.runs.inc([name.target(), outcome]);
        families.durations.observe([name.target()], end.duration);
        if outcome == "completed" {
            families.successes.set([name.target()], seconds(clock::unix_now()));
        }
    }
}

/// To the millisecond.
#[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years of milliseconds")]
fn seconds(since_epoch: Duration) -> f64 {
    since_epoch.as_millis() as f64 / 1e3
}

steeple_core::observers! {
    /// What [`Steeple::job`] observes jobs with. Opaque: its contents depend on Cargo features.
    #[derive(Debug)]
    pub struct JobObservers {
        skips: Skips,
        recorder: Option<Capture>,
        ids: RequestIds,
        integrations: JobParts,
        log: JobLog,
        counts: JobCounts,
    }
}

impl JobObservers {
    pub(crate) fn new(
        running: &Running,
        skips: Skips,
        ids: RequestIds,
        log: &Log,
        metrics: &Metrics,
        recorder: Option<Capture>,
    ) -> ObserveLayer<Self> {
        ObserveLayer::new(Self {
            skips,
            recorder,
            ids,
            integrations: running.job_parts(),
            log: log.jobs(),
            counts: JobCounts { metrics: metrics.clone(), families: std::sync::Arc::default() },
        })
    }
}
