use axum::{Router, body::Body, response::Response, routing::get};
use http::{HeaderMap, HeaderValue, header};

use crate::Metrics;

impl Metrics {
    /// A router with `GET /metrics`.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let metrics = self.clone();
        Router::new().route("/metrics", get(move |headers: HeaderMap| async move { metrics.respond(&headers) }))
    }

    /// Answers a scrape: for your own handler.
    pub fn respond(&self, headers: &HeaderMap) -> Response {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let page = self.render(text(header::ACCEPT), text(header::ACCEPT_ENCODING));
        let mut response = Response::new(Body::from(page.body));
        let head = response.headers_mut();
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
        head.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
        if let Some(encoding) = page.content_encoding {
            head.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}
