use std::fmt;

use http::{HeaderMap, HeaderName};

use crate::hex::{self, Hex};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace that an exchange belongs to: what log lines, exemplars, events and spans share.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    parent_id: Option<[u8; 8]>,
    /// Those that W3C knows: [`SAMPLED`] and [`RANDOM`].
    flags: u8,
}

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

impl TraceContext {
    /// Starts a new trace: random ids, not sampled.
    pub fn new_root() -> Self {
        Self {
            trace_id: nonzero(|| fastrand::u128(..).to_be_bytes()),
            span_id: new_span_id(),
            parent_id: None,
            flags: RANDOM,
        }
    }

    /// A context with ids that something else decided, such as a tracing SDK.
    ///
    /// `None` when an id is all zeros, which W3C Trace Context calls invalid.
    pub fn from_ids(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self {
            trace_id,
            span_id,
            parent_id: None,
            flags: u8::from(sampled),
        })
    }

    /// A new span below a caller's whose ids came in another form than `traceparent`, such as B3.
    ///
    /// `None` when an id is all zeros.
    pub fn child_of(trace_id: [u8; 16], parent_id: [u8; 8], sampled: bool) -> Option<Self> {
        let valid = trace_id != [0; 16] && parent_id != [0; 8];
        valid.then(|| Self { trace_id, span_id: new_span_id(), parent_id: Some(parent_id), flags: u8::from(sampled) })
    }

    /// Continues the caller's trace from its `traceparent` header: the same trace id, a new span id, the caller's
    /// span as parent. `None` without a header, with more than one, or with an invalid one.
    ///
    /// # Source
    /// W3C Trace Context, level 2.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        Self::from_traceparent(value.as_bytes())
    }

    /// The same from the value of a `traceparent` header that was found already. White space around it is tolerated.
    ///
    /// # Source
    /// W3C Trace Context, level 2.
    pub fn from_traceparent(value: &[u8]) -> Option<Self> {
        let (trace_id, parent_id, flags) = parse_traceparent(value.trim_ascii())?;
        Some(Self { trace_id, span_id: new_span_id(), parent_id: Some(parent_id), flags: flags & (SAMPLED | RANDOM) })
    }

    /// The same trace with another decision on sampling.
    #[must_use]
    pub fn with_sampled(mut self, sampled: bool) -> Self {
        self.flags = (self.flags & RANDOM) | u8::from(sampled);
        self
    }

    /// The same trace, with another word on whether [its id is random](Self::has_random_id).
    #[must_use]
    pub fn with_random_id(mut self, random: bool) -> Self {
        self.flags = (self.flags & SAMPLED) | if random { RANDOM } else { 0 };
        self
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        Hex::new(self.trace_id)
    }

    /// The id of this exchange's span.
    pub fn span_id(&self) -> SpanId {
        Hex::new(self.span_id)
    }

    /// The id of the caller's span.
    pub fn parent_id(&self) -> Option<SpanId> {
        self.parent_id.map(Hex::new)
    }

    /// Whether spans of this trace are recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether the last seven bytes of the trace's id are random, as its first service has declared, so that all can sample by them.
    ///
    /// # Source
    /// W3C Trace Context, level 2, the `random-trace-id` flag.
    pub fn has_random_id(&self) -> bool {
        self.flags & RANDOM != 0
    }

    /// The `traceparent` to send with a call to another service: this exchange's span is the parent.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id(), self.span_id(), self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({})", self.traceparent())
    }
}

/// The id of a trace: 16 bytes, shown as 32 lower-case hex digits.
pub type TraceId = Hex<16>;
/// The id of a span: 8 bytes, shown as 16 lower-case hex digits.
pub type SpanId = Hex<8>;

fn nonzero<const N: usize>(make: impl Fn() -> [u8; N]) -> [u8; N] {
    loop {
        let id = make();
        if id != [0; N] {
            return id;
        }
    }
}

fn new_span_id() -> [u8; 8] {
    nonzero(|| fastrand::u64(..).to_be_bytes())
}

/// Trace id, parent id and flags of a `traceparent` value.
fn parse_traceparent(value: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let (head, rest) = value.split_at_checked(55)?;
    let (version, head) = head.split_first_chunk::<2>()?;
    let (trace_id, head) = field::<32>(head)?;
    let (parent_id, head) = field::<16>(head)?;
    let (flags, []) = field::<2>(head)? else { return None };
    // Version 00 ends here; later ones may go on after another dash, and ff is not a version.
    match (version, rest.first()) {
        (b"00", None) => (),
        (b"00" | b"ff", _) => return None,
        (_, Some(byte)) if *byte != b'-' => return None,
        _ => {
            hex::decode::<1>(version)?;
        }
    }
    let flags = match flags {
        b"00" => 0,
        b"01" => SAMPLED,
        _ => {
            let [flags] = hex::decode(flags)?;
            flags
        }
    };
    let (trace_id, parent_id) = hex::decode_ids(trace_id, parent_id)?;
    (trace_id != 0 && parent_id != 0).then_some((trace_id.to_be_bytes(), parent_id.to_be_bytes(), flags))
}

/// A dash and then `N` bytes.
fn field<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8])> {
    text.strip_prefix(b"-")?.split_first_chunk::<N>()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(values: &[&str]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("traceparent", HeaderValue::from_str(value).unwrap());
        }
        TraceContext::from_headers(&headers)
    }

    #[test]
    fn a_callers_trace_is_continued_with_a_new_span() {
        let context = read(&[GOOD]).unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent_id().unwrap().to_string(), "b7ad6b7169203331");
        assert_ne!(context.span_id(), context.parent_id().unwrap());
        assert!(context.is_sampled());
        let next = read(&[&context.traceparent()]).unwrap();
        assert_eq!((next.trace_id(), next.parent_id()), (context.trace_id(), Some(context.span_id())));
    }

    #[test]
    fn a_span_below_known_ids_has_its_own_id() {
        let context = TraceContext::child_of([1; 16], [2; 8], true).unwrap();
        assert_eq!(context.parent_id().unwrap().to_bytes(), [2; 8]);
        assert!(context.is_sampled() && context.span_id().to_bytes() != [2; 8]);
        assert!(TraceContext::child_of([0; 16], [2; 8], true).is_none());
        assert!(TraceContext::child_of([1; 16], [0; 8], true).is_none());
    }

    #[test]
    fn what_w3c_calls_invalid_starts_no_continuation() {
        let cases = [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        ];
        for case in cases {
            assert_eq!(read(&[case]), None, "{case:?}");
        }
        assert_eq!(read(&[GOOD, GOOD]), None, "two headers");
    }

    #[test]
    fn later_versions_and_flags_are_read_as_far_as_known() {
        assert!(
            read(&["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-what-the-future-is"]).unwrap().is_sampled()
        );
        assert!(!read(&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02"]).unwrap().is_sampled());
        assert!(read(&[&format!("\t {GOOD} ")]).is_some(), "white space around it is tolerated");
        for (flags, passed_on) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("fc", "00"), ("ff", "03")] {
            let context = read(&[&format!("{}{flags}", &GOOD[..53])]).unwrap();
            assert!(context.traceparent().ends_with(passed_on), "{flags}");
            assert_eq!(context.has_random_id(), passed_on > "01", "{flags}");
        }
        assert!(TraceContext::new_root().has_random_id() && !TraceContext::new_root().is_sampled());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value: Vec<u8>) {
            let _parsed = parse_traceparent(&value);
        }

        #[test]
        fn what_is_written_is_read_back(trace: [u8; 16], span: [u8; 8], sampled: bool) {
            if let Some(context) = TraceContext::from_ids(trace, span, sampled) {
                let (t, p, flags) = parse_traceparent(context.traceparent().as_bytes()).unwrap();
                prop_assert_eq!((t, p, flags), (trace, span, u8::from(sampled)));
            }
        }
    }
}
