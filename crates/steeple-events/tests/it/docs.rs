//! `docs/events.md` says what the events are called.

use std::time::Duration;

use serde::Serialize;
use steeple_events::{
    Event,
    preset::{
        ApiResponse, CacheOperation, Conversion, DatabaseQuery, FeatureUsed, Generic, JourneyStep, PageView, Payment,
        ProjectCreated, Revenue, TaskCompleted, UserLogin, UserRegistration,
    },
};

fn cells(page: &str) -> Vec<Vec<String>> {
    let table = page.split_once("\n## What to call\n").unwrap().1.split_once("\n\n## ").map_or("", |(table, _)| table);
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The row that tracks this event says what it is called, and which parameters it has.
fn check<E: Event + Serialize>(rows: &[Vec<String>], kind: &str, event: &E) {
    let found =
        rows.iter().find(|row| row[1].contains(&format!("({kind} {{")) || row[1].contains(&format!(" {kind} {{")));
    let row = found.or_else(|| rows.iter().find(|row| row[5] == format!("`{kind}`"))).unwrap();
    assert_eq!(row[3], format!("`{}`", E::MIXPANEL), "{kind}");
    assert_eq!(row[4], format!("`{}`", E::GA4), "{kind}");
    assert_eq!(row[5], format!("`{}`", E::NEW_RELIC), "{kind}");
    let value = serde_json::to_value(event).unwrap();
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(|name| format!("`{name}`")).collect();
    let mut documented: Vec<_> = row[6].split(", ").map(str::to_owned).collect();
    names.sort();
    documented.sort();
    assert_eq!(documented, names, "{kind}");
    if let Some((counter, _)) = event.counter() {
        assert!(row[2].starts_with(&format!("`{}", counter.name)), "{kind}: {}", row[2]);
    }
}

#[test]
fn the_table_of_calls_has_each_presets_names_and_parameters() {
    let rows = cells(include_str!("../data/events.md"));
    assert_eq!(rows.len(), 15, "{rows:?}");
    check(&rows, "UserRegistration", &UserRegistration { source: "ads" });
    check(&rows, "UserLogin", &UserLogin { method: "password" });
    check(&rows, "ProjectCreated", &ProjectCreated { kind: "team" });
    check(&rows, "TaskCompleted", &TaskCompleted { duration: Some(Duration::from_secs(1)) });
    check(&rows, "FeatureUsed", &FeatureUsed { feature: "export" });
    check(&rows, "JourneyStep", &JourneyStep { journey: "trial", step: "invited" });
    check(&rows, "Conversion", &Conversion { from: "trial", to: "pro", value: Some(1.0) });
    check(&rows, "Revenue", &Revenue { minor_units: 1, currency: "EUR", transaction_id: "t" });
    check(&rows, "Payment", &Payment { failed: false, minor_units: 1, currency: "EUR" });
    check(&rows, "PageView", &PageView { location: "/", title: Some("t") });
    check(&rows, "Generic", &Generic { category: "c", action: "a", label: Some("l"), value: Some(1.0) });
    check(&rows, "ApiResponse", &ApiResponse { method: "GET", path: Some("/"), status: 200, duration_ms: 1.0 });
    let query = DatabaseQuery { operation: "select", table: "users", duration_ms: 1.0, failed: Some(false) };
    check(&rows, "DatabaseQuery", &query);
    check(&rows, "CacheOperation", &CacheOperation { operation: "get", result: "hit" });
}
