//! A client with one connection, which it can drop at any moment.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request, Response, Version, request};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The version that requests have.
    pub fn version(self) -> Version {
        match self {
            Self::Http1 => Version::HTTP_11,
            Self::Http2 => Version::HTTP_2,
        }
    }
}

/// A request body.
pub type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// No request body.
pub fn empty() -> RequestBody {
    Empty::new().boxed_unsync()
}

/// A request body that is known at once.
pub fn full(body: impl Into<Bytes>) -> RequestBody {
    Full::new(body.into()).boxed_unsync()
}

/// One connection. Dropping it hangs up.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    address: SocketAddr,
    sender: Sender,
    connection: JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

impl Client {
    /// Connects, if anybody listens yet.
    pub async fn try_connect(protocol: Protocol, address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        Some(Self::over(protocol, address, stream).await)
    }

    /// Connects.
    pub async fn connect(protocol: Protocol, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Self::over(protocol, address, stream).await
    }

    async fn over(protocol: Protocol, address: SocketAddr, stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a connected socket");
        let io = TokioIo::new(stream);
        let (sender, connection) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.expect("a handshake without bytes");
                let task = tokio::spawn(async move {
                    let _how_it_ended = connection.with_upgrades().await;
                });
                (Sender::Http1(sender), task)
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.expect("the server speaks HTTP/2");
                let task = tokio::spawn(async move {
                    let _how_it_ended = connection.await;
                });
                (Sender::Http2(sender), task)
            }
        };
        Self { protocol, address, sender, connection }
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Starts a request to this path in the form that the protocol wants.
    pub fn request(&self, method: Method, path: &str) -> request::Builder {
        let builder = Request::builder().method(method).version(self.protocol.version());
        match self.protocol {
            Protocol::Http1 => builder.uri(path).header("host", self.address.to_string()),
            Protocol::Http2 => builder.uri(format!("http://{}{path}", self.address)),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When no response arrives: the service failed, or the connection did.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, hyper::Error> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Gets this path.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get(&mut self, path: &str) -> Result<Response<Incoming>, hyper::Error> {
        let request = self.request(Method::GET, path).body(empty()).expect("a request that is well formed");
        self.send(request).await
    }

    /// Whether the connection can take another request.
    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The socket is the connection task's.
        self.connection.abort();
    }
}
