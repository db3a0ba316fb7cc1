//! A key in a file is rotated: what leaves has the new one, and nothing is lost over it.
//!
//! The files are those of the process: another test may read them again at any time. Where a test asks what was sent first, the
//! file changes no earlier than that has arrived.

use std::{
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode};
use steeple_core::clock;
use steeple_export::{
    Answer, Client, Endpoint, Http, Pipeline, Protocol, ProxyOptions, Reason, Request, Response, Retry, Sink, secret,
    test_util::{Receiver, Reply},
};
use steeple_scrub::Scrubbed;

const KEY: HeaderName = HeaderName::from_static("api-key");

/// Sends each item with a key that it was built with.
struct Keyed {
    endpoint: Endpoint,
    key: HeaderValue,
}

impl Protocol for Keyed {
    type Item = &'static str;
    type Ready = &'static str;

    fn size(item: &&'static str) -> usize {
        item.len()
    }

    fn scrub(&mut self, item: &'static str) -> Scrubbed<&'static str> {
        Scrubbed::from_static(item)
    }

    fn encode(&mut self, batch: &[Scrubbed<&'static str>]) -> Result<Request, Reason> {
        let body: String = batch.iter().map(|item| **item).collect();
        Ok(Request::post(&self.endpoint).header(KEY, self.key.clone()).body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<&'static str>]) -> Answer {
        Answer::of(response)
    }
}

/// Sends to a receiver that takes the second key alone.
fn pipeline(receiver: &Receiver, key: &'static str) -> Pipeline<&'static str> {
    let (client, endpoint) = (Client::builder().build().unwrap(), receiver.endpoint());
    let builder = Pipeline::builder("keyed").retry(Retry::never()).batch_items(1).batch_delay(Duration::ZERO);
    let key = HeaderValue::from_static(key);
    builder
        .build(move || Ok(Http::new(client.clone(), Keyed { endpoint: endpoint.clone(), key: key.clone() })))
        .unwrap()
}

fn takes(key: &'static str) -> Receiver {
    Receiver::start(move |request, _| {
        let is_right = request.header("api-key") == Some(key);
        Reply::status(if is_right { StatusCode::OK } else { StatusCode::UNAUTHORIZED })
    })
}

#[test]
fn after_a_401_the_file_is_read_again_and_the_request_goes_once_more_with_the_new_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, "rotated-key-one").unwrap();
    secret::watch("TEST_ONE_KEY", &path, "rotated-key-one");
    let receiver = Receiver::start(move |request, _| {
        if request.header("api-key") == Some("rotated-key-two") {
            return Reply::status(StatusCode::OK);
        }
        fs::write(&path, "rotated-key-two\n").unwrap();
        Reply::status(StatusCode::UNAUTHORIZED)
    });
    let pipeline = pipeline(&receiver, "rotated-key-one");
    for item in ["a", "b"] {
        pipeline.push(item);
        assert!(pipeline.flush(clock::now() + Duration::from_secs(60)).is_complete());
    }
    let keys: Vec<_> =
        receiver.received().iter().map(|request| request.header("api-key").unwrap().to_owned()).collect();
    assert_eq!(keys, ["rotated-key-one", "rotated-key-two", "rotated-key-two"], "the second begins with the new one");
    assert_eq!((pipeline.stats().exported, pipeline.stats().dropped_total()), (2, 0));
}

#[test]
fn a_file_that_has_the_refused_key_still_is_read_once_a_minute_and_no_request_is_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, "refused-key-one").unwrap();
    secret::watch("TEST_OTHER_KEY", &path, "refused-key-one");
    let receiver = takes("refused-key-two");
    let pipeline = pipeline(&receiver, "refused-key-one");
    pipeline.push("a");
    let _refused = pipeline.flush(clock::now() + Duration::from_secs(60));
    // Too early to be noticed by a refusal; a signal notices it.
    fs::write(&path, "refused-key-two").unwrap();
    pipeline.push("b");
    let _refused = pipeline.flush(clock::now() + Duration::from_secs(60));
    secret::reread();
    pipeline.push("c");
    let _refused = pipeline.flush(clock::now() + Duration::from_secs(60));
    let keys: Vec<_> =
        receiver.received().iter().map(|request| request.header("api-key").unwrap().to_owned()).collect();
    assert_eq!(keys.last().map(String::as_str), Some("refused-key-two"), "{keys:?}");
    assert!(keys.iter().filter(|key| *key == "refused-key-one").count() <= 2, "{keys:?}");
    let arrived = u64::try_from(keys.iter().filter(|key| *key == "refused-key-two").count()).unwrap();
    assert_eq!((pipeline.stats().exported, pipeline.stats().dropped_total()), (arrived, 3 - arrived));
}

/// `ops:password-two`.
const RIGHT: &str = "Basic b3BzOnBhc3N3b3JkLXR3bw==";

#[test]
fn after_a_407_the_password_of_a_proxy_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy");
    let second = Arc::new(OnceLock::new());
    let (written, known) = (path.clone(), Arc::clone(&second));
    let proxy = Receiver::start(move |request, _| {
        if request.header("proxy-authorization") == Some(RIGHT) {
            return Reply::status(StatusCode::OK);
        }
        fs::write(&written, known.get().unwrap()).unwrap();
        Reply::status(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
    });
    let url = |password: &str| format!("http://ops:{password}@{}", proxy.address());
    second.set(url("password-two")).unwrap();
    fs::write(&path, url("password-one")).unwrap();
    secret::watch("HTTP_PROXY", &path, &url("password-one"));
    let client =
        Client::builder().allow_plain_http().proxy(ProxyOptions::new().http(url("password-one"))).build().unwrap();
    let endpoint = Endpoint::parse("http://collector.test/").unwrap();
    let builder = Pipeline::builder("proxied").retry(Retry::never()).batch_items(1).batch_delay(Duration::ZERO);
    let key = HeaderValue::from_static("unused");
    let pipeline = builder
        .build(move || Ok(Http::new(client.clone(), Keyed { endpoint: endpoint.clone(), key: key.clone() })))
        .unwrap();
    for item in ["a", "b"] {
        pipeline.push(item);
        assert!(pipeline.flush(clock::now() + Duration::from_secs(60)).is_complete());
    }
    let received = proxy.received();
    let is_right: Vec<_> =
        received.iter().map(|request| request.header("proxy-authorization") == Some(RIGHT)).collect();
    assert_eq!(is_right, [false, true, true]);
    assert!(received.iter().all(|request| request.line.contains("http://collector.test/")), "{received:?}");
}
