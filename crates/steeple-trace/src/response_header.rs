use http::HeaderName;
use steeple_core::TraceContext;

/// The response header with the trace that the client's request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseHeader {
    /// `traceresponse: 00-{trace id}-{span id}-{flags}`, as W3C drafted it.
    TraceResponse,
    /// `server-timing: traceparent;desc="00-{trace id}-{span id}-{flags}"`, which scripts in a browser can read.
    ServerTiming,
}

impl ResponseHeader {
    pub(crate) fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::TraceResponse => "traceresponse",
            Self::ServerTiming => "server-timing",
        })
    }

    pub(crate) fn value(self, trace: &TraceContext) -> String {
        match self {
            Self::TraceResponse => trace.traceparent(),
            Self::ServerTiming => format!("traceparent;desc=\"{}\"", trace.traceparent()),
        }
    }
}
