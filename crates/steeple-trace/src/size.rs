//! About how much memory spans take.

use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// A span with all that hangs from it, in bytes.
pub(crate) fn size_of_span(span: &SpanData) -> usize {
    let events = span.events.iter().map(|event| size_of_event(&event.name, &event.attributes));
    let links = span.links.iter().map(|link| size_of_attributes(&link.attributes).saturating_add(size_of_val(link)));
    size_of_val(span)
        .saturating_add(span.name.len())
        .saturating_add(size_of_attributes(&span.attributes))
        .saturating_add(events.fold(0, usize::saturating_add))
        .saturating_add(links.fold(0, usize::saturating_add))
}

pub(crate) fn size_of_event(name: &str, attributes: &[KeyValue]) -> usize {
    /// The event itself and the list of its attributes.
    const FIXED: usize = 64;
    name.len().saturating_add(size_of_attributes(attributes)).saturating_add(FIXED)
}

pub(crate) fn size_of_attributes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(size_of_attribute).fold(0, usize::saturating_add)
}

fn size_of_attribute(attribute: &KeyValue) -> usize {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum: numbers are counted with their `Value`")]
    let value = match &attribute.value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => {
            texts.iter().map(|text| text.as_str().len().saturating_add(size_of_val(text))).sum()
        }
        Value::Array(Array::I64(numbers)) => size_of_val(numbers.as_slice()),
        Value::Array(Array::F64(numbers)) => size_of_val(numbers.as_slice()),
        Value::Array(Array::Bool(booleans)) => booleans.len(),
        _ => 0,
    };
    size_of_val(attribute).saturating_add(attribute.key.as_str().len()).saturating_add(value)
}
