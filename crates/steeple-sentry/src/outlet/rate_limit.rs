//! What Sentry asks for when it has had enough.
//!
//! # Source
//! Sentry's developer documentation, SDK: rate limiting.

use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use sentry_core::protocol::{EnvelopeItem, ItemContainer};
use steeple_export::retry_after;

/// After a 429 without a duration.
const DEFAULT: Duration = Duration::from_secs(60);

/// The longest limit that is obeyed. Sentry's own quotas last a day at most; a proxy's wrong number must not silence a process for ever.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a limit can be about. Categories that we never send are not kept.
const CATEGORIES: [&str; 6] = ["error", "transaction", "session", "attachment", "log_item", "trace_metric"];

#[derive(Clone, Debug, Default)]
pub(super) struct RateLimits {
    all: Option<Instant>,
    each: [Option<Instant>; CATEGORIES.len()],
}

impl RateLimits {
    /// Takes in an answer's headers. `Retry-After` of another answer than a 429 is about that answer alone.
    pub(super) fn learn(&mut self, now: Instant, status: u16, limits: Option<&str>, headers: &HeaderMap) {
        if let Some(limits) = limits {
            for limit in limits.split(',') {
                self.learn_one(now, limit.trim());
            }
        } else if status == 429 {
            lengthen(&mut self.all, now, retry_after(headers, SystemTime::now()).unwrap_or(DEFAULT));
        }
    }

    /// `60:error;transaction:organization:reason`.
    fn learn_one(&mut self, now: Instant, limit: &str) {
        let mut parts = limit.split(':');
        let Some(duration) = parts.next().and_then(seconds) else { return };
        let categories = parts.next().unwrap_or_default();
        if categories.is_empty() {
            lengthen(&mut self.all, now, duration);
        }
        for (category, until) in CATEGORIES.iter().zip(&mut self.each) {
            if categories.split(';').any(|named| named == *category) {
                lengthen(until, now, duration);
            }
        }
    }

    /// Whether an item may be sent now.
    pub(super) fn allow(&self, now: Instant, item: &EnvelopeItem) -> bool {
        let over = |until: &Option<Instant>| until.is_none_or(|until| until <= now);
        let category = category(item).and_then(|name| CATEGORIES.iter().position(|known| *known == name));
        over(&self.all) && category.and_then(|place| self.each.get(place)).is_none_or(over)
    }
}

/// The longest limit stays.
fn lengthen(until: &mut Option<Instant>, now: Instant, duration: Duration) {
    *until = (*until).max(now.checked_add(duration.min(LONGEST)));
}

/// A number of seconds, at most [`LONGEST`].
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok().filter(|seconds: &f64| !seconds.is_nan())?;
    Duration::try_from_secs_f64(seconds.ceil().min(LONGEST.as_secs_f64())).ok()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's own enum, which is not exhaustive")]
fn category(item: &EnvelopeItem) -> Option<&'static str> {
    match item {
        EnvelopeItem::Event(_) => Some("error"),
        EnvelopeItem::Transaction(_) => Some("transaction"),
        EnvelopeItem::SessionUpdate(_) | EnvelopeItem::SessionAggregates(_) => Some("session"),
        EnvelopeItem::Attachment(_) => Some("attachment"),
        EnvelopeItem::ItemContainer(ItemContainer::Logs(_)) => Some("log_item"),
        EnvelopeItem::ItemContainer(ItemContainer::Metrics(_)) => Some("trace_metric"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sentry_core::protocol::{Event, Transaction};

    use super::*;

    #[track_caller]
    fn check(
        status: u16,
        limits: Option<&str>,
        retry_after: Option<&str>,
        event: (u64, bool),
        transaction: (u64, bool),
    ) {
        let now = steeple_core::clock::now();
        let mut limited = RateLimits::default();
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(http::header::RETRY_AFTER, value.parse().unwrap());
        }
        limited.learn(now, status, limits, &headers);
        let at = |seconds| now.checked_add(Duration::from_secs(seconds)).unwrap();
        assert_eq!(limited.allow(at(event.0), &Event::default().into()), event.1, "event");
        assert_eq!(limited.allow(at(transaction.0), &Transaction::default().into()), transaction.1, "transaction");
    }

    #[test]
    fn a_limit_holds_for_its_categories_and_its_time() {
        check(200, Some("86400:transaction;span:organization"), None, (0, true), (86_399, false));
        check(200, Some("86400:transaction;span:organization"), None, (0, true), (86_400, true));
        check(429, Some("60:error:key, 10:transaction:key"), None, (59, false), (10, true));
        check(429, Some("2700::organization:quota"), None, (2_699, false), (2_699, false));
    }

    #[test]
    fn without_that_header_the_standard_one_or_a_minute_counts() {
        check(429, None, Some("5"), (4, false), (5, true));
        check(503, None, Some("5"), (0, true), (0, true));
        check(429, None, None, (59, false), (60, true));
        check(429, None, Some("Tue, 24 Nov 2020 10:00:00 GMT"), (0, true), (0, true));
        check(429, None, Some("Tue, 24 Nov 2099 10:00:00 GMT"), (86_399, false), (86_400, true));
        check(200, Some("nonsense, x:error:key,:"), None, (0, true), (0, true));
        check(429, None, Some("-5"), (59, false), (60, true));
        check(429, None, Some("NaN"), (59, false), (60, true));
    }

    #[test]
    fn no_limit_lasts_longer_than_a_day() {
        let day = LONGEST.as_secs();
        for seconds in ["86401", "99999999999999", "99999999999999999999999999"] {
            check(429, None, Some(seconds), (day - 1, false), (day, true));
        }
        for seconds in ["86401", "99999999999999", "1e300", "inf"] {
            let limits = format!("{seconds}:error;transaction:key");
            check(200, Some(&limits), None, (day - 1, false), (day, true));
            check(200, Some(&format!("{seconds}::organization")), None, (day - 1, false), (day, true));
        }
    }
}
