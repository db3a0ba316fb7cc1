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

/// Vendors below 1.0 change often: what everything else stands on shows none of their types.
#[test]
fn functions_of_core_scrub_and_export_show_no_types_of_vendors() {
    for name in ["steeple-core", "steeple-scrub", "steeple-export"] {
        for text in sources(&root().join("crates").join(name).join("src")) {
            for line in text.lines().filter(|line| line.trim_start().starts_with("pub fn ")) {
                let vendors =
                    ["axum", "tonic", "rustls", "hyper", "opentelemetry", "prometheus", "sentry", "CryptoProvider>"];
                assert!(!vendors.iter().any(|vendor| line.contains(vendor)), "{name}: {line}");
            }
        }
    }
}
