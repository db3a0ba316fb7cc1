//! What one `track()` costs the request that calls it: in an exchange, with a sink, without a line.

use std::{error::Error, path::Path, time::Duration};

use steeple_core::{Exchange, User};
use steeple_events::{Events, preset::FeatureUsed, sink::NewRelic};

/// The rows, by where the events wait.
pub const NAMES: [&str; 3] = ["track(), no sink", "track(), in memory", "track(), on disk"];

/// The most instructions of one event.
pub const TARGET: f64 = 6_000.0;

/// Where events wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Nowhere: they are counted.
    Nowhere,
    /// In memory.
    Memory,
    /// On disk.
    Disk,
}

/// The row of this name.
pub fn find(name: &str) -> Option<Track> {
    let place = NAMES.iter().position(|known| *known == name)?;
    [Track::Nowhere, Track::Memory, Track::Disk].get(place).copied()
}

/// Tracks 64 events a round, of which the last rounds are measured.
///
/// # Errors
/// When the events cannot be built.
pub fn run(track: Track, warm_up: usize, rounds: usize) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let events = build(track, directory.path())?;
    let exchange = Exchange::detached();
    exchange.set_user(User::new("u-42"));
    for _ in 0..warm_up {
        exchange.in_scope(|| (0..64).for_each(|_| track_one(&events)));
        settle(&events);
    }
    for _ in 0..rounds {
        exchange.in_scope(|| (0..64).for_each(|_| measured_request_of_an_event(&events)));
        settle(&events);
    }
    Ok(())
}

/// The name is what callgrind collects by.
#[inline(never)]
fn measured_request_of_an_event(events: &Events) {
    track_one(events);
}

fn track_one(events: &Events) {
    events.track(FeatureUsed { feature: "export" });
}

/// What the thread that writes has taken does not wait any more when the next round begins.
fn settle(events: &Events) {
    if let Some(spool) = events.spool() {
        spool.settled();
    }
}

fn build(track: Track, directory: &Path) -> Result<Events, Box<dyn Error>> {
    // Nothing is sent while this is measured.
    let sink = NewRelic::new("license", "12345")
        .endpoint("http://127.0.0.1:9")
        .http(|http| http.batch_delay(Duration::from_hours(1)));
    let events = Events::builder();
    Ok(match track {
        Track::Nowhere => events.build()?,
        Track::Memory => events.sink(sink).build()?,
        Track::Disk => events.directory(directory.join("events")).sink(sink).build()?,
    })
}
