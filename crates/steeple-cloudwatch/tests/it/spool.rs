//! Lines on disk until CloudWatch has them: outages, processes that are killed, room that ends.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use http::StatusCode;
use steeple_cloudwatch::{Aws, CloudWatchLogs, Credentials};
use steeple_core::clock;
use steeple_export::{
    DropReason, InDoubt,
    store::spool::Spool,
    test_util::{Received, Reply},
};
use steeple_log::LogOutput;
use steeple_scrub::Scrubber;

use crate::{
    peer::Moto,
    strict::{Line, Stored, Strict, answer, fast, refused},
};

const HANG: Duration = Duration::from_secs(180);
const HOURS: Duration = Duration::from_secs(30 * 3_600);

/// A line of the backlog: its time, and its text.
fn line(first: Duration, number: u32, of: u32) -> (Duration, String) {
    let at = Duration::from_millis(u64::try_from((first + HOURS * number / of).as_millis()).unwrap());
    (at, format!("line {number} {}", "grüße ".repeat(number as usize % 20)))
}

fn lines(aws: &Aws, directory: &Path, stream: &str, in_doubt: InDoubt) -> CloudWatchLogs {
    let lines = CloudWatchLogs::builder().service("api").stream(stream).in_doubt(in_doubt);
    let lines = lines.http(|http| http.retry(fast()).batch_delay(Duration::from_millis(5)));
    lines.spool(Spool::builder(directory)).build(aws).unwrap()
}

/// Puts lines of the backlog in, so that they are on disk afterwards.
fn put(lines: &mut CloudWatchLogs, first: Duration, numbers: std::ops::Range<u32>, of: u32) {
    let scrubber = Scrubber::default();
    for number in numbers {
        let (at, text) = line(first, number, of);
        lines.push(scrubber.text(&text).as_deref(), at);
        if number % 1_000 == 999 {
            lines.flush().unwrap();
        }
    }
    lines.flush().unwrap();
}

/// A process that puts lines in, and lives until it is killed.
struct Writer(Child);

impl Writer {
    fn start(url: &str, directory: &Path, stream: &str, in_doubt: InDoubt, first: Duration, numbers: [u32; 3]) -> Self {
        let [from, to, of] = numbers.map(|number| number.to_string());
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["spool::puts_lines_in_until_it_is_killed", "--exact", "--ignored", "--nocapture"]);
        command.env("SPOOL_DIRECTORY", directory).env("SPOOL_URL", url).env("SPOOL_STREAM", stream);
        command.env("SPOOL_IN_DOUBT", if in_doubt == InDoubt::Drop { "drop" } else { "resend" });
        command.env("SPOOL_FIRST", first.as_millis().to_string()).env("SPOOL_NUMBERS", [from, to, of].join(" "));
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Kills it as soon as it has printed this, after `stored`.
    fn kill_after(mut self, printed: impl Fn(u64) -> bool) {
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let numbers = output.lines().filter_map(|line| line.unwrap().strip_prefix("exported ")?.parse().ok());
        let was_printed = { numbers }.any(printed);
        // SIGKILL.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        assert!(was_printed, "the process ended by itself");
    }
}

#[test]
#[ignore = "run by other tests, which kill it"]
fn puts_lines_in_until_it_is_killed() {
    let variable = |name| env::var_os(name).unwrap().into_string().unwrap();
    let numbers: Vec<u32> = variable("SPOOL_NUMBERS").split(' ').map(|number| number.parse().unwrap()).collect();
    let aws = Aws::new("eu-central-1").endpoint(variable("SPOOL_URL")).credentials(Credentials::new("AKIA", "secret"));
    let in_doubt = if variable("SPOOL_IN_DOUBT") == "drop" { InDoubt::Drop } else { InDoubt::Resend };
    let mut lines = lines(&aws, Path::new(&variable("SPOOL_DIRECTORY")), &variable("SPOOL_STREAM"), in_doubt);
    let first = Duration::from_millis(variable("SPOOL_FIRST").parse().unwrap());
    put(&mut lines, first, numbers[0]..numbers[1], numbers[2]);
    let sink = lines.sink();
    loop {
        let exported = sink.stats().exported;
        // Items exported by then are settled on disk afterwards.
        let _left = sink.flush(clock::now());
        writeln!(std::io::stdout(), "exported {exported}").unwrap();
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_put(received: &Received) -> bool {
    received.header("x-amz-target") == Some("Logs_20140328.PutLogEvents")
}

#[test]
fn a_backlog_of_thirty_hours_survives_two_killed_processes_in_order_none_lost_and_none_twice() {
    const LINES: u32 = 60_000;
    let stored = Arc::new(Mutex::new(Stored::default()));
    // An outage at first, and again once a third has arrived; throttling and failures between.
    let is_out = Arc::new(AtomicBool::new(true));
    let (out, shared) = (Arc::clone(&is_out), Arc::clone(&stored));
    let strict = Strict::start(move |received, number| {
        if !is_put(received) {
            return None;
        }
        let mut stored = shared.lock().unwrap();
        if out.load(Ordering::Relaxed) {
            return Some(Reply::status(StatusCode::SERVICE_UNAVAILABLE));
        }
        match number % 5 {
            1 => Some(refused(StatusCode::BAD_REQUEST, "ThrottlingException", "Rate exceeded")),
            3 => Some(refused(StatusCode::INTERNAL_SERVER_ERROR, "ServiceUnavailableException", "")),
            _ => {
                let reply = answer(&mut stored, received);
                if (20_000..60_000).contains(&stored.lines.len()) {
                    out.store(true, Ordering::Relaxed);
                }
                Some(reply)
            }
        }
    });
    let url = format!("http://{}", strict.receiver.address());
    let directory = tempfile::tempdir().unwrap();
    let first = Duration::from_millis(u64::try_from((clock::unix_now() - HOURS).as_millis()).unwrap());
    let start =
        |stream, from, to| Writer::start(&url, directory.path(), stream, InDoubt::Resend, first, [from, to, LINES]);
    // One process ends in the outage, the next one in the second outage, while what it has sent is settled.
    start("one", 0, 40_000).kill_after(|_exported| true);
    let two = start("two", 40_000, 55_000);
    is_out.store(false, Ordering::Relaxed);
    let arrived = Arc::clone(&stored);
    two.kill_after(|exported| {
        let arrived = arrived.lock().unwrap().lines.len() as u64;
        arrived >= 20_000 && exported == arrived
    });
    let arrived = stored.lock().unwrap().lines.len();
    assert!((20_000..60_000).contains(&arrived), "{arrived}");
    // The third one delivers everything.
    let mut three = lines(&strict.aws(), directory.path(), "three", InDoubt::Resend);
    put(&mut three, first, 55_000..LINES, LINES);
    is_out.store(false, Ordering::Relaxed);
    let sink = three.sink();
    // The receiver goes out of service once more after this.
    let began = clock::now();
    loop {
        let report = sink.flush(clock::now() + Duration::from_secs(1));
        is_out.store(false, Ordering::Relaxed);
        if report.is_complete() {
            break;
        }
        assert!(began.elapsed() < HANG, "{report:?} {:?}", sink.stats());
    }
    let stored = stored.lock().unwrap();
    assert!(stored.violations.is_empty(), "{:?}", stored.violations);
    let got: Vec<_> = stored.lines.iter().map(|line| (Duration::from_millis(line.at), line.text.clone())).collect();
    let want: Vec<_> = (0..LINES).map(|number| line(first, number, LINES)).collect();
    let broken = got.iter().zip(&want).position(|(got, want)| got != want);
    assert!(
        got == want,
        "{} of {} lines; the first out of order is {broken:?}: {:?}, expected {:?}",
        got.len(),
        want.len(),
        broken.map(|at| &got[at.saturating_sub(2)..(at + 3).min(got.len())]),
        broken.map(|at| &want[at])
    );
    let of = |writer: &str, lines: &[Line]| lines.iter().all(|line| line.stream.starts_with(&format!("{writer}/")));
    assert!(
        of("one", &stored.lines[..40_000]) && of("two", &stored.lines[40_000..55_000]),
        "the streams are the writers'"
    );
    assert!(of("three", &stored.lines[55_000..]));
    let stats = sink.stats();
    assert_eq!((stats.exported, stats.dropped_total(), stats.queued_items), (60_000 - arrived as u64, 0, 0));
}

/// Kills a process whose batch has arrived, but not the answer. Returns the texts that arrived in the end, and what the next
/// process dropped in doubt.
fn killed_before_the_answer(in_doubt: InDoubt) -> (Vec<String>, u64) {
    let stored = Arc::new(Mutex::new(Stored::default()));
    let is_killed = Arc::new(AtomicBool::new(false));
    let (killed, shared) = (Arc::clone(&is_killed), Arc::clone(&stored));
    let strict = Strict::start(move |received, _| {
        let reply = is_put(received).then(|| answer(&mut shared.lock().unwrap(), received))?;
        Some(if killed.load(Ordering::Relaxed) { reply } else { Reply::Held(Box::new(reply)) })
    });
    let directory = tempfile::tempdir().unwrap();
    let first = clock::unix_now() - Duration::from_secs(60);
    let url = format!("http://{}", strict.receiver.address());
    let writer = Writer::start(&url, directory.path(), "one", in_doubt, first, [0, 100, 100_000]);
    writer.kill_after(|_exported| !stored.lock().unwrap().lines.is_empty());
    is_killed.store(true, Ordering::Relaxed);
    let next = lines(&strict.aws(), directory.path(), "two", in_doubt);
    let sink = next.sink();
    let report = sink.flush(clock::now() + HANG);
    assert_eq!(report.left, 0, "{report:?} {:?}", sink.stats());
    let texts = stored.lock().unwrap().lines.iter().map(|line| line.text.clone()).collect();
    (texts, sink.stats().dropped(DropReason::InDoubt))
}

#[test]
fn a_batch_whose_answer_died_with_the_process_is_sent_again_unless_duplicates_are_worse_than_gaps() {
    let want: Vec<_> = (0..100).map(|number| line(Duration::ZERO, number, 100_000).1).collect();
    let (texts, in_doubt) = killed_before_the_answer(InDoubt::Resend);
    let mut once = texts.clone();
    once.sort();
    once.dedup();
    assert!(once.len() == 100 && texts.len() > 100 && in_doubt == 0, "{} of {}, {in_doubt}", once.len(), texts.len());
    let (texts, in_doubt) = killed_before_the_answer(InDoubt::Drop);
    assert!(in_doubt > 0, "{in_doubt}");
    assert_eq!(texts, want, "items in doubt had arrived, and nothing arrived twice");
}

#[test]
fn a_full_store_drops_the_newest_of_the_least_severe_and_counts_them() {
    let strict = Strict::start(|received, _| is_put(received).then(|| Reply::status(StatusCode::SERVICE_UNAVAILABLE)));
    let directory = tempfile::tempdir().unwrap();
    let builder = CloudWatchLogs::builder().service("api").stream("one").http(|http| http.retry(fast()));
    let store = Spool::builder(directory.path()).max_bytes(100_000);
    let output = builder.spool(store).build(&strict.aws()).unwrap();
    let sink = output.sink();
    let guard = steeple_log::Log::builder().without_console().level("debug");
    let guard = guard.output(output, steeple_log::Format::Json).build().unwrap();
    let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), guard.layer());
    tracing::subscriber::with_default(subscriber, || {
        let padding = "x".repeat(500);
        for number in 0..300 {
            tracing::debug!(target: "shop", padding, "debug {number}");
        }
        assert!(guard.flush(HANG));
        for number in 0..20 {
            tracing::error!(target: "shop", padding, "error {number}");
        }
        assert!(guard.flush(HANG));
    });
    let began = clock::now();
    let stats = loop {
        let stats = sink.stats();
        if stats.queued_items + stats.dropped_total() == 320 {
            break stats;
        }
        assert!(began.elapsed() < HANG, "{stats:?}");
        thread::sleep(Duration::from_millis(10));
    };
    let dropped = stats.dropped(DropReason::QueueFull);
    assert!(dropped > 100 && dropped == stats.dropped_total(), "{stats:?}");
    assert_eq!(guard.handle().dropped(), 0, "the log itself had room");
    // The rest arrives with the next process: every error is there, and the oldest of the others.
    drop(guard);
    drop(sink);
    let strict = Strict::start(|_, _| None);
    let builder = CloudWatchLogs::builder().service("api").http(|http| http.retry(fast()));
    let next = loop {
        // The thread of the first one ends by itself.
        let next = builder.clone().spool(Spool::builder(directory.path())).build(&strict.aws()).unwrap();
        let report = next.sink().flush(clock::now() + Duration::from_secs(35));
        if report.exported > 0 {
            break next;
        }
        assert!(began.elapsed() < HANG, "{report:?}");
    };
    assert_eq!(next.sink().stats().dropped_total(), 0);
    let texts: Vec<_> = strict.stored.lock().unwrap().lines.iter().map(|line| line.text.clone()).collect();
    let number = |level: &str| texts.iter().filter(|text| text.contains(&format!("\"message\":\"{level} "))).count();
    assert_eq!(number("error"), 20);
    // Lines whose room the errors took while they were under way count once they are settled; none was, before the process ended.
    let left = 300 - dropped;
    assert!((left - 20..=left).contains(&(number("debug") as u64)), "{} of {left}", number("debug"));
    assert!(texts.iter().any(|text| text.contains("\"debug 0\"")));
    assert!(!texts.iter().any(|text| text.contains("\"debug 299\"")));
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error_with_its_name() {
    let aws = Aws::new("eu-central-1").endpoint("http://127.0.0.1:9").credentials(Credentials::new("id", "secret"));
    let builder = CloudWatchLogs::builder().spool(Spool::builder("/dev/null/lines"));
    let error = builder.build(&aws).unwrap_err();
    assert_eq!(error.setting_name(), "spool");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("/dev/null/lines/cloudwatch_logs"), "{source}");
}

#[test]
fn moto_has_every_line_once_and_in_order_that_a_killed_process_left() {
    const LINES: u32 = 3_000;
    let Some(moto) = Moto::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let first = Duration::from_millis(u64::try_from((clock::unix_now() - HOURS).as_millis()).unwrap());
    // Nothing listens there.
    let outage = "http://127.0.0.1:9";
    Writer::start(outage, directory.path(), "one", InDoubt::Resend, first, [0, 2_000, LINES]).kill_after(|_| true);
    let mut next = lines(&moto.aws(), directory.path(), "two", InDoubt::Resend);
    put(&mut next, first, 2_000..LINES, LINES);
    let sink = next.sink();
    let report = sink.shutdown(clock::now() + HANG);
    assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
    let got = moto.read(
        "[[e['timestamp'], e['message'], e['logStreamName'][:3]] for page in logs.get_paginator('filter_log_events')\
         .paginate(logGroupName='/aws/ecs/api') for e in page['events']]",
    );
    let want: Vec<_> = (0..LINES)
        .map(|number| {
            let (at, text) = line(first, number, LINES);
            let stream = if number < 2_000 { "one" } else { "two" };
            serde_json::json!([u64::try_from(at.as_millis()).unwrap(), text, stream])
        })
        .collect();
    assert!(got.as_array().unwrap() == &want, "{} of {LINES}", got.as_array().unwrap().len());
}
