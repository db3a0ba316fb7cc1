use http::request;
use steeple_core::{End, Exchange, Observer, TraceContext};

use crate::Propagators;

/// Keeps what callers want passed on (`traceparent`, `tracestate`, `baggage`), for services that record no traces.
///
/// Beside it, [`ClientSpans::without_spans`](crate::ClientSpans::without_spans) passes it on with outgoing calls.
/// [`Trace`](crate::Trace) does this itself: a stack needs one of the two. Costs three look-ups of headers for each request,
/// and allocates only where one of them is there.
///
/// # Examples
/// ```
/// use steeple_core::ObserveLayer;
/// use steeple_trace::{PassThrough, Trace};
///
/// let layer = ObserveLayer::new(PassThrough::default());
/// let calls = Trace::builder().build()?.client_spans().without_spans();
/// # let _unused = (layer, calls);
/// # Ok::<(), steeple_trace::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PassThrough {
    propagators: Propagators,
}

impl PassThrough {
    /// Reads these formats. [`PassThrough::default`] reads those of [`Propagators::default`].
    pub fn new(propagators: Propagators) -> Self {
        Self { propagators }
    }
}

impl Observer for PassThrough {
    type State = ();

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<()> {
        // Outgoing calls read it when the headers are gone. Other observers find it read.
        if exchange.trace().is_none()
            && let Some(trace) = TraceContext::from_headers(&request.headers)
        {
            exchange.set_trace(trace);
        }
        if !self.propagators.carries(&request.headers) {
            return None;
        }
        let incoming = self.propagators.read(&request.headers);
        let carried =
            self.propagators.read_carried(&request.headers, &incoming, incoming.context.is_some(), incoming.debug);
        if !carried.is_empty() {
            exchange.insert(carried);
        }
        None
    }

    fn on_end(&self, (): (), _exchange: &Exchange, _end: &End) {}
}
