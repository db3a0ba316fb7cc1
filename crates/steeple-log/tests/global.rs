//! The one test that sets up the log of a whole process.

use std::{fs, time::Duration};

use steeple_log::{Logging, init};

#[test]
fn one_call_sets_up_the_process_and_a_second_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Logging::new().service_name("shop").without_console().directory(directory.path());
    let guard = init(options()).unwrap();
    tracing::info!("ready");
    assert!(guard.flush(Duration::from_secs(10)));
    let text = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    assert!(text.contains(r#""message":"ready","target":"global","service.name":"shop"}"#), "{text}");
    assert_eq!(guard.dropped(), 0);
    let error = init(options()).unwrap_err();
    assert!(error.is_taken(), "{error}");
}
