use std::{borrow::Cow, time::Duration};

use opentelemetry::{Value as ApiValue, trace::SpanContext};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, SeverityNumber},
};
use steeple_export::{Answer, Protocol, Reason, Request, Response};
use steeple_scrub::Scrubbed;
use tracing::Level;

use crate::{
    export::{Encoded, Wire},
    scrub::Bounds,
};

/// An event as it was logged, not yet scrubbed.
#[derive(Debug)]
pub(crate) struct Record {
    /// Since the Unix epoch.
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) target: Cow<'static, str>,
    pub(crate) body: String,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) ids: Option<SpanContext>,
}

/// Sends log records by OTLP.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) wire: Wire,
    pub(crate) bounds: Bounds,
}

impl Records {
    fn text(&self, key: Option<&str>, text: &str) -> String {
        let safe = match key {
            Some(key) => self.bounds.scrubber.field(key, text),
            None => self.bounds.scrubber.text(text),
        };
        let max = self.bounds.max_shown(text.len(), safe.len());
        safe.cut(max, "").to_string()
    }

    fn value(&self, key: &str, value: Value) -> Value {
        let number = |number| crate::scrub::number(&self.bounds.scrubber, key, &number).map(Value::StringValue);
        #[expect(clippy::wildcard_enum_match_arm, reason = "booleans, and what no field can be")]
        match &value {
            Value::StringValue(text) => Value::StringValue(self.text(Some(key), text)),
            Value::IntValue(int) => number(ApiValue::I64(*int)).unwrap_or(value),
            Value::DoubleValue(float) => number(ApiValue::F64(*float)).unwrap_or(value),
            _ => value,
        }
    }

    fn encoded(&self, event: Record) -> Encoded {
        let at = u64::try_from(event.at.as_nanos()).unwrap_or(u64::MAX);
        let (severity, text) = severity(event.level);
        let attribute = |(key, value)| KeyValue {
            key: self.text(None, key),
            value: Some(AnyValue { value: Some(self.value(key, value)) }),
            ..KeyValue::default()
        };
        let body = (!event.body.is_empty())
            .then(|| AnyValue { value: Some(Value::StringValue(self.text(None, &event.body))) });
        let mut message = LogRecord {
            time_unix_nano: at,
            observed_time_unix_nano: at,
            severity_number: severity.into(),
            severity_text: text.to_owned(),
            body,
            attributes: event.attributes.into_iter().map(attribute).collect(),
            ..LogRecord::default()
        };
        if let Some(ids) = event.ids {
            message.trace_id = ids.trace_id().to_bytes().to_vec();
            message.span_id = ids.span_id().to_bytes().to_vec();
            message.flags = ids.trace_flags().to_u8().into();
        }
        let target = match event.target {
            Cow::Owned(target) => self.text(None, &target),
            Cow::Borrowed(literal) => literal.to_owned(),
        };
        // The scope of a record is the event's target, as OpenTelemetry's own appender has it.
        Encoded::named(target, &message)
    }
}

impl Protocol for Records {
    type Item = Record;
    type Ready = Encoded;

    fn size(record: &Record) -> usize {
        let target = if let Cow::Owned(target) = &record.target { target.len() } else { 0 };
        let attributes = record.attributes.iter().map(|attribute| {
            let text = if let Value::StringValue(text) = &attribute.1 { text.len() } else { 0 };
            size_of_val(attribute).saturating_add(text)
        });
        size_of_val(record)
            .saturating_add(record.body.len())
            .saturating_add(target)
            .saturating_add(attributes.fold(0, usize::saturating_add))
    }

    fn scrub(&mut self, record: Record) -> Scrubbed<Encoded> {
        // Nothing but what `encoded` scrubs gets into it.
        let encoded = self.encoded(record);
        self.bounds.scrubber.scrub_with(encoded, |_scrubber, _encoded| ())
    }

    fn encode(&mut self, batch: &[Scrubbed<Encoded>]) -> Result<Request, Reason> {
        self.wire.request(batch)
    }

    fn judge(&mut self, response: &Response, batch: &[Scrubbed<Encoded>]) -> Answer {
        self.wire.judge(response, batch.len())
    }
}

fn severity(level: Level) -> (SeverityNumber, &'static str) {
    match level {
        Level::ERROR => (SeverityNumber::Error, "ERROR"),
        Level::WARN => (SeverityNumber::Warn, "WARN"),
        Level::INFO => (SeverityNumber::Info, "INFO"),
        Level::DEBUG => (SeverityNumber::Debug, "DEBUG"),
        Level::TRACE => (SeverityNumber::Trace, "TRACE"),
    }
}
