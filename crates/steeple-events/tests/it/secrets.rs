use std::fmt::Write as _;

use serde_json::json;

use crate::receiver::{Receiver, everywhere, flush};

/// Secrets in the values of an event's properties, in its nested parts and in its names: none is in a file or on the wire.
#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_leave_by_no_sink() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = everywhere(&receiver, &file).build().unwrap();
    let mut planted = Vec::new();
    for n in 0..1_000 {
        let mark = format!("s3cr3t{n:06}q7Zx");
        let properties = match n % 5 {
            0 => json!({"password": mark}),
            1 => json!({"note": format!("login failed, password={mark}")}),
            2 => json!({"deep": {"list": [{"api_key": mark}]}}),
            3 => json!({"mail": format!("{mark}@example.org")}),
            _ => json!({"callback": format!("https://user:{mark}@example.org/?token={mark}")}),
        };
        assert!(events.track_named("planted", &properties).is_accepted());
        planted.push(mark);
    }
    flush(&events).await;
    let mut everything = std::fs::read_to_string(&file).unwrap();
    for got in receiver.all() {
        write!(everything, "{} {:?} {}", got.uri, got.headers, String::from_utf8_lossy(&got.body)).unwrap();
    }
    assert!(everything.contains("planted"));
    let leaked: Vec<_> = planted.iter().filter(|mark| everything.contains(*mark)).collect();
    assert!(leaked.is_empty(), "{} of {}: {:?}", leaked.len(), planted.len(), leaked.first());
}
