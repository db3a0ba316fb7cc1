//! Settings that cannot be used.

use crate::process::{example, run};

/// Ends with 1, after one line that says all of this.
#[track_caller]
fn refused(variable: &str, value: &str, says: &[&str]) {
    let output = run(example("taskboard").args(["--listen", "127.0.0.1:0"]).env(variable, value));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{variable}={value}: {error}");
    assert_eq!(error.lines().count(), 1, "{variable}={value}: {error}");
    assert!(error.starts_with(&format!("taskboard: {variable}")), "{error}");
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
    refused("LOG_LEVEL", "loud", &["\"loud\"", "it may be off, error, warn"]);
    refused("LOG_FORMAT", "xml", &["holds \"xml\"", "`json`"]);
    refused("TRUSTED_PROXIES", "10.0.0.0/8,everybody", &["`10.0.0.0/8", "\"everybody\""]);
    refused("SLOW_REQUEST_MS", "fast", &["holds \"fast\"", "milliseconds"]);
    refused("SLOW_REQUEST_MS", "0", &["from 1"]);
    refused("OTEL_RESOURCE_ATTRIBUTES", "service.name", &["holds \"service.name\"", "`service.version=1.2.3`"]);
}

#[test]
fn a_log_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside = file.path().join("logs");
    let inside = inside.to_str().unwrap();
    refused("LOG_DIR", inside, &[inside, "cannot write logs to the directory", "Not a directory"]);
    // No right to write is no right for root either, where the file system itself has none.
    #[cfg(target_os = "linux")]
    refused("LOG_DIR", "/proc/steeple", &["cannot write logs to the directory /proc/steeple"]);
}
