//! Zipkin's B3 headers, one or several.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{B3, Incoming};
use steeple_core::TraceContext;

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Reads the one `b3` header, else, also where that is invalid, the `x-b3-*` ones.
pub(super) fn read(headers: &HeaderMap) -> Incoming {
    let single = headers.get(SINGLE).and_then(|single| read_single(single.to_str().ok()?));
    single.or_else(|| read_multi(headers)).unwrap_or_default()
}

/// What a caller decided.
#[derive(Clone, Copy, Default)]
struct Decision {
    asked: Option<bool>,
    debug: bool,
}

impl Decision {
    const DEBUG: Self = Self { asked: Some(true), debug: true };

    fn read(text: &str) -> Option<Self> {
        match text {
            "1" | "true" => Some(Self { asked: Some(true), debug: false }),
            "0" | "false" => Some(Self { asked: Some(false), debug: false }),
            "d" => Some(Self::DEBUG),
            _ => None,
        }
    }

    fn alone(self) -> Incoming {
        Incoming { asked: self.asked, debug: self.debug, ..Incoming::default() }
    }
}

/// `{trace}-{span}`, then `-{sampled}`, then `-{parent}`; or the decision alone.
fn read_single(value: &str) -> Option<Incoming> {
    let mut parts = value.trim().split('-');
    let trace = parts.next()?;
    let Some(span) = parts.next() else { return Decision::read(trace).map(Decision::alone) };
    let decision = match parts.next() {
        None => Decision::default(),
        Some(text) => Decision::read(text)?,
    };
    incoming(trace, span, decision)
}

fn read_multi(headers: &HeaderMap) -> Option<Incoming> {
    let get = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let decision = if get(FLAGS) == Some("1") { Some(Decision::DEBUG) } else { get(SAMPLED).and_then(Decision::read) };
    match (get(TRACE_ID), get(SPAN_ID)) {
        (Some(trace), Some(span)) => incoming(trace, span, decision.unwrap_or_default()),
        _ => decision.map(Decision::alone),
    }
}

fn incoming(trace: &str, span: &str, decision: Decision) -> Option<Incoming> {
    let trace = match trace.len() {
        // A short id is the right half of a long one.
        16 => u128::from(u64::from_str_radix(hex(trace)?, 16).ok()?),
        32 => u128::from_str_radix(hex(trace)?, 16).ok()?,
        _ => return None,
    };
    let span = if span.len() == 16 { u64::from_str_radix(hex(span)?, 16).ok()? } else { return None };
    let sampled = decision.asked.unwrap_or_default();
    let context = TraceContext::child_of(trace.to_be_bytes(), span.to_be_bytes(), sampled)?;
    Some(Incoming { context: Some(context), ..decision.alone() })
}

/// Digits alone: `from_str_radix` would take a sign.
fn hex(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(text)
}

/// Writes one form and removes existing headers of both.
pub(super) fn write(form: B3, context: &TraceContext, debug: bool, headers: &mut HeaderMap) {
    for stale in [SINGLE, TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS] {
        headers.remove(stale);
    }
    let sampled = match (debug, context.is_sampled()) {
        (true, _) => "d",
        (false, true) => "1",
        (false, false) => "0",
    };
    match form {
        B3::Single => insert(headers, SINGLE, format!("{}-{}-{sampled}", context.trace_id(), context.span_id())),
        B3::Multi => {
            insert(headers, TRACE_ID, context.trace_id().to_string());
            insert(headers, SPAN_ID, context.span_id().to_string());
            // The debug flag implies the decision, which is not sent beside it.
            let (name, value) = if debug { (FLAGS, "1") } else { (SAMPLED, sampled) };
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_maybe_shared(value.into_bytes()) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    /// Trace, decision and debug flag.
    #[track_caller]
    fn check(pairs: &[(&'static str, &str)], want: (Option<&str>, Option<bool>, bool)) {
        let incoming = read(&headers(pairs));
        let trace = incoming.context.map(|context| context.trace_id().to_string());
        assert_eq!((trace.as_deref(), incoming.asked, incoming.debug), want, "{pairs:?}");
    }

    const NOTHING: (Option<&str>, Option<bool>, bool) = (None, None, false);

    #[test]
    fn one_header_has_ids_and_the_decision() {
        check(&[("b3", &format!("{TRACE}-{SPAN}-1"))], (Some(TRACE), Some(true), false));
        check(&[("b3", &format!("{TRACE}-{SPAN}-d"))], (Some(TRACE), Some(true), true));
        check(&[("b3", &format!("{TRACE}-{SPAN}-0-00f067aa0ba902b7"))], (Some(TRACE), Some(false), false));
        check(&[("b3", &format!("{TRACE}-{SPAN}"))], (Some(TRACE), None, false));
        let padded = "00000000000000008448eb211c80319c";
        check(&[("b3", &format!("8448eb211c80319c-{SPAN}-1"))], (Some(padded), Some(true), false));
        for bad in ["", "-", &format!("{TRACE}-{SPAN}-x"), &format!("+{}-{SPAN}-1", &TRACE[1..])] {
            check(&[("b3", bad)], NOTHING);
        }
        check(&[("b3", &format!("{}-{SPAN}-1", "0".repeat(32)))], NOTHING);
    }

    #[test]
    fn a_decision_alone_is_a_decision() {
        check(&[("b3", "0")], (None, Some(false), false));
        check(&[("b3", "1")], (None, Some(true), false));
        check(&[("b3", "d")], (None, Some(true), true));
        check(&[("x-b3-sampled", "0")], (None, Some(false), false));
        check(&[("x-b3-flags", "1")], (None, Some(true), true));
    }

    #[test]
    fn several_headers_mean_the_same() {
        let short = "8448eb211c80319c";
        let ids = [("x-b3-traceid", short), ("x-b3-spanid", SPAN)];
        let padded = "00000000000000008448eb211c80319c";
        check(&ids, (Some(padded), None, false));
        check(&[ids[0], ids[1], ("x-b3-sampled", "0")], (Some(padded), Some(false), false));
        check(&[ids[0], ids[1], ("x-b3-sampled", "0"), ("x-b3-flags", "1")], (Some(padded), Some(true), true));
        check(&[ids[0], ids[1], ("x-b3-sampled", "maybe"), ("x-b3-flags", "0")], (Some(padded), None, false));
    }

    #[test]
    fn the_one_header_comes_first_unless_it_is_invalid() {
        let multi = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "0")];
        let with = |single: &str| {
            let incoming = read(&headers(&[("b3", single), multi[0], multi[1], multi[2]]));
            (incoming.context.map(|context| context.trace_id().to_string()), incoming.asked)
        };
        assert_eq!(with(&format!("{}-{SPAN}-1", "9".repeat(32))), (Some("9".repeat(32)), Some(true)));
        for bad in ["", "garbage", &format!("{TRACE}-{SPAN}-x"), &format!("{}-{SPAN}-1", "0".repeat(32))] {
            assert_eq!(with(bad), (Some(TRACE.to_owned()), Some(false)), "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_replaces_both_forms() {
        let context = TraceContext::from_ids([1; 16], [2; 8], true).unwrap();
        let (trace, span) = (context.trace_id().to_string(), context.span_id().to_string());
        let stale = [
            ("b3", "0"),
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-parentspanid", SPAN),
            ("x-b3-sampled", "0"),
            ("x-b3-flags", "1"),
        ];
        for (debug, flag) in [(false, "1"), (true, "d")] {
            let mut written = headers(&stale);
            write(B3::Single, &context, debug, &mut written);
            assert_eq!(written, headers(&[("b3", &format!("{trace}-{span}-{flag}"))]));
        }
        let mut written = headers(&stale);
        write(B3::Multi, &context, true, &mut written);
        assert_eq!(written, headers(&[("x-b3-traceid", &trace), ("x-b3-spanid", &span), ("x-b3-flags", "1")]));
    }

    proptest! {
        #[test]
        fn no_text_panics(value in "\\PC{0,80}") {
            let _read = read_single(&value);
        }

        #[test]
        fn what_is_written_is_read_back(trace in 1_u128.., span in 1_u64.., sampled: bool, debug: bool) {
            let context = TraceContext::from_ids(trace.to_be_bytes(), span.to_be_bytes(), sampled).unwrap();
            for form in [B3::Single, B3::Multi] {
                let mut headers = HeaderMap::new();
                write(form, &context, debug, &mut headers);
                let back = read(&headers);
                let ids = back.context.unwrap();
                prop_assert_eq!((ids.trace_id(), ids.parent_id()), (context.trace_id(), Some(context.span_id())));
                prop_assert_eq!((back.asked, back.debug), (Some(sampled || debug), debug));
            }
        }
    }
}
