//! Card numbers, IBANs and social security numbers.

use super::{Findings, add, at, before, cut, is_alnum, run, run_back};
use crate::{marker::Rule, scan};

/// A social security number has 9 digits, and the IBAN with the fewest digits has as many.
pub(crate) const FEWEST: u32 = 9;

pub(crate) fn find(text: &[u8], findings: &mut Findings) {
    // The end of the last word that was looked at.
    let mut from = 0;
    for digit in scan::places(text, scan::is_digit) {
        if digit < from {
            continue;
        }
        // The first digit of its word: an IBAN has two letters before it.
        let end = if is_alnum(before(text, digit)) {
            let start = digit.saturating_sub(2);
            let begins = digit >= from.saturating_add(2) && !is_alnum(before(text, start)) && is_alnum(at(text, start));
            let end = if begins { iban(text, start) } else { None };
            end.inspect(|&end| add(findings, start, end, Rule::Iban)).unwrap_or_else(|| run(text, digit, is_alnum))
        } else {
            let word = run(text, digit, is_alnum);
            number(text, digit, word, findings).unwrap_or(word)
        };
        from = end;
    }
}

fn number(text: &[u8], start: usize, word: usize, findings: &mut Findings) -> Option<usize> {
    // A card in one piece, or the first group of one: social security numbers begin with three digits.
    if !matches!(word.saturating_sub(start), 3 | 4 | 6 | 8 | 9 | 13..=19) {
        return None;
    }
    let goes_on = match (word.saturating_sub(start), at(text, word)) {
        (9.., _) => true,
        (3, separator) => matches!(separator, b' ' | b'-'),
        (_, separator) => matches!(separator, b' ' | b'-' | b'.'),
    };
    if !goes_on || word.saturating_sub(start) < 9 && !at(text, word.saturating_add(1)).is_ascii_digit() {
        return None;
    }
    let (end, rule) = match card(text, start) {
        Some(end) => (end, Rule::Card),
        None => (ssn(text, start)?, Rule::Ssn),
    };
    add(findings, start, end, rule);
    Some(end)
}

/// The groups in which cards are printed; a single group may have any length that an issuer uses.
const GROUPS: [&[usize]; 9] = [
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4],
    &[4, 4, 4, 3],
    &[4, 4, 4, 1],
    &[4, 6, 5],
    &[4, 6, 4],
    &[8, 8],
    &[6, 10],
];

fn card(text: &[u8], start: usize) -> Option<usize> {
    // A fraction's digits, `0.4111…`, are not a card number.
    if before(text, start) == b'.' && before(text, start.saturating_sub(1)).is_ascii_digit() {
        return None;
    }
    let first = run(text, start, |byte| byte.is_ascii_digit());
    let len = first.saturating_sub(start);
    if (13..=19).contains(&len) {
        let dash = before(text, start) == b'-' && before(text, start.saturating_sub(1)).is_ascii_alphanumeric();
        return (!dash && ends_here(text, first, b'-') && is_card(cut(text, start, first).iter().copied()))
            .then_some(first);
    }
    let separator = at(text, first);
    if !matches!(separator, b' ' | b'-' | b'.') {
        return None;
    }
    if separator != b' ' && before(text, start) == separator {
        return None;
    }
    GROUPS.iter().filter(|groups| groups.first() == Some(&len)).find_map(|groups| {
        let end = grouped(text, start, groups, separator)?;
        let digits = cut(text, start, end).iter().copied().filter(u8::is_ascii_digit);
        is_card(digits).then_some(end)
    })
}

/// The end of digits in `groups`, `separator` between them.
fn grouped(text: &[u8], start: usize, groups: &[usize], separator: u8) -> Option<usize> {
    let mut end = start;
    for (nth, len) in groups.iter().enumerate() {
        if nth > 0 {
            if at(text, end) != separator {
                return None;
            }
            end = end.saturating_add(1);
        }
        let next = run(cut(text, 0, text.len().min(end.saturating_add(20))), end, |byte| byte.is_ascii_digit());
        if next.saturating_sub(end) != *len {
            return None;
        }
        end = next;
    }
    ends_here(text, end, separator).then_some(end)
}

fn ends_here(text: &[u8], end: usize, separator: u8) -> bool {
    let next = at(text, end);
    let more = at(text, end.saturating_add(1));
    !(next.is_ascii_alphanumeric()
        || next == b'_'
        || matches!(next, b'.' | b'-') && (separator == next || next == b'.') && more.is_ascii_alphanumeric())
}

/// Issuer, length and check digit.
pub(crate) fn is_card(digits: impl DoubleEndedIterator<Item = u8> + Clone) -> bool {
    let len = digits.clone().count();
    let head = digits
        .clone()
        .take(4)
        .fold(0_u32, |head, digit| head.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0'))));
    let issued = match head {
        4000..=4999 => matches!(len, 13 | 16 | 18 | 19), // Visa
        5100..=5599 | 2221..=2720 => len == 16,          // Mastercard
        3400..=3499 | 3700..=3799 => len == 15,          // American Express
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => matches!(len, 14 | 16..=19), // Diners
        3528..=3589 | 6011 | 6440..=6599 | 6200..=6299 | 8100..=8171 => matches!(len, 16..=19), // JCB, Discover, UnionPay
        2200..=2204 | 5000..=5099 | 5600..=5899 | 6300..=6399 | 6700..=6799 => matches!(len, 16 | 18 | 19), // Mir, Maestro
        _ => false,
    };
    issued && luhn(digits)
}

fn luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let sum = digits.rev().enumerate().fold(0_u32, |sum, (nth, digit)| {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        let value = match (nth % 2, digit) {
            (0, digit) => digit,
            (_, digit @ 0..=4) => digit.saturating_mul(2),
            (_, digit) => digit.saturating_mul(2).saturating_sub(9),
        };
        sum.saturating_add(value)
    });
    sum % 10 == 0
}

/// Country and length of its IBANs: SWIFT's registry.
const IBANS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27\
GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30\
NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

fn iban_len(country: [u8; 2]) -> Option<usize> {
    let row = IBANS.chunks_exact(4).find(|row| row.starts_with(&country))?;
    let digit = |nth| usize::from(at(row, nth).wrapping_sub(b'0'));
    Some(digit(2).saturating_mul(10).saturating_add(digit(3)))
}

/// The end of an IBAN that begins at `start`: in one piece, or in groups of four.
fn iban(text: &[u8], start: usize) -> Option<usize> {
    let country = [at(text, start).to_ascii_uppercase(), at(text, start.saturating_add(1)).to_ascii_uppercase()];
    if !at(text, start.saturating_add(3)).is_ascii_digit() {
        return None;
    }
    let want = iban_len(country)?;
    let separator = match at(text, start.saturating_add(4)) {
        separator @ (b' ' | b'-') => separator,
        _ => 0,
    };
    let mut end = start;
    let mut count = 0_usize;
    while count < want {
        let byte = at(text, end);
        if byte == separator && separator != 0 && count > 0 && count.is_multiple_of(4) && before(text, end) != separator
        {
            end = end.saturating_add(1);
        } else if byte.is_ascii_alphanumeric() {
            count = count.saturating_add(1);
            end = end.saturating_add(1);
        } else {
            return None;
        }
    }
    let done = !at(text, end).is_ascii_alphanumeric() && at(text, end) != b'_';
    (done && mod97(cut(text, start, end)) == 1).then_some(end)
}

fn mod97(iban: &[u8]) -> u32 {
    let (head, tail) = iban.split_at_checked(4).unwrap_or((iban, &[]));
    let all = tail.iter().chain(head).filter(|byte| byte.is_ascii_alphanumeric());
    all.fold(0_u32, |rest, byte| {
        let value = u32::from(byte.to_ascii_uppercase());
        let (scale, value) =
            if byte.is_ascii_digit() { (10, value.wrapping_sub(48)) } else { (100, value.wrapping_sub(55)) };
        rest.wrapping_mul(scale).wrapping_add(value) % 97
    })
}

/// `123-45-6789` with the word for it in the 40 bytes before.
fn ssn(text: &[u8], start: usize) -> Option<usize> {
    let separator = at(text, start.saturating_add(3));
    let end = match separator {
        b'-' | b' ' => grouped(text, start, &[3, 2, 4], separator)?,
        _ => grouped(text, start, &[9], b'-')?,
    };
    let from = run_back(text, start, 40, |byte| byte != b'\n');
    let mut near = [0_u8; 40];
    let context = cut(text, from, start);
    near.iter_mut().zip(context).for_each(|(to, from)| *to = from.to_ascii_lowercase());
    let near = near.get(..context.len()).unwrap_or_default();
    let words = [
        &b"ssn"[..],
        b"social security",
        b"social_security",
        b"social-security",
        b"socialsecurity",
        b"tax id",
        b"tax_id",
    ];
    words.iter().any(|word| memchr::memmem::find(near, word).is_some()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[(&str, Rule)]) {
        let mut findings = Findings::new();
        find(text.as_bytes(), &mut findings);
        let got: Vec<_> = findings.iter().map(|found| (&text[found.start..found.end], found.rule)).collect();
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn cards_are_known_by_issuer_length_and_check_digit() {
        check("card 4111111111111111.", &[("4111111111111111", Rule::Card)]);
        check("4111 1111 1111 1111", &[("4111 1111 1111 1111", Rule::Card)]);
        check("12 4111-1111-1111-1111,", &[("4111-1111-1111-1111", Rule::Card)]);
        check("3782 822463 10005", &[("3782 822463 10005", Rule::Card)]);
        check("30569309025904", &[("30569309025904", Rule::Card)]);
        check("4111111111111112", &[]);
        check("1700000000000000000", &[]);
        check("0.4111111111111111", &[]);
        check("a4111111111111111", &[]);
        check("4111111111111111a", &[]);
        check("4111 1111 1111 11111", &[]);
    }

    #[test]
    fn ibans_are_known_by_country_length_and_check_digits() {
        check("to DE89370400440532013000!", &[("DE89370400440532013000", Rule::Iban)]);
        check("GB82 WEST 1234 5698 7654 32", &[("GB82 WEST 1234 5698 7654 32", Rule::Iban)]);
        check("NO93 8601 1117 947", &[("NO93 8601 1117 947", Rule::Iban)]);
        check("DE88370400440532013000", &[]);
        check("XX89370400440532013000", &[]);
    }

    #[test]
    fn a_social_security_number_needs_its_name() {
        check("SSN 078-05-1120", &[("078-05-1120", Rule::Ssn)]);
        check("Social Security number is 078051120", &[("078051120", Rule::Ssn)]);
        check("part 078-05-1120", &[]);
    }
}
