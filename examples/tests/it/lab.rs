use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, middleware::map_response, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use steeple::Exchange;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};

use crate::service::{Service, read, text};

#[tokio::test]
async fn a_failure_shows_the_client_little_and_records_its_chain() {
    let causes = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let causes = Arc::clone(&causes);
        move |response: Response| {
            causes.lock().unwrap().extend(Exchange::current().unwrap().errors());
            std::future::ready(response)
        }
    };
    let service = Service::start_with(None, |router| router.layer(map_response(keep))).await;
    let (status, answer) = service.json(&service.http1, "GET", "/lab/fail", None, None).await;
    assert_eq!((status.as_u16(), answer["error"]["code"].as_str()), (500, Some("internal")));
    assert!(!answer.to_string().contains("report"));
    let want =
        ["the monthly report could not be written", "page 3 could not be rendered", "no space left on the report disk"];
    let causes = causes.lock().unwrap().clone();
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].chain().collect::<Vec<_>>(), want);
    assert!(causes[0].type_name().ends_with("::ReportError"), "{}", causes[0].type_name());
    service.stop().await;
}

#[tokio::test]
async fn a_panic_ends_one_request_and_not_the_service() {
    let service = Service::start().await;
    for client in [&service.http1, &service.http2] {
        let slow = client.request(service.request("GET", "/lab/slow?ms=300"));
        let slow = tokio::spawn(slow);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(client.request(service.request("GET", "/lab/panic")).await.is_err());
        let response = client.request(service.request("GET", "/lab/panic?after=2")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(slow.await.unwrap().unwrap().status(), 200, "the neighbour goes on");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_body_breaks_after_as_many_frames_as_asked() {
    let service = Service::start().await;
    for client in [&service.http1, &service.http2] {
        for after in [0, 1, 4] {
            let path = format!("/lab/body-error?after={after}");
            let mut body = client.request(service.request("GET", &path)).await.unwrap().into_body();
            let mut seen = Vec::new();
            let broken = loop {
                match body.frame().await {
                    Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap()),
                    Some(Err(_)) => break true,
                    None => break false,
                }
            };
            assert!(broken, "{path}");
            assert_eq!(String::from_utf8(seen).unwrap().lines().count(), after, "{path}");
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn slow_answers_and_streams_take_the_time_and_frames_that_were_asked_for() {
    let service = Service::start().await;
    let begin = Instant::now();
    assert_eq!(text(service.get("/lab/slow?ms=120").await).await, "{\"slept_ms\":120}");
    assert!(begin.elapsed() >= Duration::from_millis(120));

    let begin = Instant::now();
    let lines = text(service.get("/lab/stream?frames=4&gap_ms=30").await).await;
    assert_eq!(lines, "frame 1\nframe 2\nframe 3\nframe 4\n");
    assert!(begin.elapsed() >= Duration::from_millis(90));
    assert_eq!(text(service.get("/lab/stream?frames=0").await).await, "");

    let response = service.get("/lab/sse?events=2&gap_ms=1").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let want = "event: tick\nid: 1\ndata: a task moved\n\nevent: tick\nid: 2\ndata: a task moved\n\n";
    assert_eq!(text(response).await, want);
    service.stop().await;
}

#[tokio::test]
async fn every_status_from_200_to_599_is_answered() {
    let service = Service::start().await;
    for code in 200..=599 {
        let response = service.get(&format!("/lab/status/{code}")).await;
        assert_eq!(response.status(), code);
        let empty = read(response).await.is_empty();
        assert_eq!(empty, [204, 205, 304].contains(&code), "{code}");
    }
    service.stop().await;
}

#[tokio::test]
async fn parameters_out_of_bounds_are_refused_with_their_bounds() {
    let service = Service::start().await;
    for (path, says) in [
        ("/lab/slow?ms=30001", "`ms` must be 0 to 30000, not 30001"),
        ("/lab/slow?ms=-1", "invalid digit"),
        ("/lab/panic?after=10001", "`after` must be 0 to 10000"),
        ("/lab/stream?frames=10001", "`frames` must be 0 to 10000"),
        ("/lab/stream?gap_ms=5001", "`gap_ms` must be 0 to 5000"),
        ("/lab/body-error?after=10001", "`after` must be 0 to 10000"),
        ("/lab/sse?events=10001", "`events` must be 0 to 10000"),
        ("/lab/sse?gap_ms=5001", "`gap_ms` must be 0 to 5000"),
        ("/lab/status/199", "`code` must be 200 to 599, not 199"),
        ("/lab/status/600", "`code` must be 200 to 599"),
        ("/lab/status/ok", "Invalid URL"),
    ] {
        let (status, error) = service.json(&service.http1, "GET", path, None, None).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert_eq!(status, 400, "{path}: {message}");
        assert!(message.contains(says), "{path}: {message}");
    }
    service.stop().await;
}

#[tokio::test]
async fn an_echo_answers_each_frame_before_the_next_is_sent() {
    let service = Service::start().await;
    for client in [&service.http1, &service.http2] {
        let (say, words) = mpsc::channel::<Bytes>(1);
        let words = stream::unfold(words, |mut words| async move {
            words.recv().await.map(|word| (Ok::<_, std::io::Error>(word), words))
        });
        let mut request = service.request("POST", "/lab/echo");
        request.headers_mut().insert("content-type", "text/x-echo".parse().unwrap());
        *request.body_mut() = Body::from_stream(words);
        say.send(Bytes::from_static(b"first")).await.unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/x-echo");
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        say.send(Bytes::from_static(b"second")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "second");
        drop(say);
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
    service.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_echoes_until_the_client_closes() {
    let service = Service::start().await;
    let mut request = service.request("GET", "/lab/upgrade");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let response = service.http1.request(request).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut connection = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut heard = [0; 5];
    for word in [b"hello", b"world"] {
        connection.write_all(word).await.unwrap();
        connection.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, word);
    }
    connection.shutdown().await.unwrap();
    assert_eq!(connection.read(&mut heard).await.unwrap(), 0);

    for client in [&service.http1, &service.http2] {
        let response = client.request(service.request("GET", "/lab/upgrade")).await.unwrap();
        assert_eq!(response.status(), 426);
        let error: Value = serde_json::from_slice(&read(response).await).unwrap();
        assert_eq!(error["error"]["code"], "upgrade_required");
    }
    service.stop().await;
}

#[tokio::test]
async fn clients_that_hang_up_leave_a_service_that_works() {
    let service = Service::start().await;
    let (id, _) = service.project(3).await;
    let paths = [
        "/lab/slow?ms=5000".to_owned(),
        "/lab/stream?frames=1000&gap_ms=1".to_owned(),
        format!("/api/projects/{id}"),
        format!("/api/projects/{id}/export"),
    ];
    for round in 0..40 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let head = format!("GET {} HTTP/1.1\r\nhost: taskboard\r\n\r\n", paths[round % paths.len()]);
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(round as u64 % 7)).await;
    }
    // Every connection of the database is back in its place.
    for _ in 0..20 {
        assert_eq!(service.get("/readyz").await.status(), 200);
    }
    service.stop().await;
}
