//! Whatever becomes of a row at a sink, it is counted once: it arrived, it died, it was dropped, it left the store, or it waits.

use std::{path::Path, time::Duration};

use steeple_export::{
    DropReason, Sink,
    store::{
        NewRow, Settled,
        spool::{SinkId, SinkOptions, Spool, TimingOptions},
    },
};

use crate::spool::{append_row, end, read, row, run, stored};

const NAMES: [&str; 3] = ["live", "keyed", "plain"];

struct Store {
    spool: Spool,
    sinks: [SinkId; 3],
}

fn open(directory: &Path) -> Store {
    let spool = Spool::builder(directory).max_bytes(60 * 400).open().unwrap();
    // Small windows: new rows go beside a backlog, and nearly always something is out.
    let [live, keyed, plain] =
        [SinkOptions::default().window(4), SinkOptions::default().window(6).per_key(true), SinkOptions::default()];
    let sinks = [(NAMES[0], live), (NAMES[1], keyed), (NAMES[2], plain)];
    let sinks = sinks.map(|(name, options)| spool.register(name, options).unwrap());
    spool.registered_all().unwrap();
    Store { spool, sinks }
}

/// The counts beside the store.
#[derive(Debug, Default)]
struct Counts {
    appended: u64,
    refused: u64,
    settled: [u64; 3],
    gone: [u64; 3],
}

impl Counts {
    /// Adds what the store has counted since it was opened.
    fn add(&mut self, spool: &Spool) {
        spool.settled();
        spool.backlog_now("live").unwrap();
        let stats = spool.spool_stats();
        self.appended += stats.appended;
        for reason in DropReason::ALL {
            self.refused += stats.refused(reason);
            for (gone, name) in self.gone.iter_mut().zip(NAMES) {
                *gone += stats.gone(name, reason);
            }
        }
        let of_the_store = spool.stats();
        assert_eq!(
            of_the_store.accepted,
            of_the_store.exported + of_the_store.dropped_total() + of_the_store.queued_items
        );
    }
}

#[test]
fn rows_that_leave_a_full_store_while_they_are_sent_count_once_at_each_sink() {
    for seed in 0..24 {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut counts = Counts::default();
        let mut out: Vec<(usize, u64)> = Vec::new();
        let outcome = |random: &mut fastrand::Rng| match random.u8(..8) {
            0..4 => Settled::Stored,
            4 => Settled::Dead("bad".into()),
            5 => Settled::Dropped,
            _ => Settled::Retry { after: std::time::Duration::ZERO },
        };
        for n in 0..400 {
            match random.u8(..32) {
                0..14 => {
                    let user = format!("u{}", random.u8(..6));
                    let new = row(&n.to_string(), random.u8(..4), Some(&user), &"x".repeat(random.usize(..600)));
                    let ticket = append_row(&store.spool, new);
                    // Now and then many at once.
                    if random.bool() {
                        let _or_dropped = store.spool.wait_blocking(ticket, false, crate::spool::PATIENCE);
                    }
                }
                14..22 => {
                    let sink = random.usize(..3);
                    let rows = read(&store.spool, store.sinks[sink], random.usize(1..6));
                    out.extend(rows.iter().map(|row| (sink, row.seq)));
                }
                22..30 if !out.is_empty() => {
                    let (sink, seq) = out.swap_remove(random.usize(..out.len()));
                    let outcome = outcome(&mut random);
                    // A row that has to be sent again is not settled.
                    counts.settled[sink] += u64::from(!matches!(outcome, Settled::Retry { .. }));
                    store.spool.settle(store.sinks[sink], seq, outcome);
                }
                30 => {
                    let erased = run(store.spool.erase(format!("u{}", random.u8(..6)).as_bytes())).unwrap();
                    assert!(erased < 100);
                }
                31 => {
                    for (sink, seq) in out.drain(..) {
                        let again = Settled::Retry { after: std::time::Duration::ZERO };
                        store.spool.settle(store.sinks[sink], seq, again);
                    }
                    // What waits in memory is stored, and counted, before the end.
                    let _or_dropped = store.spool.flush(steeple_core::clock::now() + crate::spool::PATIENCE);
                    counts.add(&store.spool);
                    end(&store.spool);
                    store = open(directory.path());
                }
                _ => {}
            }
        }
        for (sink, seq) in out.drain(..) {
            store.spool.settle(store.sinks[sink], seq, Settled::Retry { after: std::time::Duration::ZERO });
        }
        let _or_dropped = store.spool.flush(steeple_core::clock::now() + crate::spool::PATIENCE);
        counts.add(&store.spool);
        for (place, name) in NAMES.into_iter().enumerate() {
            let backlog = store.spool.backlog_now(name).unwrap();
            let known = counts.refused + counts.settled[place] + counts.gone[place] + backlog.items;
            assert_eq!(counts.appended, known, "{seed}, {name}: {counts:?} {backlog:?}");
            // And the rows that are reported as waiting are there.
            let mut rest = Vec::new();
            loop {
                let rows = read(&store.spool, store.sinks[place], 100);
                if rows.is_empty() {
                    break;
                }
                for row in rows {
                    store.spool.settle(store.sinks[place], row.seq, Settled::Stored);
                    rest.push(row.seq);
                }
                store.spool.settled();
            }
            assert_eq!(rest.len() as u64, backlog.items, "{seed}, {name}");
        }
        assert!(counts.gone.iter().all(|gone| *gone > 0), "{seed}: nothing left the store: {counts:?}");
    }
}

#[test]
fn a_row_that_arrives_after_it_was_evicted_is_delivered_and_one_that_does_not_is_dropped() {
    for (outcome, dropped) in
        [(Settled::Stored, 0), (Settled::Retry { after: std::time::Duration::ZERO }, 1), (Settled::Dropped, 0)]
    {
        let directory = tempfile::tempdir().unwrap();
        let body = "x".repeat(900);
        let spool = Spool::builder(directory.path()).max_bytes(1_500).open().unwrap();
        let [one, other] = ["one", "other"].map(|name| spool.register(name, SinkOptions::default()).unwrap());
        stored(&spool, append_row(&spool, row("view", 0, None, &body)));
        let out = read(&spool, one, 10);
        let at_other = read(&spool, other, 10);
        spool.settle(other, at_other[0].seq, Settled::Stored);
        stored(&spool, append_row(&spool, row("pay", 3, None, &body)));
        spool.settle(one, out[0].seq, outcome);
        spool.settled();
        spool.backlog_now("one").unwrap();
        let stats = spool.spool_stats();
        let gone = ["one", "other"].map(|name| stats.gone(name, DropReason::QueueFull));
        assert_eq!((stats.dropped(DropReason::QueueFull), gone), (dropped, [dropped, 0]));
        let rows = read(&spool, one, 10);
        assert_eq!((rows.len(), &*rows[0].row.id), (1, "pay"));
    }
}

#[test]
fn what_a_process_left_is_taken_in_for_each_sink_as_it_had_come_there() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["one", "other"];
    let open = || {
        let spool = Spool::builder(directory.path()).open().unwrap();
        let sinks = names.map(|name| spool.register(name, SinkOptions::default()).unwrap());
        (spool, sinks)
    };
    // Two at once: the first to start again has the directory of the one, and takes in the rows of the other.
    let (first, _) = open();
    let (second, sinks) = open();
    for id in ["both-have-it", "one-has-it", "other-has-it", "none-has-it"] {
        stored(&second, append_row(&second, row(id, 1, None, "{}")));
    }
    for (sink, had) in sinks.into_iter().zip([["both-have-it", "one-has-it"], ["both-have-it", "other-has-it"]]) {
        for row in read(&second, sink, 10) {
            if had.contains(&&*row.row.id) {
                second.settle(sink, row.seq, Settled::Stored);
            }
        }
    }
    second.settled();
    end(&second);
    end(&first);
    let spool = Spool::builder(directory.path()).open().unwrap();
    // The second sink comes later, as those of a service do that is starting.
    let one = spool.register("one", SinkOptions::default()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let other = spool.register("other", SinkOptions::default()).unwrap();
    spool.registered_all().unwrap();
    crate::spool::until(|| std::fs::read_dir(directory.path()).unwrap().count() == 1);
    for (sink, name, wants) in
        [(one, "one", ["none-has-it", "other-has-it"]), (other, "other", ["none-has-it", "one-has-it"])]
    {
        let mut got: Vec<_> = read(&spool, sink, 10).iter().map(|row| row.row.id.to_string()).collect();
        got.sort();
        assert_eq!(got, wants, "{name}");
    }
}

#[test]
fn rows_that_are_too_old_go_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let timing = TimingOptions::new().idle(Duration::from_millis(5)).expire(Duration::from_millis(5));
    let spool = Spool::builder(directory.path()).max_age(4 * day).timing(timing).open().unwrap();
    let sink = spool.register("one", SinkOptions::default()).unwrap();
    for (id, days) in [("five", 5), ("three", 3), ("none", 0)] {
        let at = steeple_core::clock::unix_now().checked_sub(days * day).unwrap();
        stored(&spool, append_row(&spool, NewRow { at, ..row(id, 1, None, "{}") }));
    }
    crate::spool::until(|| spool.spool_stats().dropped(DropReason::Expired) == 1);
    let rows = read(&spool, sink, 10);
    assert_eq!(rows.iter().map(|row| &*row.row.id).collect::<Vec<_>>(), ["three", "none"]);
    assert_eq!(spool.spool_stats().gone("one", DropReason::Expired), 1);
}
