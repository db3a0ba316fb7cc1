//! Does a value look like random bytes, or like something that a person wrote?

use super::is_word;

/// The longest prefix that is looked at.
const LOOK: usize = 512;

/// At least 16 characters of a token's alphabet, letters and digits in turns, and no shape that is known to be harmless.
pub(crate) fn looks_random(value: &[u8]) -> bool {
    let value = value.get(..value.len().min(LOOK)).unwrap_or_default();
    if value.len() < 16 || is_uuid(value) {
        return false;
    }
    let mut digits = 0_usize;
    let mut letters = 0_usize;
    let mut turns = 0_usize;
    let mut last = Kind::Other;
    let mut seen = [0_u16; 128];
    for &byte in value {
        let kind = match byte {
            b'0'..=b'9' => {
                digits = digits.saturating_add(1);
                Kind::Digit
            }
            b'a'..=b'z' => {
                letters = letters.saturating_add(1);
                Kind::Lower
            }
            b'A'..=b'Z' => {
                letters = letters.saturating_add(1);
                Kind::Upper
            }
            b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'~' | b'%' => Kind::Other,
            _ => return false,
        };
        if last != Kind::Other && kind != Kind::Other && kind != last {
            turns = turns.saturating_add(1);
        }
        last = kind;
        if let Some(count) = seen.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    digits >= 2 && letters >= 2 && turns.saturating_mul(6) >= value.len() && entropy(&seen, value.len()) >= 3.0
}

/// How often a capital, a small letter or a digit follows one of the others; and how many digits and pairs of capitals there are,
/// which names written in one (`getUserName`) lack.
pub(crate) fn turns(value: &[u8]) -> (usize, usize) {
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let windows = || value.iter().copied().zip(value.iter().copied().skip(1));
    let turns = windows().filter(|(one, other)| kind(*one) != kind(*other)).count();
    let pairs = windows().filter(|(one, other)| one.is_ascii_uppercase() && other.is_ascii_uppercase()).count();
    (turns, value.iter().filter(|byte| byte.is_ascii_digit()).count().saturating_add(pairs))
}

/// Random, or letters that only chance puts together: for a value whose name makes one suspicious.
pub(crate) fn looks_opaque(value: &[u8]) -> bool {
    let value = unversioned(value);
    looks_random(value) || is_jumble(value)
}

/// `SalesResults-1.2` without the version at its end, whose digits mean nothing.
fn unversioned(value: &[u8]) -> &[u8] {
    let version = value.iter().rposition(|byte| !byte.is_ascii_digit() && *byte != b'.');
    let Some(dash) = version.filter(|&dash| matches!(value.get(dash), Some(b'-' | b'_'))) else { return value };
    let number = value.get(dash.saturating_add(1)..).unwrap_or_default();
    let is_version = number.len() >= 3 && number.contains(&b'.') && number.first() != Some(&b'.');
    if is_version { value.get(..dash).unwrap_or_default() } else { value }
}

/// At least 20 letters and digits, small ones and capitals in turns, no word among them.
fn is_jumble(value: &[u8]) -> bool {
    let long = (20..=LOOK).contains(&value.len());
    if !long || !value.iter().all(|byte| is_word(*byte)) {
        return false;
    }
    let (turns, odd) = turns(value);
    let word = value.split(|byte| !byte.is_ascii_lowercase()).map(<[u8]>::len).max().unwrap_or(0);
    odd >= 2 && word < 7 && turns.saturating_mul(3) >= value.len() && value.iter().any(u8::is_ascii_lowercase)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digit,
    Lower,
    Upper,
    Other,
}

/// Bits per character.
fn entropy(seen: &[u16; 128], len: usize) -> f32 {
    let len = f32::from(u16::try_from(len).unwrap_or(u16::MAX));
    seen.iter().filter(|&&count| count > 0).fold(0.0, |bits, &count| {
        let share = f32::from(count) / len;
        share.mul_add(-share.log2(), bits)
    })
}

pub(crate) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A word as in prose: what follows `token:` in "unexpected token: identifier".
pub(crate) fn is_prose(value: &[u8]) -> bool {
    if value.len() > 64 {
        return false;
    }
    let word = value.strip_suffix(b".").unwrap_or(value);
    let tail = word.get(1..).unwrap_or_default();
    let lower = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b'\'' | b'/' | b'.');
    let short_number = word.len() <= 5 && word.iter().all(u8::is_ascii_digit);
    short_number
        || (word.len() <= 24 && tail.iter().all(lower) || word.iter().all(u8::is_ascii_uppercase) && word.len() <= 12)
        || !value.iter().any(u8::is_ascii_alphanumeric)
        || value.iter().all(|byte| !is_word(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_distinguished_from_words() {
        for random in [
            &b"9f86d081884c7d659a2feaa0c55ad015"[..],
            b"Zx81kPq0LmN44rTvYw2s",
            b"4/0AX4XfWh1k9Zq7Lm2Np3Rs5Tu8Vw",
            b"pI9j2Qm1Zk8wXv7T",
        ] {
            assert!(looks_random(random), "{}", String::from_utf8_lossy(random));
        }
        for written in [
            &b"users_by_email_2024_index"[..],
            b"550e8400-e29b-41d4-a716-446655440000",
            b"primary-key-of-2024-table",
            b"2024-01-02T03:04:05",
            b"1234567890123456",
            b"internationalization",
            b"short1",
            b"/api/v1/items/2024/list",
        ] {
            assert!(!looks_random(written), "{}", String::from_utf8_lossy(written));
        }
    }
}
