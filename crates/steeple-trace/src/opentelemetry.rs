//! Types of OpenTelemetry's API and SDK, in version 0.33, that a caller hands over.

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};

use crate::{BuildError, Segment, Trace, TraceBuilder};

impl TraceBuilder {
    /// Builds with an exporter of the SDK's kind, such as its `InMemorySpanExporter`.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with_exporter(self, exporter: impl SpanExporter + 'static) -> Result<Trace, BuildError> {
        self.export_by_sdk(exporter)
    }

    /// Builds on top of a provider that the application has already: its sampler, processors and exporters stay.
    ///
    /// [`tail_sampling`](Self::tail_sampling) has no effect then, [`show_unsampled`](Self::show_unsampled) is on, and exported data
    /// is scrubbed only as far as this crate wrote it.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with_provider(self, provider: &SdkTracerProvider) -> Result<Trace, BuildError> {
        self.on_provider(provider)
    }
}

impl<F, J> Segment<F, J> {
    /// Sets an attribute of the segment's span: at most 32, before it is first polled.
    pub fn with(mut self, key: impl Into<Key>, value: impl Into<Value>) -> Self {
        self.set(KeyValue::new(key, value));
        self
    }
}
