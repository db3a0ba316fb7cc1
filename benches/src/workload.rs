//! The service and its requests.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{
    Json, Router,
    body::Body,
    extract::Path,
    routing::{get, post},
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Service, util::BoxCloneSyncService};

/// A service with a stack around it, as the benchmark calls it.
pub type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The bare router.
pub fn router() -> Router {
    Router::new().route("/users/{id}", get(user)).route("/orders", post(order))
}

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}")
}

async fn order(body: String) -> (StatusCode, Json<usize>) {
    (StatusCode::CREATED, Json(body.len()))
}

/// How many requests come from a caller that samples. All carry a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// None.
    Never,
    /// Seven of 64.
    Tenth,
    /// All.
    Always,
}

impl Sampled {
    pub(crate) const fn is(self, number: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Tenth => number % 10 == 3,
            Self::Always => true,
        }
    }
}

/// How many requests make a batch.
pub const BATCH: usize = 64;

/// The requests of one batch. Varied in place, headers and body.
pub fn requests(sampled: Sampled) -> Vec<Request<Body>> {
    (0..64_u64)
        .map(|number| {
            let (method, uri, body) = match number {
                13 | 47 => ("GET", format!("/wp-login-{number}.php"), Body::empty()),
                _ if number % 5 == 2 => {
                    let body = format!("{{\"items\":[{number}],\"note\":\"please ring\"}}");
                    ("POST", "/orders".to_owned(), Body::from(body))
                }
                _ => ("GET", format!("/users/{number}?tab=orders&page={number}"), Body::empty()),
            };
            request(method, &uri, body, &BROWSER, sampled.is(number))
        })
        .collect()
}

/// What a browser sends; with `traceparent`, 13 headers.
pub const BROWSER: [(&str, &str); 12] = [
    ("host", "shop.example.org"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example.org/cart"),
    ("cookie", "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark"),
    ("dnt", "1"),
    ("connection", "keep-alive"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
];

/// A request with these headers and a `traceparent`.
pub fn request(method: &str, uri: &str, body: Body, headers: &[(&str, &str)], sampled: bool) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder = builder.header("traceparent", if sampled { SAMPLED } else { UNSAMPLED });
    builder.body(body).unwrap_or_default()
}

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// [`answer`], and what the instruction counts cover: this and nothing else.
#[inline(never)]
pub fn measured_request(app: &mut App, request: Request<Body>) -> usize {
    answer(app, request)
}

/// Answers one request to the last byte of its body.
pub fn answer(app: &mut App, request: Request<Body>) -> usize {
    block_on(async {
        let Ok(response) = app.call(request).await;
        let mut body = response.into_body();
        let mut bytes = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            bytes = bytes.wrapping_add(frame.data_ref().map_or(0, bytes::Bytes::len));
        }
        black_box(bytes)
    })
}

/// Polls a future that never waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
