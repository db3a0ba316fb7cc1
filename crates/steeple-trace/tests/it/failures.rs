//! Calls over real connections that fail: each kind of failure has its own `error.type`, and a gRPC call has the status that
//! its caller sees.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use http::{Request, Response};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use rcgen::{CertificateParams, KeyPair};
use steeple_trace::{Trace, UrlTemplate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use tonic::{Code, transport::Channel};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    boards::Plain,
    support::{Rig, attributes, is_error},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a server does with each of its connections.
enum Server {
    /// Reads a request, and closes.
    Closes,
    /// Never answers.
    Hangs,
    /// Has a certificate that no client trusts.
    Tls,
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn serve(server: Server) -> SocketAddr {
    let (listener, address) = listen().await;
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            match server {
                Server::Closes => drop(stream.read(&mut [0; 1024]).await),
                Server::Hangs => open.push(stream),
                Server::Tls => drop(acceptor.accept(stream).await),
            }
        }
    });
    address
}

/// A client that trusts no authority.
async fn over_tls(to: SocketAddr, request: Request<Body>) -> Result<Response<hyper::body::Incoming>, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let stream = TcpStream::connect(to).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// The span of a call to this address, by hyper's client, by one over TLS or by one that waits a little, as their users have
/// them.
async fn fails(to: &str, server: SocketAddr) -> opentelemetry_sdk::trace::SpanData {
    let rig = Rig::without_subscriber(Trace::builder());
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let client = rig.trace.client_layer().layer(service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            if request.uri().scheme_str() == Some("https") {
                return over_tls(server, request).await;
            }
            if request.uri().path() == "/slow" {
                return Ok(tokio::time::timeout(Duration::from_millis(50), client.request(request)).await??);
            }
            Ok::<_, Error>(client.request(request).await?)
        }
    }));
    let mut call = Request::get(to).body(Body::empty()).unwrap();
    call.extensions_mut().insert(UrlTemplate("/{what}"));
    assert!(client.oneshot(call).await.is_err(), "{to}");
    rig.span()
}

#[tokio::test]
async fn each_failure_of_a_network_has_its_own_type_and_its_causes_in_the_message() {
    let gone = listen().await.1;
    let (closes, hangs, tls) = (serve(Server::Closes).await, serve(Server::Hangs).await, serve(Server::Tls).await);
    // A label of a name has at most 63 bytes: the resolver refuses it by itself, and asks no server.
    let unknown = format!("http://{}.invalid/", "a".repeat(64));
    for (to, server, class, cause) in [
        (format!("http://{gone}/"), gone, "connect", "refused"),
        (unknown, gone, "dns", "dns error"),
        (format!("http://{closes}/"), closes, "reset", ""),
        (format!("http://{hangs}/slow"), hangs, "timeout", "elapsed"),
        (format!("https://{tls}/"), tls, "tls", "ertificate"),
        // One that speaks no TLS at all.
        (format!("https://{closes}/"), closes, "tls", ""),
    ] {
        let span = fails(&to, server).await;
        assert_eq!(attributes(&span).get("error.type").map(String::as_str), Some(class), "{to}: {span:?}");
        let opentelemetry::trace::Status::Error { description } = &span.status else { panic!("{to}: {span:?}") };
        assert!(description.contains(cause) && is_error(&span), "{to}: {description}");
    }
}

/// Calls a method of a board by Tonic. Returns the status that the caller sees, and the one on the span.
async fn call_grpc(address: SocketAddr, timeout: Option<Duration>) -> (Code, String) {
    let rig = Rig::without_subscriber(Trace::builder());
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut calls = tonic::client::Grpc::new(
        rig.trace.client_layer().server("board.example:50051".parse().unwrap()).layer(channel),
    );
    calls.ready().await.unwrap();
    let mut request = tonic::Request::new(Bytes::from_static(b"7"));
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let method = http::uri::PathAndQuery::from_static("/board.v1.Tasks/Get");
    let status = calls.unary::<_, Bytes, _>(request, method, Plain).await.unwrap_err();
    let span = rig.span();
    (status.code(), attributes(&span)["rpc.response.status_code"].clone())
}

#[tokio::test]
async fn a_grpc_calls_own_deadline_is_deadline_exceeded() {
    let (listener, address) = listen().await;
    let never = Router::new().route("/board.v1.Tasks/Get", post(std::future::pending::<()>));
    tokio::spawn(async move { axum::serve(listener, never).await });
    let (seen, said) = call_grpc(address, Some(Duration::from_millis(100))).await;
    // Tonic itself reports its timeout as `Cancelled`.
    assert!(matches!(seen, Code::Cancelled | Code::DeadlineExceeded), "{seen:?}");
    assert_eq!(said, "DEADLINE_EXCEEDED");
    let gone = listen().await.1;
    assert_eq!(call_grpc(gone, None).await, (Code::Unavailable, "UNAVAILABLE".to_owned()));
}

/// A server of HTTP/2 that answers each request with a response head, if `head` is, and resets its stream with this error.
async fn resets(head: bool, error: u8) -> SocketAddr {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let serving = async move {
                stream.read_exact(&mut [0; PREFACE]).await?;
                stream.write_all(&[SETTINGS, ACKNOWLEDGED].concat()).await?;
                loop {
                    let mut frame = [0; 9];
                    stream.read_exact(&mut frame).await?;
                    let [a, b, c, kind, _, id @ ..] = frame;
                    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                    stream.read_exact(&mut payload).await?;
                    if kind != HEADERS {
                        continue;
                    }
                    if head {
                        // `:status: 200` and a content type, as HPACK writes them without a table.
                        let block = [&[0x88, 0x40, 12][..], b"content-type", &[16], b"application/grpc"].concat();
                        let length = u8::try_from(block.len()).unwrap();
                        stream.write_all(&[&[0, 0, length, HEADERS, 4][..], &id, &block].concat()).await?;
                    }
                    stream.write_all(&[&[0, 0, 4, 3, 0][..], &id, &[0, 0, 0, error]].concat()).await?;
                }
                #[expect(unreachable_code, reason = "the type of the loop's errors")]
                Ok::<_, std::io::Error>(())
            };
            tokio::spawn(serving);
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_call_whose_stream_is_reset_has_the_status_that_its_caller_sees() {
    for head in [false, true] {
        // Errors of RFC 9113, section 7, and what gRPC makes of them.
        for (error, code, name) in [
            (1, Code::Internal, "INTERNAL"),
            (2, Code::Internal, "INTERNAL"),
            (7, Code::Unavailable, "UNAVAILABLE"),
            (8, Code::Cancelled, "CANCELLED"),
            (11, Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
            (12, Code::PermissionDenied, "PERMISSION_DENIED"),
        ] {
            let seen = call_grpc(resets(head, error).await, None).await;
            assert_eq!(seen, (code, name.to_owned()), "error {error}, after a head: {head}");
        }
    }
}
