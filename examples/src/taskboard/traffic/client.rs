//! Sends one request and watches how it ends.

use std::{io, net::SocketAddr, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, Uri, header, uri::Scheme};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tonic::{Code, Status};

use super::{
    super::grpc::proto::{GetTaskRequest, WatchTasksRequest, task_board_client::TaskBoardClient},
    Protocol, Row, Seen,
    plan::{Draft, Http, Manner, Payload, Work},
    world::World,
};

/// Longer than anything that the plan asks for.
const PATIENCE: Duration = Duration::from_secs(10);
const AGENT: &str = "taskboard-traffic/0.1";
const SERVICE: &str = "/taskboard.v1.TaskBoard";
const GET_TASK: &str = "/taskboard.v1.TaskBoard/GetTask";
const WATCH_TASKS: &str = "/taskboard.v1.TaskBoard/WatchTasks";

/// A client for each protocol. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    address: SocketAddr,
    http1: legacy::Client<HttpConnector, Body>,
    http2: legacy::Client<HttpConnector, Body>,
    grpc: TaskBoardClient<legacy::Client<HttpConnector, tonic::body::Body>>,
}

/// Response head and ending, as far as they were seen.
struct End {
    status: Option<u16>,
    grpc: Option<i32>,
    seen: Seen,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        let builder = || legacy::Client::builder(TokioExecutor::new());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let grpc = builder().http2_only(true).build(connector.clone());
        Self {
            address,
            http1: builder().build(connector.clone()),
            http2: builder().http2_only(true).build(connector),
            grpc: TaskBoardClient::with_origin(grpc, origin(address, "/")),
        }
    }

    /// Sends it, waits for its end, and says what that was and how long it took.
    pub(super) async fn perform(&self, work: &Work, protocol: Protocol, world: &World) -> (Row, Duration) {
        let begin = Instant::now();
        let (method, route) = match work {
            Work::Http(http) => (http.method, http.route),
            Work::GetTask(_) => ("POST", GET_TASK),
            Work::WatchTasks { .. } | Work::LeaveWatch { .. } => ("POST", WATCH_TASKS),
            Work::UnknownCall => ("POST", "unmatched"),
        };
        let end = tokio::time::timeout(PATIENCE, self.send(work, protocol, world)).await;
        let End { status, grpc, seen } = end.unwrap_or(End { status: None, grpc: None, seen: Seen::TimedOut });
        (Row { protocol, method, route, status, grpc, seen }, begin.elapsed())
    }

    async fn send(&self, work: &Work, protocol: Protocol, world: &World) -> End {
        match work {
            Work::Http(http) => self.http(http, protocol, world).await,
            Work::GetTask(code) => {
                let request = GetTaskRequest { id: world.task(), end_with_code: *code };
                called(self.grpc.clone().get_task(request).await.map(drop))
            }
            Work::WatchTasks { end_after, code } => {
                let request = watch(world, *end_after, Some(*code));
                called(self.read_watch(request, u32::MAX).await.map(drop))
            }
            Work::LeaveWatch { after } => match self.read_watch(watch(world, 0, None), *after).await {
                Ok(true) => End { status: Some(200), grpc: None, seen: Seen::CancelledInBody },
                Ok(false) => called(Ok(())),
                Err(status) => called(Err(status)),
            },
            Work::UnknownCall => self.unknown_call().await,
        }
    }

    async fn http(&self, work: &Http, protocol: Protocol, world: &World) -> End {
        let client = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 | Protocol::Grpc => &self.http2,
        };
        let draft = (work.draft)(world);
        if let (Manner::LeaveBeforeHead(ms), Protocol::Http1) = (work.manner, protocol) {
            return match self.knock(work.method, &draft.path, Duration::from_millis(ms)).await {
                Ok(()) => End { status: None, grpc: None, seen: Seen::Cancelled },
                Err(_broken) => End { status: None, grpc: None, seen: Seen::NoAnswer },
            };
        }
        let answer = client.request(self.request(work, draft));
        let answer = match work.manner {
            Manner::LeaveBeforeHead(ms) => match tokio::time::timeout(Duration::from_millis(ms), answer).await {
                Ok(answer) => answer,
                Err(_elapsed) => return End { status: None, grpc: None, seen: Seen::Cancelled },
            },
            Manner::Read | Manner::LeaveInBody(_) | Manner::Upgrade => answer.await,
        };
        let Ok(response) = answer else { return End { status: None, grpc: None, seen: Seen::NoAnswer } };
        let status = Some(response.status().as_u16());
        let seen = match work.manner {
            Manner::Upgrade => talk(response).await,
            Manner::LeaveInBody(frames) => leave(response.into_body(), frames).await,
            Manner::Read | Manner::LeaveBeforeHead(_) => {
                let created = response.status() == http::StatusCode::CREATED;
                match response.into_body().collect().await {
                    Ok(body) => {
                        if created && let Ok(answer) = serde_json::from_slice(&body.to_bytes()) {
                            (work.learn)(world, &answer);
                        }
                        Seen::Completed
                    }
                    Err(_broken) => Seen::BrokenBody,
                }
            }
        };
        End { status, grpc: None, seen }
    }

    /// Sends a request on a new connection, and closes it a little later.
    ///
    /// A pool might still be connecting by then, and the request would have been counted and never sent.
    async fn knock(&self, method: &str, path: &str, wait: Duration) -> io::Result<()> {
        let mut connection = TcpStream::connect(self.address).await?;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: {AGENT}\r\n\r\n", self.address);
        connection.write_all(head.as_bytes()).await?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn request(&self, work: &Http, draft: Draft) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::from_bytes(work.method.as_bytes()).unwrap_or_default();
        *request.uri_mut() = origin(self.address, &draft.path);
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(Ok(value)) = draft.token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))) {
            headers.insert(header::AUTHORIZATION, value);
        }
        if matches!(work.manner, Manner::Upgrade) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("echo"));
        }
        if matches!(draft.body, Payload::Json(_) | Payload::Broken) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        *request.body_mut() = match draft.body {
            Payload::None => Body::empty(),
            Payload::Json(value) => Body::from(value.to_string()),
            Payload::Broken => Body::from("{\"email\":"),
            Payload::Frames(count) => Body::from_stream(stream::unfold(0, move |sent| async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let frame = Ok::<_, io::Error>(Bytes::from_static(b"as it was said\n"));
                (sent < count).then(|| (frame, sent.saturating_add(1)))
            })),
        };
        request
    }

    /// Reads up to `most` messages; says whether it left before the stream's end.
    async fn read_watch(&self, request: WatchTasksRequest, most: u32) -> Result<bool, Status> {
        let mut messages = self.grpc.clone().watch_tasks(request).await?.into_inner();
        for _ in 0..most {
            if messages.message().await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn unknown_call(&self) -> End {
        let mut request = Request::new(Body::from(&b"\0\0\0\0\0"[..]));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = origin(self.address, &format!("{SERVICE}/MadeUp{:x}", fastrand::u32(..)));
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        let Ok(response) = self.http2.request(request).await else {
            return End { status: None, grpc: None, seen: Seen::NoAnswer };
        };
        let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
        let status = Some(response.status().as_u16());
        let seen = if response.into_body().collect().await.is_ok() { Seen::Completed } else { Seen::BrokenBody };
        End { status, grpc: code, seen }
    }
}

/// Where a call's status says all that there is to say.
fn called(result: Result<(), Status>) -> End {
    let code = result.err().map_or(Code::Ok, |status| status.code());
    End { status: Some(200), grpc: Some(code.into()), seen: Seen::Completed }
}

fn watch(world: &World, end_after: u32, end_with_code: Option<i32>) -> WatchTasksRequest {
    WatchTasksRequest { project_id: world.project(), end_after, end_with_code, heartbeat_ms: 20 }
}

/// Reads some frames and hangs up.
async fn leave(mut body: Incoming, frames: u32) -> Seen {
    for _ in 0..frames {
        match body.frame().await {
            Some(Ok(_)) => (),
            Some(Err(_broken)) => return Seen::BrokenBody,
            None => return Seen::Completed,
        }
    }
    Seen::CancelledInBody
}

/// Says something over the new protocol, hears it, and closes.
async fn talk(response: Response<Incoming>) -> Seen {
    const WORDS: &[u8] = b"is anybody there?";
    let Ok(upgraded) = hyper::upgrade::on(response).await else { return Seen::Completed };
    let mut connection = TokioIo::new(upgraded);
    let mut heard = Vec::new();
    let talked = async {
        connection.write_all(WORDS).await?;
        connection.shutdown().await?;
        connection.read_to_end(&mut heard).await
    };
    if talked.await.is_ok() && heard == WORDS { Seen::Upgraded } else { Seen::BrokenBody }
}

fn origin(address: SocketAddr, path: &str) -> Uri {
    Uri::builder().scheme(Scheme::HTTP).authority(address.to_string()).path_and_query(path).build().unwrap_or_default()
}
