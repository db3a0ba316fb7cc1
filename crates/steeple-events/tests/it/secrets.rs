use std::{fmt::Write as _, fs, path::Path};

use serde_json::json;

use crate::receiver::{Receiver, everywhere, flush};

/// Secrets in the values of an event's properties, in its nested parts and in its names: none is in a file or on the wire.
#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_leave_by_no_sink() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let store = directory.path().join("events");
    let events =
        everywhere(&receiver, &file).directory(&store).receipt_timeout(crate::outbox::PATIENCE).build().unwrap();
    let (mut planted, mut receipts) = (Vec::new(), Vec::new());
    for n in 0..1_000 {
        let mark = format!("s3cr3t{n:06}q7Zx");
        let properties = match n % 5 {
            0 => json!({"password": mark}),
            1 => json!({"note": format!("login failed, password={mark}")}),
            2 => json!({"deep": {"list": [{"api_key": mark}]}}),
            3 => json!({"mail": format!("{mark}@example.org")}),
            _ => json!({"callback": format!("https://user:{mark}@example.org/?token={mark}")}),
        };
        // Now and then in the name of a user whose id is an e-mail address.
        let track = || events.track_named("planted", &properties);
        let user = format!("{mark}@example.org");
        let receipt = if n % 7 == 0 { crate::outbox::as_user(&user, track) } else { track() };
        receipts.push(receipt);
        planted.push(mark);
    }
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    let mut everything = String::new();
    // While rows are there, and the log that they went through.
    collect(&store, &mut everything);
    flush(&events).await;
    collect(&store, &mut everything);
    everything += &std::fs::read_to_string(&file).unwrap();
    for got in receiver.all() {
        write!(everything, "{} {:?} {}", got.uri, got.headers, String::from_utf8_lossy(&got.body)).unwrap();
    }
    assert!(everything.contains("planted"));
    // All of them begin like this.
    let leaked = everything.find("s3cr3t").map(|place| everything.get(place.saturating_sub(80)..place + 40));
    assert_eq!(leaked, None, "{} were planted", planted.len());
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
