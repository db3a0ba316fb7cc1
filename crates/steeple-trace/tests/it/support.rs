use std::{collections::BTreeMap, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt;
use opentelemetry::{Array, Value, trace::Status};
use opentelemetry_sdk::trace::{InMemorySpanExporter, InMemorySpanExporterBuilder, SpanData};
use steeple_trace::{Trace, TraceBuilder};
use tower::ServiceExt;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

/// A trace that exports into memory.
pub(crate) struct Rig {
    pub(crate) trace: Trace,
    exporter: InMemorySpanExporter,
    /// The subscriber of this thread, on which the tests' runtimes run everything.
    subscriber: Option<DefaultGuard>,
}

impl Rig {
    /// With `tracing-opentelemetry` in the subscriber.
    pub(crate) fn new(builder: TraceBuilder) -> Self {
        let mut rig = Self::without_subscriber(builder);
        let subscriber = tracing_subscriber::registry().with(rig.trace.tracing_layer());
        rig.subscriber = Some(tracing::subscriber::set_default(subscriber));
        rig
    }

    pub(crate) fn without_subscriber(builder: TraceBuilder) -> Self {
        let exporter = InMemorySpanExporterBuilder::new().build();
        let trace = builder.build_with_exporter(exporter.clone()).unwrap();
        Self { trace, exporter, subscriber: None }
    }

    /// The exported spans so far, in the order of ending.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        let report = self.trace.flush_blocking(Duration::from_secs(10));
        assert_eq!(report.left, 0);
        self.exporter.get_finished_spans().unwrap()
    }

    /// The only span.
    #[track_caller]
    pub(crate) fn span(&self) -> SpanData {
        let spans = self.spans();
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.into_iter().next().unwrap()
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Asks, and reads the response to its last byte.
pub(crate) async fn ask(app: &Router, request: Request<Body>) -> Response<String> {
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Response::from_parts(head, body.unwrap_or_default())
}

/// Attributes by name, as text with their types: `200:int`.
pub(crate) fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for attribute in &span.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "what this crate never makes is shown as it is")]
        let value = match &attribute.value {
            Value::String(text) => text.to_string(),
            Value::I64(number) => format!("{number}:int"),
            Value::F64(number) => format!("{number}:double"),
            Value::Bool(truth) => format!("{truth}:boolean"),
            Value::Array(Array::String(texts)) => texts.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"),
            other => format!("{other:?}"),
        };
        let before = all.insert(attribute.key.to_string(), value);
        assert!(before.is_none(), "{} is there twice", attribute.key);
    }
    all
}

pub(crate) fn is_error(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}
