//! Too much of something: failures, and time without a receiver.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use serde_json::Value;
use steeple_alerts::{Alerts, Failure, Rules, channel::Webhook};
use steeple_export::Retry;
use steeple_metrics::indicator::Clock;

use crate::{SECRET, START, bodies, flush, metrics, receiver, soon};

/// What this process has in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
}

fn fail(alerts: &Alerts, id: u64) {
    let message = format!("order {id} of 3f2b8c1e-9d4a-4f6b-8a7c-{id:012x} failed: connection to 10.0.0.7:5432 reset");
    alerts.error(&Failure { kind: "io::Error", route: "POST /pay", message: &message, fingerprint: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_failures_with_ten_thousand_ids_are_one_group_and_five_messages_in_flat_memory() {
    const FAILURES: u64 = 10_000;
    let (url, posts) = receiver().await;
    let clock = Clock::manual(START);
    let alerts = Alerts::builder()
        .errors_per_minute(0)
        .channel(Webhook::new(format!("{url}/hook"), SECRET).http(soon))
        .build(&metrics(&clock))
        .unwrap();
    let kept = allocation_counter::measure(|| {
        for id in 0..FAILURES {
            // Within one second.
            clock.advance(Duration::from_micros(100));
            fail(&alerts, id);
        }
    });
    let before = resident();
    flush(&alerts).await;
    let [group] = &alerts.error_groups()[..] else { panic!("{:?}", alerts.error_groups()) };
    assert_eq!(group.count, FAILURES);
    let told: Vec<_> = bodies(&posts, "/hook").iter().map(|body| body["data"]["error"]["count"].clone()).collect();
    assert_eq!(told, [1, 10, 100, 1_000, 10_000].map(Value::from));

    // Ten times as many more: one message, and no memory.
    for id in FAILURES..10 * FAILURES {
        fail(&alerts, id);
    }
    flush(&alerts).await;
    let after = resident();
    println!(
        "10,000 failures: {} bytes kept; 90,000 more: RSS {:.1} MiB, then {:.1} MiB",
        kept.bytes_current,
        before as f64 / 1_048_576.0,
        after as f64 / 1_048_576.0
    );
    assert!(kept.bytes_current < 256 * 1_024, "{kept:?}");
    assert!(after < before + (4 << 20), "{before} {after}");
    assert_eq!((alerts.error_groups().len(), bodies(&posts, "/hook").len()), (1, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_receiver_missed_arrives_in_order_and_nothing_waits_for_it() {
    let is_dead = Arc::new(AtomicBool::new(true));
    let refused = Arc::new(AtomicUsize::new(0));
    let (url, posts) = receiver().await;
    // In front of the receiver: a proxy that answers 503 for as long as it is dead.
    let front = {
        let (is_dead, refused, target) = (Arc::clone(&is_dead), Arc::clone(&refused), Arc::clone(&posts));
        let app = Router::new().fallback(move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
            let (is_dead, refused, target) = (Arc::clone(&is_dead), Arc::clone(&refused), Arc::clone(&target));
            async move {
                if is_dead.load(Ordering::SeqCst) {
                    refused.fetch_add(1, Ordering::SeqCst);
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
                target.lock().unwrap().push(("/hook".to_owned(), headers, body));
                StatusCode::OK
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        front
    };
    assert!(url.starts_with("http://127.0.0.1"));
    let fast = Retry::default().max_attempts(u32::MAX).base(Duration::from_millis(10)).cap(Duration::from_millis(50));
    let clock = Clock::manual(START);
    let metrics = metrics(&clock);
    let alerts = Alerts::builder()
        .rules(Rules::mission().map(|rule| rule.cooldown(Duration::ZERO)))
        .channel(Webhook::new(front, SECRET).http(|http| soon(http).retry(fast)))
        .build(&metrics)
        .unwrap();
    // Ten minutes in which alerts come and go, and errors come in masses.
    let before = resident();
    for minute in 0..10_u64 {
        clock.advance(Duration::from_secs(60));
        alerts.check("high_error_rate", if minute % 2 == 0 { 0.5 } else { 0.0 });
        for id in 0..1_000 {
            fail(&alerts, minute * 1_000 + id);
        }
    }
    while refused.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let grown = resident().saturating_sub(before);
    let stats = alerts.sinks()[0].stats();
    println!("a dead receiver: {stats:?}, RSS grew by {:.1} MiB", grown as f64 / 1_048_576.0);
    assert!(grown < 16 << 20, "{grown}");
    assert_eq!(stats.dropped_total(), 0);
    is_dead.store(false, Ordering::SeqCst);
    flush(&alerts).await;
    let told: Vec<_> = bodies(&posts, "/hook")
        .iter()
        .filter(|body| body["data"]["rule"] == "high_error_rate")
        .map(|body| body["data"]["status"].as_str().unwrap().to_owned())
        .collect();
    let want: Vec<_> = (0..10).map(|n| if n % 2 == 0 { "firing" } else { "resolved" }).collect();
    assert_eq!(told, want);
}
