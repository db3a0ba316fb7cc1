//! More events than the disk takes: tracking does not wait, memory is bounded, and each event is counted.

use std::{
    io::Write,
    process::Command,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use steeple_core::clock;
use steeple_events::{Events, preset::FeatureUsed, sink::NewRelic};
use steeple_export::{
    DropReason, Sink,
    store::{NewRow, spool::ToRow},
};

use crate::outbox::{PATIENCE, durable, nowhere, soon};

const THREADS: u64 = 4;
const EACH: u64 = 50_000;

/// What comes closest without Steeple: the same event as JSON, into a bounded queue that one thread empties.
fn queued() -> f64 {
    let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(10_000);
    let begin = clock::now();
    thread::scope(|scope| {
        scope.spawn(move || receiver.into_iter().map(|event| event.len()).sum::<usize>());
        for _ in 0..THREADS {
            let sender = sender.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let id = format!("01a20a66-4b8a-7456-8563-{number:012}");
                    let event =
                        serde_json::json!({"id": id, "name": "feature_used", "properties": {"feature": "export"}});
                    sender.send(serde_json::to_vec(&event).unwrap()).unwrap();
                }
            });
        }
        drop(sender);
    });
    rate(begin)
}

fn rate(begin: std::time::Instant) -> f64 {
    f64::from(u32::try_from(THREADS * EACH).unwrap()) / begin.elapsed().as_secs_f64()
}

/// Holds the thread that writes.
struct Held(Mutex<mpsc::Receiver<()>>);

impl ToRow for Held {
    fn row(&self) -> Option<NewRow> {
        let _released = self.0.lock().unwrap().recv();
        None
    }
}

fn offer(events: &Events) -> f64 {
    let begin = clock::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    assert!(events.track(FeatureUsed { feature: "export" }).is_accepted());
                }
            });
        }
    });
    rate(begin)
}

#[cfg(target_os = "linux")]
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn two_hundred_thousand_events_at_once_wait_for_nothing_and_are_all_counted() {
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "load::alone", "--nocapture", "--ignored", "--test-threads=1"]);
    let output = alone.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let figures = stdout.lines().find(|line| line.starts_with("load: "));
    assert!(output.status.success() && figures.is_some(), "{output:?}");
    writeln!(std::io::stdout(), "{}", figures.unwrap()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by the other test, in a process alone"]
fn alone() {
    let directory = tempfile::tempdir().unwrap();
    let sink = NewRelic::new("license", "12345").endpoint(nowhere()).http(soon);
    let events = durable(directory.path()).sink(sink).build().unwrap();
    let spool = events.spool().unwrap();
    let before = resident_kib();
    // While nothing at all can be stored.
    let (release, held) = mpsc::channel();
    spool.append(Arc::new(Held(Mutex::new(held))), 3, 100);
    let held_rate = offer(&events);
    let full = spool.stats();
    assert!(full.queued_items <= 10_000 && full.queued_bytes <= 16 << 20, "{full:?}");
    let grown = resident_kib().saturating_sub(before) / 1_024;
    // The queue in front of the disk, and which of the events were lost.
    assert!(grown < 64, "{grown} MiB");
    release.send(()).unwrap();
    // And with a disk that takes what it can.
    let begin = clock::now();
    let rate = offer(&events);
    assert_eq!(spool.flush(clock::now() + PATIENCE).left, 0);
    let seconds = begin.elapsed().as_secs_f64();
    let stats = spool.stats();
    let all = 2 * THREADS * EACH;
    assert_eq!(events.stats().tracked_total(), all);
    // One more: what held the thread came to nothing.
    assert_eq!((stats.accepted, stats.queued_items, stats.dropped(DropReason::NoConsent)), (all + 1, 0, 1));
    assert_eq!(stats.accepted, stats.exported + stats.dropped(DropReason::QueueFull) + 1, "{stats:?}");
    let backlog = spool.backlog_now("newrelic").unwrap().items;
    assert_eq!(stats.exported, backlog, "stored events wait for their sink");
    let line = format!(
        "load: {held_rate:.0} events a second tracked while nothing could be stored, in {grown} MiB; {rate:.0} a second beside \
         the disk, of which {:.0} a second were stored; {:.0} a second as JSON through a bounded queue alone; {} of {all} stored, \
         {} counted as dropped",
        f64::from(u32::try_from(stats.exported).unwrap()) / seconds,
        queued(),
        stats.exported,
        stats.dropped(DropReason::QueueFull),
    );
    writeln!(std::io::stdout(), "\n{line}").unwrap();
}
