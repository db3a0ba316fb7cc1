//! What is known of an event beside its properties, wherever it is tracked; its line; names that are known late.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};
use steeple_core::{Exchange, Job, ObserveLayer, RequestId, TraceContext, User};
use steeple_events::{Events, MAX_NAMED, Meter, Rejected, Role, event, preset::FeatureUsed, sink::Ndjson};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::receiver::{flush, lines};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_the_ids_of_its_exchange_in_spawned_tasks_threads_and_jobs_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = Events::builder().sink(Ndjson::new(&file)).build().unwrap();
    let exchange = Exchange::detached();
    exchange.set_request_id(RequestId::parse(b"01a20a66-4b8a-7456-8563-1905ed7b1c80").unwrap());
    exchange.set_trace(TraceContext::from_ids([7; 16], [9; 8], true).unwrap());
    exchange.set_user(User::new("u-42"));
    let tracks = |place: &'static str| {
        let events = events.clone();
        move || {
            assert!(events.track(FeatureUsed { feature: place }).is_accepted());
        }
    };
    let (here, task, thread) = (tracks("here"), tracks("task"), tracks("thread"));
    exchange.in_scope(here);
    tokio::spawn(exchange.scope(async move { task() })).await.unwrap();
    let carrier = exchange.carrier();
    tokio::task::spawn_blocking(move || {
        let _entered = carrier.enter();
        thread();
    })
    .await
    .unwrap();
    let job = tracks("job");
    let observers = ObserveLayer::new(events.observer());
    observers
        .job(Job::new("nightly import"), async move {
            Exchange::current().unwrap().set_user(User::new("u-7"));
            job();
        })
        .await;
    tracks("nowhere")();
    flush(&events).await;
    let lines = lines(&file);
    let data = |place: &str| -> &Value {
        &lines.iter().find(|line| line["data"]["properties"]["feature"] == place).unwrap()["data"]
    };
    for place in ["here", "task", "thread"] {
        let data = data(place);
        assert_eq!(data["request_id"], "01a20a66-4b8a-7456-8563-1905ed7b1c80", "{place}");
        assert_eq!((&data["trace_id"], &data["span_id"]), (&json!("07".repeat(16)), &json!("09".repeat(8))), "{place}");
        assert_eq!(data["user_id"], "u-42", "{place}");
    }
    assert_eq!(data("job")["user_id"], "u-7");
    assert_eq!((data("nowhere").get("request_id"), data("nowhere").get("user_id")), (None, None));
    assert_eq!(lines.len(), 5);
}

#[test]
fn names_that_are_known_late_are_checked_bounded_and_counted_by_reason() {
    let events = Events::builder().build().unwrap();
    for number in 0..MAX_NAMED + 3 {
        let rejected = events.track_named(&format!("event_{number}"), &()).rejected();
        assert_eq!(rejected, (number >= MAX_NAMED).then_some(Rejected::TooManyNames), "{number}");
    }
    // Those that are known stay.
    assert!(events.track_named("event_0", &()).is_accepted());
    for name in ["", "Not Valid", "9lives", "ga_own", &"x".repeat(41)] {
        assert_eq!(events.track_named(name, &()).rejected(), Some(Rejected::InvalidName), "{name}");
    }
    let stats = events.stats();
    assert_eq!((stats.rejected(Rejected::TooManyNames), stats.rejected(Rejected::InvalidName)), (3, 5));
    assert_eq!(stats.tracked_total(), MAX_NAMED as u64 + 1);
}

/// Keeps the names of events that have a line.
#[derive(Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Name<'a>(&'a mut Vec<String>);

impl Visit for Name<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event_name" {
            self.0.push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "steeple::events" && *metadata.level() == Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Name(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Counted {
    roles: AtomicU64,
    counters: AtomicU64,
}

impl Meter for Counted {
    fn role(&self, role: Role<'_>) {
        assert_eq!(role, Role::Payment { failed: true });
        self.roles.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, counter: &'static steeple_events::Counter, labels: &[&str]) {
        assert_eq!((counter.name, labels), ("features_used_total", &["export"][..]));
        self.counters.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(serde::Serialize)]
struct SeatRefused {
    seat: u32,
}

event!(SeatRefused: "seat_refused", class = Revenue, role = |_event| Role::Payment { failed: true });

#[tokio::test(flavor = "multi_thread")]
async fn one_call_is_one_row_one_increment_and_one_line_and_a_teams_own_event_has_a_role() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let (meter, lines_of) = (Arc::new(Counted::default()), Lines::default());
    let seen = Arc::clone(&lines_of.0);
    let events = Events::builder().meter(Arc::<Counted>::clone(&meter)).sink(Ndjson::new(&file)).build().unwrap();
    tracing::subscriber::with_default(lines_of, || {
        events.track(FeatureUsed { feature: "export" });
        events.track(SeatRefused { seat: 12 });
    });
    flush(&events).await;
    assert_eq!(*seen.lock().unwrap(), ["feature_used", "seat_refused"]);
    assert_eq!((meter.roles.load(Ordering::Relaxed), meter.counters.load(Ordering::Relaxed)), (1, 1));
    let names: Vec<_> = lines(&file).iter().map(|line| line["type"].clone()).collect();
    assert_eq!(names, ["feature_used", "seat_refused"]);
}
