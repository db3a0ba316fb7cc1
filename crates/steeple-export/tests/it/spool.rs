//! The store on disk: receipts, cursors, dead letters, room, erasure, and permissions.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use steeple_core::clock;
use steeple_export::{
    DropReason, InDoubt, Reason, Sink,
    store::{
        NewRow, Row, Settled,
        spool::{NotStored, SinkId, SinkOptions, Spool, Ticket, TimingOptions, offline},
    },
};
use steeple_scrub::Scrubbed;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn row(id: &str, class: u8, key: Option<&str>, body: &str) -> NewRow {
    NewRow {
        id: id.into(),
        at: clock::unix_now(),
        key: key.map(|key| key.as_bytes().into()),
        class,
        body: Scrubbed::from_application(body.into()),
    }
}

pub(crate) fn append(spool: &Spool, id: &str) -> Ticket {
    append_row(spool, row(id, 1, None, "{}"))
}

pub(crate) fn append_row(spool: &Spool, row: NewRow) -> Ticket {
    let (class, size) = (row.class, row.size());
    spool.append(Arc::new(row), class, size)
}

pub(crate) fn stored(spool: &Spool, ticket: Ticket) {
    assert_eq!(spool.wait_blocking(ticket, false, PATIENCE), Ok(()));
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn read(spool: &Spool, sink: SinkId, max: usize) -> Vec<Row> {
    run(spool.read(sink, max, usize::MAX)).unwrap()
}

fn ids(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| &*row.row.id).collect()
}

/// Waits for what another thread does.
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    let begin = clock::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_row_is_read_by_each_sink_and_gone_when_all_have_settled_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).open().unwrap();
    let [one, other] = ["one", "other"].map(|name| spool.register(name, SinkOptions::default()).unwrap());
    for id in ["a", "b", "c"] {
        stored(&spool, append(&spool, id));
    }
    let rows = read(&spool, one, 10);
    assert_eq!(ids(&rows), ["a", "b", "c"]);
    assert!(read(&spool, one, 10).is_empty(), "rows under way are not read twice");
    assert_eq!(ids(&read(&spool, other, 2)), ["a", "b"]);
    for row in &rows {
        spool.settle(one, row.seq, Settled::Stored);
    }
    spool.settle(other, rows[0].seq, Settled::Stored);
    spool.settle(other, rows[1].seq, Settled::Dead(Reason::from("no such plan")));
    spool.settled();
    let (here, there) = (spool.backlog_now("one").unwrap(), spool.backlog_now("other").unwrap());
    assert_eq!((here.items, here.dead, there.items, there.dead), (0, 0, 1, 1));
    until(|| spool.backlog_now("one").is_ok() && spool.spool_stats().items == 2);

    let letters = run(spool.dead_letters("other", 10)).unwrap();
    assert_eq!((letters.len(), letters[0].why.as_str(), &*letters[0].row.id), (1, "no such plan", "b"));
    assert_eq!(run(spool.requeue("other", &[letters[0].seq])).unwrap(), 1);
    assert_eq!(ids(&read(&spool, other, 10)), ["b", "c"]);
}

#[test]
fn unsettled_rows_are_read_again_after_a_restart_and_settled_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let spool = Spool::builder(directory.path()).open().unwrap();
        let sink = spool.register("one", SinkOptions::default()).unwrap();
        (spool, sink)
    };
    let (spool, sink) = open();
    for id in ["a", "b", "c", "d"] {
        stored(&spool, append(&spool, id));
    }
    let rows = read(&spool, sink, 3);
    // Out of order: the one before is still under way.
    spool.settle(sink, rows[1].seq, Settled::Stored);
    spool.settle(sink, rows[2].seq, Settled::Dead(Reason::from("bad")));
    end(&spool);
    let (spool, sink) = open();
    assert_eq!(ids(&read(&spool, sink, 10)), ["a", "d"]);
    assert_eq!(spool.backlog_now("one").unwrap().dead, 1);
}

/// Closes a store, and waits until its directory is free.
pub(crate) fn end(spool: &Spool) {
    spool.settled();
    spool.close();
    until(|| run(spool.dead_letters("-", 1)).is_err());
}

#[test]
fn rows_of_one_key_go_out_one_after_the_other_where_a_sink_asks_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).open().unwrap();
    let sink = spool.register("ga4", SinkOptions::default().per_key(true)).unwrap();
    for (id, key) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("c1", "c"), ("b2", "b"), ("a3", "a")] {
        stored(&spool, append_row(&spool, row(id, 1, Some(key), "{}")));
    }
    let first = read(&spool, sink, 10);
    assert_eq!(ids(&first), ["a1", "b1", "c1"]);
    assert!(read(&spool, sink, 10).is_empty());
    // Tried again later, it still goes before the newer ones of its user.
    spool.settle(sink, first[0].seq, Settled::Retry { after: Duration::from_millis(30) });
    spool.settle(sink, first[1].seq, Settled::Stored);
    let mut seen = Vec::new();
    until(|| {
        for row in read(&spool, sink, 10) {
            seen.push(row.row.id.to_string());
            spool.settle(sink, row.seq, Settled::Stored);
        }
        seen.len() == 4
    });
    let of_a: Vec<_> = seen.iter().filter(|id| id.starts_with('a')).map(String::as_str).collect();
    assert_eq!((of_a, seen.contains(&"b2".to_owned())), (vec!["a1", "a2", "a3"], true));
}

#[test]
fn full_the_newest_of_the_lowest_class_goes_first_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let body = "x".repeat(900);
    let spool = Spool::builder(directory.path()).max_bytes(10_400).open().unwrap();
    let sink = spool.register("one", SinkOptions::default()).unwrap();
    let keep = |id: &str, class| {
        let ticket = append_row(&spool, row(id, class, None, &body));
        spool.wait_blocking(ticket, false, PATIENCE)
    };
    for id in 0..10 {
        assert_eq!(keep(&format!("p{id}"), u8::from(id >= 4)), Ok(()));
    }
    // Of the same class or lower: the new one is the newest.
    assert_eq!(keep("view", 0), Err(NotStored::Dropped(DropReason::QueueFull)));
    assert_eq!(keep("pay", 3), Ok(()));
    assert_eq!(keep("login", 2), Ok(()));
    for id in 0..2 {
        assert_eq!(keep(&format!("pay{id}"), 3), Ok(()));
    }
    assert_eq!(keep("feature", 1), Err(NotStored::Dropped(DropReason::QueueFull)));
    assert_eq!(keep("last", 3), Ok(()));
    let rows = read(&spool, sink, 100);
    assert_eq!(ids(&rows), ["p4", "p5", "p6", "p7", "p8", "pay", "login", "pay0", "pay1", "last"]);
    assert_eq!(spool.spool_stats().dropped(DropReason::QueueFull), 2 + 5);
}

#[test]
fn the_queue_in_front_of_the_disk_is_bounded_by_class_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).max_queue(4, 1 << 20).open().unwrap();
    let _id = spool.register("one", SinkOptions::default()).unwrap();
    // Many at once: the thread cannot keep up with all of them, and none of them waits.
    let tickets: Vec<_> =
        (0..20_000_u32).map(|n| append_row(&spool, row(&n.to_string(), n.to_le_bytes()[0] % 4, None, "{}"))).collect();
    let outcomes: Vec<_> = tickets.iter().map(|ticket| spool.wait_blocking(*ticket, false, PATIENCE)).collect();
    spool.backlog_now("one").unwrap();
    let lost = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
    let stats = spool.spool_stats();
    assert_eq!((stats.dropped(DropReason::QueueFull), stats.items + lost), (lost, 20_000));
    let kept = |class: usize| outcomes.iter().skip(class).step_by(4).filter(|outcome| outcome.is_ok()).count();
    assert!(kept(3) >= kept(0), "{} {}", kept(3), kept(0));
}

#[test]
fn synced_rows_and_the_newest_of_them_are_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).open().unwrap();
    let _id = spool.register("one", SinkOptions::default()).unwrap();
    let ticket = append(&spool, "a");
    stored(&spool, ticket);
    assert_eq!(spool.wait_blocking(ticket, true, PATIENCE), Ok(()));
    // In any runtime, or none.
    assert_eq!(futures_lite_block_on(spool.wait(append(&spool, "b"), true, PATIENCE)), Ok(()));
}

/// An executor without a clock.
fn futures_lite_block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn rows_that_were_being_sent_when_the_process_ended_are_in_doubt() {
    for (in_doubt, again) in [(InDoubt::Resend, vec!["a", "b", "c"]), (InDoubt::Drop, vec!["a", "c"])] {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let spool = Spool::builder(directory.path()).open().unwrap();
            let sink = spool.register("ga4", SinkOptions::default().in_doubt(in_doubt)).unwrap();
            (spool, sink)
        };
        let (spool, sink) = open();
        for id in ["a", "b", "c"] {
            stored(&spool, append(&spool, id));
        }
        let rows = read(&spool, sink, 10);
        run(spool.attempt(sink, vec![rows[1].seq])).unwrap();
        end(&spool);
        let (spool, sink) = open();
        let mut seen = read(&spool, sink, 10);
        seen.sort_by_key(|row| row.seq);
        assert_eq!(ids(&seen), again, "{in_doubt:?}");
        assert_eq!(spool.spool_stats().in_doubt.get("ga4").copied(), Some(1));
    }
}

fn every_byte(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { every_byte(&path) } else { fs::read(path).unwrap() });
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn erased_rows_leave_no_byte_in_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).open().unwrap();
    let sink = spool.register("one", SinkOptions::default()).unwrap();
    for n in 0..200 {
        let (key, body) = if n % 2 == 0 { ("ada", "ada-was-here") } else { ("bob", "bob-was-here") };
        append_row(&spool, row(&n.to_string(), 1, Some(key), &format!("{{\"text\":\"{body}{}\"}}", "x".repeat(2_000))));
    }
    stored(&spool, append(&spool, "last"));
    let rows = read(&spool, sink, 20);
    spool.settle(sink, rows[0].seq, Settled::Dead(Reason::from("bad")));
    spool.settled();
    assert!(holds(&every_byte(directory.path()), "ada-was-here"));
    assert_eq!(run(spool.erase(b"ada")).unwrap(), 100);
    let bytes = every_byte(directory.path());
    assert!(!holds(&bytes, "ada-was-here"));
    assert!(holds(&bytes, "bob-was-here"));
    assert_eq!(spool.backlog_now("one").unwrap().dead, 0);
    // Results of erased rows are ignored.
    spool.settle(sink, rows[2].seq, Settled::Retry { after: Duration::ZERO });
    spool.settled();
    let rest = read(&spool, sink, 1_000);
    assert!(rest.iter().all(|row| row.row.key.as_deref() != Some(b"ada")));
}

#[test]
fn what_is_erased_in_one_process_is_erased_in_all_that_share_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let open = |id: &str, adopt: Duration| {
        let timing = TimingOptions::new().idle(Duration::from_millis(5)).stats(Duration::ZERO).adopt(adopt);
        let spool = Spool::builder(directory.path()).timing(timing).open().unwrap();
        let sink = spool.register("one", SinkOptions::default()).unwrap();
        spool.registered_all().unwrap();
        for key in ["ada", "bob"] {
            stored(&spool, append_row(&spool, row(&format!("{id}-{key}"), 1, Some(key), "{}")));
        }
        (spool, sink)
    };
    // One that has ended, one that runs, and the one that is asked.
    let (never, soon) = (Duration::from_secs(3_600), Duration::from_millis(5));
    let (left, _) = open("left", never);
    let (running, sink) = open("running", never);
    let (asked, own_sink) = open("asked", soon);
    assert_eq!(run(asked.erase(b"ada")).unwrap(), 3);
    end(&left);
    // What was left comes without what was erased.
    until(|| fs::read_dir(directory.path()).unwrap().count() == 2);
    let mut rows = Vec::new();
    until(|| {
        rows.extend(read(&asked, own_sink, 10));
        rows.len() == 2
    });
    assert_eq!(ids(&rows), ["asked-bob", "left-bob"]);
    assert_eq!(ids(&read(&running, sink, 10)), ["running-bob"]);
    // Whoever comes back is someone new.
    stored(&asked, append_row(&asked, row("back", 1, Some("ada"), "{}")));
    assert_eq!(ids(&read(&asked, own_sink, 10)), ["back"]);
}

#[test]
fn files_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("events");
    let spool = Spool::builder(&root).open().unwrap();
    let _id = spool.register("one", SinkOptions::default()).unwrap();
    stored(&spool, append(&spool, "a"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    let own = fs::read_dir(&root).unwrap().next().unwrap().unwrap().path();
    assert_eq!(mode(&own), 0o700);
    let files: Vec<_> = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|path| path.ends_with("outbox.db-wal")), "{files:?}");
    for path in files {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn what_a_process_left_is_adopted_by_one_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let spool = Spool::builder(directory.path()).open().unwrap();
        let sinks = ["one", "other"].map(|sink| spool.register(sink, SinkOptions::default()).unwrap());
        spool.registered_all().unwrap();
        stored(&spool, append(&spool, name));
        (spool, sinks)
    };
    let (left, left_sinks) = open("left");
    for id in ["done-at-one", "dead-at-one", "open"] {
        stored(&left, append(&left, id));
    }
    for row in read(&left, left_sinks[0], 10) {
        match &*row.row.id {
            "done-at-one" => left.settle(left_sinks[0], row.seq, Settled::Stored),
            "dead-at-one" => left.settle(left_sinks[0], row.seq, Settled::Dead(Reason::from("bad"))),
            _ => {}
        }
    }
    // Starts beside it, in a separate directory.
    let (running, _) = open("running");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    end(&left);
    let third = Spool::builder(directory.path()).open().unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "the free directory is taken over");
    end(&third);
    end(&running);
    let (adopting, sinks_now) = open("adopting");
    until(|| fs::read_dir(directory.path()).unwrap().count() == 1);
    let mut all: Vec<_> = read(&adopting, sinks_now[0], 100);
    all.sort_by(|a, b| a.row.id.cmp(&b.row.id));
    assert_eq!(ids(&all), ["adopting", "left", "open", "running"]);
    let mut all: Vec<_> = read(&adopting, sinks_now[1], 100);
    all.sort_by(|a, b| a.row.id.cmp(&b.row.id));
    assert_eq!(ids(&all), ["adopting", "dead-at-one", "done-at-one", "left", "open", "running"]);
    let letters = run(adopting.dead_letters("one", 10)).unwrap();
    assert_eq!((letters.len(), letters[0].why.as_str()), (1, "bad"));
}

#[test]
fn others_may_look_at_a_store_and_requeue_while_its_process_runs() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).open().unwrap();
    let sink = spool.register("one", SinkOptions::default()).unwrap();
    for id in ["a", "b"] {
        stored(&spool, append_row(&spool, row(id, 1, Some("ada"), "{}")));
    }
    let rows = read(&spool, sink, 1);
    spool.settle(sink, rows[0].seq, Settled::Dead(Reason::from("bad")));
    spool.settled();
    let [path] = &*offline::databases(directory.path()).unwrap() else { panic!("one database") };
    let database = offline::Database::open(path).unwrap();
    let backlogs = database.backlogs().unwrap();
    assert_eq!((backlogs.len(), &*backlogs[0].sink, backlogs[0].items, backlogs[0].dead), (1, "one", 1, 1));
    assert_eq!(database.dead_letters("one", 10).unwrap()[0].why.as_str(), "bad");
    let checked = database.check(|_rows| {}).unwrap();
    assert_eq!((checked.good, checked.damaged, checked.is_sound), (2, 0, true));
    assert_eq!(offline::Database::open_to_change(path).unwrap().requeue("one").unwrap(), 1);
    let mut seen = Vec::new();
    until(|| {
        seen.extend(read(&spool, sink, 10));
        seen.len() == 2
    });
}

/// How often; more in `.ci/soak`.
pub(crate) fn times(variable: &str, default: u64) -> u64 {
    std::env::var_os(variable).map_or(default, |times| times.to_str().unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_backlog_is_opened_and_drained_in_little_memory_and_gives_its_file_back() {
    // Drained in a separate process, whose memory has nothing of other tests.
    const BACKLOG: &str = "STEEPLE_SPOOL_BACKLOG_IN";
    let rows = times("STEEPLE_SPOOL_BACKLOG", 5_000);
    if let Some(directory) = std::env::var_os(BACKLOG) {
        return drain(Path::new(&directory), rows);
    }
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).max_queue(50_000, 64 << 20).open().unwrap();
    spool.register("one", SinkOptions::default()).unwrap();
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(400));
    let mut last = None;
    let begin = clock::now();
    for n in 0..rows {
        last = Some(append_row(&spool, row(&n.to_string(), 1, None, &body)));
        if n % 10_000 == 0 {
            stored(&spool, last.unwrap());
        }
    }
    stored(&spool, last.unwrap());
    let rate = f64::from(u32::try_from(rows).unwrap()) / begin.elapsed().as_secs_f64();
    end(&spool);
    let name = "spool::a_backlog_is_opened_and_drained_in_little_memory_and_gives_its_file_back";
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let output = alone.args([name, "--exact", "--nocapture"]).env(BACKLOG, directory.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let figures = stdout.lines().find(|line| line.starts_with("backlog: "));
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    writeln!(std::io::stdout(), "{}; they had been stored at {rate:.0} a second", figures.unwrap()).unwrap();
}

#[cfg(target_os = "linux")]
fn drain(directory: &Path, rows: u64) {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1_024
    };
    let before = resident();
    let begin = clock::now();
    let spool = Spool::builder(directory).open().unwrap();
    let window = usize::try_from(rows / 4).unwrap().min(4_000);
    let sink = spool.register("one", SinkOptions::default().window(window)).unwrap();
    assert_eq!(spool.backlog_now("one").unwrap().items, rows);
    let opened = begin.elapsed();
    let begin = clock::now();
    let (mut drained, mut peak, mut live) = (0, 0, None);
    let mut fresh = 0_u64;
    while drained < rows || live.is_some() {
        assert!(begin.elapsed() < PATIENCE, "it takes too long");
        // Something new at each read, once the first has found how much waits: it goes at once.
        if live.is_none() && drained > 0 && drained < rows {
            fresh += 1;
            stored(&spool, append(&spool, &format!("new-{fresh}")));
            live = Some(drained);
        }
        for row in read(&spool, sink, 2_000) {
            if row.row.id.starts_with("new-") {
                assert_eq!(live.take(), Some(drained), "rows that waited went before it");
            } else {
                drained += 1;
            }
            spool.settle(sink, row.seq, Settled::Stored);
        }
        peak = peak.max(resident());
    }
    let took = begin.elapsed();
    // The process as a whole.
    assert!(peak < 32, "{peak} MiB, {before} before");
    let size = || {
        let own = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
        fs::metadata(own.join("outbox.db")).unwrap().len()
    };
    until(|| size() < 1 << 20);
    let rate = f64::from(u32::try_from(rows).unwrap()) / took.as_secs_f64();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\nbacklog: {rows} rows, opened in {opened:.1?}, drained at {rate:.0} a second while {fresh} new ones went by, in {peak} MiB \
         of memory ({before} MiB before), file {} KiB",
        size() / 1_024
    )
    .unwrap();
}

#[test]
fn a_disk_that_is_nearly_full_holds_what_there_is_and_takes_the_important() {
    let directory = tempfile::tempdir().unwrap();
    // As if less were free than shall be: the store may not grow.
    let spool = Spool::builder(directory.path()).min_free_bytes(u64::MAX).open().unwrap();
    let _id = spool.register("one", SinkOptions::default()).unwrap();
    let lost = spool.wait_blocking(append_row(&spool, row("a", 0, None, "{}")), false, PATIENCE);
    assert_eq!(lost, Err(NotStored::Dropped(DropReason::QueueFull)));
    assert_eq!(spool.spool_stats().dropped(DropReason::QueueFull), 1);
}

#[test]
fn a_store_is_a_sink_that_can_be_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::builder(directory.path()).open().unwrap();
    let _id = spool.register("one", SinkOptions::default()).unwrap();
    for n in 0..100 {
        append(&spool, &n.to_string());
    }
    let report = spool.flush(clock::now() + PATIENCE);
    assert_eq!(report.left, 0);
    let stats = spool.stats();
    assert_eq!((stats.accepted, stats.exported, stats.queued_items), (100, 100, 0));
}
