use std::borrow::Cow;

use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use steeple_core::{AttributeValue, ErrorClass, VisibleAddress, call::CallEnd};
use steeple_scrub::{Scrubbed, Scrubber};

use super::MAX_TEXT;
use crate::{recorded::Recording, scrub::Bounds};

/// Attributes on their way to a span or its events: texts come in scrubbed, and leave no longer than [`MAX_TEXT`].
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn text<'t>(&mut self, key: impl Into<Key>, text: impl Into<Scrubbed<Cow<'t, str>>>) {
        self.0.push(KeyValue::new(key, Value::String(bounded(text.into()))));
    }

    pub(crate) fn texts<'t>(&mut self, key: String, texts: impl Iterator<Item = Scrubbed<Cow<'t, str>>>) {
        let texts: Vec<_> = texts.map(bounded).collect();
        if !texts.is_empty() {
            self.0.push(KeyValue::new(key, Value::Array(Array::String(texts))));
        }
    }

    /// Texts that are scrubbed behind the queue.
    pub(super) fn put_off(&mut self, key: &'static str, waiting: String) {
        self.0.push(KeyValue::new(key, waiting));
    }

    /// A word of the conventions' or of ours.
    pub(crate) fn word(&mut self, key: &'static str, word: &'static str) {
        self.0.push(KeyValue::new(key, word));
    }

    pub(crate) fn number(&mut self, key: &'static str, number: impl Into<i64>) {
        self.0.push(KeyValue::new(key, number.into()));
    }

    pub(crate) fn truth(&mut self, key: &'static str, truth: bool) {
        self.0.push(KeyValue::new(key, truth));
    }

    /// An address as the privacy policy shows it.
    pub(crate) fn address(&mut self, key: &'static str, address: &VisibleAddress) {
        self.0.push(KeyValue::new(key, address.to_string()));
    }

    /// What kind of failure it was: an outcome's name or a status code.
    pub(crate) fn class(&mut self, key: &'static str, class: ErrorClass) {
        self.0.push(KeyValue::new(key, class.to_string()));
    }

    /// What kind of failure it was of a call: the error's type, a code's name or a status.
    pub(crate) fn class_of_call(&mut self, key: &'static str, end: &CallEnd<'_>) -> bool {
        let class = end.error_class();
        self.0.extend(class.map(|class| KeyValue::new(key, class.to_owned())));
        class.is_some()
    }

    /// An attribute that the application named.
    pub(crate) fn own(&mut self, scrubber: &Scrubber, key: &str, value: &AttributeValue) {
        match value {
            AttributeValue::Text(text) => self.own_text(scrubber, key, text.as_str()),
            AttributeValue::Int(number) => self.own_number(scrubber, key, Value::I64(*number)),
            AttributeValue::Float(number) => self.own_number(scrubber, key, Value::F64(*number)),
            AttributeValue::Bool(truth) => self.0.push(KeyValue::new(own_key(scrubber, key), *truth)),
        }
    }

    fn own_text(&mut self, scrubber: &Scrubber, key: &str, text: &str) {
        self.text(own_key(scrubber, key), scrubber.field(key, text));
    }

    /// A card's number is as secret as a number as it is as a text.
    fn own_number(&mut self, scrubber: &Scrubber, key: &str, number: Value) {
        let value = crate::scrub::number(scrubber, key, &number).map_or(number, Value::from);
        self.0.push(KeyValue::new(own_key(scrubber, key), value));
    }

    /// An attribute as the application gives it to the SDK.
    pub(crate) fn given(&mut self, recording: &Recording, bounds: &Bounds, mut attribute: KeyValue) {
        recording.attribute(&mut attribute);
        bounds.attribute(&mut attribute);
        self.0.push(attribute);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_vec(self) -> Vec<KeyValue> {
        self.0
    }
}

fn own_key(scrubber: &Scrubber, key: &str) -> Key {
    Key::from(scrubber.text(key).into_inner().into_owned())
}

fn bounded(text: Scrubbed<Cow<'_, str>>) -> StringValue {
    text.cut(MAX_TEXT, "").into_inner().into_owned().into()
}
