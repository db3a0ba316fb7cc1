//! Settings that cannot be used.

use std::net::TcpListener;

use crate::process::{Program, example, run};

/// Ends with 1, after one line that says all of this.
#[track_caller]
fn refused(variable: &str, value: &str, says: &[&str]) {
    let output = run(example("taskboard").args(["--listen", "127.0.0.1:0"]).env(variable, value));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{variable}={value}: {error}");
    assert_eq!(error.lines().count(), 1, "{variable}={value}: {error}");
    let rest = error.strip_prefix("taskboard: ").unwrap();
    let named = rest.strip_prefix("cannot set up traces: invalid ").unwrap_or(rest);
    assert!(named.starts_with(variable), "{error}");
    for part in says {
        assert!(error.contains(part), "{variable}={value}: no {part:?} in {error}");
    }
    for part in ["panicked", "backtrace", "Kind::", "Os {", "Error("] {
        assert!(!error.contains(part), "{variable}={value}: {error}");
    }
    assert_eq!(output.stdout, b"", "{variable}={value}");
}

#[test]
fn a_variable_that_cannot_be_used_is_named_with_what_it_holds_and_may_hold() {
    refused("LOG_LEVEL", "loud", &["\"loud\"", "use off, error, warn"]);
    refused("LOG_FORMAT", "xml", &["holds \"xml\"", "`json`"]);
    refused("TRUSTED_PROXIES", "10.0.0.0/8,everybody", &["`10.0.0.0/8", "\"everybody\""]);
    refused("SLOW_REQUEST_MS", "fast", &["holds \"fast\"", "milliseconds"]);
    refused("SLOW_REQUEST_MS", "0", &["from 1"]);
    refused("OTEL_RESOURCE_ATTRIBUTES", "service.name", &["item 1", "`service.version=1.2.3`"]);
    refused("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense", &["\"nonsense\"", "expected a URL such as `http://"]);
    refused("OTEL_TRACES_EXPORTER", "zipkin", &["\"zipkin\"", "expected `otlp` or `none`"]);
    refused("SENTRY_DSN", "nonsense", &["an invalid value", "it may hold `https://<key>@<host>/<project>`"]);
}

#[test]
fn a_log_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside = file.path().join("logs");
    let inside = inside.to_str().unwrap();
    refused("LOG_DIR", inside, &[inside, "cannot write logs to the directory", "Not a directory"]);
    // On a read-only file system, root cannot write either.
    #[cfg(target_os = "linux")]
    refused("LOG_DIR", "/proc/steeple", &["cannot write logs to the directory /proc/steeple"]);
}

#[cfg(unix)]
#[test]
fn a_non_utf8_key_is_named_and_not_shown() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    for variable in ["NEW_RELIC_LICENSE_KEY", "SENTRY_DSN"] {
        let value = OsStr::from_bytes(b"s3cr3t\xff");
        let output = run(example("taskboard").args(["--listen", "127.0.0.1:0"]).env(variable, value));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error, format!("taskboard: {variable} has an invalid value; it may hold text in UTF-8\n"));
    }
}

#[test]
fn undelivered_spans_are_logged_at_the_end() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = example("taskboard");
    let receiver = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{nobody}/v1/traces")),
        ("OTEL_BSP_EXPORT_TIMEOUT", "100".to_owned()),
    ];
    let program = Program::start(command.args(["--listen", "127.0.0.1:0"]).envs(receiver));
    for project in 1..=3 {
        assert_eq!(program.get(&format!("/api/projects/{project}")).status, 404);
    }
    let lines = program.stop().lines();
    let told = lines.iter().find(|line| line["message"] == "not everything was delivered");
    let told = told.unwrap_or_else(|| panic!("{lines:?}"));
    // Each request's own, and one of its query.
    assert_eq!((&told["level"], &told["dropped"], &told["left"]), (&"warn".into(), &6.into(), &0.into()), "{told}");
}
