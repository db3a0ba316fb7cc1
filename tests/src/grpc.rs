//! A gRPC service and its client, with texts for messages, so that no generated code is needed.

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{Request, Response, uri::PathAndQuery};
use http_body::Body;
use tonic::{
    Code, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tower::Service;

/// Messages that are UTF-8 and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextCodec;

impl Codec for TextCodec {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// `lab.v1.Lab`: every way in which a call can end.
///
/// | method | answer |
/// | --- | --- |
/// | `Say` (unary) | the message back; `fail 5` fails with that code |
/// | `Count` (server streaming) | `3` counts to 3; `3 fail 13` fails after it; `3 stall` never ends |
/// | `Gather` (client streaming) | how many messages came |
/// | `Mute` (unary) | one message and no status at all |
///
/// Any other method is `UNIMPLEMENTED`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcLab;

impl GrpcLab {
    async fn answer<B>(request: Request<B>) -> Response<tonic::body::Body>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let mut grpc = tonic::server::Grpc::new(TextCodec);
        match request.uri().path() {
            "/lab.v1.Lab/Say" => {
                let say = |request: tonic::Request<String>| async move {
                    let text = request.into_inner();
                    failure(&text).map_or_else(|| Ok(tonic::Response::new(text)), Err)
                };
                grpc.unary(tower::service_fn(say), request).await
            }
            "/lab.v1.Lab/Count" => {
                let count = |request: tonic::Request<String>| async move {
                    Ok(tonic::Response::new(count(&request.into_inner())))
                };
                grpc.server_streaming(tower::service_fn(count), request).await
            }
            "/lab.v1.Lab/Gather" => {
                let gather = |request: tonic::Request<Streaming<String>>| async move {
                    let messages = request.into_inner().filter(|message| std::future::ready(message.is_ok()));
                    Ok(tonic::Response::new(messages.count().await.to_string()))
                };
                grpc.client_streaming(tower::service_fn(gather), request).await
            }
            "/lab.v1.Lab/Mute" => {
                let body = http_body_util::Full::new(Bytes::from_static(b"\0\0\0\0\x02hi"));
                let head = Response::builder().header("content-type", "application/grpc");
                head.body(tonic::body::Body::new(body)).unwrap()
            }
            _ => Status::unimplemented("no such method").into_http(),
        }
    }
}

/// Reads `fail 5`.
fn failure(text: &str) -> Option<Status> {
    let code: i32 = text.strip_prefix("fail ")?.parse().ok()?;
    Some(Status::new(Code::from(code), "as asked"))
}

fn count(text: &str) -> BoxStream<'static, Result<String, Status>> {
    let (messages, then) = text.split_once(' ').unwrap_or((text, ""));
    let messages: u32 = messages.parse().unwrap_or(0);
    let counted = stream::iter(1..=messages).map(|number| Ok(number.to_string()));
    if then == "stall" {
        counted.chain(stream::pending()).boxed()
    } else {
        counted.chain(stream::iter(failure(then).map(Err))).boxed()
    }
}

impl<B> Service<Request<B>> for GrpcLab
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Self::answer(request).map(Ok).boxed()
    }
}

/// A channel to this server, which connects with its first call.
pub fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect_lazy()
}

/// A tonic client of [`GrpcLab`].
#[derive(Clone, Debug)]
pub struct GrpcClient(Channel);

impl GrpcClient {
    /// A client that connects with its first call.
    pub fn to(address: SocketAddr) -> Self {
        Self(channel(address))
    }

    async fn ready(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.expect("the connection stands");
        grpc
    }

    /// Calls a unary method, such as `/lab.v1.Lab/Say`.
    ///
    /// # Errors
    /// The status that the call ended with.
    pub async fn unary(&self, path: &str, message: &str) -> Result<String, Status> {
        let path = PathAndQuery::try_from(path).expect("a path");
        let request = tonic::Request::new(message.to_owned());
        self.ready().await.unary(request, path, TextCodec).await.map(tonic::Response::into_inner)
    }

    /// Calls a method that streams its answer.
    ///
    /// # Errors
    /// The status that the call ended with, if there was nothing else.
    pub async fn server_streaming(&self, path: &str, message: &str) -> Result<Streaming<String>, Status> {
        let path = PathAndQuery::try_from(path).expect("a path");
        let request = tonic::Request::new(message.to_owned());
        self.ready().await.server_streaming(request, path, TextCodec).await.map(tonic::Response::into_inner)
    }

    /// Calls a method that is streamed to.
    ///
    /// # Errors
    /// The status that the call ended with.
    pub async fn client_streaming<M>(&self, path: &str, messages: M) -> Result<String, Status>
    where
        M: Stream<Item = String> + Send + 'static,
    {
        let path = PathAndQuery::try_from(path).expect("a path");
        let request = tonic::Request::new(messages);
        self.ready().await.client_streaming(request, path, TextCodec).await.map(tonic::Response::into_inner)
    }
}
