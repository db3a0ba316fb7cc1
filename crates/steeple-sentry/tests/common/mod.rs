//! A real service over loopback, and the SDK's own transport to see what would be sent.

#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::allow_attributes, reason = "an expectation would fail in those binaries that use everything")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use sentry_core::{
    Envelope,
    protocol::{Context, EnvelopeItem, Event, Transaction},
    test::TestTransport,
};
use steeple_sentry::{Sentry, SentryBuilder};

pub(crate) const DSN: &str = "https://public@sentry.invalid/1";

pub(crate) struct Receiver {
    pub(crate) sentry: Sentry,
    pub(crate) transport: Arc<TestTransport>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(configure: impl FnOnce(SentryBuilder) -> SentryBuilder) -> Self {
        let transport = TestTransport::new();
        let options = Sentry::builder(DSN).environment("test").transport(Arc::clone(&transport));
        Self { sentry: configure(options).build().unwrap(), transport }
    }

    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        assert!(self.sentry.flush(Duration::from_secs(60)), "flushed in time");
        self.transport.fetch_and_clear_envelopes()
    }

    pub(crate) fn events(&self) -> Vec<Event<'static>> {
        self.envelopes().iter().filter_map(|envelope| envelope.event().cloned()).collect()
    }

    /// The one event there is.
    #[track_caller]
    pub(crate) fn event(&self) -> Event<'static> {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "one failure is one event: {events:#?}");
        events.remove(0)
    }

    pub(crate) fn transactions(&self) -> Vec<Transaction<'static>> {
        let envelopes = self.envelopes();
        let items = envelopes.iter().flat_map(Envelope::items);
        items
            .filter_map(|item| if let EnvelopeItem::Transaction(it) = item { Some((**it).clone()) } else { None })
            .collect()
    }
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Sends a request on a new connection and reads the answer to its end. `None`: the connection broke.
pub(crate) async fn send(address: SocketAddr, request: Request<String>) -> Option<Response<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    head.headers.entry("host").or_insert_with(|| http::HeaderValue::from_static("shop.example"));
    let response = sender.send_request(Request::from_parts(head, Full::new(Bytes::from(body)))).await;
    let answer = match response {
        Ok(response) => {
            let (head, body) = response.into_parts();
            body.collect().await.ok().map(|body| Response::from_parts(head, body.to_bytes()))
        }
        Err(_) => None,
    };
    drop(sender);
    let _closed = connection.await;
    answer
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<Response<Bytes>> {
    send(address, Request::get(path).body(String::new()).unwrap()).await
}

/// The name that an event's last exception goes by, and what it says.
pub(crate) fn exception<'e>(event: &'e Event<'_>) -> (&'e str, &'e str) {
    let last = event.exception.values.last().expect("an exception");
    (&last.ty, last.value.as_deref().unwrap_or_default())
}

pub(crate) fn trace_id(event: &Event<'_>) -> String {
    match event.contexts.get("trace") {
        Some(Context::Trace(trace)) => trace.trace_id.to_string(),
        other => unreachable!("no trace: {other:?}"),
    }
}

/// A body that breaks after its first frame.
pub(crate) fn broken_body() -> Body {
    let frames = [Ok(Bytes::from_static(b"first")), Err("the disk is gone")];
    Body::from_stream(tokio_stream::iter(frames))
}
