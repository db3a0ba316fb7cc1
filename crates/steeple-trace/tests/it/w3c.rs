//! The cases of W3C's own test suites for trace context and baggage, under the suites' names.
//!
//! A service that is watched by this crate gets the headers and calls another one through the client layer: what arrives
//! there is compared. With an exporter, with one that samples nothing, and without any.
//!
//! # Source
//! `test/test.py` of w3c/trace-context at acab820, `test/test_baggage.py` of w3c/baggage at 9af80f4.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, routing::get as on_get};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry::{Context, baggage::BaggageExt};
use steeple_core::{ObserveLayer, TraceContext};
use steeple_trace::{ClientSpans, PassThrough, Sampling, Trace};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Rig, ask};

type Headers = Vec<(&'static str, String)>;

/// A service under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Exported,
    NotSampled,
    NoExporter,
    /// Records nothing and passes on what came, as the facade does where no receiver is configured.
    PassThrough,
}

const RECORDING: [Mode; 3] = [Mode::Exported, Mode::NotSampled, Mode::NoExporter];

/// What the service calls others with, and the baggage that its handler sees: `key=value` pairs with properties.
struct Seen {
    calls: Vec<HeaderMap>,
    baggage: Vec<String>,
}

async fn serve(mode: Mode, headers: &Headers, calls: usize) -> Seen {
    let none = || Trace::builder().build().unwrap();
    let rig = match mode {
        Mode::Exported => Some(Rig::new(Trace::builder())),
        Mode::NotSampled => Some(Rig::new(Trace::builder().sampling(Sampling::always_off()))),
        Mode::NoExporter | Mode::PassThrough => None,
    };
    let trace = rig.as_ref().map_or_else(none, |rig| rig.trace.clone());
    let spans = trace.client_spans().baggage_to("*");
    let spans = if mode == Mode::PassThrough { spans.without_spans() } else { spans };
    let seen = Arc::new(Mutex::new(Seen { calls: Vec::new(), baggage: Vec::new() }));
    let handler = on_get({
        let seen = Arc::clone(&seen);
        move || handle(spans, seen, calls)
    });
    let app = Router::new().route("/", handler);
    let app = match mode {
        Mode::PassThrough => app.layer(ObserveLayer::new((PassThrough::default(), Ids))),
        Mode::Exported | Mode::NotSampled | Mode::NoExporter => app.layer(trace.layer()),
    };
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    ask(&app, request).await;
    drop(app);
    std::mem::replace(&mut *seen.lock().unwrap(), Seen { calls: Vec::new(), baggage: Vec::new() })
}

async fn handle(spans: ClientSpans, seen: Arc<Mutex<Seen>>, calls: usize) {
    let baggage = Context::map_current(|context| {
        let pairs = context.baggage().iter().map(|(key, (value, properties))| format!("{key}={value}|{properties}"));
        pairs.map(|pair| pair.trim_end_matches('|').to_owned()).collect::<BTreeSet<_>>()
    });
    seen.lock().unwrap().baggage.extend(baggage);
    for _ in 0..calls {
        let seen = Arc::clone(&seen);
        let client =
            steeple_core::call::CallLayer::new(spans.clone()).layer(service_fn(move |request: Request<Body>| {
                seen.lock().unwrap().calls.push(request.headers().clone());
                async { Ok::<_, Infallible>(Response::new(Body::empty())) }
            }));
        client.oneshot(Request::get("http://other.example/").body(Body::empty()).unwrap()).await.unwrap();
    }
}

/// Continues the caller's trace, as the log does for its lines.
struct Ids;

impl steeple_core::Observer for Ids {
    type State = ();
    fn on_request(&self, exchange: &steeple_core::Exchange, request: &mut http::request::Parts) -> Option<()> {
        exchange.trace_or_continue(&request.headers);
        None
    }
    fn on_end(&self, (): (), _: &steeple_core::Exchange, _: &steeple_core::End) {}
}

/// Trace and span id of a `traceparent` of version 00.
#[track_caller]
fn ids(case: &str, headers: &HeaderMap) -> (String, String, u8) {
    let all: Vec<_> = headers.get_all("traceparent").iter().collect();
    assert_eq!(all.len(), 1, "{case}: one traceparent: {headers:?}");
    let text = all[0].to_str().unwrap();
    let valid = TraceContext::from_headers(headers).is_some() && text.len() == 55 && text.starts_with("00-");
    assert!(valid, "{case}: {text}");
    (text[3..35].to_owned(), text[36..52].to_owned(), u8::from_str_radix(&text[53..], 16).unwrap())
}

fn state(headers: &HeaderMap) -> String {
    let lines = headers.get_all("tracestate").iter().map(|line| line.to_str().unwrap());
    lines.collect::<Vec<_>>().join(",")
}

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "1234567890123456";

/// What the suite expects of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The caller's trace, another span.
    Same,
    /// Neither this trace nor this span.
    New,
}
use Expected::{New, Same};

struct Case {
    name: &'static str,
    headers: Headers,
    ids: Expected,
    /// `None`: whatever there is.
    state: Option<String>,
}

fn case(name: &'static str, headers: &[(&'static str, &str)], ids: Expected, state: Option<&str>) -> Case {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Case { name, headers, ids, state: state.map(str::to_owned) }
}

/// Cases of `traceparent` alone.
fn parents() -> Vec<Case> {
    let valid = "00-12345678901234567890123456789012-1234567890123456-01";
    let mut all = vec![
        case("test_both_traceparent_and_tracestate_missing", &[], New, Some("")),
        case("test_traceparent_included_tracestate_missing", &[("traceparent", valid)], Same, Some("")),
        case(
            "test_traceparent_duplicated",
            &[("traceparent", &valid.replace("9012-", "9011-")), ("traceparent", valid)],
            New,
            Some(""),
        ),
    ];
    let values = [
        ("test_traceparent_version_0x00", New, vec!["00-T-P-01.", "00-T-P-01-what-the-future-will-be-like"]),
        ("test_traceparent_version_0xcc", Same, vec!["cc-T-P-01", "cc-T-P-01-what-the-future-will-be-like"]),
        ("test_traceparent_version_0xcc", New, vec!["cc-T-P-01.what-the-future-will-be-like"]),
        ("test_traceparent_version_0xff", New, vec!["ff-T-P-01"]),
        ("test_traceparent_version_illegal_characters", New, vec![".0-T-P-01", "0.-T-P-01"]),
        ("test_traceparent_version_too_long", New, vec!["000-T-P-01", "0000-T-P-01"]),
        ("test_traceparent_version_too_short", New, vec!["0-T-P-01"]),
        ("test_traceparent_trace_id_all_zero", New, vec!["00-00000000000000000000000000000000-P-01"]),
        (
            "test_traceparent_trace_id_illegal_characters",
            New,
            vec!["00-.2345678901234567890123456789012-P-01", "00-1234567890123456789012345678901.-P-01"],
        ),
        ("test_traceparent_trace_id_too_long", New, vec!["00-123456789012345678901234567890123-P-01"]),
        ("test_traceparent_trace_id_too_short", New, vec!["00-1234567890123456789012345678901-P-01"]),
        ("test_traceparent_parent_id_all_zero", New, vec!["00-T-0000000000000000-01"]),
        (
            "test_traceparent_parent_id_illegal_characters",
            New,
            vec!["00-T-.234567890123456-01", "00-T-123456789012345.-01"],
        ),
        ("test_traceparent_parent_id_too_long", New, vec!["00-T-12345678901234567-01"]),
        ("test_traceparent_parent_id_too_short", New, vec!["00-T-123456789012345-01"]),
        ("test_traceparent_trace_flags_illegal_characters", New, vec!["00-T-P-.0", "00-T-P-0."]),
        ("test_traceparent_trace_flags_too_long", New, vec!["00-T-P-001"]),
        ("test_traceparent_trace_flags_too_short", New, vec!["00-T-P-1"]),
        (
            "test_traceparent_ows_handling",
            Same,
            vec![" 00-T-P-01", "\t00-T-P-01", "00-T-P-01 ", "00-T-P-01\t", "\t 00-T-P-01 \t"],
        ),
    ];
    for (name, ids, values) in values {
        for value in values {
            let value = value.replace('T', TRACE).replace('P', PARENT);
            all.push(case(name, &[("traceparent", &value)], ids, Some("")));
        }
    }
    for header in ["trace-parent", "trace.parent"] {
        all.push(case("test_traceparent_header_name", &[(header, valid)], New, Some("")));
    }
    for header in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        all.push(case("test_traceparent_header_name_valid_casing", &[(header, valid)], Same, Some("")));
    }
    all
}

/// Cases of `tracestate`: its lines below a valid `traceparent`, and the propagated result.
fn states() -> Vec<Case> {
    let mut all = vec![
        case("test_tracestate_included_traceparent_missing", &[("tracestate", "foo=1")], New, Some("")),
        case("test_tracestate_included_traceparent_missing", &[("tracestate", "foo=1,bar=2")], New, Some("")),
    ];
    let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let octets: String = (' '..='~').filter(|octet| !matches!(octet, ',' | '=')).collect();
    let many = |from: usize, to: usize| (from..=to).map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",");
    let all_allowed = [format!("{key}={octets}"), format!("{key}@a-z0-9_-*/={octets}")];
    let (at_once, too_many) = (many(1, 32), many(31, 33));
    let groups = [many(1, 10), many(11, 20), many(21, 30), many(31, 32)];
    let member = |key: String| format!("{key}=1");
    let (longest, too_long) = (member("z".repeat(256)), member("z".repeat(257)));
    let vendors = [
        member(format!("{}@{}", "t".repeat(241), "v".repeat(14))),
        member(format!("{}@v", "t".repeat(242))),
        member(format!("t@{}", "v".repeat(15))),
    ];
    let after_foo = |member: &str| format!("foo=1,{member}");
    let mut lines = |name: &'static str, lines: &[&str], want: &str| {
        let mut headers = vec![("traceparent", format!("00-{TRACE}-{PARENT}-00"))];
        headers.extend(lines.iter().map(|line| ("tracestate", (*line).to_owned())));
        all.push(Case { name, headers, ids: Same, state: Some(want.to_owned()) });
    };
    lines("test_tracestate_included_traceparent_included", &["foo=1,bar=2"], "foo=1,bar=2");
    lines("test_tracestate_empty_header", &[""], "");
    lines("test_tracestate_empty_header", &["foo=1", ""], "foo=1");
    lines("test_tracestate_empty_header", &["", "foo=1"], "foo=1");
    lines(
        "test_tracestate_multiple_headers_different_keys",
        &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
        "foo=1,bar=2,rojo=1,congo=2,baz=3",
    );
    for twice in [&["foo=1,foo=1"][..], &["foo=1,foo=2"], &["foo=1", "foo=1"], &["foo=1", "foo=2"]] {
        lines("test_tracestate_duplicated_keys", twice, "foo=1");
    }
    for allowed in &all_allowed {
        lines("test_tracestate_all_allowed_characters", &[allowed], allowed);
    }
    for padded in ["foo=1 \t , \t bar=2, \t baz=3", "foo=1\t \t,\t \tbar=2,\t \tbaz=3"] {
        lines("test_tracestate_ows_handling", &[padded], "foo=1,bar=2,baz=3");
    }
    for padded in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
        lines("test_tracestate_ows_handling", &[padded], "foo=1");
    }
    for illegal in ["foo =1", "FOO=1", "foo.bar=1"] {
        lines("test_tracestate_key_illegal_characters", &[illegal], "");
    }
    for legal in ["foo@=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2"] {
        lines("test_tracestate_key_illegal_vendor_format", &[legal], legal);
    }
    lines("test_tracestate_key_illegal_vendor_format", &["@foo=1,bar=2"], "");
    let [first, second, third, last] = &groups;
    lines("test_tracestate_member_count_limit", &[first, second, third, last], &at_once);
    lines("test_tracestate_member_count_limit", &[first, second, third, &too_many], "");
    lines("test_tracestate_key_length_limit", &["foo=1", &longest], &after_foo(&longest));
    lines("test_tracestate_key_length_limit", &["foo=1", &too_long], "");
    for vendor in &vendors {
        lines("test_tracestate_key_length_limit", &["foo=1", vendor], &after_foo(vendor));
    }
    for illegal in ["foo=bar=baz", "foo=,bar=3"] {
        lines("test_tracestate_value_illegal_characters", &[illegal], "");
    }
    let parent = format!("00-{TRACE}-{PARENT}-00");
    for header in ["trace-state", "trace.state"] {
        all.push(case("test_tracestate_header_name", &[("traceparent", &parent), (header, "foo=1")], Same, Some("")));
    }
    for header in ["TraceState", "TrAcEsTaTe", "TRACESTATE"] {
        let headers = [("traceparent", parent.as_str()), (header, "foo=1")];
        all.push(case("test_tracestate_header_name_valid_casing", &headers, Same, Some("foo=1")));
    }
    all
}

/// Cases in which the service calls three others.
fn several() -> Vec<Case> {
    let zero = format!("00-{}-{PARENT}-01", "0".repeat(32));
    let valid = format!("00-{TRACE}-{PARENT}-01");
    vec![
        case("test_multiple_requests_with_valid_traceparent", &[("traceparent", &valid)], Same, None),
        case("test_multiple_requests_without_traceparent", &[], New, None),
        case("test_multiple_requests_with_illegal_traceparent", &[("traceparent", &zero)], New, None),
    ]
}

#[tokio::test]
async fn each_case_of_w3cs_trace_context_suite_holds_with_and_without_an_exporter() {
    for mode in RECORDING {
        let mut names = BTreeSet::new();
        for Case { name, headers, ids: want, state: want_state } in parents().into_iter().chain(states()) {
            names.insert(name);
            let said = format!("{name} ({mode:?}, {headers:?})");
            let seen = serve(mode, &headers, 1).await;
            let (trace, span, _) = ids(&said, &seen.calls[0]);
            assert_eq!(trace == TRACE, want == Same, "{said}: {trace}");
            assert_ne!(span, PARENT, "{said}");
            assert!(headers.iter().all(|(_, value)| want == Same || !value.contains(&trace)), "{said}: {trace}");
            if let Some(want) = want_state {
                assert_eq!(state(&seen.calls[0]), want, "{said}");
            }
        }
        for Case { name, headers, ids: want, .. } in several() {
            names.insert(name);
            let seen = serve(mode, &headers, 3).await;
            let all: Vec<_> = seen.calls.iter().map(|call| ids(name, call)).collect();
            assert!(all.iter().all(|(trace, ..)| (trace == TRACE) == (want == Same)), "{name} ({mode:?})");
            if mode == Mode::Exported {
                let spans: BTreeSet<_> = all.iter().map(|(_, span, _)| span).collect();
                assert_eq!(spans.len(), 3, "{name} ({mode:?}): each call is a span");
            }
        }
        names.insert("test_propagates_random_flag");
        let random = vec![("traceparent", format!("00-{TRACE}-{PARENT}-02"))];
        let (trace, span, flags) = ids("test_propagates_random_flag", &serve(mode, &random, 1).await.calls[0]);
        assert_eq!((trace.as_str(), flags & 2), (TRACE, 2));
        assert_ne!(span, PARENT);
        assert_eq!(names.len(), 41, "{names:#?}");
    }
}

#[tokio::test]
async fn a_service_that_records_nothing_passes_on_what_came_and_begins_no_trace() {
    for Case { name, headers, ids: want, state: want_state } in parents().into_iter().chain(states()) {
        let seen = serve(Mode::PassThrough, &headers, 1).await;
        let sent = &seen.calls[0];
        if want == New {
            assert!(sent.is_empty(), "{name}: {sent:?}");
            continue;
        }
        let (trace, span, _) = ids(name, sent);
        assert_eq!((trace.as_str(), span.as_str()), (TRACE, PARENT), "{name}");
        assert_eq!(state(sent), want_state.unwrap_or_default(), "{name}");
    }
}

/// The suite's `quote(…)` of what it calls `value`, and what that decodes to.
const QUOTED: &str = "%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29";
const UNQUOTED: &str = "\t \"';=asdf!@#$%^&*()";

/// Name, header, what the handler sees, and the propagated result.
fn bags() -> Vec<(&'static str, String, Vec<String>, String)> {
    let with = |text: &str| text.replace("QUOTED", QUOTED).replace("UNDONE", UNQUOTED);
    let same = |name: &'static str, header: &str, sees: &[&str]| {
        (name, with(header), sees.iter().map(|text| with(text)).collect(), with(header))
    };
    let padded = |name: &'static str, header: &str, sees: &[&str], goes: &str| {
        (name, with(header), sees.iter().map(|text| with(text)).collect(), with(goes))
    };
    let two = ["SomeKey2=SomeValue2|ValueProp=PropVal", "SomeKey=SomeValue|SomeProp"];
    let two_pairs = ["SomeKey2=SomeValue2|SomePropKey2=SomePropValue2", "SomeKey=SomeValue|SomePropKey=SomePropValue"];
    let pairs = "SomeKey=SomeValue;SomePropKey=SomePropValue,SomeKey2=SomeValue2;SomePropKey2=SomePropValue2";
    vec![
        same("BaggageTest.test_parse_simple", "SomeKey=SomeValue", &["SomeKey=SomeValue"]),
        same(
            "BaggageTest.test_parse_multiple",
            "SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal",
            &two,
        ),
        padded(
            "BaggageTest.test_parse_multiple_ows",
            "SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t SomeKey2 \t = \t SomeValue2 \t ; \t ValueProp \t = \t PropVal",
            &two,
            "SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal",
        ),
        same("BaggageTest.test_parse_multiple_kv_property", pairs, &two_pairs),
        padded(
            "BaggageTest.test_parse_multiple_kv_property_ows",
            "SomeKey \t = \t SomeValue \t ; \t SomePropKey=SomePropValue \t , \t SomeKey2 \t = \t SomeValue2 \t ; \t SomePropKey2 \t = \t SomePropValue2",
            &two_pairs,
            pairs,
        ),
        same("BaggageEntryTest.test_parse_simple", "SomeKey=SomeValue", &["SomeKey=SomeValue"]),
        same("BaggageEntryTest.test_parse_multiple_equals", "SomeKey=SomeValue=equals", &["SomeKey=SomeValue=equals"]),
        same("BaggageEntryTest.test_parse_percent_encoded", "SomeKey=QUOTED", &["SomeKey=UNDONE"]),
        same("BaggageEntryTest.test_parse_property", "SomeKey=SomeValue;SomeProp", &["SomeKey=SomeValue|SomeProp"]),
        same(
            "BaggageEntryTest.test_parse_multi_property",
            "SomeKey=SomeValue;SomeProp;SecondProp=PropValue",
            &["SomeKey=SomeValue|SomeProp;SecondProp=PropValue"],
        ),
        same(
            "BaggageEntryTest.test_parse_multiple_properties_same_name",
            "SomeKey=SomeValue;SomeProp;SomeProp=PropValue;SomeProp=AnotherPropValue",
            &["SomeKey=SomeValue|SomeProp;SomeProp=PropValue;SomeProp=AnotherPropValue"],
        ),
        same(
            "BaggageEntryTest.test_parse_kv_property",
            "SomeKey=SomeValue;SomePropKey=SomePropValue",
            &["SomeKey=SomeValue|SomePropKey=SomePropValue"],
        ),
        padded(
            "BaggageEntryTest.test_parse_simple_ows",
            "SomeKey \t = \t SomeValue \t ",
            &["SomeKey=SomeValue"],
            "SomeKey=SomeValue",
        ),
        padded(
            "BaggageEntryTest.test_parse_percent_encoded_ows",
            "SomeKey \t = \t QUOTED \t ",
            &["SomeKey=UNDONE"],
            "SomeKey=QUOTED",
        ),
        padded(
            "BaggageEntryTest.test_parse_property_ows",
            "SomeKey \t = \t SomeValue \t ; \t SomeProp",
            &["SomeKey=SomeValue|SomeProp"],
            "SomeKey=SomeValue;SomeProp",
        ),
        padded(
            "BaggageEntryTest.test_parse_multi_property_ows",
            "SomeKey \t = \t SomeValue \t ; \t SomeProp \t ; \t SecondProp \t = \t PropValue",
            &["SomeKey=SomeValue|SomeProp;SecondProp=PropValue"],
            "SomeKey=SomeValue;SomeProp;SecondProp=PropValue",
        ),
        padded(
            "BaggageEntryTest.test_parse_kv_property_ows",
            "SomeKey \t = \t SomeValue \t ; \t SomePropKey \t = \t SomePropValue",
            &["SomeKey=SomeValue|SomePropKey=SomePropValue"],
            "SomeKey=SomeValue;SomePropKey=SomePropValue",
        ),
        // The SDK keeps properties as they came.
        same(
            "BaggageEntryTest.test_parse_percent_encoded_property",
            "SomeKey=SomeValue;SomePropKey=QUOTED",
            &["SomeKey=SomeValue|SomePropKey=QUOTED"],
        ),
        same(
            "BaggageEntryTest.test_parse_property_without_value_no_percent_decoding",
            "SomeKey=SomeValue;ValueProp%20%09%20%3D%20%09%20PropVal",
            &["SomeKey=SomeValue|ValueProp%20%09%20%3D%20%09%20PropVal"],
        ),
    ]
}

#[tokio::test]
async fn each_case_of_w3cs_baggage_suite_holds_with_and_without_an_exporter() {
    let members = |count: usize| (0..count).map(|n| format!("key{n}=value")).collect::<Vec<_>>();
    for mode in [Mode::Exported, Mode::NotSampled, Mode::NoExporter, Mode::PassThrough] {
        let mut names = BTreeSet::new();
        let baggage =
            |header: &str| vec![("traceparent", format!("00-{TRACE}-{PARENT}-01")), ("baggage", header.to_owned())];
        for (name, header, sees, goes) in bags() {
            names.insert(name);
            let seen = serve(mode, &baggage(&header), 1).await;
            assert_eq!(seen.calls[0]["baggage"], goes.as_str(), "{name} ({mode:?})");
            if mode == Mode::Exported {
                assert_eq!(seen.baggage, sees, "{name} ({mode:?})");
            }
        }
        let limits = [
            ("LimitsTest.test_serialize_at_least_64", members(64).join(",")),
            ("LimitsTest.test_serialize_long_entry", format!("a={}", "0123456789".repeat(819))),
            (
                "LimitsTest.test_serialize_many_entries",
                (0..512).map(|n| format!("{n:03}=0123456789a")).collect::<Vec<_>>().join(",") + "b",
            ),
        ];
        for (name, header) in limits {
            names.insert(name);
            let seen = serve(mode, &baggage(&header), 1).await;
            assert_eq!(seen.calls[0]["baggage"], header.as_str(), "{name} ({mode:?})");
        }
        // Two more cases look at a constructor's defaults, with nothing that comes or goes.
        assert_eq!(names.len(), 22, "{names:#?}");
    }
}

#[tokio::test]
async fn baggage_of_8192_bytes_keeps_its_last_member_and_one_byte_more_loses_it() {
    let parent = ("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    let full = format!("a={},b=2", "x".repeat(8192 - 6));
    assert_eq!(full.len(), 8192);
    let seen = serve(Mode::Exported, &vec![parent.clone(), ("baggage", full.clone())], 1).await;
    assert_eq!(seen.calls[0]["baggage"], full.as_str());
    let seen = serve(Mode::Exported, &vec![parent, ("baggage", format!("{full}2"))], 1).await;
    assert_eq!(seen.calls[0]["baggage"], &full[..8192 - 4]);
}
