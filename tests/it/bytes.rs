//! Bytes are counted as they pass. Those of a request are only where its body is wrapped; else its declared length counts.

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use steeple_core::Outcome;
use steeple_tests::client::{Protocol, empty, full};

use crate::endings::Watched;

/// A body of so many frames of 1 KiB, of unknown length.
fn streamed(frames: usize) -> steeple_tests::client::RequestBody {
    let frame = || Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])));
    StreamBody::new(stream::iter((0..frames).map(move |_| frame()))).boxed_unsync()
}

async fn an_upload_is_counted_as_it_is_read_and_its_echo_as_it_is_sent(protocol: Protocol) {
    for (body, want) in [(full("hello"), 5), (full(vec![b'y'; 300_000]), 300_000), (streamed(100), 102_400)] {
        let watched = Watched::start().await;
        let mut client = watched.client(protocol).await;
        let request = client.request(Method::POST, "/echo").body(body).unwrap();
        let echoed = client.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(echoed.len() as u64, want);
        let (_, end) = watched.only_end().await;
        assert_eq!(
            (end.outcome, end.request_body_bytes, end.response_body_bytes),
            (Outcome::Completed, Some(want), want)
        );
    }
}

async fn an_upload_that_is_read_in_part_counts_in_part(protocol: Protocol) {
    let watched = Watched::start().await;
    let mut client = watched.client(protocol).await;
    let request = client.request(Method::POST, "/first-frame").header("content-length", 1 << 20);
    let response = client.send(request.body(full(vec![b'y'; 1 << 20])).unwrap()).await.unwrap();
    let read: u64 = str::from_utf8(&response.into_body().collect().await.unwrap().to_bytes()).unwrap().parse().unwrap();
    let (_, end) = watched.only_end().await;
    assert!(0 < read && read < 1 << 20, "{read}");
    assert_eq!(end.request_body_bytes, Some(read), "what the service read, not what the client declared");
}

async fn an_unread_upload_counts_nothing(protocol: Protocol) {
    let watched = Watched::start().await;
    let mut client = watched.client(protocol).await;
    let request = client.request(Method::POST, "/full").body(full("unread")).unwrap();
    client.send(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(watched.only_end().await.1.request_body_bytes, Some(0));
}

async fn without_the_counting_layer_an_upload_counts_as_declared(protocol: Protocol) {
    for (path, body, want) in [
        ("/echo", full("hello"), Some(5)),
        ("/full", full("unread"), Some(6)),
        ("/echo", empty(), Some(0)),
        ("/echo", streamed(100), None),
    ] {
        let watched = Watched::start_uncounted().await;
        let mut client = watched.client(protocol).await;
        let request = client.request(Method::POST, path).body(body).unwrap();
        client.send(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(watched.only_end().await.1.request_body_bytes, want, "{path} {want:?}");
    }
}

over_both_protocols! {
    an_upload_is_counted_as_it_is_read_and_its_echo_as_it_is_sent,
    an_upload_that_is_read_in_part_counts_in_part,
    an_unread_upload_counts_nothing,
    without_the_counting_layer_an_upload_counts_as_declared,
}
