//! The store behind the events: a stored event arrives once at every system, whatever happens in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::OriginalUri, http::HeaderMap, response::IntoResponse};
use http::StatusCode;
use serde_json::{Value, json};
use steeple_core::{Exchange, User, clock};
use steeple_events::{
    Events, EventsBuilder, NotStored, Rejected,
    preset::{FeatureUsed, Revenue, UserRegistration},
    sink::{Elasticsearch, Ga4, Mixpanel, Ndjson, NewRelic, Webhook},
};
use steeple_export::{
    HttpOptions, Retry, shutdown_all,
    store::{NewRow, spool::ToRow},
};
use steeple_scrub::Scrubbed;

use crate::{
    dead_letters::flush_but_dead,
    receiver::{Receiver, SECRET, everywhere, flush, lines},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request: where to, and its body.
pub(crate) type Asked = (String, Vec<u8>);

/// A server whose answers a test decides. What it is asked is kept.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) url: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub(crate) async fn start<A>(answer: impl Fn(&str, &[u8]) -> A + Clone + Send + Sync + 'static) -> Self
    where
        A: Future<Output = (u16, String)> + Send + 'static,
    {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let kept = Arc::clone(&asked);
        let app = Router::new().fallback(move |OriginalUri(uri): OriginalUri, headers: HeaderMap, body: Bytes| {
            let body = crate::receiver::plain(&headers, &body);
            let reply = answer(&uri.to_string(), &body);
            kept.lock().unwrap().push((uri.to_string(), body));
            async move {
                let (status, body) = reply.await;
                (StatusCode::from_u16(status).unwrap(), body).into_response()
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, asked }
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.asked.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }
}

pub(crate) fn soon(http: HttpOptions) -> HttpOptions {
    let retry = Retry::new().base(Duration::from_millis(5)).cap(Duration::from_millis(20));
    http.batch_delay(Duration::from_millis(5)).retry(retry)
}

/// An address without a listener.
pub(crate) fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(crate) fn durable(directory: &Path) -> EventsBuilder {
    Events::builder().directory(directory).receipt_timeout(PATIENCE)
}

/// Waits for what other threads do.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    let begin = clock::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "it takes too long");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn backlog(events: &Events, sink: &str) -> u64 {
    events.spool().unwrap().backlog_now(sink).unwrap().items
}

/// Ends events, and waits until their directory is free.
pub(crate) async fn end(events: Events) {
    let spool = events.spool().unwrap().clone();
    spool.settled();
    drop(events);
    spool.close();
    until(|| spool.backlog_now("-").is_err()).await;
}

/// In the name of a user.
pub(crate) fn as_user<T>(user: &str, f: impl FnOnce() -> T) -> T {
    let exchange = Exchange::detached();
    exchange.set_user(User::new(user));
    exchange.in_scope(f)
}

/// The ids of what the receiver got for New Relic, as often as it did.
fn ids(receiver: &Receiver) -> Vec<String> {
    let events = receiver.all().iter().flat_map(|got| got.json().as_array().unwrap().clone()).collect::<Vec<_>>();
    events.iter().map(|event| event["event.id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_reaches_every_system_after_a_restart_with_the_same_ids() {
    let directory = tempfile::tempdir().unwrap();
    let (store, file) = (directory.path().join("events"), directory.path().join("events.ndjson"));
    let dead = nowhere();
    let receiver = Receiver::start().await;
    let systems = |url: &str| {
        durable(&store)
            .sink(Mixpanel::new("token").endpoint(url).http(soon))
            .sink(NewRelic::new("license", "12345").endpoint(url).http(soon))
            .sink(Elasticsearch::new(url, "logs-events").http(soon))
            .sink(Webhook::new(format!("{url}/hook"), SECRET).http(soon))
            .sink(Ndjson::new(&file).batch_delay(Duration::from_millis(5)))
    };
    let events = systems(&dead).build().unwrap();
    as_user("u-42", || events.track(UserRegistration { source: "ads" })).stored().await.unwrap();
    events.track(Revenue { minor_units: 1_250, currency: "EUR", transaction_id: "t-1" }).synced().await.unwrap();
    until(|| backlog(&events, "ndjson") == 0).await;
    assert_eq!(backlog(&events, "mixpanel"), 2);
    end(events).await;

    let events = systems(&receiver.url).build().unwrap();
    flush(&events).await;
    let written = lines(&file);
    assert_eq!(written.len(), 2, "what had arrived does not come again");
    let imported = receiver.only("/import").json();
    assert_eq!((&imported[0]["event"], &imported[1]["event"]), (&json!("Sign Up"), &json!("Revenue")));
    for (line, event) in written.iter().zip(imported.as_array().unwrap()) {
        assert_eq!(line["data"]["id"], event["properties"]["$insert_id"]);
    }
    assert_eq!(imported[0]["properties"]["distinct_id"], "u-42");
    assert_eq!(receiver.only("/v1/accounts/").json()[1]["eventType"], "Revenue");
    assert_eq!(receiver.all().iter().filter(|got| got.uri == "/hook").count(), 2);
    let stats = events.sink_stats();
    let mixpanel = stats.iter().find(|sink| sink.sink == "mixpanel").unwrap();
    assert_eq!((mixpanel.delivered, mixpanel.backlog.0, mixpanel.dead), (2, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let hung = Scripted::start(|_, _| async {
        std::future::pending::<()>().await;
        (200, String::new())
    })
    .await;
    let well = Scripted::start(|_, _| async { (200, String::new()) }).await;
    let file = directory.path().join("events.ndjson");
    let events = durable(&directory.path().join("events"))
        .sink(NewRelic::new("license", "12345").endpoint(&hung.url).http(soon))
        .sink(Webhook::new(format!("{}/hook", well.url), SECRET).http(soon))
        .sink(Mixpanel::new("token").endpoint(&well.url).http(soon))
        .sink(Ndjson::new(&file).batch_delay(Duration::from_millis(1)))
        .build()
        .unwrap();
    let others = ["webhook_events", "mixpanel", "ndjson"];
    let probes = 1_000;
    for probe in 1..=probes {
        events.track(FeatureUsed { feature: "export" }).stored().await.unwrap();
        until(|| others.iter().all(|sink| backlog(&events, sink) == 0)).await;
        assert_eq!(backlog(&events, "newrelic"), probe);
    }
    let delivered: Vec<_> = events.sink_stats().into_iter().map(|sink| (sink.sink, sink.delivered)).collect();
    for sink in others {
        assert!(delivered.contains(&(sink.to_owned(), probes)), "{delivered:?}");
    }
    assert_eq!(lines(&file).len() as u64, probes);
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_retries_each_document_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Arc::<Mutex<BTreeMap<String, usize>>>::default();
    let kept = Arc::clone(&seen);
    let elasticsearch = Scripted::start(move |_, body| {
        let lines: Vec<Value> =
            body.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let mut items = Vec::new();
        for pair in lines.chunks(2) {
            let kind = pair[1]["steeple"]["properties"]["feature"].as_str().unwrap().to_owned();
            let mut seen = kept.lock().unwrap();
            let times = seen.entry(kind.clone()).or_default();
            *times += 1;
            let status = match (kind.as_str(), *times) {
                ("busy", 1..=2) => 429,
                ("there", _) => 409,
                ("bad", _) => 400,
                _ => 201,
            };
            items.push(json!({"create": {"status": status, "error": {"type": "mapper_parsing_exception"}}}));
        }
        async move { (200, json!({"errors": true, "items": items}).to_string()) }
    })
    .await;
    let events = durable(directory.path())
        .sink(Elasticsearch::new(&elasticsearch.url, "logs-events").http(soon))
        .build()
        .unwrap();
    for feature in ["new", "busy", "there", "bad"] {
        events.track(FeatureUsed { feature });
    }
    flush_but_dead(&events).await;
    let seen = seen.lock().unwrap().clone();
    let want = [("bad", 1), ("busy", 3), ("new", 1), ("there", 1)].map(|(kind, times)| (kind.to_owned(), times));
    assert_eq!(seen, BTreeMap::from(want));
    let stats = events.sink_stats();
    assert_eq!((stats[0].delivered, stats[0].dead), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_accepted_pauses_the_sink_which_keeps_its_events() {
    let directory = tempfile::tempdir().unwrap();
    let accepts = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asks = Arc::clone(&accepts);
    let newrelic = Scripted::start(move |_, _| {
        let accepts = asks.load(std::sync::atomic::Ordering::Relaxed);
        async move { (if accepts { 202 } else { 403 }, String::new()) }
    })
    .await;
    let events = durable(directory.path())
        .sink(NewRelic::new("license", "12345").endpoint(&newrelic.url).http(soon))
        .build()
        .unwrap();
    for _ in 0..10 {
        events.track(FeatureUsed { feature: "export" }).stored().await.unwrap();
    }
    until(|| newrelic.bodies().len() > 2).await;
    assert_eq!(backlog(&events, "newrelic"), 10);
    assert_eq!(events.sinks()[1].stats().health.as_str(), "paused");
    accepts.store(true, std::sync::atomic::Ordering::Relaxed);
    until(|| backlog(&events, "newrelic") == 0).await;
    assert_eq!(events.sink_stats()[0].delivered, 10);
}

/// Reads each request and closes the connection without an answer, so many times; then answers.
async fn cuts(times: usize) -> Scripted {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut left = times;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            // Heads and bodies of these tests are small.
            loop {
                let mut part = vec![0; 65_536];
                let read = stream.read(&mut part).await.unwrap_or(0);
                got.extend_from_slice(&part[..read]);
                let Some(head) = got.windows(4).position(|w| w == b"\r\n\r\n") else {
                    if read == 0 {
                        break;
                    }
                    continue;
                };
                let text = String::from_utf8_lossy(&got[..head]).to_ascii_lowercase();
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |l| l.parse().unwrap());
                if got.len() >= head + 4 + length || read == 0 {
                    let body = got[head + 4..].to_vec();
                    let body =
                        if text.contains("content-encoding: gzip") { crate::receiver::inflate(&body) } else { body };
                    kept.lock().unwrap().push((text.lines().next().unwrap().to_owned(), body));
                    break;
                }
            }
            if left > 0 {
                left -= 1;
                drop(stream);
            } else {
                let _gone =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            }
        }
    });
    Scripted { url, asked }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_events_are_sent_again_as_they_were_or_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    // Mixpanel notices what comes twice.
    let mixpanel = cuts(1).await;
    let events = durable(&directory.path().join("m"))
        .sink(Mixpanel::new("token").endpoint(&mixpanel.url).http(soon))
        .build()
        .unwrap();
    events.track(FeatureUsed { feature: "export" });
    flush(&events).await;
    let bodies = mixpanel.bodies();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1], "id and time are those of the first try");

    // GA4 does not, but for purchases.
    let ga4 = cuts(2).await;
    let events = durable(&directory.path().join("g"))
        .sink(Ga4::new("G-ABC", "secret").endpoint(&ga4.url).http(soon))
        .build()
        .unwrap();
    let body = |name: &str, ga4: &str| {
        json!({"name": name, "ga4": ga4, "client_id": "12.34", "properties": {"transaction_id": "t-1"}}).to_string()
    };
    let spool = events.spool().unwrap();
    let append = |id: &str, body: String| {
        let row = NewRow {
            id: format!("01a20a66-4b8a-7456-8563-1905ed7b{id}").into(),
            at: clock::unix_now(),
            key: None,
            class: 2,
            body: Scrubbed::from_application(body.into()),
        };
        spool.append(Arc::new(row), 2, 100)
    };
    append("1c80", body("login", "login"));
    until(|| backlog(&events, "ga4") == 0).await;
    append("1c81", body("revenue", "purchase"));
    until(|| backlog(&events, "ga4") == 0 && ga4.bodies().len() == 3).await;
    let stats = &events.sink_stats()[0];
    assert_eq!((stats.delivered, stats.in_doubt, stats.dropped, stats.dead), (1, 2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_of_a_shutdown_the_report_says_what_is_left_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let hung = Scripted::start(|_, _| async {
        std::future::pending::<()>().await;
        (200, String::new())
    })
    .await;
    let build = |url: &str| {
        durable(directory.path()).sink(NewRelic::new("license", "12345").endpoint(url).http(soon)).build().unwrap()
    };
    let events = build(&hung.url);
    for _ in 0..500 {
        events.track(FeatureUsed { feature: "export" });
    }
    let sinks = events.sinks();
    let reports = tokio::task::spawn_blocking(move || shutdown_all(&sinks, clock::now() + Duration::from_millis(500)))
        .await
        .unwrap();
    let newrelic = reports.iter().find(|report| report.sink == "newrelic").unwrap();
    assert_eq!((newrelic.exported, newrelic.dropped, newrelic.left), (0, 0, 500));
    end(events).await;
    let receiver = Receiver::start().await;
    let events = build(&receiver.url);
    flush(&events).await;
    let ids: BTreeSet<_> = ids(&receiver).into_iter().collect();
    assert_eq!(ids.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lives_on_after_its_shutdown_leaves_the_rows_to_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let hung = Scripted::start(|_, _| async {
        std::future::pending::<()>().await;
        (200, String::new())
    })
    .await;
    let build = |url: &str| {
        let events = durable(directory.path()).retry_after(Duration::from_millis(1));
        // What hangs is given up after the shutdown, and comes back to the store.
        let http = |http| soon(http).timeout(Duration::from_millis(500));
        events.sink(NewRelic::new("license", "12345").endpoint(url).http(http)).build().unwrap()
    };
    let events = build(&hung.url);
    for _ in 0..200 {
        events.track(FeatureUsed { feature: "export" });
    }
    let sinks = events.sinks();
    tokio::task::spawn_blocking(move || shutdown_all(&sinks, clock::now() + Duration::from_millis(100))).await.unwrap();
    // Events tracked now are stored, and wait too.
    for _ in 0..20 {
        events.track(FeatureUsed { feature: "late" });
    }
    // Time for hundreds of reads: rows that are read now would be dropped without an answer.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let letters = events.dead_letters("newrelic", 10).await.unwrap();
    assert!(letters.is_empty(), "{:?}", letters.first().map(|letter| &letter.why));
    assert_eq!((events.sink_stats()[0].dead, backlog(&events, "newrelic")), (0, 220));
    end(events).await;
    let receiver = Receiver::start().await;
    let events = build(&receiver.url);
    flush(&events).await;
    let ids = ids(&receiver);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (220, 220));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_user_goes_to_profiles_alone() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = everywhere(&receiver, &file).directory(directory.path().join("events")).build().unwrap();
    events.person("u-42").set("plan", "pro").stored().await.unwrap();
    flush(&events).await;
    let change = &receiver.only("/engage").json()[0];
    assert_eq!((&change["$distinct_id"], &change["$set"]), (&json!("u-42"), &json!({"plan": "pro"})));
    assert_eq!((receiver.all().len(), events.stats().tracked_total()), (1, 0));
}

/// A row that takes as long as a test wants it to.
struct Slow(Mutex<mpsc::Receiver<()>>);

impl ToRow for Slow {
    fn row(&self) -> Option<NewRow> {
        self.0.lock().unwrap().recv().ok();
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_say_what_became_of_an_event() {
    let directory = tempfile::tempdir().unwrap();
    let build = |timeout| {
        Events::builder()
            .directory(directory.path())
            .receipt_timeout(timeout)
            .sink(NewRelic::new("license", "12345").endpoint(nowhere()).http(soon))
            .build()
            .unwrap()
    };
    let events = build(PATIENCE);
    assert_eq!(events.track(FeatureUsed { feature: "export" }).stored().await, Ok(()));
    assert_eq!(events.track(FeatureUsed { feature: "export" }).synced().await, Ok(()));
    let rejected = events.track_named("Not Valid", &());
    assert_eq!(rejected.stored().await, Err(NotStored::Rejected(Rejected::InvalidName)));
    let spool = events.spool().unwrap().clone();
    spool.close();
    until(|| spool.backlog_now("-").is_err()).await;
    let late = events.track(FeatureUsed { feature: "export" }).stored().await;
    assert!(matches!(late, Err(NotStored::Dropped { .. })), "{late:?}");
    drop(events);
    let events = build(Duration::from_millis(20));
    let (release, held) = mpsc::channel();
    events.spool().unwrap().append(Arc::new(Slow(Mutex::new(held))), 1, 100);
    assert_eq!(events.track(FeatureUsed { feature: "export" }).stored().await, Err(NotStored::Timeout));
    release.send(()).unwrap();
    // In memory, there is nothing to wait for.
    let events = Events::builder().build().unwrap();
    assert_eq!(events.track(FeatureUsed { feature: "export" }).stored().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sink_no_directory_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events");
    let events = Events::builder().directory(&path).build().unwrap();
    events.track(FeatureUsed { feature: "export" });
    assert!(events.spool().is_none() && !path.exists());
}
