use std::{
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{OriginalUri, State},
    http::{HeaderMap, StatusCode, header},
};
use serde_json::Value;
use steeple_events::{
    Events, EventsBuilder, Service,
    sink::{Elasticsearch, Ga4, Mixpanel, Ndjson, NewRelic, Webhook},
};
use steeple_export::HttpOptions;

/// Of the specification's own example.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A server on loopback that keeps what it gets and answers 200.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

#[derive(Clone)]
pub(crate) struct Got {
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let app = Router::new().fallback(receive).with_state(Arc::clone(&got));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, got }
    }

    pub(crate) fn all(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The one request whose path contains this.
    #[track_caller]
    pub(crate) fn only(&self, path: &str) -> Got {
        let found: Vec<_> = self.all().into_iter().filter(|got| got.uri.contains(path)).collect();
        assert_eq!(found.len(), 1, "requests to {path}");
        found[0].clone()
    }
}

/// A body as it was before it was compressed.
pub(crate) fn plain(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip") {
        inflate(body)
    } else {
        body.to_vec()
    }
}

pub(crate) fn inflate(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

async fn receive(
    State(got): State<Arc<Mutex<Vec<Got>>>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let body = plain(&headers, &body);
    // Elasticsearch says what became of each document.
    let documents = body.split(|byte| *byte == b'\n').count() / 2;
    let answer = if uri.path() == "/_bulk" {
        let items: Vec<_> = (0..documents).map(|_| serde_json::json!({"create": {"status": 201}})).collect();
        serde_json::json!({"errors": false, "items": items}).to_string()
    } else if uri.path() == "/engage" {
        "1".to_owned()
    } else {
        String::new()
    };
    got.lock().unwrap().push(Got { uri: uri.to_string(), headers, body });
    (StatusCode::OK, answer)
}

/// Events that go to all systems at once, which one receiver plays.
pub(crate) fn everywhere(receiver: &Receiver, file: &std::path::Path) -> EventsBuilder {
    let soon = |http: HttpOptions| http.batch_delay(Duration::from_millis(20));
    Events::builder()
        .service(Service::new("shop").version("1.2.3").environment("staging").region("eu-central-1"))
        .sink(Mixpanel::new("token").endpoint(&receiver.url).http(soon))
        .sink(Ga4::new("G-ABC", "secret").endpoint(&receiver.url).http(soon))
        .sink(NewRelic::new("license", "12345").endpoint(&receiver.url).http(soon))
        .sink(Elasticsearch::new(&receiver.url, "logs-events-staging").api_key("a2V5").http(soon))
        .sink(Webhook::new(format!("{}/hook", receiver.url), SECRET).http(soon))
        .sink(Ndjson::new(file).batch_delay(Duration::from_millis(20)))
}

/// Sends the queued items, off the runtime.
pub(crate) async fn flush(events: &Events) {
    let events = events.clone();
    tokio::task::spawn_blocking(move || {
        let deadline = steeple_core::clock::now() + Duration::from_secs(30);
        for sink in events.sinks() {
            let report = sink.flush(deadline);
            assert!(report.is_complete(), "{report:?}");
        }
    })
    .await
    .unwrap();
}

pub(crate) fn lines(file: &std::path::Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
