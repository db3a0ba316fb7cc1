//! What keeps the house in order: the facade stays small, and light where nothing is turned on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
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
fn the_default_features_bring_no_http_client_no_tls_and_no_database() {
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
    assert!((20..=97).contains(&crates.len()), "{} crates: {crates:?}", crates.len());
    for name in [
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

/// The public functions of a source with a type of a vendor in their signature: vendor and name.
fn functions_with_vendors(text: &str) -> Vec<(&'static str, String)> {
    let code = code(text);
    // What `use vendor::…;` brings, as types are written.
    let imported = |vendor: &str| -> BTreeSet<String> {
        let uses = code.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
        let of_vendor = uses.filter(|path| path.strip_prefix("::").unwrap_or(path).starts_with(&format!("{vendor}::")));
        let types = of_vendor.flat_map(words).filter(|word| word.starts_with(char::is_uppercase));
        types.map(str::to_owned).collect()
    };
    let signatures: Vec<_> = code
        .split('\n')
        .enumerate()
        .filter(|(_, line)| line.trim_start().starts_with("pub ") && words(line).any(|word| word == "fn"))
        .map(|(at, _)| code.split('\n').skip(at).collect::<Vec<_>>().join("\n"))
        .map(|rest| rest.split(['{', ';']).next().unwrap().to_owned())
        .collect();
    let mut found = Vec::new();
    for vendor in VENDORS {
        let types = imported(vendor);
        for signature in &signatures {
            let full = signature.contains(&format!(" {vendor}::")) || signature.contains(&format!("<{vendor}::"));
            if full || words(signature).any(|word| types.contains(word)) {
                let name = words(signature).skip_while(|word| *word != "fn").nth(1).unwrap();
                found.push((vendor, name.to_owned()));
            }
        }
    }
    found
}

/// What everything else stands on shows no types of vendors; the others show them where the page of versions has it, and nowhere
/// else.
#[test]
fn types_of_vendors_below_1_0_are_where_the_page_of_versions_has_them() {
    let page = std::fs::read_to_string(root().join("docs/versions.md")).unwrap();
    let row = |vendor: &str| {
        let start = format!("| `{}` |", vendor.replace('_', "-"));
        let other = format!("| `{vendor}` |");
        page.lines().find(|line| line.starts_with(&start) || line.starts_with(&other)).unwrap_or_default()
    };
    let mut seen = BTreeSet::new();
    for directory in std::fs::read_dir(root().join("crates")).unwrap() {
        let directory = directory.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        for text in sources(&directory.join("src")) {
            for (vendor, function) in functions_with_vendors(&text) {
                // The name of our own setting is that of rustls' type.
                if (name.as_str(), function.as_str()) == ("steeple-export", "install_default_provider") {
                    continue;
                }
                assert!(
                    !["steeple-core", "steeple-scrub", "steeple-export"].contains(&name.as_str()),
                    "{name}: {function} shows a type of {vendor}"
                );
                let is_listed = words(row(vendor)).any(|word| word == function);
                assert!(is_listed, "docs/versions.md: {vendor}: `{function}` of {name}");
                seen.insert((vendor, function));
            }
        }
    }
    assert!(seen.contains(&("prometheus", "registry".to_owned())) && seen.len() > 10, "{seen:?}");
}

/// Whoever opens a crate's page finds what it is for, the first lines of code, what comes out, its limits and its features.
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
