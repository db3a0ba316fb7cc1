//! Other requests than a browser's, other services than the shop: what must not turn the ranking round.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Frame, SizeHint};

use crate::workload::{BROWSER, Sampled, request, requests, router};

/// One kind of service and of requests to it.
#[derive(Clone)]
pub struct Shape {
    /// What is other than usual.
    pub name: String,
    /// The service.
    pub router: Router,
    requests: Arc<dyn Fn(Sampled) -> Vec<Request<Body>> + Send + Sync>,
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Shape {
    fn new<F>(name: impl Into<String>, router: Router, requests: F) -> Self
    where
        F: Fn(Sampled) -> Vec<Request<Body>> + Send + Sync + 'static,
    {
        Self { name: name.into(), router, requests: Arc::new(requests) }
    }

    /// A batch of its requests.
    pub fn requests(&self, sampled: Sampled) -> Vec<Request<Body>> {
        (self.requests)(sampled)
    }

    /// So many routes, all asked for in turn.
    pub fn routes(routes: usize) -> Self {
        let mut service = Router::new();
        for route in 0..routes {
            service = service
                .route(&format!("/route{route}/{{id}}"), get(|Path(id): Path<u64>| async move { id.to_string() }));
        }
        // A stride that meets them all, and not one after the other.
        let at = std::sync::atomic::AtomicUsize::new(0);
        Self::new(format!("{routes} routes"), service, move |sampled| {
            let begin = at.fetch_add(64, std::sync::atomic::Ordering::Relaxed);
            let uri = |number: usize| format!("/route{}/{number}", (begin + number) * 7_919 % routes);
            batch(sampled, |number, is| request("GET", &uri(number), Body::empty(), &BROWSER, is))
        })
    }
}

/// The usual shape: the workload of the other tables.
pub const USUAL: &str = "as in the tables";

/// The shapes, the usual one first.
pub fn shapes() -> Vec<Shape> {
    let mut shapes = vec![Shape::new(USUAL, router(), requests)];
    shapes.extend([3, 40].map(headers));
    shapes.extend([1, 200, 10_000].map(Shape::routes));
    shapes.push(statuses("statuses: 200, 201, 204, 301, 404, 409", &[200, 201, 204, 301, 404, 409]));
    shapes.push(statuses(
        "one in 16 answered 503",
        &[200, 200, 200, 200, 200, 200, 200, 503, 200, 200, 200, 200, 200, 200, 200, 200],
    ));
    shapes.push(bodies("empty bodies", "/empty", 0));
    shapes.push(bodies("bodies of 100 bytes", "/short", 100));
    shapes.push(bodies("64 kB in 16 frames", "/frames", 100));
    shapes.push(bodies("streamed, of unknown length", "/stream", 100));
    shapes
}

fn batch(sampled: Sampled, make: impl Fn(usize, bool) -> Request<Body>) -> Vec<Request<Body>> {
    (0..64).map(|number| make(number, sampled.is(number as u64))).collect()
}

/// So many headers, `traceparent` among them.
fn headers(count: usize) -> Shape {
    let mut all: Vec<(String, String)> =
        BROWSER.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for number in all.len()..count {
        all.push((format!("x-forwarded-{number}"), format!("value-{number}-of-a-proxy")));
    }
    all.truncate(count.saturating_sub(1));
    Shape::new(format!("{count} headers"), router(), move |sampled| {
        let headers: Vec<(&str, &str)> = all.iter().map(|(name, value)| (&**name, &**value)).collect();
        batch(sampled, |number, is| request("GET", &format!("/users/{number}"), Body::empty(), &headers, is))
    })
}

fn statuses(name: &str, statuses: &'static [u16]) -> Shape {
    let answer = |Path(status): Path<u16>| async move { StatusCode::from_u16(status).unwrap_or_default() };
    Shape::new(name, Router::new().route("/answer/{status}", get(answer)), move |sampled| {
        let status = |number: usize| statuses.iter().cycle().nth(number).copied().unwrap_or(200);
        let uri = |number| format!("/answer/{}", status(number));
        batch(sampled, |number, is| request("GET", &uri(number), Body::empty(), &BROWSER, is))
    })
}

fn bodies(name: &str, path: &'static str, sent: usize) -> Shape {
    let service = Router::new()
        .route("/empty", post(|| async {}))
        .route("/short", post(|| async { "x".repeat(100) }))
        .route("/frames", post(|| async { frames(true) }))
        .route("/stream", post(|| async { frames(false) }));
    Shape::new(name, service, move |sampled| {
        let body = || if sent == 0 { Body::empty() } else { Body::from("x".repeat(sent)) };
        batch(sampled, |_, is| request("POST", path, body(), &BROWSER, is))
    })
}

fn frames(length_is_known: bool) -> Response {
    Body::new(Frames { left: 16, length_is_known }).into_response()
}

/// 4 kB at a time.
struct Frames {
    left: u64,
    length_is_known: bool,
}

static FRAME: [u8; 4096] = [b'x'; 4096];

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FRAME)))))
    }

    fn is_end_stream(&self) -> bool {
        self.length_is_known && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.length_is_known { SizeHint::with_exact(self.left * 4096) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::shapes;
    use crate::{
        rows::{EVERYTHING, find},
        workload::{Sampled, answer},
    };

    #[test]
    fn each_shape_is_answered_with_as_many_bytes_through_everything_as_without() {
        for shape in shapes().into_iter().filter(|shape| shape.name != "10000 routes") {
            let bytes = |name| {
                let mut app = (find(name).unwrap().build)(shape.router.clone());
                shape.requests(Sampled::Tenth).into_iter().map(|request| answer(&mut app, request)).sum::<usize>()
            };
            let (bare, everything) = (bytes("bare"), bytes(EVERYTHING));
            // The requests of shapes with many routes go on from batch to batch, with other numbers in their answers.
            let tolerated = if shape.name.contains("routes") { 640 } else { 0 };
            assert!(
                bare.abs_diff(everything) <= tolerated,
                "{shape:?}: {bare} bytes bare, {everything} through everything"
            );
        }
    }
}
