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
    let events = Events::builder().sink(sink).build().unwrap();
    assert_eq!(allocations(&events), 2);
}
