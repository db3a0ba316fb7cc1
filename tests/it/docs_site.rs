//! The pages of docs/ that no crate's own test reads.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The names of variables in a text, between these marks.
fn names(text: &str, mark: char) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        word.contains('_')
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && !word.ends_with('_')
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    text.split(mark).filter(is_name).map(str::to_owned).collect()
}

/// What the environment may hold: whatever the facade and the crates that it lets read variables name in their code.
fn read_by_the_code() -> BTreeSet<String> {
    const SOURCES: [&str; 4] = ["steeple/src", "steeple-trace/src", "steeple-sentry/src", "steeple-export/src"];
    /// Beginnings of names, names of other things, and the form of a variable that is documented in general.
    const NOT_ALONE: [&str; 5] =
        ["OTEL_BSP", "OTEL_BLRP", "CARGO_PKG_VERSION", "SENTRY_DSN_FILE", "STEEPLE_SPOOL_ABORT"];
    let mut files = Vec::new();
    for source in SOURCES {
        rust_files(&root().join("crates").join(source), &mut files);
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        // What tests make up comes after the code.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        found.extend(names(code, '"'));
    }
    found.retain(|name| !NOT_ALONE.contains(&&**name));
    found
}

#[test]
fn the_page_of_operations_has_every_variable_and_no_other() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (read, shown) = (read_by_the_code(), names(&page, '`'));
    assert!(read.len() > 50, "{read:?}");
    let missing: Vec<_> = read.difference(&shown).collect();
    assert!(missing.is_empty(), "docs/operations.md has no {missing:?}");
    // OpenTelemetry's are put together from a signal and a setting.
    let together = ["OTEL_EXPORTER_OTLP_", "OTEL_BSP_", "OTEL_BLRP_"];
    let is_together = |name: &&String| together.iter().any(|prefix| name.starts_with(prefix));
    let made_up: Vec<_> = shown.difference(&read).filter(|name| !is_together(name)).collect();
    assert!(made_up.is_empty(), "nothing reads {made_up:?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let is_page = name != "SUMMARY.md" && Path::new(&name).extension().is_some_and(|extension| extension == "md");
        assert!(!is_page || summary.contains(&format!("({name})")), "{name}");
    }
}

#[test]
fn every_page_begins_with_what_one_wants_to_do() {
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let path = page.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md")
            || path.ends_with("SUMMARY.md")
            || path.ends_with("soak.md")
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let (title, begin) = (lines.next().unwrap(), lines.find(|line| !line.is_empty()).unwrap());
        assert!(title.starts_with("# ") && begin.starts_with("You "), "{}: {begin}", path.display());
    }
}
