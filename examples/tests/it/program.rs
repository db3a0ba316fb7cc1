use std::net::TcpListener;

use crate::process::{Program, example, lines, run, until};

#[track_caller]
fn refused(arguments: &[&str], code: i32, says: &[&str]) {
    let output = run(example("taskboard").args(arguments));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    let last = error.lines().last().unwrap();
    assert!(last.starts_with("taskboard: "), "{arguments:?}: {error}");
    for part in says {
        assert!(last.contains(part), "{arguments:?}: {error}");
    }
}

#[test]
fn a_bad_flag_ends_with_2_and_one_line_that_names_it() {
    refused(&["--trafic", "5"], 2, &["--trafic", "--traffic"]);
    refused(&["--traffic", "many"], 2, &["--traffic", "\"many\"", "0 to 10000"]);
    refused(&["--listen", "3000"], 2, &["--listen", "\"3000\"", "127.0.0.1:3000"]);
    refused(&["--duration", "0"], 2, &["--duration", "\"0\"", "1 to 604800"]);
}

#[test]
fn a_port_in_use_ends_with_1_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["--listen", &address], 1, &["cannot listen on", &address, "in use"]);
}

#[test]
fn a_database_that_cannot_be_opened_ends_with_1_and_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such/place.db");
    let missing = missing.to_str().unwrap();
    refused(&["--listen", "127.0.0.1:0", "--db", missing], 1, &["cannot open the database", missing, "unable to open"]);
    let other = directory.path().join("other.db");
    std::fs::write(&other, "This is a letter to a friend, and it is certainly no database. ".repeat(20)).unwrap();
    let other = other.to_str().unwrap();
    refused(&["--listen", "127.0.0.1:0", "--db", other], 1, &["cannot open the database", other, "not a database"]);
}

#[test]
fn help_goes_to_stdout_and_ends_with_0() {
    let output = run(example("taskboard").arg("--help"));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for flag in ["--listen", "--traffic", "--duration", "--db", "--events"] {
        assert!(text.contains(flag), "{text}");
    }
}

#[test]
fn with_traffic_it_ends_when_its_time_is_up_and_prints_what_it_saw() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0", "--traffic", "50", "--duration", "2"]);
    let output = run(command.env("TMPDIR", temporary.path()));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{error}");
    for part in ["taskboard: http://127.0.0.1:", "What the traffic saw:", "/api/projects/{id}", " requests"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the temporary database is gone");
    let log = lines(&String::from_utf8(output.stdout).unwrap());
    assert!(!log.is_empty());
    for line in log {
        assert!(line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn with_traffic_what_its_users_do_is_in_a_file_with_one_json_line_each() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0", "--traffic", "100", "--duration", "60"]);
    let program = Program::start(command.env("TMPDIR", temporary.path()));
    let shown = until(|| program.stderr().lines().find_map(|line| Some(line.split_once("tail -f ")?.1.to_owned())));
    // Whole lines, once there are some.
    let tracked = until(|| {
        let text = std::fs::read_to_string(&shown).ok()?;
        let (whole, _rest) = text.rsplit_once('\n')?;
        Some(lines(whole)).filter(|lines| lines.len() >= 3)
    });
    assert!(tracked.iter().any(|event| event["type"] == "sign_up"), "{tracked:?}");
    assert!(tracked.iter().all(|event| event["data"]["request_id"].is_string()), "{tracked:?}");
    let ended = program.stop();
    assert!(ended.stdout.contains("events: ndjson"), "the start summary has it: {}", ended.stdout);
    assert!(!std::path::Path::new(&shown).exists(), "it was temporary");

    let kept = temporary.path().join("kept.ndjson");
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0", "--traffic", "50", "--duration", "2", "--events"]).arg(&kept);
    assert_eq!(run(&mut command).status.code(), Some(0));
    assert!(!lines(&std::fs::read_to_string(&kept).unwrap()).is_empty(), "this one stays");
}

#[cfg(unix)]
#[test]
fn both_signals_end_it_gracefully_and_its_temporary_database_goes() {
    for signal in ["-INT", "-TERM"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = example("taskboard");
        command.args(["--listen", "127.0.0.1:0", "--duration", "60"]).env("TMPDIR", temporary.path());
        let program = Program::start(&mut command);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1, "the temporary database");
        let ended = program.stop_by(signal);
        assert_eq!(ended.code, Some(0), "{signal}: {}", ended.stderr);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "{signal}");
    }
}
