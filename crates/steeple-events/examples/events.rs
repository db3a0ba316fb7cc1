//! Events of a service without Axum: a preset, one of a team's own, and one that must not be lost.
//!
//! `cargo run -p steeple-events --example events --features ndjson,outbox -- /tmp/events`

#![expect(clippy::print_stdout, clippy::arithmetic_side_effects, reason = "an example")]

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use steeple_core::{Exchange, User};
use steeple_events::{
    Events, Service, event,
    preset::{Revenue, UserRegistration},
    sink::Ndjson,
};
use steeple_export::shutdown_all;

/// Somebody exported a report.
#[derive(Serialize)]
struct ReportExported<'a> {
    format: &'a str,
    rows: u64,
}

event!(ReportExported<'_>: "report_exported", mixpanel = "Report Exported");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "events".to_owned()));
    let file = directory.with_extension("ndjson");
    let events = Events::builder()
        .service(Service::new("shop").version("1.2.3"))
        .directory(&directory)
        .sink(Ndjson::new(&file))
        .build()?;

    // A job is an exchange as well: its events have its user.
    let job = Exchange::detached();
    job.set_user(User::new("u-42"));
    job.in_scope(|| {
        events.track(UserRegistration { source: "ads" });
        events.track(ReportExported { format: "pdf", rows: 12 });
    });
    // From here on, not even `kill -9` loses it.
    let paid = events.track(Revenue { minor_units: 1_250, currency: "EUR", transaction_id: "t-1" });
    paid.stored().await?;

    let sinks = events.sinks();
    let deadline = steeple_core::clock::now() + Duration::from_secs(5);
    tokio::task::spawn_blocking(move || shutdown_all(&sinks, deadline)).await?;
    println!("{}", std::fs::read_to_string(file)?);
    Ok(())
}
