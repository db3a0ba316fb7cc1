//! Outputs that users write.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use steeple_export::{DropReason, Sink, shutdown_all};
use steeple_log::{Format, Log, LogLine, LogOutput};
use tracing::{Level, subscriber::with_default};
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Client, get, read, send};

type Taken = Arc<Mutex<Vec<(String, Duration, Level, Option<String>)>>>;

/// Fails as lines ask it to.
struct Shelf {
    taken: Taken,
    flushes: Arc<Mutex<u32>>,
    failures: u32,
}

impl LogOutput for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        let text = line.as_str();
        assert_eq!(line.as_bytes(), text.as_bytes());
        assert!(!text.contains('\n') && !text.contains("panic, please"));
        if text.contains("refuse, please") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if text.contains("later, please") && self.failures > 0 {
            self.failures -= 1;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let trace_id = line.trace_id().map(|id| id.to_string());
        self.taken.lock().unwrap().push((text.to_owned(), line.timestamp(), line.level(), trace_id));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        *self.flushes.lock().unwrap() += 1;
        Ok(())
    }
}

#[tokio::test]
async fn an_output_gets_each_line_once_with_what_is_known_of_it() {
    let (taken, flushes) = (Taken::default(), Arc::new(Mutex::new(0)));
    let shelf = Shelf { taken: Arc::clone(&taken), flushes: Arc::clone(&flushes), failures: 2 };
    let logging = Log::builder().without_console().on_trouble(|_| ()).output(shelf, Format::Ecs);
    let guard = logging.build().unwrap();
    let layer = guard.log().layer();
    send(&layer, get("/status/500"), Client::ToTheEnd).await;
    with_default(Registry::default().with(guard.layer()), || {
        tracing::info!("first");
        tracing::info!("panic, please");
        tracing::info!("refuse, please");
        tracing::warn!("later, please");
        tracing::debug!("not by the filter");
        tracing::info!("last");
    });
    assert!(guard.flush(Duration::from_mins(1)));
    let losses = guard.handle().dropped_by_output();
    assert_eq!((losses[0].output(), losses[0].lines()), ("shelf", 2), "the refused one and the one that panicked");
    let taken = taken.lock().unwrap();
    let lines: Vec<_> = taken.iter().map(|(text, ..)| read(text)).collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages[..4], ["GET unmatched 500", "first", "later, please", "last"]);
    assert_eq!(messages.len(), 5, "and one that says how many are missing: {messages:?}");
    let levels: Vec<_> = taken.iter().map(|(_, _, level, _)| *level).collect();
    assert_eq!(levels, [Level::ERROR, Level::INFO, Level::WARN, Level::INFO, Level::WARN]);
    assert_eq!(lines[0]["trace.id"].as_str(), taken[0].3.as_deref());
    assert!(taken[0].3.is_some() && taken[1].3.is_none());
    for ((_, at, ..), line) in taken.iter().zip(&lines) {
        let seconds = line["@timestamp"].as_str().unwrap();
        let fraction = format!(".{:06}Z", at.subsec_micros());
        assert!(seconds.ends_with(&fraction), "{seconds} and {at:?}");
    }
    assert!(*flushes.lock().unwrap() > 0);
}

/// Hangs until its sender is dropped.
struct Hung(std::sync::mpsc::Receiver<()>);

impl LogOutput for Hung {
    fn name(&self) -> &'static str {
        "hung"
    }

    fn write(&mut self, _line: &LogLine<'_>) -> io::Result<()> {
        self.0.recv().ok();
        Ok(())
    }
}

#[test]
fn an_output_that_hangs_costs_its_own_lines_alone_and_a_bounded_memory() {
    let (free, hung) = std::sync::mpsc::sync_channel(0);
    let (taken, flushes) = (Taken::default(), Arc::default());
    let shelf = Shelf { taken: Arc::clone(&taken), flushes, failures: 0 };
    let logging = Log::builder().without_console().on_trouble(|_| ()).queue_bytes(100_000);
    let guard = logging.output(Hung(hung), Format::Json).output(shelf, Format::Json).build().unwrap();
    let handle = guard.handle();
    let subscriber = Arc::new(Registry::default().with(guard.layer()));
    for round in 1..=20 {
        // Never more than the other output's queue holds.
        with_default(Arc::clone(&subscriber), || (0..100).for_each(|number| tracing::info!(number, "line")));
        while taken.lock().unwrap().len() < round * 100 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    drop(free);
    assert!(guard.flush(Duration::from_mins(1)));
    let losses = handle.dropped_by_output();
    assert!(losses[0].lines() > 500, "{losses:?}");
    assert_eq!((taken.lock().unwrap().len(), losses[1].lines()), (2_000, 0));
}

#[test]
fn each_output_is_a_sink_whose_counts_are_exact() {
    let (free, hung) = std::sync::mpsc::sync_channel(0);
    let shelf = Shelf { taken: Taken::default(), flushes: Arc::default(), failures: 0 };
    let options = Log::builder().without_console().on_trouble(|_| ()).queue_bytes(20_000);
    let guard = options.output(Hung(hung), Format::Json).output(shelf, Format::Json).build().unwrap();
    let sinks = guard.handle().sinks();
    assert_eq!(sinks.iter().map(|sink| sink.name()).collect::<Vec<_>>(), ["log:hung", "log:shelf"]);
    let exact = |sink: &Arc<dyn Sink>| {
        let stats = sink.stats();
        assert_eq!(stats.accepted, stats.exported + stats.dropped_total() + stats.queued_items, "{stats:?}");
        stats
    };
    with_default(Registry::default().with(guard.layer()), || {
        for number in 0..300 {
            tracing::info!(number, "refuse, please");
            for sink in &sinks {
                exact(sink);
            }
        }
        tracing::info!("kept");
    });
    let now = steeple_core::clock::now;
    let (hung, shelf) = (&sinks[0], &sinks[1]);
    let report = hung.flush(now() + Duration::from_millis(50));
    assert!(report.left > 0 && !report.is_complete(), "{report:?}");
    let report = shelf.flush(now() + Duration::from_mins(1));
    assert_eq!((report.left, shelf.stats().queued_items), (0, 0), "{report:?}");
    let stats = exact(shelf);
    let refused = stats.dropped(DropReason::Internal);
    // On a busy machine the queue is full for the last line as well.
    let lost = stats.dropped(DropReason::QueueFull) + refused;
    assert!(refused > 0 && lost + stats.exported == 301 && stats.exported <= 1, "{stats:?}");

    // Together, under one deadline.
    let reports = shutdown_all(&sinks, now() + Duration::from_millis(50));
    assert!(reports[0].left > 0 && reports[1].is_complete(), "{reports:?}");
    with_default(Registry::default().with(guard.layer()), || tracing::info!("late"));
    for sink in &sinks {
        assert_eq!(exact(sink).dropped(DropReason::Shutdown), 1);
    }
    drop(free);
    let report = hung.wait(&hung.begin_flush(now() + Duration::from_mins(1)));
    assert_eq!(report.left, 0, "the rest is written after all");
}
