use std::time::Duration;

use steeple_events::{Events, preset::FeatureUsed, sink::NewRelic};

/// Allocations of one `track()`, once the queue has its size.
fn allocations(events: &Events) -> u64 {
    for _ in 0..64 {
        events.track(FeatureUsed { feature: "export" });
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            events.track(FeatureUsed { feature: "export" });
        }
    });
    // The queue grows now and then.
    counted.count_total / 100
}

#[test]
fn tracking_allocates_twice_with_a_sink_and_not_without() {
    let nowhere = Events::builder().build().unwrap();
    assert_eq!(allocations(&nowhere), 0);
    assert_eq!(allocations(&Events::disabled()), 0);
    // Nothing is sent while this is measured.
    let sink = NewRelic::new("license", "12345")
        .endpoint("http://127.0.0.1:9")
        .http(|http| http.batch_delay(Duration::from_secs(3600)));
    let events = Events::builder().sink(sink.clone()).build().unwrap();
    assert_eq!(allocations(&events), 2);
    // The row is made of it on the thread that writes.
    let directory = tempfile::tempdir().unwrap();
    let events = Events::builder().directory(directory.path()).sink(sink).build().unwrap();
    assert_eq!(allocations(&events), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_sink_no_thread_no_file_and_no_allocation_is_made() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "cost::nothing_is_configured", "--nocapture", "--ignored", "--test-threads=1"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by the other test, in a process alone"]
fn nothing_is_configured() {
    let entries = |path: &str| std::fs::read_dir(path).unwrap().count();
    let directory = tempfile::tempdir().unwrap();
    // Found out about once by each thread.
    let _first = Events::current();
    let before = (entries("/proc/self/task"), entries("/proc/self/fd"));
    let events = Events::builder().directory(directory.path().join("events")).build().unwrap();
    let observed = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            events.track(FeatureUsed { feature: "export" });
            events.track_named("exported", &());
            Events::disabled().track(FeatureUsed { feature: "export" });
        }
    });
    // The name of the second one, once.
    assert!(observed.count_total <= 3, "{observed:?}");
    assert_eq!((entries("/proc/self/task"), entries("/proc/self/fd")), before);
    assert_eq!(entries(directory.path().to_str().unwrap()), 0);
    assert!(events.sinks().is_empty() && events.spool().is_none());
}
