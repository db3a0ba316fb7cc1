//! Where the data that are sent come from.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use steeple_core::clock;
use steeple_export::DropReason;
use steeple_metrics::{
    Metrics,
    indicator::{FamilyReading, Reading},
};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{
    collect::{Scheme, collect},
    custom::Custom,
    datum::Datum,
    drops::Drops,
    limits::{MAX_AGE_SECONDS, MAX_AHEAD_SECONDS, MAX_NAME},
};

/// Where data come from: once for all that send them, so that nothing is sent twice.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) metrics: Metrics,
    pub(crate) scheme: Arc<Scheme>,
    pub(crate) custom: Custom,
    pub(crate) drops: Drops,
    pub(crate) before: Arc<Mutex<Reading>>,
}

impl Source {
    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<Datum> {
        let now = self.metrics.reading();
        let older = {
            let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = now.clone();
            // A family whose collector panicked this time is compared to what it was, when it is there again.
            let is_gone = |old: &&FamilyReading| now.families.iter().all(|new| new.name != old.name);
            next.families.extend(before.families.iter().filter(is_gone).cloned());
            std::mem::replace(&mut *before, next)
        };
        let mut data = collect(&self.scheme, &now, &older, &self.drops);
        data.extend(self.custom.take(&self.scheme.base(), now.unix));
        data
    }
}

/// Whether CloudWatch still takes a datum of then.
pub(crate) fn admit(at: Duration) -> Result<(), DropReason> {
    let (at, now) = (at.as_secs(), clock::unix_now().as_secs());
    let is_old = now.saturating_sub(at) > MAX_AGE_SECONDS;
    if is_old || at.saturating_sub(now) > MAX_AHEAD_SECONDS { Err(DropReason::Expired) } else { Ok(()) }
}

/// Dimensions can hold what the application puts in.
pub(crate) fn scrub(scrubber: &Scrubber, datum: Datum) -> Scrubbed<Datum> {
    scrubber.scrub_with(datum, |scrubber, datum| {
        if !scrubber.text(&datum.name).is_clean() {
            datum.name = scrubber.text(&datum.name).cut(MAX_NAME, "").into_owned().to_string().into();
        }
        let is_secret = |value: &str| !scrubber.text(value).is_clean();
        if datum.dimensions.iter().any(|(_, value)| is_secret(value)) {
            let clean = |(name, value): &(Cow<'static, str>, String)| {
                let value = scrubber.text(value).into_owned();
                (name.clone(), crate::datum::dimension_value(&value))
            };
            datum.dimensions = Arc::new(datum.dimensions.iter().map(clean).collect());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datum_is_sent_from_two_weeks_before_to_two_hours_ahead() {
        let now = clock::unix_now();
        let (old, ahead) = (Duration::from_secs(14 * 24 * 3_600), Duration::from_secs(2 * 3_600));
        let minute = Duration::from_secs(60);
        let before = |time: Duration| admit(now.checked_sub(time).unwrap());
        let after = |time: Duration| admit(now.checked_add(time).unwrap());
        assert_eq!(before(old.checked_sub(minute).unwrap()), Ok(()));
        assert_eq!(before(old.checked_add(minute).unwrap()), Err(DropReason::Expired));
        assert_eq!(after(ahead.checked_sub(minute).unwrap()), Ok(()));
        assert_eq!(after(ahead.checked_add(minute).unwrap()), Err(DropReason::Expired));
    }
}
