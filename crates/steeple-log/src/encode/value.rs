use std::{borrow::Cow, fmt::Display};

use steeple_core::AttributeValue;
use steeple_scrub::{Scrubbed, Scrubber};

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
    pub(crate) key: Scrubbed<Cow<'a, str>>,
    pub(crate) value: Value,
}

/// What a line shows: `Scrubbed` text. As it came: `Value<Cow<str>>`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<T = Scrubbed<Cow<'static, str>>> {
    Text(T),
    Int(i64),
    Uint(u64),
    Float(f64),
    Bool(bool),
}

impl<'a> Field<'a> {
    /// A field with a key that stands in the code, as `tracing` has them.
    pub(crate) fn new(scrubber: &Scrubber, key: &'static str, value: Value<Cow<'_, str>>) -> Field<'a> {
        let key = clamp(key, MAX_KEY);
        Field { key: Scrubbed::from_static(key).into(), value: scrubbed(scrubber, key, value) }
    }

    /// A field of an exchange's attributes or of a business event. Their keys may be anything.
    pub(crate) fn of_attribute(scrubber: &Scrubber, key: &str, value: &AttributeValue) -> Field<'static> {
        let value = match value {
            AttributeValue::Text(text) => Value::Text(Cow::Borrowed(text.as_str())),
            AttributeValue::Int(number) => Value::Int(*number),
            AttributeValue::Float(number) => Value::Float(*number),
            AttributeValue::Bool(truth) => Value::Bool(*truth),
        };
        let key = clamp(key, MAX_KEY);
        Field { key: scrubber.text(key).into_owned().into(), value: scrubbed(scrubber, key, value) }
    }

    /// The same field, named as an exchange's attribute is on its line.
    pub(crate) fn into_attribute(self) -> Field<'static> {
        let key = self.key.map(|key| Cow::Owned(format!("attributes.{key}")));
        Field { key, value: self.value }
    }
}

fn scrubbed(scrubber: &Scrubber, key: &str, value: Value<Cow<'_, str>>) -> Value {
    match value {
        Value::Text(text) => {
            let text = scrubber.field(key, &text).cut(MAX_VALUE, "…");
            Value::Text(text.into_owned().into())
        }
        // A card's number is as secret as a number as it is as a text.
        Value::Int(number) => number_unless_secret(scrubber, key, &number, Value::Int(number)),
        Value::Uint(number) => number_unless_secret(scrubber, key, &number, Value::Uint(number)),
        Value::Float(number) => number_unless_secret(scrubber, key, &number, Value::Float(number)),
        Value::Bool(truth) => Value::Bool(truth),
    }
}

fn number_unless_secret(scrubber: &Scrubber, key: &str, number: &dyn Display, value: Value) -> Value {
    let text = number.to_string();
    let safe = scrubber.field(key, &text);
    if safe.is_clean() { value } else { Value::Text(safe.into_owned().into()) }
}
