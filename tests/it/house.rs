//! What keeps the house in order: the facade stays small, and light where nothing is turned on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The texts below a directory.
fn sources(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// One more integration costs a file, and not conditions everywhere. All of them count: those of tests and documentation as well.
#[test]
fn the_facade_has_at_most_25_conditions() {
    let conditions = ["cfg(", "cfg!(", "cfg_attr("];
    let count = sources(&root().join("crates/steeple/src"))
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| conditions.iter().any(|condition| line.contains(condition)))
        .count();
    assert!((1..=25).contains(&count), "{count} conditions");
}

#[test]
fn the_default_features_bring_no_http_2_no_http_client_no_tls_and_no_database() {
    // Another process of Cargo may hold the lock on its cache; it is waited for.
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "-p", "steeple", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| Some(line.split(' ').take(2).collect::<Vec<_>>()).filter(|l| l.len() == 2))
        .collect();
    assert!((20..=88).contains(&crates.len()), "{} crates: {crates:?}", crates.len());
    for name in [
        "h2",
        "rustls",
        "hyper-rustls",
        "ring",
        "aws-lc-rs",
        "ureq",
        "reqwest",
        "rusqlite",
        "libsqlite3-sys",
        "opentelemetry_sdk",
    ] {
        assert!(!crates.iter().any(|found| found[0] == name), "{name}");
    }
}

/// `0.8` of `0.8.9`, `1` of `1.12`: what has to be the same.
fn compatible(version: &str) -> String {
    let mut parts = version.split('.');
    let major = parts.next().unwrap();
    if major == "0" { format!("0.{}", parts.next().unwrap()) } else { major.to_owned() }
}

#[test]
fn the_page_of_versions_has_those_of_the_manifest() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let page = std::fs::read_to_string(root().join("docs/versions.md")).unwrap();
    let mut rows = 0;
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, rest) = row.split_once("` | ").unwrap();
        let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        // The first text in quotes is the version, in both ways to write it.
        let version = line.split('"').nth(1).unwrap();
        assert_eq!(rest.split(" | ").next().unwrap(), compatible(version), "{name}");
        rows += 1;
    }
    assert!(rows > 10, "{rows} rows");
}

/// Crates below 1.0 whose types users of Steeple may have to hand over or get: each minor version breaks them.
const VENDORS: [&str; 11] = [
    "axum",
    "hyper_rustls",
    "opentelemetry",
    "opentelemetry_sdk",
    "prometheus",
    "prost",
    "rusqlite",
    "rustls",
    "sentry_core",
    "tonic",
    "tower_http",
];

/// Without comments and unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The names that `use vendor::…;` brings into a source, as they are written there.
fn imported(code: &str, vendor: &str) -> BTreeSet<String> {
    let uses = code.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
    let of_vendor = uses.filter(|path| path.trim_start_matches("::").starts_with(&format!("{vendor}::")));
    of_vendor
        .flat_map(|path| path.split([',', '{', '}']))
        .filter_map(|path| words(path).last())
        .filter(|name| name.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

/// What a source shows of vendors: its public functions, constants and types by their signatures, and implementations for types
/// of these names by their heads.
fn shown_vendors(text: &str, public: &BTreeSet<String>) -> Vec<(&'static str, String)> {
    let code = code(text);
    let lines: Vec<_> = code.split('\n').collect();
    let is_item =
        |line: &str| ["fn", "type", "const", "static", "use"].iter().any(|item| words(line).any(|w| w == *item));
    let mut heads = Vec::new();
    for (at, line) in lines.iter().map(|line| line.trim_start()).enumerate() {
        let rest = || lines[at..].join("\n");
        let head = |rest: String| rest.split(['{', ';']).next().unwrap().to_owned();
        if line.starts_with("pub use ") {
            let path = rest().split(';').next().unwrap().to_owned();
            let is_ours = ["pub use self::", "pub use crate::"].iter().any(|start| path.starts_with(start));
            heads.extend(Some(path).filter(|_| !is_ours));
        } else if line.starts_with("pub ") && is_item(line) {
            heads.push(head(rest()));
        } else if line.starts_with("pub ") && line.contains(": ") {
            // A field.
            heads.push((*line).to_owned());
        } else if line.starts_with("impl") {
            let head = head(rest());
            let of = head.split(" where").next().unwrap().rsplit(" for ").next().unwrap().to_owned();
            if words(&of).any(|word| public.contains(word)) {
                heads.push(head);
            }
        }
    }
    let mut found = Vec::new();
    for vendor in VENDORS {
        let types = imported(&code, vendor);
        for head in &heads {
            let full = [' ', '<', '(', '&'].iter().any(|before| head.contains(&format!("{before}{vendor}::")));
            if full || words(head).any(|word| types.contains(word)) {
                found.push((vendor, head.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
    }
    found
}

/// The texts below a directory, each with its path from there.
fn sources_by_path(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_by_path(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// A new version of a vendor breaks one module of a crate, which says so by its name; what everything else stands on shows no
/// types of vendors at all. `opentelemetry_sdk` is OpenTelemetry's, `sentry_core` is Sentry's.
#[test]
fn types_of_vendors_below_1_0_are_in_modules_named_after_them() {
    let page = std::fs::read_to_string(root().join("docs/versions.md")).unwrap();
    let mut seen = BTreeSet::new();
    for directory in std::fs::read_dir(root().join("crates")).unwrap() {
        let directory = directory.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let sources = sources_by_path(&directory.join("src"));
        let public: BTreeSet<_> = sources
            .iter()
            .flat_map(|(_, text)| text.lines())
            .filter(|line| ["pub struct ", "pub enum ", "pub trait "].iter().any(|head| line.starts_with(head)))
            .filter_map(|line| words(line).nth(2).map(str::to_owned))
            .collect();
        for (path, text) in &sources {
            for (vendor, head) in shown_vendors(text, &public) {
                let module = path.strip_prefix(root().join("crates")).unwrap().with_extension("");
                let family = vendor.split('_').next().unwrap();
                let is_named_after = words(module.to_str().unwrap()).any(|part| part == vendor || part == family);
                assert!(is_named_after, "{}: of {vendor}: {head}", module.display());
                let is_trait = head.starts_with("impl") && !head.contains(&format!("{vendor}::"));
                assert!(
                    is_trait || !["steeple-core", "steeple-scrub", "steeple-export"].contains(&name.as_str()),
                    "{name} shows a type of {vendor}: {head}"
                );
                seen.insert((name.clone(), vendor));
            }
        }
    }
    // Each is on the page, by its module.
    for (name, vendor) in &seen {
        let rows = [format!("| `{}` |", vendor.replace('_', "-")), format!("| `{vendor}` |")];
        let row = page.lines().find(|line| rows.iter().any(|start| line.starts_with(start))).unwrap_or_default();
        let is_listed = words(row).any(|word| word == name.replace('-', "_")) || row.contains(&format!("`{name}`"));
        assert!(is_listed, "docs/versions.md: {vendor}: `{name}`");
    }
    let expected = ["steeple", "steeple-metrics", "steeple-dashboard"].map(|name| (name.to_owned(), "axum"));
    assert!(expected.iter().all(|pair| seen.contains(pair)), "{seen:?}");
    assert!(seen.contains(&("steeple-metrics".to_owned(), "prometheus")) && seen.len() >= 9, "{seen:?}");
}

/// What the test above finds, and what it leaves alone.
#[test]
fn a_shown_type_of_a_vendor_is_found_in_every_place() {
    let public = BTreeSet::from(["Ours".to_owned()]);
    let shown = |text: &str| shown_vendors(text, &public).into_iter().map(|(vendor, _)| vendor).collect::<Vec<_>>();
    for text in [
        "use axum::Router;\npub fn serve(\n    app: Router,\n) {}",
        "use axum::{Router as Routes};\npub fn serve(app: Routes) {}",
        "pub async fn serve(app: axum::Router) {}",
        "pub fn routes<S>(&self) -> axum::Router<S> {}",
        "pub struct Ours {\n    pub app: axum::Router,\n}",
        "pub type Routes = axum::Router;",
        "pub use axum::Router;",
        "impl From<axum::Router> for Ours {}",
        "use axum::extract::FromRequestParts;\nimpl<S: Sync> FromRequestParts<S> for Ours {}",
        "use axum::serve::Listener;\nimpl<L: Listener> Ours<L> {\n}",
    ] {
        assert_eq!(shown(text), ["axum"], "{text}");
    }
    for text in [
        "use axum::Router;\npub(crate) fn serve(app: Router) {}",
        "use axum::Router;\nfn serve(app: Router) {}",
        "use axum::Router as Theirs;\npub enum Router {}\npub fn serve(app: Router) {}",
        "pub struct Ours(axum::Router);",
        "use axum::extract::FromRequestParts;\nimpl<S: Sync> FromRequestParts<S> for Hidden {}",
        "// pub fn serve(app: axum::Router) {}",
    ] {
        assert!(shown(text).is_empty(), "{text}");
    }
}

/// Everything at the end of a pipeline, by source and type, and the test in which it passes every check of
/// `steeple_export::test_util`: full in items and in bytes, hung, reset, limited, too large, answered in parts, panics in every hook, an
/// exporter that blocks, flushes from everywhere, exact counts.
const PIPELINES: [(&str, &str, &str); 26] = [
    ("steeple-alerts/src/channel/alertmanager.rs", "Posts", "alertmanager_passes_every_check"),
    ("steeple-alerts/src/channel/heartbeat.rs", "Pings", "heartbeats_pass_every_check"),
    ("steeple-alerts/src/channel/mail/mod.rs", "Mails", "mails_pass_every_check"),
    ("steeple-alerts/src/channel/slack.rs", "Messages", "slack_passes_every_check"),
    ("steeple-alerts/src/channel/webhook.rs", "Messages", "webhooks_pass_every_check"),
    ("steeple-cloudwatch/src/put_alarms.rs", "PutAlarm", "alarms_pass_every_check_of_a_pipeline"),
    ("steeple-cloudwatch/src/emf.rs", "Emf", "metrics_in_lines_pass_every_check_of_a_pipeline"),
    ("steeple-cloudwatch/src/logs/ship.rs", "Shipper", "lines_and_their_streams_pass_every_check_of_a_pipeline"),
    ("steeple-cloudwatch/src/logs/ship.rs", "Put", "lines_pass_every_check_of_a_pipeline"),
    ("steeple-cloudwatch/src/metrics.rs", "Put", "metrics_pass_every_check_of_a_pipeline"),
    ("steeple-events/src/sink/elasticsearch.rs", "Documents", "elasticsearch_passes_every_check"),
    ("steeple-events/src/sink/erasures.rs", "Erasures", "erasures_pass_every_check"),
    ("steeple-events/src/sink/ga4.rs", "Collect", "google_analytics_passes_every_check"),
    ("steeple-events/src/sink/mixpanel.rs", "Import", "mixpanel_passes_every_check"),
    ("steeple-events/src/sink/ndjson.rs", "Lines", "lines_in_a_file_pass_every_check"),
    ("steeple-events/src/sink/newrelic.rs", "EventApi", "new_relic_passes_every_check"),
    ("steeple-events/src/sink/people.rs", "Engage", "profiles_at_mixpanel_pass_every_check"),
    ("steeple-events/src/sink/webhook.rs", "Messages", "webhooks_pass_every_check"),
    ("steeple-log/src/elasticsearch.rs", "Documents", "lines_pass_every_check_of_a_pipeline"),
    ("steeple-log/src/elasticsearch.rs", "Template", "templates_pass_every_check_of_a_pipeline"),
    ("steeple-metrics/src/push/protocol.rs", "PushProtocol", "pushes_to_a_gateway_pass_every_check"),
    ("steeple-sentry/src/outlet/http.rs", "Envelopes", "envelopes_pass_every_check"),
    ("steeple-sentry/src/outlet/mod.rs", "HandOver", "envelopes_to_another_transport_pass_every_check"),
    ("steeple-trace/src/export/exporter.rs", "OfSdk", "spans_to_an_exporter_of_the_sdk_pass_every_check"),
    ("steeple-trace/src/export/spans.rs", "Spans", "spans_pass_every_check"),
    ("steeple-trace/src/logs/record.rs", "Records", "log_records_pass_every_check"),
];

/// Parts of pipelines, and their reasons.
const PARTS: [(&str, &str, &str); 4] = [
    ("steeple-cloudwatch/src/logs/ship.rs", "SetUp", "calls of `Shipper`, which retries them"),
    ("steeple-events/src/settling.rs", "Settling", "around the exporter of each sink"),
    ("steeple-export/src/http/exporter.rs", "Http", "what every protocol is checked with"),
    ("steeple/src/integrations/events/testing.rs", "InMemory", "the recorder of `steeple::testing`: it sends nothing"),
];

/// The types that implement `Protocol` or `Exporter` in a source, without tests.
fn ends_of_pipelines(text: &str) -> Vec<String> {
    let is_end = |of: &str| words(of).last().is_some_and(|word| ["Protocol", "Exporter"].contains(&word));
    let code = code(text);
    let heads = code.lines().filter(|line| line.starts_with("impl")).filter_map(|head| head.split_once(" for "));
    heads.filter(|(of, _)| is_end(of)).filter_map(|(_, name)| words(name).next().map(str::to_owned)).collect()
}

#[test]
fn every_pipeline_passes_every_check() {
    let crates = root().join("crates");
    let mut found = BTreeSet::new();
    let mut tests = BTreeMap::<String, BTreeSet<String>>::new();
    for (path, text) in sources_by_path(&crates) {
        let path = path.strip_prefix(&crates).unwrap().to_str().unwrap().to_owned();
        let (name, rest) = path.split_once('/').unwrap();
        if text.contains("check_all(") || text.contains("check_exporter(") {
            let functions = text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
            tests.entry(name.to_owned()).or_default().extend(functions.map(|(function, _)| function.to_owned()));
        }
        let is_test = rest.starts_with("tests/") || rest.starts_with("examples/") || rest.starts_with("src/test_util/");
        if !is_test {
            found.extend(ends_of_pipelines(&text).into_iter().map(|end| (path.clone(), end)));
        }
    }
    let listed: BTreeSet<_> =
        PIPELINES.iter().chain(&PARTS).map(|(path, end, _)| ((*path).to_owned(), (*end).to_owned())).collect();
    assert_eq!(found, listed, "each has its test, or its reason");
    for (path, end, test) in PIPELINES {
        let of_crate = &tests[path.split('/').next().unwrap()];
        assert!(of_crate.contains(test), "{path}: {end}: no test `{test}`");
    }
}

/// A crate's page has its purpose, the first lines of code, real output, its limits and its features.
#[test]
fn every_crates_page_has_its_purpose_first_lines_output_limits_and_features() {
    for directory in std::fs::read_dir(root().join("crates")).unwrap() {
        let path = directory.unwrap().path().join("README.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let shown = path.display();
        let code = page.find("```rust").unwrap_or_else(|| panic!("{shown}: no code"));
        let purpose = page[..code].lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
        assert!(purpose.len() > 40, "{shown}: {purpose}");
        // Within what a screen shows first.
        assert!(page[..code].lines().count() < 20, "{shown}: its code comes late");
        // A real line, series, event or table of results.
        let rest = &page[code..];
        let has_output = ["```text", "```json", "![", "assert_eq!", "| --- |"].iter().any(|mark| rest.contains(mark));
        assert!(has_output, "{shown}: nothing that comes out");
        for heading in ["Limits", "Features"] {
            let found =
                page.lines().any(|line| line.trim_start_matches('#').trim() == heading && line.starts_with('#'));
            assert!(found, "{shown}: no `{heading}`");
        }
        let lib = std::fs::read_to_string(path.with_file_name("src").join("lib.rs")).unwrap();
        assert!(lib.contains("include_str!(\"../README.md\")") || lib.starts_with("//!"), "{shown}: not on docs.rs");
    }
}

/// What a registry shows of a crate, and what a user's own tools look for.
#[test]
fn every_published_crate_names_its_licence_pages_and_compiler() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("rust-version = \"1.89\""));
    for directory in std::fs::read_dir(root().join("crates")).unwrap() {
        let directory = directory.unwrap().path();
        let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap();
        for key in ["description", "license", "rust-version", "repository", "homepage", "documentation"] {
            let is_set = manifest
                .lines()
                .any(|line| line.starts_with(&format!("{key} = ")) || line.starts_with(&format!("{key}.workspace")));
            assert!(is_set, "{}: no `{key}`", directory.display());
        }
        for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(std::fs::metadata(directory.join(file)).unwrap().len() > 500, "{}: {file}", directory.display());
        }
    }
}
