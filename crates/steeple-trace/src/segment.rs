//! Parts of an exchange, each with a name and a duration.

use std::{
    borrow::Cow,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer},
};
use pin_project_lite::pin_project;
use steeple_core::{Exchange, call::class_of};
use steeple_scrub::Scrubbed;

use crate::{
    Trace,
    attributes::{Attributes, key},
    propagation::Carried,
    scrub::Bounds,
};

/// Beside an exchange that has a span: how to make more below it.
#[derive(Clone)]
pub(crate) struct Tracing {
    pub(crate) trace: Trace,
    pub(crate) context: Context,
    pub(crate) carried: Carried,
}

impl Tracing {
    pub(crate) fn new(trace: Trace, context: Context, carried: Carried) -> Self {
        Self { trace, context, carried }
    }

    /// The innermost span of this exchange that is open here: the current one, or else the exchange's own.
    pub(crate) fn parent(&self) -> Context {
        let own = self.context.span().span_context().trace_id();
        Context::map_current(|current| {
            if current.span().span_context().trace_id() == own { current.clone() } else { self.context.clone() }
        })
    }
}

/// What a segment does. Decides its kind in tracing systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentKind {
    /// Asks a database or a cache. Its name should summarize the query: `select users`.
    Datastore,
    /// Asks another service.
    External,
    /// Anything else that takes time.
    Internal,
}

impl From<&str> for SegmentKind {
    /// `db`, `datastore` and `cache`; `http`, `rpc` and `external`; all else is internal.
    fn from(kind: &str) -> Self {
        match kind {
            "db" | "datastore" | "cache" => Self::Datastore,
            "http" | "rpc" | "external" => Self::External,
            _ => Self::Internal,
        }
    }
}

/// Segments of an exchange.
///
/// # Examples
/// ```
/// use steeple_core::{Exchange, call::class_of};
/// use steeple_trace::Segments;
///
/// # async fn ask() -> u32 { 1 }
/// # async fn handler() {
/// let exchange = Exchange::current().unwrap_or_else(Exchange::detached);
/// let users = exchange.segment("db", "select users", ask()).with("db.system.name", "postgresql").await;
/// // An `Err` makes the segment failed.
/// let row = exchange.try_segment("db", "select users", async { "7".parse::<u32>() }).await;
/// # drop((users, row));
/// # }
/// ```
pub trait Segments {
    /// Makes a future a segment of this exchange: a span below the one that is open where it is first polled.
    ///
    /// An exchange that is not recorded costs nothing more than the future itself. Dropping the future ends its span.
    fn segment<F: Future>(
        &self,
        kind: impl Into<SegmentKind>,
        name: impl Into<Cow<'static, str>>,
        future: F,
    ) -> Segment<F>;

    /// The same for what may fail: an `Err` makes the segment failed, with the error's type as `error.type` (`_OTHER` for
    /// a boxed one) and its message, scrubbed. The exchange's own status depends on its end alone.
    fn try_segment<F, T, E>(
        &self,
        kind: impl Into<SegmentKind>,
        name: impl Into<Cow<'static, str>>,
        future: F,
    ) -> Segment<F, OfResult>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        let Segment { future, stage, .. } = self.segment(kind, name, future);
        Segment { future, stage, judge: PhantomData }
    }
}

/// Tells from a segment's output whether it failed.
pub trait Judge<T> {
    /// The class of the failure, bounded in number, and its message. `None`: it did not fail.
    fn failure(output: &T) -> Option<(&'static str, &dyn fmt::Display)>;
}

/// Any output is a success.
#[derive(Clone, Copy, Debug)]
pub struct OfAny;

/// An `Err` is a failure.
#[derive(Clone, Copy, Debug)]
pub struct OfResult;

impl<T> Judge<T> for OfAny {
    fn failure(_output: &T) -> Option<(&'static str, &dyn fmt::Display)> {
        None
    }
}

impl<T, E: fmt::Display> Judge<Result<T, E>> for OfResult {
    fn failure(output: &Result<T, E>) -> Option<(&'static str, &dyn fmt::Display)> {
        let error = output.as_ref().err()?;
        Some((class_of::<E>(), error))
    }
}

impl Segments for Exchange {
    fn segment<F: Future>(
        &self,
        kind: impl Into<SegmentKind>,
        name: impl Into<Cow<'static, str>>,
        future: F,
    ) -> Segment<F> {
        let state = match self.get::<Tracing>() {
            Some(tracing) if !self.has_ended() => {
                let bounds = tracing.trace.bounds();
                let name = match name.into() {
                    Cow::Borrowed(literal) => Scrubbed::from_static(literal).into(),
                    Cow::Owned(name) => bounds.formatted(format_args!("{name}")).into(),
                };
                Stage::Waiting { tracing, bounds, kind: kind.into(), name, attributes: Attributes::default() }
            }
            _ => Stage::Unrecorded,
        };
        Segment { future, stage: state, judge: PhantomData }
    }
}

pin_project! {
    /// A future that is a segment of an exchange. Made by [`Segments::segment`] and [`Segments::try_segment`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Segment<F, J = OfAny> {
        #[pin]
        future: F,
        stage: Stage,
        judge: PhantomData<J>,
    }
}

enum Stage {
    Unrecorded,
    Waiting {
        tracing: Tracing,
        bounds: Bounds,
        kind: SegmentKind,
        name: Scrubbed<Cow<'static, str>>,
        attributes: Attributes,
    },
    Open(Context, Trace),
}

/// Most attributes that a segment takes.
const MAX_ATTRIBUTES: usize = 32;

impl<F, J> Segment<F, J> {
    /// Sets an attribute of the span, unless the segment has been polled or has all that it takes.
    pub(crate) fn set(&mut self, attribute: KeyValue) {
        if let Stage::Waiting { tracing, bounds, attributes, .. } = &mut self.stage
            && attributes.len() < MAX_ATTRIBUTES
        {
            attributes.given(tracing.trace.tracer().recording(), bounds, attribute);
        }
    }
}

impl Stage {
    fn open(&mut self) -> Option<(&Context, &Trace)> {
        if let Self::Waiting { tracing, kind, name, attributes, .. } = self {
            let mut attributes = std::mem::take(attributes);
            let span_kind = match kind {
                SegmentKind::Datastore => {
                    attributes.text(key::DB_QUERY_SUMMARY, name.clone());
                    SpanKind::Client
                }
                SegmentKind::External => SpanKind::Client,
                SegmentKind::Internal => SpanKind::Internal,
            };
            let parent = tracing.parent();
            let tracer = tracing.trace.tracer();
            let builder = tracer
                .span_builder(name.clone().into_inner())
                .with_kind(span_kind)
                .with_attributes(attributes.into_vec());
            let span = builder.start_with_context(tracer, &parent);
            *self = Self::Open(parent.with_span(span), tracing.trace.clone());
        }
        match self {
            Self::Open(context, trace) => Some((context, trace)),
            Self::Unrecorded | Self::Waiting { .. } => None,
        }
    }
}

impl<F: Future, J: Judge<F::Output>> Future for Segment<F, J> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some((context, trace)) = this.stage.open() else { return this.future.poll(cx) };
        let polled = {
            let _current = context.clone().attach();
            this.future.poll(cx)
        };
        if let Poll::Ready(output) = &polled {
            let span = context.span();
            if let Some((class, error)) = J::failure(output) {
                span.set_attribute(KeyValue::new(key::ERROR_TYPE, class));
                span.set_status(trace.failed(error));
            }
            span.end();
            *this.stage = Stage::Unrecorded;
        }
        polled
    }
}

impl<F, J> fmt::Debug for Segment<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = !matches!(self.stage, Stage::Unrecorded);
        f.debug_struct("Segment").field("recorded", &recorded).finish_non_exhaustive()
    }
}
