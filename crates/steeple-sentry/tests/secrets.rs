//! Every secret of the corpus, in every place that a request, an event, a transaction and a log have for it: none gets out.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::Router;
use common::{DSN, Receiver};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use sentry_core::{
    Breadcrumb, Client, ClientOptions, Envelope, Level, User,
    protocol::{
        Context, EnvelopeItem, Event, Exception, Frame, Log, LogAttribute, LogEntry, LogLevel, Map, Mechanism,
        Request as EventRequest, Span, Stacktrace, Thread, Transaction, Value,
    },
    test::TestTransport,
};
use steeple_scrub::{
    Scrubber,
    corpus::{self, Place},
};
use steeple_sentry::ScrubSentry;

/// Puts a text wherever its kind can stand.
fn plant(place: Place, name: &str, text: &str) -> (Event<'static>, Transaction<'static>, Log) {
    let text = text.to_owned();
    let mut event = Event { level: Level::Error, ..Event::default() };
    let mut transaction = Transaction { name: Some("GET /".to_owned()), ..Transaction::default() };
    transaction.finish();
    let mut span = Span::default();
    let mut request = EventRequest::default();
    let mut crumb = Breadcrumb::default();
    let mut exception = Exception { ty: "Error".to_owned(), ..Exception::default() };
    let mut frame = Frame { function: Some("f".to_owned()), ..Frame::default() };
    let mut log = Log {
        level: LogLevel::Error,
        body: "a line".to_owned(),
        trace_id: None,
        timestamp: std::time::SystemTime::now(),
        severity_number: None,
        attributes: Map::new(),
    };
    let mut other = Map::new();
    match place {
        Place::Header => drop(request.headers.insert(name.to_owned(), text)),
        Place::Cookie => {
            request.headers.insert("cookie".to_owned(), text.clone());
            request.cookies = Some(text);
        }
        Place::Query => {
            crumb.data.insert("http.query".to_owned(), text.clone().into());
            span.data.insert("http.query".to_owned(), text.clone().into());
            request.query_string = Some(text);
        }
        Place::Path | Place::Target => {
            request.url = format!("http://shop.example{text}").parse().ok();
            crumb.data.insert("url".to_owned(), text.into());
        }
        Place::Url => {
            request.url = text.parse().ok();
            crumb.data.insert("url".to_owned(), text.clone().into());
            span.data.insert("url.full".to_owned(), text.clone().into());
            log.attributes.insert("url.full".to_owned(), LogAttribute(text.into()));
        }
        Place::Form => request.data = Some(text),
        Place::Json => {
            let json: Value = serde_json::from_str(&text).unwrap();
            request.data = Some(text);
            event.extra.insert("body".to_owned(), json.clone());
            frame.vars.insert("body".to_owned(), json.clone());
            crumb.data.insert("body".to_owned(), json.clone());
            span.data.insert("body".to_owned(), json.clone());
            other.insert("body".to_owned(), json);
        }
        Place::Field => {
            event.tags.insert(name.to_owned(), text.clone());
            event.extra.insert(name.to_owned(), text.clone().into());
            transaction.tags.insert(name.to_owned(), text.clone());
            transaction.extra.insert(name.to_owned(), text.clone().into());
            frame.vars.insert(name.to_owned(), text.clone().into());
            crumb.data.insert(name.to_owned(), text.clone().into());
            span.data.insert(name.to_owned(), text.clone().into());
            span.tags.insert(name.to_owned(), text.clone());
            log.attributes.insert(name.to_owned(), LogAttribute(text.clone().into()));
            other.insert(name.to_owned(), text.clone().into());
            request.env.insert(name.to_owned(), text);
        }
        // Prose: message, error, breadcrumb.
        Place::Message | Place::Error | Place::Breadcrumb | _ => {
            event.message = Some(text.clone());
            event.logentry = Some(LogEntry { message: text.clone(), params: vec![text.clone().into()] });
            event.transaction = Some(text.clone());
            event.culprit = Some(text.clone());
            event.tags.insert("note".to_owned(), text.clone());
            event.extra.insert("note".to_owned(), text.clone().into());
            event.user = Some(User { id: Some(text.clone()), username: Some(text.clone()), ..User::default() });
            event.threads = vec![Thread { name: Some(text.clone()), ..Thread::default() }].into();
            event.fingerprint = vec![text.clone().into()].into();
            exception.value = Some(text.clone());
            exception.mechanism = Some(Mechanism { description: Some(text.clone()), ..Mechanism::default() });
            frame.context_line = Some(text.clone());
            frame.pre_context = vec![text.clone()];
            frame.vars.insert("note".to_owned(), text.clone().into());
            crumb.message = Some(text.clone());
            crumb.data.insert("note".to_owned(), text.clone().into());
            span.description = Some(text.clone());
            transaction.name = Some(text.clone());
            other.insert("note".to_owned(), text.clone().into());
            log.body.clone_from(&text);
            log.attributes.insert("note".to_owned(), LogAttribute(text.into()));
        }
    }
    exception.stacktrace = Some(Stacktrace { frames: vec![frame], ..Stacktrace::default() });
    event.exception = vec![exception].into();
    event.breadcrumbs = vec![crumb].into();
    event.contexts.insert("own".to_owned(), Context::Other(other.clone()));
    transaction.contexts.insert("own".to_owned(), Context::Other(other));
    event.request = Some(request.clone());
    transaction.request = Some(request);
    transaction.spans.push(span);
    (event, transaction, log)
}

const MADE_UP: [&str; 8] =
    ["timestamp", "start_timestamp", "sent_at", "event_id", "trace_id", "span_id", "parent_span_id", "elapsed_ms"];

/// Every text of an envelope, keys and values.
fn texts(envelope: &Envelope) -> Vec<String> {
    fn walk(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| walk(value, out)),
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                out.push(key.clone());
                // Times and random ids hold any three digits sooner or later.
                if !MADE_UP.contains(&key.as_str()) {
                    walk(value, out);
                }
            }),
            Value::Number(number) => out.push(number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }
    let mut out = Vec::new();
    let mut bytes = Vec::new();
    envelope.to_writer(&mut bytes).unwrap();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        walk(&serde_json::from_slice(line).unwrap(), &mut out);
    }
    out
}

struct Way {
    name: &'static str,
    send: Box<dyn Fn(Event<'static>, Transaction<'static>, Log) -> Vec<Envelope>>,
}

/// Our own client, and a team's client with the hooks put in.
fn ways() -> [Way; 2] {
    let receiver = Receiver::new();
    let own = move |event, transaction, log| {
        let client = receiver.sentry.client();
        client.capture_event(event, None);
        client.send_envelope(envelope(transaction));
        client.send_envelope(envelope(vec![log]));
        receiver.envelopes()
    };
    let (scrubber, transport) = (Scrubber::default(), TestTransport::new());
    let options = ClientOptions::new()
        .dsn(DSN)
        .before_send(scrubber.before_send())
        .transport(scrubber.transport(Arc::clone(&transport)));
    let client = Client::from(options);
    let before_send_log = scrubber.before_send_log();
    let drop_in = move |event, transaction, log| {
        client.capture_event(event, None);
        client.send_envelope(envelope(transaction));
        client.send_envelope(envelope(vec![before_send_log(log).unwrap()]));
        transport.fetch_and_clear_envelopes()
    };
    [Way { name: "own client", send: Box::new(own) }, Way { name: "drop-in", send: Box::new(drop_in) }]
}

fn envelope(item: impl Into<EnvelopeItem>) -> Envelope {
    let mut envelope = Envelope::new();
    envelope.add_item(item);
    envelope
}

#[test]
fn no_secret_leaves_in_any_field_of_an_event_a_transaction_or_a_log() {
    let secrets = corpus::secrets();
    assert!(secrets.len() >= 400);
    let mut leaks = Vec::new();
    for way in ways() {
        let mut table: BTreeMap<Place, (usize, usize)> = BTreeMap::new();
        for secret in &secrets {
            let (event, transaction, log) = plant(secret.place, &secret.name, &secret.text);
            let sent = (way.send)(event, transaction, log);
            assert_eq!(sent.len(), 3, "an event, a transaction and a log");
            let leaked: Vec<_> = sent.iter().flat_map(texts).filter(|text| secret.leaks_into(text)).collect();
            let row = table.entry(secret.place).or_default();
            row.0 += 1;
            if !leaked.is_empty() {
                row.1 += 1;
                leaks.push(format!("{}: {secret:?}: {leaked:?}", way.name));
            }
        }
        println!("{:12} {:>8} {:>8}", way.name, "secrets", "leaked");
        for (place, (count, leaked)) in table {
            println!("{place:12} {count:>8} {leaked:>8}");
        }
    }
    assert!(leaks.is_empty(), "{} leak:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn what_only_looks_like_a_secret_stays() {
    let lookalikes = corpus::lookalikes();
    assert!(lookalikes.len() >= 400);
    let mut wrong = Vec::new();
    for way in ways() {
        for one in &lookalikes {
            let (mut event, mut transaction, log) = plant(one.place, &one.name, &one.text);
            (event.platform, transaction.platform) = ("native".into(), "native".into());
            let sent: Vec<_> = (way.send)(event, transaction, log).iter().flat_map(texts).collect();
            let marked =
                |text: &String| text.contains("[redacted") || text.contains("%5Bredacted") || text.contains("Filtered");
            // Some look-alikes are markers: scrubbed texts stay as they are.
            let removed: Vec<_> = sent.into_iter().filter(|text| marked(text) && !marked(&one.text)).collect();
            if !removed.is_empty() {
                wrong.push(format!("{}: {one:?}: {removed:?}", way.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrongly removed:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every secret that HTTP can carry, in a request whose handler logs it and fails with it.
#[tokio::test]
async fn no_secret_leaves_of_a_request_that_failed() {
    let receiver = Receiver::with(|options| {
        let names = corpus::secrets()
            .into_iter()
            .filter(|secret| secret.place == Place::Header && secret.name != "x-unknown-thing");
        // A team that lets everything through that has a known name: the deny list still wins.
        names.fold(options, |options, secret| match HeaderName::try_from(secret.name) {
            Ok(name) => options.header(name),
            Err(_) => options,
        })
    });
    let said = Arc::new(Mutex::new(String::new()));
    let handler_says = Arc::clone(&said);
    let app = Router::new().fallback(move |exchange: steeple_core::Exchange| {
        let said = handler_says.lock().unwrap().clone();
        async move {
            steeple_sentry::breadcrumb("said", said.clone());
            exchange.set_attribute("said", said.clone());
            exchange.record_error(&std::io::Error::other(said));
            StatusCode::INTERNAL_SERVER_ERROR
        }
    });
    let service = app.layer(receiver.sentry.layer());
    let mut leaks = Vec::new();
    let mut count = 0;
    for secret in corpus::secrets() {
        let mut request = Request::new(axum::body::Body::empty());
        let target = if secret.place == Place::Query {
            format!("/a?{}", secret.text)
        } else if matches!(secret.place, Place::Path | Place::Target) {
            secret.text.clone()
        } else {
            "/a".to_owned()
        };
        let Ok(uri) = target.parse::<Uri>() else { continue };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        if let (Place::Header | Place::Cookie, Ok(value)) = (secret.place, HeaderValue::try_from(&secret.text)) {
            let name = if secret.place == Place::Cookie { "cookie" } else { &secret.name };
            headers.insert(HeaderName::try_from(name).unwrap(), value);
        }
        let prose = matches!(secret.place, Place::Message | Place::Error | Place::Breadcrumb);
        *said.lock().unwrap() = if prose { secret.text.clone() } else { String::new() };
        let answer = tower::ServiceExt::oneshot(service.clone(), request).await.unwrap();
        axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        count += 1;
        let leaked: Vec<_> =
            receiver.envelopes().iter().flat_map(texts).filter(|text| secret.leaks_into(text)).collect();
        if !leaked.is_empty() {
            leaks.push(format!("{secret:?}: {leaked:?}"));
        }
    }
    println!("{count} requests with secrets, {} leaked", leaks.len());
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
