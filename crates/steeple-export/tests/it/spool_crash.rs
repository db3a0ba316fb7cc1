//! What was stored survives the end of the process, wherever it comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use steeple_export::store::{
    Settled,
    spool::{SinkOptions, Spool},
};

use crate::spool::{append, read, stored, times, until};

const DIRECTORY: &str = "STEEPLE_TEST_SPOOL";

/// How often; more in `.ci/soak`.
fn kills() -> u64 {
    times("STEEPLE_SPOOL_KILLS", 16)
}

/// Not a test by itself: the process that is killed. It stores rows and says which, and delivers to a file.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let spool = Spool::builder(directory.join("spool")).open().unwrap();
    let sink = spool.register("file", SinkOptions::default().window(64)).unwrap();
    let mut delivered = fs::OpenOptions::new().create(true).append(true).open(directory.join("delivered")).unwrap();
    let mut n = 0_u64;
    loop {
        let id = format!("{}-{n}", std::process::id());
        n += 1;
        stored(&spool, append(&spool, &id));
        // On a line of its own, whatever the harness has written.
        writeln!(std::io::stdout(), "\nstored {id}").unwrap();
        // Now and then so little that most of it waits, and new rows go beside it.
        if n.is_multiple_of(3) {
            for row in read(&spool, sink, if std::process::id().is_multiple_of(2) { 16 } else { 2 }) {
                delivered.write_all(format!("{}\n", row.row.id).as_bytes()).unwrap();
                spool.settle(sink, row.seq, Settled::Stored);
            }
        }
    }
}

fn spawn(directory: &Path, abort: Option<String>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "spool_crash::child", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(abort) = abort {
        command.env("STEEPLE_SPOOL_ABORT", abort);
    }
    command.spawn().unwrap()
}

#[test]
fn what_was_stored_is_delivered_whenever_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut stored_ids = BTreeSet::new();
    let mut ended = BTreeMap::<&str, usize>::new();
    for round in 0..kills() {
        let mut random = fastrand::Rng::with_seed(round);
        // Half of them end inside of a commit, a checkpoint or an adoption, the others anywhere.
        let abort = match round % 8 {
            0 => Some(("commit", random.u64(1..60))),
            2 => Some(("checkpoint", 1)),
            // Two at once are killed before it: this one adopts what one of them has left.
            4 => Some(("adopt", 1)),
            6 => Some(if random.bool() { ("committed", random.u64(1..60)) } else { ("adopted", 1) }),
            _ => None,
        };
        let mut child = spawn(directory.path(), abort.map(|(name, times)| format!("{name}:{times}")));
        let mut second = (round % 4 == 3).then(|| spawn(directory.path(), None));
        let reader = second
            .as_mut()
            .and_then(|second| second.stdout.take())
            .map(|stdout| std::thread::spawn(move || stored_lines(stdout).collect::<Vec<_>>()));
        // One that is to end by itself, and does not come by the place where it would, is killed in the end.
        let limit = if abort.is_some() { 2_000 } else { random.usize(1..200) };
        let mut count = 0;
        for id in stored_lines(child.stdout.take().unwrap()) {
            stored_ids.insert(id);
            count += 1;
            if count >= limit {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        *ended.entry(abort.filter(|_| count < limit).map_or("anywhere", |(name, _)| name)).or_default() += 1;
        if let (Some(mut second), Some(reader)) = (second, reader) {
            std::thread::sleep(Duration::from_millis(random.u64(1..30)));
            second.kill().unwrap();
            second.wait().unwrap();
            stored_ids.extend(reader.join().unwrap());
        }
    }
    assert!(stored_ids.len() > 50, "{}", stored_ids.len());
    // The last one delivers what is left.
    let spool = Spool::builder(directory.path().join("spool")).open().unwrap();
    let sink = spool.register("file", SinkOptions::default().window(10_000)).unwrap();
    let mut seen: BTreeSet<String> =
        fs::read_to_string(directory.path().join("delivered")).unwrap_or_default().lines().map(str::to_owned).collect();
    until(|| {
        for row in read(&spool, sink, 1_000) {
            seen.insert(row.row.id.to_string());
            spool.settle(sink, row.seq, Settled::Stored);
        }
        fs::read_dir(directory.path().join("spool")).unwrap().count() == 1
            && spool.backlog_now("file").unwrap().items == 0
    });
    let delivered = fs::read_to_string(directory.path().join("delivered")).unwrap_or_default();
    let again = delivered.lines().count() - delivered.lines().collect::<BTreeSet<_>>().len();
    let lost: Vec<_> = stored_ids.difference(&seen).collect();
    assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), stored_ids.len(), lost.first());
    // For the table of `.ci/soak`.
    let out = format!(
        "killed: {} times ({ended:?}), {} rows stored, 0 lost, {again} delivered a second time with the same id",
        kills(),
        stored_ids.len()
    );
    writeln!(std::io::stdout(), "{out}").unwrap();
}

/// What a child says it has stored.
fn stored_lines(stdout: ChildStdout) -> impl Iterator<Item = String> {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    lines.filter_map(|line| Some(line.strip_prefix("stored ")?.to_owned()))
}
