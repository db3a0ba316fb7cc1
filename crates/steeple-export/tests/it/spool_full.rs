//! A disk that is full: nothing blocks, the least important goes first, and with room it goes on by itself.

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Output},
};

use steeple_export::{
    DropReason, Sink,
    store::spool::{NotStored, SinkOptions, Spool},
};

use crate::spool::{PATIENCE, append_row, read, row, stored, until};

const DIRECTORY: &str = "STEEPLE_TEST_FULL";
const KIND: &str = "STEEPLE_TEST_FULL_KIND";

/// More than the queue in front of the disk takes.
const ROWS: usize = 6_000;
const QUEUE: usize = 3_000;

/// Not a test by itself: the process whose disk is full.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let (directory, kind) = (Path::new(&directory), env::var_os(KIND).unwrap().into_string().unwrap());
    let spool = Spool::builder(directory.join("spool")).min_free_bytes(0).max_queue(QUEUE, 64 << 20).open().unwrap();
    let sink = spool.register("one", SinkOptions::default().window(10 * ROWS)).unwrap();
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(400));
    for n in 0..100 {
        stored(&spool, append_row(&spool, row(&format!("before-{n}"), 3, None, &body)));
    }
    let ballast = directory.join("ballast");
    if kind == "tmpfs" {
        let mut file = fs::File::create(&ballast).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    } else {
        // No file may grow beyond this.
        limit_file_size("300000");
    }
    // Nothing waits here, however full it is: as many as the queue takes of each class stay, the rest is counted.
    let tickets: Vec<_> = (0..ROWS)
        .map(|n| {
            let class = u8::try_from(n % 4).unwrap();
            (n, class, append_row(&spool, row(&format!("row-{n}"), class, None, &body)))
        })
        .collect();
    until(|| spool.stats().health.as_str() == "failing");
    let dropped = spool.spool_stats().dropped(DropReason::QueueFull);
    assert!(dropped > 0, "{dropped}");
    if kind == "tmpfs" {
        fs::remove_file(&ballast).unwrap();
    } else {
        limit_file_size("unlimited");
    }
    // With room it goes on, without a restart.
    until(|| spool.stats().health.as_str() == "ok");
    let (mut kept, mut lost) = ([0_u32; 4], [0_u32; 4]);
    let mut ids: Vec<_> = (0..100).map(|n| format!("before-{n}")).collect();
    for (n, class, ticket) in tickets {
        match spool.wait_blocking(ticket, false, PATIENCE) {
            Ok(()) => {
                kept[usize::from(class)] += 1;
                ids.push(format!("row-{n}"));
            }
            Err(NotStored::Dropped(DropReason::QueueFull)) => lost[usize::from(class)] += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(u64::from(lost.iter().sum::<u32>()), spool.spool_stats().dropped(DropReason::QueueFull));
    // A class loses nothing while a lower one keeps what waited with it. What a lower one keeps beyond that had been written before
    // the disk was noticed to be full: a few rows.
    let few = 100;
    assert!(lost[3] <= lost[2] && lost[2] <= lost[1] + few && lost[1] <= lost[0] + few, "{lost:?}");
    assert!(lost[0] > 0 && lost[3] == 0, "{lost:?}");
    let mut seen = Vec::new();
    until(|| {
        seen.extend(read(&spool, sink, 2_000).iter().map(|row| row.row.id.to_string()));
        seen.len() >= ids.len()
    });
    ids.sort();
    seen.sort();
    assert!(ids == seen, "the stored rows are the acknowledged ones");
    writeln!(std::io::stdout(), "\ndisk full: {kind}, kept {kept:?} and lost {lost:?} by class, then went on").unwrap();
}

/// For this process alone, by the tool that everyone has.
fn limit_file_size(bytes: &str) {
    let pid = std::process::id().to_string();
    let limit = format!("--fsize={bytes}:unlimited");
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
}

/// Runs the child by a script that ends in it.
fn run(directory: &Path, kind: &str, shell: &[&str], script: &str) -> Output {
    let exec = r#" exec "$0" --exact spool_full::child --nocapture --test-threads=1"#;
    let (program, arguments) = shell.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).args(["sh", "-c", &format!("{script}{exec}")]).arg(env::current_exe().unwrap());
    command.env(DIRECTORY, directory).env(KIND, kind).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_keeps_the_important_and_goes_on_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    // A file system that is really full, in a name space of this test's own, where that is allowed.
    let may_mount = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
    let output = if may_mount {
        let mount = format!("mount -t tmpfs -o size=16m tmpfs {} &&", directory.path().display());
        run(directory.path(), "tmpfs", &["unshare", "-rm"], &mount)
    } else {
        // Else a limit of the size of files, which fails in the same place.
        run(directory.path(), "limit", &["env"], "trap '' XFSZ;")
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let figures = stdout.lines().find(|line| line.starts_with("disk full: "));
    assert!(output.status.success() && figures.is_some(), "{output:?}");
    writeln!(std::io::stdout(), "{}", figures.unwrap()).unwrap();
}
