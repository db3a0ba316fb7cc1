//! Every sink passes the checks of `steeple-export`: full, hung, reset, limited, too large, panics, flushes, exact counts.
#![cfg(all(
    feature = "elasticsearch",
    feature = "ga4",
    feature = "mixpanel",
    feature = "ndjson",
    feature = "newrelic",
    feature = "webhook"
))]

use std::{path::PathBuf, sync::Arc};

use serde_json::json;
use steeple_core::User;
use steeple_export::{
    Client, Endpoint, Protocol,
    protocol::webhook::Keys,
    test_util::{
        ExporterReceiver, ExporterSubject, Partial, Received, Reply, ScriptedReceiver, Subject, Turn, check_all,
        check_exporter,
    },
};
use steeple_scrub::Scrubber;

use super::{
    elasticsearch::Documents,
    erasures::{self, Erasures},
    ga4::Collect,
    mixpanel::{Import, Track},
    ndjson::Lines,
    newrelic::EventApi,
    people::Engage,
    test_support::{change, service, tracked},
    webhook::Messages,
};
use crate::{Tracked, Visitor, record::Context};

/// A sink: how its protocol is made, what it sends, what accepts, and what accepts in part.
struct Sink<P> {
    make: fn(Endpoint) -> P,
    item: fn(usize) -> Tracked,
    accepts: fn() -> Reply,
    partial: fn() -> Option<Partial>,
}

impl<P> Sink<P> {
    fn new(make: fn(Endpoint) -> P) -> Self {
        Self { make, item: event, accepts: || Reply::ok(""), partial: || None }
    }
}

/// Events of one size, of a visitor whom each sink takes.
fn event(number: usize) -> Tracked {
    let headers = http::HeaderMap::from_iter([(http::header::COOKIE, "_ga=GA1.1.123.456".parse().unwrap())]);
    let visitor = Visitor::of(&headers, true);
    let context = Context { user: Some(User::new("u-1")), visitor, ..Context::default() };
    tracked("sign_up", &json!({"number": format!("{number:010}")}), context)
}

impl<P: Protocol<Item = Tracked>> Subject for Sink<P> {
    type Protocol = P;

    fn protocol(&self, endpoint: Endpoint) -> P {
        (self.make)(endpoint)
    }

    fn item(&self, number: usize) -> Tracked {
        (self.item)(number)
    }

    fn accepts(&self) -> Reply {
        (self.accepts)()
    }

    fn partial(&self) -> Option<Partial> {
        (self.partial)()
    }
}

/// A sink whose requests have one event.
struct OneByOne<P>(Sink<P>);

impl<P: Protocol<Item = Tracked>> Subject for OneByOne<P> {
    type Protocol = P;
    const BATCH: usize = 1;

    fn protocol(&self, endpoint: Endpoint) -> P {
        self.0.protocol(endpoint)
    }

    fn item(&self, number: usize) -> Tracked {
        self.0.item(number)
    }
}

#[test]
fn mixpanel_passes_every_check() {
    let make = |endpoint| Import { scrubber: Scrubber::default(), service: Arc::new(service()), endpoint, track: None };
    check_all(Sink {
        partial: || {
            let refused = json!({"code": 400, "failed_records": [{"index": 1, "field": "time", "message": "too old"}]});
            let reply =
                Reply::Answer { status: http::StatusCode::BAD_REQUEST, headers: Vec::new(), body: refused.to_string() };
            Some(Partial { reply, stored: 3, poisoned: 1 })
        },
        ..Sink::new(make)
    });
}

#[test]
fn mixpanel_by_track_passes_every_check() {
    let make = |endpoint: Endpoint| {
        let track = Track { endpoint: endpoint.clone(), token: "token".to_owned() };
        Import { scrubber: Scrubber::default(), service: Arc::new(service()), endpoint, track: Some(track) }
    };
    check_all(Sink { accepts: || Reply::ok(r#"{"status":1,"error":null}"#), ..Sink::new(make) });
}

#[test]
fn profiles_at_mixpanel_pass_every_check() {
    let make = |endpoint| Engage { scrubber: Scrubber::default(), endpoint, token: "token".to_owned() };
    check_all(Sink {
        item: |number| change("u-42", &json!({"number": format!("{number:010}")})),
        accepts: || Reply::ok(r#"{"status":1}"#),
        ..Sink::new(make)
    });
}

#[test]
fn new_relic_passes_every_check() {
    check_all(Sink::new(|endpoint| EventApi {
        scrubber: Scrubber::default(),
        service: Arc::new(service()),
        endpoint,
        license_key: http::HeaderValue::from_static("license"),
    }));
}

#[test]
fn elasticsearch_passes_every_check() {
    let make = |endpoint| Documents {
        scrubber: Scrubber::default(),
        service: Arc::new(service()),
        endpoint,
        stream: "logs-events-staging".to_owned(),
        api_key: None,
    };
    check_all(Sink {
        accepts: || Reply::ok(r#"{"errors":false,"items":[]}"#),
        partial: || {
            let error = json!({"type": "document_parsing_exception", "reason": "x"});
            let items = json!([
                {"create": {"status": 201}},
                {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "x"}}},
                {"create": {"status": 400, "error": error}},
                {"create": {"status": 201}},
            ]);
            let reply = Reply::ok(json!({"errors": true, "items": items}).to_string());
            Some(Partial { reply, stored: 2, poisoned: 1 })
        },
        ..Sink::new(make)
    });
}

#[test]
fn google_analytics_passes_every_check() {
    check_all(OneByOne(Sink::new(|endpoint| Collect { scrubber: Scrubber::default(), endpoint, validate: false })));
}

#[test]
fn webhooks_pass_every_check() {
    check_all(OneByOne(Sink::new(|endpoint| Messages {
        scrubber: Scrubber::default(),
        service: Arc::new(service()),
        endpoint,
        keys: Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
    })));
}

struct Erased;

impl ExporterSubject for Erased {
    type Exporter = Erasures;
    type Receiver = ScriptedReceiver;
    // An attempt without an answer is simply made again: to delete twice is to delete.
    const TURNS: &'static [Turn] =
        &[Turn::Accepts, Turn::Holds, Turn::Breaks, Turn::Defers, Turn::Refuses, Turn::Forbids];

    fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> ScriptedReceiver {
        let deletes = |received: &Received| received.line.contains("/_delete_by_query");
        ScriptedReceiver::start(turn, deletes, &Reply::ok(r#"{"timed_out":false,"failures":[]}"#))
    }

    fn exporter(&self, receiver: &ScriptedReceiver) -> Erasures {
        let (refresh, delete) = erasures::endpoints(&receiver.endpoint(), "logs-events").unwrap();
        let client = Client::builder().build().unwrap();
        Erasures { client, scrubber: Scrubber::default(), refresh, delete, api_key: None }
    }

    fn item(&self, number: usize) -> Tracked {
        event(number)
    }
}

#[test]
fn erasures_pass_every_check() {
    check_exporter(Erased);
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn file(&self) -> PathBuf {
        self.0.path().join("events.ndjson")
    }
}

impl ExporterReceiver for Directory {
    fn seen(&self) -> usize {
        std::fs::read_to_string(self.file()).unwrap_or_default().lines().count()
    }

    fn release(&self) {}
}

struct ToFile;

impl ExporterSubject for ToFile {
    type Exporter = Lines;
    type Receiver = Directory;
    const TURNS: &'static [Turn] = &[Turn::Accepts];
    const BLOCKS: bool = true;

    fn receiver(&self, _turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn exporter(&self, receiver: &Directory) -> Lines {
        Lines { scrubber: Scrubber::default(), service: Arc::new(service()), path: receiver.file() }
    }

    fn item(&self, number: usize) -> Tracked {
        event(number)
    }
}

#[test]
fn lines_in_a_file_pass_every_check() {
    check_exporter(ToFile);
}
