//! Dates and times of day from the wall clock, in UTC.

use std::time::Duration;

/// Year, month and day of a time. Years past 9999 are shown as 9999: RFC 3339 knows no later ones.
#[expect(clippy::arithmetic_side_effects, reason = "days are at most u64::MAX / 86,400")]
pub fn date(since_epoch: u64) -> (u32, u32, u32) {
    // "chrono-Compatible Low-Level Date Algorithms" (Howard Hinnant), civil_from_days: years begin in March.
    let days = (since_epoch / 86_400).min(2_932_896) + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let narrow = |number: u64| u32::try_from(number).unwrap_or(0);
    (narrow(year), narrow(month), narrow(day))
}

/// A time as RFC 3339 writes it, with whole seconds: `2026-11-29T20:51:24Z`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_core::date::rfc3339;
///
/// assert_eq!(rfc3339(Duration::from_millis(1_795_985_484_007)), "2026-11-29T20:51:24Z");
/// ```
pub fn rfc3339(since_epoch: Duration) -> String {
    format!("{}Z", date_and_time(since_epoch))
}

/// A time as RFC 3339 writes it, with milliseconds: `2026-11-29T20:51:24.007Z`.
pub fn rfc3339_millis(since_epoch: Duration) -> String {
    format!("{}.{:03}Z", date_and_time(since_epoch), since_epoch.subsec_millis())
}

fn date_and_time(since_epoch: Duration) -> String {
    let (year, month, day) = date(since_epoch.as_secs());
    let second = since_epoch.as_secs() % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_standard_has_them() {
        assert_eq!(rfc3339_millis(Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_millis(Duration::from_millis(951_782_400_123)), "2000-02-29T00:00:00.123Z");
        assert_eq!(rfc3339(Duration::from_secs(4_107_542_399)), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn every_day_of_400_years_follows_the_day_before() {
        let mut before = date(0);
        for day in 1..146_097_u64 {
            let next = date(day * 86_400);
            let same_month = (next.0, next.1) == (before.0, before.1) && next.2 == before.2 + 1;
            let new_month = next.2 == 1 && before.2 >= 28;
            assert!(same_month || new_month, "{before:?} then {next:?}");
            before = next;
        }
        assert_eq!(before, (2369, 12, 31));
    }
}
