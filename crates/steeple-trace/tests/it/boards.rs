//! Two services that call each other through a proxy that neither of them wrote: over HTTP and over gRPC, one trace.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    routing::{get as on_get, post},
};
use bytes::{Buf, BufMut, Bytes};
use futures_util::stream;
use http::{HeaderMap, Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry_sdk::trace::SpanData;
use steeple_trace::Trace;
use tokio::net::TcpListener;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::{
    receiver::{Process, free_port, missing, record},
    support::{Rig, attributes},
};

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Answers over HTTP and, with its status in the trailers, over gRPC.
fn second(trace: &Trace) -> Router {
    let grpc = || async {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "5".parse().unwrap())]);
        let frames = [Frame::data(Bytes::from_static(b"\0\0\0\0\x02ok")), Frame::trailers(trailers)];
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
    };
    Router::new()
        .route("/tasks/{id}", on_get(|| async { "a task" }))
        .route("/board.v1.Tasks/Get", post(grpc))
        .layer(trace.layer())
}

/// Asks the other one, through nginx, both ways.
fn first(trace: &Trace, http: u16, grpc: u16) -> Router {
    let client = trace.client_layer().layer(Client::builder(TokioExecutor::new()).build_http::<Body>());
    let channel = Channel::from_shared(format!("http://127.0.0.1:{grpc}")).unwrap().connect_lazy();
    let channel = trace.client_layer().server("board.example:50051".parse().unwrap()).layer(channel);
    let ask = move || async move {
        let uri: Uri = format!("http://127.0.0.1:{http}/tasks/7").parse().unwrap();
        let response = client.oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "a task");
        let mut calls = tonic::client::Grpc::new(channel);
        calls.ready().await.unwrap();
        let method = http::uri::PathAndQuery::from_static("/board.v1.Tasks/Get");
        let status = calls.unary(tonic::Request::new(Bytes::from_static(b"7")), method, Plain).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
        "asked"
    };
    Router::new().route("/ask", on_get(ask)).layer(trace.layer())
}

#[tokio::test]
async fn reqwest_goes_below_the_layer_with_two_conversions() {
    let rig = Rig::without_subscriber(Trace::builder());
    let address = serve(second(&rig.trace)).await;
    let client = ServiceBuilder::new()
        .layer(rig.trace.client_layer())
        .map_request(|call: Request<reqwest::Body>| reqwest::Request::try_from(call).unwrap())
        .map_response(Response::<reqwest::Body>::from)
        .service(reqwest::Client::new());
    let call = Request::get(format!("http://{address}/tasks/7")).body(reqwest::Body::default()).unwrap();
    let response = client.oneshot(call).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "a task");
    let spans = rig.spans();
    let by = |kind: &SpanKind| spans.iter().find(|span| span.span_kind == *kind).unwrap();
    assert_eq!(by(&SpanKind::Server).parent_span_id, by(&SpanKind::Client).span_context.span_id());
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// nginx in front of a server: ports for HTTP/1.1 and for gRPC.
async fn nginx(directory: &Path, server: SocketAddr) -> Option<(Process, u16, u16)> {
    let (http, grpc) = (free_port(), free_port());
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log; worker_processes 1; user root;
events {{}}
http {{
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{ listen 127.0.0.1:{http}; location / {{ proxy_pass http://{server}; proxy_http_version 1.1; }} }}
  server {{ listen 127.0.0.1:{grpc} http2; location / {{ grpc_pass grpc://{server}; }} }}
}}
"
    );
    fs::write(directory.join("nginx.conf"), configuration).unwrap();
    // Debian puts servers where not every `PATH` leads.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let Some(binary) = directories.map(|directory| directory.join("nginx")).find(|path| path.is_file()) else {
        missing("nginx");
        return None;
    };
    record("nginx", true);
    let mut command = Command::new(binary);
    command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf")).args(["-e", "error.log"]);
    let process = Process::start(&mut command);
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", grpc)).await.is_ok() {
            return Some((process, http, grpc));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nginx did not start: {:?}", fs::read_to_string(directory.join("error.log")));
}

#[tokio::test]
async fn two_services_behind_a_proxy_make_one_trace_over_http_and_over_grpc() {
    let (a, b) = (Rig::without_subscriber(Trace::builder()), Rig::without_subscriber(Trace::builder()));
    let directory = tempfile::tempdir().unwrap();
    let Some((_nginx, http, grpc)) = nginx(directory.path(), serve(second(&b.trace)).await).await else { return };
    let address = serve(first(&a.trace, http, grpc)).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let uri: Uri = format!("http://{address}/ask").parse().unwrap();
    let response = client.request(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "asked");
    let (asked, answered) = (a.spans(), b.spans());
    assert_eq!((asked.len(), answered.len()), (3, 2), "{asked:#?} {answered:#?}");
    let of = |spans: &[SpanData], name: &str, kind: &SpanKind| {
        let found = spans.iter().find(|span| span.name == name && span.span_kind == *kind);
        found.unwrap_or_else(|| panic!("{name}")).clone()
    };
    let root = of(&asked, "GET /ask", &SpanKind::Server);
    let by_http = of(&asked, "GET", &SpanKind::Client);
    let by_grpc = of(&asked, "board.v1.Tasks/Get", &SpanKind::Client);
    let http_answer = of(&answered, "GET /tasks/{id}", &SpanKind::Server);
    let grpc_answer = of(&answered, "board.v1.Tasks/Get", &SpanKind::Server);
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    for (child, parent) in [(&by_http, &root), (&by_grpc, &root), (&http_answer, &by_http), (&grpc_answer, &by_grpc)] {
        assert_eq!(child.parent_span_id, parent.span_context.span_id(), "{}", child.name);
        assert_eq!(child.span_context.trace_id(), root.span_context.trace_id());
    }
    assert_eq!(attributes(&http_answer)["network.protocol.version"], "1.1");
    for span in [&by_grpc, &grpc_answer] {
        assert_eq!(attributes(span)["rpc.response.status_code"], "NOT_FOUND");
    }
    assert_eq!(attributes(&by_grpc).get("error.type").map(String::as_str), Some("NOT_FOUND"));
    assert_eq!(attributes(&grpc_answer).get("error.type"), None, "not found is not a fault of the server");
}
