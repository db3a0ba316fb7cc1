//! Every interval and every time limit is a setting, so that a test can shorten it. The remaining constants are here, with
//! the reason why a setting would not help.
#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Defined by somebody else, or by what it is compared with: to change it would be a mistake.
const DEFINITION: &str = "definition";
/// How often a loop looks again whose whole wait has a setting: it changes nothing that can be seen.
const STEP: &str = "step of a wait that has a setting";
/// The default of a setting that is named beside it.
const DEFAULT: &str = "default";

/// File, name, which of the three, and why or what.
const CONSTANTS: [(&str, &str, &str, &str); 39] = [
    (
        "steeple-alerts/src/engine/mod.rs",
        "MIN_REPEAT",
        DEFINITION,
        "the floor of a setting; more often would not be a reminder",
    ),
    (
        "steeple-core/src/clock.rs",
        "FRESH",
        DEFINITION,
        "how old a pair of clock readings may be; bounds an error, nothing waits",
    ),
    (
        "steeple-core/src/clock.rs",
        "DRIFT",
        DEFINITION,
        "by how much a clock differs that was set and did not drift; nothing waits",
    ),
    (
        "steeple-core/src/clock.rs",
        "BELIEVED",
        DEFINITION,
        "when a clock that was set is taken for right; nothing waits",
    ),
    ("steeple-dashboard/src/data/business.rs", "STEP", DEFINITION, "a day of minutes"),
    ("steeple-dashboard/src/data/real_time.rs", "HOUR", DEFINITION, "the page compares with an hour ago"),
    ("steeple-dashboard/src/data/real_time.rs", "LATELY", DEFINITION, "the page's window: the history's finest tier"),
    ("steeple-dashboard/src/deploys.rs", "KEPT", DEFINITION, "how far back deploys are known; nothing waits"),
    ("steeple-dashboard/src/fleet/backfill.rs", "APART", DEFINITION, "tried again at the start alone, six times"),
    ("steeple-dashboard/src/fleet/mod.rs", "MAX_RANGE", DEFINITION, "the longest range of a chart; nothing waits"),
    ("steeple-dashboard/src/frame.rs", "FRESH", DEFINITION, "the history's shortest step: nothing newer is there"),
    ("steeple-dashboard/src/requests.rs", "KEPT", DEFINITION, "the list is called the slowest of an hour"),
    ("steeple-dashboard/src/requests.rs", "FLOOR", DEFINITION, "requests below it are never slow"),
    ("steeple-dashboard/src/requests.rs", "ACTIVITY_STEP", DEFINITION, "what a person can read"),
    ("steeple-export/src/http/client.rs", "CONNECT_TIMEOUT", DEFAULT, "ClientBuilder::connect_timeout"),
    ("steeple-export/src/http/client.rs", "IDLE_TIMEOUT", DEFAULT, "ClientBuilder::idle_timeout"),
    ("steeple-events/src/sink/mixpanel.rs", "MAX_TRACK_AGE", DEFINITION, "Mixpanel's: `/track` refuses older events"),
    (
        "steeple-export/src/runtime.rs",
        "MEASURE_EVERY",
        DEFINITION,
        "the step of steeple_export_loop_delay_seconds; one thread for all sinks",
    ),
    ("steeple-export/src/store/spool/db.rs", "BUSY", DEFINITION, "a store has one connection; only tools open another"),
    (
        "steeple-export/src/store/spool/writer.rs",
        "REST",
        DEFINITION,
        "when settled rows are removed; delivery does not wait for it",
    ),
    ("steeple-export/src/store/spool/mod.rs", "LOOK_EVERY", STEP, "the timeout of Spool::wait_blocking"),
    (
        "steeple-export/src/secret/mod.rs",
        "REREAD_EVERY",
        DEFINITION,
        "how often a file with rejected credentials is read at most; SIGHUP reads at once",
    ),
    ("steeple-export/src/store/spool/feed.rs", "LOOK_EVERY", STEP, "the flush's deadline, the timeout of a push"),
    ("steeple-log/src/spooled.rs", "ROOM_WITHIN", DEFINITION, "then the log keeps the line and offers it again"),
    ("steeple-log/src/elasticsearch.rs", "DAY", DEFAULT, "HttpOptions::retry"),
    ("steeple-log/src/output.rs", "CENTURY", DEFINITION, "longer than any process lives: keeps a sum from overflowing"),
    (
        "steeple-log/src/sink/file/mod.rs",
        "SKEW",
        DEFINITION,
        "how far the clocks of two machines may differ; nothing waits",
    ),
    ("steeple-log/src/sink/lock.rs", "FIRST_PAUSE", STEP, "TimingOptions::lock_timeout"),
    ("steeple-log/src/sink/lock.rs", "LAST_PAUSE", STEP, "TimingOptions::lock_timeout"),
    (
        "steeple-metrics/src/indicator/history/mod.rs",
        "LONGEST_NAP",
        STEP,
        "the sampling period, which tests replace with their clock",
    ),
    ("steeple-sentry/src/builder.rs", "SESSIONS_EVERY", DEFAULT, "SentryBuilder::session_interval"),
    (
        "steeple-sentry/src/outlet/rate_limit.rs",
        "DEFAULT",
        DEFINITION,
        "Sentry's SDK documentation, rate limiting: 60 s",
    ),
    ("steeple-sentry/src/outlet/rate_limit.rs", "LONGEST", DEFINITION, "Sentry's longest quota is a day"),
    (
        "steeple-trace/src/export/processor.rs",
        "FOREVER",
        DEFINITION,
        "longer than any process lives: keeps a sum from overflowing",
    ),
    ("steeple-trace/src/kept.rs", "SLOWEST_OF", DEFINITION, "the list is of the slowest of an hour"),
    ("steeple-trace/src/newrelic.rs", "APDEX_T", DEFINITION, "New Relic's default Apdex T"),
    ("steeple/src/state.rs", "LOOK_EVERY", STEP, "SteepleBuilder::flush_timeout"),
    (
        "steeple/src/steeple.rs",
        "STDERR_TIMEOUT",
        DEFINITION,
        "the process ends after flush_timeout; its last word may take this long",
    ),
    (
        "steeple-sentry/src/gate.rs",
        "FOREVER",
        DEFINITION,
        "longer than any process lives: keeps a sum from overflowing",
    ),
];

/// The lines of a source file in front of its tests, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_before_tests = true;
    let mut previous = "";
    text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())).filter(move |(_, line)| {
        if line.starts_with("mod test") && previous.starts_with("#[cfg(") && previous.contains("test") {
            is_before_tests = false;
        }
        previous = line;
        is_before_tests && !line.starts_with("//")
    })
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // What only tests use: the testing kit, and receivers that misbehave.
            if !["test_util", "testing"].contains(&name) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["tests.rs", "processes.rs", "scenario.rs"].contains(&name)
        {
            found.push(path);
        }
    }
}

fn is_literal(line: &str) -> bool {
    line.split("Duration::from_").skip(1).any(|rest| {
        rest.split_once('(').is_some_and(|(_, argument)| argument.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[test]
fn every_interval_is_a_setting_or_in_this_table_with_its_reason() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut files = Vec::new();
    sources(&crates, &mut files);
    let mut found = BTreeSet::new();
    let mut bare = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&crates).unwrap().to_str().unwrap();
        if !name.contains("/src/") {
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        for (number, line) in lines(&text) {
            let constant = line.split_once("const ").and_then(|(_, rest)| rest.split_once(": "));
            if let Some((constant, rest)) = constant
                && rest.split([' ', '=']).next().is_some_and(|kind| kind.ends_with("Duration"))
            {
                found.insert((name.to_owned(), constant.to_owned()));
            }
            // A wait whose length stands in the call. Setters, which begin with a dot, have a name for it.
            let waits = ["sleep(", "timeout(", "timeout_while(", "checked_add("];
            if is_literal(line) && !line.starts_with('.') && waits.iter().any(|wait| line.contains(wait)) {
                let is_setter = line.contains(").") && line.contains("Options::");
                if !is_setter {
                    bare.push(format!("{name}:{number}: {line}"));
                }
            }
        }
    }
    assert!(bare.is_empty(), "waits without a name:\n{}", bare.join("\n"));
    let listed = CONSTANTS.iter().map(|(file, name, ..)| (*file, *name));
    let listed: BTreeSet<_> = listed.map(|(file, name)| (file.to_owned(), name.to_owned())).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(new.is_empty(), "make it a setting, or list it here with the reason: {new:#?}");
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "they are not there any more: {gone:#?}");
}

/// A default that is said to have a setting has it.
#[test]
fn each_default_in_the_table_names_a_setting_that_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut files = Vec::new();
    sources(&crates, &mut files);
    let all: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let with_setting = CONSTANTS.iter().filter(|(_, _, kind, what)| *kind == DEFAULT || what.contains("::"));
    for (file, name, _, setting) in with_setting {
        let setting = setting.rsplit(' ').next().unwrap();
        let Some((owner, method)) = setting.split_once("::") else { continue };
        assert!(all.contains(&format!("pub fn {method}(")), "{file} {name}: {setting}");
        assert!(all.contains(&format!("struct {owner}")), "{file} {name}: {setting}");
    }
}
