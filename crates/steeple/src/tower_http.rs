//! Closures for tower-http's `TraceLayer` and `CatchPanicLayer`, for teams that keep them beside Steeple.
//!
//! `TraceLayer` writes the URI whole and knows neither the request's ids nor its route. With these in its place its span and its
//! lines have ids and names, and their texts are scrubbed:
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tower::ServiceExt;
//! use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let steeple = steeple::Steeple::builder().without_log_setup().build().unwrap();
//! let own = steeple.tower_http();
//! let app = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(CatchPanicLayer::custom(own.catch_panic()))
//!     .layer(
//!         TraceLayer::new_for_http()
//!             .make_span_with(own.make_span())
//!             .on_response(own.on_response())
//!             .on_failure(own.on_failure()),
//!     )
//!     .layer(steeple.layer()); // the outermost
//! # let response = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
//! # assert_eq!(response.status(), 200);
//! # }
//! ```
//!
//! - Headers are never read, so a value that [`SetSensitiveHeadersLayer`] marks is on no line. Steeple's own lines, spans and
//!   events leave such values out as well.
//! - `SetRequestIdLayer` and `PropagateRequestIdLayer` outside of Steeple's layer: their id is the exchange's. Inside of it: the
//!   exchange's id is already in the request, and they keep it.
//! - The types of this module implement traits of `tower-http` 0.7, which is before its 1.0: a new version of it may be a breaking
//!   change of this module, and of nothing else.
//!
//! [`SetSensitiveHeadersLayer`]: https://docs.rs/tower-http/0.7/tower_http/sensitive_headers/struct.SetSensitiveHeadersLayer.html

use std::{any::Any, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use steeple_core::{Exchange, RecordedError};
use steeple_scrub::Scrubber;
use tower_http::{catch_panic::ResponseForPanic, request_id::RequestId, trace};
use tracing::{Level, Span, field};

use crate::Steeple;

/// Longest text of a field, in bytes.
const MAX_TEXT: usize = 2 * 1024;

/// What stands behind a text that was cut.
const CUT: &str = "…";

/// Makes what `TraceLayer` and `CatchPanicLayer` take, see the [module](self). A cheap clone.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a layer gets what it makes"]
pub struct TowerHttp {
    scrubber: Scrubber,
}

impl Steeple {
    /// Scrubbed, named closures for tower-http's `TraceLayer` and `CatchPanicLayer`, see [`tower_http`](self).
    pub fn tower_http(&self) -> TowerHttp {
        TowerHttp::new(self.scrubber().clone())
    }
}

impl TowerHttp {
    /// With a scrubber, for a service that has Steeple's layer without a [`Steeple`].
    pub fn new(scrubber: Scrubber) -> Self {
        Self { scrubber }
    }

    /// For `TraceLayer::make_span_with`: the span of a request. Level: `DEBUG`, as tower-http's.
    pub fn make_span(&self) -> MakeSpan {
        MakeSpan { scrubber: self.scrubber.clone(), level: Level::DEBUG }
    }

    /// For `TraceLayer::on_response`: a line when the response's head is there. Level: `DEBUG`, as tower-http's.
    pub fn on_response(&self) -> OnResponse {
        OnResponse { level: Level::DEBUG }
    }

    /// For `TraceLayer::on_failure`: a line for a failure. Level: `ERROR`, as tower-http's.
    pub fn on_failure(&self) -> OnFailure {
        OnFailure { scrubber: self.scrubber.clone(), level: Level::ERROR }
    }

    /// For `CatchPanicLayer::custom`: records the panic on the exchange and answers 500.
    pub fn catch_panic(&self) -> CatchPanic {
        CatchPanic
    }
}

/// Runs `$make!(level, …)` at one of the five levels, which `tracing` needs as a constant.
macro_rules! at_level {
    ($level:expr, $make:ident, $($fields:tt)*) => {
        match $level {
            Level::TRACE => tracing::$make!(Level::TRACE, $($fields)*),
            Level::DEBUG => tracing::$make!(Level::DEBUG, $($fields)*),
            Level::INFO => tracing::$make!(Level::INFO, $($fields)*),
            Level::WARN => tracing::$make!(Level::WARN, $($fields)*),
            Level::ERROR => tracing::$make!(Level::ERROR, $($fields)*),
        }
    };
}

/// Makes the span `request`, with the fields of Steeple's lines: `request_id`, `trace_id`, `span_id`, `http.request.method`,
/// `url.path`, `url.query`, `network.protocol.version`; `transaction.name`, `http.route` and `http.response.status_code` when the
/// response is there.
///
/// Without Steeple's layer around it, the id is that of tower-http's `SetRequestIdLayer`, and `transaction.name` is missing.
#[derive(Clone, Debug)]
pub struct MakeSpan {
    scrubber: Scrubber,
    level: Level,
}

impl MakeSpan {
    /// The span's level. Default: `DEBUG`.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

impl<B> trace::MakeSpan<B> for MakeSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        let span = at_level!(
            self.level,
            span,
            "request",
            request_id = field::Empty,
            trace_id = field::Empty,
            span_id = field::Empty,
            http.request.method = field::Empty,
            url.path = field::Empty,
            url.query = field::Empty,
            network.protocol.version = field::Empty,
            transaction.name = field::Empty,
            http.route = field::Empty,
            http.response.status_code = field::Empty,
        );
        if span.is_disabled() {
            return span;
        }
        let exchange = request.extensions().get::<Exchange>();
        if let Some(exchange) = exchange {
            if let Some(trace) = exchange.trace() {
                span.record("trace_id", field::display(trace.trace_id()));
                span.record("span_id", field::display(trace.span_id()));
            }
            span.record("http.request.method", exchange.method());
            span.record("network.protocol.version", exchange.version_str());
        } else {
            span.record("http.request.method", steeple_core::known_method(request.method()));
        }
        let own = || request.extensions().get::<RequestId>()?.header_value().to_str().ok();
        match exchange.and_then(Exchange::get_request_id) {
            Some(id) => span.record("request_id", id.as_str()),
            None => {
                span.record("request_id", own().map(|id| field::display(self.scrubber.text(id).cut(MAX_TEXT, CUT))))
            }
        };
        let uri = request.uri();
        span.record("url.path", &*self.scrubber.path(uri.path()).cut(MAX_TEXT, CUT).into_inner());
        span.record(
            "url.query",
            uri.query().map(|query| field::display(self.scrubber.query(query).cut(MAX_TEXT, CUT))),
        );
        span
    }
}

/// Writes `finished processing request` with `response_head_ms` and `http.response.status_code`, and completes the span.
#[derive(Clone, Debug)]
pub struct OnResponse {
    level: Level,
}

impl OnResponse {
    /// The line's level. Default: `DEBUG`.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

impl<B> trace::OnResponse<B> for OnResponse {
    fn on_response(self, response: &Response<B>, latency: Duration, span: &Span) {
        let status = response.status().as_u16();
        span.record("http.response.status_code", status);
        name_span(span);
        at_level!(
            self.level,
            event,
            http.response.status_code = status,
            response_head_ms = latency.as_secs_f64() * 1e3,
            "finished processing request"
        );
    }
}

/// Gives the span the exchange's name, which is known once a router has matched.
fn name_span(span: &Span) {
    if span.is_disabled() {
        return;
    }
    if let Some(exchange) = Exchange::current() {
        span.record("transaction.name", field::display(exchange.name()));
        span.record("http.route", exchange.route().map(|route| field::display(route.to_string())));
    }
}

/// Writes `response failed` with `error.message`: the failure as tower-http's classifier describes it, scrubbed.
///
/// Steeple's own line, span and event have the failure as well: its layer sees it in the response, the body or the service's error.
#[derive(Clone, Debug)]
pub struct OnFailure {
    scrubber: Scrubber,
    level: Level,
}

impl OnFailure {
    /// The line's level. Default: `ERROR`.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

impl<C: fmt::Display> trace::OnFailure<C> for OnFailure {
    fn on_failure(&mut self, class: C, latency: Duration, span: &Span) {
        name_span(span);
        let text = steeple_core::text::Bounded::of(class, 4 * MAX_TEXT).into_string();
        let message = self.scrubber.text(&text).cut(MAX_TEXT, CUT);
        at_level!(
            self.level,
            event,
            error.message = %message,
            response_head_ms = latency.as_secs_f64() * 1e3,
            "response failed"
        );
    }
}

/// Answers a request whose handler panicked: `500 Internal Server Error` with `internal server error` as text. What the panic
/// message stays out of the response, and is recorded on the exchange.
///
/// With `CatchPanicLayer` inside of Steeple's layer the exchange completes with 500; its `error.type` is `panic`.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanic;

impl ResponseForPanic for CatchPanic {
    type ResponseBody = Full<Bytes>;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
        if let Some(exchange) = Exchange::current() {
            let owned = || panic.downcast_ref::<String>().map(String::as_str);
            let message = panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("a value that is not text");
            exchange.record(RecordedError::from_message("panic", message));
        }
        // A payload's destructor is code like any other.
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(panic)));
        let mut response = Response::new(Full::new(Bytes::from_static(b"internal server error")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
