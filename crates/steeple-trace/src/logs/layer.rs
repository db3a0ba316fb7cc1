use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt, TraceState},
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use steeple_core::clock;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{self, Layer};

use super::{Logs, record::Record};
use crate::{ids::current_trace, propagation::span_context, scrub::Recorded};

/// Exports each `tracing` event as an OTLP log record. Handed out by [`Trace::logs_layer`](crate::Trace::logs_layer).
#[derive(Clone, Debug)]
pub struct LogsLayer(pub(crate) Arc<Logs>);

impl<S: Subscriber> Layer<S> for LogsLayer {
    fn on_event(&self, event: &Event<'_>, _ctx: layer::Context<'_, S>) {
        if Context::is_current_telemetry_suppressed() {
            return;
        }
        let metadata = event.metadata();
        let mut visitor = Visitor { max_text: self.0.max_text, ..Visitor::default() };
        event.record(&mut visitor);
        self.0.count_truncated(visitor.truncated);
        self.0.queue().push(Record {
            at: clock::unix_now(),
            level: *metadata.level(),
            target: visitor.log_target.map_or(Cow::Borrowed(metadata.target()), Cow::Owned),
            body: visitor.body,
            attributes: visitor.attributes,
            ids: current_ids(),
        });
    }
}

/// The ids of the innermost span that is recorded, else those of the exchange: it has them though it is not sampled.
fn current_ids() -> Option<SpanContext> {
    let exchange = current_trace().map(|trace| span_context(&trace, TraceState::default()));
    let (span, is_recorded) = Context::map_current(|context| {
        let span = context.span();
        (span.span_context().clone(), span.is_recording())
    });
    match exchange {
        // A span of a trace that is not recorded is only a number.
        Some(exchange) if !is_recorded || span.trace_id() != exchange.trace_id() => Some(exchange),
        _ => span.is_valid().then_some(span),
    }
}

#[derive(Default)]
struct Visitor {
    /// In bytes.
    max_text: usize,
    /// How many texts were longer.
    truncated: u64,
    body: String,
    attributes: Vec<(&'static str, Value)>,
    /// What the `log` crate calls its target.
    log_target: Option<String>,
}

impl Visitor {
    fn push(&mut self, key: &'static str, value: Value) {
        match self.attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((key, value)),
        }
    }

    fn push_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let recorded = Recorded::of(self.max_text, text);
        self.truncated = self.truncated.saturating_add(u64::from(recorded.was_cut));
        let text = recorded.text;
        match name(field) {
            "message" => self.body = text,
            "log.target" => self.log_target = Some(text),
            // Where the `log` crate was called from: its target is enough.
            "log.module_path" | "log.file" => (),
            name => self.push(name, Value::StringValue(text)),
        }
    }
}

/// A raw identifier's name is the name without its mark.
fn name(field: &Field) -> &'static str {
    field.name().strip_prefix("r#").unwrap_or(field.name())
}

impl Visit for Visitor {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(name(field), Value::DoubleValue(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(name(field), Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(_) if field.name() == "log.line" => (),
            Ok(value) => self.push(name(field), Value::IntValue(value)),
            Err(_too_big) => self.push_text(field, format_args!("{value}")),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(name(field), Value::BoolValue(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        // With its sources: what went wrong is often only in them.
        self.push_text(field, format_args!("{}", steeple_core::RecordedError::of(error)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push_text(field, format_args!("{value:?}"));
    }
}
