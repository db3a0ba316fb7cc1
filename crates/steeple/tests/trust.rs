//! One setting for whom to believe: the client's address, what a gateway knows of the user, and the caller's trace.
#![cfg(feature = "trace")]

use std::{net::SocketAddr, process::Command};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderName, Request},
    routing::get,
};
use steeple::{
    ClientAddress, Exchange, Steeple,
    core::{Peer, TraceContext},
    user::GatewayHeaders,
};
use tower::ServiceExt;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn trusted_proxies_decide_on_the_address_the_user_and_the_trace_alike() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["believes_its_proxies", "--exact", "--ignored", "--nocapture"]);
    // Nothing is sent there: the process ends before.
    command.envs([("TRUSTED_PROXIES", "10.0.0.0/8"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{output:?}");
}

#[tokio::test]
#[ignore = "the process of the other test"]
async fn believes_its_proxies() {
    let options = Steeple::builder_from_env().unwrap().without_log_setup();
    let steeple = options
        .users(|users| users.user_headers(GatewayHeaders::new(HeaderName::from_static("x-gateway-user"))))
        .build()
        .unwrap();
    let handler = async |exchange: Exchange, ClientAddress(address): ClientAddress| {
        let user = exchange.user().and_then(|user| user.id().map(str::to_owned));
        let trace = exchange.trace().map(|trace| trace.trace_id().to_string());
        let is_sampled = exchange.trace().is_some_and(TraceContext::is_sampled);
        format!("{address:?} {user:?} {} {is_sampled}", trace.as_deref() == Some(TRACE))
    };
    let app = Router::new().route("/", get(handler)).layer(steeple.layer());
    let ask = async |peer: &str| {
        let request = Request::get("/")
            .header("x-forwarded-for", "192.0.2.7")
            .header("x-gateway-user", "u-7")
            // A caller that does not sample.
            .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-00"));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::Address(peer.parse::<SocketAddr>().unwrap()));
        let response = app.clone().oneshot(request).await.unwrap();
        String::from_utf8(to_bytes(response.into_body(), 1024).await.unwrap().to_vec()).unwrap()
    };
    let proxy = ask("10.0.0.1:4711").await;
    assert!(proxy.contains("192.0.2.7") && proxy.contains("u-7") && proxy.ends_with("true false"), "{proxy}");
    let stranger = ask("203.0.113.9:4711").await;
    assert!(stranger.contains("203.0.113.9") && !stranger.contains("192.0.2.7"), "{stranger}");
    assert!(stranger.contains(" None "), "whom the gateway is said to know: {stranger}");
    assert!(stranger.ends_with("false true"), "a trace that begins here, by our own sampler: {stranger}");
}
