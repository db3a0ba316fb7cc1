//! What survives a deploy, through the facade.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use steeple::Steeple;

fn start(directory: &Path, version: &str) -> Steeple {
    let builder = Steeple::builder().without_log_setup().service_name("shop").service_version(version);
    builder.environment("production").state_directory(directory).build().unwrap()
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_days_totals_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    for total in [2.0, 4.0] {
        let steeple = start(&path, "1.8.2");
        let payments = steeple.metrics().counter("payments_total", "Payments.", ["result"]).unwrap();
        payments.add(["failed"], 2);
        let today = steeple.metrics().today();
        // A day that ends between the two begins anew.
        let found = today.total("payments_total", &[("result", "failed")]);
        assert!([2.0, total].contains(&found), "{found}");
        assert!(steeple.close().is_complete());
        assert_eq!(files(&path), ["shop.production.1.lock", "shop.production.1.state"]);
    }
}

#[test]
fn the_last_state_is_saved_after_all_sinks_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let steeple = start(directory.path(), "1");
    let saved = || fs::read(directory.path().join("shop.production.1.state")).unwrap();
    let first = saved();
    assert!(steeple.flush().is_complete());
    assert_ne!(first, saved(), "a flush saves as well");
    assert!(steeple.close().is_complete());
    let last = saved();
    drop(steeple);
    assert_eq!(last, saved());
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error_with_the_variables_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Steeple::builder().without_log_setup().state_directory(file.path()).build().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.variable(), Some("STEEPLE_STATE_DIR"));
    assert!(text.contains("STEEPLE_STATE_DIR") && text.contains(file.path().to_str().unwrap()), "{text}");
}
