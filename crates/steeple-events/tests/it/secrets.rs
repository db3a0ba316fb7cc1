use std::{fmt::Write as _, fs, path::Path};

use axum::{Router, body::Body, extract::Path as Segment, routing::post};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use steeple_core::{Exchange, ObserveLayer, User};
use steeple_events::sink::NewRelic;
use tower::ServiceExt as _;

use crate::{
    outbox::{PATIENCE, Scripted, durable, soon, until},
    receiver::{Receiver, everywhere, flush},
};

/// How many of them.
const PLANTED: usize = 1_000;

fn mark(n: usize) -> String {
    format!("s3cr3t{n:06}q7Zx")
}

/// Secrets and addresses in the values of an event's properties, in its nested parts, its names and its texts.
fn planted(n: usize) -> Value {
    let mark = mark(n);
    match n % 5 {
        0 => json!({"password": mark}),
        1 => json!({"note": format!("login failed, password={mark}")}),
        2 => json!({"deep": {"list": [{"api_key": mark}]}}),
        3 => json!({"mail": format!("{mark}@example.org")}),
        _ => json!({"callback": format!("https://user:{mark}@example.org/?token={mark}")}),
    }
}

#[track_caller]
fn check(everything: &str) {
    assert!(everything.contains("planted"));
    // All of them begin like this.
    let leaked = everything.find("s3cr3t").map(|place| everything.get(place.saturating_sub(80)..place + 40));
    assert_eq!(leaked, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_leave_by_no_sink() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let store = directory.path().join("events");
    let events = everywhere(&receiver, &file).directory(&store).receipt_timeout(PATIENCE).build().unwrap();
    let tracks = events.clone();
    let handler = async move |Segment(n): Segment<usize>| {
        // Now and then in the name of a user whose id is an e-mail address.
        if n.is_multiple_of(7) {
            Exchange::current().unwrap().set_user(User::new(format!("{}@example.org", mark(n))));
        }
        tracks.track_named("planted", &planted(n)).stored().await.unwrap();
        if n.is_multiple_of(50) {
            tracks.person("u-42").set_all(planted(n).as_object().unwrap()).stored().await.unwrap();
        }
        StatusCode::NO_CONTENT
    };
    let app = Router::new().route("/plant/{n}", post(handler)).layer(ObserveLayer::new(events.observer()));
    for n in 0..PLANTED {
        // A visitor whom Google knows.
        let request = Request::post(format!("/plant/{n}")).header("cookie", "_ga=GA1.1.12.34; session=s3cr3t-cookie");
        let request = request.header("user-agent", "Mozilla/5.0").header("x-forwarded-for", "203.0.113.7");
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    let mut everything = String::new();
    // While rows are there, and the log that they went through.
    collect(&store, &mut everything);
    flush(&events).await;
    collect(&store, &mut everything);
    everything += &fs::read_to_string(&file).unwrap();
    let got = receiver.all();
    for path in ["/import", "/engage", "/mp/collect", "/v1/accounts/", "/_bulk", "/hook"] {
        assert!(got.iter().any(|got| got.uri.contains(path)), "nothing went to {path}");
    }
    for got in got {
        write!(everything, "{} {:?} {}", got.uri, got.headers, String::from_utf8_lossy(&got.body)).unwrap();
    }
    check(&everything);
    assert!(!everything.contains("203.0.113.7"), "never an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_are_in_no_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    // Repeats what it does not like.
    let picky = Scripted::start(|_, body| {
        let repeated = format!("not this: {} password=s3cr3t-in-an-answer", String::from_utf8_lossy(body));
        async move { (400, repeated) }
    })
    .await;
    let events = durable(directory.path())
        .sink(NewRelic::new("license", "12345").endpoint(&picky.url).http(soon))
        .build()
        .unwrap();
    let track = |n| events.track_named("planted", &planted(n));
    for receipt in (0..PLANTED).map(track).collect::<Vec<_>>() {
        receipt.stored().await.unwrap();
    }
    let count = PLANTED as u64;
    until(|| events.sink_stats()[0].dead_letters == count).await;
    let mut everything = String::new();
    for letter in events.dead_letters("newrelic", PLANTED).await.unwrap() {
        write!(everything, "{} {}", letter.why.as_str(), &*letter.row.body).unwrap();
    }
    write!(everything, "{:?}", events.outbox(PLANTED).await).unwrap();
    collect(directory.path(), &mut everything);
    check(&everything);
}

/// What all files below a directory hold.
fn collect(directory: &Path, out: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else {
            out.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap()));
        }
    }
}
