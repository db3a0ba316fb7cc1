//! A damaged file: the store starts, sets it aside, saves what can be read, and counts what cannot.

use std::{collections::BTreeSet, fs, io::Write};

use steeple_core::clock;
use steeple_export::{
    DropReason,
    store::{
        Settled,
        spool::{SinkOptions, Spool},
    },
};

use crate::spool::{PATIENCE, append, append_row, end, row, run, stored, times, until};

/// Rows of the file that is damaged.
const ROWS: u64 = 2_001;

#[test]
fn damage_is_set_aside_what_can_be_read_is_saved_and_new_rows_flow() {
    let directory = tempfile::tempdir().unwrap();
    let rounds = times("STEEPLE_SPOOL_DAMAGES", 12);
    let template = directory.path().join("template");
    let spool = Spool::builder(&template).open().unwrap();
    let _id = spool.register("one", SinkOptions::default()).unwrap();
    for n in 0..2_000 {
        append_row(&spool, row(&format!("row-{n}"), 1, Some("key"), &format!("{{\"text\":\"{}\"}}", "x".repeat(200))));
    }
    stored(&spool, append(&spool, "last"));
    end(&spool);
    let name = fs::read_dir(&template).unwrap().next().unwrap().unwrap().file_name();
    // Rows that were lost, those that were counted, and files that were set aside.
    let (mut lost, mut counted, mut again, mut quarantined, mut inexact) = (0, 0, 0, 0, 0);
    for round in 0..rounds {
        let mut random = fastrand::Rng::with_seed(round);
        let root = directory.path().join(format!("round-{round}"));
        fs::create_dir_all(root.join(&name)).unwrap();
        fs::copy(template.join(&name).join("lock"), root.join(&name).join("lock")).unwrap();
        let mut bytes = fs::read(template.join(&name).join("outbox.db")).unwrap();
        match round % 4 {
            0 => (0..40).for_each(|_| {
                let place = random.usize(..bytes.len());
                bytes[place] ^= 1 << random.u8(..8);
            }),
            1 => bytes.truncate(random.usize(..bytes.len())),
            2 => {
                let from = random.usize(..bytes.len());
                bytes[from..].fill(0);
            }
            _ => {
                let from = random.usize(..bytes.len());
                let to = (from + 16_384).min(bytes.len());
                bytes[from..to].iter_mut().for_each(|byte| *byte = random.u8(..));
            }
        }
        fs::write(root.join(&name).join("outbox.db"), &bytes).unwrap();
        let spool = Spool::builder(&root).open().unwrap();
        let sink = spool.register("one", SinkOptions::default().window(10_000)).unwrap();
        spool.registered_all().unwrap();
        let mut old = BTreeSet::new();
        // Whatever is still read is as it was written.
        let (mut found, mut next, mut quiet) = (false, 0, 0);
        let begin = clock::now();
        until(|| {
            assert!(
                begin.elapsed() < PATIENCE / 2,
                "{round}: {found} {quiet} {:?} {:?}",
                spool.spool_stats(),
                spool.backlog_now("one")
            );
            // Rows written before the damage is found may be lost with it; later ones flow.
            if !found {
                append(&spool, &format!("new-{next}"));
                next += 1;
            }
            quiet += 1;
            for row in run(spool.read(sink, 500, usize::MAX)).unwrap_or_default() {
                let good = match &*row.row.id {
                    "last" => true,
                    id if id.starts_with("new-") => true,
                    id => id.starts_with("row-") && row.row.body.len() == 211,
                };
                assert!(good, "{round}: {row:?}");
                let is_new = row.row.id.starts_with("new-");
                // Once more, with its id, if the damage was found before it was written that it had arrived.
                if !is_new {
                    again += u64::from(!old.insert(row.row.id.clone()));
                }
                found |= is_new;
                spool.settle(sink, row.seq, Settled::Stored);
                quiet = 0;
            }
            // Each time the thread takes in a part of the rows that were set aside, if any.
            spool.settled();
            found && quiet > 20
        });
        let stats = spool.spool_stats();
        let (missing, damaged) = (ROWS - old.len() as u64, stats.damaged);
        // No loss is silent. How many rows there were may be lost as well; then it is said that a file was set aside.
        assert!(missing == 0 || damaged > 0 || stats.quarantined > 0, "{round}: {missing} rows are missing: {stats:?}");
        assert!(damaged <= stats.dropped(DropReason::Internal), "{round}: {stats:?}");
        lost += missing;
        counted += damaged;
        quarantined += stats.quarantined;
        inexact += u64::from(missing != damaged);
        end(&spool);
        fs::remove_dir_all(root).unwrap();
    }
    writeln!(
        std::io::stdout(),
        "damaged: {rounds} files, each started and went on: {quarantined} set aside, {lost} of {} rows lost, {counted} counted \
         as lost, {inexact} times not the same number, {again} came again",
        rounds * ROWS
    )
    .unwrap();
}
