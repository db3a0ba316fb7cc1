//! W3C `tracestate`, bounded: what vendors on the way passed along.

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::TraceState;

pub(super) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// More members than this, and the whole list is discarded.
const MAX_MEMBERS: usize = 32;
/// The maximum that is propagated, in bytes. The standard asks for 512 at least.
const MAX_LEN: usize = 512;
/// Members longer than this go first when the list is too long.
const LONG_MEMBER: usize = 128;

/// A list as the caller sent it.
#[derive(Debug, PartialEq)]
pub(crate) struct Listed {
    /// The members that are passed on.
    pub(crate) header: Box<str>,
    /// Those of them that the SDK accepts: it is stricter about keys than the standard.
    pub(crate) state: TraceState,
}

/// Reads the list. `None` for an absent, an empty and an invalid one: the standard asks to discard that.
pub(crate) fn read(headers: &HeaderMap) -> Option<Listed> {
    let mut lines = headers.get_all(&TRACESTATE).iter().peekable();
    lines.peek()?;
    let mut members: Vec<(&str, &str)> = Vec::new();
    for line in lines {
        for member in line.to_str().ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=').filter(|(key, value)| is_key(key) && is_value(value))?;
            // A key may be there once; the left-most one is the newest.
            if members.iter().all(|(other, _)| *other != key) {
                members.push((key, value));
            }
            if members.len() > MAX_MEMBERS {
                return None;
            }
        }
    }
    shorten(&mut members);
    let (first, rest) = members.split_first()?;
    let mut header = format!("{}={}", first.0, first.1);
    for (key, value) in rest {
        header.extend([",", key, "=", value]);
    }
    let state = TraceState::from_key_value(members.iter().copied()).unwrap_or_else(|_refused| {
        let accepted = |member: &(&str, &str)| TraceState::from_key_value([*member]).is_ok();
        TraceState::from_key_value(members.iter().copied().filter(accepted)).unwrap_or_default()
    });
    Some(Listed { header: header.into_boxed_str(), state })
}

/// Leaves out whole members: the long ones first, then the right-most, until the rest fits.
fn shorten(members: &mut Vec<(&str, &str)>) {
    let len_of = |(key, value): &(&str, &str)| key.len().saturating_add(value.len()).saturating_add(1);
    let total = |members: &[(&str, &str)]| {
        members.iter().map(|member| len_of(member).saturating_add(1)).sum::<usize>().saturating_sub(1)
    };
    if total(members) > MAX_LEN {
        members.retain(|member| len_of(member) <= LONG_MEMBER);
    }
    while total(members) > MAX_LEN {
        members.pop();
    }
}

/// Level 2 of the standard, which allows everything that level 1 does.
fn is_key(key: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    key.len() <= 256
        && key.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && key.bytes().all(plain)
}

fn is_value(value: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len()) && value.bytes().all(plain) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("tracestate", HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[track_caller]
    fn check(lines: &[&str], want: &str) {
        assert_eq!(passed_on(&headers(lines)), want, "{lines:?}");
    }

    fn passed_on(headers: &HeaderMap) -> String {
        read(headers).map(|listed| listed.header.into_string()).unwrap_or_default()
    }

    #[test]
    fn keys_that_the_sdk_refuses_are_passed_on() {
        let listed = read(&headers(&["foo@@bar=1,bar=2"])).unwrap();
        assert_eq!((&*listed.header, listed.state.header().as_str()), ("foo@@bar=1,bar=2", "bar=2"));
    }

    #[test]
    fn members_keep_their_order_over_several_lines() {
        check(&["foo=1, bar=2", "\tbaz=3 ,"], "foo=1,bar=2,baz=3");
        check(&["foo=1,,bar=2"], "foo=1,bar=2");
        check(&["foo=1,foo=2"], "foo=1");
        check(&[], "");
    }

    #[test]
    fn one_invalid_member_discards_the_list() {
        for bad in ["foo", "Foo=1", "foo=", "foo=a=b", "=1", "foo=1,bar =2", "foo=\u{7f}"] {
            let Ok(value) = HeaderValue::from_bytes(bad.as_bytes()) else { continue };
            let mut headers = HeaderMap::new();
            headers.insert("tracestate", value);
            assert_eq!(read(&headers), None, "{bad:?}");
        }
    }

    #[test]
    fn too_many_members_discard_the_list_and_too_long_ones_leave_from_it() {
        let list = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(passed_on(&headers(&[&list(32)])).split(',').count(), 32);
        check(&[&list(33)], "");
        let long = format!("a=1,big={},b=2,also={}", "x".repeat(250), "y".repeat(250));
        check(&[&long], "a=1,b=2");
        let many = (0..20).map(|n| format!("key{n:02}={}", "v".repeat(40))).collect::<Vec<_>>().join(",");
        let kept = passed_on(&headers(&[&many]));
        assert!(kept.len() <= MAX_LEN && many.starts_with(&kept), "{kept}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_kept_is_bounded(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append("tracestate", value);
                }
            }
            prop_assert!(passed_on(&headers).len() <= MAX_LEN);
        }

        #[test]
        fn what_is_kept_is_read_back_the_same(members in prop::collection::vec(("[a-z][a-z0-9_*/-]{0,20}", "[!-+.-<>-~]{1,20}"), 0..8)) {
            let line = members.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            let once = passed_on(&headers(&[&line]));
            prop_assert_eq!(passed_on(&headers(&[&once])), once);
        }
    }
}
