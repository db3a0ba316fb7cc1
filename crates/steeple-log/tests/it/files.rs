//! A log in a directory.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use steeple_log::{Log, LogBuilder, LogGuard, Rotation};
use tracing::subscriber::with_default;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Client, get, read, send};

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(read).collect()
}

fn log_in(directory: &Path) -> LogBuilder {
    Log::builder().without_console().directory(directory)
}

fn say(guard: &LogGuard, f: impl FnOnce()) {
    with_default(Registry::default().with(guard.layer()), f);
}

#[tokio::test]
async fn everything_is_in_combined_and_errors_are_in_error_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let guard = log_in(&directory.path().join("made/for/it")).build().unwrap();
    let layer = guard.log().layer();
    for path in ["/ok", "/status/500", "/status/404", "/service-error"] {
        send(&layer, get(path), Client::ToTheEnd).await;
    }
    say(&guard, || {
        tracing::warn!("careful");
        tracing::error!("broken");
    });
    drop(guard);
    let messages = |name: &str| -> Vec<String> {
        let lines = lines(&directory.path().join("made/for/it").join(name));
        lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    let errors = ["GET unmatched 500", "GET unmatched service_error", "broken"];
    assert_eq!(messages("error.log"), errors);
    let all = [
        "GET unmatched 200",
        "GET unmatched 500",
        "GET unmatched 404",
        "GET unmatched service_error",
        "careful",
        "broken",
    ];
    assert_eq!(messages("combined.log"), all);
}

#[tokio::test]
async fn files_roll_and_no_line_is_lost_or_cut() {
    let directory = tempfile::tempdir().unwrap();
    let rotation = Rotation::at_bytes(20_000).keep_files(1_000);
    let guard = log_in(directory.path()).rotation(rotation).build().unwrap();
    let layer = guard.log().layer();
    for _ in 0..500 {
        send(&layer, get("/ok"), Client::ToTheEnd).await;
    }
    drop(guard);
    let mut files = 0;
    let mut ids = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("combined") {
            files += 1;
            assert!(fs::metadata(&path).unwrap().len() <= 20_000, "{}", path.display());
            ids.extend(lines(&path).iter().map(|line| line["request_id"].as_str().unwrap().to_owned()));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 500);
    assert!(files > 5, "{files}");
}

#[test]
fn a_directory_that_cannot_be_one_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/nowhere".into()] {
        let error = log_in(&path).build().unwrap_err();
        let text = error.to_string();
        assert!(error.is_directory() && text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains("(os error "), "the system's reason: {text}");
    }
}

/// What an output says of its trouble.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "waits")]
fn wait_until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(all(target_os = "linux", not(steeple_os_other)))]
#[tokio::test]
async fn a_full_disk_drops_lines_only_and_is_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("combined.log");
    // Every write to it fails with ENOSPC, as on a disk that is full.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let said = Said::default();
    let report = said.clone();
    let guard = log_in(directory.path())
        .follow_links()
        .queue_bytes(20_000)
        .on_trouble(move |text| report.0.lock().unwrap().push(text.to_owned()))
        .build()
        .unwrap();
    let layer = guard.log().layer();
    for _ in 0..300 {
        send(&layer, get("/ok"), Client::ToTheEnd).await;
    }
    wait_until(|| !said.get().is_empty());
    for _ in 0..300 {
        send(&layer, get("/ok"), Client::ToTheEnd).await;
    }
    let combined = || {
        guard.handle().dropped_by_output().into_iter().find(|losses| losses.output() == "combined.log").unwrap().lines()
    };
    let lost = combined();
    assert!((1..600).contains(&lost), "the queue is full, and its lines are kept: {lost}");
    assert_eq!(said.get().len(), 1, "{:?}", said.get());
    assert!(said.get()[0].contains("combined.log") && said.get()[0].contains("os error 28"), "{:?}", said.get());
    assert!(!guard.flush(Duration::from_millis(50)), "kept lines are not written");
    // Room again.
    fs::remove_file(&path).unwrap();
    wait_until(|| said.get().len() == 2);
    send(&layer, get("/last"), Client::ToTheEnd).await;
    let lost = combined();
    drop(guard);
    let lines = lines(&path);
    let exchanges = lines.iter().filter(|line| line["target"] == "steeple::access").count();
    assert_eq!(exchanges as u64 + lost, 601, "each line is there, or counted");
    let gaps: u64 = lines.iter().filter_map(|line| line["lines_lost"].as_u64()).sum();
    assert_eq!(gaps, lost, "the log reports its own gaps");
    assert_eq!(lines.iter().filter(|line| line["url.path"] == "/last").count(), 1);
    assert!(said.get()[1].contains("again"), "{:?}", said.get());
}

#[cfg(all(target_os = "linux", not(steeple_os_other)))]
#[test]
fn a_disk_that_is_full_to_the_end_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("combined.log")).unwrap();
    let guard = log_in(directory.path()).follow_links().on_trouble(|_| ()).build().unwrap();
    let handle = guard.handle();
    say(&guard, || (0..10).for_each(|number| tracing::info!(number, "line")));
    drop(guard);
    assert_eq!(handle.dropped(), 10);
}

/// A pipe without a reader, a descriptor that is not open for writing.
#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn an_output_that_can_never_be_written_again_drops_and_counts_at_once() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let writers: [(Box<dyn std::io::Write + Send>, &str); 2] =
        [(Box::new(writer), "os error 32"), (Box::new(fs::File::open("/dev/null").unwrap()), "os error 9")];
    for (writer, reason) in writers {
        let said = Said::default();
        let report = said.clone();
        let guard = Log::builder()
            .without_console()
            .writer(writer, steeple_log::Format::Json)
            .on_trouble(move |text| report.0.lock().unwrap().push(text.to_owned()))
            .build()
            .unwrap();
        for round in 1..=3 {
            say(&guard, || (0..10).for_each(|number| tracing::info!(number, "line")));
            assert!(guard.flush(Duration::from_hours(1)), "nothing to wait for");
            assert_eq!(guard.dropped(), round * 10);
        }
        assert_eq!(said.get().len(), 1, "{:?}", said.get());
        assert!(said.get()[0].contains(reason), "{:?}", said.get());
    }
}

/// A writer that blocks until the sender is dropped.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl std::io::Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.recv().ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline")]
fn a_log_that_was_shut_down_by_a_deadline_is_not_waited_for_again() {
    let (free, stuck) = std::sync::mpsc::sync_channel(0);
    let directory = tempfile::tempdir().unwrap();
    let guard = log_in(directory.path()).writer(Stuck(stuck), steeple_log::Format::Json).build().unwrap();
    let handle = guard.handle();
    say(&guard, || tracing::info!("line"));
    // The first deadline is over already; a second wait would be for an hour.
    assert!(!guard.shutdown(Instant::now()), "one output is stuck");
    assert!(!guard.shutdown(Instant::now() + Duration::from_hours(1)));
    drop(guard);
    drop(free);
    wait_until(|| fs::read_to_string(directory.path().join("combined.log")).unwrap().contains("line"));
    assert_eq!(handle.dropped(), 0);
}

#[test]
fn an_output_that_hung_in_a_flush_is_not_waited_for_again() {
    let (free, stuck) = std::sync::mpsc::sync_channel(0);
    let directory = tempfile::tempdir().unwrap();
    let guard = log_in(directory.path()).writer(Stuck(stuck), steeple_log::Format::Json).build().unwrap();
    say(&guard, || tracing::info!("line"));
    assert!(!guard.flush(Duration::from_millis(20)));
    say(&guard, || tracing::info!("another"));
    // The file is waited for, the writer is not: it is free only after that.
    drop(guard);
    assert_eq!(lines(&directory.path().join("combined.log")).len(), 2);
    drop(free);
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn reopened_files_are_those_that_have_the_names_then() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("combined.log"), directory.path().join("moved"));
    let guard = log_in(directory.path()).build().unwrap();
    say(&guard, || tracing::info!("before"));
    assert!(guard.flush(Duration::from_hours(1)));
    fs::rename(&path, &moved).unwrap();
    say(&guard, || tracing::info!("between"));
    guard.reopen();
    wait_until(|| path.exists());
    say(&guard, || tracing::info!("after"));
    assert!(guard.flush(Duration::from_hours(1)));
    let messages = |path: &Path| -> Vec<_> {
        lines(path).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(&moved), ["before"]);
    assert_eq!(messages(&path), ["between", "after"]);
}

#[test]
fn two_outputs_write_lines_whole_while_many_threads_log() {
    let directory = tempfile::tempdir().unwrap();
    let guard = log_in(directory.path()).build().unwrap();
    let subscriber = Arc::new(Registry::default().with(guard.layer()));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let subscriber = Arc::clone(&subscriber);
            std::thread::spawn(move || {
                with_default(subscriber, || {
                    (0..500).for_each(|number| tracing::error!(thread, number, "{}", "long ".repeat(number % 50)));
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(guard);
    for name in ["combined.log", "error.log"] {
        assert_eq!(lines(&directory.path().join(name)).len(), 4_000);
    }
}
