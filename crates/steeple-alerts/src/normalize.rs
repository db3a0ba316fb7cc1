//! Error messages without what differs from one to the next: ids, numbers, addresses, dates.

use std::{net::IpAddr, str::FromStr as _};

use steeple_core::text::cut;

/// The most bytes of a normalized message.
pub const MAX_MESSAGE: usize = 256;

/// The most bytes of a message that are looked at.
const MAX_INPUT: usize = 4096;

/// Replaces what differs between two messages of the same kind of error: e-mail addresses, URLs, IP addresses, UUIDs,
/// dates, durations, hexadecimal and decimal numbers, and quoted values. One pass, linear; at most [`MAX_MESSAGE`] bytes.
///
/// # Examples
/// ```
/// use steeple_alerts::normalize::normalize;
///
/// assert_eq!(normalize("user 42 at 10.0.0.7:5432 not found after 1.5s"), "user <int> at <ip> not found after <duration>");
/// assert_eq!(normalize("order-4711: timeout"), normalize("order-815: timeout"));
/// ```
pub fn normalize(message: &str) -> String {
    let message = cut(message, MAX_INPUT);
    let mut out = String::with_capacity(message.len().min(MAX_MESSAGE));
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        if out.len() >= MAX_MESSAGE {
            break;
        }
        if first.is_whitespace() || first.is_control() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
            rest = skip(rest, first.len_utf8());
        } else if matches!(first, '"' | '\'' | '`') && out.ends_with(['=', ':', ' ', '(', '[']) {
            let inside = skip(rest, first.len_utf8());
            if let Some(end) = inside.find(first) {
                out.push_str("<text>");
                rest = skip(inside, end.saturating_add(first.len_utf8()));
            } else {
                out.push(first);
                rest = inside;
            }
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            word(rest.get(..end).unwrap_or(rest), &mut out);
            rest = skip(rest, end);
        } else {
            out.push(first);
            rest = skip(rest, first.len_utf8());
        }
    }
    out.truncate(cut(&out, MAX_MESSAGE).len());
    out.truncate(out.trim_end().len());
    out
}

fn skip(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}

/// What may be inside of an address, a number, a date or a URL.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "._:/@%+~#?&-".contains(c)
}

fn word(word: &str, out: &mut String) {
    let body = word.trim_end_matches(['.', ':', '?', '-', '/']);
    let tail = word.get(body.len()..).unwrap_or_default();
    if body.contains("://") {
        out.push_str("<url>");
    } else if is_email(body) {
        out.push_str("<email>");
    } else if is_address(body) {
        out.push_str("<ip>");
    } else if is_uuid(body) {
        out.push_str("<uuid>");
    } else if is_date(body) {
        out.push_str("<date>");
    } else if let Some(kind) = number(body) {
        out.push_str(kind);
    } else {
        parts(body, out);
    }
    out.push_str(tail);
}

/// Any other word: its parts between `.`, `:`, `/`, `-`, `_` are looked at one by one.
fn parts(word: &str, out: &mut String) {
    let mut rest = word;
    loop {
        let end = rest.find(['.', ':', '/', '-', '_', '@', '%', '+', '~', '#', '?', '&']).unwrap_or(rest.len());
        part(rest.get(..end).unwrap_or(rest), out);
        let Some(separator) = rest.get(end..).and_then(|rest| rest.chars().next()) else { return };
        out.push(separator);
        rest = skip(rest, end.saturating_add(separator.len_utf8()));
    }
}

fn part(part: &str, out: &mut String) {
    if let Some(kind) = number(part) {
        out.push_str(kind);
        return;
    }
    let mut in_digits = false;
    for c in part.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !in_digits {
            out.push_str("<int>");
        }
        in_digits = c.is_ascii_digit();
    }
}

fn is_email(word: &str) -> bool {
    word.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
}

fn is_address(word: &str) -> bool {
    let host = word.rsplit_once(':').map_or(word, |(host, port)| if is_digits(port) { host } else { word });
    let has_shape = |text: &str| text.contains('.') || text.matches(':').count() >= 2;
    (has_shape(word) && IpAddr::from_str(word).is_ok()) || (has_shape(host) && IpAddr::from_str(host).is_ok())
}

fn is_uuid(word: &str) -> bool {
    let mut lengths = [8, 4, 4, 4, 12].into_iter();
    let fits = word.split('-').all(|group| Some(group.len()) == lengths.next() && is_hex_digits(group));
    fits && lengths.next().is_none()
}

/// `2026-11-29`, `2026-11-29T20:15:00Z`, `20:15:00`.
fn is_date(word: &str) -> bool {
    let day = word.get(..10).is_some_and(|day| {
        day.bytes()
            .enumerate()
            .all(|(place, byte)| if place == 4 || place == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    });
    let time = || {
        let mut fields = word.split(':');
        let two = |field: Option<&str>| field.is_some_and(|field| field.len() == 2 && is_digits(field));
        let second = |field: Option<&str>| field.is_none_or(|field| field.split('.').all(is_digits));
        two(fields.next()) && two(fields.next()) && second(fields.next()) && fields.next().is_none()
    };
    day || time()
}

/// What kind of number this is.
fn number(word: &str) -> Option<&'static str> {
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return is_hex_digits(hex).then_some("<hex>");
    }
    if is_digits(unsigned) {
        return Some("<int>");
    }
    if let Some((whole, fraction)) = unsigned.split_once('.')
        && is_digits(whole)
        && is_digits(fraction)
    {
        return Some("<float>");
    }
    let unit = unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if unit.len() < unsigned.len() && matches!(unit, "ns" | "us" | "µs" | "ms" | "s" | "sec" | "m" | "min" | "h" | "d")
    {
        return Some("<duration>");
    }
    let has_digit = unsigned.bytes().any(|byte| byte.is_ascii_digit());
    (unsigned.len() >= 8 && has_digit && is_hex_digits(unsigned)).then_some("<hex>")
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_is_replaced_and_words_stay() {
        for (message, want) in [
            ("connection to 10.1.2.3:5432 refused", "connection to <ip> refused"),
            ("connection to [::1]:80 refused", "connection to [<ip>]:<int> refused"),
            ("no user ada@example.org", "no user <email>"),
            ("GET https://shop.example/items/42?x=1 failed", "GET <url>=<int> failed"),
            ("row 01a20a66-4b8a-7456-8563-1905ed7b1c80 is gone", "row <uuid> is gone"),
            ("expired at 2026-11-29T20:15:00Z", "expired at <date>"),
            ("took 1.5s, limit 300ms", "took <duration>, limit <duration>"),
            ("commit deadbeef12 at 0x7ffe", "commit <hex> at <hex>"),
            ("user42 has order-4711 of 12.50", "user<int> has order-<int> of <float>"),
            ("name=\"Ada Lovelace\" is taken", "name=<text> is taken"),
            (
                "duplicate key value violates unique constraint \"users_email_key\"",
                "duplicate key value violates unique constraint <text>",
            ),
            ("can't  open\n\tfile", "can't open file"),
            ("IO error: broken pipe", "IO error: broken pipe"),
            ("std::io::Error", "std::io::Error"),
            ("", ""),
        ] {
            assert_eq!(normalize(message), want, "{message}");
        }
    }

    #[test]
    fn messages_that_differ_by_their_ids_alone_are_the_same() {
        let first = normalize("task 1 of user 01a20a66-4b8a-7456-8563-1905ed7b1c80 failed at 20:15:00");
        for n in 0..100 {
            let other =
                normalize(&format!("task {n} of user 01a20a66-4b8a-7456-8563-{n:012x} failed at 20:15:{:02}", n % 60));
            assert_eq!(other, first);
        }
    }

    proptest! {
        #[test]
        fn normalized_messages_are_bounded_and_stable(message in "\\PC{0,600}") {
            let once = normalize(&message);
            prop_assert!(once.len() <= MAX_MESSAGE);
            prop_assert!(!once.ends_with(' '));
        }
    }
}
