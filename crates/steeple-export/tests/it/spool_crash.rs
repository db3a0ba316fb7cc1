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

use crate::spool::{PATIENCE, append_row, read, row, stored, times, until};

const DIRECTORY: &str = "STEEPLE_TEST_SPOOL";
/// What the process does: `lazy`, `busy`, `synced`, `bursts`.
const KIND: &str = "STEEPLE_TEST_SPOOL_KIND";

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
    spool.registered_all().unwrap();
    let mut delivered = fs::OpenOptions::new().create(true).append(true).open(directory.join("delivered")).unwrap();
    let mut deliver = |max: usize| {
        let rows = read(&spool, sink, max);
        for row in &rows {
            let line = format!("{} {} {}\n", row.row.id, row.row.at.as_nanos(), &*row.row.body);
            delivered.write_all(line.as_bytes()).unwrap();
            spool.settle(sink, row.seq, Settled::Stored);
        }
        rows.len()
    };
    let kind = env::var_os(KIND).unwrap().into_string().unwrap();
    let mut n = 0_u64;
    let mut next = |size: usize| {
        n += 1;
        let id = format!("{}-{n}", std::process::id());
        // What it is about is in it: by that, one that came twice would be found out.
        let body = format!("{{\"about\":\"{id}\",\"text\":\"{}\"}}", "x".repeat(size));
        (id.clone(), append_row(&spool, row(&id, 1, None, &body)), n)
    };
    // Begins a new line: the harness may have left one open.
    let say = |id: &str| writeln!(std::io::stdout(), "\nstored {id}").unwrap();
    loop {
        if kind == "bursts" {
            // Many at once, and all of them delivered: then the file has free pages to give back.
            let tickets: Vec<_> = (0..300).map(|_| next(1_500)).collect();
            for (id, ticket, _) in &tickets {
                stored(&spool, *ticket);
                say(id);
            }
            while deliver(64) > 0 {}
            continue;
        }
        let (id, ticket, n) = next(0);
        // A commit that waits for the disk takes long enough to be killed in it.
        assert_eq!(spool.wait_blocking(ticket, kind == "synced", PATIENCE), Ok(()));
        say(&id);
        // Now and then so little that most of it waits, and new rows go beside it.
        if n.is_multiple_of(3) {
            deliver(if kind == "lazy" { 2 } else { 16 });
        }
    }
}

fn spawn(directory: &Path, kind: &str, abort: Option<String>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "spool_crash::child", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).env(KIND, kind).stdout(Stdio::piped()).stderr(Stdio::null());
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
        // More than half of them end inside of a commit, a checkpoint, a vacuum or an adoption, the others anywhere.
        let abort = match round % 16 {
            0 | 6 => Some(("commit", random.u64(1..60))),
            // Two at once are killed before these: they adopt what one of them has left.
            4 => Some(("adopt", 1)),
            8 => Some(("adopted", 1)),
            2 | 10 => Some(("checkpoint", 1)),
            1 | 9 | 12 => Some(("vacuum", 1)),
            5 | 14 => Some(("committing", random.u64(1..20))),
            13 => Some(("committed", random.u64(1..60))),
            _ => None,
        };
        let kind = match abort {
            Some(("vacuum", _)) => "bursts",
            Some(("committing", _)) => "synced",
            _ if random.bool() => "lazy",
            _ => "busy",
        };
        let mut child = spawn(directory.path(), kind, abort.map(|(name, times)| format!("{name}:{times}")));
        let mut second = (round % 4 == 3).then(|| spawn(directory.path(), "lazy", None));
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
    let anywhere = ended.get("anywhere").copied().unwrap_or_default() as u64;
    assert!(2 * anywhere <= kills() + 4, "too few ended where they should: {ended:?}");
    // The last one delivers what is left.
    let spool = Spool::builder(directory.path().join("spool")).open().unwrap();
    let sink = spool.register("file", SinkOptions::default().window(10_000)).unwrap();
    spool.registered_all().unwrap();
    let mut receiver = Receiver::default();
    let delivered = fs::read_to_string(directory.path().join("delivered")).unwrap_or_default();
    delivered.lines().for_each(|line| receiver.take(line));
    until(|| {
        for row in read(&spool, sink, 1_000) {
            receiver.take(&format!("{} {} {}", row.row.id, row.row.at.as_nanos(), &*row.row.body));
            spool.settle(sink, row.seq, Settled::Stored);
        }
        fs::read_dir(directory.path().join("spool")).unwrap().count() == 1
            && spool.backlog_now("file").unwrap().items == 0
    });
    let lost: Vec<_> = stored_ids.iter().filter(|id| !receiver.about.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), stored_ids.len(), lost.first());
    let again = receiver.again;
    // For the table of `.ci/soak`.
    let out = format!(
        "killed: {} times ({ended:?}), {} rows stored, 0 lost, 0 twice at a receiver that knows their ids, {again} sent again",
        kills(),
        stored_ids.len()
    );
    writeln!(std::io::stdout(), "{out}").unwrap();
}

/// Knows what came by its id, and takes it once.
#[derive(Default)]
struct Receiver {
    /// By id: time and content.
    taken: BTreeMap<String, String>,
    /// What the rows that it took are about.
    about: BTreeSet<String>,
    again: usize,
}

impl Receiver {
    fn take(&mut self, line: &str) {
        let (id, rest) = line.split_once(' ').unwrap();
        if let Some(before) = self.taken.get(id) {
            self.again += 1;
            assert!(before == rest, "{id} is not what it was at the first time");
            return;
        }
        let about = rest.split('"').nth(3).unwrap();
        assert!(self.about.insert(about.to_owned()), "{about} came twice, with two ids");
        self.taken.insert(id.to_owned(), rest.to_owned());
    }
}

/// What a child says it has stored.
fn stored_lines(stdout: ChildStdout) -> impl Iterator<Item = String> {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    lines.filter_map(|line| Some(line.strip_prefix("stored ")?.to_owned()))
}
