//! What a scrubber was configured to remove, and the decisions that all surfaces share.

use regex_automata::meta::Regex;

use crate::{
    allow::HeaderPolicy,
    detect::phrase::Known,
    marker::{Rule, marker_len},
    name::{self, Class, Names},
};

/// Whether a scrubber removes e-mail addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailPolicy {
    /// Removes them.
    #[default]
    Redact,
    /// Keeps them.
    Keep,
}

#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) name: Box<str>,
    /// As it was set.
    pub(crate) text: Box<str>,
    pub(crate) regex: Regex,
}

#[derive(Debug)]
pub(crate) struct Policy {
    /// Tells what this policy made of a text from what another one did.
    pub(crate) id: u64,
    pub(crate) email: EmailPolicy,
    pub(crate) names: Names,
    pub(crate) patterns: Vec<Pattern>,
    /// The patterns' markers, in the same order.
    pub(crate) markers: Vec<Box<str>>,
    pub(crate) headers: HeaderPolicy,
}

impl Policy {
    pub(crate) fn known(&self) -> Known<'_> {
        Known { names: &self.names, markers: &self.markers }
    }

    pub(crate) fn classify(&self, name: &[u8]) -> Class {
        name::classify(name, &self.names)
    }

    pub(crate) fn marker(&self, rule: Rule) -> &str {
        let Rule::Pattern(nth) = rule else { return rule.marker() };
        self.markers.get(usize::from(nth)).map_or(rule.marker(), |marker| marker)
    }

    /// Is the whole of `value` a marker, so that nothing of it is left to remove?
    pub(crate) fn is_marker(&self, value: &[u8]) -> bool {
        marker_len(value, &self.markers) == Some(value.len())
    }
}
