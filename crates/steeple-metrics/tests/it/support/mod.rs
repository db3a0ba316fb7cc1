//! A service under metrics, and its page read back.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]
#![allow(clippy::allow_attributes, reason = "unused helpers differ from binary to binary")]

pub mod strict;

use std::io::Write as _;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use steeple_core::{Exchange, ObservedBody};
use steeple_metrics::Metrics;
use tower::{ServiceBuilder, ServiceExt};

pub type TestBody = Full<Bytes>;

/// The route that the service reports, if any.
#[derive(Clone)]
struct Routed(&'static str);

/// A request that a router with this template would match.
pub fn request(method: &str, route: &'static str) -> Request<TestBody> {
    Request::builder().method(method).extension(Routed(route)).uri("/some/path?x=1").body(Full::default()).unwrap()
}

/// Calls a service under metrics; the response's body is the caller's.
pub async fn ask<B, E, F>(
    metrics: &Metrics,
    request: Request<TestBody>,
    handler: impl FnOnce(Exchange) -> F + Send,
) -> Result<Response<ObservedBody<B, Metrics>>, E>
where
    B: Body,
    B::Error: std::fmt::Display + 'static,
    E: std::fmt::Display + 'static,
    F: Future<Output = Result<Response<B>, E>>,
{
    let mut handler = Some(handler);
    let service = ServiceBuilder::new().layer(metrics.layer()).service_fn(move |request: Request<TestBody>| {
        let exchange = request.extensions().get::<Exchange>().unwrap().clone();
        if let Some(Routed(route)) = request.extensions().get() {
            exchange.report_route(*route);
        }
        handler.take().unwrap()(exchange)
    });
    service.oneshot(request).await
}

/// Calls a service under metrics and reads the response to its end, or to where it fails.
pub async fn call<B, E, F>(metrics: &Metrics, request: Request<TestBody>, handler: impl FnOnce(Exchange) -> F + Send)
where
    B: Body,
    B::Error: std::fmt::Display + 'static,
    E: std::fmt::Display + 'static,
    F: Future<Output = Result<Response<B>, E>>,
{
    if let Ok(response) = ask(metrics, request, handler).await {
        let mut body = std::pin::pin!(response.into_body());
        while let Some(Ok(_)) = body.frame().await {}
    }
}

/// A page of text, read with care for nothing but the lines that tests ask for.
pub struct Page {
    pub text: String,
}

impl Page {
    pub fn of(metrics: &Metrics) -> Self {
        Self { text: String::from_utf8(metrics.render(None, None).body.to_vec()).unwrap() }
    }

    /// The samples of this name: labels and value.
    pub fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.parse().ok()?))
        })
    }

    /// The sample of exactly these labels.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &str) -> f64 {
        let found: Vec<_> = self.find(name).filter(|(found, _)| *found == labels).collect();
        assert_eq!(found.len(), 1, "{name}{{{labels}}} in\n{}", self.text);
        found[0].1
    }
}

pub use steeple_core::test_util::peer::{missing, record};

/// Runs `promtool`, or prints that it is missing. Fails without it where peers are required.
pub fn promtool(arguments: &[&str], stdin: Option<&str>) {
    use std::process::Stdio;

    let child = std::process::Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return missing("promtool", &error),
    };
    record("promtool", true);
    let mut input = child.stdin.take().unwrap();
    input.write_all(stdin.unwrap_or_default().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}
