//! Work that is not a request: an exchange without HTTP.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Extensions, HeaderMap, Request, request};
use pin_project_lite::pin_project;

use super::{Apart, ObserveLayer, watch::Watch};
use crate::{Exchange, Observer, Outcome, RecordedError, Text, message::Watching};

/// What kind of work an exchange without HTTP is. [`Exchange::get`] returns it to observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobKind {
    /// Work that the service does by itself: by the clock, at the start, on demand.
    Job,
    /// A message that a broker delivered.
    Consumer,
}

/// The system that a message came from, by the name of OpenTelemetry's conventions for messaging: `kafka`, `rabbitmq`,
/// `aws_sqs`. [`Job::with`] sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagingSystem(pub &'static str);

/// What kind of work a job is, in the words of an error tracker (Sentry's `op`): `job`, `queue.process`, `cron`. [`Job::with`]
/// sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(pub &'static str);

/// One run of a job: its name, and what came with it.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use steeple_core::{Exchange, Job, ObserveLayer, RequestIds};
///
/// let observers = ObserveLayer::new((RequestIds::new(),));
/// let imported = observers.job(Job::new("nightly import"), async {
///     Exchange::current().unwrap().set_attribute("rows", 17_i64);
///     Ok::<_, std::io::Error>(17)
/// });
/// assert_eq!(imported.await.unwrap(), 17);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is observed"]
#[doc(alias = "job")]
pub struct Job {
    name: Text,
    kind: JobKind,
    headers: HeaderMap,
    extensions: Extensions,
}

impl Job {
    /// A job of this name. Names are metric labels: use a handful of them, never an id.
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), kind: JobKind::Job, headers: HeaderMap::new(), extensions: Extensions::new() }
    }

    /// A message that a broker delivered, with its headers: `traceparent` among them becomes a link of the span.
    pub fn message(name: impl Into<Text>, headers: HeaderMap) -> Self {
        Self { kind: JobKind::Consumer, headers, ..Self::new(name) }
    }

    /// The same with the headers of a message.
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Keeps a value for observers: [`Exchange::get`] returns it.
    pub fn with<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    fn begin(self) -> (Exchange, request::Parts) {
        let Self { name, kind, headers, mut extensions } = self;
        extensions.insert(kind);
        let begun = Exchange::detached();
        begun.set_extensions(extensions);
        begun.set_name(name);
        let (mut head, ()) = Request::new(()).into_parts();
        head.headers = headers;
        head.extensions.insert(begun.clone());
        (begun, head)
    }
}

/// What work returns, and whether that is a failure.
///
/// `()` never is; a `Result` is if it is an error, which is recorded.
#[diagnostic::on_unimplemented(
    message = "a job returns `()` or a `Result` whose error can be displayed, not `{Self}`",
    note = "end the future with `Ok::<_, Error>(value)`"
)]
pub trait JobOutput {
    /// The error, if it is one.
    fn failure(&self) -> Option<RecordedError>;
}

impl JobOutput for () {
    fn failure(&self) -> Option<RecordedError> {
        None
    }
}

impl<T, E: fmt::Display + 'static> JobOutput for Result<T, E> {
    fn failure(&self) -> Option<RecordedError> {
        self.as_ref().err().map(RecordedError::of_any)
    }
}

impl<O: Observer> ObserveLayer<O> {
    /// Observes work that is not a request, with the endings of an exchange: it completes, returns an error
    /// ([`Outcome::ServiceError`]), panics, or is dropped ([`Outcome::Cancelled`]).
    ///
    /// It begins when it is first polled. Before that, dropping it is not an ending.
    pub fn job<F: Future>(&self, job: Job, future: F) -> JobFuture<F, O>
    where
        F::Output: JobOutput,
    {
        JobFuture { future, next: Some((Arc::clone(&self.observer), job)), watch: None }
    }
}

pin_project! {
    /// Work that is observed. Made by [`ObserveLayer::job`].
    pub struct JobFuture<F, O: Observer> {
        #[pin]
        future: F,
        next: Option<(Arc<Apart<O>>, Job)>,
        watch: Option<Watch<O>>,
    }
}

impl<F, O> Future for JobFuture<F, O>
where
    F: Future,
    F::Output: JobOutput,
    O: Observer,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some((observer, job)) = this.next.take() {
            let (exchange, mut head) = job.begin();
            *this.watch = Some(Watch::start(&observer, exchange, &mut head, true));
        }
        let future = this.future;
        let Some(watch) = this.watch else { return future.poll(cx) };
        let output = ready!(watch.during_poll(|| future.poll(cx)));
        if let Some(mut watch) = this.watch.take() {
            // `Display` of an error is the user's code: its panic is not the job's.
            match crate::observer::quietly(|| output.failure()) {
                Some(Some(error)) => watch.fail(error),
                Some(None) => watch.finish(Outcome::Completed),
                None => watch.finish(Outcome::ServiceError),
            }
        }
        Poll::Ready(output)
    }
}

impl<F, O: Observer> fmt::Debug for JobFuture<F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobFuture").field("has_begun", &self.next.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, io, sync::Mutex};

    use super::*;
    use crate::{End, Identity};

    #[derive(Clone, Default)]
    struct Ends(Arc<Mutex<Vec<String>>>);

    impl Observer for Ends {
        type State = ();

        fn identity(&self) -> Option<Identity> {
            None
        }

        fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<()> {
            assert!(exchange.get::<JobKind>().is_some() && exchange.get::<u8>() == Some(7));
            assert_eq!(request.headers.len(), 0);
            Some(())
        }

        fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
            let message = exchange.error().map(|error| error.to_string()).unwrap_or_default();
            let line = format!("{} {} {} {message}", exchange.name(), end.outcome, end.status_code());
            self.0.lock().unwrap().push(line);
        }
    }

    fn unwinds() {
        std::panic::resume_unwind(Box::new("out"))
    }

    fn job() -> Job {
        Job::new("import").with(7_u8)
    }

    #[tokio::test]
    async fn every_run_ends_once_and_with_its_outcome() {
        let ends = Ends::default();
        let layer = ObserveLayer::new((ends.clone(),));
        layer.job(job(), async { assert_eq!(Exchange::current().unwrap().name().to_string(), "import") }).await;
        let failed = layer.job(job(), async { Err::<(), _>(io::Error::other("no disk")) }).await;
        assert!(failed.is_err());
        let panics = layer.job(job(), async { unwinds() });
        let panicked = tokio::spawn(panics).await;
        assert!(panicked.unwrap_err().is_panic());
        drop(layer.job(job(), async {}));
        let mut hangs = Box::pin(layer.job(job(), pending::<()>()));
        assert!(futures_util::poll!(&mut hangs).is_pending());
        drop(hangs);
        let ends = ends.0.lock().unwrap().clone();
        assert_eq!(
            ends,
            [
                "import completed 200 ",
                "import service_error 500 no disk",
                "import panicked 500 ",
                "import cancelled 499 "
            ]
        );
    }
}
