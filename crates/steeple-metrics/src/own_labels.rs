//! Labels of the application's own on request metrics.

use std::{collections::HashSet, fmt, panic::AssertUnwindSafe, sync::Arc};

use steeple_core::Exchange;

use crate::{
    BuildError,
    encode::Meta,
    folded::Folded,
    series::{Name, OVERFLOW},
};

/// Most labels that one process adds.
const MAX_LABELS: usize = 8;

/// Labels that request metrics have already, by either set of names.
const TAKEN: [&str; 13] = [
    "method",
    "route",
    "status_code",
    "outcome",
    "zone",
    "le",
    "quantile",
    "http_request_method",
    "url_scheme",
    "http_route",
    "http_response_status_code",
    "error_type",
    "network_protocol_version",
];

type Read = dyn Fn(&Exchange) -> Option<String> + Send + Sync;

/// The labels, and how their values are read.
#[derive(Clone)]
pub(crate) struct OwnLabels {
    labels: Vec<(Name, Arc<Read>)>,
    max: usize,
}

impl Default for OwnLabels {
    fn default() -> Self {
        Self { labels: Vec::new(), max: 1_000 }
    }
}

impl fmt::Debug for OwnLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.labels.iter().map(|(name, _)| name)).finish()
    }
}

impl OwnLabels {
    pub(crate) fn add(&mut self, name: String, read: impl Fn(&Exchange) -> Option<String> + Send + Sync + 'static) {
        self.labels.push((name.into(), Arc::new(read)));
    }

    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Each name can be a label's, is not one already, and appears once.
    pub(crate) fn check(self) -> Result<Self, BuildError> {
        let mut seen = HashSet::new();
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
            bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
        };
        let wrong = self.labels.iter().map(|(name, _)| name).find(|name| {
            !is_name(name) || name.starts_with("__") || TAKEN.contains(&&***name) || !seen.insert((*name).clone())
        });
        match wrong {
            Some(name) => Err(BuildError::name(name)),
            None if self.labels.len() > MAX_LABELS => Err(BuildError::too_many()),
            None => Ok(self),
        }
    }

    /// The names, each with the value for what finds no room.
    pub(crate) fn others(&self) -> Box<[(Name, Name)]> {
        self.labels.iter().map(|(name, _)| (name.clone(), OVERFLOW.into())).collect()
    }

    /// The values of an exchange, as they may be shown.
    pub(crate) fn values(&self, exchange: &Exchange, folded: &Folded) -> Box<[(Name, Name)]> {
        let read = |read: &Arc<Read>| {
            // It is the user's code.
            let value = std::panic::catch_unwind(AssertUnwindSafe(|| read(exchange)));
            let value = value.ok().flatten().unwrap_or_default();
            folded.shown(&value).into_owned()
        };
        self.labels.iter().map(|(name, value)| (name.clone(), read(value).into())).collect()
    }

    /// The family with these labels as well.
    pub(crate) fn label(&self, meta: Meta) -> Meta {
        self.labels.iter().fold(meta, |meta, (name, _)| meta.and_label(name.clone()))
    }
}
