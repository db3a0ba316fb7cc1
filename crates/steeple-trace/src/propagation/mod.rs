//! Trace context in and out: `traceparent`, `tracestate`, `baggage`, B3.

mod b3;
mod baggage;
mod tracestate;

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

pub(crate) use self::baggage::decode;
use http::{HeaderMap, HeaderName, HeaderValue, header::InvalidHeaderValue};
use opentelemetry::{
    Context,
    baggage::{Baggage, BaggageExt, KeyValueMetadata},
    trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState},
};
use steeple_core::{TraceContext, headers::is_custom};

/// The formats in which trace context is read and written. Default: W3C trace context and baggage.
///
/// # Examples
/// ```
/// use steeple_trace::Propagators;
///
/// // As in `OTEL_PROPAGATORS`.
/// let both: Propagators = "tracecontext,b3".parse()?;
/// # Ok::<(), steeple_trace::BuildError>(())
/// ```
///
/// # Source
/// W3C Trace Context level 2, W3C Baggage, B3 of Zipkin by OpenTelemetry's specification of propagators; names from its
/// `OTEL_PROPAGATORS`.
#[must_use = "options do nothing until a builder gets them"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagators {
    trace_context: bool,
    baggage: bool,
    b3: Option<B3>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum B3 {
    Single,
    Multi,
}

impl Propagators {
    /// None: nothing is read from callers and nothing is passed on.
    pub const fn none() -> Self {
        Self { trace_context: false, baggage: false, b3: None }
    }

    /// `traceparent` and `tracestate`.
    pub const fn trace_context(mut self) -> Self {
        self.trace_context = true;
        self
    }

    /// `baggage`: at most 8,192 bytes are passed on; the application sees the first 64 members.
    pub const fn baggage(mut self) -> Self {
        self.baggage = true;
        self
    }

    /// The one `b3` header. Both forms of B3 are read, without a `traceparent`, the one header first; this one is
    /// written. The debug flag of a fully trusted caller is passed on.
    pub const fn b3(mut self) -> Self {
        self.b3 = Some(B3::Single);
        self
    }

    /// The `x-b3-*` headers. Both forms of B3 are read, without a `traceparent`, the one header first; this one is
    /// written. The debug flag of a fully trusted caller is passed on.
    pub const fn b3_multi(mut self) -> Self {
        self.b3 = Some(B3::Multi);
        self
    }
}

impl Default for Propagators {
    fn default() -> Self {
        Self::none().trace_context().baggage()
    }
}

impl FromStr for Propagators {
    type Err = crate::BuildError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::none();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            all = match name {
                "tracecontext" => all.trace_context(),
                "baggage" => all.baggage(),
                "b3" => all.b3(),
                "b3multi" => all.b3_multi(),
                "none" => all,
                _ => {
                    let expected = "`tracecontext`, `baggage`, `b3`, `b3multi`, with commas between, or `none`";
                    return Err(crate::BuildError::setting("OTEL_PROPAGATORS", text, expected));
                }
            };
        }
        Ok(all)
    }
}

/// What a caller sent of its trace.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Incoming {
    /// A new span below the caller's. `None`: the caller sent no ids.
    pub(crate) context: Option<TraceContext>,
    /// The caller's decision on sampling, if it made one.
    pub(crate) asked: Option<bool>,
    /// B3's debug flag: every receiver records this trace and passes the flag on.
    pub(crate) debug: bool,
    /// The caller certainly sent no `tracestate`.
    without_state: bool,
    /// The caller certainly sent no `baggage`.
    without_baggage: bool,
}

/// Up to so many headers, one pass over all of them costs less than a look-up of each of ours.
const MAX_PASS: usize = 24;

/// Whether `http` keeps all of our names as texts: then a pass skips the others. One day it may have constants for ours.
static ALL_CUSTOM: LazyLock<bool> = LazyLock::new(|| {
    let ours = ["traceparent", "tracestate", "baggage"];
    ours.into_iter().all(|name| is_custom(&HeaderName::from_static(name)))
});

/// Data that every call propagates, beside the ids.
#[derive(Clone, Default)]
pub(crate) struct Carried(Option<Arc<Cargo>>);

#[derive(Default)]
struct Cargo {
    listed: Option<tracestate::Listed>,
    packed: Option<baggage::Packed>,
    debug: bool,
}

impl Carried {
    /// The members of `tracestate` that the SDK accepts.
    pub(crate) fn trace_state(&self) -> TraceState {
        self.listed().map(|listed| listed.state.clone()).unwrap_or_default()
    }

    fn listed(&self) -> Option<&tracestate::Listed> {
        self.0.as_ref()?.listed.as_ref()
    }

    fn packed(&self) -> Option<&baggage::Packed> {
        self.0.as_ref()?.packed.as_ref()
    }

    fn baggage(&self) -> Option<&Baggage> {
        self.packed().map(|packed| &packed.baggage)
    }

    fn is_debug(&self) -> bool {
        self.0.as_ref().is_some_and(|carried| carried.debug)
    }

    /// The context with the baggage in it.
    pub(crate) fn put_baggage(&self, context: Context) -> Context {
        match self.baggage() {
            Some(baggage) => {
                context.with_baggage(baggage.iter().map(|(key, (value, metadata))| {
                    KeyValueMetadata::new(key.clone(), value.clone(), metadata.clone())
                }))
            }
            None => context,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Carried {
    /// Baggage may hold anything: its values are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("trace_state", &self.trace_state().header())
            .field("baggage", &self.baggage().map(Baggage::len))
            .finish()
    }
}

impl Propagators {
    /// The caller's trace. Allocates nothing.
    pub(crate) fn read(self, headers: &HeaderMap) -> Incoming {
        if headers.len() > MAX_PASS {
            return self.with_b3(if self.trace_context { TraceContext::from_headers(headers) } else { None }, headers);
        }
        let (mut parent, mut parents) = (None, 0_usize);
        let (mut has_state, mut has_baggage) = (false, false);
        let all_custom = *ALL_CUSTOM;
        headers.iter().for_each(|(name, value)| {
            if !all_custom || is_custom(name) {
                match name.as_str() {
                    "traceparent" => {
                        parent = Some(value);
                        parents = parents.saturating_add(1);
                    }
                    "tracestate" => has_state = true,
                    "baggage" => has_baggage = true,
                    _ => (),
                }
            }
        });
        let parent = parent.filter(|_| self.trace_context && parents == 1);
        let w3c = parent.and_then(|parent| TraceContext::from_traceparent(parent.as_bytes()));
        Incoming { without_state: !has_state, without_baggage: !has_baggage, ..self.with_b3(w3c, headers) }
    }

    #[inline]
    fn with_b3(self, w3c: Option<TraceContext>, headers: &HeaderMap) -> Incoming {
        match w3c {
            Some(context) => {
                Incoming { context: Some(context), asked: Some(context.is_sampled()), ..Incoming::default() }
            }
            None => self.b3.map_or_else(Incoming::default, |_| b3::read(headers)),
        }
    }

    /// Whether a request may have something to pass on beside the ids.
    pub(crate) fn carries(self, headers: &HeaderMap) -> bool {
        (self.trace_context && headers.contains_key(&tracestate::TRACESTATE))
            || (self.baggage && headers.contains_key(&baggage::BAGGAGE))
            || self.b3.is_some()
    }

    /// `tracestate` (which means nothing without a trace that is continued), `baggage` and the debug flag.
    /// Allocates only if the caller sent any. `incoming` is what was read of the same headers.
    pub(crate) fn read_carried(
        self,
        headers: &HeaderMap,
        incoming: &Incoming,
        continued: bool,
        debug: bool,
    ) -> Carried {
        let may_list = continued && self.trace_context && !incoming.without_state;
        let listed = if may_list { tracestate::read(headers) } else { None };
        let packed = if self.baggage && !incoming.without_baggage { baggage::read(headers) } else { None };
        if listed.is_none() && packed.is_none() && !debug {
            return Carried(None);
        }
        Carried(Some(Arc::new(Cargo { listed, packed, debug })))
    }

    /// Writes the ids for a call to another service, replacing existing ones.
    pub(crate) fn write(self, context: &SpanContext, carried: &Carried, headers: &mut HeaderMap) {
        let Some(trace) = trace_context(context) else { return };
        if self.trace_context {
            insert(headers, "traceparent", HeaderValue::from_str(&trace.traceparent()));
            let state = context.trace_state();
            let state = match carried.listed() {
                // As it came, with the members that the SDK does not accept.
                Some(listed) if listed.state == *state => HeaderValue::from_str(&listed.header).ok(),
                _ if *state == TraceState::NONE => None,
                // A sampler changed it.
                _ => HeaderValue::from_str(&state.header()).ok(),
            };
            match state {
                Some(state) => {
                    headers.insert(tracestate::TRACESTATE.clone(), state);
                }
                None => {
                    headers.remove(&tracestate::TRACESTATE);
                }
            }
        }
        if let Some(form) = self.b3 {
            b3::write(form, &trace, carried.is_debug(), headers);
        }
    }

    /// Writes the baggage for a call to another service, replacing any existing one: what the application put into the
    /// current context, else what the caller sent.
    pub(crate) fn write_baggage(self, current: &Baggage, carried: &Carried, headers: &mut HeaderMap) {
        if !self.baggage {
            return;
        }
        let value = match carried.packed() {
            Some(packed) if current.is_empty() || baggage::is_same(current, &packed.baggage) => {
                Some(packed.header.clone())
            }
            _ => baggage::write(current),
        };
        if let Some(value) = value {
            headers.insert("baggage", value);
        }
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: Result<HeaderValue, InvalidHeaderValue>) {
    if let Ok(value) = value {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The trace as the SDK sees it: this span, on another machine or here.
pub(crate) fn span_context(trace: &TraceContext, state: TraceState) -> SpanContext {
    let flags = flags(trace, trace.is_sampled());
    let ids = (TraceId::from_bytes(trace.trace_id().to_bytes()), SpanId::from_bytes(trace.span_id().to_bytes()));
    SpanContext::new(ids.0, ids.1, flags, false, state)
}

/// The caller's span as the SDK sees it.
pub(crate) fn remote_parent(trace: &TraceContext, sampled: bool, state: TraceState) -> Option<SpanContext> {
    let flags = flags(trace, sampled);
    let parent = SpanId::from_bytes(trace.parent_id()?.to_bytes());
    Some(SpanContext::new(TraceId::from_bytes(trace.trace_id().to_bytes()), parent, flags, true, state))
}

/// The SDK's span as an exchange sees it.
pub(crate) fn trace_context(context: &SpanContext) -> Option<TraceContext> {
    let trace =
        TraceContext::from_ids(context.trace_id().to_bytes(), context.span_id().to_bytes(), context.is_sampled());
    trace.map(|trace| trace.with_random_id(is_random(context)))
}

/// W3C's flag of level 2, which the API has no word for.
const RANDOM: u8 = 2;

fn flags(trace: &TraceContext, sampled: bool) -> TraceFlags {
    TraceFlags::new(if trace.has_random_id() { RANDOM } else { 0 }).with_sampled(sampled)
}

pub(crate) fn is_random(context: &SpanContext) -> bool {
    context.trace_flags().to_u8() & RANDOM != 0
}

/// The same with the flag. The SDK keeps the flags of a parent, and gives the first span of a trace none.
pub(crate) fn as_random(context: &SpanContext) -> SpanContext {
    let flags = TraceFlags::new(context.trace_flags().to_u8() | RANDOM);
    let (ids, state) = ((context.trace_id(), context.span_id()), context.trace_state().clone());
    SpanContext::new(ids.0, ids.1, flags, context.is_remote(), state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_of_otel_propagators_are_known() {
        assert_eq!("tracecontext, baggage".parse::<Propagators>().unwrap(), Propagators::default());
        assert_eq!("none".parse::<Propagators>().unwrap(), Propagators::none());
        assert_eq!("b3multi".parse::<Propagators>().unwrap(), Propagators::none().b3_multi());
        assert!("jaeger".parse::<Propagators>().unwrap_err().is_setting());
    }

    #[test]
    fn a_traceparent_beats_b3_and_without_either_there_is_nothing() {
        let both = Propagators::default().b3();
        let mut headers = HeaderMap::new();
        assert!(both.read(&headers).context.is_none());
        headers.insert("b3", HeaderValue::from_static("8448eb211c80319c-b7ad6b7169203331"));
        assert!(both.read(&headers).context.is_some() && both.read(&headers).asked.is_none());
        headers
            .insert("traceparent", HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        let context = both.read(&headers).context.unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(Propagators::none().read(&headers).context.is_none());
    }

    #[test]
    fn a_tracestate_without_a_trace_is_discarded() {
        let mut headers = HeaderMap::new();
        headers.insert("tracestate", HeaderValue::from_static("a=1"));
        let read = |continued| {
            let incoming = Propagators::default().read(&headers);
            Propagators::default().read_carried(&headers, &incoming, continued, false)
        };
        assert!(read(false).is_empty());
        assert_eq!(read(true).trace_state().header(), "a=1");
    }

    proptest! {
        #[test]
        fn one_pass_reads_what_look_ups_read(
            sent in prop::collection::vec((0..6_usize, 0..4_usize), 0..12),
            b3: bool,
        ) {
            let (mut few, mut many) = (HeaderMap::new(), HeaderMap::new());
            for (name, value) in sent {
                let name = ["traceparent", "tracestate", "baggage", "b3", "host", "x-other"][name];
                let value = [
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                    "a=1,b=2",
                    "8448eb211c80319c-b7ad6b7169203331-d",
                    "wrong",
                ][value];
                few.append(name, HeaderValue::from_static(value));
                many.append(name, HeaderValue::from_static(value));
            }
            for _ in 0..=MAX_PASS {
                many.append("x-many", HeaderValue::from_static("1"));
            }
            let propagators = if b3 { Propagators::default().b3() } else { Propagators::default() };
            let read = |headers: &HeaderMap| {
                let incoming = propagators.read(headers);
                let carried = propagators.read_carried(headers, &incoming, incoming.context.is_some(), incoming.debug);
                let ids = incoming.context.map(|context| (context.trace_id(), context.parent_id()));
                (ids, incoming.asked, incoming.debug, format!("{carried:?}"))
            };
            prop_assert_eq!(read(&few), read(&many));
        }
    }
}
