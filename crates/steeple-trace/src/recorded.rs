//! Cuts texts where spans record them, so that an open span and a queued one are as bounded as an exported one.
//!
//! `tracing-opentelemetry` and the SDK keep whatever an application logs. This tracer stands between them: every span
//! that exchanges, `#[tracing::instrument]` and outgoing calls make is a [`Span`] here.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use opentelemetry::{
    Array, Context, Key, KeyValue, StringValue, Value,
    trace::{Event, Link, Span as _, SpanBuilder, SpanContext, Status},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use crate::{
    scrub::{Bounds, cut},
    size::{size_of_attributes, size_of_event},
};

/// Most bytes that the events and the attributes of the links of one span take together.
const MAX_BYTES_PER_SPAN: usize = 1 << 20;

/// Tells the processor how many events were dropped. It never leaves this process.
pub(crate) const DROPPED_EVENTS: &str = "steeple.dropped_events";

/// The limits of a span, and what exceeded them.
#[derive(Debug)]
pub(crate) struct Recording {
    /// In bytes.
    max_text: usize,
    truncated: AtomicU64,
    dropped_events: AtomicU64,
}

impl Recording {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self { max_text: bounds.max_recorded(), truncated: AtomicU64::new(0), dropped_events: AtomicU64::new(0) }
    }

    /// How many texts were cut.
    pub(crate) fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// How many events and links were dropped because those of their span took too much memory.
    pub(crate) fn dropped_events(&self) -> u64 {
        self.dropped_events.load(Ordering::Relaxed)
    }

    /// The text in a new, shorter allocation, if it is too long.
    fn shorter(&self, text: &str) -> Option<String> {
        if text.len() <= self.max_text {
            return None;
        }
        self.count();
        Some(cut(text, self.max_text).to_owned())
    }

    #[cold]
    fn count(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }

    fn name(&self, name: Cow<'static, str>) -> Cow<'static, str> {
        self.shorter(&name).map_or(name, Cow::Owned)
    }

    fn status(&self, status: Status) -> Status {
        match &status {
            Status::Error { description } => self.shorter(description).map_or(status, Status::error),
            Status::Unset | Status::Ok => status,
        }
    }

    pub(crate) fn attribute(&self, attribute: &mut KeyValue) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum: booleans and numbers have no length")]
        match &mut attribute.value {
            Value::String(text) => {
                if let Some(shorter) = self.shorter(text.as_str()) {
                    *text = shorter.into();
                }
            }
            Value::Array(array) => self.array(array),
            _ => (),
        }
        if let Some(shorter) = self.shorter(attribute.key.as_str()) {
            attribute.key = Key::from(shorter);
        }
    }

    fn attributes(&self, attributes: &mut [KeyValue]) {
        for attribute in attributes {
            self.attribute(attribute);
        }
    }

    /// Whether a span has room for one more link.
    fn link(&self, taken: &mut usize, attributes: &mut [KeyValue]) -> bool {
        self.attributes(attributes);
        self.has_room(taken, size_of_attributes(attributes).saturating_add(size_of::<Link>()))
    }

    /// Whether a span of which this much is taken has room for so many bytes more.
    fn has_room(&self, taken: &mut usize, bytes: usize) -> bool {
        let sum = taken.saturating_add(bytes);
        let fits = sum <= MAX_BYTES_PER_SPAN;
        if fits {
            *taken = sum;
        } else {
            self.dropped_events.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// An array as a whole is about as long as one text at most.
    fn array(&self, array: &mut Array) {
        match array {
            Array::String(texts) => {
                let mut room = self.max_text;
                let mut count = 0_usize;
                for text in texts.iter_mut() {
                    if let Some(shorter) = self.shorter(text.as_str()) {
                        *text = shorter.into();
                    }
                    let size = text.as_str().len().saturating_add(size_of::<StringValue>());
                    room = match room.checked_sub(size) {
                        Some(left) => left,
                        None if count == 0 => 0,
                        None => break,
                    };
                    count = count.saturating_add(1);
                }
                self.shorten(texts, count);
            }
            Array::I64(numbers) => self.shorten(numbers, self.max_text / 8),
            Array::F64(numbers) => self.shorten(numbers, self.max_text / 8),
            Array::Bool(booleans) => self.shorten(booleans, self.max_text),
            _ => (),
        }
    }

    fn shorten<T>(&self, items: &mut Vec<T>, max: usize) {
        if items.len() > max {
            items.truncate(max);
            items.shrink_to_fit();
            self.count();
        }
    }
}

/// The SDK's tracer, with limits for each span.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    sdk: SdkTracer,
    recording: Arc<Recording>,
}

impl Tracer {
    pub(crate) fn new(sdk: SdkTracer, recording: Arc<Recording>) -> Self {
        Self { sdk, recording }
    }

    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }
}

impl opentelemetry::trace::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Span {
        let SpanBuilder { span_kind, name, start_time, mut attributes, events, mut links } = builder;
        if let Some(attributes) = &mut attributes {
            self.recording.attributes(attributes);
        }
        let mut bytes = 0;
        if let Some(links) = &mut links {
            // Samplers may look at links, so they are there from the start.
            links.retain_mut(|link| self.recording.link(&mut bytes, &mut link.attributes));
        }
        let name = self.recording.name(name);
        let builder = SpanBuilder { span_kind, name, start_time, attributes, events: None, links };
        let sdk = self.sdk.build_with_context(builder, parent);
        let mut span = Span { sdk, recording: Arc::clone(&self.recording), bytes, dropped_events: 0 };
        for Event { name, timestamp, attributes, .. } in events.into_iter().flatten() {
            span.add_event_with_timestamp(name, timestamp, attributes);
        }
        span
    }
}

/// The SDK's span, with limits.
#[derive(Debug)]
pub(crate) struct Span {
    sdk: SdkSpan,
    recording: Arc<Recording>,
    /// What its events and its links' attributes take.
    bytes: usize,
    dropped_events: u32,
}

impl Span {
    fn report_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped_events);
        if dropped > 0 {
            self.sdk.set_attribute(KeyValue::new(DROPPED_EVENTS, i64::from(dropped)));
        }
    }
}

impl opentelemetry::trace::Span for Span {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, mut attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if !self.sdk.is_recording() {
            return;
        }
        let name = self.recording.name(name.into());
        self.recording.attributes(&mut attributes);
        if self.recording.has_room(&mut self.bytes, size_of_event(&name, &attributes)) {
            self.sdk.add_event_with_timestamp(name, timestamp, attributes);
        } else {
            self.dropped_events = self.dropped_events.saturating_add(1);
        }
    }

    fn span_context(&self) -> &SpanContext {
        self.sdk.span_context()
    }

    fn is_recording(&self) -> bool {
        self.sdk.is_recording()
    }

    fn set_attribute(&mut self, mut attribute: KeyValue) {
        self.recording.attribute(&mut attribute);
        self.sdk.set_attribute(attribute);
    }

    fn set_status(&mut self, status: Status) {
        self.sdk.set_status(self.recording.status(status));
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.sdk.update_name(self.recording.name(new_name.into()));
    }

    fn add_link(&mut self, span_context: SpanContext, mut attributes: Vec<KeyValue>) {
        if !self.sdk.is_recording() {
            return;
        }
        if self.recording.link(&mut self.bytes, &mut attributes) {
            self.sdk.add_link(span_context, attributes);
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        self.report_dropped();
        self.sdk.end_with_timestamp(timestamp);
    }
}

impl Drop for Span {
    /// The SDK's span ends when it is dropped.
    fn drop(&mut self) {
        self.report_dropped();
    }
}
