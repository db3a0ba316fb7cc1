//! Messages of gRPC calls are counted by their length prefixes, in both directions.

use std::{convert::Infallible, future::ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use steeple_core::{
    CountRequestBodyLayer,
    test_util::{ScriptedBody, Step},
};
use steeple_metrics::{GrpcType, Metrics};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Page, TestBody};

/// Two messages, the second one empty.
pub(crate) const TWO: &[u8] = b"\0\0\0\0\x03abc\0\0\0\0\0";
const ONE: &[u8] = b"\0\0\0\0\x03abc";

fn trailers(code: &'static str) -> Step {
    Step::Trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]))
}

pub(crate) fn rpc(body: &'static [u8]) -> Request<TestBody> {
    let request = Request::post("http://a.example/pkg.S/Get").header("content-type", "application/grpc");
    request.body(Full::new(Bytes::from_static(body))).unwrap()
}

/// Serves a call whose handler reads what it is sent, and answers with these steps.
pub(crate) async fn serve(metrics: &Metrics, counted: bool, answer: ScriptedBody) {
    if counted {
        let layers = ServiceBuilder::new().layer(metrics.layer()).layer(CountRequestBodyLayer);
        let service = layers.service_fn(move |request: Request<_>| {
            let answer = answer.clone();
            async move {
                BodyExt::collect(request.into_body()).await.unwrap();
                Ok::<_, Infallible>(Response::new(answer))
            }
        });
        let _read = service.oneshot(rpc(TWO)).await.unwrap().into_body().collect().await;
    } else {
        let service = metrics.layer().layer(service_fn(|_| ready(Ok::<_, Infallible>(Response::new(answer.clone())))));
        let _read = service.oneshot(rpc(TWO)).await.unwrap().into_body().collect().await;
    }
}

#[tokio::test]
async fn messages_of_calls_are_counted_by_their_prefixes_whole_or_in_pieces() {
    let metrics = Metrics::builder().grpc_method("pkg.S/Get", GrpcType::BidiStream).build().unwrap();
    // A message in pieces, one more, and half of a third, which does not count.
    let answer = ScriptedBody::new([
        Step::Data(b"\0\0\0"),
        Step::Data(b"\0\x03ab"),
        Step::Data(b"c\0\0\0\0\0\0\0"),
        trailers("0"),
    ]);
    serve(&metrics, true, answer).await;
    serve(&metrics, true, ScriptedBody::new([trailers("5")])).await;
    let labels = r#"grpc_type="bidi_stream",grpc_service="pkg.S",grpc_method="Get""#;
    let page = Page::of(&metrics);
    assert_eq!(page.value("grpc_server_msg_received_total", labels), 4.0);
    assert_eq!(page.value("grpc_server_msg_sent_total", labels), 2.0);

    let answer = ScriptedBody::new([Step::Data(ONE), Step::Data(ONE), trailers("0")]);
    let client = service_fn(move |_| ready(Ok::<_, Infallible>(Response::new(answer.clone()))));
    let response = metrics.client_layer().layer(client).oneshot(rpc(ONE)).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(Page::of(&metrics).value("grpc_client_msg_received_total", labels), 2.0);
}

#[tokio::test]
async fn uncounted_requests_have_no_count_of_messages() {
    let metrics = Metrics::builder().build().unwrap();
    serve(&metrics, false, ScriptedBody::new([Step::Data(ONE), trailers("0")])).await;
    let page = Page::of(&metrics);
    assert_eq!(page.find("grpc_server_msg_received_total").count(), 0);
    assert_eq!(page.find("grpc_server_msg_sent_total").map(|(_, value)| value).sum::<f64>(), 1.0);
}
