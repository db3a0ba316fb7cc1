//! A parser that takes the two text formats by the letter and panics at the first thing that is not in it.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    pub exemplar: Option<(BTreeMap<String, String>, f64)>,
}

#[derive(Clone, Debug)]
pub struct Family {
    pub name: String,
    pub kind: String,
    pub unit: Option<String>,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// Parses text 0.0.4.
pub fn classic(text: &str) -> Vec<Family> {
    parse(text, false)
}

/// Parses OpenMetrics 1.0.
pub fn openmetrics(text: &str) -> Vec<Family> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    assert!(!body.contains("# EOF\n"), "only once");
    parse(body, true)
}

fn parse(text: &str, om: bool) -> Vec<Family> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line ends");
    assert!(!text.contains("\n\n"), "no empty line");
    let mut families: Vec<Family> = Vec::new();
    // The metadata of the family before its first sample, in order.
    let mut said: Vec<&str> = Vec::new();
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a word");
            let (name, rest) = rest.split_once(' ').expect("a name");
            assert!(is_name(name), "{name}");
            if families.last().is_none_or(|family| family.name != name) {
                assert!(families.iter().all(|family| family.name != name), "{name} is in one piece");
                if let Some(family) = families.last() {
                    assert!(!family.samples.is_empty(), "{} has samples", family.name);
                }
                families.push(Family {
                    name: name.into(),
                    kind: String::new(),
                    unit: None,
                    help: String::new(),
                    samples: vec![],
                });
                said.clear();
            }
            let family = families.last_mut().unwrap();
            assert!(family.samples.is_empty(), "{line}: before the samples");
            assert!(!said.contains(&word), "{line}: once");
            match word {
                "TYPE" => {
                    let kinds: &[&str] = if om {
                        &["unknown", "gauge", "counter", "histogram", "summary"]
                    } else {
                        &["untyped", "gauge", "counter", "histogram", "summary"]
                    };
                    assert!(kinds.contains(&rest), "{line}");
                    family.kind = rest.into();
                }
                "UNIT" => {
                    assert!(om && said == ["TYPE"], "{line}");
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                    family.unit = Some(rest.into());
                }
                "HELP" => {
                    assert_eq!(om, said.contains(&"TYPE"), "{line}");
                    family.help = unescape(rest, om);
                }
                _ => panic!("{line}: not a word of the format"),
            }
            said.push(word);
            continue;
        }
        let family = families.last_mut().expect("a family first");
        assert!(said.contains(&"TYPE"), "{line}: TYPE first");
        let sample = sample(line, om);
        let suffix = sample.name.strip_prefix(&*family.name).unwrap_or_else(|| panic!("{line} in {}", family.name));
        let allowed: &[&str] = match (&*family.kind, om) {
            ("counter", true) => &["_total", "_created"],
            ("histogram", true) => &["_bucket", "_sum", "_count", "_created"],
            ("histogram", false) => &["_bucket", "_sum", "_count"],
            ("summary", _) => &["", "_sum", "_count"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line}: in a {}", family.kind);
        assert!(sample.exemplar.is_none() || ["_bucket", "_total"].contains(&suffix), "{line}");
        let twice = family.samples.iter().any(|other| other.name == sample.name && other.labels == sample.labels);
        assert!(!twice, "{line}: twice");
        family.samples.push(sample);
    }
    for family in &families {
        assert!(!family.kind.is_empty() && !family.samples.is_empty(), "{}", family.name);
        if family.kind == "histogram" {
            check_histogram(family);
        }
    }
    families
}

fn check_histogram(family: &Family) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let le: f64 = go_float(&labels.remove("le").expect("le"));
        let buckets = series.entry(labels).or_default();
        let below = buckets.last().map_or(f64::NEG_INFINITY, |(le, _)| *le);
        if let Some((_, value)) = &sample.exemplar {
            assert!(*value <= le && *value > below, "an exemplar lies in its bucket: {value} in {below}..{le}");
        }
        buckets.push((le, sample.value));
    }
    for (labels, buckets) in series {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{labels:?} {buckets:?}");
        let (last, count) = *buckets.last().unwrap();
        assert_eq!(last, f64::INFINITY);
        let value = |suffix: &str| {
            let name = format!("{}{suffix}", family.name);
            family.samples.iter().find(|s| s.name == name && s.labels == labels).expect(suffix).value
        };
        assert_eq!(value("_count"), count, "{labels:?}");
        assert!(value("_sum") >= 0.0);
    }
}

fn sample(line: &str, om: bool) -> Sample {
    let end = line.find(['{', ' ']).expect("a name and a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if rest.starts_with('{') {
        (labels, rest) = label_set(rest);
    }
    let rest = rest.strip_prefix(' ').expect("one space");
    let (value, exemplar) = match rest.split_once(" # ") {
        None => (rest, None),
        Some((value, exemplar)) => {
            assert!(om, "{line}: no exemplars in 0.0.4");
            let (labels, rest) = label_set(exemplar);
            let length: usize = labels.iter().map(|(k, v)| k.chars().count() + v.chars().count()).sum();
            assert!(length <= 128, "{line}");
            let mut parts = rest.strip_prefix(' ').unwrap().split(' ');
            let measured = go_float(parts.next().unwrap());
            assert!(parts.next().is_none_or(|at| at.parse::<f64>().is_ok()) && parts.next().is_none(), "{line}");
            (value, Some((labels, measured)))
        }
    };
    assert!(!value.contains(' '), "{line}: no timestamp was asked for");
    if let Some(le) = labels.get("le").filter(|_| om) {
        assert!(le == "+Inf" || le.contains('.') || le.contains('e'), "{line}: canonical");
    }
    Sample { name: name.into(), labels, value: go_float(value), exemplar }
}

fn label_set(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut rest = text.strip_prefix('{').expect("{");
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("name=\"");
        assert!(is_name(name) && !name.contains(':'), "{name}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    '\\' => '\\',
                    '"' => '"',
                    'n' => '\n',
                    other => panic!("invalid escape \\{other}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
        rest = &after[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        rest = rest.strip_prefix(',').expect(",");
    }
}

fn unescape(text: &str, om: bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next().expect("an escape") {
                '\\' => '\\',
                'n' => '\n',
                '"' if om => '"',
                other => panic!("invalid escape \\{other} in HELP"),
            }),
            '"' if om => panic!("a bare quote in HELP"),
            c => out.push(c),
        }
    }
    out
}

fn go_float(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        text => {
            let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e'));
            assert!(plain, "{text}");
            text.parse().unwrap()
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// All names of samples, for a look at the whole.
pub fn names(families: &[Family]) -> BTreeSet<String> {
    families.iter().map(|family| family.name.clone()).collect()
}
