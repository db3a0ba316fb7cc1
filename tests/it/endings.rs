//! Every way in which an exchange can end, over a socket.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use steeple_core::{CountRequestBodyLayer, End, Exchange, ObserveLayer, Outcome, test_util::RecordingObserver};
use steeple_tests::{
    client::{Client, Protocol, empty},
    lab::{ARRIVAL, Lab},
    server::Server,
    settle::settle,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::Layer;

/// A watched lab behind a socket.
pub(crate) struct Watched {
    pub(crate) lab: Lab,
    pub(crate) observer: RecordingObserver,
    pub(crate) server: Server,
}

impl Watched {
    pub(crate) async fn start() -> Self {
        let (lab, observer) = (Lab::new(), RecordingObserver::new());
        let watched = ObserveLayer::new(observer.clone()).layer(lab.clone());
        let server = Server::start(CountRequestBodyLayer.layer(watched)).await;
        Self { lab, observer, server }
    }

    /// Without the layer that counts request bodies.
    pub(crate) async fn start_uncounted() -> Self {
        let (lab, observer) = (Lab::new(), RecordingObserver::new());
        let server = Server::start(ObserveLayer::new(observer.clone()).layer(lab.clone())).await;
        Self { lab, observer, server }
    }

    pub(crate) async fn client(&self, protocol: Protocol) -> Client {
        Client::connect(protocol, self.server.address()).await
    }

    /// The end of the only exchange.
    pub(crate) async fn only_end(&self) -> (Exchange, End) {
        settle(&self.observer, 1).await.remove(0)
    }
}

/// What a client does with an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Reads it to its end, or to its error.
    ReadsAll,
    /// Waits until the request has arrived, then closes the connection.
    LeavesBeforeTheHead,
    /// The same, but drops the request alone: a reset stream in HTTP/2.
    DropsBeforeTheHead,
    /// Reads three bytes of the body, then closes the connection.
    LeavesInTheBody,
    /// The same, but drops the response alone.
    DropsInTheBody,
}

async fn check(protocol: Protocol, method: Method, path: &str, then: Then, want: Outcome) -> End {
    let watched = Watched::start().await;
    let mut client = watched.client(protocol).await;
    let (arrival, arrived) = watched.lab.arrival();
    let request = client.request(method.clone(), path).header(ARRIVAL, arrival).body(empty()).unwrap();
    match then {
        Then::ReadsAll => {
            if let Ok(response) = client.send(request).await {
                let _read_to_its_end_or_its_error = response.into_body().collect().await;
            }
        }
        Then::LeavesBeforeTheHead | Then::DropsBeforeTheHead => {
            tokio::select! {
                answer = client.send(request) => panic!("no answer was wanted: {answer:?}"),
                arrived = arrived => arrived.unwrap(),
            }
        }
        Then::LeavesInTheBody | Then::DropsInTheBody => {
            let mut body = client.send(request).await.unwrap().into_body();
            let mut read = 0;
            while read < 3 {
                read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
            if then == Then::LeavesInTheBody {
                drop(client);
            }
            drop(body);
        }
    }
    let (exchange, end) = watched.only_end().await;
    assert_eq!(end.outcome, want, "{method} {path} over {protocol:?}, the client {then:?}");
    assert_eq!(exchange.version(), protocol.version());
    end
}

async fn a_body_read_to_its_end_completes(protocol: Protocol) {
    for (path, bytes) in [("/full", 5), ("/chunked", 6), ("/trailers", 3), ("/status/500", 6)] {
        let end = check(protocol, Method::GET, path, Then::ReadsAll, Outcome::Completed).await;
        assert_eq!(end.response_body_bytes, bytes, "{path}");
        assert!(end.head_after.unwrap() <= end.duration);
    }
}

async fn an_answer_without_a_body_completes_unread(protocol: Protocol) {
    for path in ["/empty", "/status/204", "/status/304"] {
        let end = check(protocol, Method::GET, path, Then::ReadsAll, Outcome::Completed).await;
        assert_eq!(end.response_body_bytes, 0, "{path}");
    }
}

async fn head_completes_whatever_body_the_service_gave(protocol: Protocol) {
    for path in ["/full", "/chunked", "/empty"] {
        let end = check(protocol, Method::HEAD, path, Then::ReadsAll, Outcome::Completed).await;
        assert_eq!((end.status, end.response_body_bytes), (Some(StatusCode::OK), 0), "{path}");
    }
}

async fn a_service_error_ends_as_such(protocol: Protocol) {
    let end = check(protocol, Method::GET, "/service-error", Then::ReadsAll, Outcome::ServiceError).await;
    assert_eq!((end.status, end.status_code()), (None, 500));
}

async fn a_body_error_after_two_frames_ends_as_such(protocol: Protocol) {
    let end = check(protocol, Method::GET, "/body-error", Then::ReadsAll, Outcome::BodyError).await;
    assert_eq!((end.status_code(), end.response_body_bytes), (200, 6));
}

async fn a_panic_in_the_handler_or_in_the_body_ends_as_panicked(protocol: Protocol) {
    assert_eq!(check(protocol, Method::GET, "/panic", Then::ReadsAll, Outcome::Panicked).await.status, None);
    let end = check(protocol, Method::GET, "/body-panic", Then::ReadsAll, Outcome::Panicked).await;
    assert_eq!((end.status_code(), end.response_body_bytes), (200, 3));
}

async fn a_client_gone_before_the_head_cancels(protocol: Protocol) {
    let end = check(protocol, Method::GET, "/never", Then::LeavesBeforeTheHead, Outcome::Cancelled).await;
    assert_eq!((end.status, end.status_code()), (None, 499));
}

async fn a_request_dropped_before_the_head_cancels(protocol: Protocol) {
    check(protocol, Method::GET, "/never", Then::DropsBeforeTheHead, Outcome::Cancelled).await;
}

async fn a_client_gone_in_the_body_cancels_in_the_body(protocol: Protocol) {
    let end = check(protocol, Method::GET, "/stall", Then::LeavesInTheBody, Outcome::CancelledInBody).await;
    assert_eq!((end.status_code(), end.response_body_bytes), (200, 3));
}

async fn a_response_dropped_in_the_body_cancels_in_the_body(protocol: Protocol) {
    check(protocol, Method::GET, "/stall", Then::DropsInTheBody, Outcome::CancelledInBody).await;
}

async fn a_client_gone_with_all_the_bytes_that_were_declared_has_completed(protocol: Protocol) {
    // hyper stops polling an HTTP/1.1 body at its declared length; over HTTP/2 it is the client that leaves.
    let watched = Watched::start().await;
    let mut client = watched.client(protocol).await;
    let mut body = client.get("/declared").await.unwrap().into_body();
    let mut read = Vec::new();
    while read.len() < 6 {
        read.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop((body, client));
    let (_, end) = watched.only_end().await;
    assert_eq!((read.as_slice(), end.outcome, end.response_body_bytes), (&b"abcdef"[..], Outcome::Completed, 6));
}

async fn many_exchanges_on_one_connection_end_each_on_its_own(protocol: Protocol) {
    let watched = Watched::start().await;
    let mut client = watched.client(protocol).await;
    for path in ["/full", "/empty", "/chunked", "/status/404", "/full"] {
        client.get(path).await.unwrap().into_body().collect().await.unwrap();
    }
    let ended = settle(&watched.observer, 5).await;
    let seen: Vec<_> = ended.iter().map(|(exchange, end)| (exchange.name().to_string(), end.status_code())).collect();
    let want = [("/full", 200), ("/empty", 200), ("/chunked", 200), ("/status/{code}", 404), ("/full", 200)];
    assert_eq!(seen, want.map(|(route, status)| (format!("GET {route}"), status)));
    assert!(ended.iter().all(|(_, end)| end.outcome == Outcome::Completed));
}

over_both_protocols! {
    a_body_read_to_its_end_completes,
    an_answer_without_a_body_completes_unread,
    head_completes_whatever_body_the_service_gave,
    a_service_error_ends_as_such,
    a_body_error_after_two_frames_ends_as_such,
    a_panic_in_the_handler_or_in_the_body_ends_as_panicked,
    a_client_gone_before_the_head_cancels,
    a_request_dropped_before_the_head_cancels,
    a_client_gone_in_the_body_cancels_in_the_body,
    a_response_dropped_in_the_body_cancels_in_the_body,
    a_client_gone_with_all_the_bytes_that_were_declared_has_completed,
    many_exchanges_on_one_connection_end_each_on_its_own,
}

/// Writes these bytes to the server.
async fn raw(watched: &Watched, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(watched.server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn hyper_drops_a_body_at_its_declared_length_and_it_has_completed() {
    let watched = Watched::start().await;
    let mut client = watched.client(Protocol::Http1).await;
    let body = client.get("/declared").await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "abcdef");
    // The client stays: only hyper can have dropped a body that never ends.
    assert_eq!(watched.only_end().await.1.outcome, Outcome::Completed);
    assert!(client.is_open());
}

#[tokio::test]
async fn a_socket_closed_without_a_word_cancels() {
    let watched = Watched::start().await;
    let (arrival, arrived) = watched.lab.arrival();
    let stream =
        raw(&watched, &format!("GET /never HTTP/1.1\r\nhost: lab\r\n{ARRIVAL}: {}\r\n\r\n", arrival.to_str().unwrap()))
            .await;
    arrived.await.unwrap();
    drop(stream);
    assert_eq!(watched.only_end().await.1.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn a_socket_reset_in_the_body_cancels_in_the_body() {
    let watched = Watched::start().await;
    let mut stream = raw(&watched, "GET /stall HTTP/1.1\r\nhost: lab\r\n\r\n").await;
    assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_eq!(watched.only_end().await.1.outcome, Outcome::CancelledInBody);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_the_error_of_the_service_that_reads_it() {
    let watched = Watched::start().await;
    let (arrival, arrived) = watched.lab.arrival();
    let arrival = arrival.to_str().unwrap();
    let head =
        format!("POST /swallow HTTP/1.1\r\nhost: lab\r\ncontent-length: 1000\r\n{ARRIVAL}: {arrival}\r\n\r\npart");
    let stream = raw(&watched, &head).await;
    arrived.await.unwrap();
    drop(stream);
    let (exchange, end) = watched.only_end().await;
    assert_eq!((end.outcome, end.request_body_bytes), (Outcome::ServiceError, Some(4)));
    assert_eq!(exchange.error().unwrap().message(), "the upload failed");
}

#[tokio::test]
async fn pipelined_requests_end_each_on_its_own() {
    let watched = Watched::start().await;
    let one = "GET /full HTTP/1.1\r\nhost: lab\r\n\r\n";
    let last = "GET /chunked HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n";
    let mut stream = raw(&watched, &[one, one, last].concat()).await;
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    let ended = settle(&watched.observer, 3).await;
    assert!(ended.iter().all(|(_, end)| end.outcome == Outcome::Completed));
}

#[tokio::test]
async fn http_1_0_is_watched_as_well() {
    let watched = Watched::start().await;
    let mut stream = raw(&watched, "GET /chunked HTTP/1.0\r\n\r\n").await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("abcdef"), "{answer}");
    let (exchange, end) = watched.only_end().await;
    assert_eq!((exchange.version_str(), end.outcome), ("1.0", Outcome::Completed));
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_what_is_in_flight() {
    let Watched { lab, observer, server } = Watched::start().await;
    let mut clients = Vec::new();
    for protocol in Protocol::ALL {
        let mut client = Client::connect(protocol, server.address()).await;
        let mut body = client.get("/stall").await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        clients.push((client, body));
    }
    assert_eq!(observer.in_flight(), 2);
    drop((server, lab));
    let ended = settle(&observer, 2).await;
    assert!(ended.iter().all(|(_, end)| end.outcome == Outcome::CancelledInBody));
}
