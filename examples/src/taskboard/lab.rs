//! `/lab`: every way in which a request can end, on demand. The table is at [`router`](super::router).

use std::{convert::Infallible, error::Error, fmt, io, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        Path, Query, Request,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{any, get},
};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::Limited;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{App, api::ApiError};

const MAX_WAIT_MS: u64 = 30_000;
const MAX_GAP_MS: u64 = 5_000;
const MAX_FRAMES: u64 = 10_000;
const MAX_ECHO_BYTES: usize = 16 * 1024 * 1024;
/// What a body that will break waits first: a server that fails has no time for what it has not sent yet.
const FLUSH: Duration = Duration::from_millis(10);
/// How long an upgraded connection may be silent.
const UPGRADE_IDLE: Duration = Duration::from_mins(1);

type Params<T> = Result<Query<T>, QueryRejection>;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/slow", get(slow))
        .route("/fail", get(fail))
        .route("/panic", get(panic))
        .route("/stream", get(stream))
        .route("/body-error", get(body_error))
        .route("/status/{code}", any(status))
        .route("/echo", any(echo))
        .route("/sse", get(sse))
        .route("/upgrade", get(upgrade))
}

#[derive(Debug, Deserialize)]
struct Slow {
    ms: Option<u64>,
}

async fn slow(params: Params<Slow>) -> Result<Json<serde_json::Value>, ApiError> {
    let Query(params) = params?;
    let ms = up_to("ms", params.ms, 1_000, MAX_WAIT_MS)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(Json(serde_json::json!({ "slept_ms": ms })))
}

/// The report that `/lab/fail` cannot write. Two sources: the page, and the disk.
#[derive(Debug)]
struct ReportError(PageError);

#[derive(Debug)]
struct PageError {
    page: u32,
    source: io::Error,
}

async fn fail() -> Result<String, ReportError> {
    let full = io::Error::new(io::ErrorKind::StorageFull, "no space left on the report disk");
    Err(ReportError(PageError { page: 3, source: full }))
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the monthly report could not be written")
    }
}

impl Error for ReportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} could not be rendered", self.page)
    }
}

impl Error for PageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl IntoResponse for ReportError {
    fn into_response(self) -> Response {
        ApiError::failed(self).into_response()
    }
}

#[derive(Debug, Deserialize)]
struct After {
    after: Option<u64>,
}

#[expect(clippy::panic, reason = "that is what it is for")]
async fn panic(params: Params<After>) -> Result<Body, ApiError> {
    let Query(params) = params?;
    let after = up_to("after", params.after, 0, MAX_FRAMES)?;
    assert!(after > 0, "the lab was asked to panic");
    let breaks = stream::once(async {
        tokio::time::sleep(FLUSH).await;
        panic!("the lab was asked to panic in the body")
    });
    Ok(Body::from_stream(frames(after, Duration::ZERO).chain(breaks)))
}

#[derive(Debug, Deserialize)]
struct Frames {
    frames: Option<u64>,
    gap_ms: Option<u64>,
}

async fn stream(params: Params<Frames>) -> Result<Body, ApiError> {
    let Query(params) = params?;
    let count = up_to("frames", params.frames, 10, MAX_FRAMES)?;
    let gap = up_to("gap_ms", params.gap_ms, 10, MAX_GAP_MS)?;
    Ok(Body::from_stream(frames(count, Duration::from_millis(gap))))
}

async fn body_error(params: Params<After>) -> Result<Body, ApiError> {
    let Query(params) = params?;
    let after = up_to("after", params.after, 3, MAX_FRAMES)?;
    let broken = io::Error::other("the lab was asked to break the body");
    let breaks = stream::once(async {
        tokio::time::sleep(FLUSH).await;
        Err(broken)
    });
    Ok(Body::from_stream(frames(after, Duration::ZERO).chain(breaks)))
}

async fn status(code: Result<Path<u16>, PathRejection>) -> Result<Response, ApiError> {
    let Path(code) = code?;
    let status = StatusCode::from_u16(code).ok().filter(|_| (200..=599).contains(&code));
    let Some(status) = status else {
        return Err(ApiError::parameter("code", format!("`code` must be 200 to 599, not {code}")));
    };
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(status.into_response());
    }
    Ok((status, Json(serde_json::json!({ "status": code }))).into_response())
}

async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Body::new(Limited::new(body, MAX_ECHO_BYTES)));
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
}

#[derive(Debug, Deserialize)]
struct Events {
    events: Option<u64>,
    gap_ms: Option<u64>,
}

async fn sse(params: Params<Events>) -> Result<impl IntoResponse, ApiError> {
    let Query(params) = params?;
    let count = up_to("events", params.events, 10, MAX_FRAMES)?;
    let gap = up_to("gap_ms", params.gap_ms, 100, MAX_GAP_MS)?;
    let events = ticks(count, Duration::from_millis(gap))
        .map(|number| Ok::<_, Infallible>(Event::default().event("tick").id(number.to_string()).data("a task moved")));
    Ok(Sse::new(events))
}

async fn upgrade(mut request: Request) -> Result<Response, ApiError> {
    let wanted = request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"echo"));
    if !wanted {
        let message = "send `connection: upgrade` and `upgrade: echo` over HTTP/1.1";
        return Err(ApiError::refused(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(connection) => match echo_bytes(TokioIo::new(connection)).await {
                Ok(bytes) => tracing::info!(bytes, "upgraded connection closed"),
                Err(error) => tracing::warn!(%error, "upgraded connection broke"),
            },
            Err(error) => tracing::warn!(%error, "upgrade failed"),
        }
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("echo")),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Sends back what comes, until the client closes or is silent for a minute. Says how many bytes that were.
async fn echo_bytes<C>(mut connection: TokioIo<C>) -> io::Result<u64>
where
    TokioIo<C>: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let mut buffer = vec![0; 4096];
    let mut bytes = 0_u64;
    loop {
        let read = tokio::time::timeout(UPGRADE_IDLE, connection.read(&mut buffer)).await.unwrap_or(Ok(0))?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            connection.shutdown().await?;
            return Ok(bytes);
        };
        connection.write_all(chunk).await?;
        bytes = bytes.saturating_add(chunk.len() as u64);
    }
}

/// Numbers from 1 to `count`, the first at once, the others `gap` apart.
fn ticks(count: u64, gap: Duration) -> impl Stream<Item = u64> + Send {
    stream::iter(1..=count).then(move |number| async move {
        if number > 1 && !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
        number
    })
}

fn frames(count: u64, gap: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send {
    ticks(count, gap).map(|number| Ok(Bytes::from(format!("frame {number}\n"))))
}

/// The parameter, its default, or its error.
pub(super) fn up_to(name: &'static str, value: Option<u64>, default: u64, max: u64) -> Result<u64, ApiError> {
    match value.unwrap_or(default) {
        value if value <= max => Ok(value),
        value => Err(ApiError::parameter(name, format!("`{name}` must be 0 to {max}, not {value}"))),
    }
}
