//! New rows beside a backlog: what happens now goes now, and what waits goes at its rate and in its order.

use std::{collections::BTreeSet, time::Duration};

use steeple_core::clock;
use steeple_export::store::{
    Row, Settled,
    spool::{SinkId, SinkOptions, Spool},
};

use crate::spool::{append, append_row, end, read, row, stored, until};

const WINDOW: usize = 100;

/// A store in which so many rows wait, opened anew.
fn waiting(directory: &std::path::Path, rows: usize, options: SinkOptions) -> (Spool, SinkId) {
    let spool = Spool::builder(directory).open().unwrap();
    spool.register("one", options).unwrap();
    let mut last = None;
    for n in 0..rows {
        let user = format!("u{}", n % 50);
        last = Some(append_row(&spool, row(&format!("old-{n}"), 1, Some(&user), "{}")));
    }
    stored(&spool, last.unwrap());
    end(&spool);
    open(directory, options)
}

fn open(directory: &std::path::Path, options: SinkOptions) -> (Spool, SinkId) {
    let spool = Spool::builder(directory).open().unwrap();
    let sink = spool.register("one", options).unwrap();
    (spool, sink)
}

fn settle(spool: &Spool, sink: SinkId, rows: &[Row], seen: &mut Vec<String>) {
    for row in rows {
        seen.push(row.row.id.to_string());
        spool.settle(sink, row.seq, Settled::Stored);
    }
}

#[test]
fn new_rows_go_beside_what_waits_and_every_row_goes_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = SinkOptions::default().window(WINDOW);
    let (spool, sink) = waiting(directory.path(), 2_000, options);
    let mut seen = Vec::new();
    // The first read finds out how much there is.
    settle(&spool, sink, &read(&spool, sink, 40), &mut seen);
    for n in 0..200 {
        stored(&spool, append(&spool, &format!("new-{n}")));
        let rows = read(&spool, sink, 8);
        assert!(rows.iter().any(|row| *row.row.id == *format!("new-{n}")), "{n} waits: {seen:?}");
        assert!(rows.len() > 1, "what waits goes on as well");
        settle(&spool, sink, &rows, &mut seen);
        // In the middle of it, the store is opened again.
        if n == 100 {
            break;
        }
    }
    end(&spool);
    let (spool, sink) = open(directory.path(), options);
    stored(&spool, append(&spool, "late"));
    until(|| {
        let rows = read(&spool, sink, 64);
        settle(&spool, sink, &rows, &mut seen);
        spool.backlog_now("one").unwrap().items == 0
    });
    let all: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), all.len()), (2_000 + 101 + 1, 2_000 + 101 + 1));
    let old: Vec<u32> = seen.iter().filter_map(|id| id.strip_prefix("old-")?.parse().ok()).collect();
    assert!(old.is_sorted(), "what waits goes in its order");
    until(|| spool.backlog_now("one").is_ok() && spool.spool_stats().items == 0);
}

#[test]
fn in_order_new_rows_wait_for_all_that_came_before_them_also_after_the_store_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = SinkOptions::default().window(WINDOW).in_order(true);
    let (spool, sink) = waiting(directory.path(), 2_000, options);
    let mut seen = Vec::new();
    for n in 0..100 {
        stored(&spool, append(&spool, &format!("new-{n}")));
        settle(&spool, sink, &read(&spool, sink, 8), &mut seen);
    }
    end(&spool);
    let (spool, sink) = open(directory.path(), options);
    stored(&spool, append(&spool, "new-100"));
    until(|| {
        settle(&spool, sink, &read(&spool, sink, 64), &mut seen);
        spool.backlog_now("one").unwrap().items == 0
    });
    let all = (0..2_000).map(|n| format!("old-{n}")).chain((0..=100).map(|n| format!("new-{n}")));
    assert!(seen == all.collect::<Vec<_>>(), "{seen:?}");
}

#[test]
fn new_rows_of_someone_of_whom_older_ones_wait_come_after_them() {
    let directory = tempfile::tempdir().unwrap();
    let options = SinkOptions::default().window(WINDOW).per_key(true);
    let (spool, sink) = waiting(directory.path(), 1_000, options);
    let mut seen = Vec::new();
    settle(&spool, sink, &read(&spool, sink, 10), &mut seen);
    for (id, user) in [("new-of-u7", "u7"), ("new-of-stranger", "stranger"), ("newer-of-u7", "u7")] {
        stored(&spool, append_row(&spool, row(id, 1, Some(user), "{}")));
    }
    let rows = read(&spool, sink, 10);
    let live: Vec<_> = rows.iter().map(|row| &*row.row.id).filter(|id| id.starts_with("new")).collect();
    assert_eq!(live, ["new-of-stranger"]);
    settle(&spool, sink, &rows, &mut seen);
    // Once more of a stranger whose first one is settled already.
    stored(&spool, append_row(&spool, row("again-of-stranger", 1, Some("stranger"), "{}")));
    let rows = read(&spool, sink, 10);
    assert!(rows.iter().any(|row| &*row.row.id == "again-of-stranger"), "{rows:?}");
    settle(&spool, sink, &rows, &mut seen);
    until(|| {
        settle(&spool, sink, &read(&spool, sink, 64), &mut seen);
        spool.backlog_now("one").unwrap().items == 0
    });
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (1_004, 1_004));
    let of_u7: Vec<_> = seen
        .iter()
        .filter(|id| {
            id.ends_with("of-u7") || id.strip_prefix("old-").is_some_and(|n| n.parse::<u32>().unwrap() % 50 == 7)
        })
        .collect();
    assert_eq!(of_u7.len(), 22);
    assert_eq!(&of_u7[20..], ["new-of-u7", "newer-of-u7"]);
}

#[test]
fn what_waits_is_read_at_its_rate_and_what_is_new_at_once() {
    let directory = tempfile::tempdir().unwrap();
    // Two a second: more than that has to take its time, and nothing here waits for it.
    let options = SinkOptions::default().window(WINDOW).replay_rate(2);
    let (spool, sink) = waiting(directory.path(), 1_000, options);
    let begin = clock::now();
    let (mut seen, mut new) = (Vec::new(), 0);
    settle(&spool, sink, &read(&spool, sink, 10), &mut seen);
    for n in 0..300 {
        stored(&spool, append(&spool, &format!("new-{n}")));
        let rows = read(&spool, sink, 10);
        new += rows.iter().filter(|row| row.row.id.starts_with("new-")).count();
        settle(&spool, sink, &rows, &mut seen);
    }
    let old = seen.iter().filter(|id| id.starts_with("old-")).count();
    assert_eq!(new, 300);
    let at_most = 2.0_f64.mul_add(begin.elapsed().as_secs_f64(), 2.0);
    assert!(old >= 2 && f64::from(u32::try_from(old).unwrap()) <= at_most, "{old} in {:?}", begin.elapsed());
}

#[test]
fn rows_that_fail_or_die_beside_a_backlog_are_as_they_are_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let options = SinkOptions::default().window(WINDOW);
    let (spool, sink) = waiting(directory.path(), 1_000, options);
    let mut seen = Vec::new();
    settle(&spool, sink, &read(&spool, sink, 2), &mut seen);
    for id in ["dies", "fails", "arrives", "open"] {
        stored(&spool, append(&spool, id));
    }
    for row in read(&spool, sink, 8) {
        match &*row.row.id {
            "dies" => spool.settle(sink, row.seq, Settled::Dead("bad".into())),
            "fails" => spool.settle(sink, row.seq, Settled::Retry { after: Duration::ZERO }),
            "open" => {}
            id => {
                seen.push(id.to_owned());
                spool.settle(sink, row.seq, Settled::Stored);
            }
        }
    }
    end(&spool);
    let (spool, sink) = open(directory.path(), options);
    assert_eq!(spool.backlog_now("one").unwrap().dead, 1);
    until(|| {
        settle(&spool, sink, &read(&spool, sink, 64), &mut seen);
        spool.backlog_now("one").unwrap().items == 0
    });
    let all: BTreeSet<_> = seen.iter().map(String::as_str).collect();
    assert_eq!((seen.len(), all.len()), (1_003, 1_003));
    assert!(["fails", "arrives", "open"].iter().all(|id| all.contains(id)) && !all.contains("dies"));
}
