//! What New Relic's pages look for, beside the attributes of the convention.

use std::{fmt, time::Duration};

use steeple_core::{ApdexZone, AttributeValue, End, Exchange, TRANSACTION_CATEGORY};
use steeple_scrub::Scrubber;

use crate::{Otlp, ending::Ending, otlp::Signal};

/// Straight to New Relic, without a collector in between.
///
/// Spans go to its OTLP endpoint: the European one for keys that begin with `eu`, else the American one.
///
/// # Source
/// New Relic's documentation of its OTLP endpoint and of the names that its agents give transactions.
#[must_use = "options do nothing until a builder gets them"]
#[derive(Clone)]
pub struct NewRelic {
    license_key: Box<str>,
    endpoint: Option<String>,
}

impl NewRelic {
    /// With the license key of an account (`NEW_RELIC_LICENSE_KEY`).
    pub fn new(license_key: impl Into<Box<str>>) -> Self {
        Self { license_key: license_key.into(), endpoint: None }
    }

    /// Another endpoint, such as `https://gov-otlp.nr-data.net`; `/v1/traces` or `/v1/logs` is added.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The way of log records to the same account, for [`TraceBuilder::logs`](crate::TraceBuilder::logs).
    pub fn logs(&self) -> Otlp {
        Otlp::of_new_relic(self, Signal::Logs)
    }

    pub(crate) fn endpoint_of(&self, signal: Signal) -> String {
        let base = match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/'),
            None if self.license_key.starts_with("eu") => "https://otlp.eu01.nr-data.net",
            None => "https://otlp.nr-data.net",
        };
        format!("{base}{}", signal.path())
    }

    pub(crate) fn license_key(&self) -> &str {
        &self.license_key
    }
}

impl Otlp {
    pub(crate) fn of_new_relic(new_relic: &NewRelic, signal: Signal) -> Self {
        Self::new().endpoint(new_relic.endpoint_of(signal)).header("api-key", new_relic.license_key()).gzip()
    }
}

impl fmt::Debug for NewRelic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRelic").field("license_key", &"[redacted]").field("endpoint", &self.endpoint).finish()
    }
}

/// What New Relic takes at most of one value, in bytes.
pub(crate) const MAX_VALUE: usize = 4095;
/// What it takes at most of one span.
pub(crate) const MAX_ATTRIBUTES: u32 = 64;

/// T of Apdex where nothing else is set, as New Relic's own agents have it.
pub(crate) const APDEX_T: Duration = Duration::from_millis(500);

/// The name of the transaction, its Apdex zone and its error, as New Relic's own agents report them.
pub(crate) fn describe(exchange: &Exchange, end: &End, apdex: Duration, scrubber: &Scrubber, ending: &mut Ending) {
    let Ending { name, attributes, .. } = ending;
    let own = exchange.attributes().into_iter().find(|(key, _)| key.as_str() == TRANSACTION_CATEGORY);
    match &own {
        Some((_, AttributeValue::Text(category))) => {
            let whole = format!("WebTransaction/{}/{}", category.as_str(), &**name);
            attributes.text("transaction.name", scrubber.text(&whole));
        }
        Some(_) | None => {
            attributes.text("transaction.name", name.clone().map(|name| format!("WebTransaction/Rust/{name}")));
        }
    }
    let zone = match ApdexZone::of(end, apdex) {
        ApdexZone::Satisfied => "S",
        ApdexZone::Tolerating => "T",
        ApdexZone::Frustrated => "F",
    };
    attributes.word("apdexPerfZone", zone);
    if end.is_server_error() {
        attributes.truth("error", true);
        if let Some(error) = exchange.error() {
            attributes.word("error.class", error.type_name());
            attributes.text("error.message", scrubber.text(&error.to_string()));
        }
    }
    if let Some(user) = exchange.visible_user()
        && let Some(id) = user.id()
    {
        attributes.text("enduser.id", scrubber.text(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_that_of_the_keys_region_and_the_key_is_not_shown() {
        let of = |key: &str| NewRelic::new(key).endpoint_of(Signal::Traces);
        assert_eq!(of("0123NRAL"), "https://otlp.nr-data.net/v1/traces");
        assert_eq!(of("eu01xx123NRAL"), "https://otlp.eu01.nr-data.net/v1/traces");
        let other = NewRelic::new("0123NRAL").endpoint("http://127.0.0.1:1/");
        assert_eq!(other.endpoint_of(Signal::Traces), "http://127.0.0.1:1/v1/traces");
        assert!(!format!("{other:?}").contains("0123"));
    }
}
