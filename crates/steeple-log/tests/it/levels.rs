//! The level, for a while another one.

use std::{thread, time::Duration};

use steeple_log::{Format, Log};
use tracing::subscriber::with_default;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Book, Client, get, send};

const LONG: Duration = Duration::from_secs(600);

fn messages(book: &Book) -> Vec<String> {
    book.lines().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn another_level_is_in_force_until_it_is_cleared_and_both_are_shown() {
    let book = Book::with(Log::builder().level("info,quiet=error"), Format::Json);
    let handle = book.guard.handle();
    with_default(Registry::default().with(book.guard.layer()), || {
        let log = || {
            tracing::debug!("debug");
            tracing::info!("info");
            tracing::warn!(target: "quiet", "quiet");
        };
        log();
        let level = handle.override_level("warn, it::levels=debug", LONG).unwrap();
        assert_eq!((level.directives(), level.configured()), ("warn,it::levels=debug", "info,quiet=error"));
        assert!(level.is_overridden() && level.remaining().unwrap() <= LONG && level.until().unwrap() > LONG);
        log();
        // One replaces the other.
        handle.override_level("off", LONG).unwrap();
        log();
        assert!(handle.clear_level_override());
        assert!(!handle.clear_level_override(), "once");
        log();
    });
    assert_eq!(
        messages(&book),
        [
            "info",
            "the log level is warn,it::levels=debug for 600s, then info,quiet=error again",
            "debug",
            "info",
            "quiet",
            "the log level is off for 600s, then info,quiet=error again",
            "the log level is info,quiet=error again",
            "info",
        ]
    );
    let line = &book.lines()[1];
    assert_eq!((&line["log_level"], &line["seconds"]), (&"warn,it::levels=debug".into(), &600.into()));
    assert_eq!((&line["target"], &line["level"]), (&"steeple::log".into(), &"info".into()));
    let level = handle.level();
    assert_eq!((level.directives(), level.until(), level.remaining()), ("info,quiet=error", None, None));
    assert_eq!(handle.level_overrides(), 2);
}

#[test]
fn an_override_ends_by_itself_when_nothing_is_logged() {
    let book = Book::with(Log::builder().level("warn"), Format::Json);
    let handle = book.guard.handle();
    handle.override_level("trace", LONG).unwrap();
    // The thread that waited for the end of the first waits for that of the second.
    handle.override_level("debug", Duration::from_millis(20)).unwrap();
    while handle.level().is_overridden() {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(messages(&book).last().unwrap(), "the log level is warn again");
    with_default(Registry::default().with(book.guard.layer()), || tracing::info!("unheard"));
    assert_eq!(book.lines().len(), 3);
    // And again, with a new thread.
    handle.override_level("info", Duration::from_millis(1)).unwrap();
    while handle.level().is_overridden() {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(book.lines().len(), 5);
}

#[tokio::test]
async fn lines_of_exchanges_follow_the_level() {
    let book = Book::with(Log::builder().level("warn"), Format::Json);
    let layer = book.guard.log().layer();
    send(&layer, get("/status/200"), Client::ToTheEnd).await;
    assert!(book.lines().is_empty());
    book.guard.handle().override_level("info", LONG).unwrap();
    send(&layer, get("/status/200"), Client::ToTheEnd).await;
    book.guard.handle().override_level("off", LONG).unwrap();
    send(&layer, get("/status/500"), Client::ToTheEnd).await;
    book.guard.handle().clear_level_override();
    send(&layer, get("/status/200"), Client::ToTheEnd).await;
    send(&layer, get("/status/500"), Client::ToTheEnd).await;
    let lines = book.lines();
    let statuses: Vec<_> = lines.iter().filter_map(|line| line["http.response.status_code"].as_u64()).collect();
    assert_eq!(statuses, [200, 500]);
}

#[test]
fn spans_are_known_to_both_filters() {
    let book = Book::with(Log::builder().filter("warn,[configured]=info"), Format::Json);
    let handle = book.guard.handle();
    with_default(Registry::default().with(book.guard.layer()), || {
        let configured = tracing::error_span!("configured").entered();
        tracing::info!("by the span of the filter");
        handle.override_level("error,[meanwhile]=debug", LONG).unwrap();
        tracing::info!("unheard");
        tracing::error_span!("meanwhile").in_scope(|| tracing::debug!("by the span of the override"));
        let _other = tracing::error_span!("configured").entered();
        handle.clear_level_override();
        tracing::info!("by the span that is still open");
        drop(configured);
    });
    let lines = messages(&book);
    let heard: Vec<_> = lines.iter().filter(|line| line.starts_with("by")).collect();
    assert_eq!(heard, ["by the span of the filter", "by the span of the override", "by the span that is still open"]);
    assert_eq!(lines.len(), 5, "{lines:?}");
}

#[test]
fn what_cannot_be_is_rejected_with_its_name_and_changes_nothing() {
    let book = Book::with(Log::builder().longest_override(Duration::from_secs(60)), Format::Json);
    let handle = book.guard.handle();
    let minute = Duration::from_secs(60);
    for (directives, named) in [("loud", "`loud`"), ("info,hyper=loud", "`loud`"), ("", "empty"), ("in fo", "`in fo`")]
    {
        let error = handle.override_level(directives, minute).unwrap_err();
        assert!(error.is_filter() && error.to_string().contains(named), "{error}");
    }
    let error = handle.override_level(&"a".repeat(2_000), minute).unwrap_err();
    assert!(error.is_filter() && error.to_string().len() < 200, "{error}");
    for duration in [Duration::ZERO, Duration::from_secs(61), Duration::MAX] {
        let error = handle.override_level("debug", duration).unwrap_err();
        assert!(error.is_duration() && error.to_string().contains("at most 60s"), "{error}");
    }
    assert!(book.lines().is_empty() && !handle.level().is_overridden());
    assert_eq!(handle.level_overrides(), 0);
    handle.override_level("debug", minute).unwrap();
    drop(book);
    let error = handle.override_level("debug", minute).unwrap_err();
    assert!(error.is_closed(), "{error}");
}
