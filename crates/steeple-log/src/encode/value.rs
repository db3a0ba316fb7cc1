use std::{borrow::Cow, fmt::Write};

use steeple_core::AttributeValue;
use steeple_scrub::Scrubber;

use super::escape::clamp;

/// Longest text of a field, in bytes.
pub(crate) const MAX_VALUE: usize = 1024;

/// Longest key of a field, in bytes.
pub(crate) const MAX_KEY: usize = 128;

/// Most fields that a line takes from one event, and from one span.
pub(crate) const MAX_FIELDS: usize = 64;

/// A key and its value, scrubbed, both bounded.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Value<'static>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Uint(u64),
    Float(f64),
    Bool(bool),
}

impl<'a> Field<'a> {
    /// The one way to make a field: through the scrubber.
    pub(crate) fn new(scrubber: &Scrubber, key: Cow<'a, str>, value: Value<'_>) -> Field<'a> {
        let key = match key {
            short if short.len() <= MAX_KEY => short,
            Cow::Borrowed(long) => Cow::Borrowed(clamp(long, MAX_KEY)),
            Cow::Owned(long) => Cow::Owned(clamp(&long, MAX_KEY).to_owned()),
        };
        let value = match value {
            Value::Text(text) => {
                let text = scrubber.field(&key, &text);
                Value::Text(Cow::Owned(shown(text, MAX_VALUE).into_owned()))
            }
            // A card's number is no less secret for being a number.
            Value::Int(number) => number_unless_secret(scrubber, &key, &number, Value::Int(number)),
            Value::Uint(number) => number_unless_secret(scrubber, &key, &number, Value::Uint(number)),
            Value::Float(number) => number_unless_secret(scrubber, &key, &number, Value::Float(number)),
            Value::Bool(truth) => Value::Bool(truth),
        };
        Field { key, value }
    }

    /// A field of an exchange's attributes or of a business event. Their keys may be anything.
    pub(crate) fn of_attribute(scrubber: &Scrubber, key: &str, value: &AttributeValue) -> Field<'static> {
        let value = match value {
            AttributeValue::Text(text) => Value::Text(Cow::Borrowed(text.as_str())),
            AttributeValue::Int(number) => Value::Int(*number),
            AttributeValue::Float(number) => Value::Float(*number),
            AttributeValue::Bool(truth) => Value::Bool(*truth),
        };
        let Field { value, .. } = Field::new(scrubber, Cow::Borrowed(key), value);
        let key = scrubber.text(clamp(key, MAX_KEY)).into_owned();
        Field { key: Cow::Owned(key), value }
    }
}

fn number_unless_secret(
    scrubber: &Scrubber,
    key: &str,
    number: &dyn std::fmt::Display,
    value: Value<'static>,
) -> Value<'static> {
    let mut text = String::new();
    if write!(text, "{number}").is_err() {
        return value;
    }
    match scrubber.field(key, &text) {
        same if *same == text => value,
        marker => Value::Text(Cow::Owned(marker.into_owned())),
    }
}

/// Cuts what is too long; an ellipsis says so.
pub(crate) fn shown(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let mut cut = clamp(&text, max).to_owned();
    cut.push('…');
    Cow::Owned(cut)
}
