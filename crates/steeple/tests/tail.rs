//! Which traces are kept beside those that the sampler takes, as the environment sets it.
#![cfg(feature = "trace")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{process::Command, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use steeple::Steeple;
use steeple_export::test_util::{Receiver, Reply};
use tower::ServiceExt as _;

#[test]
#[ignore = "run by other tests, in a process with variables"]
fn serves_three_requests_and_ends() {
    let steeple = Steeple::from_env().unwrap();
    let app = Router::new()
        .route("/well", get(async || "hello"))
        .route("/fails", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(60)).await))
        .layer(steeple.layer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for path in ["/well", "/fails", "/slow"] {
        runtime.block_on(async {
            let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        });
    }
    drop(steeple.close());
}

/// The names of the spans that arrive, of a service whose sampler takes none.
fn kept(variables: &[(&str, &str)]) -> Vec<&'static str> {
    let receiver = Receiver::start(|_, _| Reply::ok(""));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["serves_three_requests_and_ends", "--exact", "--ignored"])
        .env_clear()
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{}/v1/traces", receiver.address()))
        .envs([("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let bodies: Vec<u8> = receiver.received().iter().flat_map(|received| received.body.clone()).collect();
    let names = ["GET /well", "GET /fails", "GET /slow"];
    names.into_iter().filter(|name| bodies.windows(name.len()).any(|bytes| bytes == name.as_bytes())).collect()
}

#[test]
fn traces_of_failed_and_slow_requests_are_kept_as_the_environment_sets_it() {
    assert_eq!(kept(&[]), [""; 0]);
    assert_eq!(kept(&[("TRACE_TAIL_ERRORS", "true")]), ["GET /fails"]);
    assert_eq!(kept(&[("TRACE_TAIL_SLOW_MS", "50")]), ["GET /fails", "GET /slow"]);
    assert_eq!(kept(&[("TRACE_TAIL_SLOW_MS", "3600000")]), ["GET /fails"]);
}
