//! Panics while standard error has no reader.

use std::{
    io::{self, PipeWriter, Read, Write},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::process::{ask, example, lines, until};

/// Fills a pipe, and keeps it full until its reader is dropped.
fn fill(mut writer: PipeWriter) {
    let written = Arc::new(AtomicUsize::new(0));
    let progress = Arc::clone(&written);
    thread::spawn(move || {
        while writer.write_all(&[b'x'; 512]).is_ok() {
            progress.fetch_add(512, Ordering::Relaxed);
        }
    });
    let mut before = 0;
    until(|| {
        thread::sleep(Duration::from_millis(200));
        let now = written.load(Ordering::Relaxed);
        (std::mem::replace(&mut before, now) == now && now > 0).then_some(())
    });
}

#[test]
fn a_service_whose_standard_error_is_full_survives_587_panics_and_ends_on_sigterm() {
    let (mut reader, writer) = io::pipe().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0"]).env("LOG_DIR", directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    // It reports where it listens; after that nothing reads.
    let mut said = Vec::new();
    let address: SocketAddr = loop {
        let mut bytes = [0; 512];
        let count = reader.read(&mut bytes).unwrap();
        said.extend_from_slice(&bytes[..count]);
        let text = String::from_utf8_lossy(&said);
        let found = text.split_once("http://").and_then(|(_, rest)| rest.split(['/', ' ', '\n']).next()?.parse().ok());
        if let Some(address) = found {
            break address;
        }
    };
    assert_eq!(ask(address, "GET /healthz", &[], "").status, 200, "it has said all it says");
    fill(writer);
    for _ in 0..587 {
        ask(address, "GET /lab/panic", &[], "");
    }
    assert_eq!(ask(address, "GET /healthz", &[], "").status, 200, "it goes on");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let code = until(|| child.try_wait().unwrap()).code();
    assert_eq!(code, Some(0), "it ends");
    drop(reader);

    let log = lines(&std::fs::read_to_string(directory.path().join("combined.log")).unwrap());
    let count = |target: &str| log.iter().filter(|line| line["target"] == target).count();
    assert_eq!((count("steeple::panic"), count("steeple::access")), (587, 587), "each once");
}
