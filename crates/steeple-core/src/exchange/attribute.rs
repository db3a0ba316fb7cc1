use std::fmt;

use super::{Exchange, Note};
use crate::{Text, text};

/// Most attributes that one exchange keeps.
pub const MAX_ATTRIBUTES: usize = 64;

const MAX_KEY_LEN: usize = 128;
const MAX_VALUE_LEN: usize = 1024;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A text, at most 1,024 bytes of it.
    Text(Text),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Display::fmt(text, f),
            Self::Int(number) => fmt::Display::fmt(number, f),
            Self::Float(number) => fmt::Display::fmt(number, f),
            Self::Bool(value) => fmt::Display::fmt(value, f),
        }
    }
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// A bounded list, in the order in which keys came.
#[derive(Default)]
pub(super) struct Attributes {
    items: Vec<(Text, AttributeValue)>,
    dropped: u32,
}

impl Attributes {
    pub(super) fn set(&mut self, key: Text, value: AttributeValue) {
        let key = cut(key, MAX_KEY_LEN);
        let value = match value {
            AttributeValue::Text(text) => AttributeValue::Text(cut(text, MAX_VALUE_LEN)),
            AttributeValue::Int(_) | AttributeValue::Float(_) | AttributeValue::Bool(_) => value,
        };
        if let Some((_, old)) = self.items.iter_mut().find(|(other, _)| *other == key) {
            *old = value;
        } else if self.items.len() < MAX_ATTRIBUTES {
            self.items.push((key, value));
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    pub(super) fn to_vec(&self) -> Vec<(Text, AttributeValue)> {
        self.items.clone()
    }

    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }
}

fn cut(text: Text, max: usize) -> Text {
    if text.as_str().len() <= max { text } else { text::cut(text.as_str(), max).to_owned().into() }
}

impl Exchange {
    /// Sets an attribute, for log line, span and event alike. The last value stays.
    ///
    /// At most [`MAX_ATTRIBUTES`] per exchange, keys cut to 128 bytes and values to 1,024; more are counted, see
    /// [`attributes_dropped`](Self::attributes_dropped). Sinks scrub keys and values.
    #[doc(alias = "tag")]
    #[doc(alias = "label")]
    #[doc(alias = "field")]
    pub fn set_attribute(&self, key: impl Into<Text>, value: impl Into<AttributeValue>) {
        let (key, value) = (key.into(), value.into());
        if !self.has_ended() {
            self.note(Note::Rare).rare.get_or_insert_default().attributes.set(key, value);
        }
    }

    /// The attributes, in the order in which they were first set.
    pub fn attributes(&self) -> Vec<(Text, AttributeValue)> {
        self.rare(|rare| rare.attributes.to_vec()).unwrap_or_default()
    }

    /// How many attributes found no room.
    pub fn attributes_dropped(&self) -> u32 {
        self.rare(|rare| rare.attributes.dropped()).unwrap_or_default()
    }

    /// Puts a value of any type beside the exchange, one of each type: for observers that work together.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.note(Note::Rare).rare.get_or_insert_default().extensions.insert(value)
    }

    /// Replaces the values beside the exchange.
    pub(crate) fn set_extensions(&self, extensions: http::Extensions) {
        self.note(Note::Rare).rare.get_or_insert_default().extensions = extensions;
    }

    /// A value that was put beside the exchange.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.rare(|rare| rare.extensions.get().cloned()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_bounded_in_number_and_length_and_losses_are_counted() {
        let mut attributes = Attributes::default();
        for number in 0..MAX_ATTRIBUTES + 3 {
            attributes.set(format!("key{number}").into(), AttributeValue::from(true));
        }
        attributes.set("key0".into(), "ü".repeat(1024).into());
        assert_eq!((attributes.to_vec().len(), attributes.dropped()), (MAX_ATTRIBUTES, 3));
        assert_eq!(attributes.to_vec()[0].1, AttributeValue::Text("ü".repeat(512).into()));
    }
}
