//! What one `track()` costs the request that calls it: in an exchange, with a sink, without a line.

use std::time::Duration;

use steeple_core::{Exchange, User};
use steeple_events::{Events, preset::FeatureUsed, sink::NewRelic};

use crate::work::{Running, Started, Work};

/// The most instructions of one event.
pub const TARGET: f64 = 6_000.0;

/// Whether a work is an event, which has this [target](TARGET).
pub fn is_event(name: &str) -> bool {
    works().iter().any(|work| work.name == name)
}

/// The rows, by where the events wait.
pub(crate) fn works() -> [Work; 3] {
    [
        Work::tracking("track(), no sink", || Tracks::start(Place::Nowhere)),
        Work::tracking("track(), in memory", || Tracks::start(Place::Memory)),
        Work::tracking("track(), on disk", || Tracks::start(Place::Disk)),
    ]
}

/// Where events wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: they are counted.
    Nowhere,
    Memory,
    Disk,
}

struct Tracks {
    events: Events,
    exchange: Exchange,
    _directory: tempfile::TempDir,
}

impl Tracks {
    fn start(place: Place) -> Started {
        let directory = tempfile::tempdir()?;
        // Nothing is sent while this is measured.
        let sink = NewRelic::new("license", "12345")
            .endpoint("http://127.0.0.1:9")
            .http(|http| http.batch_delay(Duration::from_hours(1)));
        let events = Events::builder();
        let events = match place {
            Place::Nowhere => events.build()?,
            Place::Memory => events.sink(sink).build()?,
            Place::Disk => events.directory(directory.path().join("events")).sink(sink).build()?,
        };
        let exchange = Exchange::detached();
        exchange.set_user(User::new("u-42"));
        Ok(Box::new(Self { events, exchange, _directory: directory }))
    }
}

impl Running for Tracks {
    fn run(&mut self, times: usize) {
        self.exchange.in_scope(|| {
            for _ in 0..times {
                self.events.track(FeatureUsed { feature: "export" });
            }
        });
    }

    /// What the thread that writes has taken does not wait any more when the next round begins.
    fn settle(&mut self) {
        if let Some(spool) = self.events.spool() {
            spool.settled();
        }
    }
}
