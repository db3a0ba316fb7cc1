//! Lines that handlers and libraries log through `tracing`.

use std::{borrow::Cow, cell::Cell, fmt};

use steeple_core::{Exchange, clock, text::Bounded};
use steeple_scrub::{Scrubbed, Scrubber};
use tracing::{
    Event, Subscriber,
    field::{self, Visit},
    span,
};
use tracing_subscriber::{
    layer::{self, Layer},
    registry::LookupSpan,
};

use crate::{
    LogHandle,
    encode::{Context, Field, Line, MAX_FIELDS, MAX_VALUE, Names, Shown, Value},
    event,
};

/// Writes each `tracing` event as a line. Handed out by `LogGuard::layer`.
///
/// A line that is logged while a request is served automatically has the request's id, trace, name, route and user, and
/// the fields of the spans around it. Secrets are removed from texts, and no text can forge or break a line. A field with
/// the name of one of the line's own fields is written under `fields.`.
#[derive(Clone, Debug)]
pub(crate) struct LogLayer {
    handle: LogHandle,
}

/// The fields of a span, kept beside it.
struct SpanFields(Vec<Field<'static>>);

impl LogLayer {
    pub(crate) fn new(handle: LogHandle) -> Self {
        Self { handle }
    }

    fn scrubber(&self) -> &Scrubber {
        &self.handle.shared().scrubber
    }

    fn write<S>(&self, event: &Event<'_>, ctx: &layer::Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let metadata = event.metadata();
        // A record of the `log` crate comes with its target among the fields.
        #[cfg(feature = "log-records")]
        let of_record = tracing_log::NormalizeEvent::normalized_metadata(event);
        #[cfg(feature = "log-records")]
        let of_record = of_record.map(|metadata| Line::target(self.scrubber(), metadata.target()));
        #[cfg(not(feature = "log-records"))]
        let of_record: Option<Shown<'_>> = None;
        let is_access = metadata.target() == event::ACCESS;
        if is_access && event::is_written() {
            return;
        }
        let is_error = metadata.target() == event::ERROR;
        let business = if is_error || metadata.target() == event::EVENT {
            event::fields_on_their_way(self.scrubber())
        } else {
            None
        };
        let mut visitor = Visitor::new(self.scrubber(), business.is_some(), is_error);
        event.record(&mut visitor);
        let Visitor { message, mut fields, stacktrace, .. } = visitor;
        if of_record.is_some() {
            fields.retain(|field| !field.key.starts_with("log."));
        }
        fields.extend(business.into_iter().flatten());
        let mut span_name = None;
        for span in ctx.event_scope(event).into_iter().flatten() {
            span_name.get_or_insert_with(|| span.name());
            if let Some(SpanFields(of_span)) = span.extensions().get() {
                // The innermost comes first, and of two with one key the first is written.
                fields.extend(of_span.iter().cloned());
            }
        }
        let exchange = if is_access { None } else { Exchange::current() };
        let names = exchange.as_ref().map(|exchange| (exchange, Names::of(exchange)));
        self.handle.write_line(&Line {
            at: clock::unix_now(),
            level: *metadata.level(),
            target: of_record.as_ref().map_or(Scrubbed::from_static(metadata.target()), Scrubbed::as_deref),
            message,
            context: names.as_ref().map(|(exchange, names)| Context::of(self.scrubber(), exchange, names)),
            span: span_name,
            is_access,
            fields,
            stacktrace,
        });
    }
}

thread_local! {
    /// How deep in the writing of a line we are: a value's `Debug` may log as well.
    static DEPTH: Cell<u8> = const { Cell::new(0) };
}

/// A value that logs, whose values log, and so on: not further than this.
const MAX_DEPTH: u8 = 4;

struct DepthGuard(u8);

impl DepthGuard {
    fn enter() -> Option<Self> {
        let depth = DEPTH.try_with(Cell::get).ok().filter(|depth| *depth < MAX_DEPTH)?;
        let _ending = DEPTH.try_with(|cell| cell.set(depth.saturating_add(1)));
        Some(Self(depth))
    }
}

impl Drop for DepthGuard {
    fn drop(&mut self) {
        let _ending = DEPTH.try_with(|cell| cell.set(self.0));
    }
}

/// The target of the spans that `steeple-trace` makes for exchanges: their fields are for its OpenTelemetry layer.
const EXCHANGE_SPANS: &str = "steeple_trace";

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: layer::Context<'_, S>) {
        // What these say is in the line already, by the exchange's own names.
        if attributes.metadata().target() == EXCHANGE_SPANS {
            return;
        }
        let mut visitor = Visitor::new(self.scrubber(), false, false);
        attributes.record(&mut visitor);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().replace(SpanFields(visitor.fields));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, ctx: layer::Context<'_, S>) {
        let mut visitor = Visitor::new(self.scrubber(), false, false);
        values.record(&mut visitor);
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(SpanFields(fields)) = extensions.get_mut() else { return };
        for field in visitor.fields {
            if let Some(other) = fields.iter_mut().find(|other| other.key == field.key) {
                *other = field;
            } else if fields.len() < MAX_FIELDS {
                fields.push(field);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: layer::Context<'_, S>) {
        if let Some(_guard) = DepthGuard::enter() {
            self.write(event, &ctx);
        }
    }
}

/// Collects fields, scrubbed; the first 64 of them.
struct Visitor<'a> {
    scrubber: &'a Scrubber,
    message: Shown<'static>,
    fields: Vec<Field<'static>>,
    /// A business event, whose own field is for other subscribers.
    is_business: bool,
    /// A line of [`log_error`](crate::log_error).
    is_error: bool,
    stacktrace: Option<Shown<'static>>,
}

impl<'a> Visitor<'a> {
    fn new(scrubber: &'a Scrubber, is_business: bool, is_error: bool) -> Self {
        let message = Scrubbed::from_static("").into();
        Self { scrubber, message, fields: Vec::new(), is_business, is_error, stacktrace: None }
    }

    fn push(&mut self, field: &field::Field, value: Value<Cow<'_, str>>) {
        let key = field.name();
        if key == "message" {
            let text = match value {
                Value::Text(text) => text,
                Value::Int(number) => number.to_string().into(),
                Value::Uint(number) => number.to_string().into(),
                Value::Float(number) => number.to_string().into(),
                Value::Bool(truth) => truth.to_string().into(),
            };
            self.message = Line::message(self.scrubber, &text);
        } else if self.fields.len() < MAX_FIELDS && !(self.is_business && key == "fields") {
            // A raw identifier's name is the name without its mark.
            let key = key.strip_prefix("r#").unwrap_or(key);
            self.fields.push(Field::new(self.scrubber, key, value));
        }
    }

    fn push_text(&mut self, field: &field::Field, text: fmt::Arguments<'_>) {
        let text = Bounded::of(text, MAX_FORMATTED).into_string();
        self.push(field, Value::Text(Cow::Owned(text)));
    }
}

/// Longest text that is formatted for a message or a field: twice the length that is shown of a message, so that a secret that is
/// cut in two is found before.
const MAX_FORMATTED: usize = 16 * 1024;
const _: () = assert!(MAX_FORMATTED > 2 * MAX_VALUE, "a field's text is cut after it is scrubbed");

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &field::Field, value: f64) {
        self.push(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.push(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        self.push(field, Value::Uint(value));
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        if self.is_error && field.name() == event::STACKTRACE {
            self.stacktrace = Some(Line::stacktrace(self.scrubber, value));
            return;
        }
        let value = crate::encode::escape::clamp(value, MAX_FORMATTED);
        self.push(field, Value::Text(Cow::Borrowed(value)));
    }

    fn record_error(&mut self, field: &field::Field, error: &(dyn std::error::Error + 'static)) {
        // With its sources: what went wrong is often only in them.
        self.push_text(field, format_args!("{}", steeple_core::RecordedError::of(error)));
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        self.push_text(field, format_args!("{value:?}"));
    }
}
