//! `docs/functions.md`: each call that the page names is one that compiles.

use std::{collections::BTreeSet, fs, io, path::Path, time::Duration};

use steeple::{
    Exchange, Steeple, SteepleBuilder, User,
    core::{Operation, RouteOptions},
    events::preset::UserLogin,
    metrics::{Buckets, CacheResult, Metrics},
    sentry::{Breadcrumb, ErrorContext, Level},
};

/// The calls, as an application has them. What the page names and this does not is not there.
async fn calls(steeple: &Steeple, exchange: &Exchange, metrics: &Metrics) -> Result<(), Box<dyn std::error::Error>> {
    let error = io::Error::other("disk full");
    let (key, value, text) = ("plan", "pro", "odd");
    let (category, name, duration) = ("Checkout", "place order", Duration::from_millis(3));

    steeple.job("nightly import").with(Operation("import")).run(async {}).await;
    exchange.set_name(name);
    exchange.set_name_in(category, name);
    exchange.set_user(User::new("u-42"));
    exchange.set_attribute(key, value);
    exchange.record_error(&error);

    steeple::sentry::capture_error_with(&error, ErrorContext::new().tag(key, value).extra(key, value));
    steeple::sentry::capture_message(text, Level::Warning);
    steeple::sentry::breadcrumb(category, name);
    let (ty, level, data) = ("http".to_owned(), Level::Warning, [("attempt".to_owned(), 3.into())].into());
    steeple::sentry::add_breadcrumb(Breadcrumb { ty, level, data, ..Breadcrumb::default() });
    steeple::sentry::set_tag(key, value);

    metrics.record_metric("queue_depth", 3.0)?;
    metrics.gauge("seats", "Seats.", ["plan"])?.set([value], 1.0);
    metrics.counter("exports_total", "Exports.", ["plan"])?.inc([value]);
    metrics.database().record("select", "users", duration);
    drop(metrics.database().start("select", "users"));
    metrics.cache().record("get", CacheResult::Hit, duration);
    metrics.cache().start("get").hit();
    metrics.set_active_users(7);
    assert_eq!(metrics.values().get("queue_depth"), Some(&3.0));
    assert!(metrics.reading().routes.is_empty() && !metrics.render(None, None).body.is_empty());

    steeple::log::log_error(&error);
    steeple::log::log_error_with(&error, [("attempt", 3_i64.into())]);
    steeple::log::log_event("order.placed", [("plan", value.into())]);

    let event = UserLogin { method: "password" };
    steeple.events().track(event);
    Ok(())
}

/// And those of `main`.
fn settings(builder: SteepleBuilder) -> SteepleBuilder {
    builder
        .apdex(Duration::from_millis(500))
        .route("POST /exports", RouteOptions::new().apdex(Duration::from_secs(5)))
        .metrics(|metrics| metrics.buckets(Buckets::coarse()).active_users_alias("active_users_total"))
        .sentry(|sentry| sentry.tag_attribute("plan"))
}

#[tokio::test]
async fn every_call_does_what_the_page_says() {
    let recorder = steeple::testing::Recorder::with(settings).unwrap();
    drop(steeple::testing::Recorder::new());
    let steeple = recorder.steeple();
    calls(steeple, &Exchange::detached(), steeple.metrics()).await.unwrap();
    let names: Vec<_> = recorder.lines().iter().map(|line| line.message().to_owned()).collect();
    for message in ["nightly import completed", "disk full", "order.placed"] {
        assert!(names.iter().any(|name| name == message), "{message} is not among {names:?}");
    }
    assert_eq!(recorder.metric("active_users_total", &[]), Some(7.0));
    assert_eq!(recorder.events().len(), 1);
}

/// The names in front of a parenthesis.
fn called(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ends = text.match_indices('(').map(|(at, _)| text[..at].rsplit(|c| !is_name(c)).next().unwrap_or_default());
    ends.filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_function_that_the_page_names_is_called_here() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/functions.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `") || line.starts_with("| buckets")).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let here = called(include_str!("functions.rs"));
    for row in rows {
        let ours = row.splitn(3, '|').nth(2).unwrap().trim_start_matches(|c| c != '|');
        let missing: Vec<_> = called(ours).into_iter().filter(|name| !here.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?} of {row}");
    }
}
