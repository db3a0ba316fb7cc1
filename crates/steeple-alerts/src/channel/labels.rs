//! An alert in the words of Alertmanager.

use std::collections::BTreeMap;

use crate::message::Notification;

/// What identifies an alert: no value is among them.
pub(super) fn labels(alert: &Notification) -> BTreeMap<&'static str, &str> {
    let optional = [
        ("service", &alert.service),
        ("environment", &alert.environment),
        ("instance", &alert.instance),
        ("group", &alert.group),
    ];
    let mut labels: BTreeMap<_, _> =
        optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    labels.insert("alertname", &alert.rule);
    labels.insert("severity", alert.severity.as_str());
    labels
}

/// Further facts about it.
pub(super) fn annotations(alert: &Notification) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    if !alert.summary.is_empty() {
        annotations.insert("summary".to_owned(), alert.summary.clone());
    }
    for (name, text) in alert.facts() {
        let name = name.to_lowercase().replace(' ', "_");
        if !matches!(name.as_str(), "severity" | "since" | "instance" | "lasted") {
            annotations.entry(name).or_insert(text);
        }
    }
    annotations
}

/// The number by which Alertmanager knows an alert.
///
/// # Source
/// `prometheus/common`, `model/signature.go` and `model/fnv.go`: FNV-1a of 64 bits over the sorted names and values, each followed
/// by 255.
#[cfg(feature = "webhook")]
pub(super) fn fingerprint(labels: &BTreeMap<&'static str, &str>) -> String {
    const OFFSET: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    let texts = labels.iter().flat_map(|(name, value)| [*name, *value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([255]));
    let sum = bytes.fold(OFFSET, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{sum:016x}")
}
