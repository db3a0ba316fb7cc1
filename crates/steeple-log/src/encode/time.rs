//! The time as RFC 3339 writes it, in UTC.

use std::{cell::Cell, time::Duration};

pub(crate) use steeple_core::date::date;

/// `2026-11-23T20:13:24`: the seconds are worked out once each.
pub(crate) type Seconds = [u8; 19];

thread_local! {
    static LAST: Cell<(u64, Seconds)> = const { Cell::new((u64::MAX, [0; 19])) };
}

/// Appends `2026-11-23T20:13:24.123456Z`.
pub(crate) fn rfc3339_micros(out: &mut Vec<u8>, since_epoch: Duration) {
    let [_, _, tenths, hundredths, millis, ten_thousandths, hundred_thousandths, micros] =
        digits(since_epoch.subsec_micros());
    out.extend_from_slice(&seconds(since_epoch.as_secs()));
    out.extend_from_slice(&[b'.', tenths, hundredths, millis, ten_thousandths, hundred_thousandths, micros, b'Z']);
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
    out.extend_from_slice(&last_digits::<4>(year));
    for (mark, number) in [(b'-', month), (b'-', day)] {
        out.push(mark);
        out.extend_from_slice(&last_digits::<2>(number));
    }
    for (mark, number) in [(b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(mark);
        out.extend_from_slice(&last_digits::<2>(u32::try_from(number).unwrap_or(0)));
    }
    out.try_into().unwrap_or([b'0'; 19])
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
fn last_digits<const N: usize>(number: u32) -> [u8; N] {
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

/// The eight digits of a number below 100,000,000, all at once: halves of four, pairs of two, digits.
#[inline]
pub(crate) fn digits(number: u32) -> [u8; 8] {
    // The first digits are in the low bits, which come first.
    let split = |value: u64, tens: u64, of: u64, width: u32| {
        tens.wrapping_add(value.wrapping_sub(tens.wrapping_mul(of)) << width)
    };
    let number = u64::from(number);
    let halves = split(number, number / 10_000, 10_000, 32);
    let pairs = split(halves, halves.wrapping_mul(10_486) >> 20 & 0x7f_0000_007f, 100, 16);
    let digits = split(pairs, pairs.wrapping_mul(103) >> 10 & 0x000f_000f_000f_000f, 10, 8);
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_digits_of_a_number_are_its_digits() {
        for number in (0..10_000).map(|number| number * 10_000 + 9_999 - number).chain(0..10_000) {
            assert_eq!(digits(number), *format!("{number:08}").as_bytes(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn all_digits_at_once_are_those_one_by_one(number in 0..100_000_000_u32) {
            prop_assert_eq!(digits(number), last_digits::<8>(number));
        }
    }

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
}
