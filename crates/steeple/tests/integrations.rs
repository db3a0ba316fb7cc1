//! Integrations are off until a key turns them on, and what they lose is in the metrics.
#![cfg(all(feature = "sentry", feature = "trace"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    routing::get,
};
use http::{Request, StatusCode};
use steeple::{Exchange, Steeple, sentry::SentryBuilder, trace::Sampling};
use tower::{Layer, ServiceExt, service_fn};

/// An address without a listener.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn without_a_key_nothing_is_started() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    assert!(steeple.sentry().is_none() && steeple.traces().is_none());
    let page = String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap();
    assert!(!page.contains("steeple_sentry") && !page.contains("steeple_spans"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a deadline for the test itself")]
async fn receivers_that_are_down_harm_no_request_and_are_counted() {
    let address = nobody();
    let steeple = Steeple::builder()
        .without_log_setup()
        .sentry(|sentry| sentry.dsn(format!("http://public@{address}/1")))
        .traces(|traces| {
            traces
                .otlp(steeple::trace::Otlp::new().endpoint(format!("http://{address}")))
                .export_delay(Duration::from_millis(10))
                .export_timeout(Duration::from_millis(200))
        })
        .flush_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let diagnosed = steeple.clone();
    let findings = tokio::task::spawn_blocking(move || diagnosed.diagnose()).await.unwrap();
    assert!(!findings.is_empty(), "a receiver that is down is found before it is missed");
    let app: Router =
        Router::new().route("/fail", get(|| async { StatusCode::INTERNAL_SERVER_ERROR })).layer(steeple.layer());
    for _ in 0..3 {
        let response = app.clone().oneshot(Request::get("/fail").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let flushing = steeple.clone();
        tokio::task::spawn_blocking(move || flushing.flush()).await.unwrap().left().count();
        let page = String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap();
        let has = |line: &str| page.lines().any(|found| found == line);
        if has("steeple_sentry_dropped_total{reason=\"network\"} 3")
            && has("steeple_spans_dropped_total{reason=\"network\"} 3")
        {
            break;
        }
        assert!(Instant::now() < deadline, "losses do not show: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn sentry_gets_the_service_unless_its_options_set_another() {
    let sentry = |options: fn(SentryBuilder) -> SentryBuilder| {
        let shop = Steeple::builder().service_name("shop").service_version("1.2.3").environment("staging");
        let dsn = format!("http://public@{}/1", nobody());
        let steeple = shop.without_log_setup().sentry(|sentry| options(sentry.dsn(dsn))).build().unwrap();
        let client = steeple.sentry().unwrap().client();
        (client.options().environment.clone().unwrap(), client.options().release.clone().unwrap())
    };
    assert_eq!(sentry(|options| options), ("staging".into(), "shop@1.2.3".into()));
    assert_eq!(sentry(|options| options.environment("test").release("shop@2")), ("test".into(), "shop@2".into()));
}

#[test]
fn settings_in_code_extend_those_of_the_environment_and_a_disabled_integration_stays_off() {
    let variables = [
        ("SENTRY_DSN", format!("http://public@{}/1", nobody())),
        ("SENTRY_RELEASE", "shop@7".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", nobody())),
        ("OTEL_TRACES_SAMPLER", "always_off".to_owned()),
    ];
    alone("extends_the_environment", &variables);
    alone("has_disabled_integrations", &[&variables[..], &[("STEEPLE_DISABLE", "sentry, trace".to_owned())]].concat());
    // What turns it on may be the code alone; the other variables still count.
    alone("turns_sentry_on_in_code", &variables[1..2]);
}

/// Runs a test of this file in a process with these variables.
fn alone(test: &str, variables: &[(&str, String)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--ignored"])
        .envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{test}: {output:?}");
}

#[test]
#[ignore = "run by another test, in a process with variables"]
fn extends_the_environment() {
    let options = Steeple::builder_from_env().unwrap().without_log_setup();
    let steeple = options
        .sentry(|sentry| sentry.environment("staging"))
        .traces(|traces| traces.sampling(Sampling::always_on()))
        .build()
        .unwrap();
    let client = steeple.sentry().unwrap().client();
    let (release, environment) = (client.options().release.as_deref(), client.options().environment.as_deref());
    assert_eq!((release, environment), (Some("shop@7"), Some("staging")));
    assert_eq!(steeple.traces().unwrap().receivers().len(), 1, "the receiver is that of the environment");
}

#[test]
#[ignore = "run by another test, in a process with variables"]
fn has_disabled_integrations() {
    let options = Steeple::builder_from_env().unwrap().without_log_setup();
    let steeple = options.sentry(|sentry| sentry.environment("staging")).build().unwrap();
    assert!(steeple.sentry().is_none() && steeple.traces().is_none());
}

#[test]
#[ignore = "run by another test, in a process with variables"]
fn turns_sentry_on_in_code() {
    let options = Steeple::builder_from_env().unwrap().without_log_setup();
    let dsn = format!("http://public@{}/1", nobody());
    let steeple = options.sentry(|sentry| sentry.dsn(dsn)).build().unwrap();
    assert_eq!(steeple.sentry().unwrap().client().options().release.as_deref(), Some("shop@7"));
    assert!(steeple.traces().is_none());
}

#[tokio::test]
async fn without_a_receiver_a_call_passes_on_what_the_exchanges_caller_sent() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let called = |request: Request<Body>| async move {
        let sent = |name: &str| request.headers().get(name).map(|sent| sent.to_str().unwrap().to_owned());
        let sent = ["traceparent", "tracestate"].into_iter().filter_map(sent).collect::<Vec<_>>().join(" ");
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(sent)))
    };
    let client = steeple.client_layer().only_to("*.internal").layer(service_fn(called));
    let watched = client.clone();
    let call = |host: &'static str, own: Option<&'static str>| {
        let client = watched.clone();
        get(async move |exchange: Exchange, headers: axum::http::HeaderMap| {
            assert!(exchange.trace().is_some() || !headers.contains_key("traceparent"), "the caller's trace is read");
            let request = Request::get(format!("http://{host}/"));
            let request = own.into_iter().fold(request, |request, own| request.header("traceparent", own));
            Body::new(client.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_body())
        })
    };
    let app: Router = Router::new()
        .route("/ours", call("stock.internal", None))
        .route("/theirs", call("bank.example", None))
        .route("/own", call("stock.internal", Some("own")))
        .layer(steeple.layer());
    let ask = async |path: &str, caller: Option<&str>| {
        let request = caller.into_iter().fold(Request::get(path), |request, sent| {
            request.header("traceparent", sent).header("tracestate", "vendor=1,other=2")
        });
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        String::from_utf8(to_bytes(response.into_body(), 100).await.unwrap().to_vec()).unwrap()
    };
    for caller in [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    ] {
        assert_eq!(ask("/ours", Some(caller)).await, format!("{caller} vendor=1,other=2"));
        assert_eq!(ask("/theirs", Some(caller)).await, "", "only to those who were named");
        assert_eq!(ask("/own", Some(caller)).await, "own");
    }
    assert_eq!(ask("/ours", None).await, "", "whom we call decides for itself");
    let alone = client.oneshot(Request::get("http://stock.internal/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(to_bytes(Body::new(alone.into_body()), 100).await.unwrap(), "", "no exchange makes this call");
}
