//! Several processes that write into one directory, as while a service restarts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::HashSet,
    env, fs,
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
};

use super::*;
use crate::TimingOptions;
use crate::{
    encode::time::rfc3339_micros,
    sink::{Queue, Stamp, Worker},
};

const PROCESSES: u32 = 4;
const LINES: u32 = 30_000;

/// When 2100-01-02 begins: the processes' clock is always ahead of the machine's.
const MIDNIGHT: Duration = Duration::from_secs(47_483 * SECONDS_PER_DAY);

const CHILD: &str = "STEEPLE_LOG_TEST_CHILD";

/// How much the processes' clock is ahead of the machine's, so that it is midnight soon.
static AHEAD: OnceLock<Duration> = OnceLock::new();

fn now() -> Duration {
    clock::unix_now() + *AHEAD.get().unwrap_or(&Duration::ZERO)
}

/// Runs the rounds of a test, or is one of its processes.
fn run(test: &str, rounds: u32, rotation: &Rotation, midnight: bool) {
    if let Some(task) = env::var_os(CHILD) {
        let task = task.into_string().unwrap();
        let (directory, process) = task.rsplit_once('#').unwrap();
        return write_lines(Path::new(directory), process.parse().unwrap(), rotation.clone(), midnight);
    }
    for round in 0..rounds {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        let children: Vec<_> = (0..PROCESSES).map(|process| spawn(&name, directory.path(), process)).collect();
        let ready = |process| directory.path().join(format!("ready {process}")).exists();
        while !(0..PROCESSES).all(ready) {
            thread::sleep(Duration::from_millis(2));
        }
        // The machine's time at which it is midnight.
        let at = clock::unix_now() + Duration::from_secs(1);
        fs::write(directory.path().join("going"), at.as_nanos().to_string()).unwrap();
        fs::rename(directory.path().join("going"), directory.path().join("go")).unwrap();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stdout));
        }
        check(directory.path(), rotation, midnight, round);
    }
}

fn spawn(test: &str, directory: &Path, process: u32) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env(CHILD, format!("{}#{process}", directory.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What one process does.
fn write_lines(directory: &Path, process: u32, rotation: Rotation, midnight: bool) {
    fs::write(directory.join(format!("ready {process}")), "").unwrap();
    let at = loop {
        match fs::read_to_string(directory.join("go")) {
            Ok(at) => break Duration::from_nanos(at.parse().unwrap()),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    };
    AHEAD.set(MIDNIGHT.saturating_sub(at)).unwrap();
    let report: Report = Arc::new(|text| panic!("{text}"));
    let file =
        RollingFile::open_at(directory, "combined", rotation, FileAccess::default(), Arc::clone(&report), now).unwrap();
    let queue = Arc::new(Queue::new(64 * 1024 * 1024).collect(Duration::from_millis(5)));
    let worker = Worker {
        name: "combined.log".to_owned(),
        queue: Arc::clone(&queue),
        destination: Box::new(file),
        report,
        gap_line: Box::new(|_, lost, _| panic!("{lost} lines are lost")),
        timing: TimingOptions::default(),
        trouble: None,
    };
    worker.spawn().unwrap();
    let mut line = Vec::new();
    for number in 0..LINES {
        if midnight && (LINES / 3..LINES * 2 / 3).contains(&number) {
            // The lines in the middle are spread over 400 ms around midnight.
            let after = Duration::from_micros(40 * u64::from(number - LINES / 3));
            while now() + Duration::from_millis(200) < MIDNIGHT + after {
                thread::sleep(Duration::from_micros(200));
            }
        }
        let at = now();
        line.clear();
        line.extend_from_slice(b"{\"timestamp\":\"");
        rfc3339_micros(&mut line, at);
        line.extend_from_slice(format!("\",\"process\":{process},\"number\":{number}}}\n").as_bytes());
        queue.push(&line, &Stamp::new(at, tracing::Level::INFO, None));
    }
    queue.close();
    assert!(queue.join(clock::now() + Duration::from_secs(60)));
    assert_eq!(queue.lost(), 0);
}

/// Each line once, in a file of its day.
fn check(directory: &Path, rotation: &Rotation, midnight: bool, round: u32) {
    let mut seen = HashSet::new();
    let mut days = HashSet::new();
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(of_name) = name.strip_prefix("combined.").and_then(|rest| rest.strip_suffix("log")) else { continue };
        files += 1;
        let text = fs::read_to_string(directory.join(&name)).unwrap();
        if let Some(max) = rotation.max_bytes {
            assert!(text.len() as u64 <= max, "round {round}: {name} has {} bytes", text.len());
        }
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let day = line["timestamp"].as_str().unwrap().split_once('T').unwrap().0;
            let of_name = of_name.split_once('.').map_or("2100-01-02", |(day, _)| day);
            // Without identities of files, a file that another process has renamed is written to until this process rotates.
            let has_identities = cfg!(all(unix, not(steeple_os_other)));
            assert!(!rotation.daily || !has_identities || day == of_name, "round {round}: {line} in {name}");
            days.insert(day.to_owned());
            let id = (line["process"].as_u64().unwrap(), line["number"].as_u64().unwrap());
            assert!(seen.insert(id), "round {round}: {line} is there twice");
        }
    }
    assert_eq!(seen.len(), (PROCESSES * LINES) as usize, "round {round}");
    assert!(files > 1 && (!midnight || days.len() == 2), "round {round}: {files} files, {days:?}");
}

fn by_size() -> Rotation {
    Rotation::at_bytes(100_000).keep_files(100_000)
}

fn by_day_and_size() -> Rotation {
    Rotation::daily().and_at_bytes(500_000).keep_files(100_000)
}

#[test]
fn four_processes_write_each_line_once_while_files_roll_by_size() {
    run("four_processes_write_each_line_once_while_files_roll_by_size", 2, &by_size(), false);
}

#[test]
fn four_processes_write_each_line_once_and_into_its_day_over_a_midnight() {
    run("four_processes_write_each_line_once_and_into_its_day_over_a_midnight", 2, &by_day_and_size(), true);
}

#[test]
fn four_processes_write_each_line_once_and_into_its_day_without_a_size() {
    let rotation = Rotation::daily().keep_files(100_000);
    run("four_processes_write_each_line_once_and_into_its_day_without_a_size", 1, &rotation, true);
}

/// How many rounds `.ci/soak` asks for. Default: 20.
fn rounds() -> u32 {
    env::var_os("STEEPLE_ROTATION_ROUNDS").map_or(20, |rounds| rounds.to_str().unwrap().parse().unwrap())
}

#[test]
#[ignore = "a soak test of about two minutes"]
fn soak_rounds_by_size() {
    run("soak_rounds_by_size", rounds(), &by_size(), false);
}

#[test]
#[ignore = "a soak test of about two minutes"]
fn soak_rounds_over_a_midnight() {
    run("soak_rounds_over_a_midnight", rounds(), &by_day_and_size(), true);
}
