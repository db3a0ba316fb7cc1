//! What the facade adds to `/metrics` is what `docs/metrics.md` says: alone in its process, because it sets up the log.
#![cfg(all(feature = "sentry", feature = "trace"))]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use steeple::{Steeple, sentry::DropReason, trace::Otlp};

/// Of each family: kind, labels, meaning.
type Families = BTreeMap<String, (String, BTreeSet<String>, String)>;

fn printed(page: &str) -> Families {
    let mut families = Families::new();
    for line in page.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, meaning] => meaning.clone_into(&mut families.entry(name.to_owned()).or_default().2),
            ["#", "TYPE", name, kind] => kind.clone_into(&mut families.entry(name.to_owned()).or_default().0),
            [series, _value] => {
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels =
                    labels.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label.to_owned());
                families.entry(name.to_owned()).or_default().1.extend(labels);
            }
            _ => (),
        }
    }
    families
}

fn documented(page: &str) -> Families {
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels = cells[2].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (cells[0].clone(), (cells[1].clone(), labels, cells[4].clone()))
    };
    page.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[tokio::test]
async fn what_jobs_count_is_documented_as_it_is_printed() {
    let recorder = steeple::testing::Recorder::new();
    recorder.steeple().job("import").run(async {}).await;
    let mut printed = printed(str::from_utf8(&recorder.steeple().metrics().render(None, None).body).unwrap());
    printed.retain(|name, _| name.starts_with("job_"));
    // The samples of a histogram.
    printed.retain(|_, (kind, _, _)| !kind.is_empty());
    printed.get_mut("job_duration_seconds").unwrap().1.insert("job".to_owned());
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/metrics.md")).unwrap();
    let section = page.split_once("\n## Jobs\n").unwrap().1.split_once("\n## ").unwrap().0;
    assert_eq!(printed, documented(section));
}

#[test]
fn the_facades_own_counters_are_documented_as_they_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    let steeple = Steeple::builder()
        .log_directory(directory.path())
        .state_directory(directory.path().join("state"))
        .sentry(|sentry| sentry.dsn("http://public@127.0.0.1:9/1"))
        .traces(|traces| traces.otlp(Otlp::new()));
    #[cfg(feature = "cloudwatch")]
    let steeple = steeple.cloudwatch(|aws| {
        let keys = steeple::cloudwatch::Credentials::new("AKIA", "secret");
        aws.namespace("shop").aws_region("eu-central-1").endpoint("http://127.0.0.1:9").credentials(keys)
    });
    let steeple = steeple.build().unwrap();
    let printed = printed(str::from_utf8(&steeple.metrics().render(None, None).body).unwrap());
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/metrics.md")).unwrap();
    let (elsewhere, section) = page.split_once("\n## What Steeple loses\n").unwrap();
    let (section, elsewhere_too) = section.split_once("\n## ").unwrap();
    let sinks = page.split_once("\n## What sinks count\n").unwrap().1.split_once("\n## ").unwrap().0;
    let own: Families = printed
        .into_iter()
        .filter(|(name, _)| name.starts_with("steeple_") && !name.starts_with("steeple_metrics_"))
        .collect();
    let mut documented = documented(&format!("{section}\n{sinks}"));
    documented.retain(|name, _| match name.split('_').nth(1) {
        Some("cloudwatch") => cfg!(feature = "cloudwatch"),
        // Without a sink, nothing is counted by sink.
        Some("events") => {
            let always = ["steeple_events_tracked_total", "steeple_events_rejected_total"];
            cfg!(feature = "events") && always.contains(&name.as_str())
        }
        // Off without a channel.
        Some("alerts") => false,
        _ => true,
    });
    assert_eq!(own, documented);
    assert!(!elsewhere.contains("`steeple_log") && !elsewhere_too.contains("`steeple_log"));
    for reason in DropReason::ALL {
        assert!(section.contains(&format!("`{}`", reason.as_str())), "{reason:?}");
    }
}
