//! The one test that sets up the log of a whole process.

use std::{fs, time::Duration};

use steeple_log::Log;

#[test]
fn one_call_sets_up_the_process_and_a_second_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = || {
        let options = Log::builder().service_name("shop").without_console().directory(directory.path());
        options.level("info,quiet=error")
    };
    let guard = options().init().unwrap();
    tracing::info!("ready");
    // Libraries that know `log` alone are heard too, by the same filter, and their lines are like any others.
    log::warn!(target: "driver::pool", "connected with password=hunter2hunter2");
    log::warn!(target: "quiet", "unheard");
    log::debug!(target: "driver::pool", "unheard");
    log::error!(target: "Bearer 0123456789abcdef0123456789abcdef", "whose target is put together at run time");
    assert_eq!(log::max_level(), log::LevelFilter::Info, "a disabled record costs a comparison");
    assert!(guard.flush(Duration::from_secs(10)));
    let text = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    assert!(text.contains(r#""message":"ready","target":"global","service.name":"shop"}"#), "{text}");
    let warning = text.lines().find(|line| line.contains("driver::pool")).unwrap();
    assert!(warning.contains(r#""level":"warn""#) && warning.contains(r#""target":"driver::pool","#), "{warning}");
    assert!(warning.contains("connected with") && !warning.contains("hunter2"), "{warning}");
    assert!(!text.contains("log.") && !text.contains("unheard") && !text.contains("0123456789abcdef"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(guard.dropped(), 0);

    // For a while another level: records of `log` follow it as well, and it ends by itself.
    let handle = guard.handle();
    handle.override_level("debug", Duration::from_secs(600)).unwrap();
    log::debug!(target: "driver::pool", "heard meanwhile");
    tracing::debug!("heard meanwhile as well");
    handle.override_level("error", Duration::from_millis(1)).unwrap();
    while handle.level().is_overridden() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(log::max_level(), log::LevelFilter::Info);
    log::debug!(target: "driver::pool", "unheard");
    tracing::debug!("unheard");
    assert!(guard.flush(Duration::from_secs(10)));
    let text = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    assert_eq!(text.matches("heard meanwhile").count(), 2, "{text}");
    assert!(!text.contains("unheard"), "{text}");
    let error = options().init().unwrap_err();
    assert!(error.is_taken(), "{error}");
}
