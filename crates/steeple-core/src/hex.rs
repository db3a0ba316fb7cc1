//! Hex digits: bytes that show as them, and the way back.

use std::fmt;

/// Bytes that show as lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// Wraps bytes.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn to_bytes(self) -> [u8; N] {
        self.0
    }

    /// Appends the hex digits.
    #[inline]
    pub fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(all_digits(self.0).as_flattened());
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(all_digits(self.0).as_flattened()).unwrap_or_default())
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as lower-case hex digits. Not `map`, which is a call.
#[inline]
pub(crate) fn all_digits<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    let mut all = [[0; 2]; N];
    for (pair, byte) in all.iter_mut().zip(bytes) {
        *pair = digits(byte);
    }
    all
}

/// A byte as two lower-case hex digits.
#[inline]
pub fn digits(byte: u8) -> [u8; 2] {
    #[expect(clippy::indexing_slicing, reason = "runs at compile time, where out of bounds does not compile")]
    static PAIRS: [[u8; 2]; 256] = {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
            byte += 1;
        }
        pairs
    };
    PAIRS.get(usize::from(byte)).copied().unwrap_or([b'0'; 2])
}

/// Reads `2 * N` lower-case hex digits. `None` for any other text, upper case included: what W3C Trace Context asks.
///
/// ```
/// assert_eq!(steeple_core::hex::decode(b"00ff"), Some([0, 255]));
/// assert_eq!(steeple_core::hex::decode::<2>(b"00FF"), None);
/// ```
#[inline]
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (words, rest) = text.as_chunks::<8>();
    let (parts, last) = bytes.as_chunks_mut::<4>();
    if words.len() != parts.len() || rest.len() != last.len().saturating_mul(2) {
        return None;
    }
    // Wrong digits are collected on the way, and looked at once.
    let mut others = 0;
    for (part, word) in parts.iter_mut().zip(words) {
        let (value, other) = hex_word(*word);
        *part = value;
        others |= other;
    }
    let (pairs, []) = rest.as_chunks::<2>() else { return None };
    for (byte, [high, low]) in last.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (others == 0).then_some(bytes)
}

/// Both ids of a trace, each as [`decode`] reads it, in one pass that has no branch for a digit: compilers make it one for sixteen.
#[inline]
pub(crate) fn decode_ids(trace: &[u8; 32], span: &[u8; 16]) -> Option<(u128, u64)> {
    let mut digits = [0; 48];
    let (long, short) = digits.split_at_mut(32);
    long.copy_from_slice(trace);
    short.copy_from_slice(span);
    let mut wrong = 0;
    for digit in &mut digits {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        *digit = if number < 10 { number } else { letter.wrapping_add(10) };
        wrong |= u8::from(number >= 10) & u8::from(letter >= 6);
    }
    let (words, []) = digits.as_chunks::<8>() else { return None };
    let [high, second, third, low, span_high, span_low] = words else { return None };
    let trace = u128::from(pairs(*high, *second)) << 64 | u128::from(pairs(*third, *low));
    (wrong == 0).then(|| (trace, pairs(*span_high, *span_low)))
}

/// Sixteen digits' values as a number.
#[inline]
fn pairs(high: [u8; 8], low: [u8; 8]) -> u64 {
    u64::from(side_by_side(u64::from_be_bytes(high))) << 32 | u64::from(side_by_side(u64::from_be_bytes(low)))
}

/// Eight digits' values, a byte each, as a number.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the upper half is a copy that was shifted out of place")]
fn side_by_side(values: u64) -> u32 {
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (fours | fours >> 16) as u32
}

/// One digit.
#[inline]
const fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit & 15),
        b'a'..=b'f' => Some((digit & 15).wrapping_add(9)),
        _ => None,
    }
}

/// Eight digits side by side, and beside them a number that is 0 if all of them are digits.
#[inline]
fn hex_word(digits: [u8; 8]) -> ([u8; 4], u64) {
    const ONES: u64 = u64::MAX / 255;
    let digits = u64::from_be_bytes(digits);
    // A letter has bit 6 set and is 9 more than its low half. No byte gets above 24, so none spills into the next.
    let values = (digits & ONES.wrapping_mul(15)).wrapping_add((digits >> 6 & ONES).wrapping_mul(9));
    // Written out again it must be the same: that distinguishes digits from everything else.
    let letters = values.wrapping_add(ONES.wrapping_mul(6)) >> 4 & ONES;
    let again = values.wrapping_add(ONES.wrapping_mul(0x30)).wrapping_add(letters.wrapping_mul(0x27));
    let others = values & ONES.wrapping_mul(0xf0) | again ^ digits;
    (side_by_side(values).to_be_bytes(), others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_lower_case_digits_are_digits_wherever_they_stand() {
        for byte in 0..=u8::MAX {
            let digit = char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
            for place in 0..8 {
                let mut word = *b"09afcd5b";
                word[place] = byte;
                let want = digit.map(|_| u32::from_str_radix(str::from_utf8(&word).unwrap(), 16).unwrap());
                let (value, others) = hex_word(word);
                assert_eq!((others == 0).then(|| u32::from_be_bytes(value)), want, "{byte:#x} at {place}");
                assert_eq!(decode(&word).map(u32::from_be_bytes), want, "{byte:#x} at {place}");
            }
            assert_eq!(super::digit(byte).map(u32::from), digit, "{byte:#x}");
            assert_eq!(decode(&[b'1', byte]), digit.map(|digit| [0x10 | u8::try_from(digit).unwrap()]));
        }
    }

    fn both(trace: &[u8; 32], span: &[u8; 16]) -> Option<(u128, u64)> {
        Some((u128::from_be_bytes(decode(trace)?), u64::from_be_bytes(decode(span)?)))
    }

    #[test]
    fn one_wrong_digit_anywhere_is_no_pair_of_ids() {
        for byte in 0..=u8::MAX {
            for place in 0..48 {
                let (mut trace, mut span) = (*b"0af7651916cd43dd8448eb211c80319c", *b"b7ad6b7169203331");
                *trace.iter_mut().chain(&mut span).nth(place).unwrap() = byte;
                assert_eq!(decode_ids(&trace, &span), both(&trace, &span), "{byte:#x} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn both_ids_are_read_as_each_is_alone(trace: u128, span: u64, wild: [u8; 32]) {
            let (trace, span) = (format!("{trace:032x}"), format!("{span:016x}"));
            let (trace, span) = (trace.as_bytes().first_chunk().unwrap(), span.as_bytes().first_chunk().unwrap());
            prop_assert_eq!(decode_ids(trace, span), both(trace, span));
            prop_assert!(decode_ids(trace, span).is_some());
            prop_assert_eq!(decode_ids(&wild, span), both(&wild, span));
        }

        #[test]
        fn what_is_shown_is_read_back(long: [u8; 16], short: [u8; 3]) {
            prop_assert_eq!(decode(Hex::new(long).to_string().as_bytes()), Some(long));
            prop_assert_eq!(decode(Hex::new(short).to_string().as_bytes()), Some(short));
            prop_assert_eq!(decode::<2>(Hex::new(short).to_string().as_bytes()), None);
        }
    }
}
