use std::time::Duration;

use axum::body::Body;
use http::{Method, Response};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::kit::{Service, local};

/// The next event's JSON. `None`: the stream has ended, and has named its end before.
async fn next(stream: &mut Response<Body>) -> Option<Value> {
    let frame = tokio::time::timeout(Duration::from_secs(60), stream.frame())
        .await
        .expect("an event")
        .expect("the end is named");
    let bytes = frame.unwrap().into_data().unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    if text == "event: end\ndata: {}\n\n" {
        assert!(stream.frame().await.is_none(), "it ends after that");
        return None;
    }
    let json = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n")).unwrap();
    Some(serde_json::from_str(json).unwrap())
}

async fn open(service: &Service) -> Response<Body> {
    service.send(local(Method::GET, "/steeple/stream")).await
}

#[tokio::test]
async fn who_opens_late_gets_the_past_and_then_what_is_new() {
    let service = Service::local();
    for _ in 0..5 {
        service.advance(Duration::from_secs(10));
    }
    let mut stream = open(&service).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    let whole = next(&mut stream).await.unwrap();
    assert_eq!((&whole["whole"], whole["tens"]["t"].as_array().unwrap().len()), (&true.into(), 5));
    service.advance(Duration::from_secs(10));
    let more = next(&mut stream).await.unwrap();
    assert_eq!((&more["whole"], more["instance"].as_str()), (&false.into(), Some("one")));
}

#[tokio::test]
async fn sixteen_streams_are_open_at_once_and_a_place_becomes_free() {
    let service = Service::local();
    let mut streams = Vec::new();
    for _ in 0..16 {
        let stream = open(&service).await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = open(&service).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    streams.pop();
    assert_eq!(open(&service).await.status(), 200);
}

#[tokio::test]
async fn streams_end_when_the_shutdown_begins_and_none_begins_after_it() {
    let service = Service::local();
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = open(&service).await;
        assert!(next(&mut stream).await.is_some());
        streams.push(stream);
    }
    service.dashboard.begin_shutdown();
    for mut stream in streams {
        assert_eq!(next(&mut stream).await, None);
    }
    assert_eq!(open(&service).await.status(), 503);
}

#[tokio::test]
async fn a_switch_of_the_application_ends_them_too() {
    let service = Service::local();
    let (end, ended) = tokio::sync::watch::channel(false);
    service.dashboard.end_streams_when(move || {
        let mut ended = ended.clone();
        async move {
            ended.wait_for(|ended| *ended).await.unwrap();
        }
    });
    let mut stream = open(&service).await;
    assert!(next(&mut stream).await.is_some());
    end.send(true).unwrap();
    assert_eq!(next(&mut stream).await, None);
    let mut late = open(&service).await;
    assert_eq!(next(&mut late).await, None, "after the end there is nothing to watch");
}

#[tokio::test]
async fn a_reader_that_falls_behind_gets_the_whole_again() {
    let service = Service::local();
    let mut stream = open(&service).await;
    assert_eq!(next(&mut stream).await.unwrap()["whole"], true);
    for _ in 0..20 {
        service.advance(Duration::from_secs(10));
    }
    let whole = next(&mut stream).await.unwrap();
    assert_eq!((&whole["whole"], whole["tens"]["t"].as_array().unwrap().len()), (&true.into(), 20));
}
