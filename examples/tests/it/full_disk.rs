//! A disk that is full while the board logs.

use std::{
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use crate::process::{Program, ask, example, is_access, lines, until};

/// Lines that are longer than a full output's memory of 8 MiB can hold: a path of 2 kB, a user agent of 1 kB.
fn flood(program: &Program) {
    let path = format!("GET /lab/status/200?{}", "a=b&".repeat(1000));
    let agent = format!("user-agent: {}", "x".repeat(2000));
    for _ in 0..6000 {
        assert_eq!(ask(program.address, &path, &[&agent], "").status, 200, "requests go on");
    }
}

/// Lines lost so far by the output, as the metrics have it.
fn lost(program: &Program, output: &str) -> u64 {
    let page = program.get("/metrics").body;
    let name = format!("steeple_log_lines_dropped_total{{output=\"{output}\",reason=\"");
    let lines = page.lines().filter(|line| line.starts_with(&name));
    let counts: Vec<u64> = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
    assert_eq!(counts.len(), 3, "{name} in {page}");
    counts.iter().sum()
}

#[test]
fn a_full_disk_drops_lines_which_are_counted_and_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(directory.path()) else { return };
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0"]).env("LOG_DIR", directory.path());
    let program = Program::start(&mut command);
    flood(&program);
    let while_full = until(|| Some(lost(&program, "combined.log")).filter(|lost| *lost > 0));
    assert_eq!(lost(&program, "console"), 0, "the other output goes on");
    assert_eq!(program.get("/readyz").status, 200);
    assert_eq!(program.stderr().matches("combined.log cannot be written").count(), 1, "{}", program.stderr());

    disk.grow();
    until(|| program.stderr().contains("combined.log can be written again").then_some(()));
    let page = program.get("/metrics").body;
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("combined.log").count(),
        2,
        "said once, and once that it is over: {}",
        ended.stderr
    );
    let requests = "http_requests_total{method=\"GET\",route=\"/lab/status/{code}\",status_code=\"200\"} 6000\n";
    assert!(page.contains(requests), "{page}");

    let log = lines(&std::fs::read_to_string(directory.path().join("combined.log")).unwrap());
    let written = log.iter().filter(|line| is_access(line)).count() as u64;
    let gaps: u64 = log.iter().filter_map(|line| line["lines_lost"].as_u64()).sum();
    assert_eq!((written + while_full, gaps), (6000, while_full), "each line is there or counted");
}

/// A file system of 64 kB.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "steeple-test"]).arg(at).output();
        let reason = match mount {
            Ok(output) if output.status.success() => return Some(Self(at)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("mount: {error}"),
        };
        let required = std::env::var_os("STEEPLE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "no small disk to fill, because {reason}; STEEPLE_REQUIRE_PEERS=1 requires it");
        // Not `eprintln!`, which a test that passes does not show.
        writeln!(io::stderr(), "skipped: no small disk to fill, because {reason}").ok();
        None
    }

    fn grow(&self) {
        let grow = Command::new("mount").args(["-o", "remount,size=64m"]).arg(self.0).status();
        assert!(grow.unwrap().success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Lazily: a program that a failed test left behind may still write.
        Command::new("umount").arg("--lazy").arg(self.0).status().ok();
    }
}
