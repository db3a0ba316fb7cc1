//! Zipkin's B3 headers, one or several.

use http::{HeaderMap, HeaderValue};

use super::Incoming;
use steeple_core::TraceContext;

/// Reads the one `b3` header, else the `x-b3-*` ones.
pub(super) fn read(headers: &HeaderMap) -> Option<Incoming> {
    match headers.get("b3") {
        Some(single) => read_single(single.to_str().ok()?),
        None => read_multi(headers),
    }
}

/// `{trace}-{span}`, then `-{sampled}`, then `-{parent}`; or the decision alone, which continues nothing.
fn read_single(value: &str) -> Option<Incoming> {
    let mut parts = value.trim().split('-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let asked = match parts.next() {
        None => None,
        Some(flag) => Some(flag_of(flag)?),
    };
    incoming(trace, span, asked)
}

fn read_multi(headers: &HeaderMap) -> Option<Incoming> {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let debug = get("x-b3-flags") == Some("1");
    let asked = if debug { Some(true) } else { get("x-b3-sampled").and_then(flag_of) };
    incoming(get("x-b3-traceid")?, get("x-b3-spanid")?, asked)
}

fn flag_of(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn incoming(trace: &str, span: &str, asked: Option<bool>) -> Option<Incoming> {
    let trace = match trace.len() {
        // A short id is the right half of a long one.
        16 => u128::from(u64::from_str_radix(hex(trace)?, 16).ok()?),
        32 => u128::from_str_radix(hex(trace)?, 16).ok()?,
        _ => return None,
    };
    let span = if span.len() == 16 { u64::from_str_radix(hex(span)?, 16).ok()? } else { return None };
    let context = TraceContext::child_of(trace.to_be_bytes(), span.to_be_bytes(), asked.unwrap_or_default())?;
    Some(Incoming { context, asked })
}

/// Digits alone: `from_str_radix` would take a sign.
fn hex(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(text)
}

pub(super) fn write_single(context: &TraceContext, headers: &mut HeaderMap) {
    let value = format!("{}-{}-{}", context.trace_id(), context.span_id(), u8::from(context.is_sampled()));
    super::insert(headers, "b3", HeaderValue::from_str(&value));
}

pub(super) fn write_multi(context: &TraceContext, headers: &mut HeaderMap) {
    super::insert(headers, "x-b3-traceid", HeaderValue::from_str(&context.trace_id().to_string()));
    super::insert(headers, "x-b3-spanid", HeaderValue::from_str(&context.span_id().to_string()));
    let sampled = if context.is_sampled() { "1" } else { "0" };
    super::insert(headers, "x-b3-sampled", Ok(HeaderValue::from_static(sampled)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[track_caller]
    fn check(value: &str, want: Result<Option<bool>, ()>) {
        assert_eq!(read_single(value).map(|incoming| incoming.asked).ok_or(()), want, "{value:?}");
    }

    #[test]
    fn one_header_says_ids_and_decision() {
        check(&format!("{TRACE}-{SPAN}-1"), Ok(Some(true)));
        check(&format!("{TRACE}-{SPAN}-d"), Ok(Some(true)));
        check(&format!("{TRACE}-{SPAN}-0-00f067aa0ba902b7"), Ok(Some(false)));
        check(&format!("{TRACE}-{SPAN}"), Ok(None));
        check(&format!("8448eb211c80319c-{SPAN}-1"), Ok(Some(true)));
        for bad in ["0", "", "-", &format!("{TRACE}-{SPAN}-x"), &format!("+{}-{SPAN}-1", &TRACE[1..])] {
            check(bad, Err(()));
        }
        check(&format!("{}-{SPAN}-1", "0".repeat(32)), Err(()));
    }

    #[test]
    fn several_headers_say_the_same() {
        let mut headers = HeaderMap::new();
        headers.insert("x-b3-traceid", HeaderValue::from_static("8448eb211c80319c"));
        headers.insert("x-b3-spanid", HeaderValue::from_static(SPAN));
        headers.insert("x-b3-flags", HeaderValue::from_static("1"));
        let incoming = read(&headers).unwrap();
        assert_eq!(incoming.context.trace_id().to_string(), "00000000000000008448eb211c80319c");
        assert_eq!(incoming.asked, Some(true));
    }

    proptest! {
        #[test]
        fn no_text_panics(value in "\\PC{0,80}") {
            let _read = read_single(&value);
        }

        #[test]
        fn what_is_written_is_read_back(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let context = TraceContext::from_ids(trace.to_be_bytes(), span.to_be_bytes(), sampled).unwrap();
            for write in [write_single, write_multi] {
                let mut headers = HeaderMap::new();
                write(&context, &mut headers);
                let back = read(&headers).unwrap();
                prop_assert_eq!(back.context.trace_id(), context.trace_id());
                prop_assert_eq!(back.context.parent_id(), Some(context.span_id()));
                prop_assert_eq!(back.asked, Some(sampled));
            }
        }
    }
}
