//! What a handler spawns keeps its request: ids, name, user, span, and what `Exchange::current` finds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, http::Request, routing::get};
use steeple::{Exchange, Steeple, User, testing::Recorder};
use tower::ServiceExt;
use tracing::{Instrument, Span, subscriber};
use tracing_subscriber::layer::SubscriberExt;

/// Each way to leave the handler's task, with a line and an error in it.
fn app(steeple: &Steeple) -> Router {
    async fn work(way: &'static str) {
        tokio::task::yield_now().await;
        tracing::info!(way, "worked");
        if let Some(exchange) = Exchange::current() {
            exchange.set_attribute(way, true);
        }
    }
    let scope = async |exchange: Exchange| {
        exchange.set_user(User::new("u-7"));
        tokio::spawn(exchange.scope(work("scope"))).await.unwrap();
    };
    let in_scope = async |exchange: Exchange| {
        exchange.set_user(User::new("u-7"));
        let work = move || {
            exchange.in_scope(|| {
                tracing::info!(way = "in_scope", "worked");
                Exchange::current().unwrap().set_attribute("in_scope", true);
            });
        };
        tokio::task::spawn_blocking(work).await.unwrap();
    };
    let instrument = async |exchange: Exchange| {
        exchange.set_user(User::new("u-7"));
        let handler = tracing::info_span!("handler");
        async {
            tokio::spawn(work("instrument").instrument(Span::current())).await.unwrap();
        }
        .instrument(handler)
        .await;
    };
    Router::new()
        .route("/scope", get(scope))
        .route("/in_scope", get(in_scope))
        .route("/instrument", get(instrument))
        .layer(steeple.layer())
}

async fn ask(app: &Router, uri: &str) {
    let response = app.clone().oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
    axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_handler_spawns_keeps_its_ids_user_and_exchange() {
    let recorder = Recorder::new();
    let app = app(recorder.steeple());
    for way in ["scope", "in_scope", "instrument"] {
        ask(&app, &format!("/{way}")).await;
        let line = recorder.line(&format!("GET /{way}"));
        let lines = recorder.lines();
        let worked = lines.iter().find(|line| line.message() == "worked").unwrap();
        for field in ["request_id", "trace_id", "span_id", "transaction.name", "http.route", "user.id"] {
            assert!(worked.text(field).is_some(), "{way}: {field} is missing");
            assert_eq!(worked.text(field), line.text(field), "{way}: {field}");
        }
        assert_eq!(line.is(&format!("attributes.{way}")), Some(true), "{way}: its exchange was the current one");
        recorder.clear();
    }
}

/// What the team's own formatter wrote.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn under_a_subscriber_of_ones_own_the_span_of_the_request_takes_all_of_it_along() {
    let output = Output::default();
    let writer = output.clone();
    let formatter = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let own = tracing_subscriber::registry().with(formatter).with(Steeple::log_layer());
    let _guard = subscriber::set_default(own);
    let steeple = Steeple::builder().build().unwrap();
    let seen = Arc::new(Mutex::new(None));
    let handler = {
        let seen = Arc::clone(&seen);
        async move |exchange: Exchange| {
            let task = async move {
                tracing::info!("worked");
                *seen.lock().unwrap() = Exchange::current().map(|current| current.is_same(&exchange));
            };
            // No span of the handler's: this is the request's.
            tokio::spawn(task.instrument(Span::current())).await.unwrap();
        }
    };
    ask(&Router::new().route("/", get(handler)).layer(steeple.layer()), "/").await;
    assert_eq!(*seen.lock().unwrap(), Some(true), "the task's exchange is the handler's");
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    let worked = text.lines().find(|line| line.contains("\"worked\"")).unwrap();
    for field in ["\"request_id\"", "\"trace_id\"", "\"span_id\""] {
        assert!(worked.contains(field), "{field}: {worked}");
    }
}
