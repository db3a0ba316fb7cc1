//! New rows beside many that wait: what happens now arrives now, and what waited arrives at a bounded rate.

use std::time::{Duration, Instant};

/// Where new rows are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    /// Rows from here on were never read.
    pub(super) next: u64,
    /// How many these are.
    pub(super) fresh: u64,
}

impl Live {
    pub(super) fn advance(&mut self, seq: u64) {
        self.next = self.next.max(seq.saturating_add(1));
        self.fresh = self.fresh.saturating_sub(1);
    }
}

/// How many rows may be read now of those that wait: a bucket that fills at a rate, and holds what comes in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Rows a second; 0: as many as there are.
    rate: u32,
    rows: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self { rate, rows: f64::from(rate), at: now }
    }

    /// How many may be read now.
    pub(super) fn allowed(&mut self, now: Instant) -> usize {
        if self.rate == 0 {
            return usize::MAX;
        }
        let rate = f64::from(self.rate);
        let since = now.saturating_duration_since(self.at);
        self.rows = since.as_secs_f64().mul_add(rate, self.rows).min(rate);
        self.at = now;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a u32")]
        let whole = self.rows as u32;
        usize::try_from(whole).unwrap_or(usize::MAX)
    }

    /// So many were read.
    pub(super) fn spend(&mut self, rows: usize) {
        if self.rate > 0 {
            self.rows = (self.rows - f64::from(u32::try_from(rows).unwrap_or(u32::MAX))).max(0.0);
        }
    }

    /// When the next part may be read: a twentieth of a second's rows, and one at least. `None`: now.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        if self.rate == 0 {
            return None;
        }
        let rate = f64::from(self.rate);
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        let missing = (rate / 20.0).max(1.0) - since.mul_add(rate, self.rows);
        if missing <= 0.0 {
            return None;
        }
        let wait = Duration::try_from_secs_f64(missing / rate).unwrap_or(Duration::from_secs(1));
        now.checked_add(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_allows_its_rate_and_no_more_than_a_second_of_it_at_once() {
        let begin = steeple_core::clock::now();
        let later = |millis: u64| begin + Duration::from_millis(millis);
        let mut pace = Pace::new(100, begin);
        assert_eq!((pace.allowed(begin), pace.ready_at(begin)), (100, None));
        pace.spend(100);
        assert_eq!((pace.allowed(begin), pace.ready_at(begin)), (0, Some(later(50))));
        assert_eq!(pace.allowed(later(250)), 25);
        assert_eq!(pace.allowed(later(60_000)), 100);
        let mut slow = Pace::new(1, begin);
        slow.spend(1);
        assert_eq!(slow.ready_at(begin), Some(later(1_000)));
        let mut free = Pace::new(0, begin);
        free.spend(1_000);
        assert_eq!((free.allowed(begin), free.ready_at(begin)), (usize::MAX, None));
    }
}
