//! The time as RFC 3339 writes it, in UTC.

use std::{cell::Cell, time::Duration};

/// `2026-11-23T20:13:24`: the seconds are worked out once each.
pub(crate) type Seconds = [u8; 19];

thread_local! {
    static LAST: Cell<(u64, Seconds)> = const { Cell::new((u64::MAX, [0; 19])) };
}

/// Appends `2026-11-23T20:13:24.123456Z`.
pub(crate) fn rfc3339_micros(out: &mut Vec<u8>, since_epoch: Duration) {
    out.extend_from_slice(&seconds(since_epoch.as_secs()));
    out.extend_from_slice(&fraction::<7>(since_epoch.subsec_micros()));
    out.push(b'Z');
}

/// Appends `20:13:24.123`.
pub(crate) fn clock_millis(out: &mut Vec<u8>, since_epoch: Duration) {
    let seconds = seconds(since_epoch.as_secs());
    out.extend_from_slice(seconds.get(11..).unwrap_or_default());
    out.extend_from_slice(&fraction::<4>(since_epoch.subsec_millis()));
}

fn seconds(since_epoch: u64) -> Seconds {
    let (known, text) = LAST.try_with(Cell::get).unwrap_or((u64::MAX, [0; 19]));
    if known == since_epoch {
        return text;
    }
    let text = render(since_epoch);
    let _ending = LAST.try_with(|last| last.set((since_epoch, text)));
    text
}

fn render(since_epoch: u64) -> Seconds {
    let (year, month, day) = date(since_epoch);
    let second = since_epoch % 86_400;
    let mut out = Vec::with_capacity(19);
    out.extend_from_slice(&digits::<4>(year));
    for (mark, number) in [(b'-', month), (b'-', day)] {
        out.push(mark);
        out.extend_from_slice(&digits::<2>(number));
    }
    for (mark, number) in [(b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(mark);
        out.extend_from_slice(&digits::<2>(u32::try_from(number).unwrap_or(0)));
    }
    out.try_into().unwrap_or([b'0'; 19])
}

/// Year, month and day of a time. Years past 9999 are shown as 9999: RFC 3339 knows no later ones.
#[expect(clippy::arithmetic_side_effects, reason = "days are at most u64::MAX / 86,400")]
pub(crate) fn date(since_epoch: u64) -> (u32, u32, u32) {
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

/// A point and the last `N - 1` digits of a number.
#[inline]
pub(crate) fn fraction<const N: usize>(number: u32) -> [u8; N] {
    let mut text = [b'.'; N];
    if let [_, places @ ..] = text.as_mut_slice() {
        fill(places, number);
    }
    text
}

/// The last `N` digits of a number.
fn digits<const N: usize>(number: u32) -> [u8; N] {
    let mut text = [0; N];
    fill(&mut text, number);
    text
}

#[inline]
fn fill(places: &mut [u8], mut number: u32) {
    for place in places.iter_mut().rev() {
        let [digit, ..] = (number % 10).to_le_bytes();
        *place = b'0' | digit;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(since_epoch: Duration, want: &str) {
        let mut out = Vec::new();
        rfc3339_micros(&mut out, since_epoch);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn times_read_as_the_standard_has_them() {
        check(Duration::ZERO, "1970-01-01T00:00:00.000000Z");
        check(Duration::from_micros(951_827_696_000_001), "2000-02-29T12:34:56.000001Z");
        check(Duration::from_nanos(1_795_464_804_123_456_789), "2026-11-23T20:13:24.123456Z");
        check(Duration::from_secs(4_107_542_399), "2100-02-28T23:59:59.000000Z");
        check(Duration::from_secs(253_402_300_799), "9999-12-31T23:59:59.000000Z");
        check(Duration::from_secs(253_402_300_801), "9999-12-31T00:00:01.000000Z");
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
