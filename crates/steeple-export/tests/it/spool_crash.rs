//! Stored rows survive the end of the process, wherever it comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use steeple_export::{
    InDoubt,
    store::{
        Settled,
        spool::{SinkOptions, Spool, TimingOptions},
    },
};

use crate::spool::{PATIENCE, append_row, read, row, run, stored, times, until};

const DIRECTORY: &str = "STEEPLE_TEST_SPOOL";
/// What the process does: `lazy`, `busy`, `synced`, `bursts`.
const KIND: &str = "STEEPLE_TEST_SPOOL_KIND";

/// How often; more in `.ci/soak`.
fn kills() -> u64 {
    times("STEEPLE_SPOOL_KILLS", 16)
}

/// Not a test by itself: the process that is killed. It stores rows and says which, and delivers to two files: one that may have a
/// row twice, and one that may not.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    // Whoever has ended beside it is noticed at once.
    let timing = TimingOptions::new().idle(Duration::from_millis(5)).adopt(Duration::from_millis(5));
    let spool = Spool::builder(directory.join("spool")).timing(timing).open().unwrap();
    let sinks = SINKS.map(|(name, options)| spool.register(name, options()).unwrap());
    spool.registered_all().unwrap();
    let open = |name: &str| fs::OpenOptions::new().create(true).append(true).open(directory.join(name)).unwrap();
    let mut files = SINKS.map(|(name, _)| open(&format!("delivered-{name}")));
    let mut attempted = open("attempted");
    let mut deliver = |max: usize| {
        let mut delivered = 0;
        for (place, (sink, file)) in sinks.iter().zip(&mut files).enumerate() {
            let rows = read(&spool, *sink, max);
            if SINKS[place].0 == ONCE {
                // Told beforehand: whoever takes this process' rows in may drop these before the test looks.
                for row in &rows {
                    attempted.write_all(format!("{}\n", row.row.id).as_bytes()).unwrap();
                }
                run(spool.attempt(*sink, rows.iter().map(|row| row.seq).collect())).unwrap();
            }
            for row in &rows {
                let line = format!("{} {} {}\n", row.row.id, row.row.at.as_nanos(), &*row.row.body);
                file.write_all(line.as_bytes()).unwrap();
                spool.settle(*sink, row.seq, Settled::Stored);
            }
            delivered += rows.len();
        }
        delivered
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

/// The sink whose rows are not sent again if that was under way when the process ended.
const ONCE: &str = "once";
type Options = fn() -> SinkOptions;
const SINKS: [(&str, Options); 2] = [
    ("again", || SinkOptions::default().window(64)),
    (ONCE, || SinkOptions::default().window(64).in_doubt(InDoubt::Drop)),
];

fn spawn(directory: &Path, kind: &str, abort: Option<String>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "spool_crash::child", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).env(KIND, kind).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(abort) = abort {
        command.env("STEEPLE_SPOOL_ABORT", abort);
    }
    command.spawn().unwrap()
}

/// Where a process ends: more than half of them inside of a commit, a checkpoint, a vacuum or an adoption, the others anywhere.
fn place(round: u64, random: &mut fastrand::Rng) -> Option<(&'static str, u64)> {
    match round % 16 {
        // What was left by two at once, the round before.
        0 | 4 | 8 | 12 => Some(adoption(round / 4)),
        6 => Some(("commit", random.u64(1..60))),
        2 | 10 => Some(("checkpoint", 1)),
        1 | 9 => Some(("vacuum", 1)),
        5 | 14 => Some(("committing", random.u64(1..20))),
        13 => Some(("committed", random.u64(1..60))),
        _ => None,
    }
}

/// The places of an adoption, one after the other.
fn adoption(round: u64) -> (&'static str, u64) {
    const PLACES: [&str; 8] = ["mark", "marked", "adopt", "taken", "adopted", "passed", "removing", "removed"];
    let place = usize::try_from(round % 8).ok().and_then(|place| PLACES.get(place)).unwrap();
    (place, 1)
}

/// Has a process stop, or go on.
fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap().success());
}

/// What is stored, as children say it.
#[derive(Default)]
struct Seen {
    stored: BTreeSet<String>,
    /// How processes have ended.
    ended: BTreeMap<&'static str, usize>,
}

impl Seen {
    fn end(&mut self, place: Option<(&'static str, u64)>, by_itself: bool) {
        *self.ended.entry(place.filter(|_| by_itself).map_or("anywhere", |(name, _)| name)).or_default() += 1;
    }
}

/// Whether it ends by itself within a moment.
fn ends(child: &mut Child) -> bool {
    for _ in 0..100 {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    false
}

#[test]
fn what_was_stored_is_delivered_whenever_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    for round in 0..kills() {
        let mut random = fastrand::Rng::with_seed(round);
        let abort = place(round, &mut random);
        let kind = match abort {
            Some(("vacuum", _)) => "bursts",
            Some(("committing", _)) => "synced",
            _ if random.bool() => "lazy",
            _ => "busy",
        };
        let to_text = |(name, times): (&str, u64)| format!("{name}:{times}");
        let mut child = spawn(directory.path(), kind, abort.map(to_text));
        // Others beside it: the first takes in what the killed one leaves, and ends while it does, the second what both leave.
        let others = match round % 8 {
            3 => 1,
            7 => 2,
            _ => 0,
        };
        let places: Vec<_> = (0..others).map(|other| adoption(round / 4 + 3 * other)).collect();
        let mut others: Vec<_> =
            places.iter().map(|place| spawn(directory.path(), "lazy", Some(to_text(*place)))).collect();
        let ready = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = others
            .iter_mut()
            .map(|other| {
                let (stdout, ready) = (other.stdout.take().unwrap(), Arc::clone(&ready));
                let count = move |_: &String| {
                    ready.fetch_add(1, Ordering::Relaxed);
                };
                std::thread::spawn(move || {
                    let mut lines = stored_lines(stdout);
                    let first = lines.next().inspect(count);
                    first.into_iter().chain(lines).collect::<Vec<_>>()
                })
            })
            .collect();
        // One that is to end by itself, and does not come by the place where it would, is killed in the end.
        let limit = if abort.is_some() { 2_000 } else { random.usize(1..200) };
        let mut count = 0;
        for id in stored_lines(child.stdout.take().unwrap()) {
            seen.stored.insert(id);
            count += 1;
            // Only once each of the others has its directory.
            if count >= limit && (ready.load(Ordering::Relaxed) == others.len() || count >= 20_000) {
                for other in &others {
                    signal(other, "STOP");
                }
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        seen.end(abort, count < limit);
        for ((mut other, place), reader) in others.into_iter().zip(places).zip(readers) {
            signal(&other, "CONT");
            let by_itself = ends(&mut other);
            if !by_itself {
                other.kill().unwrap();
            }
            other.wait().unwrap();
            seen.end(Some(place), by_itself);
            seen.stored.extend(reader.join().unwrap());
        }
    }
    check(directory.path(), seen);
}

/// The last one delivers what is left: nothing is lost, and nothing is twice where it may not be.
fn check(directory: &Path, seen: Seen) {
    let Seen { stored, ended } = seen;
    let attempted = fs::read_to_string(directory.join("attempted")).unwrap_or_default();
    let attempted: BTreeSet<_> = attempted.lines().collect();
    assert!(stored.len() > 50, "{}", stored.len());
    let all: usize = ended.values().sum();
    let anywhere = ended.get("anywhere").copied().unwrap_or_default();
    assert!(2 * anywhere <= all + 4, "too few ended where they should: {ended:?}");
    let spool = Spool::builder(directory.join("spool")).open().unwrap();
    let sinks = SINKS.map(|(name, options)| spool.register(name, options().window(10_000)).unwrap());
    spool.registered_all().unwrap();
    let mut receivers = SINKS.map(|(name, _)| {
        let mut receiver = Receiver::default();
        let delivered = fs::read_to_string(directory.join(format!("delivered-{name}"))).unwrap_or_default();
        delivered.lines().for_each(|line| receiver.take(line));
        receiver
    });
    until(|| {
        for (sink, receiver) in sinks.iter().zip(&mut receivers) {
            for row in read(&spool, *sink, 1_000) {
                receiver.take(&format!("{} {} {}", row.row.id, row.row.at.as_nanos(), &*row.row.body));
                spool.settle(*sink, row.seq, Settled::Stored);
            }
        }
        fs::read_dir(directory.join("spool")).unwrap().count() == 1
            && SINKS.iter().all(|(name, _)| spool.backlog_now(name).unwrap().items == 0)
    });
    let [again, once] = receivers;
    let lost: Vec<_> = stored.iter().filter(|id| !again.about.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), stored.len(), lost.first());
    // Where nothing is sent twice: what is missing was under way when a process ended.
    assert_eq!(once.again, 0);
    let missing: Vec<_> = stored.iter().filter(|id| !once.about.contains(*id)).collect();
    let lost: Vec<_> = missing.iter().filter(|id| !attempted.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), stored.len(), lost.first());
    // For the table of `.ci/soak`.
    let mut out = std::io::stdout();
    writeln!(
        out,
        "killed: {all} times ({ended:?}), {} rows stored, 0 lost, 0 twice at a receiver that knows their ids, {} sent again; 0 sent \
         twice to one that does not, {} missing there, each of which was under way",
        stored.len(),
        again.again,
        missing.len()
    )
    .unwrap();
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
