use std::{
    borrow::Cow,
    time::{Duration, UNIX_EPOCH},
};

use opentelemetry::{
    InstrumentationScope, Value,
    logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity},
    trace::SpanContext,
};
use opentelemetry_sdk::{
    Resource,
    logs::{LogBatch, LogExporter, SdkLogRecord, SdkLogger, SdkLoggerProvider},
};
use steeple_scrub::Scrubbed;
use tracing::Level;

use crate::{
    export::{Item, Sender},
    scrub::Bounds,
};

/// An event as it was logged, not yet scrubbed.
pub(crate) struct Record {
    /// Since the Unix epoch.
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) target: Cow<'static, str>,
    pub(crate) body: String,
    pub(crate) attributes: Vec<(Cow<'static, str>, AnyValue)>,
    pub(crate) ids: Option<SpanContext>,
}

impl Item for Record {
    fn bytes(&self) -> usize {
        let text = |text: &Cow<'static, str>| if let Cow::Owned(text) = text { text.len() } else { 0 };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum: numbers are counted with their `AnyValue`")]
        let value = |value: &AnyValue| match value {
            AnyValue::String(text) => text.as_str().len(),
            _ => 0,
        };
        let attributes = self.attributes.iter().map(|attribute| {
            let (key, of) = attribute;
            size_of_val(attribute).saturating_add(text(key)).saturating_add(value(of))
        });
        size_of_val(self)
            .saturating_add(self.body.len())
            .saturating_add(text(&self.target))
            .saturating_add(attributes.fold(0, usize::saturating_add))
    }
}

/// Sends log records, scrubbed.
pub(crate) struct Records<E> {
    exporter: E,
    /// Makes the SDK's records; nobody else can.
    logger: SdkLogger,
    scope: InstrumentationScope,
    bounds: Bounds,
}

impl<E: LogExporter> Records<E> {
    pub(crate) fn new(mut exporter: E, resource: &Resource, bounds: Bounds) -> Self {
        exporter.set_resource(resource);
        let logger = SdkLoggerProvider::builder().with_resource(resource.clone()).build().logger("steeple-trace");
        // The scope of a record is the event's target: that is how the exporter has it.
        Self { exporter, logger, scope: InstrumentationScope::default(), bounds }
    }

    fn text(&self, key: Option<&str>, text: &str) -> String {
        let safe = match key {
            Some(key) => self.bounds.scrubber.field(key, text),
            None => self.bounds.scrubber.text(text),
        };
        let max = self.bounds.max_shown(text.len(), safe.len());
        safe.cut(max, "").to_string()
    }

    fn value(&self, key: &str, value: AnyValue) -> AnyValue {
        let number = |number| crate::scrub::number(&self.bounds.scrubber, key, &number).map(AnyValue::from);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum: truths, and what no field can be")]
        match &value {
            AnyValue::String(text) => self.text(Some(key), text.as_str()).into(),
            AnyValue::Int(int) => number(Value::I64(*int)).unwrap_or(value),
            AnyValue::Double(float) => number(Value::F64(*float)).unwrap_or(value),
            _ => value,
        }
    }

    fn fill(&self, record: &mut SdkLogRecord, event: Record) {
        let at = UNIX_EPOCH.checked_add(event.at).unwrap_or(UNIX_EPOCH);
        record.set_timestamp(at);
        record.set_observed_timestamp(at);
        let (number, text) = severity(event.level);
        record.set_severity_number(number);
        record.set_severity_text(text);
        record.set_target(match event.target {
            Cow::Owned(target) => self.text(None, &target).into(),
            literal @ Cow::Borrowed(_) => literal,
        });
        if !event.body.is_empty() {
            record.set_body(self.text(None, &event.body).into());
        }
        for (key, value) in event.attributes {
            let value = self.value(&key, value);
            record.add_attribute(key, value);
        }
        if let Some(ids) = event.ids {
            record.set_trace_context(ids.trace_id(), ids.span_id(), Some(ids.trace_flags()));
        }
    }
}

impl<E: LogExporter> Sender for Records<E> {
    type Item = Record;
    type Ready = SdkLogRecord;

    fn scrub(&self, event: Record) -> Scrubbed<SdkLogRecord> {
        self.bounds.scrubber.scrub_with(self.logger.create_log_record(), |_, record| self.fill(record, event))
    }

    async fn send(&self, records: Vec<Scrubbed<SdkLogRecord>>) -> bool {
        let batch: Vec<_> = records.iter().map(|record| (&**record, &self.scope)).collect();
        self.exporter.export(LogBatch::new(&batch)).await.is_ok()
    }

    fn close(&self) {
        let _result = self.exporter.shutdown();
    }
}

fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::ERROR => (Severity::Error, "ERROR"),
        Level::WARN => (Severity::Warn, "WARN"),
        Level::INFO => (Severity::Info, "INFO"),
        Level::DEBUG => (Severity::Debug, "DEBUG"),
        Level::TRACE => (Severity::Trace, "TRACE"),
    }
}
